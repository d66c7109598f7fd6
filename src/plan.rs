//! The rules: which deployments are cancelled. No IO, no clock, no SDK type.
//!
//! The rules are in the order in which they apply, and the first that applies wins. [`name_rules`] has
//! the rules that need a name only, and [`Verdict::of`] those that need the deployment. [`tag_allows`] has
//! the rule that needs the environment's tag, and [`admission`] the rule that counts all environments.

pub mod patterns;

use std::time::Duration;

use crate::deployment::{Deployment, EnvironmentName, Status};
use crate::plan::patterns::{BadGlob, Patterns};
use crate::timestamp::{self, Timestamp};
use crate::trigger::{Cause, Trigger};

/// The policy: which deployments may be cancelled, and when.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The names of the environments that may be cancelled.
    pub environments: Patterns,
    /// The names of the environments that are never cancelled, even if `environments` matches.
    pub protected: Patterns,
    /// The environments that an alarm concerns.
    pub alarm_scope: AlarmScope,
    /// The age from which a schedule takes a deployment as stuck.
    pub stuck_after: Duration,
    /// Maximum cancellations per run. If more environments are selected, the run cancels none of them.
    pub max_cancellations: u64,
    /// The mode: live or dry run.
    pub mode: Mode,
}

/// The mode of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The run decides, cancels and publishes.
    Live,
    /// The run decides and publishes, and makes no mutating call.
    DryRun,
}

/// The environments that an alarm concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmScope {
    /// All environments.
    All,
    /// The environments whose tag names the alarm.
    Tagged,
}

/// The reason why an environment is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SkipReason {
    /// The name matches `PROTECTED_ENVIRONMENTS`.
    Protected,
    /// The name matches no `ENVIRONMENTS` glob.
    NotIncluded,
    /// A request names the environment, and no deployment is in progress.
    NotInProgress,
    /// The deployment started after the alarm fired.
    StartedAfterAlarm,
    /// The environment's tag does not name the alarm.
    NotTagged,
    /// The deployment is too young for a schedule to take it as stuck.
    NotStuck,
    /// The service returned no start time.
    StartUnknown,
    /// More environments were selected than one run may cancel.
    OverLimit,
}

impl SkipReason {
    /// Returns the reason as outcomes have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Protected => "PROTECTED",
            Self::NotIncluded => "NOT_INCLUDED",
            Self::NotInProgress => "NOT_IN_PROGRESS",
            Self::StartedAfterAlarm => "STARTED_AFTER_ALARM",
            Self::NotTagged => "NOT_TAGGED",
            Self::NotStuck => "NOT_STUCK",
            Self::StartUnknown => "START_UNKNOWN",
            Self::OverLimit => "OVER_LIMIT",
        }
    }
}

impl Policy {
    /// Returns the mode of a run: live if neither the setting nor the request asks for a
    /// dry run.
    #[must_use]
    pub(crate) fn mode_for(&self, trigger: &Trigger) -> Mode {
        match (&trigger.cause, self.mode) {
            (_, Mode::DryRun) => Mode::DryRun,
            (Cause::Request(request), Mode::Live) if request.dry_run => Mode::DryRun,
            (Cause::Request(_) | Cause::Alarm(_) | Cause::Schedule, Mode::Live) => Mode::Live,
        }
    }
}

/// Applies rules 1 and 2, which need the name only.
#[must_use]
pub(crate) fn name_rules(policy: &Policy, name: &EnvironmentName) -> Option<SkipReason> {
    if policy.protected.matches(name.as_str()) {
        Some(SkipReason::Protected)
    } else if !policy.environments.matches(name.as_str()) {
        Some(SkipReason::NotIncluded)
    } else {
        None
    }
}

/// The verdict of rules 1 to 6 on a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The deployment is skipped.
    Skip(SkipReason),
    /// The deployment is selected if the tag names the alarm: see [`tag_allows`].
    AskTag,
    /// The deployment is selected.
    Select,
}

