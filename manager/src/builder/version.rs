//! Which version of disk-image-builder it is, without a build.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

/// How long it may take to say so.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes that it may say.
const MOST: u64 = 4096;

/// The version of a `disk-image-create`, as it says it at the beginning of each build.
///
/// # Errors
/// What it did instead of saying it.
pub async fn version(program: &Path) -> Result<String, String> {
    let shown = program.display();
    let child = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let mut child = child.map_err(|error| format!("{shown}: {error}"))?;
    let mut said = String::new();
    let work = async {
        if let Some(out) = child.stdout.take() {
            out.take(MOST).read_to_string(&mut said).await?;
        }
        child.wait().await
    };
    match tokio::time::timeout(PATIENCE, work).await {
        Err(_) => Err(format!("{shown} did not print its version within {} s", PATIENCE.as_secs())),
        Ok(Err(error)) => Err(format!("{shown} did not print its version: {error}")),
        Ok(Ok(status)) if !status.success() => Err(format!("{shown} did not print its version: {status}")),
        Ok(Ok(_)) => match said.trim() {
            "" => Err(format!("{shown} did not print its version")),
            version => Ok(version.to_owned()),
        },
    }
}
