//! Permits: how many calls may be in flight at once.

/// Calls in flight at the most before the service has accepted one. Each accepted call adds a permit,
/// up to the limit, so that a service that throttles is not met with a hundred calls at once.
const FIRST: usize = 20;

/// The calls in flight, and how many there may be. A permit is held while a call is under way and at
/// no other time.
#[derive(Debug)]
pub(super) struct Permits {
    in_flight: usize,
    open: usize,
    limit: usize,
}

impl Permits {
    /// Permits for `limit` calls in flight.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            in_flight: 0,
            open: limit.min(FIRST),
            limit,
        }
    }

    /// The most calls in flight.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// True if another call may be made.
    pub(super) fn is_free(&self) -> bool {
        self.in_flight < self.open
    }

    /// A call is made.
    pub(super) fn take(&mut self) {
        self.in_flight += 1;
    }

    /// A call is answered, or given up.
    pub(super) fn give_back(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// The service accepted a call.
    pub(super) fn call_accepted(&mut self) {
        self.open = self.limit.min(self.open + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_in_flight_are_bounded_and_each_accepted_call_adds_one() {
        let mut permits = Permits::new(22);
        let mut taken = 0;
        while permits.is_free() {
            permits.take();
            taken += 1;
        }
        assert_eq!(taken, FIRST);
        for expected in [FIRST + 1, FIRST + 2, FIRST + 2] {
            permits.call_accepted();
            assert_eq!(permits.open, expected);
        }
        permits.give_back();
        assert!(permits.is_free());
    }

    #[test]
    fn one_permit_is_one_call() {
        let mut permits = Permits::new(1);
        permits.take();
        assert!(!permits.is_free());
        permits.call_accepted();
        assert!(!permits.is_free());
        permits.give_back();
        assert!(permits.is_free());
    }
}