impl Verdict {
    /// Applies rules 1 to 6, except for the tag of rule 5.
    #[must_use]
    pub(crate) fn of(
        trigger: &Trigger,
        policy: &Policy,
        deployment: &Deployment,
        now: Timestamp,
    ) -> Self {
        if let Some(reason) = name_rules(policy, &deployment.environment.name) {
            return Self::Skip(reason);
        }
        match &trigger.cause {
            Cause::Request(_) if deployment.status == Status::InProgress => Self::Select,
            Cause::Request(_) => Self::Skip(SkipReason::NotInProgress),
            Cause::Alarm(alarm) => match (deployment.started_at, policy.alarm_scope) {
                (None, _) => Self::Skip(SkipReason::StartUnknown),
                (Some(started), _) if started > alarm.fired_at => {
                    Self::Skip(SkipReason::StartedAfterAlarm)
                }
                (Some(_), AlarmScope::All) => Self::Select,
                (Some(_), AlarmScope::Tagged) => Self::AskTag,
            },
            Cause::Schedule => match deployment.started_at {
                None => Self::Skip(SkipReason::StartUnknown),
                Some(started) if is_stuck(started, policy.stuck_after, now) => Self::Select,
                Some(_) => Self::Skip(SkipReason::NotStuck),
            },
        }
    }
}

fn is_stuck(started: Timestamp, stuck_after: Duration, now: Timestamp) -> bool {
    timestamp::later(started, stuck_after).is_some_and(|stuck_at| stuck_at <= now)
}

/// Applies rule 5. Returns true if an environment's tag names the alarm, and the globs that cannot be read.
/// The tag holds globs of alarm names, separated by spaces.
#[must_use]
pub(crate) fn tag_allows(tag: Option<&str>, alarm_name: &str) -> (bool, Vec<BadGlob>) {
    let (globs, bad) = Patterns::space_separated(tag.unwrap_or_default());
    (globs.matches(alarm_name), bad)
}

/// The decision on the deployments that rules 1 to 6 select.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// The run cancels them.
    Cancel,
    /// The run reports them as `DRY_RUN`.
    DryRun,
    /// The run cancels none of them, because there are more than `MAX_CANCELLATIONS`.
    OverLimit,
}

