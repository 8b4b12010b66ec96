//! Stand-in OpenStack clouds that are set up as some real ones are: what `doctor`, `run` and `sweep` say and end with, and
//! what a manager that serves tells of one that is down.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::harness::{Place, tiny_schedule, wait_for};
use super::monitoring::{get, scrape};
use super::untrusted::both;

/// Answers paths, and Keystone's with a catalog of these regions.
pub(super) fn cloud(
    regions: &'static [&'static str],
    answer: impl Fn(&str) -> (u16, Value) + Send + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let base = format!("http://{address}");
    let catalog = ["image", "compute", "network"].map(|kind| {
        let endpoint = |region: &&str| json!({"interface": "public", "region_id": region, "url": format!("{base}/{kind}")});
        json!({"type": kind, "endpoints": regions.iter().map(endpoint).collect::<Vec<_>>()})
    });
    let token =
        json!({"token": {"expires_at": "2099-01-01T00:00:00Z", "project": {"id": "p"}, "catalog": catalog}});
    // Ends with the test's process.
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = vec![0; 65536];
            // A head comes at once, and the bodies do not matter.
            let length = stream.read(&mut head).unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..length]).into_owned();
            let path = head.split([' ', '?']).nth(1).unwrap_or_default();
            let (status, body) = match path {
                "/v3/auth/tokens" => (201, token.clone()),
                path => answer(path),
            };
            let body = body.to_string();
            let _ = write!(
                stream,
                "HTTP/1.1 {status} It is\r\nx-subject-token: t\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    address
}

pub(super) fn usual(path: &str) -> (u16, Value) {
    match path {
        "/compute/" => (300, json!({"choices": [{"id": "v2.1", "links": []}]})),
        "/compute/v2.1/flavors" => (200, json!({"flavors": [{"id": "f1", "name": "small"}]})),
        "/compute/v2.1/flavors/f1" => {
            (200, json!({"flavor": {"id": "f1", "name": "small", "ram": 512, "vcpus": 1, "disk": 2}}))
        }
        "/compute/v2.1/limits" => (200, json!({"limits": {"absolute": {}}})),
        "/compute/v2.1/servers/detail" => (200, json!({"servers": []})),
        "/compute/v2.1/os-keypairs" => (200, json!({"keypairs": []})),
        "/network/v2.0/networks" => {
            let one =
                |id: &str| json!({"id": id, "name": "private", "status": "ACTIVE", "admin_state_up": true});
            (200, json!({"networks": [one("n1"), one("n2")]}))
        }
        "/network/v2.0/security-groups" => (200, json!({"security_groups": []})),
        "/network/v2.0/ports" => (200, json!({"ports": []})),
        "/image/v2/images" => (200, json!({"images": []})),
        _ => (404, json!({})),
    }
}

struct Stand {
    place: Place,
}

impl Stand {
    fn new(address: &str) -> Self {
        let schedule = tiny_schedule(
            "far",
            "cloud = \"stand\"\nserver.flavor = \"small\"\nserver.network = \"private\"",
        );
        let place = Place::new(&schedule.replace("\nserver =", "\n#"));
        let auth = format!(
            "{{auth_url: 'http://{address}/v3', username: u, password: p, project_id: p, user_domain_id: d}}"
        );
        let clouds = format!("clouds:\n  stand: {{profile: elsewhere, auth: {auth}}}\n");
        fs::write(place.path().join("clouds.yaml"), clouds).unwrap();
        Self { place }
    }

