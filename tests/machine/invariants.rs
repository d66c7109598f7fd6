//! The invariants of a run. Each invariant is a function that returns how a run breaks it.

use std::collections::BTreeMap;
use std::time::Duration;

use proton_canceller::report::outcome::{End, Outcome};
use proton_canceller::report::summary::Tally;
use proton_canceller::run::{ListPurpose, Report, Word};

use crate::calls::{Asked, At, Called, Reply, START, State, at, number};
use crate::course::{Course, What};
use crate::ledger::{Known, Ledger, MOST_FAILURES, Stage};
use crate::scenario::Why;
use crate::service::Ends;

/// The age up to which a cancel may rely on a reading.
const FRESH: Duration = Duration::from_secs(2);

/// The longest pause between two calls once the service has throttled one.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

type Violation = Option<String>;

/// Returns the first broken invariant, by name.
macro_rules! first_of {
    ($($invariant:ident($($argument:expr),*)),+ $(,)?) => {
        None$(.or_else(|| {
            let broken = $invariant($($argument),*);
            broken.map(|how| format!("{}: {how}", stringify!($invariant)))
        }))+
    };
}

/// Returns how a run breaks an invariant. Only the first violation counts, because others follow from it.
pub(crate) fn check(course: &Course) -> Violation {
    let mut ledger = Ledger::new(&course.scenario);
    for (index, entry) in course.log.iter().enumerate() {
        ledger.now = entry.at;
        let violation = match &entry.what {
            What::Asked(call) => check_call(course, &ledger, &course.calls[*call]),
            What::Reported(Report::Outcome(outcome, word)) => {
                check_outcome(course, &ledger, outcome, *word)
            }
            What::Waits(until) => check_wait(course, &ledger, *until),
            What::Done => first_of!(
                the_run_ends_in_time(course, &ledger),
                everything_has_a_last_word(course, &ledger),
            ),
            What::Responded(_) | What::Reported(Report::Note(_)) => None,
        };
        if let Some(violation) = violation {
            let at = entry.at.saturating_sub(START);
            return Some(format!("after {at:?} (log line {index}): {violation}"));
        }
        ledger.apply(course, &entry.what);
    }
    first_of!(
        the_run_ends(course),
        no_more_are_cancelled_than_the_limit(course),
        a_failed_run_cancels_nothing(course),
        both_words_are_of_one_deployment(course),
        what_was_found_is_counted(course),
        the_first_accepted_cancel_is_known(course),
        repeats_are_bounded(course),
        each_environment_is_read_and_cancelled_once(course),
        polls_are_bounded(course),
    )
}

fn check_call(course: &Course, ledger: &Ledger, call: &Called) -> Violation {
    let common = first_of!(
        no_more_calls_are_in_flight_than_allowed(course, ledger),
        one_call_at_a_time_for_an_environment(ledger, call),
        a_repeat_waits(ledger, call),
    );
    let Asked::Cancel {
        environment,
        deployment,
    } = call.asked
    else {
        return common;
    };
    let known = &ledger.environments[environment];
    let of_cancel = || {
        first_of!(
            a_dry_run_and_a_follow_cancel_nothing(course),
            no_cancel_comes_too_late(course, ledger, call),
            only_what_the_rules_select_is_cancelled(ledger, known),
            only_what_was_just_read_is_cancelled(ledger, environment, deployment),
            a_lost_cancel_is_repeated_only_after_a_read(known),
            the_oldest_is_cancelled_first(course, ledger, environment),
        )
    };
    common.or_else(of_cancel)
}

