//! The documentation against the code: links, names, and the output of the README's demo.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod demo;
mod links;
mod names;
mod pages;
