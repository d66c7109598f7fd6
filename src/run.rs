//! One run: list, decide, cancel, follow, publish.

pub mod backoff;
pub mod calls;
pub mod cancel;
pub mod list;
pub mod pace;
pub mod settle;

use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use crate::aws::call_error::CallError;
use crate::clock::{Budget, Clock};
use crate::deployment::{Deployment, Environment, Status};
use crate::engine::Engine;
use crate::invocation_error::InvocationError;
use crate::plan::{self, Mode, Policy, SkipReason, Verdict};
use crate::report::detail::Context;
use crate::report::event_bridge::EventBridge;
use crate::report::outcome::{End, Outcome};
use crate::report::publish::{Unpublished, publish};
use crate::report::summary::Tally;
use crate::run::calls::Calls;
use crate::run::cancel::{Attempt, Cancels, Watch};
use crate::run::list::{Listing, Sighting, list};
use crate::run::settle::Settling;
use crate::settings::Settings;
use crate::timestamp::Timestamp;
use crate::trigger::{Alarm, Cause, Request, Trigger};

/// What a run acts with.
#[derive(Debug)]
pub struct Run<'a> {
    /// How the function was set up.
    pub settings: &'a Settings,
    /// What deploys.
    pub engine: &'a Engine,
    /// Where outcomes go.
    pub event_bridge: &'a EventBridge,
    /// Why it runs.
    pub trigger: &'a Trigger,
    /// The Lambda request's id.
    pub request_id: &'a str,
    /// The time of day.
    pub clock: Clock,
    /// The time it has.
    pub budget: Budget,
}

/// What a run did.
#[derive(Debug)]
pub struct Record {
    /// What was found.
    pub tally: Tally,
    /// What became of each candidate, each once.
    pub outcomes: Vec<Outcome>,
    /// When the service accepted the first cancel.
    pub first_accepted: Option<Timestamp>,
    /// The outcomes that EventBridge did not take.
    pub unpublished: Vec<Unpublished>,
}

/// Where outcomes are told: they are logged, kept for the summary and handed to the publisher.
struct Ledger {
    outcomes: Mutex<Vec<Arc<Outcome>>>,
    to_publish: UnboundedSender<Arc<Outcome>>,
}

impl Ledger {
    fn tell(&self, outcome: Outcome) {
        let environment = outcome.environment.name.as_str();
        let deployment = outcome
            .deployment
            .as_ref()
            .and_then(Deployment::id_for_a_line);
        let deployment = deployment.as_deref();
        let name = outcome.end.name();
        match (outcome.end.error(), outcome.end.skip_reason()) {
            (Some(error), _) => tracing::error!(
                environment,
                deployment,
                outcome = name,
                code = error.code,
                error = error.message,
                "outcome"
            ),
            (None, Some(SkipReason::OverLimit)) => tracing::warn!(
                environment,
                deployment,
                outcome = name,
                reason = SkipReason::OverLimit.as_str(),
                "outcome"
            ),
            (None, reason) => tracing::info!(
                environment,
                deployment,
                outcome = name,
                reason = reason.map(SkipReason::as_str),
                "outcome"
            ),
        }
        let outcome = Arc::new(outcome);
        if outcome.end.is_published() {
            // The receiver lives as long as this ledger does.
            let _ = self.to_publish.send(Arc::clone(&outcome));
        }
        self.outcomes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(outcome);
    }
}

