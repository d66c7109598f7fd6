//! Section 8: the follower.

use std::time::Duration;

use bytes::Bytes;
use local_aws::{
    Deployment, Effect, Ending, Environment, Event, Fault, Faults, Invocation, Operation, Rule,
    Timing,
};
use proton_canceller::engine::EngineKind;
use serde_json::{Value, json};
use test_support::function::Aws;
use test_support::payloads::{alarm, delivery, sqs_message};

use crate::harness::{
    ENGINES, Function, Published, Run, Stage, ending, is_cancel, millis, quick, running,
};

const NOT_ENDED: &str = r#"{"batchItemFailures":[{"itemIdentifier":"m-1"}]}"#;
const ENDED: &str = r#"{"batchItemFailures":[]}"#;

fn stage(environment: Environment, engine: EngineKind) -> Stage {
    Stage::with([environment])
        .set("SETTLE_TIMEOUT_SECONDS", 0)
        .on(engine)
}

/// Runs the function for an alarm. Returns the delivery of the `CANCELLING` event.
async fn cancelled(function: &mut Function) -> Value {
    function.invoke(alarm()).await;
    let events = function.aws.local.events();
    let event = events.last().expect("nothing was published");
    assert!(event.detail.contains(r#""outcome":"CANCELLING""#));
    delivery(&event.detail, &event.resources)
}

/// Cancels, then delivers the message `times` times. Returns the run, and the follows.
async fn followed(stage: &Stage, times: usize) -> (Run, Vec<Run>) {
    let mut function = stage.start().await;
    let message = cancelled(&mut function).await.to_string();
    for _ in 0..times {
        function.invoke(&message).await;
        tokio::time::sleep(millis(100)).await;
    }
    let mut runs = function.finish_all().await;
    let follows = runs.split_off(1);
    (runs.remove(0), follows)
}

fn answer(run: &Run) -> String {
    run.summary().to_string()
}

/// Checks that an end has the facts of its `CANCELLING` event.
fn belongs_to(end: &Published, begun: &Published) {
    assert_eq!(
        end.id_without_its_last_digit(),
        begun.id_without_its_last_digit()
    );
    for pointer in [
        "/environment",
        "/deployment/id",
        "/deployment/startedAt",
        "/deployment/cancelRequestedAt",
        "/trigger",
        "/dryRun",
        "/version",
    ] {
        assert_eq!(
            end.detail.pointer(pointer),
            begun.detail.pointer(pointer),
            "{pointer}"
        );
    }
    assert_eq!(end.event.resources, begun.event.resources);
    assert!(end.detail["reason"].is_null());
}

#[tokio::test]
async fn each_end_is_published_by_the_follower_and_the_message_deleted() {
    for engine in ENGINES {
        for (end, outcome) in [
            (Ending::cancelled(), "CANCELLED"),
            (Ending::failed("it is in use"), "FAILED"),
        ] {
            let (run, follows) = followed(&stage(ending("net", millis(1), end), engine), 2).await;
            assert_eq!(run.outcome("net"), "CANCELLING");
            let begun = run.event("net");
            let first = follows[0].event("net");
            assert_eq!(first.outcome(), outcome, "{engine:?}");
            belongs_to(first, begun);
            assert_eq!(answer(&follows[0]), ENDED);
            // The same message again leads to the same event, but for the request ID.
            let again = follows[1].event("net");
            let mut expected = first.detail.clone();
            expected["run"] = again.detail["run"].clone();
            assert_eq!(again.detail, expected, "{engine:?}");
        }
    }
}

#[tokio::test]
async fn a_deployment_that_has_not_ended_is_delivered_again_until_it_has() {
    for engine in ENGINES {
        let stage = stage(ending("net", millis(1500), Ending::cancelled()), engine);
        let (_, follows) = followed(&stage, 25).await;
        let ended = follows.iter().position(|run| answer(run) == ENDED);
        let ended = ended.expect("the end was not published");
        assert!(ended > 0, "the first delivery already showed the end");
        for run in &follows[..ended] {
            assert_eq!(answer(run), NOT_ENDED);
            assert!(run.events.is_empty() && run.metrics.is_none());
        }
        assert_eq!(follows[ended].event("net").outcome(), "CANCELLED");
        assert!(follows.iter().all(|run| !run.calls.iter().any(is_cancel)));
        let metrics = follows[ended].metrics.as_ref().unwrap();
        assert_eq!(metrics["Cancelled"], 1);
        for other in ["Failed", "Succeeded", "Errors", "InProgress", "Cancelling"] {
            assert!(metrics.get(other).is_none(), "{other}");
        }
    }
}

/// The operations that read a deployment.
fn reads(engine: EngineKind) -> &'static [Operation] {
    match engine {
        EngineKind::Proton => &[Operation::GetDeployment, Operation::GetEnvironment],
        EngineKind::CloudFormation => &[Operation::DescribeStacks, Operation::DescribeStackEvents],
    }
}

async fn with_fault(engine: EngineKind, fault: Fault) -> Vec<Run> {
    let faults = reads(engine).iter().fold(Faults::none(), |faults, read| {
        faults.rule(Rule::new(fault.clone()).operation(*read))
    });
    let stage = stage(ending("net", millis(1), Ending::cancelled()), engine)
        .timeout(Duration::from_secs(4))
        .faults(faults);
    followed(&stage, 1).await.1
}

#[tokio::test]
async fn a_transient_error_delivers_the_message_again_and_is_a_warning() {
    for engine in ENGINES {
        for fault in [
            Fault::error("ThrottlingException", "slow down"),
            Fault::error("InternalServerException", "broken"),
            Fault::Drop,
            Fault::Never,
        ] {
            let runs = with_fault(engine, fault).await;
            assert_eq!(answer(&runs[0]), NOT_ENDED, "{engine:?}");
            assert!(runs[0].events.is_empty() && runs[0].metrics.is_none());
            let is_warning = |line: &Value| line["level"] == "WARN";
            assert!(runs[0].log().iter().any(is_warning), "{engine:?}");
        }
    }
}

#[tokio::test]
async fn a_permanent_error_fails_the_invocation_with_the_services_code() {
    for engine in ENGINES {
        let runs = with_fault(engine, Fault::error("AccessDeniedException", "no")).await;
        let failure = runs[0].failure();
        assert_eq!(failure.kind, "FollowFailed");
        assert!(failure.message.contains("AccessDenied"), "{failure:?}");
        assert!(failure.message.contains("role"), "{failure:?}");
        assert!(runs[0].events.is_empty());
    }
}

#[tokio::test]
async fn an_end_that_only_the_stack_shows_is_not_published_while_its_events_can_be_read_later() {
    for (fault, is_failure) in [
        (Fault::error("ThrottlingException", "slow down"), false),
        (Fault::error("AccessDenied", "no"), true),
    ] {
        let events = Rule::new(fault).operation(Operation::DescribeStackEvents);
        let stage = stage(
            ending("net", millis(1), Ending::cancelled()),
            EngineKind::CloudFormation,
        )
        .timeout(Duration::from_secs(4))
        .faults(Faults::none().rule(events));
        let (_, follows) = followed(&stage, 1).await;
        assert!(follows[0].events.is_empty());
        if is_failure {
            assert_eq!(follows[0].failure().kind, "FollowFailed");
        } else {
            assert_eq!(answer(&follows[0]), NOT_ENDED);
        }
    }
}

#[tokio::test]
async fn a_deleted_deployment_is_published_as_an_error() {
    for engine in ENGINES {
        let environment = ending("net", Duration::from_hours(1), Ending::cancelled())
            .then(Timing::At(millis(700)), Effect::Delete);
        let (run, follows) = followed(&stage(environment, engine), 12).await;
        let last = follows.last().unwrap();
        assert_eq!(answer(last), ENDED, "{engine:?}");
        let end = last.event("net");
        belongs_to(end, run.event("net"));
        assert_eq!(end.outcome(), "ERROR", "{engine:?}");
        let code = match engine {
            EngineKind::Proton => "ResourceNotFoundException",
            EngineKind::CloudFormation => "ValidationError",
        };
        assert_eq!(end.text("/error/code"), Some(code));
        assert!(end.detail["deployment"]["settledAt"].is_null());
        assert_eq!(last.metrics.as_ref().unwrap()["Errors"], 1);
    }
}

#[tokio::test]
async fn an_unexpected_status_is_published_with_the_messages_own_words() {
    let id = "3b241101-e2bb-4255-8caf-4136c566a962";
    let body = json!({"deployment": {
        "id": id,
        "deploymentStatus": "DELETE_IN_PROGRESS",
        "deploymentStatusMessage": "the environment is being deleted",
    }});
    let deleting = Fault::Junk {
        status: 200,
        body: body.to_string(),
    };
    let cancellation = Ending::cancelled().rollback(Duration::from_hours(1));
    let deployment = Deployment::in_progress().id(id);
    let environment = Environment::new("net").deployment(deployment.when_cancelled(cancellation));
    let stage = stage(environment, EngineKind::Proton)
        .faults(Faults::none().rule(Rule::new(deleting).operation(Operation::GetDeployment)));
    let mut function = stage.start().await;
    let mut message = cancelled(&mut function).await;
    let body = message["Records"][0]["body"].as_str().unwrap();
    let mut event: Value = serde_json::from_str(body).unwrap();
    event["detail"]["message"] = json!("User initiated cancellation.");
    message["Records"][0]["body"] = json!(event.to_string());
    function.invoke(&message).await;
    let [_, follow] = function.finish().await;
    assert_eq!(answer(&follow), ENDED);
    let end = follow.event("net");
    assert_eq!(end.text("/error/code"), Some("UnexpectedStatus"));
    assert_eq!(end.text("/deployment/status"), Some("DELETE_IN_PROGRESS"));
    assert_eq!(end.text("/message"), Some("User initiated cancellation."));
    assert!(end.detail["deployment"]["settledAt"].is_null());
}

#[tokio::test]
async fn a_newer_deployment_is_not_taken_for_the_followed_one() {
    let environment = Environment::new("net")
        .deployment(quick().id_not_sent())
        .then(
            Timing::AfterEnd(millis(0)),
            Effect::Deploy(Deployment::in_progress().id_not_sent()),
        );
    let (run, follows) = followed(&stage(environment, EngineKind::Proton), 4).await;
    let end = follows.last().unwrap().event("net");
    belongs_to(end, run.event("net"));
    assert_eq!(end.outcome(), "ERROR");
    assert_eq!(end.text("/error/code"), Some("Superseded"));
    assert!(end.detail["deployment"]["status"].is_null());
}

#[tokio::test]
async fn an_end_that_cannot_be_published_fails_the_invocation() {
    for engine in ENGINES {
        let faults = Faults::none().rule(
            Rule::new(Fault::error("AccessDeniedException", "no"))
                .operation(Operation::PutEvents)
                .calls(2..=u64::MAX),
        );
        let stage = stage(ending("net", millis(1), Ending::cancelled()), engine).faults(faults);
        let (_, follows) = followed(&stage, 1).await;
        assert_eq!(follows[0].failure().kind, "PublishFailed");
        let is_whole = |line: &Value| {
            let detail = line["detail"].as_str().unwrap_or_default();
            line["level"] == "ERROR" && detail.contains(r#""outcome":"CANCELLED""#)
        };
        assert!(follows[0].log().iter().any(is_whole));
    }
}

#[tokio::test]
async fn a_record_that_is_not_to_be_followed_is_unsupported() {
    let mut function = stage(running("net"), EngineKind::Proton).start().await;
    let message = cancelled(&mut function).await;
    let mut payloads = vec![
        json!({"Records": []}),
        json!({"Records": [message["Records"][0], message["Records"][0]]}),
        sqs_message("no JSON"),
        sqs_message("{}"),
    ];
    let mut other = message.clone();
    other["Records"][0]["messageId"] = json!("");
    payloads.push(other);
    for (pointer, value) in [
        ("/detail/outcome", json!("CANCELLED")),
        ("/detail/version", json!("2")),
        ("/detail/dryRun", json!(true)),
        ("/source", json!("aws.proton")),
        (
            "/detail/environment/arn",
            json!("arn:aws:cloudformation:us-east-1:123456789012:stack/net/7f0c"),
        ),
    ] {
        let body = message["Records"][0]["body"].as_str().unwrap();
        let mut body: Value = serde_json::from_str(body).unwrap();
        *body.pointer_mut(pointer).unwrap() = value;
        payloads.push(sqs_message(&body.to_string()));
    }
    for payload in &payloads {
        function.invoke(&payload).await;
    }
    let runs = function.finish_all().await;
    for (run, payload) in runs[1..].iter().zip(&payloads) {
        assert_eq!(run.failure().kind, "UnsupportedPayload", "{payload}");
    }
}

#[tokio::test]
async fn a_run_that_does_not_wait_reports_cancelling_and_the_follower_the_end() {
    for engine in ENGINES {
        let stage = stage(ending("net", millis(300), Ending::cancelled()), engine);
        let (run, follows) = followed(&stage, 12).await;
        let ends: Vec<_> = follows.iter().flat_map(|run| &run.events).collect();
        assert!(!ends.is_empty());
        for end in &ends {
            belongs_to(end, run.event("net"));
            assert_eq!(end.outcome(), "CANCELLED");
        }
    }
}

#[tokio::test]
async fn the_follower_publishes_the_end_of_a_killed_run() {
    for engine in ENGINES {
        let stage = stage(ending("net", millis(800), Ending::cancelled()), engine)
            .set("SETTLE_TIMEOUT_SECONDS", 60);
        let aws = stage.open().await;
        let mut process = stage.process(&aws);
        let begun = {
            let payload = Bytes::from(alarm().to_string());
            let run = aws.local.invoke(payload, Invocation::default());
            tokio::select! {
                result = run => panic!("the run ended: {result:?}"),
                event = first_event(&aws) => event,
            }
        };
        let accepted = aws.local.calls().into_iter().find(is_cancel).unwrap().time;
        let moment = begun.time.duration_since(accepted).unwrap();
        println!("{engine:?}: {moment:?} from the cancel's arrival to the event's");
        process.kill().await;
        let mut function = stage.start_in(aws);
        let message = delivery(&begun.detail, &begun.resources).to_string();
        for _ in 0..15 {
            function.invoke(&message).await;
            tokio::time::sleep(millis(100)).await;
        }
        let follows = function.finish_all().await;
        let end = follows.last().unwrap().event("net");
        assert_eq!(end.outcome(), "CANCELLED", "{engine:?}");
    }
}

/// Waits for the first event on the bus.
async fn first_event(aws: &Aws) -> Event {
    loop {
        if let Some(event) = aws.local.events().into_iter().next() {
            return event;
        }
        tokio::time::sleep(millis(1)).await;
    }
}

#[tokio::test]
async fn a_stack_that_does_not_exist_is_published_as_an_error() {
    let message = "Stack with id net does not exist";
    let gone =
        Rule::new(Fault::error("ValidationError", message)).operation(Operation::DescribeStacks);
    let stage = stage(
        ending("net", millis(1), Ending::cancelled()),
        EngineKind::CloudFormation,
    )
    .faults(Faults::none().rule(gone));
    let (_, follows) = followed(&stage, 1).await;
    assert_eq!(answer(&follows[0]), ENDED);
    let end = follows[0].event("net");
    assert_eq!(
        (end.outcome(), end.text("/error/code")),
        ("ERROR", Some("ValidationError"))
    );
    assert!(end.detail["deployment"]["status"].is_null());
}
