//! AWS Proton: environments that live, and the operations on them.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use crate::identity::Identities;
use crate::wire::error::ServiceError;
use crate::wire::json::read;
use crate::wire::model;
use crate::wire::operation::Operation;
use crate::wire::pages::Pages;
use crate::wire::time::{epoch_seconds, rfc3339};
use crate::world::{Deployment, Ending, Environment, Happening, Status, What, When, World};

/// How many items a page holds where the request does not say.
const DEFAULT_PAGE: usize = 100;

/// How long a deployment took that had ended before the world started.
const USUAL_DURATION: Duration = Duration::from_mins(4);

/// An environment as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentSnapshot {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// The status of its latest deployment.
    pub status: Status,
    /// The status message.
    pub message: Option<String>,
    /// The id of its latest deployment, whether the service sends it or not.
    pub deployment_id: String,
    /// When its latest deployment started, whether the service sends it or not.
    pub started_at: SystemTime,
    /// When its latest deployment ended.
    pub completed_at: Option<SystemTime>,
}

impl EnvironmentSnapshot {
    /// The environment as `GET /_local/environments` shows it.
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

/// A deployment as it stands: the truth about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentSnapshot {
    /// The environment that it updates.
    pub environment: String,
    /// Its id, whether the service sends it or not.
    pub id: String,
    /// Its status.
    pub status: Status,
    /// The status message.
    pub message: Option<String>,
    /// When it started.
    pub started_at: SystemTime,
    /// When it ended.
    pub completed_at: Option<SystemTime>,
    /// When a cancel was accepted.
    pub cancelled_at: Option<SystemTime>,
}

impl DeploymentSnapshot {
    /// The deployment as `GET /_local/deployments` shows it.
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

/// What a call did, besides its answer.
#[derive(Debug, Default)]
pub(crate) struct Effect {
    /// The environments that it concerned.
    pub(crate) environments: Vec<String>,
    /// The deployment that it cancelled.
    pub(crate) cancelled: Option<String>,
}

/// The service.
#[derive(Debug)]
pub(crate) struct Proton {
    arns: Arns,
    environments: BTreeMap<String, LiveEnvironment>,
    environments_a_page: usize,
    pages_shift: bool,
    pages: Pages,
}

#[derive(Debug)]
struct Arns {
    region: String,
    account: String,
}

impl Arns {
    fn environment(&self, name: &str) -> String {
        let Self { region, account } = self;
        format!("arn:aws:proton:{region}:{account}:environment/{name}")
    }

    fn deployment(&self, id: &str) -> String {
        let Self { region, account } = self;
        format!("arn:aws:proton:{region}:{account}:deployment/{id}")
    }
}

impl Proton {
    pub(crate) fn new(world: &World, start: SystemTime, identities: &mut Identities) -> Self {
        let environments = world
            .environments
            .iter()
            .map(|script| {
                let live = LiveEnvironment::new(script, start, identities);
                (script.name.clone(), live)
            })
            .collect();
        Self {
            arns: Arns {
                region: world.region.clone(),
                account: world.account.clone(),
            },
            environments,
            environments_a_page: world.environments_a_page.max(1),
            pages_shift: world.pages_shift,
            pages: Pages::default(),
        }
    }

    /// Lets everything happen that is due.
    pub(crate) fn advance(&mut self, now: SystemTime, identities: &mut Identities) {
        for environment in self.environments.values_mut() {
            environment.advance(now, identities);
        }
    }

    /// Lets happen what the scripts tie to a call, to environments of these names; to every
    /// environment without names.
    pub(crate) fn happen_at(
        &mut self,
        moment: (Phase, Operation),
        names: Option<&[String]>,
        now: SystemTime,
        identities: &mut Identities,
    ) {
        for (name, environment) in &mut self.environments {
            if names.is_none_or(|names| names.contains(name)) {
                environment.meet(moment, now);
                environment.advance(now, identities);
            }
        }
    }

