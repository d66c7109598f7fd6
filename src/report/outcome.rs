//! The outcome of each environment.

use crate::aws::call_error::CallError;
use crate::deployment::{Deployment, Environment, Status};
use crate::plan::SkipReason;
use crate::timestamp::Timestamp;

/// The outcome of one environment in one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The environment, with the members that are known.
    pub environment: Environment,
    /// The deployment as it was last read. `None` if it could not be read.
    pub deployment: Option<Deployment>,
    /// The deployment that the outcome's ID stands for.
    pub subject: Subject,
    /// When the cancel was requested. `None` if it was not.
    pub cancel_requested_at: Option<Timestamp>,
    /// When the deployment ended. `None` if it has not.
    pub settled_at: Option<Timestamp>,
    /// True if the deployment was not read since its `CANCELLING` was reported.
    pub(crate) is_unread: bool,
    /// The end itself.
    pub end: End,
}

/// The deployment that an outcome's ID stands for, as it was reported first. Later readings do not change
/// it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The deployment's ID, if the service returned one.
    pub(crate) id: Option<String>,
    /// When the deployment started.
    pub(crate) started_at: Option<Timestamp>,
}

impl Subject {
    /// Returns the identity of a deployment.
    #[must_use]
    pub(crate) fn of(deployment: &Deployment) -> Self {
        Self {
            id: deployment.id.clone(),
            started_at: deployment.started_at,
        }
    }
}

/// The end of an environment in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The deployment was read as `CANCELLED`.
    Cancelled,
    /// The deployment was read as `FAILED`.
    Failed,
    /// The deployment was read as `SUCCEEDED`.
    Succeeded,
    /// The cancel was accepted; the deployment's end is not known yet.
    Cancelling,
    /// The deployment passed all rules, and the run is a dry run.
    DryRun,
    /// The run skipped the environment.
    Skipped(SkipReason),
    /// A call for the environment failed.
    Error(CallError),
}

/// The names of the outcomes, in the order in which they are counted.
pub const NAMES: [&str; 7] = [
    "CANCELLED",
    "FAILED",
    "SUCCEEDED",
    "CANCELLING",
    "DRY_RUN",
    "SKIPPED",
    "ERROR",
];

impl End {
    /// Returns the outcome's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cancelled => "CANCELLED",
            Self::Failed => "FAILED",
            Self::Succeeded => "SUCCEEDED",
            Self::Cancelling => "CANCELLING",
            Self::DryRun => "DRY_RUN",
            Self::Skipped(_) => "SKIPPED",
            Self::Error(_) => "ERROR",
        }
    }

    /// Returns why the environment was skipped. `None` if it was not.
    #[must_use]
    pub fn skip_reason(&self) -> Option<SkipReason> {
        match self {
            Self::Skipped(reason) => Some(*reason),
            Self::Cancelled
            | Self::Failed
            | Self::Succeeded
            | Self::Cancelling
            | Self::DryRun
            | Self::Error(_) => None,
        }
    }

    /// Returns the error, if there is one.
    #[must_use]
    pub fn error(&self) -> Option<&CallError> {
        match self {
            Self::Error(error) => Some(error),
            Self::Cancelled
            | Self::Failed
            | Self::Succeeded
            | Self::Cancelling
            | Self::DryRun
            | Self::Skipped(_) => None,
        }
    }

    /// True if an event reports the outcome. Skips by rules 1 to 6 are not published.
    #[must_use]
    pub(crate) fn is_published(&self) -> bool {
        self.skip_reason()
            .is_none_or(|reason| reason == SkipReason::OverLimit)
    }

    /// Returns the end that a deployment with this status has. `None` while it is in progress or being
    /// cancelled.
    #[must_use]
    pub(crate) fn of(status: &Status) -> Option<Self> {
        match status {
            Status::InProgress | Status::Cancelling => None,
            Status::Cancelled => Some(Self::Cancelled),
            Status::Failed => Some(Self::Failed),
            Status::Succeeded => Some(Self::Succeeded),
            Status::Other(status) => Some(Self::Error(CallError::unexpected_status(status))),
        }
    }
}

impl Outcome {
    /// Returns the outcome of an environment without a cancel.
    #[must_use]
    pub fn without_cancel(deployment: Deployment, end: End) -> Self {
        Self {
            environment: deployment.environment.clone(),
            subject: Subject::of(&deployment),
            deployment: Some(deployment),
            cancel_requested_at: None,
            settled_at: None,
            is_unread: false,
            end,
        }
    }

    /// Returns the status of the deployment as it was last read. `None` if no read succeeded, or none since
    /// `CANCELLING` was reported.
    #[must_use]
    pub(crate) fn status(&self) -> Option<&Status> {
        self.deployment
            .as_ref()
            .map(|deployment| &deployment.status)
            .filter(|_| !self.is_unread)
    }

    /// Returns the outcome of an environment whose deployment was not read.
    #[must_use]
    pub fn unread(environment: Environment, end: End) -> Self {
        Self {
            environment,
            subject: Subject::default(),
            deployment: None,
            cancel_requested_at: None,
            settled_at: None,
            is_unread: false,
            end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skipped() -> End {
        End::Skipped(SkipReason::Protected)
    }

    fn failed() -> End {
        End::Error(CallError::late())
    }

    /// Returns one end of each kind.
    fn ends() -> [End; 7] {
        [
            End::Cancelled,
            End::Failed,
            End::Succeeded,
            End::Cancelling,
            End::DryRun,
            skipped(),
            failed(),
        ]
    }

    #[test]
    fn each_end_has_a_name_of_those_that_are_counted() {
        assert_eq!(ends().map(|end| end.name()), NAMES);
    }

    #[test]
    fn only_skips_have_a_reason_and_only_errors_an_error() {
        for end in ends() {
            let reason = (end == skipped()).then_some(SkipReason::Protected);
            assert_eq!(end.skip_reason(), reason, "{end:?}");
            let error = (end == failed()).then(CallError::late);
            assert_eq!(end.error(), error.as_ref(), "{end:?}");
        }
    }

    #[test]
    fn every_end_is_published_but_skips_by_the_rules_before_the_limit() {
        for end in ends() {
            assert_eq!(end.is_published(), end != skipped(), "{end:?}");
        }
        for reason in [
            SkipReason::NotIncluded,
            SkipReason::NotInProgress,
            SkipReason::StartedAfterAlarm,
            SkipReason::NotTagged,
            SkipReason::NotStuck,
            SkipReason::StartUnknown,
        ] {
            assert!(!End::Skipped(reason).is_published(), "{reason:?}");
        }
        assert!(End::Skipped(SkipReason::OverLimit).is_published());
    }

    #[test]
    fn only_a_final_status_is_an_end() {
        assert_eq!(End::of(&Status::Cancelled), Some(End::Cancelled));
        assert_eq!(End::of(&Status::Failed), Some(End::Failed));
        assert_eq!(End::of(&Status::Succeeded), Some(End::Succeeded));
        assert_eq!(End::of(&Status::InProgress), None);
        assert_eq!(End::of(&Status::Cancelling), None);
    }

    #[test]
    fn a_status_that_means_nothing_for_a_cancel_is_an_error_that_names_it() {
        let end = End::of(&Status::Other("DELETE_IN_PROGRESS".to_owned())).unwrap();
        let message = &end.error().unwrap().message;
        assert!(message.contains("DELETE_IN_PROGRESS"), "{message}");
    }
}
