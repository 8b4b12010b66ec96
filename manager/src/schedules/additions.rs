//! What a schedule adds of its own to an image: package repositories, files, secrets of the build. Everything here is
//! checked already, as far as the text tells; the files that it names are looked at before a build.

use std::path::PathBuf;

/// A package repository of one's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Names its files in the image: letters, digits, `-` and `_`.
    pub name: String,
    /// Whose package manager reads it.
    pub kind: RepositoryKind,
    /// `http://`, `https://` or `file:///`, without user and password.
    pub url: String,
    /// apt: suites; one that ends in `/` is a flat repository, which has no components.
    pub suites: Vec<String>,
    /// apt: components.
    pub components: Vec<String>,
    /// The public key that signs it, absolute; `None`: the distribution's keys must do.
    pub key_file: Option<PathBuf>,
    /// Whether servers have it too. False by default: what belongs to the build goes with it.
    pub keep: bool,
    /// The secret with `user:password`.
    pub auth: Option<String>,
}

/// Whose package manager reads a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepositoryKind {
    /// apt.
    Apt,
    /// dnf, yum and zypper.
    Dnf,
}

impl RepositoryKind {
    /// The words of schedules.toml.
    pub(super) const WORDS: [(&'static str, Self); 2] = [("apt", Self::Apt), ("dnf", Self::Dnf)];

    /// Its word in schedules.toml, and for the element that writes the repository.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Apt => "apt",
            Self::Dnf => "dnf",
        }
    }
}

/// A file of one's own that goes into the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFile {
    /// The file on this host, absolute.
    pub source: PathBuf,
    /// Where it goes, absolute, without `.` and `..`.
    pub path: String,
    /// Permission bits. 0644 by default.
    pub mode: u32,
    /// `user:group`, as the image knows them. `root:root` by default.
    pub owner: String,
}

/// A secret of the build, by the file that it is in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Secret {
    /// The name of its file in `IMAGE_MANAGER_SECRETS_DIR`.
    pub name: String,
    /// The file on this host, absolute.
    pub source: PathBuf,
}
