//! The event that reports an outcome.

use std::borrow::Cow;

use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::aws::call_error::CallError;
use crate::plan::{Mode, SkipReason};
use crate::report::outcome::{End, Outcome};
use crate::text;
use crate::timestamp::{self, Timestamp};
use crate::trigger::{Cause, Follow, ReportedTrigger, Trigger};
pub(crate) use crate::trigger::{DETAIL_TYPE, SOURCE};

/// The most bytes that EventBridge takes in one call, as [it counts them].
///
/// [it counts them]: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevents.html
pub const MOST_BYTES: usize = 1024 * 1024;

/// The most bytes of a `CANCELLING` event as EventBridge delivers it, so that [an SQS message] holds it.
///
/// [an SQS message]: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
const MOST_DELIVERED_BYTES: usize = 256 * 1024;

/// The most bytes that EventBridge adds around an event's detail and resources: names and values of
/// [the envelope] take some 300.
///
/// [the envelope]: https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html
const MOST_ENVELOPE_BYTES: usize = 1024;

/// The longest ARN that EventBridge takes as a resource.
const LONGEST_RESOURCE: usize = 2048;

/// The parts that all outcomes of an invocation have in common.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The trigger, or the event that is followed.
    pub origin: Origin<'a>,
    /// The mode: live or dry run.
    pub mode: Mode,
    /// The ID of the Lambda request.
    pub request_id: &'a str,
}

/// The origin of an outcome: a run or a follow.
#[derive(Clone, Copy, Debug)]
pub enum Origin<'a> {
    /// A trigger started a run.
    Trigger(&'a Trigger),
    /// A `CANCELLING` event is followed to its end.
    Follow(&'a Follow),
}

/// An event, ready for EventBridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The event's `Detail`, JSON that follows `schema/outcome-detail.json`.
    pub detail: String,
    /// The environment's ARN and, for alarms, the alarm's.
    pub resources: Vec<String>,
}

impl Entry {
    /// Returns the event that reports an outcome. Its texts are cut if they are too long for one call.
    #[must_use]
    pub fn of(outcome: &Outcome, context: Context<'_>) -> Self {
        let id = id(outcome, context.origin);
        let resources = match context.origin {
            Origin::Trigger(trigger) => resources(outcome, trigger),
            Origin::Follow(follow) => follow.resources.clone(),
        };
        let most = if outcome.end == End::Cancelling {
            MOST_DELIVERED_BYTES - MOST_ENVELOPE_BYTES
        } else {
            MOST_BYTES
        };
        // In a delivered event, each resource has quotation marks and a comma.
        let rest = SOURCE.len() + DETAIL_TYPE.len() + total(&resources) + 3 * resources.len();
        let detail = text::fit(most.saturating_sub(rest), |limit| {
            let detail = Detail::of(outcome, context, &id, limit);
            // A struct of texts, numbers and options always has a JSON form.
            serde_json::to_string(&detail).unwrap_or_default()
        });
        Self { detail, resources }
    }

    /// Returns the event's size in bytes, as EventBridge counts it.
    #[must_use]
    pub fn size(&self) -> usize {
        SOURCE.len() + DETAIL_TYPE.len() + self.detail.len() + total(&self.resources)
    }
}

fn total(resources: &[String]) -> usize {
    resources.iter().map(String::len).sum()
}

fn resources(outcome: &Outcome, trigger: &Trigger) -> Vec<String> {
    let alarm = match trigger.cause {
        Cause::Alarm(_) => trigger.arn.as_ref(),
        Cause::Schedule | Cause::Request(_) => None,
    };
    outcome
        .environment
        .arn
        .iter()
        .chain(alarm)
        .filter(|arn| arn.len() <= LONGEST_RESOURCE)
        .cloned()
        .collect()
}

/// Returns the ID of an event: 31 digits for the trigger, the environment and the deployment, and one
/// digit that is `0` for `CANCELLING` and `1` for any other outcome.
fn id(outcome: &Outcome, origin: Origin<'_>) -> String {
    let mut id = match origin {
        Origin::Trigger(trigger) => stands_for(outcome, trigger),
        Origin::Follow(follow) => follow.id.chars().take(31).collect(),
    };
    id.push(if outcome.end == End::Cancelling {
        '0'
    } else {
        '1'
    });
    id
}

