//! The environments and stacks of a world file. The package's README describes the format.

use std::collections::BTreeMap;
use std::time::SystemTime;

use chrono::DateTime;
use serde::Deserialize;
use toml::{Table, Value};

use crate::account::deployment::{Deployment, Ending, Moment};
use crate::account::environment::Environment;
use crate::account::script::{Effect, ScriptedEvent, Timing};
use crate::account::status::{Kind, StackStatus, Status};
use crate::file_value::{ACCOUNT_ID, Days, Rule, Seconds, Units, only, valid};
use crate::wire::model;
use crate::wire::operation::{Operation, Service};

/// The most copies of an environment that one entry makes.
const MOST_COPIES: u32 = 100_000;

/// An entry `[[environment]]` or `[[stack]]`: the members of both.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EntryText {
    name: String,
    copies: Option<u32>,
    template: Option<String>,
    template_version: Option<String>,
    description: Option<String>,
    account_id: Option<String>,
    parent: Option<String>,
    created_days_ago: Option<Days>,
    last_success_days_ago: Option<Days>,
    #[serde(default)]
    never_succeeded: bool,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    #[serde(default)]
    not_sent: Vec<String>,
    #[serde(default)]
    last_updated_stands_still: bool,
    #[serde(alias = "update")]
    deployment: Option<DeploymentText>,
    #[serde(default)]
    then: Vec<EventText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeploymentText {
    status: Option<String>,
    #[serde(alias = "reason")]
    message: Option<String>,
    id: Option<String>,
    #[serde(default)]
    id_not_sent: bool,
    token: Option<String>,
    #[serde(default)]
    change_set: bool,
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
    seconds: Option<Seconds>,
    rollback_seconds: Option<Seconds>,
    cleanup_seconds: Option<Seconds>,
    ends: String,
    #[serde(alias = "reason")]
    message: Option<String>,
    failure: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventText {
    at_seconds: Option<Seconds>,
    seconds_after_end: Option<Seconds>,
    before_call: Option<Operation>,
    after_call: Option<Operation>,
    nth: Option<u64>,
    #[serde(alias = "update")]
    deploy: Option<DeploymentText>,
    end: Option<EndingText>,
    #[serde(default)]
    cancel: bool,
    #[serde(default)]
    delete: bool,
    replace: Option<DeploymentText>,
}

/// The rules for the entries that one service shows.
struct Rules {
    service: Service,
    /// The name of an entry.
    entry: &'static str,
    /// The members that only entries of the other service have, at any depth.
    foreign: &'static [&'static str],
    name: Rule,
    description: Rule,
    tag_value: Rule,
    id: Rule,
    /// The deployment whose ID copies cannot share.
    shared: &'static str,
    /// The statuses with which a deployment ends.
    ends: &'static str,
    /// The status with which a deployment starts.
    first: &'static str,
    /// The effects of a scripted event.
    effects: &'static str,
}

static OF_ENVIRONMENTS: Rules = Rules {
    service: Service::Proton,
    entry: "environment",
    foreign: &[
        "parent",
        "not_sent",
        "last_updated_stands_still",
        "update",
        "reason",
        "token",
        "change_set",
        "rollback_seconds",
        "cleanup_seconds",
        "failure",
        "replace",
    ],
    name: (&model::RESOURCE_NAME, RESOURCE_NAME_RULE),
    description: (&model::DESCRIPTION, "500 characters at most"),
    tag_value: (&model::TAG_VALUE, "256 characters at most"),
    id: (&model::DEPLOYMENT_ID, "a UUID in lower case"),
    shared: "a deployment",
    ends: "nothing ends so, write `CANCELLED`, `FAILED` or `SUCCEEDED`",
    first: "IN_PROGRESS",
    effects: "`deploy`, `end`, `cancel` and `delete`",
};

static OF_STACKS: Rules = Rules {
    service: Service::CloudFormation,
    entry: "stack",
    foreign: &[
        "template",
        "template_version",
        "account_id",
        "deployment",
        "message",
        "id_not_sent",
        "start_not_sent",
        "deploy",
    ],
    name: (
        &model::STACK_NAME,
        "1 to 128 letters, digits or `-`, the first a letter",
    ),
    description: (&model::ANY_TEXT, "a text"),
    tag_value: (&model::STACK_TAG_VALUE, "1 to 256 characters"),
    id: (&model::ANY_TEXT, "a text"),
    shared: "an update's",
    ends: "it does not end so, write `UPDATE_ROLLBACK_COMPLETE`, `UPDATE_ROLLBACK_FAILED`, `UPDATE_FAILED` or `UPDATE_COMPLETE` for an update",
    first: "UPDATE_IN_PROGRESS",
    effects: "`update`, `end`, `cancel`, `delete` and `replace`",
};

