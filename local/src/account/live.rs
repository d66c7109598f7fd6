//! A live environment: its deployments, and the next change that is due.
//!
//! The same machine drives what Proton and what CloudFormation shows. A stack has a
//! [`StackRecord`] besides and passes through every status on the path to an end; an environment
//! that Proton shows reaches an end in one step.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, SystemTime};

use crate::account::deployment::{Deployment, Ending, Moment};
use crate::account::environment::Environment;
use crate::account::live_deployment::{LiveDeployment, Step};
use crate::account::script::{Effect, ScriptedEvent, Timing};
use crate::account::stack_record::StackRecord;
use crate::account::status::{Kind, StackStatus, Status};
use crate::identity::Identities;
use crate::wire::operation::{Operation, Service};

/// The duration of a deployment that had ended before the world started.
const USUAL_DURATION: Duration = Duration::from_mins(4);

/// The time from the start of a stack's update to its rollback, before the world started.
const USUAL_DURATION_TO_ROLLBACK: Duration = Duration::from_mins(1);

/// CloudFormation's status reason for what a user asked for.
const USER_INITIATED: &str = "User Initiated";

/// The status reason of an update whose script gives none for its failure.
const USUAL_FAILURE: &str = "The following resource(s) failed to update: [Subnet].";

/// The progress of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    /// The call has arrived and has had no effect.
    Arrived,
    /// The call has been carried out.
    CarriedOut,
}

/// An environment that exists, or existed.
#[derive(Debug)]
pub(crate) struct LiveEnvironment {
    pub(crate) script: Environment,
    pub(crate) created: SystemTime,
    pub(crate) deleted: Option<SystemTime>,
    pub(crate) latest: LiveDeployment,
    /// The record that CloudFormation shows; `None` for an environment that Proton shows.
    pub(crate) record: Option<StackRecord>,
    /// The place of the stack that this one is nested in.
    pub(crate) parent: Option<usize>,
    start: SystemTime,
    earlier: Vec<LiveDeployment>,
    pending: Vec<ScriptedEvent>,
    /// The number of calls that concerned the environment.
    calls: HashMap<(Phase, Operation), u64>,
}

/// The next change of an environment.
enum Due {
    Step,
    Pending(usize),
}

impl LiveEnvironment {
    /// Creates an environment whose latest deployment is `latest` when the world starts.
    pub(crate) fn new(
        script: &Environment,
        latest: &Deployment,
        record: Option<StackRecord>,
        start: SystemTime,
        identities: &mut Identities,
    ) -> Self {
        let started = latest.started.seen_from(start);
        let created = match latest.kind() {
            Kind::Create | Kind::Review => started,
            Kind::Update | Kind::Import | Kind::Delete => script.created.seen_from(start),
        };
        let mut latest = latest.clone();
        let mut first = Deployment::of_status(StackStatus::CreateComplete);
        if record.is_none() {
            // The latest deployment gets its ID before those that came before it.
            latest.id.get_or_insert_with(|| identities.uuid());
            first = latest.clone();
        }
        let history = history(script, latest, (created, started), start);
        let is_stack = record.is_some();
        let mut environment = Self {
            latest: LiveDeployment::starting(&first, created, is_stack, identities),
            script: script.clone(),
            created,
            deleted: None,
            record,
            parent: None,
            start,
            earlier: Vec::new(),
            pending: script.events.clone(),
            calls: HashMap::new(),
        };
        for (index, (deployment, started)) in history.into_iter().enumerate() {
            let next = LiveDeployment::starting(&deployment, started, is_stack, identities);
            let before = std::mem::replace(&mut environment.latest, next);
            if index > 0 {
                environment.earlier.push(before);
            }
            environment.retrace(identities);
        }
        if script.follows_parent() {
            environment.latest.steps.clear();
        }
        if let Some(record) = &mut environment.record {
            // A script may put its events in any order.
            record.events.sort_by_key(|event| event.time);
        }
        environment
    }

    /// Creates the environment that replaces this one.
    fn replacement(
        &mut self,
        latest: Deployment,
        at: SystemTime,
        identities: &mut Identities,
        name_id: &impl Fn(&str, &mut Identities) -> String,
    ) -> Self {
        let latest = latest.started(Moment::At(at));
        let script = Environment {
            deployment: Some(latest.clone()),
            created: Moment::At(at),
            last_success: None,
            events: Vec::new(),
            ..self.script.clone()
        };
        let is_stack = self.record.is_some();
        let record = is_stack.then(|| StackRecord::new(name_id(&self.script.name, identities)));
        let mut next = Self::new(&script, &latest, record, at, identities);
        next.pending = std::mem::take(&mut self.pending);
        next.start = self.start;
        next
    }