/// Returns the digits for the trigger, the environment and the deployment. They are the same if the
/// trigger is delivered again, so that subscribers can recognise duplicates.
fn stands_for(outcome: &Outcome, trigger: &Trigger) -> String {
    let mut hash = Sha256::new();
    let mut add = |part: &str| {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    };
    add(trigger.cause.kind());
    match (&trigger.id, &trigger.cause) {
        (Some(id), _) => add(id),
        (None, Cause::Alarm(alarm)) => {
            add(&alarm.name);
            add(trigger.arn.as_deref().unwrap_or_default());
            add(&timestamp::format(alarm.fired_at));
        }
        (None, Cause::Schedule) => {
            add(trigger.arn.as_deref().unwrap_or_default());
            add(&trigger.time.map(timestamp::format).unwrap_or_default());
        }
        (None, Cause::Request(request)) => {
            add(trigger.reason.as_deref().unwrap_or_default());
            add(if request.dry_run { "dry" } else { "live" });
            for name in &request.environments {
                add(name.as_str());
            }
        }
    }
    add(outcome.environment.name.as_str());
    match (&outcome.subject.id, outcome.subject.started_at) {
        (Some(id), _) => add(id),
        (None, Some(started)) => add(&timestamp::format(started)),
        (None, None) => add(""),
    }
    let mut digits = text::hexadecimal(&hash.finalize());
    digits.truncate(31);
    digits
}

/// A time, or `null` if the time is unknown.
#[derive(Debug)]
struct Rfc3339(Option<Timestamp>);

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.map(timestamp::format).serialize(serializer)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Detail<'a> {
    version: &'static str,
    id: &'a str,
    outcome: &'static str,
    reason: Option<&'static str>,
    message: Option<Cow<'a, str>>,
    dry_run: bool,
    environment: EnvironmentDetail<'a>,
    deployment: DeploymentDetail<'a>,
    error: Option<ErrorDetail<'a>>,
    trigger: TriggerDetail<'a>,
    run: RunDetail<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EnvironmentDetail<'a> {
    name: &'a str,
    arn: Option<Cow<'a, str>>,
    account_id: Option<Cow<'a, str>>,
    template_name: Option<Cow<'a, str>>,
    template_version: Option<Cow<'a, str>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeploymentDetail<'a> {
    id: Option<Cow<'a, str>>,
    started_at: Rfc3339,
    status: Option<Cow<'a, str>>,
    cancel_requested_at: Rfc3339,
    settled_at: Rfc3339,
}

/// The error: the service's code and message.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorDetail<'a> {
    code: Cow<'a, str>,
    message: Cow<'a, str>,
}

/// The trigger of a run, as events and summaries report it.
#[derive(Debug, Serialize)]
pub(crate) struct TriggerDetail<'a> {
    kind: &'static str,
    id: Option<Cow<'a, str>>,
    name: Option<Cow<'a, str>>,
    arn: Option<Cow<'a, str>>,
    time: Rfc3339,
    reason: Option<Cow<'a, str>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RunDetail<'a> {
    request_id: &'a str,
}

impl<'a> Detail<'a> {
    fn of(outcome: &'a Outcome, context: Context<'a>, id: &'a str, limit: usize) -> Self {
        let cut = |text: &'a str| text::cut(text, limit);
        let cut_any = |text: &'a Option<String>| text.as_deref().map(cut);
        let deployment = outcome.deployment.as_ref();
        let environment = &outcome.environment;
        let message = deployment.and_then(|deployment| cut_any(&deployment.message));
        let (message, cancel_requested_at, trigger) = match context.origin {
            Origin::Trigger(trigger) => (
                message,
                outcome.cancel_requested_at,
                TriggerDetail::of(trigger, limit),
            ),
            Origin::Follow(follow) => (
                message.or_else(|| cut_any(&follow.deployment.message)),
                follow.cancel_requested_at,
                TriggerDetail::again(&follow.trigger, limit),
            ),
        };
        Self {
            version: "1",
            id,
            outcome: outcome.end.name(),
            reason: outcome.end.skip_reason().map(SkipReason::as_str),
            message,
            dry_run: context.mode == Mode::DryRun,
            environment: EnvironmentDetail {
                name: environment.name.as_str(),
                arn: cut_any(&environment.arn),
                account_id: cut_any(&environment.account_id),
                template_name: cut_any(&environment.template_name),
                template_version: cut_any(&environment.template_version),
            },
            deployment: DeploymentDetail {
                id: deployment.and_then(|deployment| cut_any(&deployment.id)),
                started_at: Rfc3339(deployment.and_then(|deployment| deployment.started_at)),
                status: outcome.status().map(|status| cut(status.as_str())),
                cancel_requested_at: Rfc3339(cancel_requested_at),
                settled_at: Rfc3339(outcome.settled_at),
            },
            error: outcome
                .end
                .error()
                .map(|error| ErrorDetail::of(error, limit)),
            trigger,
            run: RunDetail {
                request_id: context.request_id,
            },
        }
    }
}

