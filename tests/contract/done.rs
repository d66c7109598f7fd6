//! Chapter 4: what is done.

use std::time::Duration;

use futures_util::future::join_all;
use local_aws::{
    Answer, Call, Deployment, Effect, Ending, Environment, Fault, Faults, Operation, Rule, Timing,
    World,
};

use crate::harness::{Run, Stage, each, millis, quick, running, seconds};
use crate::payloads::{alarm, request};

const CANCEL: Operation = Operation::CancelEnvironmentDeployment;

/// In progress; a cancel leads there after a while.
fn ending(name: &str, after: Duration, ending: Ending) -> Environment {
    let cancellation = ending.rollback(after);
    Environment::new(name).deployment(Deployment::in_progress().when_cancelled(cancellation))
}

/// In progress; it takes longer to be cancelled than any test.
fn endless(name: &str) -> Environment {
    ending(name, seconds(3600), Ending::cancelled())
}

/// The operations of the calls to one environment up to the last cancel of any.
fn before_and_with_the_last_cancel<'a>(run: &'a Run, environment: &str) -> Vec<&'a str> {
    let last = run
        .calls
        .iter()
        .rposition(|call| call.operation == CANCEL.to_string())
        .unwrap();
    run.calls[..=last]
        .iter()
        .filter(|call| call.environment.as_deref() == Some(environment))
        .map(|call| call.operation.as_str())
        .collect()
}

#[tokio::test]
async fn each_end_is_told_as_the_service_tells_it() {
    let run = Stage::with([
        ending("cancelled", millis(0), Ending::cancelled()),
        ending("later", millis(900), Ending::cancelled()),
        ending("failed", millis(300), Ending::failed("the rollback failed")),
        ending(
            "succeeded",
            millis(300),
            Ending::succeeded().message("too late"),
        ),
    ])
    .run(alarm().to_string())
    .await;
    let expected = each([
        ("cancelled", "CANCELLED"),
        ("later", "CANCELLED"),
        ("failed", "FAILED"),
        ("succeeded", "SUCCEEDED"),
    ]);
    assert_eq!(run.outcomes(), expected);
    assert_eq!(run.published_outcomes(), expected);
    assert_eq!(
        run.event("failed").text("/message"),
        Some("the rollback failed")
    );
    assert_eq!(run.event("succeeded").text("/message"), Some("too late"));
    assert_eq!(
        run.event("cancelled").text("/message"),
        Some("User initiated cancellation.")
    );
}

#[tokio::test]
async fn what_is_not_seen_to_end_is_cancelling() {
    let stage = || Stage::with([endless("net"), running("db")]);
    let (at_once, waited, cut) = tokio::join!(
        async {
            stage()
                .set("SETTLE_TIMEOUT_SECONDS", 0)
                .run(alarm().to_string())
                .await
        },
        async {
            stage()
                .set("SETTLE_TIMEOUT_SECONDS", 1)
                .run(alarm().to_string())
                .await
        },
        async { stage().timeout(seconds(4)).run(alarm().to_string()).await }
    );
    for run in [&at_once, &waited, &cut] {
        assert_eq!(run.outcome("net"), "CANCELLING");
        let detail = &run.event("net").detail;
        assert_eq!(detail["deployment"]["status"], "CANCELLING");
        assert!(detail["deployment"]["settledAt"].is_null());
        assert!(detail["deployment"]["cancelRequestedAt"].is_string());
    }
    assert_eq!(waited.outcome("db"), "CANCELLED");
    assert_eq!(cut.outcome("db"), "CANCELLED");
}

#[tokio::test]
async fn cancelling_is_published_when_the_cancel_is_accepted_and_the_end_when_it_is_seen() {
    let run = Stage::with([ending("net", millis(1500), Ending::cancelled())])
        .run(alarm().to_string())
        .await;
    let [begun] = &run.begun[..] else {
        panic!("{:#?}", run.begun);
    };
    let end = run.event("net");
    assert_eq!(
        (begun.outcome(), end.outcome()),
        ("CANCELLING", "CANCELLED")
    );
    let cancel = &run.calls_of(CANCEL)[0];
    let wait = begun.event.time.duration_since(cancel.time).unwrap();
    assert!(wait < millis(1000), "{wait:?}");
    assert!(end.event.time > begun.event.time);
    for pointer in ["/deployment/cancelRequestedAt", "/deployment/startedAt"] {
        assert_eq!(begun.text(pointer), end.text(pointer));
        assert!(end.text(pointer).is_some());
    }
    assert!(begun.detail["deployment"]["settledAt"].is_null());
}

