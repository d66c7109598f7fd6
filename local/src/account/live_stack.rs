//! A stack that lives: its operations, its events, and what is due next.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, SystemTime};

use crate::account::stack::{
    Stack, StackHappening, StackWhat, USER_INITIATED, Update, UpdateEnding,
};
use crate::account::status::{Kind, StackStatus};
use crate::identity::Identities;
use crate::proton::Phase;
use crate::wire::operation::Operation;
use crate::wire::time::rfc3339;
use crate::world::{Moment, Status, When};

/// How long an operation took that had ended before the world started.
const USUAL_DURATION: Duration = Duration::from_mins(4);

/// How long an update had been running when its rollback began, before the world started.
const USUAL_DURATION_TO_ROLLBACK: Duration = Duration::from_mins(1);

/// How many operations `LastOperations` holds. AWS does not say.
const LAST_OPERATIONS: usize = 5;

/// Why an update fails that does not say why.
const USUAL_FAILURE: &str = "The following resource(s) failed to update: [Subnet].";

/// A stack that lives, or lived.
#[derive(Debug)]
pub(crate) struct LiveStack {
    pub(crate) script: Stack,
    pub(crate) id: String,
    pub(crate) created: SystemTime,
    pub(crate) deleted: Option<SystemTime>,
    pub(crate) last_updated: Option<SystemTime>,
    pub(crate) latest: LiveUpdate,
    /// Oldest first.
    pub(crate) events: Vec<StackEvent>,
    /// What resource events are about: the logical id, the type and the physical id.
    pub(crate) resource: (String, String, String),
    start: SystemTime,
    earlier: Vec<LiveUpdate>,
    /// Oldest first: type and id.
    operations: Vec<(&'static str, String)>,
    pending: Vec<StackHappening>,
    /// How many calls concerned it.
    calls: HashMap<(Phase, Operation), u64>,
}

/// An operation on a stack: mostly an update.
#[derive(Debug)]
pub(crate) struct LiveUpdate {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) status: StackStatus,
    pub(crate) reason: Option<String>,
    pub(crate) started: SystemTime,
    /// When it reached its present status.
    pub(crate) changed: SystemTime,
    pub(crate) completed: Option<SystemTime>,
    pub(crate) cancelled_at: Option<SystemTime>,
    script: Update,
    token: String,
    cancel_token: Option<String>,
    /// The id of the rollback, once it began.
    rollback: Option<String>,
    steps: VecDeque<(SystemTime, Step)>,
}

/// What happens to an operation, when its time has come.
#[derive(Debug)]
enum Step {
    Begin(UpdateEnding),
    Become(StackStatus, Option<String>),
}

/// An event of a stack or of its one resource.
#[derive(Clone, Debug)]
pub(crate) struct StackEvent {
    pub(crate) id: String,
    pub(crate) time: SystemTime,
    pub(crate) is_of_resource: bool,
    pub(crate) status: StackStatus,
    pub(crate) reason: Option<String>,
    pub(crate) operation: Option<String>,
    pub(crate) token: Option<String>,
}

/// What is due next in a stack's life.
enum Due {
    Step,
    Pending(usize),
}

impl LiveStack {
    /// One whose latest operation is this when the world starts.
    pub(crate) fn new(
        script: &Stack,
        update: &Update,
        id: String,
        start: SystemTime,
        identities: &mut Identities,
    ) -> Self {
        let started = update.started.seen_from(start);
        let created = match update.kind() {
            Kind::Create | Kind::Review => started,
            Kind::Update | Kind::Import | Kind::Delete => script.created.seen_from(start),
        };
        let mut stack = Self {
            id,
            created,
            deleted: None,
            last_updated: None,
            latest: LiveUpdate::starting(
                &Update::of_status(StackStatus::CreateComplete),
                created,
                identities,
            ),
            events: Vec::new(),
            resource: (
                "Subnet".to_owned(),
                "AWS::EC2::Subnet".to_owned(),
                "subnet-0a1b2c3d4e5f60718".to_owned(),
            ),
            start,
            earlier: Vec::new(),
            operations: Vec::new(),
            pending: script.happenings.clone(),
            calls: HashMap::new(),
            script: script.clone(),
        };
        let mut history = Vec::new();
        if created != started {
            history.push((Update::of_status(StackStatus::CreateComplete), created));
            let success = script
                .last_success
                .filter(|_| update.status != StackStatus::UpdateComplete);
            if let Some(moment) = success {
                let success = Update::settled(UpdateEnding::succeeded());
                history.push((success, moment.seen_from(start)));
            }
        }
        history.push((update.clone(), started));
        for (index, (update, started)) in history.into_iter().enumerate() {
            let next = LiveUpdate::starting(&update, started, identities);
            if index == 0 {
                stack.latest = next;
            } else {
                stack
                    .earlier
                    .push(std::mem::replace(&mut stack.latest, next));
            }
            stack.retrace(identities);
        }
        if script.follows_parent() {
            stack.latest.steps.clear();
        }
        // A script may have things happen in an order of its own.
        stack.events.sort_by_key(|event| event.time);
        stack
    }

