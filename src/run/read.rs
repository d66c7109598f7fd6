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

/// What a response means for the read.
#[derive(Debug)]
pub(super) enum ReadProgress {
    /// The read is done.
    Done(Reading),
    /// Another call is to be made.
    Again(Next),
    /// The read failed for good, or its retries are used up.
    Failed(CallError),
}

impl DeploymentRead {
    /// What earlier calls have shown, if no more can be made.
    pub(super) fn known(&self) -> Option<Reading> {
        self.continuation.as_ref().and_then(Continuation::known)
    }

    /// Applies a response. What earlier calls have shown stands if later ones fail.
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
        match known {
            Some(reading) => ReadProgress::Done(reading),
            None => ReadProgress::Failed(error),
        }
    }
}
