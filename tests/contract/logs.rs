//! Section 5: logs and metrics.

use local_aws::{Environment, Fault, Faults, Operation, Rule, Stream};
use serde_json::{Value, json};
use test_support::payloads::{alarm, fresh, request};

use crate::harness::{Run, Stage, running, seconds};
use crate::log_filter::LEVELS;

/// A fault that denies the cancel of `denied`.
fn denied() -> Rule {
    Rule::new(Fault::error("AccessDeniedException", "no"))
        .operation(Operation::CancelEnvironmentDeployment)
        .environment("denied")
}

/// A world in which a run logs at every level: a cancel, a skip, an error, a refusal.
fn eventful() -> Stage {
    let once = Rule::new(Fault::error("InternalFailure", "oh"))
        .operation(Operation::PutEvents)
        .times(1);
    Stage::with([running("net"), running("denied"), running("protected")])
        .faults(Faults::none().rule(denied()).rule(once))
        .set("PROTECTED_ENVIRONMENTS", "protected")
}

/// Every text in a value.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::Object(members) => members.values().flat_map(texts).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

#[tokio::test]
async fn each_decision_is_one_line_with_request_id_and_trigger() {
    let run = eventful().run(alarm()).await;
    for (name, outcome) in run.outcomes() {
        let (outcome, addition) = outcome.split_once(' ').unwrap_or((&outcome, ""));
        let log = run.log();
        let lines = log.iter().filter(|line| {
            let texts = texts(line);
            [name, outcome, &run.request_id, "alarm"]
                .iter()
                .all(|text| texts.contains(text))
                && texts.iter().any(|text| text.contains(addition))
        });
        assert_eq!(lines.count(), 1, "{name} {outcome}: {log:#?}");
    }
}

#[tokio::test]
async fn json_lines_have_time_level_and_message() {
    let run = eventful().run(alarm()).await;
    assert!(run.log().len() >= 4);
    for line in run.log() {
        let time = line["timestamp"].as_str().unwrap();
        assert!(chrono::DateTime::parse_from_rfc3339(time).is_ok(), "{line}");
        assert!(LEVELS.contains(&line["level"].as_str().unwrap()), "{line}");
        assert!(line["message"].is_string(), "{line}");
    }
}

#[tokio::test]
async fn the_log_level_filters_lines_but_not_metrics() {
    for (index, level) in LEVELS.into_iter().enumerate() {
        let stage = eventful().set("AWS_LAMBDA_LOG_LEVEL", level);
        let mut function = stage.start().await;
        function.invoke(alarm()).await;
        function.invoke("not even JSON").await;
        let [run, refused] = function.finish().await;
        assert_eq!(run.metric("Errors"), Some(1), "{level}");
        assert_eq!(refused.failure().kind, "UnsupportedPayload");
        let least = index;
        for line in run.log() {
            let of_line = line["level"].as_str().unwrap();
            let of_line = LEVELS.iter().position(|level| *level == of_line).unwrap();
            assert!(of_line >= least, "{level}: {line}");
        }
        let has = |level: &str| run.log().iter().any(|line| line["level"] == level);
        assert_eq!(has("INFO"), least <= 2, "{level}");
        assert_eq!(has("ERROR"), least <= 4, "{level}");
    }
}

#[tokio::test]
async fn each_error_line_names_request_and_trigger_at_every_level() {
    for level in ["TRACE", "INFO", "WARN", "ERROR"] {
        let unpublished = Rule::new(Fault::error("AccessDeniedException", "no"))
            .operation(Operation::PutEvents)
            .environment("net");
        let mut function = eventful()
            .faults(Faults::none().rule(unpublished).rule(denied()))
            .set("AWS_LAMBDA_LOG_LEVEL", level)
            .start()
            .await;
        function.invoke_within(seconds(10), alarm()).await;
        let [run] = function.finish().await;
        assert_eq!(run.failure().kind, "PublishFailed");
        let log = run.log();
        let of_a_run = |line: &&Value| line["level"] == "ERROR";
        for line in log.iter().filter(of_a_run) {
            let texts = texts(line);
            for text in [run.request_id.as_str(), "alarm", "checkout-5xx"] {
                assert!(texts.contains(&text), "{level}: {line}");
            }
        }
        for message in ["outcome", "unpublished outcome", "the run is not complete"] {
            let lines = log.iter().filter(of_a_run);
            let lines = lines.filter(|line| line["message"] == message).count();
            assert!(lines > 0, "{level} {message}: {log:#?}");
        }
    }
}

