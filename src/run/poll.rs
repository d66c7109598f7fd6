//! Polling what is followed: by the whole listing where that takes fewer calls, or else each deployment
//! by itself.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Run;
use super::agenda::{Attempts, Next, Priority, Stage};
use super::call::{ListPurpose, ListRequest, PageToken, Request};
use super::find::{Listing, ListingProgress};
use super::note::Note;
use crate::aws::backoff::Backoff;
use crate::aws::call_error::{CallError, Fault};
use crate::deployment::{Deployment, EnvironmentName, Status};
use crate::engine::Page;
use crate::timestamp::Timestamp;

/// How long a page may take. What a slow listing cannot show is read by itself.
pub(super) const POLL_TIMEOUT: Duration = Duration::from_secs(2);

/// The most throttled refreshes in a row before deployments are read by themselves.
const MOST_THROTTLED_REFRESHES: u32 = 2;

/// How polls find out where the deployments stand.
#[derive(Debug, Default)]
pub(super) struct Polls {
    /// The pages of the listing, as far as they are known.
    pages: usize,
    /// The listing that is under way.
    pass: Option<Pass>,
    /// When the listing may be tried again after a failure.
    not_before: Option<Timestamp>,
    backoff: Backoff,
}

/// One reading of the listing.
#[derive(Debug)]
struct Pass {
    listing: Listing,
    /// The deployments that no page has shown yet.
    expected: BTreeSet<EnvironmentName>,
    /// More pages than this would cost more than to read each deployment by itself.
    most_pages: usize,
}

impl Polls {
    /// The listing has so many pages.
    pub(super) fn know_pages(&mut self, pages: usize) {
        self.pages = pages;
    }

    /// True if the listing takes fewer calls than so many reads.
    fn is_cheaper(&self, reads: usize, now: Timestamp) -> bool {
        self.pages.max(1) < reads && self.not_before.is_none_or(|at| at <= now)
    }

    /// When the next page of a listing under way is due.
    pub(super) fn next_page(&self) -> Option<Timestamp> {
        self.pass.as_ref().and_then(|pass| pass.listing.at())
    }
}

