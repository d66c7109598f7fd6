//! AWS CloudFormation: the only place that names its SDK. An environment is a root stack, a
//! deployment an update of it.
//!
//! The operations follow the [API reference](https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/Welcome.html).
//! A cancelled update rolls back, and so does one that fails by itself; the two differ by the
//! reason that the stack gives. A rollback is part of the update that it undoes, never another
//! deployment, whatever it does to `LastUpdatedTime`.

mod update;
mod whole_answer;

use std::fmt::Write as _;

use aws_sdk_cloudformation::Client;
use aws_sdk_cloudformation::config::Builder;
use aws_sdk_cloudformation::config::SharedInterceptor;
use aws_sdk_cloudformation::types::{
    OperationEntry, OperationType, Stack, StackEvent, StackStatus, StackSummary,
};
use aws_smithy_types::DateTime;
use aws_types::SdkConfig;
use sha2::{Digest as _, Sha256};

use self::update::{Event, Search, derived_id};
use self::whole_answer::WholeAnswer;
use crate::aws::call_error::{CallError, Fault};
use crate::aws::endpoint;
use crate::deployment::{Deployment, Environment, EnvironmentName, NameRule, Status};
use crate::engine::{self, AlarmsTag, Further, Look, Page, Sight};
use crate::timestamp::{self, Timestamp};

/// The statuses that a listing asks for: an update that runs, and one that is rolled back.
const LISTED: [StackStatus; 3] = [
    StackStatus::UpdateInProgress,
    StackStatus::UpdateRollbackInProgress,
    StackStatus::UpdateRollbackCompleteCleanupInProgress,
];

/// The tag that says which alarms concern a stack.
const ALARMS_TAG: &str = "proton-canceller:alarms";

/// The most pages of a stack's events that are read to find how an update ended.
const MOST_EVENT_PAGES: usize = 50;

/// A client of AWS CloudFormation.
#[derive(Clone, Debug)]
pub struct CloudFormation(Client);

/// What a stack says of itself, listed or described.
struct StackFacts {
    id: Option<String>,
    name: Option<String>,
    status: Option<StackStatus>,
    reason: Option<String>,
    updated: Option<DateTime>,
    operations: Vec<OperationEntry>,
    is_nested: bool,
}

impl From<StackSummary> for StackFacts {
    fn from(stack: StackSummary) -> Self {
        Self {
            id: stack.stack_id,
            name: stack.stack_name,
            status: stack.stack_status,
            reason: stack.stack_status_reason,
            updated: stack.last_updated_time,
            operations: stack.last_operations.unwrap_or_default(),
            is_nested: stack.parent_id.is_some_and(|id| !id.is_empty()),
        }
    }
}

impl From<Stack> for StackFacts {
    fn from(stack: Stack) -> Self {
        Self {
            id: stack.stack_id,
            name: stack.stack_name,
            status: stack.stack_status,
            reason: stack.stack_status_reason,
            updated: stack.last_updated_time,
            operations: stack.last_operations.unwrap_or_default(),
            is_nested: stack.parent_id.is_some_and(|id| !id.is_empty()),
        }
    }
}

impl StackFacts {
    /// The stack's latest update, as a deployment.
    fn into_deployment(self) -> Option<Deployment> {
        let name = self.name.unwrap_or_default();
        let name = EnvironmentName::parse(&name, NameRule::CloudFormation)
            .inspect_err(|error| {
                tracing::error!(
                    error = error.to_string(),
                    "CloudFormation listed a stack that is left alone"
                );
            })
            .ok()?;
        let status = self.status.as_ref().map_or("", StackStatus::as_str);
        let mapped = mapped(status);
        let started_at = self.updated.and_then(known_time);
        let operation = newest_update(&self.operations);
        let id = operation.or_else(|| derived_id(self.id.as_deref()?, started_at?));
        Some(Deployment {
            environment: Environment {
                arn: self.id,
                ..Environment::named(name)
            },
            id,
            started_at,
            // The reason of an update that runs says who started it.
            message: message(status, self.reason).filter(|_| mapped != Status::InProgress),
            status: mapped,
            ended_at: None,
            moved_start: None,
        })
    }
}

impl CloudFormation {
    /// Makes a client that shares the configuration's HTTP client.
    #[must_use]
    pub fn new(config: &SdkConfig) -> Self {
        let mut builder = Builder::from(config);
        builder.push_interceptor(SharedInterceptor::new(WholeAnswer));
        Self(Client::from_conf(builder.build()))
    }

    /// The address that calls go to, where it can be told before one is made.
    pub async fn endpoint(config: &SdkConfig) -> Option<String> {
        endpoint::of!(config, "CloudFormation", aws_sdk_cloudformation)
    }

