//! Finding QEMU's programs, and running `qemu-img`.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::firmware;
use crate::cloud::{CloudError, SAVE_DISK, Trouble};
use crate::finding::Finding;
use crate::programs::{self, is_executable};
use crate::schedules::{Arch, Format};

/// What `qemu-img info` and `create` may take, with a busy disk.
const QUICK: Duration = Duration::from_mins(1);
/// Bytes of a program's output that are kept.
const OUTPUT: u64 = 256 << 10;

/// A program that the local cloud calls.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needed {
    pub(super) name: &'static str,
    /// What it does, after "it".
    pub(super) purpose: &'static str,
    /// The Debian package that has it.
    pub(super) package: &'static str,
}

/// A program of a Debian package.
pub(super) const fn needed(name: &'static str, purpose: &'static str, package: &'static str) -> Needed {
    Needed { name, purpose, package }
}

const QEMU_IMG: &str = "qemu-img";

/// All programs that the local cloud calls, but for the QEMU of each architecture ([`firmware::qemu`]).
pub(super) const NEEDED: [Needed; 6] = [
    needed(QEMU_IMG, "makes and converts disks", "qemu-utils"),
    needed("pasta", "gives each server a network of its own, without this host's loopback", "passt"),
    needed("ip", "closes this host's addresses to the server's network", "iproute2"),
    needed("nsenter", "starts QEMU in that network", "util-linux"),
    needed("unshare", "contains disk-image-builder and QEMU", "util-linux"),
    needed("setpriv", "starts QEMU as an unprivileged user", "util-linux"),
];

/// The programs of QEMU: given, or found on `PATH` whenever they are needed, so that an installation while
/// the manager runs is seen.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    pub(super) qemu: Option<PathBuf>,
    pub(super) qemu_img: Option<PathBuf>,
}

impl Programs {
    /// The QEMU that runs an architecture.
    pub(super) fn qemu(&self, arch: Arch) -> Result<PathBuf, CloudError> {
        self.find(firmware::qemu(arch).name)
    }

    /// `qemu-img`.
    pub(super) fn qemu_img(&self) -> Result<PathBuf, CloudError> {
        self.find(QEMU_IMG)
    }

    /// One of [`NEEDED`], or a QEMU.
    pub(super) fn find(&self, name: &str) -> Result<PathBuf, CloudError> {
        let given = match name {
            // The one that was given runs what this host is.
            _ if name == firmware::qemu(Arch::HOST).name => self.qemu.as_deref(),
            QEMU_IMG => self.qemu_img.as_deref(),
            _ => None,
        };
        find(given, name)
    }

    /// One of [`NEEDED`] that is not QEMU's.
    pub(super) fn of_the_host(name: &str) -> Result<PathBuf, CloudError> {
        find(None, name)
    }

    /// The virtual size in bytes by `qemu-img info`. The header must have been looked at before.
    pub(super) async fn info(&self, image: &Path) -> Result<u64, CloudError> {
        let arguments = ["info", "-f", "qcow2", "--output=json", "--"].map(OsStr::new);
        let answer = self
            .qemu_img_run([arguments.as_slice(), &[image.as_os_str()]].concat(), QUICK)
            .await
            .map_err(|error| match error.trouble {
                Trouble::Fault => CloudError { trouble: Trouble::Corrupt, ..error },
                _ => error,
            })?;
        let refuse = |what: &str| {
            Err(CloudError::new(Trouble::Corrupt, format!("image {} {what}", image.display()))
                .with_evidence(String::from_utf8_lossy(&answer)))
        };
        let Ok(info) = serde_json::from_slice::<serde_json::Value>(&answer) else {
            return refuse("makes qemu-img answer with something other than JSON");
        };
        let format = info.pointer("/format-specific/data");
        if info.get("backing-filename").is_some() || format.and_then(|data| data.get("data-file")).is_some() {
            return refuse("needs another file: an image must be self-contained");
        }
        if format.and_then(|data| data.get("corrupt")) == Some(&serde_json::Value::Bool(true)) {
            return refuse("is marked as corrupt");
        }
        match info.get("virtual-size").and_then(serde_json::Value::as_u64) {
            Some(bytes) => Ok(bytes),
            None => refuse("has no virtual size"),
        }
    }

    /// Makes a disk of `bytes` that begins with what `image` has and leaves that file as it is.
    pub(super) async fn overlay(
        &self,
        (image, format): (&Path, Format),
        disk: &Path,
        bytes: u64,
    ) -> Result<(), CloudError> {
        let arguments = ["create", "-q", "-f", "qcow2", "-F", format.as_str(), "-b"].map(OsStr::new);
        let size = bytes.to_string();
        let rest = [image.as_os_str(), OsStr::new("--"), disk.as_os_str(), OsStr::new(&size)];
        self.qemu_img_run([arguments.as_slice(), &rest].concat(), QUICK).await.map(drop)
    }

