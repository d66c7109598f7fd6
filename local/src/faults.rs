//! Injected faults between a client and a service: by chance, from a seed, or by a script.
//!
//! Faults concern every service that clients call with the AWS SDK, never the Runtime API.

pub(crate) mod file;
pub(crate) mod live;

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;

use crate::faults::file::{chance, latency, range, rate, rules};
use crate::setters::setters;
use crate::wire::operation::Operation;

/// The injected faults of a world.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    #[serde(rename = "latency_ms", deserialize_with = "latency")]
    pub(crate) latency: RangeInclusive<Duration>,
    pub(crate) chances: Chances,
    #[serde(rename = "throttle")]
    pub(crate) throttles: Vec<Throttle>,
    #[serde(rename = "rule", deserialize_with = "rules")]
    pub(crate) rules: Vec<Rule>,
    #[serde(rename = "refuse")]
    pub(crate) refusals: Vec<Refusal>,
}

impl Default for Faults {
    fn default() -> Self {
        Self::none()
    }
}

impl Faults {
    /// Creates faults that inject nothing.
    #[must_use]
    pub fn none() -> Self {
        Self {
            latency: Duration::ZERO..=Duration::ZERO,
            chances: Chances::default(),
            throttles: Vec::new(),
            rules: Vec::new(),
            refusals: Vec::new(),
        }
    }

    setters! {
        /// Sets the latency of responses, drawn anew for each call.
        latency(range: RangeInclusive<Duration>) => latency = range;
        /// Sets the probability of each fault.
        chances(chances: Chances) => chances = chances;
    }

    /// Adds a limit to the rate of calls.
    #[must_use]
    pub fn throttle(mut self, throttle: Throttle) -> Self {
        self.throttles.push(throttle);
        self
    }

    /// Adds a scripted fault. Of the rules that match a call, the first decides.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Adds entries that `PutEvents` refuses.
    #[must_use]
    pub fn refuse(mut self, refusal: Refusal) -> Self {
        self.refusals.push(refusal);
        self
    }

    /// Returns the same faults of CloudFormation's operations, with CloudFormation's codes.
    pub(crate) fn of_stacks(mut self) -> Self {
        for throttle in &mut self.throttles {
            throttle.operation = throttle.operation.map(Operation::of_stack);
        }
        for rule in &mut self.rules {
            if rule.operation == Some(Operation::PutEvents) {
                continue;
            }
            rule.operation = rule.operation.map(Operation::of_stack);
            if let Fault::Error { code, .. } = &mut rule.fault {
                *code = code_of_stacks(code).to_owned();
            }
        }
        self
    }
}

/// Returns CloudFormation's code for one of Proton's.
fn code_of_stacks(code: &str) -> &str {
    match code {
        "ThrottlingException" => "Throttling",
        "AccessDeniedException" => "AccessDenied",
        "ResourceNotFoundException" | "ConflictException" | "ValidationException" => {
            "ValidationError"
        }
        "InternalServerException" => "InternalFailure",
        _ => code,
    }
}

/// The probability of each fault, from 0 (never) to 1 (always), for each call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Chances {
    /// An error of the service's own, HTTP status 500, before the call has an effect.
    #[serde(deserialize_with = "chance")]
    pub error: f64,
    /// A connection that is dropped before the call has an effect.
    #[serde(deserialize_with = "chance")]
    pub drop_before: f64,
    /// A connection that is dropped after the call had its effect.
    #[serde(deserialize_with = "chance")]
    pub drop_after: f64,
    /// A call without a response and without an effect.
    #[serde(deserialize_with = "chance")]
    pub never: f64,
    /// An entry that `PutEvents` refuses with `InternalFailure`; drawn for each entry.
    #[serde(deserialize_with = "chance")]
    pub refused_entry: f64,
}

/// A token bucket: a burst of calls at once, and a rate of calls a second in the long run. The
/// response to a call that finds it empty is `ThrottlingException`, CloudFormation's `Throttling`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Throttle {
    /// The limited operation. `None` limits all of Proton's and CloudFormation's operations together.
    pub operation: Option<Operation>,
    /// The number of tokens that are added each second.
    #[serde(deserialize_with = "rate")]
    pub per_second: f64,
    /// The capacity, and the number of tokens at the start.
    pub burst: u32,
}

