//! The engines: the services that list, read and cancel deployments. A closed set.
//!
//! Triggers, decisions and publishing know only [`Deployment`]s. An engine turns the responses of its
//! service into them. To add an engine, add a module and a variant: the compiler names the rest.

mod cloudformation;
mod proton;
mod whole_answer;

pub use cloudformation::CloudFormation;
pub use proton::Proton;

use crate::aws::call_error::CallError;
use crate::deployment::{Deployment, Environment, EnvironmentName, NameRule};

/// The service that deploys.
#[derive(Clone, Debug)]
pub enum Engine {
    /// AWS Proton: an environment is a Proton environment.
    Proton(Proton),
    /// AWS CloudFormation: an environment is a root stack, a deployment an update of it.
    CloudFormation(CloudFormation),
}

/// The name of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// AWS Proton.
    Proton,
    /// AWS CloudFormation.
    CloudFormation,
}

impl EngineKind {
    /// Returns the engine's name as `ENGINE` has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proton => "proton",
            Self::CloudFormation => "cloudformation",
        }
    }

    /// Returns the rule for the names of the engine's environments.
    #[must_use]
    pub fn name_rule(self) -> NameRule {
        match self {
            Self::Proton => NameRule::Proton,
            Self::CloudFormation => NameRule::CloudFormation,
        }
    }

    /// Returns the default of `ENVIRONMENTS`. With CloudFormation, the default excludes all stacks but
    /// those of Proton.
    #[must_use]
    pub(crate) fn usual_environments(self) -> &'static str {
        match self {
            Self::Proton => "*",
            Self::CloudFormation => "AWSProton-*",
        }
    }
}

/// One page of a listing.
#[derive(Clone, Debug)]
pub struct Page {
    /// The latest deployment of each environment on the page.
    pub deployments: Vec<Deployment>,
    /// The number of environments on the page, those with an unusable description included.
    pub count: u64,
    /// The token of the next page. `None` on the last page.
    pub next: Option<String>,
}

/// The tag with the globs of the alarms that concern an environment.
#[derive(Clone, Debug)]
pub struct AlarmsTag {
    /// The tag's value. `None` if the environment has no such tag.
    pub value: Option<String>,
    /// The environment's latest deployment, if the same response shows it.
    pub deployment: Option<Deployment>,
}

/// The result of one call of a read.
#[derive(Clone, Debug)]
pub enum ReadStep {
    /// The result of the read.
    Done(Reading),
    /// The read needs another call.
    More {
        /// The state of the read.
        continuation: Continuation,
        /// What the calls so far have shown. `None` if it is too little for a result.
        known: Option<Reading>,
    },
}

/// The state of one deployment.
#[derive(Clone, Debug)]
pub enum Reading {
    /// The deployment, in progress or ended.
    Of(Box<Deployment>),
    /// The deployment's end, and the newer deployment that the cancel has hit instead.
    HitNewer {
        /// The deployment that the cancel was meant for.
        meant: Box<Deployment>,
        /// The newer deployment.
        newer: Box<Deployment>,
    },
    /// A newer deployment has replaced it, and the service does not return how this one ended.
    Superseded,
}

/// The state of a multi-call read: the results of the calls before.
#[derive(Clone, Debug)]
pub enum Continuation {
    /// A read of Proton.
    Proton(Box<proton::Refused>),
    /// A read of CloudFormation.
    CloudFormation(Box<cloudformation::EventPages>),
}

impl Continuation {
    /// Returns the state of a read by ID that Proton has refused with this error.
    #[must_use]
    pub fn refused(error: CallError) -> Self {
        Self::Proton(Box::new(proton::Refused(error)))
    }
}

/// The result of one call for a tag.
#[derive(Clone, Debug)]
pub enum TagStep {
    /// The tag.
    Done(Box<AlarmsTag>),
    /// There are more pages of tags.
    More(TagPage),
}

/// A page of an environment's tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagPage {
    token: String,
    /// The number of pages before this one.
    number: usize,
}

// Each future is boxed, because the SDK's futures are large and many are alive at once.
impl Engine {
    /// Lists one page of environments with their latest deployment: without a token, the first page.
    pub(crate) async fn list(&self, token: Option<&str>) -> Result<Page, CallError> {
        match self {
            Self::Proton(proton) => Box::pin(proton.list(token)).await,
            Self::CloudFormation(stacks) => Box::pin(stacks.list(token)).await,
        }
    }

    /// Reads an environment's latest deployment. `None` if the name is not that of an environment, such as
    /// a nested stack's.
    pub(crate) async fn read_environment(
        &self,
        name: &EnvironmentName,
    ) -> Result<Option<Deployment>, CallError> {
        match self {
            Self::Proton(proton) => Box::pin(proton.read(name)).await.map(Some),
            Self::CloudFormation(stacks) => Box::pin(stacks.read(name)).await,
        }
    }

    /// Reads the state of one deployment, even if a newer one has started. Makes one call to the service.
    /// A call that failed can be repeated with the same continuation.
    pub(crate) async fn read_deployment(
        &self,
        deployment: &Deployment,
        continuation: Option<&Continuation>,
    ) -> Result<ReadStep, CallError> {
        match self {
            Self::Proton(proton) => {
                let refused = match continuation {
                    Some(Continuation::Proton(refused)) => Some(&**refused),
                    Some(Continuation::CloudFormation(_)) | None => None,
                };
                Box::pin(proton.read_deployment(deployment, refused)).await
            }
            Self::CloudFormation(stacks) => {
                let pages = match continuation {
                    Some(Continuation::CloudFormation(pages)) => Some(&**pages),
                    Some(Continuation::Proton(_)) | None => None,
                };
                Box::pin(stacks.read_deployment(deployment, pages)).await
            }
        }
    }

    /// Cancels the environment's current deployment. Returns the deployment that the response shows, if
    /// any.
    pub(crate) async fn cancel(
        &self,
        deployment: &Deployment,
    ) -> Result<Option<Deployment>, CallError> {
        match self {
            Self::Proton(proton) => Box::pin(proton.cancel(deployment)).await.map(Some),
            Self::CloudFormation(stacks) => {
                Box::pin(stacks.cancel(deployment)).await.map(|()| None)
            }
        }
    }

    /// Reads the environment's tag `proton-canceller:alarms`, one page of tags a call.
    pub(crate) async fn alarms_tag(
        &self,
        environment: &Environment,
        page: Option<&TagPage>,
    ) -> Result<TagStep, CallError> {
        match self {
            Self::Proton(proton) => Box::pin(proton.alarms_tag(environment, page)).await,
            Self::CloudFormation(stacks) => Box::pin(stacks.alarms_tag(environment))
                .await
                .map(|tag| TagStep::Done(Box::new(tag))),
        }
    }

    /// Returns the service's name.
    #[must_use]
    pub(crate) fn service(&self) -> &'static str {
        match self {
            Self::Proton(_) => "Proton",
            Self::CloudFormation(_) => "CloudFormation",
        }
    }

    /// Returns why the service may be out of reach for good, and the remedy.
    #[must_use]
    pub(crate) fn ended(&self) -> Option<&'static str> {
        match self {
            Self::Proton(_) => Some(
                "AWS ended Proton on 2026-10-07; what it deployed lives on as CloudFormation stacks: set `ENGINE` to `cloudformation` to protect those",
            ),
            Self::CloudFormation(_) => None,
        }
    }
}
