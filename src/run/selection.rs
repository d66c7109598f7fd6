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
