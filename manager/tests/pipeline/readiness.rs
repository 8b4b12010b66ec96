//! `check`, `doctor`, `serve`, `run` and reload look at the same things, with the real disk-image-builder's resolver.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::harness::{Place, agent, repository, text, wait_for};

/// Where `setup/install` puts it.
const DIB: &str = "/opt/image-manager/dib/bin/disk-image-create";

/// Elements with a mistake, and what is said.
const WRONG: [(&str, &[&str]); 5] = [
    (
        r#"["debian-minimal", "vmm", "agent-install"]"#,
        &["there is no element `vmm`", "schedules.toml:2:37", "did you mean \"vm\"?"],
    ),
    (
        r#"["debian-minimal", "ubuntu-minimal", "agent-install"]"#,
        &["exclude each other", "schedules.toml:2", "leave out all but one"],
    ),
    (r#"["vm", "agent-install"]"#, &["provides an operating system", "schedules.toml:2", "debian-minimal"]),
    (r#"["debian-minimal", "vm"]"#, &["gets no agent", "schedules.toml:2", "add \"agent-install\""]),
    (
        r#"["debian-minimal", "agent-install", "mine"]"#,
        &["the element `mine` needs `theirs`, which does not exist", "schedules.toml:2", "--elements"],
    ),
];

fn place(elements: &str) -> Place {
    let place = Place::new(&format!("[schedule.web]\nimage.elements = {elements}\n"));
    let mine = place.path().join("own/mine");
    fs::create_dir_all(&mine).unwrap();
    fs::write(mine.join("element-deps"), "theirs\n").unwrap();
    place
}

fn said(place: &Place, arguments: &[&str], code: i32) -> String {
    let elements =
        format!("{}:{}", repository().join("elements").display(), place.path().join("own").display());
    let mut command = place.command(arguments);
    let output =
        command.env("IMAGE_MANAGER_DIB", DIB).env("IMAGE_MANAGER_ELEMENTS", elements).output().unwrap();
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{said}");
    said
}

#[test]
fn elements_that_cannot_be_built_are_mistakes_of_the_file_for_every_verb() {
    for (elements, pieces) in WRONG {
        let place = place(elements);
        for verb in [&["check"][..], &["run", "web"], &["serve", "--operator", "127.0.0.1:0"]] {
            let said = said(&place, verb, 64);
            assert!(pieces.iter().all(|piece| said.contains(piece)), "{verb:?}: {said}");
            assert!(said.contains("1 error in schedules.toml"), "{said}");
        }
        let doctor = said(&place, &["doctor"], 2);
        assert!(doctor.contains("schedules.toml: has mistakes"), "{doctor}");
        assert!(place.history().is_empty());
    }
}

/// Images with a mistake that takes no build to be known, and what is said. Lines of the file from the second on.
const FOREIGN: [(&str, &[&str]); 9] = [
    (
        r#"elements = ["debian-minimal", "ubuntu-minimal", "agent-install"]"#,
        &["exclude each other", "schedules.toml:2:37"],
    ),
    (
        r#"elements = ["rocky-container", "fedora-container", "agent-install"]"#,
        &["2 operating systems: Fedora and Rocky Linux", "schedules.toml:2:38"],
    ),
    (
        r#"elements = ["debian-minimal", "yum-minimal", "agent-install"]"#,
        &["the element `yum-minimal` is not for Debian", "schedules.toml:2:37"],
    ),
    (
        r#"elements = ["ubuntu-minimal", "debian-cloud-guest", "agent-install"]"#,
        &["the element `debian-cloud-guest` is not for Ubuntu", "schedules.toml:2:37"],
    ),
    (
        "elements = [\"debian-minimal\", \"agent-install\"]\nimage.environment = { DIB_RELEASE = \"noble\" }",
        &["\"noble\" is a release of Ubuntu, but `web` builds Debian", "schedules.toml:3:37"],
    ),
    (
        "elements = [\"debian-minimal\", \"agent-install\"]\nimage.environment = { DIB_RELEASE = \"9\" }",
        &["\"9\" is not a release of Debian", "schedules.toml:3:37"],
    ),
    (
        "elements = [\"debian-minimal\", \"agent-install\"]\nimage.environment = { DIB_INIT_SYSTEM = \"openrc\" }",
        &["would be started by openrc, but only systemd is supported", "schedules.toml:3:41"],
    ),
    (
        r#"elements = ["gentoo", "agent-install"]"#,
        &["would be started by openrc, but only systemd is supported", "schedules.toml:2:19"],
    ),
    (
        r#"elements = ["debian-minimal", "mine", "agent-install"]"#,
        &["would be started by sysv, but only systemd is supported", "schedules.toml:2:37"],
    ),
];

#[test]
fn what_does_not_go_with_the_distribution_is_told_in_three_seconds_and_before_anything_is_built() {
    for (image, pieces) in FOREIGN {
        let place = place("[\"x\"]");
        let own = place.path().join("own/mine");
        fs::write(own.join("element-deps"), "").unwrap();
        fs::create_dir_all(own.join("environment.d")).unwrap();
        fs::write(own.join("environment.d/10-mine.bash"), "export DIB_INIT_SYSTEM=sysv\n").unwrap();
        fs::write(place.path().join("schedules.toml"), format!("[schedule.web]\nimage.{image}\n")).unwrap();
        let began = Instant::now();
        let told = said(&place, &["check"], 64);
        let took = began.elapsed();
        assert!(
            pieces.iter().all(|piece| told.contains(piece)) && told.contains("1 error in"),
            "{image}: {told}"
        );
        assert!(took < Duration::from_secs(3), "{took:?}");
        let told = said(&place, &["run", "web"], 64);
        assert!(pieces.iter().all(|piece| told.contains(piece)), "{told}");
        assert!(place.history().is_empty());
    }
}

#[test]
fn a_release_that_is_not_known_is_a_note() {
    let place = place(r#"["debian-minimal", "vm", "agent-install"]"#);
    let file = place.path().join("schedules.toml");
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{good}image.environment = {{ DIB_RELEASE = \"zurg\" }}\n")).unwrap();
    let told = said(&place, &["check"], 0);
    assert!(told.contains("note: schedule web: DIB_RELEASE \"zurg\" is not a release of Debian"), "{told}");
}

#[test]
fn a_variable_that_no_element_declares_is_a_mistake() {
    let place = place(r#"["debian-minimal", "vm", "agent-install"]"#);
    let file = place.path().join("schedules.toml");
    let good = fs::read_to_string(&file).unwrap();
    let environment = |variables: &str| {
        fs::write(&file, format!("{good}image.environment = {{ DIB_RELEASE = \"trixie\", {variables} }}\n"))
            .unwrap();
    };
    environment("IMAGE_MANAGER_DEBIAN_KERNEL = \"cloud\", DRACUT_VERSION = \"1\", ARCH = \"amd64\"");
    said(&place, &["check"], 0);
    environment("FANCY_OPTIONS = \"--exec=x\"");
    for verb in [&["check"][..], &["run", "web"], &["serve", "--operator", "127.0.0.1:0"]] {
        let said = said(&place, verb, 64);
        assert!(said.contains("`FANCY_OPTIONS` is not allowed") && said.contains("environment.d"), "{said}");
    }
    let own = place.path().join("own/mine/environment.d");
    fs::create_dir_all(&own).unwrap();
    fs::write(own.join("10-mine.bash"), "export FANCY_OPTIONS=${FANCY_OPTIONS:-}\n").unwrap();
    said(&place, &["check"], 0);
}

#[test]
fn an_element_that_others_can_write_is_refused_and_nothing_of_it_is_run() {
    let place = place(r#"["debian-minimal", "vm", "agent-install"]"#);
    let own = place.path().join("own/mine");
    fs::set_permissions(&own, fs::Permissions::from_mode(0o777)).unwrap();
    for verb in [&["check"][..], &["run", "web"], &["serve", "--operator", "127.0.0.1:0"]] {
        let said = said(&place, verb, 64);
        assert!(said.contains("can be written by others") && said.contains("chmod go-w"), "{said}");
    }
    let doctor = said(&place, &["doctor"], 2);
    assert!(doctor.contains("own/mine: can be written by others"), "{doctor}");
    fs::set_permissions(&own, fs::Permissions::from_mode(0o755)).unwrap();
    let file = place.path().join("schedules.toml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(said(&place, &["check"], 64).contains("schedules.toml can be written by others"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    fs::create_dir(place.state()).unwrap();
    fs::set_permissions(place.state(), fs::Permissions::from_mode(0o777)).unwrap();
    let said = said(&place, &["run", "web"], 64);
    assert!(said.contains("state can be written by others"), "{said}");
}

#[test]
fn the_resolver_answers_within_two_seconds_for_any_number_of_schedules() {
    let lists = (0..500).map(|number| {
        format!("[schedule.s{number}]\nimage.elements = [\"debian-minimal\", \"vm\", \"agent-install\"]\nimage.packages = [\"p{number}\"]\n")
    });
    let place = place("[\"x\"]");
    fs::write(place.path().join("schedules.toml"), lists.collect::<String>()).unwrap();
    said(&place, &["check"], 0);
    let began = Instant::now();
    said(&place, &["check"], 0);
    let all = began.elapsed();
    let began = Instant::now();
    said(&place, &["check", "--file-only"], 0);
    let file = began.elapsed();
    assert!(all.saturating_sub(file) < Duration::from_secs(2), "{all:?}, {file:?} for the file alone");
}

#[test]
fn what_the_host_lacks_is_told_by_check_and_doctor_alike() {
    let good = place(r#"["debian-minimal", "vm", "agent-install"]"#);
    said(&good, &["check"], 0);
    said(&good, &["doctor"], 0);
    let far = place(r#"["debian-minimal", "vm", "agent-install"]"#);
    let schedules = fs::read_to_string(far.path().join("schedules.toml")).unwrap();
    fs::write(far.path().join("schedules.toml"), schedules + "cloud = \"faraway\"\nserver.flavor = \"f\"\n")
        .unwrap();
    let rpm = place(r#"["zypper-minimal", "opensuse-minimal", "agent-install"]"#);
    for (place, pieces) in [
        (&far, &["cloud faraway", "clouds.yaml"][..]),
        (&rpm, &["zypper: not found", "apt-get install --no-install-recommends zypper"]),
    ] {
        for verb in ["check", "doctor"] {
            let mut command = place.command(&[verb]);
            command.env("IMAGE_MANAGER_DIB", DIB).env("HOME", place.path());
            let output = command.env("PATH", path_without(&["zypper"], place.path())).output().unwrap();
            let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
            assert_eq!(output.status.code(), Some(2), "{verb}: {said}");
            assert!(pieces.iter().all(|piece| said.contains(piece)), "{verb}: {said}");
        }
        place.expect(&["check", "--file-only"], 0);
    }
}

#[test]
fn each_lack_names_the_schedules_that_have_it() {
    let place = place("[\"x\"]");
    let schedule = |name: &str, elements: &str| {
        format!("[schedule.{name}]\nimage.elements = [{elements}, \"vm\", \"agent-install\"]\n")
    };
    let schedules = [
        schedule("debian", "\"debian-minimal\""),
        schedule("rocky", "\"rocky-container\""),
        schedule("suse", "\"opensuse-minimal\""),
        schedule("leap", "\"opensuse-minimal\""),
    ];
    fs::write(place.path().join("schedules.toml"), schedules.concat()).unwrap();
    for verb in ["check", "doctor"] {
        let mut command = place.command(&[verb]);
        command.env("IMAGE_MANAGER_DIB", DIB).env("HOME", place.path());
        let path = path_without(&["zypper", "podman", "unxz"], place.path());
        let output = command.env("PATH", path).output().unwrap();
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(2), "{verb}: {said}");
        for piece in [
            "zypper: not found; it makes the root of an openSUSE image (suse, leap)",
            "podman: not found; it makes the root from a container image (rocky)",
            "apt-get install --no-install-recommends podman",
        ] {
            assert!(said.contains(piece), "{verb}: {said}");
        }
        if verb == "check" {
            assert!(said.contains("can be built: debian\n"), "{said}");
            assert!(said.contains("cannot be built yet: rocky, suse, leap\n"), "{said}");
        }
    }
}

/// A PATH with all that this host has but these.
fn path_without(names: &[&str], place: &Path) -> PathBuf {
    let directory = place.join("bin");
    fs::create_dir_all(&directory).unwrap();
    for file in ["/usr/bin", "/usr/sbin"].iter().flat_map(|path| fs::read_dir(path).unwrap()).flatten() {
        if !names.iter().any(|name| file.file_name() == *name) {
            // Both directories may have one.
            let _ = std::os::unix::fs::symlink(file.path(), directory.join(file.file_name()));
        }
    }
    directory
}

#[test]
fn a_reload_takes_no_file_whose_elements_cannot_be_built() {
    let place = place(r#"["debian-minimal", "vm", "agent-install"]"#);
    let serving = place.serve_in(&[], &[("IMAGE_MANAGER_DIB", DIB)]);
    let file = place.path().join("schedules.toml");
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, good.replace("\"vm\"", "\"vmm\"")).unwrap();
    wait_for("the refusal", Duration::from_mins(1), || {
        place.serve_log().contains("there is no element `vmm`").then_some(())
    });
    assert_eq!(serving.terminate(), Some(0));
}

/// As `make install` lays it out, with a schedules file somewhere else and nothing in the environment.
#[test]
fn an_installed_program_finds_what_was_installed_with_it() {
    let place = Place::tiny("");
    let prefix = place.path().join("usr/local");
    for directory in ["bin", "lib/image-manager", "share/image-manager"] {
        fs::create_dir_all(prefix.join(directory)).unwrap();
    }
    let program = prefix.join("bin/image-manager");
    fs::copy(env!("CARGO_BIN_EXE_image-manager"), &program).unwrap();
    fs::copy(agent(), prefix.join("lib/image-manager/image-manager-agent")).unwrap();
    let elements = prefix.join("share/image-manager/elements");
    let copied = Command::new("cp").arg("-R").arg(repository().join("elements")).arg(&elements).status();
    assert!(copied.unwrap().success());
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let run = |arguments: &[&str], dib: &Path| {
        let mut command = Command::new(&program);
        command.args(arguments).current_dir(place.path()).env("NO_COLOR", "1").env("IMAGE_MANAGER_DIB", dib);
        for name in ["IMAGE_MANAGER_AGENT", "IMAGE_MANAGER_ELEMENTS", "IMAGE_MANAGER_STATE"] {
            command.env_remove(name);
        }
        let output = command.output().unwrap();
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        (output.status.code(), said)
    };
    let debian = "[schedule.web]\nimage.elements = [\"debian-minimal\", \"vm\", \"cloud-init-custom\", \"agent-install\"]\n";
    let tiny = fs::read_to_string(place.path().join("schedules.toml")).unwrap();
    fs::write(place.path().join("schedules.toml"), debian).unwrap();
    let (code, said) = run(&["check"], Path::new(DIB));
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = run(&["doctor"], Path::new(DIB));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(elements.to_str().unwrap()), "{said}");
    assert!(said.contains("lib/image-manager/image-manager-agent"), "{said}");
    fs::write(place.path().join("schedules.toml"), tiny).unwrap();
    let (code, said) = run(&["run", "tiny"], &repository().join("testbed/tiny-image/disk-image-create"));
    assert_eq!(code, Some(0), "{said}");
}
