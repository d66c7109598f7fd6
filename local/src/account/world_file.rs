//! World files: TOML, parsed once to the types of `world`. The README describes them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use chrono::DateTime;
use serde::Deserialize;
use serde_json::Value;

use crate::account::stack_file::{self, CloudFormationText, StackText};
use crate::faults::{Chances, Fault, Faults, Refusal, Rule, Throttle};
use crate::wire::model;
use crate::wire::operation::Operation;
use crate::wire::shape::Shape;
use crate::world::{
    Cancellation, Deployment, Ending, Environment, Function, Moment, Status, What, When, World,
};

/// The most copies of an environment that one entry makes.
pub(crate) const MOST_COPIES: u32 = 100_000;

/// The longest time that a file can give: a hundred years.
const MOST_SECONDS: f64 = 100.0 * 366.0 * 86_400.0;

const MINUTE: f64 = 60.0;
pub(crate) const DAY: f64 = 86_400.0;

pub(crate) fn parse(text: &str) -> Result<World, String> {
    let file: WorldText = toml::from_str(text).map_err(|error| error.to_string())?;
    file.into_world()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WorldText {
    seed: Option<u64>,
    region: Option<String>,
    account: Option<String>,
    function: Option<FunctionText>,
    #[serde(default)]
    environment: Vec<EnvironmentText>,
    cloudformation: Option<CloudFormationText>,
    #[serde(default)]
    stack: Vec<StackText>,
    faults: Option<FaultsText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FunctionText {
    name: Option<String>,
    timeout_seconds: Option<f64>,
    patience_seconds: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvironmentText {
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
    then: Vec<HappeningText>,
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
struct HappeningText {
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultsText {
    latency_ms: Option<[u64; 2]>,
    chances: Option<ChancesText>,
    #[serde(default)]
    throttle: Vec<ThrottleText>,
    #[serde(default)]
    rule: Vec<RuleText>,
    #[serde(default)]
    refuse: Vec<RefusalText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct ChancesText {
    error: f64,
    drop_before: f64,
    drop_after: f64,
    never: f64,
    refused_entry: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ThrottleText {
    operation: Option<String>,
    per_second: f64,
    burst: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    operation: Option<String>,
    environment: Option<String>,
    calls: Option<[u64; 2]>,
    times: Option<u64>,
    fault: String,
    code: Option<String>,
    message: Option<String>,
    status: Option<u16>,
    body: Option<String>,
    before: Option<String>,
    latency_ms: Option<u64>,
    #[serde(default)]
    after_effect: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefusalText {
    containing: Option<String>,
    entries: Option<[u64; 2]>,
    code: String,
    message: Option<String>,
}

impl WorldText {
    fn into_world(self) -> Result<World, String> {
        let mut world = World::new();
        world.seed = self.seed.unwrap_or(world.seed);
        if let Some(region) = self.region {
            world.region = region;
        }
        if let Some(account) = self.account {
            world.account = valid(&model::ACCOUNT_ID, account, "account", "12 digits")?;
        }
        if let Some(function) = self.function {
            world.function = function.into_function()?;
        }
        for environment in self.environment {
            let name = environment.name.clone();
            let environments = environment
                .into_environments()
                .map_err(|what| format!("environment `{name}`: {what}"))?;
            world.environments.extend(environments);
        }
        let mut names: Vec<&str> = world.environments.iter().map(Environment::name).collect();
        names.sort_unstable();
        for (name, next) in names.iter().zip(names.iter().skip(1)) {
            if name == next {
                return Err(format!(
                    "environment `{name}` is there twice: give each its own name"
                ));
            }
        }
        if let Some(options) = self.cloudformation {
            world.cloudformation = options.into_options()?;
        }
        world.stacks = stack_file::stacks(self.stack)?;
        if let Some(faults) = self.faults {
            world.faults = faults.into_faults()?;
        }
        Ok(world)
    }
}

impl FunctionText {
    fn into_function(self) -> Result<Function, String> {
        let default = Function::default();
        Ok(Function {
            name: self.name.unwrap_or(default.name),
            timeout: optional_seconds(self.timeout_seconds, "timeout_seconds")?
                .unwrap_or(default.timeout),
            patience: optional_seconds(self.patience_seconds, "patience_seconds")?
                .unwrap_or(default.patience),
        })
    }
}

impl EnvironmentText {
    fn into_environments(self) -> Result<Vec<Environment>, String> {
        let copies = self.copies;
        let base = self.into_environment()?;
        let Some(copies) = copies else {
            valid_name(base.name.clone())?;
            return Ok(vec![base]);
        };
        if copies > MOST_COPIES {
            return Err(format!("copies is `{copies}`: make {MOST_COPIES} at most"));
        }
        if base.deployment.id.is_some() {
            return Err(
                "copies of one environment cannot share a deployment `id`: leave it out".to_owned(),
            );
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
            environment.template_version = (part(major)?, part(minor)?);
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
        if let Some(days) = self.created_days_ago {
            environment.created = Moment::Ago(seconds(days * DAY, "created_days_ago")?);
        }
        if let Some(days) = self.last_success_days_ago {
            environment.last_success =
                Some(Moment::Ago(seconds(days * DAY, "last_success_days_ago")?));
        }
        if self.never_succeeded {
            environment.last_success = None;
        }
        if self.tags.len() > 50 {
            return Err("it has more than 50 tags: AWS keeps 50".to_owned());
        }
        for (key, value) in self.tags {
            let key = valid(&model::TAG_KEY, key, "a tag's key", "1 to 128 characters")?;
            let value = valid(
                &model::TAG_VALUE,
                value,
                "a tag's value",
                "256 characters at most",
            )?;
            environment.tags.insert(key, value);
        }
        if let Some(deployment) = self.deployment {
            environment.deployment = deployment.into_deployment(Status::Succeeded)?;
        }
        for happening in self.then {
            let (when, what) = happening.into_happening()?;
            environment = environment.then(when, what);
        }
        Ok(environment)
    }
}

impl DeploymentText {
    fn into_deployment(self, default: Status) -> Result<Deployment, String> {
        let status = match self.status {
            Some(status) => status.parse()?,
            None => default,
        };
        let mut deployment = if status.is_settled() {
            Deployment::settled(Ending::new(status))
        } else {
            Deployment {
                status,
                ..Deployment::in_progress()
            }
        };
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
            deployment.when_cancelled =
                Cancellation::after(after.unwrap_or(deployment.when_cancelled.lasts), ending);
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
        let default = match status {
            Status::Cancelled => Ending::cancelled(),
            Status::InProgress
            | Status::Failed
            | Status::Succeeded
            | Status::DeleteInProgress
            | Status::DeleteFailed
            | Status::DeleteComplete
            | Status::Cancelling => Ending::new(status),
        };
        let ending = match self.message {
            Some(message) => default.message(message),
            None => default,
        };
        Ok((optional_seconds(self.seconds, "seconds")?, ending))
    }
}

impl HappeningText {
    fn into_happening(self) -> Result<(When, What), String> {
        let nth = self.nth.unwrap_or(1);
        let whens = [
            optional_seconds(self.at_seconds, "at_seconds")?.map(When::At),
            optional_seconds(self.seconds_after_end, "seconds_after_end")?.map(When::AfterEnd),
            operation(self.before_call)?.map(|operation| When::BeforeCall(operation, nth)),
            operation(self.after_call)?.map(|operation| When::AfterCall(operation, nth)),
        ];
        let deploy = self
            .deploy
            .map(|deployment| deployment.into_deployment(Status::InProgress))
            .transpose()?;
        if let Some(deployment) = &deploy
            && deployment.status != Status::InProgress
        {
            return Err(
                "a deployment that starts is `IN_PROGRESS`: leave its status out".to_owned(),
            );
        }
        let end = self.end.map(EndingText::into_ending).transpose()?;
        let whats = [
            deploy.map(What::Deploy),
            end.map(|(_, ending)| What::End(ending)),
            self.cancel.then_some(What::Cancel),
            self.delete.then_some(What::Delete),
        ];
        let when = only(whens).ok_or(
            "each `then` needs one of `at_seconds`, `seconds_after_end`, `before_call` and `after_call`",
        )?;
        let what =
            only(whats).ok_or("each `then` needs one of `deploy`, `end`, `cancel` and `delete`")?;
        Ok((when, what))
    }
}

impl FaultsText {
    fn into_faults(self) -> Result<Faults, String> {
        let mut faults = Faults::none();
        if let Some([least, most]) = self.latency_ms {
            faults = faults.latency(Duration::from_millis(least)..=Duration::from_millis(most));
        }
        if let Some(chances) = self.chances {
            faults = faults.chances(chances.into_chances()?);
        }
        for throttle in self.throttle {
            faults = faults.throttle(throttle.into_throttle()?);
        }
        for (index, rule) in self.rule.into_iter().enumerate() {
            let rule = rule
                .into_rule()
                .map_err(|what| format!("faults.rule {}: {what}", index + 1))?;
            faults = faults.rule(rule);
        }
        for refusal in self.refuse {
            faults = faults.refuse(refusal.into_refusal()?);
        }
        Ok(faults)
    }
}

impl ChancesText {
    fn into_chances(self) -> Result<Chances, String> {
        let chance = |name: &str, chance: f64| {
            if (0.0..=1.0).contains(&chance) {
                Ok(chance)
            } else {
                Err(format!(
                    "faults.chances: {name} is `{chance}`: must be from 0 to 1"
                ))
            }
        };
        Ok(Chances {
            error: chance("error", self.error)?,
            drop_before: chance("drop_before", self.drop_before)?,
            drop_after: chance("drop_after", self.drop_after)?,
            never: chance("never", self.never)?,
            refused_entry: chance("refused_entry", self.refused_entry)?,
        })
    }
}

impl ThrottleText {
    fn into_throttle(self) -> Result<Throttle, String> {
        if !(self.per_second.is_finite() && self.per_second >= 0.0) {
            return Err(format!(
                "faults.throttle: per_second is `{}`: must be 0 or more",
                self.per_second
            ));
        }
        Ok(Throttle {
            operation: operation(self.operation)?,
            per_second: self.per_second,
            burst: self.burst,
        })
    }
}

impl RuleText {
    fn into_rule(self) -> Result<Rule, String> {
        let mut rule = Rule::new(self.fault()?);
        if let Some(operation) = operation(self.operation)? {
            rule = rule.operation(operation);
        }
        if let Some(environment) = self.environment {
            rule = rule.environment(environment);
        }
        rule = match (self.calls, self.times) {
            (Some(_), Some(_)) => {
                return Err("calls and times exclude each other: keep one".to_owned());
            }
            (Some(calls), None) => rule.calls(range(calls, "calls")?),
            (None, Some(times)) => rule.times(times),
            (None, None) => rule,
        };
        Ok(if self.after_effect {
            rule.after_effect()
        } else {
            rule
        })
    }

    fn fault(&self) -> Result<Fault, String> {
        if let Some(status) = self.status
            && !(200..=599).contains(&status)
        {
            return Err(format!("status is `{status}`: must be from 200 to 599"));
        }
        Ok(match self.fault.as_str() {
            "error" => Fault::Error {
                code: self.code.clone().ok_or("an `error` needs a `code`")?,
                message: self.message.clone().unwrap_or_default(),
                status: self.status,
            },
            "junk" => Fault::Junk {
                status: self.status.ok_or("`junk` needs a `status`")?,
                body: self.body.clone().unwrap_or_default(),
            },
            "cut" => Fault::Cut {
                before: self.before.clone().ok_or("a `cut` needs `before`")?,
            },
            "drop" => Fault::Drop,
            "never" => Fault::Never,
            "latency" => {
                let latency = self.latency_ms.ok_or("`latency` needs `latency_ms`")?;
                Fault::Latency(Duration::from_millis(latency))
            }
            fault => {
                return Err(format!(
                    "fault is `{fault}`: write `error`, `junk`, `cut`, `drop`, `never` or `latency`"
                ));
            }
        })
    }
}

impl RefusalText {
    fn into_refusal(self) -> Result<Refusal, String> {
        let mut refusal = Refusal::new(self.code, self.message.unwrap_or_default());
        if let Some(text) = self.containing {
            refusal = refusal.containing(text);
        }
        if let Some(entries) = self.entries {
            refusal = refusal.entries(range(entries, "entries")?);
        }
        Ok(refusal)
    }
}

/// When a deployment or an update started, if a file says so.
pub(crate) fn start(
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

pub(crate) fn operation(name: Option<String>) -> Result<Option<Operation>, String> {
    name.map(|name| name.parse()).transpose()
}

fn range([first, last]: [u64; 2], name: &str) -> Result<RangeInclusive<u64>, String> {
    if first == 0 || last < first {
        return Err(format!(
            "{name} is `[{first}, {last}]`: write the first, from 1, and the last"
        ));
    }
    Ok(first..=last)
}

pub(crate) fn optional_seconds(value: Option<f64>, name: &str) -> Result<Option<Duration>, String> {
    value.map(|value| seconds(value, name)).transpose()
}

pub(crate) fn seconds(value: f64, name: &str) -> Result<Duration, String> {
    if !(0.0..=MOST_SECONDS).contains(&value) {
        return Err(format!(
            "{name} is out of range: must be 0 or more, and less than a hundred years"
        ));
    }
    Duration::try_from_secs_f64(value).map_err(|error| format!("{name}: {error}"))
}

/// The one that is there, if it is one.
pub(crate) fn only<T, const N: usize>(choices: [Option<T>; N]) -> Option<T> {
    let mut given = choices.into_iter().flatten();
    let first = given.next();
    if given.next().is_some() { None } else { first }
}

fn valid_name(name: String) -> Result<String, String> {
    valid(
        &model::RESOURCE_NAME,
        name,
        "name",
        "1 to 100 letters, digits, `-` or `_`, the first a letter or digit",
    )
}

/// The text, if the service's model allows it.
pub(crate) fn valid(shape: &Shape, text: String, name: &str, rule: &str) -> Result<String, String> {
    if shape.accepts(&Value::from(text.as_str())) {
        Ok(text)
    } else {
        Err(format!("{name} is `{text}`: must be {rule}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        parse(text).unwrap_err()
    }

    #[test]
    fn a_world_can_be_nearly_empty() {
        let world = parse("[[environment]]\nname = \"prod-net\"").unwrap();
        let expected = World::new().with(Environment::new("prod-net"));
        assert_eq!(world, expected);
        assert_eq!(parse(""), Ok(World::new()));
    }

    #[test]
    fn copies_have_names_of_one_length() {
        let world = parse("[[environment]]\nname = \"net\"\ncopies = 10").unwrap();
        let names: Vec<_> = world.environments.iter().map(Environment::name).collect();
        assert_eq!((names[0], names[9]), ("net-01", "net-10"));
    }

    #[test]
    fn a_start_can_lie_ahead_or_be_a_time() {
        let world = |start: &str| {
            let text = format!("[[environment]]\nname = \"a\"\ndeployment = {{ {start} }}");
            parse(&text).map(|world| world.environments[0].deployment.started)
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
    fn what_is_wrong_is_named_with_what_is_right() {
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
                "[faults]\nchances = { never = 2 }".to_owned(),
                "never is `2`: must be from 0 to 1",
            ),
            (
                "[[faults.rule]]\nfault = \"error\"".to_owned(),
                "faults.rule 1: an `error` needs a `code`",
            ),
            (
                "[[faults.rule]]\nfault = \"fire\"".to_owned(),
                "fault is `fire`: write",
            ),
        ];
        for (text, expected) in cases {
            let refused = refusal(&text);
            assert!(refused.contains(expected), "{refused}");
        }
    }
}
