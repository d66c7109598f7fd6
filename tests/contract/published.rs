//! Section 5: the events and the summary.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use local_aws::{Answer, Deployment, Ending, Environment, Fault, Faults, Operation, Refusal, Rule};
use serde_json::{Value, json};
use test_support::payloads::{alarm, fresh_json, notification, request, schedule};

use crate::harness::{Run, Stage, millis, quick, running, seconds};

/// The most bytes that one call of `PutEvents` may carry.
const MOST_BYTES: usize = 1024 * 1024;

/// The entries of each call of `PutEvents`.
fn batches(run: &Run) -> Vec<Vec<Value>> {
    run.calls_of(Operation::PutEvents)
        .into_iter()
        .map(|call| {
            let body: Value = serde_json::from_slice(&call.body).unwrap();
            body["Entries"].as_array().unwrap().clone()
        })
        .collect()
}

/// The size of an entry by EventBridge's rule.
fn size(entry: &Value) -> usize {
    let text = |name: &str| entry[name].as_str().map_or(0, str::len);
    let resources = entry["Resources"].as_array().unwrap();
    let resources = resources.iter().map(|it| it.as_str().unwrap().len());
    let time = if entry["Time"].is_null() { 0 } else { 14 };
    time + text("Source") + text("DetailType") + text("Detail") + resources.sum::<usize>()
}

#[track_caller]
fn batches_fit(run: &Run) {
    for batch in batches(run) {
        assert!((1..=10).contains(&batch.len()), "{} entries", batch.len());
        let size: usize = batch.iter().map(size).sum();
        assert!(size <= MOST_BYTES, "{size} bytes");
    }
    let mut calls = run.calls_of(Operation::PutEvents).into_iter();
    assert!(calls.all(|call| call.answer == Answer::Ok));
}

#[tokio::test]
async fn an_event_holds_every_known_fact() {
    let environment = Environment::new("prod-net")
        .template("net", "1", "7")
        .account_id("210987654321")
        .deployment(
            Deployment::in_progress()
                .id("0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d")
                .when_cancelled(Ending::cancelled().rollback(millis(100))),
        );
    let alarm = alarm();
    let began = Utc::now();
    let run = Stage::with([environment]).run(&alarm).await;
    let event = run.event("prod-net");
    let detail = &event.detail;
    assert_eq!(detail["version"], "1");
    assert_eq!(detail["outcome"], "CANCELLED");
    assert_eq!(detail["reason"], Value::Null);
    assert_eq!(detail["message"], "User initiated cancellation.");
    assert_eq!(detail["dryRun"], false);
    assert_eq!(
        detail["environment"],
        json!({
            "name": "prod-net",
            "arn": "arn:aws:proton:us-east-1:123456789012:environment/prod-net",
            "accountId": "210987654321",
            "templateName": "net",
            "templateVersion": "1.7",
        })
    );
    assert_eq!(
        detail["deployment"]["id"],
        "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d"
    );
    assert_eq!(detail["deployment"]["status"], "CANCELLED");
    assert_eq!(detail["error"], Value::Null);
    assert_eq!(
        detail["trigger"],
        json!({
            "kind": "alarm",
            "id": alarm["id"],
            "name": "checkout-5xx",
            "arn": alarm["resources"][0],
            "time": alarm["time"],
            "reason": alarm["detail"]["state"]["reason"],
        })
    );
    assert_eq!(
        event.event.resources,
        [
            "arn:aws:proton:us-east-1:123456789012:environment/prod-net",
            alarm["resources"][0].as_str().unwrap()
        ]
    );
    assert_eq!(run.summary()["trigger"], detail["trigger"]);
    let [.., truth] = run.truth("prod-net")[..] else {
        panic!()
    };
    let completed = DateTime::<Utc>::from(truth.completed_at.unwrap());
    let settled = event.time("/deployment/settledAt").unwrap();
    assert!(
        (settled - completed).abs() <= TimeDelta::milliseconds(1),
        "completed {completed}, settled {settled}"
    );
    let asked = event.time("/deployment/cancelRequestedAt").unwrap();
    assert!(asked >= began && asked <= completed, "{asked}");
}

