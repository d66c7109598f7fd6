//! The port to what deploys: a closed set of engines that list, read and cancel deployments.
//!
//! Triggers, decisions and publishing know only [`Deployment`]s; an engine turns what its service
//! says into them. To add one, add a module and a variant: the compiler names the rest.

mod cloudformation;
mod proton;

pub use cloudformation::CloudFormation;
pub use proton::Proton;

use crate::aws::call_error::CallError;
use crate::deployment::{Deployment, Environment, EnvironmentName, NameRule};

/// What deploys.
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
    pub fn usual_environments(self) -> &'static str {
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

/// What became of one certain deployment.
#[derive(Debug)]
pub enum Sight {
    /// Where it stands, or how it ended.
    Of(Box<Deployment>),
    /// How it ended, and what stands in its place since.
    Replaced(Box<Deployment>, Box<Successor>),
    /// Another deployment stands in its place, and the service cannot tell how it ended.
    Superseded,
}

/// A deployment that stands in another's place and is being undone, or was: a cancel that was meant
/// for the other may have hit it.
#[derive(Debug)]
pub struct Successor {
    /// It.
    pub deployment: Deployment,
    /// What tells that the cancel hit it.
    pub evidence: Evidence,
}

/// What tells that a cancel hit another deployment than the one that was meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The service says that the cancel undid it.
    Named,
    /// No other has started since: if the cancel was accepted after the one that was meant had ended,
    /// there was nothing else that it could hit.
    OnlyOne,
}

/// What one call of a read shows.
#[derive(Clone, Debug)]
pub enum ReadStep {
    /// What the read shows.
    Done(Reading),
    /// It takes another call.
    More(Continuation),
}

/// What became of one certain deployment.
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

/// How far a multi-call read has come.
#[derive(Clone, Debug)]
pub enum Continuation {}

impl Continuation {
    /// What is known already.
    #[must_use]
    pub fn known(&self) -> Option<Reading> {
        match *self {}
    }
}

/// What one call for a tag shows.
#[derive(Debug, Clone)]
pub enum TagStep {
    /// The tag.
    Done(AlarmsTag),
    /// Another page.
    More(String),
}

/// What one call of a look told.
#[derive(Debug)]
pub enum Look {
    /// All of it.
    Told(Sight),
    /// It takes another call.
    Further(Trace),
}

/// What a further call of a look led to.
#[derive(Debug)]
pub enum Further {
    /// It takes another one.
    More,
    /// To the end of it: what it told, or why nothing can be told, which none of its calls can change.
    Told(Result<Sight, CallError>),
}

/// How far a look has come that takes several calls. Each is one of its own, with its own time and
/// its own repeats.
#[derive(Debug)]
pub enum Trace {
    /// Proton's.
    Proton(Box<proton::Trace>),
    /// CloudFormation's.
    CloudFormation(Box<cloudformation::Trace>),
}

impl Trace {
    /// Makes the next call. One that failed may be made again.
    pub async fn further(&mut self, deployment: &Deployment) -> Result<Further, CallError> {
        match self {
            Self::Proton(trace) => Box::pin(trace.further(deployment)).await,
            Self::CloudFormation(trace) => Box::pin(trace.further(deployment)).await,
        }
    }

    /// What is known already, if it can go no further.
    #[must_use]
    pub fn known(&self) -> Option<Sight> {
        match self {
            Self::Proton(_) => None,
            Self::CloudFormation(trace) => trace.known(),
        }
    }
}

/// The SDK's futures are large and many are alive at once: each is boxed.
impl Engine {
    /// Lists environments with their latest deployment, one page; without a token, the first.
    pub async fn list(&self, token: Option<&str>) -> Result<Page, CallError> {
        match self {
            Self::Proton(proton) => Box::pin(proton.list(token)).await,
            Self::CloudFormation(stacks) => Box::pin(stacks.list(token)).await,
        }
    }

