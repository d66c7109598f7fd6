//! Processes that are measured: a function as Lambda starts it.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::resource::{Usage, UsageWho, getrusage};

/// A program that plays the function.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) arguments: Vec<String>,
}

impl Program {
    pub(crate) fn of(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            arguments: Vec::new(),
        }
    }

    /// Starts it with what Lambda sets, and these variables besides.
    pub(crate) fn start(
        &self,
        runtime_api: &str,
        variables: &BTreeMap<String, String>,
    ) -> Result<Process> {
        let before = cpu_of_children()?;
        let child = Command::new(&self.path)
            .args(&self.arguments)
            .env_clear()
            .envs(LAMBDA)
            .env("AWS_LAMBDA_RUNTIME_API", runtime_api)
            .envs(variables)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("{} does not start", self.path.display()))?;
        Ok(Process { child, before })
    }

    /// How long it takes from the start to the first request for an event.
    pub(crate) fn time_to_first_next(
        &self,
        variables: &BTreeMap<String, String>,
    ) -> Result<Duration> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?.to_string();
        let begun = Instant::now();
        let process = self.start(&address, variables)?;
        let (mut stream, _) = listener.accept()?;
        let mut head = Vec::new();
        let mut buffer = [0; 4096];
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            let count = stream.read(&mut buffer)?;
            if count == 0 {
                bail!("{} asks for no event", self.path.display());
            }
            head.extend(buffer.iter().take(count));
        }
        let time = begun.elapsed();
        if !head.starts_with(b"GET /2018-06-01/runtime/invocation/next ") {
            bail!(
                "not a request for an event: {}",
                String::from_utf8_lossy(&head)
            );
        }
        process.end()?;
        // Nobody listens any more.
        let _ = stream.flush();
        Ok(time)
    }
}

/// What Lambda sets in a function's environment.
const LAMBDA: [(&str, &str); 9] = [
    ("AWS_LAMBDA_FUNCTION_NAME", "proton-canceller"),
    ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
    ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
    ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
    ("AWS_REGION", "us-east-1"),
    ("AWS_DEFAULT_REGION", "us-east-1"),
    ("AWS_ACCESS_KEY_ID", "AKIDLOCAL"),
    ("AWS_SECRET_ACCESS_KEY", "local"),
    ("PATH", "/usr/local/bin:/usr/bin:/bin"),
];

/// A process that runs.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    before: Duration,
}

/// What a process took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) cpu: Duration,
    /// The most memory that was resident, in KiB.
    pub(crate) peak_kib: u64,
}

impl Process {
    /// Ends it and tells what it took. Others must not end meanwhile.
    pub(crate) fn end(mut self) -> Result<Cost> {
        let peak_kib = self.peak_kib()?;
        self.child.kill()?;
        self.child.wait()?;
        Ok(Cost {
            cpu: cpu_of_children()?.saturating_sub(self.before),
            peak_kib,
        })
    }

    /// Waits until it has nothing to do any more, as after its start.
    pub(crate) async fn settled(&self) {
        let mut before = None;
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            // Time on a processor, in nanoseconds.
            let now = std::fs::read_to_string(format!("/proc/{}/schedstat", self.child.id())).ok();
            if now == before {
                return;
            }
            before = now;
        }
    }

    fn peak_kib(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|value| value.trim().strip_suffix(" kB"))
            .context("the system does not tell the peak of memory")?
            .parse()
            .context("the peak of memory is no number")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already where all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn cpu_of_children() -> Result<Duration> {
    fn total(usage: &Usage) -> Option<Duration> {
        let part = |time: nix::sys::time::TimeVal| {
            Some(
                Duration::from_secs(u64::try_from(time.tv_sec()).ok()?)
                    + Duration::from_micros(u64::try_from(time.tv_usec()).ok()?),
            )
        };
        Some(part(usage.user_time())? + part(usage.system_time())?)
    }
    total(&getrusage(UsageWho::RUSAGE_CHILDREN)?).context("a negative time")
}
