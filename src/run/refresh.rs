//! Refreshing: a page of the listing shows the state of everything that is on it. One call for a page
//! refreshes the stale readings of many cancels.

use super::Run;
use super::agenda::{Entry, Next, Stage};
use super::call::{Call, ListPurpose, ListRequest, PageToken};
use super::note::Note;
use crate::aws::call_error::{CallError, Fault};
use crate::deployment::EnvironmentName;
use crate::engine::{Page, Reading};
use crate::timestamp::Timestamp;

/// How many of the next cancels have their pages refreshed while the rate limiter spaces calls.
const NEAR_IF_THROTTLED: usize = 10;

/// The next call that is no poll.
enum Choice {
    /// The call that this environment needs.
    Of(EnvironmentName),
    /// The page that refreshes the readings of several.
    Refresh(PageToken),
}

impl Run<'_> {
    /// Chooses the next call of the environments that are not followed yet.
    pub(super) fn choose_ready(&mut self, now: Timestamp) -> Option<Call> {
        match self.first_ready(now)? {
            Choice::Of(name) => self.ask(&name, now),
            Choice::Refresh(token) => {
                self.refreshing.insert(token.clone());
                Some(self.list(token, ListPurpose::Refresh, now))
            }
        }
    }

    /// The first environment in order that need not wait for a page. A stale page comes first, but only
    /// if the turn of a cancel on it is near: for others the reading would be stale again.
    fn first_ready(&self, now: Timestamp) -> Option<Choice> {
        let near = match self.rate.next() {
            None => 2 * self.limits.concurrency,
            Some(_) => NEAR_IF_THROTTLED,
        };
        let mut first = None;
        for (place, entry) in self.agenda.ready().enumerate() {
            match entry.stale_page(now) {
                Some(page) if place >= near || self.refreshing.contains(page) => {}
                Some(page) if self.is_shared(page, now) => {
                    return Some(Choice::Refresh(page.clone()));
                }
                Some(_) | None => first = first.or(Some(entry)),
            }
            if place >= near && first.is_some() {
                break;
            }
        }
        first.map(|entry| Choice::Of(entry.name().clone()))
    }

    /// True if several cancels wait for a page. One alone is read by itself.
    fn is_shared(&self, page: &PageToken, now: Timestamp) -> bool {
        let ready = self.agenda.ready();
        let mut waiting = ready.filter(|entry| entry.stale_page(now) == Some(page));
        waiting.nth(1).is_some()
    }

    /// Applies a page that was refreshed. What the page does not show is read by itself.
    pub(super) fn on_refreshed_page(
        &mut self,
        request: &ListRequest,
        result: Result<Page, CallError>,
        now: Timestamp,
    ) {
        self.refreshing.remove(&request.token);
        let mut most = usize::MAX;
        match result {
            Ok(page) => self.apply_page(request, page, now),
            Err(error) => {
                if error.fault == Fault::Throttled {
                    // The page is asked for again: the rate limiter spaces that.
                    most = 1;
                }
                self.note(Note::NotRefreshed(error));
            }
        }
        let is_on_it = |entry: &&Entry| entry.stale_page(now) == Some(&request.token);
        let stale = self.agenda.ready().filter(is_on_it).take(most);
        let names: Vec<_> = stale.map(|entry| entry.name().clone()).collect();
        for name in names {
            if let Some((cancel, _)) = self.agenda.cancel(&name, now) {
                cancel.candidate.is_doubtful = true;
            }
        }
    }

    /// Applies what a page shows to all that are on it: deployments that are followed, and those that
    /// wait for their cancel.
    pub(super) fn apply_page(&mut self, request: &ListRequest, page: Page, now: Timestamp) {
        for shown in page.deployments {
            let name = shown.environment.name.clone();
            if let Some((cancel, is_later)) = self.agenda.cancel(&name, request.asked_at) {
                cancel.refresh(shown, request, is_later);
            } else if let Some((Stage::Follow(followed), next)) = self.agenda.get(&name)
                && followed.is_shown_by(&shown, next == Next::InFlight)
                && let Some(Stage::Follow(mut followed)) =
                    self.agenda.take(&name).map(|one| one.stage)
            {
                followed.is_unlisted = false;
                self.on_reading_for_follow(followed, Reading::Of(Box::new(shown)), now);
            }
        }
    }
}
