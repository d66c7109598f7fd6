//! Section 2: payloads and the triggers that they lead to.

use local_aws::Environment;
use serde_json::{Value, json};
use test_support::payloads::{
    alarm, alarm_message, fresh, fresh_json, notification, request, sample, samples, schedule,
};

use crate::harness::{Run, Stage, running};

/// A dry run with the environments of the samples' requests, stuck by a schedule's rule.
fn stage() -> Stage {
    Stage::running(["checkout-prod", "checkout-stage"])
        .set("DRY_RUN", "true")
        .set("STUCK_AFTER_MINUTES", 5)
}

/// Invokes one process with each payload. Returns the runs.
async fn run_all<const N: usize>(payloads: [Value; N]) -> [Run; N] {
    let mut function = stage().start().await;
    for payload in payloads {
        function.invoke(&payload).await;
    }
    function.finish().await
}

#[track_caller]
fn acts(run: &Run, kind: &str) {
    assert_eq!(run.summary()["trigger"]["kind"], kind, "{:?}", run.answer);
    assert_eq!(run.summary()["ignored"], Value::Null);
    assert_eq!(run.outcome("checkout-prod"), "DRY_RUN");
}

#[track_caller]
fn is_ignored(run: &Run, why: &str) {
    let ignored = run.summary()["ignored"].as_str().unwrap_or_default();
    assert!(ignored.contains(why), "`{why}` is not in {:?}", run.answer);
    assert_eq!(run.call_names(), Vec::<String>::new());
    assert!(run.events.is_empty());
}

#[track_caller]
fn is_refused(run: &Run) {
    assert_eq!(run.failure().kind, "UnsupportedPayload", "{:?}", run.answer);
    assert_eq!(run.call_names(), Vec::<String>::new());
}

#[tokio::test]
async fn every_sample_is_of_the_kind_in_its_file_name() {
    let names: Vec<_> = samples().into_iter().map(|(name, _)| name).collect();
    assert!(names.len() > 20, "{names:?}");
    let mut function = stage().start().await;
    for name in &names {
        function.invoke(fresh(name)).await;
    }
    let runs: Vec<Run> = function.finish_all().await;
    for (name, run) in names.iter().zip(&runs) {
        match name.split(['_', '.']).next().unwrap() {
            "alarm" | "action" | "sns" => acts(run, "alarm"),
            "schedule" => acts(run, "schedule"),
            "request" => acts(run, "request"),
            "ignored" => is_ignored(run, "the alarm"),
            "follow" => assert!(run.summary()["batchItemFailures"].is_array(), "{run:?}"),
            "refused" => is_refused(run),
            kind => panic!("{name}: `{kind}` is no kind of payload"),
        }
    }
}

#[tokio::test]
async fn an_ignored_alarm_is_ignored_in_every_format() {
    for (globs, is_named) in [
        ("other, {checkout,stock}-5*", true),
        ("checkout", false),
        ("", false),
    ] {
        let mut function = stage().set("IGNORED_ALARMS", globs).start().await;
        let mut action = fresh_json("action_metric.json");
        action["alarmData"]["alarmName"] = json!("checkout-5xx");
        let mut message = alarm_message();
        message["AlarmName"] = json!("checkout-5xx");
        let payloads = [
            alarm(),
            action,
            notification(&message),
            notification(&alarm()),
        ];
        for payload in payloads {
            function.invoke(&payload).await;
        }
        let runs: [Run; 4] = function.finish().await;
        for run in &runs {
            if is_named {
                is_ignored(run, "`IGNORED_ALARMS`");
                is_ignored(run, "`checkout-5xx`");
            } else {
                acts(run, "alarm");
            }
        }
    }
}

