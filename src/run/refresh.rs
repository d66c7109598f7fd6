//! Refreshing: a page of the listing shows the state of everything that is on it. One call for a page
//! refreshes the stale readings of many cancels.

use super::Run;
use super::agenda::{Entry, Next, Stage};
use super::call::{Call, ListPurpose, ListRequest, PageToken};
use super::note::Note;
use crate::aws::call_error::{CallError, Fault};
use crate::deployment::EnvironmentName;
use crate::engine::{Page, Reading};

/// How many of the next cancels have their pages refreshed while the rate limiter spaces calls.
const NEAR_IF_THROTTLED: usize = 10;

impl Run<'_> {
    /// Chooses the next call of the environments that are not followed yet. A stale page comes first, but
    /// only if the turn of a cancel on it is near: for others the reading would be stale again.
    pub(super) fn choose_ready(&mut self) -> Option<Call> {
        let near = match self.rate.next() {
            None => 2 * self.limits.concurrency,
            Some(_) => NEAR_IF_THROTTLED,
        };
        if let Some(token) = self.page_to_refresh(near) {
            self.refreshing.insert(token.clone());
            return Some(self.list(token, ListPurpose::Refresh));
        }
        let name = self.first_ready(near)?;
        self.ask(&name)
    }

    fn page_to_refresh(&self, near: usize) -> Option<PageToken> {
        let entries = self.agenda.ready().take(near);
        let pages = entries.filter_map(|entry| entry.stale_page(self.now));
        let mut shared =
            pages.filter(|page| !self.refreshing.contains(page) && self.is_shared(page));
        shared.next().cloned()
    }

    /// The first environment in order that need not wait for a page.
    fn first_ready(&self, near: usize) -> Option<EnvironmentName> {
        let mut entries = self.agenda.ready().enumerate().filter(|(place, entry)| {
            let page = entry.stale_page(self.now);
            page.is_none_or(|page| *place < near && !self.refreshing.contains(page))
        });
        Some(entries.next()?.1.name().clone())
    }

    /// True if several cancels wait for a page. One alone is read by itself.
    fn is_shared(&self, page: &PageToken) -> bool {
        let ready = self.agenda.ready();
        let mut waiting = ready.filter(|entry| entry.stale_page(self.now) == Some(page));
        waiting.nth(1).is_some()
    }

    /// Applies a page that was refreshed. What the page does not show is read by itself.
    pub(super) fn on_refreshed_page(
        &mut self,
        request: &ListRequest,
        result: Result<Page, CallError>,
    ) {
        self.refreshing.remove(&request.token);
        // A throttled page is asked for again: the rate limiter spaces that.
        let is_throttled = matches!(&result, Err(error) if error.fault == Fault::Throttled);
        let most = if is_throttled { 1 } else { usize::MAX };
        match result {
            Ok(page) => self.apply_page(request, page),
            Err(error) => self.note(Note::NotRefreshed(error)),
        }
        let is_on_it = |entry: &&Entry| entry.stale_page(self.now) == Some(&request.token);
        let stale = self.agenda.ready().filter(is_on_it).take(most);
        let names: Vec<_> = stale.map(|entry| entry.name().clone()).collect();
        for name in names {
            if let Some(mut entry) = self.agenda.take(&name) {
                if let Stage::Cancel(cancel) = &mut entry.stage {
                    cancel.candidate.is_doubtful = true;
                }
                self.agenda.put(entry, Next::Ready);
            }
        }
    }

    /// Applies what a page shows to all that are on it: deployments that are followed, and those that
    /// wait for their cancel.
    pub(super) fn apply_page(&mut self, request: &ListRequest, page: Page) {
        for shown in page.deployments {
            let Some(mut entry) = self.agenda.take(&shown.environment.name) else {
                continue;
            };
            let (next, is_later) = (entry.next, entry.is_settled_since(request.asked_at));
            match &mut entry.stage {
                Stage::Follow(followed) if followed.is_shown_by(&shown, next == Next::InFlight) => {
                    followed.is_unlisted = false;
                    self.on_reading(entry, Reading::Of(Box::new(shown)));
                    continue;
                }
                Stage::Cancel(cancel) => cancel.refresh(shown, request, is_later),
                Stage::Named(_) | Stage::Untagged(..) | Stage::Follow(_) => {}
            }
            self.agenda.put(entry, next);
        }
    }
}
