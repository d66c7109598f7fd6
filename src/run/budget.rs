//! The time of a run, and how it is shared out.

use std::time::Duration;

use crate::timestamp::{self, Timestamp};

/// The shares of a run's time before the Lambda deadline.
///
/// A tenth of the time, 10 seconds at most, is kept for publishing, so that no outcome is lost to the
/// deadline. Before that, some time is kept to read whether a cancel was accepted whose response is
/// awaited.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// No new cancel is asked for, and nothing is followed, after this.
    pub act_until: Timestamp,
    /// No response to a cancel is waited for after this: the deployment must be read again.
    pub cancel_until: Timestamp,
    /// No response of the engine is waited for after this.
    pub read_until: Timestamp,
    /// No response of EventBridge is waited for after this.
    pub(crate) publish_until: Timestamp,
}

impl Budget {
    /// Shares out the time that is left from `now`.
    #[must_use]
    pub fn new(now: Timestamp, left: Duration) -> Self {
        let share = |percent: u32, least: u64, most: u64| {
            // A run of a second has something left to act in, too.
            let least = Duration::from_millis(least).min(left * 15 / 100);
            (left * percent / 100).clamp(least, Duration::from_millis(most))
        };
        let publish = left.saturating_sub(share(3, 200, 2_000));
        let read = publish.saturating_sub(share(10, 500, 10_000));
        let act = read.saturating_sub(share(5, 300, 5_000));
        let at = |after| timestamp::later(now, after).unwrap_or(now);
        Self {
            act_until: at(act),
            cancel_until: at((act + read) / 2),
            read_until: at(read),
            publish_until: at(publish),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(seconds: u64) -> [Duration; 4] {
        let now = Timestamp::UNIX_EPOCH;
        let budget = Budget::new(now, Duration::from_secs(seconds));
        [
            budget.act_until,
            budget.cancel_until,
            budget.read_until,
            budget.publish_until,
        ]
        .map(|until| (until - now).unsigned_abs())
    }

    #[test]
    fn a_long_run_keeps_seconds_and_a_short_one_keeps_a_share() {
        for (seconds, milliseconds) in [
            (900, [883_000, 885_500, 888_000, 898_000]),
            (10, [8200, 8450, 8700, 9700]),
            (3, [2050, 2200, 2350, 2800]),
            (1, [550, 625, 700, 850]),
        ] {
            assert_eq!(shares(seconds), milliseconds.map(Duration::from_millis));
        }
    }

    #[test]
    fn a_run_without_time_has_no_share() {
        assert_eq!(shares(0), [Duration::ZERO; 4]);
    }
}
