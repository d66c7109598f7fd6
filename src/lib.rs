//! An AWS Lambda function that stops bad deployments. An alarm fires or a schedule ticks, the function
//! cancels the deployments that are in progress, and publishes the outcome of each to EventBridge.
//!
//! # Data flow
//!
//! payload → [`trigger::Trigger`] → (listed) [`deployment::Deployment`]s → [`plan::Verdict`]s →
//! cancels → [`report::outcome::Outcome`]s → published [`report::detail::Entry`]s → [`report::summary`].
//!
//! Data flows one way, and the modules are in that order. `ARCHITECTURE.md` has the invariants.
//! Items that the program, the tests or the fuzz target need are public; all others are `pub(crate)`.

pub mod logging;
pub mod settings;
pub mod start;

pub(crate) mod follower;
pub mod handler;
pub mod invocation_error;
pub mod payload;

pub(crate) mod clock;
pub mod deployment;
pub(crate) mod text;
pub mod timestamp;

pub mod aws;
pub mod engine;
pub mod plan;
pub mod report;
pub mod run;
pub mod trigger;
