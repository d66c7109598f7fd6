//! The stacks of a world: what CloudFormation has when the local AWS starts, and their scripts.
//!
//! ```
//! use std::time::Duration;
//! use local_aws::{Stack, Update, UpdateEnding, World};
//!
//! let world = World::new().with_stack(Stack::new("AWSProton-prod-net").update(
//!     Update::in_progress()
//!         .started_ago(Duration::from_secs(720))
//!         .when_cancelled(UpdateEnding::rolled_back().rollback(Duration::from_secs(3))),
//! ));
//! assert_eq!(world.stacks().len(), 1);
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use crate::account::status::{Kind, StackStatus};
use crate::world::{Moment, When};

const DAY: Duration = Duration::from_hours(24);

/// What CloudFormation gives as the reason of what a user asked for.
pub(crate) const USER_INITIATED: &str = "User Initiated";

/// One stack of the world.
#[derive(Clone, Debug, PartialEq)]
pub struct Stack {
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) parent: Option<String>,
    pub(crate) created: Moment,
    pub(crate) last_success: Option<Moment>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) are_operations_sent: bool,
    pub(crate) is_last_updated_sent: bool,
    pub(crate) rollback_moves_last_updated: bool,
    /// The latest operation; a nested stack without one does what its parent does.
    pub(crate) update: Option<Update>,
    pub(crate) happenings: Vec<StackHappening>,
}

impl Stack {
    /// A root stack whose last update succeeded a month ago.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: None,
            parent: None,
            created: Moment::Ago(90 * DAY),
            last_success: Some(Moment::Ago(60 * DAY)),
            tags: BTreeMap::new(),
            are_operations_sent: true,
            is_last_updated_sent: true,
            rollback_moves_last_updated: true,
            update: None,
            happenings: Vec::new(),
        }
    }

    /// Sets the latest update, or another operation: its status says which.
    #[must_use]
    pub fn update(mut self, update: Update) -> Self {
        self.update = Some(update);
        self
    }

    /// The stack is nested in the stack of that name. Without an update of its own it does what
    /// that one does.
    #[must_use]
    pub fn nested_in(mut self, parent: impl Into<String>) -> Self {
        self.parent = Some(parent.into());
        self
    }

    /// Adds something that happens to the stack by itself.
    #[must_use]
    pub fn then(mut self, when: When, what: StackWhat) -> Self {
        self.happenings.push(StackHappening { when, what });
        self
    }

    /// Adds a tag.
    #[must_use]
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(key.into(), value.into());
        self
    }

    /// Sets the description.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// No update before the latest operation ever succeeded.
    #[must_use]
    pub fn never_succeeded(mut self) -> Self {
        self.last_success = None;
        self
    }

    /// The service does not send `LastOperations`, nor the `OperationId` of events.
    #[must_use]
    pub fn operations_not_sent(mut self) -> Self {
        self.are_operations_sent = false;
        self
    }

    /// The service does not send `LastUpdatedTime`.
    #[must_use]
    pub fn last_updated_not_sent(mut self) -> Self {
        self.is_last_updated_sent = false;
        self
    }

    /// `LastUpdatedTime` stays as it is when a rollback begins. AWS does not say whether it does;
    /// without this it moves.
    #[must_use]
    pub fn last_updated_stands_still(mut self) -> Self {
        self.rollback_moves_last_updated = false;
        self
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The latest operation, with the default in place.
    pub(crate) fn latest(&self) -> Update {
        let default = || Update::settled(UpdateEnding::succeeded());
        self.update.clone().unwrap_or_else(default)
    }

    /// True if it does what its parent does.
    pub(crate) fn follows_parent(&self) -> bool {
        self.parent.is_some() && self.update.is_none()
    }
}

/// One update of a stack, with its script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    pub(crate) id: Option<String>,
    pub(crate) token: Option<String>,
    pub(crate) is_by_change_set: bool,
    pub(crate) started: Moment,
    pub(crate) status: StackStatus,
    pub(crate) reason: Option<String>,
    pub(crate) when_cancelled: UpdateEnding,
    pub(crate) left_alone: Option<(Duration, UpdateEnding)>,
}

impl Update {
    /// One that is in progress, started ten minutes ago, and stays so until it is cancelled.
    #[must_use]
    pub fn in_progress() -> Self {
        Self {
            id: None,
            token: None,
            is_by_change_set: false,
            started: Moment::Ago(Duration::from_mins(10)),
            status: StackStatus::UpdateInProgress,
            reason: None,
            when_cancelled: UpdateEnding::rolled_back(),
            left_alone: None,
        }
    }

    /// One that is being rolled back already, since somebody cancelled it; it ends as
    /// `when_cancelled` says, counted from the start of the world.
    #[must_use]
    pub fn rolling_back() -> Self {
        Self::of_status(StackStatus::UpdateRollbackInProgress)
    }

    /// One that ended so, long ago.
    #[must_use]
    pub fn settled(ending: UpdateEnding) -> Self {
        Self {
            reason: ending.reason,
            started: Moment::Ago(30 * DAY),
            ..Self::of_status(ending.status)
        }
    }

    /// An operation of this status: also a creation, an import, a review or a deletion.
    #[must_use]
    pub fn of_status(status: StackStatus) -> Self {
        Self {
            status,
            ..Self::in_progress()
        }
    }

