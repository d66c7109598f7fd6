//! The record of a call.

use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::wire::operation::Service;
use crate::wire::time::rfc3339;

/// A call that a service received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The time of arrival.
    pub time: SystemTime,
    /// The service.
    pub service: Service,
    /// The operation, as the request named it.
    pub operation: String,
    /// The ID of the access key that signed the call, which tells callers apart.
    pub caller: Option<String>,
    /// The environment or stack that the request named.
    pub environment: Option<String>,
    /// The deployment or update that the call cancelled, whatever the response was.
    pub cancelled: Option<String>,
    /// The response.
    pub answer: Answer,
    /// The request's body.
    pub body: Bytes,
}

/// The response to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The operation's output.
    Ok,
    /// An error of this code.
    Error(String),
    /// A response of this HTTP status that is not the service's.
    Junk(u16),
    /// A part of the response.
    Cut,
    /// None: the connection was dropped before the call had an effect.
    DroppedBefore,
    /// None: the connection was dropped after the call had its effect.
    DroppedAfter,
    /// None, and the connection stays open.
    Never,
}

impl fmt::Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => formatter.write_str("ok"),
            Self::Error(code) => formatter.write_str(code),
            Self::Junk(status) => write!(formatter, "HTTP status {status}"),
            Self::Cut => formatter.write_str("cut short"),
            Self::DroppedBefore => formatter.write_str("dropped before it had an effect"),
            Self::DroppedAfter => formatter.write_str("dropped after it had its effect"),
            Self::Never => formatter.write_str("never answered"),
        }
    }
}

impl Call {
    /// Returns the call as `GET /_local/calls` shows it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "time": rfc3339(self.time),
            "service": self.service.to_string(),
            "operation": self.operation,
            "environment": self.environment,
            "cancelledDeploymentId": self.cancelled,
            "answer": self.answer.to_string(),
        })
    }
}
