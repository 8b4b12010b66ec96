//! `testbed/openstack/fault-proxy` between the program and a service.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value as Json;

use super::account::entry;
use super::lab::{Lab, repository};

/// A proxy under way; ends when dropped.
pub(crate) struct Proxy {
    child: Child,
    address: String,
}

impl Proxy {
    /// In front of a service's `host:port`, with these rules.
    pub(crate) fn start(to: &str, keystone: &str, rules: &[String]) -> Self {
        let mut command = Command::new(repository().join("testbed/openstack/fault-proxy"));
        command.args(["--listen", "127.0.0.1:0", "--to", to, "--keystone", keystone]);
        command.args(rules.iter().flat_map(|rule| ["--rule", rule]));
        let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let address = first.strip_prefix("listening on ").unwrap().to_owned();
        // It writes a line for each request: somebody must read them.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    /// Sends it a signal: one that is stopped takes connections and answers none.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Ends it: its port refuses connections from then on.
    pub(crate) fn end(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What has happened to each request.
    pub(crate) fn log(&self) -> Vec<Json> {
        self.control("log")
    }

    /// Says that every rule was used up, and so every fault made.
    #[track_caller]
    pub(crate) fn assert_all_used(&self) {
        for rule in self.control("rules") {
            let text = rule["rule"].as_str().unwrap();
            let times = text.split(' ').find_map(|word| word.strip_prefix("times=")?.parse().ok());
            assert_eq!(rule["used"].as_u64(), Some(times.unwrap_or(1)), "{rule}");
        }
    }

    fn control(&self, what: &str) -> Vec<Json> {
        let output = Command::new("curl").args(["-fsS", &self.url(&format!("/.fault/{what}"))]).output();
        serde_json::from_slice(&output.unwrap().stdout).unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A clouds.yaml with the cloud `lab`, whose services are at these addresses instead of the catalog's.
pub(crate) fn detour(lab: &Lab, overrides: &[(&str, String)]) -> std::path::PathBuf {
    detour_with(lab, None, overrides)
}

/// The same, with another address of Keystone too.
pub(crate) fn detour_with(
    lab: &Lab,
    auth_url: Option<&str>,
    overrides: &[(&str, String)],
) -> std::path::PathBuf {
    let cloud = entry(&lab.clouds, "lab");
    let lines = |(key, value): (&yaml_rust2::Yaml, &yaml_rust2::Yaml)| {
        let (key, value) = (key.as_str().unwrap(), value.as_str().unwrap());
        let value = auth_url.filter(|_| key == "auth_url").unwrap_or(value);
        format!("      {key}: '{value}'\n")
    };
    let auth: String = cloud["auth"].as_hash().unwrap().iter().map(lines).collect();
    let instead =
        overrides.iter().map(|(service, url)| format!("    {service}_endpoint_override: '{url}'\n"));
    let instead: String = instead.collect();
    let text = format!("clouds:\n  lab:\n    region_name: RegionOne\n    auth:\n{auth}{instead}");
    let file = lab.path().join("detour.yaml");
    std::fs::write(&file, text).unwrap();
    file
}

/// `host:port` of Keystone in the lab.
pub(crate) fn keystone(clouds: &Path) -> String {
    let url = entry(clouds, "lab")["auth"]["auth_url"].as_str().unwrap().to_owned();
    url.trim_start_matches("http://").split('/').next().unwrap().to_owned()
}
