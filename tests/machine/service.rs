//! The model of the service: environments whose deployments follow a script, for both engines.
//!
//! Where a deployment stands is a function of the time and of the cancels that took effect, so nothing
//! has to happen between two calls.

use std::time::Duration;

use proton_canceller::deployment::{Deployment, Environment};
use proton_canceller::engine::EngineKind;

use crate::calls::{Answer, At, Read, Shown, State, Trouble, name, timestamp};

/// What a deployment does unless somebody cancels it, and what it does then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Script {
    /// How long after the end of the one before it starts. The first starts at this time.
    pub(crate) after: Duration,
    pub(crate) takes: Duration,
    pub(crate) end: State,
    /// When somebody else cancels it, counted from its start.
    pub(crate) others_cancel_after: Option<Duration>,
    /// How long an accepted cancel shows nothing.
    pub(crate) lag: Duration,
    pub(crate) cancel_takes: Duration,
    pub(crate) cancel_end: State,
    pub(crate) has_id: bool,
    pub(crate) start_is_known: bool,
}

/// A deployment that has started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Started {
    pub(crate) script: Script,
    pub(crate) at: At,
    /// When a cancel was accepted.
    pub(crate) accepted_at: Option<At>,
    /// True if the run's cancel was accepted, and nobody else's.
    pub(crate) is_ours: bool,
}

impl Started {
    fn new(script: Script, at: At) -> Self {
        Self {
            script,
            at,
            accepted_at: None,
            is_ours: false,
        }
    }

    pub(crate) fn ends_at(&self) -> At {
        match self.accepted_at {
            Some(accepted) => accepted + self.script.lag + self.script.cancel_takes,
            None => self.at + self.script.takes,
        }
    }

    pub(crate) fn state(&self, now: At) -> State {
        match self.accepted_at {
            Some(accepted) if now < accepted + self.script.lag => State::InProgress,
            Some(_) if now < self.ends_at() => State::Cancelling,
            Some(_) => self.script.cancel_end,
            None if now < self.ends_at() => State::InProgress,
            None => self.script.end,
        }
    }
}

/// An environment of the model.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// The deployments to come, the last one first.
    pub(crate) to_come: Vec<Script>,
    pub(crate) started: Vec<Started>,
    /// True if its tag allows the alarm.
    pub(crate) is_tagged: bool,
    /// True if nothing tells how a deployment ended once a newer one is in place.
    pub(crate) forgets: bool,
    /// The deployments that this run's accepted cancels were meant for, and those they hit.
    tokens: Vec<(usize, usize)>,
}

impl Site {
    pub(crate) fn new(mut scripts: Vec<Script>, is_tagged: bool, forgets: bool) -> Self {
        scripts.reverse();
        Self {
            to_come: scripts,
            started: Vec::new(),
            is_tagged,
            forgets,
            tokens: Vec::new(),
        }
    }

    /// Lets happen what has happened by now.
    pub(crate) fn advance(&mut self, now: At) {
        loop {
            let next = self.to_come.last().copied();
            let starts_at = match self.started.last_mut() {
                Some(last) => {
                    let cancelled_at = last.script.others_cancel_after.map(|after| last.at + after);
                    if let Some(cancelled_at) = cancelled_at
                        && cancelled_at <= now
                        && last.accepted_at.is_none()
                        && cancelled_at < last.ends_at()
                    {
                        last.accepted_at = Some(cancelled_at);
                    }
                    next.map(|next| last.ends_at() + next.after)
                }
                None => next.map(|next| next.after),
            };
            match (next, starts_at) {
                (Some(next), Some(at)) if at <= now => {
                    self.started.push(Started::new(next, at));
                    self.to_come.pop();
                }
                _ => return,
            }
        }
    }
}

/// How a listing is cut into pages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paging {
    pub(crate) size: usize,
    /// True if what leaves the listing shifts what comes after it.
    pub(crate) shifts: bool,
    /// True if the tokens of later pages alternate for ever.
    pub(crate) is_endless: bool,
}

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) engine: EngineKind,
    pub(crate) sites: Vec<Site>,
    pub(crate) paging: Paging,
    /// True if the service says when a deployment ended.
    pub(crate) tells_ends: bool,
}

impl Service {
    /// The latest deployment of an environment.
    pub(crate) fn latest(&mut self, environment: usize, now: At) -> Option<Shown> {
        let site = &mut self.sites[environment];
        site.advance(now);
        let deployment = site.started.len().checked_sub(1)?;
        Some(self.shown(environment, deployment, now))
    }

    fn shown(&self, environment: usize, deployment: usize, now: At) -> Shown {
        let state = self.sites[environment].started[deployment].state(now);
        Shown {
            environment,
            deployment,
            state,
        }
    }

    /// The deployment as the service describes it.
    pub(crate) fn describe(&self, shown: Shown) -> Deployment {
        let Shown {
            environment,
            deployment,
            state,
        } = shown;
        let started = &self.sites[environment].started[deployment];
        Deployment {
            environment: Environment::named(name(environment)),
            id: started
                .script
                .has_id
                .then(|| format!("{environment}.{deployment}")),
            started_at: started.script.start_is_known.then(|| timestamp(started.at)),
            status: state.status(),
            message: None,
            ended_at: (self.tells_ends && state.is_end()).then(|| timestamp(started.ends_at())),
            moved_start: None,
        }
    }