    /// One that stands in the place of a deleted one.
    fn replacing(
        script: &Stack,
        id: String,
        update: &Update,
        at: SystemTime,
        identities: &mut Identities,
    ) -> Self {
        let update = update.clone().started(Moment::At(at));
        let script = Stack {
            update: Some(update.clone()),
            created: Moment::At(at),
            last_success: None,
            happenings: Vec::new(),
            ..script.clone()
        };
        Self::new(&script, &update, id, at, identities)
    }

    /// The operations, oldest first.
    pub(crate) fn updates(&self) -> impl Iterator<Item = &LiveUpdate> {
        self.earlier.iter().chain(std::iter::once(&self.latest))
    }

    /// Type and id of the last operations, newest first.
    pub(crate) fn last_operations(&self) -> impl Iterator<Item = &(&'static str, String)> {
        self.operations.iter().rev().take(LAST_OPERATIONS)
    }

    /// Brings the latest operation to the status with which the world starts.
    fn retrace(&mut self, identities: &mut Identities) {
        let started = self.latest.started;
        let status = self.latest.script.status;
        let reason = self.latest.script.reason.clone();
        let base = started.max(self.start);
        let usual = if status.is_settled() {
            USUAL_DURATION
        } else {
            USUAL_DURATION_TO_ROLLBACK
        };
        let took = base.duration_since(started).unwrap_or_default().min(usual);
        let way = status.way();
        let parts = u32::try_from(way.len()).unwrap_or(1).max(2) - 1;
        self.open(identities);
        for (index, step) in way.iter().enumerate() {
            let part = took * u32::try_from(index).unwrap_or_default() / parts;
            let reason = if *step == status && (reason.is_some() || !step.begins_rollback()) {
                reason.clone()
            } else if step.begins_rollback() {
                // Only who was cancelled is rolled back without a failure.
                if *step == status {
                    self.latest.cancelled_at = Some(started + part);
                    Some(USER_INITIATED.to_owned())
                } else {
                    Some(USUAL_FAILURE.to_owned())
                }
            } else {
                None
            };
            self.enter(*step, reason, started + part, identities);
        }
        self.latest.steps = if status.is_settled() {
            VecDeque::new()
        } else if way.len() == 1 {
            self.latest.ends_by_itself(base)
        } else {
            let ending = if status == StackStatus::UpdateCompleteCleanupInProgress {
                UpdateEnding::succeeded()
            } else {
                self.latest.script.when_cancelled.clone()
            };
            course_from(Some(status), &ending, None, base)
        };
    }

    /// Writes down that the latest operation started.
    fn open(&mut self, identities: &mut Identities) {
        let kind = self.latest.kind;
        if kind == Kind::Update && self.latest.script.is_by_change_set {
            self.operations
                .push(("CREATE_CHANGESET", identities.uuid()));
        }
        let operation = (kind.operation_type(), self.latest.id.clone());
        self.operations.push(operation);
        if kind == Kind::Update {
            self.last_updated = Some(self.latest.started);
        }
    }

    /// Starts an operation now.
    fn begin(&mut self, script: &Update, at: SystemTime, identities: &mut Identities) {
        let next = LiveUpdate::starting(script, at, identities);
        let before = std::mem::replace(&mut self.latest, next);
        self.earlier.push(before);
        self.open(identities);
        let first = script.status.way().first().copied();
        self.enter(first.unwrap_or(script.status), None, at, identities);
        self.latest.steps = self.latest.ends_by_itself(at);
    }

