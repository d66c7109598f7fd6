//! What goes into `BENCHMARKS.md`.

use std::fmt::Write as _;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::programs::{root, text_of};
use crate::rows::Growth;
use crate::statistics::{Samples, short};

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) what: String,
    pub(crate) yardstick: String,
    pub(crate) ours: String,
    pub(crate) theirs: String,
    pub(crate) ratio: Samples,
    /// The most that the median of the ratio may be.
    pub(crate) target: Option<f64>,
}

impl Row {
    fn is_met(&self) -> Option<bool> {
        self.target.map(|target| self.ratio.median() <= target)
    }
}

pub(crate) fn table(rows: &[Row]) -> String {
    let mut table = String::from(
        "| what | yardstick | function | yardstick | ratio | target | |\n|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let verdict = match row.is_met() {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "",
        };
        let target = row.target.map(|target| format!("≤ {}", short(target)));
        let _ = writeln!(
            table,
            "| {} | {} | {} | {} | {} | {} | {verdict} |",
            row.what,
            row.yardstick,
            row.ours,
            row.theirs,
            row.ratio,
            target.unwrap_or_default(),
        );
    }
    table
}

pub(crate) fn growth(points: &[Growth]) -> String {
    let mut table = String::from(
        "| | calls | their floor | time, ms | CPU time, ms | peak memory, MiB |\n|---|---|---|---|---|---|\n",
    );
    for point in points {
        let _ = writeln!(
            table,
            "| {} {} | {} | {} ms | {} | {} | {} |",
            point.size,
            point.by,
            point.calls,
            point.floor.as_millis(),
            point.time,
            point.cpu,
            point.memory,
        );
    }
    table
}

/// What was measured on, and with.
pub(crate) fn machine(runs: usize, python: Option<&str>) -> Result<String> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("", |line| line.trim_start_matches(['\t', ' ', ':']));
    let processors = std::thread::available_parallelism()?;
    let memory = std::fs::read_to_string("/proc/meminfo")?;
    let memory: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"))
        .context("the system does not tell its memory")?
        .parse()?;
    let kernel = text_of(Command::new("uname").args(["-s", "-r", "-m"]))?;
    let rustc = text_of(Command::new("rustc").arg("--version").current_dir(root()))?;
    let python = python.unwrap_or("no rival");
    Ok(format!(
        "{processors} processors ({model}), {} GiB; {}; {}; {python}; medians of {runs} runs and more, in brackets the least and the most.\n",
        memory.div_ceil(1 << 20),
        kernel.trim(),
        rustc.trim(),
    ))
}

/// Puts the measurements where the last ones stand.
pub(crate) fn publish(measurements: &str) -> Result<()> {
    const BEGIN: &str = "<!-- measured: by `cargo run --release --package benches` -->\n";
    const END: &str = "<!-- end -->";
    let file = root().join("BENCHMARKS.md");
    let text = std::fs::read_to_string(&file)?;
    let (before, rest) = text.split_once(BEGIN).context("no place for the table")?;
    let (_, after) = rest.split_once(END).context("no end of the table")?;
    std::fs::write(
        file,
        format!("{before}{BEGIN}\n{measurements}\n{END}{after}"),
    )?;
    Ok(())
}
