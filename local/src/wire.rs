//! How requests, responses and errors go over the wire.

pub(crate) mod json;
pub(crate) mod model;
pub(crate) mod operation;
pub(crate) mod query;
pub(crate) mod time;
