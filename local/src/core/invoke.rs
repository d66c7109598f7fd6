//! Lambda's `Invoke`.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode};
use serde_json::json;

use crate::core::reply::{Reply, at_once};
use crate::runtime_api::Invocation;
use crate::wire::response;

/// The largest event that Lambda accepts, in bytes.
const MOST_EVENT_BYTES: usize = 6 * 1024 * 1024;

/// Answers Lambda's `Invoke`.
pub(crate) fn invoke(request: &Request<Bytes>) -> Reply {
    if request.method() != Method::POST {
        let body = json!({ "message": "a function is invoked with POST" });
        return at_once(response::json(
            StatusCode::METHOD_NOT_ALLOWED,
            body.to_string(),
        ));
    }
    if request.body().len() > MOST_EVENT_BYTES {
        let body = json!({
            "Type": "User",
            "message": format!("{} byte payload is too large for the RequestResponse invocation type (limit {MOST_EVENT_BYTES} bytes)", request.body().len()),
        });
        let mut response = response::json(StatusCode::PAYLOAD_TOO_LARGE, body.to_string());
        response::insert(
            &mut response,
            "x-amzn-errortype",
            "RequestTooLargeException",
        );
        return at_once(response);
    }
    let payload = request.body().clone();
    let kind = request
        .headers()
        .get("x-amz-invocation-type")
        .map(HeaderValue::as_bytes);
    match kind {
        Some(b"Event") => Reply::InvokeLater(payload),
        Some(b"DryRun") => at_once(response::empty(StatusCode::NO_CONTENT)),
        Some(_) | None => Reply::Invoke(payload, Invocation::default()),
    }
}
