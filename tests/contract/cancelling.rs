//! Section 4: cancelling, following and the outcomes.

use std::time::Duration;

use futures_util::future::join_all;
use local_aws::{
    Answer, Call, Deployment, Effect, Ending, Environment, Fault, Faults, Operation, Rule, Timing,
    World,
};
use test_support::payloads::{alarm, request};

use crate::harness::{CANCEL, Run, Stage, TAG, each, ending, millis, quick, running, seconds};

/// An environment in progress whose rollback takes longer than any test.
fn endless(name: &str) -> Environment {
    ending(name, seconds(3600), Ending::cancelled())
}

/// The operations called for one environment, up to the last cancel of any environment.
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
async fn each_outcome_is_the_end_that_the_service_reports() {
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
    .run(alarm())
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
async fn a_deployment_that_has_not_ended_stays_cancelling() {
    let stage = || Stage::with([endless("net"), running("db")]);
    let (at_once, waited, cut) = tokio::join!(
        async { stage().set("SETTLE_TIMEOUT_SECONDS", 0).run(alarm()).await },
        async { stage().set("SETTLE_TIMEOUT_SECONDS", 1).run(alarm()).await },
        async { stage().timeout(seconds(4)).run(alarm()).await }
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
async fn cancelling_is_published_on_acceptance_and_the_end_once_it_is_read() {
    let run = Stage::with([ending("net", millis(1500), Ending::cancelled())])
        .run(alarm())
        .await;
    let [begun] = &run.begun[..] else {
        panic!("{:#?}", run.begun);
    };
    let end = run.event("net");
    assert_eq!(
        (begun.outcome(), end.outcome()),
        ("CANCELLING", "CANCELLED")
    );
    assert!(end.event.time > begun.event.time);
    for pointer in ["/deployment/cancelRequestedAt", "/deployment/startedAt"] {
        assert_eq!(begun.text(pointer), end.text(pointer));
        assert!(end.text(pointer).is_some());
    }
    assert!(begun.detail["deployment"]["settledAt"].is_null());
}

#[tokio::test]
async fn outcomes_are_published_as_soon_as_they_are_known() {
    let stage = Stage::with([running("quick"), endless("slow")]).set("SETTLE_TIMEOUT_SECONDS", 3);
    let run = stage.run(alarm()).await;
    assert_eq!(run.outcome("quick"), "CANCELLED");
    assert_eq!(run.outcome("slow"), "CANCELLING");
    let published = run.event("quick").event.time;
    let later_polls = run
        .calls
        .iter()
        .filter(|call| call.time > published && call.environment.as_deref() == Some("slow"))
        .count();
    assert!(
        later_polls > 0,
        "published only at the end of the run: {:#?}",
        run.call_names()
    );
}

#[tokio::test]
async fn the_oldest_deployment_is_cancelled_first() {
    let world = [("c", 30), ("a", 10), ("e", 50), ("b", 20), ("d", 40)].map(|(name, minutes)| {
        Environment::new(name).deployment(quick().started_ago(seconds(minutes * 60)))
    });
    let run = Stage::with(world).set("CONCURRENCY", 1).run(alarm()).await;
    assert_eq!(run.cancels(), ["e", "d", "c", "b", "a"]);
}

/// The highest number of engine calls in flight at once, if each takes at least this long.
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
        async move { (concurrency, stage.run(request(names)).await) }
    }))
    .await;
    for (concurrency, run) in runs {
        assert_eq!(run.summary()["counts"]["CANCELLED"], 12);
        let most = most_in_flight(&run, latency);
        assert!(
            most <= concurrency,
            "{most} in flight, {concurrency} allowed"
        );
    }
}

/// A truncated error response of the service.
fn broken_off(code: &str) -> Fault {
    Fault::Junk {
        status: 400,
        body: format!("{{\"__type\":\"{code}\",\"mess"),
    }
}

/// A successful response without the expected content.
fn nothing(body: &str) -> Fault {
    Fault::Junk {
        status: 200,
        body: body.to_owned(),
    }
}

