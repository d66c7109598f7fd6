//! The SDK's own HTTP client with its defaults: aws-lc, the system's root certificates, and no
//! connection before the first call. The plain build has this file in place of the function's.

use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, tls};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use http::Uri;
use rustls::RootCertStore;

pub struct Transport(SharedHttpClient);

impl Transport {
    pub fn new(_: Option<RootCertStore>) -> Result<Self, rustls::Error> {
        let provider = tls::Provider::Rustls(CryptoMode::AwsLc);
        Ok(Self(Builder::new().tls_provider(provider).build_https()))
    }

    pub fn http_client(&self) -> SharedHttpClient {
        self.0.clone()
    }

    pub fn connect_early(&self, _: &Uri) {}
}