#[tokio::test]
async fn an_alarms_name_arn_time_and_reason_are_reported() {
    let eventbridge = alarm();
    let action = fresh_json("action_metric.json");
    let sns = fresh_json("sns_alarm.json");
    let message = alarm_message();
    let [one, two, three] = run_all([eventbridge.clone(), action.clone(), sns.clone()]).await;
    let trigger = &one.summary()["trigger"];
    assert_eq!(trigger["id"], eventbridge["id"]);
    assert_eq!(trigger["name"], eventbridge["detail"]["alarmName"]);
    assert_eq!(trigger["arn"], eventbridge["resources"][0]);
    assert_eq!(trigger["reason"], eventbridge["detail"]["state"]["reason"]);
    assert_eq!(trigger["time"], eventbridge["time"]);
    let trigger = &two.summary()["trigger"];
    assert_eq!(trigger["name"], action["alarmData"]["alarmName"]);
    assert_eq!(trigger["arn"], action["alarmArn"]);
    assert_eq!(trigger["reason"], action["alarmData"]["state"]["reason"]);
    let trigger = &three.summary()["trigger"];
    assert_eq!(trigger["name"], message["AlarmName"]);
    assert_eq!(trigger["arn"], message["AlarmArn"]);
    assert_eq!(trigger["reason"], message["NewStateReason"]);
    for run in [&one, &two, &three] {
        let event = run.event("checkout-prod");
        assert_eq!(event.detail["trigger"], run.summary()["trigger"]);
        assert_eq!(event.event.resources.len(), 2);
        assert_eq!(
            event.event.resources[1],
            run.summary()["trigger"]["arn"].as_str().unwrap()
        );
    }
}

#[tokio::test]
async fn a_schedules_name_and_a_requests_reason_are_reported() {
    let mut asked = request(["checkout-prod"]);
    asked["reason"] = json!("INC-1234: \"quoted\"\nand in two lines");
    let [scheduled, ruled, requested] = run_all([
        fresh_json("schedule_scheduler.json"),
        fresh_json("schedule_rule.json"),
        asked.clone(),
    ])
    .await;
    for run in [&scheduled, &ruled] {
        assert_eq!(run.summary()["trigger"]["name"], "nightly-sweep");
        assert!(
            run.summary()["trigger"]["arn"]
                .as_str()
                .unwrap()
                .ends_with("/nightly-sweep")
        );
        let event = run.event("checkout-prod");
        assert_eq!(event.event.resources.len(), 1, "the environment's alone");
    }
    let trigger = &requested.event("checkout-prod").detail["trigger"];
    assert_eq!(trigger["kind"], "request");
    assert_eq!(trigger["reason"], asked["reason"]);
    assert_eq!(requested.event("checkout-prod").event.resources.len(), 1);
}

/// An alarm with one member changed.
fn changed(pointer: &str, value: &Value) -> Value {
    let mut alarm = alarm();
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    let parent = alarm.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    parent.insert(member.to_owned(), value.clone());
    alarm
}

fn without(mut payload: Value, pointer: &str) -> Value {
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    let parent = payload
        .pointer_mut(parent)
        .unwrap()
        .as_object_mut()
        .unwrap();
    parent.remove(member).unwrap();
    payload
}

#[tokio::test]
async fn unused_fields_of_an_alarm_may_have_any_value() {
    let mut huge = alarm();
    huge["detail"]["configuration"]["threshold"] = json!(1e300);
    huge["detail"]["configuration"]["metrics"][0]["metricStat"]["period"] = json!(86_400);
    let mut message = alarm_message();
    message["Trigger"] = json!({ "Metrics": [{ "Expression": "m1/m2" }], "Period": "a day" });
    message["NewField"] = json!([1, { "two": 3 }]);
    let runs = run_all([
        without(alarm(), "/detail/configuration"),
        without(alarm(), "/detail/previousState"),
        without(alarm(), "/detail/state/reason"),
        without(alarm(), "/detail/state/timestamp"),
        without(alarm(), "/version"),
        without(alarm(), "/account"),
        without(alarm(), "/region"),
        without(alarm(), "/id"),
        without(alarm(), "/resources"),
        changed("/detail/configuration", &json!("of a kind yet unknown")),
        changed("/detail/previousState", &json!({ "value": "ALARM" })),
        changed(
            "/detail/previousState",
            &json!({ "value": "INSUFFICIENT_DATA" }),
        ),
        changed("/detail/state/reason", &Value::Null),
        changed("/detail/state/evaluationState", &json!("PARTIAL_DATA")),
        changed("/detail/muteDetail", &Value::Null),
        changed("/detail/state/actionsSuppressedBy", &Value::Null),
        changed("/detail/state/reason", &json!(7)),
        changed("/replay-name", &json!("a field of the future")),
        huge,
        notification(&message),
        notification(&without(alarm_message(), "/NewStateReason")),
        without(fresh_json("action_metric.json"), "/accountId"),
        without(
            fresh_json("action_composite.json"),
            "/alarmData/previousState",
        ),
    ])
    .await;
    for run in &runs {
        acts(run, "alarm");
    }
}

