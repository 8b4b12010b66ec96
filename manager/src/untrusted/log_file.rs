//! Logs of builds as they are shown: a file that others wrote, piece by piece. Colours and cursor moves, of which a
//! boot's console is full, are left out; what else is not seen is shown.

use image_manager_agent::visible::in_lines;

use super::json;

/// Longest line that is shown as one, in bytes: a console may go on for ever without ending one.
const LONGEST: usize = 64 * 1024;

/// What a log's lines are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lines {
    /// Text: `build.log`, `console.log`.
    Text,
    /// A JSON object each: `agent.jsonl`.
    Json,
}

/// Turns a file's bytes into what may be shown of it.
#[derive(Debug)]
pub(crate) struct ShownLog {
    lines: Lines,
    /// The line that is not whole yet.
    partial: Vec<u8>,
}

impl ShownLog {
    /// For a log of such lines.
    pub(crate) fn new(lines: Lines) -> Self {
        Self { lines, partial: Vec::new() }
    }

    /// Takes the next bytes; gives the lines that they end.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> String {
        self.partial.extend_from_slice(bytes);
        let whole = match self.partial.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => end + 1,
            None if self.partial.len() > LONGEST => self.partial.len(),
            None => return String::new(),
        };
        let rest = self.partial.split_off(whole);
        let whole = std::mem::replace(&mut self.partial, rest);
        self.shown(&whole)
    }

    /// What is left when the file ends within a line.
    pub(crate) fn finish(&mut self) -> String {
        let rest = std::mem::take(&mut self.partial);
        self.shown(&rest)
    }

    fn shown(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes);
        let mut out = String::with_capacity(text.len());
        for line in text.lines() {
            match self.lines {
                Lines::Text => out.push_str(&in_lines(&without_escapes(line))),
                Lines::Json => out.push_str(&json::escaped(line)),
            }
            out.push('\n');
        }
        out
    }
}

/// A line without escape sequences, control characters, and white space at its end.
pub(crate) fn plain_line(line: &str) -> String {
    without_escapes(line).trim_end().to_owned()
}

fn without_escapes(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\x1b' {
            skip_escape(&mut chars);
        } else if c == '\t' || !c.is_control() {
            out.push(c);
        }
    }
    out
}

/// Skips the rest of an escape sequence (ECMA-48: CSI has parameters and ends with a letter or one of `@~`).
fn skip_escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.next() {
        Some('[') => {
            for c in chars.by_ref() {
                if c.is_ascii_alphabetic() || matches!(c, '@' | '~') {
                    break;
                }
            }
        }
        Some('(' | ')') => {
            chars.next();
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(lines: Lines, pieces: &[&[u8]]) -> String {
        let mut log = ShownLog::new(lines);
        let mut out: String = pieces.iter().map(|piece| log.take(piece)).collect();
        out.push_str(&log.finish());
        out
    }

    #[test]
    fn colours_and_cursor_moves_go() {
        assert_eq!(plain_line("\x1b[0;32m  OK  \x1b[0m] Started \x1b(Bx\r"), "  OK  ] Started x");
        assert_eq!(plain_line("\x1bc\x1b[?7l\x1b[2JSeaBIOS"), "SeaBIOS");
    }

    #[test]
    fn a_log_does_not_steer_the_terminal() {
        let said = all(Lines::Text, &[b"\x1b[2Jone\n\x1b]0;title\x07two\r\n\xff\n"]);
        assert_eq!(said, "one\n0;titletwo\n\u{fffd}\n");
        assert_eq!(all(Lines::Text, &["a\u{202e}b\u{2028}\tc".as_bytes()]), "a\\u{202e}b\\u{2028}\tc\n");
    }

    #[test]
    fn json_stays_json() {
        let line = "{\"a\":\"\u{9b}\u{202e}\"}\n";
        assert_eq!(all(Lines::Json, &[line.as_bytes()]), "{\"a\":\"\\u009b\\u202e\"}\n");
    }

    #[test]
    fn lines_come_in_pieces_and_have_a_bound() {
        assert_eq!(all(Lines::Text, &[b"on", b"e\xc3", b"\xa4\ntwo"]), "oneä\ntwo\n");
        let mut log = ShownLog::new(Lines::Text);
        let shown: usize = (0..100).map(|_| log.take(&[b'x'; 4096]).len()).sum();
        assert!(shown > 300_000 && log.partial.len() <= LONGEST, "{shown} {}", log.partial.len());
    }
}
