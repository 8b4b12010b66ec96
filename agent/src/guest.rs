//! The system that the agent runs in, as its files tell it.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

/// When this program began, by the wall clock and by the one that nobody sets.
static STARTED: LazyLock<(SystemTime, Instant)> = LazyLock::new(|| (SystemTime::now(), Instant::now()));

/// Takes note of the time. To be called first: what is known of the boot's time goes by it, and later the wall clock
/// may have been set.
pub fn started() {
    let _ = *STARTED;
}

/// The guest's file tree. All that is read of the guest is read below it, so that tests can make one up.
#[derive(Debug, Clone)]
pub struct Guest {
    /// `/` in a real guest.
    pub root: PathBuf,
    /// When the server's first boot began, when this one is a later one.
    first_boot: Option<SystemTime>,
}

impl Default for Guest {
    fn default() -> Self {
        Self::below("/")
    }
}

/// Largest file of the guest that is read whole.
const LARGEST_FILE: u64 = 1 << 20;

impl Guest {
    /// A guest that lives below a directory.
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), first_boot: None }
    }

    /// The same guest after a reboot: what was made since its first boot did not come with the image.
    pub(crate) fn booted_first_at(mut self, first_boot: Option<SystemTime>) -> Self {
        self.first_boot = first_boot;
        self
    }

    /// The place of one of the guest's absolute paths.
    pub fn path(&self, absolute: impl AsRef<Path>) -> PathBuf {
        let path = absolute.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// A small text file of the guest.
    pub(crate) fn read(&self, absolute: impl AsRef<Path>) -> io::Result<String> {
        Ok(String::from_utf8_lossy(&self.read_bytes(absolute, LARGEST_FILE)?).into_owned())
    }

    /// The first `most` bytes of a file of the guest.
    pub(crate) fn read_bytes(&self, absolute: impl AsRef<Path>, most: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        fs::File::open(self.path(absolute))?.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Writes a file that only root may read, in a folder that is made if need be: whole or not at all, also over a reboot.
    pub(crate) fn write_private(&self, absolute: &str, content: &[u8]) -> io::Result<()> {
        let path = self.path(absolute);
        let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let new = path.with_extension("new");
        // Never into a file that somebody else has opened, or that others may read.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(new, path)
    }

    /// Whether the guest has this path.
    pub(crate) fn has(&self, absolute: impl AsRef<Path>) -> bool {
        fs::symlink_metadata(self.path(absolute)).is_ok()
    }

    /// A small text file of the guest, as one line. Empty when it cannot be read.
    pub(crate) fn line(&self, absolute: &str) -> String {
        self.read(absolute).map(|text| crate::text::one_line(&text)).unwrap_or_default()
    }

    /// Which boot this is. Empty when the kernel does not say.
    pub fn boot_id(&self) -> String {
        self.line("/proc/sys/kernel/random/boot_id")
    }

    /// The id of the build that made the image. Empty when the image has none.
    pub fn image_build_id(&self) -> String {
        self.line("/etc/image-manager/build")
    }

    /// Fingerprint of the certificate of the manager that made the image. Empty when the image has none.
    pub fn manager_fingerprint(&self) -> String {
        self.line("/etc/image-manager/manager")
    }

    /// As `uname -r` prints it.
    pub fn kernel_release(&self) -> String {
        self.line("/proc/sys/kernel/osrelease")
    }

    /// `PRETTY_NAME` of os-release, empty when there is none.
    pub fn operating_system(&self) -> String {
        let text = self.read("/etc/os-release").or_else(|_| self.read("/usr/lib/os-release"));
        text.map(|text| pretty_name(&text)).unwrap_or_default()
    }

    /// Time since the kernel started. Zero when the kernel does not say.
    pub fn uptime(&self) -> Duration {
        let text = self.read("/proc/uptime").unwrap_or_default();
        let seconds = text.split_whitespace().next().and_then(|word| word.parse().ok());
        seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or_default()
    }

    /// When the kernel started, by the wall clock as it was when this program began.
    pub(crate) fn booted(&self) -> Option<SystemTime> {
        let (wall, steady) = *STARTED;
        wall.checked_sub(self.uptime().saturating_sub(steady.elapsed()))
    }

    /// The earliest that the kernel can have started, by the wall clock as it was when this program began and as it is
    /// now: when it was set in between, what is dated after this need not have come with the image.
    pub(crate) fn earliest_boot(&self) -> Option<SystemTime> {
        /// How much earlier than it happened a change of a file may be dated, and more than enough of it.
        const CLOCK_TICK: Duration = Duration::from_secs(2);
        let now = SystemTime::now().checked_sub(self.uptime())?;
        let booted = self.booted()?.min(now).checked_sub(CLOCK_TICK)?;
        Some(self.first_boot.map_or(booted, |first| first.min(booted)))
    }

    /// Whether a file's content was there before this boot: it came with the image. False of one that is not there.
    pub(crate) fn came_with_the_image(&self, absolute: impl AsRef<Path>) -> bool {
        let written = self.path(absolute).metadata().and_then(|file| file.modified());
        written.is_ok_and(|written| self.earliest_boot().is_some_and(|booted| written < booted))
    }

    /// A small text file of the guest in a place where anybody may have put something else: a link or a pipe is none.
    pub(crate) fn read_plain(&self, absolute: impl AsRef<Path>) -> Option<String> {
        let plain = fs::symlink_metadata(self.path(&absolute)).is_ok_and(|file| file.is_file());
        plain.then(|| self.read(absolute).ok()).flatten()
    }
}

fn pretty_name(os_release: &str) -> String {
    let value = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    crate::text::one_line(value.unwrap_or_default().trim().trim_matches(['"', '\'']))
}

/// A guest with these files, below a directory that lasts as long as the first.
#[cfg(test)]
pub(crate) fn made_of(files: &[(&str, &str)]) -> (tempfile::TempDir, Guest) {
    let root = tempfile::tempdir().unwrap();
    let guest = Guest::below(root.path());
    for (path, text) in files {
        std::fs::create_dir_all(guest.path(path).parent().unwrap()).unwrap();
        std::fs::write(guest.path(path), text).unwrap();
    }
    (root, guest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_the_root() {
        let guest = Guest::below("/tmp/guest");
        assert_eq!(guest.path("/etc/os-release"), Path::new("/tmp/guest/etc/os-release"));
        assert_eq!(Guest::default().path("/etc"), Path::new("/etc"));
    }

    #[test]
    fn the_operating_system_has_a_name() {
        assert_eq!(pretty_name("ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 13\"\n"), "Debian GNU/Linux 13");
        assert_eq!(pretty_name("ID=debian\n"), "");
    }

    #[test]
    fn what_is_older_than_the_boot_came_with_the_image() {
        let root = tempfile::tempdir().unwrap();
        let guest = Guest::below(root.path());
        assert!(!guest.came_with_the_image("/key"), "it is not there");
        let file = fs::File::create(guest.path("/key")).unwrap();
        assert!(!guest.came_with_the_image("/key"));
        file.set_modified(SystemTime::now() - Duration::from_mins(2)).unwrap();
        assert!(guest.came_with_the_image("/key"));
        fs::create_dir(guest.path("/proc")).unwrap();
        fs::write(guest.path("/proc/uptime"), "500.00 400.00").unwrap();
        assert!(!guest.came_with_the_image("/key"));
    }

    #[test]
    fn this_machine_is_up() {
        assert!(Guest::default().uptime() > Duration::ZERO);
        assert_eq!(Guest::default().boot_id().len(), 36);
    }
}
