//! Finding what there is: the listing, page by page.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use crate::aws::call_error::{CallError, Fault};
use crate::deployment::{Deployment, EnvironmentName, Status};
use crate::engine::Page;
use crate::report::summary::Tally;
use crate::run::calls::Calls;

/// A deployment, and when and where it was read.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// The deployment as it was.
    pub deployment: Deployment,
    /// When the service was asked: it may have answered from any moment since.
    pub read_at: Instant,
    /// The page of the listing that showed it, if one did: one call reads all of it again.
    pub place: Option<Place>,
    /// Whether only a look at it tells how it stands, whatever the reading's age: something else was
    /// seen in its place since, or a cancel may have gone through unheard.
    pub is_doubtful: bool,
}

impl Sighting {
    /// What was read of a deployment at that time, on that page.
    #[must_use]
    pub fn new(deployment: Deployment, read_at: Instant, place: Option<Place>) -> Self {
        Self {
            deployment,
            read_at,
            place,
            is_doubtful: false,
        }
    }

    /// Takes in what was shown in its place later, if anything.
    pub fn see(&mut self, now: Option<Deployment>, read_at: Instant) {
        match now {
            Some(now) if now.status == Status::InProgress && now.is_same_as(&self.deployment) => {
                self.deployment = now;
                self.read_at = read_at;
            }
            Some(_) | None => self.is_doubtful = true,
        }
    }
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

/// The environments whose deployment is in progress or being cancelled, each as it was read last.
///
/// Pages shift while they are listed: an environment may be met on two of them.
#[derive(Debug, Default)]
struct Running(BTreeMap<EnvironmentName, Sighting>);

impl Running {
    /// Takes in a reading that is newer than those before.
    fn see(&mut self, sighting: Sighting) {
        let name = sighting.deployment.environment.name.clone();
        match sighting.deployment.status {
            Status::InProgress | Status::Cancelling => {
                self.0.insert(name, sighting);
            }
            Status::Cancelled | Status::Failed | Status::Succeeded | Status::Other(_) => {
                self.0.remove(&name);
            }
        }
    }

    fn into_listing(self, listed: u64) -> Listing {
        let (candidates, cancelling): (Vec<_>, Vec<_>) = self
            .0
            .into_values()
            .partition(|sighting| sighting.deployment.status == Status::InProgress);
        Listing {
            tally: Tally {
                listed,
                in_progress: candidates.len() as u64,
                already_cancelling: cancelling.len() as u64,
            },
            candidates,
        }
    }
}

/// Lists all environments and keeps those whose deployment is `IN_PROGRESS`.
pub async fn list(calls: &Calls<'_>, until: Instant) -> Result<Listing, CallError> {
    let mut listed = 0;
    let mut running = Running::default();
    for_each_page(calls, until, |page, read_at, place| {
        listed += page.count;
        for deployment in page.deployments {
            running.see(Sighting::new(deployment, read_at, Some(place.clone())));
        }
    })
    .await?;
    Ok(running.into_listing(listed))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::{Environment, NameRule};

    fn sighting(name: &str, status: Status) -> Sighting {
        let name = EnvironmentName::parse(name, NameRule::Proton).unwrap();
        let deployment = Deployment {
            environment: Environment::named(name),
            id: None,
            started_at: None,
            status,
            message: None,
            ended_at: None,
            moved_start: None,
        };
        Sighting::new(deployment, Instant::now(), None)
    }

    #[test]
    fn the_newer_of_two_pages_counts() {
        let mut running = Running::default();
        for (name, before, after) in [
            ("ended", Status::InProgress, Status::Succeeded),
            ("cancelled", Status::InProgress, Status::Cancelling),
            ("begun", Status::Failed, Status::InProgress),
            ("the-same", Status::InProgress, Status::InProgress),
        ] {
            running.see(sighting(name, before));
            running.see(sighting(name, after));
        }
        let listing = running.into_listing(8);
        let candidates = listing.candidates.iter();
        let names: Vec<_> = candidates
            .map(|sighting| sighting.deployment.environment.name.as_str())
            .collect();
        assert_eq!(names, ["begun", "the-same"]);
        assert_eq!(listing.tally.in_progress, 2);
        assert_eq!(listing.tally.already_cancelling, 1);
    }
}
