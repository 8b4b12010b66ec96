//! Pages. maud escapes what is interpolated, so that it is no markup; what remains are characters that are not seen,
//! and marks of direction, which would make the text around them read otherwise.

use image_manager_agent::visible::in_lines;
use maud::{Markup, Render};

/// The page as it is sent: everything in it is seen.
pub(crate) fn page(markup: Markup) -> String {
    let text = markup.into_string();
    match in_lines(&text) {
        std::borrow::Cow::Borrowed(_) => text,
        std::borrow::Cow::Owned(shown) => shown,
    }
}

/// Markup or a style sheet that is part of the program: a constant is from nobody else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ours(pub(crate) &'static str);

impl Render for Ours {
    fn render_to(&self, out: &mut String) {
        out.push_str(self.0);
    }
}

#[cfg(test)]
mod tests {
    use maud::html;

    use super::*;

    #[test]
    fn everything_on_a_page_is_seen() {
        let evil = "<b>\u{202e}\x1b[2J\u{200b}\"\u{2028}";
        let said = page(html! { p title=(evil) { (evil) } (Ours("<hr>\n")) });
        let shown = "&lt;b&gt;\\u{202e}\\u{1b}[2J\\u{200b}&quot;\\u{2028}";
        assert_eq!(said, format!("<p title=\"{shown}\">{shown}</p><hr>\n"));
    }
}
