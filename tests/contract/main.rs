//! The contract over the wire: the built binary under the Runtime API, against the local AWS's HTTP
//! server. One module a section of the contract. `harness` runs the function, and `invariants`
//! checks every run.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod cancelling;
mod engines;
mod failures;
mod follow;
mod harness;
mod hostile;
mod invariants;
mod log_filter;
mod logs;
mod published;
mod rules;
mod settings;
mod triggers;
