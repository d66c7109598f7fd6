//! How long to wait before a call is repeated, and how often.

use std::time::Duration;

use tokio::time::Instant;

/// Repeats of one call at the most. With the waits below they take some ten seconds.
const MOST_REPEATS: u32 = 8;

/// The longest wait before the first repeat; it doubles from one to the next.
const FIRST: Duration = Duration::from_millis(100);

/// The longest wait before any repeat.
const LONGEST: Duration = Duration::from_secs(3);

/// Waits between the attempts at one call: exponential, with jitter.
#[derive(Debug, Default)]
pub struct Backoff {
    repeats: u32,
}

impl Backoff {
    /// When the next repeat may be made; nothing if there is to be none: enough were made, or
    /// `until` comes first.
    pub fn next(&mut self, until: Instant) -> Option<Instant> {
        if self.repeats == MOST_REPEATS {
            return None;
        }
        let longest = FIRST.saturating_mul(1 << self.repeats).min(LONGEST);
        self.repeats += 1;
        let at = Instant::now() + longest.mul_f64(0.5 + fastrand::f64() / 2.0);
        (at < until).then_some(at)
    }

    /// Waits for the next repeat; `false` if there is to be none.
    pub async fn wait(&mut self, until: Instant) -> bool {
        match self.next(until) {
            Some(at) => {
                tokio::time::sleep_until(at).await;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn repeats_are_bounded_in_number_and_time() {
        let start = Instant::now();
        let mut backoff = Backoff::default();
        let mut repeats = 0;
        while repeats <= MOST_REPEATS && backoff.wait(start + Duration::from_mins(15)).await {
            repeats += 1;
        }
        assert_eq!(repeats, MOST_REPEATS);
        let total = start.elapsed();
        assert!(
            (Duration::from_secs(6)..Duration::from_secs(13)).contains(&total),
            "{total:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn no_repeat_comes_after_the_deadline() {
        let start = Instant::now();
        let until = start + Duration::from_secs(1);
        let mut backoff = Backoff::default();
        let mut repeats = 0;
        while repeats < MOST_REPEATS && backoff.wait(until).await {
            repeats += 1;
        }
        assert!(repeats < MOST_REPEATS);
        assert!(start.elapsed() < Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_repeat_that_would_start_at_the_deadline_is_not_made() {
        let first = |until: Instant| {
            fastrand::seed(7);
            Backoff::default().next(until)
        };
        let at = first(Instant::now() + Duration::from_mins(15)).unwrap();
        assert_eq!(first(at), None);
        let later = at + Duration::from_nanos(1);
        assert_eq!(first(later), Some(at));
    }

    #[tokio::test(start_paused = true)]
    async fn each_wait_is_spread_over_the_upper_half_of_its_longest() {
        let now = Instant::now();
        let until = now + Duration::from_mins(15);
        let mut many: Vec<_> = (0..200).map(|_| Backoff::default()).collect();
        for longest in [100, 200, 400, 800, 1600, 3000, 3000, 3000].map(Duration::from_millis) {
            let waits = many.iter_mut().filter_map(|one| one.next(until));
            let mut waits: Vec<_> = waits.map(|at| at - now).collect();
            waits.sort();
            assert!(waits[0] >= longest / 2, "{waits:?}");
            assert!(waits[199] <= longest, "{waits:?}");
            // Calls that were throttled together do not come back together.
            assert!(waits[199] > waits[0] + longest / 4, "{waits:?}");
        }
        assert!(many.iter_mut().all(|one| one.next(until).is_none()));
    }
}
