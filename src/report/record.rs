//! The record of a run: its counts and its outcomes.

use std::sync::Arc;
use std::time::Duration;

use crate::aws::call_error::CallError;
use crate::deployment::Deployment;
use crate::plan::SkipReason;
use crate::report::outcome::Outcome;
use crate::report::publish::Unpublished;
use crate::report::summary::Tally;
use crate::timestamp::Timestamp;
use crate::trigger::Trigger;

/// The counts and outcomes of a run.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// The counts of the listing.
    pub(crate) tally: Tally,
    /// The last outcome of each candidate.
    pub(crate) outcomes: Vec<Arc<Outcome>>,
    /// When the service accepted the first cancel.
    pub(crate) first_accepted: Option<Timestamp>,
    /// The outcomes that could not be published.
    pub(crate) unpublished: Vec<Unpublished>,
}

impl Record {
    /// Returns the time from the trigger to the first accepted cancel.
    #[must_use]
    pub(crate) fn time_to_first_cancel(&self, trigger: &Trigger) -> Option<Duration> {
        let accepted = self.first_accepted?;
        let time = trigger.time?;
        Some((accepted - time).try_into().unwrap_or_default())
    }

    /// Returns the environments with a transient error, with that error.
    pub(crate) fn incomplete(&self) -> impl Iterator<Item = (&str, &CallError)> {
        self.outcomes.iter().filter_map(|outcome| {
            let error = outcome.end.error().filter(|error| error.is_transient())?;
            Some((outcome.environment.name.as_str(), error))
        })
    }
}

/// Writes the log line of an outcome.
pub(crate) fn log(outcome: &Outcome) {
    let environment = outcome.environment.name.as_str();
    let deployment = outcome
        .deployment
        .as_ref()
        .and_then(Deployment::id_for_a_line);
    let deployment = deployment.as_deref();
    let name = outcome.end.name();
    match (outcome.end.error(), outcome.end.skip_reason()) {
        (Some(error), _) => tracing::error!(
            environment,
            deployment,
            outcome = name,
            code = error.code,
            error = error.message,
            "outcome"
        ),
        (None, Some(SkipReason::OverLimit)) => tracing::warn!(
            environment,
            deployment,
            outcome = name,
            reason = SkipReason::OverLimit.as_str(),
            "outcome"
        ),
        (None, reason) => tracing::info!(
            environment,
            deployment,
            outcome = name,
            reason = reason.map(SkipReason::as_str),
            "outcome"
        ),
    }
}
