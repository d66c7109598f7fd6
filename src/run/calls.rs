//! Calls to the engine: bounded in number, paced, given up in time, and retried in this one layer.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::aws::call_error::{CallError, Fault};
use crate::deployment::Deployment;
use crate::engine::{Engine, Further, Look, Sight, Trace};
use crate::run::backoff::Backoff;
use crate::run::pace::Pace;

/// How long one attempt may wait for its answer.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the second of two attempts within a turn waits for the service's pace.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long a look is repeated that gets no further.
const PATIENCE: Duration = Duration::from_secs(15);

/// Calls in flight at the most before the service has answered one. Each that it takes makes room
/// for one more: a service that throttles is not met with a volley of a hundred calls.
const FIRST_VOLLEY: usize = 20;

/// The calls of one run.
#[derive(Debug)]
pub struct Calls<'a> {
    engine: &'a Engine,
    places: Semaphore,
    /// Places that are still to be opened.
    closed: AtomicUsize,
    pace: Pace,
}

/// The right to have one call in flight.
#[derive(Debug)]
pub struct Turn<'a> {
    _place: Option<SemaphorePermit<'a>>,
}

impl<'a> Calls<'a> {
    /// Calls to this engine, at most `concurrency` in flight.
    #[must_use]
    pub fn new(engine: &'a Engine, concurrency: usize) -> Self {
        Self {
            engine,
            places: Semaphore::new(concurrency.min(FIRST_VOLLEY)),
            closed: AtomicUsize::new(concurrency.saturating_sub(FIRST_VOLLEY)),
            pace: Pace::default(),
        }
    }

    /// The engine that is called.
    #[must_use]
    pub fn engine(&self) -> &'a Engine {
        self.engine
    }

    /// Waits for a place among the calls in flight, and for the service's pace; nothing if neither
    /// comes before `until`.
    pub async fn turn(&self, until: Instant) -> Option<Turn<'_>> {
        if Instant::now() >= until {
            return None;
        }
        let waited = tokio::time::timeout_at(until, async {
            let place = self.places.acquire().await.ok();
            self.pace.turn().await;
            place
        });
        waited.await.ok().map(|place| Turn { _place: place })
    }

    /// Makes one attempt within a turn, and gives it up when its time is over or at `until`.
    pub async fn attempt<T>(
        &self,
        _within: &Turn<'_>,
        until: Instant,
        call: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CallError> {
        let answer = answered(until, call).await;
        match &answer {
            Ok(_) => {
                self.pace.taken();
                self.open_a_place();
            }
            Err(error) if error.fault == Fault::Throttled => self.pace.throttled(),
            Err(_) => {}
        }
        answer
    }

    /// Whether the service has throttled one of them.
    #[must_use]
    pub fn are_throttled(&self) -> bool {
        self.pace.is_known()
    }

    fn open_a_place(&self) {
        let one_less = |closed: usize| closed.checked_sub(1);
        if self
            .closed
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
            .is_ok()
        {
            self.places.add_permits(1);
        }
    }

    /// Waits for the service's pace once more, for an attempt that follows on another within the
    /// same turn; but not so long that what the first one told is old.
    pub async fn another(&self) {
        // Running into the limit is no error: the call is made, then.
        let _ = tokio::time::timeout(LONGEST_PAUSE, self.pace.turn()).await;
    }

    /// Looks at a deployment within a turn. A passing failure of the first call is the caller's to
    /// repeat; those that follow on it wait for the service's pace, and are repeated here, for what
    /// was read before need not be read again. What is known when they can go no further stands.
    pub async fn look(
        &self,
        within: &Turn<'_>,
        until: Instant,
        deployment: &Deployment,
    ) -> Result<Sight, CallError> {
        let first = self.engine.look_at(deployment);
        let mut trace = match self.attempt(within, until, first).await? {
            Look::Told(sight) => return Ok(sight),
            Look::Further(trace) => trace,
        };
        match self
            .look_further(within, until, deployment, &mut trace)
            .await
        {
            Ok(sight) => Ok(sight),
            Err(error) => trace.known().ok_or(error),
        }
    }

    async fn look_further(
        &self,
        within: &Turn<'_>,
        until: Instant,
        deployment: &Deployment,
        trace: &mut Trace,
    ) -> Result<Sight, CallError> {
        let mut backoff = Backoff::default();
        let mut patience = until.min(Instant::now() + PATIENCE);
        loop {
            let _ = tokio::time::timeout_at(until, self.another()).await;
            let further = trace.further(deployment);
            match self.attempt(within, patience, further).await {
                Ok(Further::Told(told)) => return told,
                Ok(Further::More) => {
                    backoff = Backoff::default();
                    patience = until.min(Instant::now() + PATIENCE);
                }
                Err(error) if error.is_transient() && backoff.wait(patience).await => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Looks at a deployment, and again while it fails for a passing reason.
    pub async fn look_until_told(
        &self,
        until: Instant,
        deployment: &Deployment,
    ) -> Result<Sight, CallError> {
        self.repeated(until, async |turn| self.look(turn, until, deployment).await)
            .await
    }

    /// Makes a call that changes nothing, and repeats it while it fails for a passing reason.
    pub async fn retried<T, F: Future<Output = Result<T, CallError>>>(
        &self,
        until: Instant,
        mut call: impl FnMut() -> F,
    ) -> Result<T, CallError> {
        self.repeated(until, async |turn| self.attempt(turn, until, call()).await)
            .await
    }

    /// Attempts it within a turn of its own each time, while it fails for a passing reason.
    async fn repeated<T>(
        &self,
        until: Instant,
        mut attempt: impl AsyncFnMut(&Turn<'_>) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let mut backoff = Backoff::default();
        loop {
            let turn = self.turn(until).await.ok_or_else(CallError::late)?;
            let error = match attempt(&turn).await {
                Err(error) if error.is_transient() => error,
                answer => return answer,
            };
            drop(turn);
            if !backoff.wait(until).await {
                return Err(error);
            }
        }
    }
}

/// The call's answer, or that there was none in time.
pub async fn answered<T>(
    until: Instant,
    call: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    let started = Instant::now();
    let until = until.min(started + ANSWER_TIMEOUT);
    tokio::time::timeout_at(until, call)
        .await
        .unwrap_or_else(|_| Err(CallError::unanswered(started.elapsed())))
}
