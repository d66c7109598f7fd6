//! Raw bytes on the socket: what AWS refuses is refused, in AWS's form.

use std::time::{Duration, Instant};

use local_aws::World;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{call, request, send, serve};

const GET: &str = "AwsProton20200720.GetEnvironment";
const LIST: &str = "AwsProton20200720.ListEnvironments";
const CANCEL: &str = "AwsProton20200720.CancelEnvironmentDeployment";
const DEPLOYMENT: &str = "AwsProton20200720.GetDeployment";
const TAGS: &str = "AwsProton20200720.ListTagsForResource";
const PUT: &str = "AWSEvents.PutEvents";

/// A target, a body, and the code of the error that refuses it.
const BAD_INPUT: &[(&str, &[u8], &str)] = &[
    (GET, b"", "SerializationException"),
    (GET, b"{", "SerializationException"),
    (GET, b"[]", "SerializationException"),
    (GET, b"null", "SerializationException"),
    (GET, b"{\"name\":\"\xff\"}", "SerializationException"),
    (GET, b"{\"name\":1}", "SerializationException"),
    (GET, b"{\"name\":true}", "SerializationException"),
    (GET, b"{\"name\":[\"prod-net\"]}", "SerializationException"),
    (GET, b"{\"name\":{}}", "SerializationException"),
    (GET, b"{}", "ValidationException"),
    (GET, b"{\"name\":null}", "ValidationException"),
    (GET, b"{\"name\":\"\"}", "ValidationException"),
    (GET, b"{\"name\":\"prod-net\\n\"}", "ValidationException"),
    (GET, b"{\"name\":\"-prod\"}", "ValidationException"),
    (
        GET,
        b"{\"name\":\"nobody\",\"more\":[1]}",
        "ResourceNotFoundException",
    ),
    (LIST, b"{\"maxResults\":0}", "ValidationException"),
    (LIST, b"{\"maxResults\":-1}", "ValidationException"),
    (LIST, b"{\"maxResults\":101}", "ValidationException"),
    (LIST, b"{\"maxResults\":\"5\"}", "SerializationException"),
    (LIST, b"{\"maxResults\":5.0}", "SerializationException"),
    (LIST, b"{\"maxResults\":5e999}", "SerializationException"),
    (
        LIST,
        b"{\"maxResults\":99999999999}",
        "SerializationException",
    ),
    (
        LIST,
        b"{\"maxResults\":99999999999999999999}",
        "SerializationException",
    ),
    (
        LIST,
        b"{\"nextToken\":\"neverGiven\"}",
        "ValidationException",
    ),
    (LIST, b"{\"nextToken\":\"\"}", "ValidationException"),
    (LIST, b"{\"nextToken\":7}", "SerializationException"),
    (
        LIST,
        b"{\"environmentTemplates\":{}}",
        "SerializationException",
    ),
    (
        LIST,
        b"{\"environmentTemplates\":[1]}",
        "SerializationException",
    ),
    (
        LIST,
        b"{\"environmentTemplates\":[{}]}",
        "ValidationException",
    ),
    (
        LIST,
        b"{\"environmentTemplates\":[null]}",
        "ValidationException",
    ),
    (CANCEL, b"{}", "ValidationException"),
    (
        CANCEL,
        b"{\"environmentName\":\"nobody\"}",
        "ResourceNotFoundException",
    ),
    (
        CANCEL,
        b"{\"environmentName\":\"dev-net\"}",
        "ConflictException",
    ),
    (
        CANCEL,
        b"{\"environmentName\":\"stage-data\"}",
        "ConflictException",
    ),
    (DEPLOYMENT, b"{\"id\":\"1\"}", "ValidationException"),
    (
        DEPLOYMENT,
        b"{\"id\":\"00000000-0000-4000-8000-000000000000\"}",
        "ResourceNotFoundException",
    ),
    (
        TAGS,
        b"{\"resourceArn\":\"prod-net\"}",
        "ValidationException",
    ),
    (
        TAGS,
        b"{\"resourceArn\":\"arn:aws:proton:us-east-1:123456789012:service/x\"}",
        "ResourceNotFoundException",
    ),
    (PUT, b"{}", "ValidationException"),
    (PUT, b"{\"Entries\":[]}", "ValidationException"),
    (
        PUT,
        b"{\"Entries\":[{\"Detail\":{}}]}",
        "SerializationException",
    ),
    (
        PUT,
        b"{\"Entries\":[{\"Time\":\"now\"}]}",
        "SerializationException",
    ),
    (
        "AwsProton20200720.CreateEnvironment",
        b"{}",
        "UnknownOperationException",
    ),
    (
        "AwsProton20200720.PutEvents",
        b"{}",
        "UnknownOperationException",
    ),
    (
        "AWSEvents.ListEnvironments",
        b"{}",
        "UnknownOperationException",
    ),
    ("Nobody.Knows", b"{}", "UnknownOperationException"),
];

#[tokio::test]
async fn bad_input_is_refused_as_aws_refuses_it() {
    let (_, server) = serve(World::demonstration()).await;
    for (target, body, code) in BAD_INPUT {
        let answer = call(&server, target, body).await;
        let shown = String::from_utf8_lossy(body);
        assert_eq!(answer.error_code(), *code, "{target} {shown}");
        assert_eq!(answer.status, 400, "{target} {shown}");
        assert_eq!(answer.header("x-amzn-errortype"), Some(*code));
        assert!(answer.header("x-amzn-requestid").is_some());
        assert!(answer.json().get("message").is_some());
    }
}