impl Run<'_> {
    /// Chooses the next poll.
    pub(super) fn choose_poll(&mut self, now: Timestamp) -> Option<Request> {
        if let Some(pass) = &mut self.polls.pass
            && let Some(token) = pass.listing.ask(now)
        {
            return Some(Self::list(token, ListPurpose::Poll, now));
        }
        if self.polls.pass.is_none() && self.begin_pass(now) {
            return self.choose_poll(now);
        }
        let is_listing = self.polls.pass.is_some();
        let (name, _) = self
            .agenda
            .ready(Priority::Poll)
            .find(|(_, stage)| match stage {
                Stage::Follow(followed) => {
                    // While the listing is read, the others wait for it.
                    !is_listing || followed.is_unlisted || followed.read.continuation.is_some()
                }
                Stage::Named | Stage::Untagged(..) | Stage::Cancel(_) => false,
            })?;
        let name = name.clone();
        let (Stage::Follow(followed), mut attempts) = self.agenda.take(&name)? else {
            return None;
        };
        let continuation = followed.read.continuation.clone();
        let request = Request::ReadDeployment(Box::new(followed.deployment.clone()), continuation);
        attempts.asked_at = now;
        self.agenda
            .put(name, Stage::Follow(followed), attempts, Next::InFlight);
        Some(request)
    }

    /// Begins to read the listing if that is cheaper than to read each deployment that is due.
    fn begin_pass(&mut self, now: Timestamp) -> bool {
        let is_listed = |stage: &Stage| match stage {
            Stage::Follow(followed) => {
                !followed.is_unlisted && followed.read.continuation.is_none()
            }
            Stage::Named | Stage::Untagged(..) | Stage::Cancel(_) => false,
        };
        if !self
            .agenda
            .ready(Priority::Poll)
            .any(|(_, stage)| is_listed(stage))
        {
            return false;
        }
        let due = self
            .agenda
            .count(|stage, attempts, next| is_listed(stage) && is_due_soon(attempts, next, now));
        if !self.polls.is_cheaper(due, now) {
            return false;
        }
        let names = self
            .agenda
            .names(|stage, next| matches!(next, Next::Ready | Next::At(_)) && is_listed(stage));
        for name in &names {
            self.agenda.reschedule(name, Next::Listed);
        }
        self.polls.pass = Some(Pass {
            listing: Listing::new(now),
            most_pages: due,
            expected: names.into_iter().collect(),
        });
        true
    }

    /// Applies a page that was read to poll what is followed.
    pub(super) fn on_polled_page(
        &mut self,
        request: &ListRequest,
        result: Result<Page, CallError>,
        now: Timestamp,
    ) {
        let Some(mut pass) = self.polls.pass.take() else {
            return;
        };
        let page = match result {
            Ok(page) => page,
            Err(error) => return self.pass_failed(&pass, error, now),
        };
        let progress = pass.listing.progress(&page, now);
        for name in self.apply_page(request, page, now) {
            pass.expected.remove(&name);
        }
        match progress {
            ListingProgress::More if pass.expected.is_empty() => {}
            ListingProgress::More if pass.listing.pages() < pass.most_pages => {
                self.polls.pass = Some(pass);
                return;
            }
            ListingProgress::More => {
                // Longer than it is worth: not tried again for so few.
                self.polls.know_pages(pass.listing.pages() + 1);
                self.read_by_themselves(&pass.expected, false);
            }
            ListingProgress::Complete(pages) => {
                self.polls.know_pages(pages);
                self.read_by_themselves(&pass.expected, true);
            }
            ListingProgress::Endless(error) => return self.pass_failed(&pass, error, now),
        }
        self.polls.backoff = Backoff::default();
        self.polls.not_before = None;
    }

    fn pass_failed(&mut self, pass: &Pass, error: CallError, now: Timestamp) {
        self.note(Note::NotPolled(error));
        self.polls.not_before = Some(self.polls.backoff.persist(now, &mut self.random));
        self.read_by_themselves(&pass.expected, false);
    }

    /// Makes ready to be read what the listing has not shown.
    fn read_by_themselves(&mut self, names: &BTreeSet<EnvironmentName>, is_unlisted: bool) {
        for name in names {
            if let Some((mut stage, attempts)) = self.agenda.take(name) {
                if let Stage::Follow(followed) = &mut stage {
                    followed.is_unlisted = is_unlisted;
                }
                self.agenda.put(name.clone(), stage, attempts, Next::Ready);
            }
        }
    }

    /// Applies what a page shows to all that are on it: deployments that are followed, and those that
    /// wait for their cancel. Returns the followed ones.
    pub(super) fn apply_page(
        &mut self,
        request: &ListRequest,
        page: Page,
        now: Timestamp,
    ) -> Vec<EnvironmentName> {
        let mut shown_followed = Vec::new();
        for shown in page.deployments {
            let name = shown.environment.name.clone();
            let Some((stage, attempts, next)) = self.agenda.get(&name) else {
                continue;
            };
            match stage {
                Stage::Follow(followed) if is_followed(&shown, &followed.deployment) => {
                    shown_followed.push(name.clone());
                    self.poll_shows(&name, shown, next, now);
                }
                Stage::Cancel(_) => {
                    let is_later = next != Next::InFlight && attempts.asked_at <= request.asked_at;
                    match self.agenda.cancel(&name) {
                        Some(cancel) if is_later => cancel.refresh(Some(shown), request),
                        Some(cancel) => cancel.doubt(&shown, request),
                        None => {}
                    }
                }
                Stage::Named | Stage::Untagged(..) | Stage::Follow(_) => {}
            }
        }
        shown_followed
    }

    /// A page shows a deployment that is followed.
    fn poll_shows(
        &mut self,
        name: &EnvironmentName,
        shown: Deployment,
        next: Next,
        now: Timestamp,
    ) {
        let is_over = !matches!(shown.status, Status::InProgress | Status::Cancelling);
        // A read that is under way is left to its response unless the page shows the end.
        if next == Next::InFlight && !is_over {
            return;
        }
        if let Some((Stage::Follow(mut followed), _)) = self.agenda.take(name) {
            followed.is_unlisted = false;
            self.seen(followed, shown, now);
        }
    }

    /// Applies a page that was refreshed for the cancels that wait on it.
    pub(super) fn on_refreshed_page(
        &mut self,
        request: &ListRequest,
        result: Result<Page, CallError>,
        now: Timestamp,
    ) {
        self.refreshing.remove(&request.token);
        let is_on_it = |page: Option<&PageToken>| page == Some(&request.token);
        match result {
            Ok(page) => {
                self.throttled_refreshes = 0;
                self.apply_page(request, page, now);
                for (_, cancel) in self.agenda.waiting_cancels() {
                    if is_on_it(cancel.candidate.page.as_ref())
                        && cancel.candidate.read_at < request.asked_at
                    {
                        cancel.refresh(None, request);
                    }
                }
            }
            // The rate limiter spaces the next attempt.
            Err(error)
                if error.fault == Fault::Throttled
                    && self.throttled_refreshes < MOST_THROTTLED_REFRESHES =>
            {
                self.throttled_refreshes += 1;
            }
            Err(error) => {
                self.note(Note::NotRefreshed(error));
                for (_, cancel) in self.agenda.waiting_cancels() {
                    if is_on_it(cancel.candidate.page.as_ref()) {
                        cancel.candidate.page = None;
                    }
                }
            }
        }
    }

    /// Polls everything that is followed at once: nothing else is left to be done.
    pub(super) fn poll_all(&mut self) {
        let names = self.agenda.names(|_, next| matches!(next, Next::At(_)));
        for name in names {
            self.agenda.reschedule(&name, Next::Ready);
        }
    }
}

