//! Scenarios by seed: the service, the trigger and the faults.

use std::cell::Cell;
use std::ops::Range;
use std::time::Duration;

use proton_canceller::engine::EngineKind;
use proton_canceller::plan::patterns::Patterns;
use proton_canceller::plan::{AlarmScope, Mode, Policy, SkipReason};
use proton_canceller::run::{Budget, Limits};
use proton_canceller::trigger::{Alarm, Cause, Request, Trigger};

use crate::calls::{At, START, State, name, timestamp};
use crate::faults::{BadListing, Bucket, Faults, LastingFault};
use crate::service::{Ends, ModelEnvironment, Paging, Script, Service};

/// The age from which a schedule takes a deployment as stuck.
pub(crate) const STUCK_AFTER: Duration = Duration::from_hours(1);

/// How reads show ends.
const ENDS: [Ends; 4] = [
    Ends::AtOnce,
    Ends::AtOnce,
    Ends::AfterMore {
        calls: 1,
        first_shows_it: false,
    },
    Ends::AfterMore {
        calls: 2,
        first_shows_it: true,
    },
];

thread_local! {
    /// `ENVIRONMENTS` and `PROTECTED_ENVIRONMENTS` of the scenarios that have them. They are kept, because
    /// making them takes longer than a run.
    static NAME_PATTERNS: Cell<Option<(Patterns, Patterns)>> = const { Cell::new(None) };
}

/// The reason of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// An alarm that fired at this time.
    Alarm(At),
    Schedule,
    Request(Vec<usize>),
    /// The first deployment of the environment is followed.
    Follow(usize),
}

/// A scenario.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) why: Why,
    pub(crate) left: Duration,
    pub(crate) concurrency: usize,
    pub(crate) settle_timeout: Duration,
    pub(crate) max_cancellations: u64,
    pub(crate) is_dry: bool,
    pub(crate) is_tagged: bool,
    /// True if `PROTECTED_ENVIRONMENTS` and `ENVIRONMENTS` exclude some.
    pub(crate) is_limited_by_name: bool,
    pub(crate) service: Service,
    pub(crate) faults: Faults,
}

/// The number of faults in a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Faultiness {
    None,
    Few,
    Many,
}

impl Scenario {
    pub(crate) fn of(engine: EngineKind, seed: u64) -> Self {
        let random = &mut fastrand::Rng::with_seed(seed);
        let faultiness = match random.u8(0..20) {
            0..7 => Faultiness::None,
            7..14 => Faultiness::Few,
            _ => Faultiness::Many,
        };
        let why = random.u8(0..20);
        let left = Duration::from_secs(*one_of(&LEFT, random));
        let count = match random.u8(0..40) {
            0 => random.usize(60..=200),
            1..8 => random.usize(8..40),
            _ => random.usize(1..8),
        };
        let is_regular = random.u8(0..5) > 0;
        let environments = (0..count)
            .map(|_| environment(engine, is_regular, random))
            .collect();
        let paging = Paging {
            size: (random.usize(1..=count.max(2)) + 1).div_ceil(1 + random.usize(0..4)),
            shifts: random.bool(),
            is_endless: faultiness == Faultiness::Many && random.u8(0..20) == 0,
        };
        let service = Service {
            engine,
            environments,
            paging,
            returns_end_times: random.bool(),
            ends: Ends::AtOnce,
        };
        let mut scenario = Self {
            seed,
            why: Why::Schedule,
            left,
            concurrency: *one_of(&[1, 1, 2, 3, 10, 10, 25, 100], random),
            settle_timeout: Duration::from_secs(*one_of(&SETTLE, random)),
            max_cancellations: *one_of(&[0, 1, 3, 10, 1000, 1000, 1000, 1000], random),
            is_dry: random.u8(0..20) == 0,
            is_tagged: random.u8(0..3) == 0,
            is_limited_by_name: random.u8(0..5) == 0,
            service,
            faults: faults(faultiness, count, left, random),
        };
        scenario.why = scenario.draw_why(why, count, random);
        scenario.service.ends = *one_of(&ENDS, random);
        scenario
    }

    fn draw_why(&mut self, drawn: u8, count: usize, random: &mut fastrand::Rng) -> Why {
        match drawn {
            0..10 => Why::Alarm(START - seconds(1..1200, random)),
            10..14 => Why::Schedule,
            14..19 => {
                let mut names: Vec<_> = (0..count).filter(|_| random.u8(0..3) > 0).collect();
                random.shuffle(&mut names);
                names.truncate(100);
                if names.is_empty() {
                    names.push(0);
                }
                Why::Request(names)
            }
            _ => {
                let environment = random.usize(0..count);
                let model = &mut self.service.environments[environment];
                model.advance(START);
                match model.started.first_mut() {
                    Some(first) if first.state(START) == State::InProgress => {
                        first.accepted_at = Some(START);
                        Why::Follow(environment)
                    }
                    Some(first) if first.accepted_at.is_some() => Why::Follow(environment),
                    _ => Why::Schedule,
                }
            }
        }
    }

