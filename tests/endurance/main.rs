//! One process, many invocations: memory, threads and descriptors do not grow with the number of
//! invocations or environments.
//!
//! Two short measurements always run. Run the long ones with the release binary:
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
