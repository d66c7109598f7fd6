//! Chapter 3: what is decided.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use local_aws::{Deployment, Ending, Environment, Fault, Faults, Moment, Operation, Rule, World};
use serde_json::{Value, json};

use crate::harness::{Stage, each, quick, running, seconds};
use test_support::payloads::{
    alarm, alarm_at, alarm_message, cloudwatch_time, fresh_json, notification, request, schedule,
};

const TAG: &str = "proton-canceller:alarms";

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
async fn rule_1_comes_before_rule_2_and_all_others() {
    let stage = Stage::with([
        running("both"),
        running("not-included"),
        running("protected"),
        running("taken"),
    ])
    .set("ENVIRONMENTS", "taken,protected")
    .set("PROTECTED_ENVIRONMENTS", "both,prot*");
    let expected = each([
        ("both", "SKIPPED PROTECTED"),
        ("not-included", "SKIPPED NOT_INCLUDED"),
        ("protected", "SKIPPED PROTECTED"),
        ("taken", "CANCELLED"),
    ]);
    let mut named = request(["both", "not-included", "protected", "taken"]);
    named["reason"] = json!("INC-1");
    for payload in [alarm(), named] {
        let run = stage.run(payload.to_string()).await;
        assert_eq!(run.outcomes(), expected);
        assert_eq!(run.published_outcomes(), each([("taken", "CANCELLED")]));
    }
    let run = stage
        .run(
            schedule()
                .to_string()
                .replace("aws.scheduler", "aws.events"),
        )
        .await;
    assert_eq!(run.outcome("taken"), "SKIPPED NOT_STUCK");
    assert_eq!(run.outcome("both"), "SKIPPED PROTECTED");
}

#[tokio::test]
async fn the_first_rule_that_applies_wins() {
    let now = whole_second();
    let everything_wrong = |name| started(name, now + ms(30_000)).tag(TAG, "other");
    let stage = Stage::with([
        everything_wrong("protected"),
        everything_wrong("not-included"),
        everything_wrong("in-late"),
        unknown_start("in-unknown").tag(TAG, "other"),
        started("in-untagged", now - ms(60_000)),
        started("in-tagged", now - ms(60_000)).tag(TAG, "checkout-5xx"),
    ])
    .set("PROTECTED_ENVIRONMENTS", "protected")
    .set("ENVIRONMENTS", "in-*")
    .set("ALARM_SCOPE", "tagged")
    .set("MAX_CANCELLATIONS", 0);
    let run = stage.run(alarm_at(now, now).to_string()).await;
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
    let asked: Vec<_> = run
        .calls_of(Operation::ListTagsForResource)
        .into_iter()
        .map(|call| call.environment.as_deref().unwrap())
        .collect();
    assert_eq!(asked.len(), 2, "only those whose tag decides: {asked:?}");
    assert_eq!(
        run.published_outcomes(),
        each([("in-tagged", "SKIPPED OVER_LIMIT")])
    );
}

#[tokio::test]
async fn only_what_is_in_progress_is_a_candidate() {
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
            .run(payload.to_string())
            .await;
        assert_eq!(run.outcomes(), each([("net", "CANCELLED")]));
        assert_eq!(run.summary()["listed"], count);
        assert_eq!(run.summary()["inProgress"], 1);
        assert_eq!(run.summary()["alreadyCancelling"], 1);
        assert_eq!(run.calls_to("cancelling"), Vec::<&str>::new());
    }
}

#[tokio::test]
async fn nothing_in_progress_is_a_run_like_any_other() {
    let run = Stage::with([Environment::new("net")])
        .run(alarm().to_string())
        .await;
    assert_eq!(run.summary()["listed"], 1);
    assert_eq!(run.summary()["environments"], json!([]));
    let run = Stage::of(World::new()).run(alarm().to_string()).await;
    assert_eq!(run.summary()["listed"], 0);
    assert_eq!(run.metric("InProgress"), Some(0));
}

#[tokio::test]
async fn a_deployment_that_started_after_the_alarm_is_let_through() {
    let event = whole_second();
    // The state's time is the later, and exact.
    let state = event + ms(500);
    let run = Stage::with([
        started("long-before", event - ms(600_000)),
        started("at-the-event", event),
        started("at-the-state", state),
        started("after-the-state", state + ms(1)),
        started("next-second", event + ms(1000)),
        unknown_start("unknown"),
    ])
    .run(alarm_at(event, state).to_string())
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
async fn the_events_time_stands_for_its_whole_second() {
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
        let run = Stage::with(world.clone()).run(payload.to_string()).await;
        assert_eq!(run.outcomes(), expected, "{payload:#}");
    }
}

