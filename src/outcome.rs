//! What became of each environment.

use crate::call_error::CallError;
use crate::deployment::{Deployment, Environment, Status};
use crate::plan::SkipReason;
use crate::timestamp::Timestamp;

/// What became of one environment in one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The environment, as far as it is known.
    pub environment: Environment,
    /// Its deployment as it was last seen; `None` where it could not be read.
    pub deployment: Option<Deployment>,
    /// When its cancellation was asked for, if it was.
    pub cancel_requested_at: Option<Timestamp>,
    /// When the deployment ended, if it did.
    pub settled_at: Option<Timestamp>,
    /// The end itself.
    pub end: End,
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The deployment was seen `CANCELLED`.
    Cancelled,
    /// The deployment was seen `FAILED`.
    Failed,
    /// The deployment was seen `SUCCEEDED`.
    Succeeded,
    /// The cancel was accepted; the deployment was not seen to end.
    Cancelling,
    /// It would have been cancelled, were it not for the dry run.
    DryRun,
    /// It was left alone.
    Skipped(SkipReason),
    /// Something went wrong, in the service's words.
    Error(CallError),
}

/// The outcomes by name, in the order in which they are counted.
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
    /// The outcome's name.
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

    /// Why the environment was left alone, if it was.
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

    /// What went wrong, if something did.
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

    /// Whether an event tells of it: skips by the rules before the limit concern nobody.
    #[must_use]
    pub fn is_published(&self) -> bool {
        self.skip_reason()
            .is_none_or(|reason| reason == SkipReason::OverLimit)
    }

    /// How a deployment that stands so ended; `None` while it runs or is being cancelled.
    #[must_use]
    pub fn of(status: &Status) -> Option<Self> {
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
    /// The outcome of an environment that no cancel was asked for.
    #[must_use]
    pub fn without_cancel(deployment: Deployment, end: End) -> Self {
        Self {
            environment: deployment.environment.clone(),
            deployment: Some(deployment),
            cancel_requested_at: None,
            settled_at: None,
            end,
        }
    }

    /// The outcome of an environment whose deployment could not be read, or was not.
    #[must_use]
    pub fn unread(environment: Environment, end: End) -> Self {
        Self {
            environment,
            deployment: None,
            cancel_requested_at: None,
            settled_at: None,
            end,
        }
    }
}
