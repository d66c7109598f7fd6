//! Polling what is followed: by the whole listing where that takes fewer calls, or else each deployment
//! by itself.

use super::Run;
use super::agenda::{Entry, Next, Stage};
use super::call::{Call, ListPurpose, ListRequest};
use super::listing::Listing;
use super::note::Note;
use crate::aws::backoff::Backoff;
use crate::aws::call_error::CallError;
use crate::engine::Page;
use crate::timestamp::Timestamp;

/// The state of polling: by the listing, or one by one.
#[derive(Debug, Default)]
pub(super) struct Polls {
    /// The pages of the listing, as far as they are known.
    pub(super) pages: usize,
    /// The listing that is under way.
    listing: Option<Listing>,
    /// The listing under way costs more than to read each deployment, if it has more pages than this.
    most_pages: usize,
    /// When the listing may be tried again after a failure.
    not_before: Option<Timestamp>,
    backoff: Backoff,
}

impl Polls {
    /// True if the listing takes fewer calls than so many reads.
    fn is_cheaper(&self, reads: usize, now: Timestamp) -> bool {
        self.pages.max(1) < reads && self.not_before.is_none_or(|at| at <= now)
    }
}

impl Run<'_> {
    /// Chooses the next poll.
    pub(super) fn choose_poll(&mut self) -> Option<Call> {
        if self.polls.listing.is_none() && self.agenda.polls().any(is_listed) {
            self.begin_listing();
        }
        let listing = self.polls.listing.as_mut();
        if let Some(token) = listing.and_then(|listing| listing.ask(self.now)) {
            return Some(self.list(token, ListPurpose::Poll));
        }
        // While the listing is read, the others wait for it.
        let is_listing = self.polls.listing.is_some();
        let is_up = |entry: &&Entry| !(is_listing && is_listed(entry));
        let name = self.agenda.polls().find(is_up)?.name().clone();
        self.ask(&name)
    }

    /// Begins to read the listing if that is cheaper than to read each deployment that is due.
    fn begin_listing(&mut self) {
        let entries = self.agenda.entries();
        let due = entries.filter(|entry| is_due_soon(entry, self.now));
        let due = due.count();
        if !self.polls.is_cheaper(due, self.now) {
            return;
        }
        self.polls.most_pages = due;
        self.polls.listing = Some(Listing::new(self.now));
        let waits = |entry: &Entry| is_listed(entry) && entry.next != Next::InFlight;
        let names = self.agenda.names(waits);
        self.agenda.change(names, |entry| entry.next = Next::Listed);
    }

    /// Applies a page that was read to poll what is followed.
    pub(super) fn on_polled_page(
        &mut self,
        request: &ListRequest,
        result: Result<Page, CallError>,
    ) {
        let Some(mut listing) = self.polls.listing.take() else {
            return;
        };
        let is_complete = result.and_then(|page| {
            let is_complete = listing.is_complete_with(&page, self.now);
            self.apply_page(request, page);
            is_complete
        });
        let is_awaited = |entry: &Entry| entry.next == Next::Listed;
        let is_complete = match is_complete {
            Ok(false)
                if listing.pages() < self.polls.most_pages
                    && self.agenda.entries().any(is_awaited) =>
            {
                self.polls.listing = Some(listing);
                return;
            }
            Ok(is_complete) => {
                // An incomplete listing has one page more at the least: it is not read for so few again.
                let known = if is_complete { 0 } else { self.polls.pages };
                let read = listing.pages() + usize::from(!is_complete);
                self.polls.pages = read.max(known);
                self.polls.backoff = Backoff::default();
                is_complete
            }
            Err(error) => {
                self.note(Note::NotPolled(error));
                let again_at = self.polls.backoff.persist(self.now, &mut self.random);
                self.polls.not_before = Some(again_at);
                false
            }
        };
        // What the listing has not shown is read by itself.
        let names = self.agenda.names(is_awaited);
        self.agenda.change(names, |entry| {
            entry.next = Next::Ready;
            if let Stage::Follow(followed) = &mut entry.stage {
                followed.is_unlisted = is_complete;
            }
        });
    }
}

/// True if a page of the listing is to show where the deployment stands.
fn is_listed(entry: &Entry) -> bool {
    let is_followed = matches!(&entry.stage, Stage::Follow(followed) if !followed.is_unlisted);
    is_followed && entry.continuation.is_none()
}

