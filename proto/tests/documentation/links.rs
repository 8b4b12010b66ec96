//! Links of the documents to other files and to headings lead somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders with documents, below the root of the repository.
const FOLDERS: [&str; 6] =
    ["", "docs", "testbed/canaries", "testbed/openstack", "testbed/stand-ins", "testbed/tiny-image"];
/// What stands before the target of a link: in Markdown, and in HTML within it.
static BEFORE: [(&str, char); 3] = [("](", ')'), ("src=\"", '"'), ("href=\"", '"')];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The documents of a folder.
fn pages(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|kind| kind == "md")).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for page in FOLDERS.iter().flat_map(|folder| pages(&repository().join(folder))) {
        let text = fs::read_to_string(&page).unwrap();
        for target in targets(&text) {
            seen += 1;
            if let Some(why) = trouble(&page, target) {
                wrong.push(format!("{} links to {target}: {why}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 100, "{seen} links were found");
}

#[test]
fn a_link_to_nowhere_is_told() {
    let page = repository().join("docs/operations.md");
    let text = "# One\n\n[a](security.md), [`b`](../README.md#where-things-are)\n\n```\n[c](x)\n```\n\n\
        `[d](x)` [e](https://example.org/) <img src=\"images/phone.png\">\n";
    let found: Vec<&str> = targets(text).collect();
    assert_eq!(found, ["security.md", "../README.md#where-things-are", "images/phone.png"]);
    assert!(found.iter().all(|target| trouble(&page, target).is_none()), "{found:?}");
    for target in ["securities.md", "security.md#no-such-heading", "#no-such-heading", "../README"] {
        assert!(trouble(&page, target).is_some(), "{target}");
    }
}

/// The targets within the repository, code left out.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    // Every second part is a block of code, or code within a line.
    let lines = text.split("\n```").step_by(2).flat_map(str::lines);
    let prose = lines.flat_map(|line| line.split('`').step_by(2));
    // A link's own words may be code: then its target is at the beginning of the next part.
    let found = prose.flat_map(|part| {
        BEFORE.iter().flat_map(move |(before, end)| {
            part.split(before).skip(1).filter_map(move |rest| Some(rest.split_once(*end)?.0))
        })
    });
    found.filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
}

/// Why a link of a page leads nowhere.
fn trouble(page: &Path, target: &str) -> Option<String> {
    let (path, heading) = target.split_once('#').unwrap_or((target, ""));
    let file = if path.is_empty() { page.to_owned() } else { page.parent().unwrap().join(path) };
    if !file.exists() {
        return Some(format!("there is no {}", file.display()));
    }
    if heading.is_empty() {
        return None;
    }
    let anchors = anchors(&fs::read_to_string(&file).unwrap());
    (!anchors.contains(heading)).then(|| format!("there are only {anchors:?}"))
}

/// Headings as links name them.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter_map(|line| line.strip_prefix('#'));
    let plain = |heading: &str| {
        let kept = heading.trim_start_matches('#').trim().to_lowercase();
        kept.chars()
            .filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter))
            .map(|letter| if letter == ' ' { '-' } else { letter })
            .collect()
    };
    headings.map(plain).collect()
}
