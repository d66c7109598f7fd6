//! A run: list, decide, cancel, follow. A state machine that makes no calls and reads no clock.
//!
//! The driver asks [`Run::next`] what to do, makes the calls, and hands each response to
//! [`Run::handle`] as it arrives. Both are functions of what is known and of the time. Permits, the rate
//! limit, retries, freshness and deadlines are data here, so nothing can wait for what it holds itself.
//!
//! Each environment is in one stage at a time (see [`agenda`]):
//!
//! ```text
//!  a request names it      the listing shows it
//!          │                        │
//!        Named ──────┬──────────────┤  rules 1 to 6
//!                    │           Untagged
//!                    ▼              ▼
//!                  selected (rule 7 admits all or none)
//!                    │
//!                    ▼         lost, stale        ┌──────────┐
//!                  Cancel ◀───────────────────────│   read   │
//!                    │────────────────────────────▶└──────────┘
//!        accepted, or no longer `IN_PROGRESS`
//!                    ▼
//!                  Follow ──── poll ──▶ settled: the outcome
//! ```

mod agenda;
mod budget;
mod call;
mod cancel;
mod cancelling;
mod driver;
mod find;
#[cfg(test)]
mod fixture;
mod followed;
mod following;
mod listing;
mod note;
mod poll;
mod rate_limiter;
mod refresh;
mod selection;

use std::collections::BTreeSet;
use std::time::Duration;

pub use budget::Budget;
pub use call::{Call, ListPurpose, ListRequest, PageToken, Request, Response};
pub use driver::Driver;
pub use note::Note;

use self::agenda::{Agenda, Entry, Next, Stage};
use self::find::Finding;
use self::followed::Followed;
use self::poll::Polls;
use self::rate_limiter::RateLimiter;
use self::selection::Selection;
use crate::aws::call_error::{CallError, Fault};
use crate::deployment::{Deployment, EnvironmentName};
use crate::engine::{Continuation, ReadStep};
use crate::plan::Policy;
use crate::report::outcome::Outcome;
use crate::report::summary::Tally;
use crate::timestamp::{self, Timestamp};
use crate::trigger::{Cause, Trigger};

/// The timeout of a call.
pub(crate) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The limits of a run.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The time.
    pub budget: Budget,
    /// Calls in flight at once, 1 or more.
    pub concurrency: usize,
    /// The time for which a cancelled deployment is followed.
    pub settle_timeout: Duration,
    /// The seed of the jitter.
    pub seed: u64,
}

/// The next step of the driver.
#[derive(Debug)]
pub enum Step {
    /// Makes this call, and asks again.
    Call(Call),
    /// Waits for a response, or until this time.
    WaitUntil(Timestamp),
    /// Nothing: the run is done. Calls that are under way need not be awaited.
    Done,
}

/// A report of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// An outcome.
    Outcome(Box<Outcome>, Word),
    /// A note for the log.
    Note(Note),
}

/// The relation of an outcome to the others of its environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// `CANCELLING`: the end follows.
    First,
    /// The only one, or the end.
    Last,
    /// The last word stays `CANCELLING`, which was published.
    Unchanged,
}

/// A run.
#[derive(Debug)]
pub struct Run<'a> {
    limits: Limits,
    /// True if a deployment is read once instead of followed.
    reads_once: bool,
    random: fastrand::Rng,
    /// Calls in flight. A permit is held while a call is under way and at no other time.
    in_flight: usize,
    rate: RateLimiter,
    /// The rules. `None` where nothing is to be cancelled.
    selection: Option<Selection<'a>>,
    /// The listing at the start, until it is complete.
    finding: Option<Finding>,
    /// Environments of a request that could not be read, until the service is reached for another one.
    unreached: Option<Vec<(Stage, CallError)>>,
    agenda: Agenda,
    /// The pages that are being refreshed.
    refreshing: BTreeSet<PageToken>,
    polls: Polls,
    tally: Tally,
    first_accepted: Option<Timestamp>,
    failure: Option<CallError>,
    reports: Vec<Report>,
}

impl<'a> Run<'a> {
    /// Makes a run that cancels the deployments that the policy selects for a trigger.
    #[must_use]
    pub fn new(trigger: &'a Trigger, policy: &'a Policy, limits: Limits, now: Timestamp) -> Self {
        let mut run = Self::empty(limits);
        run.selection = Some(Selection::new(trigger, policy));
        match &trigger.cause {
            Cause::Alarm(_) | Cause::Schedule => run.finding = Some(Finding::new(now)),
            Cause::Request(request) => run.begin_to_read(&request.environments, now),
        }
        run
    }

