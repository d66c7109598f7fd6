//! Moves the times of a sample event to the present.

use std::time::SystemTime;

use chrono::{DateTime, FixedOffset, TimeDelta, Utc};
use serde_json::Value;

/// The members with the time of an event, or of an alarm's state change.
const MOMENTS: [&str; 4] = ["time", "timestamp", "Timestamp", "StateChangeTime"];

/// The age of a moved event. A deployment that starts later started after it.
const AGO: TimeDelta = TimeDelta::minutes(1);

/// An event whose times were moved.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) payload: Vec<u8>,
    /// The distance by which they were moved.
    pub(crate) by: TimeDelta,
    /// The event's time after the move.
    pub(crate) to: DateTime<Utc>,
}

/// Moves every time of an event by the same distance, so that the latest lies a minute ago. `None` if
/// the payload is no JSON or has no time.
pub(crate) fn move_times(payload: &[u8], now: SystemTime) -> Option<Moved> {
    let mut event: Value = serde_json::from_slice(payload).ok()?;
    let mut latest = None;
    visit(&mut event, &mut |name, text| {
        if MOMENTS.contains(&name) {
            latest = latest.max(parse(text));
        }
    });
    let to = DateTime::<Utc>::from(now) - AGO;
    // Whole seconds: fractions stay as they are written.
    let by = TimeDelta::seconds((to - latest?.to_utc()).num_seconds());
    visit(&mut event, &mut |_, text| {
        if let Some(moved) = moved(text, by) {
            *text = moved;
        }
    });
    Some(Moved {
        payload: event.to_string().into_bytes(),
        by,
        to,
    })
}

/// Visits each string with the name of its member, those inside an SNS message's text, too.
fn visit(value: &mut Value, visitor: &mut impl FnMut(&str, &mut String)) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let text = member.as_str().filter(|_| name == "Message");
                let inner = text.and_then(|text| serde_json::from_str(text).ok());
                match (inner, member) {
                    (Some(mut inner @ Value::Object(_)), member) => {
                        visit(&mut inner, visitor);
                        *member = Value::from(inner.to_string());
                    }
                    (_, Value::String(text)) => visitor(name, text),
                    (_, member) => visit(member, visitor),
                }
            }
        }
        Value::Array(elements) => {
            for element in elements {
                visit(element, visitor);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Reads RFC 3339, and CloudWatch's `2026-11-23T06:40:00.123+0000`.
fn parse(text: &str) -> Option<DateTime<FixedOffset>> {
    DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"))
        .ok()
}

/// Returns the moved time in the notation of the original.
fn moved(text: &str, by: TimeDelta) -> Option<String> {
    let time = parse(text)?.checked_add_signed(by)?;
    let rest = text.get(19..)?;
    Some(format!("{}{rest}", time.format("%Y-%m-%dT%H:%M:%S")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> SystemTime {
        DateTime::parse_from_rfc3339("2026-11-23T12:00:00.700Z")
            .unwrap()
            .into()
    }

    fn moved_event(event: &Value) -> Value {
        let moved = move_times(event.to_string().as_bytes(), now()).unwrap();
        serde_json::from_slice(&moved.payload).unwrap()
    }

    #[test]
    fn all_times_move_by_the_same_and_keep_their_form() {
        let event = json!({
            "time": "2019-10-02T17:04:40Z",
            "detail": {
                "state": { "timestamp": "2019-10-02T17:04:40.989+0000", "reason": "at 17:04" },
                "previousState": { "timestamp": "2019-10-02T16:04:40.000+0000" },
            },
        });
        let expected = json!({
            "time": "2026-11-23T11:58:59Z",
            "detail": {
                "state": { "timestamp": "2026-11-23T11:58:59.989+0000", "reason": "at 17:04" },
                "previousState": { "timestamp": "2026-11-23T10:58:59.000+0000" },
            },
        });
        assert_eq!(moved_event(&event), expected);
    }

    #[test]
    fn times_inside_an_sns_message_move_with_it() {
        let message = json!({ "StateChangeTime": "2019-10-02T17:04:30.000+0000" });
        let event = json!({ "Records": [{ "Sns": {
            "Timestamp": "2019-10-02T17:04:40.000Z", "Message": message.to_string(),
        }}]});
        let message = json!({ "StateChangeTime": "2026-11-23T11:58:50.000+0000" });
        let expected = json!({ "Records": [{ "Sns": {
            "Timestamp": "2026-11-23T11:59:00.000Z", "Message": message.to_string(),
        }}]});
        assert_eq!(moved_event(&event), expected);
    }

    #[test]
    fn what_tells_no_moment_stays_as_it_is() {
        for payload in [
            "no JSON",
            "{}",
            "[]",
            "{\"environments\":[\"prod-net\"]}",
            "{\"time\":1}",
        ] {
            assert_eq!(move_times(payload.as_bytes(), now()), None, "{payload}");
        }
    }
}
