//! The recordings: each stack's events, and the updates among them.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Once;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The variable that names the folder.
const FOLDER_VARIABLE: &str = "PROTON_CANCELLER_RECORDINGS";

/// Prints the skip once for all tests.
static PRINTED: Once = Once::new();

/// A stack's history.
#[derive(Debug)]
pub(crate) struct Recording {
    pub(crate) stack_id: String,
    pub(crate) stack_name: String,
    /// All events, newest first, those of resources included.
    pub(crate) events: Vec<Event>,
}

/// An event as `DescribeStackEvents` returned it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Event {
    pub(crate) stack_id: String,
    #[serde(rename = "EventId")]
    pub(crate) id: String,
    pub(crate) stack_name: String,
    pub(crate) logical_resource_id: String,
    pub(crate) physical_resource_id: Option<String>,
    pub(crate) resource_type: String,
    #[serde(deserialize_with = "utc")]
    pub(crate) timestamp: DateTime<Utc>,
    pub(crate) resource_status: String,
    pub(crate) resource_status_reason: Option<String>,
    pub(crate) client_request_token: Option<String>,
    pub(crate) operation_id: Option<String>,
}

/// One update: the stack's own events from the update's start to its end, oldest first, each with
/// its index in the history.
#[derive(Debug)]
pub(crate) struct Update<'a>(Vec<(usize, &'a Event)>);

/// Reads every recording that holds updates. Without the folder, prints so and returns `None`.
pub(crate) fn all() -> Option<Vec<Recording>> {
    let folder = folder()?;
    let entries =
        std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let is_json = |path: &PathBuf| path.extension().is_some_and(|is| is == "json");
    let texts = paths
        .into_iter()
        .filter(is_json)
        .map(|path| std::fs::read(path).unwrap());
    let recordings = texts.filter_map(|text| {
        let mut recording: Value = serde_json::from_slice(&text).unwrap();
        let events = recording.pointer_mut("/history/StackEvents")?.take();
        Some(Recording::new(serde_json::from_value(events).unwrap()))
    });
    let recordings: Vec<_> = recordings
        .filter(|recording| recording.updates().next().is_some())
        .collect();
    Some(recordings)
}

fn folder() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(FOLDER_VARIABLE) {
        return Some(named.into());
    }
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/recordings");
    let beside = PathBuf::from(beside);
    if beside.is_dir() {
        return Some(beside);
    }
    PRINTED.call_once(|| {
        let line = format!(
            "\nSKIPPED: the recordings are not replayed: {} is no folder; name one in `{FOLDER_VARIABLE}`\n",
            beside.display()
        );
        // The test harness captures `eprintln!`, but no write to the stream itself.
        let _ = std::io::stderr().write_all(line.as_bytes());
    });
    None
}

impl Recording {
    fn new(events: Vec<Event>) -> Self {
        let newest = events.first().expect("a history has events");
        Self {
            stack_id: newest.stack_id.clone(),
            stack_name: newest.stack_name.clone(),
            events,
        }
    }

    /// The stack's own events, oldest first, with their indexes.
    fn own(&self) -> impl Iterator<Item = (usize, &Event)> {
        let events = self.events.iter().enumerate().rev();
        events.filter(|(_, event)| event.physical_resource_id.as_ref() == Some(&self.stack_id))
    }

    /// The updates whose start and end were recorded, oldest first.
    pub(crate) fn updates(&self) -> impl Iterator<Item = Update<'_>> {
        let mut updates = Vec::new();
        let mut current: Vec<(usize, &Event)> = Vec::new();
        for (index, event) in self.own() {
            if event.resource_status == "UPDATE_IN_PROGRESS" {
                current = vec![(index, event)];
            } else if !current.is_empty() {
                current.push((index, event));
                if !event.resource_status.ends_with("_IN_PROGRESS") {
                    updates.push(Update(std::mem::take(&mut current)));
                }
            }
        }
        updates.into_iter()
    }
}

impl Update<'_> {
    fn start(&self) -> &Event {
        self.0[0].1
    }

    fn end(&self) -> &Event {
        self.0[self.0.len() - 1].1
    }

    /// The first event of this status, with its index.
    pub(crate) fn first(&self, status: &str) -> Option<(usize, &Event)> {
        let mut events = self.0.iter().copied();
        events.find(|(_, event)| event.resource_status == status)
    }

    /// The index of the newest event.
    pub(crate) fn end_index(&self) -> usize {
        self.0[self.0.len() - 1].0
    }

    /// The index of the first event.
    pub(crate) fn start_index(&self) -> usize {
        self.0[0].0
    }

    fn rollback(&self) -> Option<&Event> {
        self.first("UPDATE_ROLLBACK_IN_PROGRESS")
            .map(|(_, event)| event)
    }

    pub(crate) fn is_rolled_back(&self) -> bool {
        self.rollback().is_some()
    }

    /// The outcome by section 7 of the contract.
    pub(crate) fn outcome(&self) -> &'static str {
        match self.end().resource_status.as_str() {
            "UPDATE_COMPLETE" => "SUCCEEDED",
            "UPDATE_ROLLBACK_COMPLETE" => "CANCELLED",
            "UPDATE_ROLLBACK_FAILED" | "UPDATE_FAILED" => "FAILED",
            other => panic!("{other} is no end"),
        }
    }

    /// The time at which the update reached its outcome, before a clean-up after success.
    pub(crate) fn settled_at(&self) -> String {
        let cleaning_up = self.first("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS");
        time(cleaning_up.map_or_else(|| self.end(), |(_, event)| event))
    }

    pub(crate) fn started_at(&self) -> String {
        time(self.start())
    }

    pub(crate) fn operation(&self) -> Option<&str> {
        self.start().operation_id.as_deref()
    }

    /// The reason of the rollback, then that of its end. `None` without a rollback.
    pub(crate) fn message(&self) -> Option<String> {
        let reason = self.rollback()?.resource_status_reason.as_deref();
        let reason = reason.expect("a recorded rollback has a reason").trim();
        Some(match &self.end().resource_status_reason {
            Some(words) => format!("{reason}; {}", words.trim()),
            None => reason.to_owned(),
        })
    }

    /// True if the rollback began with the update's own token. `None` without a rollback or tokens.
    pub(crate) fn rollback_bears_its_token(&self) -> Option<bool> {
        let rollback = self.rollback()?.client_request_token.as_ref()?;
        Some(Some(rollback) == self.start().client_request_token.as_ref())
    }
}

/// A time as the function writes it: with milliseconds unless they are zero.
pub(crate) fn time(event: &Event) -> String {
    let format = match event.timestamp.timestamp_subsec_millis() {
        0 => SecondsFormat::Secs,
        _ => SecondsFormat::Millis,
    };
    event.timestamp.to_rfc3339_opts(format, true)
}

fn utc<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let time = DateTime::parse_from_rfc3339(&text).map_err(D::Error::custom)?;
    Ok(time.to_utc())
}
