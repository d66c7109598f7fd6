//! A simulated run's world, settings and events, drawn from a seed.

use std::ops::RangeInclusive;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use fastrand::Rng;
use local_aws::{
    Chances, CloudFormationOptions, Deployment, Effect, Ending, Environment, Fault, Faults,
    Operation, RepeatedToken, Rule, Throttle, Timing, World,
};
use proton_canceller::engine::EngineKind;
use serde_json::{Value, json};

use crate::function::start;

/// The cause of an invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// An alarm.
    Alarm,
    /// A schedule.
    Schedule,
    /// A request for some environments.
    Request,
}

/// The faults and changes of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    /// Faults and changes by seed.
    Changing,
    /// No fault, and no change but by a cancel.
    Still,
}

/// An event that Lambda delivers to the function, with retries.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    /// The prefix of the request IDs.
    pub(crate) name: &'static str,
    /// The cause of the invocation.
    pub(crate) cause: Cause,
    /// The event.
    pub(crate) payload: Value,
    /// The alarm's name.
    pub(crate) alarm: &'static str,
    /// The time at which the alarm fired.
    pub(crate) fired_at: DateTime<Utc>,
    /// The time from the start of the world to the delivery.
    pub(crate) after: Duration,
}

/// The facts about an environment that the rules need.
#[derive(Debug)]
pub(crate) struct Facts {
    /// The name.
    pub(crate) name: String,
    /// True if `PROTECTED_ENVIRONMENTS` names it.
    pub(crate) is_protected: bool,
    /// True if a glob of `ENVIRONMENTS` matches it.
    pub(crate) is_included: bool,
    /// The globs of the tag.
    pub(crate) tag: Option<&'static str>,
    /// True if the service sends the start of the first deployment.
    pub(crate) is_start_sent: bool,
}

/// A scenario.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// The engine.
    pub(crate) engine: EngineKind,
    /// The account with its scripted events and injected faults.
    pub(crate) world: World,
    /// The function's settings.
    pub(crate) variables: Vec<(&'static str, String)>,
    /// The events.
    pub(crate) deliveries: Vec<Delivery>,
    /// The environments.
    pub(crate) environments: Vec<Facts>,
    /// The environments that a request names; some twice, some that do not exist.
    pub(crate) requested: Vec<String>,
    /// True if `ALARM_SCOPE` is `tagged`.
    pub(crate) is_tagged: bool,
    /// The minimum age of a stuck deployment.
    pub(crate) stuck_after: Duration,
    /// The maximum of cancellations.
    pub(crate) limit: usize,
    /// True if it is a dry run.
    pub(crate) is_dry_run: bool,
    /// The time for which a run follows its cancels.
    pub(crate) settle_timeout: Duration,
    /// The timeout of an invocation.
    pub(crate) time: Duration,
    /// The environments on a page of the listing.
    pub(crate) page: usize,
    /// The longest latency of a response.
    pub(crate) slowest: Duration,
    /// True if EventBridge refuses some entries.
    pub(crate) refuses_entries: bool,
}

impl Scenario {
    /// The scenario of a seed.
    pub(crate) fn of(seed: u64) -> Self {
        Self::drawn(seed, Weather::Changing)
    }

    /// A scenario of a seed with one event, in which only cancels change anything.
    pub(crate) fn still(seed: u64) -> Self {
        Self::drawn(seed, Weather::Still)
    }

    /// This scenario, with its event delivered again after a time.
    pub(crate) fn with_a_repeat(mut self, after: Duration) -> Self {
        let repeat = Delivery {
            name: "again",
            after,
            ..self.deliveries[0].clone()
        };
        self.deliveries.push(repeat);
        self
    }

    /// The facts about an environment.
    pub(crate) fn facts(&self, name: &str) -> Option<&Facts> {
        self.environments.iter().find(|facts| facts.name == name)
    }

    /// Sets a variable to another value.
    pub(crate) fn set(&mut self, variable: &'static str, value: &str) {
        self.variables.retain(|(name, _)| *name != variable);
        self.variables.push((variable, value.to_owned()));
    }

