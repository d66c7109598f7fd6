//! Cancelling: each environment on its own, the oldest deployment first.
//!
//! A cancel names only the environment and hits whatever deployment is current. So a stale reading is
//! refreshed before the cancel, and a deployment whose cancel was accepted without a response is read
//! again. If the deployment is no longer `IN_PROGRESS`, no call is made. One race remains: a newer
//! deployment can start between the last read and the arrival of the cancel. No client can close it,
//! because neither API takes a deployment ID.

use std::time::Duration;

use super::agenda::{Attempts, Next, Priority, Stage};
use super::call::{ListPurpose, ListRequest, PageToken, Request};
use super::note::Note;
use super::read::{DeploymentRead, ReadProgress};
use super::selection::Candidate;
use super::{Run, Word};
use crate::aws::backoff::Backoff;
use crate::aws::call_error::{CallError, Fault};
use crate::deployment::{Deployment, EnvironmentName, Status};
use crate::engine::{ReadStep, Reading};
use crate::report::outcome::{End, Outcome};
use crate::timestamp::Timestamp;

/// The age up to which a cancel relies on a reading.
const FRESH: Duration = Duration::from_secs(2);

/// The age from which a page is refreshed for the others that wait on it.
const AGED: Duration = Duration::from_millis(1700);

/// An environment whose deployment is to be cancelled.
#[derive(Debug)]
pub(super) struct Cancel {
    pub(super) candidate: Candidate,
    phase: Phase,
    /// True if the response to an attempt was lost.
    is_lost: bool,
    /// When the cancel was asked for last.
    requested_at: Option<Timestamp>,
    pub(super) read: DeploymentRead,
    /// Why the last attempt failed.
    failure: Option<CallError>,
}

/// The next step of a cancel.
#[derive(Debug)]
enum Phase {
    /// To cancel, or to refresh a stale reading.
    Due,
    /// To cancel: the deployment was just read.
    Confirmed,
    /// To read what a conflict hides.
    Conflict(CallError),
    /// To read whether a cancel whose response was lost was accepted. It is not repeated any more.
    GivenUp(CallError),
}

/// The call that a cancel needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// The cancel itself.
    Cancel,
    /// The cancel itself. Others that wait on the same page should be refreshed.
    CancelAged,
    /// A reading, by the page or by the deployment.
    Refresh,
    /// A reading of the deployment.
    Read,
}

impl Cancel {
    pub(super) fn new(candidate: Candidate) -> Self {
        Self {
            candidate,
            phase: Phase::Due,
            is_lost: false,
            requested_at: None,
            read: DeploymentRead::default(),
            failure: None,
        }
    }

    pub(super) fn priority(&self) -> Priority {
        match self.phase {
            Phase::Confirmed => Priority::Confirmed,
            Phase::Due => Priority::Cancel,
            Phase::Conflict(_) | Phase::GivenUp(_) => Priority::Outcome,
        }
    }

    fn need(&self, now: Timestamp) -> Need {
        let age = now - self.candidate.read_at;
        match self.phase {
            Phase::Confirmed | Phase::Due if self.candidate.is_doubtful => Need::Read,
            Phase::Confirmed if age <= FRESH => Need::Cancel,
            Phase::Due if age <= AGED => Need::Cancel,
            Phase::Due if age <= FRESH => Need::CancelAged,
            Phase::Due if self.candidate.page.is_some() => Need::Refresh,
            Phase::Due | Phase::Confirmed | Phase::Conflict(_) | Phase::GivenUp(_) => Need::Read,
        }
    }

    /// Applies what a page shows of the environment, which was asked for after the last call.
    pub(super) fn refresh(&mut self, shown: Option<Deployment>, request: &ListRequest) {
        if matches!(self.phase, Phase::Due) {
            self.candidate.page = shown.as_ref().map(|_| request.token.clone());
            self.candidate.refresh(shown, request.asked_at);
        }
    }

    /// Applies what a page shows of the environment, whose call was under way when the page was asked
    /// for. Such a page confirms nothing, but what it contradicts must be read again.
    pub(super) fn doubt(&mut self, shown: &Deployment, request: &ListRequest) {
        let candidate = &mut self.candidate;
        if request.asked_at >= candidate.read_at && !candidate.is_confirmed_by(shown) {
            candidate.is_doubtful = true;
        }
    }

    /// The outcome of this cancel, with the deployment as it was last read.
    fn outcome(self, end: End) -> Outcome {
        Outcome {
            cancel_requested_at: self.requested_at,
            ..Outcome::without_cancel(self.candidate.deployment, end)
        }
    }
}

/// The next call for the cancels that wait.
enum Choice {
    Entry(EnvironmentName, Need),
    Refresh(PageToken),
}

