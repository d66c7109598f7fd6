//! The state of one update, read from its stack and the stack's events.
//!
//! [`Deployment::is_same_as`] decides first which update the stack shows. If the start time has changed,
//! there are two possible reasons. Another update has started, or the rollback of this update has changed
//! `LastUpdatedTime`: CloudFormation does not document that the time stays. Then the events decide. If
//! they show no other update, the stack's reading is taken for this update.
//!
//! A cancel that arrives too late hits a newer update. The events of the newer update's rollback have
//! the cancel's token.

use time::Duration;

use crate::aws::call_error::{CallError, Fault};
use crate::deployment::{Deployment, Status};
use crate::engine::Reading;
use crate::timestamp::Timestamp;

/// The longest time from an update's first event to the stack's `LastUpdatedTime`.
const EARLIEST: Duration = Duration::seconds(5);

/// The longest time from the stack's `LastUpdatedTime` to the event of the update's start.
const LATEST: Duration = Duration::seconds(30);

/// The distance from `LastUpdatedTime` within which only one update can start.
const EXACT: Duration = Duration::milliseconds(500);

/// The relation of a stack's latest update to a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Identity {
    /// The update is the deployment.
    Same,
    /// Another one has started.
    Other,
    /// The update may be the deployment, if the rollback has moved the time of the last update.
    Uncertain,
}

impl Identity {
    /// Compares a deployment with what its stack shows now.
    fn of(deployment: &Deployment, shown: &Deployment) -> Self {
        if shown.is_same_as(deployment) {
            return Self::Same;
        }
        let is_known = deployment.id.is_some() || deployment.started_at.is_some();
        match &shown.status {
            _ if shown.given_id().is_some() && deployment.given_id().is_some() => Self::Other,
            Status::InProgress | Status::Succeeded => Self::Other,
            // The deployment has no ID and no start that could have changed.
            Status::Cancelling | Status::Cancelled | Status::Failed if !is_known => Self::Same,
            Status::Cancelling | Status::Cancelled | Status::Failed | Status::Other(_) => {
                Self::Uncertain
            }
        }
    }
}

/// True if an update ends with this status.
fn has_ended(status: &Status) -> bool {
    match status {
        Status::Cancelled | Status::Failed | Status::Succeeded => true,
        Status::InProgress | Status::Cancelling | Status::Other(_) => false,
    }
}

/// An event of the stack itself.
#[derive(Clone, Debug)]
pub(super) struct Event {
    /// The stack's status at that time.
    pub(super) status: Status,
    /// The event's status reason.
    pub(super) message: Option<String>,
    /// The time of the event.
    pub(super) at: Option<Timestamp>,
    /// The operation that the event belongs to.
    pub(super) operation: Option<String>,
    /// The token of the request that caused the event.
    pub(super) token: Option<String>,
}

/// The course of an update, as its events show it.
#[derive(Clone, Debug, Default)]
struct Course {
    /// The newest status of the update.
    status: Option<Status>,
    /// When the update reached that status.
    since: Option<Timestamp>,
    /// The newest status reason, that of the rollback's start excluded.
    words: Option<String>,
    /// The reason why the update began to roll back.
    rollback_reason: Option<String>,
    /// The token of the first event of the rollback.
    rollback_token: Option<String>,
}

impl Course {
    /// Applies an event. Each event is older than the one before.
    fn began_with(&mut self, event: Event) {
        match event.status {
            Status::Other(_) => return,
            // Events come newest first: the rollback's first event comes last.
            Status::Cancelling => {
                self.rollback_token = event.token.or(self.rollback_token.take());
                self.rollback_reason = event.message.or(self.rollback_reason.take());
            }
            Status::InProgress | Status::Cancelled | Status::Failed | Status::Succeeded => {
                self.words = self.words.take().or(event.message);
            }
        }
        let status = self.status.get_or_insert_with(|| event.status.clone());
        if *status == event.status {
            self.since = event.at.or(self.since);
        }
    }

