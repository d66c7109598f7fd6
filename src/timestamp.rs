//! Timestamps: how AWS writes them, and how this function does.

use std::time::Duration;

use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcDateTime};

/// A point in time, in UTC.
pub type Timestamp = UtcDateTime;

/// Reads a time as AWS writes it: RFC 3339, or CloudWatch's format with an offset without a colon,
/// `2019-10-02T17:04:40.989+0000`. `None` if the time has no RFC 3339 format.
#[must_use]
pub fn parse(text: &str) -> Option<Timestamp> {
    OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|error| {
            with_colon(text).map_or(Err(error), |text| OffsetDateTime::parse(&text, &Rfc3339))
        })
        .ok()
        .and_then(OffsetDateTime::checked_to_utc)
        .filter(can_be_written)
}

/// Returns a time with a colon between the hours and minutes of its offset.
fn with_colon(text: &str) -> Option<String> {
    let (before, minutes) = text.split_at_checked(text.len().checked_sub(2)?)?;
    Some(format!("{before}:{minutes}"))
}

/// Returns the time that many milliseconds after the epoch. `None` if RFC 3339 has no format for it.
#[must_use]
pub(crate) fn from_milliseconds(milliseconds: i64) -> Option<Timestamp> {
    from_nanoseconds(i128::from(milliseconds) * 1_000_000)
}

/// Returns the time that many nanoseconds after the epoch. `None` if RFC 3339 has no format for it.
#[must_use]
pub(crate) fn from_nanoseconds(nanoseconds: i128) -> Option<Timestamp> {
    Timestamp::from_unix_timestamp_nanos(nanoseconds)
        .ok()
        .filter(can_be_written)
}

/// Returns a later time. `None` if it is out of range.
#[must_use]
pub(crate) fn later(time: Timestamp, by: Duration) -> Option<Timestamp> {
    time.checked_add(by.try_into().ok()?)
}

/// Returns the whole milliseconds from the epoch to a time.
#[must_use]
pub(crate) fn milliseconds(time: Timestamp) -> i64 {
    // The product cannot overflow, because years have four digits.
    time.unix_timestamp() * 1000 + i64::from(time.millisecond())
}

/// True if RFC 3339 has a format for the time, whose years have four digits.
fn can_be_written(time: &Timestamp) -> bool {
    (0..=9999).contains(&time.year())
}

/// Writes a time as RFC 3339 in UTC, with as many digits of the second as needed: none, 3, 6 or 9.
#[must_use]
pub fn format(time: Timestamp) -> String {
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second, nanoseconds) = time.as_hms_nano();
    let month = u8::from(month);
    let whole = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    match nanoseconds {
        0 => format!("{whole}Z"),
        some if some % 1_000_000 == 0 => format!("{whole}.{:03}Z", some / 1_000_000),
        some if some % 1000 == 0 => format!("{whole}.{:06}Z", some / 1000),
        some => format!("{whole}.{some:09}Z"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_written_time_is_read_as_the_same(
            seconds in -62_167_219_200_i64..253_402_300_800,
            nanoseconds in 0..1_000_000_000_u32,
        ) {
            let since = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
            let time = from_nanoseconds(since).unwrap();
            prop_assert_eq!(parse(&format(time)), Some(time));
            prop_assert_eq!(i128::from(milliseconds(time)), since.div_euclid(1_000_000));
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
    }

    #[test]
    fn a_time_is_written_with_as_many_digits_as_it_has() {
        for (text, expected) in [
            ("2019-10-02T17:04:40.000Z", "2019-10-02T17:04:40Z"),
            ("2019-10-02T17:04:40.5Z", "2019-10-02T17:04:40.500Z"),
            ("2019-10-02T17:04:40.000012Z", "2019-10-02T17:04:40.000012Z"),
            (
                "2019-10-02T17:04:40.0000001Z",
                "2019-10-02T17:04:40.000000100Z",
            ),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z"),
        ] {
            assert_eq!(parse(text).map(format).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn an_invalid_time_is_not_read() {
        for text in [
            "",
            "yesterday",
            "1570035880",
            "2019-13-02T17:04:40Z",
            "2019-10-02",
            "2019-10-02T17:04:40+000",
            "2019-10-02T17:04:40+00000",
            "2019-10-02T17:04:40",
            "+12019-10-02T17:04:40Z",
            "-0001-10-02T17:04:40+0000",
            "9999-12-31T23:59:59-01:00",
            "0000-01-01T00:00:00+01:00",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
