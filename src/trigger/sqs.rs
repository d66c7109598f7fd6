//! One SQS record whose body is an outcome event of this function's own: a deployment to follow.
//!
//! The event is the state: nothing else is kept between two reads of the deployment.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Object, UnsupportedPayload, typed, unsupported};
use crate::deployment::{Deployment, Environment, EnvironmentName, Status};
use crate::engine::EngineKind;
use crate::report::detail::{DETAIL_TYPE, SOURCE};
use crate::timestamp::{self, Timestamp};

/// A deployment that is being cancelled, as its `CANCELLING` event reported it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follow {
    /// The ID of the queue's message.
    pub message_id: String,
    /// How often the queue has delivered the message, if SQS says so.
    pub deliveries: Option<u64>,
    /// The deployment.
    pub deployment: Deployment,
    /// When the run asked for the cancel, if it did.
    pub cancel_requested_at: Option<Timestamp>,
    /// The 31 digits of the event's ID that its end shares.
    pub stands_for: String,
    /// Why the run cancelled it.
    pub trigger: ReportedTrigger,
    /// The event's resources.
    pub resources: Vec<String>,
}

/// The trigger of an event, as the event reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedTrigger {
    /// The kind of trigger.
    pub kind: &'static str,
    /// The event's ID.
    pub id: Option<String>,
    /// The alarm's, rule's or schedule's name.
    pub name: Option<String>,
    /// The alarm's, rule's or schedule's ARN.
    pub arn: Option<String>,
    /// The event's own time.
    pub time: Option<Timestamp>,
    /// Why the alarm fired, or the request's reason.
    pub reason: Option<String>,
}

#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow, rename = "Records")]
    records: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Source {
    #[serde(default)]
    event_source: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    message_id: String,
    body: String,
    #[serde(default)]
    attributes: Option<Object<Attributes>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attributes {
    #[serde(default)]
    approximate_receive_count: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Event<'a> {
    source: String,
    detail_type: String,
    resources: Vec<String>,
    #[serde(borrow)]
    detail: &'a RawValue,
}

/// What an outcome event says. Each member must be there, and may be null where the schema says so.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    version: String,
    id: String,
    outcome: String,
    #[serde(deserialize_with = "nullable")]
    message: Option<String>,
    dry_run: bool,
    environment: Object<ReportedEnvironment>,
    deployment: Object<ReportedDeployment>,
    trigger: Object<ReportedCause>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReportedEnvironment {
    name: String,
    arn: String,
    #[serde(deserialize_with = "nullable")]
    account_id: Option<String>,
    #[serde(deserialize_with = "nullable")]
    template_name: Option<String>,
    #[serde(deserialize_with = "nullable")]
    template_version: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReportedDeployment {
    #[serde(deserialize_with = "nullable")]
    id: Option<String>,
    #[serde(deserialize_with = "time")]
    started_at: Option<Timestamp>,
    #[serde(deserialize_with = "time")]
    cancel_requested_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct ReportedCause {
    kind: String,
    #[serde(deserialize_with = "nullable")]
    id: Option<String>,
    #[serde(deserialize_with = "nullable")]
    name: Option<String>,
    #[serde(deserialize_with = "nullable")]
    arn: Option<String>,
    #[serde(deserialize_with = "time")]
    time: Option<Timestamp>,
    #[serde(deserialize_with = "nullable")]
    reason: Option<String>,
}

/// A member that must be there and may be null.
fn nullable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)
}

/// A time that must be there and may be null.
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    text.map(|text| {
        timestamp::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "invalid time `{}`: expected RFC 3339",
                crate::text::cut(&text, 100)
            ))
        })
    })
    .transpose()
}

