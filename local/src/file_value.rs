//! Values of a world file.

use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::wire::model;
use crate::wire::shape::Shape;

/// The longest time that a file can give: a hundred years.
const MOST: Duration = Duration::from_hours(100 * 366 * 24);

/// A time, in units of so many seconds.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "f64")]
pub(crate) struct Units<const SECONDS: u32>(pub(crate) Duration);

pub(crate) type Seconds = Units<1>;
pub(crate) type Days = Units<86_400>;

impl<const SECONDS: u32> TryFrom<f64> for Units<SECONDS> {
    type Error = String;

    fn try_from(value: f64) -> Result<Self, String> {
        let time = Duration::try_from_secs_f64(value * f64::from(SECONDS)).ok();
        let time = time.filter(|time| *time <= MOST);
        time.map(Self).ok_or_else(|| {
            format!("`{value}` is out of range: must be 0 or more, and less than a hundred years")
        })
    }
}

/// Reads a number of seconds.
pub(crate) fn seconds<'de, D: Deserializer<'de>>(file: D) -> Result<Duration, D::Error> {
    Seconds::deserialize(file).map(|Units(time)| time)
}

/// Returns the only value that is there; `None` for none or more than one.
pub(crate) fn only<T, const N: usize>(choices: [Option<T>; N]) -> Option<T> {
    let mut given = choices.into_iter().flatten();
    let first = given.next();
    if given.next().is_some() { None } else { first }
}

/// A shape of the service's model, and what it demands.
pub(crate) type Rule = (&'static Shape, &'static str);

pub(crate) const ACCOUNT_ID: Rule = (&model::ACCOUNT_ID, "12 digits");

/// Returns a text that the service's model allows.
pub(crate) fn valid(text: String, name: &str, (shape, rule): Rule) -> Result<String, String> {
    if shape.accepts(&Value::from(text.as_str())) {
        Ok(text)
    } else {
        Err(format!("{name} is `{text}`: must be {rule}"))
    }
}
