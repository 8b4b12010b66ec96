//! A cloud that is down for the whole of a build: the other's trial does not notice, and the down one is tried again alone,
//! on the same artifact, once it is there.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use chrono::{DateTime, Utc};
use serde_json::Value as Json;

use super::lab::{Lab, Running, tiny_schedule, wait_for};
use super::proxy::{Proxy, detour_with, keystone};

/// How much longer than usual a trial may take beside a cloud that is down: boots on a busy host differ that much.
const SLACK: f64 = 2.0;

/// A schedule on this host, and in the lab too with `lab`.
fn schedule(name: &str, when: &str, retry: u32, lab: bool) -> String {
    let server = if lab { "network = \"lab-net\", disk = \"512 MiB\"" } else { "disk = \"512 MiB\"" };
    let mut more = format!(
        "publish = {{ name = \"{name}\", when = \"{when}\" }}\nchecks = {{ disk = {{}} }}\n\
         retry = {retry}\nretry_backoff = \"10s\"\npause_after = 0\nserver = {{ {server} }}\n\
         [[schedule.tiny.targets]]\nname = \"here\"\ncloud = \"local\"\nserver.memory = \"256 MiB\"\n"
    );
    if lab {
        more.push_str("[[schedule.tiny.targets]]\nname = \"lab\"\nserver.flavor = \"lab.tiny\"\n");
    }
    let cloud = if lab { "lab" } else { "local" };
    tiny_schedule("tiny", cloud, &more).replace("timeouts.upload = \"10m\"", "timeouts.upload = \"1m\"")
}

/// All services of the lab, behind proxies that can be down together.
struct Services(Vec<Proxy>);

impl Services {
    /// They hang: connections are taken, and nobody answers.
    fn hang(&self) {
        self.0.iter().for_each(|proxy| proxy.signal("STOP"));
    }

    fn go_on(&self) {
        self.0.iter().for_each(|proxy| proxy.signal("CONT"));
    }

    /// Connections are refused.
    fn end(&mut self) {
        self.0.iter_mut().for_each(Proxy::end);
    }
}

fn trial<'a>(build: &'a Json, target: &str) -> &'a Json {
    let trials = build["trials"].as_array().unwrap();
    trials.iter().find(|trial| trial["target"] == target).unwrap_or_else(|| panic!("{target}: {build}"))
}

fn stage<'a>(of: &'a Json, name: &str) -> &'a Json {
    of["stages"].as_array().unwrap().iter().find(|stage| stage["name"] == name).unwrap()
}

fn at(stage: &Json, key: &str) -> DateTime<Utc> {
    stage[key].as_str().unwrap_or_else(|| panic!("no {key}: {stage}")).parse().unwrap()
}

/// Seconds from a trial's first stage to its end.
fn seconds(trial: &Json) -> f64 {
    let took = at(stage(trial, "cleaning_up"), "finished_at") - at(stage(trial, "uploading"), "started_at");
    took.as_seconds_f64()
}

/// Hash of the file that has the name on this host.
fn published_here(lab: &Lab, name: &str) -> Option<String> {
    let file = lab.path().join(format!("state/images/published/{name}.qcow2"));
    let said = std::process::Command::new("sha512sum").arg(fs::canonicalize(file).ok()?).output().unwrap();
    Some(String::from_utf8(said.stdout).unwrap().split(' ').next().unwrap().to_owned())
}

/// Hashes of what a client of Glance gets for the name.
fn published_there(lab: &Lab, name: &str) -> Vec<String> {
    let images = lab.tenant.list("image", &format!("v2/images?name={name}&status=active"), "images");
    images.iter().map(|image| image["os_hash_value"].as_str().unwrap().to_owned()).collect()
}

/// A manager that reaches the lab through the proxies only. These are on this host, and say nothing about where servers
/// reach it: so that is said.
fn serve(lab: &Lab, clouds: &Path) -> Running {
    let to_lab = UdpSocket::bind("0.0.0.0:0").unwrap();
    to_lab.connect(keystone(&lab.clouds)).unwrap();
    let address = to_lab.local_addr().unwrap().ip();
    let port = TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
    let (gateway, endpoint) = (format!("0.0.0.0:{port}"), format!("{address}:{port}"));
    let flags = ["--operator", "127.0.0.1:0", "--gateway", &gateway, "--agent-endpoint", &endpoint];
    let mut command = lab.command(&[&["serve"], flags.as_slice()].concat());
    let mut serving = lab.start(command.env("OS_CLIENT_CONFIG_FILE", clouds));
    serving.wait_until_it_serves(lab);
    serving
}

