//! A look into an image's root file system, without a mount.

use std::path::{Path, PathBuf};
use std::process::Command;

/// An image as a raw disk; it goes when dropped.
pub(crate) struct Disk {
    directory: tempfile::TempDir,
    /// Bytes before the root file system.
    start: u64,
}

impl Disk {
    /// Of a file of any format that QEMU knows.
    pub(crate) fn of(image: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let raw = directory.path().join("raw");
        let done = Command::new("qemu-img").args(["convert", "-O", "raw"]).arg(image).arg(&raw).status();
        assert!(done.unwrap().success(), "{}", image.display());
        let table = Command::new("sfdisk").arg("--json").arg(&raw).output().unwrap();
        let table: serde_json::Value = serde_json::from_slice(&table.stdout).unwrap_or_default();
        // The root is the largest one; without a table it is the whole disk.
        let partitions = table["partitiontable"]["partitions"].as_array().cloned().unwrap_or_default();
        let root = partitions.iter().max_by_key(|partition| partition["size"].as_u64());
        let start = root.and_then(|root| root["start"].as_u64()).unwrap_or(0) * 512;
        Self { directory, start }
    }

    pub(crate) fn raw(&self) -> PathBuf {
        self.directory.path().join("raw")
    }

    /// What debugfs(8) answers to a request.
    pub(crate) fn debugfs(&self, request: &str) -> String {
        let target = format!("{}?offset={}", self.raw().display(), self.start);
        let done = Command::new("debugfs").args(["-R", request, &target]).output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
    }

    /// Whether there is anything at a path.
    pub(crate) fn has(&self, path: &str) -> bool {
        let said = self.debugfs(&format!("stat {path}"));
        assert!(said.contains("Inode:") || said.contains("File not found"), "debugfs: {said}");
        said.contains("Inode:")
    }
}
