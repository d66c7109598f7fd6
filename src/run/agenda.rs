//! The agenda: every environment that a run is not done with, each in one stage and with one next step.

use std::collections::{BTreeMap, BTreeSet};

use super::cancel::Cancel;
use super::follow::Followed;
use super::selection::Candidate;
use crate::aws::backoff::Backoff;
use crate::deployment::EnvironmentName;
use crate::engine::TagPage;
use crate::timestamp::Timestamp;

/// The attempts at the call that an environment needs next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempts {
    pub(super) backoff: Backoff,
    /// When the call was made that is under way, or was last.
    pub(super) asked_at: Timestamp,
}

impl Attempts {
    /// No attempt was made.
    pub(super) fn none(now: Timestamp) -> Self {
        Self {
            backoff: Backoff::default(),
            asked_at: now,
        }
    }
}

/// How far a run is with an environment.
#[derive(Debug)]
pub(super) enum Stage {
    /// A request names it, and it is to be read.
    Named,
    /// Its tag is to be read. The page continues a read that takes several calls.
    Untagged(Candidate, Option<TagPage>),
    /// Its deployment is to be cancelled.
    Cancel(Cancel),
    /// Its deployment is being cancelled.
    Follow(Followed),
}

impl Stage {
    fn priority(&self) -> Priority {
        match self {
            Self::Named | Self::Untagged(..) => Priority::Find,
            Self::Cancel(cancel) => cancel.priority(),
            Self::Follow(_) => Priority::Poll,
        }
    }

    fn order(&self) -> Order {
        let deployment = match self {
            Self::Named => return (false, None),
            Self::Untagged(candidate, _) => &candidate.deployment,
            Self::Cancel(cancel) => &cancel.candidate.deployment,
            Self::Follow(followed) => &followed.deployment,
        };
        (deployment.started_at.is_none(), deployment.started_at)
    }

    fn is_followed(&self) -> bool {
        matches!(self, Self::Follow(_))
    }

    /// True if the rules have not decided of it yet.
    pub(super) fn is_searched(&self) -> bool {
        matches!(self, Self::Named | Self::Untagged(..))
    }

    /// True if what is left is to read what became of a cancel: there is time for that after the time
    /// to act.
    pub(super) fn reads_outcome(&self) -> bool {
        self.priority() == Priority::Outcome
    }
}

/// The order of cancellation: the oldest deployment first, one whose start is unknown last.
type Order = (bool, Option<Timestamp>);

/// The order in which calls take permits where permits are few.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Priority {
    /// A cancel whose deployment was just read: the reading must not become stale.
    Confirmed,
    /// A read that decides what is to be cancelled.
    Find,
    /// A cancel.
    Cancel,
    /// A read that tells what became of a cancel.
    Outcome,
    /// A poll.
    Poll,
}

/// When an environment is up next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// As soon as there is a permit.
    Ready,
    /// Not before this time.
    At(Timestamp),
    /// Its call is under way.
    InFlight,
    /// The listing is read for it.
    Listed,
}

#[derive(Debug)]
struct Scheduled {
    stage: Stage,
    attempts: Attempts,
    next: Next,
    /// The place among those that are ready.
    place: (Priority, Order),
}

/// The environments by name, by time and by priority. Each change goes through [`Agenda::put`] and
/// [`Agenda::take`], so that the three never differ.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    entries: BTreeMap<EnvironmentName, Scheduled>,
    ready: BTreeMap<Priority, BTreeSet<(Order, EnvironmentName)>>,
    timers: BTreeSet<(Timestamp, EnvironmentName)>,
    followed: usize,
}

impl Agenda {
    /// Puts an environment on the agenda.
    pub(super) fn put(
        &mut self,
        name: EnvironmentName,
        stage: Stage,
        attempts: Attempts,
        next: Next,
    ) {
        let (priority, order) = (stage.priority(), stage.order());
        match next {
            Next::Ready => {
                let ready = self.ready.entry(priority).or_default();
                ready.insert((order, name.clone()));
            }
            Next::At(at) => {
                self.timers.insert((at, name.clone()));
            }
            Next::InFlight | Next::Listed => {}
        }
        self.followed += usize::from(stage.is_followed());
        let scheduled = Scheduled {
            stage,
            attempts,
            next,
            place: (priority, order),
        };
        self.entries.insert(name, scheduled);
    }

