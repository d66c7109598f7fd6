//! The local AWS as a program: `cargo local EVENT` and `cargo local serve`.

mod arguments;
mod event_times;
mod follow;
mod report;
mod run;
mod serve;

use std::process::ExitCode;

use anstream::{eprintln, print};

use crate::arguments::Command;

/// The status of a usage error, as everywhere.
const USAGE: u8 = 2;

/// Why the program ends without having done what it was asked to.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// What was asked for cannot be done: arguments, files, ports.
    #[error("{0}")]
    Usage(String),
    /// It was tried, and failed.
    #[error("{0}")]
    Trial(String),
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match arguments::parse(lexopt::Parser::from_env()) {
        Ok(Command::Help) => {
            print!("{}", arguments::HELP);
            return ExitCode::SUCCESS;
        }
        Ok(Command::Run(options)) => run::run(options).await,
        Ok(Command::Serve(options)) => serve::serve(options).await,
        Err(error) => Err(Failure::Usage(format!(
            "{error}; `cargo local --help` shows what there is"
        ))),
    };
    match done {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("error: {failure}");
            match failure {
                Failure::Usage(_) => ExitCode::from(USAGE),
                Failure::Trial(_) => ExitCode::FAILURE,
            }
        }
    }
}
