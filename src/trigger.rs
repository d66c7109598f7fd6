//! Why the function runs: the payload, classified by explicit discriminators and parsed once.
//!
//! Only what is needed is read, by private structs that tolerate everything else: the alarm types
//! of `aws_lambda_events` reject metric math, periods of a day and composites without a suppressor.
//! Its SNS types demand signatures and addresses, and its EventBridge envelope texts, that nothing
//! here needs.

mod sqs;

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

pub use sqs::{Follow, ReportedTrigger};

use crate::deployment::{EnvironmentName, NameRule};
use crate::timestamp::{self, Timestamp};

/// The most environments that one request may name.
const MOST_NAMES: usize = 100;

/// What a payload must be, for the operator who sent something else.
const EXPECTED: &str = "expected a CloudWatch alarm state change (from EventBridge, from the alarm's own Lambda action, or through SNS), a `Scheduled Event`, or a request such as {\"environments\": [\"prod-net\"]}";

/// Why the function runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// What happened.
    pub cause: Cause,
    /// The event's id.
    pub id: Option<String>,
    /// The alarm's, rule's or schedule's name.
    pub name: Option<String>,
    /// The alarm's, rule's or schedule's ARN.
    pub arn: Option<String>,
    /// The event's own time.
    pub time: Option<Timestamp>,
    /// Why the alarm fired, or the request's reason.
    pub reason: Option<String>,
}

/// What happened, with what the decision needs of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// An alarm changed its state.
    Alarm(Alarm),
    /// A rule's or schedule's time came.
    Schedule,
    /// Somebody asks for certain environments.
    Request(Request),
}

/// An alarm's state change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// The alarm's name.
    pub name: String,
    /// The state it is in now, as CloudWatch wrote it.
    pub state: String,
    /// What suppresses its actions, if anything does.
    pub suppressed_by: Option<String>,
    /// The mute rule that silences it, if one does.
    pub muted_by: Option<String>,
    /// When the alarm spoke: a deployment that started later is more likely the cure than the cause.
    pub spoke_at: Timestamp,
}

/// A request for certain environments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The environments, each once, in the order given.
    pub environments: Vec<EnvironmentName>,
    /// Whether it asks for a dry run.
    pub dry_run: bool,
}

/// A payload that is none of those the function understands.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {EXPECTED}")]
pub struct UnsupportedPayload {
    what: String,
}

impl Cause {
    /// The kind of trigger, as outcomes and log lines name it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Alarm(_) => "alarm",
            Self::Schedule => "schedule",
            Self::Request(_) => "request",
        }
    }
}

impl Alarm {
    /// Why this state change asks for nothing, if so.
    ///
    /// The previous state plays no part: a composite alarm goes from `ALARM` to `ALARM` when a
    /// suppression ends, a new alarm comes from `INSUFFICIENT_DATA`.
    #[must_use]
    pub fn ignored(&self) -> Option<String> {
        let name = crate::text::cut(&self.name, 255);
        if self.state != "ALARM" {
            let state = crate::text::cut(&self.state, 100);
            return Some(format!(
                "the alarm `{name}` is in state `{state}`, not `ALARM`"
            ));
        }
        if let Some(by) = &self.suppressed_by {
            let by = crate::text::cut(by, 255);
            return Some(format!(
                "the actions of the alarm `{name}` are suppressed by `{by}`"
            ));
        }
        self.muted_by.as_ref().map(|by| {
            let by = crate::text::cut(by, 255);
            format!("the alarm `{name}` is muted by `{by}`")
        })
    }
}

