//! awsJson 1.0 and 1.1: how requests are read and checked, and how errors go over the wire.

use std::borrow::Cow;
use std::sync::LazyLock;

use bytes::Bytes;
use http::Response;
use regex_lite::Regex;
use serde_json::{Map, Number, Value, json};

use crate::wire::operation::Service;
use crate::wire::query;

/// An error of a service: a code, a message and an HTTP status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceError {
    pub(crate) code: Cow<'static, str>,
    pub(crate) message: String,
    pub(crate) status: u16,
}

impl ServiceError {
    /// An error with the status that AWS gives errors of this code.
    pub(crate) fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        let code = code.into();
        let is_servers = code != "ServiceQuotaExceededException"
            && (code.starts_with("Internal") || code.starts_with("Service"));
        let status = match code.as_ref() {
            // The codes of awsQuery that have a status of their own.
            "AccessDenied"
            | "ExpiredToken"
            | "InvalidClientTokenId"
            | "MissingAuthenticationToken"
            | "OptInRequired"
            | "SignatureDoesNotMatch" => 403,
            "ServiceUnavailable" => 503,
            _ if is_servers => 500,
            _ => 400,
        };
        Self {
            message: message.into(),
            status,
            code,
        }
    }

    pub(crate) fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn validation(message: impl Into<String>) -> Self {
        Self::new("ValidationException", message)
    }

    pub(crate) fn serialization(message: impl Into<String>) -> Self {
        Self::new("SerializationException", message)
    }

    pub(crate) fn unknown_operation(message: impl Into<String>) -> Self {
        Self::new("UnknownOperationException", message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new("ResourceNotFoundException", message)
    }

    /// Errors that AWS's front end gives, before the service sees the request.
    fn is_of_front_end(&self) -> bool {
        [
            "SerializationException",
            "UnknownOperationException",
            "MissingAuthenticationTokenException",
        ]
        .contains(&self.code.as_ref())
    }

    /// The `__type` in the body: `awsJson1_0` writes the shape's namespace before its name.
    fn wire_type(&self, service: Service) -> String {
        match service {
            Service::EventBridge | Service::CloudFormation => self.code.to_string(),
            Service::Proton if self.is_of_front_end() => {
                format!("com.amazon.coral.service#{}", self.code)
            }
            Service::Proton => format!("com.amazonaws.proton#{}", self.code),
        }
    }

    pub(crate) fn response(&self, service: Service, request_id: &str) -> Response<Bytes> {
        if service == Service::CloudFormation {
            return query::error(self, request_id);
        }
        let body = json!({ "__type": self.wire_type(service), "message": self.message });
        let mut response = answer(service, self.status, &body, request_id);
        if let Ok(code) = self.code.parse() {
            response.headers_mut().insert("x-amzn-errortype", code);
        }
        response
    }
}

/// An answer in the service's content type.
pub(crate) fn answer(
    service: Service,
    status: u16,
    body: &Value,
    request_id: &str,
) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() =
        http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static(service.content_type()),
    );
    if let Ok(id) = request_id.parse() {
        headers.insert("x-amzn-requestid", id);
    }
    response
}

/// A shape of the service model: what a member of a request must be.
#[derive(Debug)]
pub(crate) enum Shape {
    /// A string, its length in characters.
    Text {
        min: usize,
        max: usize,
        pattern: Option<&'static Pattern>,
    },
    /// A 32 bit integer.
    Integer { min: i64, max: i64 },
    /// Seconds since the epoch.
    Timestamp,
    /// A list.
    List {
        of: &'static Shape,
        min: usize,
        max: usize,
    },
    /// An object. Members that it does not name are ignored.
    Structure(&'static [Member]),
}

impl Shape {
    /// True if a value is of this shape and satisfies its constraints.
    pub(crate) fn accepts(&self, value: &Value) -> bool {
        let mut violations = Vec::new();
        check_constraints(self, value, "", &mut violations);
        check_types(self, value).is_ok() && violations.is_empty()
    }
}

/// A member of a structure.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) shape: &'static Shape,
    pub(crate) is_required: bool,
}

/// A pattern of the service model; all of a string must match it.
#[derive(Debug)]
pub(crate) struct Pattern {
    source: &'static str,
    regex: LazyLock<Regex>,
}

impl Pattern {
    pub(crate) const fn new(source: &'static str, compile: fn() -> Regex) -> Self {
        Self {
            source,
            regex: LazyLock::new(compile),
        }
    }
}

/// Defines a [`Pattern`].
macro_rules! pattern {
    ($source:literal) => {
        $crate::wire::json::Pattern::new($source, || {
            $crate::wire::json::compile(concat!("^(?:", $source, ")$"))
        })
    };
}
pub(crate) use pattern;

