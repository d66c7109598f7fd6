//! The clock.

use std::time::SystemTime;

use tokio::time::Instant;

/// The clock of a local AWS.
#[derive(Clone, Debug)]
pub struct Clock(Kind);

#[derive(Clone, Debug)]
enum Kind {
    System,
    Tokio { start: SystemTime, origin: Instant },
}

impl Clock {
    /// Returns the machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Kind::System)
    }

    /// Creates a clock that shows `start` now and moves with tokio's time: paused if that is paused, advanced
    /// with it.
    #[must_use]
    pub fn paused(start: SystemTime) -> Self {
        Self(Kind::Tokio {
            start,
            origin: Instant::now(),
        })
    }

    /// Returns the time.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        match &self.0 {
            Kind::System => SystemTime::now(),
            Kind::Tokio { start, origin } => *start + origin.elapsed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_paused_clock_moves_with_tokio() {
        let clock = Clock::paused(UNIX_EPOCH);
        assert_eq!(clock.now(), UNIX_EPOCH);
        tokio::time::sleep(Duration::from_mins(10)).await;
        assert_eq!(clock.now(), UNIX_EPOCH + Duration::from_mins(10));
    }
}
