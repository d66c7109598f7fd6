//! Many cancels against a service that throttles: all are made, at its pace, at little cost.

use std::time::Duration;

use local_aws::{Answer, Deployment, Ending, Environment, Faults, Operation, Throttle, World};
use serde_json::json;
use tokio::time::Instant;

use crate::course::{Log, in_new_world};
use crate::function::Simulated;

struct Case {
    environments: u32,
    in_progress: u32,
    concurrency: usize,
    burst: u32,
}

/// What it cost.
#[derive(Debug)]
struct Cost {
    calls: u32,
    took: Duration,
    pages: u32,
}

/// Cancels so many at 20 calls a second; every deployment settles while the others wait.
fn cancel_at_20_a_second(case: &Case) -> Cost {
    fastrand::seed(7);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let run = async {
        let mut world = World::new().faults(
            Faults::none()
                .latency(Duration::from_millis(25)..=Duration::from_millis(25))
                .throttle(Throttle {
                    operation: None,
                    per_second: 20.0,
                    burst: case.burst,
                }),
        );
        for number in 0..case.environments {
            let mut environment = Environment::new(format!("env-{number:04}"));
            // Spread over all pages.
            if (number * case.in_progress) % case.environments < case.in_progress {
                let cancelled = Ending::cancelled().rollback(Duration::from_millis(100));
                environment = environment.deployment(
                    Deployment::in_progress()
                        .started_ago(Duration::from_hours(2))
                        .when_cancelled(cancelled),
                );
            }
            world = world.with(environment);
        }
        let variables = [
            ("MAX_CANCELLATIONS", "1000".to_owned()),
            ("CONCURRENCY", case.concurrency.to_string()),
        ];
        let simulated = Simulated::new(world, &variables);
        let payload = json!({"detail-type": "Scheduled Event", "source": "aws.events"});
        let start = Instant::now();
        let summary = simulated
            .invoke("r-1", &payload, Duration::from_mins(15))
            .await
            .unwrap();
        let took = start.elapsed();
        assert_eq!(
            summary["counts"]["CANCELLED"], case.in_progress,
            "{summary}"
        );
        let calls: Vec<_> = simulated
            .local
            .calls()
            .into_iter()
            .filter(|call| call.operation != "PutEvents")
            .collect();
        let throttled = calls
            .iter()
            .filter(|call| call.answer == Answer::Error("ThrottlingException".to_owned()))
            .count();
        println!("{} calls, {throttled} of them throttled", calls.len());
        Cost {
            calls: u32::try_from(calls.len()).unwrap(),
            took,
            pages: case.environments.div_ceil(100),
        }
    };
    // What listens to the log keeps the SDK from drawing random numbers of its own.
    Log::default().of(|| runtime.block_on(run))
}

fn check(case: &Case, most_calls: f64, most_time: f64) {
    let cost = cancel_at_20_a_second(case);
    let least_calls = cost.pages + case.in_progress + cost.pages.min(case.in_progress);
    let calls = f64::from(cost.calls) / f64::from(least_calls);
    let by_rate = f64::from(least_calls - case.burst.min(20)) / 20.0;
    let time = cost.took.as_secs_f64() / by_rate;
    println!(
        "{} of {}: {cost:?}, calls {calls:.2}, time {time:.2}",
        case.in_progress, case.environments
    );
    assert!(
        calls <= most_calls,
        "{cost:?}: {calls:.2} times the least calls"
    );
    assert!(
        time <= most_time,
        "{cost:?}: {time:.2} times what the rate allows"
    );
}

#[test]
fn three_hundred_of_three_hundred() {
    for (concurrency, burst) in [(10, 1), (10, 20), (50, 20), (100, 40)] {
        let case = Case {
            environments: 300,
            in_progress: 300,
            concurrency,
            burst,
        };
        check(&case, 1.5, 1.25);
    }
}

#[test]
fn a_hundred_of_a_thousand() {
    // A service that saves nothing up takes some time to learn.
    for (burst, most_time) in [(20, 1.2), (1, 1.35)] {
        let case = Case {
            environments: 1000,
            in_progress: 100,
            concurrency: 20,
            burst,
        };
        check(&case, 1.3, most_time);
    }
}

#[test]
fn three_hundred_stacks_are_followed_at_five_reads_a_second() {
    // `DescribeStacks` is said to take some five calls a second; the listing shows who has not ended.
    let update = Deployment::in_progress()
        .started_ago(Duration::from_hours(2))
        .when_cancelled(Ending::rolled_back().rollback(Duration::from_secs(30)));
    let names = (0..300).map(|number| format!("AWSProton-{number:03}"));
    let world = names
        .map(|name| Environment::stack(name).deployment(update.clone()))
        .fold(World::new(), World::with)
        .faults(Faults::none().throttle(Throttle {
            operation: Some(Operation::DescribeStacks),
            per_second: 5.0,
            burst: 5,
        }));
    let settings = [("ENGINE", "cloudformation"), ("MAX_CANCELLATIONS", "1000")];
    let settings = settings.map(|(name, value)| (name, value.to_owned()));
    let (took, calls) = Log::default().of(|| {
        in_new_world(7, world, &settings, async |simulated: &Simulated| {
            let payload = json!({"detail-type": "Scheduled Event", "source": "aws.events"});
            let start = Instant::now();
            let summary = simulated
                .invoke("r-1", &payload, Duration::from_mins(15))
                .await
                .unwrap();
            assert_eq!(summary["counts"]["CANCELLED"], 300, "{summary}");
            (start.elapsed(), simulated.local.calls())
        })
    });
    let count = |operation: Operation| {
        let of_it = |call: &&local_aws::Call| call.operation == operation.to_string();
        calls.iter().filter(of_it).count()
    };
    let reads = count(Operation::DescribeStacks);
    println!(
        "{took:?}, {reads} reads, {} pages, {} pages of events",
        count(Operation::ListStacks),
        count(Operation::DescribeStackEvents)
    );
    // Each end takes one read, at five a second, after a rollback of 30 seconds.
    assert!(reads < 400, "{reads} reads");
    assert!(took < Duration::from_mins(2), "{took:?}");
}
