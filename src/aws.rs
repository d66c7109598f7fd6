//! The parts that all AWS clients share: configuration, transport and errors.

pub(crate) mod backoff;
pub mod call_error;
pub(crate) mod endpoint;
pub(crate) mod resolver;
pub(crate) mod transport;
