//! With which protos `proto/check` compares those that are there. A stand-in for buf says what it was given.

#![expect(clippy::unwrap_used, reason = "tests: a surprise ends the test")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Says which revision's file it was given.
const BUF: &str =
    "#!/bin/sh\nif [ \"$1\" = breaking ]; then printf 'compared with %s\\n' \"$(cat \"$3/word\")\"; fi\n";

/// A checkout with `proto/check` in it.
struct Checkout {
    directory: PathBuf,
    programs: PathBuf,
}

impl Checkout {
    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let path = format!("{}:{}", self.programs.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.directory).env("PATH", path);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("GIT_")) {
            command.env_remove(name);
        }
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert!(output.status.success(), "{program} {arguments:?}: {said}");
        said
    }

    fn git(&self, arguments: &[&str]) -> String {
        let who = ["-c", "user.name=test", "-c", "user.email=test@localhost"];
        self.run("git", &[&who, arguments].concat())
    }

    /// Commits another content.
    fn commit(&self, word: &str) {
        fs::write(self.directory.join("proto/word"), word).unwrap();
        self.git(&["add", "."]);
        self.git(&["commit", "--quiet", "--message", word]);
    }

    fn check(&self) -> String {
        self.run("proto/check", &[])
    }
}

fn executable(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn the_protos_are_never_compared_with_themselves() {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("proto-check");
    // Of a run before.
    let _ = fs::remove_dir_all(&place);
    let (directory, programs) = (place.join("checkout"), place.join("programs"));
    fs::create_dir_all(directory.join("proto")).unwrap();
    fs::create_dir_all(&programs).unwrap();
    executable(&programs.join("buf"), BUF);
    let script = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("check")).unwrap();
    executable(&directory.join("proto/check"), &script);
    let checkout = Checkout { directory, programs };

    checkout.git(&["init", "--quiet", "--initial-branch", "main"]);
    checkout.commit("one");
    assert!(checkout.check().contains("LEFT OUT"), "there is nothing before");
    checkout.commit("two");
    assert_eq!(checkout.check(), "compared with one\n", "on main with the commit before");
    checkout.git(&["checkout", "--quiet", "-b", "work"]);
    checkout.commit("three");
    checkout.commit("four");
    assert_eq!(checkout.check(), "compared with two\n", "on a branch with where it left main");
    checkout.git(&["checkout", "--quiet", "main"]);
    checkout.git(&["merge", "--quiet", "--no-ff", "--no-edit", "work"]);
    assert_eq!(checkout.check(), "compared with two\n", "after a merge with what main was");
    let shallow = Checkout { directory: place.join("shallow"), programs: checkout.programs.clone() };
    let url = format!("file://{}", checkout.directory.display());
    checkout.git(&["clone", "--quiet", "--depth", "1", &url, shallow.directory.to_str().unwrap()]);
    assert!(shallow.check().contains("LEFT OUT"), "the commit before is not there");
    checkout.git(&["tag", "v0.1.0", "HEAD^1^1"]);
    assert_eq!(checkout.check(), "compared with one\n", "once there is a release with that");
    checkout.git(&["tag", "v0.2.0", "HEAD"]);
    assert_eq!(checkout.check(), "compared with one\n", "a release with the one before it");
}
