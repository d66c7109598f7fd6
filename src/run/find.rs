//! Finding: the listing, the environments that a request names, and the tags.

use std::collections::BTreeMap;

use super::agenda::{Entry, Stage};
use super::call::ListRequest;
use super::cancel::Cancel;
use super::listing::Listing;
use super::note::Note;
use super::selection::Candidate;
use super::{Report, Run};
use crate::aws::backoff::Backoff;
use crate::aws::call_error::CallError;
use crate::deployment::{Deployment, EnvironmentName, Status};
use crate::engine::{AlarmsTag, Page, TagStep};
use crate::plan::{self, Admission, SkipReason, Verdict};
use crate::report::outcome::End;
use crate::timestamp::Timestamp;
use crate::trigger::Cause;

/// The listing at the start of a run, and what is in progress or being cancelled on its pages.
///
/// Pages shift while they are listed, and an environment can be on two of them. The later page counts.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) listing: Listing,
    backoff: Backoff,
    running: BTreeMap<EnvironmentName, Candidate>,
    listed: u64,
}

impl Finding {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            listing: Listing::new(now),
            backoff: Backoff::default(),
            running: BTreeMap::new(),
            listed: 0,
        }
    }

    fn add(&mut self, page: Page, request: &ListRequest) {
        self.listed += page.count;
        for deployment in page.deployments {
            let name = deployment.environment.name.clone();
            if matches!(deployment.status, Status::InProgress | Status::Cancelling) {
                let page = Some(request.token.clone());
                let candidate = Candidate::new(deployment, request.asked_at, page);
                self.running.insert(name, candidate);
            } else {
                self.running.remove(&name);
            }
        }
    }
}