/// Applies rule 7 to `selected` deployments, while rules 1 to 6 have not decided on `undecided` more.
/// `None` if the undecided ones can change the result.
#[must_use]
pub(crate) fn admission(
    policy: &Policy,
    mode: Mode,
    selected: usize,
    undecided: usize,
) -> Option<Admission> {
    let limit = usize::try_from(policy.max_cancellations).unwrap_or(usize::MAX);
    match mode {
        _ if selected > limit => Some(Admission::OverLimit),
        _ if selected.saturating_add(undecided) > limit => None,
        Mode::Live => Some(Admission::Cancel),
        Mode::DryRun => Some(Admission::DryRun),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::{Environment, NameRule};
    use crate::trigger::{Alarm, Request};

    fn time(text: &str) -> Timestamp {
        crate::timestamp::parse(text).unwrap()
    }

    fn name(name: &str) -> EnvironmentName {
        EnvironmentName::parse(name, NameRule::Proton).unwrap()
    }

    fn policy() -> Policy {
        Policy {
            environments: Patterns::comma_separated("*").unwrap(),
            protected: Patterns::none(),
            alarm_scope: AlarmScope::All,
            stuck_after: Duration::from_hours(1),
            max_cancellations: 10,
            mode: Mode::Live,
        }
    }

    fn trigger(cause: Cause) -> Trigger {
        Trigger {
            cause,
            id: None,
            name: None,
            arn: None,
            time: None,
            reason: None,
        }
    }

    fn alarm() -> Trigger {
        trigger(Cause::Alarm(Alarm {
            name: "checkout-5xx".to_owned(),
            state: "ALARM".to_owned(),
            suppressed_by: None,
            muted_by: None,
            fired_at: time("2026-11-23T06:45:12.321Z"),
        }))
    }

    fn request(dry_run: bool) -> Trigger {
        trigger(Cause::Request(Request {
            environments: vec![name("net")],
            dry_run,
        }))
    }

    fn deployment(started: Option<&str>) -> Deployment {
        Deployment {
            environment: Environment::named(name("net")),
            id: Some("d-1".to_owned()),
            started_at: started.map(time),
            status: Status::InProgress,
            message: None,
            ended_at: None,
            moved_start: None,
        }
    }

    fn verdict(trigger: &Trigger, policy: &Policy, deployment: &Deployment) -> Verdict {
        Verdict::of(trigger, policy, deployment, time("2026-11-23T07:00:00Z"))
    }

    const BEFORE: Option<&str> = Some("2026-11-23T06:40:00Z");

    #[test]
    fn rule_1_protection_wins_over_everything() {
        let policy = Policy {
            protected: Patterns::comma_separated("net").unwrap(),
            environments: Patterns::comma_separated("other").unwrap(),
            ..policy()
        };
        for trigger in [alarm(), trigger(Cause::Schedule), request(false)] {
            assert_eq!(
                verdict(&trigger, &policy, &deployment(None)),
                Verdict::Skip(SkipReason::Protected)
            );
        }
    }

    #[test]
    fn rule_2_only_the_environments_that_match_are_touched() {
        let policy = Policy {
            environments: Patterns::comma_separated("other, *-prod").unwrap(),
            ..policy()
        };
        assert_eq!(
            verdict(&request(false), &policy, &deployment(BEFORE)),
            Verdict::Skip(SkipReason::NotIncluded)
        );
        assert_eq!(name_rules(&policy, &name("net-prod")), None);
    }

    #[test]
    fn rule_3_a_request_cancels_only_what_is_in_progress() {
        for status in [
            Status::Cancelling,
            Status::Cancelled,
            Status::Failed,
            Status::Succeeded,
            Status::Other("DELETE_IN_PROGRESS".to_owned()),
        ] {
            let deployment = Deployment {
                status,
                ..deployment(BEFORE)
            };
            assert_eq!(
                verdict(&request(false), &policy(), &deployment),
                Verdict::Skip(SkipReason::NotInProgress)
            );
        }
        // A request asks for the environment, whatever its deployment's age.
        assert_eq!(
            verdict(&request(false), &policy(), &deployment(None)),
            Verdict::Select
        );
    }

    #[test]
    fn rule_4_a_fix_that_started_after_the_alarm_goes_through() {
        for (started, expected) in [
            ("2026-11-23T06:45:12.320Z", Verdict::Select),
            ("2026-11-23T06:45:12.321Z", Verdict::Select),
            (
                "2026-11-23T06:45:12.322Z",
                Verdict::Skip(SkipReason::StartedAfterAlarm),
            ),
        ] {
            let deployment = deployment(Some(started));
            assert_eq!(
                verdict(&alarm(), &policy(), &deployment),
                expected,
                "{started}"
            );
        }
        assert_eq!(
            verdict(&alarm(), &policy(), &deployment(None)),
            Verdict::Skip(SkipReason::StartUnknown)
        );
    }

    #[test]
    fn rule_5_comes_after_rule_4_and_asks_for_the_tag() {
        let policy = Policy {
            alarm_scope: AlarmScope::Tagged,
            ..policy()
        };
        assert_eq!(
            verdict(&alarm(), &policy, &deployment(BEFORE)),
            Verdict::AskTag
        );
        assert_eq!(
            verdict(&alarm(), &policy, &deployment(Some("2026-11-23T06:50:00Z"))),
            Verdict::Skip(SkipReason::StartedAfterAlarm)
        );
        assert_eq!(
            verdict(&request(false), &policy, &deployment(BEFORE)),
            Verdict::Select
        );
    }

    #[test]
    fn a_tag_holds_globs_of_alarm_names() {
        let allows = |tag| match tag_allows(tag, "checkout-5xx") {
            (allows, bad) if bad.is_empty() => allows,
            (_, bad) => panic!("{bad:?}"),
        };
        assert!(allows(Some("checkout-*")));
        assert!(allows(Some("other  checkout-5xx")));
        assert!(!allows(Some("other")));
        assert!(!allows(Some("")));
        assert!(!allows(Some("other,checkout-5xx")));
        assert!(!allows(None));
        let (allows, bad) = tag_allows(Some("check[out checkout-?xx {a"), "checkout-5xx");
        assert!(allows);
        assert_eq!(bad.len(), 2, "{bad:?}");
        assert!(!tag_allows(Some("check[out"), "check[out").0);
    }

    #[test]
    fn rule_6_a_schedule_takes_what_started_long_enough_ago() {
        for (started, expected) in [
            ("2026-11-23T05:59:59.999Z", Verdict::Select),
            ("2026-11-23T06:00:00Z", Verdict::Select),
            (
                "2026-11-23T06:00:00.001Z",
                Verdict::Skip(SkipReason::NotStuck),
            ),
            ("2026-11-23T08:00:00Z", Verdict::Skip(SkipReason::NotStuck)),
        ] {
            let deployment = deployment(Some(started));
            let schedule = trigger(Cause::Schedule);
            assert_eq!(
                verdict(&schedule, &policy(), &deployment),
                expected,
                "{started}"
            );
        }
        assert_eq!(
            verdict(&trigger(Cause::Schedule), &policy(), &deployment(None)),
            Verdict::Skip(SkipReason::StartUnknown)
        );
    }

    #[test]
    fn a_stuck_after_beyond_all_calendars_selects_nothing() {
        let policy = Policy {
            stuck_after: Duration::MAX,
            ..policy()
        };
        assert_eq!(
            verdict(&trigger(Cause::Schedule), &policy, &deployment(BEFORE)),
            Verdict::Skip(SkipReason::NotStuck)
        );
    }

    #[test]
    fn rule_7_more_than_the_limit_cancels_none_and_the_limit_itself_all() {
        let none = Policy {
            max_cancellations: 0,
            ..policy()
        };
        for (policy, selected, undecided, expected) in [
            (policy(), 10, 0, Some(Admission::Cancel)),
            (policy(), 11, 0, Some(Admission::OverLimit)),
            // The undecided environments cannot change the decision.
            (policy(), 3, 7, Some(Admission::Cancel)),
            (policy(), 11, 90, Some(Admission::OverLimit)),
            // The undecided environments can change the decision.
            (policy(), 3, 8, None),
            (policy(), 1, usize::MAX, None),
            (none.clone(), 0, 0, Some(Admission::Cancel)),
            (none, 1, 0, Some(Admission::OverLimit)),
        ] {
            assert_eq!(
                admission(&policy, Mode::Live, selected, undecided),
                expected,
                "{selected} selected, {undecided} undecided"
            );
        }
    }

    #[test]
    fn the_limit_holds_in_a_dry_run_too() {
        assert_eq!(
            admission(&policy(), Mode::DryRun, 10, 0),
            Some(Admission::DryRun)
        );
        assert_eq!(
            admission(&policy(), Mode::DryRun, 11, 0),
            Some(Admission::OverLimit)
        );
    }

    #[test]
    fn each_reason_has_the_name_that_operators_filter_by() {
        for (reason, name) in [
            (SkipReason::Protected, "PROTECTED"),
            (SkipReason::NotIncluded, "NOT_INCLUDED"),
            (SkipReason::NotInProgress, "NOT_IN_PROGRESS"),
            (SkipReason::StartedAfterAlarm, "STARTED_AFTER_ALARM"),
            (SkipReason::NotTagged, "NOT_TAGGED"),
            (SkipReason::NotStuck, "NOT_STUCK"),
            (SkipReason::StartUnknown, "START_UNKNOWN"),
            (SkipReason::OverLimit, "OVER_LIMIT"),
        ] {
            assert_eq!(reason.as_str(), name);
        }
    }

    #[test]
    fn either_switch_makes_a_dry_run() {
        let dry = Policy {
            mode: Mode::DryRun,
            ..policy()
        };
        assert_eq!(policy().mode_for(&alarm()), Mode::Live);
        assert_eq!(policy().mode_for(&request(false)), Mode::Live);
        assert_eq!(policy().mode_for(&request(true)), Mode::DryRun);
        assert_eq!(dry.mode_for(&request(false)), Mode::DryRun);
        assert_eq!(dry.mode_for(&alarm()), Mode::DryRun);
    }
}
