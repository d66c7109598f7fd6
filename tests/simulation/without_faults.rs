//! Runs without faults, where only cancels change anything. There the rules alone say what a run
//! decides, what it costs, and that a repeated event changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use local_aws::Status;

use crate::call_bounds;
use crate::deliveries::{Ended, Log, Retry, deliver_all, in_world};
use crate::function::{Simulated, start};
use crate::invariants::is_tagged_for;
use crate::record::{Record, Truth};
use crate::scenario::{Cause, Scenario};
use crate::seeds;

/// Longer than any rollback.
const LATER: Duration = Duration::from_hours(1);

/// Runs a scenario until every deployment has ended.
fn run(seed: u64, scenario: &Scenario) -> (Vec<Ended>, Record) {
    let log = Log::default();
    log.of(|| {
        in_world(seed, scenario, async |simulated| {
            let ended = deliver_all(simulated, scenario, Retry::Never).await;
            tokio::time::sleep(LATER).await;
            (ended, Record::of(simulated, scenario, &log))
        })
    })
}

/// The decision on each environment by the summary: `CANCEL`, or the reason of a skip.
fn decisions(ended: &Ended) -> BTreeMap<String, String> {
    let summary = ended.answer.as_ref().unwrap();
    let environments = summary["environments"].as_array().unwrap();
    environments
        .iter()
        .map(|one| {
            let decision = match (one["outcome"].as_str().unwrap(), one["reason"].as_str()) {
                ("SKIPPED", reason) => reason.unwrap().to_owned(),
                ("ERROR", _) if one["deploymentId"].is_null() => "UNREADABLE".to_owned(),
                _ => "CANCEL".to_owned(),
            };
            (one["name"].as_str().unwrap().to_owned(), decision)
        })
        .collect()
}

/// The decision on each environment by the rules, from the world and the settings alone.
fn rules(scenario: &Scenario, before: &Record) -> BTreeMap<String, String> {
    let delivery = &scenario.deliveries[0];
    let mut decisions = BTreeMap::new();
    let mut selected = Vec::new();
    for facts in &scenario.environments {
        let name = &facts.name;
        let latest = before
            .deployments
            .iter()
            .filter(|one| one.environment == *name)
            .max_by_key(|one| one.started_at);
        let is_named = scenario.requested.contains(name);
        let is_running = latest.is_some_and(|one| one.status == Some(Status::InProgress));
        let is_candidate = match delivery.cause {
            Cause::Request => is_named,
            Cause::Alarm | Cause::Schedule => is_running,
        };
        let Some(latest) = latest.filter(|_| is_candidate) else {
            continue;
        };
        let is_tagged = !scenario.is_tagged || is_tagged_for(facts.tag, delivery.alarm);
        let decision = match delivery.cause {
            _ if facts.is_protected => "PROTECTED",
            _ if !facts.is_included => "NOT_INCLUDED",
            Cause::Request if is_running => "CANCEL",
            Cause::Request => "NOT_IN_PROGRESS",
            Cause::Alarm | Cause::Schedule if !facts.is_start_sent => "START_UNKNOWN",
            Cause::Alarm if latest.started_at > SystemTime::from(delivery.fired_at) => {
                "STARTED_AFTER_ALARM"
            }
            Cause::Alarm if !is_tagged => "NOT_TAGGED",
            Cause::Schedule if latest.started_at + scenario.stuck_after > start() => "NOT_STUCK",
            Cause::Alarm | Cause::Schedule => "CANCEL",
        };
        if decision == "CANCEL" {
            selected.push(name.clone());
        }
        decisions.insert(name.clone(), decision.to_owned());
    }
    if delivery.cause == Cause::Request && scenario.requested.contains(&"nowhere-0".to_owned()) {
        decisions.insert("nowhere-0".to_owned(), "UNREADABLE".to_owned());
    }
    if selected.len() > scenario.limit {
        decisions.extend(
            selected
                .into_iter()
                .map(|name| (name, "OVER_LIMIT".to_owned())),
        );
    }
    decisions
}

/// The environments that the decisions cancel.
fn cancelled(decisions: &BTreeMap<String, String>) -> BTreeSet<&str> {
    let cancels = decisions
        .iter()
        .filter(|(_, decision)| *decision == "CANCEL");
    cancels.map(|(name, _)| name.as_str()).collect()
}

