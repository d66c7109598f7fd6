//! A message from the follower's queue: the `CANCELLING` event of a deployment whose end is not reported
//! yet.

use aws_lambda_events::sqs::SqsEvent;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::event::Event;
use super::json::{Object, nullable, typed};
use super::{UnsupportedPayload, unsupported};
use crate::deployment::{Deployment, Environment, EnvironmentName, Status};
use crate::engine::EngineKind;
use crate::timestamp::{self, Timestamp};

/// The `Source` of every event of this function.
pub const SOURCE: &str = "proton-canceller";

/// The `DetailType` of every event of this function.
pub const DETAIL_TYPE: &str = "Environment Deployment Cancellation";

/// The version of the `Detail` that a follow accepts.
const VERSION: &str = "1";

/// A deployment whose cancel was accepted, and whose end is to be reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follow {
    /// The SQS message's ID, by which the response names a message to deliver again.
    pub message_id: String,
    /// The number of deliveries of the message, this one included. `None` if SQS does not send it.
    pub(crate) receive_count: Option<u64>,
    /// The ID of the `CANCELLING` event: 32 hexadecimal digits, the last of which is `0`.
    pub id: String,
    /// The deployment and its environment, as the `CANCELLING` event reported them.
    pub deployment: Deployment,
    /// When the run requested the cancel.
    pub cancel_requested_at: Option<Timestamp>,
    /// The trigger of the run.
    pub trigger: ReportedTrigger,
    /// The `CANCELLING` event's resources.
    pub(crate) resources: Vec<String>,
}

/// The trigger of a run, as the run's events report it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedTrigger {
    /// `alarm`, `schedule` or `request`.
    pub(crate) kind: &'static str,
    /// The ID of the event or, for a request, of the Lambda request.
    pub(crate) id: Option<String>,
    /// The alarm's, rule's or schedule's name.
    pub(crate) name: Option<String>,
    /// The alarm's, rule's or schedule's ARN.
    pub(crate) arn: Option<String>,
    /// The event's own time.
    pub time: Option<Timestamp>,
    /// The alarm's state reason, or the request's reason.
    pub(crate) reason: Option<String>,
}

