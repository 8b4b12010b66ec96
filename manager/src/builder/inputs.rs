//! What a build is given besides its environment: files for the elements of ours, and secrets.
//!
//! Files lie in the build's scratch directory. Secrets never lie on a disk, in an environment or on a command line: they
//! go through a pipe to the first process of the build's namespaces, which puts them into a tmpfs that nobody else sees.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretSlice};

/// Names the directory with the files, for hooks outside of the image.
pub(super) const INPUTS: &str = "IMAGE_MANAGER_INPUTS";
/// Names the directory with the secrets, for hooks outside and inside.
pub(super) const SECRETS: &str = "IMAGE_MANAGER_SECRETS_DIR";
/// That directory, in the tmpfs that each build has to itself; the element `image-secrets` brings it into the image's
/// own view for as long as hooks run there.
pub(super) const SECRETS_DIRECTORY: &str = "/dev/shm/image-manager-secrets";
/// The line after the last secret.
const END: &str = "end";

/// What a build is given.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// Files, by their paths in the directory of inputs.
    pub files: Vec<InputFile>,
    /// Secrets.
    pub secrets: Vec<Secret>,
}

/// A file that a build is given.
#[derive(Clone, PartialEq, Eq)]
pub struct InputFile {
    /// Its path in the directory of inputs: plain names, no `..`.
    pub path: String,
    /// What is in it.
    pub content: Vec<u8>,
}

impl std::fmt::Debug for InputFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ({} bytes)", self.path, self.content.len())
    }
}

/// A secret of a build.
#[derive(Debug, Clone)]
pub struct Secret {
    /// The name of its file.
    pub name: String,
    /// The file that it comes from; hooks do not see it.
    pub source: PathBuf,
    value: Arc<SecretSlice<u8>>,
}

impl Secret {
    /// A secret that was read from `source`.
    pub fn new(name: String, source: PathBuf, value: Vec<u8>) -> Self {
        Self { name, source, value: Arc::new(value.into()) }
    }

    pub(super) fn value(&self) -> &[u8] {
        self.value.expose_secret()
    }

    /// Why it is no `user:password` that package managers take; `strict`: dnf, whose files know variables.
    pub fn wrong_pair(&self, strict: bool) -> Option<&'static str> {
        let pair = self.value().trim_ascii_end();
        let bad = |letter: &u8| letter.is_ascii_control() || letter.is_ascii_whitespace();
        if pair.contains(&b'\n') {
            Some("it has more than one line")
        } else if !pair.contains(&b':') {
            Some("it has no `:`")
        } else if pair.iter().any(bad) || std::str::from_utf8(pair).is_err() {
            Some("it has white space or control characters, which apt's auth.conf cannot contain")
        } else if strict && pair.iter().any(|letter| b"$\"'\\%".contains(letter)) {
            Some("it has one of $ \" ' \\ %, which a file of dnf cannot contain")
        } else {
            None
        }
    }
}

/// Writes the files; the directory must not be there.
pub(super) fn write(files: &[InputFile], directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.mode(0o700).create(directory)?;
    for file in files {
        let path = directory.join(&file.path);
        if let Some(parent) = path.parent() {
            builder.recursive(true).create(parent)?;
        }
        let mut open = fs::OpenOptions::new();
        open.write(true).create_new(true).mode(0o600).open(&path)?.write_all(&file.content)?;
    }
    Ok(())
}

/// What the first process of the build reads: a line for each secret, `NAME BASE64`, and one that says that this is all.
pub(super) fn lines(secrets: &[Secret]) -> Vec<u8> {
    let mut lines = Vec::new();
    for secret in secrets {
        lines.extend_from_slice(secret.name.as_bytes());
        lines.push(b' ');
        lines.extend_from_slice(STANDARD.encode(secret.value()).as_bytes());
        lines.push(b'\n');
    }
    lines.extend_from_slice(END.as_bytes());
    lines.push(b'\n');
    lines
}
