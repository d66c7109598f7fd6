//! The rows of the table: each measures the function and its yardstick in turn.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use local_aws::{
    Call, Deployment, Effect, Ending, Environment, Faults, Operation, Service, Timing, World,
};

use crate::process::Program;
use crate::programs;
use crate::report::Row;
use crate::stage::{Job, Stage, delivery};
use crate::statistics::{Samples, short};

/// What is measured, and how often.
pub(crate) struct Bench {
    pub(crate) function: Program,
    pub(crate) bare: Program,
    pub(crate) rival: Option<Program>,
    pub(crate) plain: Option<Program>,
    pub(crate) runs: usize,
    /// A folder for files that last as long as a measurement.
    pub(crate) folder: PathBuf,
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A measurement's name on a plot.
fn named(what: &str, stacks: bool) -> String {
    let engine = if stacks { " of CloudFormation" } else { "" };
    format!("{what}{engine}")
}

impl Bench {
    /// Process start to the first request for an event.
    pub(crate) async fn start(&self) -> Result<Vec<Row>> {
        let open = async |stacks| {
            let job = Job {
                tls: true,
                stacks,
                ..Job::of(1, 1)
            };
            job.open(&self.folder).await
        };
        let stages = [open(false).await?, open(true).await?];
        let none = BTreeMap::new();
        let [mut bare, mut proton, mut stacks, mut plain] = [const { Samples::new() }; 4];
        for _ in 0..self.runs * 3 {
            bare.push(ms(self.bare.time_to_first_next(&none)?));
            for (stage, samples) in stages.iter().zip([&mut proton, &mut stacks]) {
                samples.push(ms(self.function.time_to_first_next(stage.variables())?));
            }
            if let Some(program) = &self.plain {
                plain.push(ms(program.time_to_first_next(stages[0].variables())?));
            }
        }
        let row = |name: String, what: &str, ours: &Samples, target| Row {
            name,
            what: what.to_owned(),
            yardstick: "a bare lambda_runtime function, same profile".to_owned(),
            ours: format!("{ours} ms"),
            theirs: format!("{bare} ms"),
            ratio: ours.over(&bare),
            target,
        };
        let mut rows = vec![
            row(
                named("start", false),
                "process start to the first `next`",
                &proton,
                Some(1.5),
            ),
            row(
                named("start", true),
                "the same with CloudFormation",
                &stacks,
                Some(1.5),
            ),
        ];
        if self.plain.is_some() {
            rows.push(row(
                "start of the plain build".to_owned(),
                "the same for the plain build",
                &plain,
                None,
            ));
        }
        Ok(rows)
    }

    /// Process start to the first cancel, with the event waiting.
    pub(crate) async fn first_cancel(&self) -> Result<Vec<Row>> {
        let [mut cold, mut warm, mut handshake, mut bare] = [const { Samples::new() }; 4];
        let none = BTreeMap::new();
        for _ in 0..self.runs * 2 {
            let latency = Duration::from_millis(20);
            let quick = || {
                Deployment::in_progress()
                    .when_cancelled(Ending::cancelled().rollback(Duration::ZERO))
            };
            let environment = Environment::new("environment")
                .deployment(quick())
                .then(Timing::AfterEnd(Duration::ZERO), Effect::Deploy(quick()));
            let world = World::new()
                .with(environment)
                .faults(Faults::none().latency(latency..=latency));
            let variables = BTreeMap::from([("SETTLE_TIMEOUT_SECONDS".to_owned(), "0".to_owned())]);
            let stage = Stage::open(world, variables, true, &self.folder).await?;
            let began = SystemTime::now();
            let (process, run) =
                tokio::join!(async { stage.start(&self.function) }, stage.invoke());
            cold.push(ms(run?.first_cancel()?.duration_since(began)?));

            tokio::time::sleep(Duration::from_millis(100)).await;
            let began = SystemTime::now();
            let run = stage.invoke().await?;
            warm.push(ms(run.first_cancel()?.duration_since(began)?));
            process?.end()?;

            bare.push(ms(self.bare.time_to_first_next(&none)?));
            let door = stage.tls.as_ref().context("there is no TLS")?;
            handshake.push(ms(door.handshake().await?));
        }
        let floor = warm.plus(&handshake).plus(&bare);
        Ok(vec![Row {
            name: "first cancel".to_owned(),
            what: "process start to the first cancel reaching Proton, TLS, 20 ms a call, the event waiting".to_owned(),
            yardstick: format!(
                "the same with warm connections ({warm} ms) + one TCP and TLS handshake ({handshake} ms) + a bare function's start ({bare} ms)"
            ),
            ours: format!("{cold} ms"),
            theirs: format!("{floor} ms"),
            ratio: cold.over(&floor),
            target: Some(1.15),
        }])
    }

