//! The start of the process: settings, clients, and the report to Lambda if the start fails.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::environment::{
    EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider,
};
use aws_config::meta::region::ProvideRegion as _;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_types::SdkConfig;
use futures_util::FutureExt as _;
use http::header::{HeaderName, HeaderValue};
use lambda_runtime::Diagnostic;
use lambda_runtime_api_client::{BoxError, PooledClient, body::Body, build_request};

use crate::aws::endpoint;
use crate::aws::transport::Transport;
use crate::engine::{CloudFormation, Engine, EngineKind, Proton};
use crate::handler::Handler;
use crate::invocation_error::PANIC;
use crate::report::event_bridge::EventBridge;
use crate::report::metrics;
use crate::settings::{BadSettings, Settings};

/// The timeout of the report of a failed start to Lambda.
const REPORT_TIMEOUT: Duration = Duration::from_secs(2);

/// The number of yields to other tasks before the clients are made. The request for the first event
/// needs about half of these yields, to connect and to write.
const STEPS_TO_THE_FIRST_REQUEST: usize = 8;

/// A reason why the function does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Some settings are invalid.
    #[error("bad settings: {0}")]
    Settings(#[from] BadSettings),
    /// The process was not started by Lambda or an emulator of Lambda.
    #[error(
        "{0} is not set: this program runs under AWS Lambda; to try it here, run `cargo local events/alarm.json`"
    )]
    NotUnderLambda(&'static str),
    /// An endpoint of the AWS profile is not a URL. Endpoints in variables are checked with the settings.
    #[error(
        "invalid endpoint `{0}`: set `endpoint_url` of the AWS profile to an `http` or `https` URL, such as `https://proton.example.com`"
    )]
    Endpoint(String),
    /// TLS could not be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The start panicked.
    #[error("the function panicked while it started: report this as a bug")]
    Panic,
}

impl StartError {
    /// Returns the type that Lambda reports.
    #[must_use]
    pub(crate) fn error_type(&self) -> &'static str {
        match self {
            Self::Settings(_) => "BadSettings",
            Self::NotUnderLambda(_) => "NotUnderLambda",
            Self::Endpoint(_) => "BadEndpoint",
            Self::Tls(_) => "TlsUnusable",
            Self::Panic => PANIC,
        }
    }
}

/// Reads the settings, and checks that Lambda started the process.
pub fn settings() -> Result<Settings, StartError> {
    let settings = Settings::from_environment()?;
    under_lambda()?;
    Ok(settings)
}

/// Makes the clients as [`handler`] does, but after the request for the first event is sent. Lambda waits
/// for that request, and making the clients would delay it.
///
/// If the clients cannot be made, the error is logged, and every event gets it as response.
pub async fn handler_once_asked(settings: Settings) -> Result<Handler, StartError> {
    for _ in 0..STEPS_TO_THE_FIRST_REQUEST {
        tokio::task::yield_now().await;
    }
    let started = AssertUnwindSafe(handler(settings)).catch_unwind().await;
    started.unwrap_or(Err(StartError::Panic)).inspect_err(log)
}

/// Logs why the function does not start.
pub fn log(error: &StartError) {
    tracing::error!(
        errorType = error.error_type(),
        error = error.to_string(),
        "the function does not start"
    );
}

/// Returns the configuration from the SDK's own variables and shared files.
///
/// The SDK's retries and timeouts are off. Only [`crate::run`] retries, because it knows when a cancel may
/// be repeated.
async fn sdk_config(transport: &Transport) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(transport.http_client())
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::disabled())
        // It gives up a slow response after 20 seconds, the run after five.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    // The default chains begin with these variables, which Lambda sets. If they are set, the rest of the
    // chains is not built: the clients of STS and of the instance metadata take memory and time.
    if let Some(region) = EnvironmentVariableRegionProvider::new().region().await {
        loader = loader.region(region);
    }
    let variables = EnvironmentVariableCredentialsProvider::new();
    if variables.provide_credentials().await.is_ok() {
        loader = loader.credentials_provider(variables);
    }
    // Boxed, because the future is large and the task that it is part of is moved.
    endpoint::without_empty(Box::pin(loader.load()).await)
}

/// Makes the clients. Connections are started, but no call is made yet.
pub(crate) async fn handler(mut settings: Settings) -> Result<Handler, StartError> {
    let transport = Transport::new(settings.certificate_authorities.take())?;
    let config = sdk_config(&transport).await;
    let engine_endpoint = match settings.engine {
        EngineKind::Proton => Proton::endpoint(&config).await,
        EngineKind::CloudFormation => CloudFormation::endpoint(&config).await,
    };
    let endpoints = [engine_endpoint, EventBridge::endpoint(&config).await];
    for endpoint in endpoints.into_iter().flatten() {
        transport.connect_early(&endpoint::parse(&endpoint).ok_or(StartError::Endpoint(endpoint))?);
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

/// Checks the variables without which the Lambda runtime panics.
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

/// Reports to Lambda why the function does not start, through the [Runtime API].
///
/// [Runtime API]: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html#runtimes-api-initerror
pub async fn report(error: &StartError) {
    if let Err(error) = tokio::time::timeout(REPORT_TIMEOUT, post(error))
        .await
        .unwrap_or_else(|late| Err(late.into()))
    {
        tracing::warn!(
            error = error.to_string(),
            "the failed start could not be reported to Lambda"
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
