//! A world: what stands in the account when the local AWS starts, and what becomes of it.
//!
//! A world is plain data. It is read from a file ([`World::load`]; the format is described in the
//! package's README), which is checked by the service's model, or put together in a test, and then
//! taken as it is, so that a world can hold what the service would never send:
//!
//! ```
//! use std::time::Duration;
//! use local_aws::{Cancellation, Deployment, Ending, Environment, World};
//!
//! let world = World::new().with(Environment::new("prod-net").deployment(
//!     Deployment::in_progress()
//!         .started_ago(Duration::from_secs(720))
//!         .when_cancelled(Cancellation::after(Duration::from_secs(3), Ending::cancelled())),
//! ));
//! assert_eq!(world.environments().len(), 1);
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use crate::account::stack::{CloudFormationOptions, Stack};
use crate::account::world_file;
use crate::faults::Faults;
use crate::wire::operation::Operation;

const DAY: Duration = Duration::from_hours(24);

/// Everything that the local AWS starts with.
#[derive(Clone, Debug, PartialEq)]
pub struct World {
    pub(crate) seed: u64,
    pub(crate) region: String,
    pub(crate) account: String,
    pub(crate) function: Function,
    pub(crate) environments: Vec<Environment>,
    pub(crate) environments_a_page: usize,
    pub(crate) pages_shift: bool,
    pub(crate) stacks: Vec<Stack>,
    pub(crate) cloudformation: CloudFormationOptions,
    pub(crate) faults: Faults,
}

impl World {
    /// An empty account without faults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            seed: 1,
            region: "us-east-1".to_owned(),
            account: "123456789012".to_owned(),
            function: Function::default(),
            environments: Vec::new(),
            environments_a_page: 100,
            pages_shift: false,
            stacks: Vec::new(),
            cloudformation: CloudFormationOptions::default(),
            faults: Faults::none(),
        }
    }

    /// The world that ships as the default: one alarm shows every outcome in it.
    ///
    /// # Panics
    ///
    /// Never: a test reads the file that is compiled in.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "the file is compiled in, and a test reads it"
    )]
    pub fn demonstration() -> Self {
        include_str!("../worlds/default.toml")
            .parse()
            .expect("the default world is valid")
    }

    /// The world that ships as the default for CloudFormation: one alarm shows every outcome in it.
    ///
    /// # Panics
    ///
    /// Never: a test reads the file that is compiled in.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "the file is compiled in, and a test reads it"
    )]
    pub fn cloudformation_demonstration() -> Self {
        include_str!("../worlds/cloudformation.toml")
            .parse()
            .expect("CloudFormation's default world is valid")
    }

    /// Reads a world file.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, WorldError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|error| WorldError {
            file: Some(path.to_owned()),
            what: format!("cannot be read: {error}"),
        })?;
        text.parse::<Self>().map_err(|error| WorldError {
            file: Some(path.to_owned()),
            ..error
        })
    }

    /// Adds an environment. One of the same name is replaced.
    #[must_use]
    pub fn with(mut self, environment: Environment) -> Self {
        self.environments
            .retain(|other| other.name != environment.name);
        self.environments.push(environment);
        self
    }

    /// Sets how many environments Proton puts on a page at the most, whatever a request asks for.
    #[must_use]
    pub fn environments_a_page(mut self, most: usize) -> Self {
        self.environments_a_page = most;
        self
    }

    /// Lets Proton's pages be counted from the first environment, so that all move up when one goes;
    /// otherwise a page begins after the last environment of the page before.
    #[must_use]
    pub fn pages_shift(mut self) -> Self {
        self.pages_shift = true;
        self
    }

    /// Adds a stack. One of the same name is replaced.
    #[must_use]
    pub fn with_stack(mut self, stack: Stack) -> Self {
        self.stacks.retain(|other| other.name != stack.name);
        self.stacks.push(stack);
        self
    }

    /// Sets how CloudFormation answers.
    #[must_use]
    pub fn cloudformation(mut self, options: CloudFormationOptions) -> Self {
        self.cloudformation = options;
        self
    }

    /// Sets the seed of everything that is random: identities and faults.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets what goes wrong.
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// Sets what the Runtime API tells the function about itself.
    #[must_use]
    pub fn function(mut self, function: Function) -> Self {
        self.function = function;
        self
    }

    /// The environments, in the order in which they were added.
    #[must_use]
    pub fn environments(&self) -> &[Environment] {
        &self.environments
    }

    /// The stacks, in the order in which they were added.
    #[must_use]
    pub fn stacks(&self) -> &[Stack] {
        &self.stacks
    }

    /// The ARN of the environment of that name.
    #[must_use]
    pub fn environment_arn(&self, name: &str) -> String {
        let Self {
            region, account, ..
        } = self;
        format!("arn:aws:proton:{region}:{account}:environment/{name}")
    }

    pub(crate) fn function_arn(&self) -> String {
        let Self {
            region,
            account,
            function,
            ..
        } = self;
        format!(
            "arn:aws:lambda:{region}:{account}:function:{}",
            function.name
        )
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl FromStr for World {
    type Err = WorldError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        world_file::parse(text).map_err(|what| WorldError { file: None, what })
    }
}

