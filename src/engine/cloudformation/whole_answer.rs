//! An answer that was cut short is no answer.
//!
//! The SDK reads as much of an XML answer as there is, and takes no notice where its end is
//! missing, even if the HTTP connection did not tell: stacks, tokens and ids would be lost unseen. Of an
//! operation without output it reads nothing at all, so that any page with status 200 would do.

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::AfterDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

/// Refuses answers that do not end as CloudFormation ends them.
#[derive(Debug)]
pub(super) struct WholeAnswer;

/// Something else was answered, or less.
#[derive(Debug, thiserror::Error)]
#[error(
    "it does not end as an answer of CloudFormation's: it was cut short, or is somebody else's"
)]
struct NotWhole;

#[dyn_dispatch_hint]
impl Intercept for WholeAnswer {
    fn name(&self) -> &'static str {
        "WholeAnswer"
    }

    /// By then the SDK has all of the body in one piece.
    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        let body = response.body().bytes().unwrap_or_default();
        let is_whole = if response.status().is_success() {
            let operation = config.load::<Metadata>().map_or("", Metadata::name);
            ends_with_the_end_of(body, &format!("{operation}Response"))
        } else {
            !body.trim_ascii_start().starts_with(b"<ErrorResponse")
                || ends_with_the_end_of(body, "ErrorResponse")
        };
        if is_whole {
            Ok(())
        } else {
            Err(Box::new(NotWhole))
        }
    }
}

fn ends_with_the_end_of(body: &[u8], element: &str) -> bool {
    body.trim_ascii_end()
        .strip_suffix(b">")
        .and_then(|body| body.trim_ascii_end().strip_suffix(element.as_bytes()))
        .is_some_and(|body| body.ends_with(b"</"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_if_its_end_is_there() {
        let whole = "<ListStacksResponse><ListStacksResult/></ListStacksResponse>";
        let is_whole = |body: &str| ends_with_the_end_of(body.as_bytes(), "ListStacksResponse");
        assert!(is_whole(whole));
        assert!(is_whole(&format!("{whole}\r\n ")));
        for cut in 0..whole.len() {
            assert!(!is_whole(&whole[..cut]), "{}", &whole[..cut]);
        }
        for other in [
            "<html></html>",
            "{}",
            "<a></DescribeStacksResponse>",
            "ListStacksResponse>",
        ] {
            assert!(!is_whole(other), "{other}");
        }
    }
}