    /// Answers a call.
    pub(crate) fn call(
        &mut self,
        operation: Operation,
        body: &[u8],
        now: SystemTime,
        identities: &mut Identities,
        effect: &mut Effect,
    ) -> Result<Value, ServiceError> {
        match operation {
            Operation::ListEnvironments => self.list_environments(body, identities, effect),
            Operation::GetEnvironment => self.get_environment(body, effect),
            Operation::CancelEnvironmentDeployment => self.cancel(body, now, effect),
            Operation::GetDeployment => self.get_deployment(body, effect),
            Operation::ListTagsForResource => self.list_tags(body, identities, effect),
            Operation::PutEvents
            | Operation::ListStacks
            | Operation::DescribeStacks
            | Operation::CancelUpdateStack
            | Operation::DescribeStackEvents => Err(ServiceError::unknown_operation(format!(
                "{operation} is no operation of Proton"
            ))),
        }
    }

    pub(crate) fn environments(&self) -> Vec<EnvironmentSnapshot> {
        self.existing()
            .map(|environment| {
                let latest = &environment.latest;
                EnvironmentSnapshot {
                    name: environment.script.name.clone(),
                    arn: self.arns.environment(&environment.script.name),
                    status: latest.status,
                    message: latest.message.clone(),
                    deployment_id: latest.id.clone(),
                    started_at: latest.created,
                    completed_at: latest.completed,
                }
            })
            .collect()
    }

    pub(crate) fn deployments(&self) -> Vec<DeploymentSnapshot> {
        self.environments
            .values()
            .flat_map(|environment| {
                environment
                    .deployments()
                    .map(|deployment| DeploymentSnapshot {
                        environment: environment.script.name.clone(),
                        id: deployment.id.clone(),
                        status: deployment.status,
                        message: deployment.message.clone(),
                        started_at: deployment.created,
                        completed_at: deployment.completed,
                        cancelled_at: deployment.cancelled_at,
                    })
            })
            .collect()
    }

    fn existing(&self) -> impl Iterator<Item = &LiveEnvironment> {
        self.environments
            .values()
            .filter(|environment| !environment.is_deleted)
    }

    fn find(&self, name: &str) -> Result<&LiveEnvironment, ServiceError> {
        self.environments
            .get(name)
            .filter(|environment| !environment.is_deleted)
            .ok_or_else(|| ServiceError::not_found(format!("Environment {name} was not found.")))
    }

    /// Returns the item after which the page starts that a request asks for; `None` for the first page.
    fn page_start(
        &self,
        input: &Map<String, Value>,
        question: &str,
    ) -> Result<Option<String>, ServiceError> {
        let Some(token) = text(input, "nextToken") else {
            return Ok(None);
        };
        let place = self.pages.place(token, question).map(str::to_owned);
        let refused = || ServiceError::validation("The nextToken is not valid for this request.");
        place.map(Some).ok_or_else(refused)
    }

    fn list_environments(
        &mut self,
        body: &[u8],
        identities: &mut Identities,
        effect: &mut Effect,
    ) -> Result<Value, ServiceError> {
        let input = read(body, model::LIST_ENVIRONMENTS)?;
        let templates = template_filters(&input);
        let question = format!("environments of {templates:?}");
        let from = self.page_start(&input, &question)?;
        let size = page_size(&input).min(self.environments_a_page);
        let before = match &from {
            Some(count) if self.pages_shift => count.parse().unwrap_or_default(),
            Some(_) | None => 0,
        };
        let mut page: Vec<_> = self
            .existing()
            .filter(|environment| {
                let is_after = from
                    .as_ref()
                    .is_none_or(|from| self.pages_shift || environment.script.name > *from);
                is_after && environment.is_of(&templates)
            })
            .skip(before)
            .take(size + 1)
            .collect();
        let is_last = page.len() <= size;
        page.truncate(size);
        let summaries: Vec<Value> = page
            .iter()
            .map(|environment| self.summary(environment))
            .collect();
        effect.environments = page
            .iter()
            .map(|environment| environment.script.name.clone())
            .collect();
        let mut output = Map::new();
        output.insert("environments".to_owned(), Value::from(summaries));
        if !is_last && let Some(last) = effect.environments.last() {
            let from = if self.pages_shift {
                (before + size).to_string()
            } else {
                last.clone()
            };
            let token = self.pages.token(question, from, identities);
            output.insert("nextToken".to_owned(), Value::from(token));
        }
        Ok(Value::Object(output))
    }

