//! A response that lacks what was asked for is no response.
//!
//! The SDK fills what a service must send and did not, and reads as much of an XML response as there is:
//! of a response that was cut short it makes a listing without environments.

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::AfterDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

/// Checks the response to an operation, which the SDK has read as a whole by then.
pub(super) type Check =
    fn(operation: &str, &AfterDeserializationInterceptorContextRef<'_>) -> Result<(), String>;

/// Refuses responses that are not whole.
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