/// The members of a `Detail` that a follow needs. Each must be present, with `null` for an unknown value.
/// With `CANCELLING`, `reason` and `error` are `null`. Other members are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    version: String,
    id: String,
    outcome: String,
    #[serde(rename = "reason")]
    _reason: (),
    #[serde(deserialize_with = "nullable")]
    message: Option<String>,
    dry_run: bool,
    environment: Object<EnvironmentMembers>,
    deployment: Object<DeploymentMembers>,
    #[serde(rename = "error")]
    _error: (),
    trigger: Object<TriggerMembers>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EnvironmentMembers {
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
struct DeploymentMembers {
    #[serde(deserialize_with = "nullable")]
    id: Option<String>,
    #[serde(deserialize_with = "time")]
    started_at: Option<Timestamp>,
    #[serde(deserialize_with = "nullable")]
    status: Option<String>,
    #[serde(deserialize_with = "time")]
    cancel_requested_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct TriggerMembers {
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

/// Reads a time in UTC, or `null`. The member must be present.
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    Option::<String>::deserialize(deserializer)?
        .map(|text| {
            timestamp::parse(&text)
                .filter(|_| text.ends_with('Z'))
                .ok_or_else(|| {
                    let text = crate::text::cut(&text, 100);
                    D::Error::custom(format!(
                        "invalid time `{text}`: must be RFC 3339 in UTC, such as 2026-11-23T06:45:12Z"
                    ))
                })
        })
        .transpose()
}

/// Reads the one record of a payload from SQS.
pub(super) fn follow(payload: &str, engine: EngineKind) -> Result<Follow, UnsupportedPayload> {
    let event: SqsEvent = typed("the SQS message", payload)?;
    let Some(message) = event.records.into_iter().next() else {
        return Err(unsupported("the SQS event has no record"));
    };
    let Some(message_id) = message.message_id.filter(|id| !id.is_empty()) else {
        return Err(unsupported("the SQS message has no `messageId`"));
    };
    let receive_count = message
        .attributes
        .get("ApproximateReceiveCount")
        .and_then(|count| count.parse().ok());
    let body = message.body.unwrap_or_default();
    let event: Event = typed("the SQS message's `body`", &body)?;
    if (event.source.as_str(), event.detail_type.as_str()) != (SOURCE, DETAIL_TYPE) {
        return Err(unsupported(format!(
            "the SQS message's event `{}` from `{}` is not one of this function's own",
            crate::text::cut(&event.detail_type, 100),
            crate::text::cut(&event.source, 100),
        )));
    }
    let detail = event.detail.as_deref().map_or("null", RawValue::get);
    let detail: Detail = typed("the `detail` of the SQS message's event", detail)?;
    detail.check()?;
    let (deployment, cancel_requested_at) = deployment(&detail, engine)?;
    Ok(Follow {
        message_id,
        receive_count,
        deployment,
        cancel_requested_at,
        id: detail.id,
        trigger: reported(detail.trigger.0)?,
        resources: event.resources.unwrap_or_default(),
    })
}

impl Detail {
    /// Checks that a follow can publish the end for this event.
    fn check(&self) -> Result<(), UnsupportedPayload> {
        let cut = |text| crate::text::cut(text, 100);
        if self.version != VERSION {
            return Err(unsupported(format!(
                "the event's `detail` has version `{}`, not `{VERSION}`",
                cut(&self.version)
            )));
        }
        if self.outcome != "CANCELLING" {
            return Err(unsupported(format!(
                "the event's outcome is `{}`, not `CANCELLING`",
                cut(&self.outcome)
            )));
        }
        if self.dry_run {
            return Err(unsupported("the event is of a dry run"));
        }
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if self.id.len() != 32 || !self.id.bytes().all(is_digit) || !self.id.ends_with('0') {
            return Err(unsupported(format!(
                "the event's `id` is `{}`, not 32 hexadecimal digits of which the last is `0`",
                cut(&self.id)
            )));
        }
        Ok(())
    }
}

/// Returns the deployment that the event reports, and when its cancel was requested.
fn deployment(
    detail: &Detail,
    engine: EngineKind,
) -> Result<(Deployment, Option<Timestamp>), UnsupportedPayload> {
    let Object(environment) = &detail.environment;
    let Object(deployment) = &detail.deployment;
    let name = EnvironmentName::parse(&environment.name, engine.name_rule())
        .map_err(|error| unsupported(error.to_string()))?;
    if !names(&environment.arn, engine, &name) {
        let (arn, kind) = (crate::text::cut(&environment.arn, 300), arn_of(engine));
        return Err(unsupported(format!(
            "the event's environment `{name}` has the ARN `{arn}`, which is not its {kind}"
        )));
    }
    let environment = Environment {
        name,
        arn: Some(environment.arn.clone()),
        account_id: environment.account_id.clone(),
        template_name: environment.template_name.clone(),
        template_version: environment.template_version.clone(),
    };
    let reported = Deployment {
        environment,
        id: deployment.id.clone(),
        started_at: deployment.started_at,
        status: status(deployment.status.as_deref()),
        message: detail.message.clone(),
        ended_at: None,
        moved_start: None,
    };
    Ok((reported, deployment.cancel_requested_at))
}

/// Returns the status that an event reports. If the event has none, `CANCELLING`, like its outcome.
fn status(text: Option<&str>) -> Status {
    let known = [
        Status::InProgress,
        Status::Cancelling,
        Status::Cancelled,
        Status::Failed,
        Status::Succeeded,
    ];
    match text {
        None => Status::Cancelling,
        Some(text) => known
            .into_iter()
            .find(|status| status.as_str() == text)
            .unwrap_or_else(|| Status::Other(text.to_owned())),
    }
}

fn reported(trigger: TriggerMembers) -> Result<ReportedTrigger, UnsupportedPayload> {
    let kinds = ["alarm", "schedule", "request"];
    let Some(kind) = kinds.into_iter().find(|kind| *kind == trigger.kind) else {
        let kind = crate::text::cut(&trigger.kind, 100);
        return Err(unsupported(format!(
            "the event's trigger is of the kind `{kind}`: must be `alarm`, `schedule` or `request`"
        )));
    };
    Ok(ReportedTrigger {
        kind,
        id: trigger.id,
        name: trigger.name,
        arn: trigger.arn,
        time: trigger.time,
        reason: trigger.reason,
    })
}

/// Returns the engine's term for an environment's ARN.
fn arn_of(engine: EngineKind) -> &'static str {
    match engine {
        EngineKind::Proton => "Proton environment's ARN",
        EngineKind::CloudFormation => "stack id",
    }
}

/// True if the ARN is that of this engine's environment of this name.
fn names(arn: &str, engine: EngineKind, name: &EnvironmentName) -> bool {
    let parts: Vec<_> = arn.splitn(6, ':').collect();
    let [prefix, partition, service, region, account, resource] = parts.as_slice() else {
        return false;
    };
    let is_complete = *prefix == "arn"
        && partition.starts_with("aws")
        && !region.is_empty()
        && account.len() == 12
        && account.bytes().all(|byte| byte.is_ascii_digit());
    let path: Vec<_> = resource.split('/').collect();
    let is_of_it = match (engine, path.as_slice()) {
        (EngineKind::Proton, ["environment", of]) => *service == "proton" && *of == name.as_str(),
        (EngineKind::CloudFormation, ["stack", of, id]) => {
            *service == "cloudformation" && *of == name.as_str() && !id.is_empty()
        }
        (EngineKind::Proton | EngineKind::CloudFormation, _) => false,
    };
    is_complete && is_of_it
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::trigger::Payload;

    const ARN: &str = "arn:aws:proton:eu-west-1:123456789012:environment/prod-net";

    const STACK: &str = "arn:aws:cloudformation:eu-west-1:123456789012:stack/prod-net/8f0c4f5e-2f0b-4c59-9d5b-3a8a2d7f6c11";

    fn event() -> Value {
        json!({
            "version": "0",
            "id": "7f0c4f5e-2f0b-4c59-9d5b-3a8a2d7f6c11",
            "detail-type": DETAIL_TYPE,
            "source": SOURCE,
            "account": "123456789012",
            "time": "2026-11-23T06:45:20Z",
            "region": "eu-west-1",
            "resources": [ARN, "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:checkout-5xx"],
            "detail": {
                "version": "1",
                "id": "0123456789abcdef0123456789abcde0",
                "outcome": "CANCELLING",
                "reason": null,
                "message": "rolling back",
                "dryRun": false,
                "environment": {
                    "name": "prod-net",
                    "arn": ARN,
                    "accountId": null,
                    "templateName": "net",
                    "templateVersion": "1.0",
                },
                "deployment": {
                    "id": "d-1",
                    "startedAt": "2026-11-23T06:40:00Z",
                    "status": "CANCELLING",
                    "cancelRequestedAt": "2026-11-23T06:45:19.250Z",
                    "settledAt": null,
                },
                "error": null,
                "trigger": {
                    "kind": "alarm",
                    "id": "e-1",
                    "name": "checkout-5xx",
                    "arn": "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:checkout-5xx",
                    "time": "2026-11-23T06:45:12Z",
                    "reason": "Threshold Crossed",
                },
                "run": { "requestId": "8a1c" },
            },
        })
    }

    fn record(body: &str) -> Value {
        json!({
            "messageId": "m-1",
            "receiptHandle": "AQEB",
            "body": body,
            "attributes": { "ApproximateReceiveCount": "3", "SentTimestamp": "1795416320000" },
            "messageAttributes": {},
            "md5OfBody": "0",
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:follow",
            "awsRegion": "eu-west-1",
        })
    }

    fn parse(records: &Value, engine: EngineKind) -> Result<Follow, String> {
        let payload = json!({ "Records": records }).to_string();
        match Payload::parse(payload.as_bytes(), engine, "8a1c") {
            Ok(Payload::Follow(follow)) => Ok(*follow),
            Ok(Payload::Run(trigger)) => panic!("a run: {trigger:?}"),
            Err(refusal) => Err(refusal.to_string()),
        }
    }

    fn of(event: &Value) -> Result<Follow, String> {
        parse(&json!([record(&event.to_string())]), EngineKind::Proton)
    }

    /// Returns the event with the value at this pointer changed, or removed.
    fn with(pointer: &str, value: Option<Value>) -> Value {
        let mut event = event();
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        let members = event.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        match value {
            Some(value) => members.insert(member.to_owned(), value),
            None => members.remove(member),
        };
        event
    }

    fn time(text: &str) -> Option<Timestamp> {
        timestamp::parse(text)
    }

    #[test]
    fn a_cancelling_event_is_followed_with_all_that_its_end_must_repeat() {
        let follow = of(&event()).unwrap();
        assert_eq!(follow.message_id, "m-1");
        assert_eq!(follow.receive_count, Some(3));
        assert_eq!(follow.id, "0123456789abcdef0123456789abcde0");
        assert_eq!(follow.cancel_requested_at, time("2026-11-23T06:45:19.250Z"));
        assert_eq!(follow.resources.len(), 2);
        let deployment = follow.deployment;
        assert_eq!(deployment.id.as_deref(), Some("d-1"));
        assert_eq!(deployment.started_at, time("2026-11-23T06:40:00Z"));
        assert_eq!(deployment.status, Status::Cancelling);
        assert_eq!(deployment.message.as_deref(), Some("rolling back"));
        let environment = deployment.environment;
        assert_eq!(environment.name.as_str(), "prod-net");
        assert_eq!(environment.arn.as_deref(), Some(ARN));
        assert_eq!(environment.account_id, None);
        assert_eq!(environment.template_name.as_deref(), Some("net"));
        assert_eq!(environment.template_version.as_deref(), Some("1.0"));
        let trigger = follow.trigger;
        assert_eq!(trigger.kind, "alarm");
        assert_eq!(trigger.id.as_deref(), Some("e-1"));
        assert_eq!(trigger.name.as_deref(), Some("checkout-5xx"));
        assert!(trigger.arn.is_some());
        assert_eq!(trigger.time, time("2026-11-23T06:45:12Z"));
        assert_eq!(trigger.reason.as_deref(), Some("Threshold Crossed"));
    }

    #[test]
    fn a_stack_is_followed_by_the_engine_that_updates_it() {
        let stack = with("/detail/environment/arn", Some(json!(STACK)));
        let records = json!([record(&stack.to_string())]);
        let follow = parse(&records, EngineKind::CloudFormation).unwrap();
        assert_eq!(follow.deployment.environment.arn.as_deref(), Some(STACK));
        assert!(parse(&records, EngineKind::Proton).is_err());
        let proton = json!([record(&event().to_string())]);
        let refusal = parse(&proton, EngineKind::CloudFormation).unwrap_err();
        assert!(refusal.contains("not its stack id"), "{refusal}");
    }

    #[test]
    fn unknown_members_are_ignored() {
        let mut event = event();
        for pointer in ["", "/detail", "/detail/environment", "/detail/trigger"] {
            event.pointer_mut(pointer).unwrap()["new"] = json!({ "a": [1] });
        }
        assert_eq!(of(&event), of(&self::event()));
    }

    #[test]
    fn a_null_value_stays_unknown() {
        for pointer in [
            "/detail/message",
            "/detail/deployment/id",
            "/detail/deployment/startedAt",
            "/detail/deployment/status",
            "/detail/deployment/cancelRequestedAt",
            "/detail/trigger/id",
            "/detail/trigger/name",
            "/detail/trigger/arn",
            "/detail/trigger/time",
            "/detail/trigger/reason",
            "/detail/environment/templateName",
        ] {
            assert!(of(&with(pointer, Some(Value::Null))).is_ok(), "{pointer}");
            assert!(of(&with(pointer, None)).is_err(), "{pointer} is missing");
        }
    }

    #[test]
    fn an_event_that_a_follow_cannot_complete_is_refused() {
        for (pointer, values) in [
            (
                "/source",
                vec![json!("proton-cancel"), json!(null), json!(1)],
            ),
            ("/detail-type", vec![json!("Scheduled Event"), json!(null)]),
            (
                "/detail",
                vec![json!(null), json!("{}"), json!({}), json!([])],
            ),
            ("/detail/version", vec![json!("2"), json!(1), json!(null)]),
            (
                "/detail/outcome",
                vec![
                    json!("CANCELLED"),
                    json!("ERROR"),
                    json!("cancelling"),
                    json!(null),
                ],
            ),
            (
                "/detail/dryRun",
                vec![json!(true), json!("false"), json!(null)],
            ),
            ("/detail/reason", vec![json!("OVER_LIMIT")]),
            ("/detail/error", vec![json!({"code": "A", "message": "b"})]),
            (
                "/detail/id",
                vec![
                    json!("0123456789abcdef0123456789abcde1"),
                    json!("0123456789ABCDEF0123456789ABCDE0"),
                    json!("0123456789abcdef0123456789abcd0"),
                    json!("g123456789abcdef0123456789abcde0"),
                    json!(""),
                    json!(null),
                ],
            ),
            (
                "/detail/environment/name",
                vec![
                    json!("prod-db"),
                    json!("-net"),
                    json!(""),
                    json!("*"),
                    json!(null),
                ],
            ),
            (
                "/detail/environment/arn",
                vec![
                    json!(STACK),
                    json!("arn:aws:proton:eu-west-1:123456789012:environment/other"),
                    json!("arn:aws:proton:eu-west-1:123456789012:service/prod-net"),
                    json!("arn:aws:proton:eu-west-1:123456789012:environment/prod-net/x"),
                    json!("arn:aws:proton::123456789012:environment/prod-net"),
                    json!("arn:aws:proton:eu-west-1:12:environment/prod-net"),
                    json!("prod-net"),
                    json!(null),
                ],
            ),
            (
                "/detail/environment",
                vec![json!(null), json!(["prod-net", ARN])],
            ),
            ("/detail/deployment", vec![json!(null), json!([])]),
            (
                "/detail/deployment/startedAt",
                vec![
                    json!("yesterday"),
                    json!("2026-11-23T06:40:00+01:00"),
                    json!(1),
                ],
            ),
            ("/detail/trigger/kind", vec![json!("follow"), json!(null)]),
        ] {
            for value in values {
                let refusal = of(&with(pointer, Some(value.clone())));
                assert!(refusal.is_err(), "{pointer} {value}: {refusal:?}");
            }
            assert!(of(&with(pointer, None)).is_err(), "{pointer} is missing");
        }
    }

    #[test]
    fn there_is_one_record_with_a_message_id_and_a_body() {
        let good = record(&event().to_string());
        let changed = |member: &str, value: Value| {
            let mut record = good.clone();
            record[member] = value;
            json!([record])
        };
        for records in [
            json!([good, good]),
            json!([good, { "eventSource": "aws:sns" }]),
            changed("messageId", json!("")),
            changed("messageId", json!(null)),
            changed("messageId", json!(7)),
            changed("body", json!(null)),
            changed("body", json!("")),
            changed("body", json!("no JSON")),
            changed("body", json!("[]")),
            changed("body", event()),
            changed("eventSource", json!("aws:s3")),
            changed("EventSource", json!("aws:sns")),
        ] {
            let refusal = parse(&records, EngineKind::Proton).unwrap_err();
            assert!(refusal.contains("expected"), "{refusal}");
        }
        for attributes in [
            json!(null),
            json!({}),
            json!({"ApproximateReceiveCount": "x"}),
        ] {
            let follow = parse(&changed("attributes", attributes), EngineKind::Proton);
            assert_eq!(follow.unwrap().receive_count, None);
        }
    }

    proptest! {
        #[test]
        fn any_body_is_followed_or_clearly_refused(
            body in prop_oneof![
                any::<String>(),
                (0..1_600_usize, any::<String>()).prop_map(|(at, new)| {
                    let mut event = event().to_string();
                    event.insert_str(event.floor_char_boundary(at.min(event.len())), &new);
                    event
                }),
                (0..1_600_usize, 1..40_usize).prop_map(|(at, count)| {
                    let event = event().to_string();
                    event.chars().take(at).chain(event.chars().skip(at + count)).collect()
                }),
            ],
            engine in prop_oneof![Just(EngineKind::Proton), Just(EngineKind::CloudFormation)],
        ) {
            match parse(&json!([record(&body)]), engine) {
                Ok(follow) => prop_assert!(follow.id.len() == 32 && follow.id.ends_with('0')),
                Err(refusal) => {
                    prop_assert!(refusal.contains("expected"), "{refusal}");
                    prop_assert!(refusal.len() < 2_000, "{} bytes", refusal.len());
                }
            }
        }
    }
}
