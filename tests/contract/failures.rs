//! Section 6: failures of services, of the network and of payloads.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::future::join_all;
use local_aws::{
    Deployment, Effect, Environment, Fault, Faults, Invocation, Operation, Refusal, Rule, Timing,
    World,
};
use serde_json::{Value, json};
use test_support::function::Aws;
use test_support::payloads::{alarm, request, schedule};
use test_support::tls::{Authority, TlsServer};
use tokio::net::TcpSocket;

use crate::harness::{CANCEL, Run, Stage, TAG, each, millis, quick, running, seconds};

fn always(operation: Operation, code: &str) -> Rule {
    Rule::new(Fault::error(code, format!("the message of {code}"))).operation(operation)
}

/// An unused address, reserved while the socket is kept.
fn unused_address() -> (String, TcpSocket) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    (url, socket)
}

#[tokio::test]
async fn a_listing_that_is_refused_fails_at_once() {
    for code in [
        "AccessDeniedException",
        "ValidationException",
        "UnrecognizedClientException",
    ] {
        let run = Stage::running(["net"])
            .faults(Faults::none().rule(always(Operation::ListEnvironments, code)))
            .run(alarm())
            .await;
        assert_eq!(run.failure().kind, "ListFailed");
        assert!(
            run.failure().message.contains(code),
            "{}",
            run.failure().message
        );
        assert_eq!(run.calls.len(), 1, "{code} is not retried");
    }
}

#[tokio::test]
async fn a_listing_that_fails_on_a_later_page_cancels_nothing() {
    let second = always(Operation::ListEnvironments, "AccessDeniedException").calls(2..=u64::MAX);
    let run = Stage::numbered(150)
        .faults(Faults::none().rule(second))
        .set("MAX_CANCELLATIONS", 1000)
        .run(alarm())
        .await;
    assert_eq!(run.failure().kind, "ListFailed");
    assert_eq!(run.calls.len(), 2);
}

#[tokio::test]
async fn a_listing_is_retried_until_the_deadline_at_most() {
    let runs = [
        Fault::error("ThrottlingException", "Rate exceeded"),
        Fault::error("InternalServerException", "oh"),
        Fault::Drop,
        Fault::Junk {
            status: 502,
            body: String::new(),
        },
    ]
    .map(|fault| async move {
        let rule = Rule::new(fault.clone()).operation(Operation::ListEnvironments);
        let run = Stage::running(["net"])
            .faults(Faults::none().rule(rule))
            .timeout(seconds(10))
            .run(schedule())
            .await;
        assert_eq!(run.failure().kind, "ListFailed", "{fault:?}");
        assert!(run.calls.len() >= 5, "{:#?}", run.call_names());
    });
    join_all(runs).await;
}

#[tokio::test]
async fn an_unreachable_proton_names_cloudformation_as_the_remedy() {
    let runs = [alarm(), schedule(), request(["net", "db"])].map(|payload| async move {
        let (url, _kept) = unused_address();
        let run = Stage::running(["net"])
            .set("AWS_ENDPOINT_URL_PROTON", url)
            .timeout(seconds(3))
            .run(&payload)
            .await;
        let failure = run.failure();
        assert_eq!(failure.kind, "ListFailed", "{failure:?}");
        for word in ["CloudFormation", "2026-10-07", "reach"] {
            assert!(failure.message.contains(word), "{failure:?}");
        }
        assert_eq!(run.calls, []);
    });
    join_all(runs).await;
}

async fn through_tls(
    authority: &Authority,
    name: &str,
    bundle: Option<&Authority>,
) -> (Run, usize) {
    let stage = Stage::running(["net"]).timeout(seconds(20));
    let aws = stage.open().await;
    let server = TlsServer::start(aws.server.address(), authority, name).await;
    let port = aws.server.address().replace(':', "-");
    let file = std::env::temp_dir().join(format!("proton-canceller-{port}.pem"));
    let mut stage = stage.set("AWS_ENDPOINT_URL_PROTON", server.url());
    if let Some(bundle) = bundle {
        std::fs::write(&file, bundle.certificate_pem()).unwrap();
        stage = stage.set("AWS_CA_BUNDLE", file.display());
    }
    let mut function = stage.start_in(aws);
    function.invoke(alarm()).await;
    let [run] = function.finish().await;
    let _ = std::fs::remove_file(file);
    (run, server.connections())
}

