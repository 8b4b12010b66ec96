//! Is what is in the finished image what was put there?
//!
//! DIB does not notice a disk that fills while it copies the image: it says that it succeeded, and neither
//! `e2fsck` nor `qemu-img check` finds anything, for the structure is sound. Only the files are garbage. So
//! the packaged files of the finished image are compared with the checksums in its own package database.
//!
//! The image is unpacked to a sparse raw file beside it and read by a library, one for ext4 and one for XFS: no mount and
//! no loop device, which could be left behind, and nothing of a foreign file system in the kernel. Some seconds for a
//! Debian. An image that cannot be compared is no error, but its build says so aloud: [`Proof::warning`].
//!
//! A new file system is a file beside `xfs` that gives a `Volume`, and an arm where the kinds are told apart; a
//! new database of packages has its place in `packages`.

mod boot;
mod ext4;
mod inspection;
mod installed;
mod kept;
mod names;
mod own;
mod packages;
mod partition;
mod secrets;
mod superblock;
mod volume;
mod xfs;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use image_manager_proto::counted;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::BuilderError;
use super::inputs::Secret;
use crate::reason::Reason;
use crate::schedules::Format;
pub use boot::MissingMount;
pub use inspection::{HostKey, Inspection, Leak};
use names::Names;
pub use packages::Counts;
pub(super) use packages::Verified;
use partition::Kind;
use secrets::SecretKinds;
use volume::{Files, Volume};

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
    /// This is damaged, and nothing else was looked at.
    fn damaged(what: String) -> Self {
        Self::Looked(Counts { damaged: 1, names: vec![what], ..Counts::default() })
    }

    /// What whoever uses the image should know, when there was nothing to compare with.
    pub fn warning(&self) -> Option<String> {
        match self {
            Self::Looked(_) => None,
            Self::NotPossible(why) => {
                Some(format!("it was not verified that the image holds what was put into it: {why}"))
            }
        }
    }

    /// One line for people.
    pub fn summary(&self) -> String {
        match self {
            Self::NotPossible(why) => format!("packaged files not verified: {why}"),
            Self::Looked(counts) => {
                let mut parts = vec![counted(counts.same, "packaged file") + " verified"];
                let others = [
                    (counts.changed, format!("{} changed by elements", counts.changed)),
                    (counts.edited, counted(counts.edited, "edited configuration file")),
                    (counts.missing, format!("{} missing", counts.missing)),
                ];
                parts.extend(others.into_iter().filter(|(count, _)| *count > 0).map(|(_, said)| said));
                parts.join(", ")
            }
        }
    }
}

/// What came of opening a file system.
enum Opened {
    Volume(Box<dyn Volume>),
    /// It is damaged.
    Damaged(String),
    /// The library cannot read its kind.
    NotPossible(String),
}

/// Ends the look at the files when whoever wants it has gone.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Looks at the packaged files of an image. An image that is damaged is an error; one that has no packages
/// that could be compared is not. `secrets` are those of its build, which must not be in it.
///
/// # Errors
/// `image_damaged`, `scratch_full`, `build_timeout`, `cancelled`, `dib_failed`.
pub(super) async fn prove(
    image: &Path,
    format: Format,
    secrets: &[Secret],
    cancel: &CancellationToken,
) -> Result<Verified, BuilderError> {
    let work = tokio::time::timeout(DEADLINE, look(image, format, SecretKinds::of(secrets)));
    let verified = tokio::select! {
        () = cancel.cancelled() => return Err(BuilderError::new(Reason::Cancelled, "cancelled while the image was verified".to_owned())),
        looked = work => looked.map_err(|_| {
            let minutes = DEADLINE.as_secs() / 60;
            BuilderError::new(Reason::BuildTimeout, format!("verifying the image's packaged files took over {minutes} minutes"))
        })??,
    };
    match &verified.proof {
        Proof::Looked(counts) if counts.is_damaged() => Err(damaged(counts)),
        _ => Ok(verified),
    }
}

fn damaged(counts: &Counts) -> BuilderError {
    let text = format!(
        "the image is damaged: of {} packaged files, {} are blank or cannot be read, {} differ from their package's \
         checksum and {} are missing; the disk that it was made on has filled up or failed",
        counts.total(),
        counts.damaged,
        counts.changed,
        counts.missing
    );
    let mut error = BuilderError::new(Reason::ImageDamaged, text);
    error.evidence = counts.names.join("\n");
    error
}

