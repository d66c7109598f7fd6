//! AWS CloudFormation: stacks that live, and the operations on them.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use crate::account::live_stack::{LiveStack, LiveUpdate, StackEvent};
use crate::account::stack::{CloudFormationOptions, RepeatedToken, Stack, Update};
use crate::account::status::{Kind, StackStatus};
use crate::identity::Identities;
use crate::proton::{Effect, Phase};
use crate::wire::error::ServiceError;
use crate::wire::model;
use crate::wire::operation::Operation;
use crate::wire::pages::Pages;
use crate::wire::shape::{Member, violations};
use crate::wire::time::rfc3339;
use crate::world::World;

/// How long a deleted stack is listed.
const DELETED_ARE_LISTED: Duration = Duration::from_hours(90 * 24);

/// A stack as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackSnapshot {
    /// Its name.
    pub name: String,
    /// Its id, an ARN.
    pub id: String,
    /// The id of the stack that it is nested in.
    pub parent_id: Option<String>,
    /// Its status.
    pub status: StackStatus,
    /// The status reason.
    pub reason: Option<String>,
    /// The id of its latest operation, whether the service sends it or not.
    pub operation_id: String,
    /// When its latest operation started.
    pub started_at: SystemTime,
    /// When its latest operation ended.
    pub completed_at: Option<SystemTime>,
}

impl StackSnapshot {
    /// The stack as `GET /_local/stacks` shows it.
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

/// An update of a stack as it stands: the truth about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateSnapshot {
    /// The name of the stack that it updates.
    pub stack: String,
    /// The id of that stack.
    pub stack_id: String,
    /// The id of the operation, whether the service sends it or not.
    pub id: String,
    /// The status that the stack has, or had in the end, by this update.
    pub status: StackStatus,
    /// The status reason.
    pub reason: Option<String>,
    /// When it started.
    pub started_at: SystemTime,
    /// When it ended.
    pub completed_at: Option<SystemTime>,
    /// When a cancel was accepted.
    pub cancelled_at: Option<SystemTime>,
}

impl UpdateSnapshot {
    /// The update as `GET /_local/updates` shows it.
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

/// The service.
#[derive(Debug)]
pub(crate) struct CloudFormation {
    options: CloudFormationOptions,
    arns: Arns,
    /// By name as the world starts; what comes later stands behind.
    stacks: Vec<LiveStack>,
    /// The stack that each is nested in.
    parents: Vec<Option<usize>>,
    pages: Pages,
    /// The stack's id and the update that each token cancelled.
    tokens: HashMap<String, (String, String)>,
}

#[derive(Debug)]
struct Arns {
    region: String,
    account: String,
}

impl Arns {
    fn stack(&self, name: &str, identities: &mut Identities) -> String {
        let Self { region, account } = self;
        let id = identities.uuid();
        format!("arn:aws:cloudformation:{region}:{account}:stack/{name}/{id}")
    }
}

/// The name of the stack that a name or an id stands for.
pub(crate) fn name_of(name_or_id: &str) -> &str {
    let of_id = name_or_id
        .split_once(":stack/")
        .and_then(|(_, rest)| rest.split('/').next());
    of_id.unwrap_or(name_or_id)
}

impl CloudFormation {
    pub(crate) fn new(world: &World, start: SystemTime, identities: &mut Identities) -> Self {
        let arns = Arns {
            region: world.region.clone(),
            account: world.account.clone(),
        };
        let mut scripts: Vec<&Stack> = world.stacks.iter().collect();
        scripts.sort_by(|one, other| one.name.cmp(&other.name));
        let index_of = |name: &str| scripts.iter().position(|script| script.name == name);
        let parents: Vec<Option<usize>> = scripts
            .iter()
            .map(|script| index_of(script.parent.as_deref()?))
            .collect();
        let mut stacks: Vec<LiveStack> = scripts
            .iter()
            .map(|script| {
                let id = arns.stack(&script.name, identities);
                LiveStack::new(
                    script,
                    &first_update(script, &scripts),
                    id,
                    start,
                    identities,
                )
            })
            .collect();
        for (index, parent) in parents.iter().enumerate() {
            let child = stacks.get(index).map(|child| child.id.clone());
            if let Some(parent) = parent.and_then(|parent| stacks.get_mut(parent))
                && let Some(id) = child
            {
                let kind = "AWS::CloudFormation::Stack".to_owned();
                parent.resource = ("Nested".to_owned(), kind, id);
            }
        }
        Self {
            options: world.cloudformation,
            arns,
            stacks,
            parents,
            pages: Pages::default(),
            tokens: HashMap::new(),
        }
    }