    /// Nested stacks are never counted: their root's update is what can be cancelled.
    pub(super) async fn list(&self, token: Option<&str>) -> Result<Page, CallError> {
        let output = self
            .0
            .list_stacks()
            .set_stack_status_filter(Some(LISTED.to_vec()))
            .set_next_token(token.map(str::to_owned))
            .send()
            .await
            .map_err(|error| CallError::from_sdk(&error))?;
        let stacks: Vec<StackFacts> = output
            .stack_summaries
            .unwrap_or_default()
            .into_iter()
            .map(StackFacts::from)
            .filter(|stack| !stack.is_nested)
            .collect();
        Ok(Page {
            next: output.next_token.filter(|token| !token.is_empty()),
            count: stacks.len() as u64,
            deployments: stacks
                .into_iter()
                .filter_map(StackFacts::into_deployment)
                .collect(),
        })
    }

    pub(super) async fn read(
        &self,
        name: &EnvironmentName,
    ) -> Result<Option<Deployment>, CallError> {
        let stack = StackFacts::from(self.describe(name.as_str()).await?);
        // An alias answers with a stack of another name.
        if stack.is_nested || stack.name.as_deref() != Some(name.as_str()) {
            return Ok(None);
        }
        Ok(stack.into_deployment())
    }

    /// The stack tells of its latest update; how an earlier one ended, and why one was rolled back
    /// where the stack does not say so any more, its events tell.
    pub(super) async fn look_at(&self, deployment: &Deployment) -> Result<Look, CallError> {
        let stack = self.describe(stack_of(deployment)).await?;
        let Some(seen) = StackFacts::from(stack).into_deployment() else {
            return Err(incomplete("stack's name"));
        };
        let has_reason = seen.message.is_some()
            || (deployment.status == Status::Cancelling && deployment.message.is_some());
        let needs_events = match seen.status {
            Status::Cancelled => !has_reason,
            // Its end may lie before that.
            Status::Other(_) => true,
            Status::InProgress | Status::Cancelling | Status::Failed | Status::Succeeded => false,
        };
        let search = Search::of(deployment, seen, token_of(deployment));
        match search.known() {
            Some(sight) if !needs_events => Ok(Look::Told(sight)),
            Some(_) | None => {
                let trace = Trace {
                    stacks: self.clone(),
                    search,
                    token: None,
                    pages: 0,
                };
                Ok(Look::Further(engine::Trace::CloudFormation(Box::new(
                    trace,
                ))))
            }
        }
    }

    /// A `ValidationError` says that the stack has left `UPDATE_IN_PROGRESS`, or that there is no
    /// such stack: the stack, read again, decides. So it does on a token that was used before.
    /// The answer is empty: nothing in it tells what was cancelled.
    pub(super) async fn cancel(&self, deployment: &Deployment) -> Result<(), CallError> {
        self.0
            .cancel_update_stack()
            .stack_name(stack_of(deployment))
            .client_request_token(token_of(deployment))
            .send()
            .await
            .map_err(|error| {
                let error = CallError::from_sdk(&error);
                match error.code.as_str() {
                    "ValidationError" | "TokenAlreadyExistsException" => CallError {
                        fault: Fault::Conflict,
                        ..error
                    },
                    _ => error,
                }
            })?;
        Ok(())
    }

    pub(super) async fn alarms_tag(
        &self,
        environment: &Environment,
    ) -> Result<AlarmsTag, CallError> {
        let id = environment.arn.as_deref();
        let mut stack = self
            .describe(id.unwrap_or(environment.name.as_str()))
            .await?;
        let tags = stack.tags.take().unwrap_or_default();
        let tag = tags
            .into_iter()
            .find(|tag| tag.key.as_deref() == Some(ALARMS_TAG));
        Ok(AlarmsTag {
            value: tag.and_then(|tag| tag.value),
            deployment: StackFacts::from(stack).into_deployment(),
        })
    }

    async fn describe(&self, name_or_id: &str) -> Result<Stack, CallError> {
        let output = self
            .0
            .describe_stacks()
            .stack_name(name_or_id)
            .send()
            .await
            .map_err(|error| CallError::from_sdk(&error))?;
        let stack = output.stacks.unwrap_or_default().into_iter().next();
        stack.ok_or_else(|| incomplete("stack"))
    }
}

/// A look that the stack's events must answer.
#[derive(Debug)]
pub struct Trace {
    stacks: CloudFormation,
    search: Search,
    /// The token of the next page.
    token: Option<String>,
    /// How many were read.
    pages: usize,
}

impl Trace {
    /// Reads one page.
    pub(super) async fn further(&mut self, deployment: &Deployment) -> Result<Further, CallError> {
        let output = self
            .stacks
            .0
            .describe_stack_events()
            .stack_name(stack_of(deployment))
            .set_next_token(self.token.clone())
            .send()
            .await
            .map_err(|error| CallError::from_sdk(&error))?;
        let stack_id = deployment.environment.arn.as_deref().unwrap_or_default();
        let mut own = output
            .stack_events
            .unwrap_or_default()
            .into_iter()
            .filter(|event| event.physical_resource_id.as_deref() == Some(stack_id));
        let is_enough = own.any(|event| self.search.meet(event.into()));
        self.token = output.next_token.filter(|token| !token.is_empty());
        self.pages += 1;
        if !is_enough && self.token.is_some() && self.pages < MOST_EVENT_PAGES {
            return Ok(Further::More);
        }
        Ok(Further::Told(self.search.told()))
    }

    pub(super) fn known(&self) -> Option<Sight> {
        self.search.known()
    }
}

