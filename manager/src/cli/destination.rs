//! Files that a verb is to write: whether it can, before it does its work.

use std::path::Path;

use super::Trouble;

/// Refuses a file that cannot be written there; `flag` is what it was given with, or empty.
pub(super) fn expect_writable(file: &Path, flag: &str) -> Result<(), Trouble> {
    let refused = |why: String| Trouble::usage(format!("{flag}{}: {why}", file.display()));
    if file.is_dir() {
        return Err(refused("it is a directory; name the file to write in it".to_owned()));
    }
    let absolute = std::path::absolute(file).map_err(|error| refused(error.to_string()))?;
    let directory = absolute.parent().unwrap_or(Path::new("/"));
    // Tried, because permissions do not tell: the file system may be read-only.
    let trial = directory.join(format!(".image-manager-{}", std::process::id()));
    let tried = std::fs::File::create_new(&trial);
    let tried = tried.and_then(|_| std::fs::remove_file(&trial));
    tried.map_err(|error| {
        refused(format!(
            "cannot write to {}: {error}; name a file in a writable directory",
            directory.display()
        ))
    })
}
