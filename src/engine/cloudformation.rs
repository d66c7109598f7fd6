//! AWS CloudFormation: the only place that names its SDK. An environment is a root stack, a
//! deployment an update of it.
//!
//! The operations follow the [API reference](https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/Welcome.html).
//! A cancelled update rolls back, and so does one that fails by itself; the two differ by the
//! reason that the stack gives. A rollback is part of the update that it undoes, never another
//! deployment, whatever it does to `LastUpdatedTime`.

mod update;

use aws_sdk_cloudformation::Client;
use aws_sdk_cloudformation::config::Builder;
use aws_sdk_cloudformation::config::SharedInterceptor;
use aws_sdk_cloudformation::types::{
    DeploymentConfigMode, OperationEntry, OperationType, Stack, StackEvent, StackStatus,
    StackSummary,
};
use aws_smithy_runtime_api::client::interceptors::context::AfterDeserializationInterceptorContextRef;
use aws_smithy_types::DateTime;
use aws_types::SdkConfig;
use sha2::{Digest as _, Sha256};

use self::update::{Event, Search};
use crate::aws::call_error::{CallError, Fault};
use crate::aws::endpoint;
use crate::deployment::{Deployment, Environment, EnvironmentName, NameRule, Status, derived_id};
use crate::engine::whole_answer::WholeAnswer;
use crate::engine::{AlarmsTag, Continuation, Page, ReadStep, Reading};
use crate::text;
use crate::timestamp::{self, Timestamp};

/// The statuses that a listing filters by: those of an update in progress and of its rollback.
const LISTED: [StackStatus; 3] = [
    StackStatus::UpdateInProgress,
    StackStatus::UpdateRollbackInProgress,
    StackStatus::UpdateRollbackCompleteCleanupInProgress,
];

/// The tag with the globs of the alarms that concern a stack.
const ALARMS_TAG: &str = "proton-canceller:alarms";

/// The most pages of a stack's events that are read to find how an update ended.
const MOST_EVENT_PAGES: usize = 50;

/// A client of AWS CloudFormation.
#[derive(Clone, Debug)]
pub struct CloudFormation(Client);

/// A stack as it is listed or described.
struct StackFacts {
    id: Option<String>,
    name: Option<String>,
    status: Option<StackStatus>,
    reason: Option<String>,
    updated: Option<DateTime>,
    operations: Vec<OperationEntry>,
    is_nested: bool,
    is_express: bool,
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
            is_nested: is_nested(stack.parent_id, stack.root_id),
            is_express: false,
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
            is_nested: is_nested(stack.parent_id, stack.root_id),
            is_express: stack
                .deployment_config
                .is_some_and(|config| config.mode == Some(DeploymentConfigMode::Express)),
        }
    }
}

/// True if a stack belongs to another one. A root stack has neither ID.
fn is_nested(parent_id: Option<String>, root_id: Option<String>) -> bool {
    [parent_id, root_id]
        .into_iter()
        .flatten()
        .any(|id| !id.is_empty())
}

