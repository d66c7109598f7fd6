//! The local AWS: what the function needs of AWS, on one port or in process.
//!
//! The way of the data: a request comes through a door ([`LocalAws::serve`], a socket, or
//! [`LocalAws::http_client`], the SDK's own client in process); the core lets everything happen
//! that is due at the clock's time, lets a fault of the world come between, or hands the request
//! to its service; the door sends what the core decided.
//!
//! The modules, in reading order:
//!
//! - `world`, `stack` (with `world_file`, `stack_file`): what stands in the account, and its
//!   script; `stack_status`; `as_stacks`: one and the same account for either engine;
//! - `faults`: what goes wrong, by chance or by script;
//! - `clock`: what time it is;
//! - `core`: from a request to a reply, and the record of calls;
//! - `operation`, `model`, `json_protocol`, `query_protocol`: which operations there are, what
//!   their requests must be, and how answers and errors go over the wire;
//! - `proton`, `cloudformation` (with `live_stack`), `event_bridge`, `runtime_api`: the services;
//! - `local_aws`: the core with a clock and the waits around it;
//! - `socket`, `in_process`: the doors;
//! - `function_process`: the real binary under the Runtime API.

mod account;
mod clock;
mod cloudformation;
mod core;
mod event_bridge;
mod faults;
mod file_value;
mod function_process;
mod http_client;
mod identity;
mod local_aws;
mod proton;
mod queue;
mod runtime_api;
mod server;
mod wire;
mod world;

pub use crate::account::deployment::{Deployment, Ending, Moment};
pub use crate::account::environment::Environment;
pub use crate::account::script::{Effect, ScriptedEvent, Timing};
pub use crate::account::snapshot::{
    DeploymentSnapshot, EnvironmentSnapshot, StackSnapshot, UpdateSnapshot,
};
pub use crate::account::status::{StackStatus, Status};
pub use crate::clock::Clock;
pub use crate::cloudformation::{CloudFormationOptions, RepeatedToken};
pub use crate::core::{Answer, Call};
pub use crate::event_bridge::Event;
pub use crate::faults::{Chances, Fault, Faults, Refusal, Rule, Throttle};
pub use crate::function_process::{FunctionProcess, FunctionProcessError, Line, Stream};
pub use crate::local_aws::LocalAws;
pub use crate::queue::{Delivery, Queue, QueueSettings};
pub use crate::runtime_api::{Invocation, InvocationResult};
pub use crate::server::Server;
pub use crate::wire::operation::{Operation, Service};
pub use crate::wire::time::rfc3339;
pub use crate::world::{Function, World, WorldError};