#[expect(
    clippy::expect_used,
    reason = "the patterns are constants, and a test compiles each"
)]
pub(crate) fn compile(source: &str) -> Regex {
    Regex::new(source).expect("the model's patterns are regular expressions")
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

/// What AWS says about the constraints that an input violates, if it does; an error where a
/// member is of the wrong type.
pub(crate) fn violations(
    members: &'static [Member],
    input: &Value,
) -> Result<Option<String>, ServiceError> {
    let shape = Shape::Structure(members);
    check_types(&shape, input)?;
    let mut violations = Vec::new();
    check_constraints(&shape, input, "", &mut violations);
    let count = violations.len();
    let plural = if count == 1 { "error" } else { "errors" };
    Ok((count > 0).then(|| {
        format!(
            "{count} validation {plural} detected: {}",
            violations.join("; ")
        )
    }))
}

fn without_nulls(value: Value) -> Value {
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

/// Refuses a member of the wrong JSON type, as AWS's parser does while it reads.
fn check_types(shape: &Shape, value: &Value) -> Result<(), ServiceError> {
    let wanted = match (shape, value) {
        (_, Value::Null)
        | (Shape::Text { .. }, Value::String(_))
        | (Shape::Timestamp, Value::Number(_)) => return Ok(()),
        (Shape::Integer { .. }, Value::Number(number)) => return check_integer(number),
        (Shape::List { of, .. }, Value::Array(elements)) => {
            return elements
                .iter()
                .try_for_each(|element| check_types(of, element));
        }
        (Shape::Structure(members), Value::Object(input)) => {
            return members.iter().try_for_each(|member| {
                input
                    .get(member.name)
                    .map_or(Ok(()), |value| check_types(member.shape, value))
            });
        }
        (Shape::Text { .. }, _) => "a String",
        (Shape::Integer { .. }, _) => "an Integer",
        (Shape::Timestamp, _) => "milliseconds since epoch",
        (Shape::List { .. }, _) => "a List",
        (Shape::Structure(_), _) => "a Structure",
    };
    let found = match value {
        Value::Object(_) => {
            return Err(ServiceError::serialization(
                "Start of structure or map found where not expected.",
            ));
        }
        Value::Array(_) => {
            return Err(ServiceError::serialization(
                "Start of list found where not expected",
            ));
        }
        Value::Null => "NULL_VALUE",
        Value::Bool(true) => "TRUE_VALUE",
        Value::Bool(false) => "FALSE_VALUE",
        Value::Number(_) => "NUMBER_VALUE",
        Value::String(_) => "STRING_VALUE",
    };
    Err(ServiceError::serialization(format!(
        "{found} can not be converted to {wanted}"
    )))
}

fn check_integer(number: &Number) -> Result<(), ServiceError> {
    let class = match number.as_i64() {
        Some(integer) if i32::try_from(integer).is_ok() => return Ok(()),
        Some(_) => "Long",
        None if number.is_u64() => "BigInteger",
        None => "Double",
    };
    Err(ServiceError::serialization(format!(
        "class java.lang.{class} can not be converted to an Integer"
    )))
}

/// Collects every constraint that is not satisfied, in AWS's words.
fn check_constraints(shape: &Shape, value: &Value, path: &str, violations: &mut Vec<String>) {
    let mut violated = |constraint: String| {
        violations.push(format!(
            "Value {} at '{path}' failed to satisfy constraint: Member must {constraint}",
            quoted(value)
        ));
    };
    match (shape, value) {
        (Shape::Text { min, max, pattern }, Value::String(text)) => {
            check_length(text.chars().count(), *min, *max, &mut violated);
            if let Some(pattern) = pattern
                && !pattern.regex.is_match(text)
            {
                violated(format!(
                    "satisfy regular expression pattern: {}",
                    pattern.source
                ));
            }
        }
        (Shape::Integer { min, max }, Value::Number(number)) => {
            let number = number.as_i64().unwrap_or_default();
            if number < *min {
                violated(format!("have value greater than or equal to {min}"));
            }
            if number > *max {
                violated(format!("have value less than or equal to {max}"));
            }
        }
        (Shape::List { of, min, max }, Value::Array(elements)) => {
            check_length(elements.len(), *min, *max, &mut violated);
            for (index, element) in elements.iter().enumerate() {
                let path = format!("{path}.{}.member", index + 1);
                if element.is_null() {
                    violations.push(must_not_be_null(&path));
                } else {
                    check_constraints(of, element, &path, violations);
                }
            }
        }
        (Shape::Structure(members), Value::Object(input)) => {
            for member in *members {
                let name = lower_camel(member.name);
                let path = match path {
                    "" => name,
                    _ => format!("{path}.{name}"),
                };
                match input.get(member.name) {
                    None | Some(Value::Null) if member.is_required => {
                        violations.push(must_not_be_null(&path));
                    }
                    None | Some(Value::Null) => {}
                    Some(value) => check_constraints(member.shape, value, &path, violations),
                }
            }
        }
        (
            Shape::Text { .. }
            | Shape::Integer { .. }
            | Shape::Timestamp
            | Shape::List { .. }
            | Shape::Structure(_),
            _,
        ) => {}
    }
}

fn check_length(length: usize, min: usize, max: usize, violated: &mut impl FnMut(String)) {
    if length < min {
        violated(format!("have length greater than or equal to {min}"));
    }
    if length > max {
        violated(format!("have length less than or equal to {max}"));
    }
}

fn must_not_be_null(path: &str) -> String {
    format!("Value null at '{path}' failed to satisfy constraint: Member must not be null")
}

fn quoted(value: &Value) -> String {
    match value {
        Value::String(text) => format!("'{text}'"),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            format!("'{value}'")
        }
    }
}

/// AWS names members in its messages as its own code does.
fn lower_camel(name: &str) -> String {
    let mut characters = name.chars();
    characters
        .next()
        .map(|first| first.to_lowercase().chain(characters).collect())
        .unwrap_or_default()
}