    /// Returns the deployments, oldest first.
    pub(crate) fn deployments(&self) -> impl Iterator<Item = &LiveDeployment> {
        self.earlier.iter().chain(std::iter::once(&self.latest))
    }

    /// Returns the deployment of this ID.
    pub(crate) fn deployment(&self, id: &str) -> Option<&LiveDeployment> {
        self.deployments().find(|deployment| deployment.id == id)
    }

    /// Returns the newest deployment that succeeded.
    pub(crate) fn last_success(&self) -> Option<&LiveDeployment> {
        self.deployments()
            .filter(|deployment| Status::from(deployment.status) == Status::Succeeded)
            .last()
    }

    /// Brings the latest deployment to the status with which the world starts.
    fn retrace(&mut self, identities: &mut Identities) {
        let started = self.latest.started;
        let status = self.latest.script.status;
        let base = started.max(self.start);
        let usual = if status.is_settled() {
            USUAL_DURATION
        } else if self.record.is_some() {
            USUAL_DURATION_TO_ROLLBACK
        } else {
            Duration::ZERO
        };
        let took = base.duration_since(started).unwrap_or_default().min(usual);
        let way = status.way();
        let parts = u32::try_from(way.len()).unwrap_or(1).max(2) - 1;
        if let Some(record) = &mut self.record {
            record.open(&self.latest, identities);
        }
        for (index, step) in way.iter().enumerate() {
            let at = started + took * u32::try_from(index).unwrap_or_default() / parts;
            let message = self.retraced_message(*step, at);
            self.enter(*step, message, at, identities);
        }
        self.latest.steps = self.steps_from(status, base);
    }

    /// Returns the message that the latest deployment had with a status before the world started.
    fn retraced_message(&mut self, step: StackStatus, at: SystemTime) -> Option<String> {
        let Deployment {
            status, message, ..
        } = &self.latest.script;
        let is_last = step == *status;
        if self.record.is_none() {
            self.latest.cancelled_at = step.begins_rollback().then_some(at).filter(|_| is_last);
            return message.clone();
        }
        if is_last && (message.is_some() || !step.begins_rollback()) {
            message.clone()
        } else if !step.begins_rollback() {
            None
        } else if is_last {
            // Without a failure, only a cancelled update is rolled back.
            self.latest.cancelled_at = Some(at);
            Some(USER_INITIATED.to_owned())
        } else {
            Some(USUAL_FAILURE.to_owned())
        }
    }

    /// Returns the steps of a deployment that has this status when the world starts.
    fn steps_from(&self, status: StackStatus, base: SystemTime) -> VecDeque<(SystemTime, Step)> {
        // Proton does not say how the deletion of an environment goes on.
        let is_deletion = self.record.is_none() && self.latest.kind == Kind::Delete;
        if status.is_settled() || is_deletion {
            return VecDeque::new();
        }
        if status.before().is_none() {
            return self.latest.ends_by_itself(base);
        }
        let ending = if status == StackStatus::UpdateCompleteCleanupInProgress {
            Ending::succeeded()
        } else {
            self.latest.script.end_when_cancelled(self.script.service)
        };
        self.course(Some(status), &ending, None, base)
    }

    /// Starts a deployment now.
    fn begin(&mut self, script: &Deployment, at: SystemTime, identities: &mut Identities) {
        let next = LiveDeployment::starting(script, at, self.record.is_some(), identities);
        let before = std::mem::replace(&mut self.latest, next);
        self.earlier.push(before);
        let message = match &mut self.record {
            Some(record) => {
                record.open(&self.latest, identities);
                None
            }
            None => script.message.clone(),
        };
        self.enter(self.latest.status, message, at, identities);
        self.latest.steps = self.latest.ends_by_itself(at);
    }

    /// Gives the latest deployment a status.
    fn enter(
        &mut self,
        status: StackStatus,
        message: Option<String>,
        at: SystemTime,
        identities: &mut Identities,
    ) {
        let latest = &mut self.latest;
        latest.status = status;
        latest.message = message;
        latest.changed = at;
        latest.completed = status.is_settled().then_some(at);
        let Some(record) = &mut self.record else {
            return;
        };
        if status.begins_rollback() {
            latest.rollback = Some(record.open_rollback(identities));
            if latest.kind == Kind::Update && self.script.rollback_moves_last_updated {
                record.last_updated = Some(at);
            }
        }
        if status.before().is_none() && latest.message.is_none() {
            latest.message = Some(USER_INITIATED.to_owned());
        }
        if status == StackStatus::DeleteComplete {
            self.deleted = Some(at);
        }
        record.add_events(latest, identities);
    }

