//! The script of an environment.

use std::time::Duration;

use crate::account::deployment::{Deployment, Ending};
use crate::wire::operation::Operation;

/// A scripted event of an environment. It takes place once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptedEvent {
    pub(crate) timing: Timing,
    pub(crate) effect: Effect,
}

/// The time of a scripted event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Timing {
    /// A time after the start of the world.
    At(Duration),
    /// A time after the end of the deployment before it.
    AfterEnd(Duration),
    /// On the arrival of the nth call of this operation that concerns the environment, before the
    /// call is carried out.
    BeforeCall(Operation, u64),
    /// Right after the response to the nth call of this operation that concerned the environment.
    /// `ListEnvironments` and `ListStacks` concern those that they list.
    AfterCall(Operation, u64),
}

impl Timing {
    /// Returns the time right after the environment was listed for the first time: the caller's reading
    /// is stale at once.
    #[must_use]
    pub fn after_listed() -> Self {
        Self::AfterCall(Operation::ListEnvironments, 1)
    }
}

/// The effect of a scripted event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Starts a new deployment as soon as the one before it has ended. Its `started` is ignored.
    Deploy(Deployment),
    /// Ends the deployment, if it has not ended yet. A stack that is being rolled back ends only as a
    /// rollback can.
    End(Ending),
    /// Cancels the deployment, if it is in progress.
    Cancel,
    /// Deletes the environment at once.
    Delete,
    /// Deletes the environment at once and creates another of the same name, with this as its
    /// latest deployment.
    Replace(Deployment),
}

impl ScriptedEvent {
    /// Returns the same event for a stack.
    pub(crate) fn of_stack(&self) -> Self {
        let timing = match self.timing {
            Timing::At(_) | Timing::AfterEnd(_) => self.timing.clone(),
            Timing::BeforeCall(call, nth) => Timing::BeforeCall(call.of_stack(), nth),
            Timing::AfterCall(call, nth) => Timing::AfterCall(call.of_stack(), nth),
        };
        let effect = match &self.effect {
            Effect::Deploy(deployment) => Effect::Deploy(deployment.of_stack()),
            Effect::End(ending) => Effect::End(ending.of_stack()),
            Effect::Replace(deployment) => Effect::Replace(deployment.of_stack()),
            Effect::Cancel | Effect::Delete => self.effect.clone(),
        };
        Self { timing, effect }
    }
}
