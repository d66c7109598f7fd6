//! The model of the service: environments whose deployments follow a script, for both engines.
//!
//! The state of a deployment is a function of the time and of the cancels that took effect. So nothing has
//! to be simulated between two calls.

use std::time::Duration;

use proton_canceller::deployment::{Deployment, Environment};
use proton_canceller::engine::EngineKind;

use crate::calls::{At, Read, Reply, Shown, State, Trouble, name, timestamp};

/// The script of a deployment: its course without a cancel, and after a cancel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Script {
    /// The time from the end of the deployment before to the start. For the first one, the start.
    pub(crate) after: Duration,
    pub(crate) takes: Duration,
    pub(crate) end: State,
    /// The time from the start to a cancel by another caller.
    pub(crate) others_cancel_after: Option<Duration>,
    /// The time for which the deployment stays `IN_PROGRESS` after an accepted cancel.
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
    /// True if the accepted cancel was the run's.
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
pub(crate) struct ModelEnvironment {
    /// The deployments to come, the last one first.
    pub(crate) to_come: Vec<Script>,
    pub(crate) started: Vec<Started>,
    /// True if the environment's tag names the alarm.
    pub(crate) is_tagged: bool,
    /// True if the service does not return a deployment's end once a newer deployment has started.
    pub(crate) hides_older_ends: bool,
    /// The deployments that this run's accepted cancels were meant for, and those they hit.
    tokens: Vec<(usize, usize)>,
    /// The calls of the read that is under way, after its first.
    read_on: usize,
}

impl ModelEnvironment {
    pub(crate) fn new(mut scripts: Vec<Script>, is_tagged: bool, hides_older_ends: bool) -> Self {
        scripts.reverse();
        Self {
            to_come: scripts,
            started: Vec::new(),
            is_tagged,
            hides_older_ends,
            tokens: Vec::new(),
            read_on: 0,
        }
    }

    /// Starts and cancels the deployments that are due by now.
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

/// The pages of a listing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paging {
    pub(crate) size: usize,
    /// True if environments that leave the listing shift those after them.
    pub(crate) shifts: bool,
    /// True if the tokens of later pages alternate without end.
    pub(crate) is_endless: bool,
}

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) engine: EngineKind,
    pub(crate) environments: Vec<ModelEnvironment>,
    pub(crate) paging: Paging,
    /// True if the service returns when a deployment ended.
    pub(crate) returns_end_times: bool,
    pub(crate) ends: Ends,
}

/// How a read shows the end of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// With its first call.
    AtOnce,
    /// With its last call. The first one may show the end of the latest deployment.
    AfterMore { calls: usize, first_shows_it: bool },
}

impl Service {
    /// Returns the latest deployment of an environment.
    pub(crate) fn latest(&mut self, environment: usize, now: At) -> Option<Shown> {
        let model = &mut self.environments[environment];
        model.advance(now);
        let deployment = model.started.len().checked_sub(1)?;
        Some(self.shown(environment, deployment, now))
    }

    fn shown(&self, environment: usize, deployment: usize, now: At) -> Shown {
        let state = self.environments[environment].started[deployment].state(now);
        Shown {
            environment,
            deployment,
            state,
        }
    }

    /// Returns the deployment as the service describes it.
    pub(crate) fn describe(&self, shown: Shown) -> Deployment {
        let Shown {
            environment,
            deployment,
            state,
        } = shown;
        let started = &self.environments[environment].started[deployment];
        Deployment {
            environment: Environment::named(name(environment)),
            id: started
                .script
                .has_id
                .then(|| format!("{environment}.{deployment}")),
            started_at: started.script.start_is_known.then(|| timestamp(started.at)),
            status: state.status(),
            message: None,
            ended_at: (self.returns_end_times && state.is_end())
                .then(|| timestamp(started.ends_at())),
            moved_start: None,
        }
    }

