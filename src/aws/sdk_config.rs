//! The SDK's configuration, from the variables that Lambda sets and that every SDK of AWS reads.
//!
//! `aws-config` reads them, too, but also looks for profiles, containers and the metadata of
//! instances. A function on Lambda has none of those, yet would pay for them at each cold start.

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use aws_types::region::Region;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};

const AWS_ENDPOINT_URL: &str = "AWS_ENDPOINT_URL";

/// Which of a service's endpoints calls go to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Endpoints {
    /// Those with FIPS-validated cryptography; `AWS_USE_FIPS_ENDPOINT`.
    pub fips: bool,
    /// Those that speak IPv6, too; `AWS_USE_DUALSTACK_ENDPOINT`.
    pub dual_stack: bool,
    /// Never those that a variable names; `AWS_IGNORE_CONFIGURED_ENDPOINT_URLS`.
    pub never_named: bool,
}

/// The configuration that the process's environment asks for, on this HTTP client.
///
/// The SDK's retries and timeouts are off: there is one layer of both, [`crate::run::calls`], that knows
/// when a cancel may be repeated.
#[must_use]
pub fn from_environment(endpoints: Endpoints, http_client: SharedHttpClient) -> SdkConfig {
    let environment = Variables(|name| std::env::var(name).ok());
    read(environment, endpoints, http_client)
}

/// The endpoint that a variable names for this service, or for all.
#[must_use]
pub fn named_endpoint(config: &SdkConfig, service_id: &str) -> Option<String> {
    let key = ServiceConfigKey::builder()
        .service_id(service_id)
        .env(AWS_ENDPOINT_URL)
        .profile("endpoint_url")
        .build()
        .ok()?;
    config
        .service_config()
        .and_then(|services| services.load_config(key))
        .or_else(|| config.endpoint_url().map(str::to_owned))
}

fn read(variables: Variables, endpoints: Endpoints, http_client: SharedHttpClient) -> SdkConfig {
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(variables.region())
        .credentials_provider(SharedCredentialsProvider::new(variables))
        .http_client(http_client)
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::disabled())
        .use_fips(endpoints.fips)
        .use_dual_stack(endpoints.dual_stack);
    if !endpoints.never_named {
        config.set_endpoint_url(variables.value(AWS_ENDPOINT_URL));
        config.set_service_config(Some(variables));
    }
    config.build()
}

/// The [variables] that all SDKs share, each by its name; an empty one is as good as none.
///
/// [variables]: https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html
#[derive(Clone, Copy, Debug)]
struct Variables(fn(&str) -> Option<String>);

impl Variables {
    fn value(self, name: &str) -> Option<String> {
        self.0(name).filter(|value| !value.trim().is_empty())
    }

    fn region(self) -> Option<Region> {
        self.value("AWS_REGION")
            .or_else(|| self.value("AWS_DEFAULT_REGION"))
            .map(Region::new)
    }

    fn credentials(self) -> Result<Credentials, CredentialsError> {
        let needed = |name| {
            self.value(name).ok_or_else(|| {
                CredentialsError::not_loaded(format!(
                    "{name} is not set: Lambda sets it from the function's role; elsewhere, `aws configure export-credentials --format env` prints it"
                ))
            })
        };
        let mut credentials = Credentials::builder()
            .access_key_id(needed("AWS_ACCESS_KEY_ID")?)
            .secret_access_key(needed("AWS_SECRET_ACCESS_KEY")?)
            .provider_name("EnvironmentVariable");
        credentials.set_session_token(self.value("AWS_SESSION_TOKEN"));
        Ok(credentials.build())
    }
}

impl ProvideCredentials for Variables {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(self.credentials())
    }
}

/// What a variable says of one service alone: `AWS_ENDPOINT_URL_CLOUDFORMATION`.
impl LoadServiceConfig for Variables {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let service = key.service_id().to_ascii_uppercase().replace(' ', "_");
        self.value(&format!("{}_{service}", key.env()))
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::client::http::http_client_fn;

    use super::*;

    fn configured(variables: fn(&str) -> Option<String>) -> SdkConfig {
        with(Endpoints::default(), variables)
    }

    fn with(endpoints: Endpoints, variables: fn(&str) -> Option<String>) -> SdkConfig {
        let http_client = http_client_fn(|_, _| unreachable!("no call is made"));
        read(Variables(variables), endpoints, http_client)
    }

    #[test]
    fn a_service_goes_to_its_own_endpoint_before_that_of_all() {
        let config = configured(|name| match name {
            "AWS_ENDPOINT_URL" => Some("http://all".into()),
            "AWS_ENDPOINT_URL_PROTON" => Some("http://proton".into()),
            "AWS_ENDPOINT_URL_EVENTBRIDGE" => Some(String::new()),
            _ => None,
        });
        let endpoint = |service| named_endpoint(&config, service);
        assert_eq!(endpoint("Proton").as_deref(), Some("http://proton"));
        assert_eq!(endpoint("EventBridge").as_deref(), Some("http://all"));
        assert_eq!(endpoint("CloudFormation").as_deref(), Some("http://all"));
    }

    #[test]
    fn without_an_endpoint_or_told_to_ignore_it_none_is_named() {
        let named = |config| named_endpoint(&config, "Proton");
        assert_eq!(named(configured(|_| None)), None);
        assert_eq!(named(configured(|_| Some(" ".into()))), None);
        let never_named = Endpoints {
            never_named: true,
            ..Endpoints::default()
        };
        let ignored = with(never_named, |name| match name {
            "AWS_ENDPOINT_URL" | "AWS_ENDPOINT_URL_PROTON" => Some("http://proton".into()),
            _ => None,
        });
        assert_eq!(named(ignored), None);
    }

    #[test]
    fn the_region_is_lambdas_or_else_the_default_one() {
        let region = |variables| configured(variables).region().map(ToString::to_string);
        assert_eq!(region(|_| None), None);
        let both = region(|name| match name {
            "AWS_REGION" => Some("eu-west-1".into()),
            "AWS_DEFAULT_REGION" => Some("us-east-1".into()),
            _ => None,
        });
        assert_eq!(both.as_deref(), Some("eu-west-1"));
        let default = region(|name| match name {
            "AWS_REGION" => Some(String::new()),
            "AWS_DEFAULT_REGION" => Some("us-east-1".into()),
            _ => None,
        });
        assert_eq!(default.as_deref(), Some("us-east-1"));
    }

    #[test]
    fn credentials_are_the_key_its_secret_and_the_sessions_token() {
        let credentials = Variables(|name| match name {
            "AWS_ACCESS_KEY_ID" => Some("AKID".into()),
            "AWS_SECRET_ACCESS_KEY" => Some("secret".into()),
            "AWS_SESSION_TOKEN" => Some("token".into()),
            _ => None,
        })
        .credentials()
        .unwrap();
        assert_eq!(credentials.access_key_id(), "AKID");
        assert_eq!(credentials.secret_access_key(), "secret");
        assert_eq!(credentials.session_token(), Some("token"));
    }
}
