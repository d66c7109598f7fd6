//! What all AWS clients share: configuration, transport and errors.

pub mod call_error;
pub mod endpoint;
pub mod transport;
