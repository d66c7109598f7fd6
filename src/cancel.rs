//! Acting: cancels in parallel, oldest deployment first, each aimed at one certain deployment.
//!
//! A cancel names only the environment and hits whatever deployment is current. So a deployment
//! that was read more than a moment ago, and one whose cancel may have gone through unheard, is
//! looked at again right before the call; if it is no longer the same and `IN_PROGRESS`, no call is
//! made. What remains is the time between that look's answer and the cancel's arrival.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::call_error::{CallError, Fault};
use crate::calls::{Calls, Turn};
use crate::clock::{Budget, Clock};
use crate::deployment::{Deployment, Status};
use crate::engine::Sight;
use crate::list::{Place, Sighting};
use crate::outcome::{End, Outcome};
use crate::timestamp::Timestamp;

/// How old the reading of a deployment may be that a cancel relies on.
const FRESH: Duration = Duration::from_secs(2);

/// Readings of this age are renewed with those that are too old.
const AGED: Duration = Duration::from_millis(1700);

/// What an attempt to cancel led to.
#[derive(Debug)]
pub enum Attempt {
    /// It must be followed to its end.
    Follow(Followed),
    /// Its outcome is known.
    Ended(Outcome),
}

/// A deployment that is being cancelled.
#[derive(Debug)]
pub struct Followed {
    /// The deployment as it was last seen.
    pub deployment: Deployment,
    /// The page of the listing that showed it last, if one did.
    pub place: Option<Place>,
    /// When this run asked for its cancellation, if it did.
    pub requested_at: Option<Timestamp>,
    /// Since when it is followed.
    pub since: Instant,
}

impl Followed {
    /// Its outcome, if it has ended; where the service does not say when, the end is seen `now`.
    #[must_use]
    pub fn seen_at(self, now: Timestamp) -> Attempt {
        match End::of(&self.deployment.status) {
            Some(end) => Attempt::Ended(Outcome {
                settled_at: Some(self.deployment.ended_at.unwrap_or(now)),
                ..self.ended(end)
            }),
            None => Attempt::Follow(self),
        }
    }

    /// The outcome of following it no further.
    #[must_use]
    pub fn ended(self, end: End) -> Outcome {
        Outcome {
            cancel_requested_at: self.requested_at,
            ..Outcome::without_cancel(self.deployment, end)
        }
    }
}

/// Cancels deployments.
#[derive(Debug)]
pub struct Cancels<'a> {
    calls: &'a Calls<'a>,
    clock: Clock,
    budget: Budget,
    queue: Mutex<VecDeque<Cancel>>,
    /// One cancel at a time waits for its turn, so that none is read, or given a turn, long before
    /// it can go.
    desk: tokio::sync::Mutex<()>,
    watch: &'a Watch,
}

/// What others want to know of the cancels under way.
#[derive(Debug, Default)]
pub struct Watch {
    /// Told once nothing waits any more.
    pub drained: Notify,
    /// When the service accepted the first cancel.
    pub first_accepted: OnceLock<Timestamp>,
}

/// The cancel of one deployment.
#[derive(Debug)]
struct Cancel {
    /// The deployment as it was last seen.
    sighting: Sighting,
    /// Whether it must be looked at by itself, whatever its reading's age: its page shows something
    /// else in its place, or a cancel may have gone through unheard.
    look: bool,
    /// When its cancellation was asked for last.
    requested_at: Option<Timestamp>,
    /// Whether it was asked for and the answer is not known.
    in_doubt: bool,
    backoff: Backoff,
    /// Why the last attempt failed.
    failure: Option<CallError>,
}

impl Cancel {
    fn of(sighting: Sighting) -> Self {
        Self {
            sighting,
            look: false,
            requested_at: None,
            in_doubt: false,
            backoff: Backoff::default(),
            failure: None,
        }
    }

    fn deployment(&self) -> &Deployment {
        &self.sighting.deployment
    }

    /// The page to read again, if its reading is too old for a cancel, or will be so soon.
    fn to_renew(&self) -> Option<Place> {
        let is_old = self.sighting.read_at.elapsed() > AGED;
        let place = self.sighting.place.clone();
        place.filter(|_| is_old && !self.look)
    }

    /// Takes in what its page shows now in its place, if anything.
    fn see(&mut self, now: Option<Deployment>, read_at: Instant) {
        match now {
            Some(now) if now.status == Status::InProgress && now.is_same_as(self.deployment()) => {
                self.sighting.deployment = now;
                self.sighting.read_at = read_at;
            }
            Some(_) | None => self.look = true,
        }
    }

