//! An AWS Lambda function that stops bad deployments: an alarm goes off or a schedule ticks, and it
//! cancels the environment deployments that are in progress and tells EventBridge what became of
//! each.
//!
//! # The way of the data
//!
//! payload → [`trigger::Trigger`] → (listed) [`deployment::Deployment`]s → [`plan::Verdict`]s →
//! cancels → [`report::outcome::Outcome`]s → published [`report::detail::Entry`]s → [`report::summary::answer`].
//!
//! Data flows one way. The modules stand in that order. `ARCHITECTURE.md` has the invariants.

pub mod logging;
pub mod settings;
pub mod start;

pub mod follower;
pub mod handler;
pub mod invocation_error;
pub mod payload;

pub mod clock;
pub mod deployment;
pub mod text;
pub mod timestamp;

pub mod aws;
pub mod engine;
pub mod plan;
pub mod report;
pub mod run;
pub mod trigger;
