//! Payloads, servers and the function's process, which the test suites and the benchmarks share.
#![expect(
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

pub mod function;
pub mod payloads;
pub mod tls;
