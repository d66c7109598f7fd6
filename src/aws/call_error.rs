//! The errors of calls to AWS, classified by their meaning for the caller.

use std::borrow::Cow;
use std::error::Error;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::text;

/// The most bytes of a service's error code that are kept.
const LONGEST_CODE: usize = 255;

/// The most bytes of a service's error message that are kept. A log line with such a message stays below
/// CloudWatch's limit of 256 KiB, even if each byte takes six to be escaped.
const LONGEST_MESSAGE: usize = 32 * 1024;

/// The beginnings of the parts of a request that must not be logged. If AWS cannot verify a signature,
/// its error message repeats the request and the session token.
const SECRET_PARTS: [&str; 4] = [
    "the canonical string",
    "x-amz-security-token",
    "authorization:",
    "aws4-hmac-sha256",
];

/// The code for a status that means nothing for a cancel.
const UNEXPECTED_STATUS: &str = "UnexpectedStatus";

/// The code for a deployment that a newer one has replaced.
const SUPERSEDED: &str = "Superseded";

/// A call that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct CallError {
    /// The meaning of the error for the caller.
    pub fault: Fault,
    /// The service's code, or a code of this function if the service returned none.
    pub code: String,
    /// The service's message, or the reason why no response arrived.
    pub message: String,
}

/// The meaning of a failed call for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The service throttled the call, which had no effect.
    Throttled,
    /// The service failed (5xx). The call may have had its effect.
    Broken,
    /// The response was lost. The call may have had its effect.
    Lost,
    /// The run's time was over before the call was made.
    Late,
    /// No connection could be made; nothing was sent.
    Unreachable,
    /// The server's certificate is not trusted; nothing was sent.
    Untrusted,
    /// The call conflicts with the state of the resource.
    Conflict,
    /// The resource does not exist.
    NotFound,
    /// The service refused the call; a retry would fail, too.
    Refused,
}

impl CallError {
    /// True if the same call may succeed later.
    #[must_use]
    pub(crate) fn is_transient(&self) -> bool {
        match self.fault {
            Fault::Throttled | Fault::Broken | Fault::Lost | Fault::Late | Fault::Unreachable => {
                true
            }
            Fault::Untrusted | Fault::Conflict | Fault::NotFound | Fault::Refused => false,
        }
    }

    /// True if the call may have had its effect although it failed.
    #[must_use]
    pub(crate) fn may_have_taken_effect(&self) -> bool {
        match self.fault {
            Fault::Broken | Fault::Lost => true,
            Fault::Throttled
            | Fault::Late
            | Fault::Unreachable
            | Fault::Untrusted
            | Fault::Conflict
            | Fault::NotFound
            | Fault::Refused => false,
        }
    }

    /// True if the service has received a call with this token before.
    #[must_use]
    pub(crate) fn says_it_is_a_repeat(&self) -> bool {
        self.code == "TokenAlreadyExistsException"
    }

    /// True if no service was reached.
    #[must_use]
    pub(crate) fn is_without_service(&self) -> bool {
        matches!(self.fault, Fault::Unreachable | Fault::Untrusted)
    }

    /// Returns the error of a call whose response did not arrive in time.
    #[must_use]
    pub(crate) fn unanswered(after: std::time::Duration) -> Self {
        Self {
            fault: Fault::Lost,
            code: "RequestTimeout".to_owned(),
            message: format!("no response within {:.1} seconds", after.as_secs_f64()),
        }
    }

    /// Returns the error of a response that lacks a required member.
    #[must_use]
    pub(crate) fn incomplete(service: &str, what: &str) -> Self {
        Self {
            fault: Fault::Lost,
            code: "IncompleteAnswer".to_owned(),
            message: format!("{service}'s response has no {what}"),
        }
    }

    /// Returns the error of a call that was not made before the run's time was over.
    #[must_use]
    pub(crate) fn late() -> Self {
        Self {
            fault: Fault::Late,
            code: "DeadlineExceeded".to_owned(),
            message: "the deadline came before the call was made".to_owned(),
        }
    }

    /// Returns the error of a listing whose pages come round again.
    #[must_use]
    pub(crate) fn endless_listing() -> Self {
        Self {
            fault: Fault::Refused,
            code: "EndlessListing".to_owned(),
            message: "the service gave a page token that it had given before".to_owned(),
        }
    }

    /// Returns the error of a deployment whose end is unknown: a newer deployment has replaced it, and the
    /// service does not return how this one ended.
    #[must_use]
    pub(crate) fn superseded() -> Self {
        Self {
            fault: Fault::Conflict,
            code: SUPERSEDED.to_owned(),
            message: "another deployment has started since, and the service does not return how this one ended".to_owned(),
        }
    }

    /// Returns the error of a deployment that a newer one has replaced, and whose end is older than the
    /// events that are read.
    #[must_use]
    pub(crate) fn beyond_the_events() -> Self {
        Self {
            message: "another deployment has started since, and the end of this one is not on the newest 50 pages of the stack's events".to_owned(),
            ..Self::superseded()
        }
    }

