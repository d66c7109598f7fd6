//! The text of `BENCHMARKS.md`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process::Program;
use crate::programs::{root, text_of};
use crate::row::{GrowthPoint, Row};

/// The page, with a name in double braces for each generated part.
const TEMPLATE: &str = include_str!("../BENCHMARKS.template.md");

/// The version that was measured, and the machine.
#[derive(Debug)]
pub(crate) struct Machine {
    version: String,
    machine: String,
}

impl Machine {
    /// Reads the version of the function and what the machine says of itself.
    pub(crate) fn read(python: Option<&Program>) -> Result<Self> {
        let processors = std::thread::available_parallelism()?;
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo")?;
        let model = processor(&cpuinfo);
        let memory = memory_in_gib(&std::fs::read_to_string("/proc/meminfo")?)?;
        let kernel = text_of(Command::new("uname").args(["-s", "-r", "-m"]))?;
        let rustc = text_of(Command::new("rustc").arg("--version").current_dir(root()))?;
        let python = python
            .map(|program| version_of_python(&program.path))
            .transpose()?
            .unwrap_or_default();
        Ok(Self {
            version: version(),
            machine: format!(
                "{processors} processors ({model}), {memory} GiB of memory, {}, {}{python}",
                kernel.trim(),
                rustc.trim(),
            ),
        })
    }
}

/// Returns the text of the page.
pub(crate) fn render(machine: &Machine, rows: &[Row], growth: &[GrowthPoint]) -> Result<String> {
    let results: Vec<_> = rows.iter().filter_map(Row::result_line).collect();
    let parts = [
        ("results", results.join("\n")),
        ("version", machine.version.clone()),
        ("machine", machine.machine.clone()),
        ("rows", table(Row::HEAD, rows.iter().map(Row::cells))),
        (
            "growth",
            table(GrowthPoint::HEAD, growth.iter().map(GrowthPoint::cells)),
        ),
    ];
    let mut text = TEMPLATE.to_owned();
    for (name, part) in parts {
        let placeholder = format!("{{{{{name}}}}}");
        if !text.contains(&placeholder) {
            bail!("the template has no `{placeholder}`: add the placeholder to it");
        }
        text = text.replace(&placeholder, &part);
    }
    Ok(text)
}

/// Returns both tables.
pub(crate) fn tables(rows: &[Row], growth: &[GrowthPoint]) -> String {
    let rows = table(Row::HEAD, rows.iter().map(Row::cells));
    let growth = table(GrowthPoint::HEAD, growth.iter().map(GrowthPoint::cells));
    format!("{rows}\n\n{growth}")
}

fn table(head: &str, rows: impl Iterator<Item = String>) -> String {
    std::iter::once(head.to_owned())
        .chain(rows)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Returns the commit that was measured, and if files differed from it.
fn version() -> String {
    text_of(
        Command::new("git")
            .args(["describe", "--always", "--dirty"])
            .current_dir(root()),
    )
    .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

fn version_of_python(path: &Path) -> Result<String> {
    let script = "import boto3, platform; \
                  print(f', Python {platform.python_version()}, boto3 {boto3.__version__}')";
    let text = text_of(Command::new(path).args(["-c", script]))?;
    Ok(text.trim_end().to_owned())
}

/// Returns the model of the processor, according to `/proc/cpuinfo`.
fn processor(cpuinfo: &str) -> &str {
    cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown", |line| line.trim_start_matches(['\t', ' ', ':']))
}

/// Returns the memory of the machine, according to `/proc/meminfo`.
fn memory_in_gib(meminfo: &str) -> Result<u64> {
    let kibibytes: u64 = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"))
        .context("`/proc/meminfo` has no `MemTotal`")?
        .parse()?;
    Ok(kibibytes.div_ceil(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{Figure, ResultLine};
    use crate::statistics::Samples;

    fn page() -> String {
        let row = |name: &str, result| Row {
            name: name.to_owned(),
            title: "process start to the first `next`".to_owned(),
            yardstick: "a bare function".to_owned(),
            function: Figure::new(Samples::one(1.1), "ms"),
            reference: Figure::new(Samples::one(1.0), "ms"),
            ratio: Samples::one(1.1),
            target: Some(1.5),
            result,
        };
        let point = GrowthPoint::sample();
        let machine = Machine {
            version: "0123abc".to_owned(),
            machine: "2 processors".to_owned(),
        };
        let result = ResultLine {
            quantity: "until the start",
            yardstick: "a bare function",
        };
        let rows = [row("Start", Some(result)), row("Size", None)];
        render(&machine, &rows, &[point]).unwrap()
    }

    #[test]
    fn the_page_leads_with_the_results() {
        let page = page();
        let mut lines = page.lines().filter(|line| !line.is_empty());
        assert_eq!(lines.next(), Some("# Benchmarks"));
        assert_eq!(
            lines.next(),
            Some(
                "- **Start**: 1.10 ms until the start, 1.10 times a bare function \
                 (target ≤ 1.50: met)."
            )
        );
    }

    #[test]
    fn the_page_holds_every_row_and_no_placeholder() {
        let page = page();
        assert_eq!(page.matches("| process start to").count(), 2);
        assert_eq!(page.matches("| 1 of 1,000 environments |").count(), 1);
        assert!(page.contains("0123abc") && page.contains("2 processors"));
        assert!(!page.contains("{{") && !page.contains("}}"));
    }

    #[test]
    fn the_machine_is_read_from_proc() {
        assert_eq!(processor("x: 1\nmodel name\t: AMD EPYC\n"), "AMD EPYC");
        assert_eq!(processor(""), "unknown");
        let memory = memory_in_gib("MemTotal:       25165824 kB\nMemFree: 1 kB\n");
        assert_eq!(memory.unwrap(), 24);
        assert!(memory_in_gib("").is_err());
    }
}