    /// Sets when it started.
    #[must_use]
    pub fn started(mut self, moment: Moment) -> Self {
        self.started = moment;
        self
    }

    /// Sets how long ago it started.
    #[must_use]
    pub fn started_ago(self, ago: Duration) -> Self {
        self.started(Moment::Ago(ago))
    }

    /// Sets the operation's id. Without one, the seed gives a UUID.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sets the `ClientRequestToken` with which it was started. Without one, the seed gives it.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// It is the execution of a change set.
    #[must_use]
    pub fn by_change_set(mut self) -> Self {
        self.is_by_change_set = true;
        self
    }

    /// Sets the status reason.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Sets what a cancel leads to. An ending that succeeded means that the update finishes right
    /// before a cancel arrives, which is then refused.
    #[must_use]
    pub fn when_cancelled(mut self, ending: UpdateEnding) -> Self {
        self.when_cancelled = ending;
        self
    }

    /// Sets how it ends where nobody cancels it: that long after the world started, or after it
    /// started itself where that is later.
    #[must_use]
    pub fn left_alone(mut self, after: Duration, ending: UpdateEnding) -> Self {
        self.left_alone = Some((after, ending));
        self
    }

    pub(crate) fn kind(&self) -> Kind {
        self.status.kind()
    }
}

/// The end of an update, and the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateEnding {
    pub(crate) status: StackStatus,
    pub(crate) reason: Option<String>,
    pub(crate) failure: Option<String>,
    pub(crate) rollback: Duration,
    pub(crate) cleanup: Duration,
}

impl UpdateEnding {
    /// It went through: `UPDATE_COMPLETE`.
    #[must_use]
    pub fn succeeded() -> Self {
        Self::new(StackStatus::UpdateComplete)
    }

    /// It was rolled back: `UPDATE_ROLLBACK_COMPLETE`. By itself only where it
    /// [`failed`](Self::failure); a cancel has no failure.
    #[must_use]
    pub fn rolled_back() -> Self {
        Self::new(StackStatus::UpdateRollbackComplete)
    }

    /// It could not be rolled back: `UPDATE_ROLLBACK_FAILED`.
    #[must_use]
    pub fn rollback_failed(reason: impl Into<String>) -> Self {
        Self::new(StackStatus::UpdateRollbackFailed).reason(reason)
    }

    /// It failed, and its rollback is disabled: `UPDATE_FAILED`.
    #[must_use]
    pub fn failed(reason: impl Into<String>) -> Self {
        Self::new(StackStatus::UpdateFailed).reason(reason)
    }

    /// An end of this status without a reason: five seconds of rollback, where there is one, and
    /// one of cleanup.
    #[must_use]
    pub fn new(status: StackStatus) -> Self {
        Self {
            status,
            reason: None,
            failure: None,
            rollback: Duration::from_secs(5),
            cleanup: Duration::from_secs(1),
        }
    }

    /// Sets the status reason that the stack has in the end. AWS gives none to a stack that was
    /// rolled back.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Sets why the update failed by itself: the status reason while it is rolled back.
    #[must_use]
    pub fn failure(mut self, failure: impl Into<String>) -> Self {
        self.failure = Some(failure.into());
        self
    }

    /// Sets how long the rollback lasts.
    #[must_use]
    pub fn rollback(mut self, lasts: Duration) -> Self {
        self.rollback = lasts;
        self
    }

    /// Sets how long the cleanup lasts.
    #[must_use]
    pub fn cleanup(mut self, lasts: Duration) -> Self {
        self.cleanup = lasts;
        self
    }
}

/// Something that happens to a stack by itself, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackHappening {
    pub(crate) when: When,
    pub(crate) what: StackWhat,
}

/// What happens to a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StackWhat {
    /// A new operation starts, as soon as the one before it has ended. Its `started` is ignored:
    /// it starts when it happens.
    Update(Update),
    /// The update ends so, if it is in progress; a rollback, if it is one, ends so, too.
    End(UpdateEnding),
    /// Somebody else cancels the update, if it is in progress.
    Cancel,
    /// The stack is deleted, at once.
    Delete,
    /// The stack is deleted, at once, and another of the same name is there, with this as its
    /// latest operation.
    Replace(Update),
}

/// What CloudFormation answers to a `CancelUpdateStack` whose `ClientRequestToken` cancelled the
/// same update before. AWS does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RepeatedToken {
    /// As the first time, without another effect.
    #[default]
    Accepted,
    /// `TokenAlreadyExistsException`.
    Refused,
    /// What it would answer without a token.
    Ignored,
}

/// How the local CloudFormation answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloudFormationOptions {
    /// How many stacks a page of `ListStacks` looks at; those that the filter leaves out count,
    /// so a page can be empty and have a token.
    pub stacks_a_page: usize,
    /// How many events a page of `DescribeStackEvents` has.
    pub events_a_page: usize,
    /// What a token that was used before is answered.
    pub repeated_token: RepeatedToken,
}

impl Default for CloudFormationOptions {
    fn default() -> Self {
        Self {
            stacks_a_page: 100,
            events_a_page: 100,
            repeated_token: RepeatedToken::default(),
        }
    }
}
