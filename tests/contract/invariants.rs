//! Invariants of every run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::SystemTime;

use chrono::{DateTime, TimeDelta, Utc};
use jsonschema::{Draft, Validator};
use local_aws::{Answer, DeploymentSnapshot, Line, Stream};
use serde_json::{Map, Value};

use crate::harness::{Failure, Published, Run, SECRETS, is_cancel};

/// Every outcome, with the metric that counts it.
const OUTCOMES: [(&str, Option<&str>); 7] = [
    ("CANCELLED", Some("Cancelled")),
    ("FAILED", Some("Failed")),
    ("SUCCEEDED", Some("Succeeded")),
    ("CANCELLING", Some("Cancelling")),
    ("DRY_RUN", None),
    ("SKIPPED", Some("Skipped")),
    ("ERROR", Some("Errors")),
];

/// The reasons whose skips are not published.
const UNPUBLISHED_SKIPS: [&str; 7] = [
    "PROTECTED",
    "NOT_INCLUDED",
    "NOT_IN_PROGRESS",
    "STARTED_AFTER_ALARM",
    "NOT_TAGGED",
    "NOT_STUCK",
    "START_UNKNOWN",
];

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/outcome-detail.json");
    let schema = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert!(
        jsonschema::meta::is_valid(&schema),
        "the schema is not valid itself"
    );
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .build(&schema)
        .unwrap()
});

/// Checks a run, without its log lines.
#[track_caller]
pub(crate) fn always(run: &Run) {
    for event in &run.events {
        event_holds(run, event);
        // A message may name a deployment that was deleted, or never existed.
        if !run.is_follow || event.outcome() != "ERROR" {
            event_is_true(run, event);
        }
    }
    for begun in &run.begun {
        event_holds(run, begun);
    }
    let ids: BTreeSet<_> = run
        .events
        .iter()
        .map(Published::id_without_its_last_digit)
        .collect();
    assert_eq!(ids.len(), run.events.len(), "two events have one id");
    match &run.answer {
        Ok(_) if run.is_follow => return follow_holds(run),
        Ok(summary) => {
            summary_holds(run, summary);
            calls_stay_within(run, summary);
        }
        Err(failure) => failure_holds(run, failure),
    }
    cancels_are_reported(run);
    if was_listed(run) {
        metrics_hold(run);
    }
}

/// Checks that a follow publishes at most one event, an end, and cancels nothing.
#[track_caller]
fn follow_holds(run: &Run) {
    assert!(run.events.len() <= 1, "{:#?}", run.events);
    let is_end = |event: &Published| event.outcome() != "CANCELLING";
    assert!(run.events.iter().all(is_end), "{:#?}", run.events);
    assert_eq!(run.cancels(), Vec::<&str>::new());
    assert_eq!(run.metrics.is_some(), !run.events.is_empty());
    assert_eq!(run.answer.as_ref().unwrap().as_object().unwrap().len(), 1);
}

fn was_listed(run: &Run) -> bool {
    if run.is_follow {
        return false;
    }
    match &run.answer {
        Ok(summary) => summary["ignored"].is_null(),
        Err(failure) => ["Incomplete", "PublishFailed"].contains(&failure.kind.as_str()),
    }
}

#[track_caller]
fn event_holds(run: &Run, published: &Published) {
    let Published { event, detail } = published;
    let errors: Vec<_> = SCHEMA
        .iter_errors(detail)
        .map(|error| error.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:#?}\n{detail:#}");
    assert_eq!(event.source, "proton-canceller");
    assert_eq!(event.detail_type, "Environment Deployment Cancellation");
    let alarm = detail["trigger"]["arn"]
        .as_str()
        .filter(|_| detail["trigger"]["kind"] == "alarm");
    let resources: Vec<_> = published
        .text("/environment/arn")
        .into_iter()
        .chain(alarm)
        .filter(|arn| arn.len() <= 2048)
        .collect();
    assert_eq!(event.resources, resources);
    assert_eq!(published.text("/run/requestId"), Some(&*run.request_id));
    let is_settled = ["CANCELLED", "FAILED", "SUCCEEDED"].contains(&published.outcome());
    if is_settled {
        assert!(detail["deployment"]["settledAt"].is_string(), "{detail:#}");
        assert_eq!(
            published.text("/deployment/status"),
            Some(published.outcome())
        );
    }
    if ["DRY_RUN", "SKIPPED"].contains(&published.outcome()) {
        assert!(
            detail["deployment"]["cancelRequestedAt"].is_null(),
            "{detail:#}"
        );
    }
    let is_cancelled = run.cancels().contains(&published.environment());
    if !run.is_follow && !is_cancelled {
        assert!(
            detail["deployment"]["cancelRequestedAt"].is_null(),
            "{detail:#}"
        );
    }
}

/// The true state of the deployment in an event.
fn truth<'a>(run: &'a Run, event: &Published) -> Option<&'a DeploymentSnapshot> {
    let mut of_it = run
        .deployments
        .iter()
        .filter(|deployment| deployment.environment == event.environment());
    let id = event.text("/deployment/id");
    let started = event.time("/deployment/startedAt");
    of_it
        .clone()
        .find(|deployment| id == Some(&deployment.id))
        // Without an ID of the service, the start identifies the deployment.
        .or_else(|| {
            of_it.find(|deployment| started.is_some_and(|at| is_close(deployment.started_at, at)))
        })
}