    fn drawn(seed: u64, weather: Weather) -> Self {
        let mut random = Rng::with_seed(seed);
        let random = &mut random;
        let engine = [
            EngineKind::Proton,
            EngineKind::Proton,
            EngineKind::CloudFormation,
        ][random.usize(0..3)];
        let count = match random.u8(0..20) {
            0 => random.usize(20..60),
            _ => random.usize(1..12),
        };
        let are_all_included = random.u8(0..4) != 0;
        let mut facts = Vec::new();
        let mut environments = Vec::new();
        for number in 0..count {
            let (fact, environment) = environment(random, number, are_all_included, weather);
            facts.push(fact);
            environments.push(environment);
        }
        let requested: Vec<_> = (0..random.usize(1..8))
            .map(|_| match random.u8(0..8) {
                0 => "nowhere-0".to_owned(),
                _ => facts[random.usize(0..facts.len())].name.clone(),
            })
            .collect();
        let (faults, slowest, refuses_entries) = faults(random, engine, &facts);
        let is_calm = weather == Weather::Still || random.u8(0..4) == 0;
        let page = [1, 3, 7, 100][random.usize(0..4)];
        let mut world = environments
            .iter()
            .cloned()
            .fold(World::new().seed(seed), World::with)
            .environments_a_page(page);
        if !is_calm {
            world = world.faults(faults);
        }
        if engine == EngineKind::CloudFormation {
            world = stacks(random, world, &environments, page, weather);
        }
        let limit = match random.u8(0..6) {
            0 => random.usize(0..4),
            1 => 10,
            _ => 1000,
        };
        let is_tagged = random.u8(0..5) == 0;
        let is_dry_run = random.u8(0..8) == 0;
        let stuck_after = Duration::from_mins(random.u64(0..30));
        let settle_timeout = Duration::from_secs([0, 5, 600][random.usize(0..3)]);
        let concurrency = random.usize(1..30);
        let time = match random.u8(0..6) {
            _ if weather == Weather::Still => Duration::from_mins(15),
            0 => Duration::from_millis(random.u64(1..5_000)),
            1 => Duration::from_millis(random.u64(5_000..60_000)),
            _ => Duration::from_mins(15),
        };
        let protected: Vec<_> = facts
            .iter()
            .filter(|fact| fact.is_protected)
            .map(|fact| fact.name.as_str())
            .collect();
        let included = if are_all_included { "*" } else { "*-*[02468]" };
        let scope = if is_tagged { "tagged" } else { "all" };
        Self {
            engine,
            variables: vec![
                ("ENGINE", engine.as_str().to_owned()),
                ("ENVIRONMENTS", included.to_owned()),
                ("PROTECTED_ENVIRONMENTS", protected.join(",")),
                ("ALARM_SCOPE", scope.to_owned()),
                ("MAX_CANCELLATIONS", limit.to_string()),
                ("DRY_RUN", is_dry_run.to_string()),
                (
                    "STUCK_AFTER_MINUTES",
                    (stuck_after.as_secs() / 60).to_string(),
                ),
                (
                    "SETTLE_TIMEOUT_SECONDS",
                    settle_timeout.as_secs().to_string(),
                ),
                ("CONCURRENCY", concurrency.to_string()),
            ],
            deliveries: deliveries(random, &requested, weather),
            world,
            environments: facts,
            requested,
            is_tagged,
            stuck_after,
            limit,
            is_dry_run,
            settle_timeout,
            time,
            page,
            slowest: if is_calm { Duration::ZERO } else { slowest },
            refuses_entries: refuses_entries && !is_calm,
        }
    }
}

fn deliveries(random: &mut Rng, requested: &[String], weather: Weather) -> Vec<Delivery> {
    let world_start = DateTime::<Utc>::from(start());
    // Never at a whole second, which would count to its end.
    let ago = |random: &mut Rng| Duration::from_millis(random.u64(0..180_000) | 1);
    let fired_at = world_start - ago(random);
    let cause = match random.u8(0..10) {
        0..6 => Cause::Alarm,
        6..8 => Cause::Schedule,
        _ => Cause::Request,
    };
    let checkout = |name, after| Delivery {
        name,
        cause,
        payload: match cause {
            Cause::Alarm => alarm("checkout-5xx", "7f0c4f5e", fired_at),
            Cause::Schedule => schedule(),
            Cause::Request => json!({ "environments": requested, "reason": "INC-1" }),
        },
        alarm: "checkout-5xx",
        fired_at,
        after,
    };
    let mut deliveries = vec![checkout("first", Duration::ZERO)];
    if weather == Weather::Still {
        return deliveries;
    }
    if random.u8(0..3) == 0 {
        let after = [0, random.u64(0..30_000)][random.usize(0..2)];
        deliveries.push(checkout("again", Duration::from_millis(after)));
    }
    if random.u8(0..6) == 0 {
        let after = Duration::from_millis([0, random.u64(0..20_000)][random.usize(0..2)]);
        let fired_at = world_start + after - ago(random);
        deliveries.push(Delivery {
            name: "other",
            cause: Cause::Alarm,
            payload: alarm("search-latency", "90d1c2aa", fired_at),
            alarm: "search-latency",
            fired_at,
            after,
        });
    }
    deliveries
}