    /// Lets everything happen that is due.
    pub(crate) fn advance(&mut self, now: SystemTime, identities: &mut Identities) {
        for index in 0..self.stacks.len() {
            self.advance_one(index, now, identities);
        }
        for (index, parent) in self.parents.iter().enumerate() {
            let followed = parent
                .and_then(|parent| self.stacks.get(parent))
                .map(|parent| (parent.latest.status, parent.latest.changed));
            if let Some(followed) = followed
                && let Some(stack) = self.stacks.get_mut(index)
                && stack.script.follows_parent()
            {
                stack.follow(followed, identities);
            }
        }
    }

    fn advance_one(&mut self, index: usize, now: SystemTime, identities: &mut Identities) {
        let Self { stacks, arns, .. } = self;
        let name_id = |name: &str, identities: &mut Identities| arns.stack(name, identities);
        let replaced = stacks
            .get_mut(index)
            .and_then(|stack| stack.advance(now, identities, &name_id));
        if let Some(next) = replaced {
            self.stacks.push(next);
            self.parents.push(None);
            self.advance_one(self.stacks.len() - 1, now, identities);
        }
    }

    /// Lets happen what the scripts tie to a call, to stacks of these names; to every stack
    /// without names.
    pub(crate) fn happen_at(
        &mut self,
        moment: (Phase, Operation),
        names: Option<&[String]>,
        now: SystemTime,
        identities: &mut Identities,
    ) {
        for stack in &mut self.stacks {
            let is_concerned = names.is_none_or(|names| names.contains(&stack.script.name));
            if is_concerned && stack.deleted.is_none() {
                stack.meet(moment, now);
            }
        }
        self.advance(now, identities);
    }

    /// Answers a call.
    pub(crate) fn call(
        &mut self,
        operation: Operation,
        input: Map<String, Value>,
        now: SystemTime,
        identities: &mut Identities,
        effect: &mut Effect,
    ) -> Result<Value, ServiceError> {
        match operation {
            Operation::ListStacks => self.list_stacks(input, now, identities, effect),
            Operation::DescribeStacks => self.describe_stacks(input, identities, effect),
            Operation::CancelUpdateStack => self.cancel(input, now, identities, effect),
            Operation::DescribeStackEvents => self.describe_events(input, identities, effect),
            Operation::ListEnvironments
            | Operation::GetEnvironment
            | Operation::CancelEnvironmentDeployment
            | Operation::GetDeployment
            | Operation::ListTagsForResource
            | Operation::PutEvents => Err(ServiceError::unknown_operation(format!(
                "{operation} is no operation of CloudFormation"
            ))),
        }
    }

    /// The stacks that exist.
    pub(crate) fn stacks(&self) -> Vec<StackSnapshot> {
        let existing = self.stacks.iter().enumerate();
        let mut snapshots: Vec<_> = existing
            .filter(|(_, stack)| stack.deleted.is_none())
            .map(|(index, stack)| StackSnapshot {
                name: stack.script.name.clone(),
                id: stack.id.clone(),
                parent_id: self.parent(index).map(|parent| parent.id.clone()),
                status: stack.latest.status,
                reason: stack.latest.reason.clone(),
                operation_id: stack.latest.id.clone(),
                started_at: stack.latest.started,
                completed_at: stack.latest.completed,
            })
            .collect();
        snapshots.sort_by(|one, other| one.name.cmp(&other.name));
        snapshots
    }

