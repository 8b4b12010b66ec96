//! Environment variables of the build: which names are let through, and why not the others.

use std::collections::BTreeMap;

use super::Reader;
use crate::schedules::diagnostics::quoted;
use crate::schedules::layers::Table;

/// Pieces of names whose values are secrets.
const SECRET_WORDS: [&str; 10] = [
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "TOKEN",
    "CREDENTIAL",
    "PRIVATE_KEY",
    "API_KEY",
    "APIKEY",
    "ACCESS_KEY",
];

/// Directories that the manager gives to each build.
const OWN_DIRECTORIES: [&str; 11] = [
    "HOME",
    "TMPDIR",
    "TMP_DIR",
    "TMP_BUILD_DIR",
    "TMP_IMAGE_DIR",
    "TMP_MOUNT_PATH",
    "TMP_HOOKS_PATH",
    "TARGET_ROOT",
    "ELEMENTS_PATH",
    "DIB_IMAGE_CACHE",
    "PWD",
];

/// Variables that change which code runs.
const CODE_CHANGERS: [&str; 13] = [
    "PATH",
    "ENV",
    "BASH_ENV",
    "SHELL",
    "SHELLOPTS",
    "BASHOPTS",
    "IFS",
    "PS4",
    "CDPATH",
    "GLOBIGNORE",
    "PYTHONPATH",
    "PYTHONHOME",
    "PERL5LIB",
];

/// Why a variable is refused: a label for the caret, and the help.
struct Refusal {
    label: &'static str,
    help: String,
    /// Whether its value must not be shown.
    secret: bool,
}

impl<'a> Reader<'a> {
    /// `image.environment`.
    pub(super) fn environment(&mut self, image: &Table<'a>) -> BTreeMap<String, String> {
        let mut environment = BTreeMap::new();
        let Some(table) = self.free_table(image, "environment") else { return environment };
        let entries = table.entries();
        self.limit_length(&table.name, &table.span, entries.len());
        for entry in entries {
            if let Some(Refusal { label, help, secret }) = refusal(entry.key) {
                if secret {
                    self.findings.hide(entry.value.span());
                }
                let title = format!("environment variable {} is not allowed", quoted(entry.key));
                self.findings.add(entry.key_span, title, label, Some(help));
            } else if let Some(text) = self.string(&table, entry.key) {
                environment.insert(entry.key.to_owned(), text.value.to_owned());
            }
        }
        environment
    }
}

fn refusal(name: &str) -> Option<Refusal> {
    let refuse = |label, help: &str| Some(Refusal { label, help: help.to_owned(), secret: false });
    let upper = name.to_ascii_uppercase();
    if upper.starts_with("OS_") || SECRET_WORDS.iter().any(|word| upper.contains(word)) {
        let help = "a secret never stands in this file, and disk-image-builder writes its environment into the \
                    image; keep OpenStack's credentials in clouds.yaml";
        return Some(Refusal { label: "looks like a secret", help: help.to_owned(), secret: true });
    }
    if !is_variable_name(name) {
        let help = "capital letters, digits and `_`, not beginning with a digit, as in DIB_RELEASE";
        return refuse("not a variable's name", help);
    }
    if name.starts_with("IMAGE_MANAGER_") {
        return refuse("the manager sets it", "names with IMAGE_MANAGER_ belong to the manager");
    }
    if OWN_DIRECTORIES.contains(&name) {
        return refuse("the manager sets it", "each build gets directories of its own from the manager");
    }
    if CODE_CHANGERS.contains(&name) || ["LD_", "BASH_FUNC_"].iter().any(|start| name.starts_with(start)) {
        return refuse(
            "changes which code runs",
            "the build runs as root with the manager's own settings here",
        );
    }
    None
}

/// `[A-Z_][A-Z0-9_]*`, at most 100 letters.
fn is_variable_name(name: &str) -> bool {
    (1..=100).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
        && !name.starts_with(|first: char| first.is_ascii_digit())
}
