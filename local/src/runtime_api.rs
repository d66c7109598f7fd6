//! The Lambda Runtime API, as AWS's emulator answers it, and the events that wait for a function.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::identity::Identities;
use crate::wire::response;
use crate::wire::time::epoch_millis;
use crate::world::{Function, World};

/// The largest response of a function, in bytes.
const MOST_ANSWER_BYTES: usize = 6 * 1024 * 1024 + 100;

/// The type of the error if no function polls for an event.
pub(crate) const NOT_POLLING: &str = "Runtime.NotPolling";

/// The options of one invocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invocation {
    /// The function's time from when it takes the event; `None` for the world's timeout.
    pub timeout: Option<Duration>,
    /// The request's ID; `None` for a new one.
    pub request_id: Option<String>,
    /// The trace's ID; `None` for a new one.
    pub trace_id: Option<String>,
}

/// The end of an invocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvocationResult {
    /// The function's response.
    Response(Bytes),
    /// An error: the function reported it, did not start, or did not respond in time.
    Error {
        /// The error's stable type.
        error_type: String,
        /// The error's message.
        error_message: String,
        /// The whole error object.
        raw: Bytes,
    },
}

impl InvocationResult {
    fn failed(error_type: &str, error_message: &str) -> Self {
        let raw = json!({ "errorType": error_type, "errorMessage": error_message });
        Self::Error {
            error_type: error_type.to_owned(),
            error_message: error_message.to_owned(),
            raw: Bytes::from(raw.to_string()),
        }
    }

    /// Reads an error that a runtime posted.
    fn reported(headers: &HeaderMap, raw: Bytes) -> Self {
        let object: Value = serde_json::from_slice(&raw).unwrap_or_default();
        let member = |name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
        let header = headers
            .get("lambda-runtime-function-error-type")
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        Self::Error {
            error_type: member("errorType").or(header).unwrap_or_default(),
            error_message: member("errorMessage").unwrap_or_default(),
            raw,
        }
    }
}

/// The progress of an invocation.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Queued: no function has taken the event. A busy function may poll for it later.
    Queued { is_function_busy: bool },
    /// Taken by a function, with a deadline.
    Taken { deadline: SystemTime },
    /// Ended. The API forgets the invocation with this result.
    Ended(InvocationResult),
}

/// The API's state.
#[derive(Debug)]
pub(crate) struct RuntimeApi {
    function: Function,
    function_arn: String,
    queue: VecDeque<Queued>,
    taken: HashMap<String, Taken>,
    ended: HashMap<String, InvocationResult>,
    init_error: Option<Bytes>,
}

#[derive(Debug)]
struct Queued {
    id: String,
    payload: Bytes,
    timeout: Duration,
    trace_id: Option<String>,
}

#[derive(Debug)]
struct Taken {
    deadline: SystemTime,
    has_caller: bool,
}

impl RuntimeApi {
    pub(crate) fn new(world: &World) -> Self {
        Self {
            function: world.function.clone(),
            function_arn: world.function_arn(),
            queue: VecDeque::new(),
            taken: HashMap::new(),
            ended: HashMap::new(),
            init_error: None,
        }
    }

    pub(crate) fn patience(&self) -> Duration {
        self.function.patience
    }

    pub(crate) fn init_error(&self) -> Option<Bytes> {
        self.init_error.clone()
    }

    /// Queues an event and returns its request ID.
    pub(crate) fn queue(
        &mut self,
        payload: Bytes,
        invocation: Invocation,
        identities: &mut Identities,
    ) -> String {
        let id = invocation.request_id.unwrap_or_else(|| identities.uuid());
        self.queue.push_back(Queued {
            id: id.clone(),
            payload,
            timeout: invocation.timeout.unwrap_or(self.function.timeout),
            trace_id: invocation.trace_id,
        });
        id
    }

    /// Returns the next event for the function, if there is one.
    pub(crate) fn next(
        &mut self,
        now: SystemTime,
        identities: &mut Identities,
    ) -> Option<Response<Bytes>> {
        let Queued {
            id,
            payload,
            timeout,
            trace_id,
        } = self.queue.pop_front()?;
        let deadline = now.checked_add(timeout).unwrap_or(now);
        let trace_id = trace_id.unwrap_or_else(|| new_trace_id(now, identities));
        let mut response = response::json(StatusCode::OK, payload);
        let deadline_ms = epoch_millis(deadline).to_string();
        for (name, value) in [
            ("lambda-runtime-aws-request-id", &id),
            ("lambda-runtime-deadline-ms", &deadline_ms),
            ("lambda-runtime-invoked-function-arn", &self.function_arn),
            ("lambda-runtime-trace-id", &trace_id),
        ] {
            response::insert(&mut response, name, value);
        }
        let taken = Taken {
            deadline,
            has_caller: true,
        };
        self.taken.insert(id, taken);
        Some(response)
    }

