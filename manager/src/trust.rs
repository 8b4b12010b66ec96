//! Who can change what root runs: files that decide it must be nobody else's to write, as sshd and sudo ask it.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Others may write.
const WRITABLE: u32 = 0o022;
/// In such a directory only its owner may rename or remove a file.
const STICKY: u32 = 0o1000;
/// Others may read or list.
const READABLE: u32 = 0o044;
/// Others may do anything.
const OTHERS: u32 = 0o077;
/// Most files of the directories that are looked through.
const MOST: usize = 100_000;

/// A path that somebody else can change, or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} {why}; to fix it: {mend}", path.display())]
pub struct Unsafe {
    /// The path.
    pub path: PathBuf,
    /// Who can change it, and what that means: "can be written by others (mode 0775), and it decides what root runs".
    pub why: String,
    /// The command that mends it, or what else to do.
    pub mend: String,
}

/// Looks at a path and at each directory above it, and where it is a directory and `whole`, at all that lies in it.
/// What is not there is safe as far as the directories above it are; what they mean is told elsewhere.
///
/// # Errors
/// The first path that somebody but root and this process's user can change.
pub fn check(path: &Path, whole: bool) -> Result<(), Unsafe> {
    let given = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let real = given.canonicalize().unwrap_or_else(|_| given.clone());
    // A link can be turned by whoever can write where it lies.
    for place in [&given, &real] {
        for above in place.ancestors().skip(1) {
            look(above, true)?;
        }
    }
    look(&real, false)?;
    if !whole {
        return Ok(());
    }
    let (mut open, mut seen) = (vec![real], 0);
    while let Some(directory) = open.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            seen += 1;
            if seen > MOST {
                let why = format!("has more than {MOST} files, which are too many to examine");
                let mend = "name a directory that has only elements".to_owned();
                return Err(Unsafe { path: path.to_owned(), why, mend });
            }
            let path = entry.path();
            look(&path, false)?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(path);
            } else if entry.file_type().is_ok_and(|kind| kind.is_symlink())
                && let Ok(target) = path.canonicalize()
            {
                check(&target, false)?;
            }
        }
    }
    Ok(())
}

/// Looks at a file with a secret as [`check`] does, and that nobody else can read it. One that is not there is told
/// elsewhere.
///
/// # Errors
/// What can be changed or read by somebody else.
pub fn check_secret(path: &Path) -> Result<(), Unsafe> {
    check(path, false)?;
    match fs::metadata(path) {
        Ok(found) => unread(path, &found),
        Err(_) => Ok(()),
    }
}

/// Whether a file with a secret is its owner's alone, by what is known of it.
///
/// # Errors
/// That others can read it.
pub fn unread(path: &Path, found: &Metadata) -> Result<(), Unsafe> {
    if found.is_dir() {
        let why = "is a directory, but a secret must be a file".to_owned();
        return Err(Unsafe { path: path.to_owned(), why, mend: "name a file instead".to_owned() });
    }
    if found.mode() & OTHERS == 0 {
        return Ok(());
    }
    let why = format!("has a secret and is open to others (mode {:04o})", found.mode() & 0o7777);
    Err(Unsafe { path: path.to_owned(), why, mend: format!("chmod go= {}", path.display()) })
}

fn look(path: &Path, above: bool) -> Result<(), Unsafe> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    let shown = path.display();
    let refuse = |why: String, mend: String| {
        Err(Unsafe { path: path.to_owned(), why: format!("{why}, and it decides what root runs"), mend })
    };
    if found.uid() != 0 && found.uid() != nix::unistd::geteuid().as_raw() {
        return refuse(
            format!("belongs to another user (uid {})", found.uid()),
            format!("chown root:root {shown}"),
        );
    }
    let sticky = above && found.mode() & STICKY != 0;
    if (found.is_file() || found.is_dir()) && found.mode() & WRITABLE != 0 && !sticky {
        let why = format!("can be written by others (mode {:04o})", found.mode() & 0o7777);
        // Of a directory that everybody may use, as /tmp, that would take it from everybody.
        let shared = found.is_dir() && found.mode() & STICKY != 0;
        let mend = if shared {
            "name a directory that only root can write to".to_owned()
        } else {
            format!("chmod go-w {shown}")
        };
        return refuse(why, mend);
    }
    Ok(())
}

/// Takes from others what they may read of a file that is this manager's alone. True when there was something to mend.
///
/// # Errors
/// When its mode cannot be changed. One that is not there is as good as mended.
pub fn close_to_readers(path: &Path) -> io::Result<bool> {
    let found: Metadata = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if found.mode() & READABLE == 0 {
        return Ok(false);
    }
    fs::set_permissions(path, Permissions::from_mode(found.mode() & 0o7777 & !READABLE))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_others_can_write_is_refused_with_what_mends_it() {
        let place = tempfile::tempdir().unwrap();
        let elements = place.path().join("elements");
        let hook = elements.join("one/install.d/50-one");
        fs::create_dir_all(hook.parent().unwrap()).unwrap();
        fs::write(&hook, "").unwrap();
        for path in [&elements, &elements.join("one"), &elements.join("one/install.d")] {
            mode(path, 0o755);
        }
        mode(&hook, 0o755);
        // /tmp, above it, is sticky.
        check(&elements, true).unwrap();

        mode(&hook, 0o775);
        let refused = check(&elements, true).unwrap_err();
        assert_eq!(refused.mend, format!("chmod go-w {}", hook.display()));
        assert!(refused.to_string().contains("can be written by others (mode 0775)"), "{refused}");
        mode(&hook, 0o755);
        mode(&elements, 0o1777);
        let shared = check(&elements, false).unwrap_err();
        assert_eq!(shared.path, elements);
        assert!(!shared.mend.contains("chmod"), "everybody's directory stays everybody's: {shared}");
        mode(&elements, 0o755);
        mode(&elements.join("one"), 0o757);
        assert_eq!(check(&hook, false).unwrap_err().path, elements.join("one"));
        mode(&elements.join("one"), 0o755);

        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(&hook, Some(65534), None).unwrap();
            assert_eq!(
                check(&elements, true).unwrap_err().mend,
                format!("chown root:root {}", hook.display())
            );
        }
        check(&elements.join("not-there"), true).unwrap();
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused_with_what_mends_it() {
        let place = tempfile::tempdir().unwrap();
        let secret = place.path().join("secret");
        check_secret(&secret).unwrap();
        fs::write(&secret, "").unwrap();
        mode(&secret, 0o600);
        check_secret(&secret).unwrap();
        for open in [0o640, 0o604, 0o610] {
            mode(&secret, open);
            let refused = check_secret(&secret).unwrap_err();
            assert_eq!(refused.mend, format!("chmod go= {}", secret.display()));
        }
    }

    #[test]
    fn what_others_can_read_is_closed_to_them() {
        let place = tempfile::tempdir().unwrap();
        let token = place.path().join("token");
        fs::write(&token, "").unwrap();
        mode(&token, 0o644);
        assert!(close_to_readers(&token).unwrap());
        assert_eq!(fs::metadata(&token).unwrap().mode() & 0o777, 0o600);
        assert!(!close_to_readers(&token).unwrap());
        assert!(!close_to_readers(&place.path().join("none")).unwrap());
        mode(place.path(), 0o755);
        assert!(close_to_readers(place.path()).unwrap());
        assert_eq!(fs::metadata(place.path()).unwrap().mode() & 0o777, 0o711);
    }
}
