//! The notes of a run: each note is a log line.

use crate::aws::call_error::CallError;
use crate::deployment::{Deployment, EnvironmentName};
use crate::report::summary::Tally;

/// A note for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The listing is complete.
    Listed(Tally),
    /// More environments were selected than the limit allows.
    OverLimit {
        /// The number of selected environments.
        selected: usize,
        /// The limit.
        limit: u64,
    },
    /// A glob in an environment's tag cannot be read.
    BadTag(EnvironmentName, String),
    /// A cancel hit a newer deployment than the one that was meant.
    HitNewer {
        /// The environment's name.
        name: EnvironmentName,
        /// The deployment that was meant, by ID.
        meant: Option<String>,
        /// The deployment that was hit, by ID.
        hit: Option<String>,
    },
    /// A deployment ended by itself although a cancel was asked for, whose response was lost: a newer
    /// deployment may have been hit.
    MayHaveHitNewer(EnvironmentName),
    /// A page could not be refreshed for the cancels that wait.
    NotRefreshed(CallError),
    /// The listing failed, and what is followed is read one by one.
    NotPolled(CallError),
    /// A deployment that is followed could not be read.
    NotRead(EnvironmentName, CallError),
    /// Another deployment is in place of one that is followed.
    Superseded(EnvironmentName),
}

impl Note {
    pub(super) fn hit_newer(meant: &Deployment, hit: &Deployment) -> Self {
        let id = |one: &Deployment| one.id_for_a_line().map(std::borrow::Cow::into_owned);
        Self::HitNewer {
            name: meant.environment.name.clone(),
            meant: id(meant),
            hit: id(hit),
        }
    }

    /// Writes the log line.
    pub(crate) fn log(&self) {
        match self {
            Self::Listed(tally) => tracing::info!(
                listed = tally.listed,
                in_progress = tally.in_progress,
                already_cancelling = tally.already_cancelling,
                "listed"
            ),
            Self::OverLimit { selected, limit } => tracing::warn!(
                selected,
                limit,
                "cancelling nothing: more environments are selected than MAX_CANCELLATIONS allows"
            ),
            Self::BadTag(name, error) => tracing::warn!(
                environment = name.as_str(),
                error,
                "ignoring a glob in the tag `proton-canceller:alarms` that cannot be read"
            ),
            Self::HitNewer { name, meant, hit } => tracing::error!(
                environment = name.as_str(),
                meant,
                hit,
                "cancelled a newer deployment than intended; following the newer one"
            ),
            Self::MayHaveHitNewer(name) => tracing::error!(
                environment = name.as_str(),
                "the response to a cancel was lost, and the deployment had ended: check whether a newer deployment was cancelled"
            ),
            Self::NotRefreshed(error) => tracing::warn!(
                error = error.to_string(),
                "reading deployments one by one before their cancel: a page could not be refreshed"
            ),
            Self::NotPolled(error) => tracing::warn!(
                error = error.to_string(),
                "polling deployments one by one: the listing failed"
            ),
            Self::NotRead(name, error) => tracing::warn!(
                environment = name.as_str(),
                error = error.to_string(),
                "retrying at the next poll: the deployment could not be read"
            ),
            Self::Superseded(name) => tracing::warn!(
                environment = name.as_str(),
                "ending the wait: a newer deployment is in place, and the service does not say how this one ended"
            ),
        }
    }
}
