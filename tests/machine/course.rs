//! The simulation of a run: a loop over events in the order of their time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use proton_canceller::deployment::{Deployment, Status};
use proton_canceller::engine::{AlarmsTag, Continuation, Page, ReadStep, Reading, TagStep};
use proton_canceller::report::summary::Tally;
use proton_canceller::run::{Call, Report, Request, Response, Run, Step};

use crate::calls::{Asked, At, Called, Read, Reply, START, Shown, Trouble, at, number, timestamp};
use crate::faults::Fate;
use crate::scenario::{Scenario, Why};
use crate::service::Service;

/// The most events of one run. A machine that needs more is in an endless loop.
const MOST_EVENTS: usize = 200_000;

/// A line in the log of a run.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) at: At,
    pub(crate) what: What,
}

/// An event in a run.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// The machine made the call with this number.
    Asked(usize),
    /// The machine got the response to the call with this number.
    Responded(usize),
    /// The machine reported something.
    Reported(Report),
    /// The machine waits until this time.
    Waits(At),
    /// The machine is done.
    Done,
}

/// The course of a run.
#[derive(Debug)]
pub(crate) struct Course {
    pub(crate) scenario: Scenario,
    /// The service after the run.
    pub(crate) service: Service,
    pub(crate) calls: Vec<Called>,
    pub(crate) log: Vec<Entry>,
    pub(crate) tally: Tally,
    /// When the first cancel was accepted, by the machine's account.
    pub(crate) first_accepted: Option<At>,
    /// The code of the error that failed the whole run.
    pub(crate) failure: Option<String>,
    /// The reason why the run was stopped. `None` if it ended.
    pub(crate) stuck: Option<&'static str>,
}

/// A future event of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Handled(usize),
    Responded(usize),
}

/// A run in progress.
struct Simulation<'a> {
    run: Run<'a>,
    now: At,
    random: fastrand::Rng,
    course: Course,
    events: BinaryHeap<Reverse<(At, Event)>>,
    /// The requests under way, with their fate.
    under_way: Vec<Option<(Request, Fate)>>,
}

impl Course {
    /// Runs a scenario.
    pub(crate) fn of(scenario: Scenario) -> Self {
        let (trigger, policy) = (scenario.trigger(), scenario.policy());
        let (limits, start) = (scenario.limits(), timestamp(START));
        let run = match scenario.why {
            Why::Follow(environment) => {
                let first = Shown {
                    environment,
                    deployment: 0,
                    state: crate::calls::State::Cancelling,
                };
                let message = Deployment {
                    status: Status::Cancelling,
                    ended_at: None,
                    ..scenario.service.describe(first)
                };
                Run::follow(message, limits, start)
            }
            Why::Alarm(_) | Why::Schedule | Why::Request(_) => {
                Run::new(&trigger, &policy, limits, start)
            }
        };
        let simulation = Simulation {
            run,
            now: START,
            random: fastrand::Rng::with_seed(!scenario.seed),
            events: BinaryHeap::new(),
            under_way: Vec::new(),
            course: Self {
                service: scenario.service.clone(),
                scenario,
                calls: Vec::new(),
                log: Vec::new(),
                tally: Tally::default(),
                first_accepted: None,
                failure: None,
                stuck: None,
            },
        };
        let course = simulation.go();
        course.scenario.give_back(policy);
        course
    }
}

