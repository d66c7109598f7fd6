//! awsJson 1.0 and 1.1: how requests are read, and how errors are written.

use bytes::Bytes;
use http::Response;
use serde_json::{Map, Value, json};

use crate::wire::error::ServiceError;
use crate::wire::operation::Service;
use crate::wire::response::{insert, of_service};
use crate::wire::shape::{Member, violations};

/// True if AWS's front end gives this error, before the service sees the request.
fn is_of_front_end(error: &ServiceError) -> bool {
    [
        "SerializationException",
        "UnknownOperationException",
        "MissingAuthenticationTokenException",
    ]
    .contains(&error.code.as_ref())
}

/// Returns the `__type` in the body: `awsJson1_0` writes the shape's namespace before its name.
fn wire_type(error: &ServiceError, service: Service) -> String {
    match service {
        Service::EventBridge | Service::CloudFormation => error.code.to_string(),
        Service::Proton if is_of_front_end(error) => {
            format!("com.amazon.coral.service#{}", error.code)
        }
        Service::Proton => format!("com.amazonaws.proton#{}", error.code),
    }
}

/// Returns an error in its wire form.
pub(crate) fn error(error: &ServiceError, service: Service, request_id: &str) -> Response<Bytes> {
    let body = json!({ "__type": wire_type(error, service), "message": error.message });
    let mut response = of_service(service, error.status, body.to_string(), request_id);
    insert(&mut response, "x-amzn-errortype", &error.code);
    response
}

/// Reads the body of a request: an object that satisfies `members`. Nulls are dropped, as absent
/// members are.
pub(crate) fn read(
    body: &[u8],
    members: &'static [Member],
) -> Result<Map<String, Value>, ServiceError> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| ServiceError::serialization(format!("the body is no JSON: {error}")))?;
    let Value::Object(input) = value else {
        return Err(ServiceError::serialization(
            "Unexpected value where the start of a structure is expected",
        ));
    };
    let input = Value::Object(input);
    if let Some(violations) = violations(members, &input)? {
        return Err(ServiceError::validation(violations));
    }
    match without_nulls(input) {
        Value::Object(input) => Ok(input),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Ok(Map::new())
        }
    }
}

/// Returns the text of a member.
pub(crate) fn text<'a>(input: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    input.get(name).and_then(Value::as_str)
}

/// Returns a value without the members that are null.
pub(crate) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .filter(|(_, member)| !member.is_null())
                .map(|(name, member)| (name, without_nulls(member)))
                .collect(),
        ),
        Value::Array(elements) => Value::Array(elements.into_iter().map(without_nulls).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}
