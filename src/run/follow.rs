//! Following: each deployment that is being cancelled, until it settles or its time is over.
//!
//! A run follows a deployment, not an environment: the status of a newer deployment is not
//! mistaken for that of the one that was cancelled.

use std::time::Duration;

use super::agenda::{Attempts, Next, Stage};
use super::note::Note;
use super::read::{DeploymentRead, ReadProgress};
use super::{Run, Word};
use crate::aws::call_error::CallError;
use crate::deployment::{Deployment, EnvironmentName};
use crate::engine::{ReadStep, Reading};
use crate::report::outcome::{End, Outcome, Subject};
use crate::timestamp::{self, Timestamp};

/// The wait before the first poll of a deployment.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The same where the service throttles, so that polls do not crowd out cancels.
const FIRST_THROTTLED_WAIT: Duration = Duration::from_millis(250);

/// The longest wait between two polls of a deployment.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A deployment that is being cancelled.
#[derive(Debug)]
pub(super) struct Followed {
    /// The deployment as it was last read.
    pub(super) deployment: Deployment,
    /// When this run asked for the cancel, if it did.
    requested_at: Option<Timestamp>,
    /// The deployment that was reported first.
    subject: Subject,
    since: Timestamp,
    until: Timestamp,
    pub(super) read: DeploymentRead,
    /// True if the listing does not show it: it is read by itself.
    pub(super) is_unlisted: bool,
}

impl Followed {
    /// The outcome of following it no further.
    fn outcome(self, end: End, settled_at: Option<Timestamp>) -> Outcome {
        Outcome {
            cancel_requested_at: self.requested_at,
            settled_at,
            subject: self.subject,
            ..Outcome::without_cancel(self.deployment, end)
        }
    }
}

