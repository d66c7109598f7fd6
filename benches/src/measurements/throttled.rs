//! A run against a service that throttles.

use anyhow::Result;

use crate::job::{Job, Rate};
use crate::row::{Figure, ResultLine, Row};
use crate::setup::Setup;
use crate::statistics::Samples;
use crate::units::{count, milliseconds};

const PER_SECOND: u32 = 20;

/// The burst whose rows have targets.
const MAIN_BURST: u32 = 20;

/// Measures 100 of 1,000 environments at 20 calls per second, for three bursts.
pub(super) async fn rows(setup: &Setup) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for burst in [MAIN_BURST, 1, 100] {
        rows.extend(rows_of_burst(setup, burst).await?);
    }
    Ok(rows)
}

async fn rows_of_burst(setup: &Setup, burst: u32) -> Result<[Row; 2]> {
    let job = Job {
        rate: Some(Rate {
            per_second: PER_SECOND,
            burst,
        }),
        ..Job::of(100, 1000)
    };
    let least = count(job.pages() + job.in_progress)?;
    let allowed = (least - f64::from(burst)).max(0.0) / f64::from(PER_SECOND) * 1e3;
    let [mut times, mut calls] = [const { Samples::new() }; 2];
    for _ in 0..setup.runs {
        let measured = job.run(&setup.function, &setup.folder).await?;
        times.push(milliseconds(measured.run.time));
        calls.push(count(measured.run.proton_calls())?);
    }
    let is_main = burst == MAIN_BURST;
    let limit = format!("{PER_SECOND} calls per second, burst {burst}");
    let name = if is_main {
        "Throttled".to_owned()
    } else {
        format!("Throttled, burst {burst}")
    };
    Ok([
        Row {
            title: format!("100 of 1,000 environments at {limit}: time"),
            yardstick: "the rate: 10 pages and 100 cancels, less the burst".to_owned(),
            ratio: times.scaled(1.0 / allowed),
            function: Figure::new(times, "ms"),
            reference: Figure::new(Samples::one(allowed), "ms"),
            target: is_main.then_some(1.2),
            result: is_main.then_some(ResultLine {
                quantity: "for 100 of 1,000 environments at 20 calls per second",
                yardstick: "what the rate allows",
            }),
            name: name.clone(),
        },
        Row {
            name: format!("{name}: API calls"),
            title: format!("100 of 1,000 environments at {limit}: API calls of Proton"),
            yardstick: "10 pages and 100 cancels".to_owned(),
            ratio: calls.scaled(1.0 / least),
            function: Figure::new(calls, ""),
            reference: Figure::new(Samples::one(least), ""),
            target: is_main.then_some(1.3),
            result: None,
        },
    ])
}