    fn get_environment(&self, body: &[u8], effect: &mut Effect) -> Result<Value, ServiceError> {
        let input = read(body, model::GET_ENVIRONMENT)?;
        let environment = self.find(text(&input, "name").unwrap_or_default())?;
        effect.environments = vec![environment.script.name.clone()];
        Ok(json!({ "environment": self.summary(environment) }))
    }

    fn cancel(
        &mut self,
        body: &[u8],
        now: SystemTime,
        effect: &mut Effect,
    ) -> Result<Value, ServiceError> {
        let input = read(body, model::CANCEL_ENVIRONMENT_DEPLOYMENT)?;
        let name = text(&input, "environmentName").unwrap_or_default();
        let status = self.find(name)?.latest.status;
        effect.environments = vec![name.to_owned()];
        if status != Status::InProgress {
            return Err(ServiceError::new(
                "ConflictException",
                format!(
                    "Environment {name} has no deployment in progress: its deployment status is {status}."
                ),
            ));
        }
        if let Some(environment) = self.environments.get_mut(name) {
            environment.latest.cancel(now);
            effect.cancelled = Some(environment.latest.id.clone());
        }
        Ok(json!({ "environment": self.summary(self.find(name)?) }))
    }

    fn get_deployment(&self, body: &[u8], effect: &mut Effect) -> Result<Value, ServiceError> {
        let input = read(body, model::GET_DEPLOYMENT)?;
        for (member, kind) in [
            ("componentName", "Component"),
            ("serviceName", "Service"),
            ("serviceInstanceName", "Service instance"),
        ] {
            if let Some(name) = text(&input, member) {
                return Err(ServiceError::not_found(format!(
                    "{kind} {name} was not found."
                )));
            }
        }
        let id = text(&input, "id").unwrap_or_default();
        let (environment, deployment) = match text(&input, "environmentName") {
            Some(name) => {
                let environment = self.find(name)?;
                effect.environments = vec![name.to_owned()];
                (environment, environment.deployment(id))
            }
            None => self
                .existing()
                .find_map(|environment| Some((environment, Some(environment.deployment(id)?))))
                .ok_or_else(|| deployment_not_found(id))?,
        };
        let deployment = deployment.ok_or_else(|| deployment_not_found(id))?;
        effect.environments = vec![environment.script.name.clone()];
        Ok(json!({ "deployment": self.detail(environment, deployment) }))
    }

    fn list_tags(
        &mut self,
        body: &[u8],
        identities: &mut Identities,
        effect: &mut Effect,
    ) -> Result<Value, ServiceError> {
        let input = read(body, model::LIST_TAGS_FOR_RESOURCE)?;
        let arn = text(&input, "resourceArn").unwrap_or_default();
        let environment = self
            .existing()
            .find(|environment| self.arns.environment(&environment.script.name) == arn)
            .ok_or_else(|| ServiceError::not_found(format!("Resource {arn} was not found.")))?;
        effect.environments = vec![environment.script.name.clone()];
        let question = format!("tags of {arn}");
        let from = self.page_start(&input, &question)?;
        let size = page_size(&input);
        let mut page: Vec<_> = environment
            .script
            .tags
            .iter()
            .filter(|(key, _)| from.as_ref().is_none_or(|from| *key > from))
            .take(size + 1)
            .collect();
        let is_last = page.len() <= size;
        page.truncate(size);
        let tags: Vec<Value> = page
            .iter()
            .map(|(key, value)| json!({ "key": key, "value": value }))
            .collect();
        let last = page.last().map(|(key, _)| (*key).clone());
        let mut output = Map::new();
        output.insert("tags".to_owned(), Value::from(tags));
        if !is_last && let Some(last) = last {
            let token = self.pages.token(question, last, identities);
            output.insert("nextToken".to_owned(), Value::from(token));
        }
        Ok(Value::Object(output))
    }

