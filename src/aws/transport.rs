//! The HTTPS connection to AWS: one pool for every client of the SDK.
//!
//! The SDK's own connector reads the system's root certificates and is built twice for each client.
//! This connector is built once, with roots that are compiled in or those of `AWS_CA_BUNDLE`. So a cold
//! start reads no certificates, and connections can be made before the first call.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use aws_smithy_runtime_api::client::http::{
    HttpConnector as SdkConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector,
    http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::{CipherSuite, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tower::Service;

use super::resolver::Resolver;

/// The timeout of a TCP connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The time for which an idle connection is kept. Services close idle connections after about a minute.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// The size of a connection's read buffer, in bytes, which is also the most that the head of a response may
/// have. The default buffer begins with twice as much and grows, and every connection keeps one or two.
const READ_BUFFER: usize = 4096;

/// Returns the default root certificates: Mozilla's.
fn usual_authorities() -> RootCertStore {
    RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    }
}

/// The connections to AWS.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    client: SharedHttpClient,
    connector: Connector,
}

impl Transport {
    /// Makes connections that trust these authorities, or the default ones.
    ///
    /// The caller has the timeouts and retries: see [`crate::run`].
    pub(crate) fn new(authorities: Option<RootCertStore>) -> Result<Self, rustls::Error> {
        let mut provider = rustls::crypto::ring::default_provider();
        // The cipher suite that processors have instructions for comes first.
        provider
            .cipher_suites
            .sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
        let tls = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(authorities.unwrap_or_else(usual_authorities))
            .with_no_client_auth();
        let mut tcp = TcpConnector::new_with_resolver(Resolver::new());
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let connector = Connector {
            https,
            early: Arc::default(),
        };
        let pool = Pool(
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_TIMEOUT)
                .http1_read_buf_exact_size(READ_BUFFER)
                .build(connector.clone()),
        );
        let pool = SharedHttpConnector::new(pool);
        Ok(Self {
            client: http_client_fn(move |_, _| pool.clone()),
            connector,
        })
    }

    /// Returns the HTTP client that all clients of the SDK share.
    #[must_use]
    pub(crate) fn http_client(&self) -> SharedHttpClient {
        self.client.clone()
    }

    /// Starts a TCP and TLS connection for the first call to this address. Sends nothing and waits for
    /// nothing. If the connection fails, the call makes its own.
    pub(crate) fn connect_early(&self, address: &Uri) {
        let mut https = self.connector.https.clone();
        let connection = https.call(address.clone());
        let early = Early {
            connecting: tokio::spawn(async move { connection.await.ok() }),
            since: SystemTime::now(),
        };
        self.connector.with_early(|all| {
            all.entry(origin(address)).or_default().push(early);
        });
    }
}

#[derive(Debug)]
struct Pool(Client<Connector, Box<SdkBody>>);

impl SdkConnector for Pool {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => {
                return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into())));
            }
        };
        // Boxed: every connection has a queue with room for 32 requests.
        let response = self.0.request(request.map(Box::new));
        HttpConnectorFuture::new(async move {
            match response.await {
                Ok(response) => HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
                    .map_err(|error| ConnectorError::other(error.into(), None)),
                Err(error) => Err(ConnectorError::io(error.into())),
            }
        })
    }
}

/// TCP connections, by host name.
type TcpConnector = HttpConnector<Resolver>;

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A connector that uses a connection that was started early, if there is one.
#[derive(Clone)]
struct Connector {
    https: HttpsConnector<TcpConnector>,
    early: Arc<Mutex<HashMap<Origin, Vec<Early>>>>,
}

/// The scheme, host and port of an address.
type Origin = (Option<http::uri::Scheme>, Option<http::uri::Authority>);

fn origin(address: &Uri) -> Origin {
    (address.scheme().cloned(), address.authority().cloned())
}

/// A connection that was started early.
#[derive(Debug)]
struct Early {
    connecting: JoinHandle<Option<Stream>>,
    /// When the connection was started, by the system's clock: the monotonic clock may stop while the
    /// function is frozen.
    since: SystemTime,
}

impl Early {
    fn is_fresh(&self) -> bool {
        self.since.elapsed().is_ok_and(|age| age < IDLE_TIMEOUT / 2)
    }
}

impl Connector {
    fn with_early<T>(&self, change: impl FnOnce(&mut HashMap<Origin, Vec<Early>>) -> T) -> T {
        change(&mut self.early.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Connector").finish_non_exhaustive()
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.https.poll_ready(context)
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        let early = self.with_early(|all| all.get_mut(&origin(&address))?.pop());
        let Some(early) = early.filter(Early::is_fresh) else {
            return self.https.call(address);
        };
        let mut https = self.https.clone();
        Box::pin(async move {
            match early.connecting.await {
                Ok(Some(stream)) => Ok(stream),
                Ok(None) | Err(_) => https.call(address).await,
            }
        })
    }
}