    /// Returns why the update rolled back, then the status reason of its end. An automatic rollback has
    /// the update's own token.
    fn message(&self, start: Option<&Start>) -> Option<String> {
        let begun_by = start.and_then(|start| start.token.as_ref());
        let has_failed = self.rollback_token.is_some() && self.rollback_token.as_ref() == begun_by;
        let reason = self.rollback_reason.clone().or_else(|| {
            has_failed.then(|| "the update failed by itself and was rolled back".to_owned())
        });
        if self.status == Some(Status::Cancelled) {
            rolled_back(reason, self.words.clone())
        } else {
            joined(reason, self.words.clone())
        }
    }
}

/// Returns the message of an update that was rolled back: why, then the status reason of its end. That
/// reason alone can mislead: "Update successful. One or more resources could not be deleted.".
fn rolled_back(reason: Option<String>, words: Option<String>) -> Option<String> {
    let is_misleading = |words: &String| words.starts_with("Update successful");
    let reason = reason.or_else(|| {
        let words = words.as_ref().filter(|words| is_misleading(words));
        words.map(|_| "the update was rolled back".to_owned())
    });
    joined(reason, words)
}

fn joined(reason: Option<String>, words: Option<String>) -> Option<String> {
    match (reason, words) {
        (Some(reason), Some(words)) if reason != words => Some(format!("{reason}; {words}")),
        (reason, words) => reason.or(words),
    }
}

/// The start of an update, and the course that followed.
#[derive(Clone, Debug)]
struct Start {
    operation: Option<String>,
    token: Option<String>,
    at: Option<Timestamp>,
    course: Course,
}

impl Start {
    /// True if the event repeats this start. CloudFormation may write more than one event for a start.
    fn is_repeated_by(&self, event: &Event) -> bool {
        match (&self.operation, &event.operation) {
            (Some(one), Some(other)) => one == other,
            (None, _) | (_, None) => true,
        }
    }

    /// Returns how far the start is from another time. `None` if the two are too far apart.
    fn distance(&self, time: Option<Timestamp>) -> Option<Duration> {
        let distance = self.at? - time?;
        (-EARLIEST..=LATEST)
            .contains(&distance)
            .then(|| distance.abs())
    }
}

/// A search for an update in its stack's events.
#[derive(Clone, Debug)]
pub(super) struct Search {
    identity: Identity,
    deployment: Deployment,
    /// The stack's latest update as the stack shows it.
    shown: Deployment,
    /// The token of this deployment's cancel.
    token: String,
    /// The updates whose start was read, newest first.
    starts: Vec<Start>,
    /// The course of the update whose start is still to be read.
    course: Course,
    /// True if the last event was a start.
    is_at_start: bool,
}

impl Search {
    /// Begins the search for a deployment. `shown` is what the stack shows, `token` that of the
    /// deployment's cancel.
    pub(super) fn new(deployment: &Deployment, shown: Deployment, token: String) -> Self {
        Self {
            identity: Identity::of(deployment, &shown),
            deployment: deployment.clone(),
            shown,
            token,
            starts: Vec::new(),
            course: Course::default(),
            is_at_start: false,
        }
    }

    /// Returns the stack's reading with the identity of the deployment.
    fn seen(&self) -> Deployment {
        Deployment {
            id: self.deployment.id.clone(),
            started_at: self.deployment.started_at,
            moved_start: self.deployment.moved_start,
            ..self.shown.clone()
        }
    }

    /// Returns the deployment as the stack shows it. `None` if events are needed to identify it.
    pub(super) fn known(&self) -> Option<Reading> {
        let is_known =
            self.identity == Identity::Same && !matches!(self.shown.status, Status::Other(_));
        is_known.then(|| {
            let seen = self.seen();
            // An earlier reading has the reason of the rollback.
            let reason = self.deployment.message.clone();
            let reason = reason.filter(|_| self.deployment.status == Status::Cancelling);
            let message = if seen.status == Status::Cancelled {
                rolled_back(reason, seen.message.clone())
            } else {
                seen.message.clone()
            };
            Reading::Of(Box::new(Deployment { message, ..seen }))
        })
    }

    /// Adds the next event, newest first. Returns true if no more are needed.
    pub(super) fn add(&mut self, event: Event) -> bool {
        if self.is_past(&event) {
            return true;
        }
        if event.status != Status::InProgress {
            self.is_at_start = false;
            self.course.began_with(event);
            return false;
        }
        match self.starts.last_mut().filter(|_| self.is_at_start) {
            Some(start) if start.is_repeated_by(&event) => start.at = event.at.or(start.at),
            Some(_) | None => self.starts.push(Start {
                operation: event.operation,
                token: event.token,
                at: event.at,
                course: std::mem::take(&mut self.course),
            }),
        }
        self.is_at_start = true;
        self.is_found()
    }

