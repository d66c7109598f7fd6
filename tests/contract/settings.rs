//! Section 1: settings.

use std::path::PathBuf;

use bytes::Bytes;
use local_aws::{Environment, FunctionProcess, Invocation, InvocationResult, Operation, World};
use serde_json::{Value, json};
use test_support::payloads::{alarm, request, schedule};
use test_support::tls::Authority;

use crate::harness::{ENGINES, Stage, each, running};

/// A file that is removed when dropped.
struct TemporaryFile(PathBuf);

impl TemporaryFile {
    fn new(name: &str, content: impl AsRef<[u8]>) -> Self {
        let name = format!("proton-canceller-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Requires that the function does not start with this value. Returns the error message.
async fn refusal(variable: &str, value: &str) -> String {
    let failed = Stage::of(World::new())
        .set(variable, value)
        .fail_to_start()
        .await;
    assert!(!failed.status.success(), "{variable}={value}: {failed:?}");
    let message = failed.init_error["errorMessage"]
        .as_str()
        .unwrap_or_default();
    assert!(
        message.contains(variable) && message.contains(value),
        "{variable}={value}: {failed:?}"
    );
    let kind = failed.init_error["errorType"].as_str().unwrap_or_default();
    assert!(!kind.is_empty(), "{failed:?}");
    let is_logged = failed.lines.iter().any(|line| {
        let line: Value = serde_json::from_str(&line.text).unwrap();
        line["level"] == "ERROR"
            && line["errorType"] == kind
            && line["error"]
                .as_str()
                .unwrap_or_default()
                .contains(variable)
    });
    assert!(is_logged, "{failed:?}");
    message.to_owned()
}

#[tokio::test]
async fn a_bad_value_is_refused_with_the_accepted_ones() {
    for (variable, values, accepted) in [
        ("STUCK_AFTER_MINUTES", &["-1", "٣"][..], "whole number"),
        ("MAX_CANCELLATIONS", &["1.5", "1_000"], "whole number"),
        ("SETTLE_TIMEOUT_SECONDS", &["ten", " 5"], "whole number"),
        ("CONCURRENCY", &["0", "101", "4294967297"], "from 1 to 100"),
        ("DRY_RUN", &["True", "0"], "`true` or `false`"),
        ("ALARM_SCOPE", &["ALL", "all,tagged"], "`all` or `tagged`"),
        ("ENVIRONMENTS", &["prod-[", "[z-a]"], "glob"),
        ("PROTECTED_ENVIRONMENTS", &["{a,b"], "glob"),
        ("IGNORED_ALARMS", &["ok-*,prod-["], "glob"),
        (
            "EVENT_BUS_NAME",
            &["bus\u{fc}", "arn:aws:sns:us-east-1:1:topic"],
            "event bus",
        ),
        (
            "AWS_ENDPOINT_URL",
            &["127.0.0.1:4566", "http://127.0.0.1:65536"],
            "URL",
        ),
        ("AWS_ENDPOINT_URL_PROTON", &["ftp://proton"], "URL"),
        (
            "AWS_ENDPOINT_URL_EVENTBRIDGE",
            &["https://", "http://a b"],
            "URL",
        ),
    ] {
        for value in values {
            let refusal = refusal(variable, value).await;
            assert!(refusal.contains(accepted), "{refusal}");
        }
    }
}

#[tokio::test]
async fn a_concurrency_from_1_to_100_is_accepted() {
    for value in [1, 100] {
        let stage = Stage::running(["net"]).set("CONCURRENCY", value);
        assert_eq!(stage.run(alarm()).await.outcome("net"), "CANCELLED");
    }
}

#[tokio::test]
async fn a_services_own_endpoint_outranks_the_common_one() {
    let stage = Stage::running(["net"]);
    let aws = stage.open().await;
    let url = aws.server.endpoint_url();
    let stage = stage
        .set("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        .set("AWS_ENDPOINT_URL_PROTON", &url)
        .set("AWS_ENDPOINT_URL_EVENTBRIDGE", &url);
    let mut function = stage.start_in(aws);
    function.invoke(alarm()).await;
    let [run] = function.finish().await;
    assert_eq!(run.outcome("net"), "CANCELLED");
}

#[tokio::test]
async fn an_empty_endpoint_of_a_service_means_the_common_one() {
    let run = Stage::running(["net"])
        .set("AWS_ENDPOINT_URL_PROTON", "")
        .set("AWS_ENDPOINT_URL_EVENTBRIDGE", "")
        .run(alarm())
        .await;
    assert_eq!(run.outcome("net"), "CANCELLED");
}

#[tokio::test]
async fn a_profile_names_credentials_where_no_variable_does() {
    let config = TemporaryFile::new("config", "[profile ops]\n");
    let credentials = TemporaryFile::new(
        "credentials",
        "[ops]\naws_access_key_id = AKIDOPS\naws_secret_access_key = ops\n",
    );
    let mut stage = Stage::running(["net"])
        .set("AWS_PROFILE", "ops")
        .set("AWS_CONFIG_FILE", config.path())
        .set("AWS_SHARED_CREDENTIALS_FILE", credentials.path());
    for variable in [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
    ] {
        stage = stage.set(variable, "");
    }
    let run = stage.run(alarm()).await;
    assert_eq!(run.outcome("net"), "CANCELLED");
}

#[tokio::test]
async fn an_endpoint_of_the_profile_that_is_no_url_is_logged_with_each_event() {
    let config = TemporaryFile::new("endpoint", "[profile ops]\nendpoint_url = nowhere\n");
    let aws = Stage::of(World::new()).open().await;
    let variables = [
        ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
        ("AWS_PROFILE", "ops"),
        ("AWS_CONFIG_FILE", config.path()),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let program = env!("CARGO_BIN_EXE_proton-canceller");
    let mut process =
        FunctionProcess::start_without_endpoint(program, &aws.server, variables).unwrap();
    let ids = ["event-1", "event-2"];
    for id in ids {
        let invocation = Invocation {
            request_id: Some(id.to_owned()),
            ..Invocation::default()
        };
        let result = aws.local.invoke(Bytes::from("{}"), invocation).await;
        let InvocationResult::Error { error_type, .. } = result else {
            panic!("{result:?}");
        };
        assert_eq!(error_type, "BadEndpoint");
    }
    process.kill().await;
    process.ended().await.unwrap();
    let lines = process.lines();
    for id in ids {
        let is_logged = lines.iter().any(|line| {
            let line: Value = serde_json::from_str(&line.text).unwrap();
            line["level"] == "ERROR"
                && line["errorType"] == "BadEndpoint"
                && line["span"]["requestId"] == id
        });
        assert!(is_logged, "{id}: {lines:?}");
    }
}

#[tokio::test]
async fn every_bad_value_is_in_one_error() {
    let bad = [
        ("DRY_RUN", "maybe"),
        ("ENVIRONMENTS", "{a"),
        ("PROTECTED_ENVIRONMENTS", "[b"),
        ("ALARM_SCOPE", "some"),
        ("IGNORED_ALARMS", "[c"),
        ("STUCK_AFTER_MINUTES", "soon"),
        ("MAX_CANCELLATIONS", "-10"),
        ("SETTLE_TIMEOUT_SECONDS", "1.25"),
        ("EVENT_BUS_NAME", "a bus"),
        ("CONCURRENCY", "1000"),
        ("AWS_CA_BUNDLE", "/nowhere/ca.pem"),
        ("AWS_ENDPOINT_URL", "nowhere"),
        ("AWS_ENDPOINT_URL_PROTON", "ftp://proton"),
        ("AWS_ENDPOINT_URL_EVENTBRIDGE", "https://"),
    ];
    let stage = bad
        .iter()
        .fold(Stage::of(World::new()), |stage, (name, value)| {
            stage.set(name, value)
        });
    let failed = stage.fail_to_start().await;
    assert!(!failed.status.success());
    let message = failed.init_error["errorMessage"].as_str().unwrap();
    for (name, value) in bad {
        assert!(
            message.contains(name) && message.contains(value),
            "{name}: {message}"
        );
    }
}

#[tokio::test]
async fn a_certificate_bundle_that_cannot_be_used_is_a_bad_value() {
    let text = TemporaryFile::new("text.pem", "no certificate here\n");
    let empty = TemporaryFile::new("empty.pem", "");
    let key = TemporaryFile::new("key.pem", Authority::new("contract").key_pem());
    let broken_text = TemporaryFile::new(
        "broken-text.pem",
        "-----BEGIN CERTIFICATE-----\n!!! not base64 !!!\n-----END CERTIFICATE-----\n",
    );
    let broken_der = TemporaryFile::new(
        "broken-der.pem",
        "-----BEGIN CERTIFICATE-----\nAAECAwQFBgcICQ==\n-----END CERTIFICATE-----\n",
    );
    let good = Authority::new("contract").certificate_pem();
    let half = TemporaryFile::new(
        "half.pem",
        format!("{good}-----BEGIN CERTIFICATE-----\nAAECAwQFBgcICQ==\n-----END CERTIFICATE-----\n"),
    );
    let folder = std::env::temp_dir();
    for path in [
        "/nowhere/ca.pem",
        folder.to_str().unwrap(),
        text.path(),
        empty.path(),
        key.path(),
        broken_text.path(),
        broken_der.path(),
        half.path(),
    ] {
        refusal("AWS_CA_BUNDLE", path).await;
    }
}

#[tokio::test]
async fn a_good_certificate_bundle_does_no_harm_without_tls() {
    let bundle = format!(
        "# two of them\n{}\n{}",
        Authority::new("one").certificate_pem(),
        Authority::new("two").certificate_pem()
    );
    let bundle = TemporaryFile::new("good.pem", bundle);
    let run = Stage::running(["net"])
        .set("AWS_CA_BUNDLE", bundle.path())
        .run(alarm())
        .await;
    assert_eq!(run.outcome("net"), "CANCELLED");
}

#[tokio::test]
async fn empty_means_the_default() {
    let mut stage = Stage::numbered(10);
    for variable in [
        "DRY_RUN",
        "ENVIRONMENTS",
        "PROTECTED_ENVIRONMENTS",
        "ALARM_SCOPE",
        "IGNORED_ALARMS",
        "STUCK_AFTER_MINUTES",
        "MAX_CANCELLATIONS",
        "SETTLE_TIMEOUT_SECONDS",
        "EVENT_BUS_NAME",
        "CONCURRENCY",
        "AWS_CA_BUNDLE",
    ] {
        stage = stage.set(variable, "");
    }
    let run = stage.run(alarm()).await;
    assert_eq!(run.summary()["counts"]["CANCELLED"], 10);
    assert_eq!(run.summary()["dryRun"], false);
    assert!(run.events.iter().all(|event| event.event.bus == "default"));
}

#[tokio::test]
async fn the_largest_numbers_are_taken() {
    let largest = u64::MAX;
    let stage = Stage::running(["net"])
        .set("STUCK_AFTER_MINUTES", largest)
        .set("MAX_CANCELLATIONS", largest)
        .set("SETTLE_TIMEOUT_SECONDS", largest);
    let mut function = stage.start().await;
    function.invoke(schedule()).await;
    function.invoke(alarm()).await;
    let [scheduled, alarmed] = function.finish().await;
    assert_eq!(scheduled.outcome("net"), "SKIPPED NOT_STUCK");
    assert_eq!(alarmed.outcome("net"), "CANCELLED");
}

#[tokio::test]
async fn the_event_bus_is_the_one_that_was_set() {
    for bus in [
        "ops",
        "arn:aws:events:us-east-1:123456789012:event-bus/team.ops_1",
    ] {
        let run = Stage::running(["net"])
            .set("EVENT_BUS_NAME", bus)
            .run(alarm())
            .await;
        assert_eq!(run.event("net").event.bus, bus);
    }
}

#[tokio::test]
async fn globs_have_stars_question_marks_classes_and_braces() {
    let matching = ["prod-db1", "stage-b", "x-net", "a_b-c", "test"];
    let others = ["prod-net", "prod-db10", "stage-a", "z-net", "tests"];
    let run = Stage::running(matching.into_iter().chain(others))
        .set(
            "ENVIRONMENTS",
            "prod-db?, stage-[!a],{x,y}-net,*b-c, test ,",
        )
        .set("DRY_RUN", true)
        .run(alarm())
        .await;
    for name in matching {
        assert_eq!(run.outcome(name), "DRY_RUN", "{name}");
    }
    for name in others {
        assert_eq!(run.outcome(name), "SKIPPED NOT_INCLUDED", "{name}");
    }
}

#[tokio::test]
async fn a_dry_run_decides_and_publishes_but_changes_nothing() {
    for engine in ENGINES {
        let stage = Stage::running(["net", "db"])
            .set("DRY_RUN", "true")
            .set("PROTECTED_ENVIRONMENTS", "db")
            .on(engine);
        let mut function = stage.start().await;
        function.invoke(alarm()).await;
        function.invoke(request(["net"])).await;
        let mut explicit = request(["net"]);
        explicit["dryRun"] = json!(false);
        function.invoke(&explicit).await;
        let runs: [_; 3] = function.finish().await;
        assert_eq!(
            runs[0].outcomes(),
            each([("net", "DRY_RUN"), ("db", "SKIPPED PROTECTED")])
        );
        for run in &runs {
            assert_eq!(run.summary()["dryRun"], true);
            assert_eq!(run.outcome("net"), "DRY_RUN");
            let event = run.event("net");
            assert_eq!(event.detail["dryRun"], true);
            assert_eq!(event.text("/deployment/status"), Some("IN_PROGRESS"));
            let truth = run.truth("net").last().unwrap().status;
            assert_eq!(truth.as_str(), "IN_PROGRESS");
        }
    }
}

#[tokio::test]
async fn a_request_can_ask_for_a_dry_run() {
    let mut payload = request(["net"]);
    payload["dryRun"] = json!(true);
    let run = Stage::running(["net"]).run(&payload).await;
    assert_eq!(run.outcome("net"), "DRY_RUN");
    assert_eq!(run.summary()["dryRun"], true);
}

#[tokio::test]
async fn environments_that_are_not_in_progress_are_not_read() {
    let world = World::new()
        .with(running("net"))
        .with(Environment::new("settled"));
    let run = Stage::of(world).run(alarm()).await;
    assert_eq!(run.cancels(), ["net"]);
    assert_eq!(run.calls_of(Operation::ListTagsForResource).len(), 0);
    assert_eq!(run.calls_to("settled"), Vec::<&str>::new());
}
