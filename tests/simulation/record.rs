//! The record of a simulated run, in one form for both engines.

use std::collections::BTreeSet;
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use local_aws::{Answer, Call, Operation, Service, Status};
use proton_canceller::engine::EngineKind;
use serde_json::Value;

use crate::deliveries::Log;
use crate::function::Simulated;
use crate::scenario::Scenario;

/// The true state of a deployment at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Truth {
    /// The environment.
    pub(crate) environment: String,
    /// The ID, even if the service does not send it.
    pub(crate) id: String,
    /// The ID of the updated stack; `None` for a Proton deployment.
    pub(crate) stack_id: Option<String>,
    /// The ID that the function derives if the service sends none.
    pub(crate) made_up_id: Option<String>,
    /// The status.
    pub(crate) status: Option<Status>,
    /// The start.
    pub(crate) started_at: SystemTime,
    /// The time of the accepted cancel.
    pub(crate) cancelled_at: Option<SystemTime>,
    /// The end.
    pub(crate) completed_at: Option<SystemTime>,
}

/// An outcome event that was published, or logged instead.
#[derive(Clone, Debug)]
pub(crate) struct Reported {
    /// The event's ID.
    pub(crate) id: String,
    /// The request ID of the run.
    pub(crate) request_id: String,
    /// The trigger's ID.
    pub(crate) trigger: Value,
    /// The environment.
    pub(crate) environment: String,
    /// The outcome.
    pub(crate) outcome: String,
    /// The reason of a skip.
    pub(crate) reason: Value,
    /// The error code.
    pub(crate) error: Option<String>,
    /// The deployment's ID, if known.
    pub(crate) deployment: Option<String>,
    /// The deployment's start, if known.
    pub(crate) started_at: Option<SystemTime>,
    /// The time of the cancel request, if any.
    pub(crate) requested_at: Option<SystemTime>,
    /// The time at which EventBridge accepted the event.
    pub(crate) taken_at: Option<SystemTime>,
}

impl Reported {
    /// Reads an event's detail.
    pub(crate) fn of(detail: &str) -> Self {
        let detail: Value = serde_json::from_str(detail).unwrap();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let time = |value: &Value| {
            let time: Option<DateTime<Utc>> = value.as_str().map(|time| time.parse().unwrap());
            time.map(SystemTime::from)
        };
        let deployment = &detail["deployment"];
        Self {
            id: text(&detail["id"]).unwrap(),
            request_id: text(&detail["run"]["requestId"]).unwrap(),
            trigger: detail["trigger"]["id"].clone(),
            environment: text(&detail["environment"]["name"]).unwrap(),
            outcome: text(&detail["outcome"]).unwrap(),
            reason: detail["reason"].clone(),
            error: text(&detail["error"]["code"]),
            deployment: text(&deployment["id"]),
            started_at: time(&deployment["startedAt"]),
            requested_at: time(&deployment["cancelRequestedAt"]),
            taken_at: None,
        }
    }

    /// The first 31 digits of the ID, which stand for the trigger, the environment and the
    /// deployment.
    pub(crate) fn stands_for(&self) -> &str {
        &self.id[..31]
    }

    /// True if this is a `CANCELLING` event whose end is among the same invocation's events.
    fn has_end_among(&self, others: &[Self]) -> bool {
        let is_end = |other: &Self| {
            other.outcome != "CANCELLING"
                && other.request_id == self.request_id
                && other.stands_for() == self.stands_for()
        };
        self.outcome == "CANCELLING" && others.iter().any(is_end)
    }

    /// True if the event may be about this deployment. Without an ID, the start decides if it is
    /// known.
    pub(crate) fn is_of(&self, truth: &Truth) -> bool {
        if self.environment != truth.environment {
            return false;
        }
        match (&self.deployment, self.started_at) {
            (Some(id), _) => *id == truth.id || Some(id) == truth.made_up_id.as_ref(),
            (None, Some(started)) => is_close(truth.started_at, started),
            (None, None) => true,
        }
    }
}

fn made_up(stack_id: &str, started_at: SystemTime) -> String {
    let (_, unique) = stack_id.rsplit_once('/').unwrap();
    let started = DateTime::<Utc>::from(started_at).timestamp_millis();
    format!("{unique}-{started}")
}

/// The record of all runs in a world.
#[derive(Debug)]
pub(crate) struct Record {
    /// Every call, in order.
    pub(crate) calls: Vec<Call>,
    /// Every deployment, past ones included.
    pub(crate) deployments: Vec<Truth>,
    /// The last published event of each invocation for each environment.
    pub(crate) published: Vec<Reported>,
    /// The last events that were logged instead.
    pub(crate) unpublished: Vec<Reported>,
    /// Each published `CANCELLING` event whose end was reported as well.
    pub(crate) begun: Vec<Reported>,
    /// The number of stacks that were deleted and created again.
    pub(crate) recreated: usize,
    /// The environments that exist at the end.
    pub(crate) existing: BTreeSet<String>,
    /// The IDs of the stacks that exist at the end.
    stack_ids: BTreeSet<String>,
}

