//! A local AWS with a function under its Runtime API.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use local_aws::{
    Answer, Call, Clock, Invocation, InvocationResult, LocalAws, Operation, Server, Service, World,
};
use tokio::net::TcpListener;

use crate::payload::alarm;
use crate::process::{Process, Program};
use crate::tls::TlsDoor;

/// A local AWS that listens, and the variables of a function that uses it.
pub(crate) struct Stage {
    pub(crate) local: LocalAws,
    server: Server,
    pub(crate) tls: Option<TlsDoor>,
    variables: BTreeMap<String, String>,
}

/// The result of one invocation.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// The time from handing over the event to the response.
    pub(crate) time: Duration,
    pub(crate) calls: Vec<Call>,
}

impl Run {
    /// Returns how many calls of an operation succeeded.
    pub(crate) fn accepted(&self, operation: Operation) -> usize {
        self.calls
            .iter()
            .filter(|call| call.operation == operation.to_string() && call.answer == Answer::Ok)
            .count()
    }

    /// Returns how many calls of Proton were made, throttled ones included.
    pub(crate) fn proton_calls(&self) -> usize {
        self.calls
            .iter()
            .filter(|call| call.service == Service::Proton)
            .count()
    }

    /// Returns when the first cancel reached Proton.
    pub(crate) fn first_cancel(&self) -> Result<SystemTime> {
        self.calls
            .iter()
            .find(|call| call.operation == Operation::CancelEnvironmentDeployment.to_string())
            .map(|call| call.time)
            .context("the run made no cancel")
    }
}

impl Stage {
    pub(crate) async fn open(
        world: World,
        mut variables: BTreeMap<String, String>,
        tls: bool,
        folder: &Path,
    ) -> Result<Self> {
        let local = LocalAws::new(world, Clock::system());
        let server = local.serve(TcpListener::bind(("127.0.0.1", 0)).await?);
        let tls = if tls {
            Some(TlsDoor::open(server.address(), folder).await?)
        } else {
            None
        };
        match &tls {
            Some(tls) => variables.extend(tls.variables()),
            None => {
                variables.insert("AWS_ENDPOINT_URL".to_owned(), server.endpoint_url());
            }
        }
        Ok(Self {
            local,
            server,
            tls,
            variables,
        })
    }

    /// The host and the port of the HTTP server.
    pub(crate) fn address(&self) -> String {
        self.server.address()
    }

    pub(crate) fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    pub(crate) fn start(&self, program: &Program) -> Result<Process> {
        program.start(&self.server.address(), &self.variables)
    }

    /// Starts a function and waits until it waits for an event.
    pub(crate) async fn start_and_settle(&self, program: &Program) -> Result<Process> {
        let process = self.start(program)?;
        process.settled().await;
        Ok(process)
    }

    /// Invokes the function with an alarm that fires now.
    pub(crate) async fn invoke(&self, process: &mut Process) -> Result<Run> {
        self.invoke_with(process, alarm(SystemTime::now())).await
    }

    /// Invokes the function with a payload. Fails if its process ends.
    pub(crate) async fn invoke_with(&self, process: &mut Process, payload: Bytes) -> Result<Run> {
        let before = self.local.calls().len();
        let begun = Instant::now();
        let result = tokio::select! {
            result = self.local.invoke(payload, Invocation::default()) => result,
            error = process.early_end() => return Err(error),
        };
        let time = begun.elapsed();
        if let InvocationResult::Error {
            error_type,
            error_message,
            ..
        } = result
        {
            bail!("the invocation failed: {error_type}: {error_message}");
        }
        Ok(Run {
            time,
            calls: self.local.calls().split_off(before),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_that_ends_during_an_invocation_is_an_error() {
        let folder = std::env::temp_dir();
        let stage = Stage::open(World::new(), BTreeMap::new(), false, &folder);
        let stage = stage.await.unwrap();
        let program = Program {
            arguments: vec!["-c".to_owned(), "exit 3".to_owned()],
            ..Program::of("/bin/sh")
        };
        let mut process = stage.start(&program).unwrap();
        let error = stage.invoke(&mut process).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "`/bin/sh` ended early, with exit status: 3"
        );
    }
}
