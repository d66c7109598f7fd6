//! The port to what deploys: a closed set of engines that list, read and cancel deployments.
//!
//! Triggers, decisions and publishing know only [`Deployment`]s; an engine turns what its service
//! says into them. To add one, add a module and a variant: the compiler names the rest.

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

/// Which engine, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// AWS Proton.
    Proton,
    /// AWS CloudFormation.
    CloudFormation,
}

impl EngineKind {
    /// The engine, as `ENGINE` names it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proton => "proton",
            Self::CloudFormation => "cloudformation",
        }
    }

    /// Which names its environments can have.
    #[must_use]
    pub fn name_rule(self) -> NameRule {
        match self {
            Self::Proton => NameRule::Proton,
            Self::CloudFormation => NameRule::CloudFormation,
        }
    }

    /// Which environments are touched unless the settings say otherwise. Never every stack of an
    /// account.
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
    /// How many environments the page held, those with an unusable description included.
    pub count: u64,
    /// The token of the next page, if there is one.
    pub next: Option<String>,
}

/// The tag that says which alarms concern an environment.
#[derive(Clone, Debug)]
pub struct AlarmsTag {
    /// Its value, if the environment has it.
    pub value: Option<String>,
    /// The environment's latest deployment, where the answer that told the tag shows it.
    pub deployment: Option<Deployment>,
}

/// The result of one call of a read.
#[derive(Clone, Debug)]
pub enum ReadStep {
    /// The result of the read.
    Done(Reading),
    /// The read takes another call.
    More(Continuation),
}

/// The state of one certain deployment.
#[derive(Clone, Debug)]
pub enum Reading {
    /// The deployment: where it stands, or how it ended.
    Of(Box<Deployment>),
    /// How the deployment ended, and the newer deployment that our cancel has hit instead.
    HitNewer {
        /// The deployment that was meant.
        meant: Box<Deployment>,
        /// The newer deployment.
        newer: Box<Deployment>,
    },
    /// Another deployment is in its place, and nothing tells how this one ended.
    Superseded,
}

/// How far a multi-call read has come: what the calls before have shown.
#[derive(Clone, Debug)]
pub enum Continuation {
    /// Proton's.
    Proton(Box<proton::Refused>),
    /// CloudFormation's.
    CloudFormation(Box<cloudformation::EventPages>),
}

impl Continuation {
    /// Returns what earlier calls have shown, if the read can go no further.
    #[must_use]
    pub(crate) fn known(&self) -> Option<Reading> {
        match self {
            Self::Proton(_) => None,
            Self::CloudFormation(pages) => pages.known(),
        }
    }
}

/// The result of one call for a tag.
#[derive(Clone, Debug)]
pub enum TagStep {
    /// The tag.
    Done(Box<AlarmsTag>),
    /// The tags go on.
    More(TagPage),
}

/// A page of an environment's tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagPage {
    token: String,
    /// How many pages come before.
    number: usize,
}

/// The SDK's futures are large and many are alive at once: each is boxed.
impl Engine {
    /// Lists environments with their latest deployment, one page; without a token, the first.
    pub(crate) async fn list(&self, token: Option<&str>) -> Result<Page, CallError> {
        match self {
            Self::Proton(proton) => Box::pin(proton.list(token)).await,
            Self::CloudFormation(stacks) => Box::pin(stacks.list(token)).await,
        }
    }

    /// Reads an environment's latest deployment; nothing if the name is that of something that is
    /// none of this engine's environments.
    pub(crate) async fn read_environment(
        &self,
        name: &EnvironmentName,
    ) -> Result<Option<Deployment>, CallError> {
        match self {
            Self::Proton(proton) => Box::pin(proton.read(name)).await.map(Some),
            Self::CloudFormation(stacks) => Box::pin(stacks.read(name)).await,
        }
    }

    /// Reads what became of a certain deployment, whatever its environment does meanwhile. Each call to
    /// the service is one of its own: a call that failed can be repeated with the same continuation.
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

    /// Asks to cancel the environment's current deployment; returns that deployment as the service
    /// then sees it, if the answer tells.
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

    /// Reads the environment's tag `proton-canceller:alarms`, a page of tags a call.
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

    /// The service, by name.
    #[must_use]
    pub(crate) fn service(&self) -> &'static str {
        match self {
            Self::Proton(_) => "Proton",
            Self::CloudFormation(_) => "CloudFormation",
        }
    }

    /// Why the service may be out of reach for good, and the way on.
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