#[tokio::test]
async fn unknown_facts_are_null() {
    let environment = Environment::new("net")
        .never_succeeded()
        .deployment(quick().id_not_sent().start_not_sent());
    let run = Stage::with([environment])
        .run(json!({ "environments": ["net"] }))
        .await;
    let detail = &run.event("net").detail;
    for pointer in [
        "/environment/accountId",
        "/deployment/id",
        "/deployment/startedAt",
        "/trigger/name",
        "/trigger/arn",
        "/trigger/time",
        "/trigger/reason",
        "/error",
        "/reason",
    ] {
        assert_eq!(
            detail.pointer(pointer),
            Some(&Value::Null),
            "{pointer}: {detail:#}"
        );
    }
    let mut bare = alarm();
    for member in ["id", "resources"] {
        bare.as_object_mut().unwrap().remove(member).unwrap();
    }
    let state = bare["detail"]["state"].as_object_mut().unwrap();
    state.remove("reason").unwrap();
    let run = Stage::running(["net"]).run(&bare).await;
    let event = run.event("net");
    for pointer in ["/trigger/id", "/trigger/arn", "/trigger/reason"] {
        assert_eq!(
            event.detail.pointer(pointer),
            Some(&Value::Null),
            "{pointer}"
        );
    }
    assert_eq!(event.event.resources.len(), 1);
}

#[tokio::test]
async fn one_call_carries_ten_events() {
    let run = Stage::numbered(25)
        .set("MAX_CANCELLATIONS", 25)
        .set("DRY_RUN", "true")
        .run(alarm())
        .await;
    assert_eq!(run.events.len(), 25);
    batches_fit(&run);
    assert!(batches(&run).iter().any(|batch| batch.len() == 10));
}

#[tokio::test]
async fn a_call_holds_1_mib_at_the_most() {
    for length in [90_000, 300_000, 500_000] {
        let world = (0..12).map(|number| {
            let message = format!("{number} {}", "ä".repeat(length / 2));
            Environment::new(format!("net-{number:02}")).deployment(quick().message(message))
        });
        let run = Stage::with(world)
            .set("MAX_CANCELLATIONS", 12)
            .set("DRY_RUN", "true")
            .run(alarm())
            .await;
        assert_eq!(run.events.len(), 12);
        batches_fit(&run);
        let message = run.event("net-00").text("/message").unwrap();
        assert!(!message.ends_with('…'), "cut below the limit: {length}");
    }
}

#[tokio::test]
async fn longer_text_is_cut_and_ends_in_an_ellipsis() {
    for (what, text) in [
        ("plain", "x".repeat(3 * MOST_BYTES)),
        ("wide", "€".repeat(MOST_BYTES)),
        ("escaped", "\u{1}".repeat(1_000_000)),
        ("quoted", "\"\\\n".repeat(MOST_BYTES / 2)),
    ] {
        let mut asked = request(["net", "db"]);
        asked["reason"] = json!(text);
        let deployment = quick().message(text.clone());
        let stage = Stage::with([
            running("db"),
            Environment::new("net").deployment(deployment),
        ])
        .set("DRY_RUN", "true");
        let run = stage.run(&asked).await;
        batches_fit(&run);
        for (environment, pointer) in [
            ("db", "/trigger/reason"),
            ("net", "/trigger/reason"),
            ("net", "/message"),
        ] {
            let cut = run.event(environment).text(pointer).unwrap();
            let kept = cut
                .strip_suffix('…')
                .unwrap_or_else(|| panic!("{what}: no ellipsis at the end"));
            assert!(
                text.starts_with(kept) && kept.len() >= 1000,
                "{what}: {}",
                kept.len()
            );
        }
    }
}

