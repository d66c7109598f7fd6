//! The function's response: the summary of a run.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::plan::{Mode, SkipReason};
use crate::report::detail::{ErrorDetail, TriggerDetail};
use crate::report::outcome::{NAMES, Outcome};
use crate::text;
use crate::trigger::Trigger;

/// The counts of a listing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Environments listed. For a request, environments read.
    pub listed: u64,
    /// Environments whose deployment was `IN_PROGRESS`.
    pub in_progress: u64,
    /// Environments whose deployment was `CANCELLING` already.
    pub already_cancelling: u64,
}

/// The most bytes of a response. Lambda's limit is [6 MB], the envelope included.
///
/// [6 MB]: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
const MOST_BYTES: usize = 6_000_000;

/// The function's response: the summary of a run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary<'a> {
    trigger: TriggerDetail<'a>,
    dry_run: bool,
    ignored: Option<&'a str>,
    listed: u64,
    in_progress: u64,
    already_cancelling: u64,
    environments: Vec<EnvironmentSummary<'a>>,
    counts: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EnvironmentSummary<'a> {
    name: &'a str,
    outcome: &'static str,
    reason: Option<&'static str>,
    deployment_id: Option<Cow<'a, str>>,
    error: Option<ErrorDetail<'a>>,
}

impl<'a> Summary<'a> {
    /// Returns the summary of a run with these outcomes. Each text from outside is cut to `limit` bytes.
    fn of(
        trigger: &'a Trigger,
        mode: Mode,
        tally: Tally,
        outcomes: &'a [Arc<Outcome>],
        limit: usize,
    ) -> Self {
        let environments = outcomes
            .iter()
            .map(|outcome| EnvironmentSummary {
                name: outcome.environment.name.as_str(),
                outcome: outcome.end.name(),
                reason: outcome.end.skip_reason().map(SkipReason::as_str),
                deployment_id: outcome
                    .deployment
                    .as_ref()
                    .and_then(|deployment| deployment.id.as_deref())
                    .map(|id| text::cut(id, limit)),
                error: outcome
                    .end
                    .error()
                    .map(|error| ErrorDetail::of(error, limit)),
            })
            .collect();
        Self {
            trigger: TriggerDetail::of(trigger, limit),
            dry_run: mode == Mode::DryRun,
            ignored: None,
            listed: tally.listed,
            in_progress: tally.in_progress,
            already_cancelling: tally.already_cancelling,
            environments,
            counts: counts(outcomes),
        }
    }
}

/// Returns the summary of a run with these outcomes, as JSON.
#[must_use]
pub fn answer(trigger: &Trigger, mode: Mode, tally: Tally, outcomes: &[Arc<Outcome>]) -> String {
    text::fit(MOST_BYTES, |limit| {
        json(&Summary::of(trigger, mode, tally, outcomes, limit))
    })
}

/// Returns the summary of a run that ended before the listing, as JSON.
#[must_use]
pub fn ignored(trigger: &Trigger, mode: Mode, why: &str) -> String {
    text::fit(MOST_BYTES, |limit| {
        json(&Summary {
            ignored: Some(why),
            ..Summary::of(trigger, mode, Tally::default(), &[], limit)
        })
    })
}

/// Writes a summary as JSON. Texts, numbers and lists of them always have a JSON form.
fn json(summary: &Summary<'_>) -> String {
    serde_json::to_string(summary).unwrap_or_default()
}

/// Returns the number of outcomes by name.
fn counts(outcomes: &[Arc<Outcome>]) -> BTreeMap<&'static str, u64> {
    let mut counts: BTreeMap<_, _> = NAMES.into_iter().map(|name| (name, 0)).collect();
    for outcome in outcomes {
        *counts.entry(outcome.end.name()).or_default() += 1;
    }
    counts
}