fn check_outcome(course: &Course, ledger: &Ledger, outcome: &Outcome, word: Word) -> Violation {
    let known = &ledger.environments[number(&outcome.environment.name)];
    first_of!(
        only_candidates_are_reported(known),
        the_first_word_comes_once_and_first(known, word),
        a_skip_is_what_the_rules_say(course, ledger, outcome),
        an_end_is_the_truth(course, ledger, outcome),
        what_was_hit_is_what_is_reported(course, known, outcome),
        cancelling_is_true(course, ledger, outcome, word),
        an_error_has_a_cause(course, outcome),
        a_lost_cancel_is_read_before_it_is_given_up(course, ledger, outcome),
        nothing_is_late_while_there_is_time(course, outcome),
        a_wait_ends_on_time(ledger, known, word),
        the_times_are_right(course, ledger, outcome, word),
        an_end_that_is_shown_is_reported(known, outcome, word),
        a_follower_reads_to_the_end(ledger, known, outcome),
    )
}

fn check_wait(course: &Course, ledger: &Ledger, until: At) -> Violation {
    first_of!(
        what_is_shown_is_reported_at_once(ledger),
        a_run_waits_for_something(ledger),
        no_permit_is_idle_while_a_call_is_due(course, ledger, until),
        no_wait_outlasts_its_deployment(ledger),
        an_end_that_is_shown_waits_less_than_a_second(ledger),
    )
}

// Safety.

fn no_more_calls_are_in_flight_than_allowed(course: &Course, ledger: &Ledger) -> Violation {
    (!ledger.has_permit(course.scenario.concurrency))
        .then(|| format!("{} calls are in flight already", ledger.in_flight))
}

fn one_call_at_a_time_for_an_environment(ledger: &Ledger, call: &Called) -> Violation {
    let known = &ledger.environments[call.asked.environment()?];
    known
        .in_flight
        .map(|other| format!("{:?} is made while call {other} is under way", call.asked))
}

fn a_dry_run_and_a_follow_cancel_nothing(course: &Course) -> Violation {
    let scenario = &course.scenario;
    (scenario.is_dry || matches!(scenario.why, Why::Follow(_)))
        .then(|| "a dry run or a follow cancels".to_owned())
}

fn only_what_the_rules_select_is_cancelled(ledger: &Ledger, known: &Known) -> Violation {
    let is_selected = match known.stage {
        Stage::ToCancel => true,
        Stage::Selected => ledger.may_admit(),
        _ => false,
    };
    (!is_selected).then(|| format!("a cancel in the stage {:?}", known.stage))
}

fn only_what_was_just_read_is_cancelled(
    ledger: &Ledger,
    environment: usize,
    deployment: usize,
) -> Violation {
    let known = &ledger.environments[environment];
    let is_fresh = known.reading.is_some_and(|(shown, read_at)| {
        shown.state == State::InProgress
            && (shown.deployment == deployment || ledger.is_anonymous(environment))
            && ledger.now.saturating_sub(read_at) <= FRESH
    });
    (!is_fresh).then(|| format!("a cancel relies on {:?}", known.reading))
}

fn a_lost_cancel_is_repeated_only_after_a_read(known: &Known) -> Violation {
    known
        .lost_at
        .map(|lost_at| format!("a cancel was lost at {lost_at:?}, and there was no read since"))
}

fn no_cancel_comes_too_late(course: &Course, ledger: &Ledger, call: &Called) -> Violation {
    let budget = course.scenario.limits().budget;
    if ledger.now >= at(budget.act_until) {
        return Some("a cancel is made after the time to act".to_owned());
    }
    let least = (at(budget.cancel_until) - at(budget.act_until)).min(Duration::from_secs(5));
    let is_short =
        call.give_up_at < ledger.now + least || call.give_up_at > at(budget.cancel_until);
    is_short.then(|| format!("a cancel is given up at {:?}", call.give_up_at))
}

