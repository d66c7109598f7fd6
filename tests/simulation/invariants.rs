//! The invariants of every run, with either engine. `docs/reliability.md` lists them by name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, SystemTime};

use local_aws::{Answer, Call, Status};
use proton_canceller::engine::EngineKind;
use proton_canceller::invocation_error::InvocationError;

use crate::call_bounds::{self, ATTEMPTS};
use crate::deliveries::Ended;
use crate::function::start;
use crate::record::{Record, Reported, Truth, is_answered, is_cancel, is_list, is_of_engine};
use crate::scenario::{Cause, Delivery, Scenario};

/// The maximum age of the response that a cancel relies on.
const FRESH: Duration = Duration::from_secs(2);

/// The rounding of times, which have milliseconds on the wire.
const ROUNDING: Duration = Duration::from_millis(1);

/// Codes of transient errors.
const TRANSIENT: [&str; 9] = [
    "ThrottlingException",
    "Throttling",
    "InternalServerException",
    "InternalFailure",
    "RequestTimeout",
    "ConnectionLost",
    "DeadlineExceeded",
    "Http200",
    "Http502",
];

/// Codes of a conflict with the deployment's status.
const CONFLICTS: [&str; 3] = [
    "ConflictException",
    "ValidationError",
    "TokenAlreadyExistsException",
];

/// Checks all invariants. Returns the violations.
pub(crate) fn check(scenario: &Scenario, ended: &[Ended], record: &Record) -> Vec<String> {
    let mut checks = Checks {
        scenario,
        record,
        violations: Vec::new(),
    };
    for end in ended {
        checks.only_selected_environments_are_cancelled(end);
        checks.a_fix_is_not_cancelled(end);
        checks.every_cancel_relies_on_a_fresh_reading(end);
        checks.never_more_than_the_limit(end);
        checks.a_dry_run_changes_nothing(end);
        checks.each_candidate_is_reported_once(end);
        checks.no_candidate_is_overlooked(end);
        checks.every_cancel_has_an_outcome(end);
        checks.cancelling_is_published_at_once(end);
        checks.every_outcome_is_published_or_logged(end);
        checks.transient_errors_fail_the_invocation(end);
        checks.the_deadline_is_kept(end);
        checks.calls_are_bounded(end);
        checks.nothing_outlives_an_invocation(end);
    }
    checks.a_final_outcome_is_the_true_end();
    checks.cancelling_is_reported_only_of_cancelled_deployments();
    checks.an_id_stands_for_one_deployment();
    checks.a_conflict_is_resolved_by_a_read();
    checks.violations
}

/// Checks that every published end is true.
pub(crate) fn truths(scenario: &Scenario, record: &Record) -> Vec<String> {
    let mut checks = Checks {
        scenario,
        record,
        violations: Vec::new(),
    };
    checks.a_final_outcome_is_the_true_end();
    checks.violations
}

struct Checks<'a> {
    scenario: &'a Scenario,
    record: &'a Record,
    violations: Vec<String>,
}

