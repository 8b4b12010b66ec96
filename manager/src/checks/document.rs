//! docs/checks.md, from the descriptors.

use std::fmt::Write as _;

use image_manager_agent::checks::descriptor::{Check, Observer, Set};

use super::{EVERY, all, key_rows};

const BEGINNING: &str = "\
# Checks

What an image can be asked to prove. This page is generated from the program (`make docs`); `image-manager checks` lists
the checks, and `image-manager checks KIND` describes one of them.

`checks.set` names a set: `\"minimal\"`, `\"cloud\"` (the default: what every cloud image must prove, at the cost of
seconds) or `\"thorough\"`; each includes the checks of those before it. In addition, `checks.KIND = { ... }` sets the
keys of a check or adds one, and `checks.KIND = false` removes one. A schedule that names checks but no set has only the
checks that it names, and one with `checks = {}` has none. Several checks of one kind have names of their own:

```toml
[schedule.web]
checks.set = \"cloud\"
checks.disk = { min_free = \"500 MiB\" }
checks.internal-dns = { kind = \"dns\", names = [\"manager.internal\"] }
```
";

/// The whole page.
pub(crate) fn document() -> String {
    let mut page = BEGINNING.to_owned();
    page +=
        "\nEvery check has these keys:\n\n| key | type | default | meaning |\n| --- | --- | --- | --- |\n";
    for (name, noun, default, help) in EVERY {
        let _ = writeln!(page, "| `{name}` | {noun} | {default} | {help} |");
    }
    page += "\n| check | set | proves |\n| --- | --- | --- |\n";
    for check in all() {
        let _ = writeln!(
            page,
            "| [`{0}`](#{0}) | {1} | {2} |",
            check.kind,
            set(check),
            check.proves.replace('|', "\\|")
        );
    }
    for check in all() {
        section(&mut page, check);
    }
    page
}

fn set(check: &Check) -> &'static str {
    match check.set {
        Set::Named => "only when named",
        set => set.word(),
    }
}

fn section(page: &mut String, check: &Check) {
    let _ = writeln!(page, "\n## `{}`\n\nProves: {}.", check.kind, check.proves);
    if !check.details.is_empty() {
        let _ = writeln!(page, "\n{}", check.details);
    }
    let observer = match check.observer {
        Observer::Agent => "the agent, in the server",
        Observer::Manager => "the manager",
    };
    let _ = writeln!(
        page,
        "\nSet: {}. Examined by {observer}. Costs: {}. `timeout`: {}.",
        set(check),
        check.cost,
        humantime::format_duration(check.timeout)
    );
    let rows = key_rows(check.keys);
    if rows.is_empty() {
        return;
    }
    page.push_str("\n| key | type | default | meaning |\n| --- | --- | --- | --- |\n");
    for (name, noun, default, help) in rows {
        let _ = writeln!(page, "| `{name}` | {noun} | {} | {} |", cell(&default), cell(&help));
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