impl Trigger {
    /// Reads a payload; the environments that a request names must follow the rule.
    pub fn parse(payload: &[u8], rule: NameRule) -> Result<Self, UnsupportedPayload> {
        let payload = std::str::from_utf8(payload)
            .map_err(|error| unsupported(format!("the payload is not JSON ({error})")))?;
        match typed("the payload", payload)? {
            Shape {
                detail_type: Some(_),
                alarm_data: None,
                records: None,
                environments: None,
            } => event_bridge(payload),
            Shape {
                detail_type: None,
                alarm_data: Some(_),
                records: None,
                environments: None,
            } => lambda_action(payload),
            Shape {
                detail_type: None,
                alarm_data: None,
                records: Some(_),
                environments: None,
            } => notification(payload),
            Shape {
                detail_type: None,
                alarm_data: None,
                records: None,
                environments: Some(_),
            } => request(payload, rule),
            Shape {
                detail_type: None,
                alarm_data: None,
                records: None,
                environments: None,
            } => Err(unsupported(
                "the payload has none of `detail-type`, `alarmData`, `Records` and `environments`",
            )),
            Shape { .. } => Err(unsupported(
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

/// Something that is a JSON object, and no array: a derived struct would take either.
#[derive(Debug)]
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Object<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members)).map(Object)
            }
        }

        deserializer.deserialize_map(Members(PhantomData))
    }
}

/// Which discriminators a payload has. `null` counts as absent.
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

fn typed<'a, T: Deserialize<'a>>(what: &str, json: &'a str) -> Result<T, UnsupportedPayload> {
    match serde_json::from_str(json) {
        Ok(Object(value)) => Ok(value),
        Err(error) if error.is_data() => {
            Err(unsupported(format!("{what} cannot be read ({error})")))
        }
        Err(error) => Err(unsupported(format!("{what} is not JSON ({error})"))),
    }
}

/// A text that tells something and decides nothing: one of another type is as good as none, and
/// half a character (a lone surrogate, which JSON can write) is replaced.
fn told<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    struct Text(String);

    impl<'de> Deserialize<'de> for Text {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Bytes;

            impl Visitor<'_> for Bytes {
                type Value = Text;

                fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                    formatter.write_str("a text")
                }

                fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Text, E> {
                    Ok(Text(String::from_utf8_lossy(bytes).into_owned()))
                }
            }

            deserializer.deserialize_bytes(Bytes)
        }
    }

    let value = Option::<Box<RawValue>>::deserialize(deserializer)?;
    let text = value.and_then(|value| serde_json::from_str(value.get()).ok());
    Ok(text.map(|Text(text)| text))
}

/// The first of an event's resources, if it is a text.
fn first<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let value = Option::<Box<RawValue>>::deserialize(deserializer)?;
    let resources = value.and_then(|value| serde_json::from_str(value.get()).ok());
    Ok(resources.and_then(|resources: Vec<String>| resources.into_iter().next()))
}

/// What is needed of EventBridge's envelope.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct EventBridgeEvent {
    detail_type: String,
    source: String,
    #[serde(default, deserialize_with = "told")]
    id: Option<String>,
    #[serde(default)]
    time: Option<String>,
    #[serde(default, rename = "resources", deserialize_with = "first")]
    resource: Option<String>,
    #[serde(default)]
    detail: Option<Box<RawValue>>,
}

fn event_bridge(payload: &str) -> Result<Trigger, UnsupportedPayload> {
    let mut event: EventBridgeEvent = typed("the EventBridge event", payload)?;
    let time = time_of("the EventBridge event's `time`", event.time.take())?;
    match (event.source.as_str(), event.detail_type.as_str()) {
        (
            "aws.cloudwatch",
            "CloudWatch Alarm State Change" | "CloudWatch Alarm Contributor State Change",
        ) => event_bridge_alarm(event, time),
        ("aws.events" | "aws.scheduler", "Scheduled Event") => Ok(scheduled(event, time)),
        (source, detail_type) => Err(unsupported(format!(
            "the EventBridge event `{}` from `{}` is not one that cancels anything",
            crate::text::cut(detail_type, 100),
            crate::text::cut(source, 100),
        ))),
    }
}

fn event_bridge_alarm(
    event: EventBridgeEvent,
    time: Option<Timestamp>,
) -> Result<Trigger, UnsupportedPayload> {
    let detail = event.detail.as_deref().map_or("null", RawValue::get);
    let facts: AlarmFacts = typed("the alarm's `detail`", detail)?;
    facts.into_trigger(event.id, event.resource, time.map(EventTime::ToTheSecond))
}

fn scheduled(event: EventBridgeEvent, time: Option<Timestamp>) -> Trigger {
    let arn = event.resource;
    let name = arn
        .as_deref()
        .and_then(|arn| arn.rsplit('/').next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned);
    Trigger {
        cause: Cause::Schedule,
        id: event.id,
        name,
        arn,
        time,
        reason: None,
    }
}

