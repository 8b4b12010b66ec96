//! Why a build did not pass: each reason with its word, the verdict it means, what happened, and what to do next.
//!
//! [`Reason`] is written once, in `table.rs`: failures carry it, the history and the interfaces have its word, and
//! documentation, pages, JSON and command line show its sentences.
//!
//! A new reason is a row of that table, in the section of its verdict. Its word does not change once it has been
//! released; `make docs` writes the page.

mod table;

use std::fmt;

use image_manager_proto::v1::Verdict;

pub use table::Reason;

/// What a reason is about. All reasons of a section mean the same verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// The image, or its definition.
    Image,
    /// The host that builds.
    Host,
    /// The server and the agent in it.
    Server,
    /// The cloud.
    Cloud,
    /// The manager itself.
    Manager,
    /// Nobody waits for the build any more.
    Ended,
}

impl Section {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 6] =
        [Self::Image, Self::Host, Self::Server, Self::Cloud, Self::Manager, Self::Ended];

    /// Its heading in the documentation, without the verdict.
    pub fn title(self) -> &'static str {
        match self {
            Self::Image => "The image is bad",
            Self::Host => "The build host",
            Self::Server => "The server and its agent",
            Self::Cloud => "The cloud",
            Self::Manager => "The manager",
            Self::Ended => "Ended on request",
        }
    }

    /// What its reasons mean; unspecified where the build has no verdict.
    pub fn verdict(self) -> Verdict {
        match self {
            Self::Image => Verdict::Failed,
            Self::Host | Self::Server | Self::Cloud | Self::Manager => Verdict::Errored,
            Self::Ended => Verdict::Unspecified,
        }
    }
}

impl Reason {
    /// The verdict it means; unspecified for a build that was ended without one.
    pub fn verdict(self) -> Verdict {
        self.section().verdict()
    }

    /// The reason with this word. `None`: the word is of another version, whose history this is.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.word() == word)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What to do next about a build with this reason; empty for a word that this version does not know.
pub fn hint_of(word: &str) -> &'static str {
    Reason::parse(word).map_or("", Reason::hint)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Scripts rely on these: a reason that changes its verdict changes what they do.
    #[test]
    fn the_verdicts_stay() {
        let of = |verdict| {
            let reasons = Reason::ALL.iter().filter(|reason| reason.verdict() == verdict);
            reasons.map(|reason| reason.word()).collect::<BTreeSet<_>>()
        };
        let failed = BTreeSet::from([
            "agent_not_removed",
            "check_failed",
            "dib_element_conflict",
            "dib_element_unknown",
            "dib_hook_failed",
            "dib_os_missing",
            "dib_package_missing",
            "dib_release_unknown",
            "image_at_fault",
        ]);
        assert_eq!(of(Verdict::Failed), failed);
        assert_eq!(of(Verdict::Unspecified), BTreeSet::from(["cancelled", "schedule_removed"]));
        assert_eq!(of(Verdict::Passed), BTreeSet::new());
    }

    #[test]
    fn a_word_is_one_reason_and_the_other_way_round() {
        for reason in Reason::ALL {
            let word = reason.word();
            assert_eq!(Reason::parse(word), Some(*reason), "{word}");
            assert!(word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{word}");
            // The variant is the word, as Rust writes it.
            assert_eq!(format!("{reason:?}").to_lowercase(), word.replace('_', ""));
            assert_eq!(hint_of(word), reason.hint());
        }
        assert_eq!((Reason::parse("of_tomorrow"), hint_of("of_tomorrow")), (None, ""));
    }

    /// They stand in a table of Markdown, a page, a terminal of 80 columns and a chat room.
    #[test]
    fn what_people_read_is_whole_sentences_of_a_size() {
        for reason in Reason::ALL {
            for text in [reason.sentence(), reason.hint()] {
                if text.is_empty() {
                    assert_eq!(reason.verdict(), Verdict::Unspecified, "{reason} lets people alone");
                    continue;
                }
                assert!(text.ends_with('.') && text.len() <= 180, "{reason}: {text}");
                assert!(!text.contains(['|', '\n', '<']) && !text.contains("  "), "{reason}: {text}");
                assert!(text.matches('`').count().is_multiple_of(2), "{reason}: {text}");
            }
            assert!(!reason.sentence().is_empty(), "{reason}");
        }
    }
}
