//! Finding: the listing, the environments that a request names, and the tags.

use std::collections::{BTreeMap, BTreeSet};

use super::agenda::{Attempts, Next, Priority, Stage};
use super::call::{ListPurpose, ListRequest, PageToken, Request};
use super::cancel::Cancel;
use super::note::Note;
use super::selection::{Candidate, Selection};
use super::{Report, Run, Word};
use crate::aws::backoff::Backoff;
use crate::aws::call_error::{CallError, Fault};
use crate::deployment::{Deployment, Environment, EnvironmentName, Status};
use crate::engine::{AlarmsTag, Page, TagStep};
use crate::plan::{self, Admission, SkipReason, Verdict};
use crate::report::outcome::{End, Outcome};
use crate::report::summary::Tally;
use crate::timestamp::Timestamp;
use crate::trigger::Cause;

/// A listing that is being read, page by page.
#[derive(Debug)]
pub(super) struct Listing {
    /// The page to ask for.
    next: PageToken,
    /// When to ask for it. `None` while the call is under way.
    at: Option<Timestamp>,
    /// The pages that were read, by token: none is read twice.
    read: BTreeSet<PageToken>,
    backoff: Backoff,
}

/// The meaning of a page for the listing.
pub(super) enum ListingProgress {
    /// There is another page.
    More,
    /// That was the last page, of so many.
    Complete(usize),
    /// The service gave a token that it gave before.
    Endless(CallError),
}

impl Listing {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            next: PageToken::FIRST,
            at: Some(now),
            read: BTreeSet::new(),
            backoff: Backoff::default(),
        }
    }

    /// When the next page may be asked for. `None` while one is under way.
    pub(super) fn at(&self) -> Option<Timestamp> {
        self.at
    }

    /// The next page, if it may be asked for now.
    pub(super) fn ask(&mut self, now: Timestamp) -> Option<PageToken> {
        self.at.take_if(|at| *at <= now)?;
        Some(self.next.clone())
    }

    /// How many pages were read.
    pub(super) fn pages(&self) -> usize {
        self.read.len()
    }

    /// A page was read.
    pub(super) fn progress(&mut self, page: &Page, now: Timestamp) -> ListingProgress {
        self.backoff = Backoff::default();
        let next = PageToken::after(page);
        self.read.insert(self.next.clone());
        match next {
            None => ListingProgress::Complete(self.read.len()),
            Some(next) if self.read.contains(&next) => ListingProgress::Endless(endless()),
            Some(next) => {
                self.next = next;
                self.at = Some(now);
                ListingProgress::More
            }
        }
    }
}

fn endless() -> CallError {
    CallError {
        fault: Fault::Refused,
        code: "EndlessListing".to_owned(),
        message: "the service gave a page token that it had given before".to_owned(),
    }
}

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
            match deployment.status {
                Status::InProgress | Status::Cancelling => {
                    let candidate = Candidate {
                        deployment,
                        read_at: request.asked_at,
                        page: Some(request.token.clone()),
                        is_doubtful: false,
                    };
                    self.running.insert(name, candidate);
                }
                Status::Cancelled | Status::Failed | Status::Succeeded | Status::Other(_) => {
                    self.running.remove(&name);
                }
            }
        }
    }
}

/// Environments of a request that could not be read because the service was not reached. They are held
/// back until the service is reached for another one: if it never is, the run fails as a whole.
#[derive(Debug, Default)]
pub(super) struct Unreached {
    is_reached: bool,
    errors: Vec<(EnvironmentName, CallError)>,
}

