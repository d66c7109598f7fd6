//! Hostile text from outside breaks no log line, metric, event or call, and reveals no credential.
//! [`invariants`](crate::invariants) checks the lines, metrics and events of every run.

use std::time::Duration;

use local_aws::{Deployment, Ending, Environment, Fault, Faults, Operation, Rule};
use proton_canceller::engine::EngineKind;
use serde_json::{Value, json};
use test_support::payloads::{alarm, request};

use crate::harness::{CANCEL, ENGINES, Failure, Run, SECRETS, Stage, running};

/// Quotes, line ends, escape sequences, and text like a log line or a metric of the function.
const HOSTILE: &str = "\"'`\\\" \n{\"_aws\":{\"CloudWatchMetrics\":[]},\"Cancelled\":99}\r\n\u{1b}[2J\u{1b}]0;x\u{7}\u{0}\u{8}\u{7f}\u{85}\u{2028}\u{2029}\u{202e}\u{feff}${jndi:x} %s %n <script> ';--";

/// The longest line that CloudWatch keeps, in bytes.
const LONGEST_LINE: usize = 256 * 1024;

#[track_caller]
fn lines_are_short(run: &Run) {
    for line in &run.lines {
        let start: String = line.text.chars().take(200).collect();
        assert!(
            line.text.len() < LONGEST_LINE,
            "{}: {start}",
            line.text.len()
        );
    }
}

/// A page of the listing with environments of these names, all in progress.
fn page(names: &[&str]) -> Fault {
    let environments: Vec<Value> = names
        .iter()
        .map(|name| {
            json!({
                "name": name,
                "arn": format!("arn:aws:proton:us-east-1:123456789012:environment/{name}"),
                "createdAt": 1_790_000_000.0,
                "deploymentStatus": "IN_PROGRESS",
                "lastDeploymentAttemptedAt": 1_790_000_000.0,
                "lastDeploymentSucceededAt": 1_790_000_000.0,
                "lastAttemptedDeploymentId": "5e0b1f7c-0000-4000-8000-000000000001",
                "templateName": "net",
                "templateMajorVersion": "1",
                "templateMinorVersion": "0",
            })
        })
        .collect();
    Fault::Junk {
        status: 200,
        body: json!({ "environments": environments }).to_string(),
    }
}

#[tokio::test]
async fn a_listed_name_that_no_environment_can_have_is_used_in_no_call() {
    let long = "a".repeat(1_000_000);
    let names = [
        "",
        "..",
        "../prod",
        "*",
        "net?x=1",
        "net/../db",
        "net db",
        "net\n",
        "-net",
        "nät",
        HOSTILE,
        "arn:aws:proton:us-east-1:123456789012:environment/net",
        &long,
    ];
    let all: Vec<_> = names.iter().chain(&["net"]).copied().collect();
    let rule = Rule::new(page(&all)).operation(Operation::ListEnvironments);
    let mut function = Stage::running(["net"])
        .faults(Faults::none().rule(rule))
        .set("DRY_RUN", "true")
        .start()
        .await;
    function.invoke(alarm()).await;
    let runs = function.finish_with_false_states().await;
    let run = &runs[0];
    assert_eq!(run.summary()["listed"], all.len());
    let outcomes = run.outcomes();
    assert_eq!(outcomes.keys().collect::<Vec<_>>(), [&"net"]);
    let left_alone = run.log().into_iter().filter(|line| {
        line["message"] == "Proton listed an environment that is left alone"
            && line["level"] == "ERROR"
    });
    assert_eq!(left_alone.count(), names.len());
    lines_are_short(run);

    let live = Rule::new(page(&names)).operation(Operation::ListEnvironments);
    let run = Stage::running(["net"])
        .faults(Faults::none().rule(live))
        .run(alarm())
        .await;
    assert_eq!(run.cancels(), Vec::<&str>::new());
    assert_eq!(run.summary()["environments"], json!([]));
}

/// The message of AWS for a signature that does not match. The message repeats the request's
/// headers, with the session token.
fn signature_mismatch() -> String {
    let (_, token) = SECRETS[1];
    format!(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.\n\nThe Canonical String for this request should have been\n'POST\n/\n\nhost:proton.us-east-1.amazonaws.com\nx-amz-date:20261123T064512Z\nx-amz-security-token:{token}\n\nhost;x-amz-date;x-amz-security-token\ne3b0'\n\nThe String-to-Sign should have been\n'AWS4-HMAC-SHA256\n20261123T064512Z\n20261123/us-east-1/proton/aws4_request\ne3b0'\n"
    )
}

