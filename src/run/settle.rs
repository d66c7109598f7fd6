//! Following cancelled deployments until they settle.
//!
//! What is followed is a deployment, not an environment: if another one starts meanwhile, its
//! status is not mistaken for the first one's. A look at all that are followed reads again the pages
//! of the listing that show them; one that is alone on its page is looked at by itself. So a look
//! costs no more calls than there are deployments, and no more than the listing has pages. What its
//! page shows no more is looked for on the others, once, and then looked at by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use crate::aws::call_error::CallError;
use crate::clock::{Budget, Clock};
use crate::deployment::{Deployment, EnvironmentName, Status};
use crate::engine::{Page, Sight, Successor};
use crate::report::outcome::{End, Outcome};
use crate::run::calls::Calls;
use crate::run::cancel::{Attempt, Followed, Watch};
use crate::run::list::Place;

/// The wait before the first look while cancels are still under way. Once the last of them is answered,
/// the look comes at once: a quick end is seen quickly.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The same where the service throttles, so that looks do not crowd out what matters more; it holds for
/// the last answer, too.
const FIRST_THROTTLED_WAIT: Duration = Duration::from_millis(250);

/// How much longer each wait is than the one before.
const GROWTH: f64 = 1.5;

/// The longest wait between two looks.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// After so many failures in a row, what a page shows is looked at by itself.
const MOST_FAILURES: u32 = 2;

/// What came of reading a page.
enum Listed {
    /// The page.
    Page(Page),
    /// It may come at the next look.
    Later,
    /// It will not come.
    Never,
}

/// Follows deployments.
#[derive(Debug)]
pub struct Settling<'a> {
    calls: &'a Calls<'a>,
    clock: Clock,
    budget: Budget,
    timeout: Duration,
    watch: &'a Watch,
    /// Whether the service lets us list.
    may_list: bool,
    /// How often in a row a page could not be read.
    failures: BTreeMap<Place, u32>,
    /// Those that the listing does not show, or not on its first pages: each is looked at by itself.
    unlisted: BTreeSet<EnvironmentName>,
    followed: BTreeMap<EnvironmentName, Followed>,
}

/// What a look tells of one deployment.
type Look = (EnvironmentName, Result<Sight, CallError>);

impl<'a> Settling<'a> {
    /// Follows each deployment for `timeout` at most.
    #[must_use]
    pub fn new(
        calls: &'a Calls<'a>,
        clock: Clock,
        budget: Budget,
        timeout: Duration,
        watch: &'a Watch,
    ) -> Self {
        Self {
            calls,
            clock,
            budget,
            timeout,
            watch,
            may_list: true,
            failures: BTreeMap::new(),
            unlisted: BTreeSet::new(),
            followed: BTreeMap::new(),
        }
    }

    /// Follows what arrives until it has settled or its time is over, and tells each outcome.
    /// Cancels come first: nothing is looked at while others wait for their turn.
    pub async fn run(mut self, mut arrivals: UnboundedReceiver<Followed>, tell: impl Fn(Outcome)) {
        self.hold(&mut arrivals, &tell).await;
        let mut wait = self.first_wait();
        let mut next = Instant::now() + wait;
        let mut more_to_come = true;
        while more_to_come || !self.followed.is_empty() {
            let due = next.min(self.earliest_end());
            tokio::select! {
                // In this order, so that a run replays exactly.
                biased;
                arrival = arrivals.recv(), if more_to_come => {
                    if let Some(followed) = arrival {
                        self.take(followed, &tell);
                        wait = self.first_wait();
                        next = Instant::now() + wait;
                    } else {
                        more_to_come = false;
                        if !self.calls.are_throttled() {
                            next = Instant::now();
                        }
                    }
                    continue;
                }
                () = tokio::time::sleep_until(due), if !self.followed.is_empty() => {}
            }
            for (name, sight) in self.look().await {
                self.see(&name, sight, &tell);
            }
            self.give_up(&tell);
            next = Instant::now() + wait;
            wait = wait.mul_f64(GROWTH).min(LONGEST_WAIT);
        }
    }

    /// Takes what arrives until no cancel waits any more.
    async fn hold(&mut self, arrivals: &mut UnboundedReceiver<Followed>, tell: &impl Fn(Outcome)) {
        loop {
            tokio::select! {
                biased;
                Some(followed) = arrivals.recv() => self.take(followed, tell),
                () = self.watch.drained.notified() => return,
            }
        }
    }

    fn first_wait(&self) -> Duration {
        if self.calls.are_throttled() {
            FIRST_THROTTLED_WAIT
        } else {
            FIRST_WAIT
        }
    }