/// What an alarm's `detail` or `alarmData` says.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AlarmFacts {
    alarm_name: String,
    state: Object<AlarmState>,
    #[serde(default)]
    mute_detail: Option<Object<MuteDetail>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AlarmState {
    value: String,
    #[serde(default, deserialize_with = "told")]
    reason: Option<String>,
    #[serde(default)]
    timestamp: Option<String>,
    #[serde(default)]
    actions_suppressed_by: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MuteDetail {
    #[serde(default, deserialize_with = "told")]
    muted_by_arn: Option<String>,
}

impl AlarmFacts {
    fn into_trigger(
        self,
        id: Option<String>,
        arn: Option<String>,
        time: Option<EventTime>,
    ) -> Result<Trigger, UnsupportedPayload> {
        let Object(state) = self.state;
        let state_time = time_of("the alarm's `state.timestamp`", state.timestamp)?;
        let spoke_at = spoke_at(time, state_time)?;
        if self.alarm_name.is_empty() {
            return Err(unsupported("the alarm's name is empty"));
        }
        Ok(Trigger {
            cause: Cause::Alarm(Alarm {
                name: self.alarm_name.clone(),
                state: state.value,
                suppressed_by: state.actions_suppressed_by,
                muted_by: self.mute_detail.map(|Object(mute)| {
                    mute.muted_by_arn
                        .unwrap_or_else(|| "a mute rule".to_owned())
                }),
                spoke_at,
            }),
            id,
            name: Some(self.alarm_name),
            arn,
            time: time.map(EventTime::start).or(state_time),
            reason: state.reason,
        })
    }
}

/// An event's own time, and how exactly it is known.
#[derive(Clone, Copy)]
enum EventTime {
    /// EventBridge writes whole seconds: the event happened somewhere within that one.
    ToTheSecond(Timestamp),
    /// To the millisecond, as CloudWatch and SNS write it.
    Exact(Timestamp),
}

impl EventTime {
    fn start(self) -> Timestamp {
        match self {
            Self::ToTheSecond(time) | Self::Exact(time) => time,
        }
    }
}

/// When the alarm spoke: the later of the event's own time and the state's.
///
/// An event's time that is known to the second only stands for all of that second, so that a
/// deployment from earlier in it is not taken for one that started after the alarm. Where the
/// state's time lies within the same second it is the exact reading of that moment; but not where it
/// lies right at its beginning: there it is known to the second only, too.
fn spoke_at(
    event: Option<EventTime>,
    state: Option<Timestamp>,
) -> Result<Timestamp, UnsupportedPayload> {
    match (event, state) {
        (Some(EventTime::ToTheSecond(second)), state) => {
            let begin = second.truncate_to_second();
            let end = begin + Duration::from_nanos(999_999_999);
            Ok(match state {
                Some(state) if state > begin => state,
                _ => end,
            })
        }
        (Some(EventTime::Exact(event)), Some(state)) => Ok(event.max(state)),
        (Some(EventTime::Exact(time)), None) | (None, Some(time)) => Ok(time),
        (None, None) => Err(unsupported(
            "the alarm says neither when its event happened nor when its state changed",
        )),
    }
}

fn time_of(what: &str, text: Option<String>) -> Result<Option<Timestamp>, UnsupportedPayload> {
    text.map(|text| {
        timestamp::parse(&text).ok_or_else(|| {
            let text = crate::text::cut(&text, 100);
            unsupported(format!("{what} is `{text}`, which is no time"))
        })
    })
    .transpose()
}

/// What CloudWatch hands a function that is an alarm's own action.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LambdaAction {
    #[serde(default, deserialize_with = "told")]
    alarm_arn: Option<String>,
    #[serde(default)]
    time: Option<String>,
    alarm_data: Object<AlarmFacts>,
}

