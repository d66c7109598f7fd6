//! Runs the function in a world, and collects its events, calls and log.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::process::ExitStatus;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use local_aws::{
    Answer, Call, Deployment, DeploymentSnapshot, Ending, Environment, Event, Faults,
    FunctionProcess, Invocation, InvocationResult, Line, LocalAws, Operation, StackStatus, Status,
    Stream, World,
};
use proton_canceller::engine::EngineKind;
use serde_json::Value;
use test_support::function::Aws;

use crate::invariants;
use crate::log_filter::Filter;

/// The function's credentials, which no log line may show.
pub(crate) const SECRETS: [(&str, &str); 2] = [
    ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMIcontractEXAMPLEKEY"),
    ("AWS_SESSION_TOKEN", "FwoGZXIvYXdzEcontractEXAMPLETOKEN"),
];

/// Proton's cancel.
pub(crate) const CANCEL: Operation = Operation::CancelEnvironmentDeployment;

/// The tag that names the alarms which concern an environment.
pub(crate) const TAG: &str = "proton-canceller:alarms";

/// Every engine.
pub(crate) const ENGINES: [EngineKind; 2] = [EngineKind::Proton, EngineKind::CloudFormation];

/// The time for one invocation unless a test sets another.
const TIMEOUT: Duration = Duration::from_mins(1);

pub(crate) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A world and the function's settings.
pub(crate) struct Stage {
    world: World,
    variables: BTreeMap<String, String>,
    timeout: Duration,
}

impl Stage {
    pub(crate) fn of(world: World) -> Self {
        let variables = SECRETS
            .into_iter()
            .chain([("AWS_LAMBDA_LOG_FORMAT", "JSON")])
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Self {
            world,
            variables,
            timeout: TIMEOUT,
        }
    }

    /// A world of these environments.
    pub(crate) fn with(environments: impl IntoIterator<Item = Environment>) -> Self {
        Self::of(environments.into_iter().fold(World::new(), World::with))
    }

    /// A world of environments of these names, each in progress.
    pub(crate) fn running<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self::with(names.into_iter().map(running))
    }

    /// A world of so many environments in progress: `net-00`, `net-01`, …
    pub(crate) fn numbered(count: usize) -> Self {
        Self::with((0..count).map(|number| running(&format!("net-{number:02}"))))
    }

    pub(crate) fn faults(mut self, faults: Faults) -> Self {
        self.world = self.world.faults(faults);
        self
    }

    /// Sets an environment variable of the function.
    pub(crate) fn set(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.variables.insert(name.to_owned(), value.to_string());
        self
    }

    pub(crate) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The same account with this engine. With CloudFormation every stack is in scope unless the
    /// stage sets `ENVIRONMENTS`.
    pub(crate) fn on(mut self, engine: EngineKind) -> Self {
        if engine == EngineKind::CloudFormation {
            self.world = self.world.as_stacks();
            let environments = self.variables.entry("ENVIRONMENTS".to_owned());
            environments.or_insert_with(|| "*".to_owned());
        }
        self.set("ENGINE", engine.as_str())
    }

    /// Starts the local AWS.
    pub(crate) async fn open(&self) -> Aws {
        Aws::start(self.world.clone()).await
    }

    /// Starts the function.
    pub(crate) async fn start(&self) -> Function {
        let aws = self.open().await;
        self.start_in(aws)
    }

    /// Starts the function with a local AWS that runs already.
    pub(crate) fn start_in(&self, aws: Aws) -> Function {
        let process = self.process(&aws);
        Function {
            aws,
            process,
            timeout: self.timeout,
            filter: self.filter(),
            runs: Vec::new(),
        }
    }

    pub(crate) fn process(&self, aws: &Aws) -> FunctionProcess {
        let program = env!("CARGO_BIN_EXE_proton-canceller");
        let variables = self.variables.iter();
        aws.start_function(program, variables.map(|(name, value)| (&**name, &**value)))
    }

    /// Runs one payload.
    pub(crate) async fn run(&self, payload: impl Payload) -> Run {
        let mut function = self.start().await;
        function.invoke(payload).await;
        let [run] = function.finish().await;
        run
    }

    /// Starts the function and requires that the start fails.
    pub(crate) async fn fail_to_start(&self) -> FailedStart {
        let aws = self.open().await;
        let mut process = self.process(&aws);
        let invocation = aws.local.invoke(Bytes::from("{}"), Invocation::default());
        let (status, invoked) = tokio::join!(
            async {
                let ended = tokio::time::timeout(seconds(20), process.watch(&aws.local)).await;
                ended
                    .expect("the function neither started nor ended")
                    .unwrap()
            },
            invocation
        );
        let init_error = aws
            .local
            .init_error()
            .map(|body| serde_json::from_slice(&body).unwrap())
            .unwrap_or_default();
        let lines = process.lines();
        invariants::no_credentials(&lines);
        invariants::json_lines(&lines);
        let lines = self.filter().kept(lines);
        assert!(
            matches!(invoked, InvocationResult::Error { .. }),
            "{invoked:?}"
        );
        assert_eq!(
            aws.local.calls(),
            [],
            "a function that does not start makes no call"
        );
        FailedStart {
            status,
            init_error,
            lines,
        }
    }

    fn filter(&self) -> Filter {
        let variable = |name| self.variables.get(name).map(String::as_str);
        Filter::new(
            variable("AWS_LAMBDA_LOG_FORMAT"),
            variable("AWS_LAMBDA_LOG_LEVEL"),
        )
    }
}