    /// Every update that there ever was.
    pub(crate) fn updates(&self) -> Vec<UpdateSnapshot> {
        let snapshot = |stack: &LiveStack, update: &LiveUpdate| UpdateSnapshot {
            stack: stack.script.name.clone(),
            stack_id: stack.id.clone(),
            id: update.id.clone(),
            status: update.status,
            reason: update.reason.clone(),
            started_at: update.started,
            completed_at: update.completed,
            cancelled_at: update.cancelled_at,
        };
        self.stacks
            .iter()
            .flat_map(|stack| {
                stack
                    .updates()
                    .filter(|update| update.kind == Kind::Update)
                    .map(move |update| snapshot(stack, update))
            })
            .collect()
    }

    fn parent(&self, index: usize) -> Option<&LiveStack> {
        self.stacks.get(self.parent_index(index)?)
    }

    fn parent_index(&self, index: usize) -> Option<usize> {
        self.parents.get(index).copied().flatten()
    }

    /// The stack of this id, deleted or not, or the one of this name that exists.
    fn find(&self, name_or_id: &str) -> Option<usize> {
        self.stacks.iter().position(|stack| {
            stack.id == name_or_id || (stack.script.name == name_or_id && stack.deleted.is_none())
        })
    }

    /// Returns where the page starts that a request asks for.
    fn page_start(
        &self,
        input: &Map<String, Value>,
        question: &str,
    ) -> Result<usize, ServiceError> {
        let Some(token) = text(input, "NextToken") else {
            return Ok(0);
        };
        let place = self.pages.place(token, question);
        place
            .and_then(|place| place.parse().ok())
            .ok_or_else(|| validation("The NextToken is not valid for this request."))
    }

    fn list_stacks(
        &mut self,
        mut input: Map<String, Value>,
        now: SystemTime,
        identities: &mut Identities,
        effect: &mut Effect,
    ) -> Result<Value, ServiceError> {
        check(&mut input, model::LIST_STACKS)?;
        let wanted = status_filter(&input)?;
        let question = format!("stacks of {wanted:?}");
        let from = self.page_start(&input, &question)?;
        let to = from + self.options.stacks_a_page.max(1);
        let shown: Vec<(usize, &LiveStack)> = self
            .stacks
            .iter()
            .enumerate()
            .skip(from)
            .take(to - from)
            .filter(|(_, stack)| {
                let is_wanted = wanted.is_empty() || wanted.contains(&stack.latest.status);
                let deleted = stack.deleted.and_then(|at| now.duration_since(at).ok());
                is_wanted && deleted.is_none_or(|ago| ago <= DELETED_ARE_LISTED)
            })
            .collect();
        effect.environments = shown
            .iter()
            .map(|(_, stack)| stack.script.name.clone())
            .collect();
        let summaries: Vec<Value> = shown
            .iter()
            .map(|(index, stack)| Value::Object(self.summary(*index, stack, "TemplateDescription")))
            .collect();
        let mut output = Map::new();
        output.insert("StackSummaries".to_owned(), Value::from(summaries));
        if to < self.stacks.len() {
            let token = self.pages.token(question, to.to_string(), identities);
            output.insert("NextToken".to_owned(), Value::from(token));
        }
        Ok(Value::Object(output))
    }

    fn describe_stacks(
        &mut self,
        mut input: Map<String, Value>,
        identities: &mut Identities,
        effect: &mut Effect,
    ) -> Result<Value, ServiceError> {
        check(&mut input, model::DESCRIBE_STACKS)?;
        let mut output = Map::new();
        let shown: Vec<usize> = if let Some(name) = text(&input, "StackName") {
            let found = self
                .find(name)
                .ok_or_else(|| validation(format!("Stack with id {name} does not exist")))?;
            vec![found]
        } else {
            let question = "stacks".to_owned();
            let from = self.page_start(&input, &question)?;
            let to = from + self.options.stacks_a_page.max(1);
            if to < self.stacks.len() {
                let token = self.pages.token(question, to.to_string(), identities);
                output.insert("NextToken".to_owned(), Value::from(token));
            }
            let exists = |index: &usize| {
                let stack = self.stacks.get(*index);
                stack.is_some_and(|stack| stack.deleted.is_none())
            };
            (from..to).filter(exists).collect()
        };
        let shown: Vec<(usize, &LiveStack)> = shown
            .into_iter()
            .filter_map(|index| Some((index, self.stacks.get(index)?)))
            .collect();
        effect.environments = shown
            .iter()
            .map(|(_, stack)| stack.script.name.clone())
            .collect();
        let stacks: Vec<Value> = shown
            .iter()
            .map(|(index, stack)| self.description(*index, stack))
            .collect();
        output.insert("Stacks".to_owned(), Value::from(stacks));
        Ok(Value::Object(output))
    }

