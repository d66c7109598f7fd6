//! The results of a trial.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use local_aws::{Call, EnvironmentSnapshot, Event, InvocationResult, Line, LocalAws, StackStatus};
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
        Engine::Proton => {
            let environments = local.environments().into_iter();
            let standing =
                |one: EnvironmentSnapshot| standing(&one, one.status.as_str(), one.to_json());
            environments.map(standing).collect()
        }
        Engine::CloudFormation => {
            let stacks = local.stacks().into_iter();
            let standing = |one: EnvironmentSnapshot<StackStatus>| {
                standing(&one, one.status.as_str(), one.to_json())
            };
            stacks.map(standing).collect()
        }
    }
}

fn standing<S>(snapshot: &EnvironmentSnapshot<S>, status: &'static str, json: Value) -> Standing {
    Standing {
        name: snapshot.name.clone(),
        status,
        message: snapshot.message.clone(),
        started_at: snapshot.started_at,
        json,
    }
}