fn environment(
    random: &mut Rng,
    number: usize,
    are_all_included: bool,
    weather: Weather,
) -> (Facts, Environment) {
    let name = format!("env-{number:03}");
    let mut environment = Environment::new(&name);
    let tag = match random.u8(0..6) {
        0 => None,
        1 => Some("billing-*"),
        2 => Some("search-*"),
        3 => Some("billing-* checkout-*"),
        _ => Some("*"),
    };
    if let Some(tag) = tag {
        environment = environment.tag("proton-canceller:alarms", tag);
    }
    let ago = Duration::from_millis(random.u64(0..5_400_000));
    let mut is_start_sent = true;
    environment = environment.deployment(match random.u8(0..10) {
        0..6 => {
            let (deployment, is_sent) = in_progress(random, ago, weather);
            is_start_sent = is_sent;
            deployment
        }
        6 => Deployment::cancelling().when_cancelled(cancellation(random)),
        7 => Deployment::settled(Ending::failed("it did not work")),
        _ => Deployment::settled(Ending::succeeded()),
    });
    for _ in 0..random.usize(0..3) {
        let when = moment(random);
        let what = match random.u8(0..8) {
            0..3 => Effect::Deploy(in_progress(random, Duration::ZERO, weather).0),
            3..5 => Effect::End(ending(random)),
            5 => Effect::Cancel,
            6 => Effect::Delete,
            _ => Effect::End(Ending::succeeded()),
        };
        if weather == Weather::Changing {
            environment = environment.then(when, what);
        }
    }
    let facts = Facts {
        name,
        is_protected: random.u8(0..10) == 0,
        is_included: are_all_included || number.is_multiple_of(2),
        tag,
        is_start_sent,
    };
    (facts, environment)
}

fn moment(random: &mut Rng) -> Timing {
    match random.u8(0..8) {
        0..3 => Timing::At(Duration::from_millis(random.u64(0..40_000))),
        3 => Timing::AfterEnd(Duration::from_millis(random.u64(0..5_000))),
        4 => Timing::after_listed(),
        5 => Timing::BeforeCall(Operation::CancelEnvironmentDeployment, 1),
        6 => Timing::AfterCall(Operation::CancelEnvironmentDeployment, 1),
        _ => Timing::BeforeCall(Operation::GetDeployment, random.u64(1..4)),
    }
}

/// The account as stacks. Some are deleted and created again during the listing; some have a nested
/// stack.
fn stacks(
    random: &mut Rng,
    world: World,
    environments: &[Environment],
    page: usize,
    weather: Weather,
) -> World {
    let mut world = world.as_stacks().cloudformation(CloudFormationOptions {
        stacks_a_page: page,
        events_a_page: [2, 100][random.usize(0..2)],
        repeated_token: [
            RepeatedToken::Accepted,
            RepeatedToken::Refused,
            RepeatedToken::Ignored,
        ][random.usize(0..3)],
    });
    for environment in environments {
        let mut stack = environment.as_stack();
        if random.bool() {
            stack = stack.last_updated_stands_still();
        }
        let when = match random.u8(0..3) {
            0 => Timing::AfterCall(Operation::ListStacks, 1),
            1 => Timing::BeforeCall(Operation::CancelUpdateStack, 1),
            _ => Timing::At(Duration::from_millis(random.u64(0..20_000))),
        };
        if random.u8(0..6) == 0 && weather == Weather::Changing {
            stack = stack.then(when, Effect::Replace(Deployment::in_progress()));
        }
        if random.u8(0..8) == 0 {
            let nested = Environment::stack(format!("{}-nested-0", environment.name()));
            world = world.with(nested.nested_in(environment.name()));
        }
        world = world.with(stack);
    }
    world
}

