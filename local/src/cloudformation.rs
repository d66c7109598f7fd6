//! AWS CloudFormation: its operations on the account.

use std::collections::HashMap;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use crate::account::live::LiveEnvironment;
use crate::account::stack_record::{StackEvent, StackRecord};
use crate::account::status::StackStatus;
use crate::account::{Account, Context};
use crate::identity::Identities;
use crate::wire::error::ServiceError;
use crate::wire::json::{text, without_nulls};
use crate::wire::model;
use crate::wire::operation::Operation;
use crate::wire::pages::Pages;
use crate::wire::shape::{Member, violations};
use crate::wire::time::rfc3339;

/// The time that a deleted stack is listed.
const DELETED_ARE_LISTED: Duration = Duration::from_hours(90 * 24);

/// The response to a `CancelUpdateStack` whose `ClientRequestToken` cancelled the same update before.
/// AWS does not document it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RepeatedToken {
    /// The response of the first time, without another effect.
    #[default]
    Accepted,
    /// `TokenAlreadyExistsException`.
    Refused,
    /// The response to a call without a token.
    Ignored,
}

/// The options of the local CloudFormation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CloudFormationOptions {
    /// The number of stacks that a page of `ListStacks` covers. The filter leaves stacks out of it,
    /// so a page can be empty and have a token.
    #[serde(deserialize_with = "page_size")]
    pub stacks_a_page: usize,
    /// The number of events on a page of `DescribeStackEvents`.
    #[serde(deserialize_with = "page_size")]
    pub events_a_page: usize,
    /// The response to a token that was used before.
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

/// Reads the size of a page.
fn page_size<'de, D: Deserializer<'de>>(file: D) -> Result<usize, D::Error> {
    match usize::deserialize(file)? {
        0 => Err(D::Error::custom("a page of `0`: must be 1 or more")),
        size => Ok(size),
    }
}

/// The service.
#[derive(Debug)]
pub(crate) struct CloudFormation {
    options: CloudFormationOptions,
    pages: Pages,
    /// The stack's ID and the update that each token cancelled.
    tokens: HashMap<String, (String, String)>,
}

/// Returns the name in a stack's name or ID.
pub(crate) fn name_of(name_or_id: &str) -> &str {
    let of_id = name_or_id
        .split_once(":stack/")
        .and_then(|(_, rest)| rest.split('/').next());
    of_id.unwrap_or(name_or_id)
}

impl CloudFormation {
    pub(crate) fn new(options: CloudFormationOptions) -> Self {
        Self {
            options,
            pages: Pages::new("NextToken", "ValidationError"),
            tokens: HashMap::new(),
        }
    }