/// Why a world file was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("world {}{what}", file.as_deref().map(|file| format!("`{}`: ", file.display())).unwrap_or_default())]
pub struct WorldError {
    file: Option<PathBuf>,
    what: String,
}

/// What the Runtime API tells the function about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name, part of its ARN.
    pub name: String,
    /// How long one invocation may take: the deadline is that long after the function took it.
    pub timeout: Duration,
    /// How long an event waits for a function that polls.
    pub patience: Duration,
}

impl Default for Function {
    fn default() -> Self {
        Self {
            name: "proton-canceller".to_owned(),
            timeout: Duration::from_mins(15),
            patience: Duration::from_secs(10),
        }
    }
}

/// The status of a deployment, as Proton names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Being carried out.
    InProgress,
    /// Ended without success.
    Failed,
    /// Ended well.
    Succeeded,
    /// Being deleted.
    DeleteInProgress,
    /// Could not be deleted.
    DeleteFailed,
    /// Deleted.
    DeleteComplete,
    /// Being cancelled.
    Cancelling,
    /// Ended by a cancel.
    Cancelled,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 8] = [
        Self::InProgress,
        Self::Failed,
        Self::Succeeded,
        Self::DeleteInProgress,
        Self::DeleteFailed,
        Self::DeleteComplete,
        Self::Cancelling,
        Self::Cancelled,
    ];

    /// The status as it goes over the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "IN_PROGRESS",
            Self::Failed => "FAILED",
            Self::Succeeded => "SUCCEEDED",
            Self::DeleteInProgress => "DELETE_IN_PROGRESS",
            Self::DeleteFailed => "DELETE_FAILED",
            Self::DeleteComplete => "DELETE_COMPLETE",
            Self::Cancelling => "CANCELLING",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// True if nothing more happens to a deployment of this status by itself.
    #[must_use]
    pub fn is_settled(self) -> bool {
        match self {
            Self::InProgress | Self::DeleteInProgress | Self::Cancelling => false,
            Self::Failed
            | Self::Succeeded
            | Self::DeleteFailed
            | Self::DeleteComplete
            | Self::Cancelled => true,
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for Status {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| {
                let names = Self::ALL.map(Self::as_str).join("`, `");
                format!("status `{text}` is not known: write one of `{names}`")
            })
    }
}

/// One environment of the world.
#[derive(Clone, Debug, PartialEq)]
pub struct Environment {
    pub(crate) name: String,
    pub(crate) template_name: String,
    pub(crate) template_version: (String, String),
    pub(crate) description: Option<String>,
    pub(crate) account_id: Option<String>,
    pub(crate) created: Moment,
    pub(crate) last_success: Option<Moment>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) deployment: Deployment,
    pub(crate) happenings: Vec<Happening>,
}

impl Environment {
    /// An environment whose last deployment succeeded a month ago.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            template_name: "network".to_owned(),
            template_version: ("1".to_owned(), "0".to_owned()),
            description: None,
            account_id: None,
            created: Moment::Ago(90 * DAY),
            last_success: Some(Moment::Ago(30 * DAY)),
            tags: BTreeMap::new(),
            deployment: Deployment::settled(Ending::succeeded()),
            happenings: Vec::new(),
        }
    }

    /// Sets the latest deployment.
    #[must_use]
    pub fn deployment(mut self, deployment: Deployment) -> Self {
        self.deployment = deployment;
        self
    }

    /// Adds something that happens to the environment by itself.
    #[must_use]
    pub fn then(mut self, when: When, what: What) -> Self {
        self.happenings.push(Happening { when, what });
        self
    }

    /// Sets the template's name and its major and minor version.
    #[must_use]
    pub fn template(
        mut self,
        name: impl Into<String>,
        major: impl Into<String>,
        minor: impl Into<String>,
    ) -> Self {
        self.template_name = name.into();
        self.template_version = (major.into(), minor.into());
        self
    }

    /// Adds a tag.
    #[must_use]
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(key.into(), value.into());
        self
    }

    /// Sets the account that the environment's infrastructure is provisioned in.
    #[must_use]
    pub fn account_id(mut self, account_id: impl Into<String>) -> Self {
        self.account_id = Some(account_id.into());
        self
    }

    /// Sets the description.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// No deployment before the latest one ever succeeded.
    #[must_use]
    pub fn never_succeeded(mut self) -> Self {
        self.last_success = None;
        self
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// A time, seen from the start of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// That long before the world started.
    Ago(Duration),
    /// That long after the world started.
    In(Duration),
    /// A time of the calendar.
    At(SystemTime),
}

impl Moment {
    pub(crate) fn seen_from(self, start: SystemTime) -> SystemTime {
        match self {
            Self::Ago(ago) => start.checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH),
            Self::In(later) => start.checked_add(later).unwrap_or(start),
            Self::At(time) => time,
        }
    }
}

