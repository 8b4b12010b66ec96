//! The same on a real OpenStack, looked at with an administrator's eyes.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use reqwest::Method;
use serde_json::{Value as Json, json};

use super::account::Account;
use super::harness::Place;
use super::harness::left_out::left_out;
use super::kills::{Means, SUCCEEDED, builds};
use super::published::{self, Named};
use super::{SAMPLE, gateways, named_here, torture};

/// What a build may take there, killed or not, when the host is busy.
const LIMIT: Duration = Duration::from_mins(20);

/// Two accounts of the lab.
struct Eyes {
    admin: Account,
    tenant: Account,
}

/// The lab of `IMAGE_MANAGER_TEST_CLOUDS`, shared with other tests.
pub(crate) struct Lab {
    clouds: PathBuf,
    eyes: Arc<Eyes>,
    _shared: Flock<fs::File>,
}

impl Lab {
    /// `None`, with a line that says why, where there is none.
    pub(crate) fn found() -> Option<Self> {
        let Some(clouds) = std::env::var_os("IMAGE_MANAGER_TEST_CLOUDS").map(PathBuf::from) else {
            left_out(
                "the tests on OpenStack: IMAGE_MANAGER_TEST_CLOUDS names no clouds.yaml (testbed/openstack/up)",
            );
            return None;
        };
        // The tests that break the lab for everybody wait until this one is through, and this one for them.
        let lock = fs::File::create(std::env::temp_dir().join("image-manager-test-openstack.lock")).unwrap();
        let shared = Flock::lock(lock, FlockArg::LockShared).map_err(|(_, error)| error).unwrap();
        let eyes = Arc::new(Eyes {
            admin: Account::log_in(&clouds, "lab-admin"),
            tenant: Account::log_in(&clouds, "lab"),
        });
        Some(Self { clouds, eyes, _shared: shared })
    }

    /// For builds of these schedules, each with so many trials.
    pub(crate) fn means(&self, schedules: String, trials: u32) -> Means {
        let (looking, tidying) = (Arc::clone(&self.eyes), Arc::clone(&self.eyes));
        Means {
            schedules,
            trials,
            gateways: gateways("0.0.0.0"),
            environment: vec![("OS_CLIENT_CONFIG_FILE", self.clouds.display().to_string())],
            limit: LIMIT,
            leaks: Box::new(move |place| looking.leaks(place)),
            tidy: Box::new(move |place| tidying.tidy(place)),
            before: None,
            verify: false,
            end: SUCCEEDED,
        }
    }
}

#[test]
fn killed_at_any_commit_nothing_is_left_on_openstack() {
    let Some(lab) = Lab::found() else { return };
    torture("openstack", &lab.means(schedules("ssh_key = true", ""), 1), SAMPLE);
}

/// Two flavors of one cloud, which share one upload.
#[test]
fn killed_at_any_commit_nothing_is_left_of_two_trials_on_openstack() {
    let Some(lab) = Lab::found() else { return };
    let targets = "[[schedule.tiny.targets]]\nname = \"tiny\"\n\
                   [[schedule.tiny.targets]]\nname = \"small\"\nserver.flavor = \"lab.small\"\n";
    torture("two targets on openstack", &lab.means(schedules("", targets), 2), SAMPLE);
}

/// This host and OpenStack: two uploads, and two names that are given one after the other.
#[test]
fn killed_at_any_commit_nothing_is_left_of_trials_here_and_on_openstack() {
    let Some(lab) = Lab::found() else { return };
    torture("targets here and on openstack", &lab.means(schedules("disk = \"512 MiB\"", BOTH), 2), SAMPLE);
}

/// Names on this host and on OpenStack, which go to other images together.
#[test]
fn killed_at_any_commit_names_stay_verified_here_and_on_openstack() {
    let Some(lab) = Lab::found() else { return };
    let schedules = schedules("disk = \"512 MiB\"", BOTH).replace("keep = 1 }", "keep = 50 }");
    let means = lab.means(schedules, 2);
    let eyes = Arc::clone(&lab.eyes);
    let named: Named = Box::new(move |place, name| {
        let images = eyes.tenant.list("image", &format!("v2/images?name={name}&status=active"), "images");
        let hash = |image: &Json| image["os_hash_value"].as_str().unwrap_or_default().to_owned();
        let there = images.iter().map(hash).collect();
        vec![("local".to_owned(), named_here(place, name)), ("lab".to_owned(), there)]
    });
    published::torture("local and openstack", &means, &named, SAMPLE);
}

/// A target on each cloud.
pub(crate) const BOTH: &str = "[[schedule.tiny.targets]]\nname = \"lab\"\n\
                               [[schedule.tiny.targets]]\nname = \"here\"\ncloud = \"local\"\n\
                               server = { memory = \"256 MiB\" }\n";

/// One with all that can be made for a server: a security group, an address, and `more` of its table.
pub(crate) fn schedules(more: &str, targets: &str) -> String {
    let name = format!("im-torture-{}", std::process::id());
    let more = if more.is_empty() { String::new() } else { format!(", {more}") };
    format!(
        "[schedule.tiny]\ncloud = \"lab\"\nimage.elements = [\"tiny\"]\nchecks = {{ disk = {{}} }}\n\
         publish = {{ name = \"{name}\", keep = 1 }}\n\
         server = {{ flavor = \"lab.tiny\", network = \"lab-net\"{more} }}\n\
         timeouts = {{ upload = \"10m\", boot = \"8m\", verify = \"8m\", total = \"40m\" }}\n{targets}"
    )
}

impl Eyes {
    /// What is left, a line each. Of a server whose answer was lost nobody knows the id to find ports by; but they
    /// have the build's security group, and Neutron lets no group go that a port has.
    fn leaks(&self, place: &Place) -> Vec<String> {
        let servers: Vec<Json> =
            place.history().into_iter().map(|build| build["server"]["id"].clone()).collect();
        let mut leaks = Vec::new();
        for (id, ..) in builds(place) {
            let mut found = self.admin.leaks(&id, "");
            for server in servers.iter().filter_map(Json::as_str) {
                found.extend(self.admin.leaks(&id, server));
            }
            let keys = self.tenant.list("compute", "os-keypairs", "keypairs");
            let keys = keys.iter().filter(|key| key.to_string().contains(&id));
            found.extend(keys.map(|key| format!("key pair {}", key["keypair"]["name"])));
            leaks.extend(found);
        }
        leaks.sort();
        leaks.dedup();
        leaks
    }

    /// What a test that fails has left must not stand in the way of the next one.
    fn tidy(&self, place: &Place) {
        for (id, ..) in builds(place) {
            for server in self.admin.list("compute", "servers?all_tenants=1", "servers") {
                if server["name"].as_str().is_some_and(|name| name.contains(&id)) {
                    let path = format!("servers/{}", server["id"].as_str().unwrap());
                    self.admin.ask(Method::DELETE, "compute", &path, None);
                }
            }
            for image in self.admin.images_of(&id) {
                let path = format!("v2/images/{}", image["id"].as_str().unwrap());
                let unprotect = json!([{"op": "replace", "path": "/protected", "value": false}]);
                self.admin.ask(Method::PATCH, "image", &path, Some(unprotect));
                self.admin.ask(Method::DELETE, "image", &path, None);
            }
        }
    }
}
