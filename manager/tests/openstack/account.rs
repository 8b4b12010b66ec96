//! A second opinion on what is in the cloud, without the program's code: the administrator's eyes, and the
//! tenant's hands for what a test needs there.

use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value as Json, json};
use yaml_rust2::{Yaml, YamlLoader};

/// Somebody who has logged in.
pub(crate) struct Account {
    runtime: tokio::runtime::Runtime,
    http: reqwest::Client,
    token: String,
    answer: Json,
}

impl Account {
    /// With the password of this cloud of clouds.yaml.
    pub(crate) fn log_in(clouds: &Path, cloud: &str) -> Self {
        let auth = &entry(clouds, cloud)["auth"];
        let part = |key: &str| auth[key].as_str().unwrap_or_else(|| panic!("no {key}")).to_owned();
        let body = json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": {"name": part("username"),
                "domain": {"name": part("user_domain_name")}, "password": part("password")}}},
            "scope": {"project": {"name": part("project_name"), "domain": {"name": part("project_domain_name")}}}}});
        Self::authenticate(&part("auth_url"), &body).unwrap()
    }

    /// With any body that Keystone takes; the status when it does not.
    pub(crate) fn authenticate(auth_url: &str, body: &Json) -> Result<Self, u16> {
        // The program installs it for itself; this is the test's own.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let http = reqwest::Client::builder().timeout(Duration::from_mins(2)).build().unwrap();
        let (token, answer) = runtime.block_on(async {
            let answer = http.post(format!("{auth_url}/auth/tokens")).json(body).send().await.unwrap();
            if !answer.status().is_success() {
                return Err(answer.status().as_u16());
            }
            let token = answer.headers()["x-subject-token"].to_str().unwrap().to_owned();
            Ok((token, answer.json().await.unwrap()))
        })?;
        Ok(Self { runtime, http, token, answer })
    }

    pub(crate) fn project(&self) -> &str {
        self.answer["token"]["project"]["id"].as_str().unwrap()
    }

    pub(crate) fn user(&self) -> &str {
        self.answer["token"]["user"]["id"].as_str().unwrap()
    }

    fn address(&self, service: &str, path: &str) -> String {
        let services = self.answer["token"]["catalog"].as_array().unwrap();
        let found = services.iter().find(|entry| entry["type"] == service).unwrap();
        let endpoints = found["endpoints"].as_array().unwrap();
        let public = endpoints.iter().find(|endpoint| endpoint["interface"] == "public").unwrap();
        format!("{}/{path}", public["url"].as_str().unwrap().trim_end_matches('/'))
    }

    /// Makes a request; returns status and answer.
    pub(crate) fn ask(&self, method: Method, service: &str, path: &str, body: Option<Json>) -> (u16, Json) {
        let patch = method == Method::PATCH && service == "image";
        let mut request = self.http.request(method, self.address(service, path));
        request = request.header("x-auth-token", &self.token).header("openstack-api-version", "compute 2.60");
        if let Some(body) = body {
            let kind =
                if patch { "application/openstack-images-v2.1-json-patch" } else { "application/json" };
            request = request.header("content-type", kind).body(body.to_string());
        }
        self.runtime.block_on(async {
            let answer = request.send().await.unwrap();
            let status = answer.status().as_u16();
            (status, answer.json().await.unwrap_or_default())
        })
    }

    /// Makes something; returns what was answered under `key`.
    #[track_caller]
    pub(crate) fn make(&self, service: &str, path: &str, key: &str, body: Json) -> Json {
        let (status, answer) = self.ask(Method::POST, service, path, Some(body));
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        if key.is_empty() { answer } else { answer[key].clone() }
    }

    /// A list.
    #[track_caller]
    pub(crate) fn list(&self, service: &str, path: &str, key: &str) -> Vec<Json> {
        let (status, answer) = self.ask(Method::GET, service, path, None);
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
}

/// A cloud of a clouds.yaml.
pub(crate) fn entry(clouds: &Path, cloud: &str) -> Yaml {
    let text = std::fs::read_to_string(clouds).unwrap();
    YamlLoader::load_from_str(&text).unwrap().remove(0)["clouds"][cloud].clone()
}
