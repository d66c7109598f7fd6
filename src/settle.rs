//! Following cancelled deployments until they settle.
//!
//! What is followed is a deployment, not an environment: if another one starts meanwhile, its
//! status is not mistaken for the first one's. A look at all that are followed reads again the pages
//! of the listing that show them; one that is alone on its page is looked at by itself. So a look
//! costs no more calls than there are deployments, and no more than the listing has pages.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use crate::call_error::CallError;
use crate::calls::Calls;
use crate::cancel::{Attempt, Followed, Watch};
use crate::clock::{Budget, Clock};
use crate::deployment::EnvironmentName;
use crate::engine::{Page, Sight};
use crate::list::Place;
use crate::outcome::{End, Outcome};

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
                    match arrival {
                        Some(followed) => {
                            self.take(followed, &tell);
                            wait = self.first_wait();
                            next = Instant::now() + wait;
                        }
                        None => {
                            more_to_come = false;
                            if !self.calls.are_throttled() {
                                next = Instant::now();
                            }
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
            Ok(Sight::Of(seen)) => {
                followed.deployment = followed.deployment.seen_again(*seen);
                match followed.seen_at(self.clock.now()) {
                    Attempt::Ended(outcome) => tell(outcome),
                    Attempt::Follow(followed) => {
                        self.followed.insert(name.clone(), followed);
                    }
                }
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

    /// Looks at everything that is followed, at the least cost.
    async fn look(&mut self) -> Vec<Look> {
        let mut alone = Vec::new();
        let mut unplaced = BTreeSet::new();
        let mut shown: BTreeMap<Place, Vec<EnvironmentName>> = BTreeMap::new();
        for (name, followed) in &self.followed {
            match &followed.place {
                Some(place) => shown.entry(place.clone()).or_default().push(name.clone()),
                None => {
                    unplaced.insert(name.clone());
                }
            }
        }
        if unplaced.len() > 1 && self.may_list {
            // Nothing was listed for a request.
            return self.look_for(unplaced).await;
        }
        alone.extend(unplaced);
        let mut pages = Vec::new();
        for (place, mut names) in shown {
            if names.len() > 1 && self.may_list {
                pages.push(place);
            } else {
                alone.append(&mut names);
            }
        }
        let pages: FuturesUnordered<_> = pages
            .into_iter()
            .map(|place| async {
                let page = self.once(|| self.calls.engine().list(place.token())).await;
                (place, page)
            })
            .collect();
        let pages: Vec<_> = pages.collect().await;
        let mut looks = Vec::new();
        for (place, page) in pages {
            let Some(page) = self.listed(page) else {
                continue;
            };
            let shown = self.shown_on(&page);
            let is_shown: BTreeSet<_> = shown.iter().map(|(name, _)| name).collect();
            // What the page shows no more, or with another deployment, is looked at by itself.
            alone.extend(
                self.followed
                    .iter()
                    .filter(|(name, followed)| {
                        followed.place.as_ref() == Some(&place) && !is_shown.contains(name)
                    })
                    .map(|(name, _)| name.clone()),
            );
            looks.extend(shown);
        }
        looks.extend(self.look_at_each(alone).await);
        looks
    }

    /// The page, if it could be listed; what a refusal means for the looks to come.
    fn listed(&mut self, page: Result<Page, CallError>) -> Option<Page> {
        page.inspect_err(|error| {
            tracing::warn!(
                error = error.to_string(),
                "the deployments that are followed could not be listed"
            );
            self.may_list &= error.is_transient();
        })
        .ok()
    }

    /// What a page shows of those that are followed.
    fn shown_on(&self, page: &Page) -> Vec<Look> {
        let of_ours = page.deployments.iter().filter_map(|deployment| {
            let name = &deployment.environment.name;
            let followed = self.followed.get(name)?;
            deployment
                .is_same_as(&followed.deployment)
                .then(|| (name.clone(), Ok(Sight::Of(Box::new(deployment.clone())))))
        });
        of_ours.collect()
    }

    async fn look_at_each(&self, names: impl IntoIterator<Item = EnvironmentName>) -> Vec<Look> {
        let looks: FuturesUnordered<_> = names
            .into_iter()
            .filter_map(|name| {
                let deployment = &self.followed.get(&name)?.deployment;
                Some(async move {
                    let look = self.once(|| self.calls.engine().look_at(deployment));
                    (name, look.await)
                })
            })
            .collect();
        looks.collect().await
    }

    /// Looks for those of which no page is known, by the pages of the listing in their order, as
    /// many as there are of them. Where the listing is longer, each is looked at by itself from then
    /// on; where it ends without showing one, that one is looked at by itself.
    async fn look_for(&mut self, mut names: BTreeSet<EnvironmentName>) -> Vec<Look> {
        let mut looks = Vec::new();
        let mut place = Place::FIRST;
        for _ in 0..names.len() {
            let page = self.once(|| self.calls.engine().list(place.token())).await;
            let Some(page) = self.listed(page) else {
                return looks;
            };
            let shown = self.shown_on(&page);
            for (name, _) in &shown {
                names.remove(name);
                if let Some(followed) = self.followed.get_mut(name) {
                    followed.place = Some(place.clone());
                }
            }
            looks.extend(shown);
            match Place::after(&page) {
                Some(_) if names.is_empty() => return looks,
                Some(next) => place = next,
                None => {
                    looks.extend(self.look_at_each(names).await);
                    return looks;
                }
            }
        }
        self.may_list = names.is_empty();
        looks
    }

    /// One attempt; the next look is its repeat.
    async fn once<T, F: Future<Output = Result<T, CallError>>>(
        &self,
        call: impl FnOnce() -> F,
    ) -> Result<T, CallError> {
        let until = self.budget.look_until;
        match self.calls.turn(until).await {
            Some(turn) => self.calls.attempt(&turn, until, call()).await,
            None => Err(CallError::late()),
        }
    }
}