impl Run<'_> {
    /// Chooses the next call of those that find what is to be cancelled.
    pub(super) fn choose_find(&mut self, now: Timestamp) -> Option<Request> {
        if let Some(finding) = &mut self.finding
            && let Some(token) = finding.listing.ask(now)
        {
            return Some(Self::list(token, ListPurpose::Find, now));
        }
        let name = self.agenda.first_ready(Priority::Find)?;
        let (stage, mut attempts) = self.agenda.take(&name)?;
        attempts.asked_at = now;
        let request = match &stage {
            Stage::Untagged(candidate, token) => {
                Request::ReadTag(candidate.deployment.environment.clone(), token.clone())
            }
            Stage::Named | Stage::Cancel(_) | Stage::Follow(_) => {
                Request::ReadEnvironment(name.clone())
            }
        };
        self.agenda.put(name, stage, attempts, Next::InFlight);
        Some(request)
    }

    /// Puts the environments that a request names on the agenda. Those that rules 1 and 2 skip are not
    /// read.
    pub(super) fn begin_to_read(&mut self, names: &[EnvironmentName], now: Timestamp) {
        for name in names {
            let selection = self.selection.as_ref();
            let fence = selection.and_then(|one| plan::fence(one.policy, name));
            if let Some(reason) = fence {
                self.skip_unread(name, reason);
                continue;
            }
            self.undecided(1);
            let attempts = Attempts::none(now);
            self.agenda
                .put(name.clone(), Stage::Named, attempts, Next::Ready);
        }
    }

    fn skip_unread(&mut self, name: &EnvironmentName, reason: SkipReason) {
        let environment = Environment::named(name.clone());
        self.report(
            Outcome::unread(environment, End::Skipped(reason)),
            Word::Last,
        );
    }

    fn undecided(&mut self, more: usize) {
        if let Some(selection) = &mut self.selection {
            selection.undecided += more;
        }
    }

    fn decided(&mut self) {
        if let Some(selection) = &mut self.selection {
            selection.undecided = selection.undecided.saturating_sub(1);
        }
    }

    /// Applies a page of the listing at the start.
    pub(super) fn on_found_page(
        &mut self,
        request: &ListRequest,
        result: Result<Page, CallError>,
        now: Timestamp,
    ) {
        let Some(finding) = &mut self.finding else {
            return;
        };
        let page = match result {
            Ok(page) => page,
            Err(error) => return self.listing_failed(error, now),
        };
        let progress = finding.listing.progress(&page, now);
        finding.add(page, request);
        match progress {
            ListingProgress::More => {}
            ListingProgress::Complete(pages) => self.found(pages, now),
            ListingProgress::Endless(error) => self.failure = Some(error),
        }
    }

    fn listing_failed(&mut self, error: CallError, now: Timestamp) {
        let until = self.budget.act_until;
        let Some(Finding { listing, .. }) = &mut self.finding else {
            return;
        };
        let again = error
            .is_transient()
            .then(|| listing.backoff.next(now, until, &mut self.random))
            .flatten();
        match again {
            Some(at) => listing.at = Some(at),
            None => self.failure = Some(error),
        }
    }

    /// The listing is complete: everything on it is decided at once.
    fn found(&mut self, pages: usize, now: Timestamp) {
        let Some(finding) = self.finding.take() else {
            return;
        };
        self.polls.know_pages(pages);
        let (candidates, cancelling): (Vec<_>, Vec<_>) = finding
            .running
            .into_values()
            .partition(|one| one.deployment.status == Status::InProgress);
        self.tally = Tally {
            listed: finding.listed,
            in_progress: candidates.len() as u64,
            already_cancelling: cancelling.len() as u64,
        };
        self.note(Note::Listed(self.tally));
        for candidate in candidates {
            self.decide(candidate, now);
        }
        self.admit(now);
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
                selection.undecided += 1;
                let name = deployment.environment.name.clone();
                let stage = Stage::Untagged(candidate, None);
                self.agenda
                    .put(name, stage, Attempts::none(now), Next::Ready);
            }
            Verdict::Skip(reason) => {
                let end = End::Skipped(reason);
                self.report(
                    Outcome::without_cancel(candidate.deployment, end),
                    Word::Last,
                );
            }
        }
    }

    /// Applies rule 7 to what is selected, as soon as it is certain.
    fn admit(&mut self, now: Timestamp) {
        let Some(selection) = &mut self.selection else {
            return;
        };
        let Some((admission, candidates)) = selection.admit() else {
            return;
        };
        let end = match admission {
            Admission::Cancel => {
                for candidate in candidates {
                    self.begin_to_cancel(candidate, now);
                }
                return;
            }
            Admission::DryRun => End::DryRun,
            Admission::OverLimit => {
                let over_limit = Note::OverLimit {
                    selected: selection.selected(),
                    limit: selection.policy.max_cancellations,
                };
                self.note(over_limit);
                End::Skipped(SkipReason::OverLimit)
            }
        };
        for candidate in candidates {
            self.report(
                Outcome::without_cancel(candidate.deployment, end.clone()),
                Word::Last,
            );
        }
    }

    fn begin_to_cancel(&mut self, candidate: Candidate, now: Timestamp) {
        let name = candidate.deployment.environment.name.clone();
        let stage = Stage::Cancel(Cancel::new(candidate));
        self.agenda
            .put(name, stage, Attempts::none(now), Next::Ready);
    }

    /// Applies the reading of an environment that a request names.
    pub(super) fn on_environment(
        &mut self,
        name: &EnvironmentName,
        result: Result<Option<Deployment>, CallError>,
        now: Timestamp,
    ) {
        let Some((stage, mut attempts)) = self.agenda.take(name) else {
            return;
        };
        match result {
            Ok(deployment) => {
                self.decided();
                self.is_reached();
                match deployment {
                    Some(deployment) => self.decide_read(deployment, attempts.asked_at, now),
                    None => self.skip_unread(name, SkipReason::NotIncluded),
                }
            }
            Err(error) => match self.again(&mut attempts.backoff, &error, now) {
                Some(at) => {
                    return self.agenda.put(name.clone(), stage, attempts, Next::At(at));
                }
                None => self.unread(name, error),
            },
        }
        self.admit(now);
    }

    fn again(
        &mut self,
        backoff: &mut Backoff,
        error: &CallError,
        now: Timestamp,
    ) -> Option<Timestamp> {
        error
            .is_transient()
            .then(|| backoff.next(now, self.budget.act_until, &mut self.random))
            .flatten()
    }

    fn decide_read(&mut self, deployment: Deployment, read_at: Timestamp, now: Timestamp) {
        self.tally.listed += 1;
        match deployment.status {
            Status::InProgress => self.tally.in_progress += 1,
            Status::Cancelling => self.tally.already_cancelling += 1,
            Status::Cancelled | Status::Failed | Status::Succeeded | Status::Other(_) => {}
        }
        let candidate = Candidate {
            deployment,
            read_at,
            page: None,
            is_doubtful: false,
        };
        self.decide(candidate, now);
    }

    /// An environment that a request names could not be read.
    fn unread(&mut self, name: &EnvironmentName, error: CallError) {
        self.decided();
        if error.is_without_service() && !self.unreached.is_reached {
            self.unreached.errors.push((name.clone(), error));
            return;
        }
        self.is_reached();
        self.report_unread(name, error);
    }

    fn report_unread(&mut self, name: &EnvironmentName, error: CallError) {
        let environment = Environment::named(name.clone());
        self.report(Outcome::unread(environment, End::Error(error)), Word::Last);
    }

    /// The service answered: what was held back is reported.
    fn is_reached(&mut self) {
        self.unreached.is_reached = true;
        for (name, error) in std::mem::take(&mut self.unreached.errors) {
            self.report_unread(&name, error);
        }
    }

    /// Fails the run if it found nothing because the service was never reached.
    pub(super) fn fail_if_unreached(&mut self) {
        let is_decided = self.selection.as_ref().is_some_and(Selection::is_done);
        if is_decided && !self.unreached.is_reached && self.failure.is_none() {
            self.failure = self.unreached.errors.pop().map(|(_, error)| error);
        }
    }

    /// Applies what was read of an environment's tag (rule 5).
    pub(super) fn on_tag(
        &mut self,
        name: &EnvironmentName,
        result: Result<TagStep, CallError>,
        now: Timestamp,
    ) {
        let Some((Stage::Untagged(candidate, token), mut attempts)) = self.agenda.take(name) else {
            return;
        };
        let error = match result {
            Ok(TagStep::More(token)) => {
                let stage = Stage::Untagged(candidate, Some(token));
                let attempts = Attempts::none(now);
                return self.agenda.put(name.clone(), stage, attempts, Next::Ready);
            }
            Ok(TagStep::Done(tag)) => {
                self.decided();
                self.decide_tagged(candidate, *tag, attempts.asked_at);
                return self.admit(now);
            }
            Err(error) => error,
        };
        if let Some(at) = self.again(&mut attempts.backoff, &error, now) {
            let stage = Stage::Untagged(candidate, token);
            return self.agenda.put(name.clone(), stage, attempts, Next::At(at));
        }
        self.decided();
        let end = End::Error(error);
        self.report(
            Outcome::without_cancel(candidate.deployment, end),
            Word::Last,
        );
        self.admit(now);
    }

    /// Rule 5. What the answer shows of the deployment is newer than what is known.
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
            if tag.deployment.is_some() {
                candidate.refresh(tag.deployment, read_at);
            }
            selection.select(candidate);
        } else {
            let end = End::Skipped(SkipReason::NotTagged);
            self.report(
                Outcome::without_cancel(candidate.deployment, end),
                Word::Last,
            );
        }
    }

    /// Ends the search for an environment whose time is over.
    pub(super) fn expire_find(&mut self, name: &EnvironmentName, stage: Stage, now: Timestamp) {
        match stage {
            Stage::Untagged(candidate, _) => {
                self.decided();
                let end = End::Error(CallError::late());
                self.report(
                    Outcome::without_cancel(candidate.deployment, end),
                    Word::Last,
                );
            }
            Stage::Named => self.unread(name, CallError::late()),
            Stage::Cancel(_) | Stage::Follow(_) => {}
        }
        self.admit(now);
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{NOW, after, deployment};
    use super::*;

    fn shown(id: &str, status: Status) -> Deployment {
        Deployment {
            id: Some(id.to_owned()),
            status,
            ..deployment("net")
        }
    }

    fn page(next: Option<&str>, deployments: Vec<Deployment>) -> Page {
        Page {
            count: deployments.len() as u64,
            deployments,
            next: next.map(str::to_owned),
        }
    }

    fn request() -> ListRequest {
        ListRequest {
            token: PageToken::FIRST,
            purpose: ListPurpose::Find,
            asked_at: NOW,
        }
    }

    #[test]
    fn the_later_of_two_pages_counts() {
        let mut finding = Finding::new(NOW);
        finding.add(
            page(None, vec![shown("d-1", Status::InProgress)]),
            &request(),
        );
        finding.add(
            page(None, vec![shown("d-2", Status::InProgress)]),
            &request(),
        );
        let mut ids = finding.running.values().map(|one| &one.deployment.id);
        assert_eq!(ids.next(), Some(&Some("d-2".to_owned())));
        drop(ids);
        finding.add(
            page(None, vec![shown("d-2", Status::Succeeded)]),
            &request(),
        );
        assert!(finding.running.is_empty());
        assert_eq!(finding.listed, 3);
    }

    #[test]
    fn a_page_is_asked_for_once_and_none_is_read_twice() {
        let mut listing = Listing::new(NOW);
        assert_eq!(listing.ask(NOW), Some(PageToken::FIRST));
        assert_eq!(listing.at(), None);
        assert_eq!(listing.ask(NOW), None);
        let second = page(Some("b"), Vec::new());
        assert!(matches!(
            listing.progress(&second, NOW),
            ListingProgress::More
        ));
        assert_eq!(listing.pages(), 1);
        assert_eq!(listing.ask(NOW), PageToken::after(&second));
        // The second page names itself as the next.
        assert!(matches!(
            listing.progress(&second, NOW),
            ListingProgress::Endless(error) if error.code == "EndlessListing"
        ));
        let last = page(None, Vec::new());
        assert!(matches!(
            listing.progress(&last, NOW),
            ListingProgress::Complete(2)
        ));
    }

    #[test]
    fn a_page_is_not_asked_for_before_its_time() {
        let mut listing = Listing::new(after(1000));
        assert_eq!(listing.ask(NOW), None);
        assert_eq!(listing.at(), Some(after(1000)));
    }
}
