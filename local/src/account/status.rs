//! The status of a stack, and what it says about the stack's latest operation.

use std::fmt;
use std::str::FromStr;

/// The status of a stack, as CloudFormation names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    missing_docs,
    reason = "the names are the service's own, and say what they mean"
)]
pub enum StackStatus {
    CreateInProgress,
    CreateFailed,
    CreateComplete,
    RollbackInProgress,
    RollbackFailed,
    RollbackComplete,
    DeleteInProgress,
    DeleteFailed,
    DeleteComplete,
    UpdateInProgress,
    UpdateCompleteCleanupInProgress,
    UpdateComplete,
    UpdateFailed,
    UpdateRollbackInProgress,
    UpdateRollbackFailed,
    UpdateRollbackCompleteCleanupInProgress,
    UpdateRollbackComplete,
    ReviewInProgress,
    ImportInProgress,
    ImportComplete,
    ImportRollbackInProgress,
    ImportRollbackFailed,
    ImportRollbackComplete,
}

impl StackStatus {
    /// Every status, in the order of the service model.
    pub const ALL: [Self; 23] = [
        Self::CreateInProgress,
        Self::CreateFailed,
        Self::CreateComplete,
        Self::RollbackInProgress,
        Self::RollbackFailed,
        Self::RollbackComplete,
        Self::DeleteInProgress,
        Self::DeleteFailed,
        Self::DeleteComplete,
        Self::UpdateInProgress,
        Self::UpdateCompleteCleanupInProgress,
        Self::UpdateComplete,
        Self::UpdateFailed,
        Self::UpdateRollbackInProgress,
        Self::UpdateRollbackFailed,
        Self::UpdateRollbackCompleteCleanupInProgress,
        Self::UpdateRollbackComplete,
        Self::ReviewInProgress,
        Self::ImportInProgress,
        Self::ImportComplete,
        Self::ImportRollbackInProgress,
        Self::ImportRollbackFailed,
        Self::ImportRollbackComplete,
    ];

    /// The status as it goes over the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CreateInProgress => "CREATE_IN_PROGRESS",
            Self::CreateFailed => "CREATE_FAILED",
            Self::CreateComplete => "CREATE_COMPLETE",
            Self::RollbackInProgress => "ROLLBACK_IN_PROGRESS",
            Self::RollbackFailed => "ROLLBACK_FAILED",
            Self::RollbackComplete => "ROLLBACK_COMPLETE",
            Self::DeleteInProgress => "DELETE_IN_PROGRESS",
            Self::DeleteFailed => "DELETE_FAILED",
            Self::DeleteComplete => "DELETE_COMPLETE",
            Self::UpdateInProgress => "UPDATE_IN_PROGRESS",
            Self::UpdateCompleteCleanupInProgress => "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
            Self::UpdateComplete => "UPDATE_COMPLETE",
            Self::UpdateFailed => "UPDATE_FAILED",
            Self::UpdateRollbackInProgress => "UPDATE_ROLLBACK_IN_PROGRESS",
            Self::UpdateRollbackFailed => "UPDATE_ROLLBACK_FAILED",
            Self::UpdateRollbackCompleteCleanupInProgress => {
                "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS"
            }
            Self::UpdateRollbackComplete => "UPDATE_ROLLBACK_COMPLETE",
            Self::ReviewInProgress => "REVIEW_IN_PROGRESS",
            Self::ImportInProgress => "IMPORT_IN_PROGRESS",
            Self::ImportComplete => "IMPORT_COMPLETE",
            Self::ImportRollbackInProgress => "IMPORT_ROLLBACK_IN_PROGRESS",
            Self::ImportRollbackFailed => "IMPORT_ROLLBACK_FAILED",
            Self::ImportRollbackComplete => "IMPORT_ROLLBACK_COMPLETE",
        }
    }

    /// True if nothing more happens to the stack by itself.
    #[must_use]
    pub fn is_settled(self) -> bool {
        !self.as_str().ends_with("_IN_PROGRESS")
    }

    /// Returns Proton's status of an update. `None` if the stack's latest operation is no update.
    #[must_use]
    pub fn deployment_status(self) -> Option<Status> {
        (self.kind() == Kind::Update).then(|| self.into())
    }

    /// The operation that leads to this status.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::CreateInProgress
            | Self::CreateFailed
            | Self::CreateComplete
            | Self::RollbackInProgress
            | Self::RollbackFailed
            | Self::RollbackComplete => Kind::Create,
            Self::ReviewInProgress => Kind::Review,
            Self::DeleteInProgress | Self::DeleteFailed | Self::DeleteComplete => Kind::Delete,
            Self::UpdateInProgress
            | Self::UpdateCompleteCleanupInProgress
            | Self::UpdateComplete
            | Self::UpdateFailed
            | Self::UpdateRollbackInProgress
            | Self::UpdateRollbackFailed
            | Self::UpdateRollbackCompleteCleanupInProgress
            | Self::UpdateRollbackComplete => Kind::Update,
            Self::ImportInProgress
            | Self::ImportComplete
            | Self::ImportRollbackInProgress
            | Self::ImportRollbackFailed
            | Self::ImportRollbackComplete => Kind::Import,
        }
    }

    /// The statuses that a stack passes through on its way to this one, this one last.
    pub(crate) fn way(self) -> &'static [Self] {
        match self {
            Self::CreateInProgress => &[Self::CreateInProgress],
            Self::CreateFailed => &[Self::CreateInProgress, Self::CreateFailed],
            Self::CreateComplete => &[Self::CreateInProgress, Self::CreateComplete],
            Self::RollbackInProgress => &[Self::CreateInProgress, Self::RollbackInProgress],
            Self::RollbackFailed => &[
                Self::CreateInProgress,
                Self::RollbackInProgress,
                Self::RollbackFailed,
            ],
            Self::RollbackComplete => &[
                Self::CreateInProgress,
                Self::RollbackInProgress,
                Self::RollbackComplete,
            ],
            Self::DeleteInProgress => &[Self::DeleteInProgress],
            Self::DeleteFailed => &[Self::DeleteInProgress, Self::DeleteFailed],
            Self::DeleteComplete => &[Self::DeleteInProgress, Self::DeleteComplete],
            Self::UpdateInProgress => &[Self::UpdateInProgress],
            Self::UpdateCompleteCleanupInProgress => &[
                Self::UpdateInProgress,
                Self::UpdateCompleteCleanupInProgress,
            ],
            Self::UpdateComplete => &[
                Self::UpdateInProgress,
                Self::UpdateCompleteCleanupInProgress,
                Self::UpdateComplete,
            ],
            Self::UpdateFailed => &[Self::UpdateInProgress, Self::UpdateFailed],
            Self::UpdateRollbackInProgress => {
                &[Self::UpdateInProgress, Self::UpdateRollbackInProgress]
            }
            Self::UpdateRollbackFailed => &[
                Self::UpdateInProgress,
                Self::UpdateRollbackInProgress,
                Self::UpdateRollbackFailed,
            ],
            Self::UpdateRollbackCompleteCleanupInProgress => &[
                Self::UpdateInProgress,
                Self::UpdateRollbackInProgress,
                Self::UpdateRollbackCompleteCleanupInProgress,
            ],
            Self::UpdateRollbackComplete => &[
                Self::UpdateInProgress,
                Self::UpdateRollbackInProgress,
                Self::UpdateRollbackCompleteCleanupInProgress,
                Self::UpdateRollbackComplete,
            ],
            Self::ReviewInProgress => &[Self::ReviewInProgress],
            Self::ImportInProgress => &[Self::ImportInProgress],
            Self::ImportComplete => &[Self::ImportInProgress, Self::ImportComplete],
            Self::ImportRollbackInProgress => {
                &[Self::ImportInProgress, Self::ImportRollbackInProgress]
            }
            Self::ImportRollbackFailed => &[
                Self::ImportInProgress,
                Self::ImportRollbackInProgress,
                Self::ImportRollbackFailed,
            ],
            Self::ImportRollbackComplete => &[
                Self::ImportInProgress,
                Self::ImportRollbackInProgress,
                Self::ImportRollbackComplete,
            ],
        }
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

