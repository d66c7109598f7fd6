//! The results of a trial.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use local_aws::{
    Call, EnvironmentSnapshot, Event, InvocationResult, Line, LocalAws, StackStatus, Status,
};
use serde_json::Value;

use crate::arguments::Engine;
use crate::event_times::Moved;

/// The results of a trial.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) engine: Engine,
    pub(crate) event: PathBuf,
    pub(crate) moved: Option<Moved>,
    pub(crate) started: SystemTime,
    pub(crate) before: Vec<Standing>,
    pub(crate) after: Vec<Standing>,
    pub(crate) result: InvocationResult,
    pub(crate) events: Vec<Event>,
    pub(crate) calls: Vec<Call>,
    pub(crate) lines: Vec<Line>,
    /// The follower's work, if a deployment was still being cancelled.
    pub(crate) followed: Option<Followed>,
}

/// The follower's work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Followed {
    /// The number of deliveries.
    pub(crate) deliveries: usize,
    /// The time between two deliveries.
    pub(crate) every: Duration,
}

/// The state of an environment or a stack at some time.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) name: String,
    pub(crate) status: &'static str,
    pub(crate) message: Option<String>,
    pub(crate) started_at: SystemTime,
    pub(crate) json: Value,
}

/// Returns the present state of every environment or stack.
pub(crate) fn standings(local: &LocalAws, engine: Engine) -> Vec<Standing> {
    match engine {
        Engine::Proton => list(
            local.environments(),
            Status::as_str,
            EnvironmentSnapshot::<Status>::to_json,
        ),
        Engine::CloudFormation => list(
            local.stacks(),
            StackStatus::as_str,
            EnvironmentSnapshot::<StackStatus>::to_json,
        ),
    }
}

fn list<S: Copy>(
    snapshots: Vec<EnvironmentSnapshot<S>>,
    status: fn(S) -> &'static str,
    json: fn(&EnvironmentSnapshot<S>) -> Value,
) -> Vec<Standing> {
    let standing = |one: EnvironmentSnapshot<S>| Standing {
        json: json(&one),
        status: status(one.status),
        name: one.name,
        message: one.message,
        started_at: one.started_at,
    };
    snapshots.into_iter().map(standing).collect()
}
