//! Cancelling: each environment on its own, the oldest deployment first.
//!
//! A cancel names only the environment and hits whatever deployment is current. So a stale reading is
//! refreshed before the cancel, and a deployment whose cancel was accepted without a response is read
//! again. If the deployment is no longer `IN_PROGRESS`, no call is made. One race remains: a newer
//! deployment can start between the last read and the arrival of the cancel. No client can close it,
//! because neither API takes a deployment ID.

use super::Run;
use super::agenda::{Entry, Next, Stage};
use super::cancel::{Cancel, Phase};
use super::note::Note;
use crate::aws::backoff::Backoff;
use crate::aws::call_error::{CallError, Fault};
use crate::deployment::{Deployment, Status};
use crate::engine::Reading;

impl Run<'_> {
    /// The service accepted a cancel. What the response shows, if anything, is the deployment that the
    /// cancel hit.
    pub(super) fn on_cancelled(&mut self, entry: Entry, current: Option<Deployment>) {
        let Stage::Cancel(cancel) = entry.stage else {
            return;
        };
        self.first_accepted.get_or_insert(self.now);
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
        self.begin_to_follow(hit, cancel.requested_at);
    }

    /// A cancel failed. After a conflict the deployment is read.
    pub(super) fn on_cancel_error(&mut self, entry: Entry, error: CallError) {
        let Stage::Cancel(mut cancel) = entry.stage else {
            return;
        };
        if error.may_have_taken_effect() {
            cancel.is_lost = true;
            cancel.candidate.is_doubtful = true;
        }
        cancel.failure = error.clone();
        if error.fault == Fault::Conflict {
            return self.begin_to_read_outcome(cancel, Phase::Conflict);
        }
        let stage = Stage::Cancel(cancel);
        self.on_error(Entry { stage, ..entry }, error);
    }

    /// Makes no more attempts. A cancel whose response was lost may have been accepted all the same.
    pub(super) fn give_up(&mut self, mut cancel: Cancel, failure: CallError) {
        if cancel.phase != Phase::GivenUp {
            cancel.failure = failure;
        }
        let may_be_accepted = cancel.is_lost && cancel.failure.is_transient();
        let has_time = self.now < self.limits.budget.read_until;
        if cancel.phase == Phase::Due && may_be_accepted && has_time {
            self.begin_to_read_outcome(cancel, Phase::GivenUp);
        } else {
            self.end(cancel.failed());
        }
    }

    fn begin_to_read_outcome(&mut self, mut cancel: Cancel, phase: Phase) {
        cancel.phase = phase;
        let until = self.limits.budget.read_until;
        let entry = Entry::new(Stage::Cancel(cancel), until, self.now);
        self.agenda.put(entry, Next::Ready);
    }

    /// Applies a reading of a deployment that is to be cancelled.
    pub(super) fn on_reading_for_cancel(
        &mut self,
        mut cancel: Cancel,
        backoff: Backoff,
        reading: Reading,
    ) {
        let seen = match reading {
            Reading::Of(seen) => *seen,
            Reading::HitNewer { meant, newer } => {
                self.note(Note::hit_newer(&meant, &newer));
                return self.begin_to_follow(*newer, cancel.requested_at);
            }
            Reading::Superseded => {
                if cancel.phase == Phase::Due || (cancel.phase == Phase::Conflict && cancel.is_lost)
                {
                    cancel.failure = CallError::superseded();
                }
                return self.end(cancel.failed());
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
                cancel.candidate.read_at = self.now;
                cancel.candidate.is_doubtful = false;
                let (stage, until) = (Stage::Cancel(cancel), self.limits.budget.act_until);
                let entry = Entry::new(stage, until, self.now);
                self.agenda.put(Entry { backoff, ..entry }, Next::Ready);
            }
            Phase::Conflict | Phase::GivenUp if is_in_progress && !is_repeat => {
                self.end(cancel.failed());
            }
            Phase::Due | Phase::Conflict | Phase::GivenUp => {
                self.begin_to_follow(cancel.candidate.deployment, cancel.requested_at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{NOW, candidate, deployment, limits};
    use super::super::{Report, Word};
    use super::*;
    use crate::report::outcome::End;

    fn entry() -> Entry {
        let cancel = Stage::Cancel(Cancel::new(candidate(deployment("net"))));
        Entry::new(cancel, limits().budget.act_until, NOW)
    }

    #[test]
    fn the_deployment_that_a_response_shows_is_the_one_that_was_hit() {
        let shown = |id: &str| Deployment {
            id: Some(id.to_owned()),
            status: Status::Cancelling,
            ..deployment("net")
        };
        for (current, hit, is_newer) in [
            (None, "d-net", false),
            (Some(shown("d-net")), "d-net", false),
            (Some(shown("d-2")), "d-2", true),
        ] {
            let mut run = Run::empty(limits(), NOW);
            run.on_cancelled(entry(), current);
            let mut reports = run.take_reports();
            let Some(Report::Outcome(outcome, Word::First)) = reports.pop() else {
                panic!("`CANCELLING` is reported");
            };
            assert_eq!(outcome.end, End::Cancelling);
            assert_eq!(outcome.subject.id.as_deref(), Some(hit));
            let is_noted = matches!(reports.as_slice(), [Report::Note(Note::HitNewer { .. })]);
            assert_eq!(is_noted, is_newer, "{reports:?}");
        }
    }
}
