//! What must hold whatever happens. Each has its name here and in ARCHITECTURE.md.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use local_aws::{Answer as CallAnswer, Call, DeploymentSnapshot, Status};
use proton_canceller::invocation_error::InvocationError;
use serde_json::Value;

use crate::Ended;
use crate::function::Simulated;
use crate::scenario::{Cause, Scenario};

/// A cancel may hit a deployment that started after the reading it relies on: the reading may be
/// two seconds old when the call is made, and both took up to three seconds on the way.
const RACE: Duration = Duration::from_secs(8);

/// How much of everything was met, to show that the worlds are varied.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    outcomes: BTreeMap<String, usize>,
    errors: BTreeMap<&'static str, usize>,
    cancels: usize,
    races: usize,
    lost_answers: usize,
}

impl Tally {
    /// Adds what another met.
    pub(crate) fn add(&mut self, other: Self) {
        for (outcome, count) in other.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
        for (error, count) in other.errors {
            *self.errors.entry(error).or_default() += count;
        }
        self.cancels += other.cancels;
        self.races += other.races;
        self.lost_answers += other.lost_answers;
    }

    /// Every outcome, every error and every race was met.
    pub(crate) fn assert_varied(&self) {
        for outcome in [
            "CANCELLED",
            "FAILED",
            "SUCCEEDED",
            "CANCELLING",
            "DRY_RUN",
            "SKIPPED",
            "ERROR",
        ] {
            assert!(
                self.outcomes.contains_key(outcome),
                "no {outcome}: {self:?}"
            );
        }
        for error in ["ListFailed", "PublishFailed", "Incomplete"] {
            assert!(self.errors.contains_key(error), "no {error}: {self:?}");
        }
        assert!(self.cancels > 1_000, "{self:?}");
        assert!(self.lost_answers > 50, "{self:?}");
        assert!(self.races > 0, "{self:?}");
    }
}

/// One published event, as far as the invariants need it.
struct Published {
    request_id: String,
    environment: String,
    outcome: String,
    reason: Value,
    deployment_id: Option<String>,
    started_at: Option<SystemTime>,
}

/// Checks all of them; returns what does not hold.
pub(crate) fn check(
    simulated: &Simulated,
    scenario: &Scenario,
    ended: &[Ended],
    tally: &mut Tally,
) -> Vec<String> {
    let mut checks = Checks {
        scenario,
        ended,
        cancels: simulated
            .local
            .calls()
            .into_iter()
            .filter(|call| call.operation == "CancelEnvironmentDeployment")
            .collect(),
        published: published(simulated),
        deployments: simulated.local.deployments(),
        violations: Vec::new(),
    };
    checks.count(tally);
    checks.only_what_was_decided();
    checks.the_cure_goes_through(tally);
    checks.never_more_than_the_limit();
    checks.a_dry_run_changes_nothing();
    checks.each_candidate_once();
    checks.every_cancel_has_its_outcome();
    checks.what_is_told_is_published();
    checks.a_final_outcome_is_the_truth();
    checks.the_deadline_is_kept();
    checks.violations
}

fn published(simulated: &Simulated) -> Vec<Published> {
    let events = simulated.local.events();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    events
        .iter()
        .map(|event| {
            let detail: Value = serde_json::from_str(&event.detail).unwrap();
            Published {
                request_id: text(&detail["run"]["requestId"]).unwrap(),
                environment: text(&detail["environment"]["name"]).unwrap(),
                outcome: text(&detail["outcome"]).unwrap(),
                reason: detail["reason"].clone(),
                deployment_id: text(&detail["deployment"]["id"]),
                started_at: text(&detail["deployment"]["startedAt"])
                    .map(|time| time.parse::<DateTime<Utc>>().unwrap().into()),
            }
        })
        .collect()
}

struct Checks<'a> {
    scenario: &'a Scenario,
    ended: &'a [Ended],
    cancels: Vec<Call>,
    published: Vec<Published>,
    deployments: Vec<DeploymentSnapshot>,
    violations: Vec<String>,
}