    /// 100 of 1,000 environments.
    pub(crate) async fn fan_out(&self) -> Result<Vec<Row>> {
        let job = Job::of(100, 1000);
        let calls = job.pages() + 100_usize.div_ceil(job.concurrency) + 1;
        let floor = ms(job.latency) * f64::from(u32::try_from(calls)?);
        let mut times = Samples::new();
        let mut followed = Samples::new();
        for _ in 0..self.runs {
            times.push(ms(job.run(&self.function, &self.folder).await?.time));
            let job = Job {
                follow: Duration::from_mins(1),
                ..job.clone()
            };
            followed.push(ms(job.run(&self.function, &self.folder).await?.time));
        }
        let row = |name: &str, what: &str, times: &Samples, target| Row {
            name: name.to_owned(),
            what: what.to_owned(),
            yardstick: format!(
                "{calls} calls one after the other: 10 pages, 5 rounds of cancels, 1 publish"
            ),
            ours: format!("{times} ms"),
            theirs: format!("{floor} ms"),
            ratio: times.scaled(1.0 / floor),
            target,
        };
        Ok(vec![
            row(
                "100 of 1,000",
                "100 of 1,000 environments, 25 ms a call, `CONCURRENCY` 20",
                &times,
                Some(1.15),
            ),
            row(
                "100 of 1,000, followed",
                "the same, each followed to its end, which comes at once",
                &followed,
                None,
            ),
        ])
    }

    /// The same with a service that throttles.
    pub(crate) async fn throttled(&self) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for burst in [20, 1, 100] {
            let job = Job {
                rate: Some((20, burst)),
                ..Job::of(100, 1000)
            };
            let least = job.pages() + job.in_progress;
            let saved = usize::try_from(burst)?;
            let allowed = f64::from(u32::try_from(least - saved.min(least))?) / 20.0 * 1e3;
            let [mut times, mut calls] = [const { Samples::new() }; 2];
            for _ in 0..self.runs {
                let run = job.run(&self.function, &self.folder).await?;
                times.push(ms(run.time));
                calls.push(f64::from(u32::try_from(run.proton().count())?));
            }
            let is_main = burst == 20;
            rows.push(Row {
                name: format!("throttled, {burst} at once: time"),
                what: format!("the same at 20 calls a second from Proton, {burst} at once"),
                yardstick: "what the rate allows".to_owned(),
                ours: format!("{times} ms"),
                theirs: format!("{allowed} ms"),
                ratio: times.scaled(1.0 / allowed),
                target: is_main.then_some(1.2),
            });
            let least = f64::from(u32::try_from(least)?);
            rows.push(Row {
                name: format!("throttled, {burst} at once: calls"),
                what: format!("its calls, throttled ones included, {burst} at once"),
                yardstick: "10 pages and 100 cancels".to_owned(),
                ours: calls.to_string(),
                theirs: least.to_string(),
                ratio: calls.scaled(1.0 / least),
                target: is_main.then_some(1.3),
            });
        }
        Ok(rows)
    }

