//! A world with a function in it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use local_aws::{
    Call, Clock, Deployment, Ending, Environment, Faults, Invocation, InvocationResult, LocalAws,
    Operation, Server, Throttle, World,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::process::{Cost, Process, Program};
use crate::tls::TlsDoor;

/// What stands in the world, and how the function is set up.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// Environments in all, and those of them that are in progress, evenly spread.
    pub(crate) environments: usize,
    pub(crate) in_progress: usize,
    /// How long each answer takes.
    pub(crate) latency: Duration,
    /// How long a cancelled deployment takes to settle.
    pub(crate) settling: Duration,
    /// Calls of Proton a second, and how many may be saved up.
    pub(crate) rate: Option<(u32, u32)>,
    pub(crate) concurrency: usize,
    /// How long the function follows what it cancelled.
    pub(crate) follow: Duration,
    pub(crate) tls: bool,
    /// Stacks and their updates in place of environments and their deployments.
    pub(crate) stacks: bool,
}

impl Job {
    pub(crate) fn of(in_progress: usize, environments: usize) -> Self {
        Self {
            environments,
            in_progress,
            latency: Duration::from_millis(25),
            settling: Duration::ZERO,
            rate: None,
            concurrency: 20,
            follow: Duration::ZERO,
            tls: false,
            stacks: false,
        }
    }

    pub(crate) fn pages(&self) -> usize {
        self.environments.div_ceil(100)
    }

    /// The least time that its calls take, one round after the other.
    pub(crate) fn floor(&self) -> Duration {
        let rounds = self.pages() + self.in_progress.div_ceil(self.concurrency) + 1;
        self.latency * u32::try_from(rounds).unwrap_or(u32::MAX)
    }

    fn world(&self) -> World {
        // Evenly: where the share of those before grows by one.
        let before = |index: usize| (index * self.in_progress).div_ceil(self.environments);
        let running = |index: usize| before(index + 1) > before(index);
        let environments = (0..self.environments).map(|index| {
            let environment = Environment::new(format!("environment-{index:05}"));
            if running(index) {
                let end = Ending::cancelled().rollback(self.settling);
                environment.deployment(Deployment::in_progress().when_cancelled(end))
            } else {
                environment
            }
        });
        let faults = Faults::none().latency(self.latency..=self.latency);
        let faults = match self.rate {
            Some((rate, burst)) => faults.throttle(Throttle {
                operation: None,
                per_second: f64::from(rate),
                burst,
            }),
            None => faults,
        };
        let world = environments.fold(World::new(), World::with).faults(faults);
        if self.stacks {
            world.as_stacks()
        } else {
            world
        }
    }

    fn variables(&self) -> BTreeMap<String, String> {
        let engine = if self.stacks {
            "cloudformation"
        } else {
            "proton"
        };
        [
            ("ENGINE", engine.to_owned()),
            ("ENVIRONMENTS", "*".to_owned()),
            ("CONCURRENCY", self.concurrency.to_string()),
            ("MAX_CANCELLATIONS", self.in_progress.to_string()),
            ("SETTLE_TIMEOUT_SECONDS", self.follow.as_secs().to_string()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }

    pub(crate) async fn open(&self, folder: &Path) -> Result<Stage> {
        Stage::open(self.world(), self.variables(), self.tls, folder).await
    }

    /// Runs it once in a new process that is there and waits.
    pub(crate) async fn run(&self, program: &Program, folder: &Path) -> Result<Run> {
        let stage = self.open(folder).await?;
        let process = stage.start(program)?;
        stage.wait_for(&process).await;
        let run = stage.invoke().await?;
        let cancel = if self.stacks {
            Operation::CancelUpdateStack
        } else {
            Operation::CancelEnvironmentDeployment
        };
        let cancelled = run.count(cancel, true);
        if cancelled != self.in_progress {
            bail!("{cancelled} of {} were cancelled", self.in_progress);
        }
        // `CANCELLING`, and the end where it is waited for.
        let events = if self.follow.is_zero() { 1 } else { 2 } * self.in_progress;
        let published = stage.local.events().len();
        if published != events {
            bail!("{published} of {events} events came out");
        }
        Ok(Run {
            cost: Some(process.end()?),
            ..run
        })
    }
}

/// A local AWS with its doors.
pub(crate) struct Stage {
    pub(crate) local: LocalAws,
    server: Server,
    pub(crate) tls: Option<TlsDoor>,
    variables: BTreeMap<String, String>,
}

/// What came of one invocation.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// From handing over the event to the answer.
    pub(crate) time: Duration,
    pub(crate) calls: Vec<Call>,
    /// What the process took, its start included.
    pub(crate) cost: Option<Cost>,
}

impl Run {
    pub(crate) fn count(&self, operation: Operation, only_taken: bool) -> usize {
        self.calls
            .iter()
            .filter(|call| call.operation == operation.to_string())
            .filter(|call| !only_taken || call.answer == local_aws::Answer::Ok)
            .count()
    }

