//! AWS CloudFormation: the only place that names its SDK. An environment is a root stack, a
//! deployment an update of it.
//!
//! The operations follow the [API reference](https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/Welcome.html).
//! A cancelled update rolls back, and so does one that fails by itself; the two differ by the
//! reason that the stack gives. A rollback is part of the update that it undoes, never another
//! deployment, whatever it does to `LastUpdatedTime`.

mod whole_answer;

use std::fmt::Write as _;

use aws_sdk_cloudformation::Client;
use aws_sdk_cloudformation::config::Builder;
use aws_sdk_cloudformation::config::SharedInterceptor;
use aws_sdk_cloudformation::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};
use aws_sdk_cloudformation::types::{
    OperationEntry, OperationType, Stack, StackEvent, StackStatus, StackSummary,
};
use aws_smithy_types::DateTime;
use chrono::TimeDelta;
use sha2::{Digest as _, Sha256};

use self::whole_answer::WholeAnswer;
use crate::call_error::{CallError, Fault};
use crate::deployment::{Deployment, Environment, EnvironmentName, NameRule, Status};
use crate::engine::{self, Look, Page, Sight};
use crate::start::named_endpoint;
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

/// How far the time of an update's first event may be from the stack's `LastUpdatedTime`.
const SAME_START: TimeDelta = TimeDelta::seconds(5);

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
            is_nested: stack.parent_id.is_some(),
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
            is_nested: stack.parent_id.is_some(),
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
        let updated = self.updated.and_then(known_time);
        let operation = newest_update(&self.operations);
        // While it rolls back, the time of its last update may be that of the rollback: without an
        // operation's id, nothing then tells which update it is.
        let is_known = operation.is_some() || mapped == Status::InProgress || has_ended(&mapped);
        let started_at = updated.filter(|_| is_known);
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
        })
    }
}

impl CloudFormation {
    /// Makes a client that shares the configuration's HTTP client.
    #[must_use]
    pub fn new(config: &aws_config::SdkConfig) -> Self {
        let endpoint = named_endpoint(config, "CloudFormation");
        let mut builder = Builder::from(config);
        builder.set_endpoint_url(endpoint);
        builder.push_interceptor(SharedInterceptor::new(WholeAnswer));
        Self(Client::from_conf(builder.build()))
    }

    /// The address that calls go to, where it can be told before one is made.
    pub async fn endpoint(config: &aws_config::SdkConfig) -> Option<String> {
        if let Some(endpoint) = named_endpoint(config, "CloudFormation") {
            return Some(endpoint);
        }
        let parameters = Params::builder()
            .set_region(config.region().map(ToString::to_string))
            .set_use_fips(config.use_fips())
            .set_use_dual_stack(config.use_dual_stack())
            .build()
            .ok()?;
        let endpoint = DefaultResolver::new().resolve_endpoint(&parameters).await;
        endpoint.ok().map(|endpoint| endpoint.url().to_owned())
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
        let is_the_one = seen.id.is_some() && seen.id == deployment.id;
        let has_reason = seen.message.is_some()
            || (deployment.status == Status::Cancelling && deployment.message.is_some());
        let needs_reason = seen.status == Status::Cancelled && !has_reason;
        let known = is_the_one.then_some(Deployment {
            started_at: deployment.started_at,
            ..seen
        });
        Ok(match known {
            Some(seen) if !needs_reason => Look::Told(Sight::Of(Box::new(seen))),
            known => Look::Further(Box::new(engine::Trace::CloudFormation(Trace {
                stacks: self.clone(),
                known: known.map(|seen| Sight::Of(Box::new(seen))),
                end: None,
                token: None,
                pages: 0,
            }))),
        })
    }

    /// A `ValidationError` says that the stack has left `UPDATE_IN_PROGRESS`, or that there is no
    /// such stack: the stack, read again, decides. So it does on a token that was used before.
    pub(super) async fn cancel(&self, deployment: &Deployment) -> Result<Deployment, CallError> {
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
        // The answer is empty: nothing in it tells what was cancelled.
        Ok(deployment.clone())
    }