impl StackFacts {
    /// Returns the stack's latest update as a deployment.
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
            // The reason of an update in progress is why it was started.
            message: message(status, self.reason, self.is_express)
                .filter(|_| mapped != Status::InProgress),
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
        builder.push_interceptor(SharedInterceptor::new(WholeAnswer(check)));
        Self(Client::from_conf(builder.build()))
    }

    /// Returns the endpoint, if it is known before the first call.
    pub(crate) async fn endpoint(config: &SdkConfig) -> Option<String> {
        endpoint::of!(config, "CloudFormation", aws_sdk_cloudformation)
    }

    /// Lists one page of root stacks. Nested stacks are not counted, because only their root stack's
    /// update can be cancelled.
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
        // The response may show a stack of another name.
        if stack.is_nested || stack.name.as_deref() != Some(name.as_str()) {
            return Ok(None);
        }
        Ok(stack.into_deployment())
    }

    /// Reads the state of an update. The stack shows the status of its latest update. The stack's events
    /// show how an update ended, when and why: the stack itself has no such time, and may have lost the
    /// reason.
    pub(super) async fn read_deployment(
        &self,
        deployment: &Deployment,
        pages: Option<&EventPages>,
    ) -> Result<ReadStep, CallError> {
        match pages {
            Some(pages) => self.read_events(deployment, pages.clone()).await,
            None => self.read_stack(deployment).await,
        }
    }

    async fn read_stack(&self, deployment: &Deployment) -> Result<ReadStep, CallError> {
        let stack = StackFacts::from(self.describe(stack_of(deployment)).await?);
        let is_express = stack.is_express;
        let Some(shown) = stack.into_deployment() else {
            return Err(incomplete("stack's name"));
        };
        let is_running = matches!(shown.status, Status::InProgress | Status::Cancelling);
        let search = Search::new(deployment, shown, token_of(deployment));
        if is_running && let Some(reading) = search.known() {
            return Ok(ReadStep::Done(reading));
        }
        let pages = EventPages {
            search,
            is_express,
            token: None,
            number: 0,
        };
        Ok(pages.read_on())
    }

    /// Reads one page of the stack's events.
    async fn read_events(
        &self,
        deployment: &Deployment,
        mut pages: EventPages,
    ) -> Result<ReadStep, CallError> {
        let output = self
            .0
            .describe_stack_events()
            .stack_name(stack_of(deployment))
            .set_next_token(pages.token.take())
            .send()
            .await
            .map_err(|error| CallError::from_sdk(&error))?;
        let stack_id = deployment.environment.arn.as_deref().unwrap_or_default();
        let is_express = pages.is_express;
        let mut own = output
            .stack_events
            .unwrap_or_default()
            .into_iter()
            .filter(|event| event.physical_resource_id.as_deref() == Some(stack_id));
        let is_enough = own.any(|event| pages.search.add(event_of(event, is_express)));
        pages.token = output.next_token.filter(|token| !token.is_empty());
        pages.number += 1;
        if is_enough || pages.token.is_none() || pages.number == MOST_EVENT_PAGES {
            let is_cut_off = !is_enough && pages.token.is_some();
            let reading = pages.search.reading()?;
            if is_cut_off && matches!(reading, Reading::Superseded) {
                return Err(CallError::beyond_the_events());
            }
            return Ok(ReadStep::Done(reading));
        }
        Ok(pages.read_on())
    }

    /// Cancels the stack's current update. A `ValidationError` means that the stack has left
    /// `UPDATE_IN_PROGRESS`, or that it does not exist: a read of the stack decides. A token that was used
    /// before is resolved in the same way. The response is empty and does not show what was cancelled.
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
            .map_err(|error| no_such_stack(CallError::from_sdk(&error)))?;
        let stack = output.stacks.unwrap_or_default().into_iter().next();
        stack.ok_or_else(|| incomplete("stack"))
    }
}

/// A read that needs the stack's events, page by page.
#[derive(Clone, Debug)]
pub struct EventPages {
    search: Search,
    /// True if the stack's update ran in express mode.
    is_express: bool,
    /// The token of the next page.
    token: Option<String>,
    /// The number of pages that were read.
    number: usize,
}

impl EventPages {
    /// Returns the step of a read that needs the next page.
    fn read_on(self) -> ReadStep {
        ReadStep::More {
            known: self.search.known(),
            continuation: Continuation::CloudFormation(Box::new(self)),
        }
    }
}

fn event_of(event: StackEvent, is_express: bool) -> Event {
    let status = event
        .resource_status
        .as_ref()
        .map_or("", |status| status.as_str());
    Event {
        status: mapped(status),
        message: message(status, event.resource_status_reason, is_express),
        at: event.timestamp.and_then(known_time),
        operation: event.operation_id,
        token: event.client_request_token,
    }
}

/// Returns the error of a read. If only a name or an ID is given, a `ValidationError` means that the stack
/// does not exist.
fn no_such_stack(error: CallError) -> CallError {
    if error.code == "ValidationError" {
        CallError {
            fault: Fault::NotFound,
            ..error
        }
    } else {
        error
    }
}

/// Checks that a response ends with the element that CloudFormation ends it with. If an operation has no
/// output, the SDK does not read the body and accepts any page with status 200.
fn check(
    operation: &str,
    context: &AfterDeserializationInterceptorContextRef<'_>,
) -> Result<(), String> {
    let response = context.response();
    let body = response.body().bytes().unwrap_or_default();
    let is_whole = if response.status().is_success() {
        ends_with_the_end_of(body, &format!("{operation}Response"))
    } else {
        !body.trim_ascii_start().starts_with(b"<ErrorResponse")
            || ends_with_the_end_of(body, "ErrorResponse")
    };
    if is_whole {
        Ok(())
    } else {
        Err("the response does not end as CloudFormation's responses do: it was truncated, or another server sent it".to_owned())
    }
}

