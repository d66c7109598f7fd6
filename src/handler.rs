//! One invocation: from the payload's bytes to the function's response.

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use tracing::Instrument as _;

use crate::clock::Clock;
use crate::engine::Engine;
use crate::follower::{self, Verdict};
use crate::invocation_error::InvocationError;
use crate::plan::Mode;
use crate::report::detail::{Context, Entry, Origin};
use crate::report::event_bridge::EventBridge;
use crate::report::metrics::Metrics;
use crate::report::outcome::Outcome;
use crate::report::publish::{Publisher, Unpublished};
use crate::report::record::{self, Record};
use crate::report::summary;
use crate::run::{Budget, Driver, Limits, Report, Run, Word};
use crate::settings::Settings;
use crate::text;
use crate::timestamp::{self, Timestamp};
use crate::trigger::{Alarm, Cause, Follow, Payload, Trigger};

/// The most bytes of a trigger's name in log lines.
const LONGEST_LOGGED_NAME: usize = 255;

/// The function, with its settings and clients.
#[derive(Debug)]
pub struct Handler {
    /// The settings.
    pub settings: Settings,
    /// The engine.
    pub engine: Engine,
    /// The client that publishes outcomes.
    pub event_bridge: EventBridge,
    /// The function that writes a run's line of metrics.
    pub metrics: fn(&str),
}

/// One invocation.
#[derive(Clone, Copy, Debug)]
pub struct Invocation<'a> {
    /// The payload's bytes, not parsed yet.
    pub payload: &'a [u8],
    /// The ID of the Lambda request.
    pub request_id: &'a str,
    /// The function's name, a dimension of the metrics.
    pub function_name: &'a str,
    /// When Lambda ends the invocation.
    pub deadline: Timestamp,
    /// The time of day.
    pub now: Timestamp,
}

impl Handler {
    /// Handles an invocation. Returns the summary of a run, or the response of a follow, as JSON.
    pub async fn handle(
        &self,
        invocation: Invocation<'_>,
    ) -> Result<Box<RawValue>, InvocationError> {
        // The clock starts before the payload is parsed, because a large payload takes time.
        let clock = Clock::starting_at(invocation.now);
        let request_id = invocation.request_id;
        let payload = Payload::parse(invocation.payload, self.settings.engine, request_id)
            .map_err(InvocationError::from)
            .inspect_err(|error| {
                let _span = tracing::error_span!("run", requestId = request_id).entered();
                log_failure(error, "the payload is not supported");
            })?;
        // A span is filtered by its level, like a line. At `ERROR`, every line has its span.
        match &payload {
            Payload::Run(trigger) => {
                let name = trigger.name.as_deref().unwrap_or_default();
                let span = tracing::error_span!(
                    "run",
                    requestId = request_id,
                    trigger = trigger.cause.kind(),
                    triggerName = text::cut(name, LONGEST_LOGGED_NAME).as_ref(),
                );
                self.handle_trigger(invocation, trigger, clock)
                    .instrument(span)
                    .await
            }
            Payload::Follow(follow) => {
                let span = tracing::error_span!("run", requestId = request_id, trigger = "follow");
                self.handle_follow(invocation, follow, clock)
                    .instrument(span)
                    .await
            }
        }
    }

    async fn handle_trigger(
        &self,
        invocation: Invocation<'_>,
        trigger: &Trigger,
        clock: Clock,
    ) -> Result<Box<RawValue>, InvocationError> {
        let mode = self.settings.policy.mode_for(trigger);
        if let Cause::Alarm(alarm) = &trigger.cause
            && let Some(why) = self.ignored(alarm)
        {
            tracing::info!(why, "ignored");
            return Ok(raw(summary::ignored(trigger, mode, &why)));
        }
        let context = Context {
            origin: Origin::Trigger(trigger),
            mode,
            request_id: invocation.request_id,
        };
        let limits = self.limits(clock, invocation.deadline);
        let record = self
            .run(trigger, context, clock, limits)
            .await
            .inspect_err(|error| log_failure(error, "the run failed"))?;
        self.write(&Metrics::of(&record, trigger), invocation, clock.now());
        let failure = self
            .log_unpublished(&record.unpublished, context)
            .or_else(|| InvocationError::incomplete(record.incomplete()));
        if let Some(failure) = failure {
            log_failure(&failure, "the run is not complete");
            return Err(failure);
        }
        let outcomes = &record.outcomes;
        Ok(raw(summary::answer(trigger, mode, record.tally, outcomes)))
    }

    /// Follows a deployment: reads it once, for one delivery of its message.
    async fn handle_follow(
        &self,
        invocation: Invocation<'_>,
        follow: &Follow,
        clock: Clock,
    ) -> Result<Box<RawValue>, InvocationError> {
        let context = Context {
            origin: Origin::Follow(follow),
            mode: Mode::Live,
            request_id: invocation.request_id,
        };
        let limits = self.limits(clock, invocation.deadline);
        let (verdict, unpublished) =
            follower::follow(self.driver(clock), limits, follow, context).await;
        let failure = match &verdict {
            Verdict::Fail(error) => Some(InvocationError::follow_failed(error, &self.engine)),
            Verdict::Publish(_) | Verdict::Again => self.log_unpublished(&unpublished, context),
        };
        if let Some(failure) = failure {
            log_failure(&failure, "the follow failed");
            return Err(failure);
        }
        if let Verdict::Publish(outcome) = &verdict {
            self.write(&Metrics::of_an_end(outcome), invocation, clock.now());
        }
        Ok(raw(follower::answer(&verdict, follow)))
    }