async fn look(image: &Path, format: Format, sought: SecretKinds) -> Result<Verified, BuilderError> {
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
    let looked = tokio::task::spawn_blocking(move || read(&path, &sought, &asked_to_stop)).await;
    if format == Format::Qcow2 {
        // It lies in the scratch directory, which is removed in any case.
        let _ = tokio::fs::remove_file(&raw).await;
    }
    match looked {
        Ok(Ok(verified)) => Ok(verified),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::StorageFull => {
            let directory = image.parent().unwrap_or(image).display();
            let what = "to copy the image's package database for verification";
            Err(BuilderError::new(Reason::ScratchFull, format!("{directory} has no room {what}")))
        }
        Ok(Err(error)) => {
            Err(BuilderError::new(Reason::DibFailed, format!("cannot examine {}: {error}", image.display())))
        }
        Err(error) => Ok(Verified::of(Proof::NotPossible(format!("examining the image failed: {error}")))),
    }
}

fn read(raw: &Path, sought: &SecretKinds, stop: &AtomicBool) -> std::io::Result<Verified> {
    let disk = File::open(raw)?;
    // Why nothing could be compared: what a file system with a root says first, then what others say.
    let mut reasons = Vec::new();
    // A root that has no packages is looked into as well.
    let mut inspection = None;
    let partitions = partition::partitions(&disk)?;
    let systems = partition::file_systems(&disk, &partitions);
    let names = Names::read(&disk, &partitions)?;
    for (start, kind) in &systems {
        let opened = match kind {
            Kind::Ext => ext4::open(&disk, *start)?,
            Kind::Xfs => xfs::open(&disk, *start)?,
            Kind::Other(name) => Opened::NotPossible(format!("{name} cannot be read, only ext4 and xfs can")),
        };
        match opened {
            Opened::Volume(volume) => {
                let files = Files { volume: volume.as_ref(), stop };
                match packages::verify(&files, raw)? {
                    Some(Verified { proof: Proof::NotPossible(why), .. }) => {
                        inspection = Some(inspection::take(&files, &names, sought));
                        reasons.insert(0, why);
                    }
                    Some(verified) => {
                        let inspection = inspection::take(&files, &names, sought);
                        let kept = kept::take(files.volume, &verified.packages)
                            .and_then(|kept| kept::without_secrets(kept, &inspection));
                        return Ok(Verified { kept, inspection: Ok(inspection), ..verified });
                    }
                    None if files.volume.names("/etc").is_ok() => {
                        inspection = Some(inspection::take(&files, &names, sought));
                    }
                    None => {}
                }
            }
            Opened::NotPossible(why) => reasons.push(why),
            Opened::Damaged(what) => {
                return Ok(Verified::of(Proof::damaged(what)));
            }
        }
    }
    let why = match (reasons.is_empty(), systems.is_empty()) {
        (false, _) => reasons.join("; "),
        (true, true) => "it has no file system that can be read: neither ext4 nor xfs".to_owned(),
        (true, false) => "it has neither a dpkg nor an rpm database".to_owned(),
    };
    let inspection = inspection.ok_or_else(|| why.clone());
    Ok(Verified { inspection, ..Verified::of(Proof::NotPossible(why)) })
}

/// To a raw file with holes, which is as large as what is in it.
async fn unpack(image: &Path, raw: &PathBuf) -> Result<(), BuilderError> {
    let mut command = Command::new("qemu-img");
    command.args(["convert", "-f", "qcow2", "-O", "raw"]).arg(image).arg(raw);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output
        .map_err(|error| BuilderError::new(Reason::DibMissing, format!("cannot run qemu-img: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let full = said.contains("No space left on device");
    let mut error = if full {
        let directory = image.parent().unwrap_or(image).display();
        BuilderError::new(
            Reason::ScratchFull,
            format!("{directory} has no room to unpack the image for verification"),
        )
    } else {
        BuilderError::new(
            Reason::DibFailed,
            format!("the image that DIB made cannot be unpacked ({})", output.status),
        )
    };
    error.evidence = said.chars().take(4096).collect();
    Err(error)
}

#[cfg(test)]
mod tests;
