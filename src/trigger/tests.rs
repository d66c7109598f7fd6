//! Payloads by example: the accepted ones with their triggers, and the rejected ones.

use serde_json::{Value, json};

use super::*;
use crate::deployment::EnvironmentName;
use crate::timestamp;

/// The ID of the Lambda request of each payload.
const REQUEST_ID: &str = "8a1c";

fn sample(name: &str) -> Vec<u8> {
    let path = format!("{}/events/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn parse(payload: &[u8]) -> Result<Trigger, UnsupportedPayload> {
    Payload::parse(payload, EngineKind::Proton, REQUEST_ID).map(|payload| match payload {
        Payload::Run(trigger) => *trigger,
        Payload::Follow(follow) => panic!("no run: {follow:?}"),
    })
}

fn parsed(payload: &Value) -> Trigger {
    parse(payload.to_string().as_bytes()).unwrap()
}

fn refusal(payload: &Value) -> String {
    parse(payload.to_string().as_bytes())
        .map(|trigger| format!("taken as {trigger:?}"))
        .unwrap_err()
        .to_string()
}

fn alarm_of(trigger: Trigger) -> Alarm {
    match trigger.cause {
        Cause::Alarm(alarm) => alarm,
        Cause::Schedule | Cause::Request(_) => panic!("no alarm: {trigger:?}"),
    }
}

fn time(text: &str) -> Timestamp {
    timestamp::parse(text).unwrap()
}

/// Returns an alarm event whose members can be changed by JSON pointer. `null` removes a member.
fn alarm_event(changes: &[(&str, Value)]) -> Value {
    let mut event: Value = serde_json::from_slice(&sample("alarm.json")).unwrap();
    for (pointer, value) in changes {
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        let parent = event.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        if value.is_null() {
            parent.remove(member);
        } else {
            parent.insert(member.to_owned(), value.clone());
        }
    }
    event
}

#[test]
fn every_sample_is_of_the_kind_in_its_name() {
    let folder = format!("{}/events", env!("CARGO_MANIFEST_DIR"));
    let mut samples = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let payload = Payload::parse(&sample(&name), EngineKind::Proton, REQUEST_ID);
        let kind = payload.map(|payload| match payload {
            Payload::Follow(_) => "follow",
            Payload::Run(trigger) => match trigger.cause {
                Cause::Alarm(alarm) if alarm.ignored().is_some() => "ignored",
                cause @ (Cause::Alarm(_) | Cause::Schedule | Cause::Request(_)) => cause.kind(),
            },
        });
        let expected: &[_] = match name.split(['_', '.']).next().unwrap() {
            "alarm" | "action" | "sns" => &["alarm"],
            "ignored" => &["ignored"],
            "schedule" => &["schedule"],
            "request" => &["request"],
            "follow" => &["follow"],
            "refused" => &[],
            other => panic!("{other}: no kind of payload"),
        };
        assert_eq!(kind.ok().as_slice(), expected, "{name}");
        samples += 1;
    }
    assert!(samples >= 24, "{samples} samples");
}

#[test]
fn an_alarm_from_event_bridge() {
    let trigger = parsed(&alarm_event(&[]));
    assert_eq!(
        trigger.id.as_deref(),
        Some("7f0c4f5e-2f0b-4c59-9d5b-3a8a2d7f6c11")
    );
    assert_eq!(trigger.name.as_deref(), Some("checkout-5xx"));
    assert!(
        trigger
            .arn
            .as_deref()
            .unwrap()
            .ends_with(":alarm:checkout-5xx")
    );
    assert_eq!(trigger.time, Some(time("2026-11-23T06:45:12Z")));
    assert!(
        trigger
            .reason
            .as_deref()
            .unwrap()
            .starts_with("Threshold Crossed")
    );
    let alarm = alarm_of(trigger);
    assert_eq!(alarm.fired_at, time("2026-11-23T06:45:12.321Z"));
    assert_eq!(alarm.ignored(), None);
}

#[test]
fn an_error_distinguishes_invalid_json_from_an_unexpected_type() {
    let message = |json| {
        let read: Result<Shape<'_>, _> = typed("it", json);
        read.map(|_| ()).unwrap_err().to_string()
    };
    assert!(message("{").contains("it is not JSON"), "{}", message("{"));
    assert!(
        message("[]").contains("it cannot be read"),
        "{}",
        message("[]")
    );
}

