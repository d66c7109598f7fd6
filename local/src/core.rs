//! The core: a state machine without clock, sockets or tasks that answers one request at a time.
//!
//! The HTTP server and the in-process client share one core. Each service is a variant of
//! [`Service`] with a module of its own; the core applies faults and records the calls of all.

pub(crate) mod call;
mod invoke;
pub(crate) mod reply;
mod request;

use std::time::SystemTime;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::account::live::Phase;
use crate::account::snapshot::{DeploymentSnapshot, EnvironmentSnapshot};
use crate::account::status::{StackStatus, Status};
use crate::account::{Account, Context};
use crate::cloudformation::CloudFormation;
use crate::core::call::{Answer, Call};
use crate::core::invoke::invoke;
use crate::core::reply::{Reply, at_once};
use crate::core::request::{ServiceRequest, details, named_environment};
use crate::event_bridge::{Event, EventBridge};
use crate::faults::live::{CallSeen, LiveFaults};
use crate::faults::{Fault, FaultMoment};
use crate::identity::Identities;
use crate::proton::Proton;
use crate::runtime_api::{Invocation, RuntimeApi};
use crate::wire;
use crate::wire::error::ServiceError;
use crate::wire::operation::{Operation, Service};
use crate::wire::query;
use crate::wire::response;
use crate::world::World;

/// The whole state.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) runtime: RuntimeApi,
    identities: Identities,
    pub(crate) account: Account,
    proton: Proton,
    cloudformation: CloudFormation,
    pub(crate) event_bridge: EventBridge,
    faults: LiveFaults,
    pub(crate) calls: Vec<Call>,
}

impl Core {
    pub(crate) fn new(world: World, start: SystemTime) -> Self {
        let mut identities = Identities::new(world.seed);
        Self {
            runtime: RuntimeApi::new(&world),
            account: Account::new(&world.environments, world.arns, start, &mut identities),
            proton: Proton::new(world.proton),
            cloudformation: CloudFormation::new(world.cloudformation),
            event_bridge: EventBridge::default(),
            faults: LiveFaults::new(world.faults, world.seed, start),
            calls: Vec::new(),
            identities,
        }
    }

    /// Answers a request.
    pub(crate) fn answer(&mut self, request: &Request<Bytes>, now: SystemTime) -> Reply {
        self.advance(now);
        let path = request.uri().path();
        if let Some(place) = path.strip_prefix("/_local/") {
            return at_once(self.state(request.method(), place));
        }
        if let Some(rest) = path.strip_prefix("/2018-06-01/runtime/") {
            return self.runtime(request, rest);
        }
        if path.starts_with("/2015-03-31/functions/") && path.ends_with("/invocations") {
            return invoke(request);
        }
        self.service(request, now)
    }

    pub(crate) fn advance(&mut self, now: SystemTime) {
        self.account.advance(now, &mut self.identities);
    }

    /// Queues an event for the function and returns its request ID.
    pub(crate) fn queue(&mut self, payload: Bytes, invocation: Invocation) -> String {
        self.runtime
            .queue(payload, invocation, &mut self.identities)
    }

    /// Returns the next event for the function, if there is one.
    pub(crate) fn next_event(&mut self, now: SystemTime) -> Option<Response<Bytes>> {
        self.runtime.next(now, &mut self.identities)
    }

    fn runtime(&mut self, request: &Request<Bytes>, rest: &str) -> Reply {
        if request.method() == Method::GET && rest == "invocation/next" {
            return Reply::NextEvent;
        }
        Reply::Changed(self.runtime.answer(
            request.method(),
            rest,
            request.headers(),
            request.body().clone(),
        ))
    }

