//! The program that Lambda starts.

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;

use futures_util::FutureExt as _;
use lambda_runtime::{Diagnostic, LambdaEvent, Runtime, service_fn};
use proton_canceller::handler::{self, Invocation};
use proton_canceller::invocation_error::{self, RUNTIME_ENDED};
use proton_canceller::logging;
use proton_canceller::payload::{self, KeepBytes};
use proton_canceller::settings::Settings;
use proton_canceller::start::{self, StartError};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    logging::start();
    let settings = match start::settings() {
        Ok(settings) => settings,
        Err(error) => {
            start::log(&error);
            start::report(&error).await;
            return ExitCode::FAILURE;
        }
    };
    match serve(settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(errorType = RUNTIME_ENDED, error, "the Lambda runtime ended");
            ExitCode::FAILURE
        }
    }
}

async fn serve(settings: Settings) -> Result<(), lambda_runtime::Error> {
    // The clients are made while the runtime requests the first event.
    let starting = tokio::spawn(start::handler_once_asked(settings))
        .map(|started| Arc::new(started.unwrap_or(Err(StartError::Panic))))
        .shared();
    let service = service_fn(async |event: LambdaEvent<()>| {
        let started = starting.clone().await;
        let handler = match &*started {
            Ok(handler) => handler,
            Err(error) => {
                let request_id = event.context.request_id.as_str();
                let _span = tracing::error_span!("run", requestId = request_id).entered();
                start::log(error);
                return Err(Diagnostic::from(error));
            }
        };
        let now = handler::system_time();
        let invocation = Invocation {
            payload: &payload::bytes(),
            request_id: &event.context.request_id,
            function_name: &event.context.env_config.function_name,
            deadline: handler::deadline(event.context.deadline, now),
            now,
        };
        // Boxed: the whole run is one deeply nested future.
        let handling = AssertUnwindSafe(Box::pin(handler.handle(invocation)));
        match handling.catch_unwind().await {
            Ok(answer) => answer.map_err(Diagnostic::from),
            Err(panic) => Err(invocation_error::panicked(panic.as_ref())),
        }
    });
    Runtime::new(service).layer(KeepBytes).run().await
}
