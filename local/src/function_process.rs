//! The real binary, under the Runtime API.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::local_aws::LocalAws;
use crate::server::Server;

/// A stream that a process writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// The standard output.
    Stdout,
    /// The standard error.
    Stderr,
}

/// A line that the function wrote, without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The stream.
    pub stream: Stream,
    /// The text of the line.
    pub text: String,
}

/// A process that could not be started.
#[derive(Debug, thiserror::Error)]
#[error("`{}` cannot be started: {source}", program.display())]
pub struct FunctionProcessError {
    program: PathBuf,
    source: std::io::Error,
}

/// The function's process. Dropping the value kills the process.
#[derive(Debug)]
pub struct FunctionProcess {
    child: Child,
    lines: Arc<Mutex<Vec<Line>>>,
    readers: Vec<JoinHandle<()>>,
}

impl FunctionProcess {
    /// Starts the binary with the environment that Lambda gives it, with the server as AWS's endpoint,
    /// and with these variables. No variable of this process reaches it.
    pub fn start(
        program: impl AsRef<Path>,
        server: &Server,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, FunctionProcessError> {
        let endpoint = ("AWS_ENDPOINT_URL".to_owned(), server.endpoint_url());
        let variables = std::iter::once(endpoint).chain(variables);
        Self::start_without_endpoint(program, server, variables)
    }

    /// Starts the binary as [`Self::start`] does, and leaves it to the binary to find AWS's endpoint.
    pub fn start_without_endpoint(
        program: impl AsRef<Path>,
        server: &Server,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, FunctionProcessError> {
        let program = program.as_ref();
        let start = Command::new(program)
            .env_clear()
            .envs(lambda_environment(server))
            .envs(variables)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut child = start.map_err(|source| FunctionProcessError {
            program: program.to_owned(),
            source,
        })?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let stdout = child.stdout.take();
        let stderr = child.stderr.take();
        let readers = [
            stdout.map(|stdout| tokio::spawn(read(stdout, Stream::Stdout, Arc::clone(&lines)))),
            stderr.map(|stderr| tokio::spawn(read(stderr, Stream::Stderr, Arc::clone(&lines)))),
        ];
        Ok(Self {
            child,
            lines,
            readers: readers.into_iter().flatten().collect(),
        })
    }

    /// Returns the lines that the process has written so far, in order.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.clone()
    }

    /// Returns the process's ID while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until the process ends by itself and every line that it wrote is read.
    pub async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        for reader in self.readers.drain(..) {
            // A reader ends with the stream that it reads.
            let _ = reader.await;
        }
        Ok(status)
    }

    /// Waits until the process ends, and ends the invocations that wait for it.
    pub async fn watch(&mut self, local: &LocalAws) -> std::io::Result<ExitStatus> {
        let status = self.ended().await?;
        local.function_exited(&status.to_string());
        Ok(status)
    }

    /// Kills the process.
    pub async fn kill(&mut self) {
        // It fails only where the process has ended already.
        let _ = self.child.kill().await;
    }
}

/// Returns the variables that Lambda sets.
fn lambda_environment(server: &Server) -> [(&'static str, String); 8] {
    [
        ("AWS_LAMBDA_RUNTIME_API", server.address()),
        ("AWS_LAMBDA_FUNCTION_NAME", "proton-canceller".to_owned()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128".to_owned()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_DEFAULT_REGION", "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "AKIDLOCAL".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "local".to_owned()),
    ]
}

async fn read(stream: impl AsyncRead + Unpin, kind: Stream, lines: Arc<Mutex<Vec<Line>>>) {
    let mut reader = BufReader::new(stream);
    let mut bytes = Vec::new();
    while let Ok(count) = reader.read_until(b'\n', &mut bytes).await {
        if count == 0 {
            return;
        }
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end_matches(['\r', '\n']).to_owned();
        bytes.clear();
        let line = Line { stream: kind, text };
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(line);
    }
}
