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
mod driver;
mod find;
#[cfg(test)]
mod fixture;
mod follow;
mod note;
mod permits;
mod poll;
mod rate_limiter;
mod read;
mod selection;

use std::collections::BTreeSet;
use std::time::Duration;

pub use budget::Budget;
pub use call::{Call, ListPurpose, ListRequest, PageToken, Request, Response};
pub use driver::Driver;
pub use note::Note;

use self::agenda::{Agenda, Stage};
use self::find::{Finding, Unreached};
use self::permits::Permits;
use self::poll::{POLL_TIMEOUT, Polls};
use self::rate_limiter::RateLimiter;
use self::selection::Selection;
use crate::aws::call_error::{CallError, Fault};
use crate::deployment::{Deployment, EnvironmentName};
use crate::plan::Policy;
use crate::report::outcome::Outcome;
use crate::report::summary::Tally;
use crate::timestamp::{self, Timestamp};
use crate::trigger::{Cause, Trigger};

/// How long one call may wait for its response.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a page that is refreshed may take: cancels wait for it, and reads of each deployment do as
/// well.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(1);

/// The limits of a run.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The time.
    pub budget: Budget,
    /// Calls in flight at once, 1 or more.
    pub concurrency: usize,
    /// How long a deployment that was cancelled is followed.
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
    /// Something that is worth a log line.
    Note(Note),
}

/// How an outcome relates to those of the same environment.
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
    budget: Budget,
    settle_timeout: Duration,
    permits: Permits,
    rate: RateLimiter,
    random: fastrand::Rng,
    /// The rules. `None` where nothing is to be cancelled.
    selection: Option<Selection<'a>>,
    /// The listing at the start, until it is complete.
    finding: Option<Finding>,
    unreached: Unreached,
    agenda: Agenda,
    /// The pages that are being refreshed.
    refreshing: BTreeSet<PageToken>,
    /// How many refreshes in a row were throttled.
    throttled_refreshes: u32,
    polls: Polls,
    /// When the wait for each deployment ends.
    ends: BTreeSet<(Timestamp, EnvironmentName)>,
    /// True if a deployment is read once instead of followed.
    reads_once: bool,
    /// True if polls were due because nothing else was left.
    is_drained: bool,
    tally: Tally,
    first_accepted: Option<Timestamp>,
    failure: Option<CallError>,
    reports: Vec<Report>,
}

impl<'a> Run<'a> {
    /// A run that cancels what the policy selects for a trigger.
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

    /// A run that reads a deployment that is being cancelled, once, and cancels nothing.
    #[must_use]
    pub fn follow(deployment: Deployment, limits: Limits, now: Timestamp) -> Self {
        let mut run = Self::empty(limits);
        run.reads_once = true;
        run.follow_once(deployment, now);
        run
    }

    fn empty(limits: Limits) -> Self {
        Self {
            budget: limits.budget,
            settle_timeout: limits.settle_timeout,
            permits: Permits::new(limits.concurrency),
            rate: RateLimiter::default(),
            random: fastrand::Rng::with_seed(limits.seed),
            selection: None,
            finding: None,
            unreached: Unreached::default(),
            agenda: Agenda::default(),
            refreshing: BTreeSet::new(),
            throttled_refreshes: 0,
            polls: Polls::default(),
            ends: BTreeSet::new(),
            reads_once: false,
            is_drained: false,
            tally: Tally::default(),
            first_accepted: None,
            failure: None,
            reports: Vec::new(),
        }
    }

    /// Returns what to do next.
    pub fn next(&mut self, now: Timestamp) -> Step {
        self.agenda.wake(now);
        self.expire(now);
        self.fail_if_unreached();
        if self.is_done() {
            return Step::Done;
        }
        self.note_drained();
        if !self.permits.is_free() {
            return Step::WaitUntil(self.next_timer(now));
        }
        match self.rate.next().filter(|at| *at > now) {
            Some(at) => Step::WaitUntil(at.min(self.next_timer(now))),
            None => match self.choose(now) {
                Some(request) => {
                    self.permits.take();
                    self.rate.call_made(now);
                    let give_up_at = self.give_up_at(&request, now);
                    Step::Call(Call {
                        request,
                        give_up_at,
                    })
                }
                None => Step::WaitUntil(self.next_timer(now)),
            },
        }
    }

