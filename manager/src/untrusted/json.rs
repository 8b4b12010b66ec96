//! JSON that may be shown on a terminal. serde_json escapes the control characters below a space only; the others,
//! marks of direction and separators of lines are written as `\u009b` too. The value stays what it is.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;

use image_manager_agent::visible::is_hidden;
use serde::Serialize;
use tracing_subscriber::fmt::MakeWriter;

/// A value on one line.
pub(crate) fn compact(value: &impl Serialize) -> String {
    escaped(serde_json::to_string(value).unwrap_or_default()).into_owned()
}

/// A value with indentation, and a line end.
pub(crate) fn pretty(value: &impl Serialize) -> String {
    let mut text = escaped(serde_json::to_string_pretty(value).unwrap_or_default()).into_owned();
    text.push('\n');
    text
}

/// JSON text without what would not be seen. Line breaks and tabs between the values stay.
pub(crate) fn escaped<'a>(json: impl Into<Cow<'a, str>>) -> Cow<'a, str> {
    let json = json.into();
    // Nearly all of it is, and much at once.
    if json.bytes().all(|byte| matches!(byte, b'\n' | b'\t' | b' '..=b'~')) {
        return json;
    }
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if is_hidden(c) && !matches!(c, '\n' | '\t') {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// A log of JSON objects, a line each.
#[derive(Debug, Clone)]
pub(crate) struct EscapedLines<W>(pub(crate) W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for EscapedLines<W> {
    type Writer = EscapedLines<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        EscapedLines(self.0.make_writer())
    }
}

impl<W: io::Write> io::Write for EscapedLines<W> {
    /// tracing-subscriber writes an event as a whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(escaped(String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn it_does_not_steer_a_terminal() {
        let value = json!({"a\u{9b}": "\x1b[2J\u{7f}\u{202e}\n\u{e0041}"});
        assert_eq!(compact(&value), r#"{"a\u009b":"\u001b[2J\u007f\u202e\n\udb40\udc41"}"#);
        assert_eq!(pretty(&json!({"a": ["\u{2028}"]})), "{\n  \"a\": [\n    \"\\u2028\"\n  ]\n}\n");
    }

    proptest! {
        #[test]
        fn the_value_stays(text: String, key: String) {
            let value = json!({ key: [text] });
            for written in [compact(&value), pretty(&value)] {
                prop_assert_eq!(&serde_json::from_str::<Value>(&written).unwrap(), &value);
                prop_assert!(written.chars().all(|c| c == '\n' || !is_hidden(c)));
            }
        }
    }
}
