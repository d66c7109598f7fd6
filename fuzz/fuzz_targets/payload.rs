//! Hands the decoder any bytes as a payload and checks the invariants of all payloads.
#![no_main]

#[path = "../../tests/decoder/properties.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|payload: &[u8]| {
    properties::hold(payload);
});
