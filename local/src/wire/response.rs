//! HTTP responses.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};

use crate::wire::operation::Service;

/// Returns a response of a service, in its content type.
pub(crate) fn of_service(
    service: Service,
    status: u16,
    body: String,
    request_id: &str,
) -> Response<Bytes> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = of_type(service.content_type(), status, body);
    insert(&mut response, "x-amzn-requestid", request_id);
    response
}

/// Returns a response with a JSON body that is no service's.
pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<Bytes> {
    of_type("application/json", status, body)
}

/// Returns a response without a body.
pub(crate) fn empty(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

/// Adds a header, if its value can be one.
pub(crate) fn insert(response: &mut Response<Bytes>, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

fn of_type(kind: &'static str, status: StatusCode, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
