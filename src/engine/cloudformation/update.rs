//! Which update of its stack a deployment is, and what the stack's events tell of it.
//!
//! An operation's id alone decides where both sides have one. Where the service sends none, the time
//! of the stack's last update does: as long as it stands, the update is the same. Where it has moved,
//! another update has started, or the rollback of this one has moved it: nothing says that it does
//! not. Then the events decide, and what they do not contradict stands.
//!
//! A cancel that comes a moment too late hits the update that has started since. Its token, which
//! the events of the rollback then bear, says so; or that nothing else was there to be hit.

use time::Duration;

use crate::aws::call_error::{CallError, Fault};
use crate::deployment::{Deployment, Status};
use crate::engine::{Evidence, Sight, Successor};
use crate::timestamp::{self, Timestamp};

/// How long before the stack's `LastUpdatedTime` an event of that update may be.
const EARLIEST: Duration = Duration::seconds(5);

/// How long after it the event of its start may be.
const LATEST: Duration = Duration::seconds(30);

/// So close to it nobody starts two updates.
const EXACT: Duration = Duration::milliseconds(500);

/// Whether a stack's latest update is the one that a deployment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// It is.
    Same,
    /// Another one has started.
    Other,
    /// It may be, if its rollback has moved the time of the last update.
    Uncertain,
}

impl Identity {
    /// Compares a deployment with what its stack shows now.
    pub(super) fn of(deployment: &Deployment, seen: &Deployment) -> Self {
        if let (Some(one), Some(other)) = (operation(deployment), operation(seen)) {
            return if one == other {
                Self::Same
            } else {
                Self::Other
            };
        }
        match (deployment.started_at, seen.started_at) {
            // A reading that tells nothing contradicts nothing.
            (_, None) => Self::Same,
            (before, now) if before == now => Self::Same,
            _ if seen.has_moved_start_of(deployment) => Self::Same,
            (before, Some(_)) => match &seen.status {
                Status::InProgress | Status::Succeeded => Self::Other,
                // Nothing identifies it that could have changed.
                Status::Cancelling | Status::Cancelled | Status::Failed
                    if before.is_none() && deployment.id.is_none() =>
                {
                    Self::Same
                }
                Status::Cancelling | Status::Cancelled | Status::Failed | Status::Other(_) => {
                    Self::Uncertain
                }
            },
        }
    }
}

/// A deployment's id, if the service gave it.
fn operation(deployment: &Deployment) -> Option<&str> {
    let derived = deployment
        .environment
        .arn
        .as_deref()
        .zip(deployment.started_at)
        .and_then(|(stack_id, started)| derived_id(stack_id, started));
    let id = deployment.id.as_deref();
    id.filter(|id| Some(*id) != derived.as_deref())
}

/// An update's identity where the service gives none: the stack's own, and when it started.
pub(super) fn derived_id(stack_id: &str, started: Timestamp) -> Option<String> {
    let unique = stack_id.rsplit('/').next()?;
    Some(format!("{unique}-{}", timestamp::milliseconds(started)))
}

/// Whether that is how an update ends.
fn has_ended(status: &Status) -> bool {
    match status {
        Status::Cancelled | Status::Failed | Status::Succeeded => true,
        Status::InProgress | Status::Cancelling | Status::Other(_) => false,
    }
}

/// An event of the stack itself.
#[derive(Clone, Debug)]
pub(super) struct Event {
    /// The status that it then had.
    pub(super) status: Status,
    /// The service's words on it.
    pub(super) message: Option<String>,
    /// When it was.
    pub(super) at: Option<Timestamp>,
    /// The operation that it belongs to.
    pub(super) operation: Option<String>,
    /// The token of the request that brought it about.
    pub(super) token: Option<String>,
}

/// How an update went, as far as it did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Course {
    /// The newest of its statuses.
    status: Option<Status>,
    /// The newest words on one of them.
    message: Option<String>,
    /// When it reached that status, if that is an end.
    ended_at: Option<Timestamp>,
    /// The token that its rollback began with.
    undone_by: Option<String>,
}

impl Course {
    /// Takes in an event that is older than those before.
    fn began_with(&mut self, event: Event) {
        if matches!(event.status, Status::Other(_)) {
            return;
        }
        self.message = self.message.take().or(event.message);
        if event.status == Status::Cancelling {
            self.undone_by = event.token;
        }
        if self.status.is_none() {
            self.ended_at = event.at.filter(|_| has_ended(&event.status));
            self.status = Some(event.status);
        }
    }
}

