//! Clients of the HTTP server and of the in-process client.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_proton::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
use local_aws::{Clock, Deployment, Environment, LocalAws, Server, World};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// When the worlds of the tests start: 2026-11-23T06:40:00Z.
pub(crate) fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_mins(29_923_600)
}

/// The local AWS on tokio's time.
pub(crate) fn local(world: World) -> LocalAws {
    LocalAws::new(world, Clock::paused(start()))
}

/// An environment with this deployment.
pub(crate) fn environment(name: &str, deployment: Deployment) -> Environment {
    Environment::new(name).deployment(deployment)
}

/// Defines a function that returns an SDK client in process, without retries.
macro_rules! client {
    ($name:ident, $sdk:ident) => {
        pub(crate) fn $name(local: &LocalAws) -> $sdk::Client {
            let config = $sdk::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .http_client(local.http_client())
                .region(Region::new("us-east-1"))
                .credentials_provider(Credentials::new("local", "local", None, None, "test"))
                .retry_config(RetryConfig::disabled())
                .build();
            $sdk::Client::from_conf(config)
        }
    };
}

client!(proton, aws_sdk_proton);
client!(cloudformation, aws_sdk_cloudformation);
client!(event_bridge, aws_sdk_eventbridge);

/// The local AWS on the real clock, behind a socket.
pub(crate) async fn serve(world: World) -> (LocalAws, Server) {
    let local = LocalAws::new(world, Clock::system());
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let server = local.serve(listener);
    (local, server)
}

/// An HTTP answer, as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn error_code(&self) -> String {
        let json = self.json();
        let code = json.get("__type").and_then(Value::as_str).unwrap();
        code.rsplit('#').next().unwrap().to_owned()
    }
}

/// Sends bytes and reads one answer; nothing where the connection ends without one.
pub(crate) async fn send(server: &Server, request: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut bytes = Vec::new();
    // A connection that is dropped may be reset.
    let _ = stream.read_to_end(&mut bytes).await;
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, body) = bytes.split_at(end + 4);
    let head = String::from_utf8(head.to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Some(Answer {
        status,
        head,
        body: body.to_vec(),
    })
}

/// One request with `Connection: close`.
pub(crate) async fn request(
    server: &Server,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Option<Answer> {
    let headers: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: local\r\nConnection: close\r\n{}Content-Length: {}\r\n\r\n",
        headers.concat(),
        body.len()
    );
    let bytes = [head.as_bytes(), body].concat();
    send(server, &bytes).await
}

/// One signed call of an awsJson service.
pub(crate) async fn call(server: &Server, target: &str, body: &[u8]) -> Answer {
    let headers = [
        ("X-Amz-Target", target),
        ("Authorization", "AWS4-HMAC-SHA256 Credential=local"),
        ("Content-Type", "application/x-amz-json-1.0"),
    ];
    request(server, "POST", "/", &headers, body).await.unwrap()
}
