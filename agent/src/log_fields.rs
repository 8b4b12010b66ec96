//! What log lines say, each on one line: messages and values hold what others said.

use std::fmt::{self, Debug};

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

use crate::visible::in_one_line;

/// The field that tracing keeps an event's message in.
const MESSAGE: &str = "message";

/// Writes an event's message and fields as tracing-subscriber does, and everything in them visibly
/// ([`crate::visible`]): no value makes a second line, nor steers the terminal that shows the log.
#[derive(Debug, Clone, Copy, Default)]
pub struct VisibleFields;

impl<'writer> FormatFields<'writer> for VisibleFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut written = Written { writer, first: true, result: Ok(()) };
        fields.record(&mut written);
        written.result
    }
}

struct Written<'writer> {
    writer: Writer<'writer>,
    first: bool,
    result: fmt::Result,
}

impl Written<'_> {
    fn write(&mut self, name: &str, value: &str) -> fmt::Result {
        if !std::mem::take(&mut self.first) {
            self.writer.write_char(' ')?;
        }
        let value = in_one_line(value);
        if name == MESSAGE {
            return self.writer.write_str(&value);
        }
        if self.writer.has_ansi_escapes() {
            // As tracing-subscriber has it: the name in italics, the sign dim.
            return write!(self.writer, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m{value}");
        }
        write!(self.writer, "{name}={value}")
    }
}

impl Visit for Written<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == MESSAGE {
            self.record_debug(field, &format_args!("{value}"));
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if self.result.is_ok() {
            self.result = self.write(field.name(), &format!("{value:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Heard {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn said(say: impl FnOnce()) -> String {
        let heard = Heard::default();
        let writer = heard.clone();
        let subscriber = tracing_subscriber::fmt()
            .without_time()
            .with_target(false)
            .with_ansi(false)
            .fmt_fields(VisibleFields)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, say);
        let bytes = heard.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_event_is_one_line_whatever_it_says() {
        let evil = "a\n2026-11-28T00:00:00Z ERROR forged\r\x1b[2J\u{9b}\u{202e}";
        let line = said(|| tracing::info!(text = evil, shown = %evil, debug = ?evil, "{evil}"));
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert!(line.trim_end_matches('\n').chars().all(|c| !crate::visible::is_hidden(c)), "{line:?}");
        assert!(
            line.contains("a\\n2026-11-28T00:00:00Z ERROR forged\\r\\u{1b}[2J\\u{9b}\\u{202e}"),
            "{line}"
        );
    }

    #[test]
    fn it_reads_as_before() {
        let line = said(
            || tracing::warn!(build = "0199", tries = 3, took = ?std::time::Duration::from_secs(1), "again"),
        );
        assert_eq!(line, " WARN again build=\"0199\" tries=3 took=1s\n");
    }
}
