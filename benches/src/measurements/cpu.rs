//! The CPU time of a cold start and one invocation.

use std::time::Duration;

use anyhow::Result;

use crate::job::Job;
use crate::row::{Figure, Row};
use crate::setup::Setup;
use crate::statistics::Samples;
use crate::units::milliseconds;

/// Compares the function with the same job in Python.
pub(super) async fn rows(setup: &Setup) -> Result<Vec<Row>> {
    let job = Job {
        concurrency: 10,
        tls: true,
        follow: Duration::from_mins(1),
        settling: Duration::from_secs(1),
        ..Job::of(20, 100)
    };
    let [mut function, mut python] = [const { Samples::new() }; 2];
    for _ in 0..setup.runs {
        for (program, times) in [
            (&setup.function, &mut function),
            (setup.python()?, &mut python),
        ] {
            let measured = job.run(program, &setup.folder).await?;
            times.push(milliseconds(measured.cost.cpu));
        }
    }
    Ok(vec![Row {
        name: "CPU time".to_owned(),
        title: "CPU time of a cold start and one invocation, 20 of 100 environments (TLS)"
            .to_owned(),
        yardstick: "the same job in Python with boto3, 10 threads".to_owned(),
        ratio: function.over(&python),
        function: Figure::new(function, "ms"),
        reference: Figure::new(python, "ms"),
        target: Some(0.05),
        result: None,
    }])
}
