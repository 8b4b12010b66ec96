//! Keeping the disk of a server that was verified (`run --keep-disk`).

use std::time::Duration;

use super::boot::Booted;
use crate::cloud::SAVE_DISK;
use crate::lifecycle::failure::Failure;
use crate::lifecycle::trial::Trial;
use crate::reason::Reason;

/// How long the server may take to shut down, by force at last, before its disk is kept.
const SHUTTING_DOWN: Duration = Duration::from_mins(5);

/// For a look inside: the server is shut down in order, so that its disk is whole. What goes wrong with it says nothing
/// about the image: it is told, as the end of the stage's detail, and the build goes on. Only who cancels the build ends
/// it here.
pub(super) async fn keep_disk(trial: &Trial, booted: &Booted) -> Result<String, Failure> {
    let wanted = trial.shared.keep_disk.as_ref().filter(|_| trial.target.kind().keeps_disks);
    let Some(to) = wanted else { return Ok(String::new()) };
    let work = async {
        trial.cloud.stop(&booted.server).await?;
        trial.cloud.save_disk(&booted.server, to).await.map_err(Failure::from)
    };
    // Publishing must have its time yet.
    let left = trial.bounds.time_left().map_or(Duration::MAX, |left| left / 2);
    let limit = left.min(SHUTTING_DOWN + SAVE_DISK);
    let late = async { Failure::new(Reason::CloudTimeout, "it took too long") };
    match trial.bounds.run(limit, late, work).await {
        Ok(()) => Ok(format!("; the disk is in {}", to.display())),
        Err(failure) if trial.bounds.is_told_to_stop() => Err(failure),
        Err(failure) => {
            let why = format!("the disk could not be saved in {}: {}", to.display(), failure.message);
            tracing::warn!(build = trial.shared.id, "{why}");
            Ok(format!("; {why}"))
        }
    }
}