    #[track_caller]
    fn says(&self, arguments: &[&str], code: i32) -> String {
        let clouds = self.place.path().join("clouds.yaml");
        let output = self.place.command(arguments).env("OS_CLIENT_CONFIG_FILE", clouds).output().unwrap();
        let said = both(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        said
    }
}

const RUN: [&str; 6] = ["run", "far", "--gateway", "127.0.0.1:0", "--agent-endpoint", "192.0.2.1:50051"];
const SWEEP: [&str; 4] = ["sweep", "--cloud", "stand", "--dry-run"];
const DOCTOR: [&str; 3] = ["doctor", "--cloud", "stand"];

#[test]
fn a_region_that_is_not_chosen_is_a_mistake_of_clouds_yaml() {
    let stand = Stand::new(&cloud(&["North", "South"], usual));
    for arguments in [&DOCTOR[..], &RUN, &SWEEP] {
        let said = stand.says(arguments, 64);
        assert_eq!(said.matches("to one of these: North, South").count(), 1, "{arguments:?}: {said}");
        assert!(!said.contains("left over"), "{said}");
    }
}

#[test]
fn two_networks_of_one_name_are_told_with_their_ids() {
    let stand = Stand::new(&cloud(&["North"], usual));
    let said = stand.says(&DOCTOR, 2);
    assert!(said.contains("i ") && said.contains("`clouds.stand.profile` names \"elsewhere\""), "{said}");
    assert!(said.contains("small (512 MiB"), "{said}");
    for said in [said, stand.says(&RUN, 64)] {
        assert!(said.contains("2 networks named \"private\", with the ids n1, n2"), "{said}");
    }
    let said = stand.says(&SWEEP, 0);
    assert!(said.contains("0 resources left over on stand"), "{said}");
}

#[test]
fn answers_of_something_else_are_no_empty_cloud() {
    for (address, expected) in [
        (
            cloud(&["North"], |path| match path {
                "/compute/v2.1/servers/detail" => (300, json!({"choices": []})),
                path => usual(path),
            }),
            "a choice of API versions instead of an answer",
        ),
        (
            cloud(&["North"], |path| match path {
                "/compute/v2.1/servers/detail" => (200, json!({"choices": []})),
                path => usual(path),
            }),
            "the answer has no list `servers`",
        ),
    ] {
        let stand = Stand::new(&address);
        // Makes the history.
        stand.says(&RUN, 64);
        let said = stand.says(&SWEEP, 64);
        assert!(said.contains(expected) && !said.contains("left over"), "{said}");
    }
}

/// Whether the cloud that `down_or_up` stands for is down.
static DOWN: AtomicBool = AtomicBool::new(true);

fn down_or_up(path: &str) -> (u16, Value) {
    if DOWN.load(Ordering::Relaxed) { (500, json!({})) } else { usual(path) }
}

/// Nothing is built: the manager asks by itself. A cloud that left the file is nobody's problem.
#[test]
fn a_cloud_that_is_down_is_told_of_until_it_answers_again() {
    let stand = Stand::new(&cloud(&["North"], down_or_up));
    let clouds = stand.place.path().join("clouds.yaml");
    // Every 3 minutes are every 3 seconds.
    let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let clock = format!("{start}x60");
    let serving = stand.place.serve_in(
        &["--agent-endpoint", "192.0.2.1:50051"],
        &[("OS_CLIENT_CONFIG_FILE", clouds.to_str().unwrap()), ("IMAGE_MANAGER_TEST_CLOCK", &clock)],
    );
    let wait_for_metric = |what: &str, sample: &str, there: bool| {
        let told = || scrape(&serving.operator).contains(sample) == there;
        wait_for(what, Duration::from_mins(1), || told().then_some(()));
    };
    let problems = || {
        let schedules: Value =
            serde_json::from_str(&get(&serving.operator, "/api/v1/schedules", "").1).unwrap();
        schedules["problems"].clone()
    };
    let (silent, answers) =
        ("image_manager_cloud_answers{cloud=\"stand\"} 0", "image_manager_cloud_answers{cloud=\"stand\"} 1");
    wait_for_metric("the cloud to be silent", silent, true);
    let told = problems();
    assert_eq!((&told[0]["kind"], &told[0]["about"]), (&"cloud".into(), &"stand".into()), "{told}");
    DOWN.store(false, Ordering::Relaxed);
    wait_for_metric("the cloud to answer again", answers, true);
    assert_eq!(problems(), json!([]));
    DOWN.store(true, Ordering::Relaxed);
    wait_for_metric("the cloud to be silent again", silent, true);
    fs::write(stand.place.path().join("schedules.toml"), tiny_schedule("here", "")).unwrap();
    wait_for_metric("the cloud to be forgotten", "cloud=\"stand\"", false);
    assert_eq!(problems(), json!([]));
    assert_eq!(serving.terminate(), Some(0));
}
