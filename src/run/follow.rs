//! Following: each deployment that is being cancelled, until it settles or its time is over.
//!
//! A run follows a deployment, not an environment: the status of a newer deployment is not
//! mistaken for that of the one that was cancelled.

use std::time::Duration;

use super::agenda::{Entry, Next, Stage};
use super::note::Note;
use super::{Run, Word};
use crate::aws::call_error::CallError;
use crate::deployment::{Deployment, Status};
use crate::engine::Reading;
use crate::report::outcome::{End, Outcome, Subject};
use crate::timestamp::{self, Timestamp};

/// The wait before the first poll of a deployment.
const FIRST_WAIT: Duration = Duration::from_millis(100);

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
    /// True if the listing does not show it: it is read by itself.
    pub(super) is_unlisted: bool,
}

impl Followed {
    pub(super) fn new(
        deployment: Deployment,
        requested_at: Option<Timestamp>,
        until: Timestamp,
        now: Timestamp,
    ) -> Self {
        Self {
            subject: Subject::of(&deployment),
            deployment,
            requested_at,
            since: now,
            until,
            is_unlisted: false,
        }
    }

    /// True if a page of the listing shows news of the deployment. A status that means nothing for a
    /// deployment may be its environment's. A read that is under way is left to its response unless the
    /// page shows the end.
    pub(super) fn is_shown_by(&self, shown: &Deployment, next: Next) -> bool {
        let is_over = !matches!(shown.status, Status::InProgress | Status::Cancelling);
        shown.is_same_as(&self.deployment)
            && !matches!(shown.status, Status::Other(_))
            && (is_over || next != Next::InFlight)
    }

    /// Returns the outcome if the deployment is followed no further.
    pub(super) fn outcome(self, end: End) -> Outcome {
        Outcome {
            cancel_requested_at: self.requested_at,
            subject: self.subject,
            ..Outcome::without_cancel(self.deployment, end)
        }
    }

    /// Returns when to poll next. The waits grow with the time that a deployment takes.
    fn next_poll(&self, now: Timestamp) -> Timestamp {
        let wait = (now - self.since).unsigned_abs() / 2;
        timestamp::later(now, wait.clamp(FIRST_WAIT, LONGEST_WAIT)).unwrap_or(now)
    }
}

