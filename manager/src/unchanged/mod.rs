//! Would a build make another image than the last one, when its definition has not changed?
//!
//! Of an artifact that passed is kept what its package manager would need to ask again ([`Kept`]): which packages are in
//! it, where they come from, and with which keys. With that the mirrors are asked ([`would_change`]) what an upgrade of
//! the image would do today. If it would do nothing, the image is as fresh as a new one.
//!
//! What is kept was written by an image, and what the mirrors say by others: neither is trusted. A private root of the
//! package manager is made in which nothing is the host's own and nothing is the image's as it stands: sources, pins and
//! settings are read here and written anew, from what is known to be harmless. Only the mirrors that whoever runs the
//! manager knows are asked ([`Origins`]), and with dnf those to which these lead: an image does not choose whom this host
//! calls. The programs run as the account that apt has for its downloads, never as root, with a deadline and bounds.
//!
//! Whatever is not known for certain is a [`Doubt`], and who doubts builds.
//!
//! apt and dnf are asked: a new package manager is a directory beside theirs, and the arm of its [`Family`] in
//! [`would_change`].

mod apt;
mod dnf;
mod doubt;
mod kept;
mod origins;
mod place;
mod program;
mod status;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

pub use doubt::Doubt;
pub use kept::{FILE, Family, Kept, KeptFile, MOST_FILES, Package};
pub use origins::Origins;

pub(crate) use apt::keyrings_named;
pub(crate) use place::remove_left;

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Of the artifact that passed.
    pub kept: &'a Kept,
    /// Who may be asked.
    pub origins: &'a Origins,
    /// A directory for what the mirrors of apt said, so that it is asked for once; made when it is not there. Nothing in
    /// it is believed that is not as it was written.
    pub cache: &'a Path,
    /// A directory in which the directories of the package managers that are asked are named while they are there; made
    /// when it is not there.
    pub places: &'a Path,
    /// How long the answer may take.
    pub patience: Duration,
}

/// What an upgrade of the image would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Nothing: each of so many packages is the one that would be installed today.
    Nothing {
        /// How many packages were asked for.
        packages: usize,
    },
    /// This.
    Changes(Vec<Change>),
}

/// What would become of a package. All of it was said by others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its name, with its architecture where the package manager says it.
    pub package: String,
    /// The version in the image; `None`: it is not in it.
    pub from: Option<String>,
    /// The version that would be; `None`: it would be removed.
    pub to: Option<String>,
}

/// Asks the mirrors whether a build of the same definition would make another image.
///
/// # Errors
/// [`Doubt`] whenever that is not certain: then the image has to be built.
pub async fn would_change(question: Question<'_>) -> Result<Answer, Doubt> {
    match question.kept.family() {
        Family::Dpkg => apt::would_change(question).await,
        Family::Rpm => dnf::would_change(question).await,
    }
}
