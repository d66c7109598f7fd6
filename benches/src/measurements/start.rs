//! The time from process start to the first request for an event.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::job::Job;
use crate::row::{Figure, ResultLine, Row};
use crate::setup::Setup;
use crate::statistics::Samples;
use crate::units::milliseconds;

/// Measures the start of the function for each engine, and of the plain build.
pub(super) async fn rows(setup: &Setup) -> Result<Vec<Row>> {
    let proton = Job {
        tls: true,
        ..Job::of(1, 1)
    };
    let stacks = Job {
        stacks: true,
        ..proton.clone()
    };
    let proton = proton.open(&setup.folder).await?;
    let cloudformation = stacks.open(&setup.folder).await?;
    let starts = [
        (&setup.function, proton.variables()),
        (&setup.function, cloudformation.variables()),
        (setup.plain()?, proton.variables()),
    ];
    let none = BTreeMap::new();
    let mut bare = Samples::new();
    let mut times = [const { Samples::new() }; 3];
    for _ in 0..setup.runs * 3 {
        bare.push(milliseconds(setup.bare()?.time_to_first_next(&none)?));
        for ((program, variables), times) in starts.iter().zip(&mut times) {
            times.push(milliseconds(program.time_to_first_next(variables)?));
        }
    }
    let [proton, cloudformation, plain] = times;
    Ok(vec![
        Row {
            result: Some(ResultLine {
                quantity: "from process start to the first `next`",
                yardstick: "a bare Lambda function in Rust",
            }),
            ..row("Start", "Proton", proton, &bare, Some(1.5))
        },
        row(
            "Start, CloudFormation",
            "CloudFormation",
            cloudformation,
            &bare,
            Some(1.5),
        ),
        row("Start, plain build", "plain build", plain, &bare, None),
    ])
}

fn row(name: &str, what: &str, times: Samples, bare: &Samples, target: Option<f64>) -> Row {
    Row {
        name: name.to_owned(),
        title: format!("process start to the first `next`, {what}"),
        yardstick: "a bare lambda_runtime function, same profile".to_owned(),
        ratio: times.over(bare),
        function: Figure::new(times, "ms"),
        reference: Figure::new(bare.clone(), "ms"),
        target,
        result: None,
    }
}
