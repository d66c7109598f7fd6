//! The HTTP server: HTTP/1.1 on a TCP port.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::local_aws::{Exchange, LocalAws};

/// The largest request, in bytes: more than any service accepts.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// The time for requests that are under way at a shutdown.
const GRACE: Duration = Duration::from_secs(1);

impl LocalAws {
    /// Serves HTTP on a listener. Must be called within a tokio runtime.
    #[must_use]
    pub fn serve(&self, listener: TcpListener) -> Server {
        Server::start(self.clone(), listener)
    }
}

/// The HTTP server. Dropping the value closes it.
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

    /// Returns the address, such as `127.0.0.1:4599`.
    #[must_use]
    pub fn address(&self) -> String {
        self.address
            .map(|address| address.to_string())
            .unwrap_or_default()
    }

    /// Returns the URL for `AWS_ENDPOINT_URL` and `--endpoint-url`.
    #[must_use]
    pub fn endpoint_url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Shuts the server down: it accepts no new connection, and ends every connection after a second for
    /// requests under way.
    pub async fn shut_down(mut self) {
        self.stop.send_replace(true);
        // The task ends by itself; a panic in it has been printed.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.task.abort();
    }
}

async fn accept(local: LocalAws, listener: TcpListener, mut stop: watch::Receiver<bool>) {
    let (graceful, mut connections) = (GracefulShutdown::new(), JoinSet::new());
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let connection = graceful.watch(connection(local.clone(), stream));
                    // Nobody is left to report a broken connection to.
                    connections.spawn(connection);
                }
                // Out of file descriptors, for instance: others may end meanwhile.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
            () = stopping(&mut stop) => break,
        }
    }
    drop(listener);
    if tokio::time::timeout(GRACE, graceful.shutdown())
        .await
        .is_err()
    {
        connections.shutdown().await;
    }
}

fn connection(local: LocalAws, stream: TcpStream) -> impl GracefulConnection<Error: Send> + Send {
    // A failure only delays small responses.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let local = local.clone();
        async move { answer(&local, request).await }
    });
    http1::Builder::new().serve_connection(TokioIo::new(stream), service)
}

/// Waits for a shutdown, or until the server is dropped.
async fn stopping(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|is_stopped| *is_stopped).await;
}

/// A connection that ends without a response.
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
