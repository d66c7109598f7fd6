//! A live deployment.

use std::collections::VecDeque;
use std::time::SystemTime;

use crate::account::deployment::{Deployment, Ending};
use crate::account::status::{Kind, StackStatus};
use crate::identity::Identities;

/// A deployment that is in progress, or was.
#[derive(Debug)]
pub(crate) struct LiveDeployment {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) status: StackStatus,
    pub(crate) message: Option<String>,
    pub(crate) started: SystemTime,
    /// When the deployment reached its present status.
    pub(crate) changed: SystemTime,
    pub(crate) completed: Option<SystemTime>,
    pub(crate) cancelled_at: Option<SystemTime>,
    pub(crate) script: Deployment,
    pub(crate) token: Option<String>,
    pub(crate) cancel_token: Option<String>,
    /// The ID of the rollback, once it has begun.
    pub(crate) rollback: Option<String>,
    /// Changes that are due, the next one first.
    pub(crate) steps: VecDeque<(SystemTime, Step)>,
}

/// A change of a deployment that is due at some time.
#[derive(Debug)]
pub(crate) enum Step {
    /// The deployment starts to end so.
    Begin(Ending),
    /// The deployment reaches a status, with a message.
    Become(StackStatus, Option<String>),
}

impl LiveDeployment {
    /// Creates a deployment that starts at some time. Of a stack's, the token is drawn, too.
    pub(crate) fn starting(
        script: &Deployment,
        started: SystemTime,
        is_of_stack: bool,
        identities: &mut Identities,
    ) -> Self {
        let id = script.id.clone();
        let id = id.unwrap_or_else(|| identities.uuid());
        let token = script.token.clone();
        Self {
            id,
            kind: script.kind(),
            status: script.status.first(),
            message: None,
            started,
            changed: started,
            completed: None,
            cancelled_at: None,
            token: token.or_else(|| is_of_stack.then(|| identities.uuid())),
            script: script.clone(),
            cancel_token: None,
            rollback: None,
            steps: VecDeque::new(),
        }
    }

    /// Returns the steps of a deployment that nobody cancels.
    pub(crate) fn ends_by_itself(&self, base: SystemTime) -> VecDeque<(SystemTime, Step)> {
        let end = self.script.left_alone.iter();
        end.filter_map(|(after, ending)| {
            Some((base.checked_add(*after)?, Step::Begin(ending.clone())))
        })
        .collect()
    }
}
