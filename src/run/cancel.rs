//! Cancelling: each environment on its own, the oldest deployment first.
//!
//! A cancel names only the environment and hits whatever deployment is current. So a stale reading is
//! refreshed before the cancel, and a deployment whose cancel was accepted without a response is read
//! again. If the deployment is no longer `IN_PROGRESS`, no call is made. One race remains: a newer
//! deployment can start between the last read and the arrival of the cancel. No client can close it,
//! because neither API takes a deployment ID.

use std::time::Duration;

use super::agenda::{Entry, Next, Stage};
use super::call::{ListRequest, PageToken, Request};
use super::note::Note;
use super::selection::Candidate;
use super::{Budget, Run, Word};
use crate::aws::backoff::Backoff;
use crate::aws::call_error::{CallError, Fault};
use crate::deployment::{Deployment, EnvironmentName, Status};
use crate::engine::{Continuation, Reading};
use crate::report::outcome::{End, Outcome};
use crate::timestamp::Timestamp;

/// The age up to which a cancel relies on a reading.
const FRESH: Duration = Duration::from_secs(2);

/// An environment whose deployment is to be cancelled.
#[derive(Debug)]
pub(super) struct Cancel {
    pub(super) candidate: Candidate,
    phase: Phase,
    /// True if the response to an attempt was lost.
    is_lost: bool,
    /// When the cancel was asked for last.
    requested_at: Option<Timestamp>,
    /// The error of the last attempt. Before the first attempt, the error to report if none is made.
    failure: CallError,
}

/// The next step of a cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// To cancel, once the deployment was read lately.
    Due,
    /// To read what a conflict hides.
    Conflict,
    /// To read whether a cancel whose response was lost was accepted. It is not repeated any more.
    GivenUp,
}

impl Cancel {
    pub(super) fn new(candidate: Candidate) -> Self {
        Self {
            candidate,
            phase: Phase::Due,
            is_lost: false,
            requested_at: None,
            failure: CallError::late(),
        }
    }

    /// True if the cancel can be asked for without another reading.
    fn is_confirmed(&self, now: Timestamp) -> bool {
        let candidate = &self.candidate;
        self.phase == Phase::Due && !candidate.is_doubtful && now - candidate.read_at <= FRESH
    }

    /// Returns the page that can refresh a stale reading.
    pub(super) fn stale_page(&self, now: Timestamp) -> Option<&PageToken> {
        let is_stale = self.phase == Phase::Due && !self.is_confirmed(now);
        let page = self.candidate.page.as_ref();
        page.filter(|_| is_stale && !self.candidate.is_doubtful)
    }

    /// Returns the call to make now, and when to stop waiting for its response.
    pub(super) fn ask(
        &mut self,
        continuation: Option<Continuation>,
        budget: &Budget,
        now: Timestamp,
    ) -> (Request, Timestamp) {
        let deployment = Box::new(self.candidate.deployment.clone());
        if self.is_confirmed(now) {
            self.requested_at = Some(now);
            (Request::Cancel(deployment), budget.cancel_until)
        } else {
            let read = Request::ReadDeployment(deployment, continuation);
            (read, budget.read_until)
        }
    }

    /// Applies what a page shows of the environment. A page that was asked for before the last call was
    /// answered confirms nothing, but what the page contradicts must be read again.
    pub(super) fn refresh(&mut self, shown: Deployment, page: &ListRequest, is_later: bool) {
        let candidate = &mut self.candidate;
        if is_later && self.phase == Phase::Due {
            candidate.page = Some(page.token.clone());
            candidate.refresh(shown, page.asked_at);
        } else if page.asked_at >= candidate.read_at && !candidate.is_confirmed_by(&shown) {
            candidate.is_doubtful = true;
        }
    }

    /// Returns the outcome of this cancel, with the deployment as it was last read.
    pub(super) fn outcome(self, end: End) -> Outcome {
        Outcome {
            cancel_requested_at: self.requested_at,
            ..self.candidate.outcome(end)
        }
    }

    /// Returns the outcome of a cancel that failed.
    fn failed(self) -> Outcome {
        let end = End::Error(self.failure.clone());
        self.outcome(end)
    }
}

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

#[cfg(test)]
mod tests {
    use super::super::call::ListPurpose;
    use super::super::fixture::{NOW, after, candidate, deployment, limits};
    use super::*;

    fn cancel(phase: Phase) -> Cancel {
        Cancel {
            phase,
            ..Cancel::new(candidate(deployment("net")))
        }
    }

    #[test]
    fn a_cancel_relies_on_a_reading_of_two_seconds_at_the_most() {
        for (milliseconds, is_confirmed) in [(0, true), (2000, true), (2001, false)] {
            let now = after(milliseconds);
            let mut one = cancel(Phase::Due);
            one.candidate.page = Some(PageToken::FIRST);
            assert_eq!(one.is_confirmed(now), is_confirmed, "{milliseconds}");
            assert_eq!(one.stale_page(now).is_some(), !is_confirmed);
            let (request, _) = one.ask(None, &limits().budget, now);
            assert_eq!(matches!(request, Request::Cancel(_)), is_confirmed);
            assert_eq!(one.requested_at, is_confirmed.then_some(now));
            one.candidate.is_doubtful = true;
            assert!(!one.is_confirmed(now), "{milliseconds}");
            assert_eq!(one.stale_page(now), None);
        }
    }

    #[test]
    fn what_a_conflict_or_a_lost_response_hides_is_read() {
        for phase in [Phase::Conflict, Phase::GivenUp] {
            let mut one = cancel(phase);
            one.candidate.page = Some(PageToken::FIRST);
            assert_eq!(one.stale_page(after(9000)), None);
            let (request, until) = one.ask(None, &limits().budget, NOW);
            assert!(matches!(request, Request::ReadDeployment(..)));
            assert_eq!(until, limits().budget.read_until);
        }
    }

    fn page(milliseconds: u64) -> ListRequest {
        ListRequest {
            token: PageToken::FIRST,
            purpose: ListPurpose::Refresh,
            asked_at: after(milliseconds),
        }
    }

    fn newer() -> Deployment {
        Deployment {
            id: Some("d-2".to_owned()),
            ..deployment("net")
        }
    }

    #[test]
    fn a_page_that_overtakes_a_call_can_only_contradict() {
        let mut one = cancel(Phase::Due);
        one.candidate.read_at = after(10);
        one.refresh(newer(), &page(9), false);
        assert!(!one.candidate.is_doubtful, "the page is older");
        one.refresh(newer(), &page(10), false);
        assert!(one.candidate.is_doubtful);
        one.refresh(deployment("net"), &page(20), false);
        assert!(one.candidate.is_doubtful, "nothing is confirmed");
        assert_eq!(one.candidate.read_at, after(10));
    }

    #[test]
    fn a_page_refreshes_what_waits_and_what_it_shows_otherwise_is_read() {
        let mut one = cancel(Phase::Due);
        one.refresh(deployment("net"), &page(30), true);
        assert_eq!(one.candidate.read_at, after(30));
        assert_eq!(one.candidate.page, Some(PageToken::FIRST));
        one.refresh(newer(), &page(40), true);
        assert!(one.candidate.is_doubtful);
    }
}