    /// Makes a run that reads a deployment that is being cancelled, once, and cancels nothing.
    #[must_use]
    pub fn follow(deployment: Deployment, limits: Limits, now: Timestamp) -> Self {
        let mut run = Self::empty(limits);
        run.reads_once = true;
        let until = limits.budget.read_until;
        let followed = Followed::new(deployment, None, until, now);
        run.begin(Stage::Follow(followed), until, now);
        run
    }

    fn empty(limits: Limits) -> Self {
        Self {
            limits,
            reads_once: false,
            random: fastrand::Rng::with_seed(limits.seed),
            in_flight: 0,
            rate: RateLimiter::default(),
            selection: None,
            finding: None,
            unreached: Some(Vec::new()),
            agenda: Agenda::default(),
            refreshing: BTreeSet::new(),
            polls: Polls::default(),
            tally: Tally::default(),
            first_accepted: None,
            failure: None,
            reports: Vec::new(),
        }
    }

    /// Returns what to do next.
    pub fn next(&mut self, now: Timestamp) -> Step {
        while let Some(entry) = self.agenda.wake(now) {
            self.expire(entry, now);
        }
        if self.is_done(now) {
            return Step::Done;
        }
        let limited_until = self.rate.next().filter(|at| *at > now);
        if limited_until.is_none()
            && self.in_flight < self.limits.concurrency
            && let Some(call) = self.choose(now)
        {
            self.in_flight += 1;
            self.rate.call_made(now);
            return Step::Call(call);
        }
        let listing = self.finding.as_ref().and_then(|one| one.listing.at());
        let act_until = self.limits.budget.act_until;
        let timers = [
            self.agenda.next_timer(),
            listing,
            limited_until,
            Some(act_until),
        ];
        let timers = timers.into_iter().flatten().filter(|at| *at > now);
        Step::WaitUntil(timers.min().unwrap_or(self.limits.budget.publish_until))
    }

    /// Applies a response.
    pub fn handle(&mut self, response: Response, now: Timestamp) {
        self.in_flight = self.in_flight.saturating_sub(1);
        match response.error() {
            None => self.rate.call_accepted(now),
            Some(error) if error.fault == Fault::Throttled => self.rate.call_throttled(now),
            Some(_) => {}
        }
        match response {
            Response::List(request, result) => match request.purpose {
                ListPurpose::Find => self.on_found_page(&request, result, now),
                ListPurpose::Refresh => self.on_refreshed_page(&request, result, now),
                ListPurpose::Poll => self.on_polled_page(&request, result, now),
            },
            Response::ReadEnvironment(name, result) => self.on_environment(&name, result, now),
            Response::ReadTag(name, result) => self.on_tag(&name, result, now),
            Response::ReadDeployment(name, result) => self.on_deployment(&name, result, now),
            Response::Cancel(name, result) => self.on_cancel(&name, result, now),
        }
    }