    fn cancel(
        &mut self,
        mut input: Map<String, Value>,
        now: SystemTime,
        identities: &mut Identities,
        effect: &mut Effect,
    ) -> Result<Value, ServiceError> {
        check(&mut input, model::CANCEL_UPDATE_STACK)?;
        let name = text(&input, "StackName").unwrap_or_default();
        let found = self.find(name);
        let Some(stack) = found.and_then(|index| self.stacks.get_mut(index)) else {
            return Err(does_not_exist(name));
        };
        effect.environments = vec![stack.script.name.clone()];
        if stack.script.parent.is_some() {
            return Err(validation(
                "CancelUpdateStack cannot be called on a nested stack",
            ));
        }
        let update = (stack.id.clone(), stack.latest.id.clone());
        let token = text(&input, "ClientRequestToken").map(str::to_owned);
        let used = token.as_ref().and_then(|token| self.tokens.get(token));
        if let Some(used) = used {
            let answer = if *used == update {
                self.options.repeated_token
            } else {
                RepeatedToken::Refused
            };
            match answer {
                RepeatedToken::Accepted => return Ok(Value::Null),
                RepeatedToken::Refused => {
                    return Err(ServiceError::new(
                        "TokenAlreadyExistsException",
                        format!("Token {} already exists", token.unwrap_or_default()),
                    ));
                }
                RepeatedToken::Ignored => {}
            }
        }
        if !stack.cancel(token.clone(), now, identities) {
            return Err(validation(
                "CancelUpdateStack cannot be called from current stack status",
            ));
        }
        effect.cancelled = Some(update.1.clone());
        if let Some(token) = token {
            self.tokens.insert(token, update);
        }
        self.advance(now, identities);
        Ok(Value::Null)
    }

    fn describe_events(
        &mut self,
        mut input: Map<String, Value>,
        identities: &mut Identities,
        effect: &mut Effect,
    ) -> Result<Value, ServiceError> {
        check(&mut input, model::DESCRIBE_STACK_EVENTS)?;
        let name = text(&input, "StackName").unwrap_or_default();
        let found = self.find(name);
        let Some(stack) = found.and_then(|index| self.stacks.get(index)) else {
            return Err(does_not_exist(name));
        };
        effect.environments = vec![stack.script.name.clone()];
        // Newest first; a place is counted from the oldest, for new ones come meanwhile.
        let question = format!("events of {}", stack.id);
        let to = match self.page_start(&input, &question)? {
            0 => stack.events.len(),
            place => place.min(stack.events.len()),
        };
        let from = to.saturating_sub(self.options.events_a_page.max(1));
        let events: Vec<Value> = stack
            .events
            .get(from..to)
            .unwrap_or_default()
            .iter()
            .rev()
            .map(|event| event_json(stack, event))
            .collect();
        let mut output = Map::new();
        output.insert("StackEvents".to_owned(), Value::from(events));
        if from > 0 {
            let token = self.pages.token(question, from.to_string(), identities);
            output.insert("NextToken".to_owned(), Value::from(token));
        }
        Ok(Value::Object(output))
    }

