//! The time of a run that cancels many deployments.

use std::time::Duration;

use anyhow::Result;

use crate::floor::Latencies;
use crate::job::Job;
use crate::row::{Figure, ResultLine, Row};
use crate::setup::Setup;
use crate::statistics::Samples;
use crate::units::milliseconds;

/// Measures 100 of 1,000 environments against the nominal latencies of the calls.
pub(super) async fn hundred(setup: &Setup) -> Result<Vec<Row>> {
    let job = Job::of(100, 1000);
    let followed_job = Job {
        follow: Duration::from_mins(1),
        ..job.clone()
    };
    let floor = job.floor(Latencies::uniform(job.latency));
    let calls = floor.pages + floor.rounds + 1;
    let [mut times, mut followed] = [const { Samples::new() }; 2];
    for _ in 0..setup.runs {
        for (job, times) in [(&job, &mut times), (&followed_job, &mut followed)] {
            let measured = job.run(&setup.function, &setup.folder).await?;
            times.push(milliseconds(measured.run.time));
        }
    }
    let row = |name: &str, title: &str, times: Samples, yardstick, least: Duration| {
        let least = milliseconds(least);
        Row {
            name: name.to_owned(),
            title: title.to_owned(),
            yardstick,
            ratio: times.scaled(1.0 / least),
            function: Figure::new(times, "ms"),
            reference: Figure::new(Samples::one(least), "ms"),
            target: None,
            result: None,
        }
    };
    let cancelled = row(
        "100 of 1,000 environments",
        "100 of 1,000 environments, event to response (25 ms per call, `CONCURRENCY` 20)",
        times,
        format!(
            "{calls} calls in sequence: {} pages, {} rounds of cancels, 1 publish",
            floor.pages, floor.rounds
        ),
        floor.time,
    );
    let followed = row(
        "100 of 1,000, followed",
        "100 of 1,000 environments, each followed to an immediate end",
        followed,
        format!(
            "{} calls in sequence: {} pages, {} rounds of cancels, a poll of {} pages, 1 publish",
            calls + floor.pages,
            floor.pages,
            floor.rounds,
            floor.pages
        ),
        floor.time + job.latency * u32::try_from(floor.pages)?,
    );
    Ok(vec![
        Row {
            target: Some(1.15),
            result: Some(ResultLine {
                quantity: "from event to response, at 25 ms per call",
                yardstick: "its 16 calls in sequence",
            }),
            ..cancelled
        },
        followed,
    ])
}

/// Measures 10,000 environments, all of them in progress, against the measured latencies of the calls.
pub(super) async fn ten_thousand(setup: &Setup) -> Result<Vec<Row>> {
    let job = Job::of(10_000, 10_000);
    let [mut times, mut floors] = [const { Samples::new() }; 2];
    let mut yardstick = String::new();
    // A run takes some 20 seconds.
    for _ in 0..setup.runs.div_ceil(3) {
        let floor = job.floor(job.latencies(&setup.folder).await?);
        yardstick = format!(
            "the latencies of its calls, one by one: {} pages, {} rounds of 10,000 cancels and {} refreshed pages, 1 publish",
            floor.pages, floor.rounds, floor.refreshes
        );
        floors.push(floor.time.as_secs_f64());
        let measured = job.run(&setup.function, &setup.folder).await?;
        times.push(measured.run.time.as_secs_f64());
    }
    Ok(vec![Row {
        name: "10,000 environments".to_owned(),
        title: "10,000 environments are listed and cancelled, event to response (25 ms per call, `CONCURRENCY` 20)"
            .to_owned(),
        yardstick,
        ratio: times.over(&floors),
        function: Figure::new(times, "s"),
        reference: Figure::new(floors, "s"),
        target: Some(1.15),
        result: None,
    }])
}
