//! A world: the account with which the local AWS starts, and its script.
//!
//! A world is plain data. [`World::load`] reads one from a file, whose format is in the package's
//! README, and checks it against the service models. A world that a test builds is not checked, so
//! that it can have data that no service would send:
//!
//! ```
//! use std::time::Duration;
//! use local_aws::{Deployment, Ending, Environment, World};
//!
//! let world = World::new().with(Environment::new("prod-net").deployment(
//!     Deployment::in_progress()
//!         .started_ago(Duration::from_secs(720))
//!         .when_cancelled(Ending::cancelled().rollback(Duration::from_secs(3))),
//! ));
//! assert_eq!(world.environments().len(), 1);
//! ```

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use toml::Table;

use crate::account::Arns;
use crate::account::environment::Environment;
use crate::account::file::{EntryText, check_members, environments, stacks};
use crate::cloudformation::CloudFormationOptions;
use crate::faults::Faults;
use crate::file_value::{ACCOUNT_ID, seconds, valid};
use crate::proton::ProtonOptions;
use crate::setters::setters;
use crate::wire::operation::Service;

/// The account and the options with which the local AWS starts.
#[derive(Clone, Debug, PartialEq)]
pub struct World {
    pub(crate) seed: u64,
    pub(crate) arns: Arns,
    pub(crate) function: Function,
    pub(crate) environments: Vec<Environment>,
    pub(crate) proton: ProtonOptions,
    pub(crate) cloudformation: CloudFormationOptions,
    pub(crate) faults: Faults,
}

impl World {
    /// Creates an empty account without faults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            seed: 1,
            arns: Arns {
                region: "us-east-1".to_owned(),
                account: "123456789012".to_owned(),
            },
            function: Function::default(),
            environments: Vec::new(),
            proton: ProtonOptions {
                environments_a_page: 100,
                pages_shift: false,
            },
            cloudformation: CloudFormationOptions::default(),
            faults: Faults::none(),
        }
    }

    /// Returns the default world, in which one alarm shows every outcome.
    #[must_use]
    pub fn demonstration() -> Self {
        Self::compiled_in(include_str!("../worlds/default.toml"))
    }

    /// Returns the default world for CloudFormation, in which one alarm shows every outcome.
    #[must_use]
    pub fn cloudformation_demonstration() -> Self {
        Self::compiled_in(include_str!("../worlds/cloudformation.toml"))
    }

    #[expect(
        clippy::expect_used,
        reason = "the files are compiled in, and a test reads each"
    )]
    fn compiled_in(file: &str) -> Self {
        file.parse().expect("the default worlds are valid")
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

    /// Adds an environment. One of the same name that the same service shows is replaced.
    #[must_use]
    pub fn with(mut self, environment: Environment) -> Self {
        self.environments
            .retain(|other| other.name != environment.name || other.service != environment.service);
        self.environments.push(environment);
        self
    }

    /// Returns the same account as CloudFormation shows it: each environment is a root stack of its
    /// name, and faults of Proton's operations concern CloudFormation's, with CloudFormation's codes.
    ///
    /// A cancelled deployment that succeeds has no equal: as a stack, the update finishes right before
    /// the cancel arrives, which is then refused.
    #[must_use]
    pub fn as_stacks(mut self) -> Self {
        for environment in std::mem::take(&mut self.environments) {
            self = self.with(match environment.service {
                Service::CloudFormation => environment,
                Service::Proton | Service::EventBridge => environment.as_stack(),
            });
        }
        self.faults = self.faults.of_stacks();
        self
    }

    setters! {
        /// Sets the most environments that Proton puts on a page, even if a request asks for more.
        environments_a_page(most: usize) => proton.environments_a_page = most;
        /// Counts Proton's pages from the first environment, so that all shift when one goes. By default
        /// a page begins after the last environment of the page before.
        pages_shift() => proton.pages_shift = true;
        /// Sets how CloudFormation answers.
        cloudformation(options: CloudFormationOptions) => cloudformation = options;
        /// Sets the seed of everything that is random: identities and faults.
        seed(seed: u64) => seed = seed;
        /// Sets the injected faults.
        faults(faults: Faults) => faults = faults;
        /// Sets the function's properties.
        function(function: Function) => function = function;
    }

    /// Returns the environments and stacks, in the order of their addition.
    #[must_use]
    pub fn environments(&self) -> &[Environment] {
        &self.environments
    }

    pub(crate) fn function_arn(&self) -> String {
        let Arns { region, account } = &self.arns;
        let name = &self.function.name;
        format!("arn:aws:lambda:{region}:{account}:function:{name}")
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
        let world = toml::from_str::<WorldText>(text)
            .and_then(|file| Ok((file, text.parse::<Table>()?)))
            .map_err(|error| error.to_string())
            .and_then(|(file, table)| {
                check_members(&table)?;
                file.into_world()
            });
        world.map_err(|what| WorldError { file: None, what })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WorldText {
    seed: Option<u64>,
    region: Option<String>,
    account: Option<String>,
    #[serde(default)]
    function: Function,
    #[serde(default)]
    environment: Vec<EntryText>,
    #[serde(default)]
    cloudformation: CloudFormationOptions,
    #[serde(default)]
    stack: Vec<EntryText>,
    #[serde(default)]
    faults: Faults,
}

impl WorldText {
    fn into_world(self) -> Result<World, String> {
        let mut world = World {
            function: self.function,
            cloudformation: self.cloudformation,
            faults: self.faults,
            ..World::new()
        };
        world.seed = self.seed.unwrap_or(world.seed);
        if let Some(region) = self.region {
            world.arns.region = region;
        }
        if let Some(account) = self.account {
            world.arns.account = valid(account, "account", ACCOUNT_ID)?;
        }
        world.environments = environments(self.environment)?;
        world.environments.extend(stacks(self.stack)?);
        Ok(world)
    }
}

/// The error of a world file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("world {}{what}", file.as_deref().map(|file| format!("`{}`: ", file.display())).unwrap_or_default())]
pub struct WorldError {
    file: Option<PathBuf>,
    what: String,
}

/// The function's properties, which the Runtime API reports to it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Function {
    /// The name, a part of the ARN.
    pub name: String,
    /// The timeout of an invocation, from when the function takes the event.
    #[serde(rename = "timeout_seconds", deserialize_with = "seconds")]
    pub timeout: Duration,
    /// The longest time that an event waits for a function that polls.
    #[serde(rename = "patience_seconds", deserialize_with = "seconds")]
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<World, String> {
        text.parse::<World>().map_err(|error| error.to_string())
    }

    #[test]
    fn a_world_can_be_nearly_empty() {
        let world = parse("[[environment]]\nname = \"prod-net\"").unwrap();
        let expected = World::new().with(Environment::new("prod-net"));
        assert_eq!(world, expected);
        let world = parse("[[stack]]\nname = \"net\"").unwrap();
        assert_eq!(world, World::new().with(Environment::stack("net")));
        assert_eq!(parse(""), Ok(World::new()));
    }

    #[test]
    fn what_is_wrong_with_faults_is_named() {
        let cases = [
            (
                "[faults]\nchances = { never = 2 }",
                "`2` is no probability: must be from 0 to 1",
            ),
            (
                "[[faults.rule]]\nfault = \"error\"",
                "faults.rule 1: an `error` needs a `code`",
            ),
            (
                "[[faults.rule]]\nfault = \"fire\"",
                "fault is `fire`: write",
            ),
        ];
        for (text, expected) in cases {
            let refused = parse(text).unwrap_err();
            assert!(refused.contains(expected), "{refused}");
        }
    }
}