impl Checks<'_> {
    fn count(&self, tally: &mut Tally) {
        for event in &self.published {
            *tally.outcomes.entry(event.outcome.clone()).or_default() += 1;
        }
        for ended in self.ended {
            if let Err(error) = &ended.answer {
                *tally.errors.entry(error.error_type()).or_default() += 1;
            }
        }
        tally.cancels += self.cancels.len();
        tally.lost_answers += self
            .cancels
            .iter()
            .filter(|call| call.answer == CallAnswer::DroppedAfter)
            .count();
    }

    /// No environment outside the decision is cancelled.
    fn only_what_was_decided(&mut self) {
        for call in &self.cancels {
            let name = call.environment.clone().unwrap_or_default();
            let named =
                self.scenario.cause != Cause::Request || self.scenario.requested.contains(&name);
            if self.scenario.protected.contains(&name) || !named {
                self.violations
                    .push(format!("only_what_was_decided: {name} was cancelled"));
            }
        }
    }

    /// A deployment that started after the alarm is never the target of a call made on a reading
    /// that showed it; what is left is the race between reading and call.
    fn the_cure_goes_through(&mut self, tally: &mut Tally) {
        if self.scenario.cause != Cause::Alarm {
            return;
        }
        for call in &self.cancels {
            let Some(id) = &call.cancelled else { continue };
            let hit = self.deployments.iter().find(|one| one.id == *id).unwrap();
            if hit.started_at <= SystemTime::from(self.scenario.spoke) {
                continue;
            }
            tally.races += 1;
            let since = call.time.duration_since(hit.started_at).unwrap_or_default();
            if since > RACE {
                self.violations.push(format!(
                    "the_cure_goes_through: {} was cancelled {since:?} after it started",
                    hit.environment
                ));
            }
        }
    }

    /// One invocation never cancels more environments than the limit allows.
    fn never_more_than_the_limit(&mut self) {
        let names: BTreeSet<_> = self.cancels.iter().map(|call| &call.environment).collect();
        if names.len() > self.scenario.limit * self.ended.len() {
            self.violations.push(format!(
                "never_more_than_the_limit: {} environments, limit {}",
                names.len(),
                self.scenario.limit
            ));
        }
    }

    /// A dry run makes no mutating call.
    fn a_dry_run_changes_nothing(&mut self) {
        if self.scenario.dry_run && !self.cancels.is_empty() {
            self.violations
                .push("a_dry_run_changes_nothing: a cancel was called".to_owned());
        }
    }

    /// Each candidate appears in the summary once, and the counts are theirs.
    fn each_candidate_once(&mut self) {
        for ended in self.ended {
            let Ok(summary) = &ended.answer else { continue };
            let environments = summary["environments"].as_array().unwrap();
            let names: BTreeSet<_> = environments
                .iter()
                .map(|one| one["name"].as_str())
                .collect();
            let counted: u64 = summary["counts"]
                .as_object()
                .unwrap()
                .values()
                .map(|count| count.as_u64().unwrap())
                .sum();
            if names.len() != environments.len() || counted != environments.len() as u64 {
                self.violations
                    .push(format!("each_candidate_once: {summary}"));
            }
        }
    }

    /// Each environment whose cancel was asked for has a published outcome, or EventBridge took
    /// none of it and the invocation says so.
    fn every_cancel_has_its_outcome(&mut self) {
        let failed = self
            .ended
            .iter()
            .any(|ended| matches!(ended.answer, Err(InvocationError::PublishFailed(_))));
        for call in &self.cancels {
            let name = call.environment.as_deref().unwrap_or_default();
            let told = self.published.iter().any(|event| event.environment == name);
            if !told && !failed {
                self.violations
                    .push(format!("every_cancel_has_its_outcome: {name} has none"));
            }
        }
    }

    /// What a summary tells of rule 7 and beyond is published, with that very outcome.
    fn what_is_told_is_published(&mut self) {
        for ended in self.ended {
            let Ok(summary) = &ended.answer else { continue };
            for told in summary["environments"].as_array().unwrap() {
                let before_the_limit =
                    told["outcome"] == "SKIPPED" && told["reason"] != "OVER_LIMIT";
                let events = self
                    .published
                    .iter()
                    .filter(|event| {
                        event.request_id == ended.request_id
                            && told["name"] == event.environment.as_str()
                            && told["outcome"] == event.outcome.as_str()
                            && told["reason"] == event.reason
                    })
                    .count();
                if (events == 0) != before_the_limit {
                    self.violations.push(format!(
                        "what_is_told_is_published: {told} has {events} events"
                    ));
                }
            }
        }
    }

    /// A published final outcome is the true final state of that deployment; so nothing is called
    /// cancelled that was merely accepted.
    fn a_final_outcome_is_the_truth(&mut self) {
        for event in &self.published {
            let expected = match event.outcome.as_str() {
                "CANCELLED" => Status::Cancelled,
                "FAILED" => Status::Failed,
                "SUCCEEDED" => Status::Succeeded,
                _ => continue,
            };
            let truth = self
                .deployments
                .iter()
                .find(|one| match &event.deployment_id {
                    Some(id) => one.id == *id,
                    None => {
                        one.environment == event.environment
                            && event
                                .started_at
                                .is_none_or(|started| is_close(one.started_at, started))
                    }
                });
            if truth.map(|truth| truth.status) != Some(expected) {
                self.violations.push(format!(
                    "a_final_outcome_is_the_truth: {} was told {} and is {truth:?}",
                    event.environment, event.outcome
                ));
            }
        }
    }

    /// The run ends before its deadline.
    fn the_deadline_is_kept(&mut self) {
        for ended in self.ended {
            if ended.took > self.scenario.time {
                self.violations.push(format!(
                    "the_deadline_is_kept: {:?} of {:?}",
                    ended.took, self.scenario.time
                ));
            }
        }
    }
}

/// The wire carries milliseconds.
fn is_close(one: SystemTime, other: SystemTime) -> bool {
    let apart = one
        .duration_since(other)
        .or_else(|_| other.duration_since(one));
    apart.is_ok_and(|apart| apart < Duration::from_millis(2))
}