/// A deployment in progress. The `bool` is true if the service sends its start.
fn in_progress(random: &mut Rng, ago: Duration, weather: Weather) -> (Deployment, bool) {
    let mut deployment = Deployment::in_progress()
        .started_ago(ago)
        .when_cancelled(cancellation(random));
    let mut is_start_sent = true;
    match random.u8(0..20) {
        0 => deployment = deployment.id_not_sent(),
        1 => {
            deployment = deployment.start_not_sent();
            is_start_sent = false;
        }
        2..6 => {
            let after = Duration::from_millis(random.u64(0..30_000));
            let ending = ending(random);
            if weather == Weather::Changing {
                deployment = deployment.left_alone(after, ending);
            }
        }
        _ => {}
    }
    (deployment, is_start_sent)
}

fn cancellation(random: &mut Rng) -> Ending {
    let lasts = Duration::from_millis(match random.u8(0..5) {
        0 => 0,
        1 => random.u64(0..1_000_000),
        _ => random.u64(0..20_000),
    });
    ending(random).rollback(lasts)
}

fn ending(random: &mut Rng) -> Ending {
    match random.u8(0..6) {
        0 => Ending::failed("it could not be rolled back"),
        1 => Ending::succeeded(),
        _ => Ending::cancelled(),
    }
}

/// The injected faults, the longest latency, and true if EventBridge refuses entries.
fn faults(
    random: &mut Rng,
    engine: EngineKind,
    environments: &[Facts],
) -> (Faults, Duration, bool) {
    let rate = |random: &mut Rng, most: f64| match random.u8(0..3) {
        0 => random.f64() * most,
        _ => 0.0,
    };
    let chances = Chances {
        error: rate(random, 0.3),
        drop_before: rate(random, 0.2),
        drop_after: rate(random, 0.2),
        never: rate(random, 0.05),
        refused_entry: rate(random, 0.4),
    };
    let refuses_entries = chances.refused_entry > 0.0;
    let mut faults = Faults::none().chances(chances);
    let slowest = Duration::from_millis([1, 50, 400, 3_000][random.usize(0..4)]);
    faults = faults.latency(Duration::from_millis(1)..=slowest);
    if random.u8(0..3) == 0 {
        faults = faults.throttle(Throttle {
            operation: None,
            per_second: f64::from(random.u32(2..40)),
            burst: random.u32(1..40),
        });
    }
    if random.u8(0..8) == 0 {
        let denied = Fault::error("AccessDeniedException", "you may not");
        let operation = [
            Operation::CancelEnvironmentDeployment,
            Operation::GetDeployment,
            Operation::GetEnvironment,
        ][random.usize(0..3)];
        let environment = &environments[random.usize(0..environments.len())].name;
        faults = faults.rule(
            Rule::new(denied)
                .operation(operation)
                .environment(environment),
        );
    }
    if random.u8(0..8) == 0 {
        // `CancelUpdateStack` has an empty response: any body with the status 200 accepts the
        // cancel.
        let status = match engine {
            EngineKind::Proton => [200, 502][random.usize(0..2)],
            EngineKind::CloudFormation => 502,
        };
        let junk = Fault::Junk {
            status,
            body: "<html>".to_owned(),
        };
        let mut rule = Rule::new(junk).calls(some(random));
        if random.bool() {
            rule = rule.after_effect();
        }
        faults = faults.rule(rule);
    }
    (faults, slowest, refuses_entries)
}

fn some(random: &mut Rng) -> RangeInclusive<u64> {
    let first = random.u64(1..8);
    first..=first + random.u64(0..4)
}

fn alarm(name: &str, id: &str, fired_at: DateTime<Utc>) -> Value {
    json!({
        "id": format!("{id}-2f0b-4c59-9d5b-3a8a2d7f6c11"),
        "detail-type": "CloudWatch Alarm State Change",
        "source": "aws.cloudwatch",
        "time": fired_at.to_rfc3339_opts(SecondsFormat::Secs, true),
        "resources": [format!("arn:aws:cloudwatch:us-east-1:123456789012:alarm:{name}")],
        "detail": {
            "alarmName": name,
            "state": {
                "value": "ALARM",
                "reason": "Threshold Crossed",
                "timestamp": fired_at.to_rfc3339_opts(SecondsFormat::Millis, true),
            },
        },
    })
}

fn schedule() -> Value {
    json!({
        "id": "1b7d9f0c-2f0b-4c59-9d5b-3a8a2d7f6c11",
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "time": DateTime::<Utc>::from(start()).to_rfc3339_opts(SecondsFormat::Secs, true),
        "resources": ["arn:aws:scheduler:us-east-1:123456789012:schedule/default/sweep"],
        "detail": "{}",
    })
}
