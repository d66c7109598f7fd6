//! The run's state machine alone, against a model of the service: without the SDK, bytes or a runtime. Time
//! is a number, so a run costs microseconds and a million runs take minutes.
//!
//! Each seed is one run. A failure names its seed, and a seed replays exactly:
//!
//! ```console
//! $ SIMULATION_SEEDS=4711 cargo test --test machine whatever_happens
//! $ SIMULATION_SEEDS=0..1000000 cargo test --test machine whatever_happens -- --nocapture
//! ```
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unchecked_time_subtraction,
    reason = "a test fails by panicking"
)]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "an invariant is about a few variants, whatever others there are"
)]

mod calls;
mod course;
mod coverage;
mod defects;
mod faults;
mod invariants;
mod ledger;
mod scenario;
mod service;

use std::ops::Range;

use proton_canceller::engine::EngineKind;

use crate::course::Course;
use crate::coverage::Coverage;
use crate::scenario::Scenario;

/// The default of `SIMULATION_SEEDS`: the seeds that run for each engine.
const SEEDS: Range<u64> = 0..100_000;

/// The number of seeds that meet every situation.
const SEEDS_THAT_MEET_ALL: u64 = 50_000;

/// The most violations that one thread reports.
const MOST_VIOLATIONS: usize = 10;

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("SIMULATION_SEEDS") else {
        return SEEDS;
    };
    if let Some((from, to)) = text.split_once("..") {
        return from.parse().unwrap()..to.parse().unwrap();
    }
    let seed = text.parse().unwrap();
    seed..seed + 1
}

#[test]
fn every_invariant_holds_whatever_happens_with_proton() {
    simulate_all(EngineKind::Proton);
}

#[test]
fn every_invariant_holds_whatever_happens_with_cloudformation() {
    simulate_all(EngineKind::CloudFormation);
}

/// A seed beyond the usual ones: a poll's page confirms a deployment that the tag of another admits.
#[test]
fn a_page_asked_for_before_an_admission_confirms_the_reading() {
    let course = Course::of(Scenario::of(EngineKind::Proton, 20_530_512));
    assert_eq!(invariants::check(&course), None);
}

#[test]
fn a_seed_replays_exactly() {
    for engine in [EngineKind::Proton, EngineKind::CloudFormation] {
        for seed in 0..200 {
            let course = || format!("{:?}", Course::of(Scenario::of(engine, seed)).log);
            assert_eq!(course(), course(), "seed {seed}");
        }
    }
}

fn simulate_all(engine: EngineKind) {
    let seeds = seeds();
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let workers: Vec<_> = (0..threads)
        .map(|worker| {
            let seeds = seeds.clone();
            std::thread::spawn(move || simulate_some(engine, seeds, worker, threads))
        })
        .collect();
    let mut violations = Vec::new();
    let mut coverage = Coverage::default();
    for worker in workers {
        let (some_violations, some_coverage) = worker.join().unwrap();
        violations.extend(some_violations);
        coverage.add(&some_coverage);
    }
    println!("{engine:?}, seeds {seeds:?} met\n{coverage}");
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
    if seeds.end - seeds.start >= SEEDS_THAT_MEET_ALL {
        coverage.assert_varied(engine);
    }
}

/// Runs every seed of this worker.
fn simulate_some(
    engine: EngineKind,
    seeds: Range<u64>,
    worker: u64,
    workers: u64,
) -> (Vec<String>, Coverage) {
    let mut violations = Vec::new();
    let mut coverage = Coverage::default();
    for seed in seeds.filter(|seed| seed % workers == worker) {
        let course = Course::of(Scenario::of(engine, seed));
        coverage.note(&course);
        let found = invariants::check(&course);
        violations.extend(
            found
                .into_iter()
                .map(|what| format!("{engine:?}, seed {seed}: {what}")),
        );
        if violations.len() >= MOST_VIOLATIONS {
            break;
        }
    }
    (violations, coverage)
}

/// Prints the course of one seed.
#[test]
#[ignore = "prints a course: ENGINE_OF_SEED=cloudformation SIMULATION_SEEDS=4711 cargo test --test machine course_of_a_seed -- --ignored --nocapture"]
fn course_of_a_seed() {
    let engine = match std::env::var("ENGINE_OF_SEED").as_deref() {
        Ok("cloudformation") => EngineKind::CloudFormation,
        _ => EngineKind::Proton,
    };
    let course = Course::of(Scenario::of(engine, seeds().start));
    println!("{course}");
}
