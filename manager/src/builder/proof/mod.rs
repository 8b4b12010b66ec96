//! Is what is in the finished image what was put there?
//!
//! DIB does not notice a disk that fills while it copies the image: it says that it succeeded, and neither
//! `e2fsck` nor `qemu-img check` finds anything, for the structure is sound. Only the files are garbage. So
//! the packaged files of the finished image are compared with the checksums in its own package database.
//!
//! The image is unpacked to a sparse raw file beside it and read by a library: no mount and no loop device,
//! which could be left behind, and nothing of a foreign file system in the kernel. Some seconds for a Debian.

mod packages;
mod partition;
mod superblock;

use std::fmt::Display;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::BuilderError;
use super::diagnosis::host;
use crate::schedules::Format;
pub use packages::Counts;

/// How long it may take.
const DEADLINE: Duration = Duration::from_mins(10);

/// What the look into the image came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// Every packaged file was looked at.
    Looked(Counts),
    /// There is nothing to compare with, for this reason.
    NotPossible(String),
}

impl Proof {
    fn not_possible(why: &dyn Display) -> Self {
        Self::NotPossible(why.to_string())
    }

    /// One line for people.
    pub fn summary(&self) -> String {
        match self {
            Self::NotPossible(why) => format!("packaged files not verified: {why}"),
            Self::Looked(counts) => {
                let mut parts = vec![format!("{} packaged files verified", counts.same)];
                let others = [(counts.changed, "changed by elements"), (counts.missing, "missing")];
                let others = others.iter().filter(|(count, _)| *count > 0);
                parts.extend(others.map(|(count, what)| format!("{count} {what}")));
                parts.join(", ")
            }
        }
    }
}

/// Ends the look at the files when whoever wants it has gone.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Looks at the packaged files of an image. An image that is damaged is an error; one that has no packages
/// that could be compared is not.
///
/// # Errors
/// `image_damaged`, `scratch_full`, `build_timeout`, `cancelled`, `dib_failed`.
pub(super) async fn prove(
    image: &Path,
    format: Format,
    cancel: &CancellationToken,
) -> Result<Proof, BuilderError> {
    let work = tokio::time::timeout(DEADLINE, look(image, format));
    let proof = tokio::select! {
        () = cancel.cancelled() => return Err(host("cancelled", "cancelled while the image was verified".to_owned())),
        looked = work => looked.map_err(|_| {
            let minutes = DEADLINE.as_secs() / 60;
            host("build_timeout", format!("verifying the image's packaged files took over {minutes} minutes"))
        })??,
    };
    match &proof {
        Proof::Looked(counts) if counts.is_damaged() => Err(damaged(counts)),
        _ => Ok(proof),
    }
}

fn damaged(counts: &Counts) -> BuilderError {
    let text = format!(
        "the image is damaged: of {} packaged files {} are blank or cannot be read, {} differ from their package's \
         checksum and {} are missing; the disk that it was made on filled up or has failed",
        counts.total(),
        counts.damaged,
        counts.changed,
        counts.missing
    );
    let mut error = host("image_damaged", text);
    error.evidence = counts.names.join("\n");
    error
}

async fn look(image: &Path, format: Format) -> Result<Proof, BuilderError> {
    let raw = match format {
        Format::Qcow2 => {
            let raw = image.with_extension("proof.raw");
            unpack(image, &raw).await?;
            raw
        }
        Format::Raw => image.to_owned(),
    };
    let stop = StopOnDrop(Arc::new(AtomicBool::new(false)));
    let (path, asked_to_stop) = (raw.clone(), Arc::clone(&stop.0));
    let looked = tokio::task::spawn_blocking(move || read(&path, &asked_to_stop)).await;
    if format == Format::Qcow2 {
        // It lies in the scratch directory, which is removed in any case.
        let _ = tokio::fs::remove_file(&raw).await;
    }
    match looked {
        Ok(Ok(proof)) => Ok(proof),
        Ok(Err(error)) => Err(host("dib_failed", format!("cannot look into {}: {error}", image.display()))),
        Err(error) => Ok(Proof::NotPossible(format!("looking into the image failed: {error}"))),
    }
}

fn read(raw: &Path, stop: &AtomicBool) -> std::io::Result<Proof> {
    let disk = File::open(raw)?;
    let mut systems = 0;
    for start in partition::ext4_offsets(&disk)? {
        systems += 1;
        if let Some(proof) = packages::verify(&disk, start, stop)? {
            return Ok(proof);
        }
    }
    let why = if systems == 0 { "it has no ext4 file system" } else { "it has no dpkg database" };
    Ok(Proof::NotPossible(why.to_owned()))
}

/// To a raw file with holes, which is as large as what is in it.
async fn unpack(image: &Path, raw: &PathBuf) -> Result<(), BuilderError> {
    let mut command = Command::new("qemu-img");
    command.args(["convert", "-f", "qcow2", "-O", "raw"]).arg(image).arg(raw);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output
        .map_err(|error| host("dib_missing", format!("cannot run qemu-img: {error}; setup/install build")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let full = said.contains("No space left on device");
    let mut error = if full {
        let directory = image.parent().unwrap_or(image).display();
        host("scratch_full", format!("{directory} has no room to unpack the image, in order to verify it"))
    } else {
        host("dib_failed", format!("the image that DIB made cannot be unpacked ({})", output.status))
    };
    error.evidence = said.chars().take(4096).collect();
    Err(error)
}

#[cfg(test)]
mod tests;