    /// Returns the limits of the scenario's run.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            budget: Budget::new(timestamp(START), self.left),
            concurrency: self.concurrency,
            settle_timeout: self.settle_timeout,
            seed: self.seed,
        }
    }

    pub(crate) fn trigger(&self) -> Trigger {
        let cause = match &self.why {
            Why::Alarm(fired_at) => Cause::Alarm(Alarm {
                name: "alarm".to_owned(),
                state: "ALARM".to_owned(),
                suppressed_by: None,
                muted_by: None,
                fired_at: timestamp(*fired_at),
            }),
            Why::Schedule | Why::Follow(_) => Cause::Schedule,
            Why::Request(environments) => Cause::Request(Request {
                environments: environments.iter().map(|one| name(*one)).collect(),
                dry_run: self.is_dry && self.seed.is_multiple_of(2),
            }),
        };
        Trigger {
            cause,
            id: None,
            name: None,
            arn: None,
            time: None,
            reason: None,
        }
    }

    pub(crate) fn policy(&self) -> Policy {
        let globs = |text| Patterns::comma_separated(text).unwrap();
        let is_in_request = matches!(self.why, Why::Request(_)) && self.seed.is_multiple_of(2);
        let (environments, protected) = if self.is_limited_by_name {
            NAME_PATTERNS
                .take()
                .unwrap_or_else(|| (globs("env-??[0-7]"), globs("env-??[39]")))
        } else {
            (globs("*"), Patterns::none())
        };
        Policy {
            environments,
            protected,
            alarm_scope: if self.is_tagged {
                AlarmScope::Tagged
            } else {
                AlarmScope::All
            },
            stuck_after: STUCK_AFTER,
            max_cancellations: self.max_cancellations,
            mode: if self.is_dry && !is_in_request {
                Mode::DryRun
            } else {
                Mode::Live
            },
        }
    }

    /// Keeps the patterns of this scenario's policy for the next scenario.
    pub(crate) fn give_back(&self, policy: Policy) {
        if self.is_limited_by_name {
            NAME_PATTERNS.set(Some((policy.environments, policy.protected)));
        }
    }

    /// Applies rules 1 and 2 of the contract.
    pub(crate) fn name_rule(&self, environment: usize) -> Option<SkipReason> {
        match environment % 10 {
            3 | 9 if self.is_limited_by_name => Some(SkipReason::Protected),
            8 if self.is_limited_by_name => Some(SkipReason::NotIncluded),
            _ => None,
        }
    }

    /// Applies rules 1 to 6 of the contract to a deployment that a response shows.
    pub(crate) fn rules(
        &self,
        environment: usize,
        start: Option<At>,
        state: State,
        now: At,
    ) -> Option<SkipReason> {
        if let Some(reason) = self.name_rule(environment) {
            return Some(reason);
        }
        match (&self.why, start) {
            (Why::Request(_), _) => {
                (state != State::InProgress).then_some(SkipReason::NotInProgress)
            }
            (_, None) => Some(SkipReason::StartUnknown),
            (Why::Alarm(fired_at), Some(start)) if start > *fired_at => {
                Some(SkipReason::StartedAfterAlarm)
            }
            (Why::Alarm(_), Some(_)) => (self.is_tagged
                && !self.service.environments[environment].is_tagged)
                .then_some(SkipReason::NotTagged),
            (Why::Schedule | Why::Follow(_), Some(start)) => {
                (start + STUCK_AFTER > now).then_some(SkipReason::NotStuck)
            }
        }
    }

    /// True if rule 5 needs the environment's tag.
    pub(crate) fn asks_tag(&self, environment: usize, start: Option<At>) -> bool {
        let fired_before = match (&self.why, start) {
            (Why::Alarm(fired_at), Some(start)) => start <= *fired_at,
            _ => false,
        };
        self.is_tagged && fired_before && self.name_rule(environment).is_none()
    }

    /// True if the run has time for every call: no fault lasts.
    pub(crate) fn has_time(&self) -> bool {
        let faults = &self.faults;
        let is_short = |range: &Range<At>| range.end - range.start <= Duration::from_secs(4);
        self.left >= Duration::from_mins(5)
            && self.service.environments.len() <= 40
            && faults.lasting.is_empty()
            && faults.bad_listing.is_none()
            && faults.outage.as_ref().is_none_or(is_short)
            && faults.bucket.as_ref().is_none_or(|one| one.rate >= 4.0)
    }
}

/// The time that is left, in seconds.
const LEFT: [u64; 12] = [1, 2, 5, 10, 20, 30, 60, 60, 120, 300, 600, 900];

/// `SETTLE_TIMEOUT_SECONDS`.
const SETTLE: [u64; 10] = [0, 1, 3, 10, 20, 30, 60, 60, 120, 600];

pub(crate) fn one_of<'a, T>(choices: &'a [T], random: &mut fastrand::Rng) -> &'a T {
    &choices[random.usize(0..choices.len())]
}

