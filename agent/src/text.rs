//! Text for people: the console, summaries and observations. All of it may hold what others said, so it
//! is cut to a limit and has no control characters, nor others that are not seen.

use std::error::Error;
use std::fmt::Write as _;
use std::time::Duration;

use crate::visible::is_hidden;

/// Longest line that is made of what others said.
const LINE: usize = 300;

/// What others said, as one line of at most [`LINE`] characters.
pub(crate) fn one_line(said: &str) -> String {
    bounded(&said.split_whitespace().collect::<Vec<_>>().join(" "), LINE)
}

/// At most so many characters, without those that would not be seen as themselves, but with line ends.
pub(crate) fn bounded(said: &str, limit: usize) -> String {
    let mut kept: String =
        said.chars().filter(|c| !is_hidden(*c) || *c == '\n').take(limit.saturating_add(1)).collect();
    if kept.chars().count() > limit {
        kept = kept.chars().take(limit.saturating_sub(1)).collect();
        kept.push('…');
    }
    kept
}

/// An error with its causes, as one line. Causes that repeat the text before them are left out.
pub(crate) fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            let _ = write!(text, ": {said}");
        }
        cause = inner.source();
    }
    one_line(&text)
}

/// The text, or what to say when there is none.
pub(crate) fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

/// A number of bytes as people say it.
#[expect(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut name = "bytes";
    for unit in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        name = unit;
    }
    if name == "bytes" { format!("{count} bytes") } else { format!("{value:.1} {name}") }
}

/// Seconds with one digit, as people say it.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// Names with commas and an "and so on" after the first few.
pub(crate) fn list(names: &[String]) -> String {
    const SHOWN: usize = 4;
    let mut text = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if let Some(more) = names.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        let _ = write!(text, " and {more} more");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_read_well() {
        assert_eq!(bytes(17), "17 bytes");
        assert_eq!(bytes(966_367_642), "921.6 MiB");
        assert_eq!(bytes(4 << 30), "4.0 GiB");
    }

    #[test]
    fn others_text_is_tamed() {
        assert_eq!(one_line("a\r\n\tb\u{1b}[31m c"), "a b[31m c");
        assert_eq!(one_line("\u{202e}a\u{200b}b\u{2028}c\u{9b}2J"), "ab c2J");
        assert_eq!(one_line(&"x".repeat(1000)).chars().count(), LINE);
    }

    #[test]
    fn lists_end() {
        let names: Vec<String> = (0..6).map(|n| n.to_string()).collect();
        assert_eq!(list(&names), "0, 1, 2, 3 and 2 more");
        assert_eq!(list(&[]), "");
    }
}
