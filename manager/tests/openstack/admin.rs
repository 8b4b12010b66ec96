//! A second opinion on what is in the cloud, with the administrator's eyes and without the program's code.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value as Json, json};
use yaml_rust2::{Yaml, YamlLoader};

/// The administrator's view.
pub(crate) struct Admin {
    runtime: tokio::runtime::Runtime,
    http: reqwest::Client,
    token: String,
    catalog: Json,
    /// Project of the tenant `lab`.
    pub(crate) project: String,
}

impl Admin {
    pub(crate) fn log_in(clouds: &Path) -> Self {
        // The program installs it for itself; this is the test's own.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let text = std::fs::read_to_string(clouds).unwrap();
        let yaml = YamlLoader::load_from_str(&text).unwrap().remove(0);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let http = reqwest::Client::builder().timeout(Duration::from_mins(1)).build().unwrap();
        let (_, answer) = authenticate(&runtime, &http, &yaml["clouds"]["lab"]["auth"]);
        let project = answer["token"]["project"]["id"].as_str().unwrap().to_owned();
        let (token, answer) = authenticate(&runtime, &http, &yaml["clouds"]["lab-admin"]["auth"]);
        Self { runtime, http, token, catalog: answer["token"]["catalog"].clone(), project }
    }

    fn address(&self, service: &str, path: &str) -> String {
        let services = self.catalog.as_array().unwrap();
        let found = services.iter().find(|entry| entry["type"] == service).unwrap();
        let endpoints = found["endpoints"].as_array().unwrap();
        let public = endpoints.iter().find(|endpoint| endpoint["interface"] == "public").unwrap();
        format!("{}/{path}", public["url"].as_str().unwrap().trim_end_matches('/'))
    }

    /// Makes a request; returns status and answer.
    pub(crate) fn ask(
        &self,
        method: reqwest::Method,
        service: &str,
        path: &str,
        body: Option<Json>,
    ) -> (u16, Json) {
        let mut request =
            self.http.request(method, self.address(service, path)).header("x-auth-token", &self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        self.runtime.block_on(async {
            let answer = request.send().await.unwrap();
            let status = answer.status().as_u16();
            (status, answer.json().await.unwrap_or_default())
        })
    }

    /// A list.
    pub(crate) fn list(&self, service: &str, path: &str, key: &str) -> Vec<Json> {
        let (status, answer) = self.ask(reqwest::Method::GET, service, path, None);
        assert_eq!(status, 200, "{path}: {answer}");
        answer[key].as_array().unwrap_or_else(|| panic!("no {key} in {answer}")).clone()
    }

    /// Images of a build, in any state.
    pub(crate) fn images_of(&self, build: &str) -> Vec<Json> {
        let hidden = ["true", "false"].map(|hidden| {
            self.list(
                "image",
                &format!("v2/images?image_manager_build={build}&os_hidden={hidden}&visibility=all"),
                "images",
            )
        });
        hidden.concat()
    }

    /// Everything in the cloud that a build with this id may have left, a line each. Published images stay.
    pub(crate) fn leaks(&self, build: &str, server: &str) -> Vec<String> {
        let mut leaks: Vec<String> = self
            .images_of(build)
            .iter()
            .filter(|image| image["image_manager_published"].is_null())
            .map(|image| format!("image {} {}", image["name"], image["status"]))
            .collect();
        let named = |json: &Json| json["name"].as_str().is_some_and(|name| name.contains(build));
        let mut add = |kind: &str, found: Vec<Json>| {
            leaks.extend(
                found.iter().filter(|json| named(json)).map(|json| format!("{kind} {}", json["name"])),
            );
        };
        add("server", self.list("compute", "servers?all_tenants=1", "servers"));
        add("security group", self.list("network", "v2.0/security-groups", "security_groups"));
        if !server.is_empty() {
            let ports = self.list("network", &format!("v2.0/ports?device_id={server}"), "ports");
            leaks.extend(ports.iter().map(|port| format!("port {}", port["id"])));
        }
        leaks
    }

    /// Sets how many instances the tenant may have; returns how many it was.
    pub(crate) fn set_instances(&self, most: i64) -> i64 {
        let path = format!("os-quota-sets/{}", self.project);
        let (_, before) = self.ask(reqwest::Method::GET, "compute", &path, None);
        let body = json!({"quota_set": {"instances": most}});
        let (status, answer) = self.ask(reqwest::Method::PUT, "compute", &path, Some(body));
        assert_eq!(status, 200, "{answer}");
        before["quota_set"]["instances"].as_i64().unwrap()
    }
}

fn authenticate(runtime: &tokio::runtime::Runtime, http: &reqwest::Client, auth: &Yaml) -> (String, Json) {
    let part = |key: &str| auth[key].as_str().unwrap_or_else(|| panic!("no {key}")).to_owned();
    let body = json!({"auth": {
        "identity": {"methods": ["password"], "password": {"user": {"name": part("username"),
            "domain": {"name": part("user_domain_name")}, "password": part("password")}}},
        "scope": {"project": {"name": part("project_name"), "domain": {"name": part("project_domain_name")}}}}});
    runtime.block_on(async {
        let answer = http.post(format!("{}/auth/tokens", part("auth_url"))).json(&body).send().await.unwrap();
        let token = answer.headers()["x-subject-token"].to_str().unwrap().to_owned();
        (token, answer.json().await.unwrap())
    })
}
