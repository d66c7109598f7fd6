//! AWS Proton: its operations on the account.

use serde_json::{Map, Value, json};

use crate::account::Context;
use crate::account::live::LiveEnvironment;
use crate::account::live_deployment::LiveDeployment;
use crate::account::status::{StackStatus, Status};
use crate::wire::error::ServiceError;
use crate::wire::json::{read, text, without_nulls};
use crate::wire::model;
use crate::wire::operation::Operation;
use crate::wire::pages::Pages;
use crate::wire::time::epoch_seconds;

/// The number of items on a page if the request has none.
const DEFAULT_PAGE: usize = 100;

/// The options of the local Proton.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProtonOptions {
    /// The most environments on a page, whatever a request asks for.
    pub(crate) environments_a_page: usize,
    /// True if a page token counts the environments before its page, so that all pages shift when
    /// one goes.
    pub(crate) pages_shift: bool,
}

/// The service.
#[derive(Debug)]
pub(crate) struct Proton {
    options: ProtonOptions,
    pages: Pages,
}

impl Proton {
    pub(crate) fn new(options: ProtonOptions) -> Self {
        Self {
            options,
            pages: Pages::new("nextToken", "ValidationException"),
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
        body: &[u8],
        context: &mut Context<'_>,
    ) -> Result<Value, ServiceError> {
        match operation {
            Operation::ListEnvironments => self.list_environments(body, context),
            Operation::GetEnvironment => get_environment(body, context),
            Operation::CancelEnvironmentDeployment => cancel(body, context),
            Operation::GetDeployment => get_deployment(body, context),
            Operation::ListTagsForResource => self.list_tags(body, context),
            _ => Err(ServiceError::unknown_operation(format!(
                "{operation} is no operation of Proton"
            ))),
        }
    }

    fn list_environments(
        &mut self,
        body: &[u8],
        context: &mut Context<'_>,
    ) -> Result<Value, ServiceError> {
        let ProtonOptions {
            environments_a_page,
            pages_shift,
        } = self.options;
        let input = read(body, model::LIST_ENVIRONMENTS)?;
        let templates = template_filters(&input);
        let question = format!("environments of {templates:?}");
        let from = self.pages.start(&input, &question)?;
        let size = page_size(&input).min(environments_a_page.max(1));
        let before = match &from {
            Some(count) if pages_shift => count.parse().unwrap_or_default(),
            Some(_) | None => 0,
        };
        let after = from.as_deref().filter(|_| !pages_shift);
        let mut page: Vec<_> = context
            .account
            .of_proton(after)
            .filter(|environment| is_of(environment, &templates))
            .skip(before)
            .take(size + 1)
            .collect();
        let is_last = page.len() <= size;
        page.truncate(size);
        let summaries: Vec<Value> = page.iter().map(|one| summary(context, one)).collect();
        let names: Vec<_> = page.iter().map(|one| one.script.name.clone()).collect();
        let next = if pages_shift {
            Some((before + size).to_string())
        } else {
            names.last().cloned()
        };
        let next = next.filter(|_| !is_last);
        let token = next.map(|next| self.pages.token(question, next, context.identities));
        context.environments = names;
        Ok(without_nulls(
            json!({ "environments": summaries, "nextToken": token }),
        ))
    }

    fn list_tags(&mut self, body: &[u8], context: &mut Context<'_>) -> Result<Value, ServiceError> {
        let input = read(body, model::LIST_TAGS_FOR_RESOURCE)?;
        let arn = text(&input, "resourceArn").unwrap_or_default();
        let account = &*context.account;
        let (_, environment) = arn
            .strip_prefix(&account.arns.environment(""))
            .and_then(|name| account.find_environment(name))
            .ok_or_else(|| ServiceError::not_found(format!("Resource {arn} was not found.")))?;
        context.environments = vec![environment.script.name.clone()];
        let question = format!("tags of {arn}");
        let from = self.pages.start(&input, &question)?;
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
        let next = last.filter(|_| !is_last);
        let token = next.map(|last| self.pages.token(question, last, context.identities));
        Ok(without_nulls(json!({ "tags": tags, "nextToken": token })))
    }
}

fn get_environment(body: &[u8], context: &mut Context<'_>) -> Result<Value, ServiceError> {
    let input = read(body, model::GET_ENVIRONMENT)?;
    let (_, environment) = find(context, text(&input, "name").unwrap_or_default())?;
    let output = json!({ "environment": summary(context, environment) });
    context.environments = vec![environment.script.name.clone()];
    Ok(output)
}

fn cancel(body: &[u8], context: &mut Context<'_>) -> Result<Value, ServiceError> {
    let input = read(body, model::CANCEL_ENVIRONMENT_DEPLOYMENT)?;
    let name = text(&input, "environmentName").unwrap_or_default();
    let (index, environment) = find(context, name)?;
    let (id, status) = (environment.latest.id.clone(), environment.latest.status);
    context.environments = vec![name.to_owned()];
    if status != StackStatus::UpdateInProgress {
        let status = Status::from(status);
        return Err(ServiceError::new(
            "ConflictException",
            format!(
                "Environment {name} has no deployment in progress: its deployment status is {status}."
            ),
        ));
    }
    let Context {
        account,
        identities,
        now,
        ..
    } = context;
    account.cancel(index, None, *now, identities);
    context.cancelled = Some(id);
    let (_, environment) = find(context, name)?;
    Ok(json!({ "environment": summary(context, environment) }))
}

fn get_deployment(body: &[u8], context: &mut Context<'_>) -> Result<Value, ServiceError> {
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
    let not_found = || ServiceError::not_found(format!("Deployment {id} was not found."));
    let (environment, deployment) = match text(&input, "environmentName") {
        Some(name) => {
            let (_, environment) = find(context, name)?;
            (environment, environment.deployment(id))
        }
        None => context
            .account
            .of_proton(None)
            .find_map(|environment| Some((environment, Some(environment.deployment(id)?))))
            .ok_or_else(not_found)?,
    };
    let output = deployment.map(|deployment| detail(context, environment, deployment));
    context.environments = vec![environment.script.name.clone()];
    Ok(json!({ "deployment": output.ok_or_else(not_found)? }))
}

/// Returns the environment of this name, and its place.
fn find<'a>(
    context: &'a Context<'_>,
    name: &str,
) -> Result<(usize, &'a LiveEnvironment), ServiceError> {
    context
        .account
        .find_environment(name)
        .ok_or_else(|| ServiceError::not_found(format!("Environment {name} was not found.")))
}

