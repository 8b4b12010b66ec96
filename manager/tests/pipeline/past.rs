//! Histories that earlier versions wrote are opened, brought up to date, and shown as those versions showed them.
//!
//! Each directory of `histories` is one version's, named after its schema: `history.sql`, a dump of what the real program
//! wrote while it built, failed, erred, was cancelled and was killed, and `shown.json`, what it showed of that then.
//! Keys that came later are left out of account: every key of then must have the same value now.

use std::fs;
use std::path::{Path, PathBuf};

use image_manager::history::History;
use rusqlite::Connection;
use serde_json::{Value as Json, json};

use super::harness::{Place, repository, text};

/// What is shown otherwise today, and why: a path as [`differences`] writes it, with `[]` for any place in a list.
const EXCEPTIONS: [(&str, &str); 0] = [];
/// The range of the report in every `shown.json`.
const RANGE: [&str; 4] = ["--since", "2026-11-01T00:00:00Z", "--until", "2026-11-29T03:00:00Z"];

/// The kept histories, by their directories.
fn kept() -> Vec<PathBuf> {
    let directory = repository().join("manager/tests/pipeline/histories");
    let mut kept: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    kept.sort();
    assert!(!kept.is_empty());
    kept
}

/// Makes a state directory's history of a dump, at the dump's schema.
fn load(dump: &Path, state: &Path) -> PathBuf {
    fs::create_dir_all(state).unwrap();
    let database = state.join("image-manager.db");
    let connection = Connection::open(&database).unwrap();
    connection.execute_batch(&fs::read_to_string(dump.join("history.sql")).unwrap()).unwrap();
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    let name = dump.file_name().unwrap().to_str().unwrap();
    assert_eq!(name, format!("{version:04}"), "a history is of the schema that its directory is named after");
    database
}

/// What the program prints as JSON.
fn shown(place: &Place, arguments: &[&str]) -> Json {
    let output = place.run(&[arguments, &["--format", "json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Where what is shown now differs from what was shown then, a line each; what is new does not count.
fn differences(path: &str, then: &Json, now: &Json, found: &mut Vec<String>) {
    match (then, now) {
        (Json::Object(then), Json::Object(now)) => {
            for (key, value) in then {
                let path = format!("{path}.{key}");
                match now.get(key) {
                    Some(now) => differences(&path, value, now, found),
                    None => found.push(format!("{path}: gone, was {value}")),
                }
            }
        }
        (Json::Array(then), Json::Array(now)) if then.len() == now.len() => {
            for (then, now) in then.iter().zip(now) {
                differences(&format!("{path}[]"), then, now, found);
            }
        }
        _ if then == now || EXCEPTIONS.iter().any(|(exception, _)| *exception == path) => {}
        _ => found.push(format!("{path}: {now}, was {then}")),
    }
}

#[test]
fn a_history_of_an_earlier_version_is_shown_as_it_was() {
    for dump in kept() {
        let place = Place::new("");
        let database = load(&dump, &place.state());
        drop(History::open(&database).unwrap());
        let then: Json = serde_json::from_str(&fs::read_to_string(dump.join("shown.json")).unwrap()).unwrap();
        let builds = then["show"].as_array().unwrap();
        for word in ["succeeded", "failed", "errored", "cancelled"] {
            assert!(builds.iter().any(|build| build["state"] == word), "no build {word} in {dump:?}");
        }

        let mut found = Vec::new();
        for build in builds {
            let id = build["id"].as_str().unwrap();
            differences("show", build, &shown(&place, &["show", id]), &mut found);
        }
        let history = shown(&place, &["history", "--limit", "1000"]);
        differences("history", &then["history"], &history, &mut found);
        let report = shown(&place, &[&["report"], &RANGE[..]].concat());
        differences("report", &then["report"], &report, &mut found);
        assert!(found.is_empty(), "{}:\n{}", dump.display(), found.join("\n"));

        let connection = Connection::open(&database).unwrap();
        let mut broken = connection.prepare("PRAGMA foreign_key_check").unwrap();
        assert!(!broken.exists([]).unwrap(), "a row points to one that is not there");
        let whole: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(whole, "ok");
    }
}

#[test]
fn a_history_of_an_earlier_version_is_not_needed_for_what_a_schedule_means() {
    for dump in kept() {
        let place = Place::tiny("");
        load(&dump, &place.state());
        let said = place.expect(&["verify", "tiny"], 64);
        assert!(said.contains("it publishes nothing") && !said.contains("schema version"), "{said}");
    }
}

#[test]
fn what_differs_is_found() {
    let then = json!({"id": "x", "stages": [{"name": "building", "detail": "a"}], "agent": null});
    let said = |now: Json| {
        let mut found = Vec::new();
        differences("show", &then, &now, &mut found);
        found
    };
    let same = json!({"id": "x", "new": 1, "agent": null, "stages": [{"name": "building", "detail": "a", "new": 2}]});
    assert_eq!(said(same), Vec::<String>::new());
    let other = json!({"stages": [{"name": "building", "detail": "b"}], "agent": {}});
    assert_eq!(
        said(other),
        ["show.agent: {}, was null", "show.id: gone, was \"x\"", "show.stages[].detail: \"b\", was \"a\""]
    );
    let fewer = json!({"id": "x", "stages": [], "agent": null});
    assert_eq!(said(fewer).len(), 1);
}