fn is_close(one: SystemTime, other: DateTime<Utc>) -> bool {
    (DateTime::<Utc>::from(one) - other).abs() <= TimeDelta::milliseconds(1)
}

#[track_caller]
fn event_is_true(run: &Run, event: &Published) {
    let Some(truth) = truth(run, event) else {
        let is_unknown = ["/deployment/id", "/deployment/startedAt"]
            .iter()
            .all(|pointer| event.text(pointer).is_none());
        assert!(
            is_unknown,
            "there is no such deployment: {:#}",
            event.detail
        );
        return;
    };
    let detail = &event.detail;
    if let Some(started) = event.time("/deployment/startedAt") {
        assert!(is_close(truth.started_at, started), "{truth:?}\n{detail:#}");
    }
    match event.outcome() {
        outcome @ ("CANCELLED" | "FAILED" | "SUCCEEDED") => {
            assert_eq!(truth.status.as_str(), outcome, "{truth:?}\n{detail:#}");
            let message = event.text("/message");
            let is_cut = message.is_some_and(|message| message.ends_with('…'));
            // A stack's message is that of the rollback's beginning, not of its end.
            let is_proton = event
                .text("/environment/arn")
                .is_some_and(|arn| arn.contains(":proton:"));
            if is_proton && !is_cut {
                assert_eq!(message, truth.message.as_deref(), "{detail:#}");
            }
            let settled = event.time("/deployment/settledAt").unwrap();
            // An update that cleans up has already succeeded.
            if is_proton {
                let completed = DateTime::<Utc>::from(truth.completed_at.unwrap());
                assert!(
                    settled >= completed - TimeDelta::milliseconds(1),
                    "{truth:?}\n{detail:#}"
                );
            }
            assert!(settled <= Utc::now(), "{detail:#}");
        }
        "CANCELLING" => assert!(truth.cancelled_at.is_some(), "{truth:?}\n{detail:#}"),
        _ => {}
    }
}

