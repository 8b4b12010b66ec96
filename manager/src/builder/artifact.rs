//! What DIB made: is it there, is it whole, what is its hash.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use image_manager_proto::hex;
use sha2::{Digest as _, Sha512};
use tokio::process::Command;

use super::BuilderError;
use super::command::Layout;
use crate::reason::Reason;
use crate::schedules::Format;

/// How long `qemu-img check` may take.
const CHECK_DEADLINE: Duration = Duration::from_mins(5);
/// How long the image may be read for its hash.
pub(crate) const HASH_DEADLINE: Duration = Duration::from_mins(10);
/// Bytes that are read at a time.
const CHUNK: usize = 1 << 20;

/// The image file, when there is one with something in it.
pub(super) async fn file(layout: &Layout, format: Format) -> Option<PathBuf> {
    let mut path = layout.image().into_os_string();
    path.push(format!(".{format}"));
    let path = PathBuf::from(path);
    // Not through a link: what is handed on is a file in the scratch directory.
    let there = tokio::fs::symlink_metadata(&path).await.is_ok_and(|file| file.is_file() && file.len() > 0);
    there.then_some(path)
}

/// What DIB's manifests of packages are called. It writes them for dpkg only; its others are of git repositories.
const MANIFEST: &str = "dib-manifest-dpkg-";

/// DIB's manifest of the image's packages.
pub(super) async fn manifest(layout: &Layout) -> Option<PathBuf> {
    let mut directory = layout.image().into_os_string();
    directory.push(".d/dib-manifests");
    let mut entries = tokio::fs::read_dir(PathBuf::from(directory)).await.ok()?;
    let mut found = Vec::new();
    while let Ok(Some(entry)) = entries.next_entry().await {
        let name = entry.file_name();
        let is_file = entry.file_type().await.is_ok_and(|kind| kind.is_file());
        if is_file && name.to_string_lossy().starts_with(MANIFEST) {
            found.push(entry.path());
        }
    }
    found.sort();
    found.into_iter().next()
}

/// Has `qemu-img` look through the image's structure. It does not see what is in the image: an image whose
/// files are garbage passes. A raw image has no structure.
pub(super) async fn check(file: &Path, format: Format) -> Result<(), BuilderError> {
    if format == Format::Raw {
        return Ok(());
    }
    let mut command = Command::new("qemu-img");
    command.args(["check", "-f", "qcow2"]).arg(file).stdin(Stdio::null()).kill_on_drop(true);
    let output = match tokio::time::timeout(CHECK_DEADLINE, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => {
            return Err(BuilderError::new(Reason::DibMissing, format!("cannot run qemu-img: {error}")));
        }
        Err(_) => {
            let minutes = CHECK_DEADLINE.as_secs() / 60;
            return Err(BuilderError::new(
                Reason::BuildTimeout,
                format!("qemu-img check took over {minutes} minutes"),
            ));
        }
    };
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let mut error = BuilderError::new(
        Reason::DibFailed,
        format!("the image that DIB made is damaged ({})", output.status),
    );
    error.evidence = String::from_utf8_lossy(&said).chars().take(4096).collect();
    Err(error)
}

/// Computes the image's hash, within a time.
pub(super) async fn hash(file: &Path) -> Result<String, BuilderError> {
    match tokio::time::timeout(HASH_DEADLINE, sha512_of(file)).await {
        Ok(Ok(hash)) => Ok(hash),
        Ok(Err(error)) => {
            Err(BuilderError::new(Reason::State, format!("cannot read {}: {error}", file.display())))
        }
        Err(_) => {
            Err(BuilderError::new(Reason::BuildTimeout, "reading the image for its hash took too long"))
        }
    }
}

/// SHA-512 of a file, lower-case hexadecimal.
///
/// # Errors
/// When it cannot be read.
pub async fn sha512_of(file: &Path) -> io::Result<String> {
    let file = file.to_owned();
    let read = tokio::task::spawn_blocking(move || {
        let mut source = File::open(file)?;
        let mut hasher = Sha512::new();
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = source.read(&mut buffer)?;
            if count == 0 {
                return Ok(hex(&hasher.finalize()));
            }
            hasher.update(buffer.get(..count).unwrap_or_default());
        }
    });
    read.await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