impl From<StackEvent> for Event {
    fn from(event: StackEvent) -> Self {
        let status = event
            .resource_status
            .as_ref()
            .map_or("", |status| status.as_str());
        Self {
            status: mapped(status),
            message: message(status, event.resource_status_reason),
            at: event.timestamp.and_then(known_time),
            operation: event.operation_id,
            token: event.client_request_token,
        }
    }
}

/// What a stack's status means for its update. Creation, import, review and deletion are none.
fn mapped(status: &str) -> Status {
    match status {
        "UPDATE_IN_PROGRESS" => Status::InProgress,
        "UPDATE_ROLLBACK_IN_PROGRESS" | "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS" => {
            Status::Cancelling
        }
        "UPDATE_ROLLBACK_COMPLETE" => Status::Cancelled,
        "UPDATE_ROLLBACK_FAILED" | "UPDATE_FAILED" => Status::Failed,
        "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS" | "UPDATE_COMPLETE" => Status::Succeeded,
        other => Status::Other(other.to_owned()),
    }
}

/// The stack's reason, and, where somebody must act, what to call.
fn message(status: &str, reason: Option<String>) -> Option<String> {
    let remedy = match status {
        "UPDATE_ROLLBACK_FAILED" => {
            "the rollback failed: mend its cause, then call `ContinueUpdateRollback`"
        }
        "UPDATE_FAILED" => {
            "the update failed and was not rolled back: call `RollbackStack`, or update the stack again"
        }
        _ => return reason,
    };
    Some(match reason {
        Some(reason) => format!("{reason} ({remedy})"),
        None => remedy.to_owned(),
    })
}

/// The id of the newest update among a stack's operations, which stand newest first; a rollback
/// stands before the update that it undoes, with an id of its own.
fn newest_update(operations: &[OperationEntry]) -> Option<String> {
    operations
        .iter()
        .find(|operation| operation.operation_type == Some(OperationType::UpdateStack))
        .and_then(|operation| operation.operation_id.clone())
}

/// The stack, by id where it is known: a name may be given to another stack meanwhile.
fn stack_of(deployment: &Deployment) -> &str {
    let environment = &deployment.environment;
    environment
        .arn
        .as_deref()
        .unwrap_or(environment.name.as_str())
}

/// A token that is the same for each attempt to cancel this update: a retry, a repeated delivery, a
/// second alarm.
fn token_of(deployment: &Deployment) -> String {
    let mut hash = Sha256::new();
    hash.update(stack_of(deployment));
    hash.update([0]);
    hash.update(deployment.id.as_deref().unwrap_or_default());
    let mut token = "proton-canceller-".to_owned();
    for byte in hash.finalize().iter().take(16) {
        // Writing to a text cannot fail.
        let _ = write!(token, "{byte:02x}");
    }
    token
}

fn known_time(time: DateTime) -> Option<Timestamp> {
    timestamp::from_nanoseconds(time.as_nanos())
}

fn incomplete(what: &str) -> CallError {
    CallError {
        fault: Fault::Lost,
        code: "IncompleteAnswer".to_owned(),
        message: format!("CloudFormation's answer has no {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(kind: OperationType, id: &str) -> OperationEntry {
        OperationEntry::builder()
            .operation_type(kind)
            .operation_id(id)
            .build()
    }

    fn deployment(status: StackStatus, operations: Vec<OperationEntry>) -> Deployment {
        let facts = StackFacts {
            id: Some("arn:aws:cloudformation:us-east-1:123456789012:stack/net/7f0c".to_owned()),
            name: Some("net".to_owned()),
            status: Some(status),
            reason: None,
            updated: Some(DateTime::from_secs(1_795_415_150)),
            operations,
            is_nested: false,
        };
        facts.into_deployment().unwrap()
    }

    #[test]
    fn a_rollback_is_part_of_the_update_that_it_undoes() {
        let operations = vec![
            operation(OperationType::Rollback, "rollback"),
            operation(OperationType::UpdateStack, "update"),
            operation(OperationType::UpdateStack, "the update before"),
        ];
        let seen = deployment(StackStatus::UpdateRollbackInProgress, operations);
        assert_eq!(seen.id.as_deref(), Some("update"));
    }

    #[test]
    fn without_operations_the_time_of_the_last_update_identifies_it() {
        for status in [
            StackStatus::UpdateInProgress,
            StackStatus::UpdateRollbackInProgress,
            StackStatus::UpdateRollbackCompleteCleanupInProgress,
        ] {
            let seen = deployment(status, Vec::new());
            assert_eq!(seen.id.as_deref(), Some("7f0c-1795415150000"));
        }
    }

    #[test]
    fn a_stack_is_nested_if_it_names_a_parent() {
        let is_nested = |parent: Option<&str>| {
            let parent = parent.map(str::to_owned);
            StackFacts::from(StackSummary::builder().set_parent_id(parent).build()).is_nested
        };
        assert!(is_nested(Some(
            "arn:aws:cloudformation:eu-west-1:1:stack/net/0f"
        )));
        assert!(!is_nested(Some("")));
        assert!(!is_nested(None));
    }
}