impl Run<'_> {
    /// Begins to follow a deployment that has left `IN_PROGRESS`, or whose cancel was accepted. If its
    /// end is not known yet, `CANCELLING` is reported.
    pub(super) fn begin_to_follow(
        &mut self,
        deployment: Deployment,
        requested_at: Option<Timestamp>,
        now: Timestamp,
    ) {
        let act_until = self.limits.budget.act_until;
        let until = timestamp::later(now, self.limits.settle_timeout)
            .map_or(act_until, |until| until.min(act_until));
        let followed = Followed::new(deployment, requested_at, until, now);
        if End::of(&followed.deployment.status).is_none() {
            let outcome = Outcome {
                cancel_requested_at: requested_at,
                ..Outcome::without_cancel(followed.deployment.clone(), End::Cancelling)
            };
            self.report(outcome, Word::First);
        }
        self.go_on_following(followed, now);
        if self.finding.is_none() && self.agenda.is_only_followed() {
            // Nothing else is left to be done, so a poll now shows a quick end early.
            self.poll_all();
        }
    }

    /// Reports the end of a deployment if it has one, or waits for the next poll.
    fn go_on_following(&mut self, followed: Followed, now: Timestamp) {
        if let Some(end) = End::of(&followed.deployment.status) {
            let ended_at = followed.deployment.ended_at.unwrap_or(now);
            let settled_at = end.error().is_none().then_some(ended_at);
            let outcome = followed.outcome(end);
            self.report(
                Outcome {
                    settled_at,
                    ..outcome
                },
                Word::Last,
            );
        } else if followed.until <= now || self.reads_once {
            self.still_cancelling(followed);
        } else {
            let (next, until) = (followed.next_poll(now), followed.until);
            let entry = Entry::new(Stage::Follow(followed), until, now);
            self.agenda.put(entry, Next::At(next));
        }
    }

    /// Ends the wait for a deployment. Its last word is `CANCELLING`, which was published.
    fn still_cancelling(&mut self, followed: Followed) {
        self.report(followed.outcome(End::Cancelling), Word::Unchanged);
    }

    /// Applies a reading of a deployment that is followed, by the listing or by itself.
    pub(super) fn on_reading_for_follow(
        &mut self,
        mut followed: Followed,
        reading: Reading,
        now: Timestamp,
    ) {
        match reading {
            Reading::Of(seen) => {
                let before = followed.deployment.moved_start;
                followed.deployment = followed.deployment.seen_again(*seen);
                // If the start has changed, the listing may identify the deployment again.
                followed.is_unlisted &= followed.deployment.moved_start == before;
            }
            Reading::HitNewer { meant, newer } => {
                self.note(Note::hit_newer(&meant, &newer));
                followed.deployment = *newer;
            }
            Reading::Superseded if self.reads_once => {
                let end = End::Error(CallError::superseded());
                return self.report(followed.outcome(end), Word::Last);
            }
            Reading::Superseded => {
                let name = followed.deployment.environment.name.clone();
                self.note(Note::Superseded(name));
                return self.still_cancelling(followed);
            }
        }
        self.go_on_following(followed, now);
    }

    /// A deployment that is followed could not be read. A run tries again at the next poll.
    pub(super) fn on_unread_for_follow(
        &mut self,
        followed: Followed,
        error: CallError,
        now: Timestamp,
    ) {
        if error.is_transient() && !self.reads_once {
            let name = followed.deployment.environment.name.clone();
            self.note(Note::NotRead(name, error));
            self.go_on_following(followed, now);
        } else {
            self.report(followed.outcome(End::Error(error)), Word::Last);
        }
    }

    /// Ends the wait for a deployment. An end that the first calls of a read have shown counts.
    pub(super) fn expire_followed(
        &mut self,
        followed: Followed,
        known: Option<Reading>,
        now: Timestamp,
    ) {
        match known {
            Some(reading @ Reading::Of(_)) if !self.reads_once => {
                self.on_reading_for_follow(followed, reading, now);
            }
            _ if self.reads_once => {
                self.report(followed.outcome(End::Error(CallError::late())), Word::Last);
            }
            _ => self.still_cancelling(followed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{NOW, after, deployment, limits, name};
    use super::*;
    use crate::run::{Limits, Report, Response, Step};

    #[test]
    fn the_waits_between_polls_grow_by_half_up_to_ten_seconds() {
        let followed = Followed::new(deployment("net"), None, after(60_000), NOW);
        for (since, wait) in [
            (0, 100),
            (200, 100),
            (202, 101),
            (600, 300),
            (20_000, 10_000),
            (90_000, 10_000),
        ] {
            assert_eq!(followed.next_poll(after(since)), after(since + wait));
        }
    }

    #[test]
    fn a_page_shows_news_of_the_followed_deployment_only() {
        let followed = Followed::new(deployment("net"), None, after(60_000), NOW);
        let is_shown = |id: &str, status, next| {
            let shown = Deployment {
                id: Some(id.to_owned()),
                status,
                ..deployment("net")
            };
            followed.is_shown_by(&shown, next)
        };
        assert!(is_shown("d-net", Status::Cancelling, Next::Listed));
        assert!(is_shown("d-net", Status::Failed, Next::InFlight));
        assert!(!is_shown("d-net", Status::Cancelling, Next::InFlight));
        assert!(!is_shown("d-2", Status::Failed, Next::Listed));
        let other = Status::Other("DELETE_IN_PROGRESS".to_owned());
        assert!(!is_shown("d-net", other, Next::Listed));
    }

    #[test]
    fn a_wait_is_over_at_its_time_or_with_the_time_to_act() {
        for (settle_timeout, until) in [
            (Duration::from_secs(3), after(3000)),
            (Duration::from_hours(1), limits().budget.act_until),
        ] {
            let mut run = Run::empty(Limits {
                settle_timeout,
                ..limits()
            });
            run.begin_to_follow(deployment("net"), Some(NOW), NOW);
            run.take_reports();
            let Step::Call(poll) = run.next(until - Duration::from_nanos(1)) else {
                panic!("there is time for another poll");
            };
            assert_eq!(poll.give_up_at, until);
            let unanswered = Err(CallError::unanswered(Duration::ZERO));
            run.handle(Response::ReadDeployment(name("net"), unanswered), until);
            assert!(matches!(run.next(until), Step::Done));
            assert!(matches!(
                run.take_reports().as_slice(),
                [Report::Note(Note::NotRead(..)), Report::Outcome(outcome, Word::Unchanged)]
                    if outcome.end == End::Cancelling
            ));
        }
    }
}
