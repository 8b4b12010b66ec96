//! Whose fault it is when the real disk-image-create cannot make a root, as the command line and the history tell it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value as Json;

use super::harness::{Place, text};

/// Where `setup/install` puts it.
const DIB: &str = "/opt/image-manager/dib/bin/disk-image-create";

/// Builds the schedule `web` with this program for disk-image-create; the build, with what was printed.
fn build(place: &Place, program: &str, code: i32) -> (Json, String) {
    let output = place.command(&["run", "web"]).env("IMAGE_MANAGER_DIB", program).output().unwrap();
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{said}");
    (place.latest(), said)
}

#[test]
fn a_host_without_podman_errs_and_says_what_installs_it() {
    let place = Place::new(
        "[schedule.web]\nimage.elements = [\"rocky-container\", \"vm\", \"agent-install\"]\n\
         image.environment = { DIB_RELEASE = \"9\" }\n",
    );
    // The build's mount namespace gets a directory of programs without it.
    let script = format!(
        "#!/bin/bash\nset -e\nmkdir \"$TMP_DIR/o\"\nmount -t tmpfs o \"$TMP_DIR/o\"\nmkdir \"$TMP_DIR/o/\"{{u,w}}\n\
         mount -t overlay -o \"lowerdir=/usr/bin,upperdir=$TMP_DIR/o/u,workdir=$TMP_DIR/o/w\" o /usr/bin\n\
         rm /usr/bin/podman\nexec {DIB} \"$@\"\n"
    );
    let program = place.path().join("disk-image-create");
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let (build, said) = build(&place, program.to_str().unwrap(), 2);
    assert_eq!((&build["state"], &build["reason"]), (&"errored".into(), &"dib_missing".into()), "{said}");
    let mend = "podman is not installed on this host, but element containerfile needs it (root.d/08-containerfile): \
                apt-get install --no-install-recommends podman";
    assert!(build["failure"]["message"].as_str().unwrap().contains(mend), "{build}");
    assert!(said.contains("apt-get install --no-install-recommends podman"), "{said}");
}

#[test]
fn a_suite_that_the_archive_does_not_have_is_the_definitions_fault() {
    let place = Place::new(
        "[schedule.web]\nimage.elements = [\"debian-minimal\", \"vm\", \"agent-install\"]\n\
         image.environment = { DIB_RELEASE = \"nosuch\" }\n",
    );
    let (build, said) = build(&place, DIB, 1);
    assert_eq!(
        (&build["state"], &build["reason"]),
        (&"failed".into(), &"dib_release_unknown".into()),
        "{said}"
    );
    let message = build["failure"]["message"].as_str().unwrap();
    assert!(message.contains("there is no release nosuch"), "{message}");
    assert!(said.contains("Next: Check `DIB_RELEASE`"), "{said}");
}