impl Run<'_> {
    /// Chooses the next cancel of those whose deployment was just read.
    pub(super) fn choose_confirmed(&mut self, now: Timestamp) -> Option<Request> {
        let (name, stage) = self.agenda.ready(Priority::Confirmed).next()?;
        let Stage::Cancel(cancel) = stage else {
            return None;
        };
        let (name, need) = (name.clone(), cancel.need(now));
        self.request_for_cancel(&name, need, now)
    }

    /// Chooses the next call for the cancels that wait.
    pub(super) fn choose_cancel(&mut self, now: Timestamp) -> Option<Request> {
        match self.first_cancel(now)? {
            Choice::Entry(name, need) => self.request_for_cancel(&name, need, now),
            Choice::Refresh(token) => {
                self.refreshing.insert(token.clone());
                Some(Self::list(token, ListPurpose::Refresh, now))
            }
        }
    }

    /// The first cancel in order that need not wait for a page that is being refreshed. A page is
    /// refreshed only for those whose turn is near: for others the reading would be stale again.
    fn first_cancel(&self, now: Timestamp) -> Option<Choice> {
        let near = self.permits.limit();
        for (index, (name, stage)) in self.agenda.ready(Priority::Cancel).enumerate() {
            let Stage::Cancel(cancel) = stage else {
                continue;
            };
            let need = cancel.need(now);
            let page = match need {
                Need::CancelAged | Need::Refresh => cancel.candidate.page.as_ref(),
                Need::Cancel | Need::Read => None,
            };
            let Some(page) = page else {
                return Some(Choice::Entry(name.clone(), need));
            };
            let is_under_way = self.refreshing.contains(page);
            if index < near && !is_under_way && self.is_shared(page, name) {
                return Some(Choice::Refresh(page.clone()));
            }
            match need {
                Need::Refresh if is_under_way || index >= near => {}
                Need::Refresh => return Some(Choice::Entry(name.clone(), Need::Read)),
                Need::Cancel | Need::CancelAged | Need::Read => {
                    return Some(Choice::Entry(name.clone(), Need::Cancel));
                }
            }
        }
        None
    }

    /// True if another cancel waits on the page.
    fn is_shared(&self, page: &PageToken, name: &EnvironmentName) -> bool {
        self.agenda.ready(Priority::Cancel).any(|(other, stage)| {
            let Stage::Cancel(cancel) = stage else {
                return false;
            };
            other != name && cancel.candidate.page.as_ref() == Some(page)
        })
    }

    fn request_for_cancel(
        &mut self,
        name: &EnvironmentName,
        need: Need,
        now: Timestamp,
    ) -> Option<Request> {
        let (Stage::Cancel(mut cancel), mut attempts) = self.agenda.take(name)? else {
            return None;
        };
        let deployment = Box::new(cancel.candidate.deployment.clone());
        let request = if matches!(need, Need::Cancel | Need::CancelAged) {
            cancel.requested_at = Some(now);
            Request::Cancel(deployment)
        } else {
            Request::ReadDeployment(deployment, cancel.read.continuation.clone())
        };
        attempts.asked_at = now;
        let stage = Stage::Cancel(cancel);
        self.agenda
            .put(name.clone(), stage, attempts, Next::InFlight);
        Some(request)
    }

    /// Chooses the next read of what became of a cancel.
    pub(super) fn choose_outcome(&mut self, now: Timestamp) -> Option<Request> {
        let name = self.agenda.first_ready(Priority::Outcome)?;
        self.request_for_cancel(&name, Need::Read, now)
    }

    /// Applies the response to a cancel.
    pub(super) fn on_cancel(
        &mut self,
        name: &EnvironmentName,
        result: Result<Option<Deployment>, CallError>,
        now: Timestamp,
    ) {
        let Some((Stage::Cancel(mut cancel), attempts)) = self.agenda.take(name) else {
            return;
        };
        let error = match result {
            Ok(current) => {
                self.first_accepted.get_or_insert(now);
                return self.accepted(cancel, current, now);
            }
            Err(error) => error,
        };
        if error.may_have_taken_effect() {
            cancel.is_lost = true;
            cancel.candidate.is_doubtful = true;
        }
        cancel.phase = Phase::Due;
        if error.fault == Fault::Conflict {
            cancel.phase = Phase::Conflict(error);
            let stage = Stage::Cancel(cancel);
            self.agenda.put(name.clone(), stage, attempts, Next::Ready);
        } else if error.is_transient() {
            self.retry_cancel(name, attempts.backoff, cancel, error, now);
        } else {
            self.report(cancel.outcome(End::Error(error)), Word::Last);
        }
    }

    fn retry_cancel(
        &mut self,
        name: &EnvironmentName,
        mut backoff: Backoff,
        mut cancel: Cancel,
        error: CallError,
        now: Timestamp,
    ) {
        match backoff.next(now, self.budget.act_until, &mut self.random) {
            Some(at) => {
                cancel.failure = Some(error);
                self.put_cancel(name, backoff, cancel, Next::At(at), now);
            }
            None => self.give_up_cancel(name, cancel, error, now),
        }
    }

    fn put_cancel(
        &mut self,
        name: &EnvironmentName,
        backoff: Backoff,
        cancel: Cancel,
        next: Next,
        now: Timestamp,
    ) {
        let attempts = Attempts {
            backoff,
            asked_at: now,
        };
        self.agenda
            .put(name.clone(), Stage::Cancel(cancel), attempts, next);
    }

    /// Makes no more attempts. A cancel whose response was lost may have been accepted all the same.
    fn give_up_cancel(
        &mut self,
        name: &EnvironmentName,
        mut cancel: Cancel,
        failure: CallError,
        now: Timestamp,
    ) {
        if cancel.is_lost && now < self.budget.read_until {
            cancel.phase = Phase::GivenUp(failure);
            cancel.read = DeploymentRead::default();
            self.put_cancel(name, Backoff::default(), cancel, Next::Ready, now);
        } else {
            self.report(cancel.outcome(End::Error(failure)), Word::Last);
        }
    }

    /// Ends a cancel whose time is over, unless a last read may tell what became of it.
    pub(super) fn expire_cancel(&mut self, name: &EnvironmentName, cancel: Cancel, now: Timestamp) {
        if now >= self.budget.read_until
            && let Some(reading) = cancel.read.known()
        {
            return self.read_cancel(name, Backoff::default(), cancel, reading, now);
        }
        match cancel.phase {
            // What the conflict hides was not read: the retry of the event will.
            Phase::Conflict(_) => {
                self.report(cancel.outcome(End::Error(CallError::late())), Word::Last);
            }
            Phase::GivenUp(ref failure) => {
                let end = End::Error(failure.clone());
                self.report(cancel.outcome(end), Word::Last);
            }
            Phase::Due | Phase::Confirmed => {
                let failure = cancel.failure.clone().unwrap_or_else(CallError::late);
                self.give_up_cancel(name, cancel, failure, now);
            }
        }
    }

    /// The service accepted a cancel. What the response shows, if anything, is the deployment that the
    /// cancel hit.
    fn accepted(&mut self, cancel: Cancel, current: Option<Deployment>, now: Timestamp) {
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

    /// Applies the response to the read of a deployment that is to be cancelled.
    pub(super) fn on_read_for_cancel(
        &mut self,
        name: &EnvironmentName,
        mut cancel: Cancel,
        attempts: Attempts,
        result: Result<ReadStep, CallError>,
        now: Timestamp,
    ) {
        let until = match cancel.phase {
            Phase::Due | Phase::Confirmed => self.budget.act_until,
            Phase::Conflict(_) | Phase::GivenUp(_) => self.budget.read_until,
        };
        match cancel.read.progress(result, now, until, &mut self.random) {
            ReadProgress::Again(next) => {
                let stage = Stage::Cancel(cancel);
                self.agenda.put(name.clone(), stage, attempts, next);
            }
            ReadProgress::Done(reading) | ReadProgress::Failed(_, Some(reading)) => {
                self.read_cancel(name, attempts.backoff, cancel, reading, now);
            }
            ReadProgress::Failed(error, None) => match cancel.phase {
                Phase::Due | Phase::Confirmed if error.is_transient() => {
                    self.give_up_cancel(name, cancel, error, now);
                }
                Phase::GivenUp(ref failure) => {
                    let end = End::Error(failure.clone());
                    self.report(cancel.outcome(end), Word::Last);
                }
                Phase::Due | Phase::Confirmed | Phase::Conflict(_) => {
                    self.report(cancel.outcome(End::Error(error)), Word::Last);
                }
            },
        }
    }

    /// A deployment that is to be cancelled was read.
    fn read_cancel(
        &mut self,
        name: &EnvironmentName,
        backoff: Backoff,
        mut cancel: Cancel,
        reading: Reading,
        now: Timestamp,
    ) {
        let seen = match reading {
            Reading::Of(seen) => *seen,
            Reading::HitNewer { meant, newer } => {
                self.note(Note::hit_newer(&meant, &newer));
                return self.begin_to_follow(*newer, cancel.requested_at, now);
            }
            Reading::Superseded => return self.superseded(cancel),
        };
        let is_in_progress = seen.status == Status::InProgress;
        cancel.candidate.deployment = cancel.candidate.deployment.seen_again(seen);
        match cancel.phase {
            Phase::Due | Phase::Confirmed if is_in_progress => {
                cancel.phase = Phase::Confirmed;
                cancel.candidate.read_at = now;
                cancel.candidate.is_doubtful = false;
                self.put_cancel(name, backoff, cancel, Next::Ready, now);
            }
            // The attempt whose response was lost was accepted, then.
            Phase::Conflict(ref conflict)
                if is_in_progress && !(cancel.is_lost && conflict.says_it_is_a_repeat()) =>
            {
                let end = End::Error(conflict.clone());
                self.report(cancel.outcome(end), Word::Last);
            }
            Phase::GivenUp(ref failure) if is_in_progress => {
                let end = End::Error(failure.clone());
                self.report(cancel.outcome(end), Word::Last);
            }
            Phase::Due | Phase::Confirmed | Phase::Conflict(_) | Phase::GivenUp(_) => {
                if cancel.is_lost && cancel.candidate.deployment.status == Status::Succeeded {
                    self.note(Note::MayHaveHitNewer(name.clone()));
                }
                self.begin_to_follow(cancel.candidate.deployment, cancel.requested_at, now);
            }
        }
    }

    /// Another deployment is in place, and nothing tells how the one that was meant ended.
    fn superseded(&mut self, cancel: Cancel) {
        let error = match &cancel.phase {
            Phase::Conflict(conflict) if !cancel.is_lost => conflict.clone(),
            Phase::GivenUp(failure) => failure.clone(),
            Phase::Due | Phase::Confirmed | Phase::Conflict(_) => CallError::superseded(),
        };
        self.report(cancel.outcome(End::Error(error)), Word::Last);
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{NOW, after, candidate, deployment};
    use super::*;

    fn conflict() -> CallError {
        CallError::superseded()
    }

    fn cancel(phase: Phase) -> Cancel {
        Cancel {
            phase,
            ..Cancel::new(candidate(deployment("net")))
        }
    }

    #[test]
    fn a_cancel_relies_on_a_reading_of_two_seconds_at_the_most() {
        for (milliseconds, alone, on_a_page) in [
            (0, Need::Cancel, Need::Cancel),
            (1700, Need::Cancel, Need::Cancel),
            (1701, Need::CancelAged, Need::CancelAged),
            (2000, Need::CancelAged, Need::CancelAged),
            (2001, Need::Read, Need::Refresh),
        ] {
            let mut one = cancel(Phase::Due);
            assert_eq!(one.need(after(milliseconds)), alone, "{milliseconds}");
            one.candidate.page = Some(PageToken::FIRST);
            assert_eq!(one.need(after(milliseconds)), on_a_page, "{milliseconds}");
            one.candidate.is_doubtful = true;
            assert_eq!(one.need(after(milliseconds)), Need::Read, "{milliseconds}");
        }
    }

    #[test]
    fn what_was_just_read_is_cancelled_unless_something_contradicts_it() {
        let mut one = cancel(Phase::Confirmed);
        one.candidate.page = Some(PageToken::FIRST);
        assert_eq!(one.need(after(2000)), Need::Cancel);
        assert_eq!(one.need(after(2001)), Need::Read);
        one.candidate.is_doubtful = true;
        assert_eq!(one.need(NOW), Need::Read);
        for phase in [Phase::Conflict(conflict()), Phase::GivenUp(conflict())] {
            assert_eq!(cancel(phase).need(NOW), Need::Read);
        }
    }

    #[test]
    fn what_was_just_read_goes_before_cancels_and_outcomes_after_them() {
        for (phase, priority) in [
            (Phase::Confirmed, Priority::Confirmed),
            (Phase::Due, Priority::Cancel),
            (Phase::Conflict(conflict()), Priority::Outcome),
            (Phase::GivenUp(conflict()), Priority::Outcome),
        ] {
            assert_eq!(cancel(phase).priority(), priority);
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
        one.doubt(&newer(), &page(9));
        assert!(!one.candidate.is_doubtful, "the page is older");
        one.doubt(&newer(), &page(10));
        assert!(one.candidate.is_doubtful);
        one.doubt(&deployment("net"), &page(20));
        assert!(one.candidate.is_doubtful, "nothing is confirmed");
        assert_eq!(one.candidate.read_at, after(10));
    }

    #[test]
    fn a_page_refreshes_what_waits_and_forgets_where_it_is_no_more() {
        let mut one = cancel(Phase::Due);
        one.refresh(Some(deployment("net")), &page(30));
        assert_eq!(one.candidate.read_at, after(30));
        assert_eq!(one.candidate.page, Some(PageToken::FIRST));
        one.refresh(None, &page(40));
        assert!(one.candidate.is_doubtful && one.candidate.page.is_none());
        let mut confirmed = cancel(Phase::Confirmed);
        confirmed.refresh(None, &page(40));
        assert!(!confirmed.candidate.is_doubtful);
    }
}
