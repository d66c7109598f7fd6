//! Delivers a scenario's events, with Lambda's retries.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use local_aws::World;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tracing_subscriber::fmt::MakeWriter;

use crate::function::{Answer, Simulated};
use crate::scenario::{Delivery, Scenario};

/// The number of Lambda's retries.
const RETRIES: usize = 2;

/// The wait before a retry.
const RETRY_WAIT: Duration = Duration::from_mins(1);

/// One invocation that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The request ID. Lambda's retries keep the ID; here each attempt has its own, to tell them
    /// apart.
    pub(crate) request_id: String,
    /// The index of the scenario's delivery.
    pub(crate) delivery: usize,
    /// The summary, or the invocation error.
    pub(crate) answer: Answer,
    /// The time of the end.
    pub(crate) at: SystemTime,
    /// The duration.
    pub(crate) took: Duration,
    /// The number of tasks still alive at the end.
    pub(crate) tasks: usize,
}

/// The retries of failed events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// Two retries, as for every asynchronous event.
    Lambda,
    /// No retry.
    Never,
}

/// Runs the scenario's world in a new runtime with paused time.
pub(crate) fn in_world<T>(
    seed: u64,
    scenario: &Scenario,
    run: impl AsyncFnOnce(&Simulated) -> T,
) -> T {
    in_new_world(seed, scenario.world.clone(), &scenario.variables, run)
}

/// Runs a new world in a new runtime with paused time.
pub(crate) fn in_new_world<T>(
    seed: u64,
    world: World,
    variables: &[(&str, String)],
    run: impl AsyncFnOnce(&Simulated) -> T,
) -> T {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let simulated = Simulated::new(world, variables);
        run(&simulated).await
    })
}

/// Delivers every event of the scenario. Returns the invocations.
pub(crate) async fn deliver_all(
    simulated: &Simulated,
    scenario: &Scenario,
    retry: Retry,
) -> Vec<Ended> {
    let deliveries = scenario
        .deliveries
        .iter()
        .enumerate()
        .map(|(index, delivery)| deliver(simulated, scenario, (index, delivery), retry));
    join_all(deliveries).await.into_iter().flatten().collect()
}

async fn deliver(
    simulated: &Simulated,
    scenario: &Scenario,
    (index, delivery): (usize, &Delivery),
    retry: Retry,
) -> Vec<Ended> {
    let mut tries: Vec<Ended> = Vec::new();
    tokio::time::sleep(delivery.after).await;
    loop {
        let request_id = format!("{}-{}", delivery.name, tries.len() + 1);
        let start = Instant::now();
        let answer = simulated
            .invoke(&request_id, &delivery.payload, scenario.time)
            .await;
        let is_last = answer.is_ok() || retry == Retry::Never || tries.len() == RETRIES;
        tries.push(Ended {
            request_id,
            delivery: index,
            answer,
            at: simulated.now().into(),
            took: start.elapsed(),
            tasks: Handle::current().metrics().num_alive_tasks(),
        });
        if is_last {
            return tries;
        }
        tokio::time::sleep(RETRY_WAIT).await;
    }
}

/// The function's log at `ERROR`, line by line, from this thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Runs a closure with this log.
    pub(crate) fn of<T>(&self, run: impl FnOnce() -> T) -> T {
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_max_level(tracing::Level::ERROR)
            .with_writer(self.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, run)
    }

    /// The log so far.
    pub(crate) fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&lines).into_owned()
    }

    /// The details of the outcomes that were logged because publishing failed.
    pub(crate) fn unpublished(&self) -> Vec<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        serde_json::Deserializer::from_slice(&lines)
            .into_iter::<Value>()
            .map(Result::unwrap)
            .filter(|line| line["message"] == "unpublished outcome")
            .map(|line| line["detail"].as_str().unwrap().to_owned())
            .collect()
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