/// A deployment that was just read by itself comes first. Then comes the oldest of those that need no read.
fn the_oldest_is_cancelled_first(
    course: &Course,
    ledger: &Ledger,
    environment: usize,
) -> Violation {
    let start = |(one, known): (usize, &Known)| {
        let (shown, _) = known.reading?;
        let started = &course.service.environments[one].started[shown.deployment];
        let is_first = known.stage == Stage::ToCancel
            && known.in_flight.is_none()
            && known.cancelled_at.is_none()
            && known.failures == 0;
        (is_first && started.script.start_is_known).then_some(started.at)
    };
    let known = &ledger.environments[environment];
    let own = start((environment, known)).filter(|_| !known.is_confirmed)?;
    let is_ready = |known: &Known| {
        known.reading.is_some_and(|(shown, read_at)| {
            shown.state == State::InProgress && ledger.now - read_at <= FRESH / 2
        })
    };
    let environments = ledger.environments.iter().enumerate();
    let mut others =
        environments.filter(|(one, known)| is_ready(known) && !ledger.is_anonymous(*one));
    let older = others.find(|other| start(*other).is_some_and(|start| start < own))?;
    Some(format!("{older:?} is older"))
}

fn no_more_are_cancelled_than_the_limit(course: &Course) -> Violation {
    let mut cancelled: Vec<_> = course
        .calls
        .iter()
        .filter(|call| call.asked.is_cancel())
        .map(|call| call.asked.environment())
        .collect();
    cancelled.sort_unstable();
    cancelled.dedup();
    let limit = course.scenario.max_cancellations;
    (cancelled.len() as u64 > limit).then(|| format!("{} of {limit} cancelled", cancelled.len()))
}

fn a_failed_run_cancels_nothing(course: &Course) -> Violation {
    let failure = course.failure.as_ref()?;
    let has_cancelled = course.calls.iter().any(|call| call.asked.is_cancel());
    has_cancelled.then(|| format!("the run failed as {failure} after it cancelled"))
}

// Truth.

fn a_skip_is_what_the_rules_say(course: &Course, ledger: &Ledger, outcome: &Outcome) -> Violation {
    let known = &ledger.environments[number(&outcome.environment.name)];
    let is_right = match (&outcome.end, known.stage) {
        (End::Skipped(reason), Stage::ToReport(Some(expected))) => *reason == expected,
        (End::DryRun, stage) => {
            let may_be_reported = stage == Stage::Selected && ledger.may_admit();
            course.scenario.is_dry && (stage == Stage::ToReport(None) || may_be_reported)
        }
        (End::Skipped(_), _) | (_, Stage::ToReport(Some(_))) => false,
        _ => true,
    };
    (!is_right).then(|| format!("{:?} in the stage {:?}", outcome.end, known.stage))
}

fn an_end_is_the_truth(course: &Course, ledger: &Ledger, outcome: &Outcome) -> Violation {
    let expected = match outcome.end {
        End::Cancelled => State::Cancelled,
        End::Failed => State::Failed,
        End::Succeeded => State::Succeeded,
        End::Cancelling | End::DryRun | End::Skipped(_) | End::Error(_) => return None,
    };
    let environment = number(&outcome.environment.name);
    let started = &course.service.environments[environment].started;
    let deployment = outcome.deployment.as_ref()?;
    let is_true = if ledger.is_anonymous(environment) {
        started.iter().any(|one| one.state(ledger.now) == expected)
    } else {
        started[course.service.meant(environment, deployment)].state(ledger.now) == expected
    };
    (!is_true).then(|| format!("{:?} is not how {deployment:?} ended", outcome.end))
}

/// If a response shows which deployment a cancel has hit, the outcome is of that deployment.
fn what_was_hit_is_what_is_reported(
    course: &Course,
    known: &Known,
    outcome: &Outcome,
) -> Violation {
    if matches!(outcome.end, End::Error(_) | End::Skipped(_)) {
        return None;
    }
    let environment = number(&outcome.environment.name);
    let deployment = course
        .service
        .meant(environment, outcome.deployment.as_ref()?);
    let is_of_environment = |call: &&Called| call.asked.environment() == Some(environment);
    let mut calls = course.calls.iter().filter(is_of_environment);
    let accepted = calls.find_map(|call| match call.reply {
        Some(Reply::Accepted(Some(shown))) => Some(shown.deployment),
        _ => None,
    });
    let followed = known.first_at.map(|_| known.followed);
    let hit = accepted.or(followed)?;
    let has_id = course.service.environments[environment].started[hit]
        .script
        .has_id;
    (has_id && deployment != hit)
        .then(|| format!("deployment {deployment} is reported, and {hit} was hit"))
}

