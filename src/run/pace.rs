//! The pace of calls: as fast as the service takes them, no faster.
//!
//! Nothing is held back until the service throttles. From then on calls are spaced. As in TCP's
//! congestion control, the rate starts from what the service took lately and grows by more than half in a second
//! until the service throttles again; after that each refusal brings it down to what the service
//! took lately, and each success speeds it up a little.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What a refusal leaves of the rate at which the service took calls lately.
const MARGIN: f64 = 0.98;

/// The most that one refusal takes from the rate.
const DECREASE: f64 = 0.85;

/// By how much the rate grows in a second once the service has throttled spaced calls, in calls a
/// second.
const INCREASE: f64 = 1.0;

/// What each success adds to the rate before that, in calls a second.
const GROWTH: f64 = 0.6;

/// The least rate, in calls a second.
const SLOWEST: f64 = 2.0;

/// The least rate to start from.
const FIRST: f64 = 8.0;

/// Refusals that come this close on one that was heeded tell nothing new: the calls were under way.
const DEAF: Duration = Duration::from_millis(400);

/// How far back successes are counted to learn the service's rate.
const WINDOW: Duration = Duration::from_secs(1);

/// The most successes that are remembered.
const MOST_REMEMBERED: usize = 1024;

/// Spaces calls once the service has throttled one.
#[derive(Debug, Default)]
pub struct Pace(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Calls a second; `None` until the service throttles.
    rate: Option<f64>,
    /// Whether the service has throttled calls that were spaced: the rate is close to its limit.
    is_close: bool,
    next: Option<Instant>,
    heeded: Option<Instant>,
    successes: VecDeque<Instant>,
}

impl Pace {
    /// Waits for the moment at which the next call may be made.
    pub async fn turn(&self) {
        if let Some(at) = self.book() {
            tokio::time::sleep_until(at).await;
        }
    }

    /// Takes the next moment; those who come later get a later one.
    fn book(&self) -> Option<Instant> {
        self.with(|state| {
            let rate = state.rate?;
            let at = state
                .next
                .map_or_else(Instant::now, |next| next.max(Instant::now()));
            state.next = Some(at + Duration::from_secs_f64(1.0 / rate));
            Some(at)
        })
    }

    /// Whether the service has throttled a call.
    pub fn is_known(&self) -> bool {
        self.with(|state| state.rate.is_some())
    }

    /// The service took a call.
    pub fn taken(&self) {
        self.with(|state| {
            let is_close = state.is_close;
            if let Some(rate) = &mut state.rate {
                *rate += if is_close { INCREASE / *rate } else { GROWTH };
            }
            state.successes.push_back(Instant::now());
            if state.successes.len() > MOST_REMEMBERED {
                state.successes.pop_front();
            }
        });
    }

    /// The service throttled a call.
    pub fn throttled(&self) {
        self.with(|state| {
            let now = Instant::now();
            if state.heeded.is_some_and(|heeded| now - heeded < DEAF) {
                return;
            }
            state.heeded = Some(now);
            let rate = match state.rate {
                Some(rate) => {
                    state.is_close = true;
                    let taken = state.lately(now).clamp(rate * DECREASE, rate);
                    (taken * MARGIN).max(SLOWEST)
                }
                // Half of it may have been what the service had saved up.
                None => (state.lately(now) / 2.0).max(FIRST),
            };
            state.rate = Some(rate);
            let pause = now + Duration::from_secs_f64(1.0 / rate);
            state.next = Some(state.next.map_or(pause, |next| next.max(pause)));
        });
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    /// The calls that were taken within the last second.
    fn lately(&self, now: Instant) -> f64 {
        let count = self
            .successes
            .iter()
            .rev()
            .take_while(|success| now - **success < WINDOW)
            .count();
        u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn time_of(turns: usize, pace: &Pace) -> Duration {
        let start = Instant::now();
        for _ in 0..turns {
            pace.turn().await;
        }
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_held_back_until_the_service_throttles() {
        assert_eq!(time_of(1000, &Pace::default()).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_refusal_calls_follow_half_the_rate_the_service_took_lately() {
        let pace = Pace::default();
        for _ in 0..20 {
            pace.taken();
        }
        pace.throttled();
        let time = time_of(20, &pace).await;
        assert!(
            (Duration::from_millis(1950)..=Duration::from_millis(2050)).contains(&time),
            "{time:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_of_calls_that_were_under_way_count_once() {
        let pace = Pace::default();
        for _ in 0..20 {
            pace.taken();
        }
        for _ in 0..10 {
            pace.throttled();
        }
        assert!(time_of(20, &pace).await <= Duration::from_millis(2050));
    }

    #[tokio::test(start_paused = true)]
    async fn further_refusals_slow_down_and_successes_speed_up() {
        let pace = Pace::default();
        for _ in 0..20 {
            pace.taken();
        }
        pace.throttled();
        tokio::time::advance(WINDOW).await;
        pace.throttled();
        let slower = time_of(20, &pace).await;
        assert!(slower > Duration::from_millis(2100), "{slower:?}");
        for _ in 0..400 {
            pace.taken();
        }
        let faster = time_of(20, &pace).await;
        assert!(faster < slower, "{faster:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_took_nothing_is_still_asked() {
        let pace = Pace::default();
        pace.throttled();
        assert!(time_of(2, &pace).await <= Duration::from_secs(5));
    }
}
