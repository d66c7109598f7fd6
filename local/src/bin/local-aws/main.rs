//! The local AWS as a program: `cargo local EVENT` and `cargo local serve`.

mod arguments;
mod event_times;
mod failure;
mod follow;
mod function;
mod report;
mod run;
mod serve;
mod trial;

use std::process::ExitCode;

use anstream::{eprintln, print};

use crate::arguments::Command;
use crate::failure::Failure;

/// The status of a usage error, as everywhere.
const USAGE: u8 = 2;

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
