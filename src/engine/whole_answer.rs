//! Checks that responses are whole. A response that lacks a required member counts as lost.
//!
//! The SDK fills missing members with defaults, and reads an XML response as far as it goes. So it reads a
//! truncated response as a listing without environments.

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::AfterDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

/// A check of an operation's response, after the SDK has received all of it.
pub(super) type Check =
    fn(operation: &str, &AfterDeserializationInterceptorContextRef<'_>) -> Result<(), String>;

/// An interceptor that fails calls whose response is not whole.
#[derive(Debug)]
pub(super) struct WholeAnswer(pub(super) Check);

#[dyn_dispatch_hint]
impl Intercept for WholeAnswer {
    fn name(&self) -> &'static str {
        "WholeAnswer"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = config.load::<Metadata>().map_or("", Metadata::name);
        (self.0)(operation, context).map_err(Into::into)
    }
}
