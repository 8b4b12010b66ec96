//! Chat rooms: text that stays text. Slack has no markup of its own but what stands in `<>`, and asks to write `&`,
//! `<` and `>` as entities (<https://api.slack.com/reference/surfaces/formatting#escaping>). Mattermost and
//! Rocket.Chat read the same entities as HTML's, and Markdown besides: a link with another text than its address, and
//! code, which swallows what follows. They, and Google Chat, call people for `@all`.

use super::Untrusted;

/// Without width, and no part of a name: parts what would be read together.
const APART: char = '\u{200b}';

impl Untrusted<'_> {
    /// One line of a chat message in which nothing calls anybody, and no link hides where it leads.
    pub(crate) fn for_chat(&self) -> String {
        let line = self.in_one_line();
        let mut out = String::with_capacity(line.len() + 16);
        let mut before = ' ';
        let mut chars = line.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                '`' => out.push('\''),
                c => out.push(c),
            }
            let calls = c == '@' && !before.is_alphanumeric();
            // `[text](address)`, `[text][reference]` and `[reference]: address` of Markdown.
            let links = c == ']' && matches!(chars.peek(), Some('(' | '[' | ':'));
            if calls || links {
                out.push(APART);
            }
            before = c;
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat(text: &str) -> String {
        Untrusted::from(text).for_chat()
    }

    #[test]
    fn nothing_calls_and_no_link_is_disguised() {
        let said = chat("no match (from <module>) & <!here> <https://evil.example|log in>");
        assert_eq!(
            said,
            "no match (from &lt;module&gt;) &amp; &lt;!here&gt; &lt;https://evil.example|log in&gt;"
        );
        assert_eq!(chat("[log in](https://evil.example)"), "[log in]\u{200b}(https://evil.example)");
        assert_eq!(
            chat("@all, (@channel) and a@example.org"),
            "@\u{200b}all, (@\u{200b}channel) and a@example.org"
        );
        assert_eq!(chat("```\nrm"), "'''\\nrm");
        assert_eq!(chat("\u{202e}\x1b]8;;http://x\x07"), "\\u{202e}\\u{1b}]8;;http://x\\u{7}");
    }
}
