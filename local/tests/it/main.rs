//! The local AWS over HTTP and in process.
#![expect(
    clippy::unwrap_used,
    reason = "a helper that cannot do its work fails the test that called it"
)]
#![expect(deprecated, reason = "AWS ended Proton; its SDK marks every operation")]

mod cloudformation;
mod events;
mod faults;
mod proton;
mod runtime_api;
mod support;
mod wire;