    /// Reads an environment's latest deployment; nothing if the name is that of something that is
    /// none of this engine's environments.
    pub async fn read_environment(
        &self,
        name: &EnvironmentName,
    ) -> Result<Option<Deployment>, CallError> {
        match self {
            Self::Proton(proton) => Box::pin(proton.read(name)).await.map(Some),
            Self::CloudFormation(stacks) => Box::pin(stacks.read(name)).await,
        }
    }

    /// Reads what became of this very deployment, whatever its environment does meanwhile: the first
    /// call of it.
    pub async fn look_at(&self, deployment: &Deployment) -> Result<Look, CallError> {
        match self {
            Self::Proton(proton) => Box::pin(proton.look_at(deployment)).await,
            Self::CloudFormation(stacks) => Box::pin(stacks.look_at(deployment)).await,
        }
    }

    /// Asks to cancel the environment's current deployment; returns that deployment as the service
    /// then sees it, if the answer tells.
    pub async fn cancel(&self, deployment: &Deployment) -> Result<Option<Deployment>, CallError> {
        match self {
            Self::Proton(proton) => Box::pin(proton.cancel(deployment)).await.map(Some),
            Self::CloudFormation(stacks) => {
                Box::pin(stacks.cancel(deployment)).await.map(|()| None)
            }
        }
    }

    /// Reads a certain deployment.
    pub async fn read_deployment(
        &self,
        deployment: &Deployment,
        _: Option<&Continuation>,
    ) -> Result<ReadStep, CallError> {
        let sight = match self.look_at(deployment).await? {
            Look::Told(sight) => sight,
            Look::Further(mut trace) => loop {
                match trace.further(deployment).await? {
                    Further::More => {}
                    Further::Told(told) => break told?,
                }
            },
        };
        Ok(ReadStep::Done(match sight {
            Sight::Of(one) => Reading::Of(one),
            Sight::Replaced(meant, s) if s.evidence == Evidence::Named => Reading::HitNewer {
                meant,
                newer: Box::new(s.deployment),
            },
            Sight::Replaced(meant, _) => Reading::Of(meant),
            Sight::Superseded => Reading::Superseded,
        }))
    }

    /// What a cancel of unknown answer may have hit instead of the deployment that was meant: another
    /// one that is current now and is being cancelled, or was. That an update rolls back proves nothing:
    /// what `CloudFormation` knows of it, a look has told ([`Sight::Replaced`]).
    pub async fn hit_instead_of(
        &self,
        meant: &Deployment,
    ) -> Result<Option<Deployment>, CallError> {
        match self {
            Self::Proton(proton) => {
                let current = Box::pin(proton.read(&meant.environment.name)).await?;
                let is_hit = !current.is_same_as(meant) && current.status.is_cancelled_or_will_be();
                Ok(is_hit.then_some(current))
            }
            Self::CloudFormation(_) => Ok(None),
        }
    }

    /// Reads the environment's tag `proton-canceller:alarms`.
    pub async fn alarms_tag(
        &self,
        environment: &Environment,
        _: Option<&str>,
    ) -> Result<TagStep, CallError> {
        let tag: Result<AlarmsTag, CallError> = match self {
            Self::Proton(proton) => {
                let value = Box::pin(proton.alarms_tag(environment)).await?;
                let deployment = None;
                Ok(AlarmsTag { value, deployment })
            }
            Self::CloudFormation(stacks) => Box::pin(stacks.alarms_tag(environment)).await,
        };
        tag.map(TagStep::Done)
    }

    /// The service, by name.
    #[must_use]
    pub fn service(&self) -> &'static str {
        match self {
            Self::Proton(_) => "Proton",
            Self::CloudFormation(_) => "CloudFormation",
        }
    }

    /// Why the service may be out of reach for good, and the way on.
    #[must_use]
    pub fn ended(&self) -> Option<&'static str> {
        match self {
            Self::Proton(_) => Some(
                "AWS ended Proton on 2026-10-07; what it deployed lives on as CloudFormation stacks: set `ENGINE` to `cloudformation` to protect those",
            ),
            Self::CloudFormation(_) => None,
        }
    }
}
