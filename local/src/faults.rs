//! What goes wrong between a client and a service: by chance, from a seed, or by a script.
//!
//! Faults concern every service that clients call with the AWS SDK, never the Runtime API.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use crate::wire::error::ServiceError;
use crate::wire::operation::{Operation, Service};

/// What goes wrong in a world.
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    pub(crate) latency: RangeInclusive<Duration>,
    pub(crate) chances: Chances,
    pub(crate) throttles: Vec<Throttle>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) refusals: Vec<Refusal>,
}

impl Faults {
    /// Nothing goes wrong, and every answer comes at once.
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

    /// Each answer takes so long, drawn anew for each call.
    #[must_use]
    pub fn latency(mut self, range: RangeInclusive<Duration>) -> Self {
        self.latency = range;
        self
    }

    /// Sets how likely each fault is.
    #[must_use]
    pub fn chances(mut self, chances: Chances) -> Self {
        self.chances = chances;
        self
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
}

/// How likely each fault is, from 0 (never) to 1 (always), for each call.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Chances {
    /// An error of the service's own, HTTP status 500, before the call has an effect.
    pub error: f64,
    /// A connection that is dropped before the call has an effect.
    pub drop_before: f64,
    /// A connection that is dropped after the call had its effect.
    pub drop_after: f64,
    /// A call that is never answered and has no effect.
    pub never: f64,
    /// An entry that `PutEvents` refuses with `InternalFailure`; drawn for each entry.
    pub refused_entry: f64,
}

/// A token bucket: so many calls at once, and so many a second in the long run. A call that finds
/// it empty is answered with `ThrottlingException`; by CloudFormation with `Throttling`.
#[derive(Clone, Debug, PartialEq)]
pub struct Throttle {
    /// The operation that it limits; without one, every operation of Proton and CloudFormation
    /// takes from it.
    pub operation: Option<Operation>,
    /// How many tokens are put in each second.
    pub per_second: f64,
    /// How many tokens it holds, and starts with.
    pub burst: u32,
}

/// A scripted fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub(crate) operation: Option<Operation>,
    environment: Option<String>,
    calls: RangeInclusive<u64>,
    pub(crate) fault: Fault,
    moment: FaultMoment,
}

impl Rule {
    /// A fault of every call.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        Self {
            operation: None,
            environment: None,
            calls: 1..=u64::MAX,
            fault,
            moment: FaultMoment::BeforeEffect,
        }
    }

    /// Only calls of this operation.
    #[must_use]
    pub fn operation(mut self, operation: Operation) -> Self {
        self.operation = Some(operation);
        self
    }

    /// Only calls that name this environment or stack (by its id, too); for `PutEvents`, those with an entry whose detail
    /// mentions it.
    #[must_use]
    pub fn environment(mut self, name: impl Into<String>) -> Self {
        self.environment = Some(name.into());
        self
    }

    /// Only these of the calls that match otherwise, counted from 1.
    #[must_use]
    pub fn calls(mut self, calls: RangeInclusive<u64>) -> Self {
        self.calls = calls;
        self
    }

    /// Only the first so many calls that match otherwise.
    #[must_use]
    pub fn times(self, times: u64) -> Self {
        self.calls(1..=times)
    }

    /// The call has its effect, and then the fault hides its answer.
    #[must_use]
    pub fn after_effect(mut self) -> Self {
        self.moment = FaultMoment::AfterEffect;
        self
    }

    fn matches(&self, call: &CallSeen<'_>) -> bool {
        self.operation.is_none_or(|it| it == call.operation)
            && self
                .environment
                .as_ref()
                .is_none_or(|name| call.names(name))
    }
}

/// A kind of fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The service answers with an error in its wire form.
    Error {
        /// The error's code, such as `AccessDeniedException`.
        code: String,
        /// Its message.
        message: String,
        /// The HTTP status; without one, 500 for a code that starts with `Internal` or `Service`
        /// (but 400 for `ServiceQuotaExceededException`, 503 for `ServiceUnavailable`), 403 for
        /// `AccessDenied` and its like, else 400.
        status: Option<u16>,
    },
    /// Something between answers: a status and a body that is not the service's.
    Junk {
        /// The HTTP status.
        status: u16,
        /// The body.
        body: String,
    },
    /// The answer ends right before this text, where it contains it, with a length that fits.
    Cut {
        /// The text.
        before: String,
    },
    /// The connection is dropped without an answer.
    Drop,
    /// No answer ever comes.
    Never,
    /// The answer comes, this much later.
    Latency(Duration),
}