#[track_caller]
fn summary_holds(run: &Run, summary: &Value) {
    assert_eq!(
        keys(summary.as_object().unwrap()),
        [
            "alreadyCancelling",
            "counts",
            "dryRun",
            "environments",
            "ignored",
            "inProgress",
            "listed",
            "trigger"
        ]
    );
    assert_eq!(
        keys(summary["trigger"].as_object().unwrap()),
        ["arn", "id", "kind", "name", "reason", "time"]
    );
    let environments = summary["environments"].as_array().unwrap();
    let mut counts = BTreeMap::<&str, u64>::new();
    let mut names = BTreeSet::new();
    let mut to_publish = BTreeMap::new();
    for environment in environments {
        assert_eq!(
            keys(environment.as_object().unwrap()),
            ["deploymentId", "error", "name", "outcome", "reason"]
        );
        let name = environment["name"].as_str().unwrap();
        let outcome = environment["outcome"].as_str().unwrap();
        let reason = environment["reason"].as_str();
        assert!(names.insert(name), "`{name}` is listed twice: {summary:#}");
        *counts.entry(outcome).or_default() += 1;
        assert_eq!(
            outcome == "ERROR",
            environment["error"].is_object(),
            "{environment}"
        );
        assert_eq!(outcome == "SKIPPED", reason.is_some(), "{environment}");
        if !reason.is_some_and(|reason| UNPUBLISHED_SKIPS.contains(&reason)) {
            to_publish.insert(name, environment);
        }
    }
    for (outcome, _) in OUTCOMES {
        let counted = summary["counts"].get(outcome).and_then(Value::as_u64);
        let expected = counts.get(outcome).copied().unwrap_or_default();
        assert_eq!(
            counted.unwrap_or_default(),
            expected,
            "{outcome}: {summary:#}"
        );
    }
    for outcome in counts
        .keys()
        .chain(&keys(summary["counts"].as_object().unwrap()))
    {
        assert!(
            OUTCOMES.iter().any(|(known, _)| known == outcome),
            "{outcome}"
        );
    }
    if summary["trigger"]["kind"] != "request" {
        assert_eq!(summary["inProgress"], environments.len(), "{summary:#}");
    }
    let published: BTreeSet<_> = run.events.iter().map(Published::environment).collect();
    let expected: BTreeSet<_> = to_publish.keys().copied().collect();
    assert_eq!(published, expected, "what is published");
    for event in &run.events {
        let environment = to_publish[event.environment()];
        for member in ["outcome", "reason"] {
            assert_eq!(event.detail[member], environment[member]);
        }
        assert_eq!(
            event.detail["deployment"]["id"],
            environment["deploymentId"]
        );
        assert_eq!(event.detail["dryRun"], summary["dryRun"]);
        assert_eq!(event.detail["error"]["code"], environment["error"]["code"]);
        for member in ["kind", "time"] {
            assert_eq!(event.detail["trigger"][member], summary["trigger"][member]);
        }
    }
    if !summary["ignored"].is_null() {
        assert!(summary["ignored"].is_string(), "{summary:#}");
        assert_eq!(
            run.call_names(),
            Vec::<String>::new(),
            "an ignored run makes no call"
        );
        assert_eq!(summary["listed"], 0);
        assert!(environments.is_empty(), "{summary:#}");
    }
}

