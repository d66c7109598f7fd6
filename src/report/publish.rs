//! Publishing: every outcome as soon as it is known, in batches of ten, rejected entries one by one.
//!
//! The publisher makes no calls and reads no clock: it returns the next batch, and the driver puts it.
//!
//! An outcome is small, but its event repeats the trigger's texts and may have a megabyte. So each event
//! is written just before it is put.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::aws::backoff::Backoff;
use crate::aws::call_error::CallError;
use crate::deployment::EnvironmentName;
use crate::report::detail::{Context, Entry, MOST_BYTES};
use crate::report::event_bridge::Receipt;
use crate::report::outcome::{End, Outcome};
use crate::timestamp::{self, Timestamp};

/// The most entries that EventBridge takes in one call.
const MOST_ENTRIES: usize = 10;

/// Calls to EventBridge in flight at once.
const MOST_CALLS: usize = 8;

/// The time for which an outcome waits for others, because one call can carry several.
const LINGER: Duration = Duration::from_millis(5);

/// The timeout of one call.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// An outcome whose event could not be published.
#[derive(Debug)]
pub(crate) struct Unpublished {
    /// The outcome.
    pub(crate) outcome: Arc<Outcome>,
    /// The reason: EventBridge's code and message.
    pub(crate) why: String,
}

/// An outcome and its event.
#[derive(Debug)]
struct Letter {
    outcome: Arc<Outcome>,
    entry: Entry,
}

/// Events that go out in one call.
#[derive(Debug)]
pub(crate) struct Batch {
    letters: Vec<Letter>,
    backoff: Backoff,
    /// When to stop waiting for the response.
    pub(crate) give_up_at: Timestamp,
}

impl Batch {
    /// The events.
    #[must_use]
    pub(crate) fn entries(&self) -> Vec<&Entry> {
        self.letters.iter().map(|letter| &letter.entry).collect()
    }
}

/// The next step of the driver for the publisher.
#[derive(Debug)]
pub(crate) enum PublishStep {
    /// Put this batch, then ask again.
    Put(Batch),
    /// Wait until this time.
    WaitUntil(Timestamp),
    /// Wait for a response or an outcome.
    Wait,
    /// Stop: every outcome is published or has failed for good.
    Done,
}

/// A publisher of an invocation's outcomes.
#[derive(Debug)]
pub(crate) struct Publisher<'a> {
    context: Context<'a>,
    until: Timestamp,
    random: fastrand::Rng,
    /// The outcomes that wait, in the order in which they were added, with the time.
    waiting: VecDeque<(Arc<Outcome>, Timestamp)>,
    /// The event of the first waiting outcome, if it was too large for the last batch.
    first: Option<Letter>,
    /// The batches to put again, by time.
    again: BTreeMap<(Timestamp, u64), Batch>,
    batches: u64,
    in_flight: usize,
    is_closed: bool,
    /// The environments whose end was published.
    ended: BTreeSet<EnvironmentName>,
    unpublished: Vec<Unpublished>,
}

impl<'a> Publisher<'a> {
    /// Makes a publisher that retries until the time is up. Jitter is drawn from `seed`.
    #[must_use]
    pub(crate) fn new(context: Context<'a>, until: Timestamp, seed: u64) -> Self {
        Self {
            context,
            until,
            random: fastrand::Rng::with_seed(seed),
            waiting: VecDeque::new(),
            first: None,
            again: BTreeMap::new(),
            batches: 0,
            in_flight: 0,
            is_closed: false,
            ended: BTreeSet::new(),
            unpublished: Vec::new(),
        }
    }

    /// Adds an outcome.
    pub(crate) fn add(&mut self, outcome: Arc<Outcome>, now: Timestamp) {
        self.waiting.push_back((outcome, now));
    }