/// One attempt to update an environment, with its script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    pub(crate) id: Option<String>,
    pub(crate) is_id_sent: bool,
    pub(crate) started: Moment,
    pub(crate) is_start_sent: bool,
    pub(crate) status: Status,
    pub(crate) message: Option<String>,
    pub(crate) when_cancelled: Cancellation,
    pub(crate) left_alone: Option<(Duration, Ending)>,
}

impl Deployment {
    /// One that is in progress, started ten minutes ago, and stays so until it is cancelled.
    #[must_use]
    pub fn in_progress() -> Self {
        Self {
            id: None,
            is_id_sent: true,
            started: Moment::Ago(Duration::from_mins(10)),
            is_start_sent: true,
            status: Status::InProgress,
            message: None,
            when_cancelled: Cancellation::default(),
            left_alone: None,
        }
    }

    /// One that is being cancelled already; it ends as `when_cancelled` says, counted from the
    /// start of the world.
    #[must_use]
    pub fn cancelling() -> Self {
        Self {
            status: Status::Cancelling,
            ..Self::in_progress()
        }
    }

    /// One that ended so, long ago.
    #[must_use]
    pub fn settled(ending: Ending) -> Self {
        Self {
            status: ending.status,
            message: ending.message,
            started: Moment::Ago(30 * DAY),
            ..Self::in_progress()
        }
    }

    /// Sets when it started.
    #[must_use]
    pub fn started(mut self, moment: Moment) -> Self {
        self.started = moment;
        self
    }

    /// Sets how long ago it started.
    #[must_use]
    pub fn started_ago(self, ago: Duration) -> Self {
        self.started(Moment::Ago(ago))
    }

    /// Sets its id, a UUID in lower case. Without one, the seed gives it.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// The service does not send `lastAttemptedDeploymentId`.
    #[must_use]
    pub fn id_not_sent(mut self) -> Self {
        self.is_id_sent = false;
        self
    }

    /// The service does not send `lastDeploymentAttemptedAt`.
    #[must_use]
    pub fn start_not_sent(mut self) -> Self {
        self.is_start_sent = false;
        self
    }

    /// Sets the status message.
    #[must_use]
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
    }

    /// Sets what a cancel leads to.
    #[must_use]
    pub fn when_cancelled(mut self, cancellation: Cancellation) -> Self {
        self.when_cancelled = cancellation;
        self
    }

    /// Sets how it ends where nobody cancels it: that long after the world started, or after it
    /// started itself where that is later.
    #[must_use]
    pub fn left_alone(mut self, after: Duration, ending: Ending) -> Self {
        self.left_alone = Some((after, ending));
        self
    }
}

/// What an accepted cancel leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancellation {
    pub(crate) lasts: Duration,
    pub(crate) ending: Ending,
}

impl Cancellation {
    /// `CANCELLING` for so long, then the end.
    #[must_use]
    pub fn after(lasts: Duration, ending: Ending) -> Self {
        Self { lasts, ending }
    }
}

impl Default for Cancellation {
    fn default() -> Self {
        Self::after(Duration::from_secs(5), Ending::cancelled())
    }
}

/// The end of a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    pub(crate) status: Status,
    pub(crate) message: Option<String>,
}

impl Ending {
    /// It was cancelled.
    #[must_use]
    pub fn cancelled() -> Self {
        Self::new(Status::Cancelled).message("User initiated cancellation.")
    }

    /// It failed.
    #[must_use]
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Status::Failed).message(message)
    }

    /// It went through.
    #[must_use]
    pub fn succeeded() -> Self {
        Self::new(Status::Succeeded)
    }

    /// An end of this status without a message.
    #[must_use]
    pub fn new(status: Status) -> Self {
        Self {
            status,
            message: None,
        }
    }

    /// Sets the status message.
    #[must_use]
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
    }
}

/// Something that happens to an environment by itself, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    pub(crate) when: When,
    pub(crate) what: What,
}

/// When something happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// So long after the world started.
    At(Duration),
    /// So long after the deployment before it ended.
    AfterEnd(Duration),
    /// When the nth call of this operation that concerns the environment arrives, before it is
    /// looked at.
    BeforeCall(Operation, u64),
    /// Right after the nth call of this operation that concerned the environment (for
    /// `ListEnvironments` and `ListStacks`: that showed it) was answered.
    AfterCall(Operation, u64),
}

impl When {
    /// Right after the environment was listed for the first time: what a caller learned there is
    /// out of date at once.
    #[must_use]
    pub fn after_listed() -> Self {
        Self::AfterCall(Operation::ListEnvironments, 1)
    }
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A new deployment starts, as soon as the one before it has ended. Its `started` is
    /// ignored: it starts when it happens.
    Deploy(Deployment),
    /// The deployment ends so, if it has not ended yet.
    End(Ending),
    /// Somebody else cancels the deployment, if it is in progress.
    Cancel,
    /// The environment is gone.
    Delete,
}