    /// Answers a request for the state of the world.
    fn state(&self, method: &Method, place: &str) -> Response<Bytes> {
        if method != Method::GET {
            let body = json!({ "message": "this can only be read: use GET" });
            return response::json(StatusCode::METHOD_NOT_ALLOWED, body.to_string());
        }
        let (account, events) = (&self.account, self.event_bridge.taken());
        let body = match place {
            "events" => list(events, Event::to_json),
            "calls" => list(&self.calls, Call::to_json),
            "environments" => list(
                account.environments(),
                EnvironmentSnapshot::<Status>::to_json,
            ),
            "deployments" => list(account.deployments(), DeploymentSnapshot::<Status>::to_json),
            "stacks" => list(
                account.environments(),
                EnvironmentSnapshot::<StackStatus>::to_json,
            ),
            "updates" => list(
                account.deployments(),
                DeploymentSnapshot::<StackStatus>::to_json,
            ),
            _ => {
                let body = json!({ "message": "there are `events`, `calls`, `environments`, `deployments`, `stacks` and `updates` here" });
                return response::json(StatusCode::NOT_FOUND, body.to_string());
            }
        };
        response::json(StatusCode::OK, body.to_string())
    }

    /// Answers a call of a service.
    fn service(&mut self, request: &Request<Bytes>, now: SystemTime) -> Reply {
        let request_id = self.identities.uuid();
        let read = match ServiceRequest::read(request) {
            Ok(read) => read,
            Err((service, error)) => {
                return at_once(wire::error_response(service, &error, &request_id));
            }
        };
        let mut call = Call {
            time: now,
            service: read.service,
            operation: read.name,
            caller: read.caller,
            environment: None,
            cancelled: None,
            answer: Answer::Ok,
            body: request.body().clone(),
        };
        let reply = match read.operation {
            Ok(operation) => self.carry_out(operation, &mut call, &request_id),
            Err(error) => {
                call.answer = Answer::Error(error.code.to_string());
                at_once(wire::error_response(read.service, &error, &request_id))
            }
        };
        self.calls.push(call);
        reply
    }

    /// Carries out a call, or injects a fault.
    fn carry_out(&mut self, operation: Operation, call: &mut Call, request_id: &str) -> Reply {
        let body = call.body.clone();
        let input: Value = match call.service {
            Service::Proton | Service::EventBridge => {
                serde_json::from_slice(&body).unwrap_or_default()
            }
            Service::CloudFormation => Value::Object(query::read(&body)),
        };
        call.environment = named_environment(operation, &input);
        let seen = CallSeen {
            operation,
            environment: call.environment.as_deref(),
            details: &details(&input),
        };
        let verdict = self.faults.judge(&seen, call.time);
        let has_effect = match &verdict.fault {
            Some((FaultMoment::BeforeEffect, injected)) => {
                matches!(injected, Fault::Cut { .. })
            }
            Some((FaultMoment::AfterEffect, _)) | None => true,
        };
        let result = has_effect.then(|| self.effect(operation, &body, call));
        let injected = verdict.fault.map(|(_, injected)| injected);
        let (answer, reply) = Reply::new(operation, injected, result, verdict.latency, request_id);
        call.answer = answer;
        reply
    }

    fn effect(
        &mut self,
        operation: Operation,
        body: &[u8],
        call: &mut Call,
    ) -> Result<Value, ServiceError> {
        let Self {
            account,
            proton,
            cloudformation,
            event_bridge,
            faults,
            identities,
            ..
        } = self;
        let now = call.time;
        let named = call.environment.clone().map(|name| vec![name]);
        account.count_call(
            (Phase::Arrived, operation),
            named.as_deref(),
            now,
            identities,
        );
        let mut context = Context {
            account,
            identities,
            now,
            environments: Vec::new(),
            cancelled: None,
        };
        let result = match operation.service() {
            Service::Proton => proton.call(operation, body, &mut context),
            Service::CloudFormation => {
                cloudformation.call(operation, query::read(body), &mut context)
            }
            Service::EventBridge => event_bridge.put_events(body, now, context.identities, faults),
        };
        let (concerned, cancelled) = (context.environments, context.cancelled);
        let carried_out = (Phase::CarriedOut, operation);
        account.count_call(carried_out, Some(&concerned), now, identities);
        call.cancelled = cancelled;
        result
    }
}

/// Returns a list as JSON.
fn list<T>(elements: impl AsRef<[T]>, to_json: fn(&T) -> Value) -> Value {
    elements.as_ref().iter().map(to_json).collect()
}
