//! Measures the function against its yardsticks and writes `BENCHMARKS.md`, which says how.
//!
//! ```text
//! cargo run --release --package benches [-- OPTIONS]
//!   --runs N           runs of each measurement (11)
//!   --only NAME,..     only these: start, first-cancel, fan-out, throttled, following, memory,
//!                      size, cpu, growth; the table is shown and not written
//!   --function FILE    measures this binary; the table is shown and not written
//! ```

mod plot;
mod process;
mod programs;
mod report;
mod rows;
mod stage;
mod statistics;
mod tls;

use std::process::Command;

use anyhow::{Context as _, Result};
use lexopt::Arg::{Long, Short, Value};

use crate::process::Program;
use crate::rows::Bench;

#[derive(Debug)]
struct Options {
    runs: usize,
    only: Option<String>,
    function: Option<Program>,
}

impl Options {
    fn read() -> Result<Self> {
        let mut options = Self {
            runs: 11,
            only: None,
            function: None,
        };
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("runs") => options.runs = arguments.value()?.to_string_lossy().parse()?,
                Long("only") => {
                    options.only = Some(arguments.value()?.to_string_lossy().into_owned());
                }
                Long("function") => options.function = Some(Program::of(arguments.value()?)),
                other @ (Long(_) | Short(_) | Value(_)) => return Err(other.unexpected().into()),
            }
        }
        Ok(options)
    }

    fn wants(&self, name: &str) -> bool {
        self.only
            .as_deref()
            .is_none_or(|only| only.split(',').any(|it| it == name))
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::read()?;
    let folder = programs::target().join("benches");
    std::fs::create_dir_all(&folder)?;
    let bench = Bench {
        function: match &options.function {
            Some(program) => program.clone(),
            None => programs::release("proton-canceller")?,
        },
        bare: programs::release("bare-function")?,
        rival: options.wants("cpu").then(programs::rival).transpose()?,
        plain: (options.wants("start") || options.wants("size"))
            .then(programs::plain)
            .transpose()?,
        runs: options.runs,
        folder,
    };

    let mut rows = Vec::new();
    if options.wants("start") {
        rows.extend(bench.start().await?);
    }
    if options.wants("first-cancel") {
        rows.extend(bench.first_cancel().await?);
    }
    if options.wants("fan-out") {
        rows.extend(bench.fan_out().await?);
    }
    if options.wants("throttled") {
        rows.extend(bench.throttled().await?);
    }
    if options.wants("following") {
        rows.extend(bench.following().await?);
    }
    if options.wants("follower") {
        rows.extend(bench.follower().await?);
    }
    if options.wants("memory") {
        rows.extend(bench.memory().await?);
    }
    if options.wants("size") {
        rows.extend(bench.size()?);
    }
    if options.wants("cpu") {
        rows.extend(bench.cpu().await?);
    }
    let table = report::table(&rows);
    let growth = if options.wants("growth") {
        bench.growth().await?
    } else {
        Vec::new()
    };
    let grown = report::growth(&growth);
    println!("{table}\n{grown}");
    if options.only.is_some() || options.function.is_some() {
        return Ok(());
    }

    let rival = bench.rival.as_ref().context("there is no rival")?;
    let python = programs::text_of(Command::new(&rival.path).args([
        "-c",
        "import boto3, platform; print('Python', platform.python_version() + ', boto3', boto3.__version__)",
    ]))?;
    let machine = report::machine(options.runs, Some(python.trim()))?;
    report::publish(&format!(
        "{machine}\n{table}\n![Each ratio as a share of its target](benches/targets.svg)\n\n{grown}\n![How the cost grows](benches/growth.svg)\n"
    ))?;
    let benches = programs::root().join("benches");
    plot::targets(&rows, &benches.join("targets.svg"))?;
    plot::growth(&growth, &benches.join("growth.svg"))?;
    Ok(())
}
