//! Outcomes, and how they are reported: events, the summary, metrics and logs.

pub mod detail;
pub mod event_bridge;
pub(crate) mod metrics;
pub mod outcome;
pub(crate) mod publish;
pub(crate) mod record;
pub mod summary;
