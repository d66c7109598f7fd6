//! Lambda's own filter of what a function writes, as its [page on log levels][filter] describes it.
//!
//! [filter]: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html

use chrono::DateTime;
use local_aws::Line;
use serde_json::Value;

/// Every level that Lambda knows, the most verbose first.
pub(crate) const LEVELS: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];

/// The place of `INFO` among the levels, which counts where a line or the function names none.
const INFO: usize = 2;

/// The filter of one function.
pub(crate) enum Filter {
    /// Text is not filtered.
    Text,
    /// With JSON logs, lines below this place among [`LEVELS`] are dropped.
    Json(usize),
}

impl Filter {
    pub(crate) fn new(format: Option<&str>, level: Option<&str>) -> Self {
        match format {
            Some("JSON") => Self::Json(level.and_then(place).unwrap_or(INFO)),
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

fn place(level: &str) -> Option<usize> {
    LEVELS
        .iter()
        .position(|known| known.eq_ignore_ascii_case(level))
}

fn level_of(line: &str) -> usize {
    let line: Value = serde_json::from_str(line).unwrap_or_default();
    let has_time = line["timestamp"]
        .as_str()
        .is_some_and(|time| DateTime::parse_from_rfc3339(time).is_ok());
    let level = line["level"].as_str().and_then(place);
    level.filter(|_| has_time).unwrap_or(INFO)
}
