//! From the file to schedules.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::diagnostics::{LoadError, LoadErrorReason};
use super::reading::{Reader, read_schedules};
use super::spans::SourceSpans;
use super::syntax::read_document;
use super::values::Schedules;

/// Most bytes of the file.
const LARGEST_FILE: u64 = 1 << 20;

/// Reads `schedules.toml`. Every mistake in it is in the error.
pub fn load(path: &Path) -> Result<Schedules, LoadError> {
    let error = |reason| LoadError { path: path.to_owned(), reason };
    let mut bytes = Vec::new();
    File::open(path)
        // One byte more than allowed tells a file that is too large, even one without an end.
        .and_then(|file| file.take(LARGEST_FILE + 1).read_to_end(&mut bytes))
        .map_err(|cause| error(LoadErrorReason::Unreadable(cause)))?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(error(LoadErrorReason::TooLarge { limit: LARGEST_FILE }));
    }
    let text = String::from_utf8(bytes).map_err(|cause| {
        let valid = cause.as_bytes().iter().take(cause.utf8_error().valid_up_to());
        let line = valid.filter(|byte| **byte == b'\n').count() + 1;
        error(LoadErrorReason::NotUtf8 { line })
    })?;
    parse(path, &text)
}

/// Reads the text of `schedules.toml`; the path stands in messages and in the result, and relative
/// paths count from its directory.
pub fn parse(path_for_messages: &Path, text: &str) -> Result<Schedules, LoadError> {
    if text.len() as u64 > LARGEST_FILE {
        let reason = LoadErrorReason::TooLarge { limit: LARGEST_FILE };
        return Err(LoadError { path: path_for_messages.to_owned(), reason });
    }
    let document = read_document(text);
    let mut reader = Reader::new(text, path_for_messages);
    let schedules = read_schedules(&mut reader, &document.table);
    let spans = SourceSpans { text: text.to_owned(), schedules: reader.images };
    let findings = reader.findings;
    document.join(findings).into_result(path_for_messages, text)?;
    Ok(Schedules { path: path_for_messages.to_owned(), schedules, spans })
}