impl Run<'_> {
    /// Puts the environments that a request names on the agenda. Those that rules 1 and 2 skip are not
    /// read.
    pub(super) fn begin_to_read(&mut self, names: &[EnvironmentName]) {
        for name in names {
            let stage = Stage::Named(name.clone());
            let selection = self.selection.as_ref();
            match selection.and_then(|one| plan::name_rules(one.policy, name)) {
                Some(reason) => self.end(stage.outcome(End::Skipped(reason))),
                None => self.begin(stage, self.now),
            }
        }
    }

    /// Applies a page of the listing at the start. Once the listing is complete, everything on it is
    /// decided.
    pub(super) fn on_found_page(&mut self, request: &ListRequest, result: Result<Page, CallError>) {
        let Some(mut finding) = self.finding.take() else {
            return;
        };
        let is_complete = result.and_then(|page| {
            let is_complete = finding.listing.is_complete_with(&page, self.now);
            finding.add(page, request);
            finding.backoff = Backoff::default();
            is_complete
        });
        match is_complete {
            Ok(true) => self.decide_found(finding),
            Ok(false) => self.finding = Some(finding),
            Err(error) => {
                let until = self.limits.budget.act_until;
                match self.again_at(&mut finding.backoff, &error, until) {
                    Some(at) => finding.listing.ask_again(at),
                    None => self.failure = Some(self.unreachable_or(error)),
                }
                self.finding = Some(finding);
            }
        }
    }

    fn decide_found(&mut self, finding: Finding) {
        self.polls.pages = finding.listing.pages();
        self.tally.listed = finding.listed;
        for candidate in finding.running.values() {
            self.count(&candidate.deployment.status);
        }
        self.note(Note::Listed(self.tally));
        for candidate in finding.running.into_values() {
            if candidate.deployment.status == Status::InProgress {
                self.decide(candidate);
            }
        }
        self.admit();
    }

    fn count(&mut self, status: &Status) {
        self.tally.in_progress += u64::from(*status == Status::InProgress);
        self.tally.already_cancelling += u64::from(*status == Status::Cancelling);
    }

    /// Applies rules 1 to 6, but for the tag.
    fn decide(&mut self, candidate: Candidate) {
        let Some(selection) = &mut self.selection else {
            return;
        };
        let deployment = &candidate.deployment;
        match Verdict::of(selection.trigger, selection.policy, deployment, self.now) {
            Verdict::Select => selection.select(candidate),
            Verdict::AskTag => self.begin(Stage::Untagged(candidate, None), self.now),
            Verdict::Skip(reason) => self.end(candidate.outcome(End::Skipped(reason))),
        }
    }

    /// Applies rule 7 to what is selected, as soon as it is certain.
    pub(super) fn admit(&mut self) {
        let undecided = self.agenda.undecided();
        let Some(selection) = &mut self.selection else {
            return;
        };
        let Some((admission, candidates)) = selection.admit(undecided) else {
            return;
        };
        if admission == Admission::OverLimit {
            let over_limit = selection.over_limit();
            self.note(over_limit);
        }
        for candidate in candidates {
            match admission {
                // Any page that was asked for since the last reading is later.
                Admission::Cancel => {
                    let since = candidate.read_at;
                    self.begin(Stage::Cancel(Cancel::new(candidate)), since);
                }
                Admission::DryRun => self.end(candidate.outcome(End::DryRun)),
                Admission::OverLimit => {
                    let end = End::Skipped(SkipReason::OverLimit);
                    self.end(candidate.outcome(end));
                }
            }
        }
    }

    /// Applies the reading of an environment that a request names.
    pub(super) fn on_environment(&mut self, entry: Entry, read: Option<Deployment>) {
        self.service_is_reached();
        if let Some(deployment) = read {
            self.tally.listed += 1;
            self.count(&deployment.status);
            self.decide(Candidate::new(deployment, entry.since, None));
        } else {
            let end = End::Skipped(SkipReason::NotIncluded);
            self.end(entry.stage.outcome(end));
        }
        self.admit();
    }

    /// An environment that a request names could not be read. If the service was not reached, that is
    /// held back until another call reaches it: if none does, the run fails as a whole.
    pub(super) fn unread(&mut self, named: Stage, error: CallError) {
        let error = match self.unreached {
            Some(_) => self.unreachable_or(error),
            None => error,
        };
        match &mut self.unreached {
            Some(unreached) if error.is_without_service() => unreached.push((named, error)),
            Some(_) | None => {
                self.service_is_reached();
                self.end(named.outcome(End::Error(error)));
            }
        }
    }

    fn service_is_reached(&mut self) {
        for (named, error) in self.unreached.take().into_iter().flatten() {
            self.end(named.outcome(End::Error(error)));
        }
    }

    /// Applies what was read of an environment's tag.
    pub(super) fn on_tag(&mut self, entry: Entry, step: TagStep) {
        let Stage::Untagged(candidate, _) = entry.stage else {
            return;
        };
        match step {
            TagStep::More(page) => self.begin(Stage::Untagged(candidate, Some(page)), self.now),
            TagStep::Done(tag) => self.decide_tagged(candidate, *tag, entry.since),
        }
        self.admit();
    }

    /// Applies rule 5. What the response shows of the deployment is newer than what is known.
    fn decide_tagged(&mut self, mut candidate: Candidate, tag: AlarmsTag, read_at: Timestamp) {
        let Some(selection) = &mut self.selection else {
            return;
        };
        let Cause::Alarm(alarm) = &selection.trigger.cause else {
            return;
        };
        let (allows, bad) = plan::tag_allows(tag.value.as_deref(), &alarm.name);
        let name = &candidate.deployment.environment.name;
        let bad = bad
            .iter()
            .map(|bad| Note::BadTag(name.clone(), bad.to_string()));
        self.reports.extend(bad.map(Report::Note));
        if allows {
            if let Some(shown) = tag.deployment {
                candidate.refresh(shown, read_at);
            }
            selection.select(candidate);
        } else {
            self.end(candidate.outcome(End::Skipped(SkipReason::NotTagged)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::call::{ListPurpose, PageToken, Request as Asked, Response};
    use super::super::fixture::{NOW, deployment, error, limits, name, policy, schedule, shown};
    use super::super::{Budget, Limits, Step, Word};
    use super::*;
    use crate::aws::call_error::Fault;
    use crate::plan::Mode;
    use crate::trigger::{Request, Trigger};

    #[test]
    fn the_later_of_two_pages_counts() {
        let mut finding = Finding::new(NOW);
        let request = ListRequest {
            token: PageToken::FIRST,
            purpose: ListPurpose::Find,
            asked_at: NOW,
        };
        let mut add = |id: &str, status| {
            let page = Page {
                count: 1,
                deployments: vec![shown(id, status)],
                next: None,
            };
            finding.add(page, &request);
            let mut running = finding.running.values();
            running.next().and_then(|one| one.deployment.id.clone())
        };
        assert_eq!(add("d-1", Status::InProgress).as_deref(), Some("d-1"));
        assert_eq!(add("d-2", Status::InProgress).as_deref(), Some("d-2"));
        assert_eq!(add("d-2", Status::Succeeded), None);
        assert_eq!(finding.listed, 3);
    }

    #[test]
    fn rule_7_cancels_all_that_is_selected_or_none() {
        for (mode, max_cancellations, is_cancelled, end, notes) in [
            (Mode::Live, 2, true, None, 0),
            (
                Mode::Live,
                1,
                false,
                Some(End::Skipped(SkipReason::OverLimit)),
                1,
            ),
            (Mode::DryRun, 2, false, Some(End::DryRun), 0),
        ] {
            let (trigger, policy) = (schedule(), policy(mode, max_cancellations));
            let mut run = Run::new(&trigger, &policy, limits(), NOW);
            for environment in ["a", "b"] {
                run.decide(Candidate::new(deployment(environment), NOW, None));
            }
            run.admit();
            let cancels = [name("a"), name("b")].map(|name| run.agenda.take(&name).is_some());
            assert_eq!(cancels, [is_cancelled; 2]);
            let (noted, ended): (Vec<_>, Vec<_>) = run
                .take_reports()
                .into_iter()
                .partition(|report| matches!(report, Report::Note(Note::OverLimit { .. })));
            assert_eq!(noted.len(), notes, "{noted:?}");
            assert_eq!(ended.len(), if end.is_some() { 2 } else { 0 });
            for report in ended {
                let Report::Outcome(outcome, Word::Last) = report else {
                    panic!("{report:?} is no last word");
                };
                assert_eq!(Some(outcome.end), end);
            }
        }
    }

    #[test]
    fn a_service_that_nobody_reaches_fails_the_run_as_a_whole() {
        let unreachable = || error(Fault::Unreachable, "no service");
        let refused = || error(Fault::Refused, "refused");
        for (second, ends, failure) in [
            (unreachable(), vec![], Some(unreachable())),
            (refused(), vec![unreachable(), refused()], None),
        ] {
            let mut run = Run::empty(limits(), NOW);
            run.unread(Stage::Named(name("a")), unreachable());
            assert_eq!(run.take_reports(), []);
            run.unread(Stage::Named(name("b")), second);
            let reports = run.take_reports().into_iter().map(|report| match report {
                Report::Outcome(outcome, Word::Last) => outcome.end.error().cloned(),
                Report::Outcome(..) | Report::Note(_) => None,
            });
            let reports: Option<Vec<_>> = reports.collect();
            assert_eq!(reports, Some(ends));
            assert!(matches!(run.next(NOW), Step::Done));
            assert_eq!(run.failure(), failure.as_ref());
        }
    }

    /// Runs a trigger where each attempt takes two seconds and fails with this error.
    fn unanswered(cause: &Cause, seconds: u64, error: &CallError) -> (usize, Option<CallError>) {
        let trigger = Trigger {
            cause: cause.clone(),
            ..schedule()
        };
        let limits = Limits {
            budget: Budget::new(NOW, Duration::from_secs(seconds)),
            concurrency: 1,
            ..limits()
        };
        let policy = policy(Mode::Live, 2);
        let mut run = Run::new(&trigger, &policy, limits, NOW);
        let mut now = NOW;
        loop {
            let call = match run.next(now) {
                Step::Call(call) => call,
                Step::WaitUntil(at) => {
                    now = at;
                    continue;
                }
                Step::Done => return (run.take_reports().len(), run.failure().cloned()),
            };
            let responds_at = now + Duration::from_secs(2);
            let is_given_up = responds_at > call.give_up_at;
            let error = if is_given_up {
                CallError::unanswered(Duration::ZERO)
            } else {
                error.clone()
            };
            now = responds_at.min(call.give_up_at);
            let response = match call.request {
                Asked::List(list) => Response::List(list, Err(error)),
                Asked::ReadEnvironment(name) => Response::ReadEnvironment(name, Err(error)),
                other @ (Asked::ReadTag(..) | Asked::ReadDeployment(..) | Asked::Cancel(_)) => {
                    panic!("{other:?}")
                }
            };
            run.handle(response, now);
        }
    }

    #[test]
    fn the_deadline_does_not_hide_that_nobody_reaches_the_service() {
        let request = Cause::Request(Request {
            environments: vec![name("a"), name("b")],
            dry_run: false,
        });
        let unreachable = error(Fault::Unreachable, "no service");
        let throttled = error(Fault::Throttled, "slow");
        for seconds in 3..60 {
            for cause in [&Cause::Schedule, &request] {
                let (reports, failure) = unanswered(cause, seconds, &unreachable);
                assert_eq!((reports, failure), (0, Some(unreachable.clone())));
            }
            let (reports, failure) = unanswered(&request, seconds, &throttled);
            assert_eq!((reports, failure), (2, None), "{seconds}");
        }
    }
}
