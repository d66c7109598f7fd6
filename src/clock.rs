//! The clock of an invocation.

use std::time::Duration;

use tokio::time::Instant;

use crate::timestamp::{self, Timestamp};

/// A clock that returns the time of day and never goes back. The system's clock is read once, when the
/// invocation starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Timestamp,
    started: Instant,
}

impl Clock {
    /// Makes a clock whose present time is `now`.
    #[must_use]
    pub(crate) fn starting_at(now: Timestamp) -> Self {
        Self {
            start: now,
            started: Instant::now(),
        }
    }

    /// Returns the time of day.
    #[must_use]
    pub(crate) fn now(&self) -> Timestamp {
        timestamp::later(self.start, self.started.elapsed()).unwrap_or(self.start)
    }

    /// Returns the instant at a time of day. If that time is past, the present instant.
    #[must_use]
    pub(crate) fn instant(&self, time: Timestamp) -> Instant {
        Instant::now() + self.until(time)
    }

    /// Returns the time from now to a time of day. If that time is past, zero.
    #[must_use]
    pub(crate) fn until(&self, time: Timestamp) -> Duration {
        (time - self.now()).try_into().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
