//! The errors of an invocation, each with a stable `errorType` and a message for the operator.

use std::any::Any;

use lambda_runtime::Diagnostic;

use crate::aws::call_error::{CallError, Fault};
use crate::engine::Engine;
use crate::text;
use crate::trigger::UnsupportedPayload;

/// The most environments that an error message names.
const MOST_NAMED: usize = 20;

/// The `errorType` of a panic, which is a bug of this function.
pub(crate) const PANIC: &str = "Panic";

/// The `errorType` that Lambda itself reports if the runtime ends.
pub const RUNTIME_ENDED: &str = "Runtime.ExitError";

/// An invocation that failed.
#[derive(Debug, thiserror::Error)]
pub enum InvocationError {
    /// The payload is of none of the kinds that the function accepts.
    #[error("nothing was cancelled: {0}")]
    UnsupportedPayload(#[from] UnsupportedPayload),
    /// The environments could not be listed.
    #[error("{0}")]
    ListFailed(String),
    /// An outcome could not be published.
    #[error("{0}")]
    PublishFailed(String),
    /// An environment failed with a transient error, and Lambda retries the event.
    #[error("{0}")]
    Incomplete(String),
    /// The deployment that is followed could not be read, and an operator must act.
    #[error("{0}")]
    FollowFailed(String),
}

impl InvocationError {
    /// Returns the type that Lambda reports.
    #[must_use]
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::UnsupportedPayload(_) => "UnsupportedPayload",
            Self::ListFailed(_) => "ListFailed",
            Self::PublishFailed(_) => "PublishFailed",
            Self::Incomplete(_) => "Incomplete",
            Self::FollowFailed(_) => "FollowFailed",
        }
    }

    /// Returns the error of a listing that failed or, for a request, of reads that failed.
    #[must_use]
    pub(crate) fn list_failed(error: &CallError, engine: &Engine) -> Self {
        let service = engine.service();
        let mut remedy = remedy(error, service);
        // If the service is out of reach or returns unusual errors, AWS may have ended it.
        if let Some(ended) = engine.ended()
            && !matches!(
                error.fault,
                Fault::Untrusted | Fault::Late | Fault::Throttled
            )
        {
            remedy = format!("{remedy}; {ended}");
        }
        let error = error.to_string();
        let error = text::cut(&error, 1000);
        Self::ListFailed(format!(
            "nothing was cancelled: the environments could not be listed ({error}); {remedy}"
        ))
    }

    /// Returns the error of `count` outcomes that could not be published.
    #[must_use]
    pub(crate) fn publish_failed(count: usize, bus: &str, why: &str) -> Self {
        let why = text::cut(why, 1000);
        Self::PublishFailed(format!(
            "{count} outcomes could not be published to the event bus `{bus}` ({why}): the log has each of them under `unpublished outcome`; check that the bus exists and that the function's role allows `events:PutEvents` on it"
        ))
    }

    /// Returns the error of a followed deployment that could not be read.
    #[must_use]
    pub(crate) fn follow_failed(error: &CallError, engine: &Engine) -> Self {
        let service = engine.service();
        let remedy = if error.fault == Fault::Untrusted {
            "trust its certificate with `AWS_CA_BUNDLE`"
        } else {
            "check the follower's role, credentials and region"
        };
        let error = error.to_string();
        let error = text::cut(&error, 1000);
        Self::FollowFailed(format!(
            "{service} refused to read the deployment: {error}; {remedy}; the queue delivers the message again"
        ))
    }

    /// Returns the error of a run in which these environments failed with a transient error. `None` if there
    /// are none.
    #[must_use]
    pub(crate) fn incomplete<'a>(
        errors: impl Iterator<Item = (&'a str, &'a CallError)>,
    ) -> Option<Self> {
        let errors: Vec<_> = errors.collect();
        if errors.is_empty() {
            return None;
        }
        let named: Vec<_> = errors
            .iter()
            .take(MOST_NAMED)
            .map(|(name, error)| {
                let message = text::cut(&error.message, 200);
                format!("`{name}` ({}: {message})", error.code)
            })
            .collect();
        let more = match errors.len().saturating_sub(MOST_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let count = match errors.len() {
            1 => "1 environment".to_owned(),
            count => format!("{count} environments"),
        };
        Some(Self::Incomplete(format!(
            "{count} failed with a transient error: {}{more}; Lambda retries this event and cancels what is still `IN_PROGRESS`",
            named.join(", ")
        )))
    }
}

/// Returns the remedy for a listing that failed with this error.
fn remedy(error: &CallError, service: &str) -> String {
    match error.fault {
        Fault::Unreachable => {
            format!("{service} cannot be reached: check the network, the region and the endpoint")
        }
        // The error's message has the remedy.
        Fault::Untrusted => "nothing was sent".to_owned(),
        Fault::Late => "raise the function's timeout".to_owned(),
        Fault::Throttled => format!(
            "{service} throttles this account: find what else calls {service}, or ask for a higher quota; Lambda retries the event"
        ),
        Fault::Broken | Fault::Lost => "Lambda retries the event".to_owned(),
        Fault::Conflict | Fault::NotFound | Fault::Refused => match error.code.as_str() {
            // Only the page token of a listing can be invalid.
            "ValidationException" | "ValidationError" | "EndlessListing" => format!(
                "{service} refuses its own page token: Lambda retries the event and lists from the first page"
            ),
            _ => "check the function's role, credentials and region".to_owned(),
        },
    }
}

/// Returns the response to Lambda after a panic. The log has the panic's location.
#[must_use]
pub fn panicked(panic: &(dyn Any + Send)) -> Diagnostic {
    let words = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let words = text::cut(words.unwrap_or("no message"), 1000);
    Diagnostic {
        error_type: PANIC.to_owned(),
        error_message: format!("the function panicked: {words}; report this as a bug"),
    }
}

impl From<InvocationError> for Diagnostic {
    fn from(error: InvocationError) -> Self {
        Self {
            error_type: error.error_type().to_owned(),
            error_message: error.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remedy_of(fault: Fault, code: &str) -> String {
        let error = CallError {
            fault,
            code: code.to_owned(),
            message: "no".to_owned(),
        };
        remedy(&error, "Proton")
    }

    #[test]
    fn the_remedy_for_a_throttled_listing_does_not_name_concurrency() {
        let remedy = remedy_of(Fault::Throttled, "ThrottlingException");
        assert!(remedy.contains("a higher quota"), "{remedy}");
        assert!(!remedy.contains("CONCURRENCY"), "{remedy}");
    }

    #[test]
    fn a_refused_page_token_is_not_blamed_on_the_role() {
        for code in ["ValidationException", "ValidationError", "EndlessListing"] {
            let remedy = remedy_of(Fault::Refused, code);
            assert!(remedy.contains("page token"), "{remedy}");
            assert!(!remedy.contains("role"), "{remedy}");
        }
        let denied = remedy_of(Fault::Refused, "AccessDeniedException");
        assert!(denied.contains("role"), "{denied}");
    }
}
