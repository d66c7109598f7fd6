//! The agenda: every environment that a run is not done with, each in one stage and with one next step.

use std::collections::{BTreeMap, BTreeSet};

use super::Budget;
use super::call::{PageToken, Request};
use super::cancel::{Cancel, Phase};
use super::followed::Followed;
use super::selection::Candidate;
use crate::aws::backoff::Backoff;
use crate::aws::call_error::CallError;
use crate::deployment::{Deployment, Environment, EnvironmentName};
use crate::engine::{Continuation, Reading, TagPage};
use crate::report::outcome::{End, Outcome};
use crate::timestamp::Timestamp;

/// The stage of an environment in a run.
#[derive(Debug)]
pub(super) enum Stage {
    /// A request names it, and it is to be read.
    Named(EnvironmentName),
    /// Its tag is to be read. The page continues a read that takes several calls.
    Untagged(Candidate, Option<TagPage>),
    /// Its deployment is to be cancelled.
    Cancel(Cancel),
    /// Its deployment is being cancelled.
    Follow(Followed),
}

impl Stage {
    /// Returns the deployment as it was last read, or the environment's name if none was read yet.
    fn deployment(&self) -> Result<&Deployment, &EnvironmentName> {
        match self {
            Self::Named(name) => Err(name),
            Self::Untagged(candidate, _) => Ok(&candidate.deployment),
            Self::Cancel(cancel) => Ok(&cancel.candidate.deployment),
            Self::Follow(followed) => Ok(&followed.deployment),
        }
    }

    /// Returns the outcome of an environment that the run is done with.
    pub(super) fn outcome(self, end: End) -> Outcome {
        match self {
            Self::Named(name) => Outcome::unread(Environment::named(name), end),
            Self::Untagged(candidate, _) => candidate.outcome(end),
            Self::Cancel(cancel) => cancel.outcome(end),
            Self::Follow(followed) => followed.outcome(end),
        }
    }
}

/// An environment on the agenda.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) stage: Stage,
    /// When it is up next.
    pub(super) next: Next,
    /// When the time for this stage is over.
    pub(super) until: Timestamp,
    /// When the last call was made or, if none is under way, when its response arrived. A page that is
    /// asked for from then on shows a later state.
    pub(super) since: Timestamp,
    /// The retries of its calls.
    pub(super) backoff: Backoff,
    /// The continuation of a multi-call read.
    pub(super) continuation: Option<Continuation>,
    /// The end that the first calls of the read have shown. `None` if they have shown none.
    pub(super) known: Option<Known>,
}

/// An end that the first calls of a read have shown.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) reading: Reading,
    /// When it is reported without the other calls.
    pub(super) until: Timestamp,
}

/// The order in which calls are made where permits are few: what is undecided comes first, then the
/// oldest deployment. A deployment whose start is unknown comes last.
type Order = (bool, bool, Option<Timestamp>);

/// The environments that are ready, in order.
type Ready = BTreeSet<(Order, EnvironmentName)>;

impl Entry {
    pub(super) fn new(stage: Stage, until: Timestamp, since: Timestamp) -> Self {
        Self {
            stage,
            next: Next::Ready,
            until,
            since,
            backoff: Backoff::default(),
            continuation: None,
            known: None,
        }
    }

    pub(super) fn name(&self) -> &EnvironmentName {
        let deployment = self.stage.deployment();
        deployment.map_or_else(|name| name, |one| &one.environment.name)
    }

    /// Returns the call to make now, and when the time for it is over.
    pub(super) fn ask(&mut self, budget: &Budget, now: Timestamp) -> (Request, Timestamp) {
        self.since = now;
        let continuation = self.continuation.clone();
        let request = match &mut self.stage {
            Stage::Cancel(cancel) => {
                let (request, until) = cancel.ask(continuation, budget, now);
                return (request, self.unless_known(until));
            }
            Stage::Named(name) => Request::ReadEnvironment(name.clone()),
            Stage::Untagged(candidate, page) => {
                Request::ReadTag(candidate.deployment.environment.clone(), page.clone())
            }
            Stage::Follow(followed) => {
                Request::ReadDeployment(Box::new(followed.deployment.clone()), continuation)
            }
        };
        (request, self.ends_at())
    }

    /// Returns the error to report if the time for the stage is over: that of the last attempt at a cancel.
    /// If only a read is missing, the retry of the event makes it.
    pub(super) fn overdue(&self) -> CallError {
        match &self.stage {
            Stage::Cancel(cancel) if cancel.phase == Phase::Due => cancel.failure.clone(),
            Stage::Named(_) | Stage::Untagged(..) | Stage::Cancel(_) | Stage::Follow(_) => {
                CallError::late()
            }
        }
    }

