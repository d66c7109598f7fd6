//! Environments, deployments and their status.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::timestamp::{self, Timestamp};

/// An environment's name, valid by its engine's rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnvironmentName(Arc<str>);

/// The rule for the names of an engine's environments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// Proton's rule: 1 to 100 characters of `^[0-9A-Za-z]+[0-9A-Za-z_\-]*$`. See `environmentName` in
    /// [CancelEnvironmentDeployment].
    ///
    /// [CancelEnvironmentDeployment]: https://docs.aws.amazon.com/proton/latest/APIReference/API_CancelEnvironmentDeployment.html
    Proton,
    /// The rule for stacks: 1 to 128 characters of `[a-zA-Z][-a-zA-Z0-9]*`. See `StackName` in
    /// [CreateStack].
    ///
    /// [CreateStack]: https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateStack.html
    CloudFormation,
}

/// A name that no environment can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid {} `{}`: {}", rule.noun(), crate::text::cut(name, 140), rule.accepts())]
pub struct BadEnvironmentName {
    /// The name as it was given.
    pub(crate) name: String,
    /// The rule that the name breaks.
    pub(crate) rule: NameRule,
}

impl NameRule {
    fn noun(self) -> &'static str {
        match self {
            Self::Proton => "environment name",
            Self::CloudFormation => "stack name",
        }
    }

    fn accepts(self) -> &'static str {
        match self {
            Self::Proton => {
                "must be 1 to 100 letters, digits, `_` or `-`, the first a letter or a digit"
            }
            Self::CloudFormation => "must be 1 to 128 letters, digits or `-`, the first a letter",
        }
    }

    fn allows(self, name: &str) -> bool {
        let longest = match self {
            Self::Proton => 100,
            Self::CloudFormation => 128,
        };
        let starts_well = name.starts_with(|first: char| match self {
            Self::Proton => first.is_ascii_alphanumeric(),
            Self::CloudFormation => first.is_ascii_alphabetic(),
        });
        let goes_on_well = name.bytes().all(|byte| {
            byte.is_ascii_alphanumeric() || byte == b'-' || (self == Self::Proton && byte == b'_')
        });
        starts_well && goes_on_well && name.len() <= longest
    }
}

impl EnvironmentName {
    /// Returns the name if the rule allows it.
    pub fn parse(name: &str, rule: NameRule) -> Result<Self, BadEnvironmentName> {
        if rule.allows(name) {
            Ok(Self(name.into()))
        } else {
            let name = name.to_owned();
            Err(BadEnvironmentName { name, rule })
        }
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EnvironmentName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// An environment, as far as the service has described it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// The name, unique in an account and Region.
    pub name: EnvironmentName,
    /// The ARN. `None` until the environment was read.
    pub(crate) arn: Option<String>,
    /// The account in which the environment is provisioned, if that is another account.
    pub(crate) account_id: Option<String>,
    /// The template that the environment was made from.
    pub(crate) template_name: Option<String>,
    /// The template's version, `major.minor`.
    pub(crate) template_version: Option<String>,
}

impl Environment {
    /// Returns an environment of which only the name is known.
    #[must_use]
    pub fn named(name: EnvironmentName) -> Self {
        Self {
            name,
            arn: None,
            account_id: None,
            template_name: None,
            template_version: None,
        }
    }
}

/// The status of a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// The deployment is in progress and can be cancelled.
    InProgress,
    /// A cancel was accepted, and the deployment has not ended yet.
    Cancelling,
    /// The deployment ended because it was cancelled.
    Cancelled,
    /// The deployment or its cancel failed.
    Failed,
    /// The deployment succeeded.
    Succeeded,
    /// Any other status, as the service wrote it: such as that of a deletion, or an unknown one.
    Other(String),
}

impl Status {
    /// Returns the status as Proton writes it.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::InProgress => "IN_PROGRESS",
            Self::Cancelling => "CANCELLING",
            Self::Cancelled => "CANCELLED",
            Self::Failed => "FAILED",
            Self::Succeeded => "SUCCEEDED",
            Self::Other(status) => status,
        }
    }
}

/// One attempt to update an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// The environment.
    pub environment: Environment,
    /// The ID: the service's, or one that is derived from the start. `None` if neither is known.
    pub id: Option<String>,
    /// When the deployment started. `None` if the service returned no start time.
    pub started_at: Option<Timestamp>,
    /// The status when the deployment was read.
    pub status: Status,
    /// The service's message for that status.
    pub message: Option<String>,
    /// When the deployment ended. `None` if the service returned no such time.
    pub ended_at: Option<Timestamp>,
    /// The start that the service returns since the rollback began. `None` if the rollback has not
    /// changed the start.
    pub moved_start: Option<Timestamp>,
}