#[tokio::test]
async fn outcomes_are_told_as_soon_as_they_are_known() {
    let stage = Stage::with([running("quick"), endless("slow")]).set("SETTLE_TIMEOUT_SECONDS", 3);
    let run = stage.run(alarm().to_string()).await;
    assert_eq!(run.outcome("quick"), "CANCELLED");
    assert_eq!(run.outcome("slow"), "CANCELLING");
    let told = run.event("quick").event.time;
    let looks_later = run
        .calls
        .iter()
        .filter(|call| call.time > told && call.environment.as_deref() == Some("slow"))
        .count();
    assert!(
        looks_later > 0,
        "it was told after all was over: {:#?}",
        run.call_names()
    );
}

#[tokio::test]
async fn the_oldest_deployment_comes_first() {
    let world = [("c", 30), ("a", 10), ("e", 50), ("b", 20), ("d", 40)].map(|(name, minutes)| {
        Environment::new(name).deployment(quick().started_ago(seconds(minutes * 60)))
    });
    let run = Stage::with(world)
        .set("CONCURRENCY", 1)
        .run(alarm().to_string())
        .await;
    assert_eq!(run.cancels(), ["e", "d", "c", "b", "a"]);
}

/// The most calls of Proton that were in flight at once, where each takes at least this long.
fn most_in_flight(run: &Run, latency: Duration) -> usize {
    let calls: Vec<_> = run
        .calls
        .iter()
        .filter(|call| call.operation != "PutEvents")
        .collect();
    let in_flight_at = |one: &Call| {
        calls
            .iter()
            .filter(|other| other.time <= one.time && other.time + latency > one.time)
            .count()
    };
    calls.iter().map(|call| in_flight_at(call)).max().unwrap()
}

#[tokio::test]
async fn no_more_calls_are_in_flight_than_allowed() {
    let latency = millis(150);
    let names: Vec<_> = (0..12).map(|number| format!("net-{number:02}")).collect();
    let world = || Stage::with(names.iter().map(|name| running(name).tag("k", "v")));
    let runs = join_all([1, 3, 7].map(|concurrency| {
        let stage = world()
            .faults(Faults::none().latency(latency..=latency))
            .set("ALARM_SCOPE", "all")
            .set("MAX_CANCELLATIONS", 12)
            .set("CONCURRENCY", concurrency);
        let names = names.iter().map(String::as_str);
        async move { (concurrency, stage.run(request(names).to_string()).await) }
    }))
    .await;
    for (concurrency, run) in runs {
        assert_eq!(run.summary()["counts"]["CANCELLED"], 12);
        let most = most_in_flight(&run, latency);
        assert!(
            most <= concurrency,
            "{most} in flight, where {concurrency} are allowed"
        );
    }
}

/// An error of the service whose answer ends before it is whole.
fn broken_off(code: &str) -> Fault {
    Fault::Junk {
        status: 400,
        body: format!("{{\"__type\":\"{code}\",\"mess"),
    }
}

/// A success that says nothing.
fn nothing(body: &str) -> Fault {
    Fault::Junk {
        status: 200,
        body: body.to_owned(),
    }
}

