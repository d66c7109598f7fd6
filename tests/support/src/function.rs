//! The local AWS with the function's process.

use std::path::Path;

use local_aws::{Clock, FunctionProcess, LocalAws, Server, World};
use tokio::net::TcpListener;

/// A local AWS and its HTTP server, which stops when dropped.
pub struct Aws {
    /// The local AWS.
    pub local: LocalAws,
    /// The HTTP server.
    pub server: Server,
}

impl Aws {
    /// Starts the local AWS and its HTTP server.
    pub async fn start(world: World) -> Self {
        let local = LocalAws::new(world, Clock::system());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let server = local.serve(listener);
        Self { local, server }
    }

    /// Starts the function's binary with these environment variables.
    pub fn start_function<'a>(
        &self,
        program: impl AsRef<Path>,
        variables: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> FunctionProcess {
        let variables = variables.into_iter();
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        FunctionProcess::start(program, &self.server, variables).unwrap()
    }
}