impl Simulation<'_> {
    fn go(mut self) -> Course {
        while let Some(until) = self.ask() {
            if until <= self.now {
                self.course.stuck = Some("the machine waits until a time that is past");
                break;
            }
            if self.course.log.len() > MOST_EVENTS {
                self.course.stuck = Some("the machine does not end");
                break;
            }
            let next = self.events.peek().map(|Reverse((at, _))| *at);
            self.now = next.map_or(until, |at| at.min(until));
            self.handle_due_events();
        }
        self.course.tally = self.run.tally();
        self.course.first_accepted = self.run.first_accepted().map(at);
        self.course.failure = self.run.failure().map(|error| error.code.clone());
        self.course
    }

    /// Makes the calls that the machine asks for. Returns until when the machine waits. `None` if it is
    /// done.
    fn ask(&mut self) -> Option<At> {
        loop {
            match self.run.next(timestamp(self.now)) {
                Step::Call(call) => self.call(call),
                Step::WaitUntil(until) => {
                    self.take_reports();
                    let until = at(until);
                    self.log(What::Waits(until));
                    return Some(until);
                }
                Step::Done => {
                    self.take_reports();
                    self.log(What::Done);
                    return None;
                }
            }
            if self.course.log.len() > MOST_EVENTS {
                return Some(self.now + Duration::from_nanos(1));
            }
        }
    }

    /// Handles every event that is due.
    fn handle_due_events(&mut self) {
        while let Some(Reverse((at, event))) = self.events.peek().copied()
            && at <= self.now
        {
            self.events.pop();
            match event {
                Event::Handled(call) => self.handle(call),
                Event::Responded(call) => self.respond(call),
            }
        }
    }

    fn log(&mut self, what: What) {
        let at = self.now;
        self.course.log.push(Entry { at, what });
    }

    fn take_reports(&mut self) {
        for report in self.run.take_reports() {
            self.log(What::Reported(report));
        }
    }

    fn call(&mut self, call: Call) {
        let number = self.course.calls.len();
        let asked = self.asked(&call.request);
        let faults = &self.course.scenario.faults;
        let fate = faults.fate(asked, self.now, &mut self.random);
        let give_up_at = at(call.give_up_at);
        if let Some(at) = fate.handled_at.filter(|at| *at < give_up_at) {
            self.events.push(Reverse((at, Event::Handled(number))));
        }
        let responds_at = fate.responds_at.map_or(give_up_at, |at| at.min(give_up_at));
        self.events
            .push(Reverse((responds_at, Event::Responded(number))));
        self.course.calls.push(Called {
            asked,
            asked_at: self.now,
            give_up_at,
            reply: None,
            cancelled: None,
        });
        self.under_way.push(Some((call.request, fate)));
        self.log(What::Asked(number));
    }

    fn asked(&self, request: &Request) -> Asked {
        let meant = |deployment: &Deployment| {
            let environment = number(&deployment.environment.name);
            (
                environment,
                self.course.service.meant(environment, deployment),
            )
        };
        match request {
            Request::List(list) => Asked::List {
                page: list
                    .token
                    .as_deref()
                    .map_or(0, |page| page.parse().unwrap()),
                purpose: list.purpose,
            },
            Request::ReadEnvironment(name) => Asked::ReadEnvironment(number(name)),
            Request::ReadTag(environment, _) => Asked::ReadTag(number(&environment.name)),
            Request::ReadDeployment(deployment, continuation) => {
                let (environment, deployment) = meant(deployment);
                Asked::Read {
                    environment,
                    deployment,
                    goes_on: continuation.is_some(),
                }
            }
            Request::Cancel(deployment) => {
                let (environment, deployment) = meant(deployment);
                Asked::Cancel {
                    environment,
                    deployment,
                }
            }
        }
    }

    /// Lets the service handle a call.
    fn handle(&mut self, number: usize) {
        let now = self.now;
        let bucket = &mut self.course.scenario.faults.bucket;
        let called = &mut self.course.calls[number];
        if bucket.as_mut().is_some_and(|bucket| !bucket.take(now)) {
            called.reply = Some(Reply::Failed(Trouble::Throttled));
            return;
        }
        let service = &mut self.course.service;
        called.reply = Some(match called.asked {
            Asked::List { page, .. } => service.list(page, now),
            Asked::ReadEnvironment(environment) => service.read_environment(environment, now),
            Asked::ReadTag(environment) => service.tag(environment, now),
            Asked::Read {
                environment,
                deployment,
                goes_on,
            } => service.read(environment, deployment, goes_on, now),
            Asked::Cancel {
                environment,
                deployment,
            } => {
                let (reply, hit) = service.cancel(environment, deployment, now);
                called.cancelled = hit.map(|hit| (environment, hit));
                reply
            }
        });
    }

    /// Hands the response to a call to the machine.
    fn respond(&mut self, number: usize) {
        let Some((request, fate)) = self.under_way[number].take() else {
            return;
        };
        let called = &mut self.course.calls[number];
        let is_given_up = fate.responds_at.is_none_or(|at| at > called.give_up_at);
        let is_throttled = matches!(called.reply, Some(Reply::Failed(Trouble::Throttled)));
        let trouble = match fate.trouble {
            _ if is_given_up => Some(Trouble::TimedOut),
            Some(_) if is_throttled => None,
            trouble => trouble,
        };
        if let Some(trouble) = trouble {
            called.reply = Some(Reply::Failed(trouble));
        }
        let reply = called
            .reply
            .clone()
            .unwrap_or(Reply::Failed(Trouble::TimedOut));
        called.reply = Some(reply.clone());
        let response = self.response(request, reply);
        self.log(What::Responded(number));
        self.run.handle(response, timestamp(self.now));
        self.take_reports();
    }

    fn response(&self, request: Request, reply: Reply) -> Response {
        let service = &self.course.service;
        let describe = |shown| service.describe(shown);
        match request {
            Request::List(list) => {
                let page = |reply| match reply {
                    Reply::Page { shown, count, next } => Ok(Page {
                        deployments: shown.into_iter().map(describe).collect(),
                        count,
                        next: next.map(|page| page.to_string()),
                    }),
                    other => Err(other.trouble().unwrap().error()),
                };
                Response::List(list, page(reply))
            }
            Request::ReadEnvironment(name) => Response::ReadEnvironment(
                name,
                match reply {
                    Reply::Environment(shown) => Ok(shown.map(describe)),
                    other => Err(other.trouble().unwrap().error()),
                },
            ),
            Request::ReadTag(environment, _) => Response::ReadTag(
                environment.name,
                match reply {
                    Reply::Tag(is_tagged, shown) => Ok(TagStep::Done(Box::new(AlarmsTag {
                        value: is_tagged.then(|| "*".to_owned()),
                        deployment: shown.map(describe),
                    }))),
                    other => Err(other.trouble().unwrap().error()),
                },
            ),
            Request::ReadDeployment(deployment, _) => Response::ReadDeployment(
                deployment.environment.name,
                match reply {
                    Reply::Reading(read) => Ok(ReadStep::Done(reading(read, describe))),
                    Reply::More(known) => Ok(ReadStep::More {
                        // The machine hands it back, and does not look at it.
                        continuation: Continuation::refused(Trouble::Refused.error()),
                        known: known.map(|known| reading(known, describe)),
                    }),
                    other => Err(other.trouble().unwrap().error()),
                },
            ),
            Request::Cancel(deployment) => Response::Cancel(
                deployment.environment.name,
                match reply {
                    Reply::Accepted(shown) => Ok(shown.map(describe)),
                    other => Err(other.trouble().unwrap().error()),
                },
            ),
        }
    }
}