#[tokio::test]
async fn with_text_logs_the_metric_line_stays_json() {
    for level in ["TRACE", "INFO", "FATAL"] {
        let run = eventful()
            .set("AWS_LAMBDA_LOG_FORMAT", "Text")
            .set("AWS_LAMBDA_LOG_LEVEL", level)
            .run(alarm())
            .await;
        assert_eq!(run.metric("Cancelled"), Some(1));
        assert_eq!(run.metric("Errors"), Some(1));
        assert_eq!(run.metric("Skipped"), Some(1));
        assert_eq!(run.metric("InProgress"), Some(3));
        assert!(run.log().is_empty(), "{:#?}", run.lines);
        let lines = run.written(Stream::Stdout).len() + run.written(Stream::Stderr).len();
        if level != "FATAL" {
            assert!(lines > 3, "{:#?}", run.lines);
            let is_logged = run.lines.iter().any(|line| {
                ["denied", "AccessDeniedException", run.request_id.as_str()]
                    .iter()
                    .all(|text| line.text.contains(text))
            });
            assert!(is_logged, "{:#?}", run.lines);
        }
        assert!(
            run.lines.iter().all(|line| !line.text.contains('\u{1b}')),
            "no colours"
        );
    }
}

#[tokio::test]
async fn the_milliseconds_to_the_first_cancel_count_from_the_triggers_time() {
    let mut payload = alarm();
    let fired = chrono::Utc::now() - chrono::TimeDelta::seconds(30);
    payload["time"] = json!(fired.format("%Y-%m-%dT%H:%M:%SZ").to_string());
    let run = Stage::running(["net"]).run(&payload).await;
    let milliseconds = run.metric("TimeToFirstCancel").unwrap();
    assert!((30_000..600_000).contains(&milliseconds), "{milliseconds}");
    let run = Stage::with([Environment::new("net")]).run(alarm()).await;
    assert_eq!(run.metric("TimeToFirstCancel"), None);
}

fn forges(run: &Run, word: &str) -> bool {
    run.lines
        .iter()
        .any(|line| line.text.starts_with(word) || line.text.contains('\u{1b}'))
}

#[tokio::test]
async fn text_from_outside_cannot_forge_a_line() {
    let hostile = "x\nFORGED {\"_aws\":{}}\r\n\u{1b}[2J\u{0}\u{85}\u{2028}FORGED\nFORGED";
    let mut payload = alarm();
    payload["detail"]["alarmName"] = json!(hostile);
    payload["detail"]["state"]["reason"] = json!(hostile);
    payload["id"] = json!(hostile);
    payload["resources"][0] = json!(hostile);
    let mut ignored = payload.clone();
    ignored["detail"]["state"]["value"] = json!(hostile);
    let mut refused = payload.clone();
    refused["detail-type"] = json!(hostile);
    let denied = Rule::new(Fault::error("ConflictException", hostile))
        .operation(Operation::CancelEnvironmentDeployment);
    for format in ["JSON", "Text"] {
        let mut function = Stage::running(["net"])
            .faults(Faults::none().rule(denied.clone()))
            .set("AWS_LAMBDA_LOG_FORMAT", format)
            .set("AWS_LAMBDA_LOG_LEVEL", "TRACE")
            .start()
            .await;
        function.invoke(&payload).await;
        function.invoke(&ignored).await;
        function.invoke(&refused).await;
        let [run, ignored, refused] = function.finish().await;
        assert_eq!(run.outcome("net"), "ERROR ConflictException");
        assert_eq!(run.event("net").text("/trigger/name"), Some(hostile));
        assert_eq!(run.event("net").text("/error/message"), Some(hostile));
        assert!(ignored.summary()["ignored"].is_string());
        assert_eq!(refused.failure().kind, "UnsupportedPayload");
        assert!(!forges(&run, "FORGED"), "{format}: {:#?}", run.lines);
    }
}

#[tokio::test]
async fn a_name_or_reason_of_a_megabyte_does_no_harm() {
    let long = "long ".repeat(200_000);
    let mut payload = alarm();
    payload["detail"]["alarmName"] = json!(long);
    payload["detail"]["state"]["reason"] = json!(long);
    let mut arn = alarm();
    arn["resources"][0] = json!(format!("arn:aws:cloudwatch:{long}"));
    let mut function = Stage::running(["net", "db"]).start().await;
    function.invoke(&payload).await;
    function.invoke(&arn).await;
    let [named, with_arn] = function.finish().await;
    assert_eq!(named.outcome("net"), "CANCELLED");
    assert!(
        named
            .event("net")
            .text("/trigger/name")
            .unwrap()
            .ends_with('…')
    );
    assert_eq!(with_arn.summary()["environments"], json!([]));
    let longest = named
        .lines
        .iter()
        .map(|line| line.text.len())
        .max()
        .unwrap();
    assert!(longest < 256 * 1024, "CloudWatch cuts lines: {longest}");
}

