//! The situations that the simulated worlds met. A simulation that meets no faults would prove
//! nothing.

use std::collections::BTreeMap;
use std::fmt;

use local_aws::{Answer, Call};
use proton_canceller::engine::EngineKind;
use proton_canceller::invocation_error::InvocationError;

use crate::deliveries::Ended;
use crate::function::start;
use crate::record::{Record, Reported, is_cancel, is_list};
use crate::scenario::Scenario;

/// How often each situation was met.
#[derive(Debug, Default)]
pub(crate) struct Tally(BTreeMap<String, usize>);

/// The situations that both engines must meet.
const WITH_EITHER: [&str; 42] = [
    "outcome CANCELLED",
    "outcome FAILED",
    "outcome SUCCEEDED",
    "outcome CANCELLING",
    "outcome DRY_RUN",
    "outcome SKIPPED",
    "outcome ERROR",
    "skipped as PROTECTED",
    "skipped as NOT_INCLUDED",
    "skipped as NOT_IN_PROGRESS",
    "skipped as STARTED_AFTER_ALARM",
    "skipped as NOT_TAGGED",
    "skipped as NOT_STUCK",
    "skipped as START_UNKNOWN",
    "skipped as OVER_LIMIT",
    "failed as ListFailed",
    "failed as PublishFailed",
    "failed as Incomplete",
    "retried by Lambda",
    "succeeded when retried",
    "delivered again",
    "delivered twice at once",
    "another alarm",
    "an outcome logged, not published",
    "an event published twice",
    "an error for lack of time",
    "several pages listed",
    "a cancel that hit",
    "a cancel that hit nothing",
    "a cancel repeated",
    "a race",
    "a deployment cancelled by others",
    "a deployment that followed another",
    "a deployment that ended by itself",
    "a deletion",
    "answer: throttled",
    "answer: broken",
    "answer: permanently refused",
    "answer: junk",
    "answer: dropped before",
    "answer: dropped after",
    "answer: never",
];

/// The situations that CloudFormation must meet.
const WITH_STACKS: [&str; 1] = ["a stack created again"];

impl Tally {
    /// Counts a situation.
    pub(crate) fn met(&mut self, engine: EngineKind, what: impl fmt::Display) {
        *self.0.entry(format!("{engine:?}: {what}")).or_default() += 1;
    }