fn reading(read: Read, describe: impl Fn(Shown) -> Deployment) -> Reading {
    match read {
        Read::Of(shown) => Reading::Of(Box::new(describe(shown))),
        Read::HitNewer { meant, newer } => Reading::HitNewer {
            meant: Box::new(describe(meant)),
            newer: Box::new(describe(newer)),
        },
        Read::Superseded => Reading::Superseded,
    }
}

impl std::fmt::Display for Course {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(formatter, "{:#?}", self.scenario)?;
        for Entry { at, what } in &self.log {
            let at = at.saturating_sub(START);
            match what {
                What::Asked(call) => writeln!(
                    formatter,
                    "{at:?} {call} asks {:?}",
                    self.calls[*call].asked
                )?,
                What::Responded(call) => {
                    writeln!(formatter, "{at:?} {call} {:?}", self.calls[*call].reply)?;
                }
                What::Reported(Report::Outcome(outcome, word)) => writeln!(
                    formatter,
                    "{at:?} {word:?} {}: {:?}",
                    outcome.environment.name, outcome.end
                )?,
                What::Reported(Report::Note(note)) => writeln!(formatter, "{at:?} {note:?}")?,
                What::Waits(until) => {
                    writeln!(
                        formatter,
                        "{at:?} waits until {:?}",
                        until.saturating_sub(START)
                    )?;
                }
                What::Done => writeln!(formatter, "{at:?} done")?,
            }
        }
        Ok(())
    }
}
