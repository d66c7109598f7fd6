//! The payload's own bytes.
//!
//! The Lambda runtime's default decoding answers bytes that are no JSON itself, with an error that
//! is not this function's. This layer keeps the bytes and hands the handler a `null` to decode.

use std::task::{Context, Poll};

use bytes::Bytes;
use lambda_runtime::LambdaInvocation;
use tokio::task::futures::TaskLocalFuture;
use tower::{Layer, Service};

tokio::task_local! {
    static PAYLOAD: Bytes;
}

/// The bytes of the invocation that is being handled.
#[must_use]
pub fn bytes() -> Bytes {
    PAYLOAD.try_with(Bytes::clone).unwrap_or_default()
}

/// Keeps each invocation's bytes for [`bytes()`].
#[derive(Clone, Copy, Debug)]
pub struct KeepBytes;

impl<S> Layer<S> for KeepBytes {
    type Service = KeepingBytes<S>;

    fn layer(&self, inner: S) -> Self::Service {
        KeepingBytes(inner)
    }
}

/// See [`KeepBytes`].
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