fn cancelling_is_true(
    course: &Course,
    ledger: &Ledger,
    outcome: &Outcome,
    word: Word,
) -> Violation {
    if word != Word::First {
        return None;
    }
    let started = &course.service.environments[number(&outcome.environment.name)].started;
    let is_accepted = started
        .iter()
        .any(|one| one.accepted_at.is_some_and(|at| at <= ledger.now));
    (!is_accepted).then(|| "CANCELLING is reported, and no cancel was accepted".to_owned())
}

fn an_error_has_a_cause(course: &Course, outcome: &Outcome) -> Violation {
    let error = outcome.end.error()?;
    if matches!(
        error.code.as_str(),
        "DeadlineExceeded" | "Superseded" | "UnexpectedStatus"
    ) {
        return None;
    }
    let environment = Some(number(&outcome.environment.name));
    let has_failed = course.calls.iter().any(|call| {
        call.asked.environment() == environment
            && matches!(&call.reply, Some(Reply::Failed(trouble)) if trouble.error() == *error)
    });
    (!has_failed).then(|| format!("no call failed with {error}"))
}

fn the_times_are_right(
    course: &Course,
    ledger: &Ledger,
    outcome: &Outcome,
    word: Word,
) -> Violation {
    let environment = number(&outcome.environment.name);
    let asked_at = ledger.environments[environment].cancelled_at;
    if outcome.cancel_requested_at.map(at) != asked_at {
        let reported = outcome.cancel_requested_at;
        return Some(format!(
            "a cancel of {asked_at:?} is reported as of {reported:?}"
        ));
    }
    let is_end = matches!(outcome.end, End::Cancelled | End::Failed | End::Succeeded);
    if word != Word::Last || !is_end || ledger.is_anonymous(environment) {
        return outcome
            .settled_at
            .filter(|_| !is_end)
            .map(|at| format!("settled at {at} without an end"));
    }
    let deployment = course
        .service
        .meant(environment, outcome.deployment.as_ref()?);
    let ended_at = course.service.environments[environment].started[deployment].ends_at();
    let expected = if course.service.returns_end_times {
        ended_at
    } else {
        ledger.now
    };
    let settled_at = outcome.settled_at.map(at);
    (settled_at != Some(expected)).then(|| format!("settled at {settled_at:?}, not {expected:?}"))
}

/// If there is time, a deployment is read after a lost cancel before the cancel is reported as an error.
fn a_lost_cancel_is_read_before_it_is_given_up(
    course: &Course,
    ledger: &Ledger,
    outcome: &Outcome,
) -> Violation {
    outcome.end.error()?;
    let environment = number(&outcome.environment.name);
    let lost_at = ledger.environments[environment].lost_at?;
    let is_over = ledger.now >= at(course.scenario.limits().budget.read_until);
    let mut calls = course.calls.iter();
    let is_read = calls.any(|call| {
        matches!(call.asked, Asked::Read { environment: one, .. } if one == environment)
            && (lost_at..=ledger.now).contains(&call.asked_at)
    });
    (!is_read && !is_over).then(|| format!("there was no read since {lost_at:?}"))
}

// Completeness.

fn only_candidates_are_reported(known: &Known) -> Violation {
    matches!(known.stage, Stage::Unknown | Stage::Done)
        .then(|| format!("reported in the stage {:?}", known.stage))
}

