//! The clock of an invocation.

use std::time::Duration;

use tokio::time::Instant;

use crate::timestamp::{self, Timestamp};

/// Tells the time of day by a clock that only goes forward: the system's is read once, when the
/// run starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Timestamp,
    started: Instant,
}

impl Clock {
    /// A clock that says `now` now.
    #[must_use]
    pub(crate) fn starting_at(now: Timestamp) -> Self {
        Self {
            start: now,
            started: Instant::now(),
        }
    }

    /// The time of day.
    #[must_use]
    pub(crate) fn now(&self) -> Timestamp {
        timestamp::later(self.start, self.started.elapsed()).unwrap_or(self.start)
    }

    /// The instant at a time of day; the present one for a time that is past.
    #[must_use]
    pub(crate) fn instant(&self, time: Timestamp) -> Instant {
        Instant::now() + self.until(time)
    }

    /// How long it is from now to a time of day; nothing if that is past.
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
