//! What is written in `docs/`, the README and the shipped files is what the program does.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use image_manager::reason::{Reason, Section};
use image_manager_proto::v1::Verdict;

use super::harness::left_out::left_out;
use super::harness::{repository, text};

fn document(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// First cells of the tables' rows that are code.
fn first_cells(page: &str) -> Vec<String> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split_once('`')).map(|(cell, _)| cell.to_owned()).collect()
}

/// The tables of reasons are what the program says of them, each reason below the verdict that it means. `make docs`
/// writes them anew.
#[test]
fn reasons_are_documented_as_the_program_has_them() {
    let path = "docs/exit-codes.md";
    let page = document(path);
    let made = with_reasons(&page);
    if std::env::var_os("IMAGE_MANAGER_WRITE_DOCS").is_some() {
        fs::write(repository().join(path), &made).unwrap();
    }
    let page = document(path);
    assert!(page == made, "{path} is not what the program says of reasons: run `make docs`");
    let (_, reasons) = page.split_once("\n## Reasons\n").unwrap();
    let headings: Vec<&str> = reasons.lines().filter(|line| line.starts_with("### ")).collect();
    assert_eq!(headings, Section::ALL.map(heading), "a section that the program does not have");
    let words: Vec<&str> = Reason::ALL.iter().map(|reason| reason.word()).collect();
    assert_eq!(first_cells(reasons), words, "a reason that the program does not have, or in another place");
}

fn heading(section: Section) -> String {
    let verdict = match section.verdict() {
        Verdict::Failed => "`failed`",
        Verdict::Errored => "`errored`",
        Verdict::Passed | Verdict::Unspecified => "no verdict",
    };
    format!("### {} ({verdict})", section.title())
}

/// The page with the table below each section's heading as it must be, and all else as it is.
fn with_reasons(page: &str) -> String {
    let mut page = page.to_owned();
    for section in Section::ALL {
        let heading = heading(section);
        let from = page.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("there is no {heading:?}"));
        let from = from + heading.len() + 2;
        let until = page[from..].find("\n\n##").map_or(page.len(), |at| from + at + 1);
        let mut table = "\n| reason | what happened | what to do next |\n| --- | --- | --- |\n".to_owned();
        for reason in Reason::ALL.iter().filter(|reason| reason.section() == section) {
            let hint = if reason.hint().is_empty() { String::new() } else { format!("{} ", reason.hint()) };
            writeln!(table, "| `{}` | {} | {hint}|", reason.word(), reason.sentence()).unwrap();
        }
        page.replace_range(from..until, &table);
    }
    page
}

/// The most common reasons stand together, with the verdicts that they mean.
#[test]
fn the_reasons_met_most_have_their_verdicts() {
    let page = document("docs/exit-codes.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" | "));
    let mut seen = 0;
    for (cell, rest) in rows {
        let Some((verdict, _)) = rest.split_once(" | ") else { continue };
        let verdict = match verdict {
            "failed" => Verdict::Failed,
            "errored" => Verdict::Errored,
            _ => continue,
        };
        for word in cell.split(", ").map(|word| word.trim_matches('`')) {
            let named = |reason: &&Reason| match word.strip_suffix('*') {
                Some(begin) => reason.word().starts_with(begin),
                None => reason.word() == word,
            };
            let reasons: Vec<_> = Reason::ALL.iter().filter(named).collect();
            assert!(!reasons.is_empty(), "{word} is no reason");
            assert!(reasons.iter().all(|reason| reason.verdict() == verdict), "{word} is not {verdict:?}");
            seen += reasons.len();
        }
    }
    assert!(seen > 15, "{seen}");
}

/// There is no reason that the program never gives.
#[test]
fn every_reason_is_given() {
    let mut source = String::new();
    let root = repository().join("manager/src");
    for path in sources(&root) {
        let parts: Vec<_> = path.strip_prefix(&root).unwrap().iter().collect();
        // Tests come last in every file, or are files of their own.
        let is_test = path.ends_with("tests.rs") || parts.contains(&OsStr::new("tests"));
        if parts[0] != "reason" && !is_test {
            source.push_str(fs::read_to_string(&path).unwrap().split("#[cfg(test)]").next().unwrap());
        }
    }
    let given: BTreeSet<&str> = source
        .split("Reason::")
        .skip(1)
        .filter_map(|rest| rest.split(|end: char| !end.is_alphanumeric()).next())
        .collect();
    let never: Vec<String> = Reason::ALL.iter().map(|reason| format!("{reason:?}")).collect();
    let never: Vec<&String> = never.iter().filter(|name| !given.contains(name.as_str())).collect();
    assert!(never.is_empty(), "never given: {never:?}");
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

/// Every code of the program is in the table, by its number.
#[test]
fn exit_codes_are_documented() {
    let page = document("docs/exit-codes.md");
    for code in ["0", "1", "2", "64", "130"] {
        assert!(page.contains(&format!("\n| {code} | ")), "{code}");
    }
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
    // With these set, the service would not look beside schedules.toml, and a verb in a shell would.
    for name in ["IMAGE_MANAGER_ELEMENTS", "IMAGE_MANAGER_AGENT"] {
        assert!(!unit.contains(&format!("Environment={name}=")), "{name} is set");
    }
    assert!(unit.contains("RestartPreventExitStatus=64"));
    let path = repository().join("packaging/image-manager.service");
    let Ok(output) = Command::new("systemd-analyze").arg("verify").arg(&path).output() else {
        return left_out("systemd-analyze does not verify the unit: there is no systemd here");
    };
    let said = text(&output.stderr);
    // The program and its manual are not installed where the tests run.
    let wrong: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("image-manager.service"))
        .filter(|line| !line.contains("is not executable") && !line.contains("man "))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