    /// The calls of Proton.
    pub(crate) fn proton(&self) -> impl Iterator<Item = &Call> {
        self.calls
            .iter()
            .filter(|call| call.service == local_aws::Service::Proton)
    }

    pub(crate) fn first_cancel(&self) -> Result<SystemTime> {
        self.calls
            .iter()
            .find(|call| call.operation == Operation::CancelEnvironmentDeployment.to_string())
            .map(|call| call.time)
            .context("nothing was cancelled")
    }
}

impl Stage {
    pub(crate) async fn open(
        world: World,
        mut variables: BTreeMap<String, String>,
        tls: bool,
        folder: &Path,
    ) -> Result<Self> {
        let local = LocalAws::new(world, Clock::system());
        let server = local.serve(TcpListener::bind(("127.0.0.1", 0)).await?);
        let tls = if tls {
            Some(TlsDoor::open(server.address(), folder).await?)
        } else {
            None
        };
        match &tls {
            Some(door) => variables.extend(door.variables()),
            None => {
                variables.insert("AWS_ENDPOINT_URL".to_owned(), server.endpoint_url());
            }
        }
        Ok(Self {
            local,
            server,
            tls,
            variables,
        })
    }

    pub(crate) fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    pub(crate) fn start(&self, program: &Program) -> Result<Process> {
        program.start(&self.server.address(), &self.variables)
    }

    /// Waits until a function that was started waits for an event: it sleeps.
    pub(crate) async fn wait_for(&self, process: &Process) {
        process.settled().await;
    }

    /// Hands over an event to the function, and waits for the answer.
    pub(crate) async fn invoke(&self) -> Result<Run> {
        self.invoke_with(alarm(SystemTime::now())).await
    }

    /// Hands over a payload to the function, and waits for the answer.
    pub(crate) async fn invoke_with(&self, payload: Bytes) -> Result<Run> {
        let before = self.local.calls().len();
        let begun = Instant::now();
        let result = self.local.invoke(payload, Invocation::default()).await;
        let time = begun.elapsed();
        if let InvocationResult::Error {
            error_type,
            error_message,
            ..
        } = result
        {
            bail!("the invocation failed: {error_type}: {error_message}");
        }
        Ok(Run {
            time,
            calls: self.local.calls().split_off(before),
            cost: None,
        })
    }
}

/// The first event of a stage, as its queue delivers it to the follower.
pub(crate) fn delivery(stage: &Stage) -> Result<Bytes> {
    let events = stage.local.events();
    let event = events.first().context("nothing was published")?;
    let body = json!({
        "version": "0",
        "id": event.id,
        "detail-type": event.detail_type,
        "source": event.source,
        "account": "123456789012",
        "time": "2026-11-23T06:45:13Z",
        "region": "us-east-1",
        "resources": event.resources,
        "detail": serde_json::from_str::<Value>(&event.detail)?,
    });
    let record = json!({
        "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
        "receiptHandle": "AQEB",
        "body": body.to_string(),
        "attributes": { "ApproximateReceiveCount": "1" },
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:follow",
        "awsRegion": "us-east-1",
    });
    Ok(Bytes::from(json!({ "Records": [record] }).to_string()))
}

/// An alarm that speaks now.
pub(crate) fn alarm(now: SystemTime) -> Bytes {
    let now = DateTime::<Utc>::from(now);
    let event: Value = json!({
        "version": "0",
        "id": "7f0c4f5e-2f0b-4c59-9d5b-3a8a2d7f6c11",
        "detail-type": "CloudWatch Alarm State Change",
        "source": "aws.cloudwatch",
        "account": "123456789012",
        "time": now.to_rfc3339_opts(SecondsFormat::Secs, true),
        "region": "us-east-1",
        "resources": ["arn:aws:cloudwatch:us-east-1:123456789012:alarm:checkout-5xx"],
        "detail": {
            "alarmName": "checkout-5xx",
            "state": {
                "value": "ALARM",
                "reason": "Threshold Crossed: 3 out of the last 3 datapoints were greater than the threshold (25.0).",
                "timestamp": now.format("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string(),
            },
            "previousState": { "value": "OK" },
        },
    });
    Bytes::from(event.to_string())
}