    pub(super) async fn alarms_tag(
        &self,
        environment: &Environment,
    ) -> Result<Option<String>, CallError> {
        let id = environment.arn.as_deref();
        let stack = self
            .describe(id.unwrap_or(environment.name.as_str()))
            .await?;
        let tag = stack
            .tags
            .unwrap_or_default()
            .into_iter()
            .find(|tag| tag.key.as_deref() == Some(ALARMS_TAG));
        Ok(tag.and_then(|tag| tag.value))
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

/// A look that the stack's events must answer, newest first: the newest of its statuses that stands
/// between its start and the start of the next update.
#[derive(Debug)]
pub struct Trace {
    stacks: CloudFormation,
    /// What the stack itself told.
    known: Option<Sight>,
    end: Option<EventsEnd>,
    /// The token of the next page.
    token: Option<String>,
    /// How many were read.
    pages: usize,
}

impl Trace {
    /// Reads one page.
    pub(super) async fn further(
        &mut self,
        deployment: &Deployment,
    ) -> Result<Option<Sight>, CallError> {
        let stack_id = deployment.environment.arn.as_deref().unwrap_or_default();
        let output = self
            .stacks
            .0
            .describe_stack_events()
            .stack_name(stack_of(deployment))
            .set_next_token(self.token.clone())
            .send()
            .await
            .map_err(|error| CallError::from_sdk(&error))?;
        let own = output
            .stack_events
            .unwrap_or_default()
            .into_iter()
            .filter(|event| event.physical_resource_id.as_deref() == Some(stack_id));
        for event in own {
            let status = event
                .resource_status
                .as_ref()
                .map_or("", |status| status.as_str())
                .to_owned();
            if mapped(&status) != Status::InProgress {
                EventsEnd::older(&mut self.end, &status, event);
            } else if is_start_of(deployment, &event) {
                let sight = match self.end.take() {
                    Some(end) => Some(Sight::Of(Box::new(Deployment {
                        status: end.status,
                        message: end.message,
                        ended_at: end.at,
                        ..deployment.clone()
                    }))),
                    None => self.known.take(),
                };
                return Ok(Some(sight.unwrap_or(Sight::Superseded)));
            } else {
                // What was seen belongs to a later update.
                self.end = None;
            }
        }
        self.token = output.next_token.filter(|token| !token.is_empty());
        self.pages += 1;
        if self.token.is_some() && self.pages < MOST_EVENT_PAGES {
            return Ok(None);
        }
        Ok(Some(self.known.take().unwrap_or(Sight::Superseded)))
    }

    pub(super) fn known(self) -> Option<Sight> {
        self.known
    }
}

/// How an update went, as its stack's events tell.
#[derive(Debug)]
struct EventsEnd {
    status: Status,
    message: Option<String>,
    at: Option<Timestamp>,
}

impl EventsEnd {
    /// Takes in an event that is older than those before: the newest tells the status, an older one
    /// may tell the reason.
    fn older(end: &mut Option<Self>, status: &str, event: StackEvent) {
        let mapped = mapped(status);
        if matches!(mapped, Status::Other(_)) {
            return;
        }
        let reason = message(status, event.resource_status_reason);
        match end {
            Some(end) => end.message = end.message.take().or(reason),
            None => {
                *end = Some(Self {
                    at: event
                        .timestamp
                        .and_then(known_time)
                        .filter(|_| has_ended(&mapped)),
                    status: mapped,
                    message: reason,
                });
            }
        }
    }
}

/// Whether the event is where this update started.
fn is_start_of(deployment: &Deployment, event: &StackEvent) -> bool {
    if event.operation_id.is_some() && event.operation_id == deployment.id {
        return true;
    }
    let time = event.timestamp.and_then(known_time);
    match (time, deployment.started_at) {
        (Some(time), Some(started)) => (time - started).abs() <= SAME_START,
        (None, _) | (_, None) => false,
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

/// Whether that is how an update ends.
fn has_ended(status: &Status) -> bool {
    match status {
        Status::Cancelled | Status::Failed | Status::Succeeded => true,
        Status::InProgress | Status::Cancelling | Status::Other(_) => false,
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

/// An update's identity where the service gives none: the stack's own, and when it started.
fn derived_id(stack_id: &str, started: Timestamp) -> Option<String> {
    let unique = stack_id.rsplit('/').next()?;
    Some(format!("{unique}-{}", started.timestamp_millis()))
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
    Timestamp::from_timestamp(time.secs(), time.subsec_nanos()).filter(timestamp::can_be_written)
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
    fn without_operations_nothing_identifies_an_update_while_it_rolls_back() {
        let running = deployment(StackStatus::UpdateInProgress, Vec::new());
        assert_eq!(running.id.as_deref(), Some("7f0c-1795415150000"));
        for status in [
            StackStatus::UpdateRollbackInProgress,
            StackStatus::UpdateRollbackCompleteCleanupInProgress,
        ] {
            let seen = deployment(status, Vec::new());
            assert_eq!((&seen.id, seen.started_at), (&None, None));
            assert!(seen.is_same_as(&running));
        }
    }
}