    /// Applies a response.
    pub fn handle(&mut self, response: Response, now: Timestamp) {
        self.permits.give_back();
        match response.error() {
            None => {
                self.permits.call_accepted();
                self.rate.call_accepted(now);
            }
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
            Response::ReadDeployment(name, result) => match self.agenda.take(&name) {
                Some((Stage::Cancel(cancel), attempts)) => {
                    self.on_read_for_cancel(&name, cancel, attempts, result, now);
                }
                Some((Stage::Follow(followed), attempts)) => {
                    self.on_read_for_follow(&name, followed, attempts, result, now);
                }
                Some((Stage::Named | Stage::Untagged(..), _)) | None => {}
            },
            Response::Cancel(name, result) => self.on_cancel(&name, result, now),
        }
    }

    /// Takes what the run has to say since it was asked last.
    pub fn take_reports(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.reports)
    }

    /// Why nothing could be found, once the run is done.
    #[must_use]
    pub fn failure(&self) -> Option<&CallError> {
        self.failure.as_ref()
    }

    /// Returns the counts of what was found.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// When the service accepted the first cancel.
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

    fn is_done(&self) -> bool {
        self.failure.is_some() || (self.finding.is_none() && self.agenda.is_empty())
    }

    /// The calls that matter most come first. A call that is not chosen now takes no permit.
    fn choose(&mut self, now: Timestamp) -> Option<Request> {
        self.choose_confirmed(now)
            .or_else(|| self.choose_find(now))
            .or_else(|| self.choose_cancel(now))
            .or_else(|| self.choose_outcome(now))
            .or_else(|| self.choose_poll(now))
    }

    fn list(token: PageToken, purpose: ListPurpose, now: Timestamp) -> Request {
        Request::List(ListRequest {
            token,
            purpose,
            asked_at: now,
        })
    }

    fn give_up_at(&self, request: &Request, now: Timestamp) -> Timestamp {
        let (timeout, until) = match request {
            Request::List(list) => match list.purpose {
                ListPurpose::Find => (RESPONSE_TIMEOUT, self.budget.act_until),
                ListPurpose::Refresh => (REFRESH_TIMEOUT, self.budget.act_until),
                ListPurpose::Poll => (POLL_TIMEOUT, self.budget.act_until),
            },
            Request::ReadEnvironment(_) | Request::ReadTag(..) => {
                (RESPONSE_TIMEOUT, self.budget.act_until)
            }
            Request::ReadDeployment(..) => (RESPONSE_TIMEOUT, self.budget.read_until),
            Request::Cancel(_) => (RESPONSE_TIMEOUT, self.budget.cancel_until),
        };
        timestamp::later(now, timeout).map_or(until, |at| at.min(until))
    }

    /// Polls at once when all that is left is to be followed: a quick end is seen quickly.
    fn note_drained(&mut self) {
        let is_drained = self.finding.is_none() && self.agenda.is_only_followed();
        if is_drained && !self.is_drained && !self.rate.is_throttled() {
            self.poll_all();
        }
        self.is_drained = is_drained;
    }

    /// Ends what has no time left.
    fn expire(&mut self, now: Timestamp) {
        self.end_waits(now);
        if now < self.budget.act_until || self.reads_once {
            return;
        }
        if let Some(finding) = &self.finding
            && (finding.listing.at().is_some() || now >= self.budget.read_until)
        {
            self.failure.get_or_insert_with(CallError::late);
        }
        // What ends the search for one environment may admit others, whose time is over, too.
        self.expire_stages(Stage::is_searched, now);
        self.expire_stages(|stage| !stage.is_searched(), now);
    }

    fn expire_stages(&mut self, is_meant: impl Fn(&Stage) -> bool, now: Timestamp) {
        let is_last = now >= self.budget.read_until;
        let names = self.agenda.names(|stage, next| {
            let is_over = next != agenda::Next::InFlight && !stage.reads_outcome();
            is_meant(stage) && (is_last || is_over)
        });
        for name in names {
            match self.agenda.take(&name) {
                Some((Stage::Cancel(cancel), _)) => self.expire_cancel(&name, cancel, now),
                Some((Stage::Follow(followed), _)) => self.expire_followed(followed, now),
                Some((stage @ (Stage::Named | Stage::Untagged(..)), _)) => {
                    self.expire_find(&name, stage, now);
                }
                None => {}
            }
        }
    }

    /// When something is due, if no response comes before.
    fn next_timer(&self, now: Timestamp) -> Timestamp {
        let budget = &self.budget;
        let deadlines = [budget.act_until, budget.read_until];
        [
            self.agenda.next_timer(),
            self.finding.as_ref().and_then(|one| one.listing.at()),
            self.polls.next_page(),
            self.ends.first().map(|(at, _)| *at),
        ]
        .into_iter()
        .flatten()
        .chain(deadlines)
        .filter(|at| *at > now)
        .min()
        .unwrap_or(budget.publish_until)
    }
}
