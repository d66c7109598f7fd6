//! The errors of the services.

use std::borrow::Cow;

/// An error of a service: a code, a message and an HTTP status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceError {
    pub(crate) code: Cow<'static, str>,
    pub(crate) message: String,
    pub(crate) status: u16,
}

impl ServiceError {
    /// Creates an error with the status that AWS gives errors of this code.
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
}
