//! Acting: cancels in parallel, oldest deployment first, each aimed at one certain deployment.
//!
//! A cancel names only the environment and hits whatever deployment is current. So a deployment
//! that was read more than a moment ago, and one whose cancel may have gone through unheard, is
//! looked at again right before the call; if it is no longer the same and `IN_PROGRESS`, no call is
//! made. What remains is the time between that look, of which nobody knows when before its answer it
//! was made, and the cancel's arrival.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::aws::call_error::{CallError, Fault};
use crate::clock::{Budget, Clock};
use crate::deployment::{Deployment, Status};
use crate::engine::{Evidence, Page, Sight, Successor};
use crate::report::outcome::{End, Outcome};
use crate::run::backoff::Backoff;
use crate::run::calls::{ANSWER_TIMEOUT, Calls, Turn};
use crate::run::list::{Place, Sighting};
use crate::timestamp::Timestamp;

/// How old the reading of a deployment may be that a cancel relies on.
const FRESH: Duration = Duration::from_secs(2);

/// Readings of this age are renewed with those that are too old.
const AGED: Duration = Duration::from_millis(1700);

/// How long a page that is read again may take to come: looks at each deployment do as well, and
/// cancels wait for it.
const RENEWAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Attempts to read a page again.
const RENEWAL_ATTEMPTS: usize = 3;

/// How far the service's clock and this one may be apart.
const CLOCKS_APART: Duration = Duration::from_millis(20);

/// How long a cancel is on its way to the service at the most. What has begun later was not hit by it.
const DELIVERY: Duration = Duration::from_secs(1);

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
    /// How it is known that the cancel hit it.
    pub aim: Aim,
    /// Since when it is followed.
    pub since: Instant,
}

/// How it is known that a cancel hit the deployment that is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// The service said so, or it was found out; or no cancel of this run can have hit another.
    Known,
    /// The service accepted the cancel, and did not say what it hit.
    Accepted,
    /// The service's answer was lost.
    InDoubt,
}

impl Aim {
    /// The deployment that a cancel hit instead of the one that was meant, if that can be told.
    ///
    /// A cancel that was accepted undoes what runs when it arrives. If the one that was meant had
    /// ended before, and no more than one other was there to be hit, that is the one.
    fn hit_instead(
        self,
        ended: &Deployment,
        successor: Successor,
        requested_at: Timestamp,
    ) -> Option<Deployment> {
        let is_hit = match (self, successor.evidence) {
            (Self::Known, _) | (Self::InDoubt, Evidence::OnlyOne) => false,
            (Self::Accepted | Self::InDoubt, Evidence::Named) => true,
            (Self::Accepted, Evidence::OnlyOne) => {
                (ended.status == Status::Succeeded || ended_before(ended, requested_at))
                    && had_begun_by(&successor.deployment, Some(requested_at), ANSWER_TIMEOUT)
            }
        };
        is_hit.then_some(successor.deployment)
    }
}

/// Whether a deployment had begun when a cancel arrived that was asked for then, and was on its way for so
/// long at the most.
fn had_begun_by(deployment: &Deployment, asked: Option<Timestamp>, way: Duration) -> bool {
    let arrived = asked.map(|asked| asked + way + CLOCKS_APART);
    deployment
        .started_at
        .zip(arrived)
        .is_some_and(|(started, arrived)| started <= arrived)
}

/// Whether a deployment had ended for certain when its cancellation was asked for.
fn ended_before(deployment: &Deployment, requested_at: Timestamp) -> bool {
    let ended_at = deployment.ended_at;
    ended_at.is_some_and(|ended_at| requested_at - ended_at > CLOCKS_APART)
}

/// Logs that a cancel hit another deployment than the one that was meant.
fn log_hit(meant: &Deployment, hit: &Deployment) {
    tracing::error!(
        environment = hit.environment.name.as_str(),
        meant = meant.id_for_a_line().as_deref(),
        hit = hit.id_for_a_line().as_deref(),
        "the cancel hit a deployment that had started a moment before; it is the one that is followed"
    );
}

