//! The record that CloudFormation keeps of a stack: its ID, its operations and its events.

use std::time::SystemTime;

use crate::account::live_deployment::LiveDeployment;
use crate::account::status::{Kind, StackStatus};
use crate::identity::Identities;
use crate::wire::time::rfc3339;

/// The number of operations in `LastOperations`. AWS does not document it.
const LAST_OPERATIONS: usize = 5;

/// The resource of a stack that its resource events concern.
#[derive(Debug)]
pub(crate) struct Resource {
    pub(crate) logical_id: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) physical_id: String,
}

/// An event of a stack or of its one resource.
#[derive(Clone, Debug)]
pub(crate) struct StackEvent {
    pub(crate) id: String,
    pub(crate) time: SystemTime,
    pub(crate) is_of_resource: bool,
    pub(crate) status: StackStatus,
    pub(crate) reason: Option<String>,
    pub(crate) operation: Option<String>,
    pub(crate) token: Option<String>,
}

/// The record of one stack.
#[derive(Debug)]
pub(crate) struct StackRecord {
    pub(crate) id: String,
    pub(crate) last_updated: Option<SystemTime>,
    /// Oldest first.
    pub(crate) events: Vec<StackEvent>,
    pub(crate) resource: Resource,
    /// Oldest first: type and ID.
    operations: Vec<(&'static str, String)>,
}

impl StackRecord {
    pub(crate) fn new(id: String) -> Self {
        Self {
            id,
            last_updated: None,
            events: Vec::new(),
            resource: Resource {
                logical_id: "Subnet",
                kind: "AWS::EC2::Subnet",
                physical_id: "subnet-0a1b2c3d4e5f60718".to_owned(),
            },
            operations: Vec::new(),
        }
    }

    /// Returns type and ID of the last operations, newest first.
    pub(crate) fn last_operations(&self) -> impl Iterator<Item = &(&'static str, String)> {
        self.operations.iter().rev().take(LAST_OPERATIONS)
    }

    /// Records that an operation started.
    pub(crate) fn open(&mut self, latest: &LiveDeployment, identities: &mut Identities) {
        let is_update = latest.kind == Kind::Update;
        if is_update && latest.script.is_by_change_set {
            self.operations
                .push(("CREATE_CHANGESET", identities.uuid()));
        }
        let operation = (latest.kind.operation_type(), latest.id.clone());
        self.operations.push(operation);
        if is_update {
            self.last_updated = Some(latest.started);
        }
    }

    /// Records that a rollback began, an operation of its own; returns its ID.
    pub(crate) fn open_rollback(&mut self, identities: &mut Identities) -> String {
        let id = identities.uuid();
        self.operations.push(("ROLLBACK", id.clone()));
        id
    }

    /// Records the status that the latest operation has reached. The resource reaches its status first.
    pub(crate) fn add_events(&mut self, latest: &LiveDeployment, identities: &mut Identities) {
        if let Some((status, reason)) = resource_status(latest) {
            let time = rfc3339(latest.changed);
            let id = format!("{}-{status}-{time}", self.resource.logical_id);
            let of_resource = StackEvent {
                id,
                is_of_resource: true,
                status,
                reason: reason.map(str::to_owned),
                ..event(latest, String::new())
            };
            self.events.push(of_resource);
        }
        self.events.push(event(latest, identities.uuid()));
    }
}

fn event(latest: &LiveDeployment, id: String) -> StackEvent {
    let LiveDeployment { kind, rollback, .. } = latest;
    StackEvent {
        id,
        time: latest.changed,
        is_of_resource: false,
        status: latest.status,
        reason: latest.message.clone(),
        operation: (*kind != Kind::Review).then(|| rollback.as_ref().unwrap_or(&latest.id).clone()),
        // A rollback keeps the update's token, unless a cancel brought its own.
        token: match (kind, latest.cancelled_at) {
            (Kind::Review, _) => None,
            (_, Some(_)) => latest.cancel_token.clone(),
            (_, None) => latest.token.clone(),
        },
    }
}

/// Returns the status and the reason that the resource of a stack reaches with the stack's status.
fn resource_status(latest: &LiveDeployment) -> Option<(StackStatus, Option<&'static str>)> {
    let status = latest.status;
    if latest.kind != Kind::Update {
        return None;
    }
    if status.is_cleanup() {
        return Some((StackStatus::UpdateComplete, None));
    }
    let reason = if latest.cancelled_at.is_some() {
        "Resource update cancelled"
    } else {
        "Resource handler returned message: \"the subnet is in use\" (HandlerErrorCode: GeneralServiceException)"
    };
    let has_failed = status.begins_rollback() || status == StackStatus::UpdateFailed;
    has_failed.then_some((StackStatus::UpdateFailed, Some(reason)))
}