#[track_caller]
fn reveals_nothing(run: &Run) {
    let (_, token) = SECRETS[1];
    let details = run.events.iter().map(|event| event.event.detail.clone());
    let answer = match &run.answer {
        Ok(summary) => summary.to_string(),
        Err(Failure { message, .. }) => message.clone(),
    };
    for text in details.chain([answer]) {
        assert!(!text.contains(token), "{text}");
        let lower = text.to_lowercase();
        assert!(!lower.contains("aws4-hmac"), "{text}");
    }
}

#[tokio::test]
async fn an_error_about_a_signature_reveals_no_credential() {
    for operation in [Operation::ListEnvironments, CANCEL, Operation::PutEvents] {
        for code in ["InvalidSignatureException", "SignatureDoesNotMatch"] {
            let rule = Rule::new(Fault::error(code, signature_mismatch())).operation(operation);
            let run = Stage::running(["net"])
                .faults(Faults::none().rule(rule))
                .set("AWS_LAMBDA_LOG_LEVEL", "TRACE")
                .run(alarm())
                .await;
            reveals_nothing(&run);
            let is_logged = run.lines.iter().any(|line| {
                line.text.contains(code) && line.text.contains("does not match the signature")
            });
            assert!(is_logged, "{operation} {code}: {:#?}", run.lines);
        }
    }
}

#[tokio::test]
async fn a_hostile_message_of_either_service_breaks_nothing() {
    let long = format!("{HOSTILE}{}", "\u{1}\"".repeat(150_000));
    for engine in ENGINES {
        for words in [HOSTILE, &long] {
            let db = Deployment::in_progress()
                .when_cancelled(Ending::failed(words).rollback(Duration::ZERO));
            let stage = Stage::with([running("net"), Environment::new("db").deployment(db)]);
            let cancel = match engine {
                EngineKind::Proton => CANCEL,
                EngineKind::CloudFormation => Operation::CancelUpdateStack,
            };
            let rule = Rule::new(Fault::error(words, words))
                .operation(cancel)
                .environment("net");
            let run = stage
                .faults(Faults::none().rule(rule))
                .on(engine)
                .run(alarm())
                .await;
            assert_eq!(run.summary()["counts"]["ERROR"], 1, "{engine:?}");
            assert_eq!(run.events.len(), 2);
            lines_are_short(&run);
        }
    }
}

#[tokio::test]
async fn a_deployments_id_and_status_of_a_megabyte_break_nothing() {
    let long = format!("{HOSTILE}{}", "x".repeat(1_000_000));
    let seen = |name: &str, status: &str| {
        json!({ "environment": {
            "name": name,
            "arn": "arn:aws:proton:us-east-1:123456789012:environment/net",
            "createdAt": 1_790_000_000.0,
            "deploymentStatus": status,
            "lastDeploymentAttemptedAt": 1_790_000_000.0,
            "lastDeploymentSucceededAt": 1_790_000_000.0,
            "lastAttemptedDeploymentId": long,
            "deploymentStatusMessage": long,
            "templateName": long,
            "templateMajorVersion": long,
            "templateMinorVersion": long,
        } })
    };
    let answers = |operation, name: &str, status: &str| {
        let body = seen(name, status).to_string();
        Rule::new(Fault::Junk { status: 200, body })
            .operation(operation)
            .environment(name)
    };
    let names: Vec<_> = (0..8).map(|number| format!("net-{number}")).collect();
    let faults = names.iter().fold(Faults::none(), |faults, name| {
        faults
            .rule(answers(Operation::GetEnvironment, name, "IN_PROGRESS"))
            .rule(answers(CANCEL, name, &long))
    });
    let mut function = Stage::with(names.iter().map(Environment::new))
        .faults(faults)
        .set("MAX_CANCELLATIONS", 100)
        .start()
        .await;
    let payload = request(names.iter().map(String::as_str));
    function.invoke(&payload).await;
    let runs = function.finish_with_false_states().await;
    let run = &runs[0];
    lines_are_short(run);
    let answer = run.summary().to_string();
    assert!(answer.len() < 6_000_000, "{} bytes", answer.len());
    assert_eq!(run.summary()["counts"]["ERROR"], names.len());
    for event in &run.events {
        assert!(event.event.detail.len() <= 1024 * 1024);
        assert!(event.text("/deployment/status").unwrap().ends_with('…'));
    }
}