#[tokio::test]
async fn a_transient_error_is_retried_at_least_four_times() {
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
            let stage = Stage::with([running("net").tag(TAG, "*")])
                .faults(Faults::none().rule(rule))
                .set("ALARM_SCOPE", "tagged");
            let payload = if operation == Operation::GetEnvironment {
                request(["net"])
            } else {
                alarm()
            };
            let run = stage.run(&payload).await;
            assert_eq!(run.outcome("net"), "CANCELLED", "{operation} {fault:?}");
            assert!(run.calls_of(operation).len() >= 5, "{operation} {fault:?}");
            let accepted = run.calls.iter().filter(|call| call.cancelled.is_some());
            assert_eq!(accepted.count(), 1, "{operation} {fault:?}");
        })
    });
    join_all(runs).await;
}

#[tokio::test]
async fn a_call_without_a_response_times_out_and_is_retried() {
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
            .run(alarm())
            .await;
        assert_eq!(run.outcome("net"), "CANCELLED", "{operation}");
        let unanswered = run.calls.iter().filter(|call| call.answer == Answer::Never);
        assert!(unanswered.count() >= 2, "{operation}");
    });
    join_all(runs).await;
}

#[tokio::test]
async fn a_call_without_a_response_ends_before_the_deadline() {
    let run = |operation| async move {
        let rule = Rule::new(Fault::Never).operation(operation);
        Stage::running(["net"])
            .faults(Faults::none().rule(rule))
            .timeout(seconds(3))
            .run(alarm())
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
async fn a_cancel_with_a_lost_response_is_not_repeated_without_a_read() {
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
        let run = Stage::running(["net"]).faults(faults).run(alarm()).await;
        assert_eq!(run.outcome("net"), "CANCELLED", "{rule:?}");
        assert_eq!(
            run.cancels(),
            ["net"],
            "a deployment in `CANCELLING` is not cancelled again"
        );
        assert!(
            run.event("net")
                .text("/deployment/cancelRequestedAt")
                .is_some()
        );
    });
    join_all(runs).await;
}

#[tokio::test]
async fn a_cancel_that_never_arrived_is_repeated_after_a_read() {
    for fault in [Fault::Drop, Fault::error("InternalServerException", "hm")] {
        let faults = Faults::none().rule(Rule::new(fault.clone()).operation(CANCEL).times(1));
        let run = Stage::running(["net"]).faults(faults).run(alarm()).await;
        assert_eq!(run.outcome("net"), "CANCELLED", "{fault:?}");
        let calls = before_and_with_the_last_cancel(&run, "net");
        assert_eq!(calls.first(), Some(&"CancelEnvironmentDeployment"));
        assert_eq!(calls.last(), Some(&"CancelEnvironmentDeployment"));
        assert_eq!(calls.len(), 3, "one read between two cancels: {calls:?}");
    }
}

#[tokio::test]
async fn a_repeated_cancel_does_not_hit_a_newer_deployment() {
    let then_the_next = |environment: Environment| {
        let next = Effect::Deploy(Deployment::in_progress());
        environment.then(Timing::AfterEnd(millis(0)), next)
    };
    let response_lost = Rule::new(Fault::Drop).after_effect();
    let request_lost = Rule::new(Fault::Drop);
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
        (cancelled, response_lost.clone(), "CANCELLED"),
        (succeeded, response_lost, "SUCCEEDED"),
        (failed, request_lost, "FAILED"),
    ] {
        let faults = Faults::none().rule(rule.operation(CANCEL).times(1));
        let run = Stage::with([then_the_next(environment)])
            .faults(faults)
            .run(alarm())
            .await;
        assert_eq!(run.outcome("net"), outcome);
        assert_eq!(run.cancels().len(), 1);
        let next = *run.truth("net").last().unwrap();
        assert_eq!(next.status.as_str(), "IN_PROGRESS");
        assert_eq!(next.cancelled_at, None);
    }
}

#[tokio::test]
async fn a_stale_reading_is_refreshed_before_the_cancel() {
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
            stage(world).run(alarm()).await
        },
        async {
            let rest = (0..5).map(|number| young(&format!("same-{number}")));
            let world = [old.clone(), replaced.clone(), failed.clone(), young("same")];
            let world = world.into_iter().chain(rest).collect();
            stage(world).run(alarm()).await
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
    let listings = many
        .calls
        .iter()
        .take_while(|call| call.environment.as_deref() != Some("same-4"))
        .filter(|call| call.operation == "ListEnvironments")
        .count();
    assert!(
        listings >= 2,
        "one refreshed page serves many cancels: {:#?}",
        many.call_names()
    );
}