fn lambda_action(payload: &str) -> Result<Trigger, UnsupportedPayload> {
    let action: LambdaAction = typed("the alarm's action", payload)?;
    let time = time_of("the alarm action's `time`", action.time)?.map(EventTime::Exact);
    action
        .alarm_data
        .0
        .into_trigger(None, action.alarm_arn, time)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Notification {
    records: Vec<Object<NotificationRecord>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NotificationRecord {
    event_source: String,
    #[serde(default)]
    sns: Option<Object<SnsMessage>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SnsMessage {
    #[serde(default, deserialize_with = "told")]
    message_id: Option<String>,
    #[serde(default)]
    timestamp: Option<String>,
    message: String,
}

/// What CloudWatch writes into the message of an alarm's SNS notification.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AlarmNotification {
    alarm_name: String,
    #[serde(default, deserialize_with = "told")]
    alarm_arn: Option<String>,
    new_state_value: String,
    #[serde(default, deserialize_with = "told")]
    new_state_reason: Option<String>,
    #[serde(default)]
    state_change_time: Option<String>,
}

/// Which of the two kinds of message SNS carries here.
#[derive(Deserialize)]
struct MessageShape<'a> {
    #[serde(borrow, rename = "AlarmName", default)]
    alarm_name: Option<&'a RawValue>,
    #[serde(borrow, rename = "detail-type", default)]
    detail_type: Option<&'a RawValue>,
}

fn notification(payload: &str) -> Result<Trigger, UnsupportedPayload> {
    let notification: Notification = typed("the payload's `Records`", payload)?;
    let count = notification.records.len();
    let (Some(Object(record)), 1) = (notification.records.into_iter().next(), count) else {
        return Err(unsupported(format!(
            "the payload has {count} `Records`, where SNS sends exactly one"
        )));
    };
    let message = match record.sns {
        Some(Object(message)) if record.event_source == "aws:sns" => message,
        Some(_) | None => {
            let source = crate::text::cut(&record.event_source, 100);
            return Err(unsupported(format!(
                "the payload's record from `{source}` is no SNS notification"
            )));
        }
    };
    let json = message.message.as_str();
    match typed("the SNS message", json)? {
        MessageShape {
            alarm_name: Some(_),
            detail_type: None,
        } => {
            let alarm: AlarmNotification = typed("the SNS message's alarm", json)?;
            let time = time_of("the SNS record's `Timestamp`", message.timestamp)?;
            alarm_notification(alarm, message.message_id, time)
        }
        MessageShape {
            alarm_name: None,
            detail_type: Some(_),
        } => event_bridge(json),
        MessageShape { .. } => Err(unsupported(
            "the SNS message is neither an alarm notification nor an EventBridge event",
        )),
    }
}

fn alarm_notification(
    alarm: AlarmNotification,
    id: Option<String>,
    time: Option<Timestamp>,
) -> Result<Trigger, UnsupportedPayload> {
    let facts = AlarmFacts {
        alarm_name: alarm.alarm_name,
        state: Object(AlarmState {
            value: alarm.new_state_value,
            reason: alarm.new_state_reason,
            timestamp: alarm.state_change_time,
            actions_suppressed_by: None,
        }),
        mute_detail: None,
    };
    facts.into_trigger(id, alarm.alarm_arn, time.map(EventTime::Exact))
}

/// A request. An unknown key, a misspelt `dryRun` above all, must not be passed over, and `null`
/// is neither a name nor a yes nor a no.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RequestPayload {
    environments: Vec<String>,
    #[serde(default, deserialize_with = "given")]
    reason: Option<String>,
    #[serde(default, deserialize_with = "given")]
    dry_run: Option<bool>,
}

/// A value that may be left out but not `null`.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