/// Returns the numbers of all calls, or entries.
fn all() -> RangeInclusive<u64> {
    1..=u64::MAX
}

/// A scripted fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub(crate) operation: Option<Operation>,
    pub(crate) environment: Option<String>,
    pub(crate) calls: RangeInclusive<u64>,
    pub(crate) fault: Fault,
    pub(crate) moment: FaultMoment,
}

impl Rule {
    /// Applies a fault to every call.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        Self {
            operation: None,
            environment: None,
            calls: all(),
            fault,
            moment: FaultMoment::BeforeEffect,
        }
    }

    setters! {
        /// Limits the rule to calls of this operation.
        operation(operation: Operation) => operation = Some(operation);
        /// Limits the rule to calls that name this environment or stack, by its ID, too. A call of
        /// `PutEvents` names it in the detail of an entry.
        environment(name: impl Into<String>) => environment = Some(name.into());
        /// Limits the rule to these of the calls that match otherwise, counted from 1.
        calls(calls: RangeInclusive<u64>) => calls = calls;
        /// Lets the call have its effect before the fault hides the response.
        after_effect() => moment = FaultMoment::AfterEffect;
    }

    /// Limits the rule to the first calls that match otherwise.
    #[must_use]
    pub fn times(self, times: u64) -> Self {
        self.calls(1..=times)
    }
}

/// A kind of fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An error of the service in its wire form.
    Error {
        /// The error's code, such as `AccessDeniedException`.
        code: String,
        /// The error's message.
        message: String,
        /// The HTTP status; without one, 500 for a code that starts with `Internal` or `Service`
        /// (but 400 for `ServiceQuotaExceededException`, 503 for `ServiceUnavailable`), 403 for
        /// `AccessDenied` and its like, else 400.
        status: Option<u16>,
    },
    /// A response of something between: a status and a body that is not the service's.
    Junk {
        /// The HTTP status.
        status: u16,
        /// The body.
        body: String,
    },
    /// A response that ends right before this text, if it contains the text, with a length that fits.
    Cut {
        /// The text.
        before: String,
    },
    /// A dropped connection without a response.
    Drop,
    /// No response at all.
    Never,
    /// A response after this much more time.
    Latency(Duration),
}

impl Fault {
    /// Creates an error with the HTTP status that AWS gives it.
    #[must_use]
    pub fn error(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Error {
            code: code.into(),
            message: message.into(),
            status: None,
        }
    }
}

/// The place of a fault before or after the call's effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultMoment {
    BeforeEffect,
    AfterEffect,
}

/// Entries that `PutEvents` refuses, each with this code and message.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    pub(crate) containing: Option<String>,
    #[serde(default = "all", deserialize_with = "range")]
    pub(crate) entries: RangeInclusive<u64>,
    pub(crate) code: String,
    #[serde(default)]
    pub(crate) message: String,
}

impl Refusal {
    /// Refuses every entry.
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            containing: None,
            entries: all(),
            code: code.into(),
            message: message.into(),
        }
    }

    setters! {
        /// Limits the refusal to entries whose detail contains this text.
        containing(text: impl Into<String>) => containing = Some(text.into());
        /// Limits the refusal to these of the entries that match otherwise, counted from 1 over all calls.
        entries(entries: RangeInclusive<u64>) => entries = entries;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_concern_the_other_service() {
        let denied = Fault::error("AccessDeniedException", "no");
        let faults = Faults::none()
            .rule(Rule::new(denied.clone()).operation(Operation::GetEnvironment))
            .rule(Rule::new(denied.clone()).operation(Operation::PutEvents));
        let of_stacks = Rule::new(Fault::error("AccessDenied", "no"));
        let expected = Faults::none()
            .rule(of_stacks.operation(Operation::DescribeStacks))
            .rule(Rule::new(denied).operation(Operation::PutEvents));
        assert_eq!(faults.of_stacks(), expected);
    }
}