#[test]
fn a_dry_run_decides_what_the_live_run_decides_and_both_what_the_rules_say() {
    for seed in seeds(0..300) {
        let mut scenario = Scenario::still(seed);
        let log = Log::default();
        let before = in_world(seed, &scenario, async |simulated: &Simulated| {
            Record::of(simulated, &scenario, &log)
        });
        let expected = rules(&scenario, &before);
        let mut ids = Vec::new();
        for dry_run in ["true", "false"] {
            scenario.is_dry_run = dry_run == "true";
            scenario.set("DRY_RUN", dry_run);
            let (ended, record) = run(seed, &scenario);
            let decided = decisions(&ended[0]);
            assert_eq!(decided, expected, "seed {seed}, dry run {dry_run}");
            let cancels: Vec<_> = record.cancels_of("first-1").collect();
            let names: BTreeSet<_> = cancels
                .iter()
                .filter_map(|call| call.environment.as_deref())
                .collect();
            if scenario.is_dry_run {
                assert!(cancels.is_empty(), "seed {seed}");
                assert_eq!(before.deployments.len(), record.deployments.len());
            } else {
                assert_eq!(names, cancelled(&expected), "seed {seed}");
                assert_eq!(names.len(), cancels.len(), "seed {seed}");
            }
            let reported: BTreeSet<_> = record
                .published
                .iter()
                .map(|reported| reported.stands_for().to_owned())
                .collect();
            ids.push(reported);
        }
        assert_eq!(ids[0], ids[1], "seed {seed}: the same events");
    }
}

#[test]
fn an_end_within_the_timeout_is_reported() {
    for seed in seeds(0..300) {
        let scenario = Scenario::still(seed);
        let (_, record) = run(seed, &scenario);
        for reported in &record.published {
            let Some(requested) = reported
                .requested_at
                .filter(|_| reported.outcome == "CANCELLING")
            else {
                continue;
            };
            let mut of_it = record.deployments.iter().filter(|one| reported.is_of(one));
            let ended = of_it.next().and_then(|truth| truth.completed_at).unwrap();
            // An end after the last poll is not read. The wait between polls is half the time so
            // far, and 10 seconds at the most.
            let unread = (scenario.settle_timeout / 2)
                .clamp(Duration::from_millis(250), Duration::from_secs(10));
            assert!(
                ended + unread + scenario.slowest >= requested + scenario.settle_timeout,
                "seed {seed}: {reported:?} ended at {ended:?}"
            );
        }
    }
}

#[test]
fn a_run_makes_no_more_calls_than_the_formula() {
    for seed in seeds(0..300) {
        let scenario = Scenario::still(seed);
        let (ended, record) = run(seed, &scenario);
        let calls = call_bounds::calls_without_faults(&scenario, &record, &decisions(&ended[0]));
        assert!(
            calls.engine <= calls.most_engine && calls.event_bridge <= calls.most_event_bridge,
            "seed {seed}: {calls:?}"
        );
    }
}

/// The same event, at once or later, cancels nothing else, reports nothing else, and leaves the same
/// world behind. Later it makes no cancel at all.
#[test]
fn a_repeated_event_changes_nothing() {
    for seed in seeds(0..300) {
        let once = Scenario::still(seed);
        // A deployment may become stuck before the event is repeated.
        if once.deliveries[0].cause == Cause::Schedule && !once.stuck_after.is_zero() {
            continue;
        }
        // A repeated request is another request.
        if once.deliveries[0].cause == Cause::Request {
            continue;
        }
        let (_, record) = run(seed, &once);
        for after in [Duration::ZERO, Duration::from_mins(20)] {
            let twice = Scenario::still(seed).with_a_repeat(after);
            let (_, repeated) = run(seed, &twice);
            let hit = |record: &Record| -> BTreeMap<_, _> {
                let truths = record.deployments.iter();
                truths
                    .map(|one| (named(one), (one.status, one.cancelled_at.is_some())))
                    .collect()
            };
            assert_eq!(hit(&record), hit(&repeated), "seed {seed} after {after:?}");
            let ids = |record: &Record, request: &str| -> BTreeSet<String> {
                let reported = record.published.iter();
                reported
                    .filter(|reported| reported.request_id == request)
                    .map(|reported| reported.stands_for().to_owned())
                    .collect()
            };
            let first = ids(&record, "first-1");
            let again = ids(&repeated, "again-1");
            assert!(again.is_subset(&first), "seed {seed} after {after:?}");
            let cancels = repeated.cancels_of("again-1").count();
            let is_later = !after.is_zero();
            assert!(!is_later || cancels == 0, "seed {seed}: {cancels} cancels");
        }
    }
}

/// A deployment's identity without its ID, which depends on the number of IDs drawn before.
fn named(one: &Truth) -> (String, SystemTime) {
    (one.environment.clone(), one.started_at)
}