impl Follow {
    /// Reads a payload with an SQS record. `None` if the payload has none.
    pub fn parse(payload: &[u8], engine: EngineKind) -> Option<Result<Self, UnsupportedPayload>> {
        let payload = std::str::from_utf8(payload).ok()?;
        let Object(Batch { records }) = serde_json::from_str(payload).ok()?;
        let is_of_sqs = |record: &&RawValue| {
            let source: Result<Object<Source>, _> = serde_json::from_str(record.get());
            source.is_ok_and(|Object(one)| one.event_source.as_deref() == Some("aws:sqs"))
        };
        match &records[..] {
            [record] if is_of_sqs(record) => Some(Self::of_record(record.get(), engine)),
            [first, ..] if is_of_sqs(first) => Some(Err(unsupported(format!(
                "the batch has {} SQS records: set the event source's batch size to 1",
                records.len()
            )))),
            _ => None,
        }
    }

    fn of_record(record: &str, engine: EngineKind) -> Result<Self, UnsupportedPayload> {
        let record: Record = typed("the SQS record", record)?;
        if record.message_id.is_empty() {
            return Err(unsupported("the SQS record's `messageId` is empty"));
        }
        let event: Event<'_> = typed("the SQS record's `body`", &record.body)?;
        if event.source != SOURCE || event.detail_type != DETAIL_TYPE {
            return Err(unsupported(format!(
                "the SQS record's event is `{}` from `{}`, not `{DETAIL_TYPE}` from `{SOURCE}`",
                crate::text::cut(&event.detail_type, 100),
                crate::text::cut(&event.source, 100),
            )));
        }
        let detail: Detail = typed("the event's `detail`", event.detail.get())?;
        let deliveries = record
            .attributes
            .and_then(|Object(attributes)| attributes.approximate_receive_count?.parse().ok());
        Ok(Self {
            message_id: record.message_id,
            deliveries,
            stands_for: detail.stands_for()?.to_owned(),
            cancel_requested_at: detail.deployment.0.cancel_requested_at,
            trigger: detail.trigger.0.try_into()?,
            deployment: deployment(
                detail.environment.0,
                detail.deployment.0,
                detail.message,
                engine,
            )?,
            resources: event.resources,
        })
    }
}

impl Detail {
    /// The digits of the ID that the end shares, of an event that is to be followed.
    fn stands_for(&self) -> Result<&str, UnsupportedPayload> {
        if self.version != "1" || self.outcome != "CANCELLING" || self.dry_run {
            return Err(unsupported(format!(
                "the event's `version` is `{}`, its `outcome` `{}` and its `dryRun` {}, not `1`, `CANCELLING` and false",
                crate::text::cut(&self.version, 100),
                crate::text::cut(&self.outcome, 100),
                self.dry_run
            )));
        }
        self.id
            .strip_suffix('0')
            .filter(|digits| {
                digits.len() == 31
                    && digits
                        .bytes()
                        .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
            })
            .ok_or_else(|| {
                unsupported(format!(
                    "the event's `id` `{}` is not 32 hexadecimal digits of which the last is 0",
                    crate::text::cut(&self.id, 100)
                ))
            })
    }
}

impl TryFrom<ReportedCause> for ReportedTrigger {
    type Error = UnsupportedPayload;

    fn try_from(cause: ReportedCause) -> Result<Self, UnsupportedPayload> {
        let kinds = ["alarm", "schedule", "request"];
        let kind = kinds.into_iter().find(|kind| *kind == cause.kind);
        Ok(Self {
            kind: kind.ok_or_else(|| {
                let kind = crate::text::cut(&cause.kind, 100);
                unsupported(format!("the trigger's `kind` `{kind}` is unknown"))
            })?,
            id: cause.id,
            name: cause.name,
            arn: cause.arn,
            time: cause.time,
            reason: cause.reason,
        })
    }
}

fn deployment(
    environment: ReportedEnvironment,
    deployment: ReportedDeployment,
    message: Option<String>,
    engine: EngineKind,
) -> Result<Deployment, UnsupportedPayload> {
    let name = EnvironmentName::parse(&environment.name, engine.name_rule())
        .map_err(|error| unsupported(error.to_string()))?;
    if !is_arn_of(&environment.arn, &name, engine) {
        return Err(unsupported(format!(
            "the ARN `{}` is not that of `{name}`, an environment of the engine `{}`",
            crate::text::cut(&environment.arn, 300),
            engine.as_str()
        )));
    }
    Ok(Deployment {
        environment: Environment {
            name,
            arn: Some(environment.arn),
            account_id: environment.account_id,
            template_name: environment.template_name,
            template_version: environment.template_version,
        },
        id: deployment.id,
        started_at: deployment.started_at,
        status: Status::Cancelling,
        message,
        ended_at: None,
        moved_start: None,
    })
}