/// `run`, which the manager that serves does; nobody reads what it prints.
fn run(lab: &Lab) -> Child {
    lab.command(&["run", "tiny"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Waits until the trial of this host has passed and the lab's has failed once; returns the build as it stands then.
fn first_attempts(lab: &Lab) -> Json {
    wait_for("the first attempts", || {
        // The newest one may still be that of this host alone.
        let build = lab.builds().into_iter().next().filter(|build| build["trials"][1].is_object())?;
        let (here, there) = (trial(&build, "here"), trial(&build, "lab"));
        let ended = here["verdict"] == "passed" && !stage(here, "cleaning_up")["finished_at"].is_null();
        (ended && there["attempt"] == 2).then_some(build)
    })
}

/// How often disk-image-builder was run for a build: its scratch directories in the ledger.
fn artifacts(build: &Json) -> usize {
    build["resources"].as_array().unwrap().iter().filter(|row| row["kind"] == "scratch").count()
}

fn log_of_builder(lab: &Lab, build: &Json) -> String {
    fs::read_to_string(lab.directory_of(build).join("build.log")).unwrap()
}

/// The lab behind proxies, the clouds.yaml that leads there, how long a trial on this host takes as usual, and the hash of
/// the image that has the name here.
struct Setting {
    lab: Lab,
    services: Services,
    clouds: PathBuf,
    name: String,
    usual: f64,
    before: String,
}

impl Setting {
    fn new(name: &str) -> Option<Self> {
        let name = format!("im-test-{name}-{}", std::process::id());
        let lab = Lab::with(&schedule(&name, "each", 0, false))?;
        // What is usual: this host alone.
        lab.expect(&["run", "tiny"], 0);
        let usual = seconds(trial(&lab.latest(), "here"));
        let before = published_here(&lab, &name).unwrap();
        let door = keystone(&lab.clouds);
        let host = door.split(':').next().unwrap();
        let proxy = |port| Proxy::start(&format!("{host}:{port}"), &door, &[]);
        let services = Services(["5000", "9292", "8774", "9696"].map(proxy).into());
        let url = |index: usize, path: &str| services.0[index].url(path);
        let overrides = [("image", url(1, "")), ("compute", url(2, "/v2.1")), ("network", url(3, ""))];
        let clouds = detour_with(&lab, Some(&url(0, "/v3")), &overrides);
        Some(Self { lab, services, clouds, name, usual, before })
    }

    /// Says that the trial on this host took as long as usual.
    fn assert_as_usual(&self, here: &Json, what: &str) {
        let (took, usual) = (seconds(here), self.usual);
        println!("{what}: {took:.1} s beside {usual:.1} s as usual, a ratio of {:.2}", took / usual);
        assert!(took < usual * SLACK, "{took} s, usual are {usual} s");
    }
}

/// By "all" nothing is published, by "each" what passed.
#[test]
#[ignore = "a quarter of an hour, since a clean-up asks a cloud that is down for minutes: make torture"]
fn a_cloud_that_refuses_connections_keeps_the_name_from_itself_or_from_all() {
    let Some(mut setting) = Setting::new("refused") else { return };
    setting.services.end();
    for (when, moves) in [("all", false), ("each", true)] {
        let Setting { lab, name, clouds, .. } = &setting;
        lab.reschedule(&schedule(name, when, 1, true));
        let serving = serve(lab, clouds);
        let code = run(lab).wait().unwrap().code();
        assert_eq!(code, Some(2), "{when}: {}{:#}", serving.said(), lab.latest());
        drop(serving);
        let build = lab.latest();
        let (here, there) = (trial(&build, "here"), trial(&build, "lab"));
        assert_eq!((&here["verdict"], &there["verdict"]), (&"passed".into(), &"errored".into()), "{build:#}");
        assert_eq!((&there["attempt"], artifacts(&build)), (&2.into(), 1), "{build:#}");
        assert_eq!(published_here(lab, name).unwrap() != setting.before, moves, "{when}: {build:#}");
        setting.assert_as_usual(here, &format!("{when}, connections are refused"));
        // The ledger keeps what it cannot ask for: whether something is there only the cloud could say.
        assert_eq!(lab.admin.leaks(build["id"].as_str().unwrap(), ""), Vec::<String>::new());
    }
}

/// It hangs for as long as the build is built and the other's trial takes, and comes back later.
#[test]
fn a_cloud_that_hangs_is_tried_again_alone_on_the_same_artifact() {
    let Some(setting) = Setting::new("hanging") else { return };
    let Setting { lab, services, clouds, name, .. } = &setting;
    services.hang();
    lab.reschedule(&schedule(name, "each", 5, true));
    let serving = serve(lab, clouds);
    let mut run = run(lab);
    let first = first_attempts(lab);
    let log = log_of_builder(lab, &first);
    assert!(lab.admin.images_of(first["id"].as_str().unwrap()).is_empty(), "nothing reached the lab");
    services.go_on();
    assert_eq!(run.wait().unwrap().code(), Some(0), "{}", serving.said());
    drop(serving);

    let build = lab.latest();
    assert_eq!((&build["id"], &build["state"]), (&first["id"], &"succeeded".into()), "the same build");
    let (here, there) = (trial(&build, "here"), trial(&build, "lab"));
    assert_eq!((&here["verdict"], &there["verdict"]), (&"passed".into(), &"passed".into()), "{build:#}");
    // The other one was left alone: it stands as it did when the lab was down.
    assert_eq!(here["attempt"], 1);
    assert_eq!(here["stages"], trial(&first, "here")["stages"]);
    assert!(there["attempt"].as_u64().unwrap() >= 2, "{there:#}");
    // Nothing was built again: one scratch directory, one run of disk-image-builder, before all trials.
    assert_eq!((artifacts(&build), log_of_builder(lab, &build)), (1, log));
    assert_eq!(stage(&build, "building"), stage(&first, "building"));
    // Both clouds have what was built then, which has a hash of its own.
    let hash = here["image"]["sha512"].as_str().unwrap().to_owned();
    assert_ne!(hash, setting.before);
    assert_eq!(there["image"]["sha512"], hash.as_str());
    assert_eq!(published_here(lab, name), Some(hash.clone()));
    assert_eq!(published_there(lab, name), [hash]);
    println!("attempts of the other: {}", there["attempt"]);
    setting.assert_as_usual(here, "each, nobody answers");
    lab.assert_nothing_left();
}