#[test]
fn an_invalid_time_is_rejected() {
    let why = refusal(&alarm_event(&[("/time", json!("yesterday"))]));
    assert!(
        why.contains("the EventBridge event cannot be read"),
        "{why}"
    );
}

#[test]
fn the_alarm_fired_at_the_later_of_both_times() {
    let fired_at = |event: &str, state: Value| {
        alarm_of(parsed(&alarm_event(&[
            ("/time", json!(event)),
            ("/detail/state/timestamp", state),
        ])))
        .fired_at
    };
    let second = "2026-11-23T06:45:12Z";
    // The state's time is within the same second and exact.
    assert_eq!(
        fired_at(second, json!("2026-11-23T06:45:12.321+0000")),
        time("2026-11-23T06:45:12.321Z")
    );
    // A later state.
    assert_eq!(
        fired_at(second, json!("2026-11-23T06:45:15.000+0000")),
        time("2026-11-23T06:45:15Z")
    );
    // The state's time is earlier, absent or not more exact: the event's time counts to the end of its
    // second.
    for state in [
        json!("2026-11-23T06:45:11.999+0000"),
        json!("2026-11-23T06:45:12.000+0000"),
        Value::Null,
    ] {
        assert_eq!(
            fired_at(second, state),
            time("2026-11-23T06:45:12.999999999Z")
        );
    }
}

#[test]
fn a_notification_fired_at_the_later_of_record_and_state() {
    let mut payload: Value = serde_json::from_slice(&sample("sns_alarm.json")).unwrap();
    let alarm = alarm_of(parsed(&payload));
    assert_eq!(alarm.fired_at, time("2026-11-23T06:45:12.870Z"));
    payload["Records"][0]["Sns"]["Timestamp"] = json!("2026-11-23T06:45:12.000Z");
    assert_eq!(
        alarm_of(parsed(&payload)).fired_at,
        time("2026-11-23T06:45:12.321Z")
    );
}

#[test]
fn an_alarm_without_any_time_is_refused() {
    let event = alarm_event(&[
        ("/time", Value::Null),
        ("/detail/state/timestamp", Value::Null),
    ]);
    assert!(refusal(&event).contains("neither when its event happened"));
    let event = alarm_event(&[("/detail/state/timestamp", json!("soon"))]);
    assert!(refusal(&event).contains("`soon`"));
    let event = alarm_event(&[("/time", Value::Null)]);
    assert_eq!(parsed(&event).time, Some(time("2026-11-23T06:45:12.321Z")));
}

#[test]
fn only_the_state_alarm_acts() {
    for state in [
        "OK",
        "INSUFFICIENT_DATA",
        "alarm",
        "ALARM ",
        "",
        "SOMETHING_NEW",
    ] {
        let event = alarm_event(&[("/detail/state/value", json!(state))]);
        let why = alarm_of(parsed(&event)).ignored().unwrap();
        assert_eq!(
            why,
            format!("the alarm `checkout-5xx` is in state `{state}`, not `ALARM`")
        );
    }
}

#[test]
fn a_suppressed_or_muted_alarm_is_ignored_for_what_it_is_now() {
    let suppressed = alarm_event(&[("/detail/state/actionsSuppressedBy", json!("WaitPeriod"))]);
    assert!(
        alarm_of(parsed(&suppressed))
            .ignored()
            .unwrap()
            .contains("`WaitPeriod`")
    );
    let muted = alarm_event(&[("/detail/muteDetail", json!({}))]);
    assert!(
        alarm_of(parsed(&muted))
            .ignored()
            .unwrap()
            .contains("muted")
    );
    let before = alarm_event(&[("/detail/previousState/actionsSuppressedBy", json!("Alarm"))]);
    assert_eq!(alarm_of(parsed(&before)).ignored(), None);
}

#[test]
fn optional_members_of_an_alarm_may_be_absent() {
    let event = alarm_event(&[
        ("/version", Value::Null),
        ("/id", Value::Null),
        ("/account", Value::Null),
        ("/region", Value::Null),
        ("/resources", Value::Null),
        ("/detail/previousState", Value::Null),
        ("/detail/configuration", Value::Null),
        ("/detail/state/reason", Value::Null),
        ("/detail/state/reasonData", Value::Null),
    ]);
    let trigger = parsed(&event);
    assert_eq!(
        (trigger.id, trigger.arn, trigger.reason),
        (None, None, None)
    );
}

