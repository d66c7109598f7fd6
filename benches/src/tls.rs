//! A door with TLS before the local AWS.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rcgen::CertifiedKey;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig, crypto};
use tokio_rustls::{TlsAcceptor, TlsConnector};

const NAME: &str = "localhost";

/// What comes through it goes on to another address.
pub(crate) struct TlsDoor {
    port: u16,
    bundle: PathBuf,
    connector: TlsConnector,
    task: JoinHandle<()>,
}

impl TlsDoor {
    pub(crate) async fn open(address: String, folder: &Path) -> Result<Self> {
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed([NAME.to_owned()])?;
        let provider = Arc::new(crypto::ring::default_provider());
        let key = PrivateKeyDer::try_from(signing_key.serialize_der())
            .map_err(|why| anyhow::anyhow!("{why}"))?;
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));

        let mut authorities = RootCertStore::empty();
        authorities.add(cert.der().clone())?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(authorities)
            .with_no_client_auth();

        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let bundle = folder.join(format!("certificate-{port}.pem"));
        std::fs::write(&bundle, cert.pem())?;
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(acceptor.clone(), stream, address.clone()));
            }
        });
        Ok(Self {
            port,
            bundle,
            connector: TlsConnector::from(Arc::new(client)),
            task,
        })
    }

    /// The variables that lead a function through the door.
    pub(crate) fn variables(&self) -> [(String, String); 2] {
        [
            (
                "AWS_ENDPOINT_URL".to_owned(),
                format!("https://{NAME}:{}", self.port),
            ),
            (
                "AWS_CA_BUNDLE".to_owned(),
                self.bundle.display().to_string(),
            ),
        ]
    }

    /// How long one TCP connection with one TLS handshake takes, without session tickets.
    pub(crate) async fn handshake(&self) -> Result<Duration> {
        let mut config = ClientConfig::clone(self.connector.config());
        config.resumption = tokio_rustls::rustls::client::Resumption::disabled();
        let connector = TlsConnector::from(Arc::new(config));
        let begun = Instant::now();
        let stream = TcpStream::connect((NAME, self.port)).await?;
        stream.set_nodelay(true)?;
        connector
            .connect(ServerName::try_from(NAME)?, stream)
            .await
            .context("the handshake fails")?;
        Ok(begun.elapsed())
    }
}

impl Drop for TlsDoor {
    fn drop(&mut self) {
        self.task.abort();
        // What is left lies in a folder of its own in the target directory.
        let _ = std::fs::remove_file(&self.bundle);
    }
}

/// A client may end the conversation at any time; that is its right.
async fn converse(acceptor: TlsAcceptor, stream: TcpStream, address: String) {
    let _ = stream.set_nodelay(true);
    let Ok(mut client) = acceptor.accept(stream).await else {
        return;
    };
    let Ok(mut server) = TcpStream::connect(address).await else {
        return;
    };
    let _ = server.set_nodelay(true);
    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
}
