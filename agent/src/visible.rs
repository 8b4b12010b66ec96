//! Characters that are not seen as what they are, made visible. One idea for the agent, whose words are evidence on
//! a serial console, and for the manager, which shows what agents, tools and clouds said.
//!
//! A terminal obeys control characters; marks of direction make a line read otherwise than it is; characters without
//! width hide one word in another; separators of lines forge lines. Each is written as its number, `\u{202e}`, which
//! nothing obeys. To do it twice changes nothing more.

use std::borrow::Cow;

/// Whether a character is not seen as itself: Unicode's control characters, separators of lines and paragraphs, and
/// what it lists as ignorable (`Default_Ignorable_Code_Point`, UAX #44), without the selectors of a glyph's variant.
pub const fn is_hidden(c: char) -> bool {
    matches!(
        c,
        '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// The text on one line: a tab is a space, a line break is `\n`.
pub fn in_one_line(text: &str) -> Cow<'_, str> {
    shown(text, |c, out| match c {
        '\t' => out.push(' '),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        c => out.extend(c.escape_unicode()),
    })
}

/// The text with its line breaks and tabs.
pub fn in_lines(text: &str) -> Cow<'_, str> {
    shown(text, |c, out| match c {
        '\t' | '\n' => out.push(c),
        c => out.extend(c.escape_unicode()),
    })
}

fn shown(text: &str, write: impl Fn(char, &mut String)) -> Cow<'_, str> {
    let Some(first) = text.find(is_hidden) else { return Cow::Borrowed(text) };
    let (sound, rest) = text.split_at(first);
    let mut out = String::with_capacity(text.len() + 16);
    out.push_str(sound);
    for c in rest.chars() {
        if is_hidden(c) {
            write(c, &mut out);
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_shown_as_its_number() {
        assert_eq!(in_one_line("a\x1b[31m\u{9b}2J\u{7f}b"), "a\\u{1b}[31m\\u{9b}2J\\u{7f}b");
        assert_eq!(in_one_line("one\ntwo\r\n\tthree"), "one\\ntwo\\r\\n three");
        assert_eq!(in_lines("one\n\ttwo\r\n"), "one\n\ttwo\\u{d}\n");
        for c in
            "\u{200b}\u{200e}\u{200f}\u{61c}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}\u{feff}\u{e0041}"
                .chars()
        {
            assert!(is_hidden(c), "{}", c.escape_unicode());
        }
    }

    #[test]
    fn what_is_seen_stays() {
        for text in ["", "plain", "Größe ✔ 日本語 עברית ❤\u{fe0f}", "C:\\u{1b}"] {
            assert!(matches!(in_one_line(text), Cow::Borrowed(same) if same == text));
        }
    }
}
