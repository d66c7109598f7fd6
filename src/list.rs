//! Finding what there is: the listing, page by page.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use crate::call_error::{CallError, Fault};
use crate::calls::Calls;
use crate::deployment::{Deployment, EnvironmentName, Status};
use crate::engine::Page;
use crate::summary::Tally;

/// A deployment, and when and where it was read.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// The deployment as it was.
    pub deployment: Deployment,
    /// When the service was asked: it may have answered from any moment since.
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
    let mut listed = 0;
    // Pages shift while they are listed: an environment may be met on two of them, and the later page
    // is the newer reading.
    let mut latest: BTreeMap<EnvironmentName, Sighting> = BTreeMap::new();
    for_each_page(calls, until, |page, read_at, place| {
        listed += page.count;
        for deployment in page.deployments {
            match deployment.status {
                Status::InProgress | Status::Cancelling => {
                    let name = deployment.environment.name.clone();
                    let place = Some(place.clone());
                    let sighting = Sighting {
                        deployment,
                        read_at,
                        place,
                    };
                    latest.insert(name, sighting);
                }
                Status::Cancelled | Status::Failed | Status::Succeeded | Status::Other(_) => {
                    latest.remove(&deployment.environment.name);
                }
            }
        }
    })
    .await?;
    let (candidates, cancelling): (Vec<_>, Vec<_>) = latest
        .into_values()
        .partition(|sighting| sighting.deployment.status == Status::InProgress);
    Ok(Listing {
        tally: Tally {
            listed,
            in_progress: candidates.len() as u64,
            already_cancelling: cancelling.len() as u64,
        },
        candidates,
    })
}

/// Reads every page of the listing; tells with each when it was asked for.
async fn for_each_page(
    calls: &Calls<'_>,
    until: Instant,
    mut with: impl FnMut(Page, Instant, &Place),
) -> Result<(), CallError> {
    let engine = calls.engine();
    let mut place = Place::FIRST;
    loop {
        let asked_at = Cell::new(Instant::now());
        let ask = || {
            asked_at.set(Instant::now());
            engine.list(place.token())
        };
        let page = calls.retried(until, ask).await?;
        let next = Place::after(&page);
        with(page, asked_at.get(), &place);
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
