//! Payloads: the samples of `events/` with current times, for a test to change.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

/// The minute of every time in the samples.
const MINUTE_OF_SAMPLES: &str = "2026-11-23T06:45:";

/// The folder of the samples.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events");

/// Every sample, by name: the file's name and its bytes.
pub fn samples() -> Vec<(String, Vec<u8>)> {
    let names = std::fs::read_dir(FOLDER).unwrap();
    let mut names: Vec<_> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    let samples = names.iter().map(|name| sample(name)).collect::<Vec<_>>();
    names.into_iter().zip(samples).collect()
}

/// A sample's bytes.
pub fn sample(name: &str) -> Vec<u8> {
    let path = format!("{FOLDER}/{name}");
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A sample, moved to the previous minute: later than the start of most deployments in tests.
pub fn fresh(name: &str) -> String {
    let minute = (Utc::now() - TimeDelta::minutes(1)).format("%Y-%m-%dT%H:%M:");
    let text = String::from_utf8(sample(name)).unwrap();
    text.replace(MINUTE_OF_SAMPLES, &minute.to_string())
}

/// A sample as JSON, moved to the previous minute.
pub fn fresh_json(name: &str) -> Value {
    serde_json::from_str(&fresh(name)).unwrap()
}

/// An EventBridge event of an alarm that fired in the previous minute.
pub fn alarm() -> Value {
    fresh_json("alarm.json")
}

/// An EventBridge event of an alarm, with the event's time and the state's.
pub fn alarm_at(event: DateTime<Utc>, state: DateTime<Utc>) -> Value {
    let mut alarm = alarm();
    alarm["time"] = event.to_rfc3339_opts(SecondsFormat::Secs, true).into();
    alarm["detail"]["state"]["timestamp"] = cloudwatch_time(state).into();
    alarm
}

/// A time in CloudWatch's format.
pub fn cloudwatch_time(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string()
}

/// An event of EventBridge Scheduler.
pub fn schedule() -> Value {
    fresh_json("schedule_scheduler.json")
}

/// A request for these environments.
pub fn request<'a>(names: impl IntoIterator<Item = &'a str>) -> Value {
    let names: Vec<_> = names.into_iter().collect();
    json!({ "environments": names, "reason": "INC-1234" })
}

/// An SNS notification with this message.
pub fn notification(message: &impl ToString) -> Value {
    let mut notification = fresh_json("sns_alarm.json");
    notification["Records"][0]["Sns"]["Message"] = message.to_string().into();
    notification
}

/// The message in the sample of an alarm's SNS notification.
pub fn alarm_message() -> Value {
    let notification = fresh_json("sns_alarm.json");
    let message = notification["Records"][0]["Sns"]["Message"].as_str();
    serde_json::from_str(message.unwrap()).unwrap()
}

/// An outcome event, as EventBridge puts it into the follower's queue and SQS delivers it.
pub fn delivery(detail: &str, resources: &[String]) -> Value {
    let event = json!({
        "version": "0",
        "id": "7f0c4f5e-2f0b-4c59-9d5b-3a8a2d7f6c11",
        "detail-type": "Environment Deployment Cancellation",
        "source": "proton-canceller",
        "account": "123456789012",
        "time": "2026-11-23T06:45:13Z",
        "region": "us-east-1",
        "resources": resources,
        "detail": serde_json::from_str::<Value>(detail).unwrap(),
    });
    sqs_message(&event.to_string())
}

/// An SQS message with the ID `m-1` and this body, as SQS delivers it.
pub fn sqs_message(body: &str) -> Value {
    json!({"Records": [{
        "messageId": "m-1",
        "receiptHandle": "AQEB",
        "body": body,
        "attributes": {"ApproximateReceiveCount": "1"},
        "messageAttributes": {},
        "md5OfBody": "",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:follow",
        "awsRegion": "us-east-1",
    }]})
}
