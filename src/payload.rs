//! The payload's bytes, before any decoding.
//!
//! If the bytes are not JSON, the Lambda runtime fails the invocation with an error type of its own. So
//! this layer keeps the bytes and hands the runtime a `null` to decode.

use std::task::{Context, Poll};

use bytes::Bytes;
use lambda_runtime::LambdaInvocation;
use tokio::task::futures::TaskLocalFuture;
use tower::{Layer, Service};

tokio::task_local! {
    static PAYLOAD: Bytes;
}

/// Returns the bytes of the current invocation's payload.
#[must_use]
pub fn bytes() -> Bytes {
    PAYLOAD.try_with(Bytes::clone).unwrap_or_default()
}

/// A layer that keeps each invocation's bytes for [`bytes()`].
#[derive(Clone, Copy, Debug)]
pub struct KeepBytes;

impl<S> Layer<S> for KeepBytes {
    type Service = KeepingBytes<S>;

    fn layer(&self, inner: S) -> Self::Service {
        KeepingBytes(inner)
    }
}

/// The service of [`KeepBytes`].
#[derive(Clone, Debug)]
pub struct KeepingBytes<S>(S);

impl<S: Service<LambdaInvocation>> Service<LambdaInvocation> for KeepingBytes<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = TaskLocalFuture<Bytes, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut invocation: LambdaInvocation) -> Self::Future {
        let payload = std::mem::replace(&mut invocation.body, Bytes::from_static(b"null"));
        PAYLOAD.scope(payload, self.0.call(invocation))
    }
}
