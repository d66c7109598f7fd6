//! The ledger of a run: at each moment, the facts known from outside, and the machine's next duty for each
//! environment with its time.

use std::collections::BTreeMap;
use std::time::Duration;

use proton_canceller::plan::SkipReason;
use proton_canceller::report::outcome::Outcome;
use proton_canceller::run::{ListPurpose, Note, Report, Word};

use crate::calls::{Asked, At, Called, Read, Reply, START, Shown, State, Trouble, at, number};
use crate::course::{Course, What};
use crate::scenario::{Scenario, Why};

/// Failures in a row after which a call is not repeated.
pub(crate) const MOST_FAILURES: u32 = 9;

/// The machine's next duty for an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// None: the environment is no candidate.
    Unknown,
    /// Read the environment, because a request names it.
    Named,
    /// Read the environment's tag.
    Untagged,
    /// None yet, because rule 7 is open.
    Selected,
    /// Cancel the deployment, or read it before.
    ToCancel,
    /// Read the deployment after a cancel.
    ToRead,
    /// Poll the deployment.
    Followed,
    /// Report the environment at once: as skipped, if there is a reason.
    ToReport(Option<SkipReason>),
    /// None, perhaps: the service was not reached, and may not be reached for the others.
    Held,
    /// None: the last outcome was reported.
    Done,
}

/// The known facts of an environment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) stage: Stage,
    pub(crate) in_flight: Option<usize>,
    /// The latest time of the next call.
    pub(crate) due: At,
    /// The number of failed calls: in a row while the deployment is followed, all of them before.
    pub(crate) failures: u32,
    /// The newest reading, and its time.
    pub(crate) reading: Option<(Shown, At)>,
    /// When the response to a cancel was lost. `None` once the deployment was read.
    pub(crate) lost_at: Option<At>,
    /// When the last cancel was requested.
    pub(crate) cancelled_at: Option<At>,
    /// When the deployment was first reported as `CANCELLING`.
    pub(crate) first_at: Option<At>,
    /// The deployment that is followed.
    pub(crate) followed: usize,
    /// True if the deployment was read by itself for its cancel.
    pub(crate) is_confirmed: bool,
    /// When the last call failed, and true if it was a cancel. `None` if the call succeeded.
    failed_at: Option<(At, bool)>,
    /// The number of calls that were repeated at once.
    pub(crate) hasty: u32,
    /// True if the first calls of a read are made, and not the last one.
    pub(crate) is_read_on: bool,
    /// When an end that the first calls of a read have shown is reported without the others.
    pub(crate) end_due: Option<At>,
}

/// The longest wait for the next call of a read whose first calls have shown the end.
const LONGEST_READ_ON: Duration = Duration::from_millis(800);

/// The shortest wait before a call is repeated.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);

impl Known {
    /// True if a call repeats one that has failed just now.
    pub(crate) fn is_hasty(&self, call: &Called, now: At) -> bool {
        self.failed_at.is_some_and(|(at, is_cancel)| {
            is_cancel == call.asked.is_cancel() && now < at + SHORTEST_WAIT
        })
    }
}

/// The known facts at a moment of a run.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) now: At,
    pub(crate) environments: Vec<Known>,
    /// The latest time of the next call of the first listing. `None` once the listing is complete.
    pub(crate) find_due: Option<At>,
    find_failures: u32,
    found: BTreeMap<usize, (Shown, At)>,
    pub(crate) in_flight: usize,
    pub(crate) refreshing: usize,
    pub(crate) polling: usize,
    pub(crate) is_throttled: bool,
    selected: usize,
    pub(crate) act_until: At,
    settle_timeout: Duration,
    limit: usize,
    is_dry: bool,
    pub(crate) is_follower: bool,
    is_anonymous: Vec<bool>,
}

