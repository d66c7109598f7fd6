//! Amazon EventBridge: `PutEvents`, and the events that it accepted.

use std::time::SystemTime;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::faults::live::LiveFaults;
use crate::identity::Identities;
use crate::wire::error::ServiceError;
use crate::wire::json::read;
use crate::wire::model;
use crate::wire::time::{from_epoch_seconds, rfc3339};

/// The largest total size of a call's entries, in bytes.
const MOST_BYTES: usize = 1024 * 1024;

/// The deepest nesting of a detail that EventBridge processes.
const DEEPEST_DETAIL: usize = 1000;

/// The size of an entry's time.
const BYTES_OF_A_TIME: usize = 14;

/// An event that EventBridge accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The ID that EventBridge gave it.
    pub id: String,
    /// The entry's time, or else the time when EventBridge accepted the entry.
    pub time: SystemTime,
    /// The bus, a name or an ARN, as the entry gave it.
    pub bus: String,
    /// The source.
    pub source: String,
    /// The detail type.
    pub detail_type: String,
    /// The detail as it was sent: the text of a JSON object.
    pub detail: String,
    /// The resources that the event concerns.
    pub resources: Vec<String>,
}

impl Event {
    /// Returns the event as `GET /_local/events` shows it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "EventId": self.id,
            "Time": rfc3339(self.time),
            "EventBusName": self.bus,
            "Source": self.source,
            "DetailType": self.detail_type,
            "Detail": self.detail,
            "Resources": self.resources,
        })
    }
}

/// The service.
#[derive(Debug, Default)]
pub(crate) struct EventBridge {
    taken: Vec<Event>,
}

impl EventBridge {
    pub(crate) fn taken(&self) -> &[Event] {
        &self.taken
    }

    pub(crate) fn put_events(
        &mut self,
        body: &[u8],
        now: SystemTime,
        identities: &mut Identities,
        faults: &mut LiveFaults,
    ) -> Result<Value, ServiceError> {
        let input = read(body, model::PUT_EVENTS)?;
        let entries = input.get("Entries").cloned().unwrap_or_default();
        // The model has checked the members.
        let entries: Vec<Entry> = serde_json::from_value(entries).unwrap_or_default();
        if entries.iter().map(Entry::size).sum::<usize>() > MOST_BYTES {
            return Err(ServiceError::validation(
                "Total size of the entries in the request is over the limit.",
            ));
        }
        let mut refused = 0;
        let results: Vec<Value> = entries
            .into_iter()
            .map(|entry| {
                let refusal = entry
                    .refusal()
                    .or_else(|| faults.refuse_entry(&entry.detail));
                if let Some((code, message)) = refusal {
                    refused += 1;
                    return json!({ "ErrorCode": code, "ErrorMessage": message });
                }
                let event = entry.into_event(identities.uuid(), now);
                let id = event.id.clone();
                self.taken.push(event);
                json!({ "EventId": id })
            })
            .collect();
        Ok(json!({ "FailedEntryCount": refused, "Entries": results }))
    }
}

/// An entry of a call.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    time: Option<f64>,
    #[serde(default)]
    source: String,
    #[serde(default)]
    detail_type: String,
    #[serde(default)]
    detail: String,
    event_bus_name: Option<String>,
    #[serde(default)]
    resources: Vec<String>,
}

impl Entry {
    /// Returns the size by EventBridge's rule: UTF-8 bytes of the texts, and 14 for a time.
    fn size(&self) -> usize {
        let time = self.time.map_or(0, |_| BYTES_OF_A_TIME);
        let texts = [&self.source, &self.detail_type, &self.detail];
        let texts = texts.into_iter().chain(&self.resources);
        time + texts.map(String::len).sum::<usize>()
    }

    /// Returns the code and the message with which EventBridge refuses the entry, if it does.
    fn refusal(&self) -> Option<(String, String)> {
        let required = [
            ("Source", &self.source),
            ("DetailType", &self.detail_type),
            ("Detail", &self.detail),
        ];
        let absent = required.iter().find(|(_, text)| text.is_empty());
        let (code, message) = if let Some((name, _)) = absent {
            let reason = format!("{name} is a required argument.");
            let message = format!("Parameter {name} is not valid. Reason: {reason}");
            ("InvalidArgument", message)
        } else if self
            .time
            .is_some_and(|seconds| from_epoch_seconds(seconds).is_none())
        {
            let message = "Parameter Time is not valid. Reason: Time is out of range.";
            ("InvalidArgument", message.to_owned())
        } else if !is_json_object(&self.detail) {
            ("MalformedDetail", "Detail is malformed.".to_owned())
        } else {
            return None;
        };
        Some((code.to_owned(), message))
    }

    fn into_event(self, id: String, now: SystemTime) -> Event {
        let bus = self.event_bus_name;
        Event {
            id,
            time: self.time.and_then(from_epoch_seconds).unwrap_or(now),
            bus: bus.unwrap_or_else(|| "default".to_owned()),
            source: self.source,
            detail_type: self.detail_type,
            detail: self.detail,
            resources: self.resources,
        }
    }
}

fn is_json_object(text: &str) -> bool {
    text.trim_start().starts_with('{')
        && depth(text) <= DEEPEST_DETAIL
        && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Returns how deep objects and lists are nested in a JSON text.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut is_in_string, mut is_escaped) = (false, false);
    for byte in text.bytes() {
        if is_in_string {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                b'"' => is_in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => is_in_string = true,
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_is_a_json_object() {
        for good in ["{}", " {\"a\":[{\"}\":1}]}\n", "{\"a\":1e3}"] {
            assert!(is_json_object(good), "{good}");
        }
        let deep = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        assert!(is_json_object(&deep(1000)));
        for bad in [
            "",
            "[]",
            "\"{}\"",
            "{",
            "{}{}",
            "{'a':1}",
            "null",
            "1",
            &deep(1001),
        ] {
            assert!(!is_json_object(bad), "{bad}");
        }
    }

    #[test]
    fn the_size_is_counted_in_bytes() {
        let entry = json!({
            "Time": 1, "Source": "ü", "DetailType": "ab", "Detail": "{}", "Resources": ["arn", "…"],
        });
        let entry: Entry = serde_json::from_value(entry).unwrap();
        assert_eq!(entry.size(), 14 + 2 + 2 + 2 + 3 + 3);
    }
}
