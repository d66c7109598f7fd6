//! The local AWS: what the function needs of AWS, on one port or in process.
//!
//! Data flow: a request comes from the HTTP server ([`LocalAws::serve`]) or the in-process client
//! ([`LocalAws::http_client`]). The core carries out everything that is due at the clock's time,
//! injects a fault of the world, or hands the request to its service. The server or the client
//! sends the response.
//!
//! | module | contents |
//! |---|---|
//! | `world` | the account and the options with which the local AWS starts |
//! | `account` | environments, deployments, their script and file format; the live account |
//! | `faults` | injected faults |
//! | `core` | from a request to a response, and the record of calls |
//! | `proton`, `cloudformation` | two APIs on the one account |
//! | `event_bridge`, `runtime_api`, `queue` | the other services |
//! | `wire` | operations, service models, protocols |
//! | `local_aws` | the core with a clock and the waits around it |
//! | `server`, `http_client` | the two ways in |
//! | `function_process` | the real binary under the Runtime API |

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
mod setters;
mod wire;
mod world;

pub use crate::account::deployment::{Deployment, Ending, Moment};
pub use crate::account::environment::Environment;
pub use crate::account::script::{Effect, ScriptedEvent, Timing};
pub use crate::account::snapshot::{DeploymentSnapshot, EnvironmentSnapshot};
pub use crate::account::status::{StackStatus, Status};
pub use crate::clock::Clock;
pub use crate::cloudformation::{CloudFormationOptions, RepeatedToken};
pub use crate::core::call::{Answer, Call};
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
