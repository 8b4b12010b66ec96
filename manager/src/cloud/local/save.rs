//! A stopped server's disk as one file, for the user. Until it is whole it is in the server's own directory, which
//! the server's row in the ledger stands for; where the user's file is on another file system it is beside that one, with
//! the server's name in its own, and a symbolic link in the server's directory names it before it is made. So a killed
//! manager leaves nothing: the half file goes with the server. Whatever else ends the work early takes it along at once.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::images;
use super::io_error;
use super::programs::Programs;
use super::qemu::DISK;
use crate::cloud::{CloudError, disk_file};
use crate::schedules::Format;

/// The file in the server's directory.
const KEPT: &str = "kept";
/// The link there that names the file beside the user's.
const BESIDE: &str = "kept-beside";

/// Writes the disk of the server in `home`, which began with `image`, to `to`. QEMU has written the disk as a user without
/// rights, and is read here by root: so what its header says of other files does not count.
pub(super) async fn disk(
    programs: &Programs,
    home: &Path,
    image: (&Path, Format),
    to: &Path,
) -> Result<(), CloudError> {
    let partial = place(home, to).map_err(|error| io_error("cannot write", to, &error))?;
    let disk = home.join(DISK);
    disk_file::refuse_data_file(&disk)
        .map_err(|refusal| images::corrupt(format!("disk {} {refusal}", disk.display())))?;
    programs.flatten(&disk, image, &partial.file).await?;
    fs::rename(&partial.file, to).map_err(|error| io_error("cannot rename to", to, &error))
}

/// Where to write until it is whole. It is tried, for a rename does not cross mounts of one device either.
fn place(home: &Path, to: &Path) -> io::Result<PartialFile> {
    let inside = PartialFile { file: home.join(KEPT), link: None };
    File::create(&inside.file)?;
    remove_beside(home)?;
    let (file, link) = (beside(home, &std::path::absolute(to)?), home.join(BESIDE));
    symlink(&file, &link)?;
    // Whatever has the name already is another's, and stays.
    File::create_new(&file).inspect_err(|_| drop(fs::remove_file(&link)))?;
    let beside = PartialFile { file, link: Some(link) };
    match fs::rename(&inside.file, &beside.file) {
        Ok(()) => Ok(inside),
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => Ok(beside),
        Err(error) => Err(error),
    }
}

/// A file beside the user's that nobody else makes: the server's name has the build's id in it.
fn beside(home: &Path, to: &Path) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(".");
    name.push(home.file_name().unwrap_or_default());
    images::part(Path::new(&name))
}

/// Removes what a killed manager has left beside the user's file, by the link in the directory of its server.
pub(super) fn remove_beside(home: &Path) -> io::Result<()> {
    let link = home.join(BESIDE);
    match fs::read_link(&link) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        file => remove_named(&file?, &link),
    }
}

/// The file first, then the link that names it.
fn remove_named(file: &Path, link: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::remove_file(link),
    }
}

/// A file that goes with this value, and the link that names it. Once it has been renamed there is none.
struct PartialFile {
    file: PathBuf,
    link: Option<PathBuf>,
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        // What stays is named still, and goes with the server.
        let _ = match &self.link {
            Some(link) => remove_named(&self.file, link),
            None => fs::remove_file(&self.file),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    use super::*;
    use crate::cloud::local::{LocalCloud, LocalSettings};
    use crate::cloud::{Cloud as _, Removal, Server};

    /// A cloud whose `qemu-img` writes something and then goes on as the script says, and a stopped server.
    fn bench(state: &Path, then: &str) -> (LocalCloud, Server, PathBuf) {
        let tool = state.join("qemu-img-stand-in");
        fs::write(&tool, format!("#!/bin/sh\nfor to; do :; done\necho half >\"$to\"\n{then}\n")).unwrap();
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
        let settings = LocalSettings { qemu_img: Some(tool), ..LocalSettings::new(state, "owner") };
        let cloud = LocalCloud::new(settings).unwrap();
        let home = cloud.servers.home("image-manager-1");
        fs::create_dir_all(&home).unwrap();
        let record =
            r#"{"id":"1","name":"image-manager-1","build_id":"1","owner":"owner","image":"image-manager-1"}"#;
        fs::write(home.join("server.json"), record).unwrap();
        let mut header = vec![0; 104];
        header[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
        fs::write(home.join(DISK), header).unwrap();
        let server = Server {
            id: "1".to_owned(),
            name: "image-manager-1".to_owned(),
            flavor: String::new(),
            console_log: state.join("console.log"),
        };
        (cloud, server, home)
    }

    /// The files in a directory, but for those that a stopped server has.
    fn names(directory: &Path) -> Vec<String> {
        let names = fs::read_dir(directory).unwrap().flatten();
        let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| ![DISK, "server.json"].contains(&name.as_str())).collect()
    }

    /// Somewhere on the file system of the state directory, and on another one.
    fn places() -> BTreeMap<&'static str, tempfile::TempDir> {
        let mut places = BTreeMap::from([("same", tempfile::tempdir().unwrap())]);
        if let Ok(other) = tempfile::tempdir_in("/dev/shm") {
            places.insert("other", other);
        }
        places
    }