impl Followed {
    /// What was seen of it, and of what stands in its place. If the cancel hit that one instead, it is
    /// followed from now on.
    #[must_use]
    pub fn see(mut self, seen: Deployment, successor: Option<Successor>) -> Self {
        self.deployment = self.deployment.seen_again(seen);
        let hit = successor
            .zip(self.requested_at)
            .and_then(|(one, asked)| self.aim.hit_instead(&self.deployment, one, asked));
        match hit {
            Some(hit) => {
                log_hit(&self.deployment, &hit);
                Self {
                    deployment: hit,
                    aim: Aim::Known,
                    ..self
                }
            }
            None => self,
        }
    }

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
    /// One cancel at a time waits for its turn, so that none is read, or given a turn, long before
    /// it can go.
    desk: tokio::sync::Mutex<()>,
    /// Whether pages can be read again, as far as is known.
    may_renew: AtomicBool,
    watch: &'a Watch,
}

/// What the cancels under way and others have to know of each other.
#[derive(Debug, Default)]
pub struct Watch {
    /// The cancels that wait.
    queue: Mutex<VecDeque<Cancel>>,
    /// Told once nothing waits any more.
    pub drained: Notify,
    /// When the service accepted the first cancel.
    pub first_accepted: OnceLock<Timestamp>,
}

impl Watch {
    /// Takes in what a page of the listing showed that was asked for at that time, for all that wait
    /// and are on it, or were.
    pub fn see(&self, place: &Place, page: &Page, read_at: Instant) {
        self.with_queue(|queue| {
            // Most pages are read when nothing waits any more.
            if queue.is_empty() {
                return;
            }
            let shown: HashMap<_, _> = page
                .deployments
                .iter()
                .map(|deployment| (&deployment.environment.name, deployment))
                .collect();
            for Cancel { sighting, .. } in queue.iter_mut() {
                let now = shown.get(&sighting.deployment.environment.name).copied();
                let is_concerned = now.is_some() || sighting.place.as_ref() == Some(place);
                if is_concerned && read_at >= sighting.read_at {
                    sighting.see(now.cloned(), read_at);
                }
            }
        });
    }

