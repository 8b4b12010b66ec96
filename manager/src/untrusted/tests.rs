//! Each sink shows everything, and no sink is without its escape: what clippy cannot see is looked for in the sources.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

/// Ways to show text unescaped, and the files that may: each is the one way into its sink.
const WAYS: [(&str, &[&str]); 8] = [
    // Markup from text.
    ("PreEscaped", &[]),
    ("impl Render for", &["untrusted/html.rs", "operator/charts.rs"]),
    // HTML by hand, or past `untrusted::html::page`.
    ("text/html", &["operator/gate.rs", "operator/web/layout.rs"]),
    ("axum::response::Html", &[]),
    // A terminal.
    ("print_raw(", &["cli/text.rs", "cli/logs.rs"]),
    // fold.rs counts the columns of what text.rs has made.
    ("\\x1b[", &["cli/text.rs", "cli/fold.rs"]),
    // A log.
    ("fmt::layer(", &["cli/logging.rs"]),
    // Metrics.
    ("text/plain; version=0.0.4", &["operator/metrics.rs"]),
];

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// What comes before the tests of a file.
fn shipped(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()
}

#[test]
fn there_is_no_way_around_the_escapes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 100, "{}", files.len());
    let mut used = Vec::new();
    for path in files {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
        // Compiled for tests only.
        if name.ends_with("/tests.rs") || name.ends_with("_tests.rs") || name.contains("/tests/") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for (way, allowed) in WAYS.iter().filter(|(way, _)| shipped(&text).contains(way)) {
            assert!(
                allowed.contains(&name),
                "{name} has {way:?}: show text through the sink's own module (see untrusted/mod.rs), or name the \
                 file in untrusted/tests.rs and say why nothing foreign gets there"
            );
            used.push((*way, name.to_owned()));
        }
    }
    for (way, allowed) in WAYS {
        for file in allowed {
            assert!(
                used.contains(&(way, (*file).to_owned())),
                "{file} has no {way:?} any more: take it out here"
            );
        }
    }
}

proptest! {
    /// Whatever is said, every sink shows all of it and obeys nothing; the fuzz target `build_log` goes on with it.
    #[test]
    fn every_sink_shows_what_is_said(
        text in "([\\PC]|[\\x00-\\x20\\x7f-\\u{9f}<>&`@\"\\\\=\\]()\\[m0-9;]|[\u{200b}-\u{202e}\u{2066}\u{e0041}]){0,60}",
        noise: Vec<u8>,
    ) {
        super::fuzzing::shown(text.as_bytes());
        super::fuzzing::shown(&noise);
    }
}
