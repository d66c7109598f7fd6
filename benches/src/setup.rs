//! The programs that are measured, and how often.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::process::Program;

/// The programs that are measured, and how often. A program that no chosen benchmark needs is not
/// built.
pub(crate) struct Setup {
    pub(crate) function: Program,
    pub(crate) bare: Option<Program>,
    pub(crate) plain: Option<Program>,
    pub(crate) python: Option<Program>,
    /// The runs of each measurement. Quick ones run more often, long ones less.
    pub(crate) runs: usize,
    /// A folder for files that last as long as a measurement.
    pub(crate) folder: PathBuf,
}

impl Setup {
    /// The bare function.
    pub(crate) fn bare(&self) -> Result<&Program> {
        self.bare.as_ref().context("the bare function is not built")
    }

    /// The plain build of the function.
    pub(crate) fn plain(&self) -> Result<&Program> {
        self.plain.as_ref().context("the plain build is not built")
    }

    /// The function in Python.
    pub(crate) fn python(&self) -> Result<&Program> {
        self.python
            .as_ref()
            .context("the function in Python is not installed")
    }
}
