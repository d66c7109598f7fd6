//! A run: list, decide, cancel, follow. A state machine that makes no calls and reads no clock.
//!
//! The driver asks [`Run::next`] what to do, makes the calls, and hands each response to
//! [`Run::handle`] as it arrives. Both are functions of what is known and of the time. Permits, the rate
//! limit, retries, freshness and deadlines are data here, so nothing can wait for what it holds itself.
//!
//! Each environment is in one stage at a time (see [`agenda`]):
//!
//! ```text
//!  a request names it        the listing shows it
//!          │                    │            │ the alarm's scope is `tagged`
//!        Named                  │         Untagged
//!          └─────────────────┬──┴────────────┘  rules 1 to 6
//!                            ▼
//!                         selected, until rule 7 admits all or none
//!                            ▼
//!                         Cancel ◀──── stale or lost: read again
//!                            │ accepted, or no longer `IN_PROGRESS`
//!                            ▼
//!                         Follow ◀──── still cancelling: poll
//!                            ▼
//!                         settled: the outcome
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

use self::agenda::{Agenda, Entry, Known, Next, Stage};
use self::find::Finding;
use self::followed::Followed;
use self::poll::Polls;
use self::rate_limiter::RateLimiter;
use self::selection::Selection;
use crate::aws::backoff::Backoff;
use crate::aws::call_error::{CallError, Fault};
use crate::deployment::{Deployment, EnvironmentName};
use crate::engine::{ReadStep, Reading};
use crate::plan::Policy;
use crate::report::outcome::{End, Outcome};
use crate::report::summary::Tally;
use crate::timestamp::{self, Timestamp};
use crate::trigger::{Cause, Trigger};

