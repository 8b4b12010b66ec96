//! What must hold of every text that is shown.

use image_manager_agent::visible::is_hidden;

use super::log_file::{Lines, ShownLog};
use super::{Untrusted, csv, json};

/// Shows a text, or what remains of one, at each sink.
pub(crate) fn shown(bytes: &[u8]) {
    let text = &*String::from_utf8_lossy(bytes);
    let seen = |shown: &str, breaks: &[char]| {
        assert!(shown.chars().all(|c| !is_hidden(c) || breaks.contains(&c)), "something is hidden");
    };
    let untrusted = Untrusted::from(text);
    let line = untrusted.in_one_line().into_owned();
    seen(&line, &[]);
    assert_eq!(Untrusted::from(&line).in_one_line(), line, "twice is not as once");
    let lines = untrusted.in_lines().into_owned();
    seen(&lines, &['\n', '\t']);
    assert_eq!(Untrusted::from(&lines).in_lines(), lines, "twice is not as once");

    let chat = untrusted.for_chat().replace('\u{200b}', "");
    seen(&chat, &[]);
    assert!(!chat.contains(['<', '>', '`']), "markup in a chat room");
    let label = untrusted.for_label();
    seen(&label, &[]);
    assert!(!label.replace("\\\\", "").replace("\\\"", "").contains('"'), "a label that ends");
    let row = csv::row([Untrusted::from(text), Untrusted::from(text)]);
    assert_eq!(row.matches('\n').count(), 1, "a row of several lines");
    let written = json::compact(&text);
    seen(&written, &[]);
    assert_eq!(serde_json::from_str::<String>(&written).ok().as_deref(), Some(text), "another value");

    for kind in [Lines::Text, Lines::Json] {
        let mut log = ShownLog::new(kind);
        let (first, second) = bytes.split_at(bytes.len() / 2);
        let pieces = [log.take(first), log.take(second), log.finish()].concat();
        seen(&pieces, &['\n', '\t']);
        let mut log = ShownLog::new(kind);
        assert_eq!([log.take(bytes), log.finish()].concat(), pieces, "pieces show otherwise");
    }
}