/// Returns an `Environment` or an `EnvironmentSummary`.
fn summary(context: &Context<'_>, environment: &LiveEnvironment) -> Value {
    let LiveEnvironment { script, latest, .. } = environment;
    let success = environment.last_success();
    let (major, minor) = &script.template_version;
    let sent_id = |deployment: &LiveDeployment| {
        let id = deployment.id.clone();
        deployment.script.is_id_sent.then_some(id)
    };
    let sent_start = latest.script.is_start_sent.then_some(latest.started);
    without_nulls(json!({
        "arn": context.account.arns.environment(&script.name),
        "createdAt": epoch_seconds(environment.created),
        "deploymentStatus": Status::from(latest.status).as_str(),
        "deploymentStatusMessage": latest.message,
        "description": script.description,
        "environmentAccountId": script.account_id,
        "lastAttemptedDeploymentId": sent_id(latest),
        "lastDeploymentAttemptedAt": sent_start.map(epoch_seconds),
        "lastDeploymentSucceededAt": success.map(|success| epoch_seconds(success.started)),
        "lastSucceededDeploymentId": success.and_then(sent_id),
        "name": script.name,
        "templateMajorVersion": major,
        "templateMinorVersion": minor,
        "templateName": script.template_name,
    }))
}

/// Returns a `Deployment`.
fn detail(
    context: &Context<'_>,
    environment: &LiveEnvironment,
    deployment: &LiveDeployment,
) -> Value {
    let script = &environment.script;
    let arns = &context.account.arns;
    let (major, minor) = &script.template_version;
    let state = json!({ "environment": {
        "templateName": script.template_name,
        "templateMajorVersion": major,
        "templateMinorVersion": minor,
    }});
    without_nulls(json!({
        "arn": arns.deployment(&deployment.id),
        "completedAt": deployment.completed.map(epoch_seconds),
        "createdAt": epoch_seconds(deployment.started),
        "deploymentStatus": Status::from(deployment.status).as_str(),
        "deploymentStatusMessage": deployment.message,
        "environmentName": script.name,
        "id": deployment.id,
        "initialState": state,
        "lastAttemptedDeploymentId": environment.latest.id,
        "lastModifiedAt": epoch_seconds(deployment.changed),
        "lastSucceededDeploymentId": environment.last_success().map(|success| &success.id),
        "targetArn": arns.environment(&script.name),
        "targetResourceCreatedAt": epoch_seconds(environment.created),
        "targetResourceType": "ENVIRONMENT",
        "targetState": state,
    }))
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

/// True if an environment is of one of these templates, or there are none.
fn is_of(environment: &LiveEnvironment, templates: &[(String, String)]) -> bool {
    let script = &environment.script;
    let (major, _) = &script.template_version;
    let mut templates = templates.iter().peekable();
    templates.peek().is_none()
        || templates.any(|(name, version)| *name == script.template_name && version == major)
}
