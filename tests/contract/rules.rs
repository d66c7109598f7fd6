//! Section 3: the rules that select deployments. `src/plan.rs` has their tables; here they run over
//! the wire.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use local_aws::{Deployment, Ending, Environment, Fault, Faults, Moment, Operation, Rule, World};
use proton_canceller::engine::EngineKind;
use serde_json::{Value, json};
use test_support::payloads::{
    alarm, alarm_at, alarm_message, cloudwatch_time, fresh_json, notification, request, schedule,
};

use crate::harness::{ENGINES, Stage, TAG, each, quick, running, seconds};

fn started(name: &str, at: DateTime<Utc>) -> Environment {
    Environment::new(name).deployment(quick().started(Moment::At(SystemTime::from(at))))
}

fn started_ago(name: &str, ago: Duration) -> Environment {
    Environment::new(name).deployment(quick().started_ago(ago))
}

fn unknown_start(name: &str) -> Environment {
    Environment::new(name).deployment(quick().start_not_sent())
}

/// A minute ago, on the second.
fn whole_second() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(0) - TimeDelta::minutes(1)
}

const fn ms(milliseconds: i64) -> TimeDelta {
    TimeDelta::milliseconds(milliseconds)
}

#[tokio::test]
async fn the_first_rule_that_applies_wins() {
    let now = whole_second();
    let breaks_all_rules = |name| started(name, now + ms(30_000)).tag(TAG, "other");
    for engine in ENGINES {
        let stage = Stage::with([
            breaks_all_rules("protected"),
            breaks_all_rules("not-included"),
            breaks_all_rules("in-late"),
            unknown_start("in-unknown").tag(TAG, "other"),
            started("in-untagged", now - ms(60_000)),
            started("in-tagged", now - ms(60_000)).tag(TAG, "checkout-5xx"),
        ])
        .set("PROTECTED_ENVIRONMENTS", "protected")
        .set("ENVIRONMENTS", "in-*")
        .set("ALARM_SCOPE", "tagged")
        .set("MAX_CANCELLATIONS", 0)
        .on(engine);
        let run = stage.run(alarm_at(now, now)).await;
        assert_eq!(
            run.outcomes(),
            each([
                ("protected", "SKIPPED PROTECTED"),
                ("not-included", "SKIPPED NOT_INCLUDED"),
                ("in-late", "SKIPPED STARTED_AFTER_ALARM"),
                ("in-unknown", "SKIPPED START_UNKNOWN"),
                ("in-untagged", "SKIPPED NOT_TAGGED"),
                ("in-tagged", "SKIPPED OVER_LIMIT"),
            ])
        );
        assert_eq!(
            run.published_outcomes(),
            each([("in-tagged", "SKIPPED OVER_LIMIT")])
        );
        if engine == EngineKind::Proton {
            let reads = run.calls_of(Operation::ListTagsForResource).len();
            assert_eq!(reads, 2, "tags are read only where rule 5 decides");
        }
    }
}

#[tokio::test]
async fn only_deployments_in_progress_are_candidates() {
    let mut world = World::new().with(running("net"));
    for status in local_aws::Status::ALL {
        if status.is_settled() {
            let name = format!("is-{}", status.as_str().to_lowercase().replace('_', "-"));
            let deployment = Deployment::settled(Ending::new(status));
            world = world.with(Environment::new(name).deployment(deployment));
        }
    }
    world = world.with(Environment::new("cancelling").deployment(Deployment::cancelling()));
    let count = world.environments().len();
    for payload in [alarm(), schedule()] {
        let run = Stage::of(world.clone())
            .set("STUCK_AFTER_MINUTES", 0)
            .run(&payload)
            .await;
        assert_eq!(run.outcomes(), each([("net", "CANCELLED")]));
        assert_eq!(run.summary()["listed"], count);
        assert_eq!(run.summary()["inProgress"], 1);
        assert_eq!(run.summary()["alreadyCancelling"], 1);
        assert_eq!(run.calls_to("cancelling"), Vec::<&str>::new());
    }
}

#[tokio::test]
async fn a_run_without_candidates_succeeds() {
    let run = Stage::with([Environment::new("net")]).run(alarm()).await;
    assert_eq!(run.summary()["listed"], 1);
    assert_eq!(run.summary()["environments"], json!([]));
    let run = Stage::of(World::new()).run(alarm()).await;
    assert_eq!(run.summary()["listed"], 0);
    assert_eq!(run.metric("InProgress"), Some(0));
}