    /// A `StackSummary`, most of a `Stack`.
    fn summary(&self, index: usize, stack: &LiveStack, description: &str) -> Map<String, Value> {
        let LiveStack { script, latest, .. } = stack;
        let mut root = None;
        let mut above = self.parent_index(index);
        // As many steps as there are stacks: a circle of parents has an end, too.
        for _ in &self.stacks {
            root = above.or(root);
            above = above.and_then(|above| self.parent_index(above));
        }
        let root = root.and_then(|root| self.stacks.get(root));
        let id = |stack: &LiveStack| Value::from(stack.id.clone());
        let operations: Vec<Value> = stack
            .last_operations()
            .map(|(kind, id)| json!({ "OperationType": kind, "OperationId": id }))
            .collect();
        let time = |time: SystemTime| Value::from(rfc3339(time));
        [
            ("StackId", Some(id(stack))),
            ("StackName", Some(Value::from(script.name.clone()))),
            (description, script.description.clone().map(Value::from)),
            ("CreationTime", Some(time(stack.created))),
            (
                "LastUpdatedTime",
                stack
                    .last_updated
                    .filter(|_| script.is_last_updated_sent)
                    .map(time),
            ),
            ("DeletionTime", stack.deleted.map(time)),
            ("StackStatus", Some(Value::from(latest.status.as_str()))),
            ("StackStatusReason", latest.reason.clone().map(Value::from)),
            ("ParentId", self.parent(index).map(id)),
            ("RootId", root.map(id)),
            (
                "DriftInformation",
                Some(json!({ "StackDriftStatus": "NOT_CHECKED" })),
            ),
            (
                "LastOperations",
                script.are_operations_sent.then(|| operations.into()),
            ),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
    }

    /// A `Stack`.
    fn description(&self, index: usize, stack: &LiveStack) -> Value {
        let mut members = self.summary(index, stack, "Description");
        let tags: Vec<Value> = stack
            .script
            .tags
            .iter()
            .map(|(key, value)| json!({ "Key": key, "Value": value }))
            .collect();
        let more = [
            ("Tags", Value::from(tags)),
            ("RollbackConfiguration", json!({})),
            ("NotificationARNs", json!([])),
            ("DisableRollback", Value::from(false)),
            ("EnableTerminationProtection", Value::from(false)),
        ];
        members.extend(more.map(|(name, value)| (name.to_owned(), value)));
        Value::Object(members)
    }
}

/// The operation with which a stack starts: its own, or that of the stack that it follows.
fn first_update(script: &Stack, scripts: &[&Stack]) -> Update {
    let mut followed = script;
    // As many steps as there are stacks: a circle of parents has an end, too.
    for _ in scripts {
        let parent = scripts.iter().find(|other| {
            followed.follows_parent() && followed.parent.as_ref() == Some(&other.name)
        });
        followed = parent.copied().unwrap_or(followed);
    }
    let update = followed.latest();
    Update {
        id: update.id.filter(|_| !script.follows_parent()),
        ..update
    }
}

fn event_json(stack: &LiveStack, event: &StackEvent) -> Value {
    let script = &stack.script;
    let (logical, kind, physical) = if event.is_of_resource {
        let (logical, kind, physical) = &stack.resource;
        (logical.as_str(), kind.as_str(), physical.as_str())
    } else {
        let kind = "AWS::CloudFormation::Stack";
        (script.name.as_str(), kind, stack.id.as_str())
    };
    let operation = event
        .operation
        .clone()
        .filter(|_| script.are_operations_sent);
    [
        ("StackId", Some(stack.id.clone())),
        ("EventId", Some(event.id.clone())),
        ("StackName", Some(script.name.clone())),
        ("OperationId", operation),
        ("LogicalResourceId", Some(logical.to_owned())),
        ("PhysicalResourceId", Some(physical.to_owned())),
        ("ResourceType", Some(kind.to_owned())),
        ("Timestamp", Some(rfc3339(event.time))),
        ("ResourceStatus", Some(event.status.to_string())),
        ("ResourceStatusReason", event.reason.clone()),
        ("ClientRequestToken", event.token.clone()),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?))))
    .collect::<Map<_, _>>()
    .into()
}

fn validation(message: impl Into<String>) -> ServiceError {
    ServiceError::new("ValidationError", message)
}

fn does_not_exist(name: &str) -> ServiceError {
    validation(format!("Stack [{}] does not exist", name_of(name)))
}

fn text<'a>(input: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    input.get(name).and_then(Value::as_str)
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