const RESOURCE_NAME_RULE: &str =
    "1 to 100 letters, digits, `-` or `_`, the first a letter or digit";

impl Rules {
    fn status(&self, name: &str) -> Result<StackStatus, String> {
        match self.service {
            Service::CloudFormation => name.parse(),
            Service::Proton | Service::EventBridge => name.parse().map(Status::into),
        }
    }
}

/// Refuses members that only an entry of the other service has.
pub(crate) fn check_members(file: &Table) -> Result<(), String> {
    for rules in [&OF_ENVIRONMENTS, &OF_STACKS] {
        let kind = rules.entry;
        let entries = file.get(kind).and_then(Value::as_array);
        for entry in entries.into_iter().flatten() {
            if let Some(foreign) = member(entry, rules.foreign) {
                let name = entry.get("name").and_then(Value::as_str);
                return Err(format!(
                    "{kind} `{}`: `{foreign}` is no member of an entry `[[{kind}]]`: leave it out",
                    name.unwrap_or_default()
                ));
            }
        }
    }
    Ok(())
}

/// Returns the first of these names that a member of a value has, at any depth.
fn member<'a>(value: &'a Value, names: &[&str]) -> Option<&'a str> {
    if let Some(elements) = value.as_array() {
        return elements.iter().find_map(|element| member(element, names));
    }
    // Tags have names of their own.
    let mut members = value.as_table()?.iter().filter(|(name, _)| *name != "tags");
    members.find_map(|(name, value)| {
        if names.contains(&name.as_str()) {
            Some(name.as_str())
        } else {
            member(value, names)
        }
    })
}

/// Reads the environments of a file, each with a name of its own.
pub(crate) fn environments(entries: Vec<EntryText>) -> Result<Vec<Environment>, String> {
    read_all(entries, &OF_ENVIRONMENTS)
}

/// Reads the stacks of a file, each with a name of its own and the parent that it names.
pub(crate) fn stacks(entries: Vec<EntryText>) -> Result<Vec<Environment>, String> {
    let stacks = read_all(entries, &OF_STACKS)?;
    for stack in &stacks {
        check_parents(stack, &stacks)?;
    }
    Ok(stacks)
}

