//! A listing that is read page by page.

use std::collections::BTreeSet;

use super::call::PageToken;
use crate::aws::call_error::CallError;
use crate::engine::Page;
use crate::timestamp::Timestamp;

/// A listing that is being read.
#[derive(Debug)]
pub(super) struct Listing {
    /// The page to ask for.
    next: PageToken,
    /// When to ask for it. `None` while the call is under way.
    at: Option<Timestamp>,
    /// The pages that were read, by token: none is read twice.
    read: BTreeSet<PageToken>,
}

impl Listing {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            next: PageToken::FIRST,
            at: Some(now),
            read: BTreeSet::new(),
        }
    }

    /// Returns when the next page may be requested. `None` while one is under way.
    pub(super) fn at(&self) -> Option<Timestamp> {
        self.at
    }

    /// Returns the next page, if it may be requested now.
    pub(super) fn ask(&mut self, now: Timestamp) -> Option<PageToken> {
        self.at.take_if(|at| *at <= now)?;
        Some(self.next.clone())
    }

    /// Returns the number of pages that were read.
    pub(super) fn pages(&self) -> usize {
        self.read.len()
    }

    /// Applies a page. Returns true if it was the last one. Fails if the service gives a page token
    /// that it gave before: such a listing has no end.
    pub(super) fn is_complete_with(
        &mut self,
        page: &Page,
        now: Timestamp,
    ) -> Result<bool, CallError> {
        self.read.insert(self.next.clone());
        let Some(next) = PageToken::after(page) else {
            return Ok(true);
        };
        if self.read.contains(&next) {
            return Err(CallError::endless_listing());
        }
        self.next = next;
        self.at = Some(now);
        Ok(false)
    }

    /// Asks for the page again at a later time.
    pub(super) fn ask_again(&mut self, at: Timestamp) {
        self.at = Some(at);
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{NOW, after};
    use super::*;

    fn page(next: Option<&str>) -> Page {
        Page {
            count: 0,
            deployments: Vec::new(),
            next: next.map(str::to_owned),
        }
    }

    #[test]
    fn a_page_is_asked_for_once_and_none_is_read_twice() {
        let mut listing = Listing::new(NOW);
        assert_eq!(listing.ask(NOW), Some(PageToken::FIRST));
        assert_eq!(listing.at(), None);
        assert_eq!(listing.ask(NOW), None);
        let second = page(Some("b"));
        assert_eq!(listing.is_complete_with(&second, NOW), Ok(false));
        assert_eq!(listing.pages(), 1);
        assert_eq!(listing.ask(NOW), PageToken::after(&second));
        // The second page names itself as the next.
        let error = listing.is_complete_with(&second, NOW).unwrap_err();
        assert_eq!(error.code, "EndlessListing");
        assert_eq!(listing.is_complete_with(&page(None), NOW), Ok(true));
        assert_eq!(listing.pages(), 2);
    }

    #[test]
    fn a_page_is_not_asked_for_before_its_time() {
        let mut listing = Listing::new(NOW);
        listing.ask(NOW);
        listing.ask_again(after(1000));
        assert_eq!(listing.ask(after(999)), None);
        assert_eq!(listing.at(), Some(after(1000)));
        assert_eq!(listing.ask(after(1000)), Some(PageToken::FIRST));
    }
}
