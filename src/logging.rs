//! Structured logs on standard output, in the format and at the level that Lambda sets.
//!
//! See [advanced logging controls][controls]. The level applies to this crate's own lines. The SDK and the
//! runtime log at `WARN` or above only, because their other lines show requests and payloads.
//!
//! [controls]: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-advanced.html

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::invocation_error::PANIC;

/// Starts logging by `AWS_LAMBDA_LOG_FORMAT` and `AWS_LAMBDA_LOG_LEVEL`. Panics are logged, too.
pub fn start() {
    let format = std::env::var("AWS_LAMBDA_LOG_FORMAT").unwrap_or_default();
    let level = level(&std::env::var("AWS_LAMBDA_LOG_LEVEL").unwrap_or_default());
    let targets = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target(env!("CARGO_CRATE_NAME"), level)
        // This layer logs the same panics again, without the request ID.
        .with_target("lambda_runtime::layers::panic", LevelFilter::OFF)
        // After a transient error, this module logs an error because the connector is not the SDK's own.
        .with_target(
            "aws_smithy_runtime::client::http::connection_poisoning",
            LevelFilter::OFF,
        );
    let lines = tracing_subscriber::fmt::layer().with_target(false);
    let registry = tracing_subscriber::registry();
    // If a subscriber is set already, it stays.
    let _ = if format.eq_ignore_ascii_case("json") {
        let json = lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false);
        registry.with(json.with_filter(targets)).try_init()
    } else {
        let text = lines.with_ansi(false).without_time();
        registry.with(text.with_filter(targets)).try_init()
    };
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(
            errorType = PANIC,
            panic = panic.to_string(),
            "the function panicked: report this as a bug"
        );
    }));
}

/// Returns Lambda's level as a level of tracing. Without one, `INFO`.
fn level(name: &str) -> LevelFilter {
    match name.to_ascii_uppercase().as_str() {
        "TRACE" => LevelFilter::TRACE,
        "DEBUG" => LevelFilter::DEBUG,
        "WARN" => LevelFilter::WARN,
        "ERROR" | "FATAL" => LevelFilter::ERROR,
        _ => LevelFilter::INFO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_of_lambda() {
        assert_eq!(level("DEBUG"), LevelFilter::DEBUG);
        assert_eq!(level("warn"), LevelFilter::WARN);
        assert_eq!(level("FATAL"), LevelFilter::ERROR);
        assert_eq!(level(""), LevelFilter::INFO);
        assert_eq!(level("loud"), LevelFilter::INFO);
    }
}