/// True if the call is a cancel, with either engine.
pub(crate) fn is_cancel(call: &Call) -> bool {
    [
        Operation::CancelEnvironmentDeployment,
        Operation::CancelUpdateStack,
    ]
    .iter()
    .any(|operation| call.operation == operation.to_string())
}

/// An environment in progress whose cancel leads to `CANCELLED` after 100 ms.
pub(crate) fn running(name: &str) -> Environment {
    Environment::new(name).deployment(quick())
}

/// A deployment in progress whose cancel leads to `CANCELLED` after 100 ms.
pub(crate) fn quick() -> Deployment {
    let cancellation = Ending::cancelled().rollback(millis(100));
    Deployment::in_progress().when_cancelled(cancellation)
}

/// An environment in progress whose cancel leads to this end after a time.
pub(crate) fn ending(name: &str, after: Duration, ending: Ending) -> Environment {
    let cancellation = ending.rollback(after);
    Environment::new(name).deployment(Deployment::in_progress().when_cancelled(cancellation))
}

/// A payload of an invocation: JSON, text or bytes.
pub(crate) trait Payload {
    fn to_bytes(&self) -> Vec<u8>;
}

impl Payload for Value {
    fn to_bytes(&self) -> Vec<u8> {
        self.to_string().into_bytes()
    }
}

impl Payload for str {
    fn to_bytes(&self) -> Vec<u8> {
        self.as_bytes().to_owned()
    }
}

impl Payload for [u8] {
    fn to_bytes(&self) -> Vec<u8> {
        self.to_owned()
    }
}

impl Payload for String {
    fn to_bytes(&self) -> Vec<u8> {
        self.as_str().to_bytes()
    }
}

impl Payload for Vec<u8> {
    fn to_bytes(&self) -> Vec<u8> {
        self.clone()
    }
}

impl<T: Payload + ?Sized> Payload for &T {
    fn to_bytes(&self) -> Vec<u8> {
        (*self).to_bytes()
    }
}

/// A function that did not start.
#[derive(Debug)]
pub(crate) struct FailedStart {
    pub(crate) status: ExitStatus,
    /// The body that the function posted to `/init/error`.
    pub(crate) init_error: Value,
    pub(crate) lines: Vec<Line>,
}

/// The function's process.
pub(crate) struct Function {
    pub(crate) aws: Aws,
    process: FunctionProcess,
    timeout: Duration,
    filter: Filter,
    runs: Vec<Run>,
}

impl Function {
    /// Invokes the function with a payload.
    pub(crate) async fn invoke(&mut self, payload: impl Payload) {
        self.invoke_within(self.timeout, payload).await;
    }