    fn take(&mut self, followed: Followed, tell: &impl Fn(Outcome)) {
        if self.end_of(&followed) <= Instant::now() {
            tell(followed.ended(End::Cancelling));
        } else {
            let name = followed.deployment.environment.name.clone();
            self.followed.insert(name, followed);
        }
    }

    fn end_of(&self, followed: &Followed) -> Instant {
        followed
            .since
            .checked_add(self.timeout)
            .map_or(self.budget.act_until, |end| end.min(self.budget.act_until))
    }

    fn earliest_end(&self) -> Instant {
        let ends = self.followed.values().map(|followed| self.end_of(followed));
        ends.min().unwrap_or(self.budget.act_until)
    }

    /// Tells of those whose time is over.
    fn give_up(&mut self, tell: &impl Fn(Outcome)) {
        let now = Instant::now();
        let over: Vec<_> = self
            .followed
            .iter()
            .filter(|(_, followed)| self.end_of(followed) <= now)
            .map(|(name, _)| name.clone())
            .collect();
        for followed in over.iter().filter_map(|name| self.followed.remove(name)) {
            tell(followed.ended(End::Cancelling));
        }
    }

    /// Takes in what a look told.
    fn see(
        &mut self,
        name: &EnvironmentName,
        sight: Result<Sight, CallError>,
        tell: &impl Fn(Outcome),
    ) {
        let Some(mut followed) = self.followed.remove(name) else {
            return;
        };
        match sight {
            Ok(Sight::Of(seen)) => self.take_in(followed, *seen, None, tell),
            Ok(Sight::Replaced(seen, successor)) => {
                self.take_in(followed, *seen, Some(*successor), tell);
            }
            Ok(Sight::Superseded) => {
                followed.deployment.message = Some(CallError::superseded().message);
                tell(followed.ended(End::Cancelling));
            }
            Err(error) if error.is_transient() => {
                tracing::warn!(
                    environment = name.as_str(),
                    error = error.to_string(),
                    "a deployment that is followed could not be read"
                );
                self.followed.insert(name.clone(), followed);
            }
            Err(error) => tell(followed.ended(End::Error(error))),
        }
    }

    /// Tells how it ended, or follows it on.
    fn take_in(
        &mut self,
        followed: Followed,
        seen: Deployment,
        successor: Option<Successor>,
        tell: &impl Fn(Outcome),
    ) {
        let moved_start = followed.deployment.moved_start;
        match followed.see(seen, successor).seen_at(self.clock.now()) {
            Attempt::Ended(outcome) => tell(outcome),
            Attempt::Follow(followed) => {
                let name = followed.deployment.environment.name.clone();
                // A page that shows it with the start that its rollback moved does show it.
                if followed.deployment.moved_start != moved_start {
                    self.unlisted.remove(&name);
                }
                self.followed.insert(name, followed);
            }
        }
    }

    /// Looks at everything that is followed, at the least cost: by the pages that showed several of
    /// them, by the pages that show them now where those do not any more, and by itself at what no page
    /// shows.
    async fn look(&mut self) -> Vec<Look> {
        let mut pages = BTreeMap::new();
        let waiting = self.read_again(&mut pages).await;
        let mut looks = self.shown_on(&pages);
        let moved = self.moved(&pages, &looks);
        if moved.len() > 1 && self.may_list {
            self.search(moved, &mut pages).await;
            looks = self.shown_on(&pages);
        }
        let unseen: Vec<_> = self
            .followed
            .keys()
            .filter(|name| !looks.contains_key(name) && !waiting.contains(name))
            .cloned()
            .collect();
        let mut looks: Vec<_> = looks
            .into_iter()
            .map(|(name, seen)| (name, Ok(Sight::Of(Box::new(seen)))))
            .collect();
        looks.extend(self.look_at_each(unseen).await);
        looks
    }

    /// Reads the pages again that showed more than one. What a page shows that cannot be read for the
    /// moment waits for the next look.
    async fn read_again(&mut self, pages: &mut BTreeMap<Place, Page>) -> BTreeSet<EnvironmentName> {
        let mut shown: BTreeMap<Place, BTreeSet<EnvironmentName>> = BTreeMap::new();
        for (name, followed) in &self.followed {
            if let Some(place) = followed.place.clone().filter(|_| self.may_list) {
                shown.entry(place).or_default().insert(name.clone());
            }
        }
        shown.retain(|_, names| names.len() > 1);
        let reads: FuturesUnordered<_> = shown
            .keys()
            .map(|place| async { (place.clone(), self.page(place).await) })
            .collect();
        let reads: Vec<_> = reads.collect().await;
        let mut waiting = BTreeSet::new();
        for (place, page) in reads {
            let names = shown.remove(&place).unwrap_or_default();
            match self.listed(page, &place) {
                Listed::Page(page) => {
                    pages.insert(place, page);
                }
                Listed::Later => waiting.extend(names),
                Listed::Never => {
                    for name in names {
                        self.at(&name, None);
                    }
                }
            }
        }
        waiting
    }

