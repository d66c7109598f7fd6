//! The Lambda Runtime API, as a function and as whoever invokes it sees it.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use local_aws::{Function, Invocation, InvocationResult, Server, World};

use crate::support::{Answer, request, serve};

const NEXT: &str = "/2018-06-01/runtime/invocation/next";
const INVOKE: &str = "/2015-03-31/functions/any-name/invocations";

async fn post(server: &Server, path: &str, body: &[u8]) -> Answer {
    request(server, "POST", path, &[], body).await.unwrap()
}

fn answer_path(next: &Answer, kind: &str) -> String {
    let id = next.header("lambda-runtime-aws-request-id").unwrap();
    format!("/2018-06-01/runtime/invocation/{id}/{kind}")
}

#[tokio::test]
async fn an_event_goes_to_the_function_and_its_answer_comes_back() {
    let (local, server) = serve(World::new()).await;
    let payload = vec![b'x'; 6 * 1024 * 1024];
    let function = async {
        let next = request(&server, "GET", NEXT, &[], b"").await.unwrap();
        assert_eq!((next.status, &next.body), (200, &payload));
        let deadline = next
            .header("lambda-runtime-deadline-ms")
            .unwrap()
            .parse()
            .unwrap();
        let left =
            (UNIX_EPOCH + Duration::from_millis(deadline)).duration_since(local.clock().now());
        assert!(left.unwrap() > Duration::from_secs(895));
        let arn = next.header("lambda-runtime-invoked-function-arn").unwrap();
        assert_eq!(
            arn,
            "arn:aws:lambda:us-east-1:123456789012:function:proton-canceller"
        );
        assert!(
            next.header("lambda-runtime-trace-id")
                .unwrap()
                .starts_with("Root=1-")
        );
        let path = answer_path(&next, "response");
        let posted = post(&server, &path, b"{\"done\":true}").await;
        assert_eq!(
            (posted.status, posted.json()["status"].as_str()),
            (202, Some("OK"))
        );
        // Answered once, the id is not known any more.
        let again = post(&server, &path, b"{}").await;
        assert_eq!(
            (again.status, again.json()["errorType"].as_str()),
            (400, Some("InvalidRequestID"))
        );
    };
    let (invoked, ()) = tokio::join!(post(&server, INVOKE, &payload), function);
    assert_eq!(
        (invoked.status, invoked.body.as_slice()),
        (200, &b"{\"done\":true}"[..])
    );
    assert_eq!(invoked.header("x-amz-executed-version"), Some("$LATEST"));
    assert_eq!(invoked.header("x-amz-function-error"), None);
}

#[tokio::test]
async fn an_error_comes_back_as_lambda_sends_it() {
    let (local, server) = serve(World::new()).await;
    let error = b"{\"errorType\":\"ListFailed\",\"errorMessage\":\"no\"}";
    let function = async {
        for _ in 0..2 {
            let next = request(&server, "GET", NEXT, &[], b"").await.unwrap();
            post(&server, &answer_path(&next, "error"), error).await;
        }
    };
    let caller = async {
        let invoked = post(&server, INVOKE, b"{}").await;
        assert_eq!((invoked.status, invoked.body.as_slice()), (200, &error[..]));
        assert_eq!(invoked.header("x-amz-function-error"), Some("Unhandled"));
        let result = local
            .invoke(Bytes::from_static(b"{}"), Invocation::default())
            .await;
        assert_eq!(
            result,
            InvocationResult::Error {
                error_type: "ListFailed".to_owned(),
                error_message: "no".to_owned(),
                raw: Bytes::from_static(error),
            }
        );
    };
    tokio::join!(function, caller);
}

#[tokio::test]
async fn a_function_that_does_not_poll_or_does_not_answer_is_given_up() {
    let function = Function {
        patience: Duration::from_millis(100),
        timeout: Duration::from_millis(100),
        ..Function::default()
    };
    let (_, server) = serve(World::new().function(function)).await;
    let invoked = post(&server, INVOKE, b"{}").await;
    assert_eq!(invoked.status, 504);
    assert_eq!(invoked.header("x-amzn-errortype"), Some("ServiceException"));
    let next = request(&server, "GET", NEXT, &[], b"");
    let (invoked, next) = tokio::join!(post(&server, INVOKE, b"{}"), next);
    assert_eq!(
        (invoked.status, invoked.json()["errorType"].as_str()),
        (200, Some("Sandbox.Timedout"))
    );
    let late = post(&server, &answer_path(&next.unwrap(), "response"), b"{}").await;
    assert_eq!(late.status, 400);
}

#[tokio::test]
async fn a_trace_may_be_the_same_as_before() {
    let (local, server) = serve(World::new()).await;
    let given = || Some("Root=1-00000000-000000000000000000000001;Sampled=1".to_owned());
    let mut taken = Vec::new();
    for trace_id in [given(), given(), None, None] {
        let invocation = Invocation {
            trace_id,
            ..Invocation::default()
        };
        let invoke = local.invoke(Bytes::from_static(b"{}"), invocation);
        let function = async {
            let next = request(&server, "GET", NEXT, &[], b"").await.unwrap();
            post(&server, &answer_path(&next, "response"), b"{}").await;
            next.header("lambda-runtime-trace-id").map(str::to_owned)
        };
        taken.push(tokio::join!(invoke, function).1);
    }
    assert_eq!(taken[..2], [given(), given()]);
    assert!(taken[2].is_some() && taken[3].is_some());
    assert_ne!(taken[2], taken[3]);
}

#[tokio::test]
async fn an_init_error_ends_the_invocation_that_waits() {
    let (local, server) = serve(World::new()).await;
    let error = b"{\"errorType\":\"BadSettings\",\"errorMessage\":\"MAX_CANCELLATIONS is `-1`\"}";
    let function = post(&server, "/2018-06-01/runtime/init/error", error);
    let invoke = local.invoke(Bytes::from_static(b"{}"), Invocation::default());
    let (result, posted) = tokio::join!(invoke, function);
    assert_eq!(posted.status, 202);
    assert_eq!(local.init_error().as_deref(), Some(&error[..]));
    assert!(
        matches!(result, InvocationResult::Error { error_type, .. } if error_type == "BadSettings")
    );
}

#[tokio::test]
async fn a_function_may_answer_though_nobody_waits_any_more() {
    let (local, server) = serve(World::new()).await;
    let invoke = local.invoke(Bytes::from_static(b"{}"), Invocation::default());
    let next = request(&server, "GET", NEXT, &[], b"");
    let next = tokio::select! {
        _ = invoke => None,
        next = next => next,
    };
    let answered = post(&server, &answer_path(&next.unwrap(), "response"), b"{}").await;
    assert_eq!(answered.status, 202);
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let (_, server) = serve(World::new()).await;
    let invoked = post(&server, INVOKE, &vec![b' '; 6 * 1024 * 1024 + 1]).await;
    assert_eq!(invoked.status, 413);
    let dry = [("X-Amz-Invocation-Type", "DryRun")];
    let invoked = request(&server, "POST", INVOKE, &dry, b"{}").await.unwrap();
    assert_eq!(invoked.status, 204);
}
