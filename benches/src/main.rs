//! Measures the function against its yardsticks and writes `BENCHMARKS.md`, which describes both.
//!
//! ```text
//! cargo run --release --package benches [-- OPTIONS]
//!   --runs N           runs of each measurement (11)
//!   --only NAME,..     only these: start, first-cancel, fan-out, ten-thousand, throttled, following,
//!                      follower, memory, size, cpu, growth; prints the tables and writes nothing
//!   --function FILE    measures this binary; prints the tables and writes nothing
//! ```
//!
//! Data flow: [`setup::Setup`] (the programs) → [`measurements`] (each opens a [`job::Job`] on a
//! [`stage::Stage`]) → [`row::Row`]s → [`page`] and [`plot`].

mod bare_client;
mod floor;
mod job;
mod measurements;
mod page;
mod payload;
mod plot;
mod process;
mod programs;
mod row;
mod setup;
mod stage;
mod statistics;
mod text;
mod tls;
mod units;

use anyhow::{Context as _, Result, bail};
use lexopt::Arg::{Long, Short, Value};

use crate::measurements::{Figures, Measurement};
use crate::page::Machine;
use crate::process::Program;
use crate::setup::Setup;

/// The command line.
#[derive(Debug)]
struct Options {
    runs: usize,
    /// The measurements to make, in the order of the rows.
    measurements: Vec<Measurement>,
    function: Option<Program>,
    /// True if the figures are written to `BENCHMARKS.md`.
    writes: bool,
}

impl Options {
    fn read(mut arguments: lexopt::Parser) -> Result<Self> {
        let mut options = Self {
            runs: 11,
            measurements: Measurement::ALL.to_vec(),
            function: None,
            writes: true,
        };
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("runs") => options.runs = arguments.value()?.to_string_lossy().parse()?,
                Long("only") => {
                    let names = arguments.value()?.to_string_lossy().into_owned();
                    let only = names
                        .split(',')
                        .map(str::parse)
                        .collect::<Result<Vec<Measurement>>>()?;
                    options.measurements.retain(|one| only.contains(one));
                    options.writes = false;
                }
                Long("function") => {
                    options.function = Some(Program::of(arguments.value()?));
                    options.writes = false;
                }
                other @ (Long(_) | Short(_) | Value(_)) => return Err(other.unexpected().into()),
            }
        }
        if options.runs == 0 {
            bail!("invalid `--runs` `0`: use 1 or more");
        }
        Ok(options)
    }

    /// True if a chosen measurement needs something.
    fn needs(&self, is_needed: impl Fn(Measurement) -> bool) -> bool {
        self.measurements.iter().copied().any(is_needed)
    }

    /// Builds the programs that the chosen measurements need.
    fn set_up(&self) -> Result<Setup> {
        let folder = programs::target().join("benches");
        std::fs::create_dir_all(&folder)?;
        Ok(Setup {
            function: match &self.function {
                Some(program) => program.clone(),
                None => programs::release("proton-canceller")?,
            },
            bare: self
                .needs(Measurement::needs_bare)
                .then(|| programs::release("bare-function"))
                .transpose()?,
            plain: self
                .needs(Measurement::needs_plain)
                .then(programs::plain)
                .transpose()?,
            python: self
                .needs(Measurement::needs_python)
                .then(programs::python)
                .transpose()?,
            runs: self.runs,
            folder,
        })
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::read(lexopt::Parser::from_env())?;
    let setup = options.set_up()?;
    let machine = Machine::read(setup.python.as_ref())?;
    let mut figures = Figures::default();
    for measurement in &options.measurements {
        let name = measurement.name();
        eprintln!("measuring {name}");
        measurement
            .measure(&setup, &mut figures)
            .await
            .with_context(|| format!("measuring `{name}` failed"))?;
    }
    println!("{}", page::tables(&figures.rows, &figures.growth));
    if options.writes {
        let text = page::render(&machine, &figures.rows, &figures.growth)?;
        std::fs::write(programs::root().join("BENCHMARKS.md"), text)?;
        let folder = programs::root().join("benches");
        plot::targets(&figures.rows, &folder.join("targets.svg"))?;
        plot::growth(&figures.growth, &folder.join("growth.svg"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(arguments: &[&str]) -> Result<Options> {
        Options::read(lexopt::Parser::from_args(arguments))
    }

    #[test]
    fn a_part_of_the_measurements_is_not_written() {
        assert!(options(&["--runs", "21"]).unwrap().writes);
        let part = options(&["--only", "growth,start"]).unwrap();
        assert!(!part.writes);
        assert_eq!(part.measurements, [Measurement::Start, Measurement::Growth]);
        assert!(!options(&["--function", "old"]).unwrap().writes);
    }

    #[test]
    fn a_bad_option_is_an_error() {
        for arguments in [["--runs", "0"], ["--only", "fast"], ["--fast", "1"]] {
            assert!(options(&arguments).is_err(), "{arguments:?}");
        }
    }
}