/// Looks for an update among its stack's events, newest first.
#[derive(Debug)]
pub(super) struct Search {
    identity: Identity,
    /// What the stack shows, as a reading of this deployment.
    seen: Deployment,
    /// The stack's latest update as it shows it.
    shown: Deployment,
    /// The token of a cancel that is meant for this deployment.
    token: String,
    /// The course of the update whose start comes next.
    course: Course,
    /// The start that was met last, if nothing was met since.
    start: Option<Start>,
    /// How many updates were met.
    met: usize,
    /// The start of the latest of them.
    newest: Option<Start>,
    /// The start that is nearest to the one that is looked for.
    nearest: Option<(Duration, Start)>,
}

/// The start of an update, which may be told more than once.
#[derive(Clone, Debug)]
struct Start {
    operation: Option<String>,
    token: Option<String>,
    at: Option<Timestamp>,
    /// How that update went.
    course: Course,
    /// How many others have started since.
    followers: usize,
}

impl Start {
    fn is_told_again_by(&self, event: &Event) -> bool {
        match (&self.operation, &event.operation) {
            (Some(one), Some(other)) => one == other,
            (None, _) | (_, None) => true,
        }
    }
}

impl Search {
    /// Looks for this deployment, whose cancels have this token; its stack shows `seen`.
    pub(super) fn of(deployment: &Deployment, seen: Deployment, token: String) -> Self {
        Self {
            identity: Identity::of(deployment, &seen),
            shown: seen.clone(),
            token,
            seen: Deployment {
                id: deployment.id.clone(),
                started_at: deployment.started_at,
                moved_start: deployment.moved_start,
                ..seen
            },
            course: Course::default(),
            start: None,
            met: 0,
            newest: None,
            nearest: None,
        }
    }

    /// What the stack itself tells of the deployment.
    pub(super) fn known(&self) -> Option<Sight> {
        let is_known =
            self.identity == Identity::Same && !matches!(self.seen.status, Status::Other(_));
        is_known.then(|| Sight::Of(Box::new(self.seen.clone())))
    }

    /// Takes in the next event. Says whether that is enough.
    pub(super) fn meet(&mut self, event: Event) -> bool {
        if self.is_past(&event) {
            return true;
        }
        if event.status != Status::InProgress {
            self.start = None;
            self.course.began_with(event);
            return false;
        }
        let distance = self.distance(&event);
        let start = self.start_at(event);
        if start.followers == 0 {
            self.newest = Some(start.clone());
        }
        if let Some(distance) = distance
            && self.reach().is_none_or(|reach| distance < reach)
        {
            self.nearest = Some((distance, start.clone()));
        }
        self.start = Some(start);
        self.reach().is_some_and(|reach| reach <= EXACT)
    }

    /// The start that the event tells of, maybe again.
    fn start_at(&mut self, event: Event) -> Start {
        let told = self.start.take();
        if let Some(start) = told.filter(|start| start.is_told_again_by(&event)) {
            return Start {
                at: event.at.or(start.at),
                ..start
            };
        }
        let followers = self.met;
        self.met += 1;
        Start {
            operation: event.operation,
            token: event.token,
            at: event.at,
            course: std::mem::take(&mut self.course),
            followers,
        }
    }

    /// How far the start of an update is from the one that is looked for, if it can be that one.
    fn distance(&self, start: &Event) -> Option<Duration> {
        if let (Some(wanted), Some(sent)) = (operation(&self.seen), start.operation.as_deref()) {
            return (wanted == sent).then_some(Duration::ZERO);
        }
        match self.identity {
            // It is the latest, which is met first.
            Identity::Same => Some(Duration::ZERO),
            Identity::Other | Identity::Uncertain => {
                let distance = start.at? - self.seen.started_at?;
                (-EARLIEST..=LATEST)
                    .contains(&distance)
                    .then(|| distance.abs())
            }
        }
    }

    /// How far the nearest start is.
    fn reach(&self) -> Option<Duration> {
        self.nearest.as_ref().map(|(distance, _)| *distance)
    }

    /// Whether the event, and so all that are older, belong to earlier updates.
    fn is_past(&self, event: &Event) -> bool {
        let reach = self.reach().unwrap_or(EARLIEST).min(EARLIEST);
        event
            .at
            .zip(self.seen.started_at)
            .is_some_and(|(at, started)| at < started.saturating_sub(reach))
    }

