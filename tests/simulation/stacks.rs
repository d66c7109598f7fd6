//! The same worlds as stacks, with CloudFormation as the engine: what must hold holds there, too.

use std::collections::BTreeSet;
use std::time::Duration;

use local_aws::{Call, Operation, Status, UpdateSnapshot};
use proton_canceller::invocation_error::InvocationError;
use serde_json::Value;

use crate::function::{Answer, Simulated};
use crate::scenario::{Cause, Scenario};

/// How many seeds are run.
const SEEDS: u64 = 400;

/// What is left between a reading and the cancel that relies on it: see `invariants`.
const RACE: Duration = Duration::from_secs(8);

#[test]
fn nothing_is_lost_and_nothing_harmed_in_stacks() {
    let mut broken = Vec::new();
    let mut cancels = 0;
    for seed in 0..SEEDS {
        let scenario = Scenario::of(seed);
        fastrand::seed(seed);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let (violations, called) = runtime.block_on(simulate(&scenario));
        cancels += called;
        broken.extend(
            violations
                .into_iter()
                .map(|violation| format!("seed {seed}: {violation}")),
        );
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
    assert!(cancels > 1_000, "only {cancels} cancels");
}

async fn simulate(scenario: &Scenario) -> (Vec<String>, usize) {
    let mut variables = scenario.variables.clone();
    variables.push(("ENGINE", "cloudformation".to_owned()));
    variables.push(("ENVIRONMENTS", "*".to_owned()));
    let simulated = Simulated::new(scenario.world.clone().as_stacks(), &variables);
    let start = tokio::time::Instant::now();
    let answer = simulated
        .invoke("r-1", &scenario.payload, scenario.time)
        .await;
    let took = start.elapsed();
    let mut violations = Vec::new();
    if took > scenario.time {
        violations.push(format!("the deadline: {took:?} of {:?}", scenario.time));
    }
    let cancel = Operation::CancelUpdateStack.to_string();
    let cancels: Vec<_> = simulated
        .local
        .calls()
        .into_iter()
        .filter(|call| call.operation == cancel)
        .collect();
    let updates = simulated.local.updates();
    let events: Vec<Value> = simulated
        .local
        .events()
        .iter()
        .map(|event| serde_json::from_str(&event.detail).unwrap())
        .collect();
    check_cancels(scenario, &cancels, &updates, &mut violations);
    check_told(&answer, &cancels, &events, &mut violations);
    check_truth(&events, &updates, &mut violations);
    (violations, cancels.len())
}

/// Only what was decided, never more than the limit, nothing in a dry run, never the cure.
fn check_cancels(
    scenario: &Scenario,
    cancels: &[Call],
    updates: &[UpdateSnapshot],
    violations: &mut Vec<String>,
) {
    let names: BTreeSet<_> = cancels
        .iter()
        .filter_map(|call| call.environment.clone())
        .collect();
    if names.len() > scenario.limit {
        violations.push(format!("{} stacks, limit {}", names.len(), scenario.limit));
    }
    if scenario.dry_run && !cancels.is_empty() {
        violations.push("a dry run cancelled".to_owned());
    }
    for name in &names {
        let is_asked_for = scenario.cause != Cause::Request || scenario.requested.contains(name);
        if scenario.protected.contains(name) || !is_asked_for {
            violations.push(format!("{name} was not decided on"));
        }
    }
    for call in cancels {
        let Some(hit) = &call.cancelled else { continue };
        let hit = updates.iter().find(|update| update.id == *hit).unwrap();
        let after = hit.started_at > std::time::SystemTime::from(scenario.spoke);
        let since = call.time.duration_since(hit.started_at).unwrap_or_default();
        if scenario.cause == Cause::Alarm && after && since > RACE {
            violations.push(format!("{} was the cure, {since:?} old", hit.stack));
        }
    }
}

/// Every cancel has its outcome, unless EventBridge took none.
fn check_told(answer: &Answer, cancels: &[Call], events: &[Value], violations: &mut Vec<String>) {
    if matches!(answer, Err(InvocationError::PublishFailed(_))) {
        return;
    }
    for call in cancels {
        let name = call.environment.as_deref().unwrap_or_default();
        if !events
            .iter()
            .any(|event| event["environment"]["name"] == name)
        {
            violations.push(format!("{name} has no outcome"));
        }
    }
}

/// A final outcome is how an update of that stack really ended.
fn check_truth(events: &[Value], updates: &[UpdateSnapshot], violations: &mut Vec<String>) {
    for event in events {
        let expected = match event["outcome"].as_str().unwrap() {
            "CANCELLED" => Status::Cancelled,
            "FAILED" => Status::Failed,
            "SUCCEEDED" => Status::Succeeded,
            _ => continue,
        };
        let name = event["environment"]["name"].as_str().unwrap();
        let id = event["deployment"]["id"].as_str();
        let mut of_it = updates.iter().filter(|update| update.stack == name);
        let truth = of_it
            .clone()
            .find(|update| id == Some(update.id.as_str()))
            .map_or_else(
                // Without an operation's id it is one of the stack's updates.
                || of_it.any(|update| update.status.deployment_status() == Some(expected)),
                |update| update.status.deployment_status() == Some(expected),
            );
        if !truth {
            violations.push(format!("{name} was told {expected}: {event}"));
        }
    }
}