    /// The members that `Environment` and `EnvironmentSummary` share.
    fn summary(&self, environment: &LiveEnvironment) -> Value {
        let LiveEnvironment { script, latest, .. } = environment;
        let success = environment.last_success();
        let (major, minor) = &script.template_version;
        let sent_id = |deployment: &LiveDeployment| {
            deployment
                .script
                .is_id_sent
                .then(|| Value::from(deployment.id.clone()))
        };
        object([
            (
                "arn",
                Some(Value::from(self.arns.environment(&script.name))),
            ),
            ("createdAt", Some(epoch_seconds(environment.created))),
            (
                "deploymentStatus",
                Some(Value::from(latest.status.as_str())),
            ),
            (
                "deploymentStatusMessage",
                latest.message.clone().map(Value::from),
            ),
            ("description", script.description.clone().map(Value::from)),
            (
                "environmentAccountId",
                script.account_id.clone().map(Value::from),
            ),
            ("lastAttemptedDeploymentId", sent_id(latest)),
            (
                "lastDeploymentAttemptedAt",
                latest
                    .script
                    .is_start_sent
                    .then(|| epoch_seconds(latest.created)),
            ),
            (
                "lastDeploymentSucceededAt",
                success.map(|success| epoch_seconds(success.created)),
            ),
            ("lastSucceededDeploymentId", success.and_then(sent_id)),
            ("name", Some(Value::from(script.name.clone()))),
            ("templateMajorVersion", Some(Value::from(major.clone()))),
            ("templateMinorVersion", Some(Value::from(minor.clone()))),
            (
                "templateName",
                Some(Value::from(script.template_name.clone())),
            ),
        ])
    }

    /// A `Deployment`.
    fn detail(&self, environment: &LiveEnvironment, deployment: &LiveDeployment) -> Value {
        let script = &environment.script;
        let (major, minor) = &script.template_version;
        let state = json!({ "environment": {
            "templateName": script.template_name,
            "templateMajorVersion": major,
            "templateMinorVersion": minor,
        }});
        let success = environment.last_success();
        object([
            (
                "arn",
                Some(Value::from(self.arns.deployment(&deployment.id))),
            ),
            ("completedAt", deployment.completed.map(epoch_seconds)),
            ("createdAt", Some(epoch_seconds(deployment.created))),
            (
                "deploymentStatus",
                Some(Value::from(deployment.status.as_str())),
            ),
            (
                "deploymentStatusMessage",
                deployment.message.clone().map(Value::from),
            ),
            ("environmentName", Some(Value::from(script.name.clone()))),
            ("id", Some(Value::from(deployment.id.clone()))),
            ("initialState", Some(state.clone())),
            (
                "lastAttemptedDeploymentId",
                Some(Value::from(environment.latest.id.clone())),
            ),
            ("lastModifiedAt", Some(epoch_seconds(deployment.modified))),
            (
                "lastSucceededDeploymentId",
                success.map(|success| Value::from(success.id.clone())),
            ),
            (
                "targetArn",
                Some(Value::from(self.arns.environment(&script.name))),
            ),
            (
                "targetResourceCreatedAt",
                Some(epoch_seconds(environment.created)),
            ),
            ("targetResourceType", Some(Value::from("ENVIRONMENT"))),
            ("targetState", Some(state)),
        ])
    }
}

/// An object of the members that are there.
fn object<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    members
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect::<Map<_, _>>()
        .into()
}

fn text<'a>(input: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    input.get(name).and_then(Value::as_str)
}

fn page_size(input: &Map<String, Value>) -> usize {
    input
        .get("maxResults")
        .and_then(Value::as_u64)
        .and_then(|size| usize::try_from(size).ok())
        .unwrap_or(DEFAULT_PAGE)
}

