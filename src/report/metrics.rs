//! The run's metrics, in CloudWatch's [embedded metric format][emf] on standard output.
//!
//! The metrics are written at every log level, one JSON object a line. With JSON logs, [Lambda filters
//! standard output][filter]: a line without `level`, or without an RFC 3339 `timestamp`, counts as `INFO`.
//! So the line has both, with a level that no filter drops.
//!
//! [filter]: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
//! [emf]: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html

use std::io::Write as _;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::report::outcome::{NAMES, Outcome};
use crate::report::record::Record;
use crate::timestamp::{self, Timestamp};
use crate::trigger::Trigger;

/// The namespace of the metrics.
const NAMESPACE: &str = "proton-canceller";

/// Lambda's least verbose log level, by the page on filters above. A line at this level passes every filter,
/// and a query for lines at `ERROR` does not match it.
const LEVEL: &str = "FATAL";

/// The counts of a run.
#[derive(Debug)]
pub(crate) struct Metrics {
    in_progress: Option<u64>,
    counts: Vec<(&'static str, u64)>,
    time_to_first_cancel: Option<u64>,
    trigger: &'static str,
}

impl Metrics {
    /// Counts a run's outcomes.
    #[must_use]
    pub(crate) fn of(record: &Record, trigger: &Trigger) -> Self {
        let count = |name: &str| {
            let of_that_name = |outcome: &&Arc<Outcome>| outcome.end.name() == name;
            record.outcomes.iter().filter(of_that_name).count() as u64
        };
        Self {
            in_progress: Some(record.tally.in_progress),
            counts: NAMES
                .into_iter()
                .filter_map(|name| Some((metric_name(name)?, count(name))))
                .collect(),
            time_to_first_cancel: record
                .time_to_first_cancel(trigger)
                .and_then(|time| u64::try_from(time.as_millis()).ok()),
            trigger: trigger.cause.kind(),
        }
    }

    /// Counts the end of a deployment that was followed.
    #[must_use]
    pub(crate) fn of_an_end(outcome: &Outcome) -> Self {
        let name = metric_name(outcome.end.name());
        Self {
            in_progress: None,
            counts: name.map(|name| (name, 1)).into_iter().collect(),
            time_to_first_cancel: None,
            trigger: "follow",
        }
    }

    /// Returns the metrics as one line of JSON.
    #[must_use]
    pub(crate) fn line(&self, function: &str, request_id: &str, now: Timestamp) -> String {
        self.document(function, request_id, now).to_string()
    }

    fn document(&self, function: &str, request_id: &str, now: Timestamp) -> Value {
        let mut metrics = Vec::new();
        let mut document = Map::new();
        let in_progress = self.in_progress.map(|count| ("InProgress", count));
        for (name, count) in in_progress.iter().chain(&self.counts) {
            metrics.push(json!({ "Name": name, "Unit": "Count" }));
            document.insert((*name).to_owned(), (*count).into());
        }
        if let Some(milliseconds) = self.time_to_first_cancel {
            metrics.push(json!({ "Name": "TimeToFirstCancel", "Unit": "Milliseconds" }));
            document.insert("TimeToFirstCancel".to_owned(), milliseconds.into());
        }
        document.insert("level".to_owned(), LEVEL.into());
        document.insert("timestamp".to_owned(), timestamp::format(now).into());
        document.insert("FunctionName".to_owned(), function.into());
        document.insert("requestId".to_owned(), request_id.into());
        document.insert("trigger".to_owned(), self.trigger.into());
        document.insert(
            "_aws".to_owned(),
            json!({
                "Timestamp": timestamp::milliseconds(now),
                "CloudWatchMetrics": [{
                    "Namespace": NAMESPACE,
                    "Dimensions": [["FunctionName"]],
                    "Metrics": metrics,
                }],
            }),
        );
        Value::Object(document)
    }
}

/// Writes a run's line to standard output, where Lambda reads metrics.
pub(crate) fn to_standard_output(line: &str) {
    // One write, so that a reader gets whole lines.
    let line = format!("{line}\n");
    let mut stdout = std::io::stdout().lock();
    // If standard output is closed, there is no place to report the error.
    let _ = stdout
        .write_all(line.as_bytes())
        .and_then(|()| stdout.flush());
}

/// Returns the metric that counts an outcome. `None` for a dry run's outcomes, because nothing was
/// cancelled.
fn metric_name(outcome: &str) -> Option<&'static str> {
    match outcome {
        "CANCELLED" => Some("Cancelled"),
        "FAILED" => Some("Failed"),
        "SUCCEEDED" => Some("Succeeded"),
        "CANCELLING" => Some("Cancelling"),
        "SKIPPED" => Some("Skipped"),
        "ERROR" => Some("Errors"),
        _ => None,
    }
}
