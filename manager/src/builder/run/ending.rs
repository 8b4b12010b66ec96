//! What a build that has ended came to: an artifact, or what went wrong.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Build, Cause, Ended};
use crate::builder::command::Layout;
use crate::builder::diagnosis::{self, Exit};
use crate::builder::output::LogError;
use crate::builder::room::bytes;
use crate::builder::{Artifact, BuilderError, artifact, proof};
use crate::reason::Reason;

impl Build<'_> {
    pub(super) async fn judge(
        &self,
        ended: Ended,
        layout: &Layout,
        cancel: &CancellationToken,
    ) -> Result<Artifact, BuilderError> {
        if let Some(cause) = ended.cause {
            let mut error = self.stopped(&cause);
            error.evidence = diagnosis::last_lines(&self.tail);
            return Err(error);
        }
        let exit = match ended.status {
            Some(status) => match (status.code(), status.signal()) {
                (Some(code), _) => Exit::Code(code),
                (None, signal) => Exit::Signal(signal.unwrap_or_default()),
            },
            None => Exit::Signal(0),
        };
        let file = artifact::file(layout, self.order.format).await;
        match file {
            Some(file) if exit == Exit::Code(0) => {
                if let Some(stale) = diagnosis::stale(&self.reader) {
                    return Err(stale);
                }
                artifact::check(&file, self.order.format).await?;
                let began = Instant::now();
                let proving = async {
                    let verified =
                        proof::prove(&file, self.order.format, &self.order.inputs.secrets, cancel).await?;
                    Ok((verified, began.elapsed().as_secs_f64()))
                };
                // Side by side: both read the whole image.
                let ((verified, proof_seconds), sha512) = tokio::try_join!(proving, artifact::hash(&file))
                    .map_err(|error| self.with_cause(error))?;
                let proof::Verified { proof, packages, kept, inspection } = verified;
                let phase_seconds = self.reader.phase_seconds(ended.after);
                let manifest = artifact::manifest(layout).await;
                tracing::debug!(loops = ?self.reader.loops(), "disk-image-builder made {}", file.display());
                let room = self.room.used();
                Ok(Artifact {
                    file,
                    sha512,
                    manifest,
                    packages,
                    kept,
                    inspection,
                    phase_seconds,
                    proof,
                    proof_seconds,
                    room,
                })
            }
            _ => Err(self.with_cause(diagnosis::diagnose(exit, &self.tail, &self.reader))),
        }
    }

    /// An image that is damaged, and a build that failed for no known cause, while its room was low: it is that. A disk that
    /// fills within a tick, unseen, makes programs crash.
    fn with_cause(&self, mut error: BuilderError) -> BuilderError {
        let mut room = self.room;
        room.look(&self.layout.root);
        let lowest = room.used().lowest;
        let unknown = matches!(error.reason, Reason::ImageDamaged | Reason::DibFailed);
        if unknown && lowest < self.limits.free_bytes.saturating_mul(2) {
            error.reason = Reason::ScratchFull;
            error.message = format!("{}; at one time only {} was free there", error.message, bytes(lowest));
        }
        error
    }

    fn stopped(&self, cause: &Cause) -> BuilderError {
        let doing = self.reader.doing();
        let written = |span: Duration| humantime::format_duration(Duration::from_secs(span.as_secs().max(1)));
        match cause {
            Cause::Cancelled => BuilderError::new(Reason::Cancelled, format!("cancelled while at {doing}")),
            Cause::Timeout => BuilderError::new(
                Reason::BuildTimeout,
                format!("the build took longer than {}; it was at {doing}", written(self.order.timeout)),
            ),
            Cause::Silence => BuilderError::new(
                Reason::BuildTimeout,
                format!("DIB printed nothing for {}; it was at {doing}", written(self.limits.silence)),
            ),
            Cause::Log(LogError::Full) => BuilderError::new(
                Reason::BuildLog,
                format!(
                    "the build log has reached its limit of {}; it was at {doing}",
                    bytes(self.limits.log_bytes)
                ),
            ),
            Cause::Log(LogError::Io(error)) => BuilderError::new(
                Reason::BuildLog,
                format!("cannot write {}: {error}", self.log.path().display()),
            ),
            Cause::Full(free) => BuilderError::new(
                Reason::ScratchFull,
                format!(
                    "{} is full: {} free, but below {} an image would be damaged; it was at {doing}",
                    self.layout.root.display(),
                    bytes(*free),
                    bytes(self.limits.free_bytes)
                ),
            ),
        }
    }
}
