//! The faults of a world file.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::faults::{Fault, Rule};
use crate::wire::operation::Operation;

/// Reads a probability.
pub(crate) fn chance<'de, D: Deserializer<'de>>(file: D) -> Result<f64, D::Error> {
    let chance = f64::deserialize(file)?;
    if (0.0..=1.0).contains(&chance) {
        Ok(chance)
    } else {
        let what = format!("`{chance}` is no probability: must be from 0 to 1");
        Err(D::Error::custom(what))
    }
}

/// Reads a number of calls per second.
pub(crate) fn rate<'de, D: Deserializer<'de>>(file: D) -> Result<f64, D::Error> {
    let rate = f64::deserialize(file)?;
    if rate.is_finite() && rate >= 0.0 {
        Ok(rate)
    } else {
        let what = format!("`{rate}` is no rate: must be 0 or more");
        Err(D::Error::custom(what))
    }
}

/// Reads the least and the most milliseconds.
pub(crate) fn latency<'de, D: Deserializer<'de>>(
    file: D,
) -> Result<RangeInclusive<Duration>, D::Error> {
    let [least, most] = <[u64; 2]>::deserialize(file)?.map(Duration::from_millis);
    Ok(least..=most)
}

/// Reads the numbers of the first and the last call, or entry.
pub(crate) fn range<'de, D, T>(file: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: From<RangeInclusive<u64>>,
{
    let [first, last] = <[u64; 2]>::deserialize(file)?;
    if first == 0 || last < first {
        let what = format!("`[{first}, {last}]`: write the first, from 1, and the last");
        return Err(D::Error::custom(what));
    }
    Ok((first..=last).into())
}

/// Reads the entries `[[faults.rule]]`.
pub(crate) fn rules<'de, D: Deserializer<'de>>(file: D) -> Result<Vec<Rule>, D::Error> {
    let texts = Vec::<RuleText>::deserialize(file)?.into_iter();
    let rules = texts.enumerate().map(|(index, text)| {
        let rule = text.into_rule();
        rule.map_err(|what| D::Error::custom(format!("faults.rule {}: {what}", index + 1)))
    });
    rules.collect()
}

/// An entry `[[faults.rule]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    operation: Option<Operation>,
    environment: Option<String>,
    #[serde(default, deserialize_with = "range")]
    calls: Option<RangeInclusive<u64>>,
    times: Option<u64>,
    fault: String,
    code: Option<String>,
    message: Option<String>,
    status: Option<u16>,
    body: Option<String>,
    before: Option<String>,
    latency_ms: Option<u64>,
    #[serde(default)]
    after_effect: bool,
}

impl RuleText {
    fn into_rule(self) -> Result<Rule, String> {
        let mut rule = Rule::new(self.fault()?);
        rule = match (self.calls, self.times) {
            (Some(_), Some(_)) => {
                return Err("calls and times exclude each other: keep one".to_owned());
            }
            (Some(calls), None) => rule.calls(calls),
            (None, Some(times)) => rule.times(times),
            (None, None) => rule,
        };
        if self.after_effect {
            rule = rule.after_effect();
        }
        Ok(Rule {
            operation: self.operation,
            environment: self.environment,
            ..rule
        })
    }

    fn fault(&self) -> Result<Fault, String> {
        if let Some(status) = self.status
            && !(200..=599).contains(&status)
        {
            return Err(format!("status is `{status}`: must be from 200 to 599"));
        }
        Ok(match self.fault.as_str() {
            "error" => Fault::Error {
                code: self.code.clone().ok_or("an `error` needs a `code`")?,
                message: self.message.clone().unwrap_or_default(),
                status: self.status,
            },
            "junk" => Fault::Junk {
                status: self.status.ok_or("`junk` needs a `status`")?,
                body: self.body.clone().unwrap_or_default(),
            },
            "cut" => Fault::Cut {
                before: self.before.clone().ok_or("a `cut` needs `before`")?,
            },
            "drop" => Fault::Drop,
            "never" => Fault::Never,
            "latency" => {
                let latency = self.latency_ms.ok_or("`latency` needs `latency_ms`")?;
                Fault::Latency(Duration::from_millis(latency))
            }
            fault => {
                return Err(format!(
                    "fault is `{fault}`: write `error`, `junk`, `cut`, `drop`, `never` or `latency`"
                ));
            }
        })
    }
}
