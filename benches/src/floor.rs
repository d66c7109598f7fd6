//! The least time that the calls of a run can take.

use std::time::Duration;

/// The age up to which a cancel may rely on a reading.
const FRESH: Duration = Duration::from_secs(2);

/// The latencies of single calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Latencies {
    /// A page of the listing.
    pub(crate) page: Duration,
    /// Any other call.
    pub(crate) call: Duration,
}

impl Latencies {
    /// The same latency for every call.
    pub(crate) fn uniform(latency: Duration) -> Self {
        Self {
            page: latency,
            call: latency,
        }
    }
}

/// The calls of a run without a single call too many, and the time that they take.
///
/// Pages are listed in sequence, because each names the next. Cancels, and the readings that must
/// be refreshed before them, go in rounds of `CONCURRENCY` calls. One publish comes after the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Floor {
    pub(crate) pages: usize,
    /// Pages that are stale when the turn of a cancel comes.
    pub(crate) refreshes: usize,
    /// Rounds of cancels and refreshes.
    pub(crate) rounds: usize,
    pub(crate) time: Duration,
}

impl Floor {
    /// Returns the floor of a run that cancels the candidates on these pages, in this order.
    pub(crate) fn of(
        pages: usize,
        candidates: impl IntoIterator<Item = usize>,
        concurrency: usize,
        latencies: Latencies,
    ) -> Self {
        let listed = times(latencies.page, pages);
        let mut read_at: Vec<_> = (0..pages).map(|page| times(latencies.page, page)).collect();
        let (mut cancels, mut refreshes) = (0, 0);
        for page in candidates {
            let turn = listed + times(latencies.call, cancels / concurrency);
            if let Some(read_at) = read_at.get_mut(page)
                && turn.saturating_sub(*read_at) > FRESH
            {
                *read_at = turn;
                refreshes += 1;
            }
            cancels += 1;
        }
        // A refresh and its cancel cannot share a round.
        let least = usize::from(cancels > 0) + usize::from(refreshes > 0);
        let rounds = (cancels + refreshes).div_ceil(concurrency).max(least);
        let publishes = usize::from(cancels > 0);
        Self {
            pages,
            refreshes,
            rounds,
            time: listed + times(latencies.call, rounds + publishes),
        }
    }
}

fn times(latency: Duration, count: usize) -> Duration {
    latency.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floor(pages: usize, candidates: impl IntoIterator<Item = usize>) -> Floor {
        let latencies = Latencies::uniform(Duration::from_millis(25));
        Floor::of(pages, candidates, 20, latencies)
    }

    #[test]
    fn a_short_listing_needs_no_refresh() {
        // 10 pages, 5 rounds of 20 cancels, 1 publish.
        let floor = floor(10, (0..100).map(|index| index / 10));
        assert_eq!((floor.refreshes, floor.rounds), (0, 5));
        assert_eq!(floor.time, Duration::from_millis(16 * 25));
    }

    #[test]
    fn a_page_older_than_two_seconds_is_refreshed_before_its_cancel() {
        // Listing 100 pages takes 2.5 s: pages 0, 10 are older than 2 s then, page 20 exactly.
        let floor = floor(100, (0..10).map(|index| index * 10));
        assert_eq!((floor.refreshes, floor.rounds), (2, 2));
        assert_eq!(floor.time, Duration::from_millis(103 * 25));
    }

    #[test]
    fn a_refreshed_page_serves_all_its_cancels() {
        let floor = floor(100, (0..10_000).map(|index| index / 100));
        assert_eq!((floor.refreshes, floor.rounds), (100, 505));
        assert_eq!(floor.time, Duration::from_millis((100 + 505 + 1) * 25));
    }

    #[test]
    fn a_page_is_refreshed_again_after_two_seconds() {
        // Candidates of two pages in turn, for 5 s: page 0 and page 1 at 2 s and at 4 s.
        let floor = floor(2, (0..4000).map(|index| index % 2));
        assert_eq!(floor.refreshes, 4);
    }

    #[test]
    fn a_run_without_candidates_lists_only() {
        let floor = floor(3, []);
        assert_eq!((floor.rounds, floor.time), (0, Duration::from_millis(75)));
    }
}
