//! The socket door: HTTP/1.1 on a TCP port.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::local_aws::{Exchange, LocalAws};

/// The most bytes that a request may have: more than any service takes.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// How long requests that are under way may go on after the end was asked for.
const GRACE: Duration = Duration::from_secs(1);

impl LocalAws {
    /// Serves HTTP on a listener. Must be called within a tokio runtime.
    #[must_use]
    pub fn serve(&self, listener: TcpListener) -> Server {
        Server::start(self.clone(), listener)
    }
}

/// The socket door. It closes when this is dropped.
#[derive(Debug)]
pub struct Server {
    address: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) fn start(local: LocalAws, listener: TcpListener) -> Self {
        let (stop, stopped) = watch::channel(false);
        Self {
            address: listener.local_addr().ok(),
            stop,
            task: tokio::spawn(accept(local, listener, stopped)),
        }
    }

    /// Where it listens, such as `127.0.0.1:4599`.
    #[must_use]
    pub fn address(&self) -> String {
        self.address
            .map(|address| address.to_string())
            .unwrap_or_default()
    }

    /// The URL for `AWS_ENDPOINT_URL` and `--endpoint-url`.
    #[must_use]
    pub fn endpoint_url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Closes the door: no new connection is taken, requests under way have a second, and then
    /// every connection ends.
    pub async fn shut_down(mut self) {
        self.stop.send_replace(true);
        // It ends by itself, and a panic in it has been shown.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.task.abort();
    }
}

async fn accept(local: LocalAws, listener: TcpListener, stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let mut stop = stopped.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(converse(local.clone(), stream, stopped.clone()));
                }
                // Out of file descriptors, for instance: others may end meanwhile.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
            () = told(&mut stop) => break,
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, ended).await.is_err() {
        connections.shutdown().await;
    }
}

/// Waits for the end to be asked for, or for the server to be dropped.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|is_stopped| *is_stopped).await;
}

async fn converse(local: LocalAws, stream: TcpStream, mut stopped: watch::Receiver<bool>) {
    // Without it, small answers may wait; with it or not, they are right.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let local = local.clone();
        async move { answer(&local, request).await }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        // A connection that a client or a fault broke has nobody left to tell.
        _ = connection.as_mut() => return,
        () = told(&mut stopped) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// The connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is dropped, as the world's faults say")]
struct Dropped;

async fn answer(
    local: &LocalAws,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Dropped> {
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, MOST_BYTES).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => return Ok(too_large()),
        Err(_) => return Err(Dropped),
    };
    match local.exchange(Request::from_parts(head, body)).await {
        Exchange::Response(response) => Ok(response.map(Full::new)),
        Exchange::Dropped => Err(Dropped),
    }
}

fn too_large() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from("{\"__type\":\"RequestEntityTooLarge\"}"));
    *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
    response
}
