//! The parts that all AWS clients share: configuration, transport and errors.

pub mod backoff;
pub mod call_error;
pub mod endpoint;
pub mod transport;
