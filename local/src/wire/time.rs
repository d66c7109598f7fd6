//! Times on the wire.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;

/// Returns seconds since the epoch, to the millisecond, as awsJson writes a timestamp.
pub(crate) fn epoch_seconds(time: SystemTime) -> Value {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let whole = Duration::from_secs(since.as_secs());
    let seconds = whole + Duration::from_millis(u64::from(since.subsec_millis()));
    Value::from(seconds.as_secs_f64())
}

/// Reads seconds since the epoch, as awsJson writes a timestamp. `None` if no time can hold them.
pub(crate) fn from_epoch_seconds(seconds: f64) -> Option<SystemTime> {
    let magnitude = Duration::try_from_secs_f64(seconds.abs()).ok()?;
    // The end of the year 9999: what lies beyond cannot be written.
    if magnitude > Duration::from_secs(253_402_300_799) {
        return None;
    }
    if seconds < 0.0 {
        UNIX_EPOCH.checked_sub(magnitude)
    } else {
        UNIX_EPOCH.checked_add(magnitude)
    }
}

/// Returns RFC 3339 in UTC, to the millisecond.
#[must_use]
pub fn rfc3339(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Returns milliseconds since the epoch.
pub(crate) fn epoch_millis(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_keep_their_milliseconds() {
        let time = UNIX_EPOCH + Duration::from_micros(1_795_473_600_123_456);
        assert_eq!(epoch_seconds(time).to_string(), "1795473600.123");
        assert_eq!(rfc3339(time), "2026-11-23T22:40:00.123Z");
        assert_eq!(epoch_millis(time), 1_795_473_600_123);
    }

    #[test]
    fn what_cannot_be_written_is_no_time() {
        assert_eq!(
            from_epoch_seconds(0.5),
            Some(UNIX_EPOCH + Duration::from_millis(500))
        );
        assert_eq!(
            from_epoch_seconds(-1.0),
            Some(UNIX_EPOCH - Duration::from_secs(1))
        );
        for seconds in [1e300, -1e300, f64::NAN, f64::INFINITY, 3e11] {
            assert_eq!(from_epoch_seconds(seconds), None, "{seconds}");
        }
    }
}
