//! Snapshots of the account: the truth to compare outcomes with.

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::account::live::LiveEnvironment;
use crate::account::live_deployment::LiveDeployment;
use crate::account::status::{StackStatus, Status};
use crate::wire::time::rfc3339;

/// The state of an environment, or of a stack with a [`StackStatus`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentSnapshot<S = Status> {
    /// The name.
    pub name: String,
    /// The ARN; a stack's is its ID.
    pub arn: String,
    /// The ID of the stack that this one is nested in.
    pub parent_id: Option<String>,
    /// The status of the latest deployment.
    pub status: S,
    /// The status message.
    pub message: Option<String>,
    /// The ID of the latest deployment, even if the service does not send it.
    pub deployment_id: String,
    /// The start of the latest deployment, even if the service does not send it.
    pub started_at: SystemTime,
    /// The end of the latest deployment.
    pub completed_at: Option<SystemTime>,
}

/// The state of a deployment, or of a stack's update with a [`StackStatus`]: the truth about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentSnapshot<S = Status> {
    /// The environment that the deployment updates.
    pub environment: String,
    /// The environment's ARN.
    pub arn: String,
    /// The ID, even if the service does not send it.
    pub id: String,
    /// The status that the environment has, or had at the deployment's end.
    pub status: S,
    /// The status message.
    pub message: Option<String>,
    /// The start.
    pub started_at: SystemTime,
    /// The end.
    pub completed_at: Option<SystemTime>,
    /// The time when a cancel was accepted.
    pub cancelled_at: Option<SystemTime>,
}

impl<S: From<StackStatus>> EnvironmentSnapshot<S> {
    pub(crate) fn new(
        environment: &LiveEnvironment,
        arn: String,
        parent_id: Option<String>,
    ) -> Self {
        let latest = &environment.latest;
        Self {
            name: environment.script.name.clone(),
            arn,
            parent_id,
            status: latest.status.into(),
            message: latest.message.clone(),
            deployment_id: latest.id.clone(),
            started_at: latest.started,
            completed_at: latest.completed,
        }
    }
}

impl<S: From<StackStatus>> DeploymentSnapshot<S> {
    pub(crate) fn new(environment: String, arn: String, deployment: &LiveDeployment) -> Self {
        Self {
            environment,
            arn,
            id: deployment.id.clone(),
            status: deployment.status.into(),
            message: deployment.message.clone(),
            started_at: deployment.started,
            completed_at: deployment.completed,
            cancelled_at: deployment.cancelled_at,
        }
    }
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

impl EnvironmentSnapshot<StackStatus> {
    /// Returns the stack as `GET /_local/stacks` shows it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "id": self.arn,
            "parentId": self.parent_id,
            "status": self.status.as_str(),
            "reason": self.message,
            "operationId": self.deployment_id,
            "startedAt": rfc3339(self.started_at),
            "completedAt": self.completed_at.map(rfc3339),
        })
    }
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

impl DeploymentSnapshot<StackStatus> {
    /// Returns the update as `GET /_local/updates` shows it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "stack": self.environment,
            "stackId": self.arn,
            "id": self.id,
            "status": self.status.as_str(),
            "reason": self.message,
            "startedAt": rfc3339(self.started_at),
            "completedAt": self.completed_at.map(rfc3339),
            "cancelledAt": self.cancelled_at.map(rfc3339),
        })
    }
}