#[tokio::test]
async fn the_summary_fits_whatever_the_services_messages() {
    let long = Rule::new(Fault::error("ConflictException", "no ".repeat(350_000)))
        .operation(Operation::CancelEnvironmentDeployment);
    let run = Stage::numbered(10)
        .faults(Faults::none().rule(long))
        .run(alarm())
        .await;
    assert_eq!(run.summary()["counts"]["ERROR"], 10);
    batches_fit(&run);
}

#[tokio::test]
async fn refused_entries_are_sent_again_alone() {
    let refusal = Refusal::new("ThrottlingException", "slow down")
        .containing("\"name\":\"net-03\"")
        .entries(1..=4);
    let other = Refusal::new("InternalFailure", "oh")
        .containing("\"name\":\"net-07\"")
        .entries(1..=1);
    let run = Stage::numbered(10)
        .faults(Faults::none().refuse(refusal).refuse(other))
        .set("DRY_RUN", "true")
        .run(alarm())
        .await;
    assert_eq!(run.summary()["counts"]["DRY_RUN"], 10);
    assert_eq!(run.events.len(), 10, "each once");
    let holding = |name: &str| {
        batches(&run)
            .into_iter()
            .filter(|batch| {
                batch
                    .iter()
                    .any(|entry| entry["Detail"].as_str().unwrap().contains(name))
            })
            .map(|batch| batch.len())
            .collect::<Vec<_>>()
    };
    assert_eq!(holding("\"net-03\""), [10, 1, 1, 1, 1]);
    assert_eq!(holding("\"net-07\""), [10, 1]);
    assert_eq!(
        holding("\"net-00\""),
        [10],
        "an accepted entry is not sent again"
    );
}

#[tokio::test]
async fn a_refused_entry_does_not_hold_up_the_others() {
    // Every call that carries this entry is refused.
    let invalid = Rule::new(Fault::error("ValidationException", "I do not like it"))
        .operation(Operation::PutEvents)
        .environment("\"bad-one\"");
    let run = Stage::running(["bad-one", "a", "b", "c"])
        .faults(Faults::none().rule(invalid))
        .set("DRY_RUN", "true")
        .run(alarm())
        .await;
    assert_eq!(run.failure().kind, "PublishFailed");
    let published: BTreeSet<_> = run.published_outcomes().into_keys().collect();
    assert_eq!(published, BTreeSet::from(["a", "b", "c"]));
}

#[tokio::test]
async fn ids_are_the_same_when_a_delivery_is_repeated() {
    let mut no_id = alarm();
    no_id.as_object_mut().unwrap().remove("id").unwrap();
    let mut other_id = alarm();
    other_id["id"] = json!("00000000-0000-4000-8000-00000000beef");
    let payloads = [
        alarm(),
        other_id,
        no_id,
        fresh_json("action_metric.json"),
        fresh_json("sns_alarm.json"),
        notification(&alarm()),
        fresh_json("alarm_contributor.json"),
        schedule(),
    ];
    let mut function = Stage::running(["net", "db"])
        .set("DRY_RUN", "true")
        .set("STUCK_AFTER_MINUTES", 1)
        .start()
        .await;
    for payload in &payloads {
        function.invoke(&payload).await;
        function.invoke(&payload).await;
    }
    let runs = function.finish_all().await;
    let ids_of =
        |run: &Run| ["net", "db"].map(|name| run.event(name).text("/id").unwrap().to_owned());
    let mut all = BTreeSet::new();
    for (payload, twice) in payloads.iter().zip(runs.chunks(2)) {
        assert_eq!(ids_of(&twice[0]), ids_of(&twice[1]), "{payload:#}");
        all.extend(ids_of(&twice[0]));
    }
    // An event is the same trigger through SNS.
    let by_sns = ids_of(&runs[10]);
    assert_eq!(by_sns, ids_of(&runs[0]));
    assert_eq!(
        all.len(),
        2 * (payloads.len() - 1) - same_time_and_name(&runs),
        "{all:#?}"
    );
}