    /// Gives the latest operation a status.
    pub(crate) fn enter(
        &mut self,
        status: StackStatus,
        reason: Option<String>,
        at: SystemTime,
        identities: &mut Identities,
    ) {
        if status.begins_rollback() {
            let id = identities.uuid();
            self.operations.push(("ROLLBACK", id.clone()));
            self.latest.rollback = Some(id);
            if self.latest.kind == Kind::Update && self.script.rollback_moves_last_updated {
                self.last_updated = Some(at);
            }
        }
        let is_first = status.way().len() == 1;
        let reason = reason.or_else(|| is_first.then(|| USER_INITIATED.to_owned()));
        if status == StackStatus::DeleteComplete {
            self.deleted = Some(at);
        }
        let latest = &mut self.latest;
        latest.status = status;
        latest.reason.clone_from(&reason);
        latest.changed = at;
        latest.completed = status.is_settled().then_some(at);
        self.tell_of_resource(status, at);
        self.events.push(StackEvent {
            id: identities.uuid(),
            time: at,
            is_of_resource: false,
            status,
            reason,
            operation: self.event_operation(),
            token: self.event_token(),
        });
    }

    /// The stack's resource changes before the stack does.
    fn tell_of_resource(&mut self, status: StackStatus, at: SystemTime) {
        let was_cancelled = self.latest.cancelled_at.is_some();
        let is_update = self.latest.kind == Kind::Update;
        let (status, reason) = if is_update && status.is_cleanup() {
            (StackStatus::UpdateComplete, None)
        } else if is_update && (status.begins_rollback() || status == StackStatus::UpdateFailed) {
            let reason = if was_cancelled {
                "Resource update cancelled"
            } else {
                "Resource handler returned message: \"the subnet is in use\" (HandlerErrorCode: GeneralServiceException)"
            };
            (StackStatus::UpdateFailed, Some(reason.to_owned()))
        } else {
            return;
        };
        let (logical, ..) = &self.resource;
        self.events.push(StackEvent {
            id: format!("{logical}-{status}-{}", rfc3339(at)),
            time: at,
            is_of_resource: true,
            status,
            reason,
            operation: self.event_operation(),
            token: self.event_token(),
        });
    }

    /// A rollback is an operation of its own.
    fn event_operation(&self) -> Option<String> {
        let LiveUpdate {
            rollback, id, kind, ..
        } = &self.latest;
        (*kind != Kind::Review).then(|| rollback.as_ref().unwrap_or(id).clone())
    }

    /// A rollback keeps the update's token, unless a cancel brought its own.
    fn event_token(&self) -> Option<String> {
        let LiveUpdate {
            token,
            cancel_token,
            cancelled_at,
            kind,
            ..
        } = &self.latest;
        match (kind, cancelled_at) {
            (Kind::Review, _) => None,
            (_, Some(_)) => cancel_token.clone(),
            (_, None) => Some(token.clone()),
        }
    }

    /// Somebody cancels the update. Says whether it was in progress.
    pub(crate) fn cancel(
        &mut self,
        token: Option<String>,
        at: SystemTime,
        identities: &mut Identities,
    ) -> bool {
        if self.latest.status != StackStatus::UpdateInProgress || self.script.follows_parent() {
            return false;
        }
        let ending = self.latest.script.when_cancelled.clone();
        if ending.status == StackStatus::UpdateComplete {
            self.end(&ending, at, identities);
            return false;
        }
        self.latest.cancelled_at = Some(at);
        self.latest.cancel_token = token;
        self.latest.steps = course(&ending, Some(USER_INITIATED), at);
        self.step_until(at, identities);
        true
    }

