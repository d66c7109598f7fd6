//! Processes that are measured, started as Lambda starts a function.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Error, Result, anyhow, bail};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::resource::{Usage, UsageWho, getrusage};

/// The time between two checks whether a process has ended, in milliseconds.
const CHECK_INTERVAL: u8 = 100;

/// A program that Lambda could run as a function.
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

    /// Starts the program with the variables of Lambda and these.
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
            .with_context(|| format!("starting `{}` failed", self.path.display()))?;
        Ok(Process {
            path: self.path.clone(),
            child,
            before,
        })
    }

    /// Returns the time from before the start to the first request for an event.
    pub(crate) fn time_to_first_next(
        &self,
        variables: &BTreeMap<String, String>,
    ) -> Result<Duration> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?.to_string();
        let begun = Instant::now();
        let mut process = self.start(&address, variables)?;
        let mut stream = process.connection(&listener)?;
        let mut head = Vec::new();
        let mut buffer = [0; 4096];
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            let count = stream.read(&mut buffer)?;
            if count == 0 {
                bail!(
                    "`{}` closed its connection before it asked for an event",
                    self.path.display()
                );
            }
            head.extend(buffer.iter().take(count));
        }
        let time = begun.elapsed();
        if !head.starts_with(b"GET /2018-06-01/runtime/invocation/next ") {
            bail!(
                "expected a request for an event, got `{}`",
                String::from_utf8_lossy(&head)
            );
        }
        process.end()?;
        Ok(time)
    }
}

/// The variables that Lambda sets.
const LAMBDA: [(&str, &str); 9] = [
    ("AWS_LAMBDA_FUNCTION_NAME", "proton-canceller"),
    ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
    ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
    ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
    ("AWS_REGION", "us-east-1"),
    ("AWS_DEFAULT_REGION", "us-east-1"),
    ("AWS_ACCESS_KEY_ID", "AKIDLOCAL"),
    ("AWS_SECRET_ACCESS_KEY", "local"),
    ("PATH", "/usr/local/bin:/usr/bin:/bin"),
];

/// A running process. Dropping it ends the process.
#[derive(Debug)]
pub(crate) struct Process {
    path: PathBuf,
    child: Child,
    /// The CPU time of the processes that ended before this one started.
    before: Duration,
}

/// The cost of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// User and system time.
    pub(crate) cpu: Duration,
    /// The peak of resident memory, in KiB.
    pub(crate) peak_kib: u64,
}

impl Process {
    /// Ends the process and returns its cost. No other process may have ended since the start.
    pub(crate) fn end(mut self) -> Result<Cost> {
        let peak_kib = self.peak_kib()?;
        self.child.kill()?;
        self.child.wait()?;
        Ok(Cost {
            cpu: cpu_of_children()?.saturating_sub(self.before),
            peak_kib,
        })
    }

    /// Returns the error of a process that ended by itself. Waits until it does.
    pub(crate) async fn early_end(&mut self) -> Error {
        loop {
            if let Err(error) = self.check_runs() {
                return error;
            }
            tokio::time::sleep(Duration::from_millis(CHECK_INTERVAL.into())).await;
        }
    }

    /// Fails if the process has ended by itself.
    fn check_runs(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => Err(anyhow!(
                "`{}` ended early, with {status}",
                self.path.display()
            )),
            None => Ok(()),
        }
    }

    /// Accepts the first connection of the process. Fails if the process ends before.
    fn connection(&mut self, listener: &TcpListener) -> Result<TcpStream> {
        let mut arrival = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        while poll(&mut arrival, CHECK_INTERVAL)? == 0 {
            self.check_runs()?;
        }
        Ok(listener.accept()?.0)
    }

    /// Waits until the process uses no CPU time, as after its start.
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
            .context("`/proc/PID/status` has no `VmHWM`")?
            .parse()
            .context("`VmHWM` is not a number")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail if the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the CPU time of all processes that were started here and have ended.
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
    total(&getrusage(UsageWho::RUSAGE_CHILDREN)?).context("`getrusage` returned a negative time")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_ends_before_it_asks_for_an_event_is_an_error() {
        let program = Program {
            arguments: vec!["-c".to_owned(), "exit 3".to_owned()],
            ..Program::of("/bin/sh")
        };
        let error = program.time_to_first_next(&BTreeMap::new()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`/bin/sh` ended early, with exit status: 3"
        );
    }
}
