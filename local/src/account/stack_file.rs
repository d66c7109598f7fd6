//! The stacks of a world file. The README describes them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::account::stack::{
    CloudFormationOptions, RepeatedToken, Stack, StackWhat, Update, UpdateEnding,
};
use crate::account::status::{Kind, StackStatus};
use crate::account::world_file::{
    DAY, MOST_COPIES, only, operation, optional_seconds, seconds, start, valid,
};
use crate::wire::model;
use crate::world::{Moment, When};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CloudFormationText {
    stacks_a_page: Option<usize>,
    events_a_page: Option<usize>,
    repeated_token: Option<String>,
}

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
    then: Vec<StackHappeningText>,
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
struct StackHappeningText {
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

impl CloudFormationText {
    pub(crate) fn into_options(self) -> Result<CloudFormationOptions, String> {
        let default = CloudFormationOptions::default();
        let repeated_token = match self.repeated_token.as_deref() {
            None => default.repeated_token,
            Some("accepted") => RepeatedToken::Accepted,
            Some("refused") => RepeatedToken::Refused,
            Some("ignored") => RepeatedToken::Ignored,
            Some(other) => {
                return Err(format!(
                    "cloudformation: repeated_token is `{other}`: write `accepted`, `refused` or `ignored`"
                ));
            }
        };
        let page = |name: &str, size: Option<usize>, default| match size {
            Some(0) => Err(format!("cloudformation: {name} is `0`: must be 1 or more")),
            size => Ok(size.unwrap_or(default)),
        };
        Ok(CloudFormationOptions {
            stacks_a_page: page("stacks_a_page", self.stacks_a_page, default.stacks_a_page)?,
            events_a_page: page("events_a_page", self.events_a_page, default.events_a_page)?,
            repeated_token,
        })
    }
}

/// The stacks of a file, each with a name of its own and the parent that it names.
pub(crate) fn stacks(texts: Vec<StackText>) -> Result<Vec<Stack>, String> {
    let mut stacks = Vec::new();
    for text in texts {
        let name = text.name.clone();
        let more = text
            .into_stacks()
            .map_err(|what| format!("stack `{name}`: {what}"))?;
        stacks.extend(more);
    }
    let mut names: Vec<&str> = stacks.iter().map(Stack::name).collect();
    names.sort_unstable();
    for (name, next) in names.iter().zip(names.iter().skip(1)) {
        if name == next {
            return Err(format!(
                "stack `{name}` is there twice: give each its own name"
            ));
        }
    }
    for stack in &stacks {
        // Upwards, as often as there are stacks: who is not at a root by then, goes in a circle.
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
        if above.parent.is_some() {
            return Err(format!(
                "stack `{}` is nested in itself: give it a parent that is not below it",
                stack.name
            ));
        }
    }
    Ok(stacks)
}

impl StackText {
    fn into_stacks(self) -> Result<Vec<Stack>, String> {
        let copies = self.copies;
        let base = self.into_stack()?;
        let Some(copies) = copies else {
            valid_name(base.name.clone())?;
            return Ok(vec![base]);
        };
        if copies > MOST_COPIES {
            return Err(format!("copies is `{copies}`: make {MOST_COPIES} at most"));
        }
        if base
            .update
            .as_ref()
            .is_some_and(|update| update.id.is_some())
        {
            return Err(
                "copies of one stack cannot share an update's `id`: leave it out".to_owned(),
            );
        }
        let width = copies.to_string().len();
        (1..=copies)
            .map(|number| {
                let name = valid_name(format!("{}-{number:0width$}", base.name))?;
                Ok(Stack {
                    name,
                    ..base.clone()
                })
            })
            .collect()
    }