    /// True if the event belongs to an earlier update. Then so do all older events.
    fn is_past(&self, event: &Event) -> bool {
        let started = event.at.zip(self.deployment.started_at);
        started.is_some_and(|(at, started)| at < started.saturating_sub(EARLIEST))
    }

    /// True if the last start is certainly that of the deployment.
    fn is_found(&self) -> bool {
        let Some(start) = self.starts.last() else {
            return false;
        };
        let is_wanted = |wanted: &str| start.operation.as_deref() == Some(wanted);
        let is_exact = start
            .distance(self.deployment.started_at)
            .is_some_and(|distance| distance <= EXACT);
        self.deployment.given_id().is_some_and(is_wanted)
            || is_exact
            // The deployment is the latest update, whose events come first.
            || self.identity == Identity::Same && self.deployment.given_id().is_none()
    }

    /// Returns the index of the deployment among the updates that were read. Events may have IDs of
    /// another kind than the stack's. If no start has the deployment's ID, the time decides.
    fn place(&self) -> Option<usize> {
        let wanted = self.deployment.given_id();
        let is_wanted = |start: &Start| wanted.is_some() && start.operation.as_deref() == wanted;
        if let Some(place) = self.starts.iter().position(is_wanted) {
            return Some(place);
        }
        if self.identity == Identity::Same && !self.starts.is_empty() {
            return Some(0);
        }
        let distances = self.starts.iter().enumerate();
        let distances = distances.filter_map(|(place, start)| {
            Some((start.distance(self.deployment.started_at)?, place))
        });
        distances.min().map(|(_, place)| place)
    }

    /// Returns the state of the deployment, from the stack and the events that were added.
    pub(super) fn reading(&self) -> Result<Reading, CallError> {
        let place = self.place();
        let start = place.and_then(|place| self.starts.get(place));
        let is_followed = place.unwrap_or(self.starts.len()) > 0;
        let course = match (start, self.identity) {
            (Some(start), _) => start.course.clone(),
            // No event shows this start, or a later one.
            (None, Identity::Same) if !is_followed => self.course.clone(),
            (None, Identity::Same | Identity::Other | Identity::Uncertain) => Course::default(),
        };
        let seen = self.seen();
        let ended = course.status.clone().filter(has_ended);
        match (self.identity, ended) {
            // Events may lag behind the stack.
            (Identity::Same, Some(ended)) if has_ended(&seen.status) && ended != seen.status => {}
            (_, Some(status)) => {
                let meant = Box::new(Deployment {
                    status,
                    message: course.message(start),
                    ended_at: course.since,
                    ..seen
                });
                return Ok(match self.hit_newer(place) {
                    Some(newer) => Reading::HitNewer { meant, newer },
                    None => Reading::Of(meant),
                });
            }
            (Identity::Other, None) if start.is_some() && !is_followed => return Err(behind()),
            (Identity::Other, None) => return Ok(Reading::Superseded),
            (Identity::Uncertain, None) if is_followed => return Ok(Reading::Superseded),
            (Identity::Same | Identity::Uncertain, None) => {}
        }
        self.of_the_stack(seen, &course, start)
    }

    /// Returns the deployment as the stack shows it, if no event shows its end.
    fn of_the_stack(
        &self,
        seen: Deployment,
        course: &Course,
        start: Option<&Start>,
    ) -> Result<Reading, CallError> {
        if seen.status.as_str() == "DELETE_COMPLETE" {
            return Err(deleted());
        }
        // Once events show this update's rollback, it is certain that the rollback changed the start.
        let has_moved = self.identity == Identity::Uncertain && course.status.is_some();
        let moved_start = self.shown.started_at.filter(|_| has_moved);
        Ok(Reading::Of(Box::new(Deployment {
            message: course.message(start).or(seen.message),
            moved_start: moved_start.or(seen.moved_start),
            ..seen
        })))
    }

