//! The endpoint of a service, known before the first call.

use aws_types::SdkConfig;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use http::Uri;
use http::uri::Authority;

/// Reads an endpoint's URL. `None` if the text is not an `http` or `https` URL.
#[must_use]
pub(crate) fn parse(text: &str) -> Option<Uri> {
    text.parse().ok().filter(|address: &Uri| {
        address.authority().is_some_and(has_host_and_port)
            && matches!(address.scheme_str(), Some("http" | "https"))
    })
}

/// True if there is a host, and the port, if there is one, is a number. `Uri` takes any other port for none,
/// and a call would go to the scheme's port.
fn has_host_and_port(authority: &Authority) -> bool {
    let host = authority.host();
    let address = authority.as_str().rsplit('@').next();
    let port = address.and_then(|address| address.strip_prefix(host));
    !host.is_empty() && (matches!(port, Some("" | ":")) || authority.port().is_some())
}

/// Makes an empty `AWS_ENDPOINT_URL` and its like mean the default, as empty variables do everywhere
/// in this function. The SDK takes an empty variable for an endpoint, which no call can reach.
#[must_use]
pub(crate) fn without_empty(config: SdkConfig) -> SdkConfig {
    #[derive(Debug)]
    struct WithoutEmpty(SdkConfig);

    impl LoadServiceConfig for WithoutEmpty {
        fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
            let services = self.0.service_config()?;
            services.load_config(key).filter(|url| !url.is_empty())
        }
    }

    let builder = config.clone().into_builder();
    builder.service_config(WithoutEmpty(config)).build()
}

/// Returns the endpoint that a variable or the profile names for this service, or for all services.
#[must_use]
pub(crate) fn configured(config: &SdkConfig, service_id: &str) -> Option<String> {
    let key = ServiceConfigKey::builder()
        .service_id(service_id)
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build()
        .ok()?;
    config
        .service_config()
        .and_then(|services| services.load_config(key))
        .or_else(|| config.endpoint_url().map(str::to_owned))
}

/// Returns the URL of the service's endpoint: the configured one, or else the SDK's endpoint for the
/// region. This is a macro because each SDK has its own resolver types.
macro_rules! of {
    ($config:expr, $service_id:literal, $sdk:ident) => {{
        use $sdk::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};

        let config: &aws_types::SdkConfig = $config;
        match $crate::aws::endpoint::configured(config, $service_id) {
            Some(endpoint) => Some(endpoint),
            None => {
                let parameters = Params::builder()
                    .set_region(config.region().map(ToString::to_string))
                    .set_use_fips(config.use_fips())
                    .set_use_dual_stack(config.use_dual_stack())
                    .build()
                    .ok()?;
                let endpoint = DefaultResolver::new().resolve_endpoint(&parameters).await;
                endpoint.ok().map(|endpoint| endpoint.url().to_owned())
            }
        }
    }};
}
pub(crate) use of;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_an_http_or_https_url_with_a_host() {
        for good in [
            "http://127.0.0.1:4566",
            "http://[::1]:4566",
            "https://proton.example.com",
            "https://proton.example.com:/",
            "https://user:4566@proton.example.com",
            "https://vpce-1.example.com/proton",
        ] {
            assert!(parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            " ",
            "nowhere",
            "localhost:4566",
            "ftp://proton.example.com",
            "https://",
            "https:///proton",
            "http://a b",
            "/proton",
            "http://127.0.0.1:45660000",
            "http://127.0.0.1:proton",
            "http://127.0.0.1:4566:4567",
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