#[tokio::test]
async fn the_state_may_speak_later_than_the_event() {
    let event = whole_second();
    let run = Stage::with([
        started("between", event + ms(5_000)),
        started("later", event + ms(7_001)),
    ])
    .run(alarm_at(event, event + ms(7_000)).to_string())
    .await;
    assert_eq!(run.outcome("between"), "CANCELLED");
    assert_eq!(run.outcome("later"), "SKIPPED STARTED_AFTER_ALARM");
}

#[tokio::test]
async fn the_same_millisecond_is_not_after() {
    let event = whole_second();
    for millisecond in [1, 7, 123, 321, 554, 777, 999] {
        let state = event + ms(millisecond);
        let run = Stage::with([started("same", state), started("next", state + ms(1))])
            .set("DRY_RUN", "true")
            .run(alarm_at(event, state).to_string())
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
async fn by_sns_the_record_and_the_change_tell_when_the_alarm_spoke() {
    let second = whole_second();
    let spoke = |record: DateTime<Utc>, change: DateTime<Utc>| {
        let mut message = alarm_message();
        message["StateChangeTime"] = cloudwatch_time(change).into();
        let mut payload = notification(&message);
        let timestamp = record.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        payload["Records"][0]["Sns"]["Timestamp"] = timestamp.into();
        payload
    };
    for payload in [
        spoke(second + ms(500), second - ms(4_000)),
        spoke(second - ms(4_000), second + ms(500)),
    ] {
        let run = Stage::with([
            started("before", second + ms(250)),
            started("after", second + ms(750)),
        ])
        .run(payload.to_string())
        .await;
        assert_eq!(run.outcome("before"), "CANCELLED");
        assert_eq!(run.outcome("after"), "SKIPPED STARTED_AFTER_ALARM");
    }
}

#[tokio::test]
async fn an_alarms_own_action_tells_its_times_to_the_millisecond() {
    let second = whole_second();
    let mut payload = fresh_json("action_metric.json");
    payload["time"] = cloudwatch_time(second + ms(500)).into();
    payload["alarmData"]["state"]["timestamp"] = cloudwatch_time(second).into();
    let run = Stage::with([
        started("before", second + ms(250)),
        started("after", second + ms(750)),
    ])
    .run(payload.to_string())
    .await;
    assert_eq!(run.outcome("before"), "CANCELLED");
    assert_eq!(run.outcome("after"), "SKIPPED STARTED_AFTER_ALARM");
}

#[tokio::test]
async fn a_schedule_cancels_what_is_stuck() {
    let minute = seconds(60);
    let world = [
        started_ago("fresh", seconds(1)),
        started_ago("younger", 58 * minute),
        started_ago("older", 60 * minute),
        started_ago("ancient", 90 * 24 * 60 * minute),
        started("future", Utc::now() + TimeDelta::hours(1)),
        unknown_start("unknown"),
    ];
    let run = Stage::with(world.clone()).run(schedule().to_string()).await;
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
    let run = Stage::with(world)
        .set("STUCK_AFTER_MINUTES", 0)
        .run(schedule().to_string())
        .await;
    assert_eq!(run.outcome("fresh"), "CANCELLED");
    assert_eq!(run.outcome("future"), "SKIPPED NOT_STUCK");
    assert_eq!(run.outcome("unknown"), "SKIPPED START_UNKNOWN");
}

#[tokio::test]
async fn a_schedule_reads_the_time_of_day_and_not_the_events() {
    let mut old = schedule();
    old["time"] = json!("2020-01-01T00:00:00Z");
    let run = Stage::with([
        started_ago("stuck", seconds(3700)),
        started_ago("fresh", seconds(60)),
    ])
    .run(old.to_string())
    .await;
    assert_eq!(run.outcome("stuck"), "CANCELLED");
    assert_eq!(run.outcome("fresh"), "SKIPPED NOT_STUCK");
}

#[tokio::test]
async fn a_request_asks_for_neither_start_nor_age_nor_tag() {
    let mut future = request(["unknown", "fresh", "untagged"]);
    future["reason"] = json!("");
    let run = Stage::with([
        unknown_start("unknown"),
        started_ago("fresh", seconds(0)),
        running("untagged").tag(TAG, "other"),
    ])
    .set("ALARM_SCOPE", "tagged")
    .run(future.to_string())
    .await;
    for name in ["unknown", "fresh", "untagged"] {
        assert_eq!(run.outcome(name), "CANCELLED");
    }
    assert_eq!(run.calls_of(Operation::ListTagsForResource).len(), 0);
    assert_eq!(
        run.event("unknown").detail["deployment"]["startedAt"],
        Value::Null
    );
}

#[tokio::test]
async fn tags_say_which_alarms_concern_an_environment() {
    let many_tags = (0..45).fold(running("many-tags"), |environment, number| {
        environment.tag(format!("a-tag-{number:02}"), "checkout-5xx")
    });
    let stage = Stage::with([
        running("exact").tag(TAG, "checkout-5xx"),
        running("glob").tag(TAG, "checkout-*"),
        running("second").tag(TAG, "  search-*   {checkout,cart}-?xx "),
        running("other").tag(TAG, "search-* checkout-5x"),
        running("case").tag(TAG, "Checkout-5xx"),
        running("comma").tag(TAG, "checkout-5xx,search-5xx"),
        running("empty").tag(TAG, ""),
        running("broken").tag(TAG, "checkout-["),
        running("half-broken").tag(TAG, "checkout-[ checkout-5xx"),
        running("no-tag"),
        running("another-key").tag("alarms", "checkout-5xx"),
        many_tags.clone(),
        Environment::new("many-tags-and-it").deployment(quick()),
    ])
    .set("ALARM_SCOPE", "tagged");
    let run = stage.run(alarm().to_string()).await;
    assert_eq!(
        run.outcomes(),
        each([
            ("exact", "CANCELLED"),
            ("glob", "CANCELLED"),
            ("second", "CANCELLED"),
            ("other", "SKIPPED NOT_TAGGED"),
            ("case", "SKIPPED NOT_TAGGED"),
            ("comma", "SKIPPED NOT_TAGGED"),
            ("empty", "SKIPPED NOT_TAGGED"),
            ("broken", "SKIPPED NOT_TAGGED"),
            ("half-broken", "CANCELLED"),
            ("no-tag", "SKIPPED NOT_TAGGED"),
            ("another-key", "SKIPPED NOT_TAGGED"),
            ("many-tags", "SKIPPED NOT_TAGGED"),
            ("many-tags-and-it", "SKIPPED NOT_TAGGED"),
        ])
    );
}

#[tokio::test]
async fn a_tag_is_found_on_a_later_page() {
    let environment = (0..49).fold(running("net"), |environment, number| {
        environment.tag(format!("a-tag-{number:02}"), "nothing")
    });
    let run = Stage::with([environment.tag(TAG, "checkout-*")])
        .set("ALARM_SCOPE", "tagged")
        .run(alarm().to_string())
        .await;
    assert_eq!(run.outcome("net"), "CANCELLED");
}

#[tokio::test]
async fn a_schedule_asks_for_no_tags() {
    let run = Stage::running(["net"])
        .set("ALARM_SCOPE", "tagged")
        .set("STUCK_AFTER_MINUTES", 5)
        .run(schedule().to_string())
        .await;
    assert_eq!(run.outcome("net"), "CANCELLED");
    assert_eq!(run.calls_of(Operation::ListTagsForResource).len(), 0);
}

#[tokio::test]
async fn tags_that_cannot_be_read_are_an_error_of_their_environment() {
    let denied = Rule::new(Fault::error("AccessDeniedException", "not these tags"))
        .operation(Operation::ListTagsForResource)
        .environment("denied");
    let run = Stage::with([running("denied"), running("net").tag(TAG, "*")])
        .faults(Faults::none().rule(denied))
        .set("ALARM_SCOPE", "tagged")
        .run(alarm().to_string())
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
async fn the_limit_is_10_and_stops_all() {
    let names = |count: usize| (1..=count).map(|number| format!("net-{number:02}"));
    let world = |count| Stage::with(names(count).map(|name| running(&name)));
    let (ten, eleven) = tokio::join!(async { world(10).run(alarm().to_string()).await }, async {
        world(11).run(alarm().to_string()).await
    });
    assert_eq!(ten.summary()["counts"]["CANCELLED"], 10);
    assert_eq!(eleven.summary()["counts"]["SKIPPED"], 11);
    assert_eq!(eleven.cancels(), Vec::<&str>::new());
    for name in names(11) {
        assert_eq!(eleven.outcome(&name), "SKIPPED OVER_LIMIT");
        let detail = &eleven.event(&name).detail;
        assert_eq!(detail["reason"], "OVER_LIMIT");
        assert_eq!(detail["deployment"]["status"], "IN_PROGRESS");
    }
}

#[tokio::test]
async fn the_limit_counts_what_is_left_by_the_other_rules() {
    let stage = Stage::with([
        running("a"),
        running("b"),
        running("protected"),
        unknown_start("unknown"),
    ])
    .set("PROTECTED_ENVIRONMENTS", "protected")
    .set("MAX_CANCELLATIONS", 2);
    let run = stage.run(alarm().to_string()).await;
    assert_eq!(run.outcome("a"), "CANCELLED");
    assert_eq!(run.outcome("b"), "CANCELLED");
    assert_eq!(run.outcome("unknown"), "SKIPPED START_UNKNOWN");
}

#[tokio::test]
async fn the_limit_holds_for_every_trigger_and_in_a_dry_run() {
    for payload in [alarm(), schedule(), request(["a", "b"])] {
        for dry_run in ["true", "false"] {
            for (limit, expected) in [(0, "SKIPPED OVER_LIMIT"), (1, "SKIPPED OVER_LIMIT")] {
                let run = Stage::running(["a", "b"])
                    .set("MAX_CANCELLATIONS", limit)
                    .set("STUCK_AFTER_MINUTES", 1)
                    .set("DRY_RUN", dry_run)
                    .run(payload.to_string())
                    .await;
                assert_eq!(run.outcomes(), each([("a", expected), ("b", expected)]));
                assert_eq!(run.published_outcomes().len(), 2);
            }
        }
    }
}

#[tokio::test]
async fn a_request_reads_the_named_alone() {
    let run = Stage::with([
        running("net"),
        Environment::new("settled"),
        Environment::new("cancelling").deployment(Deployment::cancelling()),
        running("protected"),
        running("other"),
    ])
    .set("PROTECTED_ENVIRONMENTS", "protected,no-such-*")
    .set("ENVIRONMENTS", "[!x]*")
    .run(
        request([
            "net",
            "net",
            "settled",
            "cancelling",
            "protected",
            "missing",
            "no-such-thing",
            "x-ray",
            "net",
        ])
        .to_string(),
    )
    .await;
    assert_eq!(
        run.outcomes(),
        each([
            ("net", "CANCELLED"),
            ("settled", "SKIPPED NOT_IN_PROGRESS"),
            ("cancelling", "SKIPPED NOT_IN_PROGRESS"),
            ("protected", "SKIPPED PROTECTED"),
            ("missing", "ERROR ResourceNotFoundException"),
            ("no-such-thing", "SKIPPED PROTECTED"),
            ("x-ray", "SKIPPED NOT_INCLUDED"),
        ])
    );
    assert_eq!(run.calls_of(Operation::ListEnvironments).len(), 0);
    assert_eq!(run.cancels(), ["net"]);
    assert_eq!(run.calls_to("protected"), Vec::<&str>::new());
    assert_eq!(run.calls_to("other"), Vec::<&str>::new());
    assert_eq!(run.summary()["alreadyCancelling"], 1);
    let missing = run.event("missing");
    assert_eq!(
        missing.text("/error/code"),
        Some("ResourceNotFoundException")
    );
    assert_eq!(missing.event.resources, Vec::<String>::new());
    for member in ["id", "startedAt", "status"] {
        assert_eq!(missing.detail["deployment"][member], Value::Null);
    }
}

#[tokio::test]
async fn a_named_environment_that_may_not_be_read_is_an_error_of_its_own() {
    let denied = Rule::new(Fault::error("AccessDeniedException", "not that one"))
        .operation(Operation::GetEnvironment)
        .environment("denied");
    let run = Stage::running(["denied", "net"])
        .faults(Faults::none().rule(denied))
        .run(request(["denied", "net"]).to_string())
        .await;
    let expected = each([
        ("denied", "ERROR AccessDeniedException"),
        ("net", "CANCELLED"),
    ]);
    assert_eq!(run.outcomes(), expected);
    assert_eq!(run.published_outcomes(), expected);
}

#[tokio::test]
async fn more_than_a_thousand_environments_are_paged() {
    let settled = (0..1050).map(|number| Environment::new(format!("env-{number:04}")));
    let run = Stage::with(settled.chain([running("aaa"), running("env-0500"), running("zzz")]))
        .run(alarm().to_string())
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
    assert_eq!(pages.len(), 11, "all are listed before the first call");
    assert!(pages.iter().all(|page| page["maxResults"] == 100));
    assert!(pages[0].get("nextToken").is_none());
    assert!(pages[1..].iter().all(|page| page["nextToken"].is_string()));
}

#[tokio::test]
async fn a_thousand_in_progress_are_all_told_of() {
    let run = Stage::with((0..1001).map(|number| running(&format!("env-{number:04}"))))
        .set("MAX_CANCELLATIONS", 2000)
        .set("DRY_RUN", "true")
        .run(alarm().to_string())
        .await;
    assert_eq!(run.summary()["counts"]["DRY_RUN"], 1001);
    assert_eq!(run.events.len(), 1001);
}