    fn write(&self, metrics: &Metrics, invocation: Invocation<'_>, now: Timestamp) {
        let Invocation {
            function_name,
            request_id,
            ..
        } = invocation;
        (self.metrics)(&metrics.line(function_name, request_id, now));
    }

    fn limits(&self, clock: Clock, deadline: Timestamp) -> Limits {
        Limits {
            budget: Budget::new(clock.now(), clock.until(deadline)),
            concurrency: self.settings.concurrency,
            settle_timeout: self.settings.settle_timeout,
            seed: fastrand::u64(..),
        }
    }

    fn driver(&self, clock: Clock) -> Driver<'_> {
        Driver {
            engine: &self.engine,
            event_bridge: &self.event_bridge,
            clock,
        }
    }

    /// Runs: lists, decides, cancels, follows and publishes.
    async fn run(
        &self,
        trigger: &Trigger,
        context: Context<'_>,
        clock: Clock,
        limits: Limits,
    ) -> Result<Record, InvocationError> {
        let now = clock.now();
        let mut run = Run::new(trigger, &self.settings.policy, limits, now);
        let until = limits.budget.publish_until;
        let mut publisher = Publisher::new(context, until, limits.seed);
        let mut outcomes = Vec::new();
        self.driver(clock)
            .drive(&mut run, &mut publisher, |report| {
                take_in(report, &mut outcomes)
            })
            .await;
        if let Some(error) = run.failure() {
            return Err(InvocationError::list_failed(error, &self.engine));
        }
        outcomes.sort_by(|one, other| one.environment.name.cmp(&other.environment.name));
        Ok(Record {
            tally: run.tally(),
            first_accepted: run.first_accepted(),
            unpublished: publisher.into_unpublished(),
            outcomes,
        })
    }

    /// Returns why this alarm is ignored: by its own state, or by `IGNORED_ALARMS`.
    fn ignored(&self, alarm: &Alarm) -> Option<String> {
        alarm.ignored().or_else(|| {
            let name = text::cut(&alarm.name, LONGEST_LOGGED_NAME);
            self.settings
                .ignored_alarms
                .matches(&alarm.name)
                .then(|| format!("the alarm `{name}` matches `IGNORED_ALARMS`"))
        })
    }

    /// Logs each outcome that could not be published, whole. Returns the error if there is such an outcome.
    fn log_unpublished(
        &self,
        unpublished: &[Unpublished],
        context: Context<'_>,
    ) -> Option<InvocationError> {
        let first = unpublished.first()?;
        let failure =
            InvocationError::publish_failed(unpublished.len(), self.event_bridge.bus(), &first.why);
        for one in unpublished {
            let entry = Entry::of(&one.outcome, context);
            tracing::error!(
                errorType = failure.error_type(),
                detail = entry.detail,
                resources = ?entry.resources,
                why = one.why,
                "unpublished outcome"
            );
        }
        Some(failure)
    }
}

/// Writes the log line of an invocation that fails. The line and the response have the same `errorType`.
fn log_failure(error: &InvocationError, what: &str) {
    tracing::error!(
        errorType = error.error_type(),
        error = error.to_string(),
        "{what}"
    );
}

/// Logs a report of the run and keeps the last outcome of each environment. Returns the outcome to publish,
/// if any.
fn take_in(report: Report, outcomes: &mut Vec<Arc<Outcome>>) -> Option<Arc<Outcome>> {
    let (outcome, word) = match report {
        Report::Note(note) => {
            note.log();
            return None;
        }
        Report::Outcome(outcome, word) => (Arc::new(*outcome), word),
    };
    if word == Word::Unchanged {
        tracing::info!(
            environment = outcome.environment.name.as_str(),
            "ending the wait: the deployment is still being cancelled"
        );
    } else {
        record::log(&outcome);
    }
    if word != Word::First {
        outcomes.push(Arc::clone(&outcome));
    }
    (word != Word::Unchanged && outcome.end.is_published()).then_some(outcome)
}

/// Returns JSON that is not parsed again.
fn raw(json: String) -> Box<RawValue> {
    RawValue::from_string(json).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// Returns the system's time of day.
#[must_use]
pub fn system_time() -> Timestamp {
    Timestamp::now()
}

/// Returns the time of a deadline that Lambda gives in milliseconds since the epoch. An unusable deadline
/// counts as 15 minutes from now, the longest an invocation can take.
#[must_use]
pub fn deadline(milliseconds: u64, now: Timestamp) -> Timestamp {
    const LONGEST: Duration = Duration::from_mins(15);
    i64::try_from(milliseconds)
        .ok()
        .and_then(timestamp::from_milliseconds)
        .unwrap_or(now + LONGEST)
        .min(now + LONGEST)
}