fn keys(object: &Map<String, Value>) -> Vec<&str> {
    let mut keys: Vec<_> = object.keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// Checks that no call names an environment that the rules skipped.
#[track_caller]
fn calls_stay_within(run: &Run, summary: &Value) {
    let outcomes = run.outcomes();
    for call in &run.calls {
        let Some(name) = call.environment.as_deref() else {
            continue;
        };
        let outcome = outcomes
            .get(name)
            .unwrap_or_else(|| panic!("`{name}` was no candidate, but was called for: {call:?}"));
        // Only a read shows that a named stack is nested.
        if call.operation != "DescribeStacks" {
            assert!(
                !["SKIPPED PROTECTED", "SKIPPED NOT_INCLUDED"].contains(&outcome.as_str()),
                "{outcome}, but called for: {call:?}"
            );
        }
        if is_cancel(call) {
            assert!(
                !outcome.starts_with("SKIPPED") && summary["dryRun"] == false,
                "{outcome}, but called for: {call:?}"
            );
        }
    }
}

#[track_caller]
fn failure_holds(run: &Run, failure: &Failure) {
    let Failure { kind, message } = failure;
    match kind.as_str() {
        "UnsupportedPayload" => {
            assert_eq!(run.call_names(), Vec::<String>::new(), "{message}");
            assert!(message.contains("expected"), "{message}");
        }
        "ListFailed" => {
            assert_eq!(run.cancels(), Vec::<&str>::new(), "{message}");
            assert!(run.events.is_empty(), "{message}");
        }
        "Incomplete" => assert!(
            run.events.iter().any(|event| event.outcome() == "ERROR"),
            "no published error: {message}"
        ),
        "PublishFailed" => {}
        "FollowFailed" => assert!(run.events.is_empty(), "{message}"),
        _ => panic!("an unknown error: {failure:?}\n{:#?}", run.lines),
    }
    assert!(message.len() < 100_000, "{} bytes", message.len());
}

/// Checks that the deployment that a cancel hit has an event.
#[track_caller]
fn cancels_are_reported(run: &Run) {
    let is_published = !matches!(&run.answer, Err(failure) if failure.kind == "PublishFailed");
    if !is_published {
        return;
    }
    for call in &run.calls {
        let (Some(hit), Some(environment)) = (&call.cancelled, &call.environment) else {
            continue;
        };
        let event = run.event(environment);
        let reported = event.text("/deployment/id");
        let is_the_one = truth(run, event).is_some_and(|truth| truth.id == *hit);
        assert!(
            reported.is_none_or(|id| id == hit) || is_the_one,
            "{call:?}\n{:#}",
            event.detail
        );
        assert!(
            !["SKIPPED", "DRY_RUN"].contains(&event.outcome()),
            "{call:?}"
        );
        assert_eq!(event.detail["dryRun"], false, "{call:?}");
    }
}

/// The metric line of a run, if there is one.
pub(crate) fn metrics_of(lines: &[Line], request_id: &str) -> Option<Value> {
    let mut metrics = lines
        .iter()
        .filter(|line| line.stream == Stream::Stdout)
        .filter_map(|line| serde_json::from_str::<Value>(&line.text).ok())
        .filter(|line| line.get("_aws").is_some() && line["requestId"] == request_id);
    let first = metrics.next();
    assert!(metrics.next().is_none(), "two metric lines for one run");
    first
}

#[track_caller]
fn metrics_hold(run: &Run) {
    let metrics = run.metrics.as_ref().expect("there is no metric line");
    let timestamp = metrics["_aws"]["Timestamp"].as_i64().unwrap();
    let age = Utc::now().timestamp_millis() - timestamp;
    assert!((0..600_000).contains(&age), "{metrics:#}");
    let [directive] = metrics["_aws"]["CloudWatchMetrics"]
        .as_array()
        .unwrap()
        .as_slice()
    else {
        panic!("{metrics:#}");
    };
    let namespace = directive["Namespace"].as_str().unwrap();
    assert!((1..=1024).contains(&namespace.len()));
    for dimensions in directive["Dimensions"].as_array().unwrap() {
        for dimension in dimensions.as_array().unwrap() {
            let value = metrics[dimension.as_str().unwrap()].as_str();
            assert!(value.is_some_and(|value| !value.is_empty()), "{metrics:#}");
        }
    }
    let mut names = BTreeSet::new();
    for metric in directive["Metrics"].as_array().unwrap() {
        let name = metric["Name"].as_str().unwrap();
        assert!(metrics[name].is_number(), "{name}: {metrics:#}");
        let unit = if name == "TimeToFirstCancel" {
            "Milliseconds"
        } else {
            "Count"
        };
        assert_eq!(metric["Unit"], unit, "{name}");
        assert!(names.insert(name), "{name} twice");
    }
    assert!(names.contains("InProgress"), "{metrics:#}");
    for (outcome, metric) in OUTCOMES {
        let Some(metric) = metric else { continue };
        assert!(names.contains(metric), "{metric}: {metrics:#}");
        let counted = metrics[metric].as_u64().unwrap();
        if let Ok(summary) = &run.answer {
            let expected = summary["counts"].get(outcome).and_then(Value::as_u64);
            assert_eq!(counted, expected.unwrap_or_default(), "{metric}");
        } else {
            let published = run.events.iter();
            let published = published.filter(|event| event.outcome() == outcome);
            assert!(counted >= published.count() as u64, "{metric}");
        }
    }
    if let Ok(summary) = &run.answer {
        assert_eq!(metrics["InProgress"], summary["inProgress"]);
    }
    let has_time = match (&run.answer, run.events.first()) {
        (Ok(summary), _) => summary["trigger"]["time"].is_string(),
        (Err(_), event) => event.is_some_and(|event| event.text("/trigger/time").is_some()),
    };
    let cancels: Vec<_> = run.calls.iter().filter(|call| is_cancel(call)).collect();
    if cancels.is_empty() {
        assert!(!names.contains("TimeToFirstCancel"), "{metrics:#}");
    }
    if has_time && cancels.iter().any(|call| call.answer == Answer::Ok) {
        assert!(names.contains("TimeToFirstCancel"), "{metrics:#}");
    }
}

/// Checks that every line is a JSON object.
#[track_caller]
pub(crate) fn json_lines(lines: &[Line]) {
    for line in lines {
        let is_object = serde_json::from_str::<Map<String, Value>>(&line.text).is_ok();
        assert!(is_object, "this line is no JSON object: {line:?}");
    }
}

/// Checks that no line shows a credential.
#[track_caller]
pub(crate) fn no_credentials(lines: &[Line]) {
    for line in lines {
        let lower = line.text.to_lowercase();
        let shows = SECRETS.iter().any(|(_, secret)| line.text.contains(secret))
            || ["authorization", "aws4-hmac"]
                .iter()
                .any(|word| lower.contains(word));
        assert!(!shows, "this line shows a credential: {line:?}");
    }
}
