//! `skip = { unchanged = true }`: a second run makes nothing when nothing has changed, and builds when anything has. A
//! real apt asks a repository on loopback, and a real dnf; the images are tiny ones with a package list in them.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value as Json;

use super::control::Control;
use super::harness::{Place, repository as checkout, text, tiny_schedule, wait_for};
use super::monitoring::scrape;

#[path = "../../src/unchanged/tests/repository.rs"]
#[expect(dead_code, reason = "the other tests of it use all")]
mod repository;

use repository::{Listed, Repository, stanza};

const PACKAGES: [Listed<'static>; 2] = [("dpkg", "1.21", ""), ("tool", "1.0", "")];
/// Of an image of dnf.
const RPMS: [Listed<'static>; 3] =
    [("dnf", "4.14-1", ""), ("tool", "1.0-1", "Requires: library\n"), ("library", "2.0-1", "")];
const ELEMENT: &str = "own/tiny/install.d/50-tiny";
/// The key of the schedule's own repository.
const KEY: &str = "ours.asc";

fn write(place: &Path, path: &str, content: impl AsRef<[u8]>) {
    let path = place.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// A schedule whose image has these packages, from this repository, and an element of its own.
fn site(repository: &Repository) -> Place {
    let place = Place::new("");
    let at = place.path();
    let installed = PACKAGES
        .map(|(name, version, more)| stanza(name, version, &format!("Status: install ok installed\n{more}")));
    write(at, "image/var/lib/dpkg/status", installed.join("\n"));
    write(at, "image/var/lib/dpkg/arch", "amd64\n");
    write(at, "image/usr/share/tool", "hello");
    write(at, "image/var/lib/dpkg/info/tool.md5sums", "5d41402abc4b2a76b9719d911017c592  usr/share/tool\n");
    let source = format!("deb [signed-by=/k.asc] {} stable main\n", repository.address);
    write(at, "image/etc/apt/sources.list", source);
    write(at, "image/k.asc", repository.key());
    write(at, ELEMENT, "true\n");
    write(at, KEY, repository.key());
    schedule(&place, repository, "");
    place
}

/// The same with packages of rpm, which rpm itself installs.
fn site_of_rpm(repository: &Repository) -> Place {
    let place = Place::new("");
    let at = place.path();
    let signed = "repo_gpgcheck=1\ngpgkey=file:///etc/pki/rpm-gpg/k.asc\n";
    let repo = format!("[ours]\nbaseurl={}/rpm\n{signed}", repository.address);
    write(at, "image/etc/yum.repos.d/ours.repo", repo);
    write(at, "image/etc/pki/rpm-gpg/k.asc", repository.key());
    write(at, "image/etc/dnf/dnf.conf", "[main]\ngpgcheck=1\nbest=True\n");
    write(at, "image/etc/os-release", "ID=centos\nVERSION_ID=\"9\"\nPLATFORM_ID=\"platform:el9\"\n");
    let rpms = fs::read_dir(repository.rpms().join("x86_64")).unwrap();
    let installed = Command::new("rpm")
        .arg("--root")
        .arg(at.join("image"))
        .args(["--dbpath", "/usr/lib/sysimage/rpm", "-i", "--nodeps", "--noscripts", "--ignorearch"])
        .args(rpms.map(|entry| entry.unwrap().path()))
        .output()
        .unwrap();
    assert!(installed.status.success(), "{}", text(&installed.stderr));
    write(at, ELEMENT, "true\n");
    write(at, KEY, repository.key());
    schedule(&place, repository, "");
    place
}

/// Writes its schedules.toml, with more variables of the build.
fn schedule(place: &Place, repository: &Repository, variables: &str) {
    let files = place.path().join("image");
    let more = format!(
        "cron = \"0 0 29 2 *\"\npublish = {{ name = \"tiny\" }}\nskip = {{ unchanged = true }}\nchecks = {{ disk = {{}} }}\n\
         image.repositories = [{{ name = \"ours\", url = \"{1}\", suites = [\"stable\"], components = [\"main\"], \
         key_file = \"{KEY}\" }}]\n\
         image.environment = {{ TINY_FILES = \"{0}\", OUR_MIRROR = \"{1}\"{variables} }}",
        files.display(),
        repository.address
    );
    fs::write(place.path().join("schedules.toml"), tiny_schedule("tiny", &more)).unwrap();
}

/// Runs it in the foreground with one variable of the program's environment; the newest build and what was said.
fn run(place: &Place, more: &[&str], environment: &[(&str, &Path)]) -> (Json, String) {
    let own = place.path().join("own");
    let mut command = place.command(&["run", "tiny"]);
    command.args(more).env("IMAGE_MANAGER_ELEMENTS", own).envs(environment.iter().copied());
    let output = command.output().unwrap();
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}");
    (place.latest(), said)
}

fn building(build: &Json) -> &str {
    let stages = build["stages"].as_array().unwrap();
    stages.iter().find(|stage| stage["name"] == "building").unwrap()["detail"].as_str().unwrap()
}

/// Expects that the next run builds, and says this of why.
#[track_caller]
fn builds(place: &Place, environment: &[(&str, &Path)], why: &str) -> Json {
    let (build, said) = run(place, &[], environment);
    assert_eq!(build["state"], "succeeded", "{said}");
    let detail = building(&build);
    assert!(detail.contains("; built because ") && detail.contains(why), "{why}: {detail}");
    build
}

/// Expects that the next run is skipped, since this build.
#[track_caller]
fn skips(place: &Place, since: &Json) -> Json {
    let (build, said) = run(place, &[], &[]);
    assert_eq!(build["state"], "skipped", "{said}");
    assert_eq!(build["unchanged_since"], since["id"]);
    assert!(
        said.contains(&format!("nothing has changed since build {}", since["id"].as_str().unwrap())),
        "{said}"
    );
    build
}

#[test]
fn a_second_run_makes_nothing_unless_something_has_changed() {
    let repository = Repository::new();
    repository.publish(&PACKAGES);
    let place = site(&repository);
    let first = builds(&place, &[], "has not been built before");
    let skipped = skips(&place, &first);
    assert_eq!(skipped["verdict"], Json::Null);
    assert_eq!(skipped["resources"], Json::Array(Vec::new()), "nothing was made");
    assert_eq!(skipped["trials"][0]["state"], "skipped");
    assert_eq!(
        building(&skipped).split(": ").next().unwrap(),
        format!("nothing has changed since build {}", first["id"].as_str().unwrap())
    );
    skips(&place, &first);

    // Whoever wants it built has it built, and the next one is compared with that.
    let (forced, _) = run(&place, &["--force"], &[]);
    assert_eq!((&forced["state"], &forced["forced"]), (&"succeeded".into(), &true.into()));
    skips(&place, &forced);
    let kept = |build: &Json| {
        place.state().join("builds").join(build["id"].as_str().unwrap()).join("packages.json.gz").exists()
    };
    assert!(kept(&forced) && !kept(&first), "only that of the last good build is kept");

    write(place.path(), ELEMENT, "false\n");
    builds(&place, &[], "element tiny");
    schedule(&place, &repository, ", TINY_WORD = \"x\"");
    builds(&place, &[], "the schedule has changed");
    let mut key = repository.key();
    key.push(b'\n');
    write(place.path(), KEY, key);
    builds(&place, &[], "repository ours");
    // Of a state directory that was restored without it, say: the published image's agent would obey nobody.
    fs::remove_dir_all(place.state().join("tls")).unwrap();
    builds(&place, &[], "obeys another certificate than the gateway's");
    let other = place.path().join("agent");
    let mut program = fs::read(super::harness::agent()).unwrap();
    program.push(0);
    fs::write(&other, program).unwrap();
    fs::set_permissions(&other, fs::metadata(super::harness::agent()).unwrap().permissions()).unwrap();
    builds(&place, &[("IMAGE_MANAGER_AGENT", &other)], "agent image-manager-agent");
    let last = builds(&place, &[], "agent image-manager-agent");
    skips(&place, &last);

    // The server tells by the second whether a file has changed.
    let again = || {
        let [dpkg, _] = PACKAGES;
        repository.publish(&[dpkg, ("tool", "1.1", "")]);
        std::fs::metadata(repository.release()).unwrap().modified().unwrap()
    };
    let before = fs::metadata(repository.release()).unwrap().modified().unwrap();
    wait_for("the next second", Duration::from_secs(10), || {
        (again().duration_since(before).unwrap().as_secs() >= 1).then_some(())
    });
    builds(&place, &[], "packages have changed: tool 1.0 would be 1.1");
    place.assert_nothing_left();
}

#[test]
fn an_image_of_dnf_is_left_out_unless_its_packages_have_changed() {
    let repository = Repository::new();
    repository.publish_rpms(&RPMS, "ours");
    let place = site_of_rpm(&repository);
    let first = builds(&place, &[], "has not been built before");
    skips(&place, &first);
    let [dnf, tool, _] = RPMS;
    repository.publish_rpms(&[dnf, tool, ("library", "2.0-2", "")], "ours");
    builds(&place, &[], "packages have changed: library.x86_64 2.0-1 would be 2.0-2");
    place.assert_nothing_left();
}

#[test]
fn another_disk_image_builder_builds_and_what_was_kept_is_not_believed_blindly() {
    let repository = Repository::new();
    repository.publish(&PACKAGES);
    let place = site(&repository);
    let first = builds(&place, &[], "has not been built before");
    let file = place.state().join("builds").join(first["id"].as_str().unwrap()).join("packages.json.gz");
    fs::write(&file, "no").unwrap();
    let second = builds(&place, &[], "it has changed since it was written");
    skips(&place, &second);
    // One that says that it is newer, and is the same otherwise.
    let newer = place.path().join("dib/disk-image-create");
    let stand_in = checkout().join("testbed/tiny-image/disk-image-create");
    let script = format!(
        "#!/bin/bash\nset -o pipefail\nchanged() {{ sed -u 's/3\\.43\\.0/3.44.0/'; }}\n{} \"$@\" | changed\n",
        stand_in.display()
    );
    write(place.path(), "dib/disk-image-create", script);
    fs::set_permissions(&newer, fs::metadata(&stand_in).unwrap().permissions()).unwrap();
    builds(&place, &[("IMAGE_MANAGER_DIB", &newer)], "program disk-image-builder");
    place.assert_nothing_left();
}

#[test]
fn an_image_that_lost_its_name_is_a_reason_to_build() {
    let repository = Repository::new();
    repository.publish(&PACKAGES);
    let place = site(&repository);
    let own = place.path().join("own").display().to_string();
    let change = |arguments: &[&str]| {
        let serving = place.serve_in(&[], &[("IMAGE_MANAGER_ELEMENTS", own.as_str())]);
        place.expect(arguments, 0);
        assert_eq!(serving.terminate(), Some(0));
    };
    builds(&place, &[], "has not been built before");
    let (second, _) = run(&place, &["--force"], &[]);
    skips(&place, &second);
    change(&["rollback", "tiny"]);
    let third = builds(&place, &[], "does not have its name on local: another image has it");
    skips(&place, &third);
    change(&["revoke", third["id"].as_str().unwrap(), "--reason", "leaked key"]);
    let fourth = builds(&place, &[], "does not have its name on local: it was revoked");
    skips(&place, &fourth);
    place.assert_nothing_left();
}

#[test]
fn a_manager_that_serves_skips_and_counts_it_as_fresh() {
    let repository = Repository::new();
    repository.publish(&PACKAGES);
    let place = site(&repository);
    let first = builds(&place, &[], "has not been built before");
    let own = place.path().join("own").display().to_string();
    // Killed right before it is written down: the next manager asks again.
    let kill =
        [("IMAGE_MANAGER_ELEMENTS", own.as_str()), ("IMAGE_MANAGER_TEST_KILL", "advance:skipped#1:before")];
    let serving = place.serve_in(&[], &kill);
    let _ = Control::of(&serving).trigger("tiny");
    assert_eq!(serving.ended(), None, "it was killed");
    assert_eq!(place.latest()["state"], "queued");
    let serving = place.serve_in(&[], &kill[..1]);
    let build = wait_for("the skipped build", Duration::from_mins(1), || {
        let build = place.latest();
        (build["state"] == "skipped").then_some(build)
    });
    assert_eq!(build["unchanged_since"], first["id"]);
    let control = Control::of(&serving);
    let schedule = control.schedules().schedules[0].clone();
    assert!(!schedule.paused && schedule.retry_at.is_none());
    let metrics = scrape(&serving.operator);
    let line =
        |start: &str| metrics.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned();
    assert!(
        line("image_manager_builds_total{schedule=\"tiny\",verdict=\"skipped\"}").ends_with(" 1"),
        "{metrics}"
    );
    let images: Json = serde_json::from_str(&place.expect(&["images", "--format", "json"], 0)).unwrap();
    let confirmed = ["build_id", "confirmed_by", "confirmed_at"].map(|key| images[0][key].clone());
    assert_eq!(confirmed, [first["id"].clone(), build["id"].clone(), build["finished_at"].clone()]);
    let told =
        "image_manager_image_confirmed_timestamp_seconds{name=\"tiny\",cloud=\"local\",schedule=\"tiny\"}";
    let ended = chrono::DateTime::parse_from_rfc3339(build["finished_at"].as_str().unwrap()).unwrap();
    assert!(line(told).ends_with(&format!(" {}", ended.timestamp())), "{metrics}");
    drop(control);
    assert_eq!(serving.terminate(), Some(0));
    assert_eq!(place.history().len(), 2);
    place.assert_nothing_left();
}
