//! Outcomes, and how they are reported: events, the summary, metrics and logs.

pub mod detail;
pub mod event_bridge;
pub mod metrics;
pub mod outcome;
pub mod publish;
pub mod record;
pub mod summary;
