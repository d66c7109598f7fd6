//! The payloads that the function is invoked with.

use std::time::SystemTime;

use anyhow::Result;
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use local_aws::Event;
use serde_json::{Value, json};

/// Returns the event of an alarm that fires now.
pub(crate) fn alarm(now: SystemTime) -> Bytes {
    let now = DateTime::<Utc>::from(now);
    let event: Value = json!({
        "version": "0",
        "id": "7f0c4f5e-2f0b-4c59-9d5b-3a8a2d7f6c11",
        "detail-type": "CloudWatch Alarm State Change",
        "source": "aws.cloudwatch",
        "account": "123456789012",
        "time": now.to_rfc3339_opts(SecondsFormat::Secs, true),
        "region": "us-east-1",
        "resources": ["arn:aws:cloudwatch:us-east-1:123456789012:alarm:checkout-5xx"],
        "detail": {
            "alarmName": "checkout-5xx",
            "state": {
                "value": "ALARM",
                "reason": "Threshold Crossed: 3 out of the last 3 datapoints were greater than the threshold (25.0).",
                "timestamp": now.format("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string(),
            },
            "previousState": { "value": "OK" },
        },
    });
    Bytes::from(event.to_string())
}

/// Returns the delivery of a published event to the follower by its queue.
pub(crate) fn delivery(event: &Event) -> Result<Bytes> {
    let body = json!({
        "version": "0",
        "id": event.id,
        "detail-type": event.detail_type,
        "source": event.source,
        "account": "123456789012",
        "time": "2026-11-23T06:45:13Z",
        "region": "us-east-1",
        "resources": event.resources,
        "detail": serde_json::from_str::<Value>(&event.detail)?,
    });
    let record = json!({
        "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
        "receiptHandle": "AQEB",
        "body": body.to_string(),
        "attributes": { "ApproximateReceiveCount": "1" },
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:follow",
        "awsRegion": "us-east-1",
    });
    Ok(Bytes::from(json!({ "Records": [record] }).to_string()))
}
