//! The documentation against the code: links, names, and the output of the README's demo.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod demo;
mod links;
mod names;
mod pages;
