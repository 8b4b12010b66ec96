use std::collections::BTreeSet;

use super::document::document;
use super::*;

#[test]
fn kinds_and_keys_are_well_formed() {
    let mut kinds = BTreeSet::new();
    for check in all() {
        assert!(kinds.insert(check.kind), "{} comes twice", check.kind);
        assert!(check.kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{}", check.kind);
        assert_ne!(check.kind, "set", "a key of `checks` itself");
        let mut keys = BTreeSet::new();
        for name in key_names(check) {
            assert!(keys.insert(name), "{}: {name} comes twice", check.kind);
        }
        assert!(!check.proves.ends_with('.') && !check.proves.is_empty(), "{}", check.kind);
    }
}

#[test]
fn the_page_of_checks_is_as_the_program_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/checks.md");
    let page = document();
    if std::env::var_os("IMAGE_MANAGER_WRITE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    assert!(std::fs::read_to_string(path).unwrap_or_default() == page, "run `make docs`");
}
