//! The selection: the deployments that rules 1 to 6 let through, until rule 7 admits them.

use super::call::PageToken;
use crate::deployment::{Deployment, Status};
use crate::plan::{self, Admission, Mode, Policy};
use crate::timestamp::Timestamp;
use crate::trigger::Trigger;

/// A deployment that may be cancelled, as it was last read.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// The deployment.
    pub(super) deployment: Deployment,
    /// When it was read: for a page when the page was asked for, since the service may have answered
    /// from any moment after that.
    pub(super) read_at: Timestamp,
    /// The page of the listing that shows it, where one call can refresh many.
    pub(super) page: Option<PageToken>,
    /// True if only a read of the deployment tells where it stands, whatever the age of the reading.
    pub(super) is_doubtful: bool,
}

impl Candidate {
    /// True if a reading shows the deployment `IN_PROGRESS`.
    pub(super) fn is_confirmed_by(&self, shown: &Deployment) -> bool {
        shown.status == Status::InProgress && shown.is_same_as(&self.deployment)
    }

    /// Applies a later reading of the environment. If it does not show the deployment `IN_PROGRESS`,
    /// the deployment itself must be read.
    pub(super) fn refresh(&mut self, shown: Option<Deployment>, read_at: Timestamp) {
        match shown {
            Some(shown) if self.is_confirmed_by(&shown) => {
                self.deployment.message = shown.message;
                self.read_at = read_at;
                self.is_doubtful = false;
            }
            Some(_) | None => self.is_doubtful = true,
        }
    }
}

/// The rules of a run, and the deployments that wait for rule 7.
#[derive(Debug)]
pub(super) struct Selection<'a> {
    pub(super) trigger: &'a Trigger,
    pub(super) policy: &'a Policy,
    pub(super) mode: Mode,
    /// Environments of which rules 1 to 6 have not decided yet.
    pub(super) undecided: usize,
    /// How many were selected, admitted ones included.
    selected: usize,
    waiting: Vec<Candidate>,
}

impl<'a> Selection<'a> {
    pub(super) fn new(trigger: &'a Trigger, policy: &'a Policy) -> Self {
        Self {
            trigger,
            policy,
            mode: policy.mode_for(trigger),
            undecided: 0,
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
    /// whatever becomes of the undecided.
    pub(super) fn admit(&mut self) -> Option<(Admission, Vec<Candidate>)> {
        if self.waiting.is_empty() {
            return None;
        }
        let admission = plan::admission(self.policy, self.mode, self.selected, self.undecided)?;
        Some((admission, std::mem::take(&mut self.waiting)))
    }

    /// How many were selected so far.
    pub(super) fn selected(&self) -> usize {
        self.selected
    }

    /// True if nothing is undecided and nothing waits.
    pub(super) fn is_done(&self) -> bool {
        self.undecided == 0 && self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::fixture::{NOW, after, candidate, deployment};
    use super::*;
    use crate::plan::AlarmScope;
    use crate::plan::patterns::Patterns;
    use crate::trigger::Cause;

    #[test]
    fn a_later_reading_confirms_a_deployment_or_makes_it_doubtful() {
        let shown = |id: &str, status| Deployment {
            id: Some(id.to_owned()),
            status,
            ..deployment("net")
        };
        for (reading, is_doubtful) in [
            (Some(shown("d-net", Status::InProgress)), false),
            (Some(shown("d-net", Status::Cancelling)), true),
            (Some(shown("d-2", Status::InProgress)), true),
            (None, true),
        ] {
            let mut one = candidate(deployment("net"));
            one.is_doubtful = !is_doubtful;
            one.refresh(reading, after(5));
            assert_eq!(one.is_doubtful, is_doubtful);
            let read_at = if is_doubtful { NOW } else { after(5) };
            assert_eq!(one.read_at, read_at);
        }
    }

    fn policy(max_cancellations: u64) -> Policy {
        Policy {
            environments: Patterns::comma_separated("*").unwrap(),
            protected: Patterns::none(),
            alarm_scope: AlarmScope::All,
            stuck_after: Duration::from_hours(1),
            max_cancellations,
            mode: Mode::Live,
        }
    }

    #[test]
    fn what_waits_is_admitted_once_that_is_certain() {
        let trigger = Trigger {
            cause: Cause::Schedule,
            id: None,
            name: None,
            arn: None,
            time: None,
            reason: None,
        };
        let policy = policy(2);
        let mut selection = Selection::new(&trigger, &policy);
        assert!(selection.is_done());
        assert!(selection.admit().is_none());
        selection.undecided = 2;
        selection.select(candidate(deployment("a")));
        assert!(selection.admit().is_none() && !selection.is_done());
        selection.undecided = 1;
        let (admission, admitted) = selection.admit().unwrap();
        assert_eq!((admission, admitted.len()), (Admission::Cancel, 1));
        assert!(selection.admit().is_none() && !selection.is_done());
        selection.undecided = 0;
        selection.select(candidate(deployment("b")));
        assert_eq!(selection.selected(), 2);
        assert!(!selection.is_done());
        let (admission, admitted) = selection.admit().unwrap();
        assert_eq!((admission, admitted.len()), (Admission::Cancel, 1));
        assert!(selection.is_done());
    }
}
