//! What was seen in a finished image, beside its logs, until its servers are judged; and for later verifications.

use std::path::{Path, PathBuf};

use crate::builder::Inspection;

use super::files;

/// Keeps it in the build's directory. What cannot be written is told of, and unknown afterwards.
pub(super) async fn keep(directory: &Path, seen: &Result<Inspection, String>) {
    let file = directory.join(files::INSPECTION);
    let written = match serde_json::to_vec(seen) {
        Ok(json) => tokio::fs::write(&file, json).await,
        Err(error) => Err(error.into()),
    };
    if let Err(error) = written {
        tracing::warn!("{}: {error}", file.display());
    }
}

/// What was kept of the build `made_by`; else why it is not known.
pub(super) async fn of(state: PathBuf, made_by: &str) -> Result<Inspection, String> {
    let file = files::directory(&state, made_by).join(files::INSPECTION);
    match tokio::fs::read(&file).await {
        Ok(json) => serde_json::from_slice::<Result<Inspection, String>>(&json)
            .map_err(|error| format!("{}: {error}", file.display()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(format!("nothing is stored about what build {made_by} made"))
        }
        Err(error) => Err(format!("{}: {error}", file.display())),
    }
}