/// True if a listed poll is due, or if more than half of the wait for it is over. Deployments whose cancels were
/// accepted one after the other would else be due one after the other, and be read each by itself.
fn is_due_soon(entry: &Entry, now: Timestamp) -> bool {
    match entry.next {
        Next::Ready => is_listed(entry),
        Next::At(at) => is_listed(entry) && at - now <= now - entry.since,
        Next::InFlight | Next::Listed => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::call::{PageToken, Response};
    use super::super::fixture::{NOW, after, calls, deployment, limits, name};
    use super::super::followed::Followed;
    use super::*;
    use crate::deployment::{Deployment, Status};

    #[test]
    fn the_listing_is_read_where_it_takes_fewer_calls() {
        for (pages, reads, is_cheaper) in [
            (0, 1, false),
            (0, 2, true),
            (1, 1, false),
            (3, 3, false),
            (3, 4, true),
        ] {
            let polls = Polls {
                pages,
                ..Polls::default()
            };
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
            let followed = Followed::new(deployment("net"), None, NOW);
            let entry = Entry::new(Stage::Follow(followed), after(60_000), NOW);
            let entry = Entry { next, ..entry };
            assert_eq!(is_due_soon(&entry, after(10)), is_due, "{next:?}");
        }
    }

    /// Hands a run the next page of a poll, which shows these environments.
    fn answer(run: &mut Run<'_>, shown: &[&str], next: Option<&str>) {
        let deployments = shown.iter().map(|environment| Deployment {
            status: Status::Cancelling,
            ..deployment(environment)
        });
        let page = Page {
            count: 0,
            deployments: deployments.collect(),
            next: next.map(str::to_owned),
        };
        run.handle(Response::List(poll(), Ok(page)), NOW);
    }

    fn poll() -> ListRequest {
        ListRequest {
            token: PageToken::FIRST,
            purpose: ListPurpose::Poll,
            asked_at: NOW,
        }
    }

    /// Returns a run that polls `a`, `b` and `c` by the listing.
    fn polling() -> Run<'static> {
        let mut run = Run::empty(limits(), NOW);
        for environment in ["a", "b", "c"] {
            let followed = Followed::new(deployment(environment), None, NOW);
            let entry = Entry::new(Stage::Follow(followed), after(60_000), NOW);
            run.agenda.put(entry, Next::Ready);
        }
        assert_eq!(calls(&mut run, NOW), ["page 1"]);
        run
    }

    #[test]
    fn a_listing_ends_once_it_has_shown_all_that_is_followed() {
        let mut run = polling();
        answer(&mut run, &["a", "b"], Some("2"));
        assert_eq!(calls(&mut run, NOW), ["page 2"]);
        answer(&mut run, &["c"], Some("3"));
        assert_eq!(calls(&mut run, NOW), Vec::<String>::new());
    }

    #[test]
    fn a_listing_ends_where_it_costs_more_than_the_reads() {
        let mut run = polling();
        for next in ["2", "3"] {
            answer(&mut run, &[], Some(next));
            assert_eq!(calls(&mut run, NOW), [format!("page {next}")]);
        }
        answer(&mut run, &["b"], Some("4"));
        assert_eq!(calls(&mut run, NOW), ["read a", "read c"]);
        // Such an account is not listed for three again.
        assert!(!run.polls.is_cheaper(4, NOW));
        assert!(run.polls.is_cheaper(5, NOW));
    }

    #[test]
    fn what_a_listing_does_not_show_is_read_by_itself() {
        let unanswered = || CallError::unanswered(std::time::Duration::ZERO);
        for (result, is_listed_again) in [(None, false), (Some(unanswered()), true)] {
            let mut run = polling();
            match result {
                None => answer(&mut run, &["b"], None),
                Some(error) => run.handle(Response::List(poll(), Err(error)), NOW),
            }
            let reads = calls(&mut run, NOW);
            assert_eq!(reads.contains(&"read b".to_owned()), is_listed_again);
            assert!(reads.contains(&"read a".to_owned()) && reads.contains(&"read c".to_owned()));
            let entry = run.agenda.take(&name("a")).unwrap();
            let Stage::Follow(followed) = entry.stage else {
                panic!("`a` is followed");
            };
            assert_eq!(followed.is_unlisted, !is_listed_again);
            assert_eq!(run.polls.not_before.is_some(), is_listed_again);
        }
    }
}
