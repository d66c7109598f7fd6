//! What happens in a simulated run, drawn from a seed.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use fastrand::Rng;
use local_aws::{
    Cancellation, Chances, Deployment, Ending, Environment, Faults, Operation, Throttle, What,
    When, World,
};
use serde_json::{Value, json};

use crate::function::start;

/// Why the function is invoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// By an alarm.
    Alarm,
    /// By a schedule.
    Schedule,
    /// By a request for some environments.
    Request,
}

/// A scenario.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// The account and what happens in it.
    pub(crate) world: World,
    /// How the function is set up.
    pub(crate) variables: Vec<(&'static str, String)>,
    /// Why it is invoked.
    pub(crate) cause: Cause,
    /// The event.
    pub(crate) payload: Value,
    /// When the alarm spoke.
    pub(crate) spoke: DateTime<Utc>,
    /// The environments that a request names.
    pub(crate) requested: Vec<String>,
    /// The environments that are protected.
    pub(crate) protected: Vec<String>,
    /// The limit.
    pub(crate) limit: usize,
    /// Whether it is a dry run.
    pub(crate) dry_run: bool,
    /// How long an invocation may take.
    pub(crate) time: Duration,
    /// How long after the first delivery the event is delivered again, if it is.
    pub(crate) repeated_after: Option<Duration>,
}

impl Scenario {
    /// The scenario of a seed.
    pub(crate) fn of(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let cause = match random.u8(0..10) {
            0..6 => Cause::Alarm,
            6..8 => Cause::Schedule,
            _ => Cause::Request,
        };
        let count = match random.u8(0..20) {
            0 => random.usize(101..260),
            1..4 => random.usize(20..60),
            _ => random.usize(1..12),
        };
        let mut world = World::new().seed(seed);
        let names: Vec<_> = (0..count)
            .map(|number| format!("env-{number:03}"))
            .collect();
        for name in &names {
            world = world.with(environment(&mut random, name));
        }
        let calm = random.u8(0..4) == 0;
        if !calm {
            world = world.faults(faults(&mut random));
        }
        let spoke: DateTime<Utc> =
            DateTime::<Utc>::from(start()) - Duration::from_millis(random.u64(0..180_000));
        let protected: Vec<_> = names
            .iter()
            .filter(|_| random.u8(0..10) == 0)
            .cloned()
            .collect();
        let limit = match random.u8(0..6) {
            0 => random.usize(0..4),
            1 => 10,
            _ => 1000,
        };
        let dry_run = random.u8(0..8) == 0;
        let requested: Vec<_> = (0..random.usize(1..8))
            .map(|_| match random.u8(0..8) {
                0 => "nowhere".to_owned(),
                _ => names[random.usize(0..names.len())].clone(),
            })
            .collect();
        let payload = match cause {
            Cause::Alarm => alarm(spoke),
            Cause::Schedule => schedule(),
            Cause::Request => json!({ "environments": requested, "reason": "INC-1" }),
        };
        Self {
            variables: vec![
                ("PROTECTED_ENVIRONMENTS", protected.join(",")),
                ("MAX_CANCELLATIONS", limit.to_string()),
                ("DRY_RUN", dry_run.to_string()),
                ("STUCK_AFTER_MINUTES", random.u64(0..30).to_string()),
                (
                    "SETTLE_TIMEOUT_SECONDS",
                    [0, 5, 600][random.usize(0..3)].to_string(),
                ),
                ("CONCURRENCY", random.usize(1..30).to_string()),
            ],
            world,
            cause,
            payload,
            spoke,
            requested,
            protected,
            limit,
            dry_run,
            time: Duration::from_millis(match random.u8(0..6) {
                0 => random.u64(1..5_000),
                1 => random.u64(5_000..60_000),
                _ => 900_000,
            }),
            repeated_after: (random.u8(0..3) == 0)
                .then(|| Duration::from_millis([0, random.u64(0..30_000)][random.usize(0..2)])),
        }
    }
}