#[tokio::test]
async fn a_fix_started_after_the_alarm_is_not_cancelled() {
    let event = whole_second();
    // The state's time is later, and has milliseconds.
    let state = event + ms(500);
    let run = Stage::with([
        started("long-before", event - ms(600_000)),
        started("at-the-event", event),
        started("at-the-state", state),
        started("after-the-state", state + ms(1)),
        started("next-second", event + ms(1000)),
        unknown_start("unknown"),
    ])
    .run(alarm_at(event, state))
    .await;
    assert_eq!(
        run.outcomes(),
        each([
            ("long-before", "CANCELLED"),
            ("at-the-event", "CANCELLED"),
            ("at-the-state", "CANCELLED"),
            ("after-the-state", "SKIPPED STARTED_AFTER_ALARM"),
            ("next-second", "SKIPPED STARTED_AFTER_ALARM"),
            ("unknown", "SKIPPED START_UNKNOWN"),
        ])
    );
}

#[tokio::test]
async fn the_events_time_counts_to_the_end_of_its_second() {
    let event = whole_second();
    let world = [
        started("after-the-state", event - ms(2_000)),
        started("in-that-second", event + ms(999)),
        started("next-second", event + ms(1000)),
    ];
    let expected = each([
        ("after-the-state", "CANCELLED"),
        ("in-that-second", "CANCELLED"),
        ("next-second", "SKIPPED STARTED_AFTER_ALARM"),
    ]);
    // The event's time is the later one, or the only one.
    let early_state = alarm_at(event, event - ms(3_500));
    let mut no_state = alarm_at(event, event);
    let state = no_state["detail"]["state"].as_object_mut().unwrap();
    state.remove("timestamp").unwrap();
    for payload in [early_state.clone(), no_state, notification(&early_state)] {
        let run = Stage::with(world.clone()).run(&payload).await;
        assert_eq!(run.outcomes(), expected, "{payload:#}");
    }
}

#[tokio::test]
async fn a_start_in_the_alarms_own_millisecond_is_not_after_the_alarm() {
    let event = whole_second();
    for millisecond in [1, 7, 123, 321, 554, 777, 999] {
        let state = event + ms(millisecond);
        let run = Stage::with([started("same", state), started("next", state + ms(1))])
            .set("DRY_RUN", "true")
            .run(alarm_at(event, state))
            .await;
        assert_eq!(run.outcome("same"), "DRY_RUN", "{state}");
        assert_eq!(
            run.outcome("next"),
            "SKIPPED STARTED_AFTER_ALARM",
            "{state}"
        );
    }
}

#[tokio::test]
async fn an_alarms_milliseconds_count_by_sns_and_by_direct_action() {
    let second = whole_second();
    let by_sns = |record: DateTime<Utc>, change: DateTime<Utc>| {
        let mut message = alarm_message();
        message["StateChangeTime"] = cloudwatch_time(change).into();
        let mut payload = notification(&message);
        let timestamp = record.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        payload["Records"][0]["Sns"]["Timestamp"] = timestamp.into();
        payload
    };
    let mut action = fresh_json("action_metric.json");
    action["time"] = cloudwatch_time(second + ms(500)).into();
    action["alarmData"]["state"]["timestamp"] = cloudwatch_time(second).into();
    for payload in [
        by_sns(second + ms(500), second - ms(4_000)),
        by_sns(second - ms(4_000), second + ms(500)),
        action,
    ] {
        let run = Stage::with([
            started("before", second + ms(250)),
            started("after", second + ms(750)),
        ])
        .run(&payload)
        .await;
        assert_eq!(run.outcome("before"), "CANCELLED");
        assert_eq!(run.outcome("after"), "SKIPPED STARTED_AFTER_ALARM");
    }
}

#[tokio::test]
async fn a_schedule_cancels_deployments_that_are_stuck_by_the_clock() {
    let minute = seconds(60);
    let world = [
        started_ago("fresh", seconds(1)),
        started_ago("younger", 58 * minute),
        started_ago("older", 60 * minute),
        started_ago("ancient", 90 * 24 * 60 * minute),
        started("future", Utc::now() + TimeDelta::hours(1)),
        unknown_start("unknown"),
    ];
    // The clock counts, not the event's time.
    let mut old = schedule();
    old["time"] = json!("2020-01-01T00:00:00Z");
    for engine in ENGINES {
        let stage = Stage::with(world.clone()).set("ALARM_SCOPE", "tagged");
        let run = stage.on(engine).run(&old).await;
        assert_eq!(
            run.outcomes(),
            each([
                ("fresh", "SKIPPED NOT_STUCK"),
                ("younger", "SKIPPED NOT_STUCK"),
                ("older", "CANCELLED"),
                ("ancient", "CANCELLED"),
                ("future", "SKIPPED NOT_STUCK"),
                ("unknown", "SKIPPED START_UNKNOWN"),
            ])
        );
        assert_eq!(run.calls_of(Operation::ListTagsForResource).len(), 0);
    }
    let run = Stage::with(world)
        .set("STUCK_AFTER_MINUTES", 0)
        .run(schedule())
        .await;
    assert_eq!(run.outcome("fresh"), "CANCELLED");
    assert_eq!(run.outcome("future"), "SKIPPED NOT_STUCK");
    assert_eq!(run.outcome("unknown"), "SKIPPED START_UNKNOWN");
}

