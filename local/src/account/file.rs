//! The environments and stacks of a world file. The package's README describes the format.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use chrono::DateTime;
use serde::Deserialize;

use crate::account::deployment::{Deployment, Ending, Moment};
use crate::account::environment::Environment;
use crate::account::script::{Effect, Timing};
use crate::account::status::{Kind, StackStatus, Status};
use crate::file_value::{days, only, operation, optional_seconds, seconds, valid};
use crate::wire::model;
use crate::wire::shape::Shape;

/// The most copies of an environment that one entry makes.
const MOST_COPIES: u32 = 100_000;

const MINUTE: f64 = 60.0;

/// An entry `[[environment]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnvironmentText {
    name: String,
    copies: Option<u32>,
    template: Option<String>,
    template_version: Option<String>,
    description: Option<String>,
    account_id: Option<String>,
    created_days_ago: Option<f64>,
    last_success_days_ago: Option<f64>,
    #[serde(default)]
    never_succeeded: bool,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    deployment: Option<DeploymentText>,
    #[serde(default)]
    then: Vec<EventText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeploymentText {
    status: Option<String>,
    message: Option<String>,
    id: Option<String>,
    #[serde(default)]
    id_not_sent: bool,
    started_minutes_ago: Option<f64>,
    started_at: Option<toml::value::Datetime>,
    #[serde(default)]
    start_not_sent: bool,
    when_cancelled: Option<EndingText>,
    left_alone: Option<EndingText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EndingText {
    seconds: Option<f64>,
    ends: String,
    message: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventText {
    at_seconds: Option<f64>,
    seconds_after_end: Option<f64>,
    before_call: Option<String>,
    after_call: Option<String>,
    nth: Option<u64>,
    deploy: Option<DeploymentText>,
    end: Option<EndingText>,
    #[serde(default)]
    cancel: bool,
    #[serde(default)]
    delete: bool,
}

/// An entry `[[stack]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StackText {
    name: String,
    copies: Option<u32>,
    description: Option<String>,
    parent: Option<String>,
    created_days_ago: Option<f64>,
    last_success_days_ago: Option<f64>,
    #[serde(default)]
    never_succeeded: bool,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    #[serde(default)]
    not_sent: Vec<String>,
    #[serde(default)]
    last_updated_stands_still: bool,
    update: Option<UpdateText>,
    #[serde(default)]
    then: Vec<StackEventText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UpdateText {
    status: Option<String>,
    reason: Option<String>,
    id: Option<String>,
    token: Option<String>,
    #[serde(default)]
    change_set: bool,
    started_minutes_ago: Option<f64>,
    started_at: Option<toml::value::Datetime>,
    when_cancelled: Option<UpdateEndingText>,
    left_alone: Option<UpdateEndingText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UpdateEndingText {
    seconds: Option<f64>,
    rollback_seconds: Option<f64>,
    cleanup_seconds: Option<f64>,
    ends: String,
    reason: Option<String>,
    failure: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StackEventText {
    at_seconds: Option<f64>,
    seconds_after_end: Option<f64>,
    before_call: Option<String>,
    after_call: Option<String>,
    nth: Option<u64>,
    update: Option<UpdateText>,
    end: Option<UpdateEndingText>,
    #[serde(default)]
    cancel: bool,
    #[serde(default)]
    delete: bool,
    replace: Option<UpdateText>,
}

/// Reads the environments of a file, each with a name of its own.
pub(crate) fn environments(texts: Vec<EnvironmentText>) -> Result<Vec<Environment>, String> {
    let entries = texts
        .into_iter()
        .map(|text| (text.name.clone(), text.copies, text.into_environment()));
    read_all(entries, ("environment", "a deployment"), valid_name)
}

/// Reads the stacks of a file, each with a name of its own and the parent that it names.
pub(crate) fn stacks(texts: Vec<StackText>) -> Result<Vec<Environment>, String> {
    let entries = texts
        .into_iter()
        .map(|text| (text.name.clone(), text.copies, text.into_stack()));
    let stacks = read_all(entries, ("stack", "an update's"), valid_stack_name)?;
    for stack in &stacks {
        check_parents(stack, &stacks)?;
    }
    Ok(stacks)
}

/// Returns all copies of all entries. Refuses two of one name.
fn read_all(
    entries: impl Iterator<Item = (String, Option<u32>, Result<Environment, String>)>,
    (kind, deployment): (&str, &str),
    valid_name: impl Fn(String) -> Result<String, String>,
) -> Result<Vec<Environment>, String> {
    let mut environments = Vec::new();
    for (name, copies, base) in entries {
        let more = base
            .and_then(|base| copied(base, copies, (kind, deployment), &valid_name))
            .map_err(|what| format!("{kind} `{name}`: {what}"))?;
        environments.extend(more);
    }
    let mut names: Vec<&str> = environments.iter().map(Environment::name).collect();
    names.sort_unstable();
    let mut pairs = names.iter().zip(names.iter().skip(1));
    match pairs.find(|(name, next)| name == next) {
        Some((name, _)) => Err(format!(
            "{kind} `{name}` is there twice: give each its own name"
        )),
        None => Ok(environments),
    }
}

/// Refuses a stack whose parent is absent or the stack itself.
fn check_parents(stack: &Environment, stacks: &[Environment]) -> Result<(), String> {
    // Upwards, as often as there are stacks: a stack that is not at a root by then is in a circle.
    let mut above = stack;
    for _ in 0..=stacks.len() {
        let Some(parent) = &above.parent else { break };
        above = stacks
            .iter()
            .find(|other| other.name == *parent)
            .ok_or_else(|| {
                format!(
                    "stack `{}`: its parent `{parent}` is not there: name another stack of this file",
                    above.name
                )
            })?;
    }
    match above.parent {
        Some(_) => Err(format!(
            "stack `{}` is nested in itself: give it a parent that is not below it",
            stack.name
        )),
        None => Ok(()),
    }
}

/// Returns the copies of an environment; without a number of copies, the environment itself.
fn copied(
    base: Environment,
    copies: Option<u32>,
    (kind, deployment): (&str, &str),
    valid_name: impl Fn(String) -> Result<String, String>,
) -> Result<Vec<Environment>, String> {
    let Some(copies) = copies else {
        valid_name(base.name.clone())?;
        return Ok(vec![base]);
    };
    if copies > MOST_COPIES {
        return Err(format!("copies is `{copies}`: make {MOST_COPIES} at most"));
    }
    if base.deployment.as_ref().is_some_and(|one| one.id.is_some()) {
        return Err(format!(
            "copies of one {kind} cannot share {deployment} `id`: leave it out"
        ));
    }
    let width = copies.to_string().len();
    (1..=copies)
        .map(|number| {
            let name = valid_name(format!("{}-{number:0width$}", base.name))?;
            Ok(Environment {
                name,
                ..base.clone()
            })
        })
        .collect()
}

/// Sets the members that an environment and a stack have in common, after their own.
fn with_common(
    mut environment: Environment,
    created_days_ago: Option<f64>,
    last_success_days_ago: Option<f64>,
    never_succeeded: bool,
    (tags, tag_value, tag_rule): (BTreeMap<String, String>, &Shape, &str),
) -> Result<Environment, String> {
    if let Some(ago) = created_days_ago {
        environment.created = Moment::Ago(days(ago, "created_days_ago")?);
    }
    if let Some(ago) = last_success_days_ago {
        environment.last_success = Some(Moment::Ago(days(ago, "last_success_days_ago")?));
    }
    if never_succeeded {
        environment.last_success = None;
    }
    if tags.len() > 50 {
        return Err("it has more than 50 tags: AWS keeps 50".to_owned());
    }
    for (key, value) in tags {
        let key = valid(&model::TAG_KEY, key, "a tag's key", "1 to 128 characters")?;
        let value = valid(tag_value, value, "a tag's value", tag_rule)?;
        environment.tags.insert(key, value);
    }
    Ok(environment)
}

impl EnvironmentText {
    fn into_environment(self) -> Result<Environment, String> {
        let mut environment = Environment::new(self.name);
        if let Some(template) = self.template {
            environment.template_name = valid(
                &model::RESOURCE_NAME,
                template,
                "template",
                "1 to 100 letters, digits, `-` or `_`, the first a letter or digit",
            )?;
        }
        if let Some(version) = self.template_version {
            environment.template_version = template_version(&version)?;
        }
        if let Some(description) = self.description {
            let description = valid(
                &model::DESCRIPTION,
                description,
                "description",
                "500 characters at most",
            )?;
            environment.description = Some(description);
        }
        if let Some(id) = self.account_id {
            environment.account_id =
                Some(valid(&model::ACCOUNT_ID, id, "account_id", "12 digits")?);
        }
        let tags = (self.tags, &model::TAG_VALUE, "256 characters at most");
        environment = with_common(
            environment,
            self.created_days_ago,
            self.last_success_days_ago,
            self.never_succeeded,
            tags,
        )?;
        if let Some(deployment) = self.deployment {
            environment.deployment = Some(deployment.into_deployment(Status::Succeeded)?);
        }
        with_script(
            environment,
            self.then.into_iter().map(EventText::into_event),
        )
    }
}

impl DeploymentText {
    fn into_deployment(self, default: Status) -> Result<Deployment, String> {
        let mut deployment = of_status(self.status, default)?;
        deployment.message = self.message;
        if let Some(id) = self.id {
            let id = valid(&model::DEPLOYMENT_ID, id, "id", "a UUID in lower case")?;
            deployment.id = Some(id);
        }
        deployment.is_id_sent = !self.id_not_sent;
        deployment.is_start_sent = !self.start_not_sent;
        if let Some(moment) = start(self.started_minutes_ago, self.started_at)? {
            deployment.started = moment;
        }
        if let Some(text) = self.when_cancelled {
            let (after, ending) = text.into_ending()?;
            let lasts = after.unwrap_or(ending.rollback);
            deployment = deployment.when_cancelled(ending.rollback(lasts));
        }
        if let Some(text) = self.left_alone {
            let (after, ending) = text.into_ending()?;
            let after = after.ok_or("left_alone needs `seconds`: say when it ends")?;
            deployment.left_alone = Some((after, ending));
        }
        Ok(deployment)
    }
}

impl EndingText {
    fn into_ending(self) -> Result<(Option<Duration>, Ending), String> {
        let status: Status = self.ends.parse()?;
        if !status.is_settled() {
            return Err(format!(
                "ends is `{status}`: nothing ends so, write `CANCELLED`, `FAILED` or `SUCCEEDED`"
            ));
        }
        let default = if status == Status::Cancelled {
            Ending::cancelled()
        } else {
            Ending::new(status)
        };
        let ending = match self.message {
            Some(message) => default.message(message),
            None => default,
        };
        Ok((optional_seconds(self.seconds, "seconds")?, ending))
    }
}

/// Adds the scripted events to an environment, in their order.
fn with_script(
    environment: Environment,
    mut events: impl Iterator<Item = Result<(Timing, Effect), String>>,
) -> Result<Environment, String> {
    events.try_fold(environment, |environment, event| {
        let (timing, effect) = event?;
        Ok(environment.then(timing, effect))
    })
}

/// Creates a deployment of the status that a file gives, or of the default.
fn of_status<S>(status: Option<String>, default: S) -> Result<Deployment, String>
where
    S: FromStr<Err = String> + Into<StackStatus>,
{
    let status = match status {
        Some(status) => status.parse::<S>()?,
        None => default,
    };
    let status: StackStatus = status.into();
    Ok(if status.is_settled() {
        Deployment::settled(Ending::new(status))
    } else {
        Deployment::of_status(status)
    })
}

/// Reads the timing of a scripted event: the only one of four that is given.
fn timing(
    at_seconds: Option<f64>,
    seconds_after_end: Option<f64>,
    (before_call, after_call): (Option<String>, Option<String>),
    nth: Option<u64>,
) -> Result<Option<Timing>, String> {
    let nth = nth.unwrap_or(1);
    Ok(only([
        optional_seconds(at_seconds, "at_seconds")?.map(Timing::At),
        optional_seconds(seconds_after_end, "seconds_after_end")?.map(Timing::AfterEnd),
        operation(before_call)?.map(|operation| Timing::BeforeCall(operation, nth)),
        operation(after_call)?.map(|operation| Timing::AfterCall(operation, nth)),
    ]))
}

const NO_TIMING: &str =
    "each `then` needs one of `at_seconds`, `seconds_after_end`, `before_call` and `after_call`";

impl EventText {
    fn into_event(self) -> Result<(Timing, Effect), String> {
        let calls = (self.before_call, self.after_call);
        let timing = timing(self.at_seconds, self.seconds_after_end, calls, self.nth)?;
        let deploy = self
            .deploy
            .map(|deployment| deployment.into_deployment(Status::InProgress))
            .transpose()?;
        if let Some(deployment) = &deploy
            && deployment.status != StackStatus::UpdateInProgress
        {
            return Err(
                "a deployment that starts is `IN_PROGRESS`: leave its status out".to_owned(),
            );
        }
        let end = self.end.map(EndingText::into_ending).transpose()?;
        let effects = [
            deploy.map(Effect::Deploy),
            end.map(|(_, ending)| Effect::End(ending)),
            self.cancel.then_some(Effect::Cancel),
            self.delete.then_some(Effect::Delete),
        ];
        let timing = timing.ok_or(NO_TIMING)?;
        let effect = only(effects)
            .ok_or("each `then` needs one of `deploy`, `end`, `cancel` and `delete`")?;
        Ok((timing, effect))
    }
}

impl StackText {
    fn into_stack(self) -> Result<Environment, String> {
        let mut stack = Environment::stack(self.name);
        stack.description = self.description;
        stack.parent = self.parent;
        let tags = (self.tags, &model::STACK_TAG_VALUE, "1 to 256 characters");
        stack = with_common(
            stack,
            self.created_days_ago,
            self.last_success_days_ago,
            self.never_succeeded,
            tags,
        )?;
        for member in self.not_sent {
            stack = match member.as_str() {
                "LastOperations" => stack.operations_not_sent(),
                "LastUpdatedTime" => stack.last_updated_not_sent(),
                _ => {
                    return Err(format!(
                        "not_sent has `{member}`: write `LastOperations` or `LastUpdatedTime`"
                    ));
                }
            };
        }
        stack.rollback_moves_last_updated = !self.last_updated_stands_still;
        stack.deployment = self
            .update
            .map(|update| update.into_update(StackStatus::UpdateComplete))
            .transpose()?;
        with_script(stack, self.then.into_iter().map(StackEventText::into_event))
    }
}

impl UpdateText {
    fn into_update(self, default: StackStatus) -> Result<Deployment, String> {
        let mut update = of_status(self.status, default)?;
        update.message = self.reason;
        update.id = self.id;
        if let Some(token) = self.token {
            let token = valid(
                &model::CLIENT_REQUEST_TOKEN,
                token,
                "token",
                "1 to 128 letters, digits or `-`, the first a letter or digit",
            )?;
            update.token = Some(token);
        }
        update.is_by_change_set = self.change_set;
        if let Some(moment) = start(self.started_minutes_ago, self.started_at)? {
            update.started = moment;
        }
        if let Some(text) = self.when_cancelled {
            let default = Ending::rolled_back().rollback;
            let rollback = optional_seconds(text.seconds, "seconds")?;
            let ending = text.into_ending(update.kind())?;
            update = update.when_cancelled(ending.rollback(rollback.unwrap_or(default)));
        }
        if let Some(text) = self.left_alone {
            let after = optional_seconds(text.seconds, "seconds")?
                .ok_or("left_alone needs `seconds`: say when it ends")?;
            update.left_alone = Some((after, text.into_ending(update.kind())?));
        }
        Ok(update)
    }
}

impl UpdateEndingText {
    fn into_ending(self, of: Kind) -> Result<Ending, String> {
        let status: StackStatus = self.ends.parse()?;
        if !status.is_settled() || status.kind() != of {
            return Err(format!(
                "ends is `{status}`: it does not end so, write `UPDATE_ROLLBACK_COMPLETE`, `UPDATE_ROLLBACK_FAILED`, `UPDATE_FAILED` or `UPDATE_COMPLETE` for an update"
            ));
        }
        let default = Ending::new(status);
        let lasts = |seconds, name: &str, default: Duration| {
            optional_seconds(seconds, name).map(|lasts| lasts.unwrap_or(default))
        };
        Ok(Ending {
            message: self.reason,
            failure: self.failure,
            rollback: lasts(self.rollback_seconds, "rollback_seconds", default.rollback)?,
            cleanup: lasts(self.cleanup_seconds, "cleanup_seconds", default.cleanup)?,
            ..default
        })
    }
}

impl StackEventText {
    fn into_event(self) -> Result<(Timing, Effect), String> {
        let calls = (self.before_call, self.after_call);
        let timing = timing(self.at_seconds, self.seconds_after_end, calls, self.nth)?;
        let starts = |update: UpdateText| {
            let update = update.into_update(StackStatus::UpdateInProgress)?;
            if update.status.before().is_none() {
                Ok(update)
            } else {
                Err(format!(
                    "an operation does not start as `{}`: write `UPDATE_IN_PROGRESS`, or leave its status out",
                    update.status
                ))
            }
        };
        let end = self.end.map(|end| end.into_ending(Kind::Update));
        let effects = [
            self.update.map(starts).transpose()?.map(Effect::Deploy),
            end.transpose()?.map(Effect::End),
            self.cancel.then_some(Effect::Cancel),
            self.delete.then_some(Effect::Delete),
            self.replace.map(starts).transpose()?.map(Effect::Replace),
        ];
        let timing = timing.ok_or(NO_TIMING)?;
        let effect = only(effects)
            .ok_or("each `then` needs one of `update`, `end`, `cancel`, `delete` and `replace`")?;
        Ok((timing, effect))
    }
}

/// Reads when a deployment or an update started, if a file gives it.
fn start(
    minutes_ago: Option<f64>,
    at: Option<toml::value::Datetime>,
) -> Result<Option<Moment>, String> {
    match (minutes_ago, at) {
        (Some(_), Some(_)) => {
            Err("started_minutes_ago and started_at exclude each other: keep one".to_owned())
        }
        (Some(minutes), None) => {
            let distance = seconds(minutes.abs() * MINUTE, "started_minutes_ago")?;
            Ok(Some(if minutes < 0.0 {
                Moment::In(distance)
            } else {
                Moment::Ago(distance)
            }))
        }
        (None, Some(time)) => {
            let text = time.to_string();
            let time = DateTime::parse_from_rfc3339(&text).map_err(|_| {
                format!("started_at is `{text}`: write a time with an offset, such as 2026-11-23T06:40:00Z")
            })?;
            Ok(Some(Moment::At(SystemTime::from(time))))
        }
        (None, None) => Ok(None),
    }
}

/// Reads a template's major and minor version.
fn template_version(version: &str) -> Result<(String, String), String> {
    let (major, minor) = version
        .split_once('.')
        .ok_or_else(|| format!("template_version is `{version}`: write it as `1.0`"))?;
    let part = |part: &str| {
        valid(
            &model::TEMPLATE_VERSION_PART,
            part.to_owned(),
            "a part of template_version",
            "a whole number",
        )
    };
    Ok((part(major)?, part(minor)?))
}

fn valid_name(name: String) -> Result<String, String> {
    valid(
        &model::RESOURCE_NAME,
        name,
        "name",
        "1 to 100 letters, digits, `-` or `_`, the first a letter or digit",
    )
}

fn valid_stack_name(name: String) -> Result<String, String> {
    valid(
        &model::STACK_NAME,
        name,
        "name",
        "1 to 128 letters, digits or `-`, the first a letter",
    )
}

#[cfg(test)]
mod tests {
    use crate::cloudformation::{CloudFormationOptions, RepeatedToken};
    use crate::world::World;

    use super::*;

    fn parsed(text: &str) -> Result<World, String> {
        text.parse::<World>().map_err(|error| error.to_string())
    }

    #[test]
    fn a_stack_can_be_nearly_empty() {
        let world = parsed("[[stack]]\nname = \"net\"").unwrap();
        assert_eq!(world, World::new().with(Environment::stack("net")));
    }

    #[test]
    fn an_update_and_its_script() {
        let text = r#"
            [cloudformation]
            stacks_a_page = 2
            repeated_token = "refused"
            [[stack]]
            name = "net"
            not_sent = ["LastOperations"]
            [stack.update]
            status = "UPDATE_IN_PROGRESS"
            token = "t-1"
            change_set = true
            started_minutes_ago = 2
            when_cancelled = { seconds = 3, cleanup_seconds = 2, ends = "UPDATE_ROLLBACK_COMPLETE" }
            left_alone = { seconds = 60, rollback_seconds = 4, ends = "UPDATE_ROLLBACK_FAILED", failure = "why", reason = "no" }
            [[stack.then]]
            seconds_after_end = 1
            update = { left_alone = { seconds = 1, ends = "UPDATE_COMPLETE" } }
            [[stack.then]]
            before_call = "CancelUpdateStack"
            end = { ends = "UPDATE_COMPLETE" }
        "#;
        let options = CloudFormationOptions {
            stacks_a_page: 2,
            repeated_token: RepeatedToken::Refused,
            ..CloudFormationOptions::default()
        };
        let second = Duration::from_secs(1);
        let update = Deployment::in_progress()
            .token("t-1")
            .by_change_set()
            .started_ago(120 * second)
            .when_cancelled(
                Ending::rolled_back()
                    .rollback(3 * second)
                    .cleanup(2 * second),
            )
            .left_alone(
                60 * second,
                Ending::failed("no").failure("why").rollback(4 * second),
            );
        let next = Deployment::in_progress().left_alone(second, Ending::succeeded());
        let stack = Environment::stack("net")
            .operations_not_sent()
            .deployment(update)
            .then(Timing::AfterEnd(second), Effect::Deploy(next))
            .then(
                Timing::BeforeCall(crate::wire::operation::Operation::CancelUpdateStack, 1),
                Effect::End(Ending::succeeded()),
            );
        let expected = World::new().with(stack).cloudformation(options);
        assert_eq!(parsed(text), Ok(expected));
    }

    #[test]
    fn what_is_wrong_is_named_with_what_is_right() {
        let stack = |rest: &str| format!("[[stack]]\nname = \"a\"\n{rest}");
        let cases = [
            (
                stack("update = { status = \"IN_PROGRESS\" }"),
                "stack `a`: status `IN_PROGRESS` is not known: write one of `CREATE_IN_PROGRESS`",
            ),
            (
                stack("update = { when_cancelled = { ends = \"DELETE_COMPLETE\" } }"),
                "ends is `DELETE_COMPLETE`: it does not end so",
            ),
            (
                stack("update = { token = \"a:b\" }"),
                "token is `a:b`: must be",
            ),
            (
                stack("[[stack.then]]\ndelete = true"),
                "each `then` needs one of `at_seconds`",
            ),
            (
                stack("[[stack.then]]\nat_seconds = 1"),
                "each `then` needs one of `update`",
            ),
            (
                stack("[[stack.then]]\nat_seconds = 1\nupdate = { status = \"UPDATE_COMPLETE\" }"),
                "does not start as `UPDATE_COMPLETE`",
            ),
            (stack("tags = { a = \"\" }"), "a tag's value is ``: must be"),
            (stack("not_sent = [\"Tags\"]"), "not_sent has `Tags`: write"),
            (stack("parent = \"b\""), "its parent `b` is not there"),
            (stack("parent = \"a\""), "stack `a` is nested in itself"),
            (stack("[[stack]]\nname = \"a\""), "stack `a` is there twice"),
            (
                "[[stack]]\nname = \"a_b\"".to_owned(),
                "name is `a_b`: must be 1 to 128 letters",
            ),
            (
                "[cloudformation]\nstacks_a_page = 0".to_owned(),
                "stacks_a_page is `0`: must be 1 or more",
            ),
            (
                "[cloudformation]\nrepeated_token = \"maybe\"".to_owned(),
                "repeated_token is `maybe`: write",
            ),
        ];
        for (text, expected) in cases {
            let refused = parsed(&text).unwrap_err();
            assert!(refused.contains(expected), "{refused}");
        }
    }
}