    /// Takes the reports that were added since the last call.
    pub fn take_reports(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.reports)
    }

    /// Returns why nothing could be found, once the run is done.
    #[must_use]
    pub fn failure(&self) -> Option<&CallError> {
        self.failure.as_ref()
    }

    /// Returns the counts of what was found.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Returns when the service accepted the first cancel.
    #[must_use]
    pub fn first_accepted(&self) -> Option<Timestamp> {
        self.first_accepted
    }

    fn report(&mut self, outcome: Outcome, word: Word) {
        self.reports.push(Report::Outcome(Box::new(outcome), word));
    }

    fn note(&mut self, note: Note) {
        self.reports.push(Report::Note(note));
    }

    /// Puts an environment on the agenda where its stage begins.
    fn begin(&mut self, stage: Stage, until: Timestamp, since: Timestamp) {
        self.agenda
            .put(Entry::new(stage, until, since), Next::Ready);
    }

    /// Puts an environment whose call failed back on the agenda if the call is to be made again.
    /// Returns the environment if the error is final.
    fn retry(&mut self, mut entry: Entry, error: &CallError, now: Timestamp) -> Option<Entry> {
        let until = entry.until;
        let is_transient = error.is_transient();
        let again_at = is_transient.then(|| entry.backoff.next(now, until, &mut self.random));
        let Some(at) = again_at.flatten() else {
            return Some(entry);
        };
        entry.since = now;
        self.agenda.put(entry, Next::At(at));
        None
    }

    /// True if nothing is left to be done, or nothing could be found.
    fn is_done(&mut self, now: Timestamp) -> bool {
        if let Some(finding) = &self.finding {
            if finding.listing.at().is_some() && now >= self.limits.budget.act_until {
                self.failure.get_or_insert_with(CallError::late);
            }
        } else if self.agenda.is_empty() {
            let unreached = self.unreached.take().into_iter().flatten().next_back();
            self.failure = self.failure.take().or(unreached.map(|(_, error)| error));
            return true;
        }
        self.failure.is_some()
    }

    /// Chooses the next call: those that matter most come first. A call that is not chosen now takes no permit.
    fn choose(&mut self, now: Timestamp) -> Option<Call> {
        let listing = self.finding.as_mut().map(|finding| &mut finding.listing);
        if let Some(token) = listing.and_then(|listing| listing.ask(now)) {
            return Some(self.list(token, ListPurpose::Find, now));
        }
        self.choose_ready(now).or_else(|| self.choose_poll(now))
    }

    fn list(&self, token: PageToken, purpose: ListPurpose, asked_at: Timestamp) -> Call {
        let timeout = match purpose {
            ListPurpose::Find => RESPONSE_TIMEOUT,
            // What a slow listing cannot show is read by itself.
            ListPurpose::Refresh => Duration::from_secs(1),
            ListPurpose::Poll => Duration::from_secs(2),
        };
        let until = self.limits.budget.act_until;
        let request = ListRequest {
            token,
            purpose,
            asked_at,
        };
        Call {
            request: Request::List(request),
            give_up_at: give_up_at(asked_at, timeout, until),
        }
    }

    /// Makes the call that an environment needs next.
    fn ask(&mut self, name: &EnvironmentName, now: Timestamp) -> Option<Call> {
        let mut entry = self.agenda.take(name)?;
        let continuation = entry.continuation.clone();
        let (request, until) = match &mut entry.stage {
            Stage::Named(name) => (Request::ReadEnvironment(name.clone()), entry.until),
            Stage::Untagged(candidate, page) => {
                let environment = candidate.deployment.environment.clone();
                (Request::ReadTag(environment, page.clone()), entry.until)
            }
            Stage::Cancel(cancel) => cancel.ask(continuation, &self.limits.budget, now),
            Stage::Follow(followed) => {
                let deployment = Box::new(followed.deployment.clone());
                (
                    Request::ReadDeployment(deployment, continuation),
                    entry.until,
                )
            }
        };
        entry.since = now;
        self.agenda.put(entry, Next::InFlight);
        let give_up_at = give_up_at(now, RESPONSE_TIMEOUT, until);
        Some(Call {
            request,
            give_up_at,
        })
    }

    /// Applies the response to the read of a deployment. What earlier calls have shown counts if this one
    /// failed, unless the deployment is read again anyway.
    fn on_deployment(
        &mut self,
        name: &EnvironmentName,
        result: Result<ReadStep, CallError>,
        now: Timestamp,
    ) {
        let Some(mut entry) = self.agenda.take(name) else {
            return;
        };
        let reading = match result {
            Ok(ReadStep::Done(reading)) => Ok(reading),
            Ok(ReadStep::More(continuation)) => {
                entry.continuation = Some(continuation);
                entry.since = now;
                return self.agenda.put(entry, Next::Ready);
            }
            Err(error) => match self.retry(entry, &error, now) {
                Some(failed) => {
                    entry = failed;
                    let known = entry.continuation.as_ref().and_then(Continuation::known);
                    known.filter(|_| !self.reads_once).ok_or(error)
                }
                None => return,
            },
        };
        match (entry.stage, reading) {
            (Stage::Cancel(cancel), Ok(reading)) => {
                self.on_reading_for_cancel(cancel, entry.backoff, reading, now);
            }
            (Stage::Cancel(cancel), Err(error)) => self.give_up(cancel, error, now),
            (Stage::Follow(followed), Ok(reading)) => {
                self.on_reading_for_follow(followed, reading, now);
            }
            (Stage::Follow(followed), Err(error)) => {
                self.on_unread_for_follow(followed, error, now);
            }
            (Stage::Named(_) | Stage::Untagged(..), _) => {}
        }
    }

    /// Ends what has no time left.
    fn expire(&mut self, entry: Entry, now: Timestamp) {
        let known = entry.continuation.as_ref().and_then(Continuation::known);
        match entry.stage {
            Stage::Cancel(cancel) => self.expire_cancel(cancel, known, now),
            Stage::Follow(followed) => self.expire_followed(followed, known, now),
            stage @ (Stage::Named(_) | Stage::Untagged(..)) => self.expire_find(stage),
        }
    }
}

/// Returns when a call is given up: after a timeout, or when the time is over.
fn give_up_at(now: Timestamp, timeout: Duration, until: Timestamp) -> Timestamp {
    timestamp::later(now, timeout).map_or(until, |at| at.min(until))
}
