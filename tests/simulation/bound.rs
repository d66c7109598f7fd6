//! The most calls that one invocation makes.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::record::{Record, is_cancel, is_list, is_of_engine};
use crate::scenario::{Cause, Deployer, Scenario};

/// Attempts at one call: the first and eight repeats.
pub(crate) const ATTEMPTS: usize = 9;

/// Looks before the wait between two of them has grown from 100 ms by halves to the longest, 10 s.
const LOOKS_BEFORE_THE_LONGEST_WAIT: usize = 13;

/// The longest wait between two looks.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A page of the listing is read again for those that wait no sooner than that.
const READING_AGES: Duration = Duration::from_millis(1700);

/// The calls of an invocation, and the most that they may be.
#[derive(Debug)]
pub(crate) struct Calls {
    /// Calls to the engine.
    pub(crate) engine: usize,
    /// The most of them.
    pub(crate) most_engine: usize,
    /// Calls to EventBridge.
    pub(crate) event_bridge: usize,
    /// The most of them.
    pub(crate) most_event_bridge: usize,
}

/// Counts an invocation's calls. With `pages` of the listing, `named` environments in a request,
/// `tags` that are asked for, `cancels` environments that a cancel or a look is made for, and `look`,
/// the calls that a look at one of them takes, it makes to the engine no more than
///
/// > attempts × (pages + named + tags + cancels × (1 + 2 look) + pages × renewals) + rounds × (cancels × look + pages)
///
/// where a renewal comes each 1.7 s while cancels wait, and the rounds of following are 13 for each
/// time that something new is followed, and one each 10 s; and to EventBridge, with each of `told`
/// outcomes in a batch and then alone, no more than
///
/// > attempts × 2 told
pub(crate) fn calls(scenario: &Scenario, record: &Record, request_id: &str) -> Calls {
    let all: Vec<_> = record.calls_of(request_id).collect();
    let engine = all.iter().filter(|call| is_of_engine(call)).count();
    let told = record.told_by(request_id).count();
    let pages = pages(scenario, record);
    let look = match scenario.deployer {
        // By the deployment, and by the environment where that is refused.
        Deployer::Proton => 2,
        // The stack, and its events: six of an update, two a page in the worst case, and two updates.
        Deployer::CloudFormation => 1 + 8,
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
    let renewals = in_parts(waiting, READING_AGES);
    let following = scenario.settle_timeout.min(scenario.time);
    let rounds =
        LOOKS_BEFORE_THE_LONGEST_WAIT * (1 + concerned) + in_parts(following, LONGEST_WAIT);
    Calls {
        engine,
        most_engine: ATTEMPTS
            * (pages + named + tags + concerned * (1 + 2 * look) + pages * renewals)
            + rounds * (concerned * look + pages),
        event_bridge: all.len() - engine,
        most_event_bridge: ATTEMPTS * 2 * told,
    }
}

/// The same where nothing fails and nothing changes but by a cancel: with `read` environments that a
/// request names, no more calls to the engine than
///
/// > pages (or read) + tags + cancels × (1 + look) + rounds × min(cancels, pages)
///
/// where the look is at what has left the listing's pages, and rounds are as before; and to
/// EventBridge no more than there are outcomes to tell.
pub(crate) fn calls_in_a_still_world(
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
    let is_asked = scenario.is_tagged && scenario.deliveries[0].cause == Cause::Alarm;
    let tags = if is_asked {
        of_it(&["CANCEL", "NOT_TAGGED", "OVER_LIMIT"])
    } else {
        0
    };
    let look = match scenario.deployer {
        Deployer::Proton => 1,
        // The stack, and the pages of its events.
        Deployer::CloudFormation => 5,
    };
    let rounds = LOOKS_BEFORE_THE_LONGEST_WAIT + in_parts(scenario.settle_timeout, LONGEST_WAIT);
    let all = record.calls_of("first-1");
    let (engine, event_bridge): (Vec<_>, Vec<_>) = all.partition(|call| is_of_engine(call));
    Calls {
        engine: engine.len(),
        most_engine: found + tags + cancels * (1 + look) + rounds * cancels.min(pages),
        event_bridge: event_bridge.len(),
        // A cancel is told when it is accepted, and when its end is seen.
        most_event_bridge: cancels + of_it(&["CANCEL", "OVER_LIMIT", "UNREADABLE"]),
    }
}

/// The pages of a listing.
fn pages(scenario: &Scenario, record: &Record) -> usize {
    let entries = match scenario.deployer {
        Deployer::Proton => scenario.environments.len(),
        Deployer::CloudFormation => scenario.world.environments().len() + record.made_anew,
    };
    entries.div_ceil(scenario.page).max(1)
}

fn in_parts(whole: Duration, part: Duration) -> usize {
    usize::try_from(whole.as_millis() / part.as_millis()).unwrap()
}