    /// The calls that following costs.
    pub(crate) async fn following(&self) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for in_progress in [1, 2, 5, 10, 20, 100, 300] {
            let job = Job {
                follow: Duration::from_mins(1),
                settling: Duration::from_secs(3),
                latency: Duration::from_millis(5),
                ..Job::of(in_progress, 1000)
            };
            let run = job.run(&self.function, &self.folder).await?;
            let looks = looks(&run.calls);
            let allowed = f64::from(u32::try_from(in_progress.min(job.pages()))?);
            let samples: Samples = looks.iter().map(|count| f64::from(*count)).collect();
            rows.push(Row {
                name: format!("calls to follow {in_progress}"),
                what: format!(
                    "API calls per poll, following {in_progress} of 1,000 environments ({} polls)",
                    looks.len()
                ),
                yardstick: "the smaller of deployments and pages".to_owned(),
                ours: samples.to_string(),
                theirs: allowed.to_string(),
                ratio: [samples.most() / allowed].into_iter().collect(),
                target: Some(1.0),
            });
        }
        Ok(rows)
    }

    /// What it costs to hear the end of long rollbacks: a run that waits against the follower.
    pub(crate) async fn follower(&self) -> Result<Vec<Row>> {
        /// A run waits ten minutes at the most.
        const WAIT: f64 = 600.0;
        /// The first read of a rollback comes after 30 seconds, the next every 90.
        const READS: f64 = 14.0;
        let job = Job {
            stacks: true,
            settling: Duration::from_hours(1),
            latency: Duration::from_millis(25),
            ..Job::of(10, 100)
        };
        let [mut run, mut read] = [const { Samples::new() }; 2];
        for _ in 0..self.runs {
            let stage = job.open(&self.folder).await?;
            let process = stage.start(&self.function)?;
            stage.wait_for(&process).await;
            run.push(ms(stage.invoke().await?.time));
            let delivery = delivery(&stage)?;
            for _ in 0..10 {
                read.push(ms(stage.invoke_with(delivery.clone()).await?.time));
            }
            process.end()?;
        }
        // Lambda bills whole milliseconds of each invocation.
        let billed = (run.median() + 10.0 * READS * read.median().ceil()) / 1e3;
        // Forty reads an hour, 128 MB on arm64, `us-east-1`: requests of Lambda and SQS, and the time.
        let reads = 100.0 * 40.0;
        let seconds = reads * read.median().ceil() / 1e3;
        let dollars = reads * (0.2 + 0.4 * 2.0) / 1e6 + seconds * 0.125 * 0.000_013_333_4;
        Ok(vec![
            Row {
                name: "billed for 10 rollbacks".to_owned(),
                what: format!(
                    "seconds billed for an alarm with 10 rollbacks of 20 minutes: a run of {run} ms, 14 reads of {read} ms for each"
                ),
                yardstick: "a run that waits 10 minutes, and hears no end".to_owned(),
                ours: format!("{} s", short(billed)),
                theirs: format!("{WAIT} s"),
                ratio: [billed / WAIT].into_iter().collect(),
                target: None,
            },
            Row {
                name: "following 100 for an hour".to_owned(),
                what: "following 100 deployments for an hour: reads, of one call each".to_owned(),
                yardstick: "its cost in US dollars (Lambda, SQS)".to_owned(),
                ours: format!("{reads} calls"),
                theirs: format!("{dollars:.4} $"),
                ratio: [1.0].into_iter().collect(),
                target: None,
            },
        ])
    }

    /// The most memory that is resident.
    pub(crate) async fn memory(&self) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        // Only what is in progress comes from CloudFormation, so a tenth of the stacks tells as much.
        for (stacks, all, what) in [
            (false, 10_000, "peak memory, 100 of 10,000 environments"),
            (
                true,
                1000,
                "the same with CloudFormation, 100 of 1,000 stacks",
            ),
        ] {
            let [mut ours, mut bare] = [const { Samples::new() }; 2];
            let job = Job {
                latency: Duration::ZERO,
                follow: Duration::from_mins(1),
                stacks,
                ..Job::of(100, all)
            };
            let mib = |kib: u64| Ok::<_, anyhow::Error>(f64::from(u32::try_from(kib)?) / 1024.0);
            for _ in 0..self.runs {
                let cost = job.run(&self.function, &self.folder).await?.cost;
                ours.push(mib(cost.context("no cost")?.peak_kib)?);
                let stage = Job::of(0, 1).open(&self.folder).await?;
                let process = stage.start(&self.bare)?;
                stage.invoke().await?;
                bare.push(mib(process.end()?.peak_kib)?);
            }
            rows.push(Row {
                name: named("peak memory", stacks),
                what: what.to_owned(),
                yardstick: "the bare function, one event".to_owned(),
                ours: format!("{ours} MiB"),
                theirs: format!("{bare} MiB"),
                ratio: ours.over(&bare),
                target: Some(3.0),
            });
        }
        Ok(rows)
    }

    /// What is uploaded, and what it is made of.
    pub(crate) fn size(&self) -> Result<Vec<Row>> {
        let Some(plain) = &self.plain else {
            return Ok(Vec::new());
        };
        let mib = |program| -> Result<f64> {
            Ok(f64::from(u32::try_from(programs::zipped(program)?)?) / f64::from(1 << 20))
        };
        let count = |manifest: &Path| -> Result<f64> {
            Ok(f64::from(u32::try_from(programs::dependencies(manifest)?)?))
        };
        let row = |name: &str, what: &str, ours: f64, theirs: f64, unit| Row {
            name: name.to_owned(),
            what: what.to_owned(),
            yardstick: "the plain build".to_owned(),
            ours: format!("{}{unit}", short(ours)),
            theirs: format!("{}{unit}", short(theirs)),
            ratio: [ours / theirs].into_iter().collect(),
            target: Some(0.6),
        };
        Ok(vec![
            row(
                "zipped size",
                "release binary, zipped",
                mib(&self.function)?,
                mib(plain)?,
                " MiB",
            ),
            row(
                "dependencies",
                "packages that it is made of",
                count(&programs::root().join("Cargo.toml"))?,
                count(&programs::plain_manifest_path())?,
                "",
            ),
        ])
    }

    /// CPU time of an invocation with 20 cancels.
    pub(crate) async fn cpu(&self) -> Result<Vec<Row>> {
        let Some(rival) = &self.rival else {
            return Ok(Vec::new());
        };
        let [mut ours, mut theirs] = [const { Samples::new() }; 2];
        let job = Job {
            concurrency: 10,
            tls: true,
            follow: Duration::from_mins(1),
            settling: Duration::from_secs(1),
            ..Job::of(20, 100)
        };
        for _ in 0..self.runs {
            for (program, samples) in [(&self.function, &mut ours), (rival, &mut theirs)] {
                let cost = job.run(program, &self.folder).await?.cost;
                samples.push(ms(cost.context("no cost")?.cpu));
            }
        }
        Ok(vec![Row {
            name: "CPU time".to_owned(),
            what: "CPU time of a cold start and one invocation, 20 of 100 environments, TLS"
                .to_owned(),
            yardstick: "the same job in Python with boto3, 10 threads".to_owned(),
            ours: format!("{ours} ms"),
            theirs: format!("{theirs} ms"),
            ratio: ours.over(&theirs),
            target: Some(0.05),
        }])
    }

    /// How the cost grows.
    pub(crate) async fn growth(&self) -> Result<Vec<Growth>> {
        let mut points = Vec::new();
        for environments in [10, 100, 1000, 10_000] {
            points.push(
                self.grown("environments", environments, Job::of(10, environments))
                    .await?,
            );
        }
        for cancels in [1, 10, 100, 1000] {
            points.push(
                self.grown("cancels", cancels, Job::of(cancels, 1000))
                    .await?,
            );
        }
        Ok(points)
    }

    async fn grown(&self, by: &'static str, size: usize, job: Job) -> Result<Growth> {
        let [mut time, mut cpu, mut memory] = [const { Samples::new() }; 3];
        let mut calls = 0;
        for _ in 0..self.runs {
            let run = job.run(&self.function, &self.folder).await?;
            let cost = run.cost.context("no cost")?;
            time.push(ms(run.time));
            cpu.push(ms(cost.cpu));
            memory.push(f64::from(u32::try_from(cost.peak_kib)?) / 1024.0);
            calls = run.calls.len();
        }
        Ok(Growth {
            by,
            size,
            calls,
            floor: job.floor(),
            time,
            cpu,
            memory,
        })
    }
}

/// What a job of some size took.
pub(crate) struct Growth {
    pub(crate) by: &'static str,
    pub(crate) size: usize,
    pub(crate) calls: usize,
    pub(crate) floor: Duration,
    pub(crate) time: Samples,
    pub(crate) cpu: Samples,
    pub(crate) memory: Samples,
}

/// How many calls each look at what is followed took: calls of Proton after the last cancel, as
/// they came together.
fn looks(calls: &[Call]) -> Vec<u32> {
    const PAUSE: Duration = Duration::from_millis(100);
    let is_cancel =
        |call: &&Call| call.operation == Operation::CancelEnvironmentDeployment.to_string();
    let Some(last) = calls.iter().rfind(is_cancel).map(|call| call.time) else {
        return Vec::new();
    };
    let mut looks: Vec<u32> = Vec::new();
    let mut previous = last;
    for call in calls
        .iter()
        .filter(|call| call.service == Service::Proton && call.time > last)
    {
        let is_new = call
            .time
            .duration_since(previous)
            .is_ok_and(|pause| pause > PAUSE);
        previous = call.time;
        match looks.last_mut() {
            Some(count) if !is_new => *count += 1,
            Some(_) | None => looks.push(1),
        }
    }
    looks
}