/// Returns all copies of all entries. Refuses two of one name.
fn read_all(entries: Vec<EntryText>, rules: &Rules) -> Result<Vec<Environment>, String> {
    let kind = rules.entry;
    let mut environments = Vec::new();
    for entry in entries {
        let (name, copies) = (entry.name.clone(), entry.copies);
        let more = entry
            .into_environment(rules)
            .and_then(|base| copied(&base, copies, rules))
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
    base: &Environment,
    copies: Option<u32>,
    rules: &Rules,
) -> Result<Vec<Environment>, String> {
    let named = |name: String| {
        Ok(Environment {
            name: valid(name, "name", rules.name)?,
            ..base.clone()
        })
    };
    let Some(copies) = copies else {
        return Ok(vec![named(base.name.clone())?]);
    };
    if copies > MOST_COPIES {
        return Err(format!("copies is `{copies}`: make {MOST_COPIES} at most"));
    }
    if base.deployment.as_ref().is_some_and(|one| one.id.is_some()) {
        return Err(format!(
            "copies of one {} cannot share {} `id`: leave it out",
            rules.entry, rules.shared
        ));
    }
    let width = copies.to_string().len();
    (1..=copies)
        .map(|number| named(format!("{}-{number:0width$}", base.name)))
        .collect()
}

impl EntryText {
    fn into_environment(self, rules: &Rules) -> Result<Environment, String> {
        let mut environment = match rules.service {
            Service::CloudFormation => Environment::stack(self.name),
            Service::Proton | Service::EventBridge => Environment::new(self.name),
        };
        if let Some(template) = self.template {
            let rule = (&model::RESOURCE_NAME, RESOURCE_NAME_RULE);
            environment.template_name = valid(template, "template", rule)?;
        }
        if let Some(version) = self.template_version {
            environment.template_version = template_version(&version)?;
        }
        let text = |text: Option<String>, name: &str, rule: Rule| {
            text.map(|text| valid(text, name, rule)).transpose()
        };
        environment.description = text(self.description, "description", rules.description)?;
        environment.account_id = text(self.account_id, "account_id", ACCOUNT_ID)?;
        environment.parent = self.parent;
        if let Some(Units(ago)) = self.created_days_ago {
            environment.created = Moment::Ago(ago);
        }
        if let Some(Units(ago)) = self.last_success_days_ago {
            environment.last_success = Some(Moment::Ago(ago));
        }
        if self.never_succeeded {
            environment.last_success = None;
        }
        if self.tags.len() > 50 {
            return Err("it has more than 50 tags: AWS keeps 50".to_owned());
        }
        for (key, value) in self.tags {
            let key = valid(key, "a tag's key", (&model::TAG_KEY, "1 to 128 characters"))?;
            let value = valid(value, "a tag's value", rules.tag_value)?;
            environment.tags.insert(key, value);
        }
        for member in self.not_sent {
            environment = match member.as_str() {
                "LastOperations" => environment.operations_not_sent(),
                "LastUpdatedTime" => environment.last_updated_not_sent(),
                _ => {
                    return Err(format!(
                        "not_sent has `{member}`: write `LastOperations` or `LastUpdatedTime`"
                    ));
                }
            };
        }
        environment.rollback_moves_last_updated = !self.last_updated_stands_still;
        if let Some(deployment) = self.deployment {
            let usual = StackStatus::UpdateComplete;
            environment.deployment = Some(deployment.into_deployment(usual, rules)?);
        }
        for event in self.then {
            environment.events.push(event.into_event(rules)?);
        }
        Ok(environment)
    }
}

impl DeploymentText {
    fn into_deployment(self, usual: StackStatus, rules: &Rules) -> Result<Deployment, String> {
        let status = self.status.map_or(Ok(usual), |name| rules.status(&name))?;
        let mut deployment = if status.is_settled() {
            Deployment::settled(Ending::new(status))
        } else {
            Deployment::of_status(status)
        };
        deployment.message = self.message;
        if let Some(id) = self.id {
            deployment.id = Some(valid(id, "id", rules.id)?);
        }
        if let Some(token) = self.token {
            let rule = "1 to 128 letters, digits or `-`, the first a letter or digit";
            let token = valid(token, "token", (&model::CLIENT_REQUEST_TOKEN, rule))?;
            deployment.token = Some(token);
        }
        deployment.is_by_change_set = self.change_set;
        deployment.is_id_sent = !self.id_not_sent;
        deployment.is_start_sent = !self.start_not_sent;
        if let Some(moment) = start(self.started_minutes_ago, self.started_at)? {
            deployment.started = moment;
        }
        if let Some(text) = self.when_cancelled {
            let usual = Ending::rolled_back().rollback;
            let lasts = text.seconds.map_or(usual, |Units(lasts)| lasts);
            let ending = text.into_ending(status.kind(), rules)?;
            deployment.when_cancelled = Some(ending.rollback(lasts));
        }
        if let Some(text) = self.left_alone {
            let Units(after) = text
                .seconds
                .ok_or("left_alone needs `seconds`: say when it ends")?;
            deployment.left_alone = Some((after, text.into_ending(status.kind(), rules)?));
        }
        Ok(deployment)
    }

    /// Reads a deployment that a scripted event starts.
    fn into_start(self, rules: &Rules) -> Result<Deployment, String> {
        let deployment = self.into_deployment(StackStatus::UpdateInProgress, rules)?;
        let status = deployment.status;
        let (is_first, name) = match rules.service {
            Service::CloudFormation => (status.before().is_none(), status.as_str()),
            Service::Proton | Service::EventBridge => (
                status == StackStatus::UpdateInProgress,
                Status::from(status).as_str(),
            ),
        };
        is_first.then_some(deployment).ok_or_else(|| {
            format!(
                "an operation does not start as `{name}`: write `{}`, or leave its status out",
                rules.first
            )
        })
    }
}

impl EndingText {
    /// Reads the end of an operation.
    fn into_ending(self, of: Kind, rules: &Rules) -> Result<Ending, String> {
        let status = rules.status(&self.ends)?;
        let is_of_stack = rules.service == Service::CloudFormation;
        if !status.is_settled() || (is_of_stack && status.kind() != of) {
            return Err(format!("ends is `{}`: {}", self.ends, rules.ends));
        }
        let usual = if is_of_stack || status != StackStatus::UpdateRollbackComplete {
            Ending::new(status)
        } else {
            Ending::cancelled()
        };
        let lasts = |text: Option<Seconds>, usual| text.map_or(usual, |Units(lasts)| lasts);
        Ok(Ending {
            status,
            message: self.message.or(usual.message),
            failure: self.failure,
            rollback: lasts(self.rollback_seconds, usual.rollback),
            cleanup: lasts(self.cleanup_seconds, usual.cleanup),
        })
    }
}

impl EventText {
    fn into_event(self, rules: &Rules) -> Result<ScriptedEvent, String> {
        let nth = self.nth.unwrap_or(1);
        let timings = [
            self.at_seconds.map(|Units(at)| Timing::At(at)),
            self.seconds_after_end
                .map(|Units(after)| Timing::AfterEnd(after)),
            self.before_call.map(|call| Timing::BeforeCall(call, nth)),
            self.after_call.map(|call| Timing::AfterCall(call, nth)),
        ];
        let starts = |text: DeploymentText| text.into_start(rules);
        let end = self.end.map(|end| end.into_ending(Kind::Update, rules));
        let effects = [
            self.deploy.map(starts).transpose()?.map(Effect::Deploy),
            end.transpose()?.map(Effect::End),
            self.cancel.then_some(Effect::Cancel),
            self.delete.then_some(Effect::Delete),
            self.replace.map(starts).transpose()?.map(Effect::Replace),
        ];
        let timing = only(timings).ok_or(
            "each `then` needs one of `at_seconds`, `seconds_after_end`, `before_call` and `after_call`",
        )?;
        let effect =
            only(effects).ok_or_else(|| format!("each `then` needs one of {}", rules.effects))?;
        Ok(ScriptedEvent { timing, effect })
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
            let distance = Units::<60>::try_from(minutes.abs());
            let Units(distance) =
                distance.map_err(|what| format!("started_minutes_ago: {what}"))?;
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
    let rule = (&model::TEMPLATE_VERSION_PART, "a whole number");
    let part = |part: &str| valid(part.to_owned(), "a part of template_version", rule);
    Ok((part(major)?, part(minor)?))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::cloudformation::{CloudFormationOptions, RepeatedToken};
    use crate::world::World;

    use super::*;

    fn parsed(text: &str) -> Result<World, String> {
        text.parse::<World>().map_err(|error| error.to_string())
    }

    #[test]
    fn copies_have_names_of_one_length() {
        let world = parsed("[[environment]]\nname = \"net\"\ncopies = 10").unwrap();
        let names: Vec<_> = world.environments.iter().map(Environment::name).collect();
        assert_eq!((names[0], names[9]), ("net-01", "net-10"));
    }

    #[test]
    fn a_start_can_lie_ahead_or_be_a_time() {
        let world = |start: &str| {
            let text = format!("[[environment]]\nname = \"a\"\ndeployment = {{ {start} }}");
            parsed(&text).map(|world| world.environments[0].latest().started)
        };
        assert_eq!(
            world("started_minutes_ago = -0.5"),
            Ok(Moment::In(Duration::from_secs(30)))
        );
        let time = SystemTime::UNIX_EPOCH + Duration::from_mins(29_923_600);
        assert_eq!(
            world("started_at = 2026-11-23T06:40:00Z"),
            Ok(Moment::At(time))
        );
        assert!(world("started_at = 2026-11-23").is_err());
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
        let environment = |rest: &str| format!("[[environment]]\nname = \"a\"\n{rest}");
        let cases = [
            (
                environment("deployment = { status = \"DONE\" }"),
                "environment `a`: status `DONE` is not known: write one of `IN_PROGRESS`",
            ),
            (
                environment("deployment = { when_cancelled = { ends = \"IN_PROGRESS\" } }"),
                "nothing ends so",
            ),
            (
                environment("template_version = \"1\""),
                "template_version is `1`: write it as `1.0`",
            ),
            (
                environment("account_id = \"12\""),
                "account_id is `12`: must be 12 digits",
            ),
            (
                environment("[[environment.then]]\ncancel = true"),
                "each `then` needs one of",
            ),
            (environment("colour = \"red\""), "unknown field `colour`"),
            (
                "[[environment]]\nname = \"a b\"".to_owned(),
                "name is `a b`: must be",
            ),
            (
                environment("[[environment]]\nname = \"a\""),
                "environment `a` is there twice",
            ),
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
            (
                stack("update = { message = \"no\" }"),
                "stack `a`: `message` is no member of an entry `[[stack]]`",
            ),
            (
                stack("[[environment]]\nname = \"b\"\nthen = [{ replace = {} }]"),
                "environment `b`: `replace` is no member of",
            ),
            (stack("parent = \"b\""), "its parent `b` is not there"),
            (stack("parent = \"a\""), "stack `a` is nested in itself"),
            (stack("[[stack]]\nname = \"a\""), "stack `a` is there twice"),
            (
                "[[stack]]\nname = \"a_b\"".to_owned(),
                "name is `a_b`: must be 1 to 128 letters",
            ),
            (
                "[cloudformation]\nstacks_a_page = 0".to_owned(),
                "a page of `0`: must be 1 or more",
            ),
            (
                "[cloudformation]\nrepeated_token = \"maybe\"".to_owned(),
                "unknown variant `maybe`, expected one of `accepted`",
            ),
        ];
        for (text, expected) in cases {
            let refused = parsed(&text).unwrap_err();
            assert!(refused.contains(expected), "{refused}");
        }
    }
}
