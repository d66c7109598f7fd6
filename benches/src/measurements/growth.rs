//! The growth of a run's cost with the account and with the cancels.

use anyhow::Result;

use crate::job::Job;
use crate::row::{Dimension, GrowthPoint};
use crate::setup::Setup;
use crate::statistics::Samples;
use crate::units::{count, mebibytes, milliseconds};

/// Measures runs of several sizes.
pub(super) async fn points(setup: &Setup) -> Result<Vec<GrowthPoint>> {
    let mut points = Vec::new();
    for environments in [10, 100, 1000, 10_000] {
        let job = Job::of(10, environments);
        points.push(point(setup, Dimension::Environments, environments, &job).await?);
    }
    for cancels in [1, 10, 100, 1000] {
        let job = Job::of(cancels, 1000);
        points.push(point(setup, Dimension::Cancels, cancels, &job).await?);
    }
    Ok(points)
}

async fn point(setup: &Setup, dimension: Dimension, size: usize, job: &Job) -> Result<GrowthPoint> {
    let floor = job.floor(job.latencies(&setup.folder).await?).time;
    let [mut calls, mut time, mut cpu, mut memory] = [const { Samples::new() }; 4];
    for _ in 0..setup.runs {
        let measured = job.run(&setup.function, &setup.folder).await?;
        calls.push(count(measured.run.calls.len())?);
        time.push(milliseconds(measured.run.time));
        cpu.push(milliseconds(measured.cost.cpu));
        memory.push(mebibytes(measured.cost.peak_kib)?);
    }
    Ok(GrowthPoint {
        dimension,
        size,
        calls,
        floor,
        time,
        cpu,
        memory,
    })
}