#[tokio::test]
async fn errors_have_the_form_of_their_protocol() {
    let (_, server) = serve(World::demonstration()).await;
    let answer = call(&server, GET, b"{\"name\":\"a b\"}").await;
    assert_eq!(
        answer.json(),
        json!({
            "__type": "com.amazonaws.proton#ValidationException",
            "message": "1 validation error detected: Value 'a b' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[0-9A-Za-z]+[0-9A-Za-z_\\-]*$",
        })
    );
    assert_eq!(
        answer.header("content-type"),
        Some("application/x-amz-json-1.0")
    );
    let answer = call(&server, LIST, b"{\"maxResults\":200}").await;
    assert_eq!(
        answer.json()["message"],
        "1 validation error detected: Value '200' at 'maxResults' failed to satisfy constraint: Member must have value less than or equal to 100"
    );
    let answer = call(&server, CANCEL, b"{}").await;
    assert_eq!(
        answer.json()["message"],
        "1 validation error detected: Value null at 'environmentName' failed to satisfy constraint: Member must not be null"
    );
    let answer = call(&server, PUT, b"{\"Entries\":[{\"TraceHeader\":\"\"}]}").await;
    assert_eq!(answer.json()["__type"], "ValidationException");
    assert_eq!(
        answer.header("content-type"),
        Some("application/x-amz-json-1.1")
    );
    assert_eq!(
        answer.json()["message"],
        "1 validation error detected: Value '' at 'entries.1.member.traceHeader' failed to satisfy constraint: Member must have length greater than or equal to 1"
    );
}

#[tokio::test]
async fn lengths_count_characters() {
    let (_, server) = serve(World::demonstration()).await;
    for (name, code) in [
        ("a".repeat(100), "ResourceNotFoundException"),
        ("a".repeat(101), "ValidationException"),
    ] {
        let body = json!({ "name": name }).to_string();
        let answer = call(&server, GET, body.as_bytes()).await;
        assert_eq!(answer.error_code(), code);
    }
    let body = json!({ "name": "ü".repeat(100) }).to_string();
    let answer = call(&server, GET, body.as_bytes()).await;
    // Too long in bytes, not in characters: only the pattern is violated.
    let message = answer.json()["message"].to_string();
    assert!(message.contains("1 validation error detected"), "{message}");
}

#[tokio::test]
async fn a_request_without_a_signature_is_refused() {
    let (local, server) = serve(World::demonstration()).await;
    let answer = request(&server, "POST", "/", &[("X-Amz-Target", LIST)], b"{}")
        .await
        .unwrap();
    assert_eq!(answer.status, 400);
    assert_eq!(answer.error_code(), "MissingAuthenticationTokenException");
    assert_eq!(local.calls().len(), 1);
}

#[tokio::test]
async fn other_methods_and_paths_are_refused() {
    let (_, server) = serve(World::demonstration()).await;
    for (method, path, status) in [
        ("GET", "/", 404),
        ("PUT", "/", 404),
        ("POST", "/elsewhere", 404),
        ("POST", "/_local/events", 405),
        ("GET", "/_local/nothing", 404),
        ("GET", "/2018-06-01/runtime/init/error", 405),
        ("POST", "/2018-06-01/runtime/elsewhere", 404),
        ("GET", "/2015-03-31/functions/function/invocations", 405),
    ] {
        let answer = request(&server, method, path, &[], b"").await.unwrap();
        assert_eq!(answer.status, status, "{method} {path}");
    }
}

#[tokio::test]
async fn bytes_that_are_no_http_do_no_harm() {
    let (_, server) = serve(World::demonstration()).await;
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"[..],
        b"hello\r\n\r\n",
        b"\r\n\r\n\0",
    ] {
        if let Some(answer) = send(&server, bytes).await {
            assert_eq!(answer.status, 400);
        }
    }
    assert_eq!(call(&server, LIST, b"{}").await.status, 200);
}

#[tokio::test]
async fn chunked_bodies_are_read() {
    let (_, server) = serve(World::demonstration()).await;
    let chunked = format!(
        "POST / HTTP/1.1\r\nHost: local\r\nConnection: close\r\nX-Amz-Target: {GET}\r\nAuthorization: AWS4-HMAC-SHA256 x\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{{\"name\":\r\nb\r\n\"prod-net\"}}\r\n0\r\n\r\n"
    );
    let answer = send(&server, chunked.as_bytes()).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["environment"]["name"], "prod-net");
}

#[tokio::test]
async fn the_server_ends_in_time_though_connections_are_open() {
    let (_, server) = serve(World::demonstration()).await;
    let idle = TcpStream::connect(server.address()).await.unwrap();
    let mut half = TcpStream::connect(server.address()).await.unwrap();
    half.write_all(b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n{")
        .await
        .unwrap();
    let mut waiting = TcpStream::connect(server.address()).await.unwrap();
    waiting
        .write_all(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: local\r\n\r\n")
        .await
        .unwrap();
    let begun = Instant::now();
    server.shut_down().await;
    assert!(begun.elapsed() < Duration::from_secs(5));
    drop((idle, half, waiting));
}
