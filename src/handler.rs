//! One invocation: from the payload's bytes to the function's answer.

use std::time::Duration;

use serde_json::value::RawValue;
use tracing::Instrument as _;

use crate::clock::{Budget, Clock};
use crate::engine::Engine;
use crate::invocation_error::InvocationError;
use crate::report::detail::{Context, Entry};
use crate::report::event_bridge::EventBridge;
use crate::report::metrics::Metrics;
use crate::report::summary;
use crate::run::{Record, Run};
use crate::settings::Settings;
use crate::text;
use crate::timestamp::{self, Timestamp};
use crate::trigger::{Alarm, Cause, Payload, Trigger, UnsupportedPayload};

/// The longest name of a trigger that log lines carry.
const LONGEST_LOGGED_NAME: usize = 255;

/// The function, set up.
#[derive(Debug)]
pub struct Handler {
    /// How the function was set up.
    pub settings: Settings,
    /// What deploys.
    pub engine: Engine,
    /// Where outcomes go.
    pub event_bridge: EventBridge,
    /// Where a run's line of metrics goes.
    pub metrics: fn(&str),
}

/// One invocation.
#[derive(Clone, Copy, Debug)]
pub struct Invocation<'a> {
    /// The payload's bytes, whatever they are.
    pub payload: &'a [u8],
    /// The Lambda request's id.
    pub request_id: &'a str,
    /// The function's name, which its metrics carry.
    pub function_name: &'a str,
    /// When Lambda ends the invocation.
    pub deadline: Timestamp,
    /// The time of day.
    pub now: Timestamp,
}

impl Handler {
    /// Handles an invocation; returns the summary, as JSON.
    pub async fn handle(
        &self,
        invocation: Invocation<'_>,
    ) -> Result<Box<RawValue>, InvocationError> {
        // Before the payload is read: a large one takes its time.
        let clock = Clock::starting_at(invocation.now);
        let request_id = invocation.request_id;
        let trigger = self
            .trigger(invocation)
            .map_err(InvocationError::from)
            .inspect_err(|error| {
                tracing::error!(
                    requestId = request_id,
                    errorType = error.error_type(),
                    error = error.to_string(),
                    "the payload is not supported"
                );
            })?;
        let name = trigger.name.as_deref().unwrap_or_default();
        // A span is filtered like a line: at its own level it is there wherever any line is.
        let span = tracing::error_span!(
            "run",
            requestId = request_id,
            trigger = trigger.cause.kind(),
            triggerName = text::cut(name, LONGEST_LOGGED_NAME).as_ref(),
        );
        self.handle_trigger(invocation, &trigger, clock)
            .instrument(span)
            .await
    }

    /// Reads why the function runs.
    fn trigger(&self, invocation: Invocation<'_>) -> Result<Trigger, UnsupportedPayload> {
        let engine = self.settings.engine;
        match Payload::parse(invocation.payload, engine, invocation.request_id)? {
            Payload::Run(trigger) => Ok(*trigger),
            Payload::Follow(_) => Err(UnsupportedPayload::follow()),
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
        let run = Run {
            settings: &self.settings,
            engine: &self.engine,
            event_bridge: &self.event_bridge,
            trigger,
            request_id: invocation.request_id,
            clock,
            budget: Budget::of(clock.until(invocation.deadline)),
        };
        let record = run.go().await.inspect_err(|error| {
            tracing::error!(
                errorType = error.error_type(),
                error = error.to_string(),
                "the run failed"
            );
        })?;
        (self.metrics)(&Metrics::of(&record, trigger).line(invocation, clock.now()));
        self.conclude(&record, run.context())?;
        let outcomes = &record.outcomes;
        Ok(raw(summary::answer(trigger, mode, record.tally, outcomes)))
    }

    /// Returns why this alarm asks for nothing, by its own words or by `IGNORED_ALARMS`.
    fn ignored(&self, alarm: &Alarm) -> Option<String> {
        alarm.ignored().or_else(|| {
            let name = text::cut(&alarm.name, LONGEST_LOGGED_NAME);
            self.settings
                .ignored_alarms
                .matches(&alarm.name)
                .then(|| format!("the alarm `{name}` matches `IGNORED_ALARMS`"))
        })
    }

    /// Fails the invocation if an outcome is not published, or else if a retry may complete it.
    fn conclude(&self, record: &Record, context: Context<'_>) -> Result<(), InvocationError> {
        let failure = match record.unpublished.first() {
            Some(first) => InvocationError::publish_failed(
                record.unpublished.len(),
                self.event_bridge.bus(),
                &first.why,
            ),
            None => match InvocationError::incomplete(record.incomplete()) {
                Some(incomplete) => incomplete,
                None => return Ok(()),
            },
        };
        let error_type = failure.error_type();
        for unpublished in &record.unpublished {
            let entry = Entry::of(&unpublished.outcome, context);
            tracing::error!(
                errorType = error_type,
                detail = entry.detail,
                resources = ?entry.resources,
                why = unpublished.why,
                "unpublished outcome"
            );
        }
        tracing::error!(
            errorType = error_type,
            error = failure.to_string(),
            "the run is not complete"
        );
        Err(failure)
    }
}

/// JSON that is not parsed again.
fn raw(json: String) -> Box<RawValue> {
    RawValue::from_string(json).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// The system's time of day.
#[must_use]
pub fn system_time() -> Timestamp {
    Timestamp::now()
}

/// The time of a deadline that Lambda gives in milliseconds since the epoch; without one that can
/// be used, the longest an invocation can take from now.
#[must_use]
pub fn deadline(milliseconds: u64, now: Timestamp) -> Timestamp {
    const LONGEST: Duration = Duration::from_mins(15);
    i64::try_from(milliseconds)
        .ok()
        .and_then(timestamp::from_milliseconds)
        .unwrap_or(now + LONGEST)
        .min(now + LONGEST)
}
