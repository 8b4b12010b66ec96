//! Text that fits a terminal: lines break between words, never within one.

/// The text in lines of at most so many characters, broken between words; a longer word stays whole. None for no text.
pub(crate) fn wrapped(text: &str, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let fits = |line: &String| line.chars().count().saturating_add(1 + word.chars().count()) <= most;
        match lines.last_mut().filter(|line| fits(line)) {
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// At most so many characters, with "…" for what is left out.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// Lines with their alignment and colours, each in pieces of at most `width` columns. What goes on is indented by `hang`
/// more than its line, so that it does not look like one of its own; a word that is longer than a line stays whole.
pub(super) fn folded(text: &str, width: usize, hang: usize) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        fold(line, width, hang, &mut out);
    }
    out
}

fn fold(line: &str, width: usize, hang: usize, out: &mut String) {
    if columns(line.trim_end_matches('\n')) <= width {
        out.push_str(line);
        return;
    }
    let indent = line.len() - line.trim_start_matches(' ').len();
    let indent = indent.saturating_add(hang).min(width / 2);
    // Columns so far, and blanks that are shown only when a word follows on the same line.
    let (mut column, mut blanks, mut begun) = (0, 0, false);
    for word in line.split(' ') {
        match word {
            "" => {
                blanks += 1;
                continue;
            }
            // Blanks before it are not seen.
            "\n" => {
                out.push('\n');
                continue;
            }
            _ => {}
        }
        let room = columns(word.trim_end_matches('\n'));
        if begun && column + blanks + room > width {
            out.push('\n');
            blanks = indent;
            column = 0;
        }
        out.extend(std::iter::repeat_n(' ', blanks));
        out.push_str(word);
        column += blanks + room;
        (blanks, begun) = (1, true);
    }
}

/// How wide a text is shown: a code of a colour (`ESC [ 1 m`) takes no room.
fn columns(text: &str) -> usize {
    let mut pieces = text.split("\x1b[");
    let first = pieces.next().unwrap_or_default().chars().count();
    first
        + pieces.map(|piece| piece.split_once('m').map_or(0, |(_, rest)| rest.chars().count())).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrapped("", 9), Vec::<String>::new());
        assert_eq!(wrapped("ab cde f", 6), ["ab cde", "f"]);
        assert_eq!(wrapped("é è longer  x", 3), ["é è", "longer", "x"]);
        assert_eq!(wrapped("a b", usize::MAX), ["a b"]);
    }

    #[test]
    fn a_folded_line_keeps_its_alignment_and_its_colours() {
        for (text, expected) in [
            ("short\n\n  x\n", "short\n\n  x\n"),
            ("  ab   cdefg hi\n", "  ab\n    cdefg\n    hi\n"),
            ("\x1b[1mab\x1b[0m cde fgh", "\x1b[1mab\x1b[0m cde\n  fgh"),
            ("a-word-that-is-too-long ab\n", "a-word-that-is-too-long\n  ab\n"),
            ("abcde  f   \n", "abcde  f\n"),
        ] {
            assert_eq!(folded(text, 9, 2), expected, "{text:?}");
        }
        // No word is lost, and none is broken, at whatever width.
        let text = "  ✔ building        1 min 3 s  made debian.qcow2 (213 MiB); 412 packages verified\n";
        for width in 1..100 {
            let lines = folded(text, width, 2);
            assert_eq!(
                lines.split_whitespace().collect::<Vec<_>>(),
                text.split_whitespace().collect::<Vec<_>>()
            );
            assert!(lines.lines().all(|line| columns(line) <= width.max(22)), "{width}: {lines}");
        }
    }
}