#[tokio::test]
async fn a_conflict_is_resolved_by_reading_the_deployment() {
    let before_the_cancel = |name, what| running(name).then(Timing::BeforeCall(CANCEL, 1), what);
    let run = Stage::with([
        before_the_cancel("succeeded", Effect::End(Ending::succeeded())),
        before_the_cancel("failed", Effect::End(Ending::failed("by itself"))),
        before_the_cancel("cancelled", Effect::End(Ending::cancelled())),
        before_the_cancel("cancelling", Effect::Cancel),
    ])
    .run(alarm())
    .await;
    let expected = each([
        ("succeeded", "SUCCEEDED"),
        ("failed", "FAILED"),
        ("cancelled", "CANCELLED"),
        ("cancelling", "CANCELLED"),
    ]);
    assert_eq!(run.outcomes(), expected);
    assert_eq!(run.published_outcomes(), expected);
    assert_eq!(
        run.cancels().len(),
        4,
        "a cancel with a conflict is not retried"
    );
}

#[tokio::test]
async fn a_conflict_of_a_deployment_in_progress_is_an_error() {
    let conflict =
        Rule::new(Fault::error("ConflictException", "busy with something")).operation(CANCEL);
    let run = Stage::running(["net"])
        .faults(Faults::none().rule(conflict.clone()))
        .run(alarm())
        .await;
    assert_eq!(run.outcomes(), each([("net", "ERROR ConflictException")]));
    assert_eq!(
        run.event("net").text("/error/message"),
        Some("busy with something")
    );
    assert_eq!(run.cancels(), ["net"]);
    // A conflict because somebody else's cancel is under way, with an end after the timeout.
    let cancelling = endless("net").then(Timing::BeforeCall(CANCEL, 1), Effect::Cancel);
    let run = Stage::with([cancelling])
        .set("SETTLE_TIMEOUT_SECONDS", 1)
        .run(alarm())
        .await;
    assert_eq!(run.outcomes(), each([("net", "CANCELLING")]));
}

#[tokio::test]
async fn other_errors_are_reported_with_code_and_message() {
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
        .run(alarm())
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
    .run(alarm())
    .await;
    assert_eq!(run.outcome("gone"), "ERROR ResourceNotFoundException");
    assert_eq!(run.outcome("net"), "CANCELLED");
}

#[tokio::test]
async fn an_environment_that_is_deleted_while_it_is_followed_is_an_error() {
    let gone = endless("gone").then(Timing::AfterCall(CANCEL, 1), Effect::Delete);
    let run = Stage::with([gone.clone()]).run(alarm()).await;
    assert_eq!(run.outcome("gone"), "ERROR ResourceNotFoundException");
    let run = Stage::with([gone, running("a"), running("b")])
        .run(alarm())
        .await;
    assert_eq!(run.outcome("gone"), "ERROR ResourceNotFoundException");
    assert_eq!(run.outcome("a"), "CANCELLED");
}

/// An environment whose deployment has this end once cancelled, and in which another deployment
/// then starts.
fn followed_by_another(name: &str, end: Ending) -> Environment {
    ending(name, millis(50), end).then(
        Timing::AfterEnd(millis(0)),
        Effect::Deploy(Deployment::in_progress().message("the next one")),
    )
}

#[tokio::test]
async fn a_newer_deployment_is_not_mistaken_for_the_cancelled_one() {
    let one = Stage::with([followed_by_another("net", Ending::cancelled())]);
    let three = Stage::with([
        followed_by_another("a", Ending::cancelled()),
        followed_by_another("b", Ending::failed("the rollback failed")),
        followed_by_another("c", Ending::succeeded()),
        ending("d", millis(800), Ending::cancelled()),
    ]);
    let run = one.run(alarm()).await;
    assert_eq!(run.outcomes(), each([("net", "CANCELLED")]));
    assert_eq!(run.truth("net").last().unwrap().cancelled_at, None);
    let run = three.run(alarm()).await;
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
    .run(alarm())
    .await;
    assert_eq!(
        run.outcomes(),
        each([("net", "CANCELLED"), ("db", "CANCELLED")])
    );
    assert!(run.event("net").detail["deployment"]["id"].is_null());
    assert_eq!(run.calls_of(Operation::GetDeployment).len(), 0);
    let run = Stage::with([superseded])
        .set("SETTLE_TIMEOUT_SECONDS", 2)
        .run(alarm())
        .await;
    assert_eq!(
        run.outcome("superseded"),
        "CANCELLING",
        "the end is unknown"
    );
    assert_eq!(run.cancels(), ["superseded"]);
}