    /// Invokes the function with a payload and this timeout.
    pub(crate) async fn invoke_within(&mut self, timeout: Duration, payload: impl Payload) {
        let local = &self.aws.local;
        let calls_before = local.calls().len();
        let request_id = format!("00000000-0000-4000-8000-{:012}", self.runs.len() + 1);
        let invocation = Invocation {
            timeout: Some(timeout),
            request_id: Some(request_id.clone()),
            ..Invocation::default()
        };
        let payload = Bytes::from(payload.to_bytes());
        let is_follow = String::from_utf8_lossy(&payload).contains("aws:sqs");
        let result = tokio::select! {
            result = local.invoke(payload, invocation) => result,
            status = self.process.ended() => panic!(
                "the process ended: {status:?}\n{:#?}", self.process.lines()
            ),
        };
        let calls = local.calls().split_off(calls_before);
        self.runs.push(Run {
            is_follow,
            ..Run::new(request_id, &result, local, calls)
        });
    }

    /// Ends the process and checks the invariants. Returns the runs.
    pub(crate) async fn finish<const RUNS: usize>(self) -> [Run; RUNS] {
        let runs = self.finish_all().await;
        let count = runs.len();
        runs.try_into()
            .unwrap_or_else(|_| panic!("there were {count} runs"))
    }

    /// `finish` for any number of runs.
    pub(crate) async fn finish_all(self) -> Vec<Run> {
        let runs = self.finish_with_false_states().await;
        for run in &runs {
            invariants::always(run);
        }
        runs
    }

    /// `finish_all` for a service that reports false states: only the log lines are checked.
    pub(crate) async fn finish_with_false_states(mut self) -> Vec<Run> {
        self.process.kill().await;
        // Once the process has ended, its output is complete.
        self.process.ended().await.unwrap();
        let lines = self.process.lines();
        invariants::no_credentials(&lines);
        if self.filter.is_json() {
            invariants::json_lines(&lines);
        }
        let lines = self.filter.kept(lines);
        log_calls(&self.aws.local.calls());
        for run in &mut self.runs {
            run.lines.clone_from(&lines);
            run.metrics = invariants::metrics_of(&lines, &run.request_id);
        }
        self.runs
    }
}

/// Appends each called operation to the file that `PROTON_CANCELLER_CALL_LOG` names, if set.
/// `deploy/check.sh` checks the template's role against that file.
fn log_calls(calls: &[Call]) {
    use std::io::Write as _;

    let Some(path) = std::env::var_os("PROTON_CANCELLER_CALL_LOG") else {
        return;
    };
    let lines: BTreeSet<String> = calls
        .iter()
        .map(|call| {
            let service = call.service.to_string();
            let line = serde_json::json!({"service": service, "operation": call.operation});
            format!("{line}\n")
        })
        .collect();
    let mut log = std::fs::File::options()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    // One write, because other tests write at the same time.
    let lines: String = lines.into_iter().collect();
    log.write_all(lines.as_bytes()).unwrap();
}

/// An invocation error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: String,
    pub(crate) message: String,
}

/// An event that was published.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) event: Event,
    pub(crate) detail: Value,
}

impl Published {
    pub(crate) fn text(&self, pointer: &str) -> Option<&str> {
        self.detail.pointer(pointer).and_then(Value::as_str)
    }

    pub(crate) fn environment(&self) -> &str {
        self.text("/environment/name").unwrap()
    }

    pub(crate) fn outcome(&self) -> &str {
        self.text("/outcome").unwrap()
    }

    /// The first 31 digits of the ID, which stand for the trigger, the environment and the
    /// deployment.
    pub(crate) fn id_without_its_last_digit(&self) -> &str {
        let id = self.text("/id").unwrap();
        let is_hexadecimal = |id: &str| {
            id.bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        };
        assert!(id.len() == 32 && is_hexadecimal(id), "{id}");
        let expected = if self.outcome() == "CANCELLING" {
            "0"
        } else {
            "1"
        };
        let (stands_for, last) = id.split_at(31);
        assert_eq!(last, expected, "{id}");
        stands_for
    }