    #[tokio::test]
    async fn a_whole_disk_is_moved_to_its_place() {
        for (which, place) in places() {
            let state = tempfile::tempdir().unwrap();
            let (cloud, server, home) = bench(state.path(), "exit 0");
            cloud.save_disk(&server, &place.path().join("disk")).await.unwrap();
            assert_eq!(names(place.path()), ["disk"], "{which}");
            assert_eq!(names(&home), [""; 0], "{which}");
        }
    }

    #[tokio::test]
    async fn what_is_beside_the_file_already_stays() {
        for (which, place) in places() {
            let state = tempfile::tempdir().unwrap();
            let (cloud, server, home) = bench(state.path(), "exit 0");
            let (disk, theirs) = (place.path().join("disk"), place.path().join("disk.part"));
            fs::write(&theirs, "theirs").unwrap();
            cloud.save_disk(&server, &disk).await.unwrap();
            assert_eq!(fs::read_to_string(&theirs).unwrap(), "theirs", "{which}");

            let taken = beside(&home, &disk);
            fs::write(&taken, "taken").unwrap();
            assert!(cloud.save_disk(&server, &disk).await.is_err(), "{which}");
            assert_eq!(fs::read_to_string(&taken).unwrap(), "taken", "{which}");
            assert_eq!(names(&home), [""; 0], "{which}");
        }
    }

    #[tokio::test]
    async fn a_cancel_or_a_failure_leaves_no_half_file() {
        for (which, place) in places() {
            let state = tempfile::tempdir().unwrap();
            let (cloud, server, home) = bench(state.path(), "exec sleep 60");
            let to = place.path().join("disk");
            let work = cloud.save_disk(&server, &to);
            let partial = async {
                while names(place.path()).is_empty() && names(&home).is_empty() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            };
            tokio::select! {
                ended = work => panic!("{which}: {ended:?}"),
                () = partial => {}
            }
            assert_eq!(names(place.path()), [""; 0], "{which}");
            assert_eq!(names(&home), [""; 0], "{which}");

            let (cloud, server, home) = bench(state.path(), "exit 1");
            let error = cloud.save_disk(&server, &to).await.unwrap_err();
            assert!(error.message.contains("qemu-img convert failed"), "{which}: {error}");
            assert_eq!((names(place.path()), names(&home)), (vec![], vec![]), "{which}");
        }
    }

    #[tokio::test]
    async fn what_a_killed_manager_left_goes_with_the_server() {
        for (which, directory) in places() {
            let state = tempfile::tempdir().unwrap();
            let (cloud, server, home) = bench(state.path(), "exit 0");
            fs::write(directory.path().join("theirs.part"), "theirs").unwrap();
            // As one that is killed: nothing of it is dropped.
            std::mem::forget(place(&home, &directory.path().join("disk")).unwrap());
            let removed = cloud.servers.remove(&server.name).await.unwrap();
            assert_eq!((removed, home.exists()), (Removal::Gone, false), "{which}");
            assert_eq!(names(directory.path()), ["theirs.part"], "{which}");
        }
        // Another one may save the disk before.
        for (which, directory) in places() {
            let state = tempfile::tempdir().unwrap();
            let (cloud, server, home) = bench(state.path(), "exit 0");
            let to = directory.path().join("disk");
            std::mem::forget(place(&home, &to).unwrap());
            cloud.save_disk(&server, &to).await.unwrap();
            assert_eq!((names(directory.path()), names(&home)), (vec!["disk".to_owned()], vec![]), "{which}");
        }
    }

    #[tokio::test]
    async fn a_place_that_cannot_be_written_is_told_before_the_work() {
        let state = tempfile::tempdir().unwrap();
        let (cloud, server, home) = bench(state.path(), "exit 0");
        let error = cloud.save_disk(&server, &state.path().join("nowhere/disk")).await.unwrap_err();
        assert!(error.message.contains("cannot write") && error.message.contains("nowhere/disk"), "{error}");
        assert_eq!(names(&home), [""; 0]);
    }
}