    /// What became of the deployment, by the stack and those of its events that were met.
    pub(super) fn told(&self) -> Result<Sight, CallError> {
        let found = self.nearest.as_ref().map(|(_, start)| start);
        let is_followed = found.map_or(self.met, |start| start.followers) > 0;
        let course = match (found, self.identity) {
            (Some(start), _) => start.course.clone(),
            // Its start is not told, and no later one.
            (None, Identity::Same) if !is_followed => self.course.clone(),
            (None, Identity::Same | Identity::Other | Identity::Uncertain) => Course::default(),
        };
        let ended = course.status.clone().filter(has_ended);
        let seen = self.seen.clone();
        match (self.identity, ended) {
            // Events may lag behind the stack.
            (Identity::Same, Some(ended)) if has_ended(&seen.status) && ended != seen.status => {}
            (_, Some(status)) => {
                let ended = Box::new(Deployment {
                    status,
                    message: course.message,
                    ended_at: course.ended_at,
                    ..seen
                });
                return Ok(match found.and_then(|start| self.successor(start)) {
                    Some(successor) => Sight::Replaced(ended, Box::new(successor)),
                    None => Sight::Of(ended),
                });
            }
            (Identity::Other, None) if found.is_some() && !is_followed => return Err(behind()),
            (Identity::Other, None) => return Ok(Sight::Superseded),
            (Identity::Uncertain, None) if is_followed => return Ok(Sight::Superseded),
            (Identity::Same | Identity::Uncertain, None) => {}
        }
        if is_deleted(&seen) {
            return Err(deleted());
        }
        // That it is this one's rollback that moved the start is known once the events tell of it.
        let has_moved = self.identity == Identity::Uncertain && course.status.is_some();
        Ok(Sight::Of(Box::new(Deployment {
            message: seen.message.or(course.message),
            moved_start: self
                .shown
                .started_at
                .filter(|_| has_moved)
                .or(seen.moved_start),
            ..seen
        })))
    }

    /// The stack's latest update, if it rolls back or has, and a cancel that was meant for the one that
    /// is looked for may have done that.
    fn successor(&self, ended: &Start) -> Option<Successor> {
        let newest = self.newest.as_ref()?;
        // Where no id tells, the start may be that of the rollback; and events that lag tell of an
        // earlier update.
        let is_known = self.identity == Identity::Other
            && operation(&self.shown).is_some_and(|id| newest.operation.as_deref() == Some(id));
        let is_undone = match &self.shown.status {
            Status::Cancelling | Status::Cancelled | Status::Failed => true,
            Status::InProgress | Status::Succeeded | Status::Other(_) => false,
        };
        if !is_known || !is_undone {
            return None;
        }
        let course = newest.course.clone();
        Some(Successor {
            evidence: self.evidence(ended, newest)?,
            deployment: Deployment {
                // The rollback may have moved the one that the stack shows.
                started_at: newest.at.or(self.shown.started_at),
                message: self.shown.message.clone().or(course.message),
                ended_at: course
                    .ended_at
                    .filter(|_| course.status.as_ref() == Some(&self.shown.status)),
                ..self.shown.clone()
            },
        })
    }

    /// What the tokens tell of a cancel that was meant for the one and may have hit the newest.
    fn evidence(&self, ended: &Start, newest: &Start) -> Option<Evidence> {
        let is_its = |start: &Start| start.course.undone_by.as_ref() == Some(&self.token);
        let undone_by = newest.course.undone_by.as_ref();
        let is_anothers = undone_by.is_some() && undone_by != newest.token.as_ref();
        if is_its(ended) {
            // It hit what was meant.
            None
        } else if is_its(newest) {
            Some(Evidence::Named)
        } else {
            (ended.followers == 1 && !is_anothers).then_some(Evidence::OnlyOne)
        }
    }
}

fn is_deleted(seen: &Deployment) -> bool {
    seen.status.as_str() == "DELETE_COMPLETE"
}

/// As CloudFormation says it of a stack whose name is given.
fn deleted() -> CallError {
    CallError {
        fault: Fault::NotFound,
        code: "ValidationError".to_owned(),
        message: "the stack does not exist any more: it was deleted".to_owned(),
    }
}