    /// Cancels the latest deployment. Returns true if it was in progress.
    pub(crate) fn cancel(
        &mut self,
        token: Option<String>,
        at: SystemTime,
        identities: &mut Identities,
    ) -> bool {
        if self.latest.status != StackStatus::UpdateInProgress || self.script.follows_parent() {
            return false;
        }
        let ending = self.latest.script.end_when_cancelled(self.script.service);
        if self.record.is_some() && ending.status == StackStatus::UpdateComplete {
            self.end(&ending, at, identities);
            return false;
        }
        self.latest.cancelled_at = Some(at);
        self.latest.cancel_token = token;
        if self.record.is_some() {
            self.latest.steps = self.course(None, &ending, Some(USER_INITIATED), at);
            self.step_until(at, identities);
        } else {
            let status = StackStatus::UpdateRollbackInProgress;
            self.enter(status, None, at, identities);
            self.latest.steps = self.course(Some(status), &ending, None, at);
        }
        true
    }

    /// Starts the end of the latest deployment.
    fn end(&mut self, ending: &Ending, at: SystemTime, identities: &mut Identities) {
        let status = self.latest.status;
        let is_under_way = self.record.is_some() && status.before().is_some();
        self.latest.steps = self.course(is_under_way.then_some(status), ending, None, at);
        self.step_until(at, identities);
    }

    /// Returns the steps between a status, which the deployment has since now, and the end. Without
    /// a status, the deployment is in progress.
    fn course(
        &self,
        since_now: Option<StackStatus>,
        ending: &Ending,
        cancelled: Option<&str>,
        now: SystemTime,
    ) -> VecDeque<(SystemTime, Step)> {
        if self.record.is_some() {
            return stack_course(since_now, ending, cancelled, now);
        }
        let lasts = since_now.map_or(Duration::ZERO, |_| ending.rollback);
        let step = Step::Become(ending.status, ending.message.clone());
        let at = now.checked_add(lasts);
        at.map(|at| (at, step)).into_iter().collect()
    }

    fn step_until(&mut self, now: SystemTime, identities: &mut Identities) {
        while let Some((at, _)) = self.latest.steps.front()
            && *at <= now
        {
            self.step(identities);
        }
    }

    fn step(&mut self, identities: &mut Identities) {
        match self.latest.steps.pop_front() {
            Some((at, Step::Begin(ending))) => {
                self.latest.steps = self.course(None, &ending, None, at);
            }
            Some((at, Step::Become(status, message))) => {
                self.enter(status, message, at, identities);
            }
            None => {}
        }
    }

    /// Counts a call, and makes the scripted events due that wait for it.
    pub(crate) fn count_call(&mut self, call: (Phase, Operation), now: SystemTime) {
        let count = self.calls.entry(call).or_default();
        *count += 1;
        let reached = match call {
            (Phase::Arrived, operation) => Timing::BeforeCall(operation, *count),
            (Phase::CarriedOut, operation) => Timing::AfterCall(operation, *count),
        };
        let at = Timing::At(now.duration_since(self.start).unwrap_or_default());
        for event in &mut self.pending {
            if event.timing == reached {
                event.timing = at.clone();
            }
        }
    }

    /// Carries out everything that is due. Returns the environment that replaces this one, if a
    /// script says so; `name_id` makes its stack ID.
    pub(crate) fn advance(
        &mut self,
        now: SystemTime,
        identities: &mut Identities,
        name_id: &impl Fn(&str, &mut Identities) -> String,
    ) -> Option<Self> {
        while self.deleted.is_none()
            && let Some((at, due)) = self.next_due()
            && at <= now
        {
            match due {
                Due::Step => self.step(identities),
                Due::Pending(index) => {
                    let effect = self.pending.remove(index).effect;
                    let at = match self.record {
                        Some(_) => at.max(self.latest.changed),
                        None => at,
                    };
                    self.apply(&effect, at, identities);
                    if let Effect::Replace(latest) = effect {
                        return Some(self.replacement(latest, at, identities, name_id));
                    }
                }
            }
        }
        None
    }

    fn apply(&mut self, effect: &Effect, at: SystemTime, identities: &mut Identities) {
        match effect {
            Effect::Deploy(script) => self.begin(script, at, identities),
            Effect::End(ending) => {
                if self.can_end(ending) {
                    self.end(ending, at, identities);
                }
            }
            Effect::Cancel => {
                self.cancel(None, at, identities);
            }
            Effect::Delete | Effect::Replace(_) => self.delete(at, identities),
        }
    }

    /// True if the latest deployment has not ended, and can end so.
    fn can_end(&self, ending: &Ending) -> bool {
        let status = self.latest.status;
        let can_end_so = match status.deployment_status() {
            _ if self.record.is_none() => true,
            // An update that is being cleaned up has ended.
            Some(Status::Succeeded) => false,
            // A rollback ends as a rollback.
            Some(Status::Cancelling) => matches!(
                ending.status,
                StackStatus::UpdateRollbackComplete | StackStatus::UpdateRollbackFailed
            ),
            _ => true,
        };
        !status.is_settled() && can_end_so
    }

