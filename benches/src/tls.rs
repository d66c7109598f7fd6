//! A TLS server in front of the local AWS, and a client that measures its handshake.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use test_support::tls::{Authority, TlsServer};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

const HOST: &str = "localhost";

/// A TLS server, the certificate bundle that trusts it, and a client.
pub(crate) struct TlsDoor {
    server: TlsServer,
    bundle: PathBuf,
    connector: TlsConnector,
}

impl TlsDoor {
    pub(crate) async fn open(address: String, folder: &Path) -> Result<Self> {
        let authority = Authority::new("benchmarks");
        let server = TlsServer::start(address, &authority, HOST).await;
        let mut authorities = RootCertStore::empty();
        authorities.add(authority.certificate())?;
        let provider = Arc::new(crypto::ring::default_provider());
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(authorities)
            .with_no_client_auth();
        // No session tickets: every handshake is a whole one.
        client.resumption = Resumption::disabled();
        let bundle = folder.join(format!("certificate-{}.pem", server.port()));
        std::fs::write(&bundle, authority.certificate_pem())?;
        Ok(Self {
            server,
            bundle,
            connector: TlsConnector::from(Arc::new(client)),
        })
    }

    /// The variables with which a function calls the server.
    pub(crate) fn variables(&self) -> [(String, String); 2] {
        let bundle = self.bundle.display().to_string();
        [
            ("AWS_ENDPOINT_URL".to_owned(), self.server.url()),
            ("AWS_CA_BUNDLE".to_owned(), bundle),
        ]
    }

    /// Measures one TCP connection with one TLS handshake.
    pub(crate) async fn handshake(&self) -> Result<Duration> {
        let begun = Instant::now();
        let stream = TcpStream::connect((HOST, self.server.port())).await?;
        stream.set_nodelay(true)?;
        self.connector
            .connect(ServerName::try_from(HOST)?, stream)
            .await
            .context("the TLS handshake failed")?;
        Ok(begun.elapsed())
    }
}

impl Drop for TlsDoor {
    fn drop(&mut self) {
        // A file that stays lies in a folder of its own in the target directory.
        let _ = std::fs::remove_file(&self.bundle);
    }
}