impl Deployment {
    /// Returns this deployment with the state of a later reading. The ID and the start stay as they were
    /// first read. If the end has no message, the message of the cancel stays.
    #[must_use]
    pub(crate) fn seen_again(self, seen: Self) -> Self {
        let words = self.message.filter(|_| self.status == Status::Cancelling);
        Self {
            id: self.id.or(seen.id),
            started_at: self.started_at.or(seen.started_at),
            message: seen.message.or(words),
            moved_start: seen.moved_start.or(self.moved_start),
            ..seen
        }
    }

    /// Returns the ID, cut to fit a log line. IDs of the services are never that long.
    #[must_use]
    pub(crate) fn id_for_a_line(&self) -> Option<Cow<'_, str>> {
        self.id.as_deref().map(|id| crate::text::cut(id, 255))
    }

    /// Returns the service's ID. `None` if the ID was derived from the start.
    #[must_use]
    pub(crate) fn given_id(&self) -> Option<&str> {
        let derived = self
            .environment
            .arn
            .as_deref()
            .zip(self.started_at)
            .and_then(|(arn, started)| derived_id(arn, started));
        let id = self.id.as_deref();
        id.filter(|id| Some(*id) != derived.as_deref())
    }

    /// True if this reading is of the same deployment as the reading `before`.
    ///
    /// If both readings have an ID of the service, the IDs decide. Else the environment and the start
    /// decide: the start as it was first read, or as the rollback has changed it. A reading without a
    /// start matches any start.
    #[must_use]
    pub(crate) fn is_same_as(&self, before: &Self) -> bool {
        let is_identical = match (self.given_id(), before.given_id()) {
            (Some(now), Some(before)) => now == before,
            (None, _) if self.started_at.is_none() => true,
            (Some(_) | None, _) => {
                self.started_at == before.started_at || self.has_moved_start_of(before)
            }
        };
        self.environment.name == before.environment.name && is_identical
    }

    /// True if this reading has the start to which the rollback has changed that of the deployment.
    #[must_use]
    pub(crate) fn has_moved_start_of(&self, before: &Self) -> bool {
        self.started_at.is_some() && self.started_at == before.moved_start
    }
}

