//! The request to a service, before its model checks it.

use bytes::Bytes;
use http::{Method, Request};
use serde_json::Value;

use crate::cloudformation::name_of;
use crate::wire::error::ServiceError;
use crate::wire::operation::{Operation, Service};
use crate::wire::query;

/// A request that reached a service.
#[derive(Debug)]
pub(crate) struct ServiceRequest {
    pub(crate) service: Service,
    /// The operation's name, as the request has it.
    pub(crate) name: String,
    /// The operation, or why the service refuses the request.
    pub(crate) operation: Result<Operation, ServiceError>,
    /// The ID of the access key that signed the request.
    pub(crate) caller: Option<String>,
}

impl ServiceRequest {
    /// Reads a request. Fails with the service that refuses a request that is for none.
    pub(crate) fn read(request: &Request<Bytes>) -> Result<Self, (Service, ServiceError)> {
        let content_type = header(request, "content-type");
        let target = header(request, "x-amz-target");
        let of_target = Service::of_target(target);
        if request.method() != Method::POST || request.uri().path() != "/" {
            let error = ServiceError::unknown_operation("services take POST requests to `/`");
            let service = of_target.map_or(Service::Proton, |(service, _)| service);
            return Err((service, error.status(404)));
        }
        let of_target = of_target.map(|(service, name)| (service, name.to_owned()));
        let action = action(content_type, target, request.body());
        let Some((service, name)) = action.or(of_target) else {
            let error =
                ServiceError::unknown_operation(format!("the target `{target}` is not known"));
            let is_json_1_1 = content_type.starts_with(Service::EventBridge.content_type());
            return Err(if is_json_1_1 {
                (Service::EventBridge, error)
            } else {
                (Service::Proton, error)
            });
        };
        let authorization = header(request, "authorization");
        let operation = Operation::try_from(name.clone()).ok();
        let operation = operation.filter(|operation| operation.service() == service);
        Ok(Self {
            operation: match operation {
                None => Err(unknown_operation(service, &name)),
                Some(_) if authorization.is_empty() && !is_presigned(request) => {
                    Err(not_signed(service))
                }
                Some(operation) => Ok(operation),
            },
            service,
            name,
            caller: access_key(authorization).map(str::to_owned),
        })
    }
}

fn header<'a>(request: &'a Request<Bytes>, name: &str) -> &'a str {
    let value = request.headers().get(name);
    let text = value.and_then(|value| value.to_str().ok());
    text.unwrap_or_default()
}

/// Returns the error for a request without a signature.
fn not_signed(service: Service) -> ServiceError {
    let code = match service {
        Service::Proton | Service::EventBridge => "MissingAuthenticationTokenException",
        Service::CloudFormation => "MissingAuthenticationToken",
    };
    ServiceError::new(code, "Request is missing Authentication Token")
}

/// Returns CloudFormation and the action that a request names, if the request is a form without a
/// target.
fn action(content_type: &str, target: &str, body: &[u8]) -> Option<(Service, String)> {
    if !target.is_empty() || !content_type.starts_with(query::FORM) {
        return None;
    }
    let form = query::read(body);
    let text = |name: &str| form.get(name).and_then(Value::as_str);
    let action = text("Action").filter(|_| text("Version") == Some(query::VERSION))?;
    Some((Service::CloudFormation, action.to_owned()))
}

/// Returns the error for an operation that is not offered, as the service's protocol has it.
fn unknown_operation(service: Service, name: &str) -> ServiceError {
    let message = format!("the local AWS does not offer `{name}`");
    match service {
        Service::Proton | Service::EventBridge => ServiceError::unknown_operation(message),
        Service::CloudFormation => ServiceError::new("InvalidAction", message),
    }
}

/// Returns the ID of the access key that a request is signed with, from its header.
fn access_key(authorization: &str) -> Option<&str> {
    let (_, credential) = authorization.split_once("Credential=")?;
    credential.split('/').next()
}

/// True if the signature is in the query.
fn is_presigned(request: &Request<Bytes>) -> bool {
    request
        .uri()
        .query()
        .is_some_and(|query| query.contains("X-Amz-Signature="))
}

/// Returns the environment or stack that an unchecked request names.
pub(crate) fn named_environment(operation: Operation, input: &Value) -> Option<String> {
    let member = operation.environment_member()?;
    let text = input.get(member)?.as_str()?;
    let name = match operation.service() {
        Service::CloudFormation => name_of(text),
        Service::Proton | Service::EventBridge if member == "resourceArn" => {
            let (_, name) = text.split_once(":environment/")?;
            name
        }
        Service::Proton | Service::EventBridge => text,
    };
    Some(name.to_owned())
}

/// Returns the details of the entries of a request to `PutEvents`.
pub(crate) fn details(input: &Value) -> Vec<&str> {
    let entries = input.get("Entries").and_then(Value::as_array);
    entries
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.get("Detail")?.as_str())
        .collect()
}
