//! The follower and its queue, by seed: deliveries that are repeated, doubled, out of order or killed,
//! and a queue that gives up. For each cancel the last word on the bus is its true end, or its message
//! lies in the dead-letter queue.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::join_all;
use proton_canceller::engine::EngineKind;
use serde_json::{Value, json};
use test_support::payloads::delivery;
use tokio::time::timeout;

use crate::deliveries::{Log, Retry, deliver_all, in_world};
use crate::function::Simulated;
use crate::record::{Record, Told};
use crate::scenario::Scenario;
use crate::{invariants, seeds};

/// How long the follower has for one delivery.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long a message is invisible once it was delivered.
const VISIBILITY: Duration = Duration::from_secs(90);

/// Codes that say that no end will ever be told.
const NO_END: [&str; 4] = [
    "Superseded",
    "UnexpectedStatus",
    "ResourceNotFoundException",
    "ValidationError",
];

/// A message of the queue.
#[derive(Clone, Debug)]
struct Message {
    /// The delivery, as SQS hands it to Lambda.
    payload: Value,
    /// What the event reports.
    told: Told,
    /// How often it was delivered.
    deliveries: u32,
}

/// The messages that a rule takes off the bus: each `CANCELLING`, sometimes twice, in any order.
fn messages(simulated: &Simulated, random: &mut Rng) -> Vec<Message> {
    let mut messages = Vec::new();
    for event in simulated.local.events() {
        let told = Told::of(&event.detail);
        if told.outcome != "CANCELLING" {
            continue;
        }
        let message = Message {
            payload: delivery(&event.detail, &event.resources),
            told,
            deliveries: 0,
        };
        let copies = if random.u8(0..8) == 0 { 2 } else { 1 };
        messages.extend(std::iter::repeat_n(message, copies));
    }
    messages
}

/// Delivers a message once. Returns true if the queue deletes it.
async fn deliver(
    simulated: &Simulated,
    message: &Message,
    number: usize,
    killed_after: Option<u64>,
) -> bool {
    let request_id = format!("follow-{number}");
    let invocation = simulated.invoke(&request_id, &message.payload, TIMEOUT);
    let time = killed_after.map_or(TIMEOUT, Duration::from_millis);
    match timeout(time, invocation).await {
        Ok(Ok(answer)) => answer == json!({"batchItemFailures": []}),
        // A failed invocation, and one that was killed, delete nothing.
        Ok(Err(_)) | Err(_) => false,
    }
}

/// Delivers every message until the queue deletes it or gives up. Returns what it gave up.
async fn follow_all(simulated: &Simulated, random: &mut Rng, most: u32) -> Vec<Message> {
    let mut queue = messages(simulated, random);
    let mut dead = Vec::new();
    let mut number = 0;
    while !queue.is_empty() {
        random.shuffle(&mut queue);
        let mut at_once = queue.split_off(queue.len().saturating_sub(5));
        let deliveries = at_once.iter_mut().map(|message| {
            number += 1;
            message.deliveries += 1;
            let attributes = &mut message.payload["Records"][0]["attributes"];
            attributes["ApproximateReceiveCount"] = json!(message.deliveries.to_string());
            let killed_after = (random.u8(0..10) == 0).then(|| random.u64(0..5_000));
            deliver(simulated, message, number, killed_after)
        });
        let deleted = join_all(deliveries).await;
        for (message, is_deleted) in at_once.into_iter().zip(deleted) {
            match is_deleted {
                true => {}
                false if message.deliveries == most => dead.push(message),
                false => queue.push(message),
            }
        }
        tokio::time::sleep(VISIBILITY / 5).await;
    }
    dead
}

/// What does not hold of a seed. Counts the ends that followers told, and the dead messages.
fn simulate(seed: u64, ends: &mut usize, dead_messages: &mut usize) -> Vec<String> {
    let mut scenario = Scenario::of(seed);
    scenario.set("SETTLE_TIMEOUT_SECONDS", "0");
    scenario.settle_timeout = Duration::ZERO;
    let log = Log::default();
    let mut random = Rng::with_seed(seed ^ 0x5eed);
    let most = random.u32(2..60);
    let (dead, record) = log.of(|| {
        in_world(seed, &scenario, async |simulated: &Simulated| {
            deliver_all(simulated, &scenario, Retry::Lambda).await;
            let dead = follow_all(simulated, &mut random, most).await;
            (dead, Record::of(simulated, &scenario, &log))
        })
    });
    *dead_messages += dead.len();
    let is_end = |told: &&Told| told.request_id.starts_with("follow-") && told.outcome != "ERROR";
    *ends += record.published.iter().filter(is_end).count();
    let mut broken = invariants::truths(&scenario, &record);
    broken.extend(last_words(&scenario, &record, &dead));
    broken
}

/// Checks the last word on each deployment that was reported as `CANCELLING`.
fn last_words(scenario: &Scenario, record: &Record, dead: &[Message]) -> Vec<String> {
    let mut broken = Vec::new();
    let is_follow = |told: &&Told| told.request_id.starts_with("follow-");
    let mut ends: BTreeMap<&str, &Told> = BTreeMap::new();
    for told in record.published.iter().filter(is_follow) {
        if told.outcome == "CANCELLING" {
            broken.push(format!("a follow published {told:?}"));
        }
        let first = *ends.entry(told.stands_for()).or_insert(told);
        let is_final = |told: &Told| told.outcome != "ERROR";
        if is_final(first) && is_final(told) && first.outcome != told.outcome {
            broken.push(format!("{first:?}, then {told:?}"));
        }
    }
    for told in &record.published {
        if told.outcome != "CANCELLING" {
            continue;
        }
        let is_dead = dead
            .iter()
            .any(|message| message.told.stands_for() == told.stands_for());
        match ends.get(told.stands_for()) {
            None if is_dead => {}
            None => broken.push(format!("nobody told the end of {told:?}")),
            Some(end) if end.outcome == "ERROR" => {
                let code = end.error.as_deref().unwrap_or_default();
                let is_gone = !record.existing.contains(&told.environment)
                    || record.is_followed_by_another(told);
                if !NO_END.contains(&code) || !(is_gone || code == "UnexpectedStatus") {
                    broken.push(format!("{end:?} of {told:?}"));
                }
            }
            Some(_) => {}
        }
    }
    let follows = record.calls.iter().filter(|call| {
        let caller = call.caller.as_deref();
        caller.is_some_and(|caller| caller.starts_with("follow-"))
    });
    broken.extend(
        follows
            .filter(|call| crate::record::is_cancel(call))
            .map(|call| format!("a follow cancelled: {call:?}")),
    );
    let engine = match scenario.engine {
        EngineKind::Proton => "Proton",
        EngineKind::CloudFormation => "CloudFormation",
    };
    broken
        .into_iter()
        .map(|what| format!("{engine}: {what}"))
        .collect()
}

#[test]
fn every_cancel_has_its_end_published_or_its_message_in_the_dead_letter_queue() {
    let (mut ends, mut dead) = (0, 0);
    let seeds = seeds(0..400);
    let count = seeds.end - seeds.start;
    let mut broken = Vec::new();
    for seed in seeds {
        let violations = simulate(seed, &mut ends, &mut dead).into_iter();
        broken.extend(violations.map(|what| format!("seed {seed}: {what}")));
    }
    println!("{ends} ends told by followers, {dead} messages in the dead-letter queue");
    assert!(
        count < 400 || (ends > 200 && dead > 20),
        "too little was met"
    );
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}
