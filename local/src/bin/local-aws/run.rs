//! `cargo local EVENT`: one event for the real binary.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anstream::{print, println};
use bytes::Bytes;
use local_aws::{Clock, FunctionProcess, Invocation, InvocationResult, LocalAws, Server};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::arguments::{Engine, Output, RunOptions, Times};
use crate::event_times::move_times;
use crate::failure::Failure;
use crate::follow::Follower;
use crate::function::build;
use crate::report;
use crate::trial::{Followed, Trial, standings};

/// The longest wait for the follower: some rollbacks take hours.
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

pub(crate) async fn run(options: RunOptions) -> Result<ExitCode, Failure> {
    let output = options.output;
    let payload = std::fs::read(&options.event).map_err(|error| {
        Failure::Usage(format!(
            "the event `{}` cannot be read: {error}",
            options.event.display()
        ))
    })?;
    let engine = Engine::chosen(options.engine);
    let world = engine.world(options.world.as_deref())?;
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
    let before = standings(local, engine);
    let mut process = FunctionProcess::start(binary, &server, settings(options.engine))
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
    let every = options.follow_every;
    let followed = if is_waited_for(&result) {
        Some(follow(local, &server, engine, binary, every).await?)
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

/// Returns the settings for the function. An argument overrides a variable.
fn settings(engine: Option<Engine>) -> impl Iterator<Item = (String, String)> {
    let variables = SETTINGS
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)));
    let argument = engine.map(|engine| ("ENGINE".to_owned(), engine.as_str().to_owned()));
    variables.chain(argument)
}

/// Follows the deployments that are being cancelled.
async fn follow(
    local: &LocalAws,
    server: &Server,
    engine: Engine,
    binary: &Path,
    every: Duration,
) -> Result<Followed, Failure> {
    let mut follower = Follower::start(local, server, engine, binary, every).await?;
    let deliveries = follower.follow(FOLLOWED_FOR).await;
    follower.end().await;
    Ok(Followed { deliveries, every })
}

/// True if the last outcome of an environment is `CANCELLING`.
fn is_waited_for(result: &InvocationResult) -> bool {
    let InvocationResult::Response(body) = result else {
        return false;
    };
    let summary: Value = serde_json::from_slice(body).unwrap_or_default();
    let cancelling = summary.pointer("/counts/CANCELLING");
    cancelling.and_then(Value::as_u64).unwrap_or_default() > 0
}
