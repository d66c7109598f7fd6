//! Finding: the listing, the environments that a request names, and the tags.

use std::collections::BTreeMap;

use super::agenda::Stage;
use super::call::ListRequest;
use super::cancel::Cancel;
use super::listing::Listing;
use super::note::Note;
use super::selection::Candidate;
use super::{Report, Run, Word};
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
    running: BTreeMap<EnvironmentName, Candidate>,
    listed: u64,
}

impl Finding {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            listing: Listing::new(now),
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
    pub(super) fn begin_to_read(&mut self, names: &[EnvironmentName], now: Timestamp) {
        for name in names {
            let stage = Stage::Named(name.clone());
            let selection = self.selection.as_ref();
            match selection.and_then(|one| plan::name_rules(one.policy, name)) {
                Some(reason) => self.report(stage.outcome(End::Skipped(reason)), Word::Last),
                None => self.begin(stage, self.limits.budget.act_until, now),
            }
        }
    }

    /// Applies a page of the listing at the start. Once the listing is complete, everything on it is
    /// decided.
    pub(super) fn on_found_page(
        &mut self,
        request: &ListRequest,
        result: Result<Page, CallError>,
        now: Timestamp,
    ) {
        let Some(mut finding) = self.finding.take() else {
            return;
        };
        let until = self.limits.budget.act_until;
        let is_complete = match result {
            Ok(page) => {
                let is_complete = finding.listing.is_complete_with(&page, now);
                finding.add(page, request);
                is_complete
            }
            Err(error) => finding.listing.retry(error, now, until, &mut self.random),
        };
        match is_complete {
            Ok(true) => self.decide_found(finding, now),
            Ok(false) => self.finding = Some(finding),
            Err(error) => self.failure = Some(error),
        }
    }

    fn decide_found(&mut self, finding: Finding, now: Timestamp) {
        self.polls.pages = finding.listing.pages();
        self.tally.listed = finding.listed;
        for candidate in finding.running.values() {
            self.count(&candidate.deployment.status);
        }
        self.note(Note::Listed(self.tally));
        for candidate in finding.running.into_values() {
            if candidate.deployment.status == Status::InProgress {
                self.decide(candidate, now);
            }
        }
        self.admit();
    }

    fn count(&mut self, status: &Status) {
        self.tally.in_progress += u64::from(*status == Status::InProgress);
        self.tally.already_cancelling += u64::from(*status == Status::Cancelling);
    }

    /// Applies rules 1 to 6, but for the tag.
    fn decide(&mut self, candidate: Candidate, now: Timestamp) {
        let Some(selection) = &mut self.selection else {
            return;
        };
        let deployment = &candidate.deployment;
        match Verdict::of(selection.trigger, selection.policy, deployment, now) {
            Verdict::Select => selection.select(candidate),
            Verdict::AskTag => {
                let untagged = Stage::Untagged(candidate, None);
                self.begin(untagged, self.limits.budget.act_until, now);
            }
            Verdict::Skip(reason) => {
                self.report(candidate.outcome(End::Skipped(reason)), Word::Last);
            }
        }
    }

    /// Applies rule 7 to what is selected, as soon as it is certain.
    fn admit(&mut self) {
        let undecided = self.agenda.undecided();
        let Some(selection) = &mut self.selection else {
            return;
        };
        let Some((admission, candidates)) = selection.admit(undecided) else {
            return;
        };
        let end = match admission {
            Admission::Cancel => {
                for candidate in candidates {
                    // Any page that was asked for since its last reading is later.
                    let since = candidate.read_at;
                    let cancel = Stage::Cancel(Cancel::new(candidate));
                    self.begin(cancel, self.limits.budget.act_until, since);
                }
                return;
            }
            Admission::DryRun => End::DryRun,
            Admission::OverLimit => {
                let over_limit = selection.over_limit();
                self.note(over_limit);
                End::Skipped(SkipReason::OverLimit)
            }
        };
        for candidate in candidates {
            self.report(candidate.outcome(end.clone()), Word::Last);
        }
    }