fn the_first_word_comes_once_and_first(known: &Known, word: Word) -> Violation {
    let is_wrong = match word {
        Word::First => known.first_at.is_some(),
        Word::Unchanged => known.first_at.is_none() && known.cancelled_at.is_some(),
        Word::Last => false,
    };
    is_wrong.then(|| format!("{word:?} after a first word of {:?}", known.first_at))
}

fn everything_has_a_last_word(course: &Course, ledger: &Ledger) -> Violation {
    if course.failure.is_some() {
        return None;
    }
    if ledger.find_due.is_some() {
        return Some("the run is done before its listing is complete".to_owned());
    }
    let is_open = |known: &&Known| !matches!(known.stage, Stage::Unknown | Stage::Done);
    let open = ledger.environments.iter().find(is_open)?;
    Some(format!(
        "the run is done without a last outcome of {open:?}"
    ))
}

fn both_words_are_of_one_deployment(course: &Course) -> Violation {
    let outcomes = || {
        course.log.iter().filter_map(|entry| match &entry.what {
            What::Reported(Report::Outcome(outcome, word)) => Some((outcome, *word)),
            _ => None,
        })
    };
    let mut firsts = outcomes().filter(|(_, word)| *word == Word::First);
    firsts.find_map(|(first, _)| {
        let name = &first.environment.name;
        let mut lasts =
            outcomes().filter(|(one, word)| one.environment.name == *name && *word != Word::First);
        let (last, _) = lasts.next()?;
        (last.subject != first.subject)
            .then(|| format!("{:?} becomes {:?}", first.subject, last.subject))
    })
}

/// Returns the responses that the machine got, in order, with their time.
fn replies(course: &Course) -> impl Iterator<Item = (At, &Called, &Reply)> {
    course.log.iter().filter_map(|entry| match entry.what {
        What::Responded(call) => {
            let call = &course.calls[call];
            Some((entry.at, call, call.reply.as_ref()?))
        }
        _ => None,
    })
}

fn what_was_found_is_counted(course: &Course) -> Violation {
    if course.failure.is_some() {
        return None;
    }
    let mut listed = 0;
    let mut found = BTreeMap::new();
    for (_, call, reply) in replies(course) {
        match reply {
            Reply::Page { shown, count, .. } if call.asked.is_list(ListPurpose::Find) => {
                listed += count;
                found.extend(shown.iter().map(|one| (one.environment, one.state)));
            }
            Reply::Environment(Some(shown)) => {
                listed += 1;
                found.insert(shown.environment, shown.state);
            }
            _ => {}
        }
    }
    let count = |state| found.values().filter(|one| **one == state).count() as u64;
    let expected = Tally {
        listed,
        in_progress: count(State::InProgress),
        already_cancelling: count(State::Cancelling),
    };
    (course.tally != expected).then(|| format!("{:?}, not {expected:?}", course.tally))
}

fn the_first_accepted_cancel_is_known(course: &Course) -> Violation {
    let mut accepted = replies(course)
        .filter(|(_, _, reply)| matches!(reply, Reply::Accepted(_)))
        .map(|(at, _, _)| at);
    let (known, expected) = (course.first_accepted, accepted.next());
    (known != expected).then(|| format!("{known:?}, not {expected:?}"))
}

// Promptness.

fn what_is_shown_is_reported_at_once(ledger: &Ledger) -> Violation {
    let is_due =
        |known: &&Known| matches!(known.stage, Stage::ToReport(_)) && known.in_flight.is_none();
    let known = ledger.environments.iter().find(is_due)?;
    Some(format!("{known:?} is not reported"))
}

fn nothing_is_late_while_there_is_time(course: &Course, outcome: &Outcome) -> Violation {
    let error = outcome.end.error()?;
    (error.code == "DeadlineExceeded" && course.scenario.has_time())
        .then(|| "DeadlineExceeded, and there was time".to_owned())
}

