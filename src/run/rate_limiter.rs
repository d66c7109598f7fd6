//! The rate limiter: calls go as fast as the service accepts them, and no faster.
//!
//! Nothing is limited until the service throttles a call. From then on calls are spaced. As in TCP's
//! congestion control, the rate starts from what the service accepted lately and grows by more than
//! half in a second until the service throttles again. After that, each throttled call lowers the rate
//! to what the service accepted lately, and each accepted call raises it a little.

use std::collections::VecDeque;
use std::time::Duration;

use crate::timestamp::{self, Timestamp};

/// The share of the rate accepted lately that a throttled call leaves.
const MARGIN: f64 = 0.98;

/// The lowest share of the rate that one throttled call leaves.
const DECREASE: f64 = 0.85;

/// The growth of the rate in a second once spaced calls were throttled, in calls a second.
const INCREASE: f64 = 1.0;

/// The growth of the rate with each accepted call before that, in calls a second.
const GROWTH: f64 = 0.6;

/// The lowest rate, in calls a second.
const SLOWEST: f64 = 2.0;

/// The lowest rate to start from, in calls a second.
const FIRST: f64 = 8.0;

/// A throttled call this soon after another one says nothing new: both were under way together.
const SAME_BURST: Duration = Duration::from_millis(400);

/// The time over which accepted calls are counted.
const WINDOW: Duration = Duration::from_secs(1);

/// Spaces calls once the service has throttled one.
#[derive(Debug, Default)]
pub(super) struct RateLimiter {
    /// Calls a second. `None` until the service throttles.
    rate: Option<f64>,
    /// True if the service has throttled spaced calls: the rate is close to the service's.
    is_close: bool,
    /// When the next call may be made.
    next: Option<Timestamp>,
    /// When the last throttled call was counted.
    heeded: Option<Timestamp>,
    /// The calls that were accepted within the window.
    accepted: VecDeque<Timestamp>,
}

