//! What happened in a simulated run, the same for either engine.

use std::collections::BTreeSet;
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use local_aws::{Answer, Call, Operation, Service, Status};
use proton_canceller::engine::EngineKind;
use serde_json::Value;

use crate::deliveries::Log;
use crate::function::Simulated;
use crate::scenario::Scenario;

/// A deployment as it stands in the end: the truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Truth {
    /// The environment.
    pub(crate) environment: String,
    /// Its id, whether the service sends it or not.
    pub(crate) id: String,
    /// The id of the stack that it updates, if it is an update.
    pub(crate) stack_id: Option<String>,
    /// The id that it goes by where the service sends none, made from what it does send.
    pub(crate) made_up_id: Option<String>,
    /// Its status.
    pub(crate) status: Option<Status>,
    /// When it started.
    pub(crate) started_at: SystemTime,
    /// When a cancel was accepted.
    pub(crate) cancelled_at: Option<SystemTime>,
    /// When it ended.
    pub(crate) completed_at: Option<SystemTime>,
}

/// A published event, or one that was logged instead.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// The event's own id.
    pub(crate) id: String,
    /// The request that it tells of.
    pub(crate) request_id: String,
    /// The trigger's id.
    pub(crate) trigger: Value,
    /// The environment.
    pub(crate) environment: String,
    /// The outcome.
    pub(crate) outcome: String,
    /// Why it was left alone.
    pub(crate) reason: Value,
    /// The code of its error.
    pub(crate) error: Option<String>,
    /// The deployment's id, if one is told.
    pub(crate) deployment: Option<String>,
    /// When the deployment started, if that is told.
    pub(crate) started_at: Option<SystemTime>,
    /// When the deployment's cancellation was asked for, if it was.
    pub(crate) requested_at: Option<SystemTime>,
    /// When EventBridge took the event.
    pub(crate) taken_at: Option<SystemTime>,
}

impl Told {
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

    /// What its id stands for: the trigger, the environment and the deployment.
    pub(crate) fn stands_for(&self) -> &str {
        &self.id[..31]
    }

    /// True if it is a `CANCELLING` whose end is among others of the same invocation.
    fn has_end_among(&self, others: &[Self]) -> bool {
        let is_end = |other: &Self| {
            other.outcome != "CANCELLING"
                && other.request_id == self.request_id
                && other.stands_for() == self.stands_for()
        };
        self.outcome == "CANCELLING" && others.iter().any(is_end)
    }

    /// True if it may be this deployment that is told of. Where the service sends no id, the start
    /// tells it, as far as that is sent.
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

/// Everything that happened.
#[derive(Debug)]
pub(crate) struct Record {
    /// Every call, in order.
    pub(crate) calls: Vec<Call>,
    /// Every deployment that there ever was.
    pub(crate) deployments: Vec<Truth>,
    /// The last word of an invocation on each environment, as EventBridge took it.
    pub(crate) published: Vec<Told>,
    /// The last words that were logged instead.
    pub(crate) unpublished: Vec<Told>,
    /// Each `CANCELLING` that EventBridge took, and whose end was told, too.
    pub(crate) begun: Vec<Told>,
    /// How many stacks were deleted and made anew.
    pub(crate) made_anew: usize,
    /// The environments that exist in the end.
    pub(crate) existing: BTreeSet<String>,
    /// The ids of the stacks that exist in the end.
    stack_ids: BTreeSet<String>,
}

impl Record {
    /// Reads it off the world.
    pub(crate) fn of(simulated: &Simulated, scenario: &Scenario, log: &Log) -> Self {
        let local = &simulated.local;
        let stacks: BTreeSet<_> = local
            .updates()
            .into_iter()
            .map(|one| (one.stack, one.stack_id))
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
                    environment: one.stack,
                    made_up_id: Some(made_up(&one.stack_id, one.started_at)),
                    stack_id: Some(one.stack_id),
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
            .map(|event| Told {
                taken_at: Some(event.time),
                ..Told::of(&event.detail)
            })
            .collect();
        let unpublished: Vec<_> = log
            .unpublished()
            .iter()
            .map(|detail| Told::of(detail))
            .collect();
        let all: Vec<_> = published.iter().chain(&unpublished).cloned().collect();
        let (begun, published): (Vec<_>, Vec<_>) = published
            .into_iter()
            .partition(|told| told.has_end_among(&all));
        let is_last = |told: &Told| !told.has_end_among(&all);
        Self {
            begun,
            unpublished: unpublished.into_iter().filter(is_last).collect(),
            made_anew: stacks.len() - names.len(),
            existing,
            stack_ids: local.stacks().into_iter().map(|one| one.id).collect(),
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

    /// True if another deployment has started in the environment since the one that is told of.
    pub(crate) fn is_followed_by_another(&self, told: &Told) -> bool {
        let of_it = self.deployments.iter().filter(|one| told.is_of(one));
        let newest = of_it.map(|one| one.started_at).max();
        self.deployments
            .iter()
            .any(|one| one.environment == told.environment && Some(one.started_at) > newest)
    }

    /// The calls of one request.
    pub(crate) fn calls_of(&self, request_id: &str) -> impl Iterator<Item = &Call> {
        self.calls
            .iter()
            .filter(move |call| call.caller.as_deref() == Some(request_id))
    }

    /// What one request told, published or logged.
    pub(crate) fn told_by(&self, request_id: &str) -> impl Iterator<Item = &Told> {
        let told = self.published.iter().chain(&self.unpublished);
        told.filter(move |told| told.request_id == request_id)
    }

    /// The cancels of one request.
    pub(crate) fn cancels_of(&self, request_id: &str) -> impl Iterator<Item = &Call> {
        self.calls_of(request_id).filter(|call| is_cancel(call))
    }

    /// What a call hit.
    pub(crate) fn hit(&self, call: &Call) -> Option<&Truth> {
        let id = call.cancelled.as_ref()?;
        self.deployments.iter().find(|one| one.id == *id)
    }
}

/// True if a call asks for a cancellation.
pub(crate) fn is_cancel(call: &Call) -> bool {
    is_any(
        call,
        &[
            Operation::CancelEnvironmentDeployment,
            Operation::CancelUpdateStack,
        ],
    )
}

/// True if a call lists.
pub(crate) fn is_list(call: &Call) -> bool {
    is_any(call, &[Operation::ListEnvironments, Operation::ListStacks])
}

/// True if a call goes to the engine.
pub(crate) fn is_of_engine(call: &Call) -> bool {
    call.service != Service::EventBridge
}

fn is_any(call: &Call, operations: &[Operation]) -> bool {
    operations
        .iter()
        .any(|operation| call.operation == operation.as_str())
}

/// True if a call's answer came, and was what was asked for.
pub(crate) fn is_answered(call: &Call) -> bool {
    call.answer == Answer::Ok
}

/// True if two times are the same: the wire carries milliseconds.
fn is_close(one: SystemTime, other: SystemTime) -> bool {
    let apart = one
        .duration_since(other)
        .or_else(|_| other.duration_since(one));
    apart.is_ok_and(|apart| apart.as_millis() < 2)
}