/// The machine is work-conserving. As long as it has a permit, it makes every call that is due, and waits
/// no longer than until the next call is due.
fn no_permit_is_idle_while_a_call_is_due(course: &Course, ledger: &Ledger, until: At) -> Violation {
    if !ledger.has_permit(course.scenario.concurrency) {
        return None;
    }
    let may_be_idle_until = |due: At| {
        if ledger.is_throttled {
            due.max(ledger.now) + LONGEST_PAUSE
        } else {
            due
        }
    };
    let is_idle = |due: At| {
        let due = may_be_idle_until(due.min(At::MAX - LONGEST_PAUSE));
        due <= ledger.now || due < until
    };
    if ledger.find_due.is_some_and(is_idle) {
        return Some(format!("waits until {until:?} instead of listing"));
    }
    let idle = ledger.environments.iter().find(|known| {
        let is_owed = match known.stage {
            Stage::Named | Stage::Untagged | Stage::ToCancel | Stage::ToRead | Stage::Followed => {
                true
            }
            Stage::Unknown | Stage::Selected | Stage::ToReport(_) | Stage::Held | Stage::Done => {
                false
            }
        };
        is_owed
            && known.in_flight.is_none()
            && !ledger.may_wait_for_page(known)
            && is_idle(known.due)
    })?;
    Some(format!("waits until {until:?}, and this is due: {idle:?}"))
}

fn a_wait_ends_on_time(ledger: &Ledger, known: &Known, word: Word) -> Violation {
    let first_at = known.first_at.filter(|_| word == Word::Unchanged)?;
    // If the service does not return how a deployment ended, the wait ends early.
    let is_over = matches!(known.stage, Stage::ToReport(_));
    let ends = ledger.wait_ends(first_at);
    (ledger.now != ends && !is_over).then(|| format!("a wait until {ends:?} ends"))
}

fn no_wait_outlasts_its_deployment(ledger: &Ledger) -> Violation {
    let mut environments = ledger.environments.iter();
    let late = environments.find(|known| {
        known.stage == Stage::Followed
            && known
                .first_at
                .is_some_and(|first_at| ledger.wait_ends(first_at) <= ledger.now)
    })?;
    Some(format!("the wait is over for {late:?}"))
}

/// An end that the first calls of a read have shown does not wait for the others.
fn an_end_that_is_shown_waits_less_than_a_second(ledger: &Ledger) -> Violation {
    let is_late = |known: &&Known| {
        known.stage != Stage::Done && known.end_due.is_some_and(|due| due < ledger.now)
    };
    let late = ledger.environments.iter().find(is_late)?;
    Some(format!("the end is known of {late:?}"))
}

fn an_end_that_is_shown_is_reported(known: &Known, outcome: &Outcome, word: Word) -> Violation {
    let is_lost = word != Word::First
        && known.end_due.is_some()
        && matches!(outcome.end, End::Cancelling | End::Error(_));
    is_lost.then(|| format!("{} is reported of {known:?}", outcome.end.name()))
}

/// The follower reads again later. So nothing but a whole read ends its message.
fn a_follower_reads_to_the_end(ledger: &Ledger, known: &Known, outcome: &Outcome) -> Violation {
    let is_end = matches!(outcome.end, End::Cancelled | End::Failed | End::Succeeded);
    (ledger.is_follower && known.is_read_on && is_end)
        .then(|| format!("{} is reported of {known:?}", outcome.end.name()))
}

fn a_run_waits_for_something(ledger: &Ledger) -> Violation {
    let is_open = |known: &Known| !matches!(known.stage, Stage::Unknown | Stage::Done);
    let is_waiting = ledger.find_due.is_some() || ledger.environments.iter().any(is_open);
    (!is_waiting).then(|| "the run goes on after the last outcome".to_owned())
}

// Liveness.

fn the_run_ends(course: &Course) -> Violation {
    course.stuck.map(str::to_owned)
}

fn the_run_ends_in_time(course: &Course, ledger: &Ledger) -> Violation {
    let until = at(course.scenario.limits().budget.read_until);
    (ledger.now > until).then(|| format!("the run ends after {until:?}"))
}