/// The timeout of a call.
pub(crate) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The time in which a call must add to an end that is known already. An end is published within a second.
const DETAILS_TIMEOUT: Duration = Duration::from_millis(800);

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
    /// The time of the last step or response.
    now: Timestamp,
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
    /// The error of the last call that reached no service. `None` if a later one has reached it.
    unreachable: Option<CallError>,
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
        let mut run = Self::empty(limits, now);
        run.selection = Some(Selection::new(trigger, policy));
        match &trigger.cause {
            Cause::Alarm(_) | Cause::Schedule => run.finding = Some(Finding::new(now)),
            Cause::Request(request) => run.begin_to_read(&request.environments),
        }
        run
    }

    /// Makes a run that reads a deployment that is being cancelled, once, and cancels nothing.
    #[must_use]
    pub fn follow(deployment: Deployment, limits: Limits, now: Timestamp) -> Self {
        let mut run = Self::empty(limits, now);
        run.reads_once = true;
        let followed = Stage::Follow(Followed::new(deployment, None, now));
        let entry = Entry::new(followed, limits.budget.read_until, now);
        run.agenda.put(entry, Next::Ready);
        run
    }

    fn empty(limits: Limits, now: Timestamp) -> Self {
        Self {
            limits,
            now,
            reads_once: false,
            random: fastrand::Rng::with_seed(limits.seed),
            in_flight: 0,
            rate: RateLimiter::default(),
            selection: None,
            finding: None,
            unreached: Some(Vec::new()),
            unreachable: None,
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
        self.now = now;
        while let Some(entry) = self.agenda.wake(now) {
            let error = entry.overdue();
            self.conclude(entry, error);
        }
        if self.is_done() {
            return Step::Done;
        }
        let limited_until = self.rate.next().filter(|at| *at > now);
        if limited_until.is_none()
            && self.in_flight < self.limits.concurrency
            && let Some(call) = self.choose()
        {
            self.in_flight += 1;
            self.rate.call_made(now);
            return Step::Call(call);
        }
        let timers = [
            self.agenda.next_timer(),
            self.finding.as_ref().and_then(|one| one.listing.at()),
            limited_until,
            Some(self.limits.budget.act_until),
        ];
        let timers = timers.into_iter().flatten().filter(|at| *at > now);
        Step::WaitUntil(timers.min().unwrap_or(self.limits.budget.publish_until))
    }

    /// Applies a response.
    pub fn handle(&mut self, response: Response, now: Timestamp) {
        self.now = now;
        self.in_flight = self.in_flight.saturating_sub(1);
        match response.error() {
            None => self.rate.call_accepted(now),
            Some(error) if error.fault == Fault::Throttled => self.rate.call_throttled(now),
            Some(_) => {}
        }
        match response.error() {
            Some(error) if error.is_without_service() => self.unreachable = Some(error.clone()),
            Some(error) if error.fault == Fault::Lost => {}
            Some(_) | None => self.unreachable = None,
        }
        let entry = response.name().and_then(|name| self.agenda.take(name));
        match (response, entry) {
            (Response::List(request, result), _) => match request.purpose {
                ListPurpose::Find => self.on_found_page(&request, result),
                ListPurpose::Refresh => self.on_refreshed_page(&request, result),
                ListPurpose::Poll => self.on_polled_page(&request, result),
            },
            (_, None) => {}
            (Response::ReadEnvironment(_, Ok(read)), Some(entry)) => {
                self.on_environment(entry, read);
            }
            (Response::ReadTag(_, Ok(step)), Some(entry)) => self.on_tag(entry, step),
            (Response::ReadDeployment(_, Ok(step)), Some(entry)) => self.on_deployment(entry, step),
            (Response::Cancel(_, Ok(current)), Some(entry)) => self.on_cancelled(entry, current),
            (Response::Cancel(_, Err(error)), Some(entry)) => self.on_cancel_error(entry, error),
            (
                Response::ReadEnvironment(_, Err(error))
                | Response::ReadTag(_, Err(error))
                | Response::ReadDeployment(_, Err(error)),
                Some(entry),
            ) => self.on_error(entry, error),
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

    /// Reports the only outcome of an environment, or its end.
    fn end(&mut self, outcome: Outcome) {
        self.report(outcome, Word::Last);
    }

    fn note(&mut self, note: Note) {
        self.reports.push(Report::Note(note));
    }

    /// Puts an environment on the agenda where its stage begins.
    fn begin(&mut self, stage: Stage, since: Timestamp) {
        let entry = Entry::new(stage, self.limits.budget.act_until, since);
        self.agenda.put(entry, Next::Ready);
    }

    /// True if nothing is left to be done, or nothing could be found.
    fn is_done(&mut self) -> bool {
        if let Some(finding) = &self.finding {
            if finding.listing.at().is_some() && self.now >= self.limits.budget.act_until {
                let late = self.unreachable_or(CallError::late());
                self.failure.get_or_insert(late);
            }
        } else if self.agenda.is_empty() {
            let unreached = self.unreached.take().into_iter().flatten().next_back();
            self.failure = self.failure.take().or(unreached.map(|(_, error)| error));
            return true;
        }
        self.failure.is_some()
    }

    /// Chooses the next call: those that matter most come first. A call that is not chosen now takes no permit.
    fn choose(&mut self) -> Option<Call> {
        let listing = self.finding.as_mut().map(|finding| &mut finding.listing);
        if let Some(token) = listing.and_then(|listing| listing.ask(self.now)) {
            return Some(self.list(token, ListPurpose::Find));
        }
        self.choose_ready().or_else(|| self.choose_poll())
    }

    fn list(&self, token: PageToken, purpose: ListPurpose) -> Call {
        let timeout = match purpose {
            ListPurpose::Find => RESPONSE_TIMEOUT,
            // What a slow listing cannot show is read by itself.
            ListPurpose::Refresh => Duration::from_secs(1),
            ListPurpose::Poll => Duration::from_secs(2),
        };
        let asked_at = self.now;
        let request = ListRequest {
            token,
            purpose,
            asked_at,
        };
        let until = self.limits.budget.act_until;
        Call::new(Request::List(request), asked_at, timeout, until)
    }

    /// Makes the call that an environment needs next.
    fn ask(&mut self, name: &EnvironmentName) -> Option<Call> {
        let mut entry = self.agenda.take(name)?;
        let (request, until) = entry.ask(&self.limits.budget, self.now);
        self.agenda.put(entry, Next::InFlight);
        Some(Call::new(request, self.now, RESPONSE_TIMEOUT, until))
    }

    /// Applies the response to the read of a deployment.
    fn on_deployment(&mut self, mut entry: Entry, step: ReadStep) {
        match step {
            ReadStep::Done(reading) => self.on_reading(entry, reading),
            ReadStep::More {
                continuation,
                known,
            } => {
                // A follow that reads once reads the deployment again anyway.
                let until =
                    timestamp::later(self.now, DETAILS_TIMEOUT).filter(|_| !self.reads_once);
                let known = known.zip(until);
                entry.known = known.map(|(reading, until)| Known { reading, until });
                entry.continuation = Some(continuation);
                entry.since = self.now;
                self.agenda.put(entry, Next::Ready);
            }
        }
    }

    fn on_reading(&mut self, entry: Entry, reading: Reading) {
        match entry.stage {
            Stage::Cancel(cancel) => self.on_reading_for_cancel(cancel, entry.backoff, reading),
            Stage::Follow(followed) => self.on_reading_for_follow(followed, entry.until, reading),
            Stage::Named(_) | Stage::Untagged(..) => {}
        }
    }

    /// Returns the error of the last call, if it reached no service and this error only says that the time
    /// was over.
    fn unreachable_or(&self, error: CallError) -> CallError {
        let is_of_the_end = self.now >= self.limits.budget.act_until
            && matches!(error.fault, Fault::Late | Fault::Lost);
        let unreachable = self.unreachable.clone().filter(|_| is_of_the_end);
        unreachable.unwrap_or(error)
    }

    /// Returns when a call that failed is made again. `None` if its error is final.
    fn again_at(
        &mut self,
        backoff: &mut Backoff,
        error: &CallError,
        until: Timestamp,
    ) -> Option<Timestamp> {
        if !error.is_transient() {
            return None;
        }
        backoff.next(self.now, until, &mut self.random)
    }

    /// Makes a call that failed again, after a wait, unless its error is final.
    fn on_error(&mut self, mut entry: Entry, error: CallError) {
        let until = entry.ends_at();
        match self.again_at(&mut entry.backoff, &error, until) {
            None => self.conclude(entry, error),
            Some(at) => {
                entry.since = self.now;
                self.agenda.put(entry, Next::At(at));
            }
        }
    }

    /// Ends a stage: its call failed for good, or its time is over. What the first calls of a read have
    /// shown counts.
    fn conclude(&mut self, mut entry: Entry, error: CallError) {
        if let Some(known) = entry.known.take() {
            return self.on_reading(entry, known.reading);
        }
        match entry.stage {
            Stage::Named(_) => self.unread(entry.stage, error),
            Stage::Untagged(..) => self.end(entry.stage.outcome(End::Error(error))),
            Stage::Cancel(cancel) => return self.give_up(cancel, error),
            Stage::Follow(followed) => return self.on_unread(followed, entry.until, error),
        }
        self.admit();
    }
}