/// Returns the ID of a stack's update for which the service returns none: the last part of the stack's
/// ID, and the update's start in milliseconds.
#[must_use]
pub(crate) fn derived_id(stack_id: &str, started: Timestamp) -> Option<String> {
    let unique = stack_id.rsplit('/').next()?;
    Some(format!("{unique}-{}", timestamp::milliseconds(started)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_protons_rule() {
        let longest = "a".repeat(100);
        for name in ["a", "0", "prod-net", "A_b-9", longest.as_str()] {
            assert!(
                EnvironmentName::parse(name, NameRule::Proton).is_ok(),
                "{name}"
            );
        }
        let too_long = "a".repeat(101);
        for name in [
            "",
            "-a",
            "_a",
            "a b",
            "a.b",
            "ä",
            "a\n",
            "a*",
            too_long.as_str(),
        ] {
            assert!(
                EnvironmentName::parse(name, NameRule::Proton).is_err(),
                "{name}"
            );
        }
    }

    #[test]
    fn names_follow_cloudformations_rule() {
        let longest = "a".repeat(128);
        for name in ["a", "AWSProton-net-1", longest.as_str()] {
            assert!(
                EnvironmentName::parse(name, NameRule::CloudFormation).is_ok(),
                "{name}"
            );
        }
        let too_long = "a".repeat(129);
        for name in ["", "1a", "-a", "a_b", "a.b", "arn:aws:x", too_long.as_str()] {
            assert!(
                EnvironmentName::parse(name, NameRule::CloudFormation).is_err(),
                "{name}"
            );
        }
    }

    #[test]
    fn the_error_of_a_bad_name_says_which_names_the_engine_accepts() {
        let message =
            |name: &str, rule| EnvironmentName::parse(name, rule).unwrap_err().to_string();
        for (rule, noun, longest) in [
            (NameRule::Proton, "environment name", "1 to 100 letters"),
            (NameRule::CloudFormation, "stack name", "1 to 128 letters"),
        ] {
            let error = message("-net", rule);
            for part in ["`-net`", noun, longest] {
                assert!(error.contains(part), "{error}");
            }
            let huge = message(&"x".repeat(1_000_000), rule);
            assert!(huge.len() < 300, "{} bytes", huge.len());
        }
    }

    #[test]
    fn a_name_reads_as_it_was_given() {
        let name = EnvironmentName::parse("prod-net", NameRule::Proton).unwrap();
        assert_eq!(name.to_string(), "prod-net");
    }

    fn deployment(id: Option<&str>, started: Option<i64>) -> Deployment {
        Deployment {
            environment: Environment::named(
                EnvironmentName::parse("net", NameRule::Proton).unwrap(),
            ),
            id: id.map(str::to_owned),
            started_at: started.and_then(|seconds| Timestamp::from_unix_timestamp(seconds).ok()),
            status: Status::InProgress,
            message: None,
            ended_at: None,
            moved_start: None,
        }
    }

    #[test]
    fn the_id_identifies_a_deployment() {
        assert!(deployment(Some("a"), Some(1)).is_same_as(&deployment(Some("a"), Some(2))));
        assert!(!deployment(Some("a"), Some(1)).is_same_as(&deployment(Some("b"), Some(1))));
    }

    #[test]
    fn without_an_id_environment_and_start_identify_it() {
        assert!(deployment(None, Some(1)).is_same_as(&deployment(None, Some(1))));
        assert!(!deployment(None, Some(1)).is_same_as(&deployment(None, Some(2))));
        assert!(!deployment(None, Some(2)).is_same_as(&deployment(None, None)));
        assert!(deployment(None, None).is_same_as(&deployment(None, Some(2))));
        assert!(deployment(Some("a"), Some(1)).is_same_as(&deployment(None, Some(1))));
    }

    #[test]
    fn a_start_that_is_known_to_have_moved_identifies_it_too() {
        let mut before = deployment(None, Some(1));
        let now = deployment(None, Some(2));
        assert!(!now.is_same_as(&before));
        before.moved_start = now.started_at;
        assert!(now.is_same_as(&before));
        assert_eq!(
            before.clone().seen_again(now).moved_start,
            before.moved_start
        );
        assert!(!deployment(Some("c"), None).is_same_as(&deployment(Some("d"), None)));
    }

    #[test]
    fn an_id_derived_from_the_start_is_not_the_services() {
        let arn = "arn:aws:cloudformation:eu-west-1:1:stack/net/7f0c";
        let stack = |id: Option<&str>, started: i64| {
            let mut one = deployment(id, Some(started));
            one.environment.arn = Some(arn.to_owned());
            one.id = one.id.or_else(|| derived_id(arn, one.started_at?));
            one
        };
        assert_eq!(stack(None, 1).given_id(), None);
        assert_eq!(stack(Some("a"), 1).given_id(), Some("a"));
        // The service may not show an operation's ID again, because a later operation hides it.
        assert!(stack(None, 1).is_same_as(&stack(Some("a"), 1)));
        assert!(stack(Some("a"), 1).is_same_as(&stack(None, 1)));
        assert!(!stack(None, 2).is_same_as(&stack(Some("a"), 1)));
        assert!(!stack(Some("b"), 1).is_same_as(&stack(Some("a"), 1)));
    }

    #[test]
    fn a_deployment_stays_the_one_that_was_first_read() {
        let before = deployment(Some("a"), Some(1));
        let mut now = deployment(Some("b"), Some(2));
        now.status = Status::Cancelled;
        now.ended_at = now.started_at;
        let again = before.clone().seen_again(now.clone());
        assert_eq!((again.id, again.started_at), (before.id, before.started_at));
        assert_eq!((again.status, again.ended_at), (now.status, now.ended_at));
    }

    #[test]
    fn a_later_reading_adds_what_was_unknown() {
        let again = deployment(None, None).seen_again(deployment(Some("a"), Some(1)));
        assert_eq!(again, deployment(Some("a"), Some(1)));
    }

    #[test]
    fn the_message_of_a_cancel_stays_until_the_end_has_one() {
        let with = |status: &Status, message: Option<&str>| Deployment {
            status: status.clone(),
            message: message.map(str::to_owned),
            ..deployment(Some("a"), Some(1))
        };
        let message = |before: &Status, end| {
            let before = with(before, Some("before"));
            before.seen_again(with(&Status::Failed, end)).message
        };
        let cancelling = Status::Cancelling;
        assert_eq!(message(&cancelling, None).as_deref(), Some("before"));
        assert_eq!(message(&cancelling, Some("end")).as_deref(), Some("end"));
        // A message from before the cancel does not explain the end.
        let in_progress = Status::InProgress;
        assert_eq!(message(&in_progress, None), None);
        assert_eq!(message(&in_progress, Some("end")).as_deref(), Some("end"));
    }

    #[test]
    fn a_log_line_has_a_services_id_whole() {
        let id = |length: usize| "a".repeat(length);
        let on_a_line = |id: Option<&str>| {
            let deployment = deployment(id, None);
            deployment.id_for_a_line().map(Cow::into_owned)
        };
        assert_eq!(on_a_line(None), None);
        assert_eq!(on_a_line(Some(&id(255))), Some(id(255)));
        let cut = on_a_line(Some(&id(1_000_000))).unwrap();
        assert!(cut.len() <= 255 && cut.ends_with('…'), "{cut}");
    }
}
