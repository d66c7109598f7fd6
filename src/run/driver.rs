//! The driver: makes the calls that a run and its publisher ask for, and hands the responses back.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::Instant;

use super::{Call, Report, Request, Response, Run, Step};
use crate::aws::call_error::CallError;
use crate::clock::Clock;
use crate::engine::Engine;
use crate::report::event_bridge::{EventBridge, Receipt};
use crate::report::outcome::Outcome;
use crate::report::publish::{Batch, PublishStep, Publisher};
use crate::timestamp::Timestamp;

/// The clients and the clock of a driver.
#[derive(Clone, Copy, Debug)]
pub struct Driver<'a> {
    /// The engine.
    pub(crate) engine: &'a Engine,
    /// The client that publishes outcomes.
    pub(crate) event_bridge: &'a EventBridge,
    /// The time.
    pub(crate) clock: Clock,
}

/// A call to make.
enum Work {
    Engine(Call),
    Publish(Batch),
}

/// A response.
enum Answer {
    Engine(Response),
    Publish(Batch, Result<Vec<Receipt>, CallError>),
}

impl Driver<'_> {
    /// Drives a run and its publisher until both are done. `report` returns what is to be published.
    pub(crate) async fn drive(
        self,
        run: &mut Run<'_>,
        publisher: &mut Publisher<'_>,
        mut report: impl FnMut(Report) -> Option<Arc<Outcome>>,
    ) {
        let mut calls = FuturesUnordered::new();
        loop {
            let now = self.clock.now();
            let due = loop {
                match run.next(now) {
                    Step::Call(call) => calls.push(self.work(Work::Engine(call))),
                    Step::WaitUntil(at) => break Some(at),
                    Step::Done => break None,
                }
            };
            for outcome in run.take_reports().into_iter().filter_map(&mut report) {
                publisher.add(outcome, now);
            }
            if due.is_none() {
                publisher.close();
            }
            let publish_due = loop {
                match publisher.next(now) {
                    PublishStep::Put(batch) => calls.push(self.work(Work::Publish(batch))),
                    PublishStep::WaitUntil(at) => break Some(at),
                    PublishStep::Wait => break None,
                    PublishStep::Done => return,
                }
            };
            tokio::select! {
                // The order is fixed, so that a run replays exactly.
                biased;
                Some(answer) = calls.next() => {
                    apply(answer, run, publisher, self.clock.now());
                }
                () = self.sleep_until(due.into_iter().chain(publish_due).min()) => {}
            }
            // Responses that arrive together are reported together.
            while let Some(Some(answer)) = calls.next().now_or_never() {
                apply(answer, run, publisher, self.clock.now());
            }
        }
    }

    async fn sleep_until(self, at: Option<Timestamp>) {
        match at {
            Some(at) => tokio::time::sleep_until(self.clock.instant(at)).await,
            None => std::future::pending().await,
        }
    }

    async fn work(self, work: Work) -> Answer {
        match work {
            Work::Engine(call) => Answer::Engine(self.call(call).await),
            Work::Publish(batch) => {
                let put = async { self.event_bridge.put(&batch.entries()).await };
                let result = self.answered(batch.give_up_at, put).await;
                Answer::Publish(batch, result)
            }
        }
    }

    async fn call(self, call: Call) -> Response {
        let (engine, until) = (self.engine, call.give_up_at);
        match call.request {
            Request::List(list) => {
                let page = engine.list(list.token.as_deref());
                let page = self.answered(until, page).await;
                Response::List(list, page)
            }
            Request::ReadEnvironment(name) => {
                let read = self.answered(until, engine.read_environment(&name)).await;
                Response::ReadEnvironment(name, read)
            }
            Request::ReadTag(environment, page) => {
                let tag = engine.alarms_tag(&environment, page.as_ref());
                let tag = self.answered(until, tag).await;
                Response::ReadTag(environment.name, tag)
            }
            Request::ReadDeployment(deployment, continuation) => {
                let read = engine.read_deployment(&deployment, continuation.as_ref());
                let read = self.answered(until, read).await;
                Response::ReadDeployment(deployment.environment.name, read)
            }
            Request::Cancel(deployment) => {
                let cancelled = self.answered(until, engine.cancel(&deployment)).await;
                Response::Cancel(deployment.environment.name, cancelled)
            }
        }
    }

    /// Returns the response, or that there was none in time.
    async fn answered<T>(
        self,
        until: Timestamp,
        call: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CallError> {
        let asked_at = Instant::now();
        tokio::time::timeout_at(self.clock.instant(until), call)
            .await
            .unwrap_or_else(|_| Err(CallError::unanswered(asked_at.elapsed())))
    }
}

fn apply(answer: Answer, run: &mut Run<'_>, publisher: &mut Publisher<'_>, now: Timestamp) {
    match answer {
        Answer::Engine(response) => run.handle(response, now),
        Answer::Publish(batch, result) => publisher.handle(batch, result, now),
    }
}