impl Ledger {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let known = |one: usize| Known {
            stage: match &scenario.why {
                Why::Follow(followed) if *followed == one => Stage::Followed,
                Why::Request(names) if names.contains(&one) => match scenario.name_rule(one) {
                    Some(reason) => Stage::ToReport(Some(reason)),
                    None => Stage::Named,
                },
                _ => Stage::Unknown,
            },
            in_flight: None,
            due: START,
            failures: 0,
            reading: None,
            lost_at: None,
            cancelled_at: None,
            first_at: None,
            followed: 0,
            is_confirmed: false,
            failed_at: None,
            hasty: 0,
            is_read_on: false,
            end_due: None,
        };
        let environments = &scenario.service.environments;
        Self {
            now: START,
            environments: (0..environments.len()).map(known).collect(),
            find_due: matches!(scenario.why, Why::Alarm(_) | Why::Schedule).then_some(START),
            find_failures: 0,
            found: BTreeMap::new(),
            in_flight: 0,
            refreshing: 0,
            polling: 0,
            is_throttled: false,
            selected: 0,
            act_until: at(scenario.limits().budget.act_until),
            settle_timeout: scenario.settle_timeout,
            limit: usize::try_from(scenario.max_cancellations).unwrap(),
            is_dry: scenario.is_dry,
            is_follower: matches!(scenario.why, Why::Follow(_)),
            is_anonymous: environments
                .iter()
                .map(|known| {
                    let mut scripts = known
                        .to_come
                        .iter()
                        .chain(known.started.iter().map(|one| &one.script));
                    scripts.any(|script| !script.has_id && !script.start_is_known)
                })
                .collect(),
        }
    }

    /// True if the machine may have another call in flight.
    pub(crate) fn has_permit(&self, concurrency: usize) -> bool {
        self.in_flight < concurrency
    }

    /// Returns when the wait ends for a deployment that was first reported at this time.
    pub(crate) fn wait_ends(&self, first_at: At) -> At {
        first_at.max((first_at + self.settle_timeout).min(self.act_until))
    }

    /// True if deployments of an environment have neither an ID nor a start.
    pub(crate) fn is_anonymous(&self, environment: usize) -> bool {
        self.is_anonymous[environment]
    }

    /// Applies an event of the run.
    pub(crate) fn apply(&mut self, course: &Course, what: &What) {
        match what {
            What::Asked(number) => self.asked(*number, &course.calls[*number]),
            What::Responded(number) => self.responded(course, &course.calls[*number]),
            What::Reported(Report::Outcome(outcome, word)) => {
                self.reported(course, outcome, *word);
            }
            What::Reported(Report::Note(Note::NotRead(name, _))) => {
                // After the last repeat, the next poll is due as if the deployment had been read.
                let known = &mut self.environments[number(name)];
                (known.is_read_on, known.end_due) = (false, None);
                known.failures = 0;
                known.due = self.now + poll_wait(self.now - known.first_at.unwrap_or(START));
            }
            What::Reported(Report::Note(_)) | What::Waits(_) | What::Done => {}
        }
    }

    fn asked(&mut self, number: usize, call: &Called) {
        self.in_flight += 1;
        match call.asked {
            Asked::List { purpose, .. } => *self.lists(purpose) += 1,
            asked => {
                let known = &mut self.environments[asked.environment().unwrap()];
                known.in_flight = Some(number);
                known.hasty += u32::from(known.is_hasty(call, self.now));
                match asked {
                    Asked::Cancel { .. } => {
                        known.cancelled_at = Some(self.now);
                        known.stage = Stage::ToCancel;
                    }
                    Asked::Read { .. } if known.stage == Stage::Selected => {
                        known.stage = Stage::ToCancel;
                    }
                    Asked::ReadEnvironment(_) => known.stage = Stage::Named,
                    _ => {}
                }
            }
        }
        if call.asked.is_list(ListPurpose::Find) {
            self.find_due = Some(At::MAX);
        }
    }

    fn lists(&mut self, purpose: ListPurpose) -> &mut usize {
        match purpose {
            ListPurpose::Find | ListPurpose::Refresh => &mut self.refreshing,
            ListPurpose::Poll => &mut self.polling,
        }
    }

    fn responded(&mut self, course: &Course, call: &Called) {
        self.in_flight -= 1;
        let reply = call.reply.as_ref().unwrap();
        self.is_throttled |= matches!(reply.trouble(), Some(Trouble::Throttled));
        match (call.asked, reply) {
            (Asked::List { purpose, .. }, reply) => {
                *self.lists(purpose) -= 1;
                match (purpose, reply) {
                    (ListPurpose::Find, reply) => self.found(course, call, reply),
                    (_, Reply::Page { shown, .. }) => {
                        for one in shown {
                            self.page_shows(*one, call.asked_at);
                        }
                    }
                    _ => {}
                }
            }
            (asked, reply) => {
                let environment = asked.environment().unwrap();
                let known = &mut self.environments[environment];
                known.in_flight = None;
                let has_failed = reply.trouble().is_some_and(Trouble::is_transient);
                known.failed_at = has_failed.then_some((self.now, asked.is_cancel()));
                self.responded_for(course, environment, call, reply);
            }
        }
        self.admit();
    }

    /// Applies a page of the first listing.
    fn found(&mut self, course: &Course, call: &Called, reply: &Reply) {
        if let Reply::Page { shown, next, .. } = reply {
            for one in shown {
                self.found.insert(one.environment, (*one, call.asked_at));
            }
            self.find_failures = 0;
            self.find_due = Some(self.now);
            if next.is_none() {
                self.find_due = None;
                for (one, read_at) in std::mem::take(&mut self.found).into_values() {
                    if one.state == State::InProgress {
                        self.decide(course, one, read_at);
                    }
                }
            }
        } else {
            self.find_failures += 1;
            self.find_due = Some(self.now + longest_wait(self.find_failures));
        }
    }

    /// Applies rules 1 to 6 to a deployment that a response shows.
    fn decide(&mut self, course: &Course, shown: Shown, read_at: At) {
        let (scenario, now) = (&course.scenario, self.now);
        let started = &course.service.environments[shown.environment].started[shown.deployment];
        let start = started.script.start_is_known.then_some(started.at);
        let known = &mut self.environments[shown.environment];
        known.reading = Some((shown, read_at));
        known.due = now;
        known.stage = if scenario.asks_tag(shown.environment, start) {
            Stage::Untagged
        } else if let Some(reason) = scenario.rules(shown.environment, start, shown.state, now) {
            Stage::ToReport(Some(reason))
        } else {
            self.selected += 1;
            Stage::Selected
        };
    }

    /// Applies rule 7.
    fn admit(&mut self) {
        let is_open = |known: &&Known| match known.stage {
            Stage::Named | Stage::Untagged => true,
            Stage::Held => known.failures < MOST_FAILURES,
            _ => false,
        };
        let undecided = self.environments.iter().filter(is_open).count();
        let stage = if self.selected > self.limit {
            Stage::ToReport(Some(SkipReason::OverLimit))
        } else if self.selected + undecided > self.limit {
            return;
        } else if self.is_dry {
            Stage::ToReport(None)
        } else {
            Stage::ToCancel
        };
        for known in &mut self.environments {
            if known.stage == Stage::Selected {
                known.stage = stage;
                known.due = self.now;
                known.failures = 0;
            }
        }
    }

    /// True if the selected environments may be admitted. Environments that may have been given up do not
    /// count as undecided.
    pub(crate) fn may_admit(&self) -> bool {
        let is_open = |known: &&Known| matches!(known.stage, Stage::Named | Stage::Untagged);
        self.selected + self.environments.iter().filter(is_open).count() <= self.limit
    }

    /// Applies the response to a call for an environment.
    fn responded_for(&mut self, course: &Course, environment: usize, call: &Called, reply: &Reply) {
        if self.environments[environment].stage == Stage::Done {
            return;
        }
        match reply {
            Reply::Failed(trouble) => self.failed(environment, call, *trouble),
            Reply::Environment(Some(shown)) => self.decide(course, *shown, call.asked_at),
            Reply::Environment(None) => {
                self.environments[environment].stage =
                    Stage::ToReport(Some(SkipReason::NotIncluded));
            }
            Reply::Tag(is_tagged, shown) => self.tagged(environment, *is_tagged, *shown, call),
            Reply::Reading(read) => self.read(environment, *read, call),
            Reply::More(known) => self.read_on(environment, *known),
            Reply::Accepted(_) => self.environments[environment].stage = Stage::ToReport(None),
            Reply::Page { .. } => {}
        }
    }

    fn tagged(&mut self, environment: usize, is_tagged: bool, shown: Option<Shown>, call: &Called) {
        let known = &mut self.environments[environment];
        known.due = self.now;
        if is_tagged {
            self.selected += 1;
            known.stage = Stage::Selected;
        } else {
            known.stage = Stage::ToReport(Some(SkipReason::NotTagged));
        }
        if let Some(shown) = shown {
            known.reading = Some((shown, call.asked_at));
        }
    }

    fn failed(&mut self, environment: usize, call: &Called, trouble: Trouble) {
        let now = self.now;
        let act_until = self.act_until;
        let known = &mut self.environments[environment];
        known.failures += 1;
        let wait = longest_wait(known.failures);
        if call.asked.is_cancel() && trouble.is_doubtful() {
            known.lost_at = Some(now);
        }
        known.due = now + wait;
        match trouble {
            Trouble::Conflict | Trouble::Repeat => {
                known.stage = Stage::ToRead;
                known.due = now;
            }
            Trouble::Unreachable
                if known.stage == Stage::Named
                    && (known.failures >= MOST_FAILURES || known.due >= act_until) =>
            {
                known.stage = Stage::Held;
            }
            _ if !trouble.is_transient() => known.stage = Stage::ToReport(None),
            _ => {}
        }
    }

    /// Applies the response to a call of a read that needs another one.
    fn read_on(&mut self, environment: usize, shown: Option<Read>) {
        let known = &mut self.environments[environment];
        known.is_read_on = true;
        known.due = self.now;
        // The follower reads again if it cannot read to the end.
        let counts = shown.is_some() && !self.is_follower;
        known.end_due = counts.then(|| self.now + LONGEST_READ_ON);
    }

    /// Applies the reading of a deployment.
    fn read(&mut self, environment: usize, read: Read, call: &Called) {
        let now = self.now;
        let known = &mut self.environments[environment];
        (known.is_read_on, known.end_due) = (false, None);
        let shown = match read {
            Read::Of(shown) => shown,
            Read::HitNewer { newer, .. } => {
                known.followed = newer.deployment;
                newer
            }
            Read::Superseded => {
                known.stage = Stage::ToReport(None);
                return;
            }
        };
        known.reading = Some((shown, now));
        known.due = now;
        if shown.state == State::InProgress && known.lost_at.is_some_and(|at| at <= call.asked_at) {
            known.lost_at = None;
        }
        match known.stage {
            _ if shown.state.is_end() => known.stage = Stage::ToReport(None),
            Stage::Followed => {
                known.failures = 0;
                known.due = now + poll_wait(now - known.first_at.unwrap_or(START));
                if known.first_at.is_none() {
                    known.stage = Stage::ToReport(None);
                }
            }
            Stage::ToCancel if shown.state == State::InProgress => known.is_confirmed = true,
            _ => known.stage = Stage::ToReport(None),
        }
    }

    /// Applies the state of an environment on a page that was read for a poll or a refresh.
    fn page_shows(&mut self, shown: Shown, asked_at: At) {
        let (now, is_anonymous) = (self.now, self.is_anonymous(shown.environment));
        let known = &mut self.environments[shown.environment];
        match known.stage {
            Stage::Followed if shown.deployment == known.followed || is_anonymous => {
                let is_end = shown.state.is_end() && !is_anonymous;
                if is_end && shown.state != State::Deleting {
                    known.stage = Stage::ToReport(None);
                } else if !is_end && known.in_flight.is_none() && !known.is_read_on {
                    known.due = now + poll_wait(now - known.first_at.unwrap_or(START));
                }
            }
            Stage::ToCancel => {
                if known.reading.is_none_or(|(_, at)| at <= asked_at) {
                    known.reading = Some((shown, asked_at));
                }
                if shown.state == State::InProgress
                    && known.lost_at.is_some_and(|at| at <= asked_at)
                {
                    known.lost_at = None;
                }
            }
            _ => {}
        }
    }

    fn reported(&mut self, course: &Course, outcome: &Outcome, word: Word) {
        let environment = number(&outcome.environment.name);
        let now = self.now;
        let known = &mut self.environments[environment];
        match word {
            Word::First => {
                known.stage = Stage::Followed;
                known.first_at = Some(now);
                known.failures = 0;
                known.due = now + poll_wait(Duration::ZERO);
                if let Some(deployment) = &outcome.deployment {
                    known.followed = course.service.meant(environment, deployment);
                }
            }
            Word::Last | Word::Unchanged => known.stage = Stage::Done,
        }
        self.admit();
    }

    /// True if the environment's next call may wait for a page that is under way.
    pub(crate) fn may_wait_for_page(&self, known: &Known) -> bool {
        match known.stage {
            _ if known.is_read_on => false,
            Stage::ToCancel => self.refreshing > 0,
            Stage::Followed => self.polling > 0,
            _ => false,
        }
    }
}

/// Returns the longest wait after this number of failures.
pub(crate) fn longest_wait(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(5);
    Duration::from_millis((100 << doublings).min(3000))
}

/// Returns the wait between two polls of a deployment that was followed for this long.
fn poll_wait(followed_for: Duration) -> Duration {
    (followed_for / 2).clamp(Duration::from_millis(250), Duration::from_secs(10))
}