#[test]
fn members_that_decide_nothing_may_be_of_any_type() {
    for value in [json!(7), json!(true), json!([1]), json!({"a": "b"})] {
        for pointer in [
            "/detail/previousState",
            "/detail/configuration",
            "/detail/state/reason",
            "/detail/state/reasonData",
        ] {
            let trigger = parsed(&alarm_event(&[(pointer, value.clone())]));
            assert_eq!(trigger.name.as_deref(), Some("checkout-5xx"), "{pointer}");
        }
    }
}

#[test]
fn half_a_character_is_replaced_or_ignored() {
    let marked = |pointer| alarm_event(&[(pointer, json!("a MARK b"))]).to_string();
    for pointer in ["/detail/state/reasonData", "/detail/new"] {
        let event = marked(pointer).replace("MARK", r"\ud800");
        assert!(parse(event.as_bytes()).is_ok(), "{pointer}");
    }
    let event = marked("/detail/state/reason").replace("MARK", r"\ud800 \udfff ä \u00e4");
    let reason = parse(event.as_bytes()).unwrap().reason.unwrap();
    assert!(
        reason.starts_with("a \u{fffd}") && reason.ends_with(" ä ä b"),
        "{reason}"
    );
    let mut payload: Value = serde_json::from_slice(&sample("sns_alarm.json")).unwrap();
    let message = payload["Records"][0]["Sns"]["Message"].as_str().unwrap();
    let mut message: Value = serde_json::from_str(message).unwrap();
    message["NewStateReason"] = json!("MARK");
    let message = message.to_string().replace("MARK", r"\udc00");
    payload["Records"][0]["Sns"]["Message"] = json!(message);
    assert!(parsed(&payload).reason.unwrap().starts_with('\u{fffd}'));
}

#[test]
fn required_members_of_an_alarm_must_be_present() {
    for pointer in [
        "/detail",
        "/detail/alarmName",
        "/detail/state",
        "/detail/state/value",
        "/source",
    ] {
        refusal(&alarm_event(&[(pointer, Value::Null)]));
    }
    refusal(&alarm_event(&[("/detail/alarmName", json!(""))]));
    refusal(&alarm_event(&[("/detail", json!("{}"))]));
    refusal(&alarm_event(&[("/source", json!("aws.events"))]));
    refusal(&alarm_event(&[("/detail-type", json!("Scheduled Event"))]));
    refusal(&alarm_event(&[(
        "/detail-type",
        json!("cloudwatch alarm state change"),
    )]));
}

#[test]
fn an_array_is_no_object_anywhere() {
    let facts = json!([
        "checkout-5xx",
        ["ALARM", null, "2026-11-23T06:45:12.321+0000"]
    ]);
    assert!(refusal(&alarm_event(&[("/detail", facts)])).contains("an object"));
    assert!(refusal(&json!([["checkout-prod"], "reason", false])).contains("an object"));
    assert!(refusal(&json!({"Records": [["aws:sns", [null, null, "{}"]]]})).contains("an object"));
}

#[test]
fn a_schedule_may_lack_everything_but_its_source() {
    for detail in [json!({}), json!("{}"), Value::Null] {
        let trigger = parsed(&json!({
            "detail-type": "Scheduled Event",
            "source": "aws.scheduler",
            "resources": ["arn:aws:scheduler:eu-west-1:123456789012:schedule/default/sweep"],
            "detail": detail,
        }));
        assert_eq!(trigger.cause, Cause::Schedule);
        assert_eq!(trigger.name.as_deref(), Some("sweep"));
    }
    let bare = parsed(&json!({"detail-type": "Scheduled Event", "source": "aws.events"}));
    assert_eq!(
        (bare.cause, bare.name, bare.time),
        (Cause::Schedule, None, None)
    );
}

