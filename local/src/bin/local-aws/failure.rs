//! Errors of the program.

/// The reason why the program failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Invalid arguments, files or ports.
    #[error("{0}")]
    Usage(String),
    /// A failure during the trial.
    #[error("{0}")]
    Trial(String),
}