#[tokio::test]
async fn a_request_cancels_whatever_start_age_and_tag() {
    let names = ["unknown", "fresh", "untagged"];
    let run = Stage::with([
        unknown_start("unknown"),
        started_ago("fresh", seconds(0)),
        running("untagged").tag(TAG, "other"),
    ])
    .set("ALARM_SCOPE", "tagged")
    .run(request(names))
    .await;
    for name in names {
        assert_eq!(run.outcome(name), "CANCELLED");
    }
    assert_eq!(run.calls_of(Operation::ListTagsForResource).len(), 0);
    assert_eq!(
        run.event("unknown").detail["deployment"]["startedAt"],
        Value::Null
    );
}

#[tokio::test]
async fn a_tag_names_the_alarms_that_concern_an_environment() {
    let many_tags = (0..49).fold(running("later-page"), |environment, number| {
        environment.tag(format!("a-tag-{number:02}"), "nothing")
    });
    let world = [
        running("exact").tag(TAG, "checkout-5xx"),
        running("second").tag(TAG, "  search-*   {checkout,cart}-?xx "),
        running("other").tag(TAG, "search-* checkout-5x"),
        running("broken").tag(TAG, "checkout-["),
        running("half-broken").tag(TAG, "checkout-[ checkout-5xx"),
        running("no-tag"),
        running("another-key").tag("alarms", "checkout-5xx"),
        many_tags.tag(TAG, "checkout-*"),
    ];
    for engine in ENGINES {
        let stage = Stage::with(world.clone()).set("ALARM_SCOPE", "tagged");
        let run = stage.on(engine).run(alarm()).await;
        assert_eq!(
            run.outcomes(),
            each([
                ("exact", "CANCELLED"),
                ("second", "CANCELLED"),
                ("other", "SKIPPED NOT_TAGGED"),
                ("broken", "SKIPPED NOT_TAGGED"),
                ("half-broken", "CANCELLED"),
                ("no-tag", "SKIPPED NOT_TAGGED"),
                ("another-key", "SKIPPED NOT_TAGGED"),
                ("later-page", "CANCELLED"),
            ])
        );
    }
}

#[tokio::test]
async fn unreadable_tags_are_an_error_of_their_environment() {
    let denied = Rule::new(Fault::error("AccessDeniedException", "not these tags"))
        .operation(Operation::ListTagsForResource)
        .environment("denied");
    let run = Stage::with([running("denied"), running("net").tag(TAG, "*")])
        .faults(Faults::none().rule(denied))
        .set("ALARM_SCOPE", "tagged")
        .run(alarm())
        .await;
    let expected = each([
        ("denied", "ERROR AccessDeniedException"),
        ("net", "CANCELLED"),
    ]);
    assert_eq!(run.outcomes(), expected);
    assert_eq!(run.published_outcomes(), expected);
    assert_eq!(run.cancels(), ["net"]);
    let error = &run.event("denied").detail["error"];
    assert_eq!(error["message"], "not these tags");
}

#[tokio::test]
async fn more_than_10_selected_deployments_cancel_none() {
    let names = |count: usize| (1..=count).map(|number| format!("net-{number:02}"));
    // Only the deployments that the other rules select count.
    let world = |count| {
        let selected = names(count).map(|name| running(&name));
        let skipped = [running("protected"), unknown_start("unknown")];
        Stage::with(selected.chain(skipped)).set("PROTECTED_ENVIRONMENTS", "protected")
    };
    let (ten, eleven) = tokio::join!(async { world(10).run(alarm()).await }, async {
        world(11).run(alarm()).await
    });
    assert_eq!(ten.summary()["counts"]["CANCELLED"], 10);
    assert_eq!(ten.outcome("unknown"), "SKIPPED START_UNKNOWN");
    assert_eq!(eleven.summary()["counts"]["SKIPPED"], 13);
    assert_eq!(eleven.cancels(), Vec::<&str>::new());
    for name in names(11) {
        assert_eq!(eleven.outcome(&name), "SKIPPED OVER_LIMIT");
        let detail = &eleven.event(&name).detail;
        assert_eq!(detail["reason"], "OVER_LIMIT");
        assert_eq!(detail["deployment"]["status"], "IN_PROGRESS");
    }
}