    /// Returns the page that can refresh a stale reading before a cancel.
    pub(super) fn stale_page(&self, now: Timestamp) -> Option<&PageToken> {
        match &self.stage {
            // A read that is under way goes on.
            Stage::Cancel(cancel) if self.continuation.is_none() => cancel.stale_page(now),
            Stage::Named(_) | Stage::Untagged(..) | Stage::Cancel(_) | Stage::Follow(_) => None,
        }
    }

    /// Returns when the time for its stage is over or, if earlier, that for its read.
    pub(super) fn ends_at(&self) -> Timestamp {
        self.unless_known(self.until)
    }

    /// Returns this time or, if earlier, when a known end is reported.
    fn unless_known(&self, until: Timestamp) -> Timestamp {
        self.known
            .as_ref()
            .map_or(until, |known| known.until.min(until))
    }

    /// Returns when it is due: at the time of its next call or, if earlier, when its time is over. `None`
    /// while a call is under way: its response comes first.
    fn timer(&self) -> Option<Timestamp> {
        match self.next {
            Next::Ready | Next::Listed => Some(self.ends_at()),
            Next::At(at) => Some(at.min(self.ends_at())),
            Next::InFlight => None,
        }
    }

    /// True if a read is under way: a call of it, or the wait for the next one.
    pub(super) fn is_being_read(&self) -> bool {
        self.next == Next::InFlight || self.continuation.is_some()
    }

    /// True if no read is under way, and no call was at `time` or later.
    pub(super) fn is_settled_since(&self, time: Timestamp) -> bool {
        !self.is_being_read() && self.since <= time
    }

    /// True if rules 1 to 6 have not decided of it yet.
    fn is_undecided(&self) -> bool {
        matches!(self.stage, Stage::Named(_) | Stage::Untagged(..))
    }

    fn is_followed(&self) -> bool {
        matches!(self.stage, Stage::Follow(_))
    }

    fn order(&self) -> Order {
        let started_at = self.stage.deployment().ok().and_then(|one| one.started_at);
        (!self.is_undecided(), started_at.is_none(), started_at)
    }
}

/// When an environment is up next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Up as soon as there is a permit.
    Ready,
    /// Not before this time.
    At(Timestamp),
    /// Its call is under way.
    InFlight,
    /// The listing is read for it.
    Listed,
}

/// The environments by name, by time and by order. Each change goes through [`Agenda::put`] and
/// [`Agenda::take`], so that the three never differ.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    entries: BTreeMap<EnvironmentName, Entry>,
    ready: Ready,
    /// The followed environments that are ready. Their calls come last.
    polls: Ready,
    timers: BTreeSet<(Timestamp, EnvironmentName)>,
    undecided: usize,
    followed: usize,
}

impl Agenda {
    /// Puts an environment on the agenda.
    pub(super) fn put(&mut self, mut entry: Entry, next: Next) {
        entry.next = next;
        let name = entry.name().clone();
        if next == Next::Ready {
            let ready = self.ready_with(entry.is_followed());
            ready.insert((entry.order(), name.clone()));
        }
        let timer = entry.timer().map(|at| (at, name.clone()));
        self.timers.extend(timer);
        self.undecided += usize::from(entry.is_undecided());
        self.followed += usize::from(entry.is_followed());
        self.entries.insert(name, entry);
    }

    /// Takes an environment off the agenda.
    pub(super) fn take(&mut self, name: &EnvironmentName) -> Option<Entry> {
        let entry = self.entries.remove(name)?;
        let ready = self.ready_with(entry.is_followed());
        ready.remove(&(entry.order(), name.clone()));
        if let Some(at) = entry.timer() {
            self.timers.remove(&(at, name.clone()));
        }
        self.undecided -= usize::from(entry.is_undecided());
        self.followed -= usize::from(entry.is_followed());
        Some(entry)
    }

    /// Returns the names of the environments that meet a condition.
    pub(super) fn names(&self, is_meant: impl Fn(&Entry) -> bool) -> Vec<EnvironmentName> {
        let meant = self.entries().filter(|entry| is_meant(entry));
        meant.map(|entry| entry.name().clone()).collect()
    }

    /// Changes these environments.
    pub(super) fn change(&mut self, names: Vec<EnvironmentName>, change: impl Fn(&mut Entry)) {
        for name in names {
            if let Some(mut entry) = self.take(&name) {
                change(&mut entry);
                let next = entry.next;
                self.put(entry, next);
            }
        }
    }

