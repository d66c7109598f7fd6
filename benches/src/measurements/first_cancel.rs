//! The time from process start to the first cancel.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use local_aws::{Deployment, Effect, Ending, Environment, Faults, Timing, World};

use crate::row::{Figure, ResultLine, Row};
use crate::setup::Setup;
use crate::stage::Stage;
use crate::statistics::{Samples, number};
use crate::units::milliseconds;

const LATENCY: Duration = Duration::from_millis(20);

/// Measures a cold start whose event waits, against the sum of its parts.
pub(super) async fn rows(setup: &Setup) -> Result<Vec<Row>> {
    let [mut cold, mut warm, mut handshake, mut bare] = [const { Samples::new() }; 4];
    let none = BTreeMap::new();
    for _ in 0..setup.runs * 2 {
        let variables = BTreeMap::from([("SETTLE_TIMEOUT_SECONDS".to_owned(), "0".to_owned())]);
        let stage = Stage::open(world(), variables, true, &setup.folder).await?;
        let began = SystemTime::now();
        let mut process = stage.start(&setup.function)?;
        // The event waits long before the process asks for it.
        let run = stage.invoke(&mut process).await?;
        cold.push(milliseconds(run.first_cancel()?.duration_since(began)?));

        tokio::time::sleep(Duration::from_millis(100)).await;
        let began = SystemTime::now();
        let run = stage.invoke(&mut process).await?;
        warm.push(milliseconds(run.first_cancel()?.duration_since(began)?));
        process.end()?;

        bare.push(milliseconds(setup.bare()?.time_to_first_next(&none)?));
        let tls = stage.tls.as_ref().context("the stage has no TLS")?;
        handshake.push(milliseconds(tls.handshake().await?));
    }
    let sum = warm.plus(&handshake).plus(&bare);
    let [warm, handshake, bare] = [warm, handshake, bare].map(|part| number(part.median()));
    Ok(vec![Row {
        name: "First cancel".to_owned(),
        title:
            "process start to the arrival of the first cancel, event waiting (TLS, 20 ms per call)"
                .to_owned(),
        yardstick: format!(
            "the same with warm connections, one TCP and TLS handshake, and a bare start ({warm} + {handshake} + {bare} ms)"
        ),
        ratio: cold.over(&sum),
        function: Figure::new(cold, "ms"),
        reference: Figure::new(sum, "ms"),
        target: Some(1.15),
        result: Some(ResultLine {
            quantity: "from process start to the arrival of the first cancel, at 20 ms per call over TLS",
            yardstick: "a warm run, a handshake and a bare start together",
        }),
    }])
}

/// An environment whose deployment is replaced by another one as soon as it is cancelled.
fn world() -> World {
    let quick =
        || Deployment::in_progress().when_cancelled(Ending::cancelled().rollback(Duration::ZERO));
    let environment = Environment::new("environment")
        .deployment(quick())
        .then(Timing::AfterEnd(Duration::ZERO), Effect::Deploy(quick()));
    World::new()
        .with(environment)
        .faults(Faults::none().latency(LATENCY..=LATENCY))
}
