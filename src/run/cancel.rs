//! One cancel: what is known of it, and the call that it needs next.

use std::time::Duration;

use super::Budget;
use super::call::{ListRequest, PageToken, Request};
use super::selection::Candidate;
use crate::aws::call_error::CallError;
use crate::deployment::Deployment;
use crate::engine::Continuation;
use crate::report::outcome::{End, Outcome};
use crate::timestamp::Timestamp;

/// The age up to which a cancel relies on a reading.
const FRESH: Duration = Duration::from_secs(2);

/// An environment whose deployment is to be cancelled.
#[derive(Debug)]
pub(super) struct Cancel {
    pub(super) candidate: Candidate,
    pub(super) phase: Phase,
    /// True if the response to an attempt was lost.
    pub(super) is_lost: bool,
    /// When the cancel was asked for last.
    pub(super) requested_at: Option<Timestamp>,
    /// The error of the last attempt. Before the first attempt, the error to report if none is made.
    pub(super) failure: CallError,
}

/// The next step of a cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
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
    pub(super) fn failed(self) -> Outcome {
        let end = End::Error(self.failure.clone());
        self.outcome(end)
    }
}

#[cfg(test)]
mod tests {
    use super::super::call::ListPurpose;
    use super::super::fixture::{NOW, after, candidate, deployment, limits, shown};
    use super::*;
    use crate::deployment::Status;

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
        shown("d-2", Status::InProgress)
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