fn template_filters(input: &Map<String, Value>) -> Vec<(String, String)> {
    let filters = input.get("environmentTemplates").and_then(Value::as_array);
    filters
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
        .map(|filter| {
            let part = |name| text(filter, name).unwrap_or_default().to_owned();
            (part("templateName"), part("majorVersion"))
        })
        .collect()
}

fn deployment_not_found(id: &str) -> ServiceError {
    ServiceError::not_found(format!("Deployment {id} was not found."))
}

/// An environment that lives.
#[derive(Debug)]
struct LiveEnvironment {
    script: Environment,
    start: SystemTime,
    created: SystemTime,
    earlier: Vec<LiveDeployment>,
    latest: LiveDeployment,
    pending: Vec<Happening>,
    is_deleted: bool,
    /// How many calls concerned it.
    calls: HashMap<(Phase, Operation), u64>,
}

/// Where a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    /// It has arrived, and has not been looked at.
    Arrived,
    /// It has been carried out.
    CarriedOut,
}

/// What is due next in an environment's life.
enum Due {
    End(Ending),
    Pending(usize),
}

impl LiveEnvironment {
    fn new(script: &Environment, start: SystemTime, identities: &mut Identities) -> Self {
        let latest = LiveDeployment::at_start(&script.deployment, start, identities);
        let earlier = script
            .last_success
            .filter(|_| latest.status != Status::Succeeded)
            .map(|moment| {
                let success = Deployment::settled(Ending::succeeded()).started(moment);
                LiveDeployment::at_start(&success, start, identities)
            });
        Self {
            script: script.clone(),
            start,
            created: script.created.seen_from(start),
            earlier: earlier.into_iter().collect(),
            latest,
            pending: script.happenings.clone(),
            is_deleted: false,
            calls: HashMap::new(),
        }
    }

    fn is_of(&self, templates: &[(String, String)]) -> bool {
        let Environment {
            template_name,
            template_version: (major, _),
            ..
        } = &self.script;
        templates.is_empty()
            || templates
                .iter()
                .any(|(name, version)| name == template_name && version == major)
    }

    fn deployments(&self) -> impl Iterator<Item = &LiveDeployment> {
        self.earlier.iter().chain(std::iter::once(&self.latest))
    }

    fn deployment(&self, id: &str) -> Option<&LiveDeployment> {
        self.deployments().find(|deployment| deployment.id == id)
    }

    fn last_success(&self) -> Option<&LiveDeployment> {
        self.deployments()
            .filter(|deployment| deployment.status == Status::Succeeded)
            .last()
    }

    /// Counts a call, and makes due what waited for it.
    fn meet(&mut self, moment: (Phase, Operation), now: SystemTime) {
        let count = self.calls.entry(moment).or_default();
        *count += 1;
        let met = match moment {
            (Phase::Arrived, operation) => When::BeforeCall(operation, *count),
            (Phase::CarriedOut, operation) => When::AfterCall(operation, *count),
        };
        let at = When::At(now.duration_since(self.start).unwrap_or_default());
        for happening in &mut self.pending {
            if happening.when == met {
                happening.when = at.clone();
            }
        }
    }

    fn advance(&mut self, now: SystemTime, identities: &mut Identities) {
        while !self.is_deleted
            && let Some((at, due)) = self.next_due()
            && at <= now
        {
            match due {
                Due::End(ending) => self.latest.end(ending, at),
                Due::Pending(index) => {
                    let happening = self.pending.remove(index);
                    self.carry_out(happening.what, at, identities);
                }
            }
        }
    }

