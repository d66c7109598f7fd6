//! The reply of the core.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::Value;

use crate::core::call::Answer;
use crate::faults::Fault;
use crate::runtime_api::Invocation;
use crate::wire;
use crate::wire::error::ServiceError;
use crate::wire::operation::Operation;

/// The instruction to the HTTP server or the in-process client.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Send this response after a pause.
    Response(Response<Bytes>, Duration),
    /// Drop the connection after a pause.
    Drop(Duration),
    /// Leave the connection open and send nothing.
    Never,
    /// Send this response; the state of an invocation has changed.
    Changed(Response<Bytes>),
    /// Wait for an event for the function.
    NextEvent,
    /// Hand this event to the function, and wait for its end.
    Invoke(Bytes, Invocation),
    /// Hand this event to the function, and do not wait.
    InvokeLater(Bytes),
}

impl Reply {
    /// Returns the reply to a call, and its record. The result is `None` for a call without an effect.
    pub(crate) fn new(
        operation: Operation,
        injected: Option<Fault>,
        result: Option<Result<Value, ServiceError>>,
        latency: Duration,
        request_id: &str,
    ) -> (Answer, Self) {
        let of_error =
            |error: &ServiceError| wire::error_response(operation.service(), error, request_id);
        let of_output = |output: &Value| wire::response(operation, output, request_id);
        let (answer, response) = match (injected, result) {
            (Some(Fault::Cut { before }), Some(result)) => {
                let whole = match result {
                    Ok(output) => of_output(&output),
                    Err(error) => of_error(&error),
                };
                (Answer::Cut, whole.map(|body| cut(&body, before.as_bytes())))
            }
            (
                Some(Fault::Error {
                    code,
                    message,
                    status,
                }),
                _,
            ) => {
                let error = ServiceError::new(code, message);
                let status = status.unwrap_or(error.status);
                let error = error.status(status);
                (Answer::Error(error.code.to_string()), of_error(&error))
            }
            (None | Some(Fault::Latency(_)), Some(Err(error))) => {
                (Answer::Error(error.code.to_string()), of_error(&error))
            }
            (Some(Fault::Junk { status, body }), _) => {
                let mut response = Response::new(Bytes::from(body));
                *response.status_mut() =
                    StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
                (Answer::Junk(status), response)
            }
            (Some(Fault::Drop), None) => {
                return (Answer::DroppedBefore, Self::Drop(latency));
            }
            (Some(Fault::Drop), Some(_)) => {
                return (Answer::DroppedAfter, Self::Drop(latency));
            }
            (Some(Fault::Never | Fault::Cut { .. }), _)
            | (None | Some(Fault::Latency(_)), None) => {
                return (Answer::Never, Self::Never);
            }
            (None | Some(Fault::Latency(_)), Some(Ok(output))) => (Answer::Ok, of_output(&output)),
        };
        (answer, Self::Response(response, latency))
    }
}

/// Returns a reply without a pause.
pub(crate) fn at_once(response: Response<Bytes>) -> Reply {
    Reply::Response(response, Duration::ZERO)
}

/// Returns the part of a body before this text.
fn cut(body: &Bytes, before: &[u8]) -> Bytes {
    let found = body
        .windows(before.len().max(1))
        .position(|window| window == before);
    body.slice(..found.unwrap_or(body.len()))
}
