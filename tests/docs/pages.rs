//! The pages of the documentation, and the parts of their text.

use std::fs;
use std::path::{Path, PathBuf};

/// The pages outside `docs/`.
const PAGES: [&str; 7] = [
    "README.md",
    "ARCHITECTURE.md",
    "BENCHMARKS.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "local/README.md",
];

/// A page of the documentation.
pub(crate) struct Page {
    /// The path from the root of the repository.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl Page {
    pub(crate) fn read(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let text = fs::read_to_string(root().join(&path));
        let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path, text }
    }

    /// The lines outside fenced code.
    pub(crate) fn prose(&self) -> impl Iterator<Item = &str> {
        let mut is_code = false;
        self.text.lines().filter(move |line| {
            let is_fence = line.trim_start().starts_with("```");
            is_code ^= is_fence;
            !is_code && !is_fence
        })
    }

    /// The texts between backticks, outside fenced code.
    pub(crate) fn code(&self) -> impl Iterator<Item = &str> {
        self.prose()
            .flat_map(|line| line.split('`').skip(1).step_by(2))
    }

    /// The commands: what follows a prompt, and texts between backticks with a space.
    pub(crate) fn commands(&self) -> impl Iterator<Item = &str> {
        let prompts = self.text.lines().filter_map(|line| line.strip_prefix("$ "));
        prompts.chain(self.code().filter(|code| code.contains(' ')))
    }

    /// The lines of a section, by its heading.
    pub(crate) fn section(&self, heading: &str) -> Vec<&str> {
        let lines = self.text.lines().skip_while(|line| *line != heading);
        let lines: Vec<_> = lines
            .skip(1)
            .take_while(|line| !line.starts_with('#'))
            .collect();
        assert!(
            !lines.is_empty(),
            "no `{heading}` in {}",
            self.path.display()
        );
        lines
    }

    /// The texts between backticks in the first column of a section's tables, headers left out.
    pub(crate) fn first_column(&self, heading: &str) -> Vec<&str> {
        let lines = self.section(heading);
        let is_header = |index: usize| {
            let next = lines.get(index + 1);
            next.is_some_and(|line| line.starts_with("|---"))
        };
        let rows = lines
            .iter()
            .enumerate()
            .filter(|(index, _)| !is_header(*index));
        rows.filter_map(|(_, line)| line.strip_prefix("| ")?.split('|').next())
            .flat_map(|cell| cell.split('`').skip(1).step_by(2))
            .collect()
    }
}

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every page of the documentation.
pub(crate) fn all() -> Vec<Page> {
    let folder = fs::read_dir(root().join("docs")).unwrap();
    let in_folder = folder
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| Path::new(name).extension().is_some_and(|it| it == "md"))
        .map(|name| format!("docs/{name}"));
    PAGES
        .map(str::to_owned)
        .into_iter()
        .chain(in_folder)
        .map(Page::read)
        .collect()
}

/// The text of all files in these folders whose name has this ending.
pub(crate) fn sources(folders: &[&str], ending: &str) -> String {
    let mut text = String::new();
    let mut paths: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            paths.extend(
                fs::read_dir(path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if path.to_str().unwrap().ends_with(ending) {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
    text
}