/// The number of engine calls in each poll after the last cancel. Calls less than 40 ms apart
/// belong to one poll.
fn calls_per_poll(run: &Run) -> Vec<usize> {
    let last = run
        .calls
        .iter()
        .rposition(|call| call.operation == CANCEL.to_string())
        .unwrap();
    let mut polls: Vec<usize> = Vec::new();
    let mut before = None;
    for call in run.calls[last + 1..]
        .iter()
        .filter(|call| call.operation != "PutEvents")
    {
        let follows_on = before.is_some_and(|before| {
            call.time.duration_since(before).unwrap_or_default() < millis(40)
        });
        match polls.last_mut().filter(|_| follows_on) {
            Some(calls) => *calls += 1,
            None => polls.push(1),
        }
        before = Some(call.time);
    }
    polls
}

#[tokio::test]
async fn a_poll_makes_no_more_calls_than_there_are_pages() {
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
    let payload = alarm();
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
            let polls = calls_per_poll(&run);
            assert!(polls.len() >= 3, "{polls:?}");
            assert!(
                polls.iter().all(|calls| *calls <= most),
                "{followed} followed, {most} calls a poll at most: {polls:?} {:#?}",
                run.call_names()
            );
        }
    });
    join_all(runs).await;
}

#[tokio::test]
async fn the_deadline_leaves_the_remaining_cancels_to_the_retry() {
    let latency = millis(700);
    let slow = Rule::new(Fault::Latency(latency)).operation(CANCEL);
    let names: Vec<_> = (0..9).map(|number| format!("net-{number}")).collect();
    let stage = Stage::with(names.iter().enumerate().map(|(index, name)| {
        let minutes = 60 - u64::try_from(index).unwrap();
        Environment::new(name.as_str()).deployment(quick().started_ago(seconds(minutes * 60)))
    }))
    .faults(Faults::none().rule(slow))
    .set("CONCURRENCY", 1);
    let payload = alarm();
    let mut function = stage.start().await;
    function.invoke_within(seconds(4), &payload).await;
    function.invoke(&payload).await;
    let [cut, retried] = function.finish().await;
    assert_eq!(cut.failure().kind, "Incomplete");
    let outcomes = cut.published_outcomes();
    assert_eq!(outcomes.len(), 9, "each is reported: {outcomes:?}");
    assert_eq!(outcomes["net-8"], "ERROR DeadlineExceeded");
    let cancels = cut.cancels();
    assert!(!cancels.is_empty() && cancels.len() < 9, "{cancels:?}");
    for (name, outcome) in &outcomes {
        let is_cancelled = cancels.contains(name);
        assert_eq!(
            outcome != "ERROR DeadlineExceeded",
            is_cancelled,
            "{name}: {outcome}"
        );
    }
    let oldest_first: Vec<_> = names.iter().take(cancels.len()).collect();
    assert_eq!(cancels, oldest_first);
    // Lambda retries the event; the retry makes the remaining cancels.
    let left = 9 - cancels.len();
    assert_eq!(retried.summary()["counts"]["CANCELLED"], left);
    for name in retried.cancels() {
        assert!(!cancels.contains(&name), "{name} was cancelled twice");
    }
}

#[tokio::test]
async fn random_faults_of_every_kind_lose_no_cancel() {
    let chances = local_aws::Chances {
        error: 0.05,
        drop_before: 0.05,
        drop_after: 0.05,
        never: 0.0,
        refused_entry: 0.1,
    };
    let runs = [1, 2, 3].map(|seed| async move {
        let world = (0..10)
            .map(|number| running(&format!("net-{number}")))
            .fold(World::new().seed(seed), World::with)
            .faults(Faults::none().chances(chances));
        let run = Stage::of(world).run(alarm()).await;
        assert_eq!(run.summary()["counts"]["CANCELLED"], 10, "seed {seed}");
        let hits = run.calls.iter().filter(|call| call.cancelled.is_some());
        assert_eq!(hits.count(), 10, "seed {seed}");
    });
    join_all(runs).await;
}