#[test]
fn a_notification_is_one_record_with_an_alarm_or_an_event() {
    let sns: Value = serde_json::from_slice(&sample("sns_alarm.json")).unwrap();
    let record = |message: &str| {
        let mut record = sns["Records"][0].clone();
        record["Sns"]["Message"] = json!(message);
        record
    };
    let event = alarm_event(&[]).to_string();
    let trigger = parsed(&json!({"Records": [record(&event)]}));
    assert_eq!(trigger, parsed(&alarm_event(&[])));
    let schedule = r#"{"detail-type": "Scheduled Event", "source": "aws.events"}"#;
    assert_eq!(
        parsed(&json!({"Records": [record(schedule)]})).cause,
        Cause::Schedule
    );

    for records in [
        json!([]),
        json!([record(&event), record(&event)]),
        json!([{"EventSource": "aws:s3", "Sns": {"Message": event}}]),
        json!([{"EventSource": "aws:sns"}]),
        json!([record("ALARM")]),
        json!([record("{}")]),
        json!([record(r#"{"environments": ["net"]}"#)]),
        json!([record(r#"{"AlarmName": "a", "detail-type": "b"}"#)]),
        json!([record(
            r#"{"AlarmName": "a", "StateChangeTime": "2026-11-23T06:45:12.321+0000"}"#
        )]),
        json!({}),
    ] {
        refusal(&json!({ "Records": records }));
    }
}

#[test]
fn a_request_names_environments_each_once() {
    let trigger = parsed(&json!({"environments": ["b", "a", "b"], "reason": "INC-1"}));
    let Cause::Request(request) = trigger.cause else {
        panic!("no request");
    };
    let names: Vec<_> = request
        .environments
        .iter()
        .map(EnvironmentName::as_str)
        .collect();
    assert_eq!(names, ["b", "a"]);
    assert!(!request.dry_run);
    assert_eq!(trigger.reason.as_deref(), Some("INC-1"));
    assert_eq!(trigger.id.as_deref(), Some(REQUEST_ID));
}

#[test]
fn an_inexact_request_is_rejected() {
    let many = vec!["a"; 101];
    for request in [
        json!({"environments": []}),
        json!({"environments": many}),
        json!({"environments": "a"}),
        json!({"environments": [1]}),
        json!({"environments": [null]}),
        json!({"environments": ["*"]}),
        json!({"environments": [""]}),
        json!({"environments": ["a"], "dryrun": true}),
        json!({"environments": ["a"], "dry_run": true}),
        json!({"environments": ["a"], "dryRun": "true"}),
        json!({"environments": ["a"], "dryRun": null}),
        json!({"environments": ["a"], "reason": 7}),
        json!({"environments": ["a"], "reason": null}),
        json!({"environments": ["a"], "force": false}),
        json!({"Environments": ["a"]}),
    ] {
        refusal(&request);
    }
    let twice = br#"{"environments": ["a"], "dryRun": true, "dryRun": false}"#;
    assert!(parse(twice).is_err());
    let most: Vec<_> = (0..100).map(|number| format!("a{number}")).collect();
    parsed(&json!({ "environments": most }));
}

#[test]
fn a_payload_of_two_kinds_is_rejected() {
    let mut event = alarm_event(&[]);
    event["environments"] = json!(["net"]);
    assert!(refusal(&event).contains("more than one of"));
}

#[test]
fn bytes_that_are_not_json_are_rejected() {
    let deep = "[".repeat(100_000);
    for bytes in [
        &b""[..],
        b" ",
        b"{",
        b"nul",
        b"{}x",
        b"{\"environments\": [\"a\"]} {}",
        b"\xff\xfe",
        b"{\"environments\": [\"a\"], \"reason\": \"\xff\"}",
        deep.as_bytes(),
    ] {
        let error = parse(bytes).unwrap_err().to_string();
        assert!(error.contains("expected a CloudWatch alarm"), "{error}");
    }
}

#[test]
fn ignored_members_may_have_any_depth_and_size() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let event = alarm_event(&[]).to_string();
    let event = event.replacen('{', &format!("{{\"new\": {deep}, \"huge\": 1e999999,"), 1);
    assert!(parse(event.as_bytes()).is_ok());
}

#[test]
fn an_error_never_repeats_a_huge_value() {
    let huge = "x".repeat(1_000_000);
    let error = refusal(&json!({"environments": ["a"], "dryRun": huge}));
    assert!(error.len() < 2_000, "{}", error.len());
}