    /// Carries out a call.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "an operation of another service concerns its module alone"
    )]
    pub(crate) fn call(
        &mut self,
        operation: Operation,
        input: Map<String, Value>,
        context: &mut Context<'_>,
    ) -> Result<Value, ServiceError> {
        match operation {
            Operation::ListStacks => self.list_stacks(input, context),
            Operation::DescribeStacks => self.describe_stacks(input, context),
            Operation::CancelUpdateStack => self.cancel(input, context),
            Operation::DescribeStackEvents => self.describe_events(input, context),
            _ => Err(ServiceError::unknown_operation(format!(
                "{operation} is no operation of CloudFormation"
            ))),
        }
    }

    /// Returns the stacks on the page that a request asks for, and the token of the next page.
    fn page<'a>(
        &mut self,
        input: &Map<String, Value>,
        question: String,
        (account, identities): (&'a Account, &mut Identities),
        is_shown: impl Fn(&LiveEnvironment) -> bool,
    ) -> Result<(Vec<Shown<'a>>, Option<String>), ServiceError> {
        let from = self.page_start(input, &question)?;
        let to = from + self.options.stacks_a_page.max(1);
        let page = account.stacks(from).take(to - from);
        let shown = page.filter(|(_, stack, _)| is_shown(stack)).collect();
        let next = (to < account.stack_count()).then(|| to.to_string());
        let token = next.map(|next| self.pages.token(question, next, identities));
        Ok((shown, token))
    }

    fn page_start(
        &self,
        input: &Map<String, Value>,
        question: &str,
    ) -> Result<usize, ServiceError> {
        let place = self.pages.start(input, question)?;
        Ok(place
            .and_then(|place| place.parse().ok())
            .unwrap_or_default())
    }

    fn list_stacks(
        &mut self,
        mut input: Map<String, Value>,
        context: &mut Context<'_>,
    ) -> Result<Value, ServiceError> {
        check(&mut input, model::LIST_STACKS)?;
        let wanted = status_filter(&input)?;
        let question = format!("stacks of {wanted:?}");
        let account = &*context.account;
        let is_shown = |stack: &LiveEnvironment| {
            let deleted = stack.deleted;
            let ago = deleted.and_then(|at| context.now.duration_since(at).ok());
            let is_wanted = wanted.is_empty() || wanted.contains(&stack.latest.status);
            is_wanted && ago.is_none_or(|ago| ago <= DELETED_ARE_LISTED)
        };
        let source = (account, &mut *context.identities);
        let (shown, token) = self.page(&input, question, source, is_shown)?;
        context.environments = names(&shown);
        let summaries: Vec<Value> = shown.iter().map(|stack| summary(account, *stack)).collect();
        Ok(without_nulls(
            json!({ "StackSummaries": summaries, "NextToken": token }),
        ))
    }

    fn describe_stacks(
        &mut self,
        mut input: Map<String, Value>,
        context: &mut Context<'_>,
    ) -> Result<Value, ServiceError> {
        check(&mut input, model::DESCRIBE_STACKS)?;
        let account = &*context.account;
        let (shown, token) = if let Some(name) = text(&input, "StackName") {
            let absent = || validation(format!("Stack with id {name} does not exist"));
            let stack = account.find_stack(name).ok_or_else(absent)?;
            (vec![stack], None)
        } else {
            let source = (account, &mut *context.identities);
            let exists = |stack: &LiveEnvironment| stack.deleted.is_none();
            self.page(&input, "stacks".to_owned(), source, exists)?
        };
        context.environments = names(&shown);
        let stacks: Vec<Value> = shown
            .iter()
            .map(|stack| description(account, *stack))
            .collect();
        Ok(without_nulls(
            json!({ "Stacks": stacks, "NextToken": token }),
        ))
    }

    fn cancel(
        &mut self,
        mut input: Map<String, Value>,
        context: &mut Context<'_>,
    ) -> Result<Value, ServiceError> {
        check(&mut input, model::CANCEL_UPDATE_STACK)?;
        let name = text(&input, "StackName").unwrap_or_default();
        let (index, stack, record) = find(context, name)?;
        let is_nested = stack.script.parent.is_some();
        let update = (record.id.clone(), stack.latest.id.clone());
        context.environments = vec![stack.script.name.clone()];
        if is_nested {
            return Err(validation(
                "CancelUpdateStack cannot be called on a nested stack",
            ));
        }
        let token = text(&input, "ClientRequestToken").map(str::to_owned);
        if let Some(token) = &token
            && let Some(response) = self.repeated(token, &update)
        {
            return response;
        }
        let Context {
            account,
            identities,
            now,
            ..
        } = context;
        if !account.cancel(index, token.clone(), *now, identities) {
            return Err(validation(
                "CancelUpdateStack cannot be called from current stack status",
            ));
        }
        account.advance(*now, identities);
        context.cancelled = Some(update.1.clone());
        if let Some(token) = token {
            self.tokens.insert(token, update);
        }
        Ok(Value::Null)
    }

    /// Returns the response to a token that was used before. `None` if it counts as none.
    fn repeated(
        &self,
        token: &str,
        update: &(String, String),
    ) -> Option<Result<Value, ServiceError>> {
        let response = if self.tokens.get(token)? == update {
            self.options.repeated_token
        } else {
            RepeatedToken::Refused
        };
        match response {
            RepeatedToken::Accepted => Some(Ok(Value::Null)),
            RepeatedToken::Refused => Some(Err(ServiceError::new(
                "TokenAlreadyExistsException",
                format!("Token {token} already exists"),
            ))),
            RepeatedToken::Ignored => None,
        }
    }

    fn describe_events(
        &mut self,
        mut input: Map<String, Value>,
        context: &mut Context<'_>,
    ) -> Result<Value, ServiceError> {
        check(&mut input, model::DESCRIBE_STACK_EVENTS)?;
        let name = text(&input, "StackName").unwrap_or_default();
        let (_, stack, record) = find(context, name)?;
        let concerned = vec![stack.script.name.clone()];
        // Newest first; a place is counted from the oldest, because new ones come meanwhile.
        let question = format!("events of {}", record.id);
        let all = record.events.len();
        let page = self.page_start(&input, &question).map(|place| {
            let to = if place == 0 { all } else { place.min(all) };
            let from = to.saturating_sub(self.options.events_a_page.max(1));
            let events = record.events.get(from..to).unwrap_or_default().iter();
            let events = events.rev().map(|event| event_json(stack, record, event));
            (from, events.collect::<Vec<Value>>())
        });
        context.environments = concerned;
        let (from, events) = page?;
        let next = (from > 0).then(|| from.to_string());
        let token = next.map(|next| self.pages.token(question, next, context.identities));
        Ok(without_nulls(
            json!({ "StackEvents": events, "NextToken": token }),
        ))
    }
}

/// A stack with its place and its record.
type Shown<'a> = (usize, &'a LiveEnvironment, &'a StackRecord);

