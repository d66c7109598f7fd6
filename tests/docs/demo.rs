//! The README's demo: the command prints the output that the README shows.

use std::process::Command;

use proton_canceller::settings::VARIABLES;

use crate::pages::{Page, root};

/// The text between the README's two marks: the command, and the lines of its output.
fn excerpt(readme: &str) -> (&str, Vec<&str>) {
    let marked = readme.split("<!-- demo: begin -->").nth(1).unwrap();
    let marked = marked.split("<!-- demo: end -->").next().unwrap();
    let mut lines = marked
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("```"));
    let command = lines.next().unwrap().strip_prefix("$ cargo ").unwrap();
    (command, lines.collect())
}

/// True if the output has the line, up to its `…` if there is one.
fn is_printed(line: &str, output: &str) -> bool {
    output.lines().any(|printed| match line.strip_suffix('…') {
        Some(beginning) => printed.starts_with(beginning),
        None => printed.trim_end() == line,
    })
}

#[test]
fn the_demo_prints_what_the_readme_shows() {
    let readme = Page::read("README.md");
    let (command, lines) = excerpt(&readme.text);
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(command.split(' ')).current_dir(root());
    // The demo runs with default settings.
    for variable in VARIABLES {
        cargo.env_remove(variable);
    }
    let output = cargo.output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(lines.len(), 9);
    for line in lines {
        assert!(
            is_printed(line, &printed),
            "not printed: `{line}`\n{printed}"
        );
    }
}

#[test]
fn a_line_that_is_not_printed_is_noticed() {
    assert!(is_printed("  a  CANCELLED", "x\n  a  CANCELLED\n"));
    assert!(is_printed(
        "  a  ERROR  AccessDenied…",
        "  a  ERROR  AccessDenied: no\n"
    ));
    assert!(!is_printed("  a  CANCELLED", "  a  FAILED\n"));
}
