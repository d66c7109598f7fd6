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
        if cancel.phase == Phase::Due && may_be_accepted {
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
    use super::super::fixture::{NOW, candidate, deployment, error, limits, name, shown};
    use super::super::{Report, Word};
    use super::*;
    use crate::report::outcome::End;

    fn cancel(phase: Phase, is_lost: bool, failure: CallError) -> Cancel {
        Cancel {
            phase,
            is_lost,
            failure,
            ..Cancel::new(candidate(deployment("net")))
        }
    }

    /// Returns the last report by name or code, and the number of notes before it.
    fn reported(run: &mut Run<'_>) -> (Option<String>, usize) {
        let mut reports = run.take_reports();
        let last = reports.pop().map(|last| match last {
            Report::Outcome(outcome, _) => match outcome.end.error() {
                Some(error) => error.code.clone(),
                None => outcome.end.name().to_owned(),
            },
            Report::Note(note) => panic!("{note:?} comes last"),
        });
        let is_note = |report: &Report| matches!(report, Report::Note(_));
        assert!(reports.iter().all(is_note), "{reports:?}");
        (last, reports.len())
    }

    #[test]
    fn the_deployment_that_a_response_shows_is_the_one_that_was_hit() {
        let stopping = |id| Deployment {
            message: Some("stopping".to_owned()),
            ..shown(id, Status::Cancelling)
        };
        for (current, hit, message, is_newer) in [
            (None, "d-net", None, false),
            (Some(stopping("d-net")), "d-net", Some("stopping"), false),
            (Some(stopping("d-2")), "d-2", Some("stopping"), true),
        ] {
            let mut run = Run::empty(limits(), NOW);
            let until = limits().budget.act_until;
            let stage = Stage::Cancel(cancel(Phase::Due, false, CallError::late()));
            run.on_cancelled(Entry::new(stage, until, NOW), current);
            let mut reports = run.take_reports();
            let Some(Report::Outcome(outcome, Word::First)) = reports.pop() else {
                panic!("`CANCELLING` is reported");
            };
            assert_eq!(outcome.end, End::Cancelling);
            assert_eq!(outcome.subject.id.as_deref(), Some(hit));
            let read = outcome.deployment.unwrap();
            assert_eq!(read.message.as_deref(), message);
            let is_noted = matches!(reports.as_slice(), [Report::Note(Note::HitNewer { .. })]);
            assert_eq!(is_noted, is_newer, "{reports:?}");
        }
    }

    #[test]
    fn a_cancel_that_may_be_accepted_is_read_before_it_is_given_up() {
        let lost = || error(Fault::Lost, "lost");
        let refused = || error(Fault::Refused, "refused");
        for (phase, is_lost, error, code) in [
            (Phase::Due, true, lost(), None),
            (Phase::Due, true, refused(), Some("refused")),
            (
                Phase::Due,
                false,
                error(Fault::Throttled, "slow"),
                Some("slow"),
            ),
            (Phase::Conflict, true, lost(), Some("lost")),
            (Phase::Conflict, false, refused(), Some("refused")),
            (Phase::GivenUp, true, refused(), Some("last attempt")),
        ] {
            let mut run = Run::empty(limits(), NOW);
            let before = cancel(phase, is_lost, self::error(Fault::Broken, "last attempt"));
            run.give_up(before, error);
            assert_eq!(
                reported(&mut run),
                (code.map(str::to_owned), 0),
                "{phase:?}"
            );
            let entry = run.agenda.take(&name("net"));
            let until = code.is_none().then_some(limits().budget.read_until);
            assert_eq!(entry.map(|entry| entry.until), until, "{phase:?}");
        }
    }

    /// Returns what follows a reading: the outcome by name or code, with a mark for a note, or the
    /// cancel.
    fn result(phase: Phase, is_lost: bool, code: &str, reading: Reading) -> String {
        let mut run = Run::empty(limits(), NOW);
        let before = cancel(phase, is_lost, error(Fault::Conflict, code));
        run.on_reading_for_cancel(before, Backoff::default(), reading);
        let entry = run.agenda.take(&name("net"));
        let is_to_be_cancelled = matches!(entry.map(|one| one.stage), Some(Stage::Cancel(_)));
        let (reported, notes) = reported(&mut run);
        assert_eq!(is_to_be_cancelled, reported.is_none());
        let reported = reported.unwrap_or_else(|| "cancel".to_owned());
        format!("{reported}{}", "!".repeat(notes))
    }

    fn of(status: Status) -> Reading {
        Reading::Of(Box::new(shown("d-net", status)))
    }

    #[test]
    fn a_reading_before_a_cancel_confirms_it_or_ends_it() {
        for (is_lost, status, expected) in [
            (false, Status::InProgress, "cancel"),
            (true, Status::InProgress, "cancel"),
            (false, Status::Cancelling, "CANCELLING"),
            (false, Status::Succeeded, "SUCCEEDED"),
            (true, Status::Succeeded, "SUCCEEDED!"),
            (true, Status::Failed, "FAILED"),
        ] {
            let case = format!("{is_lost} {status:?}");
            let result = result(Phase::Due, is_lost, "500", of(status));
            assert_eq!(result, expected, "{case}");
        }
        let superseded = result(Phase::Due, false, "500", Reading::Superseded);
        assert_eq!(superseded, "Superseded");
    }

    #[test]
    fn a_reading_after_the_last_attempt_decides_what_became_of_it() {
        const REPEAT: &str = "TokenAlreadyExistsException";
        use Phase::{Conflict, GivenUp};
        use Status::{Cancelled, Cancelling, InProgress};
        for (phase, is_lost, code, status, expected) in [
            (Conflict, false, "409", Some(InProgress), "409"),
            (Conflict, true, "409", Some(InProgress), "409"),
            (Conflict, false, REPEAT, Some(InProgress), REPEAT),
            (Conflict, true, REPEAT, Some(InProgress), "CANCELLING"),
            (Conflict, false, "409", Some(Cancelled), "CANCELLED"),
            (Conflict, false, "409", None, "409"),
            (Conflict, true, "409", None, "Superseded"),
            (GivenUp, true, "500", Some(InProgress), "500"),
            (GivenUp, true, "500", Some(Cancelling), "CANCELLING"),
            (GivenUp, true, "500", None, "500"),
        ] {
            let case = format!("{phase:?} {is_lost} {code} {status:?}");
            let reading = status.map_or(Reading::Superseded, of);
            assert_eq!(result(phase, is_lost, code, reading), expected, "{case}");
        }
    }
}
