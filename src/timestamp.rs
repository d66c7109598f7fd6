//! Points in time as AWS writes them, and as this function does.

use chrono::{DateTime, SecondsFormat, Utc};

/// A point in time, in UTC.
pub type Timestamp = DateTime<Utc>;

/// Reads a time as AWS writes it: RFC 3339, or CloudWatch's own form whose offset has no colon,
/// `2019-10-02T17:04:40.989+0000`.
#[must_use]
pub fn parse(text: &str) -> Option<Timestamp> {
    DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"))
        .ok()
        .map(|time| time.to_utc())
}

/// Writes a time as RFC 3339 in UTC, with as many digits of the second as it has.
#[must_use]
pub fn format(time: Timestamp) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_of_awss_forms_are_read() {
        let expected = "2019-10-02T17:04:40.989Z";
        for text in [
            "2019-10-02T17:04:40.989Z",
            "2019-10-02T17:04:40.989+0000",
            "2019-10-02T17:04:40.989+00:00",
            "2019-10-02T19:04:40.989+0200",
        ] {
            assert_eq!(parse(text).map(format).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(
            parse("2019-10-02T17:04:40Z").map(format).as_deref(),
            Some("2019-10-02T17:04:40Z")
        );
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "yesterday",
            "1570035880",
            "2019-13-02T17:04:40Z",
            "2019-10-02",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