#[tokio::test]
async fn a_certificate_that_the_bundle_trusts_is_accepted() {
    let authority = Authority::new("the contract's own");
    let (run, connections) = through_tls(&authority, "localhost", Some(&authority)).await;
    assert_eq!(run.outcomes(), each([("net", "CANCELLED")]));
    assert!(connections > 0);
}

#[tokio::test]
async fn an_untrusted_certificate_fails_at_once() {
    let ours = Authority::new("ours");
    let theirs = Authority::new("theirs");
    for (name, bundle) in [
        ("localhost", None),
        ("localhost", Some(&theirs)),
        ("proton.example", Some(&ours)),
    ] {
        let (run, connections) = through_tls(&ours, name, bundle).await;
        let failure = run.failure();
        assert_eq!(failure.kind, "ListFailed", "{failure:?}");
        assert!(failure.message.contains("certificate"), "{failure:?}");
        assert!(failure.message.contains("AWS_CA_BUNDLE"), "{failure:?}");
        // One connection before the event and one for the call; retries would make more.
        assert!(connections <= 2, "not retried: {failure:?}");
        assert_eq!(run.calls, []);
    }
}

#[tokio::test]
async fn an_outcome_that_cannot_be_published_fails_the_run_and_is_logged_whole() {
    let refusal = Refusal::new("InternalFailure", "not this one").containing("\"name\":\"bad\"");
    let run = Stage::running(["bad", "good", "fine"])
        .faults(Faults::none().refuse(refusal))
        .timeout(seconds(5))
        .run(alarm())
        .await;
    assert_eq!(run.failure().kind, "PublishFailed");
    let expected = each([("fine", "CANCELLED"), ("good", "CANCELLED")]);
    assert_eq!(run.published_outcomes(), expected);
    let log = run.log();
    let whole = log.iter().filter_map(|line| {
        let detail = line.as_object()?.values().find_map(|value| {
            let detail: Value = serde_json::from_str(value.as_str()?).ok()?;
            detail.get("outcome").is_some().then_some(detail)
        })?;
        Some((line["level"].as_str()?, detail))
    });
    let mut outcomes = Vec::new();
    for (level, detail) in whole {
        assert_eq!(level, "ERROR");
        assert_eq!(detail["environment"]["name"], "bad");
        assert_eq!(detail["run"]["requestId"], run.request_id.as_str());
        outcomes.push(detail["outcome"].as_str().unwrap().to_owned());
    }
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["CANCELLED", "CANCELLING"]);
}

#[tokio::test]
async fn an_event_bridge_that_refuses_or_is_unreachable_fails_the_run_at_its_end() {
    let denied = always(Operation::PutEvents, "AccessDeniedException");
    let stage = || Stage::running(["a", "b"]);
    let run = stage()
        .faults(Faults::none().rule(denied))
        .run(alarm())
        .await;
    assert_eq!(run.failure().kind, "PublishFailed");
    assert!(run.failure().message.contains("AccessDeniedException"));
    let (url, _kept) = unused_address();
    let run_without = stage()
        .set("AWS_ENDPOINT_URL_EVENTBRIDGE", url)
        .timeout(seconds(3))
        .run(alarm())
        .await;
    assert_eq!(run_without.failure().kind, "PublishFailed");
    for run in [&run, &run_without] {
        for name in ["a", "b"] {
            assert_eq!(run.truth(name).last().unwrap().status.as_str(), "CANCELLED");
            let is_logged = run.log().iter().any(|line| {
                let text = line.to_string();
                text.contains("CANCELLED") && text.contains(&format!("environment/{name}"))
            });
            assert!(is_logged, "{name}");
        }
        assert_eq!(run.metric("Cancelled"), Some(2));
    }
}

