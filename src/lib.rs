//! An AWS Lambda function that stops bad deployments: an alarm goes off or a schedule ticks, and it
//! cancels the environment deployments that are in progress and tells EventBridge what became of
//! each.
//!
//! # The way of the data
//!
//! payload → [`trigger::Trigger`] → (listed) [`deployment::Deployment`]s → [`plan::Verdict`]s →
//! cancels → [`outcome::Outcome`]s → published [`detail::Entry`]s → [`summary::answer`].
//!
//! It goes one way. The modules stand in that order; `ARCHITECTURE.md` says what must never be.

pub mod settings;

pub mod handler;
pub mod payload;
pub mod run;

pub mod trigger;

pub mod deployment;
pub mod list;

pub mod patterns;
pub mod plan;

pub mod cancel;
pub mod settle;

pub mod outcome;

pub mod detail;
pub mod publish;
pub mod summary;

pub mod invocation_error;
pub mod logging;
pub mod metrics;

pub mod engine;
pub mod event_bridge;

pub mod backoff;
pub mod call_error;
pub mod calls;
pub mod clock;
pub mod pace;
pub mod sdk_config;
pub mod start;
pub mod text;
pub mod timestamp;
pub mod transport;
