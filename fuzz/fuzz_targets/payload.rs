//! Any bytes as a payload, held against what is promised of all of them.
#![no_main]

#[path = "../../tests/decoder/properties.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|payload: &[u8]| {
    properties::hold(payload);
});