    /// Makes ready what is up by now. Takes the first environment whose time is over, if there is one.
    pub(super) fn wake(&mut self, now: Timestamp) -> Option<Entry> {
        while let Some((at, name)) = self.timers.first().cloned()
            && at <= now
        {
            let entry = self.take(&name)?;
            if entry.ends_at() <= now {
                return Some(entry);
            }
            self.put(entry, Next::Ready);
        }
        None
    }

    /// Returns when the next timer is due.
    pub(super) fn next_timer(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Returns the environments that are ready and not followed yet, in order.
    pub(super) fn ready(&self) -> impl Iterator<Item = &Entry> {
        let ready = self.ready.iter();
        ready.filter_map(|(_, name)| self.entries.get(name))
    }

    /// Returns the followed environments that are to be polled, in order.
    pub(super) fn polls(&self) -> impl Iterator<Item = &Entry> {
        let polls = self.polls.iter();
        polls.filter_map(|(_, name)| self.entries.get(name))
    }

    fn ready_with(&mut self, is_followed: bool) -> &mut Ready {
        if is_followed {
            &mut self.polls
        } else {
            &mut self.ready
        }
    }

    /// Returns all environments.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// Returns the number of environments that rules 1 to 6 have not decided yet.
    pub(super) fn undecided(&self) -> usize {
        self.undecided
    }

    /// True if all that is left is followed.
    pub(super) fn is_only_followed(&self) -> bool {
        self.followed == self.entries.len()
    }

    /// True if the run is done with every environment.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{NOW, after, candidate, deployment, error, name};
    use super::*;
    use crate::aws::call_error::Fault;
    use crate::deployment::Deployment;

    const UNTIL: u64 = 1000;

    fn put(agenda: &mut Agenda, stage: Stage, next: Next) {
        agenda.put(Entry::new(stage, after(UNTIL), NOW), next);
    }

    fn named(environment: &str) -> Stage {
        Stage::Named(name(environment))
    }

    fn cancel(environment: &str, started_at: Option<Timestamp>) -> Stage {
        Stage::Cancel(Cancel::new(candidate(Deployment {
            started_at,
            ..deployment(environment)
        })))
    }

    fn follow(environment: &str) -> Stage {
        let deployment = deployment(environment);
        Stage::Follow(Followed::new(deployment, None, NOW))
    }

    fn ready(agenda: &Agenda) -> Vec<&str> {
        let ready = agenda.ready().chain(agenda.polls());
        ready.map(|entry| entry.name().as_str()).collect()
    }

    #[test]
    fn reads_that_decide_come_before_cancels_and_polls_come_last() {
        let untagged = Stage::Untagged(candidate(deployment("a")), None);
        for undecided in [named("a"), untagged] {
            let mut agenda = Agenda::default();
            put(&mut agenda, follow("c"), Next::Ready);
            put(&mut agenda, cancel("b", None), Next::Ready);
            put(&mut agenda, undecided, Next::Ready);
            assert_eq!(ready(&agenda), ["a", "b", "c"]);
            assert_eq!(agenda.undecided(), 1);
        }
    }

    #[test]
    fn the_oldest_deployment_comes_first_and_an_unknown_start_last() {
        let mut agenda = Agenda::default();
        put(&mut agenda, cancel("a", None), Next::Ready);
        put(&mut agenda, cancel("b", Some(after(2))), Next::Ready);
        put(&mut agenda, cancel("c", Some(after(1))), Next::Ready);
        assert_eq!(ready(&agenda), ["c", "b", "a"]);
    }

    #[test]
    fn a_timer_wakes_an_environment_at_its_time_and_not_before() {
        let mut agenda = Agenda::default();
        put(&mut agenda, named("a"), Next::At(after(10)));
        put(&mut agenda, named("b"), Next::At(after(20)));
        assert!(agenda.wake(after(9)).is_none());
        assert_eq!(ready(&agenda), Vec::<&str>::new());
        assert_eq!(agenda.next_timer(), Some(after(10)));
        assert!(agenda.wake(after(10)).is_none());
        assert_eq!(ready(&agenda), ["a"]);
        assert_eq!(agenda.next_timer(), Some(after(20)));
    }

    #[test]
    fn what_has_no_time_left_is_taken_unless_its_call_is_under_way() {
        for (next, is_over) in [
            (Next::Ready, true),
            (Next::Listed, true),
            (Next::At(after(9000)), true),
            (Next::InFlight, false),
        ] {
            let mut agenda = Agenda::default();
            put(&mut agenda, follow("a"), next);
            assert!(agenda.wake(after(UNTIL - 1)).is_none(), "{next:?}");
            assert_eq!(agenda.wake(after(UNTIL)).is_some(), is_over, "{next:?}");
            assert_eq!(agenda.is_empty(), is_over, "{next:?}");
        }
    }

    #[test]
    fn what_is_taken_is_neither_ready_nor_woken() {
        let mut agenda = Agenda::default();
        put(&mut agenda, named("a"), Next::Ready);
        put(&mut agenda, named("b"), Next::At(after(10)));
        for one in ["a", "b"] {
            assert!(agenda.take(&name(one)).is_some());
            assert!(agenda.take(&name(one)).is_none());
        }
        assert!(agenda.wake(after(9000)).is_none());
        assert_eq!(ready(&agenda), Vec::<&str>::new());
        assert_eq!(agenda.next_timer(), None);
        assert_eq!(agenda.undecided(), 0);
        assert!(agenda.is_empty());
    }

    #[test]
    fn an_end_that_is_known_comes_before_the_end_of_the_stages_time() {
        for (known, due) in [(None, UNTIL), (Some(5), 5), (Some(2000), UNTIL)] {
            let mut agenda = Agenda::default();
            let entry = Entry {
                known: known.map(|until| Known {
                    reading: Reading::Superseded,
                    until: after(until),
                }),
                ..Entry::new(follow("a"), after(UNTIL), NOW)
            };
            agenda.put(entry, Next::At(after(UNTIL)));
            assert!(agenda.wake(after(due - 1)).is_none(), "{known:?}");
            let entry = agenda.wake(after(due)).unwrap();
            assert_eq!(entry.until, after(UNTIL), "the wait for its end goes on");
        }
    }

    #[test]
    fn a_read_that_is_under_way_waits_for_no_page() {
        let candidate = Candidate::new(deployment("a"), NOW, Some(PageToken::FIRST));
        let stage = Stage::Cancel(Cancel::new(candidate));
        let mut entry = Entry::new(stage, after(UNTIL), NOW);
        assert_eq!(entry.stale_page(after(9000)), Some(&PageToken::FIRST));
        entry.continuation = Some(Continuation::refused(error(Fault::Refused, "refused")));
        assert_eq!(entry.stale_page(after(9000)), None);
    }

    #[test]
    fn a_page_is_later_if_no_read_was_under_way_since_it_was_asked_for() {
        let is_later = |next, asked_at| {
            let entry = Entry::new(cancel("a", None), after(UNTIL), NOW);
            let mut entry = Entry { next, ..entry };
            let is_later = entry.is_settled_since(asked_at);
            let error = error(Fault::Refused, "refused");
            entry.continuation = Some(Continuation::refused(error));
            assert!(!entry.is_settled_since(asked_at), "a read is under way");
            is_later
        };
        let before = NOW - std::time::Duration::from_nanos(1);
        assert!(is_later(Next::Ready, NOW));
        assert!(!is_later(Next::Ready, before));
        assert!(!is_later(Next::InFlight, after(10)));
    }

    #[test]
    fn what_is_only_followed_is_known_whatever_comes_and_goes() {
        let mut agenda = Agenda::default();
        put(&mut agenda, follow("a"), Next::Ready);
        put(&mut agenda, follow("b"), Next::InFlight);
        assert!(agenda.is_only_followed());
        put(&mut agenda, cancel("c", None), Next::Ready);
        assert!(!agenda.is_only_followed());
        for one in ["b", "c"] {
            agenda.take(&name(one));
        }
        assert!(agenda.is_only_followed());
    }

    #[test]
    fn a_cancel_whose_time_is_over_reports_the_error_of_its_last_attempt() {
        let failure = || CallError::unanswered(std::time::Duration::ZERO);
        let late = CallError::late;
        for (phase, error) in [
            (Phase::Due, failure()),
            (Phase::Conflict, late()),
            (Phase::GivenUp, late()),
        ] {
            let cancel = Stage::Cancel(Cancel {
                phase,
                failure: failure(),
                ..Cancel::new(candidate(deployment("a")))
            });
            let entry = Entry::new(cancel, after(UNTIL), NOW);
            assert_eq!(entry.overdue(), error, "{phase:?}");
        }
        let entry = Entry::new(named("a"), after(UNTIL), NOW);
        assert_eq!(entry.overdue(), late());
    }
}
