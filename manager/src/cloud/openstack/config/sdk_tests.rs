//! The same files as openstacksdk reads them: the version in `setup/install`, run by its Python.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::*;

/// Where `setup/install test` puts it.
const PYTHON: &str = "/opt/image-manager/test/bin/python";

/// What openstacksdk makes of a folder's clouds.
fn resolved(folder: &Path) -> Value {
    let script = folder.parent().unwrap().join("resolve.py");
    let output = Command::new(PYTHON).arg(script).arg(folder).env("HOME", folder).output();
    let output = output.unwrap_or_else(|error| panic!("{PYTHON}: {error}: run `setup/install test`"));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openstacksdk cannot read {}: {words}", folder.display());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// By its id where there is one.
fn named(auth: &Value, id: &str, name: &str) -> Value {
    match (auth.get(id), auth.get(name)) {
        (Some(id), _) => json!({"id": id}),
        (None, Some(name)) => json!({"name": name}),
        (None, None) => Value::Null,
    }
}

/// What Keystone is sent of openstacksdk's answer: a domain only with a name.
fn expected(cloud: &Value) -> Value {
    let auth = &cloud["auth"];
    let user = named(auth, "user_id", "username");
    let project = named(auth, "project_id", "project_name");
    let with_domain = |what: &Value, id, name| match what.get("name") {
        Some(_) => named(auth, id, name),
        None => Value::Null,
    };
    json!({
        "auth_url": reqwest::Url::parse(auth["auth_url"].as_str().unwrap()).unwrap().as_str(),
        "user_domain": with_domain(&user, "user_domain_id", "user_domain_name"),
        "project_domain": with_domain(&project, "project_domain_id", "project_domain_name"),
        "user": user, "project": project, "password": auth["password"],
        "region": cloud["region"], "interface": cloud["interface"],
        "verify": cloud["verify"], "cacert": cloud["cacert"],
    })
}

fn ours(config: &CloudConfig) -> Value {
    let of = |named: &Named| match named {
        Named::Id(id) => json!({"id": id}),
        Named::Name(name) => json!({"name": name}),
    };
    let Credentials::Password { user, domain, password } = &config.credentials else { panic!("{config:?}") };
    let scope = config.scope.as_ref().unwrap();
    json!({
        "auth_url": config.auth_url.as_str(),
        "user": of(user), "user_domain": domain.as_ref().map(of),
        "project": of(&scope.project), "project_domain": scope.domain.as_ref().map(of),
        "password": password.expose_secret(),
        "region": config.region, "interface": config.interface, "verify": config.verify,
        "cacert": config.ca_certificate.as_ref().filter(|_| config.verify),
    })
}

#[test]
fn files_are_read_as_openstacksdk_reads_them() {
    let fixtures = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src/cloud/openstack/config/fixtures"));
    let folders = fs::read_dir(fixtures).unwrap().map(|entry| entry.unwrap().path());
    let (mut compared, mut wrong) = (0, Vec::new());
    for folder in folders.filter(|path| path.is_dir()) {
        let mut surroundings = Surroundings::new(&[], &folder);
        surroundings.home = Some(folder.clone());
        for (name, cloud) in resolved(&folder).as_object().unwrap() {
            compared += 1;
            let found = CloudConfig::load(name, &surroundings);
            let found = found.map_or_else(|error| json!(error.to_string()), |config| ours(&config));
            if found != expected(cloud) {
                wrong.push(format!(
                    "{}, {name}:\n  sdk  {}\n  ours {found}",
                    folder.display(),
                    expected(cloud)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared > 90, "{compared}");
}
