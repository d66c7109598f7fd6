//! Values of a world file.

use std::time::Duration;

use serde_json::Value;

use crate::wire::operation::Operation;
use crate::wire::shape::Shape;

/// The longest time that a file can give: a hundred years.
const MOST_SECONDS: f64 = 100.0 * 366.0 * 86_400.0;

/// The seconds of a day.
const DAY: f64 = 86_400.0;

/// Reads the name of an operation.
pub(crate) fn operation(name: Option<String>) -> Result<Option<Operation>, String> {
    name.map(|name| name.parse()).transpose()
}

/// Reads a number of seconds.
pub(crate) fn optional_seconds(value: Option<f64>, name: &str) -> Result<Option<Duration>, String> {
    value.map(|value| seconds(value, name)).transpose()
}

/// Reads a number of seconds.
pub(crate) fn seconds(value: f64, name: &str) -> Result<Duration, String> {
    if !(0.0..=MOST_SECONDS).contains(&value) {
        return Err(format!(
            "{name} is out of range: must be 0 or more, and less than a hundred years"
        ));
    }
    Duration::try_from_secs_f64(value).map_err(|error| format!("{name}: {error}"))
}

/// Reads a number of days.
pub(crate) fn days(value: f64, name: &str) -> Result<Duration, String> {
    seconds(value * DAY, name)
}

/// Returns the only value that is there; `None` for none or more than one.
pub(crate) fn only<T, const N: usize>(choices: [Option<T>; N]) -> Option<T> {
    let mut given = choices.into_iter().flatten();
    let first = given.next();
    if given.next().is_some() { None } else { first }
}

/// Returns a text that the service's model allows.
pub(crate) fn valid(shape: &Shape, text: String, name: &str, rule: &str) -> Result<String, String> {
    if shape.accepts(&Value::from(text.as_str())) {
        Ok(text)
    } else {
        Err(format!("{name} is `{text}`: must be {rule}"))
    }
}