#[tokio::test]
async fn what_may_pass_is_tried_at_least_four_times_more() {
    let kinds = [
        Fault::error("ThrottlingException", "Rate exceeded"),
        Fault::error("InternalServerException", "try again"),
        Fault::Junk {
            status: 503,
            body: "<html>Service Unavailable</html>".to_owned(),
        },
        broken_off("ThrottlingException"),
        nothing("{}"),
        nothing(r#"{"environments":null,"environment":{},"deployment":{},"tags":null}"#),
        Fault::Drop,
    ];
    let runs = kinds.iter().flat_map(|fault| {
        [
            Operation::ListEnvironments,
            Operation::ListTagsForResource,
            CANCEL,
            Operation::PutEvents,
            Operation::GetEnvironment,
            Operation::GetDeployment,
        ]
        .map(|operation| async move {
            let rule = Rule::new(fault.clone()).operation(operation).times(4);
            let stage = Stage::with([running("net").tag("proton-canceller:alarms", "*")])
                .faults(Faults::none().rule(rule))
                .set("ALARM_SCOPE", "tagged");
            let payload = if operation == Operation::GetEnvironment {
                request(["net"])
            } else {
                alarm()
            };
            let run = stage.run(payload.to_string()).await;
            assert_eq!(run.outcome("net"), "CANCELLED", "{operation} {fault:?}");
            assert!(run.calls_of(operation).len() >= 5, "{operation} {fault:?}");
            let accepted = run.calls.iter().filter(|call| call.cancelled.is_some());
            assert_eq!(accepted.count(), 1, "{operation} {fault:?}");
        })
    });
    join_all(runs).await;
}

#[tokio::test]
async fn a_call_that_is_never_answered_is_given_up_and_made_again() {
    let runs = [
        (Operation::ListEnvironments, 4),
        (CANCEL, 4),
        (Operation::PutEvents, 2),
        (Operation::GetDeployment, 2),
    ]
    .map(|(operation, times)| async move {
        let rule = Rule::new(Fault::Never).operation(operation).times(times);
        let run = Stage::running(["net"])
            .faults(Faults::none().rule(rule))
            .run(alarm().to_string())
            .await;
        assert_eq!(run.outcome("net"), "CANCELLED", "{operation}");
        let unanswered = run.calls.iter().filter(|call| call.answer == Answer::Never);
        assert!(unanswered.count() >= 2, "{operation}");
    });
    join_all(runs).await;
}

#[tokio::test]
async fn a_call_that_is_never_answered_does_not_outlast_the_deadline() {
    let run = |operation| async move {
        let rule = Rule::new(Fault::Never).operation(operation);
        Stage::running(["net"])
            .faults(Faults::none().rule(rule))
            .timeout(seconds(3))
            .run(alarm().to_string())
            .await
    };
    let (listing, cancelling, following) = tokio::join!(
        run(Operation::ListEnvironments),
        run(CANCEL),
        run(Operation::GetDeployment)
    );
    assert_eq!(listing.failure().kind, "ListFailed");
    assert_eq!(cancelling.failure().kind, "Incomplete");
    assert_eq!(cancelling.event("net").outcome(), "ERROR");
    assert_eq!(following.outcome("net"), "CANCELLING");
}

#[tokio::test]
async fn a_cancel_whose_answer_was_lost_is_not_repeated_unseen() {
    let lost = [
        Rule::new(Fault::Drop).after_effect(),
        Rule::new(Fault::Never).after_effect(),
        Rule::new(Fault::error("InternalServerException", "hm")).after_effect(),
        Rule::new(Fault::Junk {
            status: 200,
            body: "{".to_owned(),
        })
        .after_effect(),
        Rule::new(nothing("")).after_effect(),
        Rule::new(nothing("{}")).after_effect(),
        Rule::new(nothing(r#"{"environment":{}}"#)).after_effect(),
        Rule::new(broken_off("ConflictException")).after_effect(),
        Rule::new(Fault::Junk {
            status: 400,
            body: "<html>Bad Request</html>".to_owned(),
        })
        .after_effect(),
        Rule::new(Fault::Junk {
            status: 408,
            body: String::new(),
        })
        .after_effect(),
    ];
    let runs = lost.map(|rule| async move {
        let faults = Faults::none().rule(rule.clone().operation(CANCEL).times(1));
        let run = Stage::running(["net"])
            .faults(faults)
            .run(alarm().to_string())
            .await;
        assert_eq!(run.outcome("net"), "CANCELLED", "{rule:?}");
        assert_eq!(run.cancels(), ["net"], "it is CANCELLING: no call is made");
        assert!(
            run.event("net")
                .text("/deployment/cancelRequestedAt")
                .is_some()
        );
    });
    join_all(runs).await;
}

#[tokio::test]
async fn a_cancel_that_was_lost_on_its_way_is_repeated_after_a_look() {
    for fault in [Fault::Drop, Fault::error("InternalServerException", "hm")] {
        let faults = Faults::none().rule(Rule::new(fault.clone()).operation(CANCEL).times(1));
        let run = Stage::running(["net"])
            .faults(faults)
            .run(alarm().to_string())
            .await;
        assert_eq!(run.outcome("net"), "CANCELLED", "{fault:?}");
        let calls = before_and_with_the_last_cancel(&run, "net");
        assert_eq!(calls.first(), Some(&"CancelEnvironmentDeployment"));
        assert_eq!(calls.last(), Some(&"CancelEnvironmentDeployment"));
        assert_eq!(calls.len(), 3, "one look between two cancels: {calls:?}");
    }
}

#[tokio::test]
async fn a_repeat_does_not_hit_the_deployment_that_came_next() {
    let then_the_next = |environment: Environment| {
        let next = Effect::Deploy(Deployment::in_progress());
        environment.then(Timing::AfterEnd(millis(0)), next)
    };
    let heard = Rule::new(Fault::Drop).after_effect();
    let unheard = Rule::new(Fault::Drop);
    let cancelled = ending("net", millis(0), Ending::cancelled());
    let succeeded = running("net").then(
        Timing::AfterCall(CANCEL, 1),
        Effect::End(Ending::succeeded()),
    );
    let failed = running("net").then(
        Timing::BeforeCall(Operation::GetDeployment, 1),
        Effect::End(Ending::failed("by itself")),
    );
    for (environment, rule, outcome) in [
        (cancelled, heard.clone(), "CANCELLED"),
        (succeeded, heard, "SUCCEEDED"),
        (failed, unheard, "FAILED"),
    ] {
        let faults = Faults::none().rule(rule.operation(CANCEL).times(1));
        let run = Stage::with([then_the_next(environment)])
            .faults(faults)
            .run(alarm().to_string())
            .await;
        assert_eq!(run.outcome("net"), outcome);
        assert_eq!(run.cancels().len(), 1);
        let next = *run.truth("net").last().unwrap();
        assert_eq!(next.status.as_str(), "IN_PROGRESS");
        assert_eq!(next.cancelled_at, None);
    }
}

#[tokio::test]
async fn a_reading_of_more_than_two_seconds_is_renewed_before_the_cancel() {
    let slow = Rule::new(Fault::Latency(millis(2500)))
        .operation(CANCEL)
        .environment("old");
    let old = Environment::new("old").deployment(quick().started_ago(seconds(3600)));
    let young = |name: &str| Environment::new(name).deployment(quick().started_ago(seconds(600)));
    let replaced = young("replaced")
        .then(Timing::At(millis(1000)), Effect::End(Ending::succeeded()))
        .then(Timing::AfterEnd(millis(0)), Effect::Deploy(quick()));
    let failed = young("failed").then(Timing::At(millis(1000)), Effect::End(Ending::failed("oh")));
    let cancelled = young("cancelled").then(Timing::At(millis(1000)), Effect::Cancel);
    let stage = |world: Vec<Environment>| {
        Stage::with(world)
            .faults(Faults::none().rule(slow.clone()))
            .set("CONCURRENCY", 1)
    };
    let (few, many) = tokio::join!(
        async {
            let world = vec![
                old.clone(),
                young("same"),
                replaced.clone(),
                failed.clone(),
                cancelled.clone(),
            ];
            stage(world).run(alarm().to_string()).await
        },
        async {
            let rest = (0..5).map(|number| young(&format!("same-{number}")));
            let world = [old.clone(), replaced.clone(), failed.clone(), young("same")];
            let world = world.into_iter().chain(rest).collect();
            stage(world).run(alarm().to_string()).await
        }
    );
    for run in [&few, &many] {
        assert_eq!(run.outcome("old"), "CANCELLED");
        assert_eq!(run.outcome("same"), "CANCELLED");
        assert_eq!(run.outcome("replaced"), "SUCCEEDED");
        assert_eq!(run.outcome("failed"), "FAILED");
        assert!(
            !run.cancels().contains(&"replaced"),
            "{:#?}",
            run.call_names()
        );
        assert!(
            !run.cancels().contains(&"failed"),
            "{:#?}",
            run.call_names()
        );
        let truth = run.truth("replaced");
        assert_eq!(truth.last().unwrap().status.as_str(), "IN_PROGRESS");
        assert_eq!(
            run.event("replaced").text("/deployment/id"),
            Some(&*truth[truth.len() - 2].id)
        );
        let cancel = |name: &str| {
            run.calls
                .iter()
                .position(|call| {
                    call.operation == CANCEL.to_string()
                        && call.environment.as_deref() == Some(name)
                })
                .unwrap()
        };
        let between = &run.calls[cancel("old")..cancel("same")];
        let is_read = between.iter().any(|call| {
            call.operation == "ListEnvironments" || call.environment.as_deref() == Some("same")
        });
        assert!(is_read, "{:#?}", run.call_names());
    }
    assert_eq!(few.outcome("cancelled"), "CANCELLED");
    assert!(!few.cancels().contains(&"cancelled"));
    assert!(
        few.event("cancelled")
            .text("/deployment/cancelRequestedAt")
            .is_none()
    );
    let looks = many
        .calls
        .iter()
        .take_while(|call| call.environment.as_deref() != Some("same-4"))
        .filter(|call| call.operation == "ListEnvironments")
        .count();
    assert!(
        looks >= 2,
        "a list page does for many: {:#?}",
        many.call_names()
    );
}

#[tokio::test]
async fn a_conflict_may_hide_that_it_has_ended() {
    let by_the_time = |name, what| running(name).then(Timing::BeforeCall(CANCEL, 1), what);
    let run = Stage::with([
        by_the_time("succeeded", Effect::End(Ending::succeeded())),
        by_the_time("failed", Effect::End(Ending::failed("by itself"))),
        by_the_time("cancelled", Effect::End(Ending::cancelled())),
        by_the_time("cancelling", Effect::Cancel),
    ])
    .run(alarm().to_string())
    .await;
    let expected = each([
        ("succeeded", "SUCCEEDED"),
        ("failed", "FAILED"),
        ("cancelled", "CANCELLED"),
        ("cancelling", "CANCELLED"),
    ]);
    assert_eq!(run.outcomes(), expected);
    assert_eq!(run.published_outcomes(), expected);
    assert_eq!(run.cancels().len(), 4, "a conflict is not repeated");
}

#[tokio::test]
async fn a_conflict_that_hides_nothing_is_an_error() {
    let conflict =
        Rule::new(Fault::error("ConflictException", "busy with something")).operation(CANCEL);
    let run = Stage::running(["net"])
        .faults(Faults::none().rule(conflict.clone()))
        .run(alarm().to_string())
        .await;
    assert_eq!(run.outcomes(), each([("net", "ERROR ConflictException")]));
    assert_eq!(
        run.event("net").text("/error/message"),
        Some("busy with something")
    );
    assert_eq!(run.cancels(), ["net"]);
    // The same where the conflict hides a cancel that nobody sees the end of.
    let cancelling = endless("net").then(Timing::BeforeCall(CANCEL, 1), Effect::Cancel);
    let run = Stage::with([cancelling])
        .set("SETTLE_TIMEOUT_SECONDS", 1)
        .run(alarm().to_string())
        .await;
    assert_eq!(run.outcomes(), each([("net", "CANCELLING")]));
}

#[tokio::test]
async fn other_errors_are_told_with_code_and_message() {
    let codes = [
        "AccessDeniedException",
        "ResourceNotFoundException",
        "ValidationException",
        "ServiceQuotaExceededException",
        "UnrecognizedClientException",
    ];
    let faults = codes.iter().fold(Faults::none(), |faults, code| {
        let message = format!("the message of {code}");
        faults.rule(
            Rule::new(Fault::error(*code, message))
                .operation(CANCEL)
                .environment(*code),
        )
    });
    let run = Stage::running(codes.into_iter().chain(["net"]))
        .faults(faults)
        .run(alarm().to_string())
        .await;
    assert_eq!(run.outcome("net"), "CANCELLED");
    for code in codes {
        assert_eq!(run.outcome(code), format!("ERROR {code}"));
        let event = run.event(code);
        assert_eq!(
            event.text("/error/message"),
            Some(&*format!("the message of {code}"))
        );
        assert_eq!(event.text("/deployment/status"), Some("IN_PROGRESS"));
        let cancels = run.cancels();
        assert_eq!(
            cancels.iter().filter(|name| **name == code).count(),
            1,
            "{code}"
        );
    }
}

#[tokio::test]
async fn an_environment_that_is_deleted_before_its_cancel_is_an_error() {
    let run = Stage::with([
        running("gone").then(Timing::after_listed(), Effect::Delete),
        running("net"),
    ])
    .run(alarm().to_string())
    .await;
    assert_eq!(run.outcome("gone"), "ERROR ResourceNotFoundException");
    assert_eq!(run.outcome("net"), "CANCELLED");
}

#[tokio::test]
async fn an_environment_that_is_deleted_while_it_is_followed_ends_the_wait() {
    let gone = endless("gone").then(Timing::AfterCall(CANCEL, 1), Effect::Delete);
    let run = Stage::with([gone.clone()]).run(alarm().to_string()).await;
    assert_eq!(run.outcome("gone"), "ERROR ResourceNotFoundException");
    let run = Stage::with([gone, running("a"), running("b")])
        .run(alarm().to_string())
        .await;
    assert_eq!(run.outcome("gone"), "ERROR ResourceNotFoundException");
    assert_eq!(run.outcome("a"), "CANCELLED");
}

/// A deployment that ends so when cancelled, and another one that starts right then.
fn followed_by_another(name: &str, end: Ending) -> Environment {
    ending(name, millis(50), end).then(
        Timing::AfterEnd(millis(0)),
        Effect::Deploy(Deployment::in_progress().message("the next one")),
    )
}

#[tokio::test]
async fn another_deployment_is_not_mistaken_for_the_one_that_was_cancelled() {
    let one = Stage::with([followed_by_another("net", Ending::cancelled())]);
    let three = Stage::with([
        followed_by_another("a", Ending::cancelled()),
        followed_by_another("b", Ending::failed("the rollback failed")),
        followed_by_another("c", Ending::succeeded()),
        ending("d", millis(800), Ending::cancelled()),
    ]);
    let run = one.run(alarm().to_string()).await;
    assert_eq!(run.outcomes(), each([("net", "CANCELLED")]));
    assert_eq!(run.truth("net").last().unwrap().cancelled_at, None);
    let run = three.run(alarm().to_string()).await;
    assert_eq!(
        run.outcomes(),
        each([
            ("a", "CANCELLED"),
            ("b", "FAILED"),
            ("c", "SUCCEEDED"),
            ("d", "CANCELLED")
        ])
    );
    for name in ["a", "b", "c"] {
        let truth = run.truth(name);
        let [.., cancelled, next] = truth.as_slice() else {
            panic!("{truth:?}")
        };
        assert_eq!(run.event(name).text("/deployment/id"), Some(&*cancelled.id));
        assert_eq!(next.cancelled_at, None);
        assert_ne!(run.event(name).text("/message"), Some("the next one"));
    }
    assert_eq!(run.cancels().len(), 4);
}

#[tokio::test]
async fn without_an_id_environment_and_start_identify_a_deployment() {
    let environment = |name: &str, after| {
        let deployment = Deployment::in_progress()
            .id_not_sent()
            .when_cancelled(Ending::cancelled().rollback(after));
        Environment::new(name).deployment(deployment)
    };
    let superseded = environment("superseded", millis(50)).then(
        Timing::AfterEnd(millis(0)),
        Effect::Deploy(
            quick()
                .id_not_sent()
                .left_alone(millis(100), Ending::failed("another")),
        ),
    );
    let run = Stage::with([
        environment("net", millis(100)),
        environment("db", millis(600)),
    ])
    .run(alarm().to_string())
    .await;
    assert_eq!(
        run.outcomes(),
        each([("net", "CANCELLED"), ("db", "CANCELLED")])
    );
    assert!(run.event("net").detail["deployment"]["id"].is_null());
    assert_eq!(run.calls_of(Operation::GetDeployment).len(), 0);
    let run = Stage::with([superseded])
        .set("SETTLE_TIMEOUT_SECONDS", 2)
        .run(alarm().to_string())
        .await;
    assert_eq!(
        run.outcome("superseded"),
        "CANCELLING",
        "its end is not known"
    );
    assert_eq!(run.cancels(), ["superseded"]);
}

/// The calls after the last cancel, tick by tick: within a tick they follow on each other, between
/// two the function waits longer than this.
fn calls_per_tick(run: &Run) -> Vec<usize> {
    let last = run
        .calls
        .iter()
        .rposition(|call| call.operation == CANCEL.to_string())
        .unwrap();
    let mut ticks: Vec<usize> = Vec::new();
    let mut before = None;
    for call in run.calls[last + 1..]
        .iter()
        .filter(|call| call.operation != "PutEvents")
    {
        let follows_on = before.is_some_and(|before| {
            call.time.duration_since(before).unwrap_or_default() < millis(40)
        });
        match ticks.last_mut().filter(|_| follows_on) {
            Some(tick) => *tick += 1,
            None => ticks.push(1),
        }
        before = Some(call.time);
    }
    ticks
}

#[tokio::test]
async fn following_many_costs_no_more_calls_a_tick_than_there_are_pages() {
    let world = |followed: usize, settled: usize| {
        let followed = (0..followed).map(|number| {
            ending(
                &format!("run-{number:02}"),
                millis(2500),
                Ending::cancelled(),
            )
        });
        let settled = (0..settled).map(|number| Environment::new(format!("env-{number:03}")));
        Stage::with(followed.chain(settled)).set("MAX_CANCELLATIONS", 100)
    };
    let payload = alarm().to_string();
    let runs = [
        (40, 0, 1),
        (10, 150, 2),
        (2, 350, 2),
        (3, 250, 3),
        (1, 350, 1),
    ]
    .map(|(followed, settled, most)| {
        let payload = payload.clone();
        async move {
            let run = world(followed, settled).run(payload).await;
            assert_eq!(run.summary()["counts"]["CANCELLED"], followed);
            let ticks = calls_per_tick(&run);
            assert!(ticks.len() >= 3, "{ticks:?}");
            assert!(
                ticks.iter().all(|calls| *calls <= most),
                "{followed} followed, {most} calls a tick at most: {ticks:?} {:#?}",
                run.call_names()
            );
        }
    });
    join_all(runs).await;
}

#[tokio::test]
async fn the_deadline_comes_before_the_turn_of_some() {
    let latency = millis(700);
    let slow = Rule::new(Fault::Latency(latency)).operation(CANCEL);
    let names: Vec<_> = (0..9).map(|number| format!("net-{number}")).collect();
    let stage = Stage::with(names.iter().enumerate().map(|(index, name)| {
        let minutes = 60 - u64::try_from(index).unwrap();
        Environment::new(name.as_str()).deployment(quick().started_ago(seconds(minutes * 60)))
    }))
    .faults(Faults::none().rule(slow))
    .set("CONCURRENCY", 1);
    let payload = alarm().to_string();
    let mut function = stage.start().await;
    function.invoke_within(seconds(4), &payload).await;
    function.invoke(&payload).await;
    let [cut, retried] = function.finish().await;
    assert_eq!(cut.failure().kind, "Incomplete");
    let outcomes = cut.published_outcomes();
    assert_eq!(outcomes.len(), 9, "each is told of: {outcomes:?}");
    assert_eq!(outcomes["net-8"], "ERROR DeadlineExceeded");
    let cancels = cut.cancels();
    assert!(!cancels.is_empty() && cancels.len() < 9, "{cancels:?}");
    for (name, outcome) in &outcomes {
        let was_asked_for = cancels.contains(name);
        assert_eq!(
            outcome != "ERROR DeadlineExceeded",
            was_asked_for,
            "{name}: {outcome}"
        );
    }
    let oldest_first: Vec<_> = names.iter().take(cancels.len()).collect();
    assert_eq!(cancels, oldest_first);
    // Lambda tries again, and the retry completes it.
    let left = 9 - cancels.len();
    assert_eq!(retried.summary()["counts"]["CANCELLED"], left);
    for name in retried.cancels() {
        assert!(!cancels.contains(&name), "{name} was cancelled twice");
    }
}

#[tokio::test]
async fn a_throttled_account_is_served_in_the_end() {
    let throttle = local_aws::Throttle {
        operation: None,
        per_second: 5.0,
        burst: 5,
    };
    let names: Vec<_> = (0..20).map(|number| format!("net-{number:02}")).collect();
    let run = Stage::with(names.iter().map(|name| running(name)))
        .faults(Faults::none().throttle(throttle))
        .set("MAX_CANCELLATIONS", 20)
        .run(alarm().to_string())
        .await;
    assert_eq!(run.summary()["counts"]["CANCELLED"], 20);
}

#[tokio::test]
async fn bad_luck_of_every_kind_is_survived() {
    let chances = local_aws::Chances {
        error: 0.05,
        drop_before: 0.05,
        drop_after: 0.05,
        never: 0.0,
        refused_entry: 0.1,
    };
    let runs = [1, 2, 3].map(|seed| async move {
        let names: Vec<_> = (0..10).map(|number| format!("net-{number}")).collect();
        let world = names
            .iter()
            .map(|name| running(name))
            .fold(World::new().seed(seed), World::with)
            .faults(Faults::none().chances(chances));
        let run = Stage::of(world).run(alarm().to_string()).await;
        assert_eq!(run.summary()["counts"]["CANCELLED"], 10, "seed {seed}");
        let hits = run.calls.iter().filter(|call| call.cancelled.is_some());
        assert_eq!(hits.count(), 10, "seed {seed}");
    });
    join_all(runs).await;
}
