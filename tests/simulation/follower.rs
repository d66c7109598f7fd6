//! The follower and its queue, by seed: messages that are delivered again, twice or out of order,
//! follows that are killed, and a queue with a maximum of deliveries.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::join_all;
use serde_json::{Value, json};
use test_support::payloads::delivery;
use tokio::time::timeout;

use crate::deliveries::{Log, Retry, deliver_all, in_world};
use crate::function::Simulated;
use crate::record::{Record, Reported};
use crate::scenario::Scenario;
use crate::{invariants, seeds};

/// The follower's timeout.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The queue's visibility timeout.
const VISIBILITY: Duration = Duration::from_secs(90);

/// The error codes of an end that can never be reported.
const NO_END: [&str; 4] = [
    "Superseded",
    "UnexpectedStatus",
    "ResourceNotFoundException",
    "ValidationError",
];

/// A message in the queue.
#[derive(Clone, Debug)]
struct Message {
    /// The payload that SQS delivers to Lambda.
    payload: Value,
    /// The event in the message.
    reported: Reported,
    /// The number of deliveries.
    deliveries: u32,
}

/// The messages that EventBridge's rule puts into the queue: each `CANCELLING` event, some of them
/// twice.
fn messages(simulated: &Simulated, random: &mut Rng) -> Vec<Message> {
    let mut messages = Vec::new();
    for event in simulated.local.events() {
        let reported = Reported::of(&event.detail);
        if reported.outcome != "CANCELLING" {
            continue;
        }
        let message = Message {
            payload: delivery(&event.detail, &event.resources),
            reported,
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
        // A failed or killed invocation deletes nothing.
        Ok(Err(_)) | Err(_) => false,
    }
}

/// Delivers every message until the queue deletes it or has delivered it `most` times. Returns the
/// dead messages.
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

/// Runs a seed. Counts the ends that followers published, and the dead messages. Returns the
/// violations.
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
    let is_end = |reported: &&Reported| {
        reported.request_id.starts_with("follow-") && reported.outcome != "ERROR"
    };
    *ends += record.published.iter().filter(is_end).count();
    let mut broken = invariants::truths(&scenario, &record);
    broken.extend(last_events(&scenario, &record, &dead));
    broken
}

/// Checks the last event of each deployment that was reported as `CANCELLING`.
fn last_events(scenario: &Scenario, record: &Record, dead: &[Message]) -> Vec<String> {
    let mut broken = Vec::new();
    let is_follow = |reported: &&Reported| reported.request_id.starts_with("follow-");
    let mut ends: BTreeMap<&str, &Reported> = BTreeMap::new();
    for reported in record.published.iter().filter(is_follow) {
        if reported.outcome == "CANCELLING" {
            broken.push(format!("a follow published {reported:?}"));
        }
        let first = *ends.entry(reported.stands_for()).or_insert(reported);
        let is_final = |reported: &Reported| reported.outcome != "ERROR";
        if is_final(first) && is_final(reported) && first.outcome != reported.outcome {
            broken.push(format!("{first:?}, then {reported:?}"));
        }
    }
    for reported in &record.published {
        if reported.outcome != "CANCELLING" {
            continue;
        }
        let is_dead = dead
            .iter()
            .any(|message| message.reported.stands_for() == reported.stands_for());
        match ends.get(reported.stands_for()) {
            None if is_dead => {}
            None => broken.push(format!("no end was published of {reported:?}")),
            Some(end) if end.outcome == "ERROR" => {
                let code = end.error.as_deref().unwrap_or_default();
                let is_gone = !record.existing.contains(&reported.environment)
                    || record.is_followed_by_another(reported);
                if !NO_END.contains(&code) || !(is_gone || code == "UnexpectedStatus") {
                    broken.push(format!("{end:?} of {reported:?}"));
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
    broken
        .into_iter()
        .map(|what| format!("{:?}: {what}", scenario.engine))
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
    println!("{ends} ends published by followers, {dead} messages in the dead-letter queue");
    assert!(
        count < 400 || (ends > 200 && dead > 20),
        "{ends} ends, {dead} dead messages"
    );
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}