#[tokio::test]
async fn unused_fields_of_the_payload_are_not_logged() {
    let mut payload = alarm();
    payload["detail"]["configuration"] = json!({ "password": "hunter2-of-the-configuration" });
    for level in ["TRACE", "INFO"] {
        let run = Stage::running(["net"])
            .set("AWS_LAMBDA_LOG_LEVEL", level)
            .run(&payload)
            .await;
        let shows = run.lines.iter().any(|line| line.text.contains("hunter2"));
        assert!(!shows, "{level}: {:#?}", run.lines);
    }
}

#[tokio::test]
async fn an_ignored_and_a_failed_run_are_logged_with_their_request() {
    let refused = Rule::new(Fault::error("AccessDeniedException", "no"))
        .operation(Operation::ListEnvironments);
    let mut function = Stage::running(["net"])
        .faults(Faults::none().rule(refused))
        .start()
        .await;
    function.invoke(fresh("ignored_alarm_ok.json")).await;
    function.invoke_within(seconds(5), alarm()).await;
    function.invoke("{}").await;
    function.invoke(request(["missing"])).await;
    let runs: [Run; 4] = function.finish().await;
    assert_eq!(runs[1].failure().kind, "ListFailed");
    assert_eq!(runs[2].failure().kind, "UnsupportedPayload");
    for run in &runs {
        let log = run.log();
        let is_logged = log
            .iter()
            .any(|line| texts(line).contains(&run.request_id.as_str()));
        assert!(is_logged, "{}: {log:#?}", run.request_id);
    }
}

#[tokio::test]
async fn each_failed_invocation_is_logged_with_the_error_type_that_lambda_gets() {
    let once = |operation, code: &str| Rule::new(Fault::error(code, "no")).operation(operation);
    let faults = Faults::none()
        .rule(once(Operation::ListEnvironments, "AccessDeniedException").times(1))
        .rule(once(Operation::PutEvents, "AccessDeniedException").times(1))
        .rule(once(
            Operation::CancelEnvironmentDeployment,
            "ThrottlingException",
        ));
    let mut function = Stage::running(["a", "b"])
        .faults(faults)
        .set("AWS_LAMBDA_LOG_LEVEL", "ERROR")
        .start()
        .await;
    function.invoke("{}").await;
    function.invoke(alarm()).await;
    let unpublished = request(["missing"]);
    function.invoke_within(seconds(5), unpublished).await;
    function.invoke_within(seconds(2), request(["b"])).await;
    let runs: [Run; 4] = function.finish().await;
    let kinds = [
        "UnsupportedPayload",
        "ListFailed",
        "PublishFailed",
        "Incomplete",
    ];
    for (run, kind) in runs.iter().zip(kinds) {
        assert_eq!(run.failure().kind, kind);
        let log = run.log();
        let of_it = log.iter().filter(|line| {
            line["level"] == "ERROR" && texts(line).contains(&run.request_id.as_str())
        });
        let types: Vec<_> = of_it
            .filter_map(|line| line["errorType"].as_str())
            .collect();
        assert!(!types.is_empty(), "{kind}: {log:#?}");
        assert!(types.iter().all(|word| *word == kind), "{kind}: {types:?}");
    }
}

#[tokio::test]
async fn the_metrics_are_at_a_level_that_passes_and_is_not_error() {
    let run = eventful()
        .set("AWS_LAMBDA_LOG_LEVEL", "FATAL")
        .run(alarm())
        .await;
    let metrics = run.metrics.as_ref().unwrap();
    assert_eq!(metrics["level"], "FATAL");
    let time = metrics["timestamp"].as_str().unwrap();
    assert!(chrono::DateTime::parse_from_rfc3339(time).is_ok(), "{time}");
}

#[tokio::test]
async fn a_transient_error_that_passes_is_not_logged_as_an_error() {
    for fault in [
        Fault::error("InternalServerException", "try again"),
        Fault::error("ThrottlingException", "slower"),
        Fault::Drop,
    ] {
        let rule = Rule::new(fault.clone()).times(1);
        let run = Stage::with([running("net")])
            .faults(Faults::none().rule(rule))
            .run(alarm())
            .await;
        assert_eq!(run.outcomes()["net"], "CANCELLED", "{fault:?}");
        let log = run.log();
        let errors: Vec<_> = log.iter().filter(|line| line["level"] == "ERROR").collect();
        assert!(errors.is_empty(), "{fault:?}: {errors:#?}");
    }
}
