//! The maximum number of calls of one invocation.

use std::collections::BTreeMap;
use std::time::Duration;

use proton_canceller::engine::EngineKind;

use crate::record::{Record, is_cancel, is_list, is_of_engine};
use crate::scenario::{Cause, Scenario};

/// Attempts at one call: the first and eight retries.
pub(crate) const ATTEMPTS: usize = 9;

/// Polls until the wait between two has grown from 250 ms, by half each time, to 10 s.
const POLLS_BEFORE_THE_LONGEST_WAIT: usize = 11;

/// The longest wait between two polls.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The time after which a page is read again for the cancels that wait.
const REFRESH_AFTER: Duration = Duration::from_millis(1700);

/// The calls of an invocation, and their maximum.
#[derive(Debug)]
pub(crate) struct Calls {
    /// Calls to the engine.
    pub(crate) engine: usize,
    /// The maximum of calls to the engine.
    pub(crate) most_engine: usize,
    /// Calls to EventBridge.
    pub(crate) event_bridge: usize,
    /// The maximum of calls to EventBridge.
    pub(crate) most_event_bridge: usize,
}

/// Counts an invocation's calls. The maximum of calls to the engine is
///
/// > attempts × (pages + named + tags + cancels × (1 + 2 read) + pages × refreshes) + polls × (cancels × read + pages)
///
/// with `pages` of the listing, `named` environments in a request, `tags` to read, `cancels`
/// environments that are cancelled or read, and `read` calls to read one of them. A page is
/// refreshed every 1.7 s while cancels wait. There are 11 polls for each environment that is
/// followed, and one every 10 s.
///
/// The maximum of calls to EventBridge is attempts × 2 outcomes: each outcome in a batch, and then
/// alone.
pub(crate) fn calls(scenario: &Scenario, record: &Record, request_id: &str) -> Calls {
    let all: Vec<_> = record.calls_of(request_id).collect();
    let engine = all.iter().filter(|call| is_of_engine(call)).count();
    let outcomes = record.reported_by(request_id).count();
    let pages = pages(scenario, record);
    let read = match scenario.engine {
        // The deployment, and the environment if that call is refused.
        EngineKind::Proton => 2,
        // The stack, and the events of two updates: six events each, at two a page or more.
        EngineKind::CloudFormation => 1 + 8,
    };
    let named = scenario.requested.len();
    let tags = if scenario.is_tagged {
        scenario.environments.len()
    } else {
        0
    };
    let concerned = scenario
        .environments
        .iter()
        .filter(|facts| {
            let mut calls = all.iter().filter(|call| !is_list(call));
            calls.any(|call| call.environment.as_ref() == Some(&facts.name))
        })
        .count();
    let times = || {
        all.iter()
            .filter(|call| is_cancel(call))
            .map(|call| call.time)
    };
    let waiting = match (all.first(), times().max()) {
        (Some(first), Some(last)) => last.duration_since(first.time).unwrap_or_default(),
        _ => Duration::ZERO,
    };
    let refreshes = in_parts(waiting, REFRESH_AFTER);
    let following = scenario.settle_timeout.min(scenario.time);
    let polls = POLLS_BEFORE_THE_LONGEST_WAIT * (1 + concerned) + in_parts(following, LONGEST_WAIT);
    Calls {
        engine,
        most_engine: ATTEMPTS
            * (pages + named + tags + concerned * (1 + 2 * read) + pages * refreshes)
            + polls * (concerned * read + pages),
        event_bridge: all.len() - engine,
        most_event_bridge: ATTEMPTS * 2 * outcomes,
    }
}

/// Counts an invocation's calls where nothing fails and only cancels change anything. The maximum of
/// calls to the engine is
///
/// > pages (or named) + tags + cancels × (1 + read) + polls × min(cancels, pages)
///
/// where `read` calls read a deployment that has left the listing. The maximum of calls to
/// EventBridge is the number of outcomes.
pub(crate) fn calls_without_faults(
    scenario: &Scenario,
    record: &Record,
    decisions: &BTreeMap<String, String>,
) -> Calls {
    let of_it = |wanted: &[&str]| {
        let decisions = decisions.values();
        decisions
            .filter(|one| wanted.contains(&one.as_str()))
            .count()
    };
    let cancels = if scenario.is_dry_run {
        0
    } else {
        of_it(&["CANCEL"])
    };
    let pages = pages(scenario, record);
    let is_request = scenario.deliveries[0].cause == Cause::Request;
    let found = if is_request { decisions.len() } else { pages };
    let reads_tags = scenario.is_tagged && scenario.deliveries[0].cause == Cause::Alarm;
    let tags = if reads_tags {
        of_it(&["CANCEL", "NOT_TAGGED", "OVER_LIMIT"])
    } else {
        0
    };
    let read = match scenario.engine {
        EngineKind::Proton => 1,
        // The stack, and the pages of its events.
        EngineKind::CloudFormation => 5,
    };
    let polls = POLLS_BEFORE_THE_LONGEST_WAIT + in_parts(scenario.settle_timeout, LONGEST_WAIT);
    let all = record.calls_of("first-1");
    let (engine, event_bridge): (Vec<_>, Vec<_>) = all.partition(|call| is_of_engine(call));
    Calls {
        engine: engine.len(),
        most_engine: found + tags + cancels * (1 + read) + polls * cancels.min(pages),
        event_bridge: event_bridge.len(),
        // A cancel is published on acceptance, and at its end.
        most_event_bridge: cancels + of_it(&["CANCEL", "OVER_LIMIT", "UNREADABLE"]),
    }
}

/// The number of pages of the listing.
fn pages(scenario: &Scenario, record: &Record) -> usize {
    let entries = match scenario.engine {
        EngineKind::Proton => scenario.environments.len(),
        EngineKind::CloudFormation => scenario.world.environments().len() + record.recreated,
    };
    entries.div_ceil(scenario.page).max(1)
}

fn in_parts(whole: Duration, part: Duration) -> usize {
    usize::try_from(whole.as_millis() / part.as_millis()).unwrap()
}