#[tokio::test]
async fn publish_failed_outranks_incomplete() {
    let faults = Faults::none()
        .rule(always(CANCEL, "ThrottlingException").environment("throttled"))
        .rule(always(Operation::PutEvents, "AccessDeniedException").environment("\"net\""));
    let run = Stage::running(["net", "throttled"])
        .faults(faults)
        .timeout(seconds(3))
        .run(alarm())
        .await;
    assert_eq!(run.failure().kind, "PublishFailed");
    assert_eq!(run.event("throttled").outcome(), "ERROR");
}

#[tokio::test]
async fn an_error_that_outlasts_the_retries_is_published_and_makes_the_run_incomplete() {
    let runs = [
        Fault::error("ThrottlingException", "Rate exceeded"),
        Fault::error("InternalServerException", "oh"),
        Fault::Drop,
        Fault::Never,
        Fault::Junk {
            status: 503,
            body: "<html>".to_owned(),
        },
    ]
    .map(|fault| async move {
        let rule = Rule::new(fault.clone())
            .operation(CANCEL)
            .environment("net");
        let mut function = Stage::running(["net", "db"])
            .faults(Faults::none().rule(rule.times(8)))
            .start()
            .await;
        let payload = alarm();
        function.invoke_within(seconds(3), &payload).await;
        function.invoke_within(seconds(3), &payload).await;
        let [first, second] = function.finish().await;
        let failure = first.failure();
        assert_eq!(failure.kind, "Incomplete", "{fault:?}");
        assert!(failure.message.contains("`net`"), "{failure:?}");
        assert!(!failure.message.contains("`db`"), "{failure:?}");
        assert_eq!(first.event("net").outcome(), "ERROR");
        assert_eq!(first.event("db").outcome(), "CANCELLED");
        assert!(
            !second.cancels().contains(&"db"),
            "`db` was cancelled again"
        );
    });
    join_all(runs).await;
}

#[tokio::test]
async fn the_retry_cancels_what_is_still_in_progress() {
    // More than the first run has time for, fewer than the retries of the second.
    let rule = always(CANCEL, "ThrottlingException")
        .environment("net")
        .times(6);
    let mut function = Stage::running(["net", "db"])
        .faults(Faults::none().rule(rule))
        .start()
        .await;
    let payload = alarm();
    function.invoke_within(seconds(3), &payload).await;
    function.invoke(&payload).await;
    let [first, second] = function.finish().await;
    assert_eq!(
        first.failure().kind,
        "Incomplete",
        "{:?} {:#?}",
        first.failure(),
        first.call_names()
    );
    assert_eq!(second.outcomes(), each([("net", "CANCELLED")]));
}

#[tokio::test]
async fn a_transient_error_of_a_read_makes_the_run_incomplete() {
    let tags = always(Operation::ListTagsForResource, "InternalServerException").environment("net");
    let read = always(Operation::GetEnvironment, "InternalServerException").environment("net");
    let stage = |rule| {
        let tagged = |name| running(name).tag(TAG, "*");
        Stage::with([tagged("net"), tagged("db")])
            .faults(Faults::none().rule(rule))
            .set("ALARM_SCOPE", "tagged")
            .timeout(seconds(3))
    };
    let asked = stage(tags).run(alarm()).await;
    let named = stage(read).run(request(["net", "db"])).await;
    for run in [&asked, &named] {
        assert_eq!(run.failure().kind, "Incomplete");
        assert_eq!(run.event("net").outcome(), "ERROR");
        assert_eq!(run.event("db").outcome(), "CANCELLED");
        assert_eq!(run.cancels(), ["db"]);
    }
}

#[tokio::test]
async fn a_repeated_event_cancels_no_newer_deployment() {
    let environment = Environment::new("net").deployment(quick()).then(
        Timing::AfterEnd(millis(0)),
        Effect::Deploy(Deployment::in_progress()),
    );
    let mut function = Stage::with([environment]).start().await;
    let payload = alarm();
    function.invoke(&payload).await;
    function.invoke(&payload).await;
    let [first, second] = function.finish().await;
    assert_eq!(first.outcomes(), each([("net", "CANCELLED")]));
    assert_eq!(
        second.outcomes(),
        each([("net", "SKIPPED STARTED_AFTER_ALARM")])
    );
    assert_eq!(
        second.truth("net").last().unwrap().status.as_str(),
        "IN_PROGRESS"
    );
}