    /// The deployment left `IN_PROGRESS`, by this run's doing or not.
    fn follow(self, deployment: Deployment, now: Timestamp) -> Attempt {
        let followed = Followed {
            deployment,
            place: self.sighting.place,
            requested_at: self.requested_at,
            since: Instant::now(),
        };
        followed.seen_at(now)
    }

    fn ended(self, end: End) -> Attempt {
        Attempt::Ended(Outcome {
            cancel_requested_at: self.requested_at,
            ..Outcome::without_cancel(self.sighting.deployment, end)
        })
    }
}

/// One go at a cancel.
enum Step {
    Done(Box<Attempt>),
    Failed(Box<Cancel>, CallError),
}

impl<'a> Cancels<'a> {
    /// Cancels for these deployments, in this order.
    #[must_use]
    pub fn of(
        sightings: Vec<Sighting>,
        calls: &'a Calls<'a>,
        clock: Clock,
        budget: Budget,
        watch: &'a Watch,
    ) -> Self {
        Self {
            calls,
            clock,
            budget,
            queue: Mutex::new(sightings.into_iter().map(Cancel::of).collect()),
            desk: tokio::sync::Mutex::new(()),
            watch,
        }
    }

    /// Asks for every cancellation, at most `concurrency` at once, and tells what each led to.
    pub async fn run(self, concurrency: usize, tell: impl Fn(Attempt)) {
        let mut workers: FuturesUnordered<_> = (0..concurrency).map(|_| self.work(&tell)).collect();
        while workers.next().await.is_some() {}
        // The time is over.
        let mut left: FuturesUnordered<_> = self
            .with_queue(std::mem::take)
            .into_iter()
            .map(|mut cancel| {
                let failure = cancel.failure.take().unwrap_or_else(CallError::late);
                self.give_up(cancel, failure)
            })
            .collect();
        while let Some(attempt) = left.next().await {
            tell(attempt);
        }
        self.watch.drained.notify_one();
    }

    async fn work(&self, tell: &impl Fn(Attempt)) {
        while let Some((next, turn)) = self.next().await {
            if let Some(attempt) = self.cancel(next, turn).await {
                tell(attempt);
            }
        }
    }

    /// The next that waits, with a turn for it; nothing if none waits, or the time is over.
    async fn next(&self) -> Option<(Cancel, Turn<'_>)> {
        let _alone = self.desk.lock().await;
        if let Some(place) = self.with_queue(|queue| queue.front().and_then(Cancel::to_renew)) {
            self.renew(&place).await;
        }
        if self.with_queue(|queue| queue.is_empty()) {
            return None;
        }
        let turn = self.calls.turn(self.budget.act_until).await?;
        let (next, last) = self.with_queue(|queue| (queue.pop_front(), queue.is_empty()));
        if last {
            self.watch.drained.notify_one();
        }
        Some((next?, turn))
    }

