//! What disk-image-builder made, known again by its hash.

use std::path::PathBuf;
use std::time::Duration;

use image_manager_proto::hex;
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use crate::builder::{HASH_DEADLINE, sha512_of};
use crate::schedules::{OnFailure, RetryPolicy, Schedule};

/// The image file in the scratch directory, with the hash that it had when it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HashedFile {
    pub(super) file: PathBuf,
    /// Lower-case hexadecimal.
    pub(super) sha512: String,
}

impl HashedFile {
    /// Whether the file is there and is still what it was; one that cannot be read in time is not.
    pub(super) async fn is_whole(&self) -> bool {
        self.is_whole_within(HASH_DEADLINE).await
    }

    async fn is_whole_within(&self, limit: Duration) -> bool {
        let read = timeout(limit, sha512_of(&self.file)).await;
        matches!(read, Ok(Ok(found)) if found == self.sha512)
    }
}

/// Tells a schedule from one that builds or proves something else. Another version of this program may see a
/// change where there is none: then a build is begun anew that could have gone on.
pub(super) fn digest_of(schedule: &Schedule) -> String {
    // When it fires and what follows its end changes nothing about a build that is under way.
    let what = Schedule {
        cron: None,
        jitter: Duration::ZERO,
        timezone: chrono_tz::UTC,
        retry: RetryPolicy::default(),
        skip: None,
        reverify: None,
        on_failure: OnFailure::Keep,
        ..schedule.clone()
    };
    hex(&Sha256::digest(format!("{what:?}").as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MORE_THAN_ONE_READ: usize = (1 << 20) + 3;

    #[tokio::test]
    async fn a_changed_file_is_not_whole() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("image.qcow2");
        std::fs::write(&file, vec![7_u8; MORE_THAN_ONE_READ]).unwrap();
        let hashed = HashedFile { sha512: sha512_of(&file).await.unwrap(), file: file.clone() };
        assert_eq!(hashed.sha512.len(), 128);
        assert!(hashed.is_whole().await);
        std::fs::write(&file, vec![7_u8; MORE_THAN_ONE_READ - 1]).unwrap();
        assert!(!hashed.is_whole().await, "it was cut short");
        std::fs::remove_file(&file).unwrap();
        assert!(!hashed.is_whole().await);
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_in_time_is_not_whole() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("image.qcow2");
        nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR).unwrap();
        let hashed = HashedFile { file: file.clone(), sha512: String::new() };
        assert!(!hashed.is_whole_within(Duration::from_millis(50)).await);
        // Waits for the reader and lets it go: the test's end waits for it.
        drop(std::fs::OpenOptions::new().write(true).open(file).unwrap());
    }
}
