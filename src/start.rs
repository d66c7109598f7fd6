//! Starting: from settings to clients, and a word to Lambda where that fails.

use std::time::Duration;

use http::Uri;
use http::header::{HeaderName, HeaderValue};
use lambda_runtime::Diagnostic;
use lambda_runtime_api_client::{BoxError, PooledClient, body::Body, build_request};

use crate::aws::sdk_config;
use crate::aws::transport::Transport;
use crate::engine::{CloudFormation, Engine, EngineKind, Proton};
use crate::handler::Handler;
use crate::report::event_bridge::EventBridge;
use crate::report::metrics;
use crate::settings::{BadSettings, Settings};

/// How long Lambda may take to hear of a failed start.
const REPORT_TIMEOUT: Duration = Duration::from_secs(2);

/// How often others get their turn before the clients are made. The request for the first event takes
/// about half of them: to connect, which is within the machine, to hand over and to write.
const STEPS_TO_THE_FIRST_REQUEST: usize = 8;

/// Why the function does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Settings that cannot be used.
    #[error("bad settings: {0}")]
    Settings(#[from] BadSettings),
    /// The process was not started by Lambda, or by something that stands in for it.
    #[error(
        "{0} is not set: this program runs under AWS Lambda; to try it here, run `cargo local events/alarm.json`"
    )]
    NotUnderLambda(&'static str),
    /// An endpoint that leads nowhere.
    #[error(
        "the endpoint `{0}` cannot be used: `AWS_ENDPOINT_URL` and its like must be URLs, such as `https://proton.example.com`"
    )]
    Endpoint(String),
    /// The TLS library does not work.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

impl StartError {
    /// The type that Lambda reports.
    fn error_type(&self) -> &'static str {
        match self {
            Self::Settings(_) => "BadSettings",
            Self::NotUnderLambda(_) => "NotUnderLambda",
            Self::Endpoint(_) => "BadEndpoint",
            Self::Tls(_) => "TlsUnusable",
        }
    }
}

/// Reads the settings, and checks that Lambda started the process.
pub fn settings() -> Result<Settings, StartError> {
    let settings = Settings::from_environment()?;
    under_lambda()?;
    Ok(settings)
}

/// Makes the clients as [`handler`] does, once the request for the first event is on its way: it is
/// what Lambda waits for, and this thread's time would be in its way.
pub async fn handler_once_asked(settings: Settings) -> Result<Handler, StartError> {
    for _ in 0..STEPS_TO_THE_FIRST_REQUEST {
        tokio::task::yield_now().await;
    }
    handler(settings).await
}

/// Makes the clients. Connections are started, but no call is made yet.
pub async fn handler(mut settings: Settings) -> Result<Handler, StartError> {
    let transport = Transport::new(settings.certificate_authorities.take())?;
    let config = sdk_config::from_environment(settings.endpoints, transport.http_client());
    let engine_endpoint = match settings.engine {
        EngineKind::Proton => Proton::endpoint(&config).await,
        EngineKind::CloudFormation => CloudFormation::endpoint(&config).await,
    };
    let endpoints = [engine_endpoint, EventBridge::endpoint(&config).await];
    for endpoint in endpoints.into_iter().flatten() {
        transport.connect_early(&address(endpoint)?);
    }
    Ok(Handler {
        engine: match settings.engine {
            EngineKind::Proton => Engine::Proton(Proton::new(&config)),
            EngineKind::CloudFormation => Engine::CloudFormation(CloudFormation::new(&config)),
        },
        event_bridge: EventBridge::new(&config, &settings.event_bus),
        metrics: metrics::to_standard_output,
        settings,
    })
}

fn address(endpoint: String) -> Result<Uri, StartError> {
    endpoint
        .parse()
        .ok()
        .filter(|address: &Uri| {
            address.host().is_some() && matches!(address.scheme_str(), Some("http" | "https"))
        })
        .ok_or(StartError::Endpoint(endpoint))
}

/// The variables without which the Lambda runtime panics.
fn under_lambda() -> Result<(), StartError> {
    let needed = [
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_VERSION",
    ];
    match needed
        .into_iter()
        .find(|name| std::env::var_os(name).is_none())
    {
        Some(missing) => Err(StartError::NotUnderLambda(missing)),
        None => Ok(()),
    }
}

impl From<&StartError> for Diagnostic {
    fn from(error: &StartError) -> Self {
        Self {
            error_type: error.error_type().to_owned(),
            error_message: error.to_string(),
        }
    }
}

/// Tells Lambda why the function does not start, by the [Runtime API].
///
/// [Runtime API]: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html#runtimes-api-initerror
pub async fn report(error: &StartError) {
    if let Err(error) = tokio::time::timeout(REPORT_TIMEOUT, post(error))
        .await
        .unwrap_or_else(|late| Err(late.into()))
    {
        tracing::warn!(
            error = error.to_string(),
            "Lambda could not be told of the failed start"
        );
    }
}

async fn post(error: &StartError) -> Result<(), BoxError> {
    const ERROR_TYPE: HeaderName = HeaderName::from_static("lambda-runtime-function-error-type");
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        return Ok(());
    }
    let request = build_request()
        .method(http::Method::POST)
        .uri("/2018-06-01/runtime/init/error")
        .header(ERROR_TYPE, HeaderValue::from_static(error.error_type()))
        .body(Body::from(serde_json::to_vec(&Diagnostic::from(error))?))?;
    PooledClient::builder().build().call(request).await?;
    Ok(())
}
