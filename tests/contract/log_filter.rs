//! Lambda's filter of log lines, as the [page on log levels][filter] describes it.
//!
//! [filter]: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html

use chrono::DateTime;
use local_aws::Line;
use serde_json::Value;

/// Every level that Lambda knows, the most verbose first.
pub(crate) const LEVELS: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];

/// The index of `INFO`, the level of a line or a function that names none.
const INFO: usize = 2;

/// The filter of one function.
pub(crate) enum Filter {
    /// Text is not filtered.
    Text,
    /// With JSON logs, lines below this index of [`LEVELS`] are dropped.
    Json(usize),
}

impl Filter {
    pub(crate) fn new(format: Option<&str>, level: Option<&str>) -> Self {
        match format {
            Some("JSON") => Self::Json(level.and_then(index_of).unwrap_or(INFO)),
            _ => Self::Text,
        }
    }

    pub(crate) fn is_json(&self) -> bool {
        matches!(self, Self::Json(_))
    }

    /// The lines that reach CloudWatch.
    pub(crate) fn kept(&self, mut lines: Vec<Line>) -> Vec<Line> {
        if let Self::Json(least) = self {
            lines.retain(|line| level_of(&line.text) >= *least);
        }
        lines
    }
}

fn index_of(level: &str) -> Option<usize> {
    LEVELS
        .iter()
        .position(|known| known.eq_ignore_ascii_case(level))
}

fn level_of(line: &str) -> usize {
    let line: Value = serde_json::from_str(line).unwrap_or_default();
    let has_time = line["timestamp"]
        .as_str()
        .is_some_and(|time| DateTime::parse_from_rfc3339(time).is_ok());
    let level = line["level"].as_str().and_then(index_of);
    level.filter(|_| has_time).unwrap_or(INFO)
}