fn ends_with_the_end_of(body: &[u8], element: &str) -> bool {
    body.trim_ascii_end()
        .strip_suffix(b">")
        .and_then(|body| body.trim_ascii_end().strip_suffix(element.as_bytes()))
        .is_some_and(|body| body.ends_with(b"</"))
}

/// Returns the meaning of a stack's status for its update. Creation, import, review and deletion have none.
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

/// Returns the stack's status reason. If an operator must act, the message ends with the remedy. Reasons
/// of real stacks end with spaces.
fn message(status: &str, reason: Option<String>, is_express: bool) -> Option<String> {
    let reason = reason
        .map(|reason| reason.trim().to_owned())
        .filter(|reason| !reason.is_empty());
    let remedy = match status {
        "UPDATE_ROLLBACK_FAILED" => {
            "the rollback failed: fix its cause, then call `ContinueUpdateRollback`"
        }
        // `RollbackStack` refuses an update in express mode.
        "UPDATE_FAILED" if is_express => {
            "the update failed in express mode and was not rolled back: update the stack again"
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

/// Returns the ID of the newest update in a stack's operations, which come newest first. A rollback has
/// its own ID and comes before the update that it undoes.
fn newest_update(operations: &[OperationEntry]) -> Option<String> {
    operations
        .iter()
        .find(|operation| operation.operation_type == Some(OperationType::UpdateStack))
        .and_then(|operation| operation.operation_id.clone())
}

/// Returns the stack's ID, or its name if the ID is unknown. A new stack can take the same name meanwhile.
fn stack_of(deployment: &Deployment) -> &str {
    let environment = &deployment.environment;
    environment
        .arn
        .as_deref()
        .unwrap_or(environment.name.as_str())
}

/// Returns the token of an update's cancel. All attempts have the same token: retries, repeated deliveries
/// and second alarms.
fn token_of(deployment: &Deployment) -> String {
    let mut hash = Sha256::new();
    hash.update(stack_of(deployment));
    hash.update([0]);
    hash.update(deployment.id.as_deref().unwrap_or_default());
    let digits = text::hexadecimal(&hash.finalize());
    format!("proton-canceller-{}", digits.get(..32).unwrap_or_default())
}

fn known_time(time: DateTime) -> Option<Timestamp> {
    timestamp::from_nanoseconds(time.as_nanos())
}

fn incomplete(what: &str) -> CallError {
    CallError::incomplete("CloudFormation", what)
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
            is_express: false,
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
        let is_nested = |parent: Option<&str>, root: Option<&str>| {
            let summary = StackSummary::builder()
                .set_parent_id(parent.map(str::to_owned))
                .set_root_id(root.map(str::to_owned));
            StackFacts::from(summary.build()).is_nested
        };
        let another = Some("arn:aws:cloudformation:eu-west-1:1:stack/net/0f");
        assert!(is_nested(another, another));
        assert!(is_nested(another, None));
        assert!(is_nested(None, another));
        assert!(!is_nested(Some(""), Some("")));
        assert!(!is_nested(None, None));
    }

    #[test]
    fn a_failure_names_the_remedy() {
        let message = |status, is_express| message(status, Some("no ".to_owned()), is_express);
        for (status, is_express, call) in [
            ("UPDATE_ROLLBACK_FAILED", false, "`ContinueUpdateRollback`"),
            ("UPDATE_FAILED", false, "`RollbackStack`"),
            ("UPDATE_FAILED", true, "update the stack again"),
        ] {
            let message = message(status, is_express).unwrap();
            assert!(message.starts_with("no ("), "{message}");
            assert!(message.contains(call), "{message}");
        }
        let express = message("UPDATE_FAILED", true).unwrap();
        assert!(!express.contains("RollbackStack"), "{express}");
        let rolled_back = message("UPDATE_ROLLBACK_COMPLETE", true);
        assert_eq!(rolled_back.as_deref(), Some("no"));
    }

    #[test]
    fn a_response_is_whole_if_it_has_its_end() {
        let whole = "<ListStacksResponse><ListStacksResult/></ListStacksResponse>";
        let is_whole = |body: &str| ends_with_the_end_of(body.as_bytes(), "ListStacksResponse");
        assert!(is_whole(whole));
        assert!(is_whole(&format!("{whole}\r\n ")));
        for cut in 0..whole.len() {
            assert!(!is_whole(&whole[..cut]), "{}", &whole[..cut]);
        }
        for other in [
            "<html></html>",
            "{}",
            "<a></DescribeStacksResponse>",
            "ListStacksResponse>",
        ] {
            assert!(!is_whole(other), "{other}");
        }
    }
}