    /// Answers every other request under the API's path; `rest` follows `/runtime/`.
    pub(crate) fn answer(
        &mut self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Response<Bytes> {
        let parts: Vec<&str> = path.split('/').collect();
        match (method, parts.as_slice()) {
            (&Method::POST, ["init", "error"]) => self.fail_init(headers, body),
            (&Method::POST, ["invocation", id, "response"]) => self.end(id, |id| {
                if body.len() > MOST_ANSWER_BYTES {
                    too_large(id)
                } else {
                    (accepted(), InvocationResult::Response(body))
                }
            }),
            (&Method::POST, ["invocation", id, "error"]) => self.end(id, |_| {
                (accepted(), InvocationResult::reported(headers, body))
            }),
            (
                _,
                ["init", "error"]
                | ["invocation", _, "response" | "error"]
                | ["invocation", "next"],
            ) => response::json(StatusCode::METHOD_NOT_ALLOWED, Bytes::new()),
            _ => error(
                StatusCode::NOT_FOUND,
                "NotFound",
                "the Runtime API has no such path",
            ),
        }
    }

    pub(crate) fn progress(&mut self, id: &str, now: SystemTime) -> Progress {
        if let Some(result) = self.ended.remove(id) {
            return Progress::Ended(result);
        }
        match self.taken.get(id) {
            Some(taken) => Progress::Taken {
                deadline: taken.deadline,
            },
            None => Progress::Queued {
                is_function_busy: self.taken.values().any(|taken| taken.deadline > now),
            },
        }
    }

    /// Ends an invocation whose event no function polled for.
    pub(crate) fn give_up(&mut self, id: &str) -> InvocationResult {
        self.forget(id);
        let patience = self.function.patience.as_secs_f64();
        InvocationResult::failed(
            NOT_POLLING,
            &format!(
                "no function asked the Runtime API for an event within {patience} seconds: start one with AWS_LAMBDA_RUNTIME_API set to this address"
            ),
        )
    }

    /// Ends an invocation whose deadline has passed.
    pub(crate) fn time_out(&mut self, id: &str) -> InvocationResult {
        self.forget(id);
        InvocationResult::failed(
            "Sandbox.Timedout",
            &format!("RequestId: {id} Error: Task timed out"),
        )
    }

    /// Ends an invocation whose function ended before it responded.
    pub(crate) fn function_exited(&mut self, what: &str) {
        let queued = self.queue.drain(..).map(|queued| queued.id);
        let taken = self.taken.drain().filter(|(_, taken)| taken.has_caller);
        for id in queued.chain(taken.map(|(id, _)| id)) {
            let result = match &self.init_error {
                Some(error) => InvocationResult::reported(&HeaderMap::new(), error.clone()),
                None => InvocationResult::failed(
                    "Runtime.ExitError",
                    &format!("RequestId: {id} Error: Runtime exited: {what}"),
                ),
            };
            self.ended.insert(id, result);
        }
    }

    /// Forgets an invocation whose caller is gone. A function that has it may still respond.
    pub(crate) fn abandon(&mut self, id: &str) {
        self.queue.retain(|queued| queued.id != id);
        self.ended.remove(id);
        if let Some(taken) = self.taken.get_mut(id) {
            taken.has_caller = false;
        }
    }

    fn forget(&mut self, id: &str) {
        self.abandon(id);
        self.taken.remove(id);
    }

    fn fail_init(&mut self, headers: &HeaderMap, body: Bytes) -> Response<Bytes> {
        self.init_error = Some(body.clone());
        let result = InvocationResult::reported(headers, body);
        for queued in self.queue.drain(..) {
            self.ended.insert(queued.id, result.clone());
        }
        accepted()
    }

    fn end(
        &mut self,
        id: &str,
        result: impl FnOnce(&str) -> (Response<Bytes>, InvocationResult),
    ) -> Response<Bytes> {
        let Some(taken) = self.taken.remove(id) else {
            return error(
                StatusCode::BAD_REQUEST,
                "InvalidRequestID",
                "Invalid request ID",
            );
        };
        let (response, result) = result(id);
        if taken.has_caller {
            self.ended.insert(id.to_owned(), result);
        }
        response
    }
}

fn too_large(id: &str) -> (Response<Bytes>, InvocationResult) {
    let message = format!("Exceeded maximum allowed payload size ({MOST_ANSWER_BYTES} bytes).");
    let result = InvocationResult::failed(
        "Function.ResponseSizeTooLarge",
        &format!("RequestId: {id} Error: {message}"),
    );
    let response = error(
        StatusCode::PAYLOAD_TOO_LARGE,
        "RequestEntityTooLarge",
        &message,
    );
    (response, result)
}

/// Returns an ID as Lambda makes it for a trace that is not sampled.
fn new_trace_id(now: SystemTime, identities: &mut Identities) -> String {
    let time = epoch_millis(now) / 1000;
    let digits = identities.uuid().replace('-', "");
    let rest = digits.get(..24).unwrap_or_default();
    format!("Root=1-{time:08x}-{rest};Sampled=0")
}

fn accepted() -> Response<Bytes> {
    response::json(StatusCode::ACCEPTED, "{\"status\":\"OK\"}\n")
}

fn error(status: StatusCode, error_type: &str, error_message: &str) -> Response<Bytes> {
    let body = json!({ "errorMessage": error_message, "errorType": error_type });
    response::json(status, body.to_string())
}