fn request(payload: &str, rule: NameRule) -> Result<Trigger, UnsupportedPayload> {
    let request: RequestPayload = typed("the request", payload)?;
    let count = request.environments.len();
    if !(1..=MOST_NAMES).contains(&count) {
        return Err(unsupported(format!(
            "the request names {count} environments, where 1 to {MOST_NAMES} are taken"
        )));
    }
    let mut environments: Vec<EnvironmentName> = Vec::with_capacity(count);
    for name in &request.environments {
        let name =
            EnvironmentName::parse(name, rule).map_err(|error| unsupported(error.to_string()))?;
        if !environments.contains(&name) {
            environments.push(name);
        }
    }
    Ok(Trigger {
        cause: Cause::Request(Request {
            environments,
            dry_run: request.dry_run.unwrap_or(false),
        }),
        id: None,
        name: None,
        arn: None,
        time: None,
        reason: request.reason,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn sample(name: &str) -> Vec<u8> {
        let path = format!("{}/events/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn parse(payload: &[u8]) -> Result<Trigger, UnsupportedPayload> {
        Trigger::parse(payload, NameRule::Proton)
    }

    fn parsed(payload: &Value) -> Trigger {
        parse(payload.to_string().as_bytes()).unwrap()
    }

    fn refusal(payload: &Value) -> String {
        parse(payload.to_string().as_bytes())
            .map(|trigger| format!("taken as {trigger:?}"))
            .unwrap_err()
            .to_string()
    }

    fn alarm_of(trigger: Trigger) -> Alarm {
        match trigger.cause {
            Cause::Alarm(alarm) => alarm,
            Cause::Schedule | Cause::Request(_) => panic!("no alarm: {trigger:?}"),
        }
    }

    fn time(text: &str) -> Timestamp {
        timestamp::parse(text).unwrap()
    }

    /// An alarm event whose members can be changed by JSON pointer; `null` removes one.
    fn alarm_event(changes: &[(&str, Value)]) -> Value {
        let mut event: Value = serde_json::from_slice(&sample("alarm.json")).unwrap();
        for (pointer, value) in changes {
            let (parent, member) = pointer.rsplit_once('/').unwrap();
            let parent = event.pointer_mut(parent).unwrap().as_object_mut().unwrap();
            if value.is_null() {
                parent.remove(member);
            } else {
                parent.insert(member.to_owned(), value.clone());
            }
        }
        event
    }

    #[test]
    fn every_sample_is_of_the_kind_that_its_name_tells() {
        let folder = format!("{}/events", env!("CARGO_MANIFEST_DIR"));
        let mut samples = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let kind = parse(&sample(&name)).map(|trigger| match trigger.cause {
                Cause::Alarm(alarm) if alarm.ignored().is_some() => "ignored",
                cause @ (Cause::Alarm(_) | Cause::Schedule | Cause::Request(_)) => cause.kind(),
            });
            let expected: &[_] = match name.split(['_', '.']).next().unwrap() {
                "alarm" | "action" | "sns" => &["alarm"],
                "ignored" => &["ignored"],
                "schedule" => &["schedule"],
                "request" => &["request"],
                "refused" => &[],
                other => panic!("{other}: no kind of payload"),
            };
            assert_eq!(kind.ok().as_slice(), expected, "{name}");
            samples += 1;
        }
        assert!(samples >= 24, "{samples} samples");
    }

    #[test]
    fn an_alarm_from_event_bridge() {
        let trigger = parsed(&alarm_event(&[]));
        assert_eq!(
            trigger.id.as_deref(),
            Some("7f0c4f5e-2f0b-4c59-9d5b-3a8a2d7f6c11")
        );
        assert_eq!(trigger.name.as_deref(), Some("checkout-5xx"));
        assert!(
            trigger
                .arn
                .as_deref()
                .unwrap()
                .ends_with(":alarm:checkout-5xx")
        );
        assert_eq!(trigger.time, Some(time("2026-11-23T06:45:12Z")));
        assert!(
            trigger
                .reason
                .as_deref()
                .unwrap()
                .starts_with("Threshold Crossed")
        );
        let alarm = alarm_of(trigger);
        assert_eq!(alarm.spoke_at, time("2026-11-23T06:45:12.321Z"));
        assert_eq!(alarm.ignored(), None);
    }

    #[test]
    fn a_refusal_tells_what_is_no_json_from_what_cannot_be_read() {
        let words = |json| {
            let read: Result<Shape<'_>, _> = typed("it", json);
            read.map(|_| ()).unwrap_err().to_string()
        };
        assert!(words("{").contains("it is not JSON"), "{}", words("{"));
        assert!(words("[]").contains("it cannot be read"), "{}", words("[]"));
    }

    #[test]
    fn a_time_that_is_none_is_refused() {
        let why = refusal(&alarm_event(&[("/time", json!("yesterday"))]));
        assert!(why.contains("`yesterday`, which is no time"), "{why}");
    }

    #[test]
    fn the_alarm_spoke_at_the_later_of_both_times() {
        let spoke = |event: &str, state: Value| {
            alarm_of(parsed(&alarm_event(&[
                ("/time", json!(event)),
                ("/detail/state/timestamp", state),
            ])))
            .spoke_at
        };
        let second = "2026-11-23T06:45:12Z";
        // The state's time is the exact reading of the same second.
        assert_eq!(
            spoke(second, json!("2026-11-23T06:45:12.321+0000")),
            time("2026-11-23T06:45:12.321Z")
        );
        // A later state.
        assert_eq!(
            spoke(second, json!("2026-11-23T06:45:15.000+0000")),
            time("2026-11-23T06:45:15Z")
        );
        // An earlier state, none, or one that is no more exact: the event's second is not over before
        // its end.
        for state in [
            json!("2026-11-23T06:45:11.999+0000"),
            json!("2026-11-23T06:45:12.000+0000"),
            Value::Null,
        ] {
            assert_eq!(spoke(second, state), time("2026-11-23T06:45:12.999999999Z"));
        }
    }

    #[test]
    fn a_notification_spoke_at_the_later_of_record_and_state() {
        let mut payload: Value = serde_json::from_slice(&sample("sns_alarm.json")).unwrap();
        let alarm = alarm_of(parsed(&payload));
        assert_eq!(alarm.spoke_at, time("2026-11-23T06:45:12.870Z"));
        payload["Records"][0]["Sns"]["Timestamp"] = json!("2026-11-23T06:45:12.000Z");
        assert_eq!(
            alarm_of(parsed(&payload)).spoke_at,
            time("2026-11-23T06:45:12.321Z")
        );
    }

    #[test]
    fn an_alarm_without_any_time_is_refused() {
        let event = alarm_event(&[
            ("/time", Value::Null),
            ("/detail/state/timestamp", Value::Null),
        ]);
        assert!(refusal(&event).contains("neither when its event happened"));
        let event = alarm_event(&[("/detail/state/timestamp", json!("soon"))]);
        assert!(refusal(&event).contains("`soon`"));
        let event = alarm_event(&[("/time", Value::Null)]);
        assert_eq!(parsed(&event).time, Some(time("2026-11-23T06:45:12.321Z")));
    }

    #[test]
    fn only_the_state_alarm_acts() {
        for state in [
            "OK",
            "INSUFFICIENT_DATA",
            "alarm",
            "ALARM ",
            "",
            "SOMETHING_NEW",
        ] {
            let event = alarm_event(&[("/detail/state/value", json!(state))]);
            let why = alarm_of(parsed(&event)).ignored().unwrap();
            assert_eq!(
                why,
                format!("the alarm `checkout-5xx` is in state `{state}`, not `ALARM`")
            );
        }
    }

    #[test]
    fn a_suppressed_or_muted_alarm_is_ignored_for_what_it_is_now() {
        let suppressed = alarm_event(&[("/detail/state/actionsSuppressedBy", json!("WaitPeriod"))]);
        assert!(
            alarm_of(parsed(&suppressed))
                .ignored()
                .unwrap()
                .contains("`WaitPeriod`")
        );
        let muted = alarm_event(&[("/detail/muteDetail", json!({}))]);
        assert!(
            alarm_of(parsed(&muted))
                .ignored()
                .unwrap()
                .contains("muted")
        );
        let before = alarm_event(&[("/detail/previousState/actionsSuppressedBy", json!("Alarm"))]);
        assert_eq!(alarm_of(parsed(&before)).ignored(), None);
    }

    #[test]
    fn what_an_alarm_may_lack() {
        let event = alarm_event(&[
            ("/version", Value::Null),
            ("/id", Value::Null),
            ("/account", Value::Null),
            ("/region", Value::Null),
            ("/resources", Value::Null),
            ("/detail/previousState", Value::Null),
            ("/detail/configuration", Value::Null),
            ("/detail/state/reason", Value::Null),
            ("/detail/state/reasonData", Value::Null),
        ]);
        let trigger = parsed(&event);
        assert_eq!(
            (trigger.id, trigger.arn, trigger.reason),
            (None, None, None)
        );
    }

    #[test]
    fn what_decides_nothing_may_be_of_any_type() {
        for value in [json!(7), json!(true), json!([1]), json!({"a": "b"})] {
            for pointer in [
                "/version",
                "/account",
                "/region",
                "/id",
                "/resources",
                "/detail/previousState",
                "/detail/configuration",
                "/detail/state/reason",
                "/detail/state/reasonData",
            ] {
                let trigger = parsed(&alarm_event(&[(pointer, value.clone())]));
                assert_eq!(trigger.name.as_deref(), Some("checkout-5xx"), "{pointer}");
            }
        }
    }

    #[test]
    fn half_a_character_is_replaced_or_passed_over() {
        let marked = |pointer| alarm_event(&[(pointer, json!("a MARK b"))]).to_string();
        for pointer in ["/account", "/detail/state/reasonData", "/detail/new"] {
            let event = marked(pointer).replace("MARK", r"\ud800");
            assert!(parse(event.as_bytes()).is_ok(), "{pointer}");
        }
        let event = marked("/detail/state/reason").replace("MARK", r"\ud800 \udfff ä \u00e4");
        let reason = parse(event.as_bytes()).unwrap().reason.unwrap();
        assert!(
            reason.starts_with("a \u{fffd}") && reason.ends_with(" ä ä b"),
            "{reason}"
        );
        let mut payload: Value = serde_json::from_slice(&sample("sns_alarm.json")).unwrap();
        let message = payload["Records"][0]["Sns"]["Message"].as_str().unwrap();
        let mut message: Value = serde_json::from_str(message).unwrap();
        message["NewStateReason"] = json!("MARK");
        let message = message.to_string().replace("MARK", r"\udc00");
        payload["Records"][0]["Sns"]["Message"] = json!(message);
        assert!(parsed(&payload).reason.unwrap().starts_with('\u{fffd}'));
    }

    #[test]
    fn what_an_alarm_must_have() {
        for pointer in [
            "/detail",
            "/detail/alarmName",
            "/detail/state",
            "/detail/state/value",
            "/source",
        ] {
            refusal(&alarm_event(&[(pointer, Value::Null)]));
        }
        refusal(&alarm_event(&[("/detail/alarmName", json!(""))]));
        refusal(&alarm_event(&[("/detail", json!("{}"))]));
        refusal(&alarm_event(&[("/source", json!("aws.events"))]));
        refusal(&alarm_event(&[("/detail-type", json!("Scheduled Event"))]));
        refusal(&alarm_event(&[(
            "/detail-type",
            json!("cloudwatch alarm state change"),
        )]));
    }

    #[test]
    fn an_array_is_no_object_anywhere() {
        let facts = json!([
            "checkout-5xx",
            ["ALARM", null, "2026-11-23T06:45:12.321+0000"]
        ]);
        assert!(refusal(&alarm_event(&[("/detail", facts)])).contains("an object"));
        assert!(refusal(&json!([["checkout-prod"], "reason", false])).contains("an object"));
        assert!(
            refusal(&json!({"Records": [["aws:sns", [null, null, "{}"]]]})).contains("an object")
        );
    }

    #[test]
    fn schedules_say_little() {
        for detail in [json!({}), json!("{}"), Value::Null] {
            let trigger = parsed(&json!({
                "detail-type": "Scheduled Event",
                "source": "aws.scheduler",
                "resources": ["arn:aws:scheduler:eu-west-1:123456789012:schedule/default/sweep"],
                "detail": detail,
            }));
            assert_eq!(trigger.cause, Cause::Schedule);
            assert_eq!(trigger.name.as_deref(), Some("sweep"));
        }
        let bare = parsed(&json!({"detail-type": "Scheduled Event", "source": "aws.events"}));
        assert_eq!(
            (bare.cause, bare.name, bare.time),
            (Cause::Schedule, None, None)
        );
    }

    #[test]
    fn a_notification_is_one_record_with_an_alarm_or_an_event() {
        let record = |message: &str| json!({"EventSource": "aws:sns", "Sns": {"MessageId": "m-1", "Message": message}});
        let event = alarm_event(&[]).to_string();
        let trigger = parsed(&json!({"Records": [record(&event)]}));
        assert_eq!(trigger, parsed(&alarm_event(&[])));
        let schedule = r#"{"detail-type": "Scheduled Event", "source": "aws.events"}"#;
        assert_eq!(
            parsed(&json!({"Records": [record(schedule)]})).cause,
            Cause::Schedule
        );

        for records in [
            json!([]),
            json!([record(&event), record(&event)]),
            json!([{"EventSource": "aws:s3", "Sns": {"Message": event}}]),
            json!([{"EventSource": "aws:sns"}]),
            json!([record("ALARM")]),
            json!([record("{}")]),
            json!([record(r#"{"environments": ["net"]}"#)]),
            json!([record(r#"{"AlarmName": "a", "detail-type": "b"}"#)]),
            json!([record(
                r#"{"AlarmName": "a", "StateChangeTime": "2026-11-23T06:45:12.321+0000"}"#
            )]),
            json!({}),
        ] {
            refusal(&json!({ "Records": records }));
        }
    }

    #[test]
    fn a_request_names_environments_each_once() {
        let trigger = parsed(&json!({"environments": ["b", "a", "b"], "reason": "INC-1"}));
        let Cause::Request(request) = trigger.cause else {
            panic!("no request");
        };
        let names: Vec<_> = request
            .environments
            .iter()
            .map(EnvironmentName::as_str)
            .collect();
        assert_eq!(names, ["b", "a"]);
        assert!(!request.dry_run);
        assert_eq!(trigger.reason.as_deref(), Some("INC-1"));
    }

    #[test]
    fn a_request_that_is_not_exact_is_refused() {
        let many = vec!["a"; 101];
        for request in [
            json!({"environments": []}),
            json!({"environments": many}),
            json!({"environments": "a"}),
            json!({"environments": [1]}),
            json!({"environments": [null]}),
            json!({"environments": ["*"]}),
            json!({"environments": [""]}),
            json!({"environments": ["a"], "dryrun": true}),
            json!({"environments": ["a"], "dry_run": true}),
            json!({"environments": ["a"], "dryRun": "true"}),
            json!({"environments": ["a"], "dryRun": null}),
            json!({"environments": ["a"], "reason": 7}),
            json!({"environments": ["a"], "reason": null}),
            json!({"environments": ["a"], "force": false}),
            json!({"Environments": ["a"]}),
        ] {
            refusal(&request);
        }
        let twice = br#"{"environments": ["a"], "dryRun": true, "dryRun": false}"#;
        assert!(parse(twice).is_err());
        let most: Vec<_> = (0..100).map(|number| format!("a{number}")).collect();
        parsed(&json!({ "environments": most }));
    }

    #[test]
    fn two_kinds_at_once_are_none() {
        let mut event = alarm_event(&[]);
        event["environments"] = json!(["net"]);
        assert!(refusal(&event).contains("more than one of"));
    }

    #[test]
    fn bytes_that_are_no_json() {
        let deep = "[".repeat(100_000);
        for bytes in [
            &b""[..],
            b" ",
            b"{",
            b"nul",
            b"{}x",
            b"{\"environments\": [\"a\"]} {}",
            b"\xff\xfe",
            b"{\"environments\": [\"a\"], \"reason\": \"\xff\"}",
            deep.as_bytes(),
        ] {
            let error = parse(bytes).unwrap_err().to_string();
            assert!(error.contains("expected a CloudWatch alarm"), "{error}");
        }
    }

    #[test]
    fn depth_and_size_of_what_is_not_read_do_not_matter() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let event = alarm_event(&[]).to_string();
        let event = event.replacen('{', &format!("{{\"new\": {deep}, \"huge\": 1e999999,"), 1);
        assert!(parse(event.as_bytes()).is_ok());
    }

    #[test]
    fn an_error_never_repeats_a_huge_value() {
        let huge = "x".repeat(1_000_000);
        let error = refusal(&json!({"environments": ["a"], "dryRun": huge}));
        assert!(error.len() < 2_000, "{}", error.len());
    }
}
