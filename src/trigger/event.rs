//! An EventBridge event: an alarm's, a rule's or a schedule's.

use aws_lambda_events::eventbridge::EventBridgeEvent;
use chrono::{DateTime, Utc};
use serde_json::value::RawValue;

use super::alarm::{AlarmFacts, EventTime};
use super::json::typed;
use super::{Cause, Trigger, UnsupportedPayload, unsupported};
use crate::timestamp::{self, Timestamp};

/// An EventBridge event whose `detail` is not read yet, and may be absent or null.
pub(super) type Event = EventBridgeEvent<Option<Box<RawValue>>>;

/// Reads an EventBridge event. Fails if the event is not one that starts a run.
pub(super) fn event_bridge(payload: &str) -> Result<Trigger, UnsupportedPayload> {
    let event: Event = typed("the EventBridge event", payload)?;
    let time = event.time.map(utc).transpose()?;
    let arn = event.resources.unwrap_or_default().into_iter().next();
    match (event.source.as_str(), event.detail_type.as_str()) {
        (
            "aws.cloudwatch",
            "CloudWatch Alarm State Change" | "CloudWatch Alarm Contributor State Change",
        ) => {
            let detail = event.detail.as_deref().map_or("null", RawValue::get);
            let facts: AlarmFacts = typed("the alarm's `detail`", detail)?;
            facts.into_trigger(event.id, arn, time.map(EventTime::ToTheSecond))
        }
        ("aws.events" | "aws.scheduler", "Scheduled Event") => Ok(scheduled(event.id, arn, time)),
        (source, detail_type) => Err(unsupported(format!(
            "the EventBridge event `{}` from `{}` is not one that cancels anything",
            crate::text::cut(detail_type, 100),
            crate::text::cut(source, 100),
        ))),
    }
}

fn scheduled(id: Option<String>, arn: Option<String>, time: Option<Timestamp>) -> Trigger {
    let name = arn
        .as_deref()
        .and_then(|arn| arn.rsplit('/').next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned);
    Trigger {
        cause: Cause::Schedule,
        id,
        name,
        arn,
        time,
        reason: None,
    }
}

/// Converts a time to this crate's type. Fails if RFC 3339 has no format for it.
pub(super) fn utc(time: DateTime<Utc>) -> Result<Timestamp, UnsupportedPayload> {
    let nanoseconds =
        i128::from(time.timestamp()) * 1_000_000_000 + i128::from(time.timestamp_subsec_nanos());
    timestamp::from_nanoseconds(nanoseconds).ok_or_else(|| {
        unsupported(format!(
            "invalid time `{time}`: must be RFC 3339, such as 2026-11-23T06:45:12Z"
        ))
    })
}
