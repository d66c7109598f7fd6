//! A queue as SQS keeps it, with an `EventBridge` rule before it and a Lambda event source behind it: a
//! state machine that is given the time.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::event_bridge::Event;
use crate::wire::time::rfc3339;

/// The settings of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// The time that a new message is invisible.
    pub delay: Duration,
    /// The time that a message is invisible after a delivery.
    pub visibility: Duration,
    /// The number of deliveries before a message goes to the dead-letter queue.
    pub most_deliveries: u32,
}

impl QueueSettings {
    /// The settings of the template's `FollowQueue`.
    pub const FOLLOW: Self = Self {
        delay: Duration::from_secs(30),
        visibility: Duration::from_secs(90),
        most_deliveries: 960,
    };
}

/// A queue of `CANCELLING` events for the follower.
#[derive(Debug)]
pub struct Queue {
    settings: QueueSettings,
    messages: Vec<Message>,
    dead: Vec<String>,
    sent: usize,
}

#[derive(Debug)]
struct Message {
    id: String,
    body: String,
    visible_at: SystemTime,
    deliveries: u32,
}

/// A message that is delivered to Lambda.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The message's ID.
    pub message_id: String,
    /// The payload that Lambda hands to the function.
    pub payload: String,
}

impl Queue {
    /// Creates an empty queue.
    #[must_use]
    pub fn new(settings: QueueSettings) -> Self {
        Self {
            settings,
            messages: Vec::new(),
            dead: Vec::new(),
            sent: 0,
        }
    }

    /// Puts an event into the queue if the template's `FollowRule` takes it.
    pub fn offer(&mut self, event: &Event, now: SystemTime) -> bool {
        if !is_followed(event) {
            return false;
        }
        self.sent += 1;
        self.messages.push(Message {
            id: format!("00000000-0000-4000-9000-{:012}", self.sent),
            body: delivered(event).to_string(),
            visible_at: now + self.settings.delay,
            deliveries: 0,
        });
        true
    }

    /// Delivers the message that is visible for the longest time. The message is then invisible until it is
    /// deleted or delivered again. A message that was delivered too often goes to the dead-letter queue.
    pub fn receive(&mut self, now: SystemTime) -> Option<Delivery> {
        loop {
            let visible = self.messages.iter().enumerate();
            let visible = visible.filter(|(_, message)| message.visible_at <= now);
            let (index, _) = visible.min_by_key(|(_, message)| message.visible_at)?;
            let message = self.messages.get_mut(index)?;
            if message.deliveries == self.settings.most_deliveries {
                self.dead.push(self.messages.swap_remove(index).body);
                continue;
            }
            message.deliveries += 1;
            message.visible_at = now + self.settings.visibility;
            return Some(Delivery {
                message_id: message.id.clone(),
                payload: payload(message).to_string(),
            });
        }
    }

    /// Applies the function's response to a delivery. As Lambda does, the queue deletes the message unless
    /// the response names it as a batch item failure; `None` for an invocation that failed.
    pub fn answered(&mut self, message_id: &str, answer: Option<&[u8]>) {
        let Some(answer) = answer else { return };
        let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
        let failures = answer.get("batchItemFailures").and_then(Value::as_array);
        let has_failed = failures.into_iter().flatten().any(|failure| {
            failure.get("itemIdentifier").and_then(Value::as_str) == Some(message_id)
        });
        if !has_failed {
            self.messages.retain(|message| message.id != message_id);
        }
    }

    /// Returns when the next message is visible.
    #[must_use]
    pub fn next(&self) -> Option<SystemTime> {
        self.messages.iter().map(|message| message.visible_at).min()
    }

    /// Returns the messages that were delivered too often.
    #[must_use]
    pub fn dead(&self) -> &[String] {
        &self.dead
    }
}

/// True if the template's `FollowRule` takes an event.
fn is_followed(event: &Event) -> bool {
    let detail: Value = serde_json::from_str(&event.detail).unwrap_or_default();
    event.source == "proton-canceller"
        && event.detail_type == "Environment Deployment Cancellation"
        && detail.get("version") == Some(&json!("1"))
        && detail.get("outcome") == Some(&json!("CANCELLING"))
        && detail.get("dryRun") == Some(&json!(false))
}

