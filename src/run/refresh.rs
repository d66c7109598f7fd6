//! Refreshing: a page of the listing shows the state of everything that is on it. One call for a page
//! refreshes the stale readings of many cancels.

use super::Run;
use super::agenda::{Entry, Stage};
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
        self.agenda.change(names, |entry| {
            if let Stage::Cancel(cancel) = &mut entry.stage {
                cancel.candidate.is_doubtful = true;
            }
        });
    }

    /// Applies what a page shows to all that are on it: deployments that are followed, and those that
    /// wait for their cancel.
    pub(super) fn apply_page(&mut self, request: &ListRequest, page: Page) {
        for shown in page.deployments {
            let Some(mut entry) = self.agenda.take(&shown.environment.name) else {
                continue;
            };
            let (next, is_later) = (entry.next, entry.is_settled_since(request.asked_at));
            let is_being_read = entry.is_being_read();
            match &mut entry.stage {
                Stage::Follow(followed) if followed.is_shown_by(&shown, is_being_read) => {
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

#[cfg(test)]
mod tests {
    use super::super::Limits;
    use super::super::call::Response;
    use super::super::cancel::Cancel;
    use super::super::fixture::{NOW, after, calls, deployment, error, limits};
    use super::super::selection::Candidate;
    use super::*;
    use crate::deployment::{Deployment, Status};
    use crate::engine::{Continuation, ReadStep};

    /// When readings from the beginning are stale.
    const LATER: u64 = 3000;

    fn page(number: &str) -> PageToken {
        let before = Page {
            count: 0,
            deployments: Vec::new(),
            next: Some(number.to_owned()),
        };
        PageToken::after(&before).unwrap()
    }

    /// Returns a run in which these environments wait for their cancels, each read on a page.
    fn run(concurrency: usize, environments: &[(&str, &str)]) -> Run<'static> {
        let limits = Limits {
            concurrency,
            ..limits()
        };
        let mut run = Run::empty(limits, NOW);
        for (environment, number) in environments {
            let candidate = Candidate::new(deployment(environment), NOW, Some(page(number)));
            run.begin(Stage::Cancel(Cancel::new(candidate)), NOW);
        }
        run
    }

    #[test]
    fn a_page_is_refreshed_for_several_and_one_alone_is_read_by_itself() {
        let environments = [("a", "1"), ("b", "2"), ("c", "1"), ("d", "3"), ("e", "3")];
        let mut fresh = run(10, &environments);
        let cancels = ["cancel a", "cancel b", "cancel c", "cancel d", "cancel e"];
        assert_eq!(calls(&mut fresh, NOW), cancels);
        let mut stale = run(10, &environments);
        let now = after(LATER);
        assert_eq!(calls(&mut stale, now), ["page 1", "page 3", "read b"]);
    }

    #[test]
    fn only_pages_of_the_next_cancels_are_refreshed() {
        for (concurrency, is_throttled, before, is_near) in [
            (1, false, 1, true),
            (1, false, 2, false),
            (3, false, 5, true),
            (3, false, 6, false),
            (3, true, 9, true),
            (3, true, 10, false),
        ] {
            let first = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"].map(|one| (one, "1"));
            let next = [("k", "2"), ("l", "2")];
            let mut run = run(concurrency, &[&first[..before], &next].concat());
            if is_throttled {
                run.rate.call_throttled(NOW);
            }
            run.now = after(LATER);
            run.refreshing.insert(page("1"));
            let asked_for = run.choose_ready().is_some();
            assert_eq!(asked_for, is_near, "{concurrency} {is_throttled} {before}");
        }
    }

    #[test]
    fn what_a_refreshed_page_does_not_show_is_read_by_itself() {
        let newer = Deployment {
            id: Some("d-2".to_owned()),
            ..deployment("b")
        };
        let shown = Page {
            count: 2,
            deployments: vec![deployment("a"), newer],
            next: None,
        };
        let now = after(LATER);
        for (result, expected) in [
            (Ok(shown), vec!["cancel a", "read b", "read c"]),
            (
                Err(error(Fault::Lost, "lost")),
                vec!["read a", "read b", "read c"],
            ),
        ] {
            let mut run = run(10, &[("a", "1"), ("b", "1"), ("c", "1")]);
            assert_eq!(calls(&mut run, now), ["page 1"]);
            let request = ListRequest {
                token: page("1"),
                purpose: ListPurpose::Refresh,
                asked_at: now,
            };
            run.handle(Response::List(request, result), now);
            assert_eq!(calls(&mut run, now), expected);
        }
    }

    #[test]
    fn a_throttled_page_is_asked_for_again_and_the_oldest_is_read_by_itself() {
        let mut run = run(10, &[("a", "1"), ("b", "1"), ("c", "1")]);
        let now = after(LATER);
        assert_eq!(calls(&mut run, now), ["page 1"]);
        let throttled = error(Fault::Throttled, "slow");
        let request = ListRequest {
            token: page("1"),
            purpose: ListPurpose::Refresh,
            asked_at: now,
        };
        run.handle(Response::List(request, Err(throttled)), now);
        assert_eq!(calls(&mut run, now), Vec::<String>::new());
        assert_eq!(calls(&mut run, after(LATER + 125)), ["page 1"]);
        assert_eq!(calls(&mut run, after(LATER + 250)), ["read a"]);
    }

    #[test]
    fn a_page_drops_no_read_that_is_under_way_unless_it_shows_the_end() {
        for (status, is_read_on) in [(Status::Cancelling, true), (Status::Cancelled, false)] {
            let mut run = run(1, &[]);
            let followed = Deployment {
                status: Status::Cancelling,
                ..deployment("a")
            };
            run.begin_to_follow(followed.clone(), Some(NOW));
            assert_eq!(calls(&mut run, after(250)), ["read a"]);
            let more = ReadStep::More {
                continuation: Continuation::refused(error(Fault::Refused, "refused")),
                known: None,
            };
            let name = followed.environment.name.clone();
            run.handle(Response::ReadDeployment(name, Ok(more)), after(250));
            let request = ListRequest {
                token: PageToken::FIRST,
                purpose: ListPurpose::Refresh,
                asked_at: NOW,
            };
            let shown = Page {
                count: 1,
                deployments: vec![Deployment { status, ..followed }],
                next: None,
            };
            run.handle(Response::List(request, Ok(shown)), after(200));
            let calls = calls(&mut run, after(200));
            assert_eq!(!calls.is_empty(), is_read_on, "{calls:?}");
        }
    }
}
