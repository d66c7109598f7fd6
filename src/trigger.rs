//! Triggers: the payload, classified by explicit discriminators and parsed once.
//!
//! The envelopes of EventBridge, SNS and SQS are those of `aws_lambda_events`. The discriminators are
//! checked first, because a derived struct also accepts an array.

mod alarm;
mod event;
mod json;
mod request;
mod sns;
mod sqs;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

pub use self::alarm::Alarm;
pub use self::request::Request;
pub use self::sqs::{DETAIL_TYPE, Follow, ReportedTrigger, SOURCE};

use self::json::{Object, told, typed};
use crate::engine::EngineKind;
use crate::timestamp::Timestamp;

/// The expected payloads, for the error message of an unsupported one.
const EXPECTED: &str = "expected a CloudWatch alarm state change (from EventBridge, from the alarm's own Lambda action, or through SNS), a `Scheduled Event`, a request such as {\"environments\": [\"prod-net\"]}, or one SQS record with this function's own `CANCELLING` event";

/// The purpose of a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A run, with its trigger.
    Run(Box<Trigger>),
    /// A follow of a deployment whose cancel was accepted in an earlier run.
    Follow(Box<Follow>),
}

/// The reason of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// The cause.
    pub cause: Cause,
    /// The event's id.
    pub id: Option<String>,
    /// The alarm's, rule's or schedule's name.
    pub name: Option<String>,
    /// The alarm's, rule's or schedule's ARN.
    pub arn: Option<String>,
    /// The event's own time.
    pub time: Option<Timestamp>,
    /// The alarm's state reason, or the request's reason.
    pub reason: Option<String>,
}

/// The cause of a run, with the facts that the rules need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// An alarm changed its state.
    Alarm(Alarm),
    /// A rule or a schedule fired.
    Schedule,
    /// A request names environments.
    Request(Request),
}

/// A payload of none of the kinds that the function accepts.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {EXPECTED}")]
pub struct UnsupportedPayload {
    what: String,
}

impl Cause {
    /// Returns the kind of trigger, as outcomes and log lines have it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Alarm(_) => "alarm",
            Self::Schedule => "schedule",
            Self::Request(_) => "request",
        }
    }
}

impl Payload {
    /// Reads a payload for this engine, from the Lambda request with this ID.
    pub fn parse(
        payload: &[u8],
        engine: EngineKind,
        request_id: &str,
    ) -> Result<Self, UnsupportedPayload> {
        let payload = std::str::from_utf8(payload)
            .map_err(|error| unsupported(format!("the payload is not JSON ({error})")))?;
        let Shape {
            detail_type,
            alarm_data,
            records,
            environments,
        } = typed("the payload", payload)?;
        let run = |trigger| Self::Run(Box::new(trigger));
        match (detail_type, alarm_data, records, environments) {
            (Some(_), None, None, None) => event::event_bridge(payload).map(run),
            (None, Some(_), None, None) => alarm::lambda_action(payload).map(run),
            (None, None, Some(_), None) => match Sender::of(payload)? {
                Sender::Sns => sns::notification(payload).map(run),
                Sender::Sqs => {
                    sqs::follow(payload, engine).map(|follow| Self::Follow(Box::new(follow)))
                }
            },
            (None, None, None, Some(_)) => {
                request::request(payload, engine.name_rule(), request_id).map(run)
            }
            (None, None, None, None) => Err(unsupported(
                "the payload has none of `detail-type`, `alarmData`, `Records` and `environments`",
            )),
            _ => Err(unsupported(
                "the payload has more than one of `detail-type`, `alarmData`, `Records` and `environments`",
            )),
        }
    }
}

fn unsupported(what: impl AsRef<str>) -> UnsupportedPayload {
    UnsupportedPayload {
        what: crate::text::cut(what.as_ref(), 1000).into_owned(),
    }
}

/// The discriminators of a payload. `null` counts as absent.
#[derive(Deserialize)]
struct Shape<'a> {
    #[serde(borrow, rename = "detail-type", default)]
    detail_type: Option<&'a RawValue>,
    #[serde(borrow, rename = "alarmData", default)]
    alarm_data: Option<&'a RawValue>,
    #[serde(borrow, rename = "Records", default)]
    records: Option<&'a RawValue>,
    #[serde(borrow, default)]
    environments: Option<&'a RawValue>,
}

/// The service that sent the one record of a payload.
enum Sender {
    Sns,
    Sqs,
}

#[derive(Deserialize)]
struct Records {
    #[serde(rename = "Records")]
    records: Vec<Object<Record>>,
}

/// The source of a record. Each service spells the member in its own way.
#[derive(Deserialize)]
struct Record {
    #[serde(rename = "EventSource", default, deserialize_with = "told")]
    from_sns: Option<String>,
    #[serde(rename = "eventSource", default, deserialize_with = "told")]
    from_sqs: Option<String>,
    #[serde(rename = "Sns", default)]
    sns: Option<Object<IgnoredAny>>,
}

impl Sender {
    fn of(payload: &str) -> Result<Self, UnsupportedPayload> {
        let Records { records } = typed("the payload's `Records`", payload)?;
        let [Object(record)] = records.as_slice() else {
            return Err(unsupported(format!(
                "the payload has {} `Records`: must be exactly one",
                records.len()
            )));
        };
        match (record.from_sns.as_deref(), record.from_sqs.as_deref()) {
            (Some("aws:sns"), None) if record.sns.is_some() => Ok(Self::Sns),
            (None, Some("aws:sqs")) => Ok(Self::Sqs),
            (source, other) => Err(unsupported(format!(
                "the payload's record from `{}` is neither an SNS notification nor an SQS message",
                crate::text::cut(source.or(other).unwrap_or_default(), 100)
            ))),
        }
    }
}

#[cfg(test)]
mod tests;
