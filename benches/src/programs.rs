//! The programs that are measured: built, installed, and weighed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use toml::{Table, Value};

use crate::process::Program;

/// Returns the folder of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns the folder that cargo builds in.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Builds a package of the workspace as a release.
///
/// The package is built by itself, because a build of several packages unites their features.
pub(crate) fn release(package: &str) -> Result<Program> {
    run(Command::new(env!("CARGO"))
        .args(["build", "--release", "--package", package])
        .current_dir(root()))?;
    Ok(Program::of(target().join("release").join(package)))
}

/// Builds the function with every default: the features of each dependency, the SDK's own HTTP client
/// on aws-lc, and cargo's release profile.
pub(crate) fn plain() -> Result<Program> {
    let folder = target().join("plain-build");
    // Files that the function no longer has would be built, too.
    let _ = std::fs::remove_dir_all(folder.join("src"));
    copy(&root().join("src"), &folder.join("src"))?;
    copy(&root().join("benches/plain"), &folder.join("src"))?;
    let manifest = std::fs::read_to_string(root().join("Cargo.toml"))?;
    std::fs::write(
        folder.join("Cargo.toml"),
        plain_manifest(manifest.parse()?)?.to_string(),
    )?;
    std::fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock"))?;
    run(Command::new(env!("CARGO"))
        .args(["build", "--release", "--target-dir"])
        .arg(folder.join("target"))
        .current_dir(&folder))?;
    Ok(Program::of(folder.join("target/release/proton-canceller")))
}

fn plain_manifest(mut manifest: Table) -> Result<Table> {
    let Some(Value::Table(mut dependencies)) = manifest.remove("dependencies") else {
        bail!("`Cargo.toml` has no table `dependencies`");
    };
    // Only the function's own transport uses these.
    for own in ["hyper-rustls", "webpki-roots"] {
        dependencies.remove(own);
    }
    for (name, dependency) in &mut dependencies {
        if let Value::Table(dependency) = dependency {
            dependency.remove("default-features");
            if name == "rustls" {
                dependency.remove("features");
            }
        }
    }
    dependencies.insert("aws-smithy-http-client".to_owned(), "1".into());
    let package = "name = 'proton-canceller'\nversion = '0.0.0'\nedition = '2024'\n";
    Ok(Table::from_iter([
        ("package".to_owned(), Value::Table(package.parse()?)),
        ("dependencies".to_owned(), Value::Table(dependencies)),
        // The folder is inside another workspace.
        ("workspace".to_owned(), Value::Table(Table::new())),
    ]))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let copy_of = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &copy_of)?;
        } else {
            std::fs::copy(entry.path(), copy_of)?;
        }
    }
    Ok(())
}

/// Installs the function in Python, with boto3 in a virtual environment.
pub(crate) fn python() -> Result<Program> {
    let environment = target().join("boto3-rival");
    run(Command::new("python3")
        .args(["-m", "venv"])
        .arg(&environment))?;
    let python = environment.join("bin/python");
    run(Command::new(&python)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .arg("--requirement")
        .arg(root().join("benches/requirements.txt")))?;
    let script = root().join("benches/boto3_rival.py");
    Ok(Program {
        path: python,
        arguments: vec![script.display().to_string()],
    })
}

/// Returns the size of a program as Lambda receives it, in bytes.
pub(crate) fn zipped(program: &Program) -> Result<u64> {
    let zip = target().join("bootstrap.zip");
    // `zip` adds to an archive that exists.
    let _ = std::fs::remove_file(&zip);
    run(Command::new("zip")
        .args(["-9", "--quiet", "--junk-paths"])
        .arg(&zip)
        .arg(&program.path))?;
    Ok(std::fs::metadata(zip)?.len())
}

/// Returns how many packages the function is built from, according to a manifest.
pub(crate) fn dependencies(manifest: &Path) -> Result<usize> {
    let tree = text_of(
        Command::new(env!("CARGO"))
            .args([
                "tree",
                "--edges",
                "normal,build",
                "--prefix",
                "none",
                "--manifest-path",
            ])
            .arg(manifest)
            .args(["--package", "proton-canceller", "--format", "{p}"]),
    )?;
    let packages: std::collections::BTreeSet<_> = tree
        .lines()
        .map(|line| line.trim_end_matches(" (*)"))
        .collect();
    // The function's own package is listed, too.
    Ok(packages.len().saturating_sub(1))
}

/// Returns the path of the plain build's manifest.
pub(crate) fn plain_manifest_path() -> PathBuf {
    target().join("plain-build/Cargo.toml")
}

/// Returns the standard output of a command.
pub(crate) fn text_of(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("starting `{command:?}` failed"))?;
    if !output.status.success() {
        bail!(
            "`{command:?}` failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("starting `{command:?}` failed"))?;
    if !status.success() {
        bail!("`{command:?}` failed: {status}");
    }
    Ok(())
}