#[tokio::test]
async fn the_limit_holds_for_every_trigger_and_in_a_dry_run() {
    let payloads = [alarm(), schedule(), request(["a", "b"])];
    for (payload, dry_run) in payloads.into_iter().zip([true, false, true]) {
        for engine in ENGINES {
            let stage = Stage::running(["a", "b"])
                .set("MAX_CANCELLATIONS", 1)
                .set("STUCK_AFTER_MINUTES", 1)
                .set("DRY_RUN", dry_run);
            let run = stage.on(engine).run(&payload).await;
            let none = each([("a", "SKIPPED OVER_LIMIT"), ("b", "SKIPPED OVER_LIMIT")]);
            assert_eq!(run.outcomes(), none);
            assert_eq!(run.published_outcomes(), none);
        }
    }
}

#[tokio::test]
async fn a_request_reads_only_the_named_environments() {
    let names = [
        "net",
        "net",
        "settled",
        "cancelling",
        "protected",
        "missing",
        "no-such-thing",
        "x-ray",
        "net",
    ];
    for engine in ENGINES {
        let run = Stage::with([
            running("net"),
            Environment::new("settled"),
            Environment::new("cancelling").deployment(Deployment::cancelling()),
            running("protected"),
            running("other"),
        ])
        .set("PROTECTED_ENVIRONMENTS", "protected,no-such-*")
        .set("ENVIRONMENTS", "[!x]*")
        .on(engine)
        .run(request(names))
        .await;
        let not_found = match engine {
            EngineKind::Proton => "ERROR ResourceNotFoundException",
            EngineKind::CloudFormation => "ERROR ValidationError",
        };
        assert_eq!(
            run.outcomes(),
            each([
                ("net", "CANCELLED"),
                ("settled", "SKIPPED NOT_IN_PROGRESS"),
                ("cancelling", "SKIPPED NOT_IN_PROGRESS"),
                ("protected", "SKIPPED PROTECTED"),
                ("missing", not_found),
                ("no-such-thing", "SKIPPED PROTECTED"),
                ("x-ray", "SKIPPED NOT_INCLUDED"),
            ])
        );
        for listing in [Operation::ListEnvironments, Operation::ListStacks] {
            assert_eq!(run.calls_of(listing).len(), 0);
        }
        assert_eq!(run.cancels(), ["net"]);
        for name in ["protected", "other"] {
            assert_eq!(run.calls_to(name), Vec::<&str>::new());
        }
        assert_eq!(run.summary()["alreadyCancelling"], 1);
        let missing = run.event("missing");
        assert_eq!(missing.event.resources, Vec::<String>::new());
        for member in ["id", "startedAt", "status"] {
            assert_eq!(missing.detail["deployment"][member], Value::Null);
        }
    }
}

#[tokio::test]
async fn a_denied_read_is_an_error_of_its_environment() {
    let denied = Rule::new(Fault::error("AccessDeniedException", "not that one"))
        .operation(Operation::GetEnvironment)
        .environment("denied");
    let run = Stage::running(["denied", "net"])
        .faults(Faults::none().rule(denied))
        .run(request(["denied", "net"]))
        .await;
    let expected = each([
        ("denied", "ERROR AccessDeniedException"),
        ("net", "CANCELLED"),
    ]);
    assert_eq!(run.outcomes(), expected);
    assert_eq!(run.published_outcomes(), expected);
}

#[tokio::test]
async fn all_pages_are_listed_before_the_first_cancel() {
    let settled = (0..1050).map(|number| Environment::new(format!("env-{number:04}")));
    let run = Stage::with(settled.chain([running("aaa"), running("env-0500"), running("zzz")]))
        .run(alarm())
        .await;
    assert_eq!(
        run.outcomes(),
        each([
            ("aaa", "CANCELLED"),
            ("env-0500", "CANCELLED"),
            ("zzz", "CANCELLED")
        ])
    );
    assert_eq!(run.summary()["listed"], 1052);
    let first_cancel = run
        .calls
        .iter()
        .position(|call| call.operation == "CancelEnvironmentDeployment")
        .unwrap();
    let pages: Vec<Value> = run.calls[..first_cancel]
        .iter()
        .map(|call| serde_json::from_slice(&call.body).unwrap())
        .collect();
    assert_eq!(
        pages.len(),
        11,
        "all pages are read before the first cancel"
    );
    assert!(pages.iter().all(|page| page["maxResults"] == 100));
    assert!(pages[0].get("nextToken").is_none());
    assert!(pages[1..].iter().all(|page| page["nextToken"].is_string()));
}

#[tokio::test]
async fn a_thousand_deployments_are_all_reported() {
    let run = Stage::numbered(1001)
        .set("MAX_CANCELLATIONS", 2000)
        .set("DRY_RUN", "true")
        .run(alarm())
        .await;
    assert_eq!(run.summary()["counts"]["DRY_RUN"], 1001);
    assert_eq!(run.events.len(), 1001);
}
