//! The in-process client: an HTTP client for the SDK that calls the core, on tokio's time.

use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http_body_util::BodyExt;

use crate::local_aws::{Exchange, LocalAws};

impl LocalAws {
    /// Returns an HTTP client for the SDK whose every request this local AWS answers in process.
    #[must_use]
    pub fn http_client(&self) -> SharedHttpClient {
        SharedHttpClient::new(InProcess::new(self.clone()))
    }
}

/// A client whose every connection leads to the local AWS.
#[derive(Clone, Debug)]
pub(crate) struct InProcess {
    local: LocalAws,
    read_timeout: Option<Duration>,
}

impl InProcess {
    pub(crate) fn new(local: LocalAws) -> Self {
        Self {
            local,
            read_timeout: None,
        }
    }

    async fn exchange(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let request = request
            .try_into_http1x()
            .map_err(|error| ConnectorError::user(error.into()))?;
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(ConnectorError::user)?;
        let request = http::Request::from_parts(head, body.to_bytes());
        let exchange = self.local.exchange(request);
        let exchange = match self.read_timeout {
            None => exchange.await,
            Some(timeout) => tokio::time::timeout(timeout, exchange)
                .await
                .map_err(|error| ConnectorError::timeout(error.into()))?,
        };
        match exchange {
            Exchange::Response(response) => response
                .map(SdkBody::from)
                .try_into()
                .map_err(|error| ConnectorError::other(Box::new(error), None)),
            Exchange::Dropped => Err(ConnectorError::io(
                "the connection was dropped before an answer came".into(),
            )),
        }
    }
}

impl HttpConnector for InProcess {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().exchange(request))
    }
}

impl HttpClient for InProcess {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Self {
            local: self.local.clone(),
            read_timeout: settings.read_timeout(),
        })
    }
}