    /// Applies the reading of an environment that a request names.
    pub(super) fn on_environment(
        &mut self,
        name: &EnvironmentName,
        result: Result<Option<Deployment>, CallError>,
        now: Timestamp,
    ) {
        let Some(entry) = self.agenda.take(name) else {
            return;
        };
        match result {
            Ok(read) => {
                self.service_is_reached();
                if let Some(deployment) = read {
                    self.decide_named(deployment, entry.since, now);
                } else {
                    let end = End::Skipped(SkipReason::NotIncluded);
                    self.report(entry.stage.outcome(end), Word::Last);
                }
            }
            Err(error) => match self.retry(entry, &error, now) {
                Some(entry) => self.unread(entry.stage, error),
                None => return,
            },
        }
        self.admit();
    }

    fn decide_named(&mut self, deployment: Deployment, read_at: Timestamp, now: Timestamp) {
        self.tally.listed += 1;
        self.count(&deployment.status);
        self.decide(Candidate::new(deployment, read_at, None), now);
    }

    /// An environment that a request names could not be read. If the service was not reached, that is
    /// held back until another call reaches it: if none does, the run fails as a whole.
    fn unread(&mut self, named: Stage, error: CallError) {
        match &mut self.unreached {
            Some(unreached) if error.is_without_service() => unreached.push((named, error)),
            Some(_) | None => {
                self.service_is_reached();
                self.report(named.outcome(End::Error(error)), Word::Last);
            }
        }
    }

    fn service_is_reached(&mut self) {
        for (named, error) in self.unreached.take().into_iter().flatten() {
            self.report(named.outcome(End::Error(error)), Word::Last);
        }
    }

    /// Applies what was read of an environment's tag.
    pub(super) fn on_tag(
        &mut self,
        name: &EnvironmentName,
        result: Result<TagStep, CallError>,
        now: Timestamp,
    ) {
        let Some(entry) = self.agenda.take(name) else {
            return;
        };
        let step = match result {
            Ok(step) => step,
            Err(error) => {
                if let Some(entry) = self.retry(entry, &error, now) {
                    self.report(entry.stage.outcome(End::Error(error)), Word::Last);
                    self.admit();
                }
                return;
            }
        };
        let Stage::Untagged(candidate, _) = entry.stage else {
            return;
        };
        match step {
            TagStep::More(page) => {
                let untagged = Stage::Untagged(candidate, Some(page));
                self.begin(untagged, self.limits.budget.act_until, now);
            }
            TagStep::Done(tag) => {
                self.decide_tagged(candidate, *tag, entry.since);
                self.admit();
            }
        }
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
            let end = End::Skipped(SkipReason::NotTagged);
            self.report(candidate.outcome(end), Word::Last);
        }
    }

    /// Ends the search for an environment whose time is over.
    pub(super) fn expire_find(&mut self, stage: Stage) {
        match stage {
            Stage::Named(_) => self.unread(stage, CallError::late()),
            Stage::Untagged(..) | Stage::Cancel(_) | Stage::Follow(_) => {
                self.report(stage.outcome(End::Error(CallError::late())), Word::Last);
            }
        }
        self.admit();
    }
}

#[cfg(test)]
mod tests {
    use super::super::call::{ListPurpose, PageToken};
    use super::super::fixture::{NOW, deployment};
    use super::*;

    #[test]
    fn the_later_of_two_pages_counts() {
        let mut finding = Finding::new(NOW);
        let request = ListRequest {
            token: PageToken::FIRST,
            purpose: ListPurpose::Find,
            asked_at: NOW,
        };
        let mut add = |id: &str, status| {
            let shown = Deployment {
                id: Some(id.to_owned()),
                status,
                ..deployment("net")
            };
            let page = Page {
                count: 1,
                deployments: vec![shown],
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
}