#[tokio::test]
async fn an_alarm_in_another_state_is_ignored() {
    let mut payloads = Vec::new();
    for state in [
        "OK",
        "INSUFFICIENT_DATA",
        "alarm",
        "Alarm",
        "ALARM ",
        "NEW_STATE",
        "",
    ] {
        let mut action = fresh_json("action_metric.json");
        action["alarmData"]["state"]["value"] = json!(state);
        let mut message = alarm_message();
        message["NewStateValue"] = json!(state);
        let event = changed("/detail/state/value", &json!(state));
        payloads.extend([action, notification(&message), notification(&event), event]);
    }
    let mut function = stage().start().await;
    for payload in &payloads {
        function.invoke(&payload).await;
    }
    for run in function.finish_all().await {
        is_ignored(&run, "state");
    }
}

#[tokio::test]
async fn a_suppressed_or_muted_alarm_is_ignored() {
    let mute = json!({
        "mutedByArn": "arn:aws:cloudwatch:us-east-1:123456789012:alarm-mute-rule:night",
        "muteWindowStart": "2026-01-01T10:00:00.000+0000",
    });
    let mut action = fresh_json("action_composite.json");
    action["alarmData"]["state"]["actionsSuppressedBy"] = json!("Alarm");
    let mut muted_action = fresh_json("action_metric.json");
    muted_action["alarmData"]["muteDetail"] = mute.clone();
    let mut contributor = fresh_json("alarm_contributor.json");
    contributor["detail"]["muteDetail"] = mute.clone();
    let muted = changed("/detail/muteDetail", &mute);
    let runs = run_all([
        changed("/detail/state/actionsSuppressedBy", &json!("WaitPeriod")),
        changed(
            "/detail/state/actionsSuppressedBy",
            &json!("ExtensionPeriod"),
        ),
        action,
        notification(&muted),
        muted,
        muted_action,
        contributor,
    ])
    .await;
    for run in &runs[..3] {
        is_ignored(run, "suppressed");
    }
    for run in &runs[3..] {
        is_ignored(run, "muted");
    }
}

#[tokio::test]
async fn a_schedules_detail_may_have_any_value() {
    let mut payloads = Vec::new();
    for detail in [
        json!({}),
        json!("{}"),
        json!(null),
        json!({ "a": 1 }),
        json!(""),
        json!([]),
    ] {
        for source in ["aws.events", "aws.scheduler"] {
            let mut event = schedule();
            event["source"] = json!(source);
            event["detail"] = detail.clone();
            payloads.push(event);
        }
    }
    payloads.push(without(schedule(), "/detail"));
    payloads.push(without(schedule(), "/version"));
    payloads.push(without(without(schedule(), "/version"), "/detail"));
    payloads.push(without(schedule(), "/resources"));
    payloads.push(notification(&schedule()));
    let mut function = stage().start().await;
    for payload in &payloads {
        function.invoke(&payload).await;
    }
    for run in function.finish_all().await {
        acts(&run, "schedule");
    }
}

#[tokio::test]
async fn any_other_payload_is_refused() {
    let mut two_records = fresh_json("sns_alarm.json");
    let record = two_records["Records"][0].clone();
    two_records["Records"].as_array_mut().unwrap().push(record);
    let mut no_record = two_records.clone();
    no_record["Records"] = json!([]);
    let mut of_a_queue = fresh_json("sns_alarm.json");
    of_a_queue["Records"][0]["EventSource"] = json!("aws:sqs");
    let runs = run_all([
        two_records,
        no_record,
        of_a_queue,
        notification(&"example message"),
        notification(&"{}"),
        notification(&"null"),
        notification(&"[]"),
        notification(&request(["checkout-prod"])),
        notification(&fresh_json("sns_alarm.json")),
        notification(&fresh_json("refused_configuration_change.json")),
        notification(&fresh_json("refused_proton_event.json")),
        changed("/source", &json!("aws.events")),
        changed("/source", &json!("my.app")),
        changed("/detail-type", &json!("Scheduled Event")),
        changed("/detail-type", &json!("cloudwatch alarm state change")),
        changed("/detail-type", &json!(5)),
        changed("/detail", &Value::Null),
        changed("/detail", &json!({})),
        changed("/detail", &json!("{}")),
        changed("/detail", &json!([])),
        changed("/detail/state", &json!("ALARM")),
        changed("/detail/state/value", &json!(1)),
        without(alarm(), "/detail/state"),
        without(alarm(), "/detail/alarmName"),
        without(alarm(), "/source"),
        without(alarm(), "/detail-type"),
        json!({ "alarmData": null }),
        json!({ "alarmData": "ALARM" }),
        json!({ "alarmData": {} }),
        json!({ "Records": "one" }),
        json!({ "state": { "value": "ALARM" }, "alarmName": "checkout-5xx" }),
        alarm_message(),
        json!({}),
        json!(null),
        json!(true),
        json!(0),
        json!("{}"),
        json!([]),
        json!([request(["checkout-prod"])]),
    ])
    .await;
    for run in &runs {
        is_refused(run);
    }
}

