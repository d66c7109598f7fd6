//! Any bytes as a payload, held against what is promised of all of them.
#![no_main]

#[path = "../../tests/decoder/promises.rs"]
mod promises;

libfuzzer_sys::fuzz_target!(|payload: &[u8]| {
    promises::hold(payload);
});