impl Record {
    /// Reads the record from the world and the log.
    pub(crate) fn of(simulated: &Simulated, scenario: &Scenario, log: &Log) -> Self {
        let local = &simulated.local;
        let stacks: BTreeSet<_> = local
            .updates()
            .into_iter()
            .map(|one| (one.environment, one.arn))
            .collect();
        let names: BTreeSet<_> = stacks.iter().map(|(name, _)| name).collect();
        let deployments = match scenario.engine {
            EngineKind::Proton => local
                .deployments()
                .into_iter()
                .map(|one| Truth {
                    environment: one.environment,
                    id: one.id,
                    stack_id: None,
                    made_up_id: None,
                    status: Some(one.status),
                    started_at: one.started_at,
                    cancelled_at: one.cancelled_at,
                    completed_at: one.completed_at,
                })
                .collect(),
            EngineKind::CloudFormation => local
                .updates()
                .into_iter()
                .map(|one| Truth {
                    environment: one.environment,
                    made_up_id: Some(made_up(&one.arn, one.started_at)),
                    stack_id: Some(one.arn),
                    id: one.id,
                    status: one.status.deployment_status(),
                    started_at: one.started_at,
                    cancelled_at: one.cancelled_at,
                    completed_at: one.completed_at,
                })
                .collect(),
        };
        let existing: BTreeSet<_> = match scenario.engine {
            EngineKind::Proton => {
                let environments = local.environments().into_iter();
                environments.map(|one| one.name).collect()
            }
            EngineKind::CloudFormation => {
                let stacks = local.stacks().into_iter().map(|one| one.name);
                stacks
                    .filter(|name| scenario.facts(name).is_some())
                    .collect()
            }
        };
        let events = local.events();
        let published: Vec<_> = events
            .iter()
            .map(|event| Reported {
                taken_at: Some(event.time),
                ..Reported::of(&event.detail)
            })
            .collect();
        let unpublished: Vec<_> = log
            .unpublished()
            .iter()
            .map(|detail| Reported::of(detail))
            .collect();
        let all: Vec<_> = published.iter().chain(&unpublished).cloned().collect();
        let (begun, published): (Vec<_>, Vec<_>) = published
            .into_iter()
            .partition(|reported| reported.has_end_among(&all));
        let is_last = |reported: &Reported| !reported.has_end_among(&all);
        Self {
            begun,
            unpublished: unpublished.into_iter().filter(is_last).collect(),
            recreated: stacks.len() - names.len(),
            existing,
            stack_ids: local.stacks().into_iter().map(|one| one.arn).collect(),
            calls: local.calls(),
            deployments,
            published,
        }
    }

    /// True if a deployment's stack was deleted before that deployment ended.
    pub(crate) fn was_cut_off(&self, truth: &Truth) -> bool {
        let stack_id = truth.stack_id.as_ref();
        truth.completed_at.is_none() && stack_id.is_some_and(|id| !self.stack_ids.contains(id))
    }

    /// True if a newer deployment has started in the event's environment.
    pub(crate) fn is_followed_by_another(&self, reported: &Reported) -> bool {
        let of_it = self.deployments.iter().filter(|one| reported.is_of(one));
        let newest = of_it.map(|one| one.started_at).max();
        self.deployments
            .iter()
            .any(|one| one.environment == reported.environment && Some(one.started_at) > newest)
    }

    /// The calls of one request.
    pub(crate) fn calls_of(&self, request_id: &str) -> impl Iterator<Item = &Call> {
        self.calls
            .iter()
            .filter(move |call| call.caller.as_deref() == Some(request_id))
    }

    /// The events of one request, published or logged.
    pub(crate) fn reported_by(&self, request_id: &str) -> impl Iterator<Item = &Reported> {
        let reported = self.published.iter().chain(&self.unpublished);
        reported.filter(move |reported| reported.request_id == request_id)
    }

    /// The cancels of one request.
    pub(crate) fn cancels_of(&self, request_id: &str) -> impl Iterator<Item = &Call> {
        self.calls_of(request_id).filter(|call| is_cancel(call))
    }

    /// The deployment that a cancel hit.
    pub(crate) fn hit(&self, call: &Call) -> Option<&Truth> {
        let id = call.cancelled.as_ref()?;
        self.deployments.iter().find(|one| one.id == *id)
    }
}

/// True if the call is a cancel.
pub(crate) fn is_cancel(call: &Call) -> bool {
    is_any(
        call,
        &[
            Operation::CancelEnvironmentDeployment,
            Operation::CancelUpdateStack,
        ],
    )
}

/// True if the call lists.
pub(crate) fn is_list(call: &Call) -> bool {
    is_any(call, &[Operation::ListEnvironments, Operation::ListStacks])
}

/// True if the call goes to the engine.
pub(crate) fn is_of_engine(call: &Call) -> bool {
    call.service != Service::EventBridge
}

fn is_any(call: &Call, operations: &[Operation]) -> bool {
    operations
        .iter()
        .any(|operation| call.operation == operation.as_str())
}

/// True if the response arrived and was a success.
pub(crate) fn is_answered(call: &Call) -> bool {
    call.answer == Answer::Ok
}

/// True if two times are equal but for rounding to milliseconds.
fn is_close(one: SystemTime, other: SystemTime) -> bool {
    let apart = one
        .duration_since(other)
        .or_else(|_| other.duration_since(one));
    apart.is_ok_and(|apart| apart.as_millis() < 2)
}
