//! Retries with exponential backoff: the number of repeats of a call, and the waits between them.

use std::time::Duration;

use crate::timestamp::{self, Timestamp};

/// The most repeats of one call. With the waits below they take some ten seconds.
const MOST_REPEATS: u32 = 8;

/// The longest wait before the first repeat. The wait doubles from one repeat to the next.
const FIRST: Duration = Duration::from_millis(100);

/// The longest wait before any repeat.
const LONGEST: Duration = Duration::from_secs(3);

/// The waits between the attempts at one call: exponential, with jitter.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    repeats: u32,
}

impl Backoff {
    /// Returns when the next repeat may be made. `None` if the repeats are used up, or if the deadline
    /// `until` comes first.
    pub(crate) fn next(
        &mut self,
        now: Timestamp,
        until: Timestamp,
        random: &mut fastrand::Rng,
    ) -> Option<Timestamp> {
        if self.repeats == MOST_REPEATS {
            return None;
        }
        let at = self.persist(now, random);
        (at < until).then_some(at)
    }

    /// Returns when the next repeat may be made, however many were made before.
    pub(crate) fn persist(&mut self, now: Timestamp, random: &mut fastrand::Rng) -> Timestamp {
        let doublings = self.repeats.min(MOST_REPEATS);
        let longest = FIRST.saturating_mul(1 << doublings).min(LONGEST);
        self.repeats = doublings + 1;
        timestamp::later(now, longest.mul_f64(0.5 + random.f64() / 2.0)).unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const LATE: Duration = Duration::from_mins(15);

    #[test]
    fn repeats_are_bounded_in_number_and_time() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut backoff = Backoff::default();
        let mut now = NOW;
        let mut repeats = 0;
        while let Some(at) = backoff.next(now, NOW + LATE, &mut random) {
            now = at;
            repeats += 1;
        }
        assert_eq!(repeats, MOST_REPEATS);
        let total = now - NOW;
        assert!(total > Duration::from_secs(6) && total < Duration::from_secs(13));
    }

    #[test]
    fn no_repeat_comes_at_the_deadline_or_after() {
        let first = |until| {
            let mut random = fastrand::Rng::with_seed(7);
            Backoff::default().next(NOW, until, &mut random)
        };
        let at = first(NOW + LATE).unwrap();
        assert_eq!(first(at), None);
        assert_eq!(first(at + Duration::from_nanos(1)), Some(at));
    }

    #[test]
    fn each_wait_is_spread_over_the_upper_half_of_its_longest() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut many = vec![Backoff::default(); 200];
        for longest in [100, 200, 400, 800, 1600, 3000, 3000, 3000].map(Duration::from_millis) {
            let waits = many
                .iter_mut()
                .filter_map(|one| one.next(NOW, NOW + LATE, &mut random));
            let mut waits: Vec<Duration> = waits.map(|at| (at - NOW).unsigned_abs()).collect();
            waits.sort();
            assert!(waits[0] >= longest / 2, "{waits:?}");
            assert!(waits[199] <= longest, "{waits:?}");
            // Calls that were throttled together are not repeated together.
            assert!(waits[199] > waits[0] + longest / 4, "{waits:?}");
        }
        let mut more = many
            .iter_mut()
            .map(|one| one.next(NOW, NOW + LATE, &mut random));
        assert!(more.all(|at| at.is_none()));
    }

    #[test]
    fn a_persistent_caller_waits_no_longer_than_the_longest_wait() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut backoff = Backoff::default();
        for _ in 0..100 {
            let at = backoff.persist(NOW, &mut random);
            assert!(at > NOW && at <= NOW + LONGEST);
        }
    }
}