    fn delete(&mut self, at: SystemTime, identities: &mut Identities) {
        if self.record.is_some() {
            let status = StackStatus::DeleteComplete;
            self.begin(&Deployment::of_status(status), at, identities);
            self.enter(status, None, at, identities);
        }
        self.deleted = Some(at);
    }

    /// Returns when the next change is due.
    pub(crate) fn due_at(&self) -> Option<SystemTime> {
        let next = self.next_due().filter(|_| self.deleted.is_none());
        next.map(|(at, _)| at)
    }

    /// True if a scripted event waits for a call.
    pub(crate) fn waits_for_call(&self) -> bool {
        let mut pending = self.pending.iter();
        self.deleted.is_none()
            && pending
                .any(|event| matches!(event.timing, Timing::BeforeCall(..) | Timing::AfterCall(..)))
    }

    fn next_due(&self) -> Option<(SystemTime, Due)> {
        let step = self.latest.steps.front().map(|(at, _)| (*at, Due::Step));
        let mut is_first_after_end = true;
        let pending = self
            .pending
            .iter()
            .enumerate()
            .filter_map(|(index, event)| {
                let at = match &event.timing {
                    Timing::At(later) => self.start.checked_add(*later),
                    Timing::AfterEnd(later) if is_first_after_end => {
                        is_first_after_end = false;
                        let ended = self.latest.completed?.max(self.start);
                        ended.checked_add(*later)
                    }
                    Timing::AfterEnd(_) | Timing::BeforeCall(..) | Timing::AfterCall(..) => None,
                }?;
                match &event.effect {
                    // A deployment waits for the end of the one before it.
                    Effect::Deploy(_) => Some((self.latest.completed?.max(at), index)),
                    Effect::End(_) | Effect::Cancel | Effect::Delete | Effect::Replace(_) => {
                        Some((at, index))
                    }
                }
            })
            .map(|(at, index)| (at, Due::Pending(index)));
        step.into_iter().chain(pending).min_by_key(|(at, _)| *at)
    }

    /// Gives a nested stack the status that its parent has since then.
    pub(crate) fn follow(
        &mut self,
        (status, at): (StackStatus, SystemTime),
        identities: &mut Identities,
    ) {
        self.latest.steps.clear();
        if self.latest.status == status {
            return;
        }
        if self.latest.completed.is_some() || status.kind() != self.latest.kind {
            self.begin(&Deployment::of_status(status), at, identities);
        }
        if self.latest.status != status {
            self.enter(status, None, at, identities);
        }
    }
}

/// Returns the deployments before the world started, oldest first, each with its start.
fn history(
    script: &Environment,
    latest: Deployment,
    (created, started): (SystemTime, SystemTime),
    start: SystemTime,
) -> Vec<(Deployment, SystemTime)> {
    let is_stack = script.service == Service::CloudFormation;
    let mut history = Vec::new();
    if is_stack && created != started {
        let creation = Deployment::of_status(StackStatus::CreateComplete);
        history.push((creation, created));
    }
    let is_succeeded = latest.status == StackStatus::UpdateComplete;
    if (!is_stack || created != started)
        && !is_succeeded
        && let Some(moment) = script.last_success
    {
        let success = Deployment::settled(Ending::succeeded());
        history.push((success, moment.seen_from(start)));
    }
    history.push((latest, started));
    history
}

/// Returns the statuses of a stack between one that it has since now, and the end.
fn stack_course(
    since_now: Option<StackStatus>,
    ending: &Ending,
    cancelled: Option<&str>,
    now: SystemTime,
) -> VecDeque<(SystemTime, Step)> {
    let way = ending.status.way();
    let passed = match since_now {
        Some(status) => way
            .iter()
            .position(|step| *step == status)
            .map_or(0, |at| at + 1),
        None => usize::from(way.len() > 1),
    };
    let lasts = |status: StackStatus| {
        if status.begins_rollback() {
            ending.rollback
        } else if status.is_cleanup() {
            ending.cleanup
        } else {
            Duration::ZERO
        }
    };
    let why = cancelled.or(ending.failure.as_deref());
    let mut at = now + since_now.map_or(Duration::ZERO, lasts);
    way.iter()
        .skip(passed)
        .map(|status| {
            let message = if *status == ending.status {
                ending.message.clone()
            } else if status.begins_rollback() {
                Some(why.unwrap_or(USUAL_FAILURE).to_owned())
            } else {
                None
            };
            let step = (at, Step::Become(*status, message));
            at += lasts(*status);
            step
        })
        .collect()
}