    /// Returns the stack's latest update if the deployment's cancel has hit it. The events of that
    /// update's rollback then have the cancel's token.
    fn hit_newer(&self, place: Option<usize>) -> Option<Box<Deployment>> {
        let meant = self.starts.get(place?)?;
        let newest = self.starts.first().filter(|_| place > Some(0))?;
        let is_ours = |start: &Start| start.course.rollback_token.as_ref() == Some(&self.token);
        let is_undone = match &self.shown.status {
            Status::Cancelling | Status::Cancelled | Status::Failed => true,
            Status::InProgress | Status::Succeeded | Status::Other(_) => false,
        };
        if !is_ours(newest) || is_ours(meant) || !is_undone {
            return None;
        }
        let course = &newest.course;
        let is_in_events = course.status.as_ref() == Some(&self.shown.status);
        Some(Box::new(Deployment {
            // The rollback may have changed the start that the stack shows.
            started_at: newest.at.or(self.shown.started_at),
            id: newest.operation.clone().or_else(|| self.shown.id.clone()),
            message: course
                .message(Some(newest))
                .or_else(|| self.shown.message.clone()),
            ended_at: course
                .since
                .filter(|_| is_in_events && has_ended(&self.shown.status)),
            ..self.shown.clone()
        }))
    }
}

/// Returns the error that CloudFormation returns for an unknown stack name.
fn deleted() -> CallError {
    CallError {
        fault: Fault::NotFound,
        code: "ValidationError".to_owned(),
        message: "the stack was deleted".to_owned(),
    }
}