    /// The page, or what its failure means for the looks to come.
    fn listed(&mut self, page: Result<Page, CallError>, place: &Place) -> Listed {
        let error = match page {
            Ok(page) => {
                self.failures.remove(place);
                return Listed::Page(page);
            }
            Err(error) => error,
        };
        tracing::warn!(
            error = error.to_string(),
            "the deployments that are followed could not be listed"
        );
        let failures = self.failures.entry(place.clone()).or_default();
        *failures += 1;
        if error.is_transient() && *failures < MOST_FAILURES {
            return Listed::Later;
        }
        // A token may be refused because it has grown old; the first page has none.
        if !error.is_transient() && *place == Place::FIRST {
            self.may_list = false;
        }
        Listed::Never
    }

    /// Notes which page shows one of those that are followed.
    fn at(&mut self, name: &EnvironmentName, place: Option<&Place>) {
        if let Some(followed) = self.followed.get_mut(name) {
            followed.place = place.cloned();
        }
    }

    /// Whether a page shows one of those that are followed. A status that says nothing of a deployment's
    /// end may be its environment's.
    fn is_followed(&self, shown: &Deployment) -> bool {
        let followed = self.followed.get(&shown.environment.name);
        followed.is_some_and(|followed| shown.is_same_as(&followed.deployment))
            && !matches!(shown.status, Status::Other(_))
    }

    /// What pages show of those that are followed, and where that is.
    fn shown_on(&mut self, pages: &BTreeMap<Place, Page>) -> BTreeMap<EnvironmentName, Deployment> {
        let mut looks = BTreeMap::new();
        for (place, page) in pages {
            for deployment in &page.deployments {
                let name = &deployment.environment.name;
                if self.is_followed(deployment) {
                    self.at(name, Some(place));
                    looks.insert(name.clone(), deployment.clone());
                }
            }
        }
        looks
    }

    /// Those whose page is not known, or shows them no more.
    fn moved(
        &self,
        pages: &BTreeMap<Place, Page>,
        looks: &BTreeMap<EnvironmentName, Deployment>,
    ) -> BTreeSet<EnvironmentName> {
        let moved = self.followed.iter().filter(|(name, followed)| {
            let is_unknown = match &followed.place {
                Some(place) => pages.contains_key(place),
                None => true,
            };
            is_unknown && !looks.contains_key(*name) && !self.unlisted.contains(*name)
        });
        moved.map(|(name, _)| name.clone()).collect()
    }

    /// Looks for those of which no page is known, by the pages of the listing in their order: as many
    /// as there are of them, those that have been read already aside. What is not found so is looked
    /// at by itself from then on.
    async fn search(
        &mut self,
        mut names: BTreeSet<EnvironmentName>,
        pages: &mut BTreeMap<Place, Page>,
    ) {
        let mut left = names.len();
        let mut place = Place::FIRST;
        while !names.is_empty() {
            if !pages.contains_key(&place) {
                if left == 0 {
                    break;
                }
                left -= 1;
                let page = self.page(&place).await;
                match self.listed(page, &place) {
                    Listed::Page(page) => {
                        pages.insert(place.clone(), page);
                    }
                    Listed::Later => return,
                    Listed::Never => break,
                }
            }
            let Some(page) = pages.get(&place) else { break };
            for deployment in page.deployments.iter().filter(|one| self.is_followed(one)) {
                names.remove(&deployment.environment.name);
            }
            match Place::after(page) {
                Some(next) if next != place => place = next,
                Some(_) | None => break,
            }
        }
        self.unlisted.extend(names);
    }

    async fn look_at_each(&self, names: impl IntoIterator<Item = EnvironmentName>) -> Vec<Look> {
        let looks: FuturesUnordered<_> = names
            .into_iter()
            .filter_map(|name| {
                let deployment = &self.followed.get(&name)?.deployment;
                Some(async move {
                    let until = self.budget.look_until;
                    let look = match self.calls.turn(until).await {
                        Some(turn) => self.calls.look(&turn, until, deployment).await,
                        None => Err(CallError::late()),
                    };
                    (name, look)
                })
            })
            .collect();
        looks.collect().await
    }

    /// Reads a page of the listing; cancels that wait learn what it shows. One attempt: the next look is
    /// its repeat.
    async fn page(&self, place: &Place) -> Result<Page, CallError> {
        let until = self.budget.look_until;
        let turn = self.calls.turn(until).await.ok_or_else(CallError::late)?;
        let read_at = Instant::now();
        let list = self.calls.engine().list(place.token());
        let page = self.calls.attempt(&turn, until, list).await?;
        self.watch.see(place, &page, read_at);
        Ok(page)
    }
}