    /// The end that belongs to this `CANCELLING` event.
    pub(crate) fn end_among<'a>(&self, events: &'a [Self]) -> Option<&'a Self> {
        events.iter().find(|one| {
            one.outcome() != "CANCELLING"
                && one.id_without_its_last_digit() == self.id_without_its_last_digit()
        })
    }

    pub(crate) fn time(&self, pointer: &str) -> Option<DateTime<Utc>> {
        let text = self.text(pointer)?;
        Some(DateTime::parse_from_rfc3339(text).unwrap().to_utc())
    }
}

/// One invocation and its effects.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) request_id: String,
    /// The summary, or the invocation error.
    pub(crate) answer: Result<Value, Failure>,
    /// The last event of each environment.
    pub(crate) events: Vec<Published>,
    /// Each `CANCELLING` event whose end was published as well.
    pub(crate) begun: Vec<Published>,
    /// The calls during the invocation, in order.
    pub(crate) calls: Vec<Call>,
    /// Every deployment, right after the invocation.
    pub(crate) deployments: Vec<DeploymentSnapshot>,
    /// The process's log as Lambda keeps it, of this run and others.
    pub(crate) lines: Vec<Line>,
    /// The run's metric line.
    pub(crate) metrics: Option<Value>,
    /// True if the payload was an SQS message.
    pub(crate) is_follow: bool,
}

impl Run {
    pub(crate) fn new(
        request_id: String,
        result: &InvocationResult,
        local: &LocalAws,
        calls: Vec<Call>,
    ) -> Self {
        let answer = match result {
            InvocationResult::Response(body) => Ok(serde_json::from_slice(body).unwrap()),
            InvocationResult::Error {
                error_type,
                error_message,
                ..
            } => Err(Failure {
                kind: error_type.clone(),
                message: error_message.clone(),
            }),
        };
        let mut events: Vec<_> = local
            .events()
            .into_iter()
            .map(|event| Published {
                detail: serde_json::from_str(&event.detail).unwrap(),
                event,
            })
            .filter(|published| published.text("/run/requestId") == Some(&request_id))
            .collect();
        if calls.iter().any(is_lost_put) {
            // An event whose response was lost is published again, unchanged.
            let mut seen = BTreeSet::new();
            events.retain(|published| seen.insert(published.event.detail.clone()));
        }
        let (begun, events) = events
            .iter()
            .cloned()
            .partition(|one| one.outcome() == "CANCELLING" && one.end_among(&events).is_some());
        Self {
            events,
            begun,
            request_id,
            answer,
            calls,
            deployments: local
                .deployments()
                .into_iter()
                .chain(local.updates().into_iter().map(as_deployment))
                .collect(),
            lines: Vec::new(),
            metrics: None,
            is_follow: false,
        }
    }

    #[track_caller]
    pub(crate) fn summary(&self) -> &Value {
        self.answer
            .as_ref()
            .unwrap_or_else(|failure| panic!("{failure:?}\ncalls: {:#?}", self.call_names()))
    }

    #[track_caller]
    pub(crate) fn failure(&self) -> &Failure {
        self.answer.as_ref().expect_err("the invocation succeeded")
    }

    /// The outcome of each environment in the summary, with its reason or error code:
    /// `SKIPPED PROTECTED`, `ERROR AccessDeniedException`, `CANCELLED`.
    #[track_caller]
    pub(crate) fn outcomes(&self) -> BTreeMap<&str, String> {
        self.summary()["environments"]
            .as_array()
            .unwrap()
            .iter()
            .map(|environment| {
                let name = environment["name"].as_str().unwrap();
                (name, outcome_of(environment))
            })
            .collect()
    }

    /// The outcome of each environment in the published events.
    pub(crate) fn published_outcomes(&self) -> BTreeMap<&str, String> {
        self.events
            .iter()
            .map(|event| (event.environment(), outcome_of(&event.detail)))
            .collect()
    }

