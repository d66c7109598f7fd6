//! The faults of a running world.

use std::time::{Duration, SystemTime};

use crate::faults::{Fault, FaultMoment, Faults, Rule, Throttle};
use crate::wire::operation::{Operation, Service};

/// The properties of a call that faults depend on.
pub(crate) struct CallSeen<'a> {
    pub(crate) operation: Operation,
    /// The environment or stack that the call names.
    pub(crate) environment: Option<&'a str>,
    /// The text of the entries' details.
    pub(crate) details: &'a [&'a str],
}

impl CallSeen<'_> {
    /// True if a rule concerns the call.
    fn is_of(&self, rule: &Rule) -> bool {
        rule.operation.is_none_or(|it| it == self.operation)
            && rule
                .environment
                .as_ref()
                .is_none_or(|name| self.names(name))
    }

    fn names(&self, name: &str) -> bool {
        self.environment == Some(name) || self.details.iter().any(|detail| detail.contains(name))
    }
}

/// The decision about a call.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) latency: Duration,
    /// A fault that replaces the response, so never a latency.
    pub(crate) fault: Option<(FaultMoment, Fault)>,
}

/// The faults of a running world.
#[derive(Debug)]
pub(crate) struct LiveFaults {
    faults: Faults,
    rng: fastrand::Rng,
    buckets: Vec<Bucket>,
    /// The number of calls that each rule has matched.
    matched: Vec<u64>,
    /// The number of entries that each refusal has matched.
    entries_matched: Vec<u64>,
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
            matched: vec![0; faults.rules.len()],
            entries_matched: vec![0; faults.refusals.len()],
            faults,
            rng: fastrand::Rng::with_seed(seed),
            buckets,
        }
    }

    /// Decides about a call. Scripted faults come first, then the throttle, then chance.
    pub(crate) fn judge(&mut self, call: &CallSeen<'_>, now: SystemTime) -> Verdict {
        let mut verdict = Verdict {
            latency: self.draw_latency(),
            fault: None,
        };
        match self.scripted(call) {
            Some((_, Fault::Latency(latency))) => verdict.latency += latency,
            scripted => verdict.fault = scripted,
        }
        if verdict.fault.is_none() && self.is_throttled(call.operation, now) {
            let code = match call.operation.service() {
                Service::Proton | Service::EventBridge => "ThrottlingException",
                Service::CloudFormation => "Throttling",
            };
            let fault = Fault::error(code, "Rate exceeded");
            verdict.fault = Some((FaultMoment::BeforeEffect, fault));
        }
        if verdict.fault.is_none() {
            verdict.fault = self.draw_fault(call.operation.service());
        }
        verdict
    }

    /// Returns the code and message with which `PutEvents` refuses an entry of this detail.
    pub(crate) fn refuse_entry(&mut self, detail: &str) -> Option<(String, String)> {
        let mut refused = None;
        for (refusal, count) in self.faults.refusals.iter().zip(&mut self.entries_matched) {
            let text = refusal.containing.as_deref();
            if text.is_some_and(|text| !detail.contains(text)) {
                continue;
            }
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

    /// Counts the call for each rule that it matches, and returns the fault of the first that applies.
    fn scripted(&mut self, call: &CallSeen<'_>) -> Option<(FaultMoment, Fault)> {
        let mut first = None;
        for (rule, count) in self.faults.rules.iter().zip(&mut self.matched) {
            if !call.is_of(rule) {
                continue;
            }
            *count += 1;
            if rule.calls.contains(count) {
                first = first.or(Some(rule));
            }
        }
        first.map(|rule| (rule.moment, rule.fault.clone()))
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

    fn draw_fault(&mut self, service: Service) -> Option<(FaultMoment, Fault)> {
        let chances = self.faults.chances;
        if self.is_drawn(chances.error) {
            let code = match service {
                Service::Proton => "InternalServerException",
                Service::EventBridge => "InternalException",
                Service::CloudFormation => "InternalFailure",
            };
            let error = Fault::error(code, "The request failed to register with the service.");
            return Some((FaultMoment::BeforeEffect, error));
        }
        if self.is_drawn(chances.drop_before) {
            return Some((FaultMoment::BeforeEffect, Fault::Drop));
        }
        if self.is_drawn(chances.drop_after) {
            return Some((FaultMoment::AfterEffect, Fault::Drop));
        }
        self.is_drawn(chances.never)
            .then_some((FaultMoment::BeforeEffect, Fault::Never))
    }

    fn is_drawn(&mut self, chance: f64) -> bool {
        chance > 0.0 && self.rng.f64() < chance
    }
}
