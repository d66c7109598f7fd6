//! Cancelling: each environment on its own, the oldest deployment first.
//!
//! A cancel names only the environment and hits whatever deployment is current. So a stale reading is
//! refreshed before the cancel, and a deployment whose cancel was accepted without a response is read
//! again. If the deployment is no longer `IN_PROGRESS`, no call is made. One race remains: a newer
//! deployment can start between the last read and the arrival of the cancel. No client can close it,
//! because neither API takes a deployment ID.

use super::agenda::{Entry, Next, Stage};
use super::cancel::{Cancel, Phase};
use super::note::Note;
use super::{Run, Word};
use crate::aws::backoff::Backoff;
use crate::aws::call_error::{CallError, Fault};
use crate::deployment::{Deployment, EnvironmentName, Status};
use crate::engine::Reading;
use crate::timestamp::Timestamp;

impl Run<'_> {
    /// Applies the response to a cancel.
    pub(super) fn on_cancel(
        &mut self,
        name: &EnvironmentName,
        result: Result<Option<Deployment>, CallError>,
        now: Timestamp,
    ) {
        let Some(entry) = self.agenda.take(name) else {
            return;
        };
        let Stage::Cancel(mut cancel) = entry.stage else {
            return;
        };
        let error = match result {
            Ok(current) => return self.accepted(cancel, current, now),
            Err(error) => error,
        };
        if error.may_have_taken_effect() {
            cancel.is_lost = true;
            cancel.candidate.is_doubtful = true;
        }
        cancel.failure = error.clone();
        if error.fault == Fault::Conflict {
            return self.begin_to_read_outcome(cancel, Phase::Conflict, now);
        }
        let stage = Stage::Cancel(cancel);
        if let Some(entry) = self.retry(Entry { stage, ..entry }, &error, now)
            && let Stage::Cancel(cancel) = entry.stage
        {
            self.give_up(cancel, error, now);
        }
    }

    /// Makes no more attempts. A cancel whose response was lost may have been accepted all the same.
    pub(super) fn give_up(&mut self, mut cancel: Cancel, failure: CallError, now: Timestamp) {
        if cancel.phase != Phase::GivenUp {
            cancel.failure = failure;
        }
        let may_be_accepted = cancel.is_lost && cancel.failure.is_transient();
        if cancel.phase == Phase::Due && may_be_accepted && now < self.limits.budget.read_until {
            self.begin_to_read_outcome(cancel, Phase::GivenUp, now);
        } else {
            self.report(cancel.failed(), Word::Last);
        }
    }

    fn begin_to_read_outcome(&mut self, mut cancel: Cancel, phase: Phase, now: Timestamp) {
        cancel.phase = phase;
        self.begin(Stage::Cancel(cancel), self.limits.budget.read_until, now);
    }

    /// Ends a cancel whose time is over.
    pub(super) fn expire_cancel(&mut self, cancel: Cancel, known: Option<Reading>, now: Timestamp) {
        let failure = match (cancel.phase, known) {
            (Phase::Conflict | Phase::GivenUp, Some(reading)) => {
                return self.on_reading_for_cancel(cancel, Backoff::default(), reading, now);
            }
            // There was no read after the conflict: the retry of the event makes one.
            (Phase::Conflict, None) => CallError::late(),
            (Phase::Due | Phase::GivenUp, _) => cancel.failure.clone(),
        };
        self.give_up(cancel, failure, now);
    }

    /// The service accepted a cancel. What the response shows, if anything, is the deployment that the
    /// cancel hit.
    fn accepted(&mut self, cancel: Cancel, current: Option<Deployment>, now: Timestamp) {
        self.first_accepted.get_or_insert(now);
        let meant = cancel.candidate.deployment;
        let hit = match current {
            None => meant,
            Some(current) if current.is_same_as(&meant) => Deployment {
                status: current.status,
                message: current.message,
                ended_at: current.ended_at,
                ..meant
            },
            Some(newer) => {
                self.note(Note::hit_newer(&meant, &newer));
                newer
            }
        };
        self.begin_to_follow(hit, cancel.requested_at, now);
    }

    /// Applies a reading of a deployment that is to be cancelled.
    pub(super) fn on_reading_for_cancel(
        &mut self,
        mut cancel: Cancel,
        backoff: Backoff,
        reading: Reading,
        now: Timestamp,
    ) {
        let seen = match reading {
            Reading::Of(seen) => *seen,
            Reading::HitNewer { meant, newer } => {
                self.note(Note::hit_newer(&meant, &newer));
                return self.begin_to_follow(*newer, cancel.requested_at, now);
            }
            Reading::Superseded => {
                if cancel.phase == Phase::Due || (cancel.phase == Phase::Conflict && cancel.is_lost)
                {
                    cancel.failure = CallError::superseded();
                }
                return self.report(cancel.failed(), Word::Last);
            }
        };
        let is_in_progress = seen.status == Status::InProgress;
        let deployment = cancel.candidate.deployment.seen_again(seen);
        if cancel.is_lost && deployment.status == Status::Succeeded {
            self.note(Note::MayHaveHitNewer(deployment.environment.name.clone()));
        }
        cancel.candidate.deployment = deployment;
        // If the service calls this cancel a repeat, it has accepted the attempt whose response was lost.
        let is_repeat = cancel.is_lost && cancel.failure.says_it_is_a_repeat();
        match cancel.phase {
            Phase::Due if is_in_progress => {
                cancel.candidate.read_at = now;
                cancel.candidate.is_doubtful = false;
                let (stage, until) = (Stage::Cancel(cancel), self.limits.budget.act_until);
                let entry = Entry::new(stage, until, now);
                self.agenda.put(Entry { backoff, ..entry }, Next::Ready);
            }
            Phase::Conflict if is_in_progress && !is_repeat => {
                self.report(cancel.failed(), Word::Last);
            }
            Phase::GivenUp if is_in_progress => self.report(cancel.failed(), Word::Last),
            Phase::Due | Phase::Conflict | Phase::GivenUp => {
                self.begin_to_follow(cancel.candidate.deployment, cancel.requested_at, now);
            }
        }
    }
}
