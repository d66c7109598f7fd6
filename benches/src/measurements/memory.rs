//! The peak of resident memory.

use std::time::Duration;

use anyhow::Result;

use crate::job::Job;
use crate::row::{Figure, ResultLine, Row};
use crate::setup::Setup;
use crate::statistics::Samples;
use crate::units::mebibytes;

/// Measures a run with 100 cancels for each engine.
pub(super) async fn rows(setup: &Setup) -> Result<Vec<Row>> {
    let proton = Job {
        latency: Duration::ZERO,
        follow: Duration::from_mins(1),
        ..Job::of(100, 10_000)
    };
    // CloudFormation lists the stacks in progress only, so the number of others plays no part.
    let stacks = Job {
        environments: 1000,
        stacks: true,
        ..proton.clone()
    };
    Ok(vec![
        row(
            setup,
            &proton,
            "Memory",
            "peak memory, 100 of 10,000 environments, Proton",
        )
        .await?,
        row(
            setup,
            &stacks,
            "Memory, CloudFormation",
            "peak memory, 100 of 1,000 stacks, CloudFormation",
        )
        .await?,
    ])
}

async fn row(setup: &Setup, job: &Job, name: &str, title: &str) -> Result<Row> {
    let [mut function, mut bare] = [const { Samples::new() }; 2];
    for _ in 0..setup.runs {
        let measured = job.run(&setup.function, &setup.folder).await?;
        function.push(mebibytes(measured.cost.peak_kib)?);
        let stage = Job::of(0, 1).open(&setup.folder).await?;
        let mut process = stage.start(setup.bare()?)?;
        stage.invoke(&mut process).await?;
        bare.push(mebibytes(process.end()?.peak_kib)?);
    }
    Ok(Row {
        name: name.to_owned(),
        title: title.to_owned(),
        yardstick: "the bare function, one event".to_owned(),
        ratio: function.over(&bare),
        function: Figure::new(function, "MiB"),
        reference: Figure::new(bare, "MiB"),
        target: Some(3.0),
        result: (!job.stacks).then_some(ResultLine {
            quantity: "at peak with 100 cancels of 10,000 environments",
            yardstick: "a bare Lambda function in Rust",
        }),
    })
}