#[tokio::test]
async fn an_invalid_request_is_refused() {
    let name = "checkout-prod";
    let many: Vec<_> = (0..101).map(|number| format!("net-{number}")).collect();
    let runs = run_all([
        json!({ "environments": [] }),
        json!({ "environments": name }),
        json!({ "environments": { "0": name } }),
        json!({ "environments": [name, 5] }),
        json!({ "environments": [name, null] }),
        json!({ "environments": [[name]] }),
        json!({ "environments": many }),
        json!({ "environments": [""] }),
        json!({ "environments": ["*"] }),
        json!({ "environments": ["checkout-*"] }),
        json!({ "environments": ["-prod"] }),
        json!({ "environments": ["_prod"] }),
        json!({ "environments": [" checkout-prod"] }),
        json!({ "environments": ["checkout-prod\n"] }),
        json!({ "environments": ["checkout.prod"] }),
        json!({ "environments": ["chéckout"] }),
        json!({ "environments": ["a".repeat(101)] }),
        json!({ "environments": [name], "dryrun": true }),
        json!({ "environments": [name], "dry_run": true }),
        json!({ "environments": [name], "DryRun": true }),
        json!({ "environments": [name], "dryRun": "true" }),
        json!({ "environments": [name], "dryRun": 1 }),
        json!({ "environments": [name], "reason": 5 }),
        json!({ "environments": [name], "reason": ["INC-1"] }),
        json!({ "environments": [name], "Environments": [name] }),
        json!({ "environments": [name], "force": true }),
        json!({ "Environments": [name] }),
        json!({ "environment": name }),
        json!({ "reason": "INC-1234" }),
        json!({ "environments": [name], "source": "aws.events", "detail-type": "Scheduled Event" }),
    ])
    .await;
    for run in &runs {
        is_refused(run);
    }
}

#[tokio::test]
async fn a_request_may_name_100_environments_of_100_characters() {
    let longest = format!("a{}", "-".repeat(99));
    let names: Vec<_> = (0..99)
        .map(|number| format!("net-{number}"))
        .chain([longest.clone()])
        .collect();
    let stage = Stage::with(names.iter().map(|name| running(name)))
        .set("MAX_CANCELLATIONS", 100)
        .set("DRY_RUN", "true");
    let run = stage.run(json!({ "environments": names })).await;
    assert_eq!(run.summary()["counts"]["DRY_RUN"], 100);
    assert_eq!(run.outcome(&longest), "DRY_RUN");
    assert_eq!(run.event("net-0").detail["trigger"]["reason"], Value::Null);
}

#[tokio::test]
async fn a_refusal_says_what_was_expected() {
    let mut function = stage().start().await;
    function.invoke(sample("refused_not_json.txt")).await;
    function.invoke("").await;
    function
        .invoke("{\"environments\": [\"checkout-prod\"")
        .await;
    function
        .invoke("{\"environments\": [\"checkout-prod\"]} and more")
        .await;
    function.invoke(&b"\xff\xfe\x00\x01"[..]).await;
    let mut bytes = request(["checkout-prod"]).to_string().into_bytes();
    bytes.insert(3, 0xff);
    function.invoke(bytes).await;
    function
        .invoke("{\"environments\": [\"checkout-prod\"], \"dryRun\": true, \"dryRun\": false}")
        .await;
    for run in function.finish_all().await {
        is_refused(&run);
        let message = &run.failure().message;
        for word in ["alarm", "Scheduled Event", "environments"] {
            assert!(message.contains(word), "{message}");
        }
    }
}

#[tokio::test]
async fn white_space_around_a_payload_is_ignored() {
    let stage = Stage::with([Environment::new("net")]);
    let run = stage.run(format!("\r\n\t {} \n", request(["net"]))).await;
    assert_eq!(run.outcome("net"), "SKIPPED NOT_IN_PROGRESS");
}