#[tokio::test]
async fn two_alarms_at_once_cancel_each_deployment_once() {
    let names: Vec<_> = (0..8).map(|number| format!("net-{number}")).collect();
    let stage = Stage::of(
        names
            .iter()
            .map(|name| {
                running(name).then(
                    Timing::AfterEnd(millis(0)),
                    Effect::Deploy(Deployment::in_progress()),
                )
            })
            .fold(World::new(), World::with)
            .faults(Faults::none().latency(millis(5)..=millis(60))),
    );
    let aws = stage.open().await;
    let processes = [stage.process(&aws), stage.process(&aws)];
    let Aws { local, .. } = &aws;
    let invoke = |payload: Value, request_id: &str| {
        let invocation = Invocation {
            timeout: Some(seconds(30)),
            request_id: Some(request_id.to_owned()),
            ..Invocation::default()
        };
        local.invoke(Bytes::from(payload.to_string()), invocation)
    };
    let mut other = alarm();
    other["id"] = json!("another");
    other["detail"]["alarmName"] = json!("another");
    let (one, two) = tokio::join!(invoke(alarm(), "one"), invoke(other, "two"));
    let mut hit = BTreeSet::new();
    for call in local.calls() {
        if let Some(id) = call.cancelled {
            assert!(hit.insert(id), "a deployment was cancelled twice");
        }
    }
    assert_eq!(hit.len(), 8);
    for (id, result) in [("one", one), ("two", two)] {
        let run = Run::new(id.to_owned(), &result, local, Vec::new());
        for (name, outcome) in run.outcomes() {
            assert_eq!(outcome, "CANCELLED", "{name}");
            let reported = run.event(name).text("/deployment/id").unwrap();
            assert!(hit.contains(reported), "{name}");
        }
    }
    for name in &names {
        let deployments = local.deployments();
        let last = deployments
            .iter()
            .rfind(|it| it.environment == *name)
            .unwrap();
        assert_eq!(
            last.status.as_str(),
            "IN_PROGRESS",
            "the newer deployment goes on"
        );
    }
    drop(processes);
}

#[tokio::test]
async fn the_process_serves_the_next_event_after_every_error() {
    let faults = Faults::none()
        .rule(always(Operation::ListEnvironments, "AccessDeniedException").times(1))
        // `CANCELLING`, and the end.
        .rule(always(Operation::PutEvents, "AccessDeniedException").times(2))
        .rule(
            always(CANCEL, "ThrottlingException")
                .environment("c")
                .times(8),
        );
    let mut function = Stage::running(["a", "b", "c"]).faults(faults).start().await;
    function.invoke("{}").await;
    function.invoke(alarm()).await;
    function.invoke(request(["a"])).await;
    function.invoke_within(seconds(1), request(["c"])).await;
    function.invoke(&b"\x00\xff"[..]).await;
    function.invoke(alarm()).await;
    let runs: [Run; 6] = function.finish().await;
    let kinds: Vec<_> = runs[..5]
        .iter()
        .map(|run| run.failure().kind.as_str())
        .collect();
    assert_eq!(
        kinds,
        [
            "UnsupportedPayload",
            "ListFailed",
            "PublishFailed",
            "Incomplete",
            "UnsupportedPayload"
        ]
    );
    assert_eq!(
        runs[5].outcomes(),
        each([("b", "CANCELLED"), ("c", "CANCELLED")])
    );
}

