//! The SDK's own configuration, as it comes: profiles, SSO, containers, instances.

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_types::SdkConfig;
use futures_util::FutureExt as _;

#[derive(Clone, Copy, Debug, Default)]
pub struct Endpoints {
    pub fips: bool,
    pub dual_stack: bool,
    pub never_named: bool,
}

pub fn from_environment(_: Endpoints, http_client: SharedHttpClient) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client)
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::disabled())
        .load()
        // With region and credentials in variables there is nothing to wait for.
        .now_or_never()
        .expect("the configuration is in variables")
}

pub fn named_endpoint(_: &SdkConfig, _: &str) -> Option<String> {
    None
}