    /// The latest operation starts to end so.
    fn end(&mut self, ending: &UpdateEnding, at: SystemTime, identities: &mut Identities) {
        let status = self.latest.status;
        let since_now = (status.way().len() > 1).then_some(status);
        self.latest.steps = course_from(since_now, ending, None, at);
        self.step_until(at, identities);
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
            Some((at, Step::Begin(ending))) => self.latest.steps = course(&ending, None, at),
            Some((at, Step::Become(status, reason))) => {
                self.enter(status, reason, at, identities);
            }
            None => {}
        }
    }

    /// Counts a call, and makes due what waited for it.
    pub(crate) fn meet(&mut self, moment: (Phase, Operation), now: SystemTime) {
        let count = self.calls.entry(moment).or_default();
        *count += 1;
        let met = match moment {
            (Phase::Arrived, operation) => When::BeforeCall(operation, *count),
            (Phase::CarriedOut, operation) => When::AfterCall(operation, *count),
        };
        let at = When::At(now.duration_since(self.start).unwrap_or_default());
        for happening in &mut self.pending {
            if happening.when == met {
                happening.when = at.clone();
            }
        }
    }

    /// Lets everything happen that is due. What stands in its place afterwards, if it is another
    /// stack, gets the id that `name_id` makes.
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
                    let happening = self.pending.remove(index);
                    let at = at.max(self.latest.changed);
                    match happening.what {
                        StackWhat::Update(script) => self.begin(&script, at, identities),
                        StackWhat::End(ending) => {
                            let status = self.latest.status;
                            let can_end_so = match status.deployment_status() {
                                // One that is being cleaned up after has ended.
                                Some(Status::Succeeded) => false,
                                // One that is rolled back ends as its rollback does.
                                Some(Status::Cancelling) => matches!(
                                    ending.status,
                                    StackStatus::UpdateRollbackComplete
                                        | StackStatus::UpdateRollbackFailed
                                ),
                                _ => true,
                            };
                            if !status.is_settled() && can_end_so {
                                self.end(&ending, at, identities);
                            }
                        }
                        StackWhat::Cancel => {
                            self.cancel(None, at, identities);
                        }
                        StackWhat::Delete => self.delete(at, identities),
                        StackWhat::Replace(update) => {
                            self.delete(at, identities);
                            let id = name_id(&self.script.name, identities);
                            let mut next =
                                Self::replacing(&self.script, id, &update, at, identities);
                            next.pending = std::mem::take(&mut self.pending);
                            next.start = self.start;
                            return Some(next);
                        }
                    }
                }
            }
        }
        None
    }

    fn delete(&mut self, at: SystemTime, identities: &mut Identities) {
        let script = Update::of_status(StackStatus::DeleteComplete);
        self.begin(&script, at, identities);
        self.enter(StackStatus::DeleteComplete, None, at, identities);
    }

    fn next_due(&self) -> Option<(SystemTime, Due)> {
        let step = self.latest.steps.front().map(|(at, _)| (*at, Due::Step));
        let mut is_first_after_end = true;
        let pending = self
            .pending
            .iter()
            .enumerate()
            .filter_map(|(index, happening)| {
                let at = match &happening.when {
                    When::At(later) => self.start.checked_add(*later),
                    When::AfterEnd(later) if is_first_after_end => {
                        is_first_after_end = false;
                        let ended = self.latest.completed?.max(self.start);
                        ended.checked_add(*later)
                    }
                    When::AfterEnd(_) | When::BeforeCall(..) | When::AfterCall(..) => None,
                }?;
                match &happening.what {
                    // It waits for the one before it.
                    StackWhat::Update(_) => Some((self.latest.completed?.max(at), index)),
                    StackWhat::End(_)
                    | StackWhat::Cancel
                    | StackWhat::Delete
                    | StackWhat::Replace(_) => Some((at, index)),
                }
            })
            .map(|(at, index)| (at, Due::Pending(index)));
        step.into_iter().chain(pending).min_by_key(|(at, _)| *at)
    }

    /// A nested stack does what its parent did.
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
            self.begin(&Update::of_status(status), at, identities);
        }
        if self.latest.status != status {
            self.enter(status, None, at, identities);
        }
    }
}

impl LiveUpdate {
    fn starting(script: &Update, started: SystemTime, identities: &mut Identities) -> Self {
        let first = script.status.way().first().copied();
        Self {
            id: script.id.clone().unwrap_or_else(|| identities.uuid()),
            kind: script.kind(),
            status: first.unwrap_or(script.status),
            reason: None,
            started,
            changed: started,
            completed: None,
            cancelled_at: None,
            script: script.clone(),
            token: script.token.clone().unwrap_or_else(|| identities.uuid()),
            cancel_token: None,
            rollback: None,
            steps: VecDeque::new(),
        }
    }

    fn ends_by_itself(&self, base: SystemTime) -> VecDeque<(SystemTime, Step)> {
        self.script
            .left_alone
            .iter()
            .filter_map(|(after, ending)| {
                Some((base.checked_add(*after)?, Step::Begin(ending.clone())))
            })
            .collect()
    }
}

/// The statuses through which an update in progress comes to its end, from now on.
fn course(
    ending: &UpdateEnding,
    cancelled: Option<&str>,
    now: SystemTime,
) -> VecDeque<(SystemTime, Step)> {
    course_from(None, ending, cancelled, now)
}

/// The statuses that lie between this one, which it has since now, and the end.
fn course_from(
    since_now: Option<StackStatus>,
    ending: &UpdateEnding,
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
            let reason = if *status == ending.status {
                ending.reason.clone()
            } else if status.begins_rollback() {
                Some(why.unwrap_or(USUAL_FAILURE).to_owned())
            } else {
                None
            };
            let step = (at, Step::Become(*status, reason));
            at += lasts(*status);
            step
        })
        .collect()
}
