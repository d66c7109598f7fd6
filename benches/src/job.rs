//! A job for the function: the account, its settings, and the run that is measured.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use local_aws::{Deployment, Ending, Environment, Faults, Operation, Throttle, World};

use crate::bare_client::BareClient;
use crate::floor::{Floor, Latencies};
use crate::process::{Cost, Program};
use crate::stage::{Run, Stage};
use crate::statistics::Samples;

/// Environments on a page of the listing.
const PAGE: usize = 100;

/// An account, and the settings of the function that acts on it.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// All environments.
    pub(crate) environments: usize,
    /// The environments in progress, evenly spread over the pages.
    pub(crate) in_progress: usize,
    /// The latency of every response.
    pub(crate) latency: Duration,
    /// The time that a cancelled deployment takes to settle.
    pub(crate) settling: Duration,
    /// The limit of Proton's rate. `None` for no limit.
    pub(crate) rate: Option<Rate>,
    /// `CONCURRENCY`.
    pub(crate) concurrency: usize,
    /// `SETTLE_TIMEOUT_SECONDS`.
    pub(crate) follow: Duration,
    /// True if the local AWS is behind TLS.
    pub(crate) tls: bool,
    /// True if the account holds stacks in place of environments.
    pub(crate) stacks: bool,
}

/// A token bucket for all operations of Proton.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) per_second: u32,
    pub(crate) burst: u32,
}

/// The cost and the time of a run that went as expected.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) run: Run,
    pub(crate) cost: Cost,
}

impl Job {
    /// A job that cancels so many of so many environments, 25 ms per call, and follows none.
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

    /// Returns how many pages the listing has.
    pub(crate) fn pages(&self) -> usize {
        self.environments.div_ceil(PAGE)
    }

    /// Returns the least time that the calls can take, each with the latency of its kind.
    pub(crate) fn floor(&self, latencies: Latencies) -> Floor {
        let candidates = self.candidates().map(|index| index / PAGE);
        Floor::of(self.pages(), candidates, self.concurrency, latencies)
    }

    /// Measures the latencies of calls on an account of its own, one call at a time.
    ///
    /// The local AWS and the connection add to the latency of a call. That time belongs to the
    /// latencies and not to the function.
    pub(crate) async fn latencies(&self, folder: &Path) -> Result<Latencies> {
        let stage = self.open(folder).await?;
        let mut client = BareClient::connect(&stage.address()).await?;
        let pages = client.list().await?;
        let mut calls = Samples::new();
        for index in self.candidates().take(self.concurrency) {
            calls.push(client.cancel(&name(index)).await?.as_secs_f64());
        }
        Ok(Latencies {
            page: pages.iter().sum::<Duration>() / u32::try_from(pages.len())?,
            call: Duration::try_from_secs_f64(calls.median())?,
        })
    }

    /// The environments in progress, by index.
    fn candidates(&self) -> impl Iterator<Item = usize> {
        // Evenly spread: where the share of those before grows by one.
        let before = |index: usize| (index * self.in_progress).div_ceil(self.environments);
        (0..self.environments).filter(move |index| before(index + 1) > before(*index))
    }

    fn world(&self) -> World {
        let mut candidates = self.candidates().peekable();
        let environments = (0..self.environments).map(|index| {
            let environment = Environment::new(name(index));
            if candidates.next_if_eq(&index).is_some() {
                let end = Ending::cancelled().rollback(self.settling);
                environment.deployment(Deployment::in_progress().when_cancelled(end))
            } else {
                environment
            }
        });
        let faults = Faults::none().latency(self.latency..=self.latency);
        let faults = match self.rate {
            Some(rate) => faults.throttle(Throttle {
                operation: None,
                per_second: f64::from(rate.per_second),
                burst: rate.burst,
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

    /// Opens the account.
    pub(crate) async fn open(&self, folder: &Path) -> Result<Stage> {
        Stage::open(self.world(), self.variables(), self.tls, folder).await
    }

    /// Runs the job once, in a new process that waits for its first event.
    ///
    /// Fails unless every deployment in progress was cancelled and every outcome was published.
    pub(crate) async fn run(&self, program: &Program, folder: &Path) -> Result<Measured> {
        let stage = self.open(folder).await?;
        let mut process = stage.start_and_settle(program).await?;
        let run = stage.invoke(&mut process).await?;
        let cancel = if self.stacks {
            Operation::CancelUpdateStack
        } else {
            Operation::CancelEnvironmentDeployment
        };
        let cancelled = run.accepted(cancel);
        if cancelled != self.in_progress {
            bail!(
                "the run is not comparable: {cancelled} cancels were accepted instead of {}",
                self.in_progress
            );
        }
        // `CANCELLING`, and the end if the run follows.
        let expected = if self.follow.is_zero() { 1 } else { 2 } * self.in_progress;
        let published = stage.local.events().len();
        if published != expected {
            bail!(
                "the run is not comparable: {published} events were published instead of {expected}"
            );
        }
        let cost = process.end()?;
        Ok(Measured { run, cost })
    }
}

/// The name of an environment. The order of the names is that of the pages.
fn name(index: usize) -> String {
    format!("environment-{index:05}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_spread_evenly() {
        let candidates = |of: usize, all: usize| Job::of(of, all).candidates().collect::<Vec<_>>();
        assert_eq!(candidates(1, 1), [0]);
        assert_eq!(candidates(2, 10), [0, 5]);
        assert_eq!(candidates(3, 3), [0, 1, 2]);
        assert_eq!(candidates(100, 1000).len(), 100);
        assert_eq!(candidates(0, 10), Vec::<usize>::new());
    }

    #[test]
    fn the_floor_of_100_of_1_000_is_16_calls() {
        let latencies = Latencies::uniform(Duration::from_millis(25));
        let floor = Job::of(100, 1000).floor(latencies);
        assert_eq!(floor.time, Duration::from_millis(400));
    }
}
