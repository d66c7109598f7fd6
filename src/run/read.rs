//! The read of a certain deployment, which may take several calls, each with its own retries.

use super::agenda::Next;
use crate::aws::backoff::Backoff;
use crate::aws::call_error::CallError;
use crate::engine::{Continuation, ReadStep, Reading};
use crate::timestamp::Timestamp;

/// How far the read of a deployment has come.
#[derive(Debug, Default)]
pub(super) struct DeploymentRead {
    /// Where to continue. `None` before the first response.
    pub(super) continuation: Option<Continuation>,
    backoff: Backoff,
}

/// The meaning of a response for the read.
#[derive(Debug)]
pub(super) enum ReadProgress {
    /// The read is done.
    Done(Reading),
    /// Another call is to be made.
    Again(Next),
    /// The read failed for good, or its retries are used up. Earlier calls may have shown something.
    Failed(CallError, Option<Reading>),
}

impl DeploymentRead {
    /// Returns what earlier calls have shown, if no more can be made.
    pub(super) fn known(&self) -> Option<Reading> {
        self.continuation.as_ref().and_then(Continuation::known)
    }

    /// Applies a response.
    pub(super) fn progress(
        &mut self,
        result: Result<ReadStep, CallError>,
        now: Timestamp,
        until: Timestamp,
        random: &mut fastrand::Rng,
    ) -> ReadProgress {
        let error = match result {
            Ok(ReadStep::Done(reading)) => {
                *self = Self::default();
                return ReadProgress::Done(reading);
            }
            Ok(ReadStep::More(continuation)) => {
                self.continuation = Some(continuation);
                self.backoff = Backoff::default();
                return ReadProgress::Again(Next::Ready);
            }
            Err(error) => error,
        };
        if error.is_transient()
            && let Some(at) = self.backoff.next(now, until, random)
        {
            return ReadProgress::Again(Next::At(at));
        }
        let known = self.known();
        *self = Self::default();
        ReadProgress::Failed(error, known)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::fixture::{NOW, after, deployment};
    use super::*;
    use crate::aws::call_error::Fault;

    fn error(fault: Fault) -> CallError {
        CallError {
            fault,
            code: "Code".to_owned(),
            message: String::new(),
        }
    }

    fn done() -> ReadStep {
        ReadStep::Done(Reading::Of(Box::new(deployment("net"))))
    }

    #[test]
    fn a_transient_error_is_repeated_until_the_repeats_are_used_up() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut read = DeploymentRead::default();
        let until = NOW + Duration::from_mins(10);
        let mut fail = |read: &mut DeploymentRead| {
            read.progress(Err(error(Fault::Lost)), NOW, until, &mut random)
        };
        for _ in 0..8 {
            assert!(matches!(fail(&mut read), ReadProgress::Again(Next::At(at)) if at > NOW));
        }
        assert!(matches!(fail(&mut read), ReadProgress::Failed(..)));
        // The next read has repeats of its own.
        assert!(matches!(fail(&mut read), ReadProgress::Again(Next::At(_))));
    }

    #[test]
    fn a_permanent_error_and_the_end_of_the_time_are_final() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut read = DeploymentRead::default();
        for (fault, until) in [(Fault::Refused, after(60_000)), (Fault::Lost, after(1))] {
            let progress = read.progress(Err(error(fault)), NOW, until, &mut random);
            assert!(matches!(progress, ReadProgress::Failed(..)), "{fault:?}");
        }
        let progress = read.progress(Ok(done()), NOW, NOW, &mut random);
        assert!(matches!(progress, ReadProgress::Done(Reading::Of(_))));
    }
}
