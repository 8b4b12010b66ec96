//! `docs/schedules.md` has every key, and its examples are right.

use std::collections::BTreeSet;

use super::super::reading::all_keys;
use super::{Path, parse};

/// A row of the tables of keys.
struct Row<'a> {
    key: &'a str,
    cells: Vec<&'a str>,
}

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schedules.md");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rows(page: &str) -> Vec<Row<'_>> {
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches(['|', ' ']).split(" | ").map(str::trim).collect();
        Row { key: cells[0].trim_matches('`'), cells }
    })
    .collect()
}

#[test]
fn every_key_is_documented_and_no_other() {
    let page = page();
    let documented: BTreeSet<String> = rows(&page)
        .iter()
        .map(|row| row.key.to_owned())
        // A table is a section of its own.
        .chain(page.lines().filter_map(|line| Some(line.strip_prefix("## `")?.split('`').next()?.to_owned())))
        .collect();
    // The keys of each kind of check are in docs/checks.md.
    let every_check = crate::checks::EVERY.iter().map(|(name, ..)| format!("checks.*.{name}"));
    let known: BTreeSet<String> =
        all_keys().into_iter().chain(["checks.set".to_owned()]).chain(every_check).collect();
    assert_eq!(documented, known, "left: docs/schedules.md, right: what is read");
}

#[test]
fn every_row_has_its_type_default_meaning_and_an_example_that_is_right() {
    let page = page();
    for Row { key, cells } in rows(&page) {
        assert_eq!(cells.len(), 5, "{key}: {cells:?}");
        assert!(!cells[1].is_empty() && cells[3].len() > 5, "{key}: {cells:?}");
        let example = cells[4].trim_matches('`').replace(
            "AAAA...",
            &format!("AAAA{}", "C3NzaC1lZDI1NTE5AAAAIDv3q0pzs7w8o2ZQ8y5yqW1yV0v0gkq3l7cG3vYp8J4b"),
        );
        let last = key.rsplit('.').next().unwrap();
        assert!(example.starts_with(&format!("{last} = ")), "{key}: {example}");
        let far = cells[3].starts_with("OpenStack") || key == "cloud";
        let base = if far { "cloud = \"c\"\nserver = { flavor = \"f\" }\n" } else { "" };
        let base =
            format!("[schedule.a]\n{base}image = {{ elements = [\"vm\"] }}\npublish = {{ name = \"p\" }}\n");
        // The example in its table, beside what a whole schedule needs.
        let first = key.split('.').next().unwrap();
        let base: Vec<&str> = base.lines().filter(|line| !line.starts_with(first)).collect();
        let base = base.join("\n") + "\n";
        let table = key.replace('*', "dns");
        let table = table.rsplit_once('.').map_or("", |(table, _)| table);
        let text = match table {
            "" => format!("{base}{example}\n"),
            "image.users" if last == "name" => {
                format!("{base}image.elements = [\"vm\"]\n[[schedule.a.image.users]]\n{example}\n")
            }
            "image.users" => format!(
                "{base}image.elements = [\"vm\"]\n[[schedule.a.image.users]]\nname = \"u\"\n{example}\n"
            ),
            "image.repositories" | "image.files" => {
                let (list, whole) = match table {
                    "image.files" => ("files", ["source = \"a\"", "path = \"/a\""].as_slice()),
                    _ => (
                        "repositories",
                        ["name = \"a\"", "url = \"http://a/\"", "suites = [\"a\"]", "components = [\"a\"]"]
                            .as_slice(),
                    ),
                };
                let rest = whole.iter().filter(|line| !line.starts_with(&format!("{last} = ")));
                let rest: Vec<&str> = rest.copied().collect();
                let image =
                    "image.elements = [\"debian-minimal\"]\nimage.secrets = { PACKAGES = \"file:a\" }";
                format!("{base}{image}\n[[schedule.a.image.{list}]]\n{}\n{example}\n", rest.join("\n"))
            }
            "image" if last != "elements" => {
                format!("{base}[schedule.a.image]\nelements = [\"vm\"]\n{example}\n")
            }
            "targets" => {
                let name = if last == "name" { "" } else { "name = \"t\"\n" };
                format!("{base}[[schedule.a.targets]]\n{name}{example}\n")
            }
            "skip" if last != "unchanged" => {
                format!("{base}[schedule.a.skip]\nunchanged = true\n{example}\n")
            }
            "publish" if last != "name" => format!("{base}[schedule.a.publish]\nname = \"p\"\n{example}\n"),
            "server" if far && last != "flavor" => {
                format!("{base}[schedule.a.server]\nflavor = \"f\"\n{example}\n")
            }
            table => format!("{base}[schedule.a.{table}]\n{example}\n"),
        };
        if let Err(error) = parse(Path::new("schedules.toml"), &text) {
            panic!("{key}:\n{text}\n{}", error.render(false));
        }
    }
}
