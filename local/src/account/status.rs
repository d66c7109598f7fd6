//! The statuses of stacks and deployments.

use std::fmt;
use std::str::FromStr;

use crate::wire::operation::Service;

/// Defines the statuses of a service, each with its name on the wire.
macro_rules! statuses {
    ($(#[$meta:meta])* $name:ident { $($(#[$of:meta])* $status:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$of])* $status,)*
        }

        impl $name {
            /// Every status, in the order of the service model.
            pub const ALL: [Self; [$($text),*].len()] = [$(Self::$status),*];

            /// Returns the status as it goes over the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$status => $text,)*
                }
            }

            /// True if no operation is in progress.
            #[must_use]
            pub fn is_settled(self) -> bool {
                !(self.as_str().ends_with("IN_PROGRESS") || self.as_str() == "CANCELLING")
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let mut all = Self::ALL.into_iter();
                all.find(|status| status.as_str() == text).ok_or_else(|| {
                    let names = Self::ALL.map(Self::as_str).join("`, `");
                    format!("status `{text}` is not known: write one of `{names}`")
                })
            }
        }
    };
}

/// Defines the statuses of a stack, each with its name on the wire, the operation that leads to it,
/// the status before it (`None` for the first of an operation) and Proton's status.
macro_rules! stack_statuses {
    ($($status:ident = $text:literal: $kind:ident, $before:expr, $of_proton:ident;)*) => {
        statuses! {
            /// The status of a stack, as CloudFormation names it.
            #[expect(
                missing_docs,
                reason = "the names are the service's own, and say what they mean"
            )]
            StackStatus { $($status = $text,)* }
        }

        impl StackStatus {
            /// Returns the operation that leads to this status.
            pub(crate) fn kind(self) -> Kind {
                match self {
                    $(Self::$status => Kind::$kind,)*
                }
            }

            /// Returns the status that a stack has before this one.
            pub(crate) fn before(self) -> Option<Self> {
                match self {
                    $(Self::$status => $before,)*
                }
            }
        }

        impl From<StackStatus> for Status {
            fn from(status: StackStatus) -> Self {
                match status {
                    $(StackStatus::$status => Self::$of_proton,)*
                }
            }
        }
    };
}

stack_statuses! {
    CreateInProgress = "CREATE_IN_PROGRESS": Create, None, InProgress;
    CreateFailed = "CREATE_FAILED": Create, Some(Self::CreateInProgress), Failed;
    CreateComplete = "CREATE_COMPLETE": Create, Some(Self::CreateInProgress), Succeeded;
    RollbackInProgress = "ROLLBACK_IN_PROGRESS": Create, Some(Self::CreateInProgress), Cancelling;
    RollbackFailed = "ROLLBACK_FAILED": Create, Some(Self::RollbackInProgress), Failed;
    RollbackComplete = "ROLLBACK_COMPLETE": Create, Some(Self::RollbackInProgress), Cancelled;
    DeleteInProgress = "DELETE_IN_PROGRESS": Delete, None, DeleteInProgress;
    DeleteFailed = "DELETE_FAILED": Delete, Some(Self::DeleteInProgress), DeleteFailed;
    DeleteComplete = "DELETE_COMPLETE": Delete, Some(Self::DeleteInProgress), DeleteComplete;
    UpdateInProgress = "UPDATE_IN_PROGRESS": Update, None, InProgress;
    UpdateCompleteCleanupInProgress = "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS": Update, Some(Self::UpdateInProgress), Succeeded;
    UpdateComplete = "UPDATE_COMPLETE": Update, Some(Self::UpdateCompleteCleanupInProgress), Succeeded;
    UpdateFailed = "UPDATE_FAILED": Update, Some(Self::UpdateInProgress), Failed;
    UpdateRollbackInProgress = "UPDATE_ROLLBACK_IN_PROGRESS": Update, Some(Self::UpdateInProgress), Cancelling;
    UpdateRollbackFailed = "UPDATE_ROLLBACK_FAILED": Update, Some(Self::UpdateRollbackInProgress), Failed;
    UpdateRollbackCompleteCleanupInProgress = "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS": Update, Some(Self::UpdateRollbackInProgress), Cancelling;
    UpdateRollbackComplete = "UPDATE_ROLLBACK_COMPLETE": Update, Some(Self::UpdateRollbackCompleteCleanupInProgress), Cancelled;
    ReviewInProgress = "REVIEW_IN_PROGRESS": Review, None, InProgress;
    ImportInProgress = "IMPORT_IN_PROGRESS": Import, None, InProgress;
    ImportComplete = "IMPORT_COMPLETE": Import, Some(Self::ImportInProgress), Succeeded;
    ImportRollbackInProgress = "IMPORT_ROLLBACK_IN_PROGRESS": Import, Some(Self::ImportInProgress), Cancelling;
    ImportRollbackFailed = "IMPORT_ROLLBACK_FAILED": Import, Some(Self::ImportRollbackInProgress), Failed;
    ImportRollbackComplete = "IMPORT_ROLLBACK_COMPLETE": Import, Some(Self::ImportRollbackInProgress), Cancelled;
}

