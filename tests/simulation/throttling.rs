//! Many cancels against a service that throttles: all are made, with few calls, at the service's
//! rate.

use std::time::Duration;

use local_aws::{Call, Deployment, Ending, Environment, Faults, Operation, Throttle, World};
use serde_json::Value;
use tokio::time::Instant;

use crate::deliveries::{Log, in_new_world};
use crate::function::Simulated;
use crate::record::is_of_engine;

struct Case {
    environments: u32,
    in_progress: u32,
    concurrency: usize,
    burst: u32,
}

/// The cost of a run.
#[derive(Debug)]
struct Cost {
    calls: u32,
    took: Duration,
    pages: u32,
}

/// Runs a case at 20 calls a second. Every deployment settles while others wait.
fn cancel_at_20_a_second(case: &Case) -> Cost {
    let latency = Duration::from_millis(25);
    let throttle = Throttle {
        operation: None,
        per_second: 20.0,
        burst: case.burst,
    };
    let world = World::new().faults(Faults::none().latency(latency..=latency).throttle(throttle));
    let world = (0..case.environments)
        .map(|number| {
            let environment = Environment::new(format!("env-{number:04}"));
            // Spread over all pages.
            if (number * case.in_progress) % case.environments < case.in_progress {
                let end = Ending::cancelled().rollback(Duration::from_millis(100));
                let deployment = Deployment::in_progress().started_ago(Duration::from_hours(2));
                environment.deployment(deployment.when_cancelled(end))
            } else {
                environment
            }
        })
        .fold(world, World::with);
    let concurrency = case.concurrency.to_string();
    let (summary, took, calls) = sweep(world, &[("CONCURRENCY", &concurrency)]);
    assert_eq!(
        summary["counts"]["CANCELLED"], case.in_progress,
        "{summary}"
    );
    let of_engine = calls.iter().filter(|call| is_of_engine(call));
    Cost {
        calls: u32::try_from(of_engine.count()).unwrap(),
        took,
        pages: case.environments.div_ceil(100),
    }
}

/// Invokes the function with a schedule in a new world. Returns the summary, the time it took, and
/// the calls.
fn sweep(world: World, variables: &[(&str, &str)]) -> (Value, Duration, Vec<Call>) {
    let variables = variables.iter().chain(&[("MAX_CANCELLATIONS", "1000")]);
    let variables: Vec<_> = variables
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    // While a subscriber is set, the SDK draws no random numbers of its own.
    Log::default().of(|| {
        in_new_world(7, world, &variables, async |simulated: &Simulated| {
            let start = Instant::now();
            let summary = simulated.sweep().await;
            (summary, start.elapsed(), simulated.local.calls())
        })
    })
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
        "{cost:?}: {time:.2} times the time that the rate allows"
    );
}

#[test]
fn three_hundred_cancels_at_20_calls_a_second() {
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
fn a_hundred_cancels_of_a_thousand_environments() {
    // Without a burst, the rate limiter takes longer to learn the rate.
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
    // `DescribeStacks` is said to allow some five calls a second. The listing shows which stacks go
    // on.
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
    let (summary, took, calls) = sweep(world, &[("ENGINE", "cloudformation")]);
    assert_eq!(summary["counts"]["CANCELLED"], 300, "{summary}");
    let is_read = |call: &&Call| call.operation == Operation::DescribeStacks.as_str();
    let reads = calls.iter().filter(is_read).count();
    println!("{took:?}, {reads} reads");
    // Each end takes one read, at five a second, after a rollback of 30 seconds.
    assert!(reads < 400, "{reads} reads");
    assert!(took < Duration::from_mins(2), "{took:?}");
}