#[tokio::test]
async fn any_bytes_get_a_response_or_a_clear_error() {
    let megabytes = 6 * 1024 * 1024;
    let deep = |open: &str, close: &str, depth: usize| {
        format!("{}{}", open.repeat(depth), close.repeat(depth)).into_bytes()
    };
    let mut all: Vec<Vec<u8>> = vec![
        Vec::new(),
        vec![0; megabytes],
        vec![b' '; megabytes],
        vec![b'['; megabytes],
        deep("[", "]", 100_000),
        deep("{\"environments\":", "}", 100_000),
        deep("{\"detail\":", "}", 1_000_000),
        format!("\"{}\"", "x".repeat(megabytes - 2)).into_bytes(),
        b"\xef\xbb\xbf{}".to_vec(),
        b"\xff\xfe{\x00}\x00".to_vec(),
        b"{\"environments\": [\"net\xff\"]}".to_vec(),
        b"{\"environments\": [\"\\ud800\"]}".to_vec(),
        b"{\"environments\": 1e999999}".to_vec(),
        format!("{{\"environments\": {}}}", "9".repeat(100_000)).into_bytes(),
        b"-".to_vec(),
        b"1e999".to_vec(),
        b"NaN".to_vec(),
        b"nul".to_vec(),
        b"{\"environments\": [\"net\"], \"environments\": [\"db\"]}".to_vec(),
        b"{'environments': ['net']}".to_vec(),
        b"{\"environments\": [\"net\",]}".to_vec(),
        b"<xml/>".to_vec(),
        format!(
            "{{\"environments\": [{}\"net\"]}}",
            "\"net\",".repeat(900_000)
        )
        .into_bytes(),
    ];
    let refused = all.len();
    // These are valid alarms.
    let with = |member: &str, value: &str| {
        let text = alarm().to_string();
        format!("{{\"{member}\":{value},{}", &text[1..]).into_bytes()
    };
    all.push(with("new", "1e999999"));
    all.push(with("new", &"9".repeat(100_000)));
    all.push(with("new", &format!("\"{}\"", "y".repeat(5 * 1024 * 1024))));
    let nested = String::from_utf8(deep("[", "]", 100)).unwrap();
    all.push(with("new", &nested));
    let mut function = Stage::running(["net", "db"])
        .set("DRY_RUN", "true")
        .start()
        .await;
    for payload in &all {
        function.invoke(payload).await;
    }
    let runs = function.finish_all().await;
    for (payload, run) in all.iter().zip(&runs).take(refused) {
        let start = String::from_utf8_lossy(&payload[..payload.len().min(60)]);
        assert_eq!(run.failure().kind, "UnsupportedPayload", "{start}");
        assert!(run.failure().message.len() < 5000, "{start}");
    }
    for (payload, run) in all.iter().zip(&runs).skip(refused) {
        let start = String::from_utf8_lossy(&payload[..60]);
        assert!(run.answer.is_ok(), "{start}: {:?}", run.answer);
        assert_eq!(run.outcome("net"), "DRY_RUN", "{start}");
    }
}

#[tokio::test]
async fn a_malformed_response_is_treated_as_lost() {
    let bodies = [
        "",
        "null",
        "[]",
        "{}",
        "{\"environments\":null}",
        "{\"environments\":[{}]}",
        "<html>",
        "\u{0}",
    ];
    let runs = bodies.map(|body| async move {
        for operation in [
            Operation::ListEnvironments,
            CANCEL,
            Operation::GetDeployment,
            Operation::PutEvents,
        ] {
            let rule = Rule::new(Fault::Junk {
                status: 200,
                body: body.to_owned(),
            })
            .operation(operation)
            .times(1);
            let run = Stage::running(["net"])
                .faults(Faults::none().rule(rule))
                .run(alarm())
                .await;
            assert!(!run.calls_of(operation).is_empty(), "{operation} {body}");
        }
    });
    join_all(runs).await;
}

#[tokio::test]
async fn missing_credentials_are_named_in_the_error() {
    let run = Stage::running(["net"])
        .set("AWS_ACCESS_KEY_ID", "")
        // Without this, the SDK would ask a virtual machine for its role.
        .set("AWS_EC2_METADATA_DISABLED", "true")
        .run(alarm())
        .await;
    let failure = run.failure();
    assert_eq!(failure.kind, "ListFailed");
    assert!(
        failure.message.contains("credential"),
        "{}",
        failure.message
    );
    assert!(run.calls.is_empty());
}
