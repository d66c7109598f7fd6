//! A deployment of an environment, which is an update of its stack.

use std::time::{Duration, SystemTime};

use crate::account::status::{Kind, StackStatus, Status};
use crate::setters::setters;
use crate::wire::operation::Service;

const DAY: Duration = Duration::from_hours(24);

/// A time, relative to the start of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A time before the world started.
    Ago(Duration),
    /// A time after the world started.
    In(Duration),
    /// A time of the calendar.
    At(SystemTime),
}

impl Moment {
    /// Returns the time in a world that started at `start`.
    pub(crate) fn seen_from(self, start: SystemTime) -> SystemTime {
        match self {
            Self::Ago(ago) => start.checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH),
            Self::In(later) => start.checked_add(later).unwrap_or(start),
            Self::At(time) => time,
        }
    }
}

/// An attempt to update an environment, with its script: for Proton a deployment, for CloudFormation
/// an update of the stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    pub(crate) id: Option<String>,
    pub(crate) token: Option<String>,
    pub(crate) is_by_change_set: bool,
    pub(crate) is_id_sent: bool,
    pub(crate) started: Moment,
    pub(crate) is_start_sent: bool,
    pub(crate) status: StackStatus,
    pub(crate) message: Option<String>,
    pub(crate) when_cancelled: Option<Ending>,
    pub(crate) left_alone: Option<(Duration, Ending)>,
}

impl Deployment {
    /// Creates a deployment that started ten minutes ago and stays in progress until it is cancelled.
    #[must_use]
    pub fn in_progress() -> Self {
        Self {
            id: None,
            token: None,
            is_by_change_set: false,
            is_id_sent: true,
            started: Moment::Ago(Duration::from_mins(10)),
            is_start_sent: true,
            status: StackStatus::UpdateInProgress,
            message: None,
            when_cancelled: None,
            left_alone: None,
        }
    }

    /// Creates a deployment that is being cancelled already. The deployment ends as `when_cancelled`
    /// says, counted from the start of the world.
    #[must_use]
    pub fn cancelling() -> Self {
        Self::of_status(Status::Cancelling)
    }

    /// Creates a deployment that reached this end long ago.
    #[must_use]
    pub fn settled(ending: Ending) -> Self {
        Self {
            message: ending.message,
            started: Moment::Ago(30 * DAY),
            ..Self::of_status(ending.status)
        }
    }

    /// Creates a deployment of this status. A stack's latest operation may also be a creation, an import, a
    /// review or a deletion.
    #[must_use]
    pub fn of_status(status: impl Into<StackStatus>) -> Self {
        Self {
            status: status.into(),
            ..Self::in_progress()
        }
    }

    /// Sets how long ago the deployment started.
    #[must_use]
    pub fn started_ago(self, ago: Duration) -> Self {
        self.started(Moment::Ago(ago))
    }

    setters! {
        /// Sets when the deployment started.
        started(moment: Moment) => started = moment;
        /// Sets the deployment's ID, for Proton a UUID in lower case. Without one, the seed gives a UUID.
        id(id: impl Into<String>) => id = Some(id.into());
        /// Sets the `ClientRequestToken` with which the update was started. Without one, the seed gives it.
        token(token: impl Into<String>) => token = Some(token.into());
        /// Makes the update the execution of a change set.
        by_change_set() => is_by_change_set = true;
        /// Leaves `lastAttemptedDeploymentId` out of Proton's responses.
        id_not_sent() => is_id_sent = false;
        /// Leaves `lastDeploymentAttemptedAt` out of Proton's responses.
        start_not_sent() => is_start_sent = false;
        /// Sets the status message, CloudFormation's status reason.
        message(message: impl Into<String>) => message = Some(message.into());
        /// Sets the end that a cancel leads to. For Proton, the deployment is `CANCELLING` until the
        /// rollback is over. For CloudFormation, an ending that succeeded means that the update finishes
        /// right before a cancel arrives, which is then refused.
        when_cancelled(ending: Ending) => when_cancelled = Some(ending);
        /// Sets the end that the deployment reaches if nobody cancels it: that long after the world
        /// started, or after the deployment started if that is later.
        left_alone(after: Duration, ending: Ending) => left_alone = Some((after, ending));
    }