    /// Writes a disk that begins with `image` to one file of its own, of the same format, whatever the disk's header
    /// says it begins with.
    pub(super) async fn flatten(
        &self,
        disk: &Path,
        (image, format): (&Path, Format),
        to: &Path,
    ) -> Result<(), CloudError> {
        let mut from = OsString::from("driver=qcow2,file.driver=file,file.filename=");
        from.push(without_commas(disk));
        from.push(format!(",backing.driver={format},backing.file.driver=file,backing.file.filename="));
        from.push(without_commas(image));
        let arguments = ["convert", "-O", format.as_str(), "--image-opts", "--"].map(OsStr::new);
        let rest = [from.as_os_str(), to.as_os_str()];
        self.qemu_img_run([arguments.as_slice(), &rest].concat(), SAVE_DISK).await.map(drop)
    }

    async fn qemu_img_run(&self, arguments: Vec<&OsStr>, deadline: Duration) -> Result<Vec<u8>, CloudError> {
        let program = self.qemu_img()?;
        let verb = arguments.first().map(|verb| verb.to_string_lossy().into_owned()).unwrap_or_default();
        let run = async {
            let mut child = clean_command(&program)
                .args(arguments)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .kill_on_drop(true)
                .spawn()?;
            let (out, err) = (child.stdout.take(), child.stderr.take());
            let (out, err) = tokio::join!(bounded(out), bounded(err));
            Ok::<_, std::io::Error>((child.wait().await?, out, err))
        };
        let (status, out, err) = tokio::time::timeout(deadline, run)
            .await
            .map_err(|_| {
                let seconds = deadline.as_secs();
                CloudError::new(Trouble::Timeout, format!("qemu-img {verb} took over {seconds} s"))
            })?
            .map_err(|error| super::io_error("cannot run", &program, &error))?;
        if status.success() {
            return Ok(out);
        }
        let err = String::from_utf8_lossy(&err).into_owned();
        let trouble = if err.contains("No space left") { Trouble::NoRoom } else { Trouble::Fault };
        Err(CloudError::new(trouble, format!("qemu-img {verb} failed with {status}: {}", err.trim()))
            .with_evidence(err))
    }
}

/// A path as an option's value: there a comma ends it, and two are one.
fn without_commas(path: &Path) -> OsString {
    path.to_string_lossy().replace(',', ",,").into()
}

/// A command without this process's environment, which may hold credentials.
pub(super) fn clean_command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("LC_ALL", "C");
    for kept in ["PATH", "TMPDIR"] {
        if let Some(value) = std::env::var_os(kept) {
            command.env(kept, value);
        }
    }
    command
}

/// Reads to the end or to the limit; what stands behind the limit makes the writer wait for its deadline.
async fn bounded(stream: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut kept = Vec::new();
    if let Some(stream) = stream {
        // A stream that breaks has given what it has.
        let _ = stream.take(OUTPUT).read_to_end(&mut kept).await;
    }
    kept
}

fn find(given: Option<&Path>, name: &str) -> Result<PathBuf, CloudError> {
    let found = match given {
        Some(program) => is_executable(program).then(|| program.to_path_buf()),
        None => programs::find(name),
    };
    found.ok_or_else(|| {
        let missing = match given {
            Some(program) => format!("{} is not a program", program.display()),
            None => format!("{name} is not on PATH"),
        };
        let qemus = Arch::ALL.map(firmware::qemu);
        let mut all = NEEDED.iter().chain(&qemus);
        let package = all.find(|needed| needed.name == name).map_or(name, |needed| needed.package);
        let message = format!("{missing}; on Debian: {}", Finding::install(package));
        CloudError::new(Trouble::Configuration, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_names_the_command_that_mends_it() {
        let error = find(Some(Path::new("/nowhere/qemu")), "qemu-img").unwrap_err();
        assert_eq!(error.trouble, Trouble::Configuration);
        assert!(error.message.contains("/nowhere/qemu is not a program"));
        assert!(error.message.ends_with("apt-get install --no-install-recommends qemu-utils"));
        assert!(find(None, "no-such-program-here").is_err());
        assert!(find(None, "sh").unwrap().ends_with("sh"));
    }

    #[tokio::test]
    async fn a_file_that_is_no_image_is_corrupt() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.qcow2");
        std::fs::write(&file, "no image").unwrap();
        let programs = Programs { qemu: None, qemu_img: None };
        assert_eq!(programs.info(&file).await.unwrap_err().trouble, Trouble::Corrupt);
    }
}
