//! What the fuzz target of the build log calls.

use std::collections::BTreeMap;
use std::time::Duration;

use super::diagnosis::{Exit, diagnose, stale};
use super::log_reader::LogReader;
use super::output::{LONGEST_LINE, Lines, Tail};

/// Most evidence that a diagnosis may give, in bytes: its lines, each as long as lines get.
const EVIDENCE: usize = 31 * (LONGEST_LINE + 1);

/// Reads bytes as disk-image-builder's output, in pieces, and has the end of it explained.
pub(crate) fn build_log(bytes: &[u8]) {
    let (mut lines, mut tail) = (Lines::default(), Tail::default());
    let mut reader = LogReader::new(&BTreeMap::new());
    let (mut shown, mut now) = (0.0, Duration::ZERO);
    // The first byte says how long the pieces are, the last how it ended.
    let length = bytes.first().map_or(1, |byte| usize::from(*byte) + 1);
    let mut take = |line: String| {
        assert!(line.len() <= LONGEST_LINE, "a line is too long");
        now += Duration::from_millis(250);
        reader.line(now, &line);
        tail.push(&line);
        let progress = reader.progress(now);
        assert!((shown..=1.0).contains(&progress), "progress fell from {shown} to {progress}");
        assert!(progress < 1.0 || reader.succeeded(), "it is not through");
        shown = progress;
    };
    for piece in bytes.chunks(length) {
        lines.push(piece).into_iter().for_each(&mut take);
    }
    lines.finish().into_iter().for_each(&mut take);
    let code = bytes.last().copied().unwrap_or_default();
    let exit = if code > 250 { Exit::Signal(9) } else { Exit::Code(i32::from(code)) };
    for error in [Some(diagnose(exit, &tail, &reader)), stale(&reader)].into_iter().flatten() {
        assert!(!error.message.is_empty() && error.evidence.len() <= EVIDENCE, "{error:?}");
    }
}