impl RateLimiter {
    /// Returns when the next call may be made. `None` if nothing limits it.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.rate.and(self.next)
    }

    /// Counts a call that is made. The interval counts from when the call was due, so that a late timer
    /// costs no rate. But a pause saves up no more than one call.
    pub(super) fn call_made(&mut self, now: Timestamp) {
        if let Some(rate) = self.rate {
            let interval = Duration::from_secs_f64(1.0 / rate);
            let due = self.next.and_then(|due| timestamp::later(due, interval));
            self.next = due.max(Some(now));
        }
    }

    /// Counts a call that the service accepted.
    pub(super) fn call_accepted(&mut self, now: Timestamp) {
        if let Some(rate) = &mut self.rate {
            *rate += if self.is_close {
                INCREASE / *rate
            } else {
                GROWTH
            };
        }
        self.accepted.push_back(now);
        self.forget(now);
    }

    /// Counts a call that the service throttled.
    pub(super) fn call_throttled(&mut self, now: Timestamp) {
        if self.heeded.is_some_and(|heeded| now - heeded < SAME_BURST) {
            return;
        }
        self.heeded = Some(now);
        self.forget(now);
        let lately = u32::try_from(self.accepted.len()).map_or(f64::MAX, f64::from);
        let rate = match self.rate {
            Some(rate) => {
                self.is_close = true;
                (lately.clamp(rate * DECREASE, rate) * MARGIN).max(SLOWEST)
            }
            // Half of the accepted calls may have come from the service's burst.
            None => (lately / 2.0).max(FIRST),
        };
        self.rate = Some(rate);
        self.next = timestamp::later(now, Duration::from_secs_f64(1.0 / rate)).max(self.next);
    }

    /// Forgets the calls that were accepted before the window.
    fn forget(&mut self, now: Timestamp) {
        let is_old = |accepted: &mut Timestamp| now - *accepted >= WINDOW;
        while self.accepted.pop_front_if(is_old).is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    /// Returns the time that this number of calls takes.
    fn time_of(calls: usize, limiter: &mut RateLimiter, start: Timestamp) -> Duration {
        let mut now = start;
        for _ in 0..calls {
            now = limiter.next().map_or(now, |next| next.max(now));
            limiter.call_made(now);
        }
        (now - start).unsigned_abs()
    }

    fn throttled_after(accepted: usize) -> RateLimiter {
        let mut limiter = RateLimiter::default();
        for _ in 0..accepted {
            limiter.call_accepted(NOW);
        }
        limiter.call_throttled(NOW);
        limiter
    }

    #[test]
    fn nothing_is_limited_until_the_service_throttles() {
        let mut limiter = RateLimiter::default();
        assert_eq!(time_of(1000, &mut limiter, NOW), Duration::ZERO);
        assert_eq!(limiter.next(), None);
    }

    #[test]
    fn after_a_throttled_call_the_rate_is_half_of_what_was_accepted_lately() {
        let mut limiter = throttled_after(20);
        assert!(limiter.next().is_some());
        let time = time_of(20, &mut limiter, NOW);
        assert!(
            (Duration::from_millis(1950)..=Duration::from_millis(2050)).contains(&time),
            "{time:?}"
        );
    }

    #[test]
    fn calls_that_are_throttled_in_one_burst_count_once() {
        let mut limiter = throttled_after(20);
        for milliseconds in [0, 100, 399] {
            limiter.call_throttled(NOW + Duration::from_millis(milliseconds));
            assert!(!limiter.is_close, "{milliseconds}");
        }
        limiter.call_throttled(NOW + SAME_BURST);
        assert!(limiter.is_close);
    }

    #[test]
    fn a_throttled_call_lowers_the_rate_to_a_little_less_than_what_was_accepted_lately() {
        for (accepted, rate) in [(30, 19.6), (19, 18.62), (5, 16.66)] {
            let mut limiter = RateLimiter {
                rate: Some(20.0),
                accepted: [NOW].repeat(accepted).into(),
                ..RateLimiter::default()
            };
            limiter.call_throttled(NOW);
            let lowered = limiter.rate.unwrap();
            assert!((lowered - rate).abs() < 0.001, "{accepted}: {lowered}");
        }
    }

    #[test]
    fn further_throttled_calls_slow_down_and_accepted_calls_speed_up() {
        let mut limiter = throttled_after(20);
        let now = NOW + WINDOW;
        limiter.call_throttled(now);
        let slower = time_of(20, &mut limiter, now);
        assert!(slower > Duration::from_millis(2100), "{slower:?}");
        for _ in 0..400 {
            limiter.call_accepted(now);
        }
        let faster = time_of(20, &mut limiter, now + slower);
        assert!(faster < slower, "{faster:?}");
    }

    #[test]
    fn calls_that_were_accepted_a_second_ago_do_not_count() {
        let mut limiter = RateLimiter::default();
        for milliseconds in [0, 1, 1000, 1500] {
            limiter.call_accepted(NOW + Duration::from_millis(milliseconds));
        }
        assert_eq!(limiter.accepted.len(), 2);
        limiter.call_throttled(NOW + Duration::from_secs(2));
        assert_eq!(limiter.accepted.len(), 1);
    }

    #[test]
    fn close_to_the_services_rate_a_second_of_accepted_calls_adds_one_call_a_second() {
        let mut limiter = RateLimiter {
            rate: Some(20.0),
            is_close: true,
            ..RateLimiter::default()
        };
        for _ in 0..20 {
            limiter.call_accepted(NOW);
        }
        let rate = limiter.rate.unwrap();
        assert!((20.9..=21.0).contains(&rate), "{rate}");
    }

    #[test]
    fn a_pause_saves_up_one_call_and_no_debt_grows() {
        let mut limiter = throttled_after(20);
        let later = NOW + Duration::from_mins(10);
        let time = time_of(11, &mut limiter, later);
        assert!(time >= Duration::from_millis(890), "{time:?}");
        // Without calls, the time of the next call does not move.
        assert!(limiter.next() <= Some(later + time + Duration::from_millis(101)));
    }

    #[test]
    fn the_rate_never_falls_below_the_slowest() {
        let mut limiter = RateLimiter::default();
        let mut now = NOW;
        for _ in 0..100 {
            limiter.call_throttled(now);
            now += Duration::from_secs(2);
        }
        let start = limiter.next().unwrap();
        assert!(time_of(3, &mut limiter, start) <= Duration::from_millis(1001));
    }
}
