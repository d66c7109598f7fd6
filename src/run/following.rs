//! Following: each deployment that is being cancelled, until it settles or its time is over.
//!
//! A run follows a deployment, not an environment: the status of a newer deployment is not
//! mistaken for that of the one that was cancelled.

use super::agenda::{Entry, Next, Stage};
use super::followed::Followed;
use super::note::Note;
use super::{Run, Word};
use crate::aws::call_error::CallError;
use crate::deployment::Deployment;
use crate::engine::Reading;
use crate::report::outcome::{End, Outcome};
use crate::timestamp::{self, Timestamp};

impl Run<'_> {
    /// Begins to follow a deployment that has left `IN_PROGRESS`, or whose cancel was accepted. If its
    /// end is not known yet, `CANCELLING` is reported.
    pub(super) fn begin_to_follow(
        &mut self,
        deployment: Deployment,
        requested_at: Option<Timestamp>,
    ) {
        let act_until = self.limits.budget.act_until;
        let settled_by = timestamp::later(self.now, self.limits.settle_timeout);
        let until = settled_by.map_or(act_until, |until| until.min(act_until));
        let followed = Followed::new(deployment, requested_at, self.now);
        if End::of(&followed.deployment.status).is_none() {
            self.report(followed.clone().outcome(End::Cancelling), Word::First);
        }
        self.go_on_following(followed, until);
        if self.finding.is_none() && self.agenda.is_only_followed() {
            // Nothing else is left to be done, so a poll now shows a quick end early.
            let names = self.agenda.names(|entry| matches!(entry.next, Next::At(_)));
            self.agenda.change(names, |entry| entry.next = Next::Ready);
        }
    }

    /// Reports the end of a deployment if it has one, or waits for the next poll.
    fn go_on_following(&mut self, followed: Followed, until: Timestamp) {
        if let Some(end) = End::of(&followed.deployment.status) {
            let ended_at = followed.deployment.ended_at.unwrap_or(self.now);
            let settled_at = end.error().is_none().then_some(ended_at);
            let outcome = followed.outcome(end);
            self.end(Outcome {
                settled_at,
                ..outcome
            });
        } else if until <= self.now || self.reads_once {
            self.still_cancelling(followed);
        } else {
            let next = Next::At(followed.next_poll(self.now));
            let entry = Entry::new(Stage::Follow(followed), until, self.now);
            self.agenda.put(entry, next);
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
        until: Timestamp,
        reading: Reading,
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
                return self.end(followed.outcome(end));
            }
            Reading::Superseded => {
                self.note(Note::Superseded(followed.name()));
                return self.still_cancelling(followed);
            }
        }
        self.go_on_following(followed, until);
    }

    /// A deployment that is followed could not be read. A run tries again at the next poll, if there is
    /// one.
    pub(super) fn on_unread(&mut self, followed: Followed, until: Timestamp, error: CallError) {
        if self.reads_once || !error.is_transient() {
            return self.end(followed.outcome(End::Error(error)));
        }
        if self.now < until {
            self.note(Note::NotRead(followed.name(), error));
        }
        self.go_on_following(followed, until);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::fixture::{NOW, after, deployment, error, limits, name, shown};
    use super::*;
    use crate::aws::call_error::Fault;
    use crate::deployment::Status;
    use crate::run::{Limits, Report, Response, Step};

    #[test]
    fn a_wait_is_over_at_its_time_or_with_the_time_to_act() {
        for (settle_timeout, until) in [
            (Duration::from_secs(3), after(3000)),
            (Duration::from_hours(1), limits().budget.act_until),
        ] {
            let mut run = Run::empty(
                Limits {
                    settle_timeout,
                    ..limits()
                },
                NOW,
            );
            run.begin_to_follow(deployment("net"), Some(NOW));
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
                [Report::Outcome(outcome, Word::Unchanged)]
                    if outcome.end == End::Cancelling
            ));
        }
    }

    const UNTIL: u64 = 60_000;

    /// Returns a run that follows until its time is over, or one that reads once.
    fn run(reads_once: bool) -> Run<'static> {
        Run {
            reads_once,
            ..Run::empty(limits(), NOW)
        }
    }

    /// Returns the reports, each by its name or code, and whether the deployment is followed on.
    fn result(run: &mut Run<'_>) -> (Vec<String>, bool) {
        let reports = run.take_reports().into_iter().map(|report| match report {
            Report::Note(_) => "note".to_owned(),
            Report::Outcome(outcome, word) => {
                let is_settled = outcome.settled_at.is_some();
                let end = outcome.end.error().map(|error| error.code.as_str());
                let end = end.unwrap_or(outcome.end.name());
                format!("{end} {word:?}{}", if is_settled { " settled" } else { "" })
            }
        });
        (reports.collect(), run.agenda.take(&name("net")).is_some())
    }

    #[test]
    fn a_reading_ends_the_wait_or_does_not() {
        let of = |status| Reading::Of(Box::new(shown("d-net", status)));
        let hit_newer = || Reading::HitNewer {
            meant: Box::new(shown("d-net", Status::Succeeded)),
            newer: Box::new(shown("d-2", Status::Cancelling)),
        };
        let other = || of(Status::Other("DELETE_FAILED".to_owned()));
        let cases: [(bool, Reading, &[&str], bool); 10] = [
            (false, of(Status::Cancelling), &[], true),
            (false, of(Status::Failed), &["FAILED Last settled"], false),
            (false, other(), &["UnexpectedStatus Last"], false),
            (false, hit_newer(), &["note"], true),
            (
                false,
                Reading::Superseded,
                &["note", "CANCELLING Unchanged"],
                false,
            ),
            (
                true,
                of(Status::Cancelling),
                &["CANCELLING Unchanged"],
                false,
            ),
            (
                true,
                of(Status::Cancelled),
                &["CANCELLED Last settled"],
                false,
            ),
            (true, other(), &["UnexpectedStatus Last"], false),
            (true, hit_newer(), &["note", "CANCELLING Unchanged"], false),
            (true, Reading::Superseded, &["Superseded Last"], false),
        ];
        for (reads_once, reading, reports, goes_on) in cases {
            let case = format!("{reads_once} {reading:?}");
            let mut run = run(reads_once);
            let followed = Followed::new(deployment("net"), None, NOW);
            run.on_reading_for_follow(followed, after(UNTIL), reading);
            let expected = reports.iter().map(|report| (*report).to_owned()).collect();
            assert_eq!(result(&mut run), (expected, goes_on), "{case}");
        }
    }

    #[test]
    fn a_deployment_is_looked_for_on_pages_again_once_its_start_has_moved() {
        for (moved_start, is_unlisted) in [(None, true), (Some(after(5)), false)] {
            let mut run = run(false);
            let mut followed = Followed::new(deployment("net"), None, NOW);
            followed.is_unlisted = true;
            let seen = Deployment {
                status: Status::Cancelling,
                moved_start,
                ..deployment("net")
            };
            run.on_reading_for_follow(followed, after(UNTIL), Reading::Of(Box::new(seen)));
            let entry = run.agenda.take(&name("net")).unwrap();
            let Stage::Follow(followed) = entry.stage else {
                panic!("the deployment is followed");
            };
            assert_eq!(followed.is_unlisted, is_unlisted, "{moved_start:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_polled_again_while_there_is_time() {
        let cases: [(bool, Fault, u64, &[&str], bool); 5] = [
            (false, Fault::Lost, UNTIL - 1, &["note"], true),
            (false, Fault::Lost, UNTIL, &["CANCELLING Unchanged"], false),
            (false, Fault::Refused, 0, &["code Last"], false),
            (true, Fault::Lost, 0, &["code Last"], false),
            (true, Fault::Refused, 0, &["code Last"], false),
        ];
        for (reads_once, fault, now, reports, goes_on) in cases {
            let mut run = run(reads_once);
            run.now = after(now);
            let followed = Followed::new(deployment("net"), None, NOW);
            run.on_unread(followed, after(UNTIL), error(fault, "code"));
            let expected = reports.iter().map(|report| (*report).to_owned()).collect();
            let case = format!("{reads_once} {fault:?} {now}");
            assert_eq!(result(&mut run), (expected, goes_on), "{case}");
        }
    }
}