/// True if an ARN is that of an environment of this name, or a stack's ID.
fn is_arn_of(arn: &str, name: &EnvironmentName, engine: EngineKind) -> bool {
    let parts: Vec<_> = arn.splitn(6, ':').collect();
    let [prefix, partition, service, region, account, resource] = parts[..] else {
        return false;
    };
    let is_in_place = prefix == "arn"
        && partition.starts_with("aws")
        && !region.is_empty()
        && account.len() == 12
        && account.bytes().all(|byte| byte.is_ascii_digit());
    is_in_place
        && match engine {
            EngineKind::Proton => {
                service == "proton" && resource.strip_prefix("environment/") == Some(name.as_str())
            }
            EngineKind::CloudFormation => {
                let stack = resource.strip_prefix("stack/");
                let stack = stack.and_then(|stack| stack.split_once('/'));
                service == "cloudformation"
                    && stack.is_some_and(|(stack, id)| stack == name.as_str() && !id.is_empty())
            }
        }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event() -> Value {
        json!({
            "version": "0",
            "id": "1f2e",
            "detail-type": "Environment Deployment Cancellation",
            "source": "proton-canceller",
            "account": "123456789012",
            "time": "2026-11-23T06:45:13Z",
            "region": "eu-west-1",
            "resources": ["arn:aws:proton:eu-west-1:123456789012:environment/net"],
            "detail": {
                "version": "1",
                "id": "0f7c5b1e9a3d4c6f8e2b7a1d5c9e3f40",
                "outcome": "CANCELLING",
                "reason": null,
                "message": "User initiated cancellation.",
                "dryRun": false,
                "environment": {
                    "name": "net",
                    "arn": "arn:aws:proton:eu-west-1:123456789012:environment/net",
                    "accountId": null, "templateName": "net", "templateVersion": "1.0"
                },
                "deployment": {
                    "id": "d-1", "startedAt": "2026-11-23T06:40:00Z", "status": "IN_PROGRESS",
                    "cancelRequestedAt": "2026-11-23T06:45:12.5Z", "settledAt": null
                },
                "error": null,
                "trigger": {
                    "kind": "alarm", "id": "7f0c", "name": "checkout-5xx", "arn": null,
                    "time": "2026-11-23T06:45:12Z", "reason": null
                },
                "run": { "requestId": "8a1c" }
            }
        })
    }

    fn record(body: &Value) -> Value {
        json!({
            "messageId": "m-1",
            "receiptHandle": "r",
            "body": body.to_string(),
            "attributes": { "ApproximateReceiveCount": "3" },
            "eventSource": "aws:sqs"
        })
    }

    fn parse(payload: &Value) -> Option<Result<Follow, UnsupportedPayload>> {
        Follow::parse(payload.to_string().as_bytes(), EngineKind::Proton)
    }

    fn parse_event(event: &Value) -> Result<Follow, UnsupportedPayload> {
        parse(&json!({ "Records": [record(event)] })).unwrap()
    }

    #[test]
    fn a_cancelling_event_is_a_deployment_to_follow() {
        let mut event = event();
        event["detail"]["unknown"] = json!({ "new": 1 });
        let follow = parse_event(&event).unwrap();
        assert_eq!(follow.message_id, "m-1");
        assert_eq!(follow.deliveries, Some(3));
        assert_eq!(follow.stands_for, "0f7c5b1e9a3d4c6f8e2b7a1d5c9e3f4");
        assert_eq!(follow.deployment.id.as_deref(), Some("d-1"));
        assert_eq!(follow.deployment.environment.name.as_str(), "net");
        assert_eq!(follow.trigger.kind, "alarm");
        let requested_at = timestamp::parse("2026-11-23T06:45:12.5Z");
        assert_eq!(follow.cancel_requested_at, requested_at);
        assert_eq!(follow.resources.len(), 1);
    }

    #[test]
    fn a_payload_without_an_sqs_record_is_not_followed() {
        for payload in [
            json!({}),
            json!([]),
            json!({ "Records": [] }),
            json!({ "Records": [{ "EventSource": "aws:sns" }] }),
            json!({ "Records": [null] }),
        ] {
            assert!(parse(&payload).is_none(), "{payload}");
        }
    }

    #[test]
    fn a_record_that_is_not_to_be_followed_is_refused() {
        let refused = |pointer: &str, value: Value| {
            let mut event = event();
            *event.pointer_mut(pointer).unwrap() = value.clone();
            assert!(parse_event(&event).is_err(), "{pointer}: {value}");
        };
        for outcome in ["CANCELLED", "FAILED", "ERROR", "DRY_RUN", ""] {
            refused("/detail/outcome", json!(outcome));
        }
        refused("/source", json!("aws.events"));
        refused("/detail-type", json!("Scheduled Event"));
        refused("/detail/version", json!("2"));
        refused("/detail/version", json!(1));
        refused("/detail/dryRun", json!(true));
        refused("/detail/id", json!("0f7c5b1e9a3d4c6f8e2b7a1d5c9e3f41"));
        refused("/detail/id", json!("0f7c"));
        refused("/detail/id", json!("XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX0"));
        refused("/detail/environment/name", json!("-net"));
        refused("/detail/environment/arn", json!(null));
        for arn in [
            "arn:aws:proton:eu-west-1:123456789012:environment/other",
            "arn:aws:proton:eu-west-1:123456789012:service/net",
            "arn:aws:cloudformation:eu-west-1:123456789012:stack/net/7f0c",
            "arn:aws:proton:eu-west-1:1:environment/net",
            "net",
        ] {
            refused("/detail/environment/arn", json!(arn));
        }
        refused("/detail/deployment/startedAt", json!("yesterday"));
        refused("/detail/deployment/id", json!(7));
        refused("/detail/deployment", json!(null));
        refused("/detail/trigger/kind", json!("follow"));
        refused("/detail", json!("{}"));
        refused("/detail", json!([]));
    }

    #[test]
    fn each_member_of_the_detail_must_be_there() {
        for pointer in [
            "/detail/message",
            "/detail/id",
            "/detail/environment/templateName",
            "/detail/deployment/cancelRequestedAt",
            "/detail/trigger/reason",
            "/resources",
        ] {
            let mut event = event();
            let (parent, member) = pointer.rsplit_once('/').unwrap();
            let parent = event.pointer_mut(parent).unwrap().as_object_mut().unwrap();
            parent.remove(member).unwrap();
            assert!(parse_event(&event).is_err(), "{pointer}");
        }
    }

    #[test]
    fn the_batch_has_one_record_with_a_message_id_and_a_body() {
        let good = record(&event());
        let is_refused = |payload: Value| parse(&payload).unwrap().is_err();
        assert!(is_refused(
            json!({ "Records": [good.clone(), good.clone()] })
        ));
        for (member, value) in [
            ("messageId", json!("")),
            ("messageId", json!(null)),
            ("body", json!("no JSON")),
            ("body", json!(null)),
            ("body", json!({})),
        ] {
            let mut record = good.clone();
            record[member] = value;
            assert!(is_refused(json!({ "Records": [record] })), "{member}");
        }
        // How often the message came is told to people alone.
        let mut record = good;
        record["attributes"] = json!({});
        let follow = parse(&json!({ "Records": [record] })).unwrap().unwrap();
        assert_eq!(follow.deliveries, None);
    }

    #[test]
    fn a_stack_is_followed_by_its_id() {
        let mut event = event();
        let arn = "arn:aws:cloudformation:eu-west-1:123456789012:stack/net/7f0c";
        event["detail"]["environment"]["arn"] = json!(arn);
        let payload = json!({ "Records": [record(&event)] }).to_string();
        let parse = |engine| Follow::parse(payload.as_bytes(), engine).unwrap();
        assert!(parse(EngineKind::CloudFormation).is_ok());
        assert!(parse(EngineKind::Proton).is_err());
    }
}