/// True if a poll is due, or if more than half of the wait for it is over. Deployments whose cancels were
/// accepted one after the other would else be due one after the other, and be read each by itself.
fn is_due_soon(attempts: Attempts, next: Next, now: Timestamp) -> bool {
    match next {
        Next::Ready => true,
        Next::At(at) => at - now <= now - attempts.asked_at,
        Next::InFlight | Next::Listed => false,
    }
}

/// True if a page shows where a deployment that is followed stands. A status that means nothing for a
/// deployment may be its environment's.
fn is_followed(shown: &Deployment, followed: &Deployment) -> bool {
    shown.is_same_as(followed) && !matches!(shown.status, Status::Other(_))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{NOW, after, deployment};
    use super::*;

    #[test]
    fn the_listing_is_read_where_it_takes_fewer_calls() {
        for (pages, reads, is_cheaper) in [
            (0, 1, false),
            (0, 2, true),
            (1, 1, false),
            (3, 3, false),
            (3, 4, true),
        ] {
            let mut polls = Polls::default();
            polls.know_pages(pages);
            assert_eq!(polls.is_cheaper(reads, NOW), is_cheaper, "{pages} {reads}");
        }
    }

    #[test]
    fn a_listing_that_failed_is_read_again_after_its_wait() {
        let polls = Polls {
            not_before: Some(after(10)),
            ..Polls::default()
        };
        assert!(!polls.is_cheaper(9, after(9)));
        assert!(polls.is_cheaper(9, after(10)));
    }

    #[test]
    fn what_has_waited_for_more_than_half_its_time_is_due_soon() {
        for (next, is_due) in [
            (Next::Ready, true),
            (Next::At(after(20)), true),
            (Next::At(after(21)), false),
            (Next::InFlight, false),
            (Next::Listed, false),
        ] {
            let attempts = Attempts::none(NOW);
            assert_eq!(is_due_soon(attempts, next, after(10)), is_due, "{next:?}");
        }
    }

    #[test]
    fn a_page_tells_of_the_deployment_that_is_followed_and_of_no_other() {
        let followed = deployment("net");
        let shown = |id: &str, status| Deployment {
            id: Some(id.to_owned()),
            status,
            ..deployment("net")
        };
        assert!(is_followed(&shown("d-net", Status::Failed), &followed));
        assert!(!is_followed(&shown("d-2", Status::Failed), &followed));
        let other = Status::Other("DELETE_IN_PROGRESS".to_owned());
        assert!(!is_followed(&shown("d-net", other), &followed));
    }
}