impl Run<'_> {
    /// Begins to follow a deployment that has left `IN_PROGRESS`, or whose cancel was accepted. If its
    /// end is not known yet, people hear that it is being cancelled.
    pub(super) fn begin_to_follow(
        &mut self,
        deployment: Deployment,
        requested_at: Option<Timestamp>,
        now: Timestamp,
    ) {
        let until = timestamp::later(now, self.settle_timeout)
            .map_or(self.budget.act_until, |until| {
                until.min(self.budget.act_until)
            });
        let followed = Followed {
            subject: Subject::of(&deployment),
            deployment,
            requested_at,
            since: now,
            until,
            read: DeploymentRead::default(),
            is_unlisted: false,
        };
        if End::of(&followed.deployment.status).is_none() {
            let outcome = Outcome {
                cancel_requested_at: requested_at,
                ..Outcome::without_cancel(followed.deployment.clone(), End::Cancelling)
            };
            self.report(outcome, Word::First);
        }
        self.go_on_following(followed, now);
    }

    /// Starts at a deployment that is being cancelled already, to read it once.
    pub(super) fn follow_once(&mut self, deployment: Deployment, now: Timestamp) {
        let name = deployment.environment.name.clone();
        let until = self.budget.read_until;
        let followed = Followed {
            subject: Subject::of(&deployment),
            deployment,
            requested_at: None,
            since: now,
            until,
            read: DeploymentRead::default(),
            is_unlisted: true,
        };
        self.ends.insert((until, name.clone()));
        let stage = Stage::Follow(followed);
        self.agenda
            .put(name, stage, Attempts::none(now), Next::Ready);
    }

    /// Reports the end of a deployment if it has one, or waits for the next poll.
    pub(super) fn go_on_following(&mut self, followed: Followed, now: Timestamp) {
        if let Some(end) = End::of(&followed.deployment.status) {
            let ended_at = followed.deployment.ended_at.unwrap_or(now);
            let settled_at = end.error().is_none().then_some(ended_at);
            self.report(followed.outcome(end, settled_at), Word::Last);
        } else if followed.until <= now || self.reads_once {
            self.still_cancelling(followed);
        } else {
            let name = followed.deployment.environment.name.clone();
            self.ends.insert((followed.until, name.clone()));
            let next = Next::At(self.next_poll(&followed, now));
            let stage = Stage::Follow(followed);
            self.agenda.put(name, stage, Attempts::none(now), next);
        }
    }

    /// The waits between polls grow with the time that a deployment takes.
    fn next_poll(&self, followed: &Followed, now: Timestamp) -> Timestamp {
        let first = if self.rate.is_throttled() {
            FIRST_THROTTLED_WAIT
        } else {
            FIRST_WAIT
        };
        let wait = (now - followed.since).unsigned_abs() / 2;
        timestamp::later(now, wait.clamp(first, LONGEST_WAIT)).unwrap_or(now)
    }

    /// Ends the wait for a deployment. Its last word is `CANCELLING`, which was published.
    pub(super) fn still_cancelling(&mut self, followed: Followed) {
        self.report(followed.outcome(End::Cancelling, None), Word::Unchanged);
    }

    /// Applies a reading of a deployment that is followed, by the listing or by itself.
    pub(super) fn seen(&mut self, mut followed: Followed, seen: Deployment, now: Timestamp) {
        let before = followed.deployment.moved_start;
        followed.deployment = followed.deployment.seen_again(seen);
        if followed.deployment.moved_start != before {
            // The listing can be told by what identifies it now.
            followed.is_unlisted = false;
        }
        self.go_on_following(followed, now);
    }

    /// Applies the response to the read of a deployment that is followed.
    pub(super) fn on_read_for_follow(
        &mut self,
        name: &EnvironmentName,
        mut followed: Followed,
        attempts: Attempts,
        result: Result<ReadStep, CallError>,
        now: Timestamp,
    ) {
        let until = followed.until;
        match followed.read.progress(result, now, until, &mut self.random) {
            ReadProgress::Again(next) => {
                let stage = Stage::Follow(followed);
                self.agenda.put(name.clone(), stage, attempts, next);
            }
            ReadProgress::Done(reading) => self.read_followed(name, followed, reading, now),
            // Whoever comes again need not settle for what the first calls have shown.
            ReadProgress::Failed(_, Some(reading)) if !self.reads_once => {
                self.read_followed(name, followed, reading, now);
            }
            ReadProgress::Failed(error, None) if error.is_transient() && !self.reads_once => {
                self.note(Note::NotRead(name.clone(), error));
                self.go_on_following(followed, now);
            }
            ReadProgress::Failed(error, _) => {
                self.report(followed.outcome(End::Error(error), None), Word::Last);
            }
        }
    }

    /// Applies the reading of a deployment that is followed.
    fn read_followed(
        &mut self,
        name: &EnvironmentName,
        mut followed: Followed,
        reading: Reading,
        now: Timestamp,
    ) {
        match reading {
            Reading::Of(seen) => self.seen(followed, *seen, now),
            Reading::HitNewer { meant, newer } => {
                self.note(Note::hit_newer(&meant, &newer));
                followed.deployment = *newer;
                self.go_on_following(followed, now);
            }
            Reading::Superseded if self.reads_once => {
                let end = End::Error(CallError::superseded());
                self.report(followed.outcome(end, None), Word::Last);
            }
            Reading::Superseded => {
                self.note(Note::Superseded(name.clone()));
                self.still_cancelling(followed);
            }
        }
    }

    /// Ends the wait for a deployment. An end that the first calls of a read have shown counts.
    pub(super) fn expire_followed(&mut self, mut followed: Followed, now: Timestamp) {
        match followed.read.known() {
            Some(Reading::Of(seen)) if End::of(&seen.status).is_some() && !self.reads_once => {
                followed.read = DeploymentRead::default();
                self.seen(followed, *seen, now);
            }
            _ if self.reads_once => {
                let end = End::Error(CallError::late());
                self.report(followed.outcome(end, None), Word::Last);
            }
            _ => self.still_cancelling(followed),
        }
    }

    /// Ends the wait for every deployment whose time is over. That costs no calls.
    pub(super) fn end_waits(&mut self, now: Timestamp) {
        while let Some((until, name)) = self.ends.pop_first() {
            if until > now {
                self.ends.insert((until, name));
                return;
            }
            let is_followed = self.agenda.get(&name).is_some_and(
                |(stage, _, _)| matches!(stage, Stage::Follow(followed) if followed.until <= now),
            );
            if is_followed && let Some((Stage::Follow(followed), _)) = self.agenda.take(&name) {
                self.expire_followed(followed, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{NOW, after, deployment, limits};
    use super::*;
    use crate::run::Report;

    fn followed() -> Followed {
        Followed {
            subject: Subject::default(),
            deployment: deployment("net"),
            requested_at: None,
            since: NOW,
            until: after(60_000),
            read: DeploymentRead::default(),
            is_unlisted: false,
        }
    }

    #[test]
    fn the_waits_between_polls_grow_by_half_up_to_ten_seconds() {
        let mut run = Run::empty(limits());
        for (since, wait, throttled) in [
            (0, 100, 250),
            (200, 100, 250),
            (202, 101, 250),
            (600, 300, 300),
            (20_000, 10_000, 10_000),
            (90_000, 10_000, 10_000),
        ] {
            let next = run.next_poll(&followed(), after(since));
            assert_eq!(next, after(since + wait));
            let mut slow = Run::empty(limits());
            slow.rate.call_throttled(NOW);
            let next = slow.next_poll(&followed(), after(since));
            assert_eq!(next, after(since + throttled));
        }
        assert_eq!(run.take_reports(), []);
    }

    #[test]
    fn a_wait_is_over_at_its_time_or_with_the_time_to_act() {
        for (settle_timeout, until) in [
            (Duration::from_secs(3), after(3000)),
            (Duration::from_hours(1), limits().budget.act_until),
        ] {
            let mut run = Run::empty(limits());
            run.settle_timeout = settle_timeout;
            run.begin_to_follow(deployment("net"), Some(NOW), NOW);
            assert_eq!(run.ends.first().map(|(at, _)| *at), Some(until));
            run.take_reports();
            run.end_waits(until - Duration::from_nanos(1));
            assert_eq!(run.take_reports(), []);
            run.end_waits(until);
            assert!(matches!(
                run.take_reports().as_slice(),
                [Report::Outcome(outcome, Word::Unchanged)] if outcome.end == End::Cancelling
            ));
            assert!(run.agenda.is_empty());
        }
    }
}