impl fmt::Display for StackStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for StackStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| {
                let names = Self::ALL.map(Self::as_str).join("`, `");
                format!("status `{text}` is not known: write one of `{names}`")
            })
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

impl From<StackStatus> for Status {
    fn from(status: StackStatus) -> Self {
        match status {
            StackStatus::CreateInProgress
            | StackStatus::ReviewInProgress
            | StackStatus::ImportInProgress
            | StackStatus::UpdateInProgress => Self::InProgress,
            StackStatus::CreateComplete
            | StackStatus::ImportComplete
            | StackStatus::UpdateCompleteCleanupInProgress
            | StackStatus::UpdateComplete => Self::Succeeded,
            StackStatus::RollbackInProgress
            | StackStatus::ImportRollbackInProgress
            | StackStatus::UpdateRollbackInProgress
            | StackStatus::UpdateRollbackCompleteCleanupInProgress => Self::Cancelling,
            StackStatus::RollbackComplete
            | StackStatus::ImportRollbackComplete
            | StackStatus::UpdateRollbackComplete => Self::Cancelled,
            StackStatus::CreateFailed
            | StackStatus::RollbackFailed
            | StackStatus::ImportRollbackFailed
            | StackStatus::UpdateFailed
            | StackStatus::UpdateRollbackFailed => Self::Failed,
            StackStatus::DeleteInProgress => Self::DeleteInProgress,
            StackStatus::DeleteFailed => Self::DeleteFailed,
            StackStatus::DeleteComplete => Self::DeleteComplete,
        }
    }
}

/// The status of a deployment, as Proton names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Being carried out.
    InProgress,
    /// Ended without success.
    Failed,
    /// Ended well.
    Succeeded,
    /// Being deleted.
    DeleteInProgress,
    /// Could not be deleted.
    DeleteFailed,
    /// Deleted.
    DeleteComplete,
    /// Being cancelled.
    Cancelling,
    /// Ended by a cancel.
    Cancelled,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 8] = [
        Self::InProgress,
        Self::Failed,
        Self::Succeeded,
        Self::DeleteInProgress,
        Self::DeleteFailed,
        Self::DeleteComplete,
        Self::Cancelling,
        Self::Cancelled,
    ];

    /// The status as it goes over the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "IN_PROGRESS",
            Self::Failed => "FAILED",
            Self::Succeeded => "SUCCEEDED",
            Self::DeleteInProgress => "DELETE_IN_PROGRESS",
            Self::DeleteFailed => "DELETE_FAILED",
            Self::DeleteComplete => "DELETE_COMPLETE",
            Self::Cancelling => "CANCELLING",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// True if nothing more happens to a deployment of this status by itself.
    #[must_use]
    pub fn is_settled(self) -> bool {
        match self {
            Self::InProgress | Self::DeleteInProgress | Self::Cancelling => false,
            Self::Failed
            | Self::Succeeded
            | Self::DeleteFailed
            | Self::DeleteComplete
            | Self::Cancelled => true,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for Status {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| {
                let names = Self::ALL.map(Self::as_str).join("`, `");
                format!("status `{text}` is not known: write one of `{names}`")
            })
    }
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
    /// The type in `LastOperations`.
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
