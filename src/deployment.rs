//! The domain's nouns: an environment, one deployment to it, and the deployment's status.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::timestamp::{self, Timestamp};

/// An environment's name, valid by its engine's rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnvironmentName(Arc<str>);

/// Which names an engine's environments can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// Proton's, 1 to 100 characters of `^[0-9A-Za-z]+[0-9A-Za-z_\-]*$`: `environmentName` in
    /// [CancelEnvironmentDeployment].
    ///
    /// [CancelEnvironmentDeployment]: https://docs.aws.amazon.com/proton/latest/APIReference/API_CancelEnvironmentDeployment.html
    Proton,
    /// A stack's, 1 to 128 characters of `[a-zA-Z][-a-zA-Z0-9]*`: `StackName` in [CreateStack].
    ///
    /// [CreateStack]: https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateStack.html
    CloudFormation,
}

/// A name that no environment can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no {}", crate::text::cut(name, 140), rule.words())]
pub struct BadEnvironmentName {
    /// The name as it was given.
    pub(crate) name: String,
    /// The rule that it breaks.
    pub(crate) rule: NameRule,
}

impl NameRule {
    fn words(self) -> &'static str {
        match self {
            Self::Proton => {
                "environment name: must be 1 to 100 letters, digits, `_` or `-`, the first a letter or a digit"
            }
            Self::CloudFormation => {
                "stack name: must be 1 to 128 letters, digits or `-`, the first a letter"
            }
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
    /// Takes a name that the rule allows.
    pub fn parse(name: &str, rule: NameRule) -> Result<Self, BadEnvironmentName> {
        if rule.allows(name) {
            Ok(Self(name.into()))
        } else {
            let name = name.to_owned();
            Err(BadEnvironmentName { name, rule })
        }
    }

    /// The name as text.
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

/// The thing that is deployed, as far as the service described it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// Its name, unique in an account and region.
    pub name: EnvironmentName,
    /// Its ARN; unknown until it was read.
    pub(crate) arn: Option<String>,
    /// The account it is provisioned in, where that is another one.
    pub(crate) account_id: Option<String>,
    /// The template it was made from.
    pub(crate) template_name: Option<String>,
    /// The template's version, `major.minor`.
    pub(crate) template_version: Option<String>,
}

impl Environment {
    /// An environment of which nothing but the name is known.
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

/// Where a deployment stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// The deployment runs, and a cancel may reach it.
    InProgress,
    /// A cancel was accepted; it has not ended yet.
    Cancelling,
    /// The deployment ended because it was cancelled.
    Cancelled,
    /// The deployment failed. A cancel that fails ends so, too.
    Failed,
    /// The update went through.
    Succeeded,
    /// Any other status, as the service wrote it: a deletion's, or one not known yet.
    Other(String),
}

impl Status {
    /// The status as the service writes it.
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
    /// Its identity, where the service gives one.
    pub id: Option<String>,
    /// When it started; `None` where the service did not say.
    pub started_at: Option<Timestamp>,
    /// Where it stood when it was read.
    pub status: Status,
    /// The service's words on that status.
    pub message: Option<String>,
    /// When it ended, where the service says so.
    pub ended_at: Option<Timestamp>,
    /// The start that the service tells since its rollback began, where that has moved it.
    pub moved_start: Option<Timestamp>,
}

impl Deployment {
    /// This deployment as it was seen again. Its identity stays as it was first read; what was said
    /// of its cancellation stands where the end has no words of its own.
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

    /// Its id, as far as a log line should carry it: a service's is no longer.
    #[must_use]
    pub(crate) fn id_for_a_line(&self) -> Option<Cow<'_, str>> {
        self.id.as_deref().map(|id| crate::text::cut(id, 255))
    }

    /// The ID that the service gave, not one that was derived from the start.
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

    /// True if this reading is of the very deployment that was read before.
    ///
    /// IDs that the service gave decide where both readings have one. Else environment and start do: as
    /// they were first read, or as the rollback has moved the start. A reading without a start
    /// contradicts nothing.
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

    /// True if this reading tells the start to which that of the deployment has moved.
    #[must_use]
    pub(crate) fn has_moved_start_of(&self, before: &Self) -> bool {
        self.started_at.is_some() && self.started_at == before.moved_start
    }
}

/// The identity of a stack's update where the service gives none: the stack's own, and when the update
/// started. `None` if the ARN has no part of its own.
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
    fn a_bad_name_is_told_with_what_its_engine_accepts() {
        let words = |name: &str, rule| EnvironmentName::parse(name, rule).unwrap_err().to_string();
        for (rule, noun, longest) in [
            (NameRule::Proton, "environment name", "1 to 100 letters"),
            (NameRule::CloudFormation, "stack name", "1 to 128 letters"),
        ] {
            let told = words("-net", rule);
            for part in ["`-net`", noun, longest] {
                assert!(told.contains(part), "{told}");
            }
            let huge = words(&"x".repeat(1_000_000), rule);
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
    fn an_id_derived_from_the_start_is_no_id_that_the_service_gave() {
        let arn = "arn:aws:cloudformation:eu-west-1:1:stack/net/7f0c";
        let stack = |id: Option<&str>, started: i64| {
            let mut one = deployment(id, Some(started));
            one.environment.arn = Some(arn.to_owned());
            one.id = one.id.or_else(|| derived_id(arn, one.started_at?));
            one
        };
        assert_eq!(stack(None, 1).given_id(), None);
        assert_eq!(stack(Some("a"), 1).given_id(), Some("a"));
        // The service need not show an operation's ID again: a later operation hides it.
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
    fn what_was_not_known_of_a_deployment_is_learnt_when_it_is_seen_again() {
        let again = deployment(None, None).seen_again(deployment(Some("a"), Some(1)));
        assert_eq!(again, deployment(Some("a"), Some(1)));
    }

    #[test]
    fn what_was_said_of_the_cancellation_stands_until_the_end_has_words() {
        let said = |status: &Status, message: Option<&str>| Deployment {
            status: status.clone(),
            message: message.map(str::to_owned),
            ..deployment(Some("a"), Some(1))
        };
        let words = |before: &Status, end| {
            let before = said(before, Some("before"));
            before.seen_again(said(&Status::Failed, end)).message
        };
        let cancelling = Status::Cancelling;
        assert_eq!(words(&cancelling, None).as_deref(), Some("before"));
        assert_eq!(words(&cancelling, Some("end")).as_deref(), Some("end"));
        // What was said while nothing cancelled it explains no end.
        let in_progress = Status::InProgress;
        assert_eq!(words(&in_progress, None), None);
        assert_eq!(words(&in_progress, Some("end")).as_deref(), Some("end"));
    }

    #[test]
    fn a_log_line_carries_a_services_id_whole_and_no_more() {
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
