//! Samples for the tests of the run's parts.

use std::time::Duration;

use super::selection::Candidate;
use super::{Budget, Limits, Request, Run, Step};
use crate::aws::call_error::{CallError, Fault};
use crate::deployment::{Deployment, Environment, EnvironmentName, NameRule, Status};
use crate::plan::patterns::Patterns;
use crate::plan::{AlarmScope, Mode, Policy};
use crate::timestamp::Timestamp;
use crate::trigger::{Cause, Trigger};

/// When tests begin.
pub(super) const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// Returns the time that many milliseconds after tests begin.
pub(super) fn after(milliseconds: u64) -> Timestamp {
    NOW + Duration::from_millis(milliseconds)
}

pub(super) fn name(name: &str) -> EnvironmentName {
    EnvironmentName::parse(name, NameRule::Proton).unwrap()
}

/// Returns a deployment that is in progress.
pub(super) fn deployment(environment: &str) -> Deployment {
    Deployment {
        environment: Environment::named(name(environment)),
        id: Some(format!("d-{environment}")),
        started_at: Some(NOW - Duration::from_hours(1)),
        status: Status::InProgress,
        message: None,
        ended_at: None,
        moved_start: None,
    }
}

/// Returns the deployment of this ID of the environment `net`.
pub(super) fn shown(id: &str, status: Status) -> Deployment {
    Deployment {
        id: Some(id.to_owned()),
        status,
        ..deployment("net")
    }
}

/// Returns the error of a call.
pub(super) fn error(fault: Fault, code: &str) -> CallError {
    CallError {
        fault,
        code: code.to_owned(),
        message: String::new(),
    }
}

/// Returns the next calls of a run by what they are for. The first page is `page 1`.
pub(super) fn calls(run: &mut Run<'_>, now: Timestamp) -> Vec<String> {
    let mut calls = Vec::new();
    while let Step::Call(call) = run.next(now) {
        calls.push(match call.request {
            Request::List(list) => format!("page {}", list.token.as_deref().unwrap_or("1")),
            Request::ReadDeployment(one, _) => format!("read {}", one.environment.name),
            Request::Cancel(one) => format!("cancel {}", one.environment.name),
            Request::ReadEnvironment(_) | Request::ReadTag(..) => "find".to_owned(),
        });
    }
    calls
}

/// Returns a deployment that was read just now, by itself.
pub(super) fn candidate(deployment: Deployment) -> Candidate {
    Candidate::new(deployment, NOW, None)
}

/// Returns the limits of a run of a quarter of an hour.
pub(super) fn limits() -> Limits {
    Limits {
        budget: Budget::new(NOW, Duration::from_mins(15)),
        concurrency: 10,
        settle_timeout: Duration::from_mins(10),
        seed: 7,
    }
}

/// Returns the trigger of a schedule.
pub(super) fn schedule() -> Trigger {
    Trigger {
        cause: Cause::Schedule,
        id: None,
        name: None,
        arn: None,
        time: None,
        reason: None,
    }
}

/// Returns a policy that includes every environment.
pub(super) fn policy(mode: Mode, max_cancellations: u64) -> Policy {
    Policy {
        environments: Patterns::comma_separated("*").unwrap(),
        protected: Patterns::none(),
        alarm_scope: AlarmScope::All,
        stuck_after: Duration::from_mins(30),
        max_cancellations,
        mode,
    }
}
