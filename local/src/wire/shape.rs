//! The shapes of the service models, and how requests are checked against them.

use std::sync::LazyLock;

use regex_lite::Regex;
use serde_json::{Number, Value};

use crate::wire::error::ServiceError;

/// A shape of the service model, which a member of a request must have.
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
    /// An object. Other members are ignored.
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
        $crate::wire::shape::Pattern::new($source, || {
            $crate::wire::shape::compile(concat!("^(?:", $source, ")$"))
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

/// Returns AWS's message about the constraints that an input violates, if any. Fails if a member is of
/// the wrong type.
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
                check_member(member, input.get(member.name), path, violations);
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

/// Collects every constraint that a member of a structure does not satisfy.
fn check_member(member: &Member, value: Option<&Value>, path: &str, violations: &mut Vec<String>) {
    let name = lower_camel(member.name);
    let path = match path {
        "" => name,
        _ => format!("{path}.{name}"),
    };
    match value {
        None | Some(Value::Null) if member.is_required => violations.push(must_not_be_null(&path)),
        None | Some(Value::Null) => {}
        Some(value) => check_constraints(member.shape, value, &path, violations),
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

/// Returns a member's name as AWS writes it in messages.
fn lower_camel(name: &str) -> String {
    let mut characters = name.chars();
    characters
        .next()
        .map(|first| first.to_lowercase().chain(characters).collect())
        .unwrap_or_default()
}
