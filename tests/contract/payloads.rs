//! What goes in: the project's samples with times of today, to be changed by a test.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

/// The minute in which all the samples play.
const MINUTE_OF_SAMPLES: &str = "2026-11-23T06:45:";

/// The folder of the samples.
pub(crate) const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/events");

/// A sample's bytes.
pub(crate) fn sample(name: &str) -> Vec<u8> {
    let path = format!("{FOLDER}/{name}");
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A sample, moved into the last minute but one: later than what is in progress in most worlds.
pub(crate) fn fresh(name: &str) -> String {
    let minute = (Utc::now() - TimeDelta::minutes(1)).format("%Y-%m-%dT%H:%M:");
    let text = String::from_utf8(sample(name)).unwrap();
    text.replace(MINUTE_OF_SAMPLES, &minute.to_string())
}

/// A sample as JSON, moved likewise.
pub(crate) fn fresh_json(name: &str) -> Value {
    serde_json::from_str(&fresh(name)).unwrap()
}

/// An alarm through EventBridge that spoke just now.
pub(crate) fn alarm() -> Value {
    fresh_json("alarm.json")
}

/// An alarm through EventBridge, with the event's time and the state's.
pub(crate) fn alarm_at(event: DateTime<Utc>, state: DateTime<Utc>) -> Value {
    let mut alarm = alarm();
    alarm["time"] = event.to_rfc3339_opts(SecondsFormat::Secs, true).into();
    alarm["detail"]["state"]["timestamp"] = cloudwatch_time(state).into();
    alarm
}

/// A time as CloudWatch writes it.
pub(crate) fn cloudwatch_time(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string()
}

/// The Scheduler's event.
pub(crate) fn schedule() -> Value {
    fresh_json("schedule_scheduler.json")
}

/// A request for these environments.
pub(crate) fn request<'a>(names: impl IntoIterator<Item = &'a str>) -> Value {
    let names: Vec<_> = names.into_iter().collect();
    json!({ "environments": names, "reason": "INC-1234" })
}

/// An SNS notification with this message.
pub(crate) fn notification(message: &impl ToString) -> Value {
    let mut notification = fresh_json("sns_alarm.json");
    notification["Records"][0]["Sns"]["Message"] = message.to_string().into();
    notification
}

/// The message of the sample of an alarm's SNS notification.
pub(crate) fn alarm_message() -> Value {
    let notification = fresh_json("sns_alarm.json");
    let message = notification["Records"][0]["Sns"]["Message"].as_str();
    serde_json::from_str(message.unwrap()).unwrap()
}
