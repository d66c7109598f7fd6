//! `cargo local EVENT`: the real binary, one event, and what came of it.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, SystemTime};

use anstream::{print, println};
use bytes::Bytes;
use local_aws::{
    Call, Clock, Event, FunctionProcess, Invocation, InvocationResult, Line, LocalAws,
};
use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::Failure;
use crate::arguments::{Engine, Output, RunOptions, Times};
use crate::event_times::{Moved, move_times};
use crate::follow::Follower;
use crate::report;
use crate::serve::{engine, world};

const PACKAGE: &str = "proton-canceller";

/// How long a person waits for the follower: some rollbacks take hours.
const FOLLOWED_FOR: Duration = Duration::from_secs(20);

/// The settings that the function takes from this process's environment.
const SETTINGS: [&str; 13] = [
    "ENGINE",
    "DRY_RUN",
    "ENVIRONMENTS",
    "PROTECTED_ENVIRONMENTS",
    "ALARM_SCOPE",
    "IGNORED_ALARMS",
    "STUCK_AFTER_MINUTES",
    "MAX_CANCELLATIONS",
    "SETTLE_TIMEOUT_SECONDS",
    "EVENT_BUS_NAME",
    "CONCURRENCY",
    "AWS_LAMBDA_LOG_FORMAT",
    "AWS_LAMBDA_LOG_LEVEL",
];

/// Everything that a run showed.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) engine: Engine,
    pub(crate) event: PathBuf,
    pub(crate) moved: Option<Moved>,
    pub(crate) started: SystemTime,
    pub(crate) before: Vec<Standing>,
    pub(crate) after: Vec<Standing>,
    pub(crate) result: InvocationResult,
    pub(crate) events: Vec<Event>,
    pub(crate) calls: Vec<Call>,
    pub(crate) lines: Vec<Line>,
    /// What the follower did, if anything was still being cancelled.
    pub(crate) followed: Option<Followed>,
}

/// What the follower did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Followed {
    /// How often it was handed a message.
    pub(crate) deliveries: usize,
    /// The time between two of them.
    pub(crate) every: Duration,
}

/// An environment or a stack, as it stood.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) name: String,
    pub(crate) status: &'static str,
    pub(crate) message: Option<String>,
    pub(crate) started_at: SystemTime,
    pub(crate) json: Value,
}

fn standings(local: &LocalAws, engine: Engine) -> Vec<Standing> {
    match engine {
        Engine::Proton => local
            .environments()
            .into_iter()
            .map(|environment| Standing {
                json: environment.to_json(),
                name: environment.name,
                status: environment.status.as_str(),
                message: environment.message,
                started_at: environment.started_at,
            })
            .collect(),
        Engine::CloudFormation => local
            .stacks()
            .into_iter()
            .map(|stack| Standing {
                json: stack.to_json(),
                name: stack.name,
                status: stack.status.as_str(),
                message: stack.reason,
                started_at: stack.started_at,
            })
            .collect(),
    }
}

pub(crate) async fn run(options: RunOptions) -> Result<ExitCode, Failure> {
    let output = options.output;
    let payload = std::fs::read(&options.event).map_err(|error| {
        Failure::Usage(format!(
            "the event `{}` cannot be read: {error}",
            options.event.display()
        ))
    })?;
    let engine = engine(options.engine);
    let world = world(engine, options.world.as_deref())?;
    let binary = build().await?;
    let local = LocalAws::new(world, Clock::system());
    let trial = attempt(&local, engine, &binary, options, payload).await?;
    match output {
        Output::Text => print!("{}", report::text(&trial)),
        Output::Json => println!("{}", report::json(&trial)),
    }
    Ok(match trial.result {
        InvocationResult::Response(_) => ExitCode::SUCCESS,
        InvocationResult::Error { .. } => ExitCode::FAILURE,
    })
}

async fn attempt(
    local: &LocalAws,
    engine: Engine,
    binary: &Path,
    options: RunOptions,
    payload: Vec<u8>,
) -> Result<Trial, Failure> {
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .map_err(|error| Failure::Trial(format!("cannot listen on 127.0.0.1: {error}")))?;
    let server = local.serve(listener);
    let started = local.clock().now();
    let moved = match options.times {
        Times::Moved => move_times(&payload, started),
        Times::AsIs => None,
    };
    let payload = moved
        .as_ref()
        .map_or(payload, |moved| moved.payload.clone());
    let settings = SETTINGS
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)));
    // An argument counts more than what is set.
    let argument = options.engine.map(Engine::as_str);
    let argument = argument.map(|engine| ("ENGINE".to_owned(), engine.to_owned()));
    let settings = settings.chain(argument);
    let before = standings(local, engine);
    let mut process = FunctionProcess::start(binary, &server, settings)
        .map_err(|error| Failure::Trial(error.to_string()))?;
    let invocation = local.invoke(Bytes::from(payload), Invocation::default());
    tokio::pin!(invocation);
    let result = tokio::select! {
        // The event is queued before anything can end.
        biased;
        result = &mut invocation => result,
        exited = process.watch(local) => {
            exited.map_err(|error| Failure::Trial(format!("the function cannot be watched: {error}")))?;
            invocation.await
        }
    };
    process.kill().await;
    // What it wrote before it was killed is there once its streams end.
    let _ = process.ended().await;
    let followed = if is_waited_for(&result) {
        let every = options.follow_every;
        let mut follower = Follower::start(local, &server, engine, binary, every).await?;
        let deliveries = follower.follow(FOLLOWED_FOR).await;
        follower.end().await;
        Some(Followed { deliveries, every })
    } else {
        None
    };
    let trial = Trial {
        engine,
        event: options.event,
        moved,
        started,
        before,
        after: standings(local, engine),
        result,
        events: local.events(),
        calls: local.calls(),
        lines: process.lines(),
        followed,
    };
    server.shut_down().await;
    Ok(trial)
}

/// True if the last word on some environment is `CANCELLING`.
fn is_waited_for(result: &InvocationResult) -> bool {
    let InvocationResult::Response(body) = result else {
        return false;
    };
    let summary: Value = serde_json::from_slice(body).unwrap_or_default();
    let cancelling = summary.pointer("/counts/CANCELLING");
    cancelling.and_then(Value::as_u64).unwrap_or_default() > 0
}

/// One of the messages that cargo writes about what it built.
#[derive(Deserialize)]
struct Artifact {
    reason: String,
    executable: Option<PathBuf>,
}

/// Builds the function and gives its path.
pub(crate) async fn build() -> Result<PathBuf, Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut command = Command::new(cargo);
    command.args(["build", "--package", PACKAGE, "--bin", PACKAGE]);
    // A person sees cargo's progress, a script only its errors.
    if !std::io::stderr().is_terminal() {
        command.arg("--quiet");
    }
    let built = command
        .arg("--message-format=json-render-diagnostics")
        .arg("--manifest-path")
        .arg(root.join("Cargo.toml"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .await
        .map_err(|error| Failure::Trial(format!("cargo cannot be started: {error}")))?;
    if !built.status.success() {
        return Err(Failure::Trial("the function cannot be built".to_owned()));
    }
    String::from_utf8_lossy(&built.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Artifact>(line).ok())
        .filter(|artifact| artifact.reason == "compiler-artifact")
        .find_map(|artifact| artifact.executable)
        .ok_or_else(|| Failure::Trial("cargo built no executable".to_owned()))
}