fn names(shown: &[Shown<'_>]) -> Vec<String> {
    shown
        .iter()
        .map(|(_, stack, _)| stack.script.name.clone())
        .collect()
}

/// Returns the stack of a name or an ID.
fn find<'a>(context: &'a Context<'_>, name_or_id: &str) -> Result<Shown<'a>, ServiceError> {
    context.account.find_stack(name_or_id).ok_or_else(|| {
        let name = name_of(name_or_id);
        validation(format!("Stack [{name}] does not exist"))
    })
}

/// Returns a `StackSummary`, most of a `Stack`.
fn summary(account: &Account, (index, stack, record): Shown<'_>) -> Value {
    let LiveEnvironment { script, latest, .. } = stack;
    let id = |stack: &LiveEnvironment| Some(stack.record.as_ref()?.id.clone());
    let operations: Vec<Value> = record
        .last_operations()
        .map(|(kind, id)| json!({ "OperationType": kind, "OperationId": id }))
        .collect();
    let last_updated = record.last_updated.filter(|_| script.is_last_updated_sent);
    without_nulls(json!({
        "StackId": record.id,
        "StackName": script.name,
        "TemplateDescription": script.description,
        "CreationTime": rfc3339(stack.created),
        "LastUpdatedTime": last_updated.map(rfc3339),
        "DeletionTime": stack.deleted.map(rfc3339),
        "StackStatus": latest.status.as_str(),
        "StackStatusReason": latest.message,
        "ParentId": account.parent(index).and_then(id),
        "RootId": account.root(index).and_then(id),
        "DriftInformation": { "StackDriftStatus": "NOT_CHECKED" },
        "LastOperations": script.are_operations_sent.then_some(operations),
    }))
}

/// Returns a `Stack`.
fn description(account: &Account, shown: Shown<'_>) -> Value {
    let (_, stack, _) = shown;
    let mut members = summary(account, shown);
    let tags = stack.script.tags.iter();
    let tags: Vec<Value> = tags
        .map(|(key, value)| json!({ "Key": key, "Value": value }))
        .collect();
    if let Value::Object(members) = &mut members {
        if let Some(description) = members.remove("TemplateDescription") {
            members.insert("Description".to_owned(), description);
        }
        let more = [
            ("Tags", Value::from(tags)),
            ("RollbackConfiguration", json!({})),
            ("NotificationARNs", json!([])),
            ("DisableRollback", Value::from(false)),
            ("EnableTerminationProtection", Value::from(false)),
        ];
        members.extend(more.map(|(name, value)| (name.to_owned(), value)));
    }
    members
}

fn event_json(stack: &LiveEnvironment, record: &StackRecord, event: &StackEvent) -> Value {
    let script = &stack.script;
    let (logical, kind, physical) = if event.is_of_resource {
        let resource = &record.resource;
        (resource.logical_id, resource.kind, &resource.physical_id)
    } else {
        let kind = "AWS::CloudFormation::Stack";
        (script.name.as_str(), kind, &record.id)
    };
    let operation = event
        .operation
        .clone()
        .filter(|_| script.are_operations_sent);
    without_nulls(json!({
        "StackId": record.id,
        "EventId": event.id,
        "StackName": script.name,
        "OperationId": operation,
        "LogicalResourceId": logical,
        "PhysicalResourceId": physical,
        "ResourceType": kind,
        "Timestamp": rfc3339(event.time),
        "ResourceStatus": event.status.as_str(),
        "ResourceStatusReason": event.reason,
        "ClientRequestToken": event.token,
    }))
}

fn validation(message: impl Into<String>) -> ServiceError {
    ServiceError::new("ValidationError", message)
}

/// Refuses what the service model does not allow. What no member is, is dropped: `Action`, and
/// what nobody knows.
fn check(input: &mut Map<String, Value>, members: &'static [Member]) -> Result<(), ServiceError> {
    input.retain(|name, _| members.iter().any(|member| member.name == name));
    let violations = violations(members, &Value::Object(input.clone()))
        .map_err(|error| ServiceError::new("MalformedInput", error.message))?;
    match violations {
        None => Ok(()),
        Some(message) => Err(validation(message)),
    }
}

fn status_filter(input: &Map<String, Value>) -> Result<Vec<StackStatus>, ServiceError> {
    let filter = input.get("StackStatusFilter").and_then(Value::as_array);
    let names: Vec<&str> = filter
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let statuses: Result<_, String> = names.iter().map(|name| name.parse()).collect();
    statuses.map_err(|_| {
        validation(format!(
            "1 validation error detected: Value '[{}]' at 'stackStatusFilter' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: [{}]]",
            names.join(", "),
            StackStatus::ALL.map(StackStatus::as_str).join(", ")
        ))
    })
}
