//! The calls that a run makes, and their responses.

use std::sync::Arc;
use std::time::Duration;

use crate::aws::call_error::CallError;
use crate::deployment::{Deployment, Environment, EnvironmentName};
use crate::engine::{Continuation, Page, ReadStep, TagPage, TagStep};
use crate::timestamp::{self, Timestamp};

/// A call to the engine.
#[derive(Clone, Debug)]
pub struct Call {
    /// The call.
    pub request: Request,
    /// When to stop waiting for the response.
    pub give_up_at: Timestamp,
}

impl Call {
    /// Makes a call that is given up after a timeout, or when the time is over.
    pub(super) fn new(
        request: Request,
        now: Timestamp,
        timeout: Duration,
        until: Timestamp,
    ) -> Self {
        let give_up_at = timestamp::later(now, timeout).map_or(until, |at| at.min(until));
        Self {
            request,
            give_up_at,
        }
    }
}

/// The call to make.
#[derive(Clone, Debug)]
pub enum Request {
    /// Lists one page of the environments.
    List(ListRequest),
    /// Reads the latest deployment of an environment that a request names.
    ReadEnvironment(EnvironmentName),
    /// Reads the environment's tag. A page continues a read that takes several calls.
    ReadTag(Environment, Option<TagPage>),
    /// Reads a certain deployment. A continuation continues a multi-call read.
    ReadDeployment(Box<Deployment>, Option<Continuation>),
    /// Cancels the environment's current deployment, which should be this one.
    Cancel(Box<Deployment>),
}

/// A page to list.
#[derive(Clone, Debug)]
pub struct ListRequest {
    /// The page.
    pub token: PageToken,
    /// The purpose of the call.
    pub purpose: ListPurpose,
    /// When the page is requested. The response may show any moment since then.
    pub(crate) asked_at: Timestamp,
}

/// The purpose of listing a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListPurpose {
    /// To find what is in progress.
    Find,
    /// To refresh what was read too long ago for a cancel.
    Refresh,
    /// To poll what is followed.
    Poll,
}

/// A response of the engine.
#[derive(Clone, Debug)]
pub enum Response {
    /// To [`Request::List`].
    List(ListRequest, Result<Page, CallError>),
    /// To [`Request::ReadEnvironment`]. `None` if the name is not that of an environment.
    ReadEnvironment(EnvironmentName, Result<Option<Deployment>, CallError>),
    /// To [`Request::ReadTag`].
    ReadTag(EnvironmentName, Result<TagStep, CallError>),
    /// To [`Request::ReadDeployment`].
    ReadDeployment(EnvironmentName, Result<ReadStep, CallError>),
    /// To [`Request::Cancel`]. The deployment that the cancel hit, if the service shows it.
    Cancel(EnvironmentName, Result<Option<Deployment>, CallError>),
}

impl Response {
    /// Returns the environment that the call was made for. `None` for a page.
    pub(super) fn name(&self) -> Option<&EnvironmentName> {
        match self {
            Self::List(..) => None,
            Self::ReadEnvironment(name, _)
            | Self::ReadTag(name, _)
            | Self::ReadDeployment(name, _)
            | Self::Cancel(name, _) => Some(name),
        }
    }

    /// Returns the error, if the call failed.
    pub(super) fn error(&self) -> Option<&CallError> {
        match self {
            Self::List(_, result) => result.as_ref().err(),
            Self::ReadEnvironment(_, result) | Self::Cancel(_, result) => result.as_ref().err(),
            Self::ReadTag(_, result) => result.as_ref().err(),
            Self::ReadDeployment(_, result) => result.as_ref().err(),
        }
    }
}

/// The token that a page of the listing is asked for with. The first page has none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageToken(Option<Arc<str>>);

impl PageToken {
    /// The first page.
    pub(crate) const FIRST: Self = Self(None);

    /// Returns the page that comes after this one, if there is one.
    #[must_use]
    pub(crate) fn after(page: &Page) -> Option<Self> {
        page.next.as_deref().map(|token| Self(Some(token.into())))
    }

    /// Returns the token as the service gave it.
    #[must_use]
    pub fn as_deref(&self) -> Option<&str> {
        self.0.as_deref()
    }
}
