//! Publishing: every outcome as soon as it is known, by tens, the refused ones again.

use std::collections::VecDeque;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::calls::answered;
use crate::detail::{Entry, MOST_BYTES};
use crate::event_bridge::EventBridge;

/// The most entries that EventBridge takes in one call.
const MOST_ENTRIES: usize = 10;

/// Calls to EventBridge in flight at once.
const MOST_CALLS: usize = 16;

/// An event that EventBridge did not take.
#[derive(Debug)]
pub struct Unpublished {
    /// The event.
    pub entry: Entry,
    /// Why, in EventBridge's words.
    pub why: String,
}

/// Publishes what comes until no more does; returns what could not be published.
pub async fn publish(
    event_bridge: &EventBridge,
    mut entries: UnboundedReceiver<Entry>,
    until: Instant,
) -> Vec<Unpublished> {
    let mut waiting = VecDeque::new();
    let mut calls = FuturesUnordered::new();
    let mut unpublished = Vec::new();
    let mut more_to_come = true;
    loop {
        // Outcomes often become known together, and then fit into one call.
        tokio::task::yield_now().await;
        while more_to_come {
            match entries.try_recv() {
                Ok(entry) => waiting.push_back(entry),
                Err(error) => {
                    more_to_come = error == tokio::sync::mpsc::error::TryRecvError::Empty;
                    break;
                }
            }
        }
        while calls.len() < MOST_CALLS && !waiting.is_empty() {
            calls.push(put(event_bridge, next_batch(&mut waiting), until));
        }
        if calls.is_empty() && !more_to_come {
            return unpublished;
        }
        tokio::select! {
            // In this order, so that a run replays exactly.
            biased;
            Some(failed) = calls.next() => unpublished.extend(failed),
            entry = entries.recv(), if more_to_come => match entry {
                Some(entry) => waiting.push_back(entry),
                None => more_to_come = false,
            },
        }
    }
}

/// Takes as many entries as one call may carry.
fn next_batch(waiting: &mut VecDeque<Entry>) -> Vec<Entry> {
    let mut batch = Vec::new();
    let mut size = 0;
    while let Some(entry) = waiting.front() {
        size += entry.size();
        if batch.len() == MOST_ENTRIES || (size > MOST_BYTES && !batch.is_empty()) {
            break;
        }
        batch.extend(waiting.pop_front());
    }
    batch
}

/// Puts a batch; what is refused of it goes again, each entry alone.
async fn put(event_bridge: &EventBridge, batch: Vec<Entry>, until: Instant) -> Vec<Unpublished> {
    let mut backoff = Backoff::default();
    let refused = loop {
        let entries: Vec<_> = batch.iter().collect();
        match answered(until, event_bridge.put(&entries)).await {
            Ok(receipts) => {
                break batch
                    .into_iter()
                    .zip(receipts)
                    .filter_map(|(entry, receipt)| Some((entry, receipt.err()?.to_string())))
                    .collect::<Vec<_>>();
            }
            Err(error) if error.is_transient() => {
                tracing::warn!(
                    error = error.to_string(),
                    entries = batch.len(),
                    "PutEvents failed and is repeated"
                );
                if !backoff.wait(until).await {
                    return all(batch, &error.to_string());
                }
            }
            // One entry may be at fault for all of them.
            Err(error) if batch.len() > 1 => {
                break batch
                    .into_iter()
                    .map(|entry| (entry, error.to_string()))
                    .collect();
            }
            Err(error) => return all(batch, &error.to_string()),
        }
    };
    let mut again: FuturesUnordered<_> = refused
        .into_iter()
        .map(|(entry, why)| put_again(event_bridge, entry, why, until))
        .collect();
    let mut unpublished = Vec::new();
    while let Some(failed) = again.next().await {
        unpublished.extend(failed);
    }
    unpublished
}

/// Puts an entry that was refused once more, and again, alone.
async fn put_again(
    event_bridge: &EventBridge,
    entry: Entry,
    mut why: String,
    until: Instant,
) -> Option<Unpublished> {
    let mut backoff = Backoff::default();
    while backoff.wait(until).await {
        tracing::warn!(why, "EventBridge refused an event, which is sent again");
        match answered(until, event_bridge.put(&[&entry])).await {
            Ok(receipts) => match receipts.into_iter().next() {
                Some(Err(refusal)) => why = refusal.to_string(),
                Some(Ok(())) | None => return None,
            },
            Err(error) => {
                why = error.to_string();
                if !error.is_transient() {
                    break;
                }
            }
        }
    }
    Some(Unpublished { entry, why })
}

fn all(batch: Vec<Entry>, why: &str) -> Vec<Unpublished> {
    batch
        .into_iter()
        .map(|entry| Unpublished {
            entry,
            why: why.to_owned(),
        })
        .collect()
}
