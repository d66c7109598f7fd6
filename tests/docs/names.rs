//! Names of the code in the documentation: settings, reasons, outcomes, errors, metrics, alarms,
//! files, tests.

use std::collections::BTreeSet;

use proton_canceller::report::outcome::NAMES;
use proton_canceller::settings::VARIABLES;

use crate::pages::{Page, all, root, sources};

/// The folders whose files the documentation names.
const FOLDERS: [&str; 10] = [
    "src/", "tests/", "docs/", "deploy/", "local/", "events/", "schema/", "benches/", "fuzz/",
    ".ci/",
];

fn set<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    names.into_iter().map(str::to_owned).collect()
}

/// The texts in quotes after each `before`.
fn quoted<'a>(source: &'a str, before: &str) -> Vec<&'a str> {
    let rests = source.split(before).skip(1);
    rests.filter_map(|rest| rest.split('"').next()).collect()
}

fn is_made_of(text: &str, allowed: impl Fn(char) -> bool) -> bool {
    !text.is_empty() && text.chars().all(allowed)
}

#[test]
fn the_settings_are_the_binarys() {
    let page = Page::read("docs/configuration.md");
    assert_eq!(page.first_column("## Settings"), VARIABLES);
}

#[test]
fn the_outcomes_are_the_binarys() {
    let page = Page::read("docs/events.md");
    let outcomes = page.first_column("## Outcome event");
    assert_eq!(set(outcomes), set(NAMES));
}

#[test]
fn the_reasons_are_the_binarys() {
    let source = sources(&["src/plan.rs"], ".rs");
    let known = set(quoted(&source, " => \"")
        .into_iter()
        .filter(|text| is_made_of(text, |one| one.is_ascii_uppercase() || one == '_')));
    let readme = Page::read("README.md");
    let rules = readme.section("## The seven rules");
    let named = rules
        .iter()
        .flat_map(|line| line.split('`').skip(1).step_by(2));
    let named = set(named.filter(|name| known.contains(*name)));
    assert_eq!(named, known);
}

#[test]
fn the_error_types_are_the_binarys() {
    let source = sources(&["src/invocation_error.rs"], ".rs");
    let known = quoted(&source, "(_) => \"");
    let known = set(known.into_iter().chain(["BadSettings"]));
    assert!(sources(&["src"], ".rs").contains("\"BadSettings\""));
    for (path, heading) in [
        ("docs/events.md", "## Errors of an invocation"),
        ("docs/operations.md", "## Troubleshooting"),
    ] {
        let page = Page::read(path);
        assert_eq!(set(page.first_column(heading)), known, "{path}");
    }
}

#[test]
fn the_metrics_are_the_binarys() {
    let page = Page::read("docs/events.md");
    let metrics = page.first_column("## Logs and metrics");
    let source = sources(&["src/report/metrics.rs"], ".rs");
    assert_eq!(metrics.len(), 8);
    for name in metrics {
        assert!(source.contains(&format!("\"{name}\"")), "{name}");
    }
}

#[test]
fn the_error_codes_are_the_binarys() {
    let page = Page::read("docs/events.md");
    let codes = page.first_column("### Codes of this function");
    let source = sources(&["src/aws/call_error.rs"], ".rs");
    assert!(!codes.is_empty());
    for code in codes {
        assert!(source.contains(&format!("\"{code}\"")), "{code}");
    }
}

#[test]
fn the_alarms_are_the_templates() {
    let template = sources(&["template.yaml"], ".yaml");
    let known = template.lines().filter_map(|line| {
        line.trim()
            .strip_prefix("AlarmName: !Sub proton-canceller/${AWS::StackName}/")
    });
    let known = set(known);
    let page = Page::read("docs/operations.md");
    assert_eq!(set(page.first_column("## When an own alarm rings")), known);
}

#[test]
fn every_file_that_is_named_exists() {
    let mut count = 0;
    for page in all() {
        for name in page.code() {
            let is_file = FOLDERS.iter().any(|folder| name.starts_with(folder));
            if is_file && !name.contains([' ', '*', '{', '…']) {
                let name = name.trim_end_matches('/');
                assert!(
                    root().join(name).exists(),
                    "{}: {name}",
                    page.path.display()
                );
                count += 1;
            }
        }
    }
    assert!(count > 20, "{count} files");
}

#[test]
fn every_file_in_a_command_exists() {
    let mut count = 0;
    for page in all() {
        for command in page.commands() {
            let words: Vec<_> = command.split_whitespace().collect();
            let files = words.iter().filter(|word| {
                // Fuzzing creates this folder.
                FOLDERS.iter().any(|folder| word.starts_with(folder)) && !word.contains("corpus")
            });
            let tests = words.windows(2).filter(|pair| pair[0] == "--test");
            let tests = tests.map(|pair| format!("tests/{}/main.rs", pair[1]));
            for name in files.map(|file| (*file).to_owned()).chain(tests) {
                assert!(
                    root().join(&name).exists(),
                    "{}: {name}",
                    page.path.display()
                );
                count += 1;
            }
        }
    }
    assert!(count > 15, "{count} files");
}

#[test]
fn every_test_that_is_named_exists() {
    let source = sources(&["src", "tests", "local/src", "local/tests"], ".rs");
    let mutations = sources(&["tests/mutations.toml"], ".toml");
    let mut missing = Vec::new();
    let mut count = 0;
    for page in all() {
        for name in page.code() {
            let is_name = is_made_of(name, |one| {
                one.is_ascii_lowercase() || one.is_ascii_digit() || one == '_'
            });
            // Variables have two underscores at the most; names of tests have more.
            if is_name && name.matches('_').count() > 2 {
                count += 1;
                let is_known = source.contains(&format!("fn {name}("))
                    || mutations.contains(&format!("\"{name}\""));
                if !is_known {
                    missing.push(format!("{}: `{name}`", page.path.display()));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(count > 50, "{count} tests");
}

#[test]
fn the_readme_is_shorter_than_180_lines() {
    let lines = Page::read("README.md").text.lines().count();
    assert!(lines < 180, "{lines} lines");
}