statuses! {
    /// The status of a deployment, as Proton names it.
    Status {
        /// The deployment is being carried out.
        InProgress = "IN_PROGRESS",
        /// The deployment ended without success.
        Failed = "FAILED",
        /// The deployment ended well.
        Succeeded = "SUCCEEDED",
        /// The environment is being deleted.
        DeleteInProgress = "DELETE_IN_PROGRESS",
        /// The environment could not be deleted.
        DeleteFailed = "DELETE_FAILED",
        /// The environment is deleted.
        DeleteComplete = "DELETE_COMPLETE",
        /// The deployment is being cancelled.
        Cancelling = "CANCELLING",
        /// A cancel ended the deployment.
        Cancelled = "CANCELLED",
    }
}

impl StackStatus {
    /// Returns Proton's status of an update. `None` if the stack's latest operation is no update.
    #[must_use]
    pub fn deployment_status(self) -> Option<Status> {
        (self.kind() == Kind::Update).then(|| self.into())
    }

    /// Returns the statuses of a stack on its way to this one, this one last.
    pub(crate) fn way(self) -> Vec<Self> {
        let mut way: Vec<_> = std::iter::successors(Some(self), |status| status.before()).collect();
        way.reverse();
        way
    }

    /// Returns the first status of the operation.
    pub(crate) fn first(self) -> Self {
        self.before().map_or(self, Self::first)
    }

    /// True if old or new resources are removed with this status.
    pub(crate) fn is_cleanup(self) -> bool {
        matches!(
            self,
            Self::UpdateCompleteCleanupInProgress | Self::UpdateRollbackCompleteCleanupInProgress
        )
    }

    /// True if the stack begins to be rolled back with this status.
    pub(crate) fn begins_rollback(self) -> bool {
        matches!(
            self,
            Self::RollbackInProgress
                | Self::UpdateRollbackInProgress
                | Self::ImportRollbackInProgress
        )
    }
}

impl From<Status> for StackStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::InProgress => Self::UpdateInProgress,
            Status::Failed => Self::UpdateRollbackFailed,
            Status::Succeeded => Self::UpdateComplete,
            Status::DeleteInProgress => Self::DeleteInProgress,
            Status::DeleteFailed => Self::DeleteFailed,
            Status::DeleteComplete => Self::DeleteComplete,
            Status::Cancelling => Self::UpdateRollbackInProgress,
            Status::Cancelled => Self::UpdateRollbackComplete,
        }
    }
}

/// The statuses in which one service shows the account.
pub(crate) trait ServiceStatus: From<StackStatus> {
    const SERVICE: Service;
}

impl ServiceStatus for Status {
    const SERVICE: Service = Service::Proton;
}

impl ServiceStatus for StackStatus {
    const SERVICE: Service = Service::CloudFormation;
}

/// A kind of operation on a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Create,
    /// A change set that would create the stack.
    Review,
    Update,
    Import,
    Delete,
}

impl Kind {
    /// Returns the type in `LastOperations`.
    pub(crate) fn operation_type(self) -> &'static str {
        match self {
            Self::Create => "CREATE_STACK",
            Self::Update => "UPDATE_STACK",
            Self::Delete => "DELETE_STACK",
            // An import is a change set's execution; the service has no type of its own for it.
            Self::Review | Self::Import => "CREATE_CHANGESET",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_is_read_as_it_is_written() {
        for status in StackStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
            assert_eq!(status.way().last(), Some(&status));
            let first = status.way()[0];
            assert_eq!(first.kind(), status.kind());
            assert!(!first.is_settled());
        }
        assert!("DONE".parse::<StackStatus>().is_err());
    }

    #[test]
    fn only_an_update_has_a_deployment_status() {
        for status in StackStatus::ALL {
            let is_update = status.kind() == Kind::Update;
            assert_eq!(status.deployment_status().is_some(), is_update, "{status}");
        }
        let cleanup = StackStatus::UpdateRollbackCompleteCleanupInProgress;
        assert_eq!(cleanup.deployment_status(), Some(Status::Cancelling));
    }
}
