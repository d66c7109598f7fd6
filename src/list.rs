//! Finding what there is: the listing, page by page.

use std::sync::Arc;

use tokio::time::Instant;

use crate::call_error::{CallError, Fault};
use crate::calls::Calls;
use crate::deployment::{Deployment, Status};
use crate::engine::Page;
use crate::summary::Tally;

/// A deployment, and when and where it was read.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// The deployment as it was.
    pub deployment: Deployment,
    /// When the service's answer came.
    pub read_at: Instant,
    /// The page of the listing that showed it, if one did: one call reads all of it again.
    pub place: Option<Place>,
}

/// A page of the listing, by the token that it was asked for with; the first has none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(Option<Arc<str>>);

impl Place {
    /// The token to ask for the page with.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// The place of the page that comes after this one.
    #[must_use]
    pub fn after(page: &Page) -> Option<Self> {
        page.next.as_deref().map(|token| Self(Some(token.into())))
    }

    /// The first page.
    pub const FIRST: Self = Self(None);
}

/// Everything that was listed, as far as it matters.
#[derive(Debug, Default)]
pub struct Listing {
    /// The counts.
    pub tally: Tally,
    /// The deployments `IN_PROGRESS`.
    pub candidates: Vec<Sighting>,
}

/// Lists all environments and keeps those whose deployment is `IN_PROGRESS`.
pub async fn list(calls: &Calls<'_>, until: Instant) -> Result<Listing, CallError> {
    let mut listing = Listing::default();
    for_each_page(calls, until, |page, read_at, place| {
        listing.tally.listed += page.count;
        for deployment in page.deployments {
            match deployment.status {
                Status::InProgress => listing.candidates.push(Sighting {
                    deployment,
                    read_at,
                    place: Some(place.clone()),
                }),
                Status::Cancelling => listing.tally.already_cancelling += 1,
                Status::Cancelled | Status::Failed | Status::Succeeded | Status::Other(_) => {}
            }
        }
    })
    .await?;
    // Pages shift while they are listed: an environment may have been met on two of them.
    listing.candidates.sort_by(|one, other| {
        let name = |sighting: &Sighting| sighting.deployment.environment.name.clone();
        (name(one), other.read_at).cmp(&(name(other), one.read_at))
    });
    listing.candidates.dedup_by(|one, other| {
        one.deployment.environment.name == other.deployment.environment.name
    });
    listing.tally.in_progress = listing.candidates.len() as u64;
    Ok(listing)
}

/// Reads every page of the listing.
async fn for_each_page(
    calls: &Calls<'_>,
    until: Instant,
    mut with: impl FnMut(Page, Instant, &Place),
) -> Result<(), CallError> {
    let engine = calls.engine();
    let mut place = Place::FIRST;
    loop {
        let page = calls.retried(until, || engine.list(place.token())).await?;
        let next = Place::after(&page);
        with(page, Instant::now(), &place);
        match next {
            None => return Ok(()),
            Some(next) if next == place => return Err(endless()),
            Some(next) => place = next,
        }
    }
}

fn endless() -> CallError {
    CallError {
        fault: Fault::Refused,
        code: "EndlessListing".to_owned(),
        message: "the service gave the same page's token twice in a row".to_owned(),
    }
}