impl<'a> ErrorDetail<'a> {
    /// Makes the member. Its texts are cut to `limit` bytes.
    pub(crate) fn of(error: &'a CallError, limit: usize) -> Self {
        Self {
            code: text::cut(&error.code, limit),
            message: text::cut(&error.message, limit),
        }
    }
}

impl<'a> TriggerDetail<'a> {
    /// Makes the member for a follow: the trigger as the followed event reported it.
    fn again(trigger: &'a ReportedTrigger, limit: usize) -> Self {
        let cut_any = |text: &'a Option<String>| text.as_deref().map(|text| text::cut(text, limit));
        Self {
            kind: trigger.kind,
            id: cut_any(&trigger.id),
            name: cut_any(&trigger.name),
            arn: cut_any(&trigger.arn),
            time: Rfc3339(trigger.time),
            reason: cut_any(&trigger.reason),
        }
    }

    /// Makes the member. Its texts are cut to `limit` bytes.
    pub(crate) fn of(trigger: &'a Trigger, limit: usize) -> Self {
        let cut_any = |text: &'a Option<String>| text.as_deref().map(|text| text::cut(text, limit));
        Self {
            kind: trigger.cause.kind(),
            id: cut_any(&trigger.id),
            name: cut_any(&trigger.name),
            arn: cut_any(&trigger.arn),
            time: Rfc3339(trigger.time),
            reason: cut_any(&trigger.reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::aws::call_error::Fault;
    use crate::deployment::{Deployment, Environment, EnvironmentName, NameRule, Status};
    use crate::report::outcome::Subject;
    use crate::trigger::Alarm;

    /// Returns a text of up to three megabytes as JSON.
    fn text() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("x".to_owned()),
            Just("\u{1}".to_owned()),
            Just("\"\\\n".to_owned()),
            Just("\u{2028}".to_owned()),
            any::<String>(),
        ];
        let count = prop_oneof![4 => 0..40_usize, 1 => 0..500_000_usize];
        (piece, count)
            .prop_map(|(piece, count)| piece.repeat(count.min(500_000 / piece.len().max(1))))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn an_event_is_json_and_fits_whatever_its_texts(
            texts in prop::collection::vec(text(), 12),
        ) {
            let mut texts = texts.into_iter();
            let mut next = || texts.next();
            let trigger = Trigger {
                cause: Cause::Alarm(Alarm {
                    name: next().unwrap_or_default(),
                    state: "ALARM".to_owned(),
                    suppressed_by: None,
                    muted_by: None,
                    fired_at: Timestamp::UNIX_EPOCH,
                }),
                id: next(),
                name: next(),
                arn: next(),
                time: None,
                reason: next(),
            };
            let name = EnvironmentName::parse("net", NameRule::Proton).unwrap();
            let outcome = Outcome {
                subject: Subject::default(),
                cancel_requested_at: None,
                settled_at: None,
                is_unread: false,
                environment: Environment {
                    arn: next(),
                    template_name: next(),
                    ..Environment::named(name.clone())
                },
                deployment: Some(Deployment {
                    environment: Environment::named(name),
                    id: next(),
                    started_at: None,
                    status: Status::Other(next().unwrap_or_default()),
                    message: next(),
                    ended_at: None,
                    moved_start: None,
                }),
                end: End::Error(CallError {
                    fault: Fault::Refused,
                    code: next().unwrap_or_default(),
                    message: next().unwrap_or_default(),
                }),
            };
            let context = Context { origin: Origin::Trigger(&trigger), mode: Mode::Live, request_id: "8a1c" };
            let entry = Entry::of(&outcome, context);
            prop_assert!(entry.size() <= MOST_BYTES, "{} bytes", entry.size());
            prop_assert!(entry.resources.iter().all(|arn| arn.len() <= LONGEST_RESOURCE));
            let detail: Value = serde_json::from_str(&entry.detail).unwrap();
            for (pointer, whole) in [
                ("/trigger/reason", trigger.reason.as_deref()),
                ("/message", outcome.deployment.as_ref().and_then(|seen| seen.message.as_deref())),
            ] {
                let (cut, whole) = (detail.pointer(pointer).and_then(Value::as_str).unwrap(), whole.unwrap());
                let is_cut = cut.strip_suffix('…').is_some_and(|kept| whole.starts_with(kept));
                prop_assert!(cut == whole || is_cut, "{pointer}");
            }
        }
    }
}