impl Fault {
    /// An error with the HTTP status that AWS gives it.
    #[must_use]
    pub fn error(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Error {
            code: code.into(),
            message: message.into(),
            status: None,
        }
    }
}

/// True if a fault comes before or after the call's effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultMoment {
    BeforeEffect,
    AfterEffect,
}

/// Entries that `PutEvents` refuses, each with this code and message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    containing: Option<String>,
    entries: RangeInclusive<u64>,
    code: String,
    message: String,
}

impl Refusal {
    /// Refuses every entry.
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            containing: None,
            entries: 1..=u64::MAX,
            code: code.into(),
            message: message.into(),
        }
    }

    /// Only entries whose detail contains this text.
    #[must_use]
    pub fn containing(mut self, text: impl Into<String>) -> Self {
        self.containing = Some(text.into());
        self
    }

    /// Only these of the entries that match otherwise, counted from 1 over all calls.
    #[must_use]
    pub fn entries(mut self, entries: RangeInclusive<u64>) -> Self {
        self.entries = entries;
        self
    }
}

/// A call, as far as faults look at it.
pub(crate) struct CallSeen<'a> {
    pub(crate) operation: Operation,
    /// The environment or stack that it names.
    pub(crate) environment: Option<&'a str>,
    /// The text of its entries' details.
    pub(crate) details: &'a [&'a str],
}

impl CallSeen<'_> {
    fn names(&self, name: &str) -> bool {
        self.environment == Some(name) || self.details.iter().any(|detail| detail.contains(name))
    }
}

/// What the faults decided about a call.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) latency: Duration,
    pub(crate) fault: Option<(FaultMoment, Mishap)>,
}

/// A fault, ready to be carried out.
#[derive(Debug)]
pub(crate) enum Mishap {
    Error(ServiceError),
    Junk { status: u16, body: String },
    Cut { before: String },
    Drop,
    Never,
}

/// The faults of a running world.
#[derive(Debug)]
pub(crate) struct LiveFaults {
    faults: Faults,
    rng: fastrand::Rng,
    buckets: Vec<Bucket>,
    /// How many calls each rule has matched.
    matched: HashMap<usize, u64>,
    /// How many entries each refusal has matched.
    entries_matched: HashMap<usize, u64>,
}

#[derive(Debug)]
struct Bucket {
    throttle: Throttle,
    tokens: f64,
    filled_at: SystemTime,
}

impl Bucket {
    fn concerns(&self, operation: Operation) -> bool {
        match self.throttle.operation {
            None => match operation.service() {
                Service::Proton | Service::CloudFormation => true,
                Service::EventBridge => false,
            },
            Some(limited) => limited == operation,
        }
    }

    fn take(&mut self, now: SystemTime) -> bool {
        let passed = now.duration_since(self.filled_at).unwrap_or_default();
        self.filled_at = now;
        self.tokens = (self.tokens + passed.as_secs_f64() * self.throttle.per_second)
            .min(f64::from(self.throttle.burst));
        let is_free = self.tokens >= 1.0;
        if is_free {
            self.tokens -= 1.0;
        }
        is_free
    }
}

impl LiveFaults {
    pub(crate) fn new(faults: Faults, seed: u64, now: SystemTime) -> Self {
        let buckets = faults
            .throttles
            .iter()
            .map(|throttle| Bucket {
                tokens: f64::from(throttle.burst),
                throttle: throttle.clone(),
                filled_at: now,
            })
            .collect();
        Self {
            faults,
            rng: fastrand::Rng::with_seed(seed),
            buckets,
            matched: HashMap::new(),
            entries_matched: HashMap::new(),
        }
    }

