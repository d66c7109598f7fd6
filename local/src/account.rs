//! What stands in the account, and what becomes of it.

pub(crate) mod live_stack;
pub(crate) mod stack;
pub(crate) mod stack_file;
pub(crate) mod status;
pub(crate) mod world_file;