    fn with_queue<T>(&self, change: impl FnOnce(&mut VecDeque<Cancel>) -> T) -> T {
        change(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The cancel of one deployment.
#[derive(Debug)]
struct Cancel {
    /// The deployment as it was last seen.
    sighting: Sighting,
    /// When its cancellation was asked for last.
    requested_at: Option<Timestamp>,
    /// Whether it was asked for and the answer is not known.
    in_doubt: bool,
    backoff: Backoff,
    /// When it may be tried again, where the service has throttled it.
    not_before: Option<Instant>,
    /// Why the last attempt failed.
    failure: Option<CallError>,
}

impl Cancel {
    fn of(sighting: Sighting) -> Self {
        Self {
            sighting,
            requested_at: None,
            in_doubt: false,
            backoff: Backoff::default(),
            not_before: None,
            failure: None,
        }
    }

    fn deployment(&self) -> &Deployment {
        &self.sighting.deployment
    }

    fn is_ready(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|at| at <= now)
    }

    /// The page to read again, if its reading is too old for a cancel, or will be so soon.
    fn to_renew(&self) -> Option<Place> {
        let is_old = self.sighting.read_at.elapsed() > AGED;
        let place = self.sighting.place.clone();
        place.filter(|_| is_old && !self.sighting.is_doubtful)
    }

    /// The deployment left `IN_PROGRESS`, by this run's doing or not.
    fn follow(self, aim: Aim) -> Followed {
        Followed {
            deployment: self.sighting.deployment,
            place: self.sighting.place,
            requested_at: self.requested_at,
            aim,
            since: Instant::now(),
        }
    }

    fn ended(self, end: End) -> Attempt {
        Attempt::Ended(Outcome {
            cancel_requested_at: self.requested_at,
            ..Outcome::without_cancel(self.sighting.deployment, end)
        })
    }
}

/// What there is to do next.
enum Waiting {
    /// Nothing waits.
    Nothing,
    /// The first that may be tried again may be so at that time.
    Until(Instant),
    /// One waits for its turn; its page is to be read again where its reading is too old.
    Ready(Option<Place>),
}

/// The first that may be tried now.
fn first_ready(queue: &VecDeque<Cancel>) -> Option<usize> {
    let now = Instant::now();
    queue.iter().position(|cancel| cancel.is_ready(now))
}

/// Whether a cancel whose answer was lost may have hit another deployment than the one that was meant,
/// by how that one stands. One that is `CANCELLED`, or `FAILED`, as a cancel that fails ends, may be so
/// by this very cancel, unless it had ended before.
fn may_have_hit_another(sight: &Sight, requested_at: Option<Timestamp>) -> bool {
    let (Sight::Of(seen) | Sight::Replaced(seen, _)) = sight else {
        return true;
    };
    match &seen.status {
        Status::InProgress | Status::Cancelling => false,
        Status::Cancelled | Status::Failed => requested_at.is_some_and(|at| ended_before(seen, at)),
        Status::Succeeded | Status::Other(_) => true,
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
        watch.with_queue(|queue| queue.extend(sightings.into_iter().map(Cancel::of)));
        Self {
            calls,
            clock,
            budget,
            desk: tokio::sync::Mutex::new(()),
            may_renew: AtomicBool::new(true),
            watch,
        }
    }

    /// Asks for every cancellation, at most `concurrency` at once, and tells what each led to.
    pub async fn run(self, concurrency: usize, tell: impl Fn(Attempt)) {
        let mut workers: FuturesUnordered<_> = (0..concurrency).map(|_| self.work(&tell)).collect();
        while workers.next().await.is_some() {}
        // The time is over.
        let mut left: FuturesUnordered<_> = self
            .watch
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
        loop {
            let alone = self.desk.lock().await;
            match self.waiting() {
                Waiting::Nothing => return None,
                Waiting::Until(at) => {
                    drop(alone);
                    if at >= self.budget.act_until {
                        return None;
                    }
                    tokio::time::sleep_until(at).await;
                    continue;
                }
                Waiting::Ready(None) => {}
                Waiting::Ready(Some(place)) => self.renew(&place).await,
            }
            let turn = self.calls.turn(self.budget.act_until).await?;
            let (next, last) = self.watch.with_queue(|queue| {
                let next = first_ready(queue).and_then(|index| queue.remove(index));
                (next, queue.is_empty())
            });
            if last {
                self.watch.drained.notify_one();
            }
            if let Some(next) = next {
                return Some((next, turn));
            }
        }
    }

    fn waiting(&self) -> Waiting {
        self.watch.with_queue(|queue| {
            if let Some(ready) = first_ready(queue).and_then(|index| queue.get(index)) {
                let place = ready.to_renew();
                return Waiting::Ready(place.filter(|_| self.may_renew.load(Ordering::Relaxed)));
            }
            let times = queue.iter().filter_map(|cancel| cancel.not_before);
            times.min().map_or(Waiting::Nothing, Waiting::Until)
        })
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
                // It waits where others can go before it, and where a page that is read again
                // renews its reading, too.
                Some(at) if failure.fault == Fault::Throttled => {
                    cancel.not_before = Some(at);
                    cancel.failure = Some(failure);
                    self.watch.with_queue(|queue| queue.push_front(cancel));
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
    /// than a look at one of them. Where that fails, each is looked at by itself, and no page is read
    /// again.
    async fn renew(&self, place: &Place) {
        let Some((page, read_at)) = self.read_again(place).await else {
            self.may_renew.store(false, Ordering::Relaxed);
            return;
        };
        self.watch.see(place, &page, read_at);
    }

    /// The page as it is now, and when it was asked for.
    async fn read_again(&self, place: &Place) -> Option<(Page, Instant)> {
        for _ in 0..RENEWAL_ATTEMPTS {
            let turn = self.calls.turn(self.budget.act_until).await?;
            let read_at = Instant::now();
            let until = self.budget.act_until.min(read_at + RENEWAL_TIMEOUT);
            let list = self.calls.engine().list(place.token());
            match self.calls.attempt(&turn, until, list).await {
                Ok(page) => return Some((page, read_at)),
                Err(error) => {
                    tracing::warn!(
                        error = error.to_string(),
                        "a page could not be listed again"
                    );
                    if !error.is_transient() {
                        return None;
                    }
                }
            }
        }
        None
    }

    /// Looks at the deployment if need be, then asks for its cancellation.
    async fn go(&self, mut cancel: Cancel, turn: Turn<'_>) -> Step {
        let until = self.budget.look_until;
        if cancel.sighting.is_doubtful || cancel.sighting.read_at.elapsed() > FRESH {
            match self.calls.look(&turn, until, cancel.deployment()).await {
                Ok(Sight::Of(seen)) if seen.status == Status::InProgress => {
                    cancel.sighting.deployment = *seen;
                    cancel.sighting.is_doubtful = false;
                }
                Ok(sight) => return Step::Done(Box::new(self.found(cancel, sight).await)),
                Err(error) if error.is_transient() => {
                    return Step::Failed(Box::new(cancel), error);
                }
                Err(error) => return Step::Done(Box::new(cancel.ended(End::Error(error)))),
            }
            self.calls.another().await;
        }
        cancel.requested_at = Some(self.clock.now());
        let call = self.calls.engine().cancel(cancel.deployment());
        let until = self.budget.cancel_until;
        let error = match self.calls.attempt(&turn, until, call).await {
            Ok(current) => return Step::Done(Box::new(self.accepted(cancel, current))),
            Err(error) => error,
        };
        drop(turn);
        if error.may_have_taken_effect() {
            cancel.in_doubt = true;
            cancel.sighting.is_doubtful = true;
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

    /// The service accepted a cancel; what it shows, if anything, is the deployment that the cancel
    /// hit.
    fn accepted(&self, cancel: Cancel, current: Option<Deployment>) -> Attempt {
        self.watch.first_accepted.get_or_init(|| self.clock.now());
        let followed = match current {
            None => cancel.follow(Aim::Accepted),
            Some(current) if !current.is_same_as(cancel.deployment()) => {
                return self.hit(cancel, current);
            }
            Some(current) => {
                let mut followed = cancel.follow(Aim::Known);
                followed.deployment.status = current.status;
                followed.deployment.message = current.message;
                followed
            }
        };
        followed.seen_at(self.clock.now())
    }

    /// A conflict may hide that the update has finished, or that it is being cancelled already.
    async fn after_conflict(&self, mut cancel: Cancel, conflict: CallError) -> Attempt {
        let until = self.budget.look_until;
        let look = self.calls.look_until_told(until, cancel.deployment());
        match look.await {
            // The attempt whose answer was lost was accepted, then.
            Ok(sight @ (Sight::Of(_) | Sight::Replaced(..)))
                if cancel.in_doubt && conflict.says_it_is_a_repeat() =>
            {
                self.found(cancel, sight).await
            }
            Ok(Sight::Of(seen)) if seen.status == Status::InProgress => {
                cancel.sighting.deployment = *seen;
                cancel.ended(End::Error(conflict))
            }
            Ok(Sight::Superseded) if !cancel.in_doubt => cancel.ended(End::Error(conflict)),
            Ok(sight) => self.found(cancel, sight).await,
            Err(error) => cancel.ended(End::Error(error)),
        }
    }

    /// No more attempts. A cancel whose answer was lost may have gone through all the same.
    async fn give_up(&self, mut cancel: Cancel, failure: CallError) -> Attempt {
        let until = self.budget.look_until;
        if cancel.in_doubt
            && let Some(turn) = self.calls.turn(until).await
        {
            match self.calls.look(&turn, until, cancel.deployment()).await {
                Ok(Sight::Of(seen)) if seen.status == Status::InProgress => {
                    cancel.sighting.deployment = *seen;
                }
                Ok(sight @ (Sight::Of(_) | Sight::Replaced(..))) => {
                    return self.found(cancel, sight).await;
                }
                Ok(Sight::Superseded) | Err(_) => {}
            }
        }
        cancel.ended(End::Error(failure))
    }

    /// The deployment has left `IN_PROGRESS`. A cancel whose answer was lost may have hit the one that
    /// came next.
    async fn found(&self, cancel: Cancel, sight: Sight) -> Attempt {
        if cancel.in_doubt
            && may_have_hit_another(&sight, cancel.requested_at)
            && let Some(hit) = self.hit_instead(cancel.deployment()).await
            && had_begun_by(&hit, cancel.requested_at, DELIVERY)
        {
            return self.hit(cancel, hit);
        }
        let (seen, successor) = match sight {
            Sight::Of(seen) => (seen, None),
            Sight::Replaced(seen, successor) => (seen, Some(*successor)),
            Sight::Superseded => return cancel.ended(End::Error(CallError::superseded())),
        };
        let aim = if cancel.in_doubt {
            Aim::InDoubt
        } else {
            Aim::Known
        };
        let followed = cancel.follow(aim).see(*seen, successor);
        followed.seen_at(self.clock.now())
    }

    /// Another deployment that is being cancelled where this one was meant.
    async fn hit_instead(&self, meant: &Deployment) -> Option<Deployment> {
        let until = self.budget.look_until;
        let turn = self.calls.turn(until).await?;
        let read = self.calls.engine().hit_instead_of(meant);
        let hit = self.calls.attempt(&turn, until, read).await;
        hit.unwrap_or_else(|error| {
            tracing::warn!(
                environment = meant.environment.name.as_str(),
                error = error.to_string(),
                "a cancel's answer was lost, and what it may have hit instead could not be read"
            );
            None
        })
    }

    /// A cancel hit another deployment than the one that was meant.
    fn hit(&self, cancel: Cancel, hit: Deployment) -> Attempt {
        log_hit(cancel.deployment(), &hit);
        let followed = Followed {
            deployment: hit,
            ..cancel.follow(Aim::Known)
        };
        followed.seen_at(self.clock.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::{Environment, EnvironmentName, NameRule};

    fn time(milliseconds: i64) -> Timestamp {
        crate::timestamp::from_milliseconds(1_795_415_150_000 + milliseconds).unwrap()
    }

    fn deployment(status: Status, started: i64, ended: Option<i64>) -> Deployment {
        let name = EnvironmentName::parse("net", NameRule::CloudFormation).unwrap();
        Deployment {
            environment: Environment::named(name),
            id: Some(started.to_string()),
            started_at: Some(time(started)),
            status,
            message: None,
            ended_at: ended.map(time),
            moved_start: None,
        }
    }

    /// Whether a cancel, asked for at 0, is taken to have hit the one that started then.
    fn is_hit(aim: Aim, evidence: Evidence, ended: &Deployment, started: i64) -> bool {
        let successor = Successor {
            deployment: deployment(Status::Cancelling, started, None),
            evidence,
        };
        aim.hit_instead(ended, successor, time(0)).is_some()
    }

    #[test]
    fn what_had_ended_before_was_not_cancelled_by_a_lost_cancel() {
        let may_be = |status: &Status, ended| {
            let seen = deployment(status.clone(), -9_000, ended);
            may_have_hit_another(&Sight::Of(Box::new(seen)), Some(time(0)))
        };
        for undone in [Status::Cancelled, Status::Failed] {
            assert!(may_be(&undone, Some(-30)));
            for late in [Some(-20), Some(50), None] {
                assert!(!may_be(&undone, late), "{late:?}");
            }
        }
        for late in [Some(-30), Some(50), None] {
            assert!(may_be(&Status::Succeeded, late));
        }
        assert!(!may_be(&Status::Cancelling, None));
        assert!(may_have_hit_another(&Sight::Superseded, Some(time(0))));
    }

    #[test]
    fn what_began_after_a_cancel_had_arrived_was_not_hit_by_it() {
        let had_begun = |started, way| {
            let another = deployment(Status::Cancelling, started, None);
            had_begun_by(&another, Some(time(0)), Duration::from_millis(way))
        };
        assert!(had_begun(-10, 1_000) && had_begun(1_020, 1_000));
        assert!(!had_begun(1_021, 1_000));
        let unknown = Deployment {
            started_at: None,
            ..deployment(Status::Cancelling, 0, None)
        };
        assert!(!had_begun_by(&unknown, Some(time(0)), DELIVERY));
    }

    #[test]
    fn a_cancel_that_is_known_by_name_has_hit_the_other() {
        let ended = deployment(Status::Cancelled, -9_000, Some(500));
        let named = |aim| is_hit(aim, Evidence::Named, &ended, 600);
        assert!(named(Aim::Accepted));
        assert!(named(Aim::InDoubt));
        assert!(!named(Aim::Known));
    }

    #[test]
    fn an_accepted_cancel_has_hit_the_only_other_if_the_first_had_ended_before() {
        let only = |aim, ended: &Deployment| is_hit(aim, Evidence::OnlyOne, ended, -10);
        let succeeded = deployment(Status::Succeeded, -9_000, None);
        assert!(only(Aim::Accepted, &succeeded));
        assert!(!only(Aim::InDoubt, &succeeded));
        assert!(!only(Aim::Known, &succeeded));
        for status in [Status::Cancelled, Status::Failed] {
            let ended = |ended| deployment(status.clone(), -9_000, ended);
            assert!(only(Aim::Accepted, &ended(Some(-30))));
            // Clocks are not that exact; and what this cancel undid has ended later.
            for late in [Some(-20), Some(50), None] {
                assert!(!only(Aim::Accepted, &ended(late)), "{late:?}");
            }
        }
        // It began after the answer.
        assert!(!is_hit(Aim::Accepted, Evidence::OnlyOne, &succeeded, 6_000));
    }
}
