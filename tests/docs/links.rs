//! Links from page to page.

use std::collections::BTreeMap;
use std::path::Path;

use crate::pages::{Page, all, root};

/// The anchors that GitHub derives from a page's headings.
fn anchors(page: &Page) -> Vec<String> {
    let mut met: BTreeMap<String, usize> = BTreeMap::new();
    page.prose()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            let slug: String = heading
                .chars()
                .filter(|one| one.is_alphanumeric() || matches!(one, ' ' | '-' | '_'))
                .map(|one| if one == ' ' { '-' } else { one })
                .collect();
            let times = met.entry(slug.clone()).or_default();
            *times += 1;
            if *times == 1 {
                slug
            } else {
                format!("{slug}-{}", *times - 1)
            }
        })
        .collect()
}

fn targets(page: &Page) -> Vec<String> {
    let prose: Vec<_> = page.prose().collect();
    let prose = prose.join("\n");
    let links = prose.split("](").skip(1);
    links
        .filter_map(|rest| rest.split(')').next().map(str::to_owned))
        .filter(|target| !target.contains("://"))
        .collect()
}

/// Returns the error of a broken link.
fn broken(page: &Page, target: &str) -> Option<String> {
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let folder = page.path.parent().unwrap_or(Path::new(""));
    let path = if file.is_empty() {
        page.path.clone()
    } else {
        folder.join(file)
    };
    let link = format!("{}: `{target}`", page.path.display());
    if !root().join(&path).exists() {
        return Some(format!("{link}: no such file"));
    }
    let is_found = anchor.is_empty() || anchors(&Page::read(path)).iter().any(|one| one == anchor);
    (!is_found).then(|| format!("{link}: no such heading"))
}

#[test]
fn every_link_between_pages_resolves() {
    let mut count = 0;
    let mut all_broken = Vec::new();
    for page in all() {
        for target in targets(&page) {
            count += 1;
            all_broken.extend(broken(&page, &target));
        }
    }
    assert!(all_broken.is_empty(), "{all_broken:#?}");
    assert!(count > 50, "{count} links");
}

#[test]
fn a_broken_link_is_noticed() {
    let page = Page::read("README.md");
    assert!(broken(&page, "docs/nothing.md").is_some());
    assert!(broken(&page, "docs/events.md#no-such-heading").is_some());
    assert_eq!(broken(&page, "docs/events.md#outcome-event"), None);
}
