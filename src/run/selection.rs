//! The selection: the deployments that rules 1 to 6 let through, until rule 7 admits them.

use super::call::PageToken;
use super::note::Note;
use crate::deployment::{Deployment, Status};
use crate::plan::{self, Admission, Mode, Policy};
use crate::report::outcome::{End, Outcome};
use crate::timestamp::Timestamp;
use crate::trigger::Trigger;

/// A deployment that may be cancelled, as it was last read.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// The deployment.
    pub(super) deployment: Deployment,
    /// When it was read. For a page, when the page was requested, because the service may show any moment
    /// since then.
    pub(super) read_at: Timestamp,
    /// The page of the listing that shows it, where one call can refresh many.
    pub(super) page: Option<PageToken>,
    /// True if the reading, however fresh, is in doubt, and the deployment must be read by itself.
    pub(super) is_doubtful: bool,
}

impl Candidate {
    pub(super) fn new(deployment: Deployment, read_at: Timestamp, page: Option<PageToken>) -> Self {
        Self {
            deployment,
            read_at,
            page,
            is_doubtful: false,
        }
    }

    /// True if a reading shows the deployment `IN_PROGRESS`.
    pub(super) fn is_confirmed_by(&self, shown: &Deployment) -> bool {
        shown.status == Status::InProgress && shown.is_same_as(&self.deployment)
    }

    /// Applies a later reading of the environment. If it does not show the deployment `IN_PROGRESS`,
    /// the deployment itself must be read.
    pub(super) fn refresh(&mut self, shown: Deployment, read_at: Timestamp) {
        self.is_doubtful = !self.is_confirmed_by(&shown);
        if !self.is_doubtful {
            self.deployment.message = shown.message;
            self.read_at = read_at;
        }
    }

    /// Returns the outcome, if no cancel is requested.
    pub(super) fn outcome(self, end: End) -> Outcome {
        Outcome::without_cancel(self.deployment, end)
    }
}

/// The rules of a run, and the deployments that wait for rule 7.
#[derive(Debug)]
pub(super) struct Selection<'a> {
    pub(super) trigger: &'a Trigger,
    pub(super) policy: &'a Policy,
    pub(super) mode: Mode,
    /// The number of selected deployments, admitted ones included.
    selected: usize,
    waiting: Vec<Candidate>,
}

impl<'a> Selection<'a> {
    pub(super) fn new(trigger: &'a Trigger, policy: &'a Policy) -> Self {
        Self {
            trigger,
            policy,
            mode: policy.mode_for(trigger),
            selected: 0,
            waiting: Vec::new(),
        }
    }

    /// Rules 1 to 6 select a deployment.
    pub(super) fn select(&mut self, candidate: Candidate) {
        self.selected += 1;
        self.waiting.push(candidate);
    }

    /// Applies rule 7. Returns what is to be done with the deployments that wait, if that is certain
    /// whatever becomes of the environments that are undecided.
    pub(super) fn admit(&mut self, undecided: usize) -> Option<(Admission, Vec<Candidate>)> {
        if self.waiting.is_empty() {
            return None;
        }
        let admission = plan::admission(self.policy, self.mode, self.selected, undecided)?;
        Some((admission, std::mem::take(&mut self.waiting)))
    }

    /// Returns the log line of an exceeded limit.
    pub(super) fn over_limit(&self) -> Note {
        Note::OverLimit {
            selected: self.selected,
            limit: self.policy.max_cancellations,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{NOW, after, candidate, deployment, policy, schedule, shown};
    use super::*;

    #[test]
    fn a_later_reading_confirms_a_deployment_or_makes_it_doubtful() {
        for (reading, is_doubtful) in [
            (shown("d-net", Status::InProgress), false),
            (shown("d-net", Status::Cancelling), true),
            (shown("d-2", Status::InProgress), true),
        ] {
            let mut one = candidate(deployment("net"));
            one.is_doubtful = !is_doubtful;
            one.refresh(reading, after(5));
            assert_eq!(one.is_doubtful, is_doubtful);
            let read_at = if is_doubtful { NOW } else { after(5) };
            assert_eq!(one.read_at, read_at);
        }
    }

    #[test]
    fn what_waits_is_admitted_once_that_is_certain() {
        let trigger = schedule();
        let policy = policy(Mode::Live, 2);
        let mut selection = Selection::new(&trigger, &policy);
        assert!(selection.admit(0).is_none());
        selection.select(candidate(deployment("a")));
        assert!(selection.admit(2).is_none());
        let (admission, admitted) = selection.admit(1).unwrap();
        assert_eq!((admission, admitted.len()), (Admission::Cancel, 1));
        assert!(selection.admit(1).is_none());
        selection.select(candidate(deployment("b")));
        let (admission, admitted) = selection.admit(0).unwrap();
        assert_eq!((admission, admitted.len()), (Admission::Cancel, 1));
        let (selected, limit) = (2, 2);
        assert_eq!(selection.over_limit(), Note::OverLimit { selected, limit });
    }
}