    /// Takes an environment off the agenda.
    pub(super) fn take(&mut self, name: &EnvironmentName) -> Option<(Stage, Attempts)> {
        let scheduled = self.entries.remove(name)?;
        self.followed -= usize::from(scheduled.stage.is_followed());
        let (priority, order) = scheduled.place;
        match scheduled.next {
            Next::Ready => {
                if let Some(ready) = self.ready.get_mut(&priority) {
                    ready.remove(&(order, name.clone()));
                }
            }
            Next::At(at) => {
                self.timers.remove(&(at, name.clone()));
            }
            Next::InFlight | Next::Listed => {}
        }
        Some((scheduled.stage, scheduled.attempts))
    }

    /// Puts an environment where it is up next, as it is.
    pub(super) fn reschedule(&mut self, name: &EnvironmentName, next: Next) {
        if let Some((stage, attempts)) = self.take(name) {
            self.put(name.clone(), stage, attempts, next);
        }
    }

    /// Makes ready what is up by now.
    pub(super) fn wake(&mut self, now: Timestamp) {
        while let Some((at, name)) = self.timers.first().cloned()
            && at <= now
        {
            self.timers.pop_first();
            self.reschedule(&name, Next::Ready);
        }
    }

    /// Returns when the next timer is due.
    pub(super) fn next_timer(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// The environments that are ready with this priority, in order.
    pub(super) fn ready(
        &self,
        priority: Priority,
    ) -> impl Iterator<Item = (&EnvironmentName, &Stage)> {
        let ready = self.ready.get(&priority).into_iter().flatten();
        ready.filter_map(|(_, name)| Some((name, &self.entries.get(name)?.stage)))
    }

    /// The first environment that is ready with this priority.
    pub(super) fn first_ready(&self, priority: Priority) -> Option<EnvironmentName> {
        self.ready(priority).next().map(|(name, _)| name.clone())
    }

    /// The names of the environments that meet a condition.
    pub(super) fn names(&self, is_meant: impl Fn(&Stage, Next) -> bool) -> Vec<EnvironmentName> {
        let meant = self.entries.iter();
        let meant = meant.filter(|(_, one)| is_meant(&one.stage, one.next));
        meant.map(|(name, _)| name.clone()).collect()
    }

    /// How many environments meet a condition.
    pub(super) fn count(&self, is_meant: impl Fn(&Stage, Attempts, Next) -> bool) -> usize {
        let all = self.entries.values();
        all.filter(|one| is_meant(&one.stage, one.attempts, one.next))
            .count()
    }

    /// An environment, with the attempts at its call and when it is up next.
    pub(super) fn get(&self, name: &EnvironmentName) -> Option<(&Stage, Attempts, Next)> {
        let scheduled = self.entries.get(name)?;
        Some((&scheduled.stage, scheduled.attempts, scheduled.next))
    }

    /// The cancels that are not under way. A change must not touch what their priority is made of.
    pub(super) fn waiting_cancels(
        &mut self,
    ) -> impl Iterator<Item = (&EnvironmentName, &mut Cancel)> {
        let entries = self.entries.iter_mut();
        entries.filter_map(
            |(name, scheduled)| match (&mut scheduled.stage, scheduled.next) {
                (Stage::Cancel(cancel), Next::Ready | Next::At(_)) => Some((name, cancel)),
                (Stage::Named | Stage::Untagged(..) | Stage::Cancel(_) | Stage::Follow(_), _) => {
                    None
                }
            },
        )
    }

    /// The cancel of an environment. A change must not touch what its priority is made of.
    pub(super) fn cancel(&mut self, name: &EnvironmentName) -> Option<&mut Cancel> {
        match &mut self.entries.get_mut(name)?.stage {
            Stage::Cancel(cancel) => Some(cancel),
            Stage::Named | Stage::Untagged(..) | Stage::Follow(_) => None,
        }
    }

    /// True if all that is left is to be followed.
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
    use super::super::fixture::{NOW, after, candidate, deployment, name};
    use super::*;
    use crate::deployment::Deployment;

    fn cancel(environment: &str, started_at: Option<Timestamp>) -> Stage {
        Stage::Cancel(Cancel::new(candidate(Deployment {
            started_at,
            ..deployment(environment)
        })))
    }

    fn put(agenda: &mut Agenda, environment: &str, stage: Stage, next: Next) {
        agenda.put(name(environment), stage, Attempts::none(NOW), next);
    }

    fn ready(agenda: &Agenda, priority: Priority) -> Vec<&str> {
        let ready = agenda.ready(priority);
        ready.map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn the_oldest_deployment_comes_first_and_an_unknown_start_last() {
        let mut agenda = Agenda::default();
        put(&mut agenda, "a", cancel("a", None), Next::Ready);
        put(&mut agenda, "b", cancel("b", Some(after(2))), Next::Ready);
        put(&mut agenda, "c", cancel("c", Some(after(1))), Next::Ready);
        assert_eq!(ready(&agenda, Priority::Cancel), ["c", "b", "a"]);
        assert_eq!(agenda.first_ready(Priority::Cancel), Some(name("c")));
        assert_eq!(agenda.first_ready(Priority::Outcome), None);
    }

    #[test]
    fn what_is_to_be_found_comes_before_cancels_and_polls_come_last() {
        use Priority::{Cancel, Confirmed, Find, Outcome, Poll};
        assert!([Confirmed, Find, Cancel, Outcome, Poll].is_sorted());
        assert_eq!(Stage::Named.priority(), Find);
        let untagged = Stage::Untagged(candidate(deployment("a")), None);
        assert_eq!(untagged.priority(), Find);
        assert_eq!(cancel("a", None).priority(), Cancel);
        assert!(!cancel("a", None).reads_outcome());
    }

    #[test]
    fn a_timer_wakes_an_environment_at_its_time_and_not_before() {
        let mut agenda = Agenda::default();
        put(&mut agenda, "a", Stage::Named, Next::At(after(10)));
        put(&mut agenda, "b", Stage::Named, Next::At(after(20)));
        assert_eq!(agenda.next_timer(), Some(after(10)));
        agenda.wake(after(9));
        assert_eq!(ready(&agenda, Priority::Find), Vec::<&str>::new());
        agenda.wake(after(10));
        assert_eq!(ready(&agenda, Priority::Find), ["a"]);
        assert_eq!(agenda.next_timer(), Some(after(20)));
    }

    #[test]
    fn what_is_taken_is_neither_ready_nor_woken() {
        let mut agenda = Agenda::default();
        put(&mut agenda, "a", Stage::Named, Next::Ready);
        put(&mut agenda, "b", Stage::Named, Next::At(after(10)));
        for one in ["a", "b"] {
            assert!(agenda.take(&name(one)).is_some());
            assert!(agenda.take(&name(one)).is_none());
        }
        agenda.wake(after(10));
        assert_eq!(ready(&agenda, Priority::Find), Vec::<&str>::new());
        assert_eq!(agenda.next_timer(), None);
        assert!(agenda.is_empty() && agenda.is_only_followed());
    }

    #[test]
    fn a_call_under_way_is_not_ready_until_it_is_rescheduled() {
        let mut agenda = Agenda::default();
        put(&mut agenda, "a", cancel("a", None), Next::InFlight);
        assert_eq!(agenda.first_ready(Priority::Cancel), None);
        assert_eq!(agenda.waiting_cancels().count(), 0);
        assert!(agenda.cancel(&name("a")).is_some());
        agenda.reschedule(&name("a"), Next::Ready);
        assert_eq!(agenda.first_ready(Priority::Cancel), Some(name("a")));
        assert_eq!(agenda.waiting_cancels().count(), 1);
        assert!(!agenda.is_only_followed() && !agenda.is_empty());
        let is_ready = |_: &Stage, next: Next| next == Next::Ready;
        assert_eq!(agenda.names(is_ready), [name("a")]);
        assert_eq!(agenda.count(|_, _, next| next == Next::InFlight), 0);
        assert_eq!(agenda.count(|_, _, next| next == Next::Ready), 1);
    }
}
