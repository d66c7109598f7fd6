//! What must hold whatever happens, with either engine. Each has its name here and in
//! `docs/reliability.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, SystemTime};

use local_aws::{Answer, Call, Status};
use proton_canceller::engine::EngineKind;
use proton_canceller::invocation_error::InvocationError;

use crate::call_bounds::{self, ATTEMPTS};
use crate::deliveries::Ended;
use crate::function::start;
use crate::record::{Record, Told, Truth, is_answered, is_cancel, is_list, is_of_engine};
use crate::scenario::{Cause, Delivery, Scenario};

/// How old the answer may be that a cancel relies on.
const FRESH: Duration = Duration::from_secs(2);

/// The wire carries milliseconds.
const ROUNDING: Duration = Duration::from_millis(1);

/// Codes of errors that may pass when the event is tried again.
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

/// Codes of a refusal to cancel for how the deployment stands.
const CONFLICTS: [&str; 3] = [
    "ConflictException",
    "ValidationError",
    "TokenAlreadyExistsException",
];

/// Checks all of them; returns what does not hold.
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

/// Checks that every end that was published is true.
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

    /// No environment outside the decision is cancelled: none that is protected, not included, not
    /// named by the request or not tagged for the alarm, and nothing that is no environment.
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

    /// True if the rules that look at names, tags and the request select it.
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

    /// What started after the alarm, or too recently to be stuck, or at a time that nobody told, is
    /// never hit by a cancel. What is left is the race between a reading and the call: a deployment
    /// may be hit that started within it. No race excuses the update of a stack made anew: a cancel
    /// names its stack by id.
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
                Cause::Alarm => hit.started_at <= SystemTime::from(delivery.spoke) + ROUNDING,
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

    /// True if a cancel hit what had started while its reading's answer and it were on the way.
    fn is_race(&self, call: &Call, hit: &Truth) -> bool {
        let since = call.time.duration_since(hit.started_at).unwrap_or_default();
        since <= self.window()
    }

    /// How long before a cancel's arrival the service made the answer that the cancel relies on: the
    /// answer's way, and its age when the call was made.
    fn window(&self) -> Duration {
        self.scenario.slowest + FRESH + ROUNDING
    }

    /// Each cancel relies on an answer that is not older than the window; one that follows a cancel
    /// which may have gone through unheard, on a reading that was asked for since. None follows a cancel
    /// that was accepted, and none is tried more often than any call.
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
            // A page of the listing, asked for since, shows the deployment as well.
            let is_listed = |last: &Call| {
                let mut since = before().take_while(|call| call.time > last.time);
                since.any(|call| is_list(call) && is_answered(call))
            };
            let was_lost = last.is_some_and(|last| {
                is_cancel(last) && may_have_gone_through(last) && !is_listed(last)
            });
            let was_accepted =
                before().any(|call| is_its_own(call) && is_cancel(call) && is_answered(call));
            let attempts = 1 + before()
                .filter(|call| is_its_own(call) && is_cancel(call))
                .count();
            if was_lost || was_accepted || attempts > ATTEMPTS {
                self.broken(
                    "every_cancel_relies_on_a_fresh_reading",
                    format_args!("{name}: cancel {attempts} after {last:?}"),
                );
            }
        }
    }

    /// One invocation never cancels more environments than the limit allows.
    fn never_more_than_the_limit(&mut self, end: &Ended) {
        let cancels = self.record.cancels_of(&end.request_id);
        let names: BTreeSet<_> = cancels.map(|call| &call.environment).collect();
        let is_over = self
            .record
            .told_by(&end.request_id)
            .any(|told| told.reason == "OVER_LIMIT");
        if names.len() > self.scenario.limit || (is_over && !names.is_empty()) {
            self.broken(
                "never_more_than_the_limit",
                format_args!("{} environments of {}", names.len(), self.scenario.limit),
            );
        }
    }

    /// A dry run makes no mutating call, and claims nothing that only a cancel leads to.
    fn a_dry_run_changes_nothing(&mut self, end: &Ended) {
        let has_cancelled = self.record.cancels_of(&end.request_id).next().is_some();
        let claims = self.record.told_by(&end.request_id).any(|told| {
            let is_dry = ["DRY_RUN", "SKIPPED", "ERROR"].contains(&told.outcome.as_str());
            is_dry != self.scenario.is_dry_run && (!is_dry || told.outcome == "DRY_RUN")
        });
        if claims || (self.scenario.is_dry_run && has_cancelled) {
            self.broken("a_dry_run_changes_nothing", &end.request_id);
        }
    }

    /// Each candidate appears in the summary once, and the counts are theirs.
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

    /// What is `IN_PROGRESS` all the while that an invocation lists is in its summary, or, where it
    /// fails, told of if it is to be cancelled: no page of the listing is passed over, none that could
    /// not be read is taken as the last, and nobody whose turn did not come is forgotten.
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
            let is_told = if let Ok(summary) = &end.answer {
                let mut told = summary["environments"].as_array().unwrap().iter();
                told.any(|told| told["name"] == one.environment)
            } else {
                let mut told = self.record.told_by(&end.request_id);
                told.any(|told| told.environment == one.environment)
                    || !self.is_selected(one, delivery, begin)
            };
            if one.started_at < begin && is_running && stays && !is_told {
                self.broken(
                    "no_candidate_is_overlooked",
                    format_args!("{one:?} by {}: {:?}", end.request_id, end.answer),
                );
            }
        }
    }

    /// True if the rules before the limit select a deployment that was there when the world started.
    fn is_selected(&self, one: &Truth, delivery: &Delivery, now: SystemTime) -> bool {
        let facts = self.scenario.facts(&one.environment);
        let is_known = one.started_at < start() && facts.is_some_and(|facts| facts.is_start_sent);
        let is_due = match delivery.cause {
            Cause::Request => true,
            Cause::Alarm => one.started_at + ROUNDING <= SystemTime::from(delivery.spoke),
            Cause::Schedule => one.started_at + self.scenario.stuck_after + ROUNDING <= now,
        };
        self.is_decided(&one.environment, delivery) && is_known && is_due
    }

    /// True if another deployment has started in its environment, or its stack was made anew.
    fn is_followed_by_another(&self, one: &Truth) -> bool {
        let mut deployments = self.record.deployments.iter();
        deployments
            .any(|other| other.environment == one.environment && other.started_at > one.started_at)
    }

    /// Each cancel that was asked for has its outcome told by that invocation, of the very deployment
    /// that it hit: published, or logged whole where the invocation fails with `PublishFailed`. Of a
    /// race whose answer does not name what was hit, the outcome is that of the deployment meant, unless
    /// it tells that it cannot have been hit.
    fn every_cancel_has_an_outcome(&mut self, end: &Ended) {
        for call in self.record.cancels_of(&end.request_id) {
            let another = self.told_of_another(end, call);
            if let Some(another) = another.map(|told| format!("{told:?} was not hit by {call:?}")) {
                self.broken("every_cancel_has_an_outcome", another);
            }
            let name = call.environment.as_deref().unwrap_or_default();
            // A response that was on its way when the run's time was over told nobody anything.
            let is_heard = is_answered(call) && call.time + self.scenario.slowest * 2 < end.at;
            let names_what_it_hit = is_heard && self.scenario.engine == EngineKind::Proton;
            let hit = self
                .record
                .hit(call)
                .filter(|hit| names_what_it_hit || !self.is_race(call, hit));
            let is_told = self.record.told_by(&end.request_id).any(|told| {
                let is_of_it =
                    hit.is_none_or(|hit| told.is_of(hit) || self.may_err(told, hit, call));
                told.environment == name && is_of_it && told.requested_at.is_some()
            });
            if !is_told {
                self.broken(
                    "every_cancel_has_an_outcome",
                    format_args!("{name}: {hit:?} hit at {:?} by {call:?}", call.time),
                );
            }
        }
    }

    /// As soon as the service accepts a cancel, `CANCELLING` is published, unless its end is known by
    /// then: within a second of the response, where EventBridge takes what it is given.
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
            let mut first = all.filter(|told| {
                told.request_id == end.request_id
                    && Some(&told.environment) == call.environment.as_ref()
            });
            if !first.any(|told| told.taken_at.is_some_and(|at| at <= by)) {
                self.broken(
                    "cancelling_is_published_at_once",
                    format_args!("nothing was published by {by:?} of {call:?}"),
                );
            }
        }
    }

    /// True if nobody can tell that what is told of is not what a cancel has hit: no answer came before
    /// the time was over; or it was lost, what it hit went through all the same, and the next one was
    /// cancelled by another.
    fn may_err(&self, told: &Told, hit: &Truth, call: &Call) -> bool {
        let was_unheard = told.error.as_deref() == Some("RequestTimeout");
        let is_next = |one: &Truth| {
            one.environment == hit.environment
                && one.started_at > hit.started_at
                && one.cancelled_at.is_some()
                && told.is_of(one)
        };
        let was_cancelled_by_it = |one: &Truth| {
            let mut cancels = self.record.cancels_of(&told.request_id);
            cancels.any(|cancel| cancel.cancelled.as_ref() == Some(&one.id))
        };
        let mut next = self.record.deployments.iter().filter(|one| is_next(one));
        was_unheard && self.is_race(call, hit)
            || !is_answered(call) && next.any(|one| !was_cancelled_by_it(one))
    }

    /// What tells of an update that went through, although its cancel was accepted: that one has hit
    /// another. It can be found out if that is the latest, and the service gives ids.
    fn told_of_another(&self, end: &Ended, call: &Call) -> Option<&Told> {
        let hit = self.record.hit(call)?;
        let is_latest = !self.is_followed_by_another(hit);
        let mut told = self.record.told_by(&end.request_id);
        told.find(|told| {
            let is_known = self.record.deployments.iter().any(|one| {
                told.deployment.as_ref() == Some(&one.id) && one.stack_id == hit.stack_id
            });
            told.environment == hit.environment
                && told.outcome == "SUCCEEDED"
                && !told.is_of(hit)
                && is_answered(call)
                && is_latest
                && is_known
        })
    }

    /// What a summary tells of rule 7 and beyond is published, with that very outcome, and nothing
    /// else is. What is not published makes the invocation fail, and is logged whole.
    fn every_outcome_is_published_or_logged(&mut self, end: &Ended) {
        let of_it = |told: &&Told| told.request_id == end.request_id;
        let unpublished = self.record.unpublished.iter().filter(of_it).count();
        let has_failed = matches!(end.answer, Err(InvocationError::PublishFailed(_)));
        if has_failed != (unpublished > 0) {
            self.broken(
                "every_outcome_is_published_or_logged",
                format_args!("{unpublished} unpublished, and {:?}", end.answer),
            );
        }
        let mut told: BTreeMap<&str, (&str, Option<&str>)> = BTreeMap::new();
        let mut odd = Vec::new();
        for event in self.record.told_by(&end.request_id) {
            let now = (event.outcome.as_str(), event.reason.as_str());
            let before = told.insert(&event.environment, now);
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
            if listed != told {
                odd.push(format!("{listed:?}\n    but {told:?}"));
            }
        }
        for odd in odd {
            self.broken("every_outcome_is_published_or_logged", odd);
        }
    }

    /// An error that may pass fails the invocation, so that Lambda tries the event again; where there
    /// is none, and all is published, it succeeds.
    fn transient_errors_fail_the_invocation(&mut self, end: &Ended) {
        let may_pass = self
            .record
            .told_by(&end.request_id)
            .filter_map(|told| told.error.as_deref())
            .any(|code| TRANSIENT.contains(&code));
        let is_right = match &end.answer {
            Ok(_) => !may_pass,
            Err(InvocationError::Incomplete(_)) => may_pass,
            Err(InvocationError::ListFailed(_)) => {
                self.record.told_by(&end.request_id).next().is_none()
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

    /// The run ends before its deadline, with its outcomes out.
    fn the_deadline_is_kept(&mut self, end: &Ended) {
        if end.took > self.scenario.time {
            self.broken(
                "the_deadline_is_kept",
                format_args!("{:?} of {:?}", end.took, self.scenario.time),
            );
        }
    }

    /// The number of calls stays within what `call_bounds` states.
    fn calls_are_bounded(&mut self, end: &Ended) {
        let calls = call_bounds::calls(self.scenario, self.record, &end.request_id);
        if calls.engine > calls.most_engine || calls.event_bridge > calls.most_event_bridge {
            self.broken("calls_are_bounded", format_args!("{calls:?}"));
        }
    }

    /// No task and no call goes on after an invocation has ended.
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

    /// A published final outcome is the true final state of that deployment; so nothing is called
    /// cancelled that was merely accepted.
    fn a_final_outcome_is_the_true_end(&mut self) {
        for told in &self.record.published {
            let expected = match told.outcome.as_str() {
                "CANCELLED" => Status::Cancelled,
                "FAILED" => Status::Failed,
                "SUCCEEDED" => Status::Succeeded,
                _ => continue,
            };
            let mut of_it = self.record.deployments.iter().filter(|one| told.is_of(one));
            if !of_it.clone().any(|truth| truth.status == Some(expected)) {
                let truth = of_it.next();
                self.broken(
                    "a_final_outcome_is_the_true_end",
                    format_args!("{told:?} is {truth:?}"),
                );
            }
        }
    }

    /// `CANCELLING` is said only of a deployment whose cancellation somebody asked for, or that rolls
    /// back by itself. What CloudFormation's empty answer accepted may have been another deployment,
    /// which had started within the race, of this run or of another that shares its token.
    fn cancelling_is_reported_only_of_cancelled_deployments(&mut self) {
        for told in &self.record.published {
            if told.outcome != "CANCELLING" {
                continue;
            }
            let is_true = self.record.deployments.iter().any(|one| {
                let rolled_back = [Some(Status::Cancelled), Some(Status::Failed)];
                told.is_of(one) && (one.cancelled_at.is_some() || rolled_back.contains(&one.status))
            });
            let was_race = self.record.calls.iter().any(|call| {
                is_cancel(call)
                    && call.environment.as_ref() == Some(&told.environment)
                    && self.scenario.engine == EngineKind::CloudFormation
                    && self
                        .record
                        .hit(call)
                        .is_some_and(|hit| self.is_race(call, hit))
            });
            if !is_true && !was_race {
                self.broken(
                    "cancelling_is_reported_only_of_cancelled_deployments",
                    format_args!("{told:?}"),
                );
            }
        }
    }

    /// An event's id is the same for the same trigger, environment and deployment, whichever delivery
    /// or try tells of it, and for nothing else.
    fn an_id_stands_for_one_deployment(&mut self) {
        let mut ids = BTreeMap::new();
        let mut things = BTreeMap::new();
        let mut odd = Vec::new();
        for told in &self.record.published {
            let deployment = match &told.deployment {
                Some(id) => Some(id.clone()),
                None => told.started_at.map(|started| format!("{started:?}")),
            };
            let thing = (told.trigger.to_string(), &told.environment, deployment);
            let stands_for = told.stands_for();
            let id = ids.entry(thing.clone()).or_insert(stands_for);
            let same = things.entry(stands_for).or_insert_with(|| thing.clone());
            if *id != stands_for || *same != thing {
                odd.push(format!("{told:?}"));
            }
        }
        for odd in odd {
            self.broken("an_id_stands_for_one_deployment", odd);
        }
    }

    /// That a deployment cannot be cancelled is no outcome where the service gives an id by which to
    /// ask how it stands: that is. A stack that was deleted gives none any more.
    fn a_conflict_is_resolved_by_a_read(&mut self) {
        for told in &self.record.published {
            let code = told.error.as_deref().unwrap_or_default();
            let has_id = self.record.deployments.iter().any(|one| {
                told.deployment.as_ref() == Some(&one.id) && !self.record.was_cut_off(one)
            });
            if CONFLICTS.contains(&code) && has_id {
                self.broken("a_conflict_is_resolved_by_a_read", format_args!("{told:?}"));
            }
        }
    }
}

/// True if a cancel names the very stack that was hit, by its ID, or if the engine knows no stacks.
fn names_its_stack(call: &Call, hit: &Truth) -> bool {
    let body = String::from_utf8_lossy(&call.body);
    let unique = hit.stack_id.as_ref().and_then(|id| id.rsplit('/').next());
    unique.is_none_or(|unique| body.contains(unique))
}

/// True if an environment's tag names an alarm: globs of which the last character alone may be `*`.
pub(crate) fn is_tagged_for(tag: Option<&str>, alarm: &str) -> bool {
    tag.unwrap_or_default().split(' ').any(|glob| {
        glob.strip_suffix('*')
            .is_some_and(|start| alarm.starts_with(start))
    })
}

/// True if nobody can tell from a call's answer that it had no effect.
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