    fn into_stack(self) -> Result<Stack, String> {
        let mut stack = Stack::new(self.name);
        stack.description = self.description;
        stack.parent = self.parent;
        if let Some(days) = self.created_days_ago {
            stack.created = Moment::Ago(seconds(days * DAY, "created_days_ago")?);
        }
        if let Some(days) = self.last_success_days_ago {
            stack.last_success = Some(Moment::Ago(seconds(days * DAY, "last_success_days_ago")?));
        }
        if self.never_succeeded {
            stack.last_success = None;
        }
        if self.tags.len() > 50 {
            return Err("it has more than 50 tags: AWS keeps 50".to_owned());
        }
        for (key, value) in self.tags {
            let key = valid(&model::TAG_KEY, key, "a tag's key", "1 to 128 characters")?;
            let value = valid(
                &model::STACK_TAG_VALUE,
                value,
                "a tag's value",
                "1 to 256 characters",
            )?;
            stack.tags.insert(key, value);
        }
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
        stack.update = self
            .update
            .map(|update| update.into_update(StackStatus::UpdateComplete))
            .transpose()?;
        for happening in self.then {
            let (when, what) = happening.into_happening()?;
            stack = stack.then(when, what);
        }
        Ok(stack)
    }
}

impl UpdateText {
    fn into_update(self, default: StackStatus) -> Result<Update, String> {
        let status = match self.status {
            Some(status) => status.parse()?,
            None => default,
        };
        let mut update = if status.is_settled() {
            Update::settled(UpdateEnding::new(status))
        } else {
            Update::of_status(status)
        };
        update.reason = self.reason;
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
            let default = UpdateEnding::rolled_back().rollback;
            let rollback = optional_seconds(text.seconds, "seconds")?;
            let ending = text.into_ending(update.kind())?;
            update.when_cancelled = ending.rollback(rollback.unwrap_or(default));
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
    fn into_ending(self, of: Kind) -> Result<UpdateEnding, String> {
        let status: StackStatus = self.ends.parse()?;
        if !status.is_settled() || status.kind() != of {
            return Err(format!(
                "ends is `{status}`: it does not end so, write `UPDATE_ROLLBACK_COMPLETE`, `UPDATE_ROLLBACK_FAILED`, `UPDATE_FAILED` or `UPDATE_COMPLETE` for an update"
            ));
        }
        let default = UpdateEnding::new(status);
        let lasts = |seconds, name: &str, default: Duration| {
            optional_seconds(seconds, name).map(|lasts| lasts.unwrap_or(default))
        };
        Ok(UpdateEnding {
            reason: self.reason,
            failure: self.failure,
            rollback: lasts(self.rollback_seconds, "rollback_seconds", default.rollback)?,
            cleanup: lasts(self.cleanup_seconds, "cleanup_seconds", default.cleanup)?,
            ..default
        })
    }
}

impl StackHappeningText {
    fn into_happening(self) -> Result<(When, StackWhat), String> {
        let nth = self.nth.unwrap_or(1);
        let whens = [
            optional_seconds(self.at_seconds, "at_seconds")?.map(When::At),
            optional_seconds(self.seconds_after_end, "seconds_after_end")?.map(When::AfterEnd),
            operation(self.before_call)?.map(|operation| When::BeforeCall(operation, nth)),
            operation(self.after_call)?.map(|operation| When::AfterCall(operation, nth)),
        ];
        let starts = |update: UpdateText| {
            let update = update.into_update(StackStatus::UpdateInProgress)?;
            if update.status.way().len() == 1 {
                Ok(update)
            } else {
                Err(format!(
                    "an operation does not start as `{}`: write `UPDATE_IN_PROGRESS`, or leave its status out",
                    update.status
                ))
            }
        };
        let end = self.end.map(|end| end.into_ending(Kind::Update));
        let whats = [
            self.update.map(starts).transpose()?.map(StackWhat::Update),
            end.transpose()?.map(StackWhat::End),
            self.cancel.then_some(StackWhat::Cancel),
            self.delete.then_some(StackWhat::Delete),
            self.replace
                .map(starts)
                .transpose()?
                .map(StackWhat::Replace),
        ];
        let when = only(whens).ok_or(
            "each `then` needs one of `at_seconds`, `seconds_after_end`, `before_call` and `after_call`",
        )?;
        let what = only(whats)
            .ok_or("each `then` needs one of `update`, `end`, `cancel`, `delete` and `replace`")?;
        Ok((when, what))
    }
}

fn valid_name(name: String) -> Result<String, String> {
    valid(
        &model::STACK_NAME,
        name,
        "name",
        "1 to 128 letters, digits or `-`, the first a letter",
    )
}

#[cfg(test)]
mod tests {
    use crate::world::World;

    use super::*;

    fn parsed(text: &str) -> Result<World, String> {
        text.parse::<World>().map_err(|error| error.to_string())
    }

    #[test]
    fn a_stack_can_be_nearly_empty() {
        let world = parsed("[[stack]]\nname = \"net\"").unwrap();
        assert_eq!(world, World::new().with_stack(Stack::new("net")));
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
        let update = Update::in_progress()
            .token("t-1")
            .by_change_set()
            .started_ago(120 * second)
            .when_cancelled(
                UpdateEnding::rolled_back()
                    .rollback(3 * second)
                    .cleanup(2 * second),
            )
            .left_alone(
                60 * second,
                UpdateEnding::rollback_failed("no")
                    .failure("why")
                    .rollback(4 * second),
            );
        let next = Update::in_progress().left_alone(second, UpdateEnding::succeeded());
        let stack = Stack::new("net")
            .operations_not_sent()
            .update(update)
            .then(When::AfterEnd(second), StackWhat::Update(next))
            .then(
                When::BeforeCall(crate::wire::operation::Operation::CancelUpdateStack, 1),
                StackWhat::End(UpdateEnding::succeeded()),
            );
        let expected = World::new().with_stack(stack).cloudformation(options);
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
