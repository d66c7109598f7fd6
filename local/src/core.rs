//! The core: a state machine without clock, sockets or tasks that answers one request at a time.
//!
//! The HTTP server and the in-process client share one core. Each service is a variant of
//! [`Service`] with a module of its own; the core applies faults and records the calls of all.

use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::account::live::Phase;
use crate::account::snapshot::{
    DeploymentSnapshot, EnvironmentSnapshot, StackSnapshot, UpdateSnapshot,
};
use crate::account::{Account, Context};
use crate::cloudformation::{CloudFormation, name_of};
use crate::event_bridge::{Event, EventBridge};
use crate::faults::FaultMoment;
use crate::faults::live::{CallSeen, InjectedFault, LiveFaults};
use crate::identity::Identities;
use crate::proton::Proton;
use crate::runtime_api::{Invocation, RuntimeApi};
use crate::wire;
use crate::wire::error::ServiceError;
use crate::wire::operation::{Operation, Service};
use crate::wire::query;
use crate::wire::time::rfc3339;
use crate::world::World;

/// The largest event that Lambda accepts, in bytes.
const MOST_EVENT_BYTES: usize = 6 * 1024 * 1024;

/// A call that a service received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The time of arrival.
    pub time: SystemTime,
    /// The service.
    pub service: Service,
    /// The operation, as the request named it.
    pub operation: String,
    /// The ID of the access key that signed the call, which tells callers apart.
    pub caller: Option<String>,
    /// The environment or stack that the request named.
    pub environment: Option<String>,
    /// The deployment or update that the call cancelled, whatever the response was.
    pub cancelled: Option<String>,
    /// The response.
    pub answer: Answer,
    /// The request's body.
    pub body: Bytes,
}

/// The response to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The operation's output.
    Ok,
    /// An error of this code.
    Error(String),
    /// A response of this HTTP status that is not the service's.
    Junk(u16),
    /// A part of the response.
    Cut,
    /// None: the connection was dropped before the call had an effect.
    DroppedBefore,
    /// None: the connection was dropped after the call had its effect.
    DroppedAfter,
    /// None, and the connection stays open.
    Never,
}

impl fmt::Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => formatter.write_str("ok"),
            Self::Error(code) => formatter.write_str(code),
            Self::Junk(status) => write!(formatter, "HTTP status {status}"),
            Self::Cut => formatter.write_str("cut short"),
            Self::DroppedBefore => formatter.write_str("dropped before it had an effect"),
            Self::DroppedAfter => formatter.write_str("dropped after it had its effect"),
            Self::Never => formatter.write_str("never answered"),
        }
    }
}

impl Call {
    /// Returns the call as `GET /_local/calls` shows it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "time": rfc3339(self.time),
            "service": self.service.to_string(),
            "operation": self.operation,
            "environment": self.environment,
            "cancelledDeploymentId": self.cancelled,
            "answer": self.answer.to_string(),
        })
    }
}

/// The instruction to the HTTP server or the in-process client.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Send this response after a pause.
    Response(Response<Bytes>, Duration),
    /// Drop the connection after a pause.
    Drop(Duration),
    /// Leave the connection open and send nothing.
    Never,
    /// Send this response; the state of an invocation has changed.
    Changed(Response<Bytes>),
    /// Wait for an event for the function.
    NextEvent,
    /// Hand this event to the function, and wait for its end.
    Invoke(Bytes, Invocation),
    /// Hand this event to the function, and do not wait.
    InvokeLater(Bytes),
}

/// The whole state.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) runtime: RuntimeApi,
    pub(crate) identities: Identities,
    account: Account,
    proton: Proton,
    cloudformation: CloudFormation,
    event_bridge: EventBridge,
    faults: LiveFaults,
    calls: Vec<Call>,
}