    /// Returns the end that a cancel leads to, with the default of the service that shows it.
    pub(crate) fn end_when_cancelled(&self, service: Service) -> Ending {
        let default = || match service {
            Service::Proton | Service::EventBridge => Ending::cancelled(),
            Service::CloudFormation => Ending::rolled_back(),
        };
        self.when_cancelled.clone().unwrap_or_else(default)
    }

    /// Returns the operation that the status belongs to.
    pub(crate) fn kind(&self) -> Kind {
        self.status.kind()
    }

    /// Returns the same deployment as an update of a stack.
    pub(crate) fn of_stack(&self) -> Self {
        let left_alone = self.left_alone.as_ref();
        Self {
            id: self.id.clone(),
            started: self.started,
            message: self.message.clone().filter(|_| self.status.is_settled()),
            when_cancelled: Some(
                self.end_when_cancelled(Service::Proton)
                    .of_cancelled_stack(),
            ),
            left_alone: left_alone.map(|(after, ending)| (*after, ending.of_stack())),
            ..Self::of_status(self.status)
        }
    }
}

/// The end of a deployment, and the statuses before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    pub(crate) status: StackStatus,
    pub(crate) message: Option<String>,
    pub(crate) failure: Option<String>,
    pub(crate) rollback: Duration,
    pub(crate) cleanup: Duration,
}

impl Ending {
    /// Creates the end `CANCELLED`, with Proton's message.
    #[must_use]
    pub fn cancelled() -> Self {
        Self::rolled_back().message("User initiated cancellation.")
    }

    /// Creates the end `UPDATE_ROLLBACK_COMPLETE`, without a message. An update reaches this end without
    /// a cancel only if it has a [`failure`](Self::failure).
    #[must_use]
    pub fn rolled_back() -> Self {
        Self::new(Status::Cancelled)
    }

    /// Creates the end `FAILED`; for CloudFormation `UPDATE_ROLLBACK_FAILED`.
    #[must_use]
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Status::Failed).message(message)
    }

    /// Creates the end `UPDATE_FAILED`, because rollback is disabled; for Proton `FAILED`.
    #[must_use]
    pub fn not_rolled_back(message: impl Into<String>) -> Self {
        Self::new(StackStatus::UpdateFailed).message(message)
    }

    /// Creates the end `SUCCEEDED`; for CloudFormation `UPDATE_COMPLETE`.
    #[must_use]
    pub fn succeeded() -> Self {
        Self::new(Status::Succeeded)
    }

    /// Creates an end of this status without a message: after five seconds of rollback and one of
    /// cleanup, if the status has them.
    #[must_use]
    pub fn new(status: impl Into<StackStatus>) -> Self {
        Self {
            status: status.into(),
            message: None,
            failure: None,
            rollback: Duration::from_secs(5),
            cleanup: Duration::from_secs(1),
        }
    }

    setters! {
        /// Sets the status message, CloudFormation's status reason. AWS gives none to a stack that was
        /// rolled back.
        message(message: impl Into<String>) => message = Some(message.into());
        /// Sets why the update failed by itself: the status reason during the rollback.
        failure(failure: impl Into<String>) => failure = Some(failure.into());
        /// Sets how long the rollback takes; for Proton, how long a cancelled deployment is `CANCELLING`.
        rollback(lasts: Duration) => rollback = lasts;
        /// Sets how long CloudFormation's cleanup takes.
        cleanup(lasts: Duration) => cleanup = lasts;
    }

    /// Returns the same end for a stack whose update was cancelled: as late, the cleanup included.
    fn of_cancelled_stack(&self) -> Self {
        let has_failed = self.status == StackStatus::UpdateRollbackFailed;
        let cleanup = if has_failed {
            Duration::ZERO
        } else {
            (self.rollback / 5).min(Duration::from_secs(1))
        };
        Self {
            // The status reason of a stack that was rolled back is absent.
            message: self.message.clone().filter(|_| has_failed),
            rollback: self.rollback.saturating_sub(cleanup),
            cleanup,
            ..self.clone()
        }
    }

    /// Returns the same end for a stack whose update nobody cancelled: at once.
    pub(crate) fn of_stack(&self) -> Self {
        self.clone()
            .rollback(Duration::ZERO)
            .cleanup(Duration::ZERO)
    }
}
