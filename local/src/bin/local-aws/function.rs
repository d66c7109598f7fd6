//! The function's binary, as cargo builds it.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;
use tokio::process::Command;

use crate::failure::Failure;

const PACKAGE: &str = "proton-canceller";

/// A message in which cargo describes a build's artifact.
#[derive(Deserialize)]
struct Artifact {
    reason: String,
    executable: Option<PathBuf>,
}

/// Builds the function and returns its path.
pub(crate) async fn build() -> Result<PathBuf, Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut command = Command::new(cargo);
    command.args(["build", "--package", PACKAGE, "--bin", PACKAGE]);
    // A person sees cargo's progress, a script only its errors.
    if !std::io::stderr().is_terminal() {
        command.arg("--quiet");
    }
    let built = command
        .arg("--message-format=json-render-diagnostics")
        .arg("--manifest-path")
        .arg(root.join("Cargo.toml"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .await
        .map_err(|error| Failure::Trial(format!("cargo cannot be started: {error}")))?;
    if !built.status.success() {
        return Err(Failure::Trial("the function cannot be built".to_owned()));
    }
    String::from_utf8_lossy(&built.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Artifact>(line).ok())
        .filter(|artifact| artifact.reason == "compiler-artifact")
        .find_map(|artifact| artifact.executable)
        .ok_or_else(|| Failure::Trial("cargo built no executable".to_owned()))
}
