//! Publishing: every outcome as soon as it is known, by tens, the refused ones again.
//!
//! An outcome is small, and its event may be a megabyte: each repeats the trigger's texts. So an event
//! is written just before it is put.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use crate::report::detail::{Context, Entry, MOST_BYTES};
use crate::report::event_bridge::EventBridge;
use crate::report::outcome::Outcome;
use crate::run::backoff::Backoff;
use crate::run::calls::answered;

/// The most entries that EventBridge takes in one call.
const MOST_ENTRIES: usize = 10;

/// Calls to EventBridge in flight at once.
const MOST_CALLS: usize = 16;

/// An outcome whose event EventBridge did not take.
#[derive(Debug)]
pub struct Unpublished {
    /// The outcome.
    pub outcome: Arc<Outcome>,
    /// Why, in EventBridge's words.
    pub why: String,
}

/// An outcome and its event.
#[derive(Debug)]
struct Letter {
    outcome: Arc<Outcome>,
    entry: Entry,
}

impl Letter {
    fn unpublished(self, why: String) -> Unpublished {
        Unpublished {
            outcome: self.outcome,
            why,
        }
    }
}

/// Outcomes that are to be published, in the order in which they came.
struct Waiting<'a> {
    context: Context<'a>,
    outcomes: VecDeque<Arc<Outcome>>,
    /// The event of the first one, which was too large for the batch before.
    first: Option<Letter>,
}

impl Waiting<'_> {
    fn is_empty(&self) -> bool {
        self.first.is_none() && self.outcomes.is_empty()
    }

    fn next(&mut self) -> Option<Letter> {
        self.first.take().or_else(|| {
            let outcome = self.outcomes.pop_front()?;
            let entry = Entry::of(&outcome, self.context);
            Some(Letter { outcome, entry })
        })
    }

    /// Takes as many as one call may carry.
    fn next_batch(&mut self) -> Vec<Letter> {
        let mut batch = Vec::new();
        let mut size = 0;
        while batch.len() < MOST_ENTRIES
            && let Some(letter) = self.next()
        {
            size += letter.entry.size();
            if size > MOST_BYTES && !batch.is_empty() {
                self.first = Some(letter);
                break;
            }
            batch.push(letter);
        }
        batch
    }
}

/// Publishes what comes until no more does; returns what could not be published.
pub async fn publish(
    event_bridge: &EventBridge,
    context: Context<'_>,
    mut outcomes: UnboundedReceiver<Arc<Outcome>>,
    until: Instant,
) -> Vec<Unpublished> {
    let mut waiting = Waiting {
        context,
        outcomes: VecDeque::new(),
        first: None,
    };
    let mut calls = FuturesUnordered::new();
    let mut unpublished = Vec::new();
    let mut more_to_come = true;
    loop {
        // Outcomes often become known together, and then fit into one call.
        tokio::task::yield_now().await;
        while more_to_come {
            match outcomes.try_recv() {
                Ok(outcome) => waiting.outcomes.push_back(outcome),
                Err(error) => {
                    more_to_come = error == tokio::sync::mpsc::error::TryRecvError::Empty;
                    break;
                }
            }
        }
        while calls.len() < MOST_CALLS && !waiting.is_empty() {
            calls.push(put(event_bridge, waiting.next_batch(), until));
        }
        if calls.is_empty() && !more_to_come {
            return unpublished;
        }
        tokio::select! {
            // In this order, so that a run replays exactly.
            biased;
            Some(failed) = calls.next() => unpublished.extend(failed),
            outcome = outcomes.recv(), if more_to_come => match outcome {
                Some(outcome) => waiting.outcomes.push_back(outcome),
                None => more_to_come = false,
            },
        }
    }
}

/// Puts a batch; what is refused of it goes again, each entry alone.
async fn put(event_bridge: &EventBridge, batch: Vec<Letter>, until: Instant) -> Vec<Unpublished> {
    let mut backoff = Backoff::default();
    let refused = loop {
        let entries: Vec<_> = batch.iter().map(|letter| &letter.entry).collect();
        match answered(until, event_bridge.put(&entries)).await {
            Ok(receipts) => {
                break batch
                    .into_iter()
                    .zip(receipts)
                    .filter_map(|(letter, receipt)| Some((letter, receipt.err()?.to_string())))
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
                    .map(|letter| (letter, error.to_string()))
                    .collect();
            }
            Err(error) => return all(batch, &error.to_string()),
        }
    };
    let mut again: FuturesUnordered<_> = refused
        .into_iter()
        .map(|(letter, why)| put_again(event_bridge, letter, why, until))
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
    letter: Letter,
    mut why: String,
    until: Instant,
) -> Option<Unpublished> {
    let mut backoff = Backoff::default();
    while backoff.wait(until).await {
        tracing::warn!(why, "EventBridge refused an event, which is sent again");
        match answered(until, event_bridge.put(&[&letter.entry])).await {
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
    Some(letter.unpublished(why))
}

fn all(batch: Vec<Letter>, why: &str) -> Vec<Unpublished> {
    batch
        .into_iter()
        .map(|letter| letter.unpublished(why.to_owned()))
        .collect()
}
