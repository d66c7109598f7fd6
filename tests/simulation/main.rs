//! Whole runs in one process, on paused time. A seed decides every fault and every change between
//! two calls. `invariants.rs` checks every run; `without_faults.rs` checks runs without faults more
//! closely.
//!
//! A run is a seed. A failure names its seed and replays exactly:
//!
//! ```console
//! $ SIMULATION_SEEDS=4711 cargo test --test simulation            # one
//! $ SIMULATION_SEEDS=0..1000000 cargo test --release --test simulation whatever_happens -- --nocapture
//! ```
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod call_bounds;
mod deliveries;
mod follower;
mod function;
mod injected_faults;
mod invariants;
mod record;
mod scenario;
mod tally;
mod throttling;
mod without_faults;

use std::ops::Range;

use crate::deliveries::{Log, Retry, deliver_all, in_world};
use crate::record::Record;
use crate::scenario::Scenario;
use crate::tally::Tally;

/// The seeds of an ordinary run; `SIMULATION_SEEDS` names others.
const SEEDS: Range<u64> = 0..2_000;

/// The number of seeds that meet every situation of the tally.
const SEEDS_THAT_MEET_ALL: u64 = 2_000;

fn seeds(usual: Range<u64>) -> Range<u64> {
    let Ok(text) = std::env::var("SIMULATION_SEEDS") else {
        return usual;
    };
    if let Some((from, to)) = text.split_once("..") {
        return from.parse().unwrap()..to.parse().unwrap();
    }
    let seed = text.parse().unwrap();
    seed..seed + 1
}

#[test]
fn nothing_is_lost_and_nothing_harmed_whatever_happens() {
    let seeds = seeds(SEEDS);
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let workers: Vec<_> = (0..threads)
        .map(|worker| {
            let seeds = seeds.clone();
            std::thread::spawn(move || simulate_some(seeds, worker, threads))
        })
        .collect();
    let mut broken = Vec::new();
    let mut tally = Tally::default();
    for worker in workers {
        let (some_broken, some_tally) = worker.join().unwrap();
        broken.extend(some_broken);
        tally.add(some_tally);
    }
    println!("seeds {seeds:?} met\n{tally}");
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
    if seeds.end - seeds.start >= SEEDS_THAT_MEET_ALL {
        tally.assert_varied();
    }
}

#[test]
fn a_seed_replays_exactly() {
    for seed in [3, 17, 42] {
        let record = || {
            let scenario = Scenario::of(seed);
            // Without a subscriber, the SDK draws a random number for the log line of each call.
            Log::default().of(|| {
                in_world(seed, &scenario, async |simulated| {
                    let ended = deliver_all(simulated, &scenario, Retry::Never).await;
                    format!("{:?} {ended:?}", simulated.local.calls())
                })
            })
        };
        // Signatures depend on the real time; bodies and responses do not.
        assert_eq!(record(), record(), "seed {seed}");
    }
}

/// Runs this worker's share of the seeds.
fn simulate_some(seeds: Range<u64>, worker: u64, workers: u64) -> (Vec<String>, Tally) {
    let mut broken = Vec::new();
    let mut tally = Tally::default();
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

/// Runs a scenario. Returns the violations.
fn simulate(seed: u64, tally: &mut Tally) -> Vec<String> {
    let scenario = Scenario::of(seed);
    let log = Log::default();
    let (ended, record) = log.of(|| {
        in_world(seed, &scenario, async |simulated| {
            let ended = deliver_all(simulated, &scenario, Retry::Lambda).await;
            (ended, Record::of(simulated, &scenario, &log))
        })
    });
    tally.note(&scenario, &ended, &record);
    invariants::check(&scenario, &ended, &record)
}
