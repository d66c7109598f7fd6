//! The contract, over the wire: the built binary under the Runtime API, against the local AWS on a
//! socket. One module a chapter of the contract; `harness` runs the function, `invariants` checks what
//! must hold of every run, and `payloads` writes what goes in.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "these are tests: a panic is how they fail"
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