    /// A turn for another attempt.
    async fn another_turn(&self) -> Option<Turn<'_>> {
        let _alone = self.desk.lock().await;
        self.calls.turn(self.budget.act_until).await
    }

    /// Tries until something comes of it; nothing if the cancel waits again for its turn.
    async fn cancel(&self, mut cancel: Cancel, mut turn: Turn<'_>) -> Option<Attempt> {
        loop {
            let failure = match self.go(cancel, turn).await {
                Step::Done(attempt) => return Some(*attempt),
                Step::Failed(back, failure) => {
                    cancel = *back;
                    failure
                }
            };
            let at = cancel.backoff.next(self.budget.act_until);
            let another = match at {
                // The service's pace tells when it may be tried again. It waits where a page that
                // is read again renews its reading, too.
                Some(_) if failure.fault == Fault::Throttled => {
                    cancel.failure = Some(failure);
                    self.with_queue(|queue| queue.push_front(cancel));
                    return None;
                }
                Some(at) => {
                    tokio::time::sleep_until(at).await;
                    self.another_turn().await
                }
                None => None,
            };
            match another {
                Some(another) => turn = another,
                None => return Some(self.give_up(cancel, failure).await),
            }
        }
    }

    /// Reads a page of the listing again, for all that wait and were shown on it: it costs no more
    /// than a look at one of them.
    async fn renew(&self, place: &Place) {
        let engine = self.calls.engine();
        let list = self
            .calls
            .retried(self.budget.act_until, || engine.list(place.token()));
        let page = list.await;
        let read_at = Instant::now();
        let deployments = page.map_or_else(
            |error| {
                tracing::warn!(
                    error = error.to_string(),
                    "a page could not be listed again; each deployment is read by itself"
                );
                Vec::new()
            },
            |page| page.deployments,
        );
        let mut seen: HashMap<_, _> = deployments
            .into_iter()
            .map(|deployment| (deployment.environment.name.clone(), deployment))
            .collect();
        self.with_queue(|queue| {
            for cancel in queue.iter_mut() {
                if cancel.sighting.place.as_ref() == Some(place) {
                    let now = seen.remove(&cancel.deployment().environment.name);
                    cancel.see(now, read_at);
                }
            }
        });
    }

    /// Looks at the deployment if need be, then asks for its cancellation.
    async fn go(&self, mut cancel: Cancel, turn: Turn<'_>) -> Step {
        let engine = self.calls.engine();
        let until = self.budget.look_until;
        if cancel.look || cancel.sighting.read_at.elapsed() > FRESH {
            let look = engine.look_at(cancel.deployment());
            match self.calls.attempt(&turn, until, look).await {
                Ok(Sight::Of(seen)) if seen.status == Status::InProgress => {
                    cancel.sighting.deployment = *seen;
                    cancel.sighting.read_at = Instant::now();
                    cancel.look = false;
                }
                Ok(sight) => return Step::Done(Box::new(self.found(cancel, sight))),
                Err(error) if error.is_transient() => {
                    return Step::Failed(Box::new(cancel), error);
                }
                Err(error) => return Step::Done(Box::new(cancel.ended(End::Error(error)))),
            }
            self.calls.another().await;
        }
        cancel.requested_at = Some(self.clock.now());
        let call = engine.cancel(cancel.deployment());
        let error = match self.calls.attempt(&turn, until, call).await {
            Ok(current) => return Step::Done(Box::new(self.accepted(cancel, current))),
            Err(error) => error,
        };
        drop(turn);
        if error.may_have_taken_effect() {
            cancel.in_doubt = true;
            cancel.look = true;
        }
        if error.fault == Fault::Conflict {
            return Step::Done(Box::new(self.after_conflict(cancel, error).await));
        }
        if error.is_transient() {
            Step::Failed(Box::new(cancel), error)
        } else {
            Step::Done(Box::new(cancel.ended(End::Error(error))))
        }
    }

    /// The service accepted a cancel; what it shows is the deployment that the cancel hit.
    fn accepted(&self, cancel: Cancel, current: Deployment) -> Attempt {
        self.watch.first_accepted.get_or_init(|| self.clock.now());
        let meant = cancel.deployment();
        let hit_another = !current.is_same_as(meant);
        let deployment = if hit_another {
            tracing::error!(
                environment = current.environment.name.as_str(),
                meant = meant.id_for_a_line().as_deref(),
                hit = current.id_for_a_line().as_deref(),
                "the cancel hit a deployment that had started a moment before; it is the one that is followed"
            );
            current
        } else {
            Deployment {
                status: current.status,
                message: current.message,
                ..meant.clone()
            }
        };
        cancel.follow(deployment, self.clock.now())
    }

    /// A conflict may hide that the update has finished, or that it is being cancelled already.
    async fn after_conflict(&self, mut cancel: Cancel, conflict: CallError) -> Attempt {
        let engine = self.calls.engine();
        let look = self.calls.retried(self.budget.look_until, || {
            engine.look_at(cancel.deployment())
        });
        match look.await {
            Ok(Sight::Of(seen)) if seen.status == Status::InProgress => {
                cancel.sighting.deployment = *seen;
                cancel.ended(End::Error(conflict))
            }
            Ok(Sight::Superseded) => cancel.ended(End::Error(conflict)),
            Ok(sight @ Sight::Of(_)) => self.found(cancel, sight),
            Err(error) => cancel.ended(End::Error(error)),
        }
    }

    /// No more attempts. A cancel whose answer was lost may have gone through all the same.
    async fn give_up(&self, mut cancel: Cancel, failure: CallError) -> Attempt {
        if cancel.in_doubt {
            let look = self.calls.engine().look_at(cancel.deployment());
            match crate::calls::answered(self.budget.look_until, look).await {
                Ok(Sight::Of(seen)) if seen.status == Status::InProgress => {
                    cancel.sighting.deployment = *seen;
                }
                Ok(sight @ Sight::Of(_)) => return self.found(cancel, sight),
                Ok(Sight::Superseded) | Err(_) => {}
            }
        }
        cancel.ended(End::Error(failure))
    }

    fn found(&self, cancel: Cancel, sight: Sight) -> Attempt {
        match sight {
            Sight::Of(seen) => cancel.follow(*seen, self.clock.now()),
            Sight::Superseded => cancel.ended(End::Error(CallError::superseded())),
        }
    }

    fn with_queue<T>(&self, change: impl FnOnce(&mut VecDeque<Cancel>) -> T) -> T {
        change(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
