//! `image-manager backup`: a consistent copy of the history, also while a manager serves.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use indicatif::HumanBytes;

use super::arguments::BackupArguments;
use super::destination::expect_writable;
use super::text;
use super::{Exit, Outcome, Trouble};
use crate::history::History;

pub(crate) async fn run(arguments: BackupArguments) -> Outcome {
    let from = arguments.state.state.join("image-manager.db");
    if !from.exists() {
        let message = format!(
            "there is no history in {}: name the state directory with --state",
            arguments.state.state.display()
        );
        return Err(Trouble::usage(message));
    }
    expect_writable(&arguments.file, "")?;
    let to = std::path::absolute(&arguments.file).map_err(Trouble::usage)?;
    let copied = tokio::task::spawn_blocking(move || copy(&from, &to)).await;
    let (builds, size) = copied.map_err(Trouble::errored)??;
    let builds = image_manager_proto::counted(builds, "build");
    text::say!(format_args!("copied {builds} to {} ({})", arguments.file.display(), HumanBytes(size)));
    Ok(Exit::Done)
}

/// The copy gets its name once it is whole, and never takes that of another file.
fn copy(from: &Path, to: &Path) -> Result<(u64, u64), Trouble> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error: io::Error| Trouble::errored(format!("{}: {error}", path.display()))
    };
    let taken = || Trouble::usage(format!("{} already exists: a backup overwrites nothing", to.display()));
    if fs::symlink_metadata(to).is_ok() {
        return Err(taken());
    }
    let partial = partial(to)?;
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&partial)(error)),
        _ => {}
    }
    make_private(&partial).map_err(failed(&partial))?;
    let made = History::back_up(from, &partial).map_err(Trouble::errored).and_then(|builds| {
        let file = fs::File::open(&partial).map_err(failed(&partial))?;
        file.sync_all().map_err(failed(&partial))?;
        let size = file.metadata().map_err(failed(&partial))?.len();
        // A link, unlike a rename, never replaces what has the name.
        match fs::hard_link(&partial, to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(taken()),
            linked => linked.map_err(failed(to)).map(|()| (builds, size)),
        }
    });
    // Whatever came of it: only the name without `.partial` counts.
    let _ = fs::remove_file(&partial);
    made
}

/// Makes the empty file that the copy goes into, which nobody else may read at any time.
fn make_private(path: &Path) -> io::Result<()> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map(drop)
}

fn partial(to: &Path) -> Result<PathBuf, Trouble> {
    let Some(name) = to.file_name() else {
        return Err(Trouble::usage(format!("{} is not a file name; name the file to write", to.display())));
    };
    let mut partial = name.to_owned();
    partial.push(".partial");
    Ok(to.with_file_name(partial))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn nobody_else_reads_a_copy_while_it_is_made() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let mode = |name: &str| at(name).metadata().unwrap().permissions().mode() & 0o777;
        drop(History::open(&at("image-manager.db")).unwrap());
        make_private(&at("im.db.partial")).unwrap();
        assert_eq!(mode("im.db.partial"), 0o600);
        assert!(make_private(&at("im.db.partial")).is_err(), "the file of another");
        assert_eq!(History::back_up(&at("image-manager.db"), &at("im.db.partial")).unwrap(), 0);
        assert_eq!(mode("im.db.partial"), 0o600);
        fs::remove_file(at("im.db.partial")).unwrap();

        assert_eq!(copy(&at("image-manager.db"), &at("im.db")).unwrap().0, 0);
        assert_eq!(mode("im.db"), 0o600);
        assert!(!at("im.db.partial").exists());
    }
}
