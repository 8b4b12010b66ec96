//! Text that does not come from this program: what guests, disk-image-builder, clouds, mirrors and users of the
//! interfaces say. It is stored as it came, and escaped where it is shown, because each place obeys other signs.
//!
//! At a sink every text counts as [`Untrusted`]; what is ours there is a constant or has a type that says so
//! (`cli::text::Painted`, `operator::charts::Svg`).
//!
//! | sink | its one way in | what is escaped |
//! | --- | --- | --- |
//! | terminal, pipe | `cli::text` | what is not seen as itself ([`image_manager_agent::visible`]); line breaks |
//! | a build's log | [`log_file`], unless raw was asked for | the same; colours and cursor moves are left out |
//! | log | [`image_manager_agent::log_fields`], [`json::EscapedLines`] | the same |
//! | JSON | [`json`] | the same, as `\u202e`: the value stays |
//! | HTML | maud, then [`html::page`] | `& < > "`; the same |
//! | chat | [`Untrusted::for_chat`] | `& < >`, mentions, links with another text, code; the same |
//! | CSV | [`csv::row`] | quotes, separators, formulas; the same |
//! | Prometheus | [`Untrusted::for_label`] | backslash, quote; the same |
//!
//! `tests.rs` looks for ways around them in the sources, `clippy.toml` for others.
//!
//! A new sink is a file here and a row of the table.

mod chat;
pub(crate) mod csv;
#[cfg(any(fuzzing, test))]
pub(crate) mod fuzzing;
pub(crate) mod html;
pub(crate) mod json;
mod label;
pub(crate) mod log_file;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use image_manager_agent::visible::{in_lines, in_one_line};

/// Text from somebody else. It cannot be printed or formatted; a sink takes it out in its own way.
pub(crate) struct Untrusted<'a>(Cow<'a, str>);

impl Untrusted<'_> {
    /// For a line of a terminal: without anything that would steer it or begin another line.
    pub(crate) fn in_one_line(&self) -> Cow<'_, str> {
        in_one_line(&self.0)
    }

    /// The same for several lines: for texts whose line breaks are ours, such as a page of the manual.
    pub(crate) fn in_lines(&self) -> Cow<'_, str> {
        in_lines(&self.0)
    }
}

impl<'a> From<&'a str> for Untrusted<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl<'a> From<&'a String> for Untrusted<'a> {
    fn from(text: &'a String) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl From<String> for Untrusted<'_> {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text))
    }
}

impl fmt::Debug for Untrusted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Untrusted({} bytes)", self.0.len())
    }
}
