//! Points in time as AWS writes them, and as this function does.

use chrono::{DateTime, Datelike as _, SecondsFormat, Utc};

/// A point in time, in UTC.
pub type Timestamp = DateTime<Utc>;

/// Reads a time as AWS writes it: RFC 3339, or CloudWatch's own form whose offset has no colon,
/// `2019-10-02T17:04:40.989+0000`. What cannot be written again is no time.
#[must_use]
pub fn parse(text: &str) -> Option<Timestamp> {
    DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"))
        .ok()
        .map(|time| time.to_utc())
        .filter(can_be_written)
}

/// Whether RFC 3339 has a form for it: its years have four digits.
#[must_use]
pub fn can_be_written(time: &Timestamp) -> bool {
    (0..=9999).contains(&time.year())
}

/// Writes a time as RFC 3339 in UTC, with as many digits of the second as it has.
#[must_use]
pub fn format(time: Timestamp) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            seconds in -62_167_219_200_i64..253_402_300_800,
            nanoseconds in 0..1_000_000_000_u32,
        ) {
            let time = Timestamp::from_timestamp(seconds, nanoseconds).unwrap();
            prop_assert!(can_be_written(&time));
            prop_assert_eq!(parse(&format(time)), Some(time));
        }

        #[test]
        fn any_text_is_a_time_or_none(text in "\\PC*") {
            if let Some(time) = parse(&text) {
                prop_assert_eq!(parse(&format(time)), Some(time));
            }
        }
    }

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
            "+12019-10-02T17:04:40Z",
            "-0001-10-02T17:04:40+0000",
            "9999-12-31T23:59:59-01:00",
            "0000-01-01T00:00:00+01:00",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
