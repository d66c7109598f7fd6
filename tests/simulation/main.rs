//! Whole runs in one process, on paused time, in worlds where everything that can happen between
//! two calls happens by seed. What must hold whatever happens is in `invariants.rs`.
//!
//! A run is a seed. A failure names its seed and replays exactly:
//!
//! ```console
//! $ SIMULATION_SEEDS=4711 cargo test --test simulation            # one
//! $ SIMULATION_SEEDS=0..1000000 cargo test --release --test simulation -- --nocapture
//! ```
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod function;
mod invariants;
mod scenario;
mod stacks;
mod throttling;

use std::ops::Range;
use std::time::Duration;

use tokio::time::Instant;

use crate::function::{Answer, Simulated};
use crate::scenario::Scenario;

/// How often Lambda tries an event again.
const RETRIES: usize = 2;

/// How long Lambda waits before it does.
const RETRY_WAIT: Duration = Duration::from_mins(1);

/// One invocation, ended.
#[derive(Debug)]
struct Ended {
    request_id: &'static str,
    answer: Answer,
    took: Duration,
}

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("SIMULATION_SEEDS") else {
        return 0..2_000;
    };
    if let Some((from, to)) = text.split_once("..") {
        return from.parse().unwrap()..to.parse().unwrap();
    }
    let seed = text.parse().unwrap();
    seed..seed + 1
}

#[test]
fn nothing_is_lost_and_nothing_harmed() {
    let seeds = seeds();
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let workers: Vec<_> = (0..threads)
        .map(|worker| {
            let seeds = seeds.clone();
            std::thread::spawn(move || simulate_some(seeds, worker, threads))
        })
        .collect();
    let mut broken = Vec::new();
    let mut tally = invariants::Tally::default();
    for worker in workers {
        let (some_broken, some_tally) = worker.join().unwrap();
        broken.extend(some_broken);
        tally.add(some_tally);
    }
    println!("seeds {seeds:?}: {tally:?}");
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
    // A net that catches nothing because nothing swims by would pass, too.
    if seeds.end - seeds.start >= 1_000 {
        tally.assert_varied();
    }
}

#[test]
fn a_seed_replays_exactly() {
    for seed in [3, 17, 42] {
        let record = || {
            let mut calls = String::new();
            in_world(seed, async |simulated, scenario| {
                let ended = invoke(simulated, scenario, "r-1").await;
                calls = format!("{:?} {ended:?}", simulated.local.calls());
            });
            calls
        };
        // Signatures hold the real time of day, bodies and answers do not.
        assert_eq!(record(), record(), "seed {seed}");
    }
}

/// Runs every seed that falls to this worker.
fn simulate_some(seeds: Range<u64>, worker: u64, workers: u64) -> (Vec<String>, invariants::Tally) {
    let mut broken = Vec::new();
    let mut tally = invariants::Tally::default();
    for seed in seeds.filter(|seed| seed % workers == worker) {
        for violation in simulate(seed, &mut tally) {
            broken.push(format!("seed {seed}: {violation}"));
        }
        if broken.len() > 20 {
            break;
        }
    }
    (broken, tally)
}

/// Runs a scenario of its own in a runtime of its own.
fn in_world(seed: u64, run: impl AsyncFnOnce(&Simulated, &Scenario)) {
    fastrand::seed(seed);
    let scenario = Scenario::of(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let simulated = Simulated::new(scenario.world.clone(), &scenario.variables);
        run(&simulated, &scenario).await;
    });
}

fn simulate(seed: u64, tally: &mut invariants::Tally) -> Vec<String> {
    let mut violations = Vec::new();
    in_world(seed, async |simulated, scenario| {
        let repeated = async {
            match scenario.repeated_after {
                Some(after) => {
                    tokio::time::sleep(after).await;
                    Some(invoke(simulated, scenario, "r-2").await)
                }
                None => None,
            }
        };
        let first = invoke(simulated, scenario, "r-1");
        let (first, repeated) = tokio::join!(first, repeated);
        let mut ended = vec![first];
        ended.extend(repeated);
        for _ in 0..RETRIES {
            if ended.last().is_some_and(|last| last.answer.is_ok()) {
                break;
            }
            tokio::time::sleep(RETRY_WAIT).await;
            ended.push(invoke(simulated, scenario, "r-1").await);
        }
        violations = invariants::check(simulated, scenario, &ended, tally);
    });
    violations
}

async fn invoke(simulated: &Simulated, scenario: &Scenario, request_id: &'static str) -> Ended {
    let start = Instant::now();
    let answer = simulated
        .invoke(request_id, &scenario.payload, scenario.time)
        .await;
    Ended {
        request_id,
        answer,
        took: start.elapsed(),
    }
}