    /// Returns the deployment of a description. If its ID and start are unknown, the latest one.
    pub(crate) fn meant(&self, environment: usize, described: &Deployment) -> usize {
        let started = &self.environments[environment].started;
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

    /// Returns the number of pages of the listing.
    pub(crate) fn pages(&mut self, now: At) -> usize {
        let count = if self.paging.shifts {
            (0..self.environments.len())
                .filter(|one| self.listed(*one, now).is_some())
                .count()
        } else {
            self.environments.len()
        };
        count.div_ceil(self.paging.size).max(1)
    }

    /// Returns the latest deployment. `None` if the listing does not show the environment.
    fn listed(&mut self, environment: usize, now: At) -> Option<Shown> {
        let shown = self.latest(environment, now)?;
        match self.engine {
            EngineKind::Proton => Some(shown),
            EngineKind::CloudFormation => Some(shown).filter(|shown| !shown.state.is_end()),
        }
    }

    pub(crate) fn list(&mut self, page: usize, now: At) -> Reply {
        let Paging {
            size,
            shifts,
            is_endless,
        } = self.paging;
        let from = page * size;
        let (shown, count, more): (Vec<_>, _, _) = if shifts {
            let all: Vec<_> = (0..self.environments.len())
                .filter_map(|one| self.listed(one, now))
                .collect();
            let page: Vec<_> = all.iter().copied().skip(from).take(size).collect();
            (page.clone(), page.len(), from + size < all.len())
        } else {
            let range =
                from.min(self.environments.len())..(from + size).min(self.environments.len());
            let count = range.len();
            let page = range.filter_map(|one| self.listed(one, now)).collect();
            (page, count, from + size < self.environments.len())
        };
        let next = match is_endless {
            true if page >= 2 => Some(1),
            true => Some(page + 1),
            false => more.then_some(page + 1),
        };
        Reply::Page {
            shown,
            count: count as u64,
            next,
        }
    }

    pub(crate) fn read_environment(&mut self, environment: usize, now: At) -> Reply {
        Reply::Environment(self.latest(environment, now))
    }

    pub(crate) fn tag(&mut self, environment: usize, now: At) -> Reply {
        let latest = match self.engine {
            EngineKind::Proton => None,
            EngineKind::CloudFormation => self.latest(environment, now),
        };
        Reply::Tag(self.environments[environment].is_tagged, latest)
    }

    pub(crate) fn read(
        &mut self,
        environment: usize,
        meant: usize,
        goes_on: bool,
        now: At,
    ) -> Reply {
        let Some(latest) = self.latest(environment, now) else {
            return Reply::Failed(Trouble::Refused);
        };
        let model = &self.environments[environment];
        let script = model.started[meant].script;
        let of_meant = self.shown(environment, meant, now);
        let is_latest = latest.deployment == meant;
        let is_anonymous = !script.has_id && !script.start_is_known;
        let read = match self.engine {
            EngineKind::Proton if is_anonymous => Read::Of(latest),
            EngineKind::Proton if script.has_id || is_latest => Read::Of(of_meant),
            EngineKind::Proton => Read::Superseded,
            EngineKind::CloudFormation if is_latest => Read::Of(of_meant),
            EngineKind::CloudFormation => {
                let mut hits = model.tokens.iter();
                match hits.find(|(token, hit)| *token == meant && *hit != meant) {
                    Some((_, hit)) => Read::HitNewer {
                        meant: of_meant,
                        newer: self.shown(environment, *hit, now),
                    },
                    None if model.hides_older_ends => Read::Superseded,
                    None => Read::Of(of_meant),
                }
            }
        };
        let is_running = matches!(read, Read::Of(shown) if !shown.state.is_end());
        let ends = self.ends;
        let model = &mut self.environments[environment];
        model.read_on = if goes_on { model.read_on + 1 } else { 0 };
        match ends {
            Ends::AfterMore {
                calls,
                first_shows_it,
            } if !is_running && model.read_on < calls => {
                let is_known = first_shows_it && is_latest && of_meant.state != State::Deleting;
                Reply::More(is_known.then_some(read))
            }
            Ends::AtOnce | Ends::AfterMore { .. } => Reply::Reading(read),
        }
    }

    /// Cancels the current deployment. Returns the deployment that was hit.
    pub(crate) fn cancel(
        &mut self,
        environment: usize,
        meant: usize,
        now: At,
    ) -> (Reply, Option<usize>) {
        let Some(latest) = self.latest(environment, now) else {
            return (Reply::Failed(Trouble::Refused), None);
        };
        let model = &mut self.environments[environment];
        let is_repeat = model.tokens.iter().any(|(token, _)| *token == meant);
        if self.engine == EngineKind::CloudFormation && is_repeat {
            return (Reply::Failed(Trouble::Repeat), None);
        }
        let hit = &mut model.started[latest.deployment];
        if latest.state != State::InProgress || hit.accepted_at.is_some() {
            return (Reply::Failed(Trouble::Conflict), None);
        }
        hit.accepted_at = Some(now);
        hit.is_ours = true;
        model.tokens.push((meant, latest.deployment));
        let shown = self.shown(environment, latest.deployment, now);
        let reply = match self.engine {
            EngineKind::Proton => Reply::Accepted(Some(shown)),
            EngineKind::CloudFormation => Reply::Accepted(None),
        };
        (reply, Some(latest.deployment))
    }
}
