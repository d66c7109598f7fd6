//! One process, many invocations: no task is left behind by one, and nothing grows with their number
//! or with the number of environments.
//!
//! Every run of the tests has a short measurement; the full size is asked for, with the binary that
//! ships:
//!
//! ```console
//! $ cargo build --release
//! $ PROTON_CANCELLER_FUNCTION=target/release/proton-canceller \
//!       cargo test --test endurance -- --ignored --nocapture --test-threads 1
//! ```
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[cfg(target_os = "linux")]
mod resources;
mod tasks;