// Cost.

/// A call that failed is repeated after a wait. One read at once is allowed after a cancel was given up. A
/// followed deployment is read at once if the listing cannot show it.
fn a_repeat_waits(ledger: &Ledger, call: &Called) -> Violation {
    let known = &ledger.environments[call.asked.environment()?];
    (known.is_hasty(call, ledger.now) && known.hasty > 0 && known.stage != Stage::Followed)
        .then(|| format!("{:?} is repeated at once", call.asked))
}

fn repeats_are_bounded(course: &Course) -> Violation {
    let mut cancels = vec![0; course.scenario.service.environments.len()];
    for call in &course.calls {
        if let Asked::Cancel { environment, .. } = call.asked {
            cancels[environment] += 1;
            if cancels[environment] > MOST_FAILURES {
                return Some(format!(
                    "{environment} is cancelled more than {MOST_FAILURES} times"
                ));
            }
        }
    }
    None
}

/// Without faults, following costs no more calls than a read of each deployment at growing intervals, and
/// one more when it has left the listing.
fn polls_are_bounded(course: &Course) -> Violation {
    if !course.scenario.faults.is_none() {
        return None;
    }
    let mut followed = vec![None; course.scenario.service.environments.len()];
    let mut most = course.scenario.service.clone().pages(START);
    let of_an_end = match course.scenario.service.ends {
        Ends::AtOnce => 1,
        Ends::AfterMore { calls, .. } => 1 + calls,
    };
    for entry in &course.log {
        let What::Reported(Report::Outcome(outcome, word)) = &entry.what else {
            continue;
        };
        let since = &mut followed[number(&outcome.environment.name)];
        match (word, *since) {
            (Word::First, _) => *since = Some(entry.at),
            (_, Some(since)) => most += most_polls(entry.at - since) + of_an_end,
            (_, None) => {}
        }
    }
    let polls = course.calls.iter().filter(|call| match call.asked {
        Asked::List { purpose, .. } => purpose == ListPurpose::Poll,
        Asked::Read { environment, .. } => {
            followed[environment].is_some_and(|since| since <= call.asked_at)
        }
        Asked::ReadEnvironment(_) | Asked::ReadTag(_) | Asked::Cancel { .. } => false,
    });
    let polls = polls.count();
    (polls > most).then(|| format!("{polls} polls, more than {most}"))
}

/// Returns the most polls of a deployment that is followed for this long. The waits grow by half.
fn most_polls(followed_for: Duration) -> usize {
    let mut after = Duration::from_millis(500);
    let mut polls = 3;
    while after < followed_for {
        after += (after / 2).min(Duration::from_secs(10));
        polls += 1;
    }
    polls
}

/// Without faults, each environment costs one call of each kind.
fn each_environment_is_read_and_cancelled_once(course: &Course) -> Violation {
    if !course.scenario.faults.is_none() {
        return None;
    }
    let count = |is_meant: &dyn Fn(Asked) -> bool| {
        let calls = course.calls.iter();
        calls.filter(|call| is_meant(call.asked)).count()
    };
    let environments = course.scenario.service.environments.len();
    let pages = course.scenario.service.clone().pages(START);
    let finds = count(&|asked| asked.is_list(ListPurpose::Find));
    if finds > pages + 1 {
        return Some(format!("{finds} calls list {pages} pages"));
    }
    let mut times = vec![0_usize; environments * 3];
    for call in &course.calls {
        let index = match call.asked {
            Asked::ReadEnvironment(one) => one,
            Asked::ReadTag(one) => environments + one,
            Asked::Cancel { environment, .. } => 2 * environments + environment,
            Asked::List { .. } | Asked::Read { .. } => continue,
        };
        times[index] += 1;
        if times[index] > 1 {
            return Some(format!("{:?} is made again", call.asked));
        }
    }
    None
}