    #[track_caller]
    pub(crate) fn outcome(&self, environment: &str) -> String {
        self.outcomes()
            .get(environment)
            .unwrap_or_else(|| panic!("`{environment}` is not in the summary"))
            .clone()
    }

    #[track_caller]
    pub(crate) fn event(&self, environment: &str) -> &Published {
        let mut events = self
            .events
            .iter()
            .filter(|event| event.environment() == environment);
        let event = events.next().unwrap_or_else(|| {
            let calls = self.call_names();
            panic!("no event of `{environment}`: {:?}\n{calls:#?}", self.answer)
        });
        assert!(
            events.next().is_none(),
            "two events of `{environment}`: {:#?}",
            self.events
        );
        event
    }

    /// The calls of one operation.
    pub(crate) fn calls_of(&self, operation: Operation) -> Vec<&Call> {
        self.calls
            .iter()
            .filter(|call| call.operation == operation.to_string())
            .collect()
    }

    /// The operations called for one environment, in order.
    pub(crate) fn calls_to(&self, environment: &str) -> Vec<&str> {
        self.calls
            .iter()
            .filter(|call| call.environment.as_deref() == Some(environment))
            .map(|call| call.operation.as_str())
            .collect()
    }

    /// Every call in order, for assertion messages.
    pub(crate) fn call_names(&self) -> Vec<String> {
        self.calls
            .iter()
            .map(|call| {
                let environment = call.environment.as_deref().unwrap_or_default();
                format!("{} {environment} {:?}", call.operation, call.answer)
            })
            .collect()
    }

    /// The environments in the order of their cancels.
    pub(crate) fn cancels(&self) -> Vec<&str> {
        self.calls
            .iter()
            .filter(|call| is_cancel(call))
            .map(|call| call.environment.as_deref().unwrap())
            .collect()
    }

    /// The true states of an environment's deployments, oldest first.
    pub(crate) fn truth(&self, environment: &str) -> Vec<&DeploymentSnapshot> {
        self.deployments
            .iter()
            .filter(|deployment| deployment.environment == environment)
            .collect()
    }

    /// The process's log lines as JSON, without metric lines.
    pub(crate) fn log(&self) -> Vec<Value> {
        self.lines
            .iter()
            .filter_map(|line| serde_json::from_str(&line.text).ok())
            .filter(|line: &Value| line.get("_aws").is_none())
            .collect()
    }

    /// A metric's value.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str) -> Option<u64> {
        self.metrics.as_ref().expect("there is no metric line")[name].as_u64()
    }

    /// The lines of one stream.
    pub(crate) fn written(&self, stream: Stream) -> Vec<&str> {
        self.lines
            .iter()
            .filter(|line| line.stream == stream)
            .map(|line| line.text.as_str())
            .collect()
    }
}

/// A stack's update as a deployment.
fn as_deployment(update: DeploymentSnapshot<StackStatus>) -> DeploymentSnapshot {
    DeploymentSnapshot {
        environment: update.environment,
        arn: update.arn,
        id: update.id,
        status: update
            .status
            .deployment_status()
            .unwrap_or(Status::Cancelling),
        message: update.message,
        started_at: update.started_at,
        completed_at: update.completed_at,
        cancelled_at: update.cancelled_at,
    }
}

fn is_lost_put(call: &Call) -> bool {
    call.operation == Operation::PutEvents.to_string() && call.answer == Answer::DroppedAfter
}

fn outcome_of(value: &Value) -> String {
    let outcome = value["outcome"].as_str().unwrap();
    let addition = value["reason"]
        .as_str()
        .or_else(|| value["error"]["code"].as_str());
    match addition {
        Some(addition) => format!("{outcome} {addition}"),
        None => outcome.to_owned(),
    }
}

/// Expected outcomes, to compare with [`Run::outcomes`].
pub(crate) fn each<'a, const N: usize>(
    outcomes: [(&'a str, &str); N],
) -> BTreeMap<&'a str, String> {
    outcomes
        .into_iter()
        .map(|(name, outcome)| (name, outcome.to_owned()))
        .collect()
}
