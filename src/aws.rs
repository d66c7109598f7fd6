//! What all AWS clients share: configuration, transport and errors.

pub mod backoff;
pub mod call_error;
pub mod sdk_config;
pub mod transport;
