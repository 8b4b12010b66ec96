//! The files of `examples/`, and what `docs/distributions.md` says of them. `testbed/distributions/run` builds and boots them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::harness::{Place, repository, text};

/// Where `setup/install` puts it.
const DIB: &str = "/opt/image-manager/dib/bin/disk-image-create";
/// What the table may say, and whether there must be a script that does it.
const WORDS: [(&str, bool); 4] = [
    ("built and booted here", true),
    ("stand-in built and booted here", true),
    ("tiny image booted here", true),
    ("composed and resolved only", false),
];

/// The schedules files of `examples/`, by their names.
fn examples() -> BTreeMap<String, PathBuf> {
    let files = fs::read_dir(repository().join("examples")).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path)).collect()
}

/// What `check` says of a file. The host may lack a program for it (2); a mistake in the file would be 64.
fn check(file: &Path, more: &[&str], codes: &[i32]) -> String {
    let place = Place::new("");
    let mut command = place.command(&["check"]);
    command.arg(file).args(more).env("IMAGE_MANAGER_DIB", DIB);
    let output = command.output().unwrap();
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(codes.contains(&output.status.code().unwrap()), "{}: {said}", file.display());
    said
}

#[test]
fn every_example_is_right_and_its_schedule_has_the_files_name() {
    let examples = examples();
    assert!(examples.len() >= 10, "{examples:?}");
    for (name, path) in examples {
        let said = check(&path, &["--file-only"], &[0]);
        assert!(said.lines().any(|line| line.starts_with(&format!("{name} "))), "{name}: {said}");
    }
}

#[test]
fn the_elements_of_every_example_are_found_by_dibs_resolver() {
    if !Path::new(DIB).exists() {
        eprintln!("skipped: there is no {DIB}; try: setup/install test");
        return;
    }
    for path in examples().values() {
        check(path, &[], &[0, 2]);
    }
    // That the resolver was asked at all.
    let place =
        Place::new("[schedule.web]\nimage.elements = [\"ubuntu-minimal\", \"vmm\", \"agent-install\"]\n");
    let output = place.command(&["check"]).env("IMAGE_MANAGER_DIB", DIB).output().unwrap();
    assert_eq!(output.status.code(), Some(64), "{}", text(&output.stderr));
}

#[test]
fn the_table_of_distributions_is_that_of_the_examples_and_claims_no_more_than_there_is() {
    let page = fs::read_to_string(repository().join("docs/distributions.md")).unwrap();
    let scripts = repository().join("testbed/distributions");
    let (mut told, mut run) = (BTreeSet::new(), BTreeSet::new());
    for row in page.lines().filter(|line| line.starts_with("| [")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, example, _, word, script, _] = cells.as_slice() else { panic!("{row}") };
        let (name, link) = example.trim_matches(['[', ')']).split_once("](").unwrap();
        assert_eq!(link, format!("../examples/{name}.toml"), "{row}");
        assert!(told.insert(name.to_owned()), "{name} is there twice");
        let (_, proven) = WORDS.iter().find(|(known, _)| known == word).unwrap_or_else(|| panic!("{row}"));
        if !proven {
            assert_eq!(*script, "", "{row}");
            continue;
        }
        let script = script.trim_matches('`').strip_prefix("testbed/distributions/").expect(row);
        let mode = fs::metadata(scripts.join(script)).expect(row).permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{script} cannot be run");
        run.insert(script.to_owned());
    }
    assert_eq!(told, examples().into_keys().collect(), "left: docs/distributions.md, right: examples/");
    let there = fs::read_dir(scripts).unwrap().map(Result::unwrap).filter(|entry| {
        let meta = entry.metadata().unwrap();
        meta.is_file() && meta.permissions().mode() & 0o111 != 0 && entry.file_name() != "run"
    });
    let there: BTreeSet<String> = there.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert_eq!(run, there, "left: docs/distributions.md, right: testbed/distributions");
}