    /// Adds another tally.
    pub(crate) fn add(&mut self, other: Self) {
        for (what, count) in other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    /// Counts the situations of a run.
    pub(crate) fn note(&mut self, scenario: &Scenario, ended: &[Ended], record: &Record) {
        let engine = scenario.engine;
        self.note_ended(scenario, ended);
        for reported in &record.published {
            self.met(engine, format_args!("outcome {}", reported.outcome));
            if reported.error.as_deref() == Some("DeadlineExceeded") {
                self.met(engine, "an error for lack of time");
            }
        }
        for (index, reported) in record.published.iter().enumerate() {
            let before = record.published.iter().take(index);
            let is_same = |other: &Reported| {
                other.id == reported.id && other.request_id == reported.request_id
            };
            if before.clone().any(is_same) {
                self.met(engine, "an event published twice");
            }
        }
        for end in ended {
            let pages = record
                .calls_of(&end.request_id)
                .filter(|call| is_list(call));
            if pages.count() > 1 && scenario.page < scenario.environments.len() {
                self.met(engine, "several pages listed");
            }
        }
        for (index, call) in record.calls.iter().enumerate() {
            self.met(engine, format_args!("answer: {}", kind(&call.answer)));
            if !is_cancel(call) {
                continue;
            }
            let hit = if call.cancelled.is_some() {
                "hit"
            } else {
                "hit nothing"
            };
            self.met(engine, format_args!("a cancel that {hit}"));
            if is_race(record, call) {
                self.met(engine, "a race");
            }
            let is_repeated = record.calls.iter().take(index).any(|before| {
                is_cancel(before)
                    && before.caller == call.caller
                    && before.environment == call.environment
            });
            if is_repeated {
                self.met(engine, "a cancel repeated");
            }
        }
        for (index, truth) in record.deployments.iter().enumerate() {
            let ours = record
                .calls
                .iter()
                .any(|call| call.cancelled.as_ref() == Some(&truth.id));
            if truth.cancelled_at.is_some_and(|at| at > start()) && !ours {
                self.met(engine, "a deployment cancelled by others");
            }
            if truth.cancelled_at.is_none() && truth.completed_at.is_some_and(|at| at > start()) {
                self.met(engine, "a deployment that ended by itself");
            }
            let mut before = record.deployments.iter().take(index);
            if before.any(|before| before.environment == truth.environment) {
                self.met(engine, "a deployment that followed another");
            }
        }
        for _ in 0..record.recreated {
            self.met(engine, "a stack created again");
        }
        for _ in record.existing.len()..scenario.environments.len() {
            self.met(engine, "a deletion");
        }
    }

    fn note_ended(&mut self, scenario: &Scenario, ended: &[Ended]) {
        let engine = scenario.engine;
        for (index, delivery) in scenario.deliveries.iter().enumerate() {
            match (delivery.name, delivery.after.is_zero()) {
                ("again", true) => self.met(engine, "delivered twice at once"),
                ("again", false) => self.met(engine, "delivered again"),
                ("other", _) => self.met(engine, "another alarm"),
                _ => {}
            }
            let tries: Vec<_> = ended.iter().filter(|end| end.delivery == index).collect();
            if tries.len() > 1 {
                self.met(engine, "retried by Lambda");
                if tries.last().is_some_and(|last| last.answer.is_ok()) {
                    self.met(engine, "succeeded when retried");
                }
            }
        }
        for end in ended {
            match &end.answer {
                Ok(summary) => {
                    for one in summary["environments"].as_array().unwrap() {
                        if let Some(reason) = one["reason"].as_str() {
                            self.met(engine, format_args!("skipped as {reason}"));
                        }
                    }
                }
                Err(error) => {
                    self.met(engine, format_args!("failed as {}", error.error_type()));
                    if matches!(error, InvocationError::PublishFailed(_)) {
                        self.met(engine, "an outcome logged, not published");
                    }
                }
            }
        }
    }

    /// Checks that every situation was met.
    pub(crate) fn assert_varied(&self) {
        for engine in [EngineKind::Proton, EngineKind::CloudFormation] {
            for what in WITH_EITHER {
                self.assert_met(engine, what);
            }
        }
        for what in WITH_STACKS {
            self.assert_met(EngineKind::CloudFormation, what);
        }
    }

    fn assert_met(&self, engine: EngineKind, what: &str) {
        let what = format!("{engine:?}: {what}");
        assert!(self.0.contains_key(&what), "never met: {what}\n{self}");
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in &self.0 {
            writeln!(formatter, "{count:9} {what}")?;
        }
        Ok(())
    }
}

/// True if a cancel hit a deployment that no earlier read could have shown.
fn is_race(record: &Record, cancel: &Call) -> bool {
    record.hit(cancel).is_some_and(|hit| {
        let mut calls = record.calls.iter();
        !calls.any(|call| {
            call.caller == cancel.caller && hit.started_at < call.time && call.time < cancel.time
        }) && hit.started_at > start()
    })
}

fn kind(answer: &Answer) -> &'static str {
    match answer {
        Answer::Ok => "ok",
        Answer::Error(code) if code.starts_with("Throttling") => "throttled",
        Answer::Error(code) if code.starts_with("Internal") => "broken",
        Answer::Error(code) if code.starts_with("AccessDenied") => "permanently refused",
        Answer::Error(_) => "refused",
        Answer::Junk(_) => "junk",
        Answer::Cut => "cut",
        Answer::DroppedBefore => "dropped before",
        Answer::DroppedAfter => "dropped after",
        Answer::Never => "never",
    }
}
