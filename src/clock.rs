//! The time of a run, and how it is shared out.

use std::time::Duration;

use tokio::time::Instant;

use crate::timestamp::{self, Timestamp};

/// Tells the time of day by a clock that only goes forward: the system's is read once, when the
/// run starts.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Timestamp,
    started: Instant,
}

impl Clock {
    /// A clock that says `now` now.
    #[must_use]
    pub fn starting_at(now: Timestamp) -> Self {
        Self {
            start: now,
            started: Instant::now(),
        }
    }

    /// The time of day.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        timestamp::later(self.start, self.started.elapsed()).unwrap_or(self.start)
    }

    /// How long it is from now to a time of day; nothing if that is past.
    #[must_use]
    pub fn until(&self, time: Timestamp) -> Duration {
        (time - self.now()).try_into().unwrap_or_default()
    }
}

/// How a run's time is shared out before the Lambda deadline.
///
/// A tenth of it, 10 seconds at most, is kept for publishing, so that no outcome is lost to the
/// deadline; before that, some time is kept to look what became of calls whose answer is awaited.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// No new cancel is asked for, and nothing is followed, after this.
    pub act_until: Instant,
    /// No answer to a cancel is waited for after this: there must be time to look what became of it.
    pub cancel_until: Instant,
    /// No answer of the engine is waited for after this.
    pub look_until: Instant,
    /// No answer of EventBridge is waited for after this.
    pub publish_until: Instant,
}

impl Budget {
    /// Shares out the time that is left.
    #[must_use]
    pub fn of(left: Duration) -> Self {
        let now = Instant::now();
        let share = |percent: u32, least: u64, most: u64| {
            // A run of a second has something left to act in, too.
            let least = Duration::from_millis(least).min(left * 15 / 100);
            (left * percent / 100).clamp(least, Duration::from_millis(most))
        };
        let publish = left.saturating_sub(share(3, 200, 2_000));
        let look = publish.saturating_sub(share(10, 500, 10_000));
        let act = look.saturating_sub(share(5, 300, 5_000));
        Self {
            act_until: now + act,
            cancel_until: now + (act + look) / 2,
            look_until: now + look,
            publish_until: now + publish,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(seconds: u64) -> [Duration; 4] {
        let now = Instant::now();
        let budget = Budget::of(Duration::from_secs(seconds));
        [
            budget.act_until,
            budget.cancel_until,
            budget.look_until,
            budget.publish_until,
        ]
        .map(|until| until - now)
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_run_keeps_seconds_and_a_short_one_keeps_a_share() {
        for (seconds, milliseconds) in [
            (900, [883_000, 885_500, 888_000, 898_000]),
            (10, [8200, 8450, 8700, 9700]),
            (3, [2050, 2200, 2350, 2800]),
            (1, [550, 625, 700, 850]),
        ] {
            assert_eq!(shares(seconds), milliseconds.map(Duration::from_millis));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_without_time_has_no_share() {
        assert_eq!(shares(0), [Duration::ZERO; 4]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_goes_forward_from_where_it_started() {
        let start = Timestamp::from_unix_timestamp(1_790_000_000).unwrap();
        let clock = Clock::starting_at(start);
        tokio::time::advance(Duration::from_millis(1500)).await;
        assert_eq!(clock.now(), start + Duration::from_millis(1500));
        assert_eq!(
            clock.until(start + Duration::from_secs(2)),
            Duration::from_millis(500)
        );
        assert_eq!(clock.until(start), Duration::ZERO);
    }
}