/// Returns an event as [EventBridge delivers it].
///
/// [EventBridge delivers it]: https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html
fn delivered(event: &Event) -> Value {
    json!({
        "version": "0",
        "id": event.id,
        "detail-type": event.detail_type,
        "source": event.source,
        "account": "123456789012",
        "time": rfc3339(event.time),
        "region": "us-east-1",
        "resources": event.resources,
        "detail": serde_json::from_str::<Value>(&event.detail).unwrap_or_default(),
    })
}

/// Returns the payload with which [Lambda polls a queue] for a function.
///
/// [Lambda polls a queue]: https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
fn payload(message: &Message) -> Value {
    json!({ "Records": [{
        "messageId": message.id,
        "receiptHandle": format!("{}-{}", message.id, message.deliveries),
        "body": message.body,
        "attributes": { "ApproximateReceiveCount": message.deliveries.to_string() },
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:follow",
        "awsRegion": "us-east-1",
    }] })
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: SystemTime = SystemTime::UNIX_EPOCH;

    fn event(outcome: &str, dry_run: bool) -> Event {
        let detail = json!({ "version": "1", "outcome": outcome, "dryRun": dry_run });
        Event {
            id: "1f2e".to_owned(),
            time: START,
            bus: "default".to_owned(),
            source: "proton-canceller".to_owned(),
            detail_type: "Environment Deployment Cancellation".to_owned(),
            detail: detail.to_string(),
            resources: vec!["arn".to_owned()],
        }
    }

    fn queue() -> Queue {
        let mut queue = Queue::new(QueueSettings {
            most_deliveries: 2,
            ..QueueSettings::FOLLOW
        });
        assert!(queue.offer(&event("CANCELLING", false), START));
        queue
    }

    fn after(seconds: u64) -> SystemTime {
        START + Duration::from_secs(seconds)
    }

    #[test]
    fn the_rule_takes_what_is_being_cancelled_and_nothing_else() {
        let mut queue = queue();
        for outcome in ["CANCELLED", "FAILED", "ERROR", "DRY_RUN"] {
            assert!(!queue.offer(&event(outcome, false), START), "{outcome}");
        }
        assert!(!queue.offer(&event("CANCELLING", true), START));
        let other = Event {
            source: "aws.proton".to_owned(),
            ..event("CANCELLING", false)
        };
        assert!(!queue.offer(&other, START));
    }

    #[test]
    fn a_message_is_delivered_after_the_delay_and_again_after_the_visibility_timeout() {
        let mut queue = queue();
        assert_eq!(queue.receive(after(29)), None);
        let first = queue.receive(after(30)).unwrap();
        let payload: Value = serde_json::from_str(&first.payload).unwrap();
        let record = &payload["Records"][0];
        assert_eq!(record["attributes"]["ApproximateReceiveCount"], "1");
        let body: Value = serde_json::from_str(record["body"].as_str().unwrap()).unwrap();
        assert_eq!(body["detail"]["outcome"], "CANCELLING");
        assert_eq!(queue.receive(after(119)), None);
        assert_eq!(queue.next(), Some(after(120)));
        assert!(queue.receive(after(120)).is_some());
        assert_eq!(queue.receive(after(210)), None);
        assert_eq!(queue.dead().len(), 1);
        assert_eq!(queue.next(), None);
    }

    #[test]
    fn only_an_answer_that_names_the_message_keeps_it() {
        for (answer, is_kept) in [
            (Some(r#"{"batchItemFailures":[]}"#), false),
            (
                Some(r#"{"batchItemFailures":[{"itemIdentifier":"ID"}]}"#),
                true,
            ),
            // What Lambda takes for success.
            (Some("null"), false),
            (Some("{}"), false),
            (
                Some(r#"{"batchitemfailures":[{"itemIdentifier":"ID"}]}"#),
                false,
            ),
            (None, true),
        ] {
            let mut queue = queue();
            let delivery = queue.receive(after(30)).unwrap();
            let answer = answer.map(|answer| answer.replace("ID", &delivery.message_id));
            queue.answered(&delivery.message_id, answer.as_deref().map(str::as_bytes));
            assert_eq!(queue.next().is_some(), is_kept, "{answer:?}");
        }
    }
}