impl Run<'_> {
    /// Does all of it.
    pub async fn go(&self) -> Result<Record, InvocationError> {
        let calls = Calls::new(self.engine, self.settings.concurrency);
        let found = self.find(&calls).await?;
        let (to_publish, told) = unbounded_channel();
        let ledger = Ledger {
            outcomes: Mutex::default(),
            to_publish,
        };
        let watch = Watch::default();
        let tally = found.tally;
        let act = async {
            self.act(found, &calls, &watch, &ledger).await;
            let Ledger { outcomes, .. } = ledger;
            outcomes
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner)
        };
        let until = self.budget.publish_until;
        let publishing = publish(self.event_bridge, self.context(), told, until);
        let (mut outcomes, unpublished) = tokio::join!(act, publishing);
        outcomes.sort_by(|one, other| one.environment.name.cmp(&other.environment.name));
        Ok(Record {
            tally,
            outcomes: outcomes.into_iter().map(Arc::unwrap_or_clone).collect(),
            first_accepted: watch.first_accepted.get().copied(),
            unpublished,
        })
    }

    /// What all its outcomes have in common.
    #[must_use]
    pub fn context(&self) -> Context<'_> {
        Context {
            trigger: self.trigger,
            mode: self.mode(),
            request_id: self.request_id,
        }
    }

    fn policy(&self) -> &Policy {
        &self.settings.policy
    }

    fn mode(&self) -> Mode {
        self.policy().mode_for(self.trigger)
    }

    /// Finds the candidates: by listing, or, for a request, by reading those it names.
    async fn find(&self, calls: &Calls<'_>) -> Result<Found, InvocationError> {
        match &self.trigger.cause {
            Cause::Alarm(_) | Cause::Schedule => {
                let listing = list(calls, self.budget.act_until)
                    .await
                    .map_err(|error| InvocationError::list_failed(&error, self.engine))?;
                tracing::info!(
                    listed = listing.tally.listed,
                    in_progress = listing.tally.in_progress,
                    already_cancelling = listing.tally.already_cancelling,
                    "listed"
                );
                Ok(Found::from(listing))
            }
            Cause::Request(request) => self.read(calls, request).await,
        }
    }

    /// Reads the environments that a request names. Those that the first two rules rule out by
    /// their name are not read.
    async fn read(&self, calls: &Calls<'_>, request: &Request) -> Result<Found, InvocationError> {
        let mut found = Found::default();
        let reads: FuturesUnordered<_> = request
            .environments
            .iter()
            .filter_map(|name| match plan::fence(self.policy(), name) {
                Some(reason) => {
                    let environment = Environment::named(name.clone());
                    let end = End::Skipped(reason);
                    found.decided.push(Outcome::unread(environment, end));
                    None
                }
                None => Some(async move {
                    let asked_at = Cell::new(Instant::now());
                    let read = calls.retried(self.budget.act_until, || {
                        asked_at.set(Instant::now());
                        self.engine.read(name)
                    });
                    (name, read.await, asked_at.get())
                }),
            })
            .collect();
        for (name, read, read_at) in reads.collect::<Vec<_>>().await {
            match read {
                Ok(None) => {
                    let environment = Environment::named(name.clone());
                    let end = End::Skipped(SkipReason::NotIncluded);
                    found.decided.push(Outcome::unread(environment, end));
                }
                Ok(Some(deployment)) => found.count(Sighting::new(deployment, read_at, None)),
                Err(error) => found.unread.push((Environment::named(name.clone()), error)),
            }
        }
        if found.candidates.is_empty()
            && let Some((_, error)) = found
                .unread
                .iter()
                .find(|(_, error)| error.is_without_service())
        {
            return Err(InvocationError::list_failed(error, self.engine));
        }
        Ok(found)
    }

    /// Decides what is to be done with each candidate and does it.
    async fn act(&self, found: Found, calls: &Calls<'_>, watch: &Watch, ledger: &Ledger) {
        for outcome in found.decided {
            ledger.tell(outcome);
        }
        for (environment, error) in found.unread {
            ledger.tell(Outcome::unread(environment, End::Error(error)));
        }
        let mut selected = self.select(found.candidates, calls, ledger).await;
        if !plan::within_limit(self.policy(), selected.len()) {
            tracing::warn!(
                selected = selected.len(),
                limit = self.policy().max_cancellations,
                "more environments were selected than MAX_CANCELLATIONS allows; none is cancelled"
            );
            for Sighting { deployment, .. } in selected {
                let end = End::Skipped(SkipReason::OverLimit);
                ledger.tell(Outcome::without_cancel(deployment, end));
            }
            return;
        }
        selected.sort_by(|one, other| plan::order(&one.deployment, &other.deployment));
        match self.mode() {
            Mode::DryRun => {
                for Sighting { deployment, .. } in selected {
                    ledger.tell(Outcome::without_cancel(deployment, End::DryRun));
                }
            }
            Mode::Live => {
                self.cancel(selected, calls, watch, ledger).await;
            }
        }
    }

    /// Applies the rules before the limit; tells of those that end there.
    async fn select(
        &self,
        candidates: Vec<Sighting>,
        calls: &Calls<'_>,
        ledger: &Ledger,
    ) -> Vec<Sighting> {
        let now = self.clock.now();
        let mut selected = Vec::new();
        let mut to_ask = Vec::new();
        for sighting in candidates {
            match Verdict::of(self.trigger, self.policy(), &sighting.deployment, now) {
                Verdict::Select => selected.push(sighting),
                Verdict::AskTag => to_ask.push(sighting),
                Verdict::Skip(reason) => {
                    let end = End::Skipped(reason);
                    ledger.tell(Outcome::without_cancel(sighting.deployment, end));
                }
            }
        }
        if let Cause::Alarm(alarm) = &self.trigger.cause {
            let mut asked: FuturesUnordered<_> = to_ask
                .into_iter()
                .map(|sighting| self.ask_tag(alarm, sighting, calls))
                .collect();
            while let Some(answer) = asked.next().await {
                match answer {
                    Ok(sighting) => selected.push(sighting),
                    Err(outcome) => ledger.tell(*outcome),
                }
            }
        }
        selected
    }

    /// Rule 5: asks for the environment's tag. What the answer shows of the deployment is newer than
    /// what is known.
    async fn ask_tag(
        &self,
        alarm: &Alarm,
        mut sighting: Sighting,
        calls: &Calls<'_>,
    ) -> Result<Sighting, Box<Outcome>> {
        let environment = &sighting.deployment.environment;
        let asked_at = Cell::new(Instant::now());
        let ask = || {
            asked_at.set(Instant::now());
            self.engine.alarms_tag(environment)
        };
        let end = match calls.retried(self.budget.act_until, ask).await {
            Ok(tag) => {
                let (allows, bad) = plan::tag_allows(tag.value.as_deref(), &alarm.name);
                for bad in bad {
                    let environment = environment.name.as_str();
                    tracing::warn!(
                        environment,
                        error = bad.to_string(),
                        "a glob in the tag `proton-canceller:alarms` cannot be read and matches no alarm"
                    );
                }
                if allows {
                    if tag.deployment.is_some() {
                        sighting.see(tag.deployment, asked_at.get());
                    }
                    return Ok(sighting);
                }
                End::Skipped(SkipReason::NotTagged)
            }
            Err(error) => End::Error(error),
        };
        Err(Box::new(Outcome::without_cancel(sighting.deployment, end)))
    }

    /// Cancels what was selected and follows it.
    async fn cancel(
        &self,
        selected: Vec<Sighting>,
        calls: &Calls<'_>,
        watch: &Watch,
        ledger: &Ledger,
    ) {
        let (follow, arrivals) = unbounded_channel();
        let settling = Settling::new(
            calls,
            self.clock,
            self.budget,
            self.settings.settle_timeout,
            watch,
        );
        let cancels = Cancels::of(selected, calls, self.clock, self.budget, watch);
        let cancelling = async move {
            let tell = |attempt| match attempt {
                // The receiver lives until this sender is gone.
                Attempt::Follow(followed) => drop(follow.send(followed)),
                Attempt::Ended(outcome) => ledger.tell(outcome),
            };
            cancels.run(self.settings.concurrency, tell).await;
        };
        tokio::join!(
            cancelling,
            settling.run(arrivals, |outcome| ledger.tell(outcome))
        );
    }
}