fn environment(random: &mut Rng, name: &str) -> Environment {
    let mut environment = Environment::new(name);
    let ago = Duration::from_secs(random.u64(0..5_400));
    environment = environment.deployment(match random.u8(0..10) {
        0..6 => in_progress(random, ago),
        6 => Deployment::cancelling().when_cancelled(cancellation(random)),
        7 => Deployment::settled(Ending::failed("it did not work")),
        _ => Deployment::settled(Ending::succeeded()),
    });
    for _ in 0..random.usize(0..3) {
        let when = match random.u8(0..8) {
            0..3 => When::At(Duration::from_millis(random.u64(0..40_000))),
            3 => When::AfterEnd(Duration::from_millis(random.u64(0..5_000))),
            4 => When::after_listed(),
            5 => When::BeforeCall(Operation::CancelEnvironmentDeployment, 1),
            6 => When::AfterCall(Operation::CancelEnvironmentDeployment, 1),
            _ => When::BeforeCall(Operation::GetDeployment, random.u64(1..4)),
        };
        let what = match random.u8(0..8) {
            0..3 => What::Deploy(in_progress(random, Duration::ZERO)),
            3..5 => What::End(ending(random)),
            5 => What::Cancel,
            6 => What::Delete,
            _ => What::End(Ending::succeeded()),
        };
        environment = environment.then(when, what);
    }
    environment
}

fn in_progress(random: &mut Rng, ago: Duration) -> Deployment {
    let mut deployment = Deployment::in_progress()
        .started_ago(ago)
        .when_cancelled(cancellation(random));
    match random.u8(0..20) {
        0 => deployment = deployment.id_not_sent(),
        1 => deployment = deployment.start_not_sent(),
        2..6 => {
            let after = Duration::from_millis(random.u64(0..30_000));
            deployment = deployment.left_alone(after, ending(random));
        }
        _ => {}
    }
    deployment
}

fn cancellation(random: &mut Rng) -> Cancellation {
    let lasts = Duration::from_millis(match random.u8(0..5) {
        0 => 0,
        1 => random.u64(0..1_000_000),
        _ => random.u64(0..20_000),
    });
    Cancellation::after(lasts, ending(random))
}

fn ending(random: &mut Rng) -> Ending {
    match random.u8(0..6) {
        0 => Ending::failed("it could not be rolled back"),
        1 => Ending::succeeded(),
        _ => Ending::cancelled(),
    }
}

fn faults(random: &mut Rng) -> Faults {
    let rate = |random: &mut Rng, most: f64| match random.u8(0..3) {
        0 => random.f64() * most,
        _ => 0.0,
    };
    let mut faults = Faults::none().chances(Chances {
        error: rate(random, 0.3),
        drop_before: rate(random, 0.2),
        drop_after: rate(random, 0.2),
        never: rate(random, 0.05),
        refused_entry: rate(random, 0.4),
    });
    let slow = Duration::from_millis([1, 50, 400, 3_000][random.usize(0..4)]);
    faults = faults.latency(Duration::from_millis(1)..=slow);
    if random.u8(0..3) == 0 {
        faults = faults.throttle(Throttle {
            operation: None,
            per_second: f64::from(random.u32(2..40)),
            burst: random.u32(1..40),
        });
    }
    faults
}

fn alarm(spoke: DateTime<Utc>) -> Value {
    json!({
        "id": "7f0c4f5e-2f0b-4c59-9d5b-3a8a2d7f6c11",
        "detail-type": "CloudWatch Alarm State Change",
        "source": "aws.cloudwatch",
        "time": spoke.to_rfc3339_opts(SecondsFormat::Secs, true),
        "resources": ["arn:aws:cloudwatch:us-east-1:123456789012:alarm:checkout-5xx"],
        "detail": {
            "alarmName": "checkout-5xx",
            "state": {
                "value": "ALARM",
                "reason": "Threshold Crossed",
                "timestamp": spoke.to_rfc3339_opts(SecondsFormat::Millis, true),
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
