//! A client that makes one call at a time and does nothing else, to measure latencies.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// A connection to the local AWS, over HTTP.
pub(crate) struct BareClient {
    stream: BufReader<TcpStream>,
    host: String,
}

impl BareClient {
    pub(crate) async fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
            host: address.to_owned(),
        })
    }

    /// Lists every page of the environments in sequence. Returns the time of each.
    pub(crate) async fn list(&mut self) -> Result<Vec<Duration>> {
        let mut latencies = Vec::new();
        let mut token: Option<Value> = None;
        loop {
            let input = match &token {
                Some(token) => json!({ "maxResults": 100, "nextToken": token }),
                None => json!({ "maxResults": 100 }),
            };
            let (output, latency) = self.proton("ListEnvironments", &input).await?;
            latencies.push(latency);
            token = output.get("nextToken").cloned();
            if token.is_none() {
                return Ok(latencies);
            }
        }
    }

    /// Cancels the deployment of an environment. Returns the time of the call.
    pub(crate) async fn cancel(&mut self, environment: &str) -> Result<Duration> {
        let input = json!({ "environmentName": environment });
        let (_, latency) = self.proton("CancelEnvironmentDeployment", &input).await?;
        Ok(latency)
    }

    /// Calls Proton. Returns the output and the time from the request to the end of the response.
    async fn proton(&mut self, operation: &str, input: &Value) -> Result<(Value, Duration)> {
        let body = input.to_string();
        let request = format!(
            "POST / HTTP/1.1\r\nhost: {}\r\nx-amz-target: AwsProton20200720.{operation}\r\n\
             content-type: application/x-amz-json-1.0\r\nauthorization: bare\r\n\
             content-length: {}\r\n\r\n{body}",
            self.host,
            body.len()
        );
        let begun = Instant::now();
        self.stream.write_all(request.as_bytes()).await?;
        let (status, output) = self.response().await?;
        let latency = begun.elapsed();
        if !status.starts_with("HTTP/1.1 200 ") {
            let output = String::from_utf8_lossy(&output);
            bail!("{operation} failed: {}: {output}", status.trim_end());
        }
        Ok((serde_json::from_slice(&output)?, latency))
    }

    /// Reads a response. Returns its status line and its body.
    async fn response(&mut self) -> Result<(String, Vec<u8>)> {
        let mut status = String::new();
        self.stream.read_line(&mut status).await?;
        let mut length = None;
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).await?;
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = Some(value.trim().parse()?);
            }
        }
        let mut body = vec![0; length.context("the response has no `content-length`")?];
        self.stream.read_exact(&mut body).await?;
        Ok((status, body))
    }
}

#[cfg(test)]
mod tests {
    use local_aws::{Clock, Deployment, Environment, LocalAws, World};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn every_page_is_listed_and_a_cancel_is_accepted_once() {
        let world = (0..201)
            .map(|index| Environment::new(format!("environment-{index:03}")))
            .map(|environment| environment.deployment(Deployment::in_progress()))
            .fold(World::new(), World::with);
        let local = LocalAws::new(world, Clock::system());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let server = local.serve(listener);
        let mut client = BareClient::connect(&server.address()).await.unwrap();
        assert_eq!(client.list().await.unwrap().len(), 3);
        assert!(client.cancel("environment-007").await.is_ok());
        let error = client.cancel("environment-007").await.unwrap_err();
        assert!(error.to_string().contains("ConflictException"), "{error}");
        assert_eq!(local.calls().len(), 5);
    }
}