    /// True if the deployment was read and has a status that means nothing for a cancel.
    #[must_use]
    pub(crate) fn is_unexpected_status(&self) -> bool {
        self.code == UNEXPECTED_STATUS
    }

    /// True if no read can show how the deployment ended: it does not exist, a newer one has replaced it,
    /// or its status means nothing for a cancel.
    #[must_use]
    pub(crate) fn tells_that_no_end_will_come(&self) -> bool {
        self.fault == Fault::NotFound || self.code == SUPERSEDED || self.is_unexpected_status()
    }

    /// Returns the error of a deployment whose status means nothing for a cancel.
    #[must_use]
    pub(crate) fn unexpected_status(status: &str) -> Self {
        let status = text::cut(status, LONGEST_CODE);
        Self {
            fault: Fault::Refused,
            code: UNEXPECTED_STATUS.to_owned(),
            message: format!(
                "the deployment's status is `{status}`: check whether its environment is being deleted"
            ),
        }
    }

    /// Classifies an error of the SDK. Proton returns all but one of its errors with HTTP 400, so the code
    /// decides, and the status only if there is no code. A 400 without a code counts as a lost response.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the SDK's enum is open; all else fails before it is sent"
    )]
    pub(crate) fn from_sdk<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: Error + ProvideErrorMetadata + 'static,
    {
        match error {
            SdkError::ServiceError(context) => {
                let status = context.raw().status().as_u16();
                let meta = context.err().meta();
                Self::answered(status, meta.code(), meta.message())
            }
            // The status arrived without the body: the call may have had its effect or not.
            SdkError::ResponseError(context) => Self {
                fault: Fault::Lost,
                code: format!("Http{}", context.raw().status().as_u16()),
                message: format!("the response cannot be read: {}", words(error)),
            },
            SdkError::TimeoutError(_) => Self {
                fault: Fault::Lost,
                code: "RequestTimeout".to_owned(),
                message: words(error),
            },
            SdkError::DispatchFailure(failure) => {
                let on_the_way = failure.is_io() || failure.is_timeout();
                let cause = failure.as_connector_error();
                Self::on_the_way(cause.map(|cause| cause as _), on_the_way, error)
            }
            _ => Self::not_sent(error),
        }
    }

    fn answered(status: u16, code: Option<&str>, message: Option<&str>) -> Self {
        let fault = match (code, status) {
            (
                Some(
                    "ThrottlingException"
                    | "Throttling"
                    | "ThrottledException"
                    | "TooManyRequestsException"
                    | "RequestLimitExceeded"
                    | "RequestThrottled"
                    | "RequestThrottledException"
                    | "SlowDown",
                ),
                _,
            )
            | (_, 429) => Fault::Throttled,
            (
                Some(
                    "InternalServerException"
                    | "InternalServerError"
                    | "InternalFailure"
                    | "InternalException"
                    | "InternalError"
                    | "ServiceUnavailable"
                    | "ServiceUnavailableException",
                ),
                _,
            )
            | (_, 500..) => Fault::Broken,
            (Some("ConflictException"), _) => Fault::Conflict,
            (Some("ResourceNotFoundException"), _) => Fault::NotFound,
            (Some("RequestTimeout" | "RequestTimeoutException"), _)
            | (None, 200..300 | 400 | 408) => Fault::Lost,
            _ => Fault::Refused,
        };
        let code = code.map_or_else(|| format!("Http{status}"), str::to_owned);
        let message = message.map_or_else(
            || format!("the service returned HTTP status {status}").into(),
            without_credentials,
        );
        Self {
            fault,
            code: text::cut(&code, LONGEST_CODE).into_owned(),
            message: text::cut(&message, LONGEST_MESSAGE).into_owned(),
        }
    }

    fn on_the_way(
        cause: Option<&(dyn Error + 'static)>,
        on_the_way: bool,
        error: &(dyn Error + 'static),
    ) -> Self {
        let links = || cause.into_iter().flat_map(chain);
        if let Some(untrusted) = links().find_map(certificate_error) {
            return Self {
                fault: Fault::Untrusted,
                code: "UntrustedCertificate".to_owned(),
                message: format!(
                    "the server's certificate is not trusted ({untrusted}): name a PEM file with its CA in `AWS_CA_BUNDLE`, or correct the endpoint"
                ),
            };
        }
        if links().any(is_connect_error) {
            return Self {
                fault: Fault::Unreachable,
                code: "ConnectionFailed".to_owned(),
                message: words(error),
            };
        }
        if on_the_way {
            return Self {
                fault: Fault::Lost,
                code: "ConnectionLost".to_owned(),
                message: words(error),
            };
        }
        Self::not_sent(error)
    }

    fn not_sent(error: &(dyn Error + 'static)) -> Self {
        Self {
            fault: Fault::Refused,
            code: "RequestNotSent".to_owned(),
            message: words(error),
        }
    }
}

/// Returns a service's message, cut before the first part of a request that must not be logged.
fn without_credentials(message: &str) -> Cow<'_, str> {
    let lower = message.to_ascii_lowercase();
    let first = SECRET_PARTS
        .iter()
        .filter_map(|part| lower.find(part))
        .min();
    match first.and_then(|first| message.get(..first)) {
        Some(kept) => format!("{}…", kept.trim_end()).into(),
        None => message.into(),
    }
}

/// Returns the messages of an error and of its causes, each once. The SDK's own format of error chains
/// shows whole requests.
fn words(error: &(dyn Error + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    for link in chain(error) {
        let says = link.to_string();
        if !words.iter().any(|before| before.contains(&says)) {
            words.push(says);
        }
    }
    text::cut(&words.join(": "), 500).into_owned()
}

/// Returns an error and its causes. `source` of an `io::Error` skips the error that it wraps.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        match error.downcast_ref::<std::io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

fn certificate_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::CertificateError> {
    match error.downcast_ref::<rustls::Error>() {
        Some(rustls::Error::InvalidCertificate(why)) => Some(why),
        _ => None,
    }
}

fn is_connect_error(error: &(dyn Error + 'static)) -> bool {
    error
        .downcast_ref::<hyper_util::client::legacy::Error>()
        .is_some_and(hyper_util::client::legacy::Error::is_connect)
}

#[cfg(test)]
mod tests {
    use aws_smithy_types::body::SdkBody;
    use aws_smithy_types::error::ErrorMetadata as GenericError;

    use super::*;

    fn fault(status: u16, code: Option<&str>) -> Fault {
        CallError::answered(status, code, Some("why")).fault
    }

    #[test]
    fn the_code_classifies_what_the_status_does_not() {
        assert_eq!(fault(400, Some("ThrottlingException")), Fault::Throttled);
        assert_eq!(fault(400, Some("ConflictException")), Fault::Conflict);
        assert_eq!(
            fault(400, Some("ResourceNotFoundException")),
            Fault::NotFound
        );
        assert_eq!(fault(400, Some("AccessDeniedException")), Fault::Refused);
        assert_eq!(fault(400, Some("ValidationException")), Fault::Refused);
        assert_eq!(fault(500, Some("InternalServerException")), Fault::Broken);
        assert_eq!(fault(400, Some("InternalServerException")), Fault::Broken);
    }

    #[test]
    fn status_429_is_throttling_whatever_the_code() {
        assert_eq!(fault(429, Some("RateExceeded")), Fault::Throttled);
    }

    #[test]
    fn a_services_words_end_where_they_repeat_what_signs_a_request() {
        let message = |words| CallError::answered(400, Some("Any"), Some(words)).message;
        assert_eq!(
            message("no match.\n\nThe Canonical String was\n'POST\nx-amz-security-token:abc'"),
            "no match.…"
        );
        assert_eq!(message("bad X-Amz-Security-Token=abc"), "bad…");
        assert_eq!(message("Authorization: AWS4-HMAC-SHA256 abc"), "…");
        assert_eq!(message("ä AWS4-HMAC-SHA256 abc"), "ä…");
        let denied = "User: u is not authorized to perform: proton:ListEnvironments";
        assert_eq!(message(denied), denied);
    }

    #[test]
    fn a_services_words_are_bounded() {
        let long = "\u{1}".repeat(1_000_000);
        let error = CallError::answered(400, Some(&long), Some(&long));
        assert_eq!(error.code.len(), LONGEST_CODE);
        assert_eq!(error.message.len(), LONGEST_MESSAGE);
        assert!(error.message.ends_with('…'));
        let unexpected = CallError::unexpected_status(&long).message;
        assert!(unexpected.len() < 500, "{} bytes", unexpected.len());
    }

    #[test]
    fn without_a_code_the_status_classifies() {
        assert_eq!(fault(503, None), Fault::Broken);
        assert_eq!(fault(429, None), Fault::Throttled);
        assert_eq!(fault(403, None), Fault::Refused);
        assert_eq!(fault(503, Some("SomethingNew")), Fault::Broken);
        assert_eq!(fault(404, None), Fault::Refused);
        assert_eq!(fault(200, None), Fault::Lost);
        assert_eq!(fault(400, None), Fault::Lost);
        assert_eq!(fault(408, None), Fault::Lost);
        assert_eq!(CallError::answered(502, None, None).code, "Http502");
    }

    #[test]
    fn a_response_that_breaks_off_is_lost_whatever_its_status() {
        for status in [200, 400, 403, 429, 500] {
            let response = HttpResponse::new(status.try_into().unwrap(), SdkBody::empty());
            let error = SdkError::<GenericError, _>::response_error("it ended early", response);
            let error = CallError::from_sdk(&error);
            assert_eq!(error.fault, Fault::Lost, "{status}");
            assert_eq!(error.code, format!("Http{status}"));
            assert!(error.message.contains("it ended early"), "{error}");
        }
    }
}