    /// Decides about a call. Scripted faults come first, then the throttle, then chance.
    pub(crate) fn judge(&mut self, call: &CallSeen<'_>, now: SystemTime) -> Verdict {
        let mut verdict = Verdict {
            latency: self.draw_latency(),
            fault: None,
        };
        if let Some(index) = self.matching_rule(call)
            && let Some(rule) = self.faults.rules.get(index)
        {
            match mishap(&rule.fault) {
                Ok(mishap) => verdict.fault = Some((rule.moment, mishap)),
                Err(latency) => verdict.latency += latency,
            }
        }
        if verdict.fault.is_none() && self.is_throttled(call.operation, now) {
            let code = match call.operation.service() {
                Service::Proton | Service::EventBridge => "ThrottlingException",
                Service::CloudFormation => "Throttling",
            };
            verdict.fault = Some((
                FaultMoment::BeforeEffect,
                Mishap::Error(ServiceError::new(code, "Rate exceeded")),
            ));
        }
        if verdict.fault.is_none() {
            verdict.fault = self.draw_fault(call.operation.service());
        }
        verdict
    }

    /// The code and message with which `PutEvents` refuses an entry of this detail.
    pub(crate) fn refuse_entry(&mut self, detail: &str) -> Option<(String, String)> {
        let mut refused = None;
        for (index, refusal) in self.faults.refusals.iter().enumerate() {
            if refusal
                .containing
                .as_ref()
                .is_some_and(|text| !detail.contains(text.as_str()))
            {
                continue;
            }
            let count = self.entries_matched.entry(index).or_default();
            *count += 1;
            if refused.is_none() && refusal.entries.contains(count) {
                refused = Some((refusal.code.clone(), refusal.message.clone()));
            }
        }
        if refused.is_none() && self.is_drawn(self.faults.chances.refused_entry) {
            refused = Some((
                "InternalFailure".to_owned(),
                "The request processing has failed because of an unknown error.".to_owned(),
            ));
        }
        refused
    }

    /// Counts the call for each rule that it matches, and gives the first that applies.
    fn matching_rule(&mut self, call: &CallSeen<'_>) -> Option<usize> {
        let mut first = None;
        for (index, rule) in self.faults.rules.iter().enumerate() {
            if !rule.matches(call) {
                continue;
            }
            let count = self.matched.entry(index).or_default();
            *count += 1;
            if rule.calls.contains(count) {
                first = first.or(Some(index));
            }
        }
        first
    }

    fn is_throttled(&mut self, operation: Operation, now: SystemTime) -> bool {
        let mut is_throttled = false;
        for bucket in &mut self.buckets {
            if bucket.concerns(operation) && !bucket.take(now) {
                is_throttled = true;
            }
        }
        is_throttled
    }

    fn draw_latency(&mut self) -> Duration {
        let (least, most) = (*self.faults.latency.start(), *self.faults.latency.end());
        if most <= least {
            return least;
        }
        least + most.saturating_sub(least).mul_f64(self.rng.f64())
    }

    fn draw_fault(&mut self, service: Service) -> Option<(FaultMoment, Mishap)> {
        let chances = self.faults.chances;
        if self.is_drawn(chances.error) {
            let code = match service {
                Service::Proton => "InternalServerException",
                Service::EventBridge => "InternalException",
                Service::CloudFormation => "InternalFailure",
            };
            let error = ServiceError::new(code, "The request failed to register with the service.");
            return Some((FaultMoment::BeforeEffect, Mishap::Error(error)));
        }
        if self.is_drawn(chances.drop_before) {
            return Some((FaultMoment::BeforeEffect, Mishap::Drop));
        }
        if self.is_drawn(chances.drop_after) {
            return Some((FaultMoment::AfterEffect, Mishap::Drop));
        }
        self.is_drawn(chances.never)
            .then_some((FaultMoment::BeforeEffect, Mishap::Never))
    }

    fn is_drawn(&mut self, chance: f64) -> bool {
        chance > 0.0 && self.rng.f64() < chance
    }
}

/// The fault of a rule, or the latency that it adds.
fn mishap(fault: &Fault) -> Result<Mishap, Duration> {
    Ok(match fault {
        Fault::Error {
            code,
            message,
            status,
        } => {
            let error = ServiceError::new(code.clone(), message.clone());
            Mishap::Error(match status {
                Some(status) => error.status(*status),
                None => error,
            })
        }
        Fault::Junk { status, body } => Mishap::Junk {
            status: *status,
            body: body.clone(),
        },
        Fault::Cut { before } => Mishap::Cut {
            before: before.clone(),
        },
        Fault::Drop => Mishap::Drop,
        Fault::Never => Mishap::Never,
        Fault::Latency(latency) => return Err(*latency),
    })
}
