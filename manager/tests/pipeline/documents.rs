//! What is written in `docs/`, the README and the shipped files is what the program does.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::harness::{repository, text};

fn document(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// First cells of the tables' rows that are code.
fn first_cells(page: &str) -> Vec<String> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split_once('`')).map(|(cell, _)| cell.to_owned()).collect()
}

/// Every reason that the program gives is in the table of reasons, and no other.
#[test]
fn every_reason_is_documented() {
    let page = document("docs/exit-codes.md");
    let (_, table) = page.split_once("\n## Reasons").unwrap();
    let documented: BTreeSet<String> = first_cells(table).into_iter().collect();
    let mut given = BTreeSet::new();
    for path in sources(&repository().join("manager/src")) {
        reasons(&fs::read_to_string(&path).unwrap(), &path, &mut given);
    }
    assert!(given.len() > 30, "the search found only {given:?}");
    assert_eq!(documented, given, "left: docs/exit-codes.md, right: the program");
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The reasons that a source file gives: first arguments of what makes a failure, and the tables of reasons.
fn reasons(source: &str, path: &Path, given: &mut BTreeSet<String>) {
    // Tests come last in every file.
    let source = source.split("#[cfg(test)]").next().unwrap();
    let is_word =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    for maker in
        ["Failure::errored(", "Failure::failed(", "Self::errored(", "host(", "definition(", "(verdict, "]
    {
        let whole_word =
            |at: &usize| !source[..*at].ends_with(|before: char| before.is_alphanumeric() || before == '_');
        for at in source.match_indices(maker).map(|(at, _)| at).filter(whole_word) {
            let rest = &source[at + maker.len()..];
            let word = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
            given.extend(word.filter(|word| is_word(word)).map(str::to_owned));
        }
    }
    // Kinds of trouble with a word each; what a log line is a sign of; what became of a server.
    let tables: &[(&str, &str)] = &[
        ("cloud/mod.rs", "=>"),
        ("builder/mod.rs", "HOOK_FAILED: &str ="),
        ("stages/boot.rs", "("),
        ("lifecycle/failure.rs", "Unspecified,"),
        ("history/follow_up.rs", "INTERRUPTED: &str ="),
        ("history/follow_up.rs", "UNEXPLAINED: &str ="),
        ("lifecycle/driver.rs", "reason:"),
        ("lifecycle/agent_program.rs", "=>"),
        ("lifecycle/inputs.rs", "REASON: &str ="),
    ];
    for (_, before) in tables.iter().filter(|(name, _)| path.ends_with(name)) {
        // Of the clouds' own words only the one function's.
        let within =
            source.split("fn reason(").nth(1).map_or(source, |body| body.split("\n    }").next().unwrap());
        for rest in within.split(before).skip(1) {
            let word = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
            let word = word.filter(|word| is_word(word) && !word.starts_with("image_manager_"));
            given.extend(word.map(str::to_owned));
        }
    }
}

/// Every code of the program is in the table, by its number.
#[test]
fn exit_codes_are_documented() {
    let page = document("docs/exit-codes.md");
    for code in ["0", "1", "2", "64", "130"] {
        assert!(page.contains(&format!("\n| {code} | ")), "{code}");
    }
}

/// Links within the repository lead somewhere, headings included.
#[test]
fn links_lead_somewhere() {
    let mut pages: Vec<String> = ["README.md", "ARCHITECTURE.md"].map(str::to_owned).into();
    for entry in fs::read_dir(repository().join("docs")).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if name.rsplit_once('.').is_some_and(|(_, kind)| kind == "md") {
            pages.push(format!("docs/{name}"));
        }
    }
    for page in pages {
        let content = document(&page);
        let here = repository().join(&page);
        for target in content.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if target.contains("://") {
                continue;
            }
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = if path.is_empty() { here.clone() } else { here.parent().unwrap().join(path) };
            assert!(file.exists(), "{page} links to {target}");
            if !heading.is_empty() {
                let anchors = anchors(&fs::read_to_string(&file).unwrap());
                assert!(anchors.contains(heading), "{page} links to {target}; there are {anchors:?}");
            }
        }
    }
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

/// What receivers of the webhook are told to do is what verifies its signature.
#[test]
fn the_receiver_in_the_documentation_verifies() {
    let page = document("docs/webhooks.md");
    let python = page.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let signature = "hmac.new(b'secret', m.encode() + b'.body', hashlib.sha256).hexdigest()";
    let check = format!(
        "{python}\nm = str(int(time.time()))\nh = {{'Image-Manager-Timestamp': m, \
         'Image-Manager-Signature': 'sha256=' + {signature}}}\n\
         assert genuine(b'secret', h, b'body')\nassert not genuine(b'other', h, b'body')\n\
         assert not genuine(b'secret', {{**h, 'Image-Manager-Timestamp': '1000'}}, b'body')\n"
    );
    let output = Command::new("python3").args(["-c", &check]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// systemd takes the unit, and what it sets are variables that the program knows.
#[test]
fn the_unit_is_sound() {
    let unit = document("packaging/image-manager.service");
    let example = document("config.env.example");
    for line in unit.lines().filter_map(|line| line.strip_prefix("Environment=")) {
        let (name, _) = line.split_once('=').unwrap();
        assert!(example.contains(&format!("#{name}=")), "{name} is not in config.env.example");
    }
    assert!(unit.contains("RestartPreventExitStatus=64"));
    let path = repository().join("packaging/image-manager.service");
    let Ok(output) = Command::new("systemd-analyze").arg("verify").arg(&path).output() else { return };
    let said = text(&output.stderr);
    // The program and its manual are not installed where the tests run.
    let wrong: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("image-manager.service"))
        .filter(|line| !line.contains("is not executable") && !line.contains("man "))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
