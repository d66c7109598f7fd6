//! Snapshots of the account: the truth to compare outcomes with.

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::account::live::LiveEnvironment;
use crate::account::live_deployment::LiveDeployment;
use crate::account::status::{StackStatus, Status};
use crate::wire::time::rfc3339;

/// The state of an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentSnapshot {
    /// The name.
    pub name: String,
    /// The ARN.
    pub arn: String,
    /// The status of the latest deployment.
    pub status: Status,
    /// The status message.
    pub message: Option<String>,
    /// The ID of the latest deployment, even if the service does not send it.
    pub deployment_id: String,
    /// The start of the latest deployment, even if the service does not send it.
    pub started_at: SystemTime,
    /// The end of the latest deployment.
    pub completed_at: Option<SystemTime>,
}

impl EnvironmentSnapshot {
    /// Returns the environment as `GET /_local/environments` shows it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "arn": self.arn,
            "status": self.status.as_str(),
            "message": self.message,
            "deploymentId": self.deployment_id,
            "startedAt": rfc3339(self.started_at),
            "completedAt": self.completed_at.map(rfc3339),
        })
    }
}

/// The state of a deployment: the truth about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentSnapshot {
    /// The environment that the deployment updates.
    pub environment: String,
    /// The ID, even if the service does not send it.
    pub id: String,
    /// The status.
    pub status: Status,
    /// The status message.
    pub message: Option<String>,
    /// The start.
    pub started_at: SystemTime,
    /// The end.
    pub completed_at: Option<SystemTime>,
    /// The time when a cancel was accepted.
    pub cancelled_at: Option<SystemTime>,
}

impl DeploymentSnapshot {
    /// Returns the deployment as `GET /_local/deployments` shows it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "environment": self.environment,
            "id": self.id,
            "status": self.status.as_str(),
            "message": self.message,
            "startedAt": rfc3339(self.started_at),
            "completedAt": self.completed_at.map(rfc3339),
            "cancelledAt": self.cancelled_at.map(rfc3339),
        })
    }
}

/// The state of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackSnapshot {
    /// The name.
    pub name: String,
    /// The ID, an ARN.
    pub id: String,
    /// The ID of the stack that this one is nested in.
    pub parent_id: Option<String>,
    /// The status.
    pub status: StackStatus,
    /// The status reason.
    pub reason: Option<String>,
    /// The ID of the latest operation, even if the service does not send it.
    pub operation_id: String,
    /// The start of the latest operation.
    pub started_at: SystemTime,
    /// The end of the latest operation.
    pub completed_at: Option<SystemTime>,
}

impl StackSnapshot {
    /// Returns the stack as `GET /_local/stacks` shows it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "id": self.id,
            "parentId": self.parent_id,
            "status": self.status.as_str(),
            "reason": self.reason,
            "operationId": self.operation_id,
            "startedAt": rfc3339(self.started_at),
            "completedAt": self.completed_at.map(rfc3339),
        })
    }
}

/// The state of an update of a stack: the truth about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateSnapshot {
    /// The name of the updated stack.
    pub stack: String,
    /// The ID of that stack.
    pub stack_id: String,
    /// The ID of the operation, even if the service does not send it.
    pub id: String,
    /// The status that the stack has, or had at the update's end.
    pub status: StackStatus,
    /// The status reason.
    pub reason: Option<String>,
    /// The start.
    pub started_at: SystemTime,
    /// The end.
    pub completed_at: Option<SystemTime>,
    /// The time when a cancel was accepted.
    pub cancelled_at: Option<SystemTime>,
}

impl UpdateSnapshot {
    /// Returns the update as `GET /_local/updates` shows it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "stack": self.stack,
            "stackId": self.stack_id,
            "id": self.id,
            "status": self.status.as_str(),
            "reason": self.reason,
            "startedAt": rfc3339(self.started_at),
            "completedAt": self.completed_at.map(rfc3339),
            "cancelledAt": self.cancelled_at.map(rfc3339),
        })
    }
}

impl EnvironmentSnapshot {
    pub(crate) fn new(environment: &LiveEnvironment, arn: String) -> Self {
        let latest = &environment.latest;
        Self {
            name: environment.script.name.clone(),
            arn,
            status: latest.status.into(),
            message: latest.message.clone(),
            deployment_id: latest.id.clone(),
            started_at: latest.started,
            completed_at: latest.completed,
        }
    }
}

impl DeploymentSnapshot {
    pub(crate) fn new(environment: &LiveEnvironment, deployment: &LiveDeployment) -> Self {
        Self {
            environment: environment.script.name.clone(),
            id: deployment.id.clone(),
            status: deployment.status.into(),
            message: deployment.message.clone(),
            started_at: deployment.started,
            completed_at: deployment.completed,
            cancelled_at: deployment.cancelled_at,
        }
    }
}

impl StackSnapshot {
    pub(crate) fn new(stack: &LiveEnvironment, id: &str, parent_id: Option<&str>) -> Self {
        let latest = &stack.latest;
        Self {
            name: stack.script.name.clone(),
            id: id.to_owned(),
            parent_id: parent_id.map(str::to_owned),
            status: latest.status,
            reason: latest.message.clone(),
            operation_id: latest.id.clone(),
            started_at: latest.started,
            completed_at: latest.completed,
        }
    }
}

impl UpdateSnapshot {
    pub(crate) fn new(stack: &LiveEnvironment, id: &str, update: &LiveDeployment) -> Self {
        Self {
            stack: stack.script.name.clone(),
            stack_id: id.to_owned(),
            id: update.id.clone(),
            status: update.status,
            reason: update.message.clone(),
            started_at: update.started,
            completed_at: update.completed,
            cancelled_at: update.cancelled_at,
        }
    }
}