impl Checks<'_> {
    fn broken(&mut self, name: &str, what: impl fmt::Display) {
        self.violations.push(format!("{name}: {what}"));
    }

    /// No environment is cancelled that is protected, not included, not named by the request, not
    /// tagged for the alarm, or no environment at all.
    fn only_selected_environments_are_cancelled(&mut self, end: &Ended) {
        let delivery = &self.scenario.deliveries[end.delivery];
        for call in self.record.cancels_of(&end.request_id) {
            let name = call.environment.as_deref().unwrap_or_default();
            if !self.is_decided(name, delivery) {
                self.broken(
                    "only_selected_environments_are_cancelled",
                    format_args!("{name} was cancelled"),
                );
            }
        }
    }

    /// True if the rules about names, tags and the request select the environment.
    fn is_decided(&self, name: &str, delivery: &Delivery) -> bool {
        let scenario = self.scenario;
        scenario.facts(name).is_some_and(|facts| {
            let is_asked_for = match delivery.cause {
                Cause::Request => scenario.requested.contains(&facts.name),
                Cause::Alarm => !scenario.is_tagged || is_tagged_for(facts.tag, delivery.alarm),
                Cause::Schedule => true,
            };
            !facts.is_protected && facts.is_included && is_asked_for
        })
    }

    /// No cancel hits a deployment that started after the alarm fired, too recently to be stuck, or
    /// at an unknown time. One race remains: a deployment may start between a reading and the
    /// cancel's arrival. The update of a stack that was created again is never hit, because a
    /// cancel names a stack by ID.
    fn a_fix_is_not_cancelled(&mut self, end: &Ended) {
        let delivery = &self.scenario.deliveries[end.delivery];
        for call in self.record.cancels_of(&end.request_id) {
            let Some(hit) = self.record.hit(call) else {
                continue;
            };
            let facts = self.scenario.facts(&hit.environment);
            let is_first = hit.started_at < start();
            let is_unknown = is_first && facts.is_some_and(|facts| !facts.is_start_sent);
            let is_right = match delivery.cause {
                Cause::Request => true,
                Cause::Alarm | Cause::Schedule if is_unknown => false,
                Cause::Alarm => hit.started_at <= SystemTime::from(delivery.fired_at) + ROUNDING,
                Cause::Schedule => {
                    hit.started_at + self.scenario.stuck_after <= call.time + ROUNDING
                }
            };
            let is_excused = self.is_race(call, hit) && names_its_stack(call, hit);
            if !is_right && !is_excused {
                self.broken(
                    "a_fix_is_not_cancelled",
                    format_args!("{hit:?} was cancelled at {:?}", call.time),
                );
            }
        }
    }

    /// True if a cancel hit a deployment that started between its reading and its arrival.
    fn is_race(&self, call: &Call, hit: &Truth) -> bool {
        let since = call.time.duration_since(hit.started_at).unwrap_or_default();
        since <= self.window()
    }

    /// The maximum time between the response that a cancel relies on and the cancel's arrival: the
    /// response's latency, and its age when the cancel is sent.
    fn window(&self) -> Duration {
        self.scenario.slowest + FRESH + ROUNDING
    }

    /// Each cancel relies on a response within the window. After a cancel with a lost response, a
    /// cancel relies on a newer read. No cancel follows an accepted one, or exceeds the attempts of
    /// a call.
    fn every_cancel_relies_on_a_fresh_reading(&mut self, end: &Ended) {
        let calls: Vec<_> = self.record.calls_of(&end.request_id).collect();
        for (index, cancel) in calls.iter().enumerate() {
            if !is_cancel(cancel) {
                continue;
            }
            let name = cancel.environment.as_deref().unwrap_or_default();
            let is_its_own = |call: &Call| call.environment.as_deref() == Some(name);
            let before = || calls.iter().take(index).rev();
            let is_fresh = |call: &&Call| {
                let age = cancel.time.duration_since(call.time).unwrap_or_default();
                let is_reading = is_list(call) || (is_its_own(call) && !is_cancel(call));
                is_reading && is_answered(call) && age <= self.window()
            };
            if !before().any(is_fresh) {
                self.broken(
                    "every_cancel_relies_on_a_fresh_reading",
                    format_args!("{name}: {cancel:?}"),
                );
            }
            let mut earlier = before().filter(|call| is_its_own(call));
            let last = earlier.next();
            // A newer page of the listing shows the deployment as well.
            let is_listed = |last: &Call| {
                let mut since = before().take_while(|call| call.time > last.time);
                since.any(|call| is_list(call) && is_answered(call))
            };
            let is_unread = last.is_some_and(|last| {
                is_cancel(last) && may_have_gone_through(last) && !is_listed(last)
            });
            let was_accepted =
                before().any(|call| is_its_own(call) && is_cancel(call) && is_answered(call));
            let attempts = 1 + before()
                .filter(|call| is_its_own(call) && is_cancel(call))
                .count();
            if is_unread || was_accepted || attempts > ATTEMPTS {
                self.broken(
                    "every_cancel_relies_on_a_fresh_reading",
                    format_args!("{name}: cancel {attempts} after {last:?}"),
                );
            }
        }
    }

    /// One invocation cancels no more environments than the limit allows.
    fn never_more_than_the_limit(&mut self, end: &Ended) {
        let cancels = self.record.cancels_of(&end.request_id);
        let names: BTreeSet<_> = cancels.map(|call| &call.environment).collect();
        let is_over = self
            .record
            .reported_by(&end.request_id)
            .any(|reported| reported.reason == "OVER_LIMIT");
        if names.len() > self.scenario.limit || (is_over && !names.is_empty()) {
            self.broken(
                "never_more_than_the_limit",
                format_args!("{} environments of {}", names.len(), self.scenario.limit),
            );
        }
    }

    /// A dry run makes no mutating call, and reports no outcome that only a cancel leads to.
    fn a_dry_run_changes_nothing(&mut self, end: &Ended) {
        let has_cancelled = self.record.cancels_of(&end.request_id).next().is_some();
        let claims = self.record.reported_by(&end.request_id).any(|reported| {
            let is_dry = ["DRY_RUN", "SKIPPED", "ERROR"].contains(&reported.outcome.as_str());
            is_dry != self.scenario.is_dry_run && (!is_dry || reported.outcome == "DRY_RUN")
        });
        if claims || (self.scenario.is_dry_run && has_cancelled) {
            self.broken("a_dry_run_changes_nothing", &end.request_id);
        }
    }

    /// Each candidate is in the summary once, and counted once.
    fn each_candidate_is_reported_once(&mut self, end: &Ended) {
        let Ok(summary) = &end.answer else { return };
        let environments = summary["environments"].as_array().unwrap();
        let names: BTreeSet<_> = environments
            .iter()
            .map(|one| one["name"].as_str().unwrap())
            .collect();
        let counts = summary["counts"].as_object().unwrap();
        let counted: u64 = counts.values().map(|count| count.as_u64().unwrap()).sum();
        let candidates = match self.scenario.deliveries[end.delivery].cause {
            Cause::Alarm | Cause::Schedule => summary["inProgress"].as_u64().unwrap(),
            Cause::Request => {
                let requested: BTreeSet<_> = self.scenario.requested.iter().collect();
                requested.len() as u64
            }
        };
        let listed = environments.len() as u64;
        if names.len() != environments.len() || counted != listed || candidates != listed {
            self.broken("each_candidate_is_reported_once", summary);
        }
    }

    /// A deployment that is `IN_PROGRESS` throughout the listing is in the summary. If the
    /// invocation fails, every selected deployment has an event.
    fn no_candidate_is_overlooked(&mut self, end: &Ended) {
        let delivery = &self.scenario.deliveries[end.delivery];
        let is_listed = !matches!(end.answer, Err(InvocationError::ListFailed(_)));
        if delivery.cause == Cause::Request || !is_listed {
            return;
        }
        let mut calls = self.record.calls_of(&end.request_id);
        let begin = calls.next().map_or(end.at, |call| call.time);
        let after_listing = calls.find(|call| !is_list(call));
        let listed = after_listing.map_or(end.at, |call| call.time);
        for one in &self.record.deployments {
            let is_running = match one.cancelled_at {
                Some(cancelled) => cancelled > listed,
                None => one.status == Some(Status::InProgress),
            };
            let stays = self.record.existing.contains(&one.environment)
                && self.scenario.facts(&one.environment).is_some()
                && !self.is_followed_by_another(one);
            let is_reported = if let Ok(summary) = &end.answer {
                let mut reported = summary["environments"].as_array().unwrap().iter();
                reported.any(|reported| reported["name"] == one.environment)
            } else {
                let mut reported = self.record.reported_by(&end.request_id);
                reported.any(|reported| reported.environment == one.environment)
                    || !self.is_selected(one, delivery, begin)
            };
            if one.started_at < begin && is_running && stays && !is_reported {
                self.broken(
                    "no_candidate_is_overlooked",
                    format_args!("{one:?} by {}: {:?}", end.request_id, end.answer),
                );
            }
        }
    }

    /// True if rules 1 to 6 select a deployment that existed when the world started.
    fn is_selected(&self, one: &Truth, delivery: &Delivery, now: SystemTime) -> bool {
        let facts = self.scenario.facts(&one.environment);
        let is_known = one.started_at < start() && facts.is_some_and(|facts| facts.is_start_sent);
        let is_due = match delivery.cause {
            Cause::Request => true,
            Cause::Alarm => one.started_at + ROUNDING <= SystemTime::from(delivery.fired_at),
            Cause::Schedule => one.started_at + self.scenario.stuck_after + ROUNDING <= now,
        };
        self.is_decided(&one.environment, delivery) && is_known && is_due
    }

    /// True if a newer deployment has started in the environment, or the stack was created again.
    fn is_followed_by_another(&self, one: &Truth) -> bool {
        let mut deployments = self.record.deployments.iter();
        deployments
            .any(|other| other.environment == one.environment && other.started_at > one.started_at)
    }

    /// Each cancel has an outcome of the deployment that it hit, published or logged whole. If a
    /// race hit another deployment and the response does not name it, the outcome is that of the
    /// intended one.
    fn every_cancel_has_an_outcome(&mut self, end: &Ended) {
        for call in self.record.cancels_of(&end.request_id) {
            let another = self.misreported(end, call);
            if let Some(another) =
                another.map(|reported| format!("{reported:?} was not hit by {call:?}"))
            {
                self.broken("every_cancel_has_an_outcome", another);
            }
            let name = call.environment.as_deref().unwrap_or_default();
            // A response that arrives after the run's end is not received.
            let is_received = is_answered(call) && call.time + self.scenario.slowest * 2 < end.at;
            let names_what_it_hit = is_received && self.scenario.engine == EngineKind::Proton;
            let hit = self
                .record
                .hit(call)
                .filter(|hit| names_what_it_hit || !self.is_race(call, hit));
            let is_reported = self.record.reported_by(&end.request_id).any(|reported| {
                let is_of_it =
                    hit.is_none_or(|hit| reported.is_of(hit) || self.may_err(reported, hit, call));
                reported.environment == name && is_of_it && reported.requested_at.is_some()
            });
            if !is_reported {
                self.broken(
                    "every_cancel_has_an_outcome",
                    format_args!("{name}: {hit:?} hit at {:?} by {call:?}", call.time),
                );
            }
        }
    }

    /// `CANCELLING`, or the end if known by then, is published within a second of the response that
    /// accepts a cancel, if EventBridge accepts all entries.
    fn cancelling_is_published_at_once(&mut self, end: &Ended) {
        let puts = self.record.calls_of(&end.request_id);
        let mut puts = puts.filter(|call| !is_of_engine(call));
        if puts.any(|put| !is_answered(put)) || self.scenario.refuses_entries {
            return;
        }
        for call in self.record.cancels_of(&end.request_id) {
            if !is_answered(call) {
                continue;
            }
            let by = call.time + self.scenario.slowest * 2 + Duration::from_secs(1);
            let all = self.record.begun.iter().chain(&self.record.published);
            let mut first = all.filter(|reported| {
                reported.request_id == end.request_id
                    && Some(&reported.environment) == call.environment.as_ref()
            });
            if !first.any(|reported| reported.taken_at.is_some_and(|at| at <= by)) {
                self.broken(
                    "cancelling_is_published_at_once",
                    format_args!("nothing was published by {by:?} of {call:?}"),
                );
            }
        }
    }

    /// True if no response shows that the reported deployment is not the one that a cancel hit: the
    /// cancel timed out; or its response was lost, and somebody else cancelled the newer deployment.
    fn may_err(&self, reported: &Reported, hit: &Truth, call: &Call) -> bool {
        let timed_out = reported.error.as_deref() == Some("RequestTimeout");
        let is_next = |one: &Truth| {
            one.environment == hit.environment
                && one.started_at > hit.started_at
                && one.cancelled_at.is_some()
                && reported.is_of(one)
        };
        let was_cancelled_by_it = |one: &Truth| {
            let mut cancels = self.record.cancels_of(&reported.request_id);
            cancels.any(|cancel| cancel.cancelled.as_ref() == Some(&one.id))
        };
        let mut next = self.record.deployments.iter().filter(|one| is_next(one));
        timed_out && self.is_race(call, hit)
            || !is_answered(call) && next.any(|one| !was_cancelled_by_it(one))
    }

    /// The event that reports success of an update whose cancel was accepted: the cancel has hit
    /// another update. The function can know this if the other one is the latest and the service
    /// sends IDs.
    fn misreported(&self, end: &Ended, call: &Call) -> Option<&Reported> {
        let hit = self.record.hit(call)?;
        let is_latest = !self.is_followed_by_another(hit);
        let mut reported = self.record.reported_by(&end.request_id);
        reported.find(|reported| {
            let is_known = self.record.deployments.iter().any(|one| {
                reported.deployment.as_ref() == Some(&one.id) && one.stack_id == hit.stack_id
            });
            reported.environment == hit.environment
                && reported.outcome == "SUCCEEDED"
                && !reported.is_of(hit)
                && is_answered(call)
                && is_latest
                && is_known
        })
    }

    /// The published events have the outcomes of the summary, without skips by rules 1 to 6. An
    /// outcome that is not published is logged whole, and the invocation fails.
    fn every_outcome_is_published_or_logged(&mut self, end: &Ended) {
        let of_it = |reported: &&Reported| reported.request_id == end.request_id;
        let unpublished = self.record.unpublished.iter().filter(of_it).count();
        let has_failed = matches!(end.answer, Err(InvocationError::PublishFailed(_)));
        if has_failed != (unpublished > 0) {
            self.broken(
                "every_outcome_is_published_or_logged",
                format_args!("{unpublished} unpublished, and {:?}", end.answer),
            );
        }
        let mut reported: BTreeMap<&str, (&str, Option<&str>)> = BTreeMap::new();
        let mut odd = Vec::new();
        for event in self.record.reported_by(&end.request_id) {
            let now = (event.outcome.as_str(), event.reason.as_str());
            let before = reported.insert(&event.environment, now);
            if before.is_some_and(|before| before != now) {
                odd.push(format!(
                    "{} was {before:?}, then {now:?}",
                    event.environment
                ));
            }
        }
        if let Ok(summary) = &end.answer {
            let listed: BTreeMap<_, _> = summary["environments"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| {
                    let outcome = one["outcome"].as_str().unwrap();
                    (
                        one["name"].as_str().unwrap(),
                        (outcome, one["reason"].as_str()),
                    )
                })
                .filter(|(_, (outcome, reason))| {
                    *outcome != "SKIPPED" || *reason == Some("OVER_LIMIT")
                })
                .collect();
            if listed != reported {
                odd.push(format!("{listed:?}\n    but {reported:?}"));
            }
        }
        for odd in odd {
            self.broken("every_outcome_is_published_or_logged", odd);
        }
    }

    /// A transient error fails the invocation, so that Lambda retries the event. Without one, and
    /// with everything published, the invocation succeeds.
    fn transient_errors_fail_the_invocation(&mut self, end: &Ended) {
        let is_transient = self
            .record
            .reported_by(&end.request_id)
            .filter_map(|reported| reported.error.as_deref())
            .any(|code| TRANSIENT.contains(&code));
        let is_right = match &end.answer {
            Ok(_) => !is_transient,
            Err(InvocationError::Incomplete(_)) => is_transient,
            Err(InvocationError::ListFailed(_)) => {
                self.record.reported_by(&end.request_id).next().is_none()
                    && self.record.cancels_of(&end.request_id).next().is_none()
            }
            Err(InvocationError::PublishFailed(_)) => true,
            Err(InvocationError::UnsupportedPayload(_) | InvocationError::FollowFailed(_)) => false,
        };
        if !is_right {
            self.broken(
                "transient_errors_fail_the_invocation",
                format_args!("{:?}", end.answer),
            );
        }
    }

    /// The run ends before its deadline.
    fn the_deadline_is_kept(&mut self, end: &Ended) {
        if end.took > self.scenario.time {
            self.broken(
                "the_deadline_is_kept",
                format_args!("{:?} of {:?}", end.took, self.scenario.time),
            );
        }
    }

    /// The number of calls stays within the formula of `call_bounds`.
    fn calls_are_bounded(&mut self, end: &Ended) {
        let calls = call_bounds::calls(self.scenario, self.record, &end.request_id);
        if calls.engine > calls.most_engine || calls.event_bridge > calls.most_event_bridge {
            self.broken("calls_are_bounded", format_args!("{calls:?}"));
        }
    }

    /// No task and no call goes on after the end of an invocation.
    fn nothing_outlives_an_invocation(&mut self, end: &Ended) {
        let late = self
            .record
            .calls_of(&end.request_id)
            .filter(|call| call.time > end.at)
            .count();
        if late > 0 || end.tasks > 0 {
            self.broken(
                "nothing_outlives_an_invocation",
                format_args!("{late} calls, {} tasks", end.tasks),
            );
        }
    }

    /// A published final outcome is the true end of that deployment.
    fn a_final_outcome_is_the_true_end(&mut self) {
        for reported in &self.record.published {
            let expected = match reported.outcome.as_str() {
                "CANCELLED" => Status::Cancelled,
                "FAILED" => Status::Failed,
                "SUCCEEDED" => Status::Succeeded,
                _ => continue,
            };
            let mut of_it = self
                .record
                .deployments
                .iter()
                .filter(|one| reported.is_of(one));
            if !of_it.clone().any(|truth| truth.status == Some(expected)) {
                let truth = of_it.next();
                self.broken(
                    "a_final_outcome_is_the_true_end",
                    format_args!("{reported:?} is {truth:?}"),
                );
            }
        }
    }

    /// `CANCELLING` is reported only of a deployment that was cancelled, or that rolls back by
    /// itself. With CloudFormation, whose response names no update, a race may have hit a newer
    /// one.
    fn cancelling_is_reported_only_of_cancelled_deployments(&mut self) {
        for reported in &self.record.published {
            if reported.outcome != "CANCELLING" {
                continue;
            }
            let is_true = self.record.deployments.iter().any(|one| {
                let rolled_back = [Some(Status::Cancelled), Some(Status::Failed)];
                reported.is_of(one)
                    && (one.cancelled_at.is_some() || rolled_back.contains(&one.status))
            });
            let was_race = self.record.calls.iter().any(|call| {
                is_cancel(call)
                    && call.environment.as_ref() == Some(&reported.environment)
                    && self.scenario.engine == EngineKind::CloudFormation
                    && self
                        .record
                        .hit(call)
                        .is_some_and(|hit| self.is_race(call, hit))
            });
            if !is_true && !was_race {
                self.broken(
                    "cancelling_is_reported_only_of_cancelled_deployments",
                    format_args!("{reported:?}"),
                );
            }
        }
    }

    /// An event's ID is the same for every delivery and retry of one trigger, environment and
    /// deployment, and for nothing else.
    fn an_id_stands_for_one_deployment(&mut self) {
        let mut ids = BTreeMap::new();
        let mut things = BTreeMap::new();
        let mut odd = Vec::new();
        for reported in &self.record.published {
            let deployment = match &reported.deployment {
                Some(id) => Some(id.clone()),
                None => reported.started_at.map(|started| format!("{started:?}")),
            };
            let thing = (
                reported.trigger.to_string(),
                &reported.environment,
                deployment,
            );
            let stands_for = reported.stands_for();
            let id = ids.entry(thing.clone()).or_insert(stands_for);
            let same = things.entry(stands_for).or_insert_with(|| thing.clone());
            if *id != stands_for || *same != thing {
                odd.push(format!("{reported:?}"));
            }
        }
        for odd in odd {
            self.broken("an_id_stands_for_one_deployment", odd);
        }
    }

    /// A conflict is no outcome if the service sends an ID to read the deployment by. A deleted
    /// stack sends none.
    fn a_conflict_is_resolved_by_a_read(&mut self) {
        for reported in &self.record.published {
            let code = reported.error.as_deref().unwrap_or_default();
            let has_id = self.record.deployments.iter().any(|one| {
                reported.deployment.as_ref() == Some(&one.id) && !self.record.was_cut_off(one)
            });
            if CONFLICTS.contains(&code) && has_id {
                self.broken(
                    "a_conflict_is_resolved_by_a_read",
                    format_args!("{reported:?}"),
                );
            }
        }
    }
}

/// True if a cancel names the stack that was hit by its ID, or if the engine has no stacks.
fn names_its_stack(call: &Call, hit: &Truth) -> bool {
    let body = String::from_utf8_lossy(&call.body);
    let unique = hit.stack_id.as_ref().and_then(|id| id.rsplit('/').next());
    unique.is_none_or(|unique| body.contains(unique))
}

/// True if a tag's globs match an alarm. Only the last character of a glob may be `*`.
pub(crate) fn is_tagged_for(tag: Option<&str>, alarm: &str) -> bool {
    tag.unwrap_or_default().split(' ').any(|glob| {
        glob.strip_suffix('*')
            .is_some_and(|start| alarm.starts_with(start))
    })
}

/// True if the response does not rule out that the call took effect.
fn may_have_gone_through(call: &Call) -> bool {
    match &call.answer {
        Answer::Ok => false,
        Answer::Error(code) => code.starts_with("Internal"),
        Answer::Junk(_)
        | Answer::Cut
        | Answer::DroppedBefore
        | Answer::DroppedAfter
        | Answer::Never => true,
    }
}