#[tokio::test]
async fn a_requests_id_is_that_of_its_lambda_request() {
    let mut function = Stage::running(["net"]).set("DRY_RUN", "true").start().await;
    for _ in 0..2 {
        function.invoke(request(["net"])).await;
    }
    let runs: [Run; 2] = function.finish().await;
    for run in &runs {
        let event = run.event("net");
        assert_eq!(event.text("/trigger/id"), Some(run.request_id.as_str()));
        assert_eq!(run.summary()["trigger"]["id"], run.request_id);
    }
    // Two requests for the same environment are two triggers.
    let [one, other] = runs.each_ref().map(|run| run.event("net").text("/id"));
    assert_ne!(one, other);
}

/// The number of IDs that samples share because they have one alarm and one time.
fn same_time_and_name(runs: &[Run]) -> usize {
    let id = |index: usize| runs[index].event("net").text("/id").unwrap();
    let mut same = 0;
    // The contributor's sample has the alarm sample's event ID.
    if id(12) == id(0) {
        same += 2;
    }
    if id(6) == id(4) {
        same += 2;
    }
    same
}

#[tokio::test]
async fn another_deployment_has_another_id() {
    let stage = Stage::with([Environment::new("net")
        .deployment(quick().when_cancelled(Ending::cancelled().rollback(millis(0))))
        .then(
            local_aws::Timing::AfterEnd(millis(0)),
            local_aws::Effect::Deploy(quick()),
        )]);
    let payload = request(["net"]);
    let mut function = stage.start().await;
    function.invoke(&payload).await;
    function.invoke(&payload).await;
    let [one, two] = function.finish().await;
    assert_ne!(one.event("net").text("/id"), two.event("net").text("/id"));
    assert_ne!(
        one.event("net").text("/deployment/id"),
        two.event("net").text("/deployment/id")
    );
}

#[tokio::test]
async fn a_retry_of_an_incomplete_run_has_the_same_id() {
    let throttled = Rule::new(Fault::error("ThrottlingException", "Rate exceeded"))
        .operation(Operation::CancelEnvironmentDeployment);
    let mut function = Stage::running(["net"])
        .faults(Faults::none().rule(throttled))
        .start()
        .await;
    let payload = alarm();
    function.invoke_within(seconds(2), &payload).await;
    function.invoke_within(seconds(2), &payload).await;
    let [one, two] = function.finish().await;
    for run in [&one, &two] {
        assert_eq!(run.failure().kind, "Incomplete");
        assert_eq!(run.event("net").outcome(), "ERROR");
    }
    assert_eq!(one.event("net").text("/id"), two.event("net").text("/id"));
}

#[tokio::test]
async fn the_summary_counts_environments_and_outcomes() {
    let run = Stage::with([
        running("a"),
        running("b"),
        running("protected"),
        Environment::new("settled"),
        Environment::new("cancelling").deployment(Deployment::cancelling()),
    ])
    .set("PROTECTED_ENVIRONMENTS", "protected")
    .run(alarm())
    .await;
    let summary = run.summary();
    assert_eq!(summary["ignored"], Value::Null);
    assert_eq!(summary["dryRun"], false);
    assert_eq!(summary["listed"], 5);
    assert_eq!(summary["inProgress"], 3);
    assert_eq!(summary["alreadyCancelling"], 1);
    assert_eq!(summary["counts"]["CANCELLED"], 2);
    assert_eq!(summary["counts"]["SKIPPED"], 1);
    let a = &summary["environments"][0];
    assert_eq!(a["name"], "a");
    assert_eq!(
        a["deploymentId"],
        run.truth("a").last().unwrap().id.as_str()
    );
    assert_eq!(a["error"], Value::Null);
    assert_eq!(a["reason"], Value::Null);
}
