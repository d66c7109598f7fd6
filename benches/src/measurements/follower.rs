//! The cost of following one rollback with the follower.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use local_aws::Operation;

use crate::job::Job;
use crate::payload::delivery;
use crate::row::{Figure, Row};
use crate::setup::Setup;
use crate::statistics::Samples;
use crate::units::{count, milliseconds};

/// The duration of the rollback, in seconds.
const ROLLBACK: u32 = 20 * 60;

/// The time to the first read, in seconds: `DelaySeconds` of the queue in `template.yaml`.
const FIRST_READ: u32 = 30;

/// The time from one read to the next, in seconds: `VisibilityTimeout` of the queue.
const READ_INTERVAL: u32 = 90;

/// The memory of the follower in GB: `MemorySize` of the template.
const MEMORY: f64 = 0.25;

/// The time that a run waits for ends by default, in seconds: `SETTLE_TIMEOUT_SECONDS`.
const WAIT: f64 = 600.0;

/// Prices in US dollars, of `us-east-1`, on arm64.
const GIGABYTE_SECOND: f64 = 0.000_013_333_4;
const LAMBDA_REQUEST: f64 = 0.2e-6;
const SQS_REQUEST: f64 = 0.4e-6;
const EVENT: f64 = 1.0e-6;

/// How long the rollback takes in the local AWS: longer than all reads but the last.
const LOCAL_ROLLBACK: Duration = Duration::from_secs(8);

/// Measures all reads of one rollback, from the cold start to the published end.
pub(super) async fn rows(setup: &Setup) -> Result<Vec<Row>> {
    let reads = reads(ROLLBACK);
    let [mut seconds, mut calls, mut dollars] = [const { Samples::new() }; 3];
    for _ in 0..setup.runs {
        let rollback = follow(setup, reads).await?;
        seconds.push(rollback.billed);
        calls.push(count(rollback.calls)?);
        dollars.push(cost(rollback.billed, reads));
    }
    let row = |what: &str, yardstick: &str, figures: Samples, least: f64, unit| Row {
        name: format!("Follower: {what}"),
        title: format!("follower, one rollback of 20 minutes ({reads} reads): {what}"),
        yardstick: yardstick.to_owned(),
        ratio: figures.scaled(1.0 / least),
        function: Figure::new(figures, unit),
        reference: Figure::new(Samples::one(least), unit),
        target: None,
        result: None,
    };
    Ok(vec![
        row(
            "time billed",
            "a run that waits 600 s and does not see the end",
            seconds,
            WAIT,
            "s",
        ),
        row(
            "API calls",
            "1 per read and 1 publish",
            calls,
            count(reads)? + 1.0,
            "",
        ),
        row(
            "cost",
            "the time billed for a run that waits 600 s",
            dollars,
            WAIT * MEMORY * GIGABYTE_SECOND,
            "USD",
        ),
    ])
}

/// Returns how many reads it takes to see the end of a rollback of so many seconds.
fn reads(rollback: u32) -> usize {
    let later = rollback.saturating_sub(FIRST_READ).div_ceil(READ_INTERVAL);
    1 + usize::try_from(later).unwrap_or(usize::MAX - 1)
}

/// Returns the cost of the follower in US dollars.
///
/// SQS bills the message that EventBridge sends, a receive per read, and the delete at the end.
/// EventBridge bills the event with the end.
fn cost(seconds: f64, reads: usize) -> f64 {
    let reads = f64::from(u32::try_from(reads).unwrap_or(u32::MAX));
    seconds * MEMORY * GIGABYTE_SECOND
        + reads * (LAMBDA_REQUEST + SQS_REQUEST)
        + 2.0 * SQS_REQUEST
        + EVENT
}

/// The reads of one rollback.
struct Rollback {
    /// Seconds.
    billed: f64,
    calls: usize,
}

/// Cancels one update of a stack, and delivers the event to a new process so many times. Only the
/// last read finds the end.
async fn follow(setup: &Setup, reads: usize) -> Result<Rollback> {
    let job = Job {
        stacks: true,
        tls: true,
        settling: LOCAL_ROLLBACK,
        ..Job::of(1, 1)
    };
    let stage = job.open(&setup.folder).await?;
    let mut process = stage.start_and_settle(&setup.function).await?;
    let run = stage.invoke(&mut process).await?;
    process.end()?;
    if run.accepted(Operation::CancelUpdateStack) != 1 {
        bail!("the run is not comparable: no update was cancelled");
    }
    let rollback_ends = tokio::time::Instant::now() + LOCAL_ROLLBACK;
    let events = stage.local.events();
    let delivery = delivery(events.first().context("the run published no event")?)?;

    // Lambda bills whole milliseconds, and the start of the process with the first read.
    let start = setup.function.time_to_first_next(stage.variables())?;
    let mut process = stage.start_and_settle(&setup.function).await?;
    let mut billed = 0.0;
    let mut calls = 0;
    for read in 1..=reads {
        if read == reads {
            tokio::time::sleep_until(rollback_ends).await;
        }
        let run = stage.invoke_with(&mut process, delivery.clone()).await?;
        let start = if read == 1 { start } else { Duration::ZERO };
        billed += milliseconds(start + run.time).ceil();
        calls += run.calls.len();
        let has_ended = stage.local.events().len() > 1;
        if has_ended != (read == reads) {
            bail!("the reads are not comparable: read {read} of {reads} must not decide the end");
        }
    }
    process.end()?;
    Ok(Rollback {
        billed: billed / 1e3,
        calls,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_come_after_30_seconds_and_then_every_90() {
        for (rollback, expected) in [(10, 1), (30, 1), (31, 2), (120, 2), (121, 3), (1200, 14)] {
            assert_eq!(reads(rollback), expected, "{rollback}");
        }
    }

    #[test]
    fn the_cost_is_that_of_time_and_requests() {
        let cost = cost(0.5, 14);
        assert!((cost - 0.000_011_866_7).abs() < 1e-9, "{cost}");
    }

    #[test]
    fn the_schedule_and_the_memory_are_those_of_the_template() {
        let template = include_str!("../../../template.yaml");
        for setting in [
            format!("DelaySeconds: {FIRST_READ}\n"),
            format!("VisibilityTimeout: {READ_INTERVAL}\n"),
        ] {
            assert!(template.contains(&setting), "{setting}");
        }
        let (_, memory) = template.split_once("\n  MemorySize:\n").unwrap();
        let (_, default) = memory.split_once("Default: '").unwrap();
        let (default, _) = default.split_once('\'').unwrap();
        let megabytes: f64 = default.parse().unwrap();
        assert!((megabytes / 1024.0 - MEMORY).abs() < f64::EPSILON);
    }
}
