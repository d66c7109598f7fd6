//! The faults of a world file.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;

use crate::faults::{Chances, Fault, Faults, Refusal, Rule, Throttle};
use crate::wire::operation::Operation;

/// The table `[faults]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FaultsText {
    latency_ms: Option<[u64; 2]>,
    chances: Option<ChancesText>,
    #[serde(default)]
    throttle: Vec<ThrottleText>,
    #[serde(default)]
    rule: Vec<RuleText>,
    #[serde(default)]
    refuse: Vec<RefusalText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct ChancesText {
    error: f64,
    drop_before: f64,
    drop_after: f64,
    never: f64,
    refused_entry: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ThrottleText {
    operation: Option<Operation>,
    per_second: f64,
    burst: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    operation: Option<Operation>,
    environment: Option<String>,
    calls: Option<[u64; 2]>,
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefusalText {
    containing: Option<String>,
    entries: Option<[u64; 2]>,
    code: String,
    message: Option<String>,
}

impl FaultsText {
    /// Reads the faults.
    pub(crate) fn into_faults(self) -> Result<Faults, String> {
        let mut faults = Faults::none();
        if let Some([least, most]) = self.latency_ms {
            faults = faults.latency(Duration::from_millis(least)..=Duration::from_millis(most));
        }
        if let Some(chances) = self.chances {
            faults = faults.chances(chances.into_chances()?);
        }
        for throttle in self.throttle {
            faults = faults.throttle(throttle.into_throttle()?);
        }
        for (index, rule) in self.rule.into_iter().enumerate() {
            let rule = rule
                .into_rule()
                .map_err(|what| format!("faults.rule {}: {what}", index + 1))?;
            faults = faults.rule(rule);
        }
        for refusal in self.refuse {
            faults = faults.refuse(refusal.into_refusal()?);
        }
        Ok(faults)
    }
}

impl ChancesText {
    fn into_chances(self) -> Result<Chances, String> {
        let chance = |name: &str, chance: f64| {
            if (0.0..=1.0).contains(&chance) {
                Ok(chance)
            } else {
                Err(format!(
                    "faults.chances: {name} is `{chance}`: must be from 0 to 1"
                ))
            }
        };
        Ok(Chances {
            error: chance("error", self.error)?,
            drop_before: chance("drop_before", self.drop_before)?,
            drop_after: chance("drop_after", self.drop_after)?,
            never: chance("never", self.never)?,
            refused_entry: chance("refused_entry", self.refused_entry)?,
        })
    }
}

impl ThrottleText {
    fn into_throttle(self) -> Result<Throttle, String> {
        if !(self.per_second.is_finite() && self.per_second >= 0.0) {
            return Err(format!(
                "faults.throttle: per_second is `{}`: must be 0 or more",
                self.per_second
            ));
        }
        Ok(Throttle {
            operation: self.operation,
            per_second: self.per_second,
            burst: self.burst,
        })
    }
}

impl RuleText {
    fn into_rule(self) -> Result<Rule, String> {
        let mut rule = Rule::new(self.fault()?);
        if let Some(operation) = self.operation {
            rule = rule.operation(operation);
        }
        if let Some(environment) = self.environment {
            rule = rule.environment(environment);
        }
        rule = match (self.calls, self.times) {
            (Some(_), Some(_)) => {
                return Err("calls and times exclude each other: keep one".to_owned());
            }
            (Some(calls), None) => rule.calls(range(calls, "calls")?),
            (None, Some(times)) => rule.times(times),
            (None, None) => rule,
        };
        Ok(if self.after_effect {
            rule.after_effect()
        } else {
            rule
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

impl RefusalText {
    fn into_refusal(self) -> Result<Refusal, String> {
        let mut refusal = Refusal::new(self.code, self.message.unwrap_or_default());
        if let Some(text) = self.containing {
            refusal = refusal.containing(text);
        }
        if let Some(entries) = self.entries {
            refusal = refusal.entries(range(entries, "entries")?);
        }
        Ok(refusal)
    }
}

fn range([first, last]: [u64; 2], name: &str) -> Result<RangeInclusive<u64>, String> {
    if first == 0 || last < first {
        return Err(format!(
            "{name} is `[{first}, {last}]`: write the first, from 1, and the last"
        ));
    }
    Ok(first..=last)
}