fn seconds(range: Range<u64>, random: &mut fastrand::Rng) -> Duration {
    Duration::from_millis(random.u64(range.start * 1000..range.end * 1000))
}

/// Draws an environment. A regular one has IDs and start times.
fn environment(
    engine: EngineKind,
    is_regular: bool,
    random: &mut fastrand::Rng,
) -> ModelEnvironment {
    let count = match random.u8(0..20) {
        0 => 0,
        1..14 => 1,
        14..19 => 2,
        _ => 3,
    };
    let mut scripts: Vec<_> = (0..count)
        .map(|_| script(engine, is_regular, random))
        .collect();
    if let Some(first) = scripts.first_mut() {
        begin(first, random);
    }
    ModelEnvironment::new(scripts, random.u8(0..5) > 0, random.u8(0..4) == 0)
}

/// Starts the first deployment in the past. It has ended, ends soon or runs for hours.
fn begin(first: &mut Script, random: &mut fastrand::Rng) {
    let age = match random.u8(0..4) {
        0 => seconds(1..120, random),
        _ => seconds(120..3 * 3600, random),
    };
    first.after = START - age;
    first.takes = match random.u8(0..20) {
        0..3 => age.mul_f64(random.f64()),
        3..6 => age + seconds(0..2, random),
        6..9 => age + seconds(2..40, random),
        _ => age + seconds(7200..14400, random),
    };
    first.others_cancel_after = match random.u8(0..20) {
        0 => Some(age.mul_f64(random.f64())),
        1 => Some(age + seconds(0..20, random)),
        _ => None,
    };
}

fn script(engine: EngineKind, is_regular: bool, random: &mut fastrand::Rng) -> Script {
    Script {
        after: seconds(0..4, random),
        takes: if random.bool() {
            seconds(1..60, random)
        } else {
            seconds(7200..14400, random)
        },
        end: *one_of(
            &[
                State::Succeeded,
                State::Succeeded,
                State::Succeeded,
                State::Failed,
                State::Deleting,
            ],
            random,
        ),
        others_cancel_after: None,
        lag: if random.u8(0..4) == 0 {
            seconds(0..2, random)
        } else {
            Duration::ZERO
        },
        cancel_takes: match random.u8(0..20) {
            0..10 => seconds(0..3, random),
            10..16 => seconds(3..30, random),
            16..19 => seconds(30..300, random),
            _ => seconds(3600..7200, random),
        },
        cancel_end: if random.u8(0..7) == 0 {
            State::Failed
        } else {
            State::Cancelled
        },
        has_id: engine == EngineKind::CloudFormation || is_regular || random.u8(0..4) == 0,
        start_is_known: is_regular || random.u8(0..4) > 0,
    }
}

fn faults(
    faultiness: Faultiness,
    environments: usize,
    left: Duration,
    random: &mut fastrand::Rng,
) -> Faults {
    let base = random.u64(5..150);
    let share = |random: &mut fastrand::Rng| match faultiness {
        Faultiness::None => 0,
        Faultiness::Few => random.u64(0..40),
        Faultiness::Many => random.u64(0..80),
    };
    let has_faults = faultiness != Faultiness::None;
    let has_many_faults = faultiness == Faultiness::Many;
    let some_time = |random: &mut fastrand::Rng| {
        let from = START + left.mul_f64(random.f64() / 2.0);
        from..from + seconds(1..40, random)
    };
    Faults {
        latency: base..base + 1 + random.u64(0..2) * base,
        slow: share(random),
        broken: share(random),
        lost: share(random),
        hanging: share(random) / 4,
        bucket: (has_faults && random.u8(0..6) == 0).then(|| bucket(random)),
        outage: (has_many_faults && random.u8(0..8) == 0).then(|| {
            let from = START + seconds(0..5, random);
            from..from + seconds(1..20, random)
        }),
        bad_listing: (has_many_faults && random.u8(0..4) == 0).then(|| {
            let how = [BadListing::Hangs, BadListing::Breaks, BadListing::Slow];
            (some_time(random), *one_of(&how, random))
        }),
        lasting: if has_many_faults && random.bool() {
            let count = 1 + random.usize(0..environments.div_ceil(4));
            (0..count)
                .map(|_| {
                    (
                        random.usize(0..environments),
                        *one_of(&LASTING_FAULTS, random),
                    )
                })
                .collect()
        } else {
            Vec::new()
        },
        ..Faults::none(base)
    }
}

const LASTING_FAULTS: [LastingFault; 8] = [
    LastingFault::CancelsHang,
    LastingFault::CancelsBreak,
    LastingFault::CancelsAreRefused,
    LastingFault::ReadsHang,
    LastingFault::ReadsBreak,
    LastingFault::ReadsAreRefused,
    LastingFault::EverythingHangs,
    LastingFault::EverythingBreaks,
];

fn bucket(random: &mut fastrand::Rng) -> Bucket {
    let burst = f64::from(random.u8(1..20));
    Bucket {
        rate: f64::from(random.u8(1..20)),
        burst,
        tokens: burst,
        filled_at: START,
    }
}