impl Core {
    pub(crate) fn new(world: World, start: SystemTime) -> Self {
        let mut identities = Identities::new(world.seed);
        Self {
            runtime: RuntimeApi::new(&world),
            account: Account::new(&world.environments, world.arns(), start, &mut identities),
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

    pub(crate) fn calls(&self) -> &[Call] {
        &self.calls
    }

    pub(crate) fn events(&self) -> &[Event] {
        self.event_bridge.taken()
    }

    pub(crate) fn environments(&self) -> Vec<EnvironmentSnapshot> {
        self.account.environment_snapshots()
    }

    pub(crate) fn deployments(&self) -> Vec<DeploymentSnapshot> {
        self.account.deployment_snapshots()
    }

    pub(crate) fn stacks(&self) -> Vec<StackSnapshot> {
        self.account.stack_snapshots()
    }

    pub(crate) fn updates(&self) -> Vec<UpdateSnapshot> {
        self.account.update_snapshots()
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
            return json_response(StatusCode::METHOD_NOT_ALLOWED, &body);
        }
        let body = match place {
            "events" => self.events().iter().map(Event::to_json).collect(),
            "calls" => self.calls.iter().map(Call::to_json).collect(),
            "environments" => self
                .environments()
                .iter()
                .map(EnvironmentSnapshot::to_json)
                .collect(),
            "deployments" => self
                .deployments()
                .iter()
                .map(DeploymentSnapshot::to_json)
                .collect(),
            "stacks" => self.stacks().iter().map(StackSnapshot::to_json).collect(),
            "updates" => self.updates().iter().map(UpdateSnapshot::to_json).collect(),
            _ => {
                let body = json!({ "message": "there are `events`, `calls`, `environments`, `deployments`, `stacks` and `updates` here" });
                return json_response(StatusCode::NOT_FOUND, &body);
            }
        };
        json_response(StatusCode::OK, &Value::Array(body))
    }

    /// Answers a call of a service.
    fn service(&mut self, request: &Request<Bytes>, now: SystemTime) -> Reply {
        let request_id = self.identities.uuid();
        let header = |name: &str| {
            request
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        let target = header("x-amz-target");
        if request.method() != Method::POST || request.uri().path() != "/" {
            let error = ServiceError::unknown_operation("services take POST requests to `/`");
            let service =
                Service::of_target(target).map_or(Service::Proton, |(service, _)| service);
            return at_once(wire::error_response(
                service,
                &error.status(404),
                &request_id,
            ));
        }
        let action = action(header("content-type"), target, request.body());
        let of_target =
            Service::of_target(target).map(|(service, name)| (service, name.to_owned()));
        let Some((service, name)) = action.or(of_target) else {
            let is_json_1_1 =
                header("content-type").starts_with(Service::EventBridge.content_type());
            let service = if is_json_1_1 {
                Service::EventBridge
            } else {
                Service::Proton
            };
            let error =
                ServiceError::unknown_operation(format!("the target `{target}` is not known"));
            return at_once(wire::error_response(service, &error, &request_id));
        };
        let operation = name
            .parse::<Operation>()
            .ok()
            .filter(|operation| operation.service() == service);
        let mut call = Call {
            time: now,
            service,
            operation: name.clone(),
            caller: access_key(header("authorization")).map(str::to_owned),
            environment: None,
            cancelled: None,
            answer: Answer::Ok,
            body: request.body().clone(),
        };
        let admitted = match operation {
            None => Err(unknown_operation(service, &name)),
            Some(_) if header("authorization").is_empty() && !is_presigned(request) => {
                let code = match service {
                    Service::Proton | Service::EventBridge => "MissingAuthenticationTokenException",
                    Service::CloudFormation => "MissingAuthenticationToken",
                };
                Err(ServiceError::new(
                    code,
                    "Request is missing Authentication Token",
                ))
            }
            Some(operation) => Ok(operation),
        };
        let reply = match admitted {
            Ok(operation) => self.carry_out(operation, &mut call, &request_id),
            Err(error) => {
                call.answer = Answer::Error(error.code.to_string());
                at_once(wire::error_response(service, &error, &request_id))
            }
        };
        self.calls.push(call);
        reply
    }

    /// Carries out a call, or injects a fault.
    fn carry_out(&mut self, operation: Operation, call: &mut Call, request_id: &str) -> Reply {
        let now = call.time;
        let body = call.body.clone();
        let input: Value = match call.service {
            Service::Proton | Service::EventBridge => {
                serde_json::from_slice(&body).unwrap_or_default()
            }
            Service::CloudFormation => Value::Object(query::read(&body)),
        };
        call.environment = named_environment(operation, &input);
        let verdict = self.faults.judge(
            &CallSeen {
                operation,
                environment: call.environment.as_deref(),
                details: &details(&input),
            },
            now,
        );
        let latency = verdict.latency;
        let (moment, injected) = match verdict.fault {
            Some((moment, injected)) => (Some(moment), Some(injected)),
            None => (None, None),
        };
        let is_answered = matches!(injected, Some(InjectedFault::Cut { .. }));
        let result = if moment == Some(FaultMoment::BeforeEffect) && !is_answered {
            None
        } else {
            Some(self.effect(operation, &body, call))
        };
        let answer = |output: &Value| wire::response(operation, output, request_id);
        match (injected, result) {
            (Some(InjectedFault::Cut { before }), Some(result)) => {
                call.answer = Answer::Cut;
                let whole = match result {
                    Ok(output) => answer(&output),
                    Err(error) => wire::error_response(call.service, &error, request_id),
                };
                Reply::Response(whole.map(|body| cut(&body, before.as_bytes())), latency)
            }
            (Some(InjectedFault::Error(error)), _) | (None, Some(Err(error))) => {
                call.answer = Answer::Error(error.code.to_string());
                Reply::Response(
                    wire::error_response(call.service, &error, request_id),
                    latency,
                )
            }
            (Some(InjectedFault::Junk { status, body }), _) => {
                call.answer = Answer::Junk(status);
                let mut response = Response::new(Bytes::from(body));
                *response.status_mut() =
                    StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
                Reply::Response(response, latency)
            }
            (Some(InjectedFault::Drop), result) => {
                call.answer = match result {
                    None => Answer::DroppedBefore,
                    Some(_) => Answer::DroppedAfter,
                };
                Reply::Drop(latency)
            }
            (Some(InjectedFault::Never | InjectedFault::Cut { .. }), _) | (None, None) => {
                call.answer = Answer::Never;
                Reply::Never
            }
            (None, Some(Ok(output))) => Reply::Response(answer(&output), latency),
        }
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

fn at_once(response: Response<Bytes>) -> Reply {
    Reply::Response(response, Duration::ZERO)
}

/// Answers Lambda's `Invoke`.
fn invoke(request: &Request<Bytes>) -> Reply {
    if request.method() != Method::POST {
        let body = json!({ "message": "a function is invoked with POST" });
        return at_once(json_response(StatusCode::METHOD_NOT_ALLOWED, &body));
    }
    if request.body().len() > MOST_EVENT_BYTES {
        let body = json!({
            "Type": "User",
            "message": format!("{} byte payload is too large for the RequestResponse invocation type (limit {MOST_EVENT_BYTES} bytes)", request.body().len()),
        });
        let mut response = json_response(StatusCode::PAYLOAD_TOO_LARGE, &body);
        response.headers_mut().insert(
            "x-amzn-errortype",
            HeaderValue::from_static("RequestTooLargeException"),
        );
        return at_once(response);
    }
    let payload = request.body().clone();
    let kind = request
        .headers()
        .get("x-amz-invocation-type")
        .map(HeaderValue::as_bytes);
    match kind {
        Some(b"Event") => Reply::InvokeLater(payload),
        Some(b"DryRun") => {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::NO_CONTENT;
            at_once(response)
        }
        Some(_) | None => Reply::Invoke(payload, Invocation::default()),
    }
}

/// Returns CloudFormation and the action that a request names, if the request is a form without a
/// target.
fn action(content_type: &str, target: &str, body: &[u8]) -> Option<(Service, String)> {
    if !target.is_empty() || !content_type.starts_with(query::FORM) {
        return None;
    }
    let form = query::read(body);
    let text = |name: &str| form.get(name).and_then(Value::as_str);
    let action = text("Action").filter(|_| text("Version") == Some(query::VERSION))?;
    Some((Service::CloudFormation, action.to_owned()))
}

/// Returns the error for an operation that is not offered, as the service's protocol has it.
fn unknown_operation(service: Service, name: &str) -> ServiceError {
    let message = format!("the local AWS does not offer `{name}`");
    match service {
        Service::Proton | Service::EventBridge => ServiceError::unknown_operation(message),
        Service::CloudFormation => ServiceError::new("InvalidAction", message),
    }
}

/// Returns the ID of the access key that a request is signed with, from its header.
fn access_key(authorization: &str) -> Option<&str> {
    let (_, credential) = authorization.split_once("Credential=")?;
    credential.split('/').next()
}

/// True if the signature is in the query.
fn is_presigned(request: &Request<Bytes>) -> bool {
    request
        .uri()
        .query()
        .is_some_and(|query| query.contains("X-Amz-Signature="))
}

/// Returns the environment or stack that an unchecked request names.
fn named_environment(operation: Operation, input: &Value) -> Option<String> {
    let member = operation.environment_member()?;
    let text = input.get(member)?.as_str()?;
    let name = match operation.service() {
        Service::CloudFormation => name_of(text),
        Service::Proton | Service::EventBridge if member == "resourceArn" => {
            let (_, name) = text.split_once(":environment/")?;
            name
        }
        Service::Proton | Service::EventBridge => text,
    };
    Some(name.to_owned())
}

/// Returns the part of a body before this text.
fn cut(body: &Bytes, before: &[u8]) -> Bytes {
    let found = body
        .windows(before.len().max(1))
        .position(|window| window == before);
    body.slice(..found.unwrap_or(body.len()))
}

/// Returns the details of the entries of a request to `PutEvents`.
fn details(input: &Value) -> Vec<&str> {
    let entries = input.get("Entries").and_then(Value::as_array);
    entries
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.get("Detail")?.as_str())
        .collect()
}

fn json_response(status: StatusCode, body: &Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}