    /// The deployment that a description means, so far as it can be told: the latest, if it cannot.
    pub(crate) fn meant(&self, environment: usize, described: &Deployment) -> usize {
        let started = &self.sites[environment].started;
        let by_id = described
            .id
            .as_ref()
            .and_then(|id| id.split_once('.')?.1.parse().ok());
        let by_start = || {
            let mut all = started.iter();
            all.position(|one| Some(timestamp(one.at)) == described.started_at)
        };
        by_id
            .or_else(by_start)
            .unwrap_or(started.len().saturating_sub(1))
    }

    /// How many pages the listing has.
    pub(crate) fn pages(&mut self, now: At) -> usize {
        let count = if self.paging.shifts {
            (0..self.sites.len())
                .filter(|one| self.listed(*one, now).is_some())
                .count()
        } else {
            self.sites.len()
        };
        count.div_ceil(self.paging.size).max(1)
    }

    /// The latest deployment, if the listing shows the environment.
    fn listed(&mut self, environment: usize, now: At) -> Option<Shown> {
        let shown = self.latest(environment, now)?;
        match self.engine {
            EngineKind::Proton => Some(shown),
            EngineKind::CloudFormation => Some(shown).filter(|shown| !shown.state.is_end()),
        }
    }

    pub(crate) fn list(&mut self, page: usize, now: At) -> Answer {
        let Paging {
            size,
            shifts,
            is_endless,
        } = self.paging;
        let from = page * size;
        let (shown, count, more): (Vec<_>, _, _) = if shifts {
            let all: Vec<_> = (0..self.sites.len())
                .filter_map(|one| self.listed(one, now))
                .collect();
            let page: Vec<_> = all.iter().copied().skip(from).take(size).collect();
            (page.clone(), page.len(), from + size < all.len())
        } else {
            let range = from.min(self.sites.len())..(from + size).min(self.sites.len());
            let count = range.len();
            let page = range.filter_map(|one| self.listed(one, now)).collect();
            (page, count, from + size < self.sites.len())
        };
        let next = match is_endless {
            true if page >= 2 => Some(1),
            true => Some(page + 1),
            false => more.then_some(page + 1),
        };
        Answer::Page {
            shown,
            count: count as u64,
            next,
        }
    }

    pub(crate) fn read_environment(&mut self, environment: usize, now: At) -> Answer {
        Answer::Environment(self.latest(environment, now))
    }

    pub(crate) fn tag(&mut self, environment: usize, now: At) -> Answer {
        let latest = match self.engine {
            EngineKind::Proton => None,
            EngineKind::CloudFormation => self.latest(environment, now),
        };
        Answer::Tag(self.sites[environment].is_tagged, latest)
    }

    pub(crate) fn read(&mut self, environment: usize, meant: usize, now: At) -> Answer {
        let Some(latest) = self.latest(environment, now) else {
            return Answer::Failed(Trouble::Refused);
        };
        let site = &self.sites[environment];
        let script = site.started[meant].script;
        let of_meant = self.shown(environment, meant, now);
        let is_latest = latest.deployment == meant;
        let is_anonymous = !script.has_id && !script.start_is_known;
        Answer::Reading(match self.engine {
            EngineKind::Proton if is_anonymous => Read::Of(latest),
            EngineKind::Proton if script.has_id || is_latest => Read::Of(of_meant),
            EngineKind::Proton => Read::Superseded,
            EngineKind::CloudFormation if is_latest => Read::Of(of_meant),
            EngineKind::CloudFormation => {
                let mut hits = site.tokens.iter();
                match hits.find(|(token, hit)| *token == meant && *hit != meant) {
                    Some((_, hit)) => Read::HitNewer {
                        meant: of_meant,
                        newer: self.shown(environment, *hit, now),
                    },
                    None if site.forgets => Read::Superseded,
                    None => Read::Of(of_meant),
                }
            }
        })
    }

    /// Cancels whatever deployment is current. Returns the one that was hit.
    pub(crate) fn cancel(
        &mut self,
        environment: usize,
        meant: usize,
        now: At,
    ) -> (Answer, Option<usize>) {
        let Some(latest) = self.latest(environment, now) else {
            return (Answer::Failed(Trouble::Refused), None);
        };
        let site = &mut self.sites[environment];
        let is_repeat = site.tokens.iter().any(|(token, _)| *token == meant);
        if self.engine == EngineKind::CloudFormation && is_repeat {
            return (Answer::Failed(Trouble::Repeat), None);
        }
        let hit = &mut site.started[latest.deployment];
        if latest.state != State::InProgress || hit.accepted_at.is_some() {
            return (Answer::Failed(Trouble::Conflict), None);
        }
        hit.accepted_at = Some(now);
        hit.is_ours = true;
        site.tokens.push((meant, latest.deployment));
        let shown = self.shown(environment, latest.deployment, now);
        let answer = match self.engine {
            EngineKind::Proton => Answer::Accepted(Some(shown)),
            EngineKind::CloudFormation => Answer::Accepted(None),
        };
        (answer, Some(latest.deployment))
    }
}