    fn next_due(&self) -> Option<(SystemTime, Due)> {
        let end = self
            .latest
            .ends
            .clone()
            .map(|(at, ending)| (at, Due::End(ending)));
        let mut is_first_after_end = true;
        let pending = self
            .pending
            .iter()
            .enumerate()
            .filter_map(|(index, happening)| {
                let at = match &happening.when {
                    When::At(later) => self.start.checked_add(*later),
                    When::AfterEnd(later) if is_first_after_end => {
                        is_first_after_end = false;
                        let ended = self.latest.completed?.max(self.start);
                        ended.checked_add(*later)
                    }
                    When::AfterEnd(_) | When::BeforeCall(..) | When::AfterCall(..) => None,
                }?;
                match &happening.what {
                    // It waits for the one before it.
                    What::Deploy(_) => Some((self.latest.completed?.max(at), index)),
                    What::End(_) | What::Cancel | What::Delete => Some((at, index)),
                }
            })
            .map(|(at, index)| (at, Due::Pending(index)));
        end.into_iter().chain(pending).min_by_key(|(at, _)| *at)
    }

    fn carry_out(&mut self, what: What, at: SystemTime, identities: &mut Identities) {
        match what {
            What::Deploy(script) => {
                let next = LiveDeployment::starting(&script, at, identities);
                let before = std::mem::replace(&mut self.latest, next);
                self.earlier.push(before);
            }
            What::End(ending) => {
                if !self.latest.status.is_settled() {
                    self.latest.end(ending, at);
                }
            }
            What::Cancel => {
                if self.latest.status == Status::InProgress {
                    self.latest.cancel(at);
                }
            }
            What::Delete => self.is_deleted = true,
        }
    }
}

/// A deployment that lives.
#[derive(Debug)]
struct LiveDeployment {
    id: String,
    script: Deployment,
    status: Status,
    message: Option<String>,
    created: SystemTime,
    modified: SystemTime,
    completed: Option<SystemTime>,
    cancelled_at: Option<SystemTime>,
    /// How and when it ends by itself.
    ends: Option<(SystemTime, Ending)>,
}

impl LiveDeployment {
    /// One that was there when the world started.
    fn at_start(script: &Deployment, start: SystemTime, identities: &mut Identities) -> Self {
        let created = script.started.seen_from(start);
        let mut deployment = Self::starting(script, created, identities);
        deployment.status = script.status;
        let base = created.max(start);
        match script.status {
            Status::InProgress => deployment.ends_after(base, script.left_alone.clone()),
            Status::Cancelling => {
                let cancellation = script.when_cancelled.clone();
                deployment.cancelled_at = Some(created);
                deployment.ends_after(base, Some((cancellation.lasts, cancellation.ending)));
            }
            Status::DeleteInProgress => deployment.ends = None,
            Status::Failed
            | Status::Succeeded
            | Status::DeleteFailed
            | Status::DeleteComplete
            | Status::Cancelled => {
                let completed = (created + USUAL_DURATION).min(base);
                deployment.completed = Some(completed);
                deployment.modified = completed;
                deployment.ends = None;
            }
        }
        deployment
    }

    /// One that starts now.
    fn starting(script: &Deployment, now: SystemTime, identities: &mut Identities) -> Self {
        let mut deployment = Self {
            id: script.id.clone().unwrap_or_else(|| identities.uuid()),
            script: script.clone(),
            status: Status::InProgress,
            message: script.message.clone(),
            created: now,
            modified: now,
            completed: None,
            cancelled_at: None,
            ends: None,
        };
        deployment.ends_after(now, script.left_alone.clone());
        deployment
    }

    fn ends_after(&mut self, base: SystemTime, end: Option<(Duration, Ending)>) {
        self.ends = end.and_then(|(after, ending)| Some((base.checked_add(after)?, ending)));
    }

    fn cancel(&mut self, now: SystemTime) {
        let cancellation = self.script.when_cancelled.clone();
        self.status = Status::Cancelling;
        self.message = None;
        self.modified = now;
        self.cancelled_at = Some(now);
        self.ends_after(now, Some((cancellation.lasts, cancellation.ending)));
    }

    fn end(&mut self, ending: Ending, at: SystemTime) {
        self.status = ending.status;
        self.message = ending.message;
        self.modified = at;
        self.completed = Some(at);
        self.ends = None;
    }
}
