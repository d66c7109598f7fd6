//! The core with a clock and the waits around it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::account::snapshot::{DeploymentSnapshot, EnvironmentSnapshot};
use crate::account::status::StackStatus;
use crate::clock::Clock;
use crate::core::Core;
use crate::core::call::Call;
use crate::core::reply::Reply;
use crate::event_bridge::Event;
use crate::runtime_api::{Invocation, InvocationResult, NOT_POLLING, Progress};
use crate::wire::response::{self, insert};
use crate::world::World;

/// A running local AWS. Clones share one world.
#[derive(Clone)]
pub struct LocalAws(Arc<Inner>);

struct Inner {
    core: Mutex<Core>,
    clock: Clock,
    patience: Duration,
    /// Notified whenever an event is queued or an invocation ends.
    changed: watch::Sender<()>,
}

/// The end of a request.
#[derive(Debug)]
pub(crate) enum Exchange {
    /// A response.
    Response(Response<Bytes>),
    /// A dropped connection.
    Dropped,
}

impl LocalAws {
    /// Starts a world at the clock's time.
    #[must_use]
    pub fn new(world: World, clock: Clock) -> Self {
        let core = Core::new(world, clock.now());
        Self(Arc::new(Inner {
            patience: core.runtime.patience(),
            core: Mutex::new(core),
            clock,
            changed: watch::Sender::new(()),
        }))
    }

    /// Returns the clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Returns every call that a service received, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.core().calls.clone()
    }

    /// Returns every event that EventBridge accepted, in order.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.core().event_bridge.taken().to_vec()
    }

    /// Returns the present state of every environment, by name.
    #[must_use]
    pub fn environments(&self) -> Vec<EnvironmentSnapshot> {
        self.core().account.environments()
    }

    /// Returns the present state of every deployment that ever existed: the truth to compare outcomes
    /// with.
    #[must_use]
    pub fn deployments(&self) -> Vec<DeploymentSnapshot> {
        self.core().account.deployments()
    }

    /// Returns the present state of every stack, by name.
    #[must_use]
    pub fn stacks(&self) -> Vec<EnvironmentSnapshot<StackStatus>> {
        self.core().account.environments()
    }

    /// Returns the present state of every update that ever existed: the truth to compare outcomes with.
    #[must_use]
    pub fn updates(&self) -> Vec<DeploymentSnapshot<StackStatus>> {
        self.core().account.deployments()
    }

    /// Returns the last error that a function posted to the Runtime API's `/init/error`.
    #[must_use]
    pub fn init_error(&self) -> Option<Bytes> {
        self.core().runtime.init_error()
    }

    /// Hands an event to the function that polls the Runtime API, and waits for the end.
    pub async fn invoke(&self, payload: Bytes, invocation: Invocation) -> InvocationResult {
        let waiting = self.queue(payload, invocation);
        waiting.ended().await
    }

    /// Ends the invocations of a function whose process has ended, with this message.
    pub fn function_exited(&self, what: &str) {
        self.core().runtime.function_exited(what);
        self.notify();
    }

    fn queue(&self, payload: Bytes, invocation: Invocation) -> Waiting {
        let id = self.core().queue(payload, invocation);
        self.notify();
        Waiting {
            local: self.clone(),
            id,
        }
    }

    /// Answers a request.
    pub(crate) async fn exchange(&self, request: Request<Bytes>) -> Exchange {
        let arrived = Instant::now();
        let reply = self.core().answer(&request, self.0.clock.now());
        match reply {
            Reply::Response(response, latency) => {
                pause(arrived, latency).await;
                Exchange::Response(response)
            }
            Reply::Changed(response) => {
                self.notify();
                Exchange::Response(response)
            }
            Reply::Drop(latency) => {
                pause(arrived, latency).await;
                Exchange::Dropped
            }
            Reply::Never => std::future::pending().await,
            Reply::NextEvent => Exchange::Response(self.next_event().await),
            Reply::Invoke(payload, invocation) => {
                let waiting = self.queue(payload, invocation);
                let id = waiting.id.clone();
                Exchange::Response(invoked(&id, waiting.ended().await))
            }
            Reply::InvokeLater(payload) => {
                let waiting = self.queue(payload, Invocation::default());
                let mut response = response::empty(StatusCode::ACCEPTED);
                insert(&mut response, "x-amzn-requestid", &waiting.id);
                tokio::spawn(waiting.ended());
                Exchange::Response(response)
            }
        }
    }

    async fn next_event(&self) -> Response<Bytes> {
        let mut changed = self.0.changed.subscribe();
        loop {
            let next = self.core().next_event(self.0.clock.now());
            if let Some(response) = next {
                self.notify();
                return response;
            }
            // The channel cannot close, because `self` holds the sender.
            let _ = changed.changed().await;
        }
    }

    /// Returns the core after everything that is due.
    fn core(&self) -> MutexGuard<'_, Core> {
        let mut core = self.0.core.lock().unwrap_or_else(PoisonError::into_inner);
        core.advance(self.0.clock.now());
        core
    }

    fn notify(&self) {
        self.0.changed.send_replace(());
    }
}

impl fmt::Debug for LocalAws {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LocalAws").finish_non_exhaustive()
    }
}

/// An invocation with a caller.
struct Waiting {
    local: LocalAws,
    id: String,
}

impl Waiting {
    async fn ended(self) -> InvocationResult {
        let LocalAws(inner) = &self.local;
        let mut changed = inner.changed.subscribe();
        let mut patience_ends = Instant::now() + inner.patience;
        loop {
            let progress = self
                .local
                .core()
                .runtime
                .progress(&self.id, inner.clock.now());
            let until = match progress {
                Progress::Ended(result) => return result,
                Progress::Queued { is_function_busy } => {
                    if is_function_busy {
                        patience_ends = Instant::now() + inner.patience;
                    } else if Instant::now() >= patience_ends {
                        return self.local.core().runtime.give_up(&self.id);
                    }
                    patience_ends
                }
                Progress::Taken { deadline } => match deadline.duration_since(inner.clock.now()) {
                    Ok(left) if !left.is_zero() => Instant::now() + left,
                    Ok(_) | Err(_) => return self.local.core().runtime.time_out(&self.id),
                },
            };
            tokio::select! {
                _ = changed.changed() => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.local.core().runtime.abandon(&self.id);
    }
}

/// Returns the response of `Invoke`.
fn invoked(id: &str, result: InvocationResult) -> Response<Bytes> {
    let mut response = match result {
        InvocationResult::Response(body) => response::json(StatusCode::OK, body),
        InvocationResult::Error {
            error_type,
            error_message,
            ..
        } if error_type == NOT_POLLING => not_polling(&error_message),
        InvocationResult::Error { raw, .. } => {
            let mut response = response::json(StatusCode::OK, raw);
            insert(&mut response, "x-amz-function-error", "Unhandled");
            response
        }
    };
    insert(&mut response, "x-amz-executed-version", "$LATEST");
    insert(&mut response, "x-amzn-requestid", id);
    response
}

/// Returns the service's error if no function polls.
fn not_polling(message: &str) -> Response<Bytes> {
    let body = json!({ "Type": "Service", "message": message });
    let mut response = response::json(StatusCode::GATEWAY_TIMEOUT, body.to_string());
    insert(&mut response, "x-amzn-errortype", "ServiceException");
    response
}

/// Waits for a latency. It counts from the request's arrival: the time to make the response is a part of it.
async fn pause(arrived: Instant, latency: Duration) {
    if !latency.is_zero() {
        tokio::time::sleep_until(arrived + latency).await;
    }
}
