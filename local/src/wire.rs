//! How requests, responses and errors go over the wire.

pub(crate) mod error;
pub(crate) mod json;
pub(crate) mod model;
pub(crate) mod operation;
pub(crate) mod pages;
pub(crate) mod query;
pub(crate) mod response;
pub(crate) mod shape;
pub(crate) mod time;

use bytes::Bytes;
use http::Response;
use serde_json::Value;

use crate::wire::error::ServiceError;
use crate::wire::operation::{Operation, Service};
use crate::wire::response::of_service;

/// Returns the response of an operation in its service's protocol.
pub(crate) fn response(operation: Operation, output: &Value, request_id: &str) -> Response<Bytes> {
    match operation.service() {
        service @ (Service::Proton | Service::EventBridge) => {
            of_service(service, 200, output.to_string(), request_id)
        }
        Service::CloudFormation => query::answer(operation.as_str(), output, request_id),
    }
}

/// Returns an error in its service's protocol.
pub(crate) fn error_response(
    service: Service,
    error: &ServiceError,
    request_id: &str,
) -> Response<Bytes> {
    match service {
        Service::Proton | Service::EventBridge => json::error(error, service, request_id),
        Service::CloudFormation => query::error(error, request_id),
    }
}
