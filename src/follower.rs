//! The follower: one read of a deployment that is being cancelled, for each delivery of its message.

use std::sync::Arc;

use serde::Serialize;

use crate::aws::call_error::CallError;
use crate::report::detail::Context;
use crate::report::outcome::{End, Outcome};
use crate::report::publish::{Publisher, Unpublished};
use crate::run::{Driver, Limits, Note, Report, Run, Word};
use crate::trigger::Follow;

/// The response to an SQS batch. Without this member, Lambda deletes the message: see
/// [partial batch responses].
///
/// [partial batch responses]: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BatchResponse<'a> {
    batch_item_failures: Vec<BatchItemFailure<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BatchItemFailure<'a> {
    item_identifier: &'a str,
}

/// The consequence of a read of the deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The outcome is published, and the message deleted.
    Publish(Arc<Outcome>),
    /// The queue delivers the message again.
    Again,
    /// The invocation fails, because an operator must act.
    Fail(CallError),
}

impl Verdict {
    /// Returns the consequence of a read with this outcome.
    fn of(outcome: Outcome, word: Word) -> Self {
        match &outcome.end {
            _ if word != Word::Last => Self::Again,
            End::Error(error) if error.is_transient() => Self::Again,
            End::Error(error) if !error.tells_that_no_end_will_come() => Self::Fail(error.clone()),
            End::Error(_)
            | End::Cancelled
            | End::Failed
            | End::Succeeded
            | End::Cancelling
            | End::DryRun
            | End::Skipped(_) => Self::Publish(Arc::new(outcome)),
        }
    }
}

/// Reads the deployment once and publishes its end if it has one. Returns the consequence, and the
/// outcomes that could not be published.
pub(crate) async fn follow(
    driver: Driver<'_>,
    limits: Limits,
    follow: &Follow,
    context: Context<'_>,
) -> (Verdict, Vec<Unpublished>) {
    let now = driver.clock.now();
    let mut run = Run::follow(follow.deployment.clone(), limits, now);
    let mut publisher = Publisher::new(context, limits.budget.publish_until, limits.seed);
    let mut reading = LastReading::new(follow);
    driver
        .drive(&mut run, &mut publisher, |report| reading.take_in(report))
        .await;
    (reading.verdict, publisher.into_unpublished())
}

/// Returns the response to the delivery of a message. The response lists the message if the queue must
/// deliver it again.
#[must_use]
pub(crate) fn answer(verdict: &Verdict, follow: &Follow) -> String {
    let batch_item_failures = match verdict {
        Verdict::Again => vec![BatchItemFailure {
            item_identifier: &follow.message_id,
        }],
        Verdict::Publish(_) | Verdict::Fail(_) => Vec::new(),
    };
    let response = BatchResponse {
        batch_item_failures,
    };
    // Texts always have a JSON form.
    serde_json::to_string(&response).unwrap_or_default()
}

/// The last reading of the deployment.
#[derive(Debug)]
struct LastReading<'a> {
    follow: &'a Follow,
    has_hit_newer: bool,
    verdict: Verdict,
}

impl<'a> LastReading<'a> {
    fn new(follow: &'a Follow) -> Self {
        Self {
            follow,
            has_hit_newer: false,
            verdict: Verdict::Again,
        }
    }

    /// Applies a report of the run. Returns the outcome to publish, if any.
    fn take_in(&mut self, report: Report) -> Option<Arc<Outcome>> {
        let (outcome, word) = match report {
            Report::Note(note) => {
                self.has_hit_newer |= matches!(note, Note::HitNewer { .. });
                note.log();
                return None;
            }
            Report::Outcome(outcome, word) => (*outcome, word),
        };
        if let Some(error) = outcome.end.error().filter(|error| error.is_transient()) {
            tracing::warn!(
                environment = outcome.environment.name.as_str(),
                error = error.to_string(),
                "reading the deployment again with the next delivery"
            );
        }
        self.verdict = Verdict::of(self.as_reported(outcome), word);
        self.log();
        match &self.verdict {
            Verdict::Publish(outcome) => Some(Arc::clone(outcome)),
            Verdict::Again | Verdict::Fail(_) => None,
        }
    }

    /// Returns the outcome with the message's environment and the message's identity of the deployment.
    fn as_reported(&self, outcome: Outcome) -> Outcome {
        let error = outcome.end.error();
        let is_read = error.is_none_or(CallError::is_unexpected_status);
        let reported = &self.follow.deployment;
        let deployment = outcome.deployment.map(|mut deployment| {
            if !self.has_hit_newer {
                deployment.id.clone_from(&reported.id);
                deployment.started_at = reported.started_at;
            }
            if error.is_some() {
                deployment.message.clone_from(&reported.message);
            }
            deployment
        });
        Outcome {
            environment: reported.environment.clone(),
            deployment,
            is_unread: !is_read,
            ..outcome
        }
    }

    fn log(&self) {
        let reads = self.follow.receive_count;
        let environment = self.follow.deployment.environment.name.as_str();
        match &self.verdict {
            Verdict::Publish(outcome) => match outcome.end.error() {
                None => tracing::info!(environment, outcome = outcome.end.name(), reads, "outcome"),
                Some(error) => tracing::error!(
                    environment,
                    outcome = outcome.end.name(),
                    code = error.code,
                    error = error.message,
                    reads,
                    "outcome"
                ),
            },
            Verdict::Again => tracing::debug!(environment, reads, "the deployment has not ended"),
            Verdict::Fail(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::call_error::Fault;
    use crate::deployment::{Environment, EnvironmentName, NameRule};

    fn verdict(end: End, word: Word) -> Verdict {
        let name = EnvironmentName::parse("net", NameRule::Proton).unwrap();
        Verdict::of(Outcome::unread(Environment::named(name), end), word)
    }

    fn error(fault: Fault) -> CallError {
        CallError {
            fault,
            ..CallError::late()
        }
    }

    #[test]
    fn an_end_is_published_and_an_open_deployment_is_delivered_again() {
        for end in [End::Cancelled, End::Failed, End::Succeeded] {
            assert!(matches!(verdict(end, Word::Last), Verdict::Publish(_)));
        }
        assert_eq!(verdict(End::Cancelling, Word::Unchanged), Verdict::Again);
    }

    #[test]
    fn an_errors_kind_decides_between_a_retry_an_event_and_a_failure() {
        for fault in [
            Fault::Throttled,
            Fault::Broken,
            Fault::Lost,
            Fault::Late,
            Fault::Unreachable,
        ] {
            let verdict = verdict(End::Error(error(fault)), Word::Last);
            assert_eq!(verdict, Verdict::Again, "{fault:?}");
        }
        for fault in [Fault::Refused, Fault::Untrusted] {
            let verdict = verdict(End::Error(error(fault)), Word::Last);
            assert!(matches!(verdict, Verdict::Fail(_)), "{fault:?}");
        }
        for error in [
            error(Fault::NotFound),
            CallError::superseded(),
            CallError::beyond_the_events(),
            CallError::unexpected_status("DELETE_IN_PROGRESS"),
        ] {
            let verdict = verdict(End::Error(error.clone()), Word::Last);
            assert!(matches!(verdict, Verdict::Publish(_)), "{error}");
        }
    }
}