/// What was found before anything is decided.
#[derive(Debug, Default)]
struct Found {
    tally: Tally,
    candidates: Vec<Sighting>,
    /// Environments that a request names and that could not be read.
    unread: Vec<(Environment, CallError)>,
    /// Environments that a request names and that the first rules rule out.
    decided: Vec<Outcome>,
}

impl Found {
    /// Counts an environment that a request names.
    fn count(&mut self, sighting: Sighting) {
        self.tally.listed += 1;
        match sighting.deployment.status {
            Status::InProgress => self.tally.in_progress += 1,
            Status::Cancelling => self.tally.already_cancelling += 1,
            Status::Cancelled | Status::Failed | Status::Succeeded | Status::Other(_) => {}
        }
        self.candidates.push(sighting);
    }
}

impl From<Listing> for Found {
    fn from(listing: Listing) -> Self {
        Self {
            tally: listing.tally,
            candidates: listing.candidates,
            ..Self::default()
        }
    }
}

impl Record {
    /// How long after the trigger's own time the first cancel was accepted.
    #[must_use]
    pub fn time_to_first_cancel(&self, trigger: &Trigger) -> Option<Duration> {
        let accepted = self.first_accepted?;
        let time = trigger.time?;
        Some((accepted - time).try_into().unwrap_or_default())
    }

    /// The environments whose error may pass, with that error.
    pub fn incomplete(&self) -> impl Iterator<Item = (&str, &CallError)> {
        self.outcomes.iter().filter_map(|outcome| {
            let error = outcome.end.error().filter(|error| error.is_transient())?;
            Some((outcome.environment.name.as_str(), error))
        })
    }
}
