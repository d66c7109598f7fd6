//! The calls of a run and their responses, as simple as the invariants need them. Environments and
//! deployments are numbers, and times count from the model's beginning.

use std::time::Duration;

use proton_canceller::aws::call_error::{CallError, Fault};
use proton_canceller::deployment::{EnvironmentName, NameRule, Status};
use proton_canceller::run::ListPurpose;
use proton_canceller::timestamp::Timestamp;

/// The time since the model's beginning.
pub(crate) type At = Duration;

/// The start of every run. Deployments have started days before.
pub(crate) const START: At = Duration::from_hours(240);

/// The most environments of a scenario.
const MOST_ENVIRONMENTS: usize = 10_000;

/// Converts the model's time to the machine's.
pub(crate) fn timestamp(at: At) -> Timestamp {
    Timestamp::UNIX_EPOCH + at
}

/// Converts the machine's time to the model's.
pub(crate) fn at(time: Timestamp) -> At {
    (time - Timestamp::UNIX_EPOCH).unsigned_abs()
}

/// Returns the name of an environment.
pub(crate) fn name(environment: usize) -> EnvironmentName {
    thread_local! {
        static NAMES: Vec<EnvironmentName> = (0..MOST_ENVIRONMENTS)
            .map(|one| EnvironmentName::parse(&format!("env-{one:03}"), NameRule::CloudFormation))
            .map(Result::unwrap)
            .collect();
    }
    NAMES.with(|names| names[environment].clone())
}

/// Returns the environment with this name.
pub(crate) fn number(name: &EnvironmentName) -> usize {
    name.as_str()[4..].parse().unwrap()
}

/// The state of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    InProgress,
    Cancelling,
    Cancelled,
    Failed,
    Succeeded,
    /// A status that means nothing for a cancel.
    Deleting,
}

impl State {
    pub(crate) fn status(self) -> Status {
        match self {
            Self::InProgress => Status::InProgress,
            Self::Cancelling => Status::Cancelling,
            Self::Cancelled => Status::Cancelled,
            Self::Failed => Status::Failed,
            Self::Succeeded => Status::Succeeded,
            Self::Deleting => Status::Other("DELETE_IN_PROGRESS".to_owned()),
        }
    }

    pub(crate) fn is_end(self) -> bool {
        !matches!(self, Self::InProgress | Self::Cancelling)
    }
}

/// A deployment as a response shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) environment: usize,
    pub(crate) deployment: usize,
    pub(crate) state: State,
}

/// A call that the machine makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    List {
        page: usize,
        purpose: ListPurpose,
    },
    ReadEnvironment(usize),
    ReadTag(usize),
    Read {
        environment: usize,
        deployment: usize,
        /// True if the read goes on after its first call.
        goes_on: bool,
    },
    Cancel {
        environment: usize,
        deployment: usize,
    },
}

impl Asked {
    /// Returns the environment that the call is for.
    pub(crate) fn environment(self) -> Option<usize> {
        match self {
            Self::List { .. } => None,
            Self::ReadEnvironment(environment)
            | Self::ReadTag(environment)
            | Self::Read { environment, .. }
            | Self::Cancel { environment, .. } => Some(environment),
        }
    }

    pub(crate) fn is_list(self, meant: ListPurpose) -> bool {
        matches!(self, Self::List { purpose, .. } if purpose == meant)
    }

    pub(crate) fn is_cancel(self) -> bool {
        matches!(self, Self::Cancel { .. })
    }
}

/// The reading of one deployment.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Read {
    Of(Shown),
    HitNewer { meant: Shown, newer: Shown },
    Superseded,
}

/// The service's response to a call.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Page {
        shown: Vec<Shown>,
        count: u64,
        next: Option<usize>,
    },
    Environment(Option<Shown>),
    /// True if the tag names the alarm, and the deployment that the same response shows.
    Tag(bool, Option<Shown>),
    Reading(Read),
    /// The read needs another call. What the calls so far have shown, if it is enough for a result.
    More(Option<Read>),
    Accepted(Option<Shown>),
    Failed(Trouble),
}

impl Reply {
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::Failed(trouble) => Some(*trouble),
            Self::Page { .. }
            | Self::Environment(_)
            | Self::Tag(..)
            | Self::Reading(_)
            | Self::More(_)
            | Self::Accepted(_) => None,
        }
    }
}

/// The reason why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    Throttled,
    Broken,
    Lost,
    TimedOut,
    Unreachable,
    Conflict,
    /// The service has received a cancel with this token before.
    Repeat,
    Refused,
}

impl Trouble {
    pub(crate) fn is_transient(self) -> bool {
        match self {
            Self::Throttled | Self::Broken | Self::Lost | Self::TimedOut | Self::Unreachable => {
                true
            }
            Self::Conflict | Self::Repeat | Self::Refused => false,
        }
    }

    /// True if the call may have had its effect.
    pub(crate) fn is_doubtful(self) -> bool {
        matches!(self, Self::Broken | Self::Lost | Self::TimedOut)
    }

    pub(crate) fn error(self) -> CallError {
        let (fault, code) = match self {
            Self::Throttled => (Fault::Throttled, "ThrottlingException"),
            Self::Broken => (Fault::Broken, "InternalServerException"),
            Self::Lost => (Fault::Lost, "ConnectionLost"),
            Self::TimedOut => (Fault::Lost, "RequestTimeout"),
            Self::Unreachable => (Fault::Unreachable, "ConnectionFailed"),
            Self::Conflict => (Fault::Conflict, "ConflictException"),
            Self::Repeat => (Fault::Conflict, "TokenAlreadyExistsException"),
            Self::Refused => (Fault::Refused, "AccessDeniedException"),
        };
        CallError {
            fault,
            code: code.to_owned(),
            message: String::new(),
        }
    }
}

/// A call, with its times and its result.
#[derive(Clone, Debug)]
pub(crate) struct Called {
    pub(crate) asked: Asked,
    pub(crate) asked_at: At,
    pub(crate) give_up_at: At,
    pub(crate) reply: Option<Reply>,
    /// The deployment that the call cancelled.
    pub(crate) cancelled: Option<(usize, usize)>,
}