    /// Closes the publisher: no more outcomes are added.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
    }

    /// Returns what to do next.
    pub(crate) fn next(&mut self, now: Timestamp) -> PublishStep {
        if self.in_flight == MOST_CALLS {
            return PublishStep::Wait;
        }
        let again = self.again.first_key_value().map(|((at, _), _)| *at);
        if again.is_some_and(|at| at <= now)
            && let Some((_, batch)) = self.again.pop_first()
        {
            return self.put(batch, now);
        }
        let lingers = self.lingers_until().filter(|at| *at > now);
        if lingers.is_none() && (self.first.is_some() || !self.waiting.is_empty()) {
            let letters = self.next_letters();
            return self.put(
                Batch {
                    letters,
                    backoff: Backoff::default(),
                    give_up_at: now,
                },
                now,
            );
        }
        match again.into_iter().chain(lingers).min() {
            Some(at) => PublishStep::WaitUntil(at),
            None if self.in_flight > 0 || !self.is_closed => PublishStep::Wait,
            None => PublishStep::Done,
        }
    }

    /// Returns until when the waiting outcomes wait for more. `None` if they fill a batch, or if no more
    /// outcomes are added.
    fn lingers_until(&self) -> Option<Timestamp> {
        if self.is_closed || self.first.is_some() || self.waiting.len() >= MOST_ENTRIES {
            return None;
        }
        let (_, since) = self.waiting.front()?;
        timestamp::later(*since, LINGER)
    }

    fn put(&mut self, batch: Batch, now: Timestamp) -> PublishStep {
        self.in_flight += 1;
        let give_up_at = timestamp::later(now, RESPONSE_TIMEOUT);
        PublishStep::Put(Batch {
            give_up_at: give_up_at.map_or(self.until, |at| at.min(self.until)),
            ..batch
        })
    }

    /// Takes as many outcomes as one call can carry.
    fn next_letters(&mut self) -> Vec<Letter> {
        let mut letters = Vec::new();
        let mut size = 0;
        while letters.len() < MOST_ENTRIES
            && let Some(letter) = self.next_letter()
        {
            size += letter.entry.size();
            if size > MOST_BYTES && !letters.is_empty() {
                self.first = Some(letter);
                break;
            }
            letters.push(letter);
        }
        letters
    }

    fn next_letter(&mut self) -> Option<Letter> {
        self.first.take().or_else(|| {
            let (outcome, _) = self.waiting.pop_front()?;
            let entry = Entry::of(&outcome, self.context);
            Some(Letter { outcome, entry })
        })
    }

    /// Applies EventBridge's response to a batch.
    pub(crate) fn handle(
        &mut self,
        batch: Batch,
        response: Result<Vec<Receipt>, CallError>,
        now: Timestamp,
    ) {
        self.in_flight = self.in_flight.saturating_sub(1);
        match response {
            Ok(receipts) => {
                let backoff = batch.backoff;
                for (letter, receipt) in batch.letters.into_iter().zip(receipts) {
                    match receipt {
                        Ok(()) => self.is_published(&letter.outcome),
                        Err(refusal) => {
                            let is_transient = refusal.is_transient();
                            self.again_alone(
                                letter,
                                backoff,
                                is_transient,
                                &refusal.to_string(),
                                now,
                            );
                        }
                    }
                }
            }
            Err(error) if error.is_transient() => self.again(batch, &error, now),
            // One bad entry may have failed the whole call: each is put alone.
            Err(error) if batch.letters.len() > 1 => {
                for letter in batch.letters {
                    self.again_alone(letter, batch.backoff, false, &error.to_string(), now);
                }
            }
            Err(error) => self.give_up(batch.letters, &error.to_string()),
        }
    }

    fn is_published(&mut self, outcome: &Outcome) {
        if outcome.end != End::Cancelling {
            self.ended.insert(outcome.environment.name.clone());
        }
    }

    /// Plans to put a batch again, as long as there is time.
    fn again(&mut self, mut batch: Batch, error: &CallError, now: Timestamp) {
        let at = batch.backoff.persist(now, &mut self.random);
        if at >= self.until {
            return self.give_up(batch.letters, &error.to_string());
        }
        tracing::warn!(
            error = error.to_string(),
            entries = batch.letters.len(),
            "retrying PutEvents"
        );
        self.schedule(at, batch);
    }

    /// Plans to put a rejected entry again, alone. If the reason is transient, as long as there is time.
    fn again_alone(
        &mut self,
        letter: Letter,
        mut backoff: Backoff,
        is_transient: bool,
        why: &str,
        now: Timestamp,
    ) {
        let at = if is_transient {
            Some(backoff.persist(now, &mut self.random)).filter(|at| *at < self.until)
        } else {
            backoff.next(now, self.until, &mut self.random)
        };
        let Some(at) = at else {
            return self.give_up(vec![letter], why);
        };
        tracing::warn!(why, "retrying an entry that EventBridge rejected");
        let batch = Batch {
            letters: vec![letter],
            backoff,
            give_up_at: at,
        };
        self.schedule(at, batch);
    }

    fn schedule(&mut self, at: Timestamp, batch: Batch) {
        self.batches += 1;
        self.again.insert((at, self.batches), batch);
    }

    fn give_up(&mut self, letters: Vec<Letter>, why: &str) {
        let unpublished = letters.into_iter().map(|letter| Unpublished {
            outcome: letter.outcome,
            why: why.to_owned(),
        });
        self.unpublished.extend(unpublished);
    }

    /// Returns the outcomes that could not be published. A `CANCELLING` whose end was published is not one
    /// of them.
    #[must_use]
    pub(crate) fn into_unpublished(mut self) -> Vec<Unpublished> {
        self.unpublished.retain(|one| {
            one.outcome.end != End::Cancelling
                || !self.ended.contains(&one.outcome.environment.name)
        });
        self.unpublished
    }
}