/// Returns the error for events that lag behind the stack.
fn behind() -> CallError {
    CallError {
        fault: Fault::Lost,
        code: "IncompleteAnswer".to_owned(),
        message:
            "another update has started, and the stack's events do not show yet how this one ended"
                .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::{Environment, EnvironmentName, NameRule, derived_id};

    fn time(seconds: f64) -> Timestamp {
        let start = Timestamp::from_unix_timestamp(1_795_415_150).unwrap();
        start + std::time::Duration::from_secs_f64(seconds)
    }

    /// Returns a reading of a stack. Without an operation, its ID is derived from its time.
    fn reading(operation: Option<&str>, updated: Option<f64>, status: Status) -> Deployment {
        let name = EnvironmentName::parse("net", NameRule::CloudFormation).unwrap();
        let arn = "arn:aws:cloudformation:eu-west-1:1:stack/net/0f";
        let started_at = updated.map(time);
        Deployment {
            environment: Environment {
                arn: Some(arn.to_owned()),
                ..Environment::named(name)
            },
            id: operation
                .map(str::to_owned)
                .or_else(|| derived_id(arn, started_at?)),
            started_at,
            status,
            message: None,
            ended_at: None,
            moved_start: None,
        }
    }

    fn event(at: f64, status: Status) -> Event {
        Event {
            status,
            message: None,
            at: Some(time(at)),
            operation: None,
            token: None,
        }
    }

    fn of(operation: &str, event: Event) -> Event {
        Event {
            operation: Some(operation.to_owned()),
            ..event
        }
    }

    fn searched(
        deployment: &Deployment,
        seen: &Deployment,
        events: impl IntoIterator<Item = Event>,
    ) -> Result<Reading, CallError> {
        let mut search = Search::new(deployment, seen.clone(), "ours".to_owned());
        for event in events {
            if search.add(event) {
                break;
            }
        }
        search.reading()
    }

    /// Returns the status of the deployment itself.
    fn status(reading: Result<Reading, CallError>) -> Result<Status, String> {
        match reading {
            Ok(Reading::Of(seen) | Reading::HitNewer { meant: seen, .. }) => Ok(seen.status),
            Ok(Reading::Superseded) => Err("superseded".to_owned()),
            Err(error) => Err(error.code),
        }
    }

    use Status::{Cancelled, Cancelling, Failed, InProgress, Succeeded};

    #[test]
    fn if_both_readings_have_an_operation_id_it_alone_decides() {
        let first = reading(Some("a"), Some(0.0), InProgress);
        let of =
            |operation, updated, status| Identity::of(&first, &reading(operation, updated, status));
        assert_eq!(of(Some("a"), Some(9.0), Cancelling), Identity::Same);
        assert_eq!(of(Some("b"), Some(0.0), Cancelling), Identity::Other);
        assert_eq!(of(None, Some(0.0), InProgress), Identity::Same);
        assert_eq!(of(None, Some(9.0), InProgress), Identity::Other);
        assert_eq!(of(None, Some(9.0), Cancelling), Identity::Uncertain);
    }

    #[test]
    fn if_one_reading_has_no_operation_id_the_time_of_the_last_update_decides() {
        let first = reading(None, Some(0.0), InProgress);
        let of =
            |operation, updated, status| Identity::of(&first, &reading(operation, updated, status));
        assert_eq!(of(None, Some(0.0), Cancelled), Identity::Same);
        assert_eq!(of(Some("a"), Some(0.0), InProgress), Identity::Same);
        assert_eq!(of(None, Some(9.0), InProgress), Identity::Other);
        assert_eq!(of(None, Some(9.0), Succeeded), Identity::Other);
        assert_eq!(of(None, Some(9.0), Cancelled), Identity::Uncertain);
        let timeless = reading(None, None, InProgress);
        let again = reading(None, None, Cancelling);
        assert_eq!(Identity::of(&timeless, &again), Identity::Same);
    }

    #[test]
    fn an_update_that_starts_a_moment_later_is_another() {
        let first = reading(Some("a"), Some(0.0), InProgress);
        let second = reading(Some("b"), Some(2.0), InProgress);
        let events = [
            event(2.1, InProgress),
            event(1.5, Cancelled),
            event(1.0, Cancelling),
            event(0.1, InProgress),
        ];
        let by_id = events.clone().into_iter().zip(["b", "r", "r", "a"]);
        let by_id = by_id.map(|(event, operation)| of(operation, event));
        assert_eq!(status(searched(&first, &second, by_id)), Ok(Cancelled));
        let first = reading(None, Some(0.0), InProgress);
        for (now, ended) in [
            (InProgress, None),
            (Succeeded, Some(Succeeded)),
            (Failed, Some(Failed)),
        ] {
            let second = reading(None, Some(2.0), now);
            let end = ended.map(|status| event(2.5, status));
            let events = end.into_iter().chain(events.clone());
            assert_eq!(status(searched(&first, &second, events)), Ok(Cancelled));
        }
    }

    #[test]
    fn a_rollback_that_moves_the_time_is_of_the_same_update() {
        let first = reading(None, Some(0.0), InProgress);
        let rolling = reading(None, Some(60.0), Cancelling);
        let start = event(0.1, InProgress);
        let begun = event(60.0, Cancelling);
        let read = |events: Vec<Event>| status(searched(&first, &rolling, events));
        assert_eq!(read(vec![begun.clone(), start.clone()]), Ok(Cancelling));
        // The start's event is late, occurs twice, or is missing.
        assert_eq!(
            read(vec![begun.clone(), event(6.0, InProgress)]),
            Ok(Cancelling)
        );
        let twice = vec![begun.clone(), event(20.0, InProgress), start.clone()];
        assert_eq!(read(twice), Ok(Cancelling));
        assert_eq!(read(vec![begun]), Ok(Cancelling));
        assert_eq!(read(vec![start]), Ok(Cancelling));
        assert_eq!(read(vec![]), Ok(Cancelling));
    }

    #[test]
    fn a_changed_start_is_found_in_the_events_only_once() {
        let first = reading(None, Some(0.0), InProgress);
        let rolling = reading(None, Some(60.0), Cancelling);
        let moved = |events: Vec<Event>| match searched(&first, &rolling, events) {
            Ok(Reading::Of(read)) => *read,
            other => panic!("{other:?}"),
        };
        let start = event(0.1, InProgress);
        assert_eq!(moved(vec![start.clone()]).moved_start, None);
        let read = moved(vec![event(60.0, Cancelling), start]);
        assert_eq!(read.moved_start, Some(time(60.0)));
        assert_eq!(Identity::of(&read, &rolling), Identity::Same);
        let later = reading(None, Some(90.0), Cancelling);
        assert_eq!(Identity::of(&read, &later), Identity::Uncertain);
    }

    #[test]
    fn the_rollback_of_another_update_is_not_this_ones() {
        let first = reading(None, Some(0.0), InProgress);
        let rolling = reading(None, Some(60.0), Cancelling);
        let later = [event(60.0, Cancelling), event(50.0, InProgress)];
        assert_eq!(
            status(searched(&first, &rolling, later.clone())),
            Err("superseded".to_owned())
        );
        let events = later.into_iter().chain([
            event(40.0, Cancelled),
            event(30.0, Cancelling),
            event(0.1, InProgress),
        ]);
        let read = searched(&first, &rolling, events);
        // The other update's ID would be derived from a time that its rollback may have changed.
        assert!(matches!(read, Ok(Reading::Of(_))));
        assert_eq!(status(read), Ok(Cancelled));
    }

    #[test]
    fn events_that_lag_behind_the_stack_contradict_nothing() {
        let first = reading(None, Some(100.0), InProgress);
        let before = [event(40.0, Succeeded), event(0.0, InProgress)];
        let ended = reading(None, Some(100.0), Cancelled);
        assert_eq!(
            status(searched(&first, &ended, before.clone())),
            Ok(Cancelled)
        );
        let moved = reading(None, Some(130.0), Cancelled);
        assert_eq!(
            status(searched(&first, &moved, before.clone())),
            Ok(Cancelled)
        );
        // Another update has started: the end of this one will be in the events.
        let second = reading(None, Some(160.0), InProgress);
        let lagging = [event(130.0, Cancelling), event(100.1, InProgress)];
        assert_eq!(
            status(searched(&first, &second, lagging)),
            Err("IncompleteAnswer".to_owned())
        );
    }

    #[test]
    fn an_end_stays_if_the_stack_is_deleted_or_imported_later() {
        let other = |status: &str| Status::Other(status.to_owned());
        for operation in [Some("a"), None] {
            let first = reading(operation, Some(0.0), InProgress);
            for after in ["DELETE_COMPLETE", "IMPORT_IN_PROGRESS"] {
                let seen = reading(operation, Some(0.0), other(after));
                let events = [
                    event(9.0, other(after)),
                    event(2.0, Cancelled),
                    event(1.0, Cancelling),
                    event(0.1, InProgress),
                ];
                assert_eq!(status(searched(&first, &seen, events)), Ok(Cancelled));
            }
            let start = || [event(0.1, InProgress)];
            let gone = reading(operation, Some(0.0), other("DELETE_COMPLETE"));
            assert_eq!(
                status(searched(&first, &gone, start())),
                Err("ValidationError".to_owned())
            );
            let imported = reading(operation, Some(0.0), other("IMPORT_COMPLETE"));
            assert_eq!(
                status(searched(&first, &imported, start())),
                Ok(other("IMPORT_COMPLETE"))
            );
        }
    }

    /// Returns the newer update that the cancel hit. The newer update began after the first one's end.
    fn hit(first: &[(Option<&str>, Status)], second: Option<&str>) -> Option<Deployment> {
        let meant = reading(Some("a"), Some(0.0), InProgress);
        let shown = reading(Some("b"), Some(3.0), Cancelling);
        let with = |token: Option<&str>, event: Event| Event {
            token: token.map(str::to_owned),
            ..event
        };
        let start = of("b", with(Some("its"), event(2.0, InProgress)));
        let events = [of("r", with(second, event(3.0, Cancelling))), start];
        let course = first.iter().rev();
        let course = course.map(|(token, status)| with(*token, event(1.0, status.clone())));
        let events = events
            .into_iter()
            .chain(course.map(|event| of("ra", event)))
            .chain([of("a", event(0.1, InProgress))]);
        match searched(&meant, &shown, events) {
            Ok(Reading::HitNewer { newer, .. }) => Some(*newer),
            Ok(Reading::Of(_)) => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_our_token_shows_that_a_cancel_has_hit_a_newer_update() {
        let succeeded = [(None, Succeeded)];
        let newer = hit(&succeeded, Some("ours")).unwrap();
        assert_eq!(newer.id.as_deref(), Some("b"));
        // The rollback has changed the start that the stack shows.
        assert_eq!(newer.started_at, Some(time(2.0)));
        for token in [Some("anothers"), Some("its"), None] {
            assert_eq!(hit(&succeeded, token), None, "{token:?}");
        }
        let by = |token| [(Some(token), Cancelling), (Some(token), Cancelled)];
        assert_eq!(hit(&by("ours"), Some("ours")), None);
        assert!(hit(&by("anothers"), Some("ours")).is_some());
    }

    #[test]
    fn a_stack_whose_events_cannot_be_read_does_not_call_its_rollback_successful() {
        let words = "Update successful. One or more resources could not be deleted.";
        let known = |reason: Option<&str>, words: Option<&str>| {
            let mut deployment = reading(None, Some(0.0), Cancelling);
            deployment.message = reason.map(str::to_owned);
            let mut shown = reading(None, Some(0.0), Cancelled);
            shown.message = words.map(str::to_owned);
            match Search::new(&deployment, shown, "ours".to_owned()).known() {
                Some(Reading::Of(known)) => known.message,
                other => panic!("{other:?}"),
            }
        };
        let message = known(Some("User Initiated"), Some(words)).unwrap();
        assert_eq!(message, format!("User Initiated; {words}"));
        let message = known(None, Some(words)).unwrap();
        assert_eq!(message, format!("the update was rolled back; {words}"));
        assert_eq!(known(None, Some("no")).as_deref(), Some("no"));
        assert_eq!(known(Some("no"), None).as_deref(), Some("no"));
    }

    #[test]
    fn if_no_start_has_the_wanted_id_the_time_decides() {
        let wanted = reading(Some("a-uuid-of-version-4"), Some(0.0), InProgress);
        let shown = reading(Some("b"), Some(60.0), InProgress);
        let events = [
            of("1", event(60.1, InProgress)),
            of("2", event(9.0, Cancelled)),
            of("2", event(5.0, Cancelling)),
            of("3", event(0.0, InProgress)),
        ];
        assert_eq!(status(searched(&wanted, &shown, events)), Ok(Cancelled));
    }

    #[test]
    fn the_reason_of_the_rollback_comes_before_the_reason_of_the_end() {
        let first = reading(None, Some(0.0), InProgress);
        let ended = reading(None, Some(0.0), Cancelled);
        let message = |reason: Option<&str>, words: Option<&str>, tokens: [&str; 2]| {
            let with = |message: Option<&str>, token: &str, event: Event| Event {
                message: message.map(str::to_owned),
                token: Some(token.to_owned()),
                ..event
            };
            let events = [
                with(words, tokens[1], event(3.0, Cancelled)),
                with(None, tokens[1], event(2.0, Cancelling)),
                with(reason, tokens[1], event(1.0, Cancelling)),
                with(Some("User Initiated"), tokens[0], event(0.0, InProgress)),
            ];
            match searched(&first, &ended, events) {
                Ok(Reading::Of(read)) => read.message,
                other => panic!("{other:?}"),
            }
        };
        let left = Some("Update successful. One or more resources could not be deleted.");
        assert_eq!(
            message(
                Some("The following resource(s) failed: [A]."),
                left,
                ["u", "u"]
            )
            .as_deref(),
            Some(
                "The following resource(s) failed: [A].; Update successful. One or more resources could not be deleted."
            )
        );
        assert_eq!(
            message(Some("User Initiated"), None, ["u", "c"]).as_deref(),
            Some("User Initiated")
        );
        // An automatic rollback has the update's own token.
        let failed = message(None, None, ["u", "u"]).unwrap();
        assert!(failed.contains("failed by itself"), "{failed}");
        assert_eq!(message(None, None, ["u", "c"]), None);
    }

    #[test]
    fn the_reason_is_that_of_the_rollbacks_first_event() {
        let first = reading(None, Some(0.0), InProgress);
        let ended = reading(None, Some(0.0), Cancelled);
        let begun = Event {
            message: Some("User Initiated".to_owned()),
            ..event(1.0, Cancelling)
        };
        for start in [Some(event(0.1, InProgress)), None] {
            let events = [event(2.0, Cancelled), begun.clone()]
                .into_iter()
                .chain(start);
            let Ok(Reading::Of(read)) = searched(&first, &ended, events) else {
                panic!("expected a reading of the deployment");
            };
            assert_eq!(read.message.as_deref(), Some("User Initiated"));
            assert_eq!(read.ended_at, Some(time(2.0)));
        }
    }
}