fn behind() -> CallError {
    CallError {
        fault: Fault::Lost,
        code: "IncompleteAnswer".to_owned(),
        message:
            "another update has started, and the stack's events do not tell yet how this one ended"
                .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::{Environment, EnvironmentName, NameRule};

    fn time(seconds: f64) -> Timestamp {
        let start = Timestamp::from_unix_timestamp(1_795_415_150).unwrap();
        start + std::time::Duration::from_secs_f64(seconds)
    }

    /// A reading of a stack: without an operation, its id is made from its time.
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
    ) -> Result<Sight, CallError> {
        let mut search = Search::of(deployment, seen.clone(), "ours".to_owned());
        for event in events {
            if search.meet(event) {
                break;
            }
        }
        search.told()
    }

    /// The status that was told of the deployment itself.
    fn status(sight: Result<Sight, CallError>) -> Result<Status, String> {
        match sight {
            Ok(Sight::Of(seen) | Sight::Replaced(seen, _)) => Ok(seen.status),
            Ok(Sight::Superseded) => Err("superseded".to_owned()),
            Err(error) => Err(error.code),
        }
    }

    use Status::{Cancelled, Cancelling, Failed, InProgress, Succeeded};

    #[test]
    fn an_operations_id_alone_decides_where_both_sides_have_one() {
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
    fn the_time_of_the_last_update_decides_where_one_side_has_no_id() {
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
        let told = |events: Vec<Event>| status(searched(&first, &rolling, events));
        assert_eq!(told(vec![begun.clone(), start.clone()]), Ok(Cancelling));
        // The start's event is late, or told twice, or there is none.
        assert_eq!(
            told(vec![begun.clone(), event(6.0, InProgress)]),
            Ok(Cancelling)
        );
        let twice = vec![begun.clone(), event(20.0, InProgress), start.clone()];
        assert_eq!(told(twice), Ok(Cancelling));
        assert_eq!(told(vec![begun]), Ok(Cancelling));
        assert_eq!(told(vec![start]), Ok(Cancelling));
        assert_eq!(told(vec![]), Ok(Cancelling));
    }

    #[test]
    fn a_start_that_moved_need_not_be_told_by_the_events_again() {
        let first = reading(None, Some(0.0), InProgress);
        let rolling = reading(None, Some(60.0), Cancelling);
        let moved = |events: Vec<Event>| match searched(&first, &rolling, events) {
            Ok(Sight::Of(told)) => *told,
            _ => panic!("it is told"),
        };
        let start = event(0.1, InProgress);
        assert_eq!(moved(vec![start.clone()]).moved_start, None);
        let told = moved(vec![event(60.0, Cancelling), start]);
        assert_eq!(told.moved_start, Some(time(60.0)));
        assert_eq!(Identity::of(&told, &rolling), Identity::Same);
        let later = reading(None, Some(90.0), Cancelling);
        assert_eq!(Identity::of(&told, &later), Identity::Uncertain);
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
        let told = searched(&first, &rolling, events);
        // The other one's id would be made from a time that its rollback may have moved.
        assert!(matches!(told, Ok(Sight::Of(_))));
        assert_eq!(status(told), Ok(Cancelled));
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
        // Another one has started: its predecessor's end will be told.
        let second = reading(None, Some(160.0), InProgress);
        let lagging = [event(130.0, Cancelling), event(100.1, InProgress)];
        assert_eq!(
            status(searched(&first, &second, lagging)),
            Err("IncompleteAnswer".to_owned())
        );
    }

    #[test]
    fn the_end_stands_whatever_becomes_of_the_stack_later() {
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

    /// What tells that a cancel hit the second update, which began after the first had ended.
    fn evidence(first: &[(Option<&str>, Status)], second: Option<&str>) -> Option<Evidence> {
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
            Ok(Sight::Replaced(_, successor)) => {
                assert_eq!(successor.deployment.id.as_deref(), Some("b"));
                // The rollback has moved the one that the stack shows.
                assert_eq!(successor.deployment.started_at, Some(time(2.0)));
                Some(successor.evidence)
            }
            Ok(Sight::Of(_)) => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn tokens_tell_which_update_a_cancel_has_hit() {
        let succeeded = [(None, Succeeded)];
        assert_eq!(evidence(&succeeded, Some("ours")), Some(Evidence::Named));
        assert_eq!(evidence(&succeeded, Some("anothers")), None);
        // Where the service names no token, or that of the update, nothing contradicts it.
        for token in [None, Some("its")] {
            assert_eq!(evidence(&succeeded, token), Some(Evidence::OnlyOne));
        }
        let by = |token| [(Some(token), Cancelling), (Some(token), Cancelled)];
        assert_eq!(evidence(&by("ours"), Some("anothers")), None);
        assert_eq!(evidence(&by("ours"), None), None);
        assert_eq!(
            evidence(&by("anothers"), Some("ours")),
            Some(Evidence::Named)
        );
    }

    #[test]
    fn the_reason_is_that_of_when_it_began_to_roll_back() {
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
            let Ok(Sight::Of(told)) = searched(&first, &ended, events) else {
                panic!("it is told");
            };
            assert_eq!(told.message.as_deref(), Some("User Initiated"));
            assert_eq!(told.ended_at, Some(time(2.0)));
        }
    }
}
