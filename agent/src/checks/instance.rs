//! What the cloud said of this server, as cloud-init has written it down, and when the boot has done its work.

use std::time::Duration;

use image_manager_proto::v1::ServerFacts;
use serde_json::Value as Json;
use tokio::time::Instant;

use super::cloud_config::CloudConfig;
use super::{boot, public_keys};
use crate::guest::Guest;

/// So long before a check's end it looks, though the boot is still under way.
const RESERVE: Duration = Duration::from_secs(45);

/// Readable by root alone; has the configuration, too.
const WHOLE: &str = "/run/cloud-init/instance-data-sensitive.json";
const PUBLIC: &str = "/run/cloud-init/instance-data.json";
/// Where the configuration is, by the versions of cloud-init: a file and the key in it.
const CONFIGURATION: [(&str, &str); 3] = [
    (WHOLE, "/merged_cfg"),
    (WHOLE, "/merged_system_cfg"),
    ("/run/cloud-init/combined-cloud-config.json", ""),
];

/// What the server was given beside its metadata: by the schedule, and by the cloud.
const GIVEN: [&str; 3] = ["user-data.txt", "cloud-config.txt", "vendor-cloud-config.txt"];

/// What the cloud said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Instance {
    /// Public keys of the server, each in base64.
    pub(super) keys: Vec<String>,
    /// Public keys in its user data and vendor data, for whomever.
    pub(super) given_keys: Vec<String>,
    /// Its host name. Empty: not known.
    pub(super) host_name: String,
    /// What its user data and vendor data ask for.
    pub(super) asked: CloudConfig,
    /// The name of the user that cloud-init makes. Empty: it makes none, or none is known.
    pub(super) default_user: String,
    /// cloud-init lets that user use sudo.
    pub(super) default_user_sudo: bool,
}

/// Waits until cloud-init has done its work, which makes users, keys and host names, and systemd all that is to be done at
/// its start: without cloud-init, that makes some of them. Whether they have.
pub(super) async fn settled(guest: &Guest, deadline: Instant) -> bool {
    boot::settled_until(guest, last_look(deadline)).await
}

/// When a check must begin to look, though the boot is still under way. One that has less time waits for most of it.
pub(super) fn last_look(deadline: Instant) -> Instant {
    let left = deadline.saturating_duration_since(Instant::now());
    deadline - if left > RESERVE { RESERVE } else { left / 4 }
}

/// What to say when something is amiss while the boot has not ended: a slow machine is no bad image.
pub(super) const UNSETTLED: &str =
    "the boot had not finished (cloud-init, or systemd's start): give the check a longer timeout";

impl Instance {
    /// As far as the guest's files tell it.
    pub(super) fn read(guest: &Guest) -> Self {
        let json =
            |path: &str| guest.read(path).ok().and_then(|text| serde_json::from_str::<Json>(&text).ok());
        let data = json(WHOLE).or_else(|| json(PUBLIC)).unwrap_or_default();
        let keys = data.pointer("/v1/public_ssh_keys").and_then(Json::as_array);
        let keys = keys.into_iter().flatten().filter_map(Json::as_str).filter_map(public_keys::key_of);
        let mut instance = Self {
            keys: keys.map(str::to_owned).collect(),
            given_keys: given_keys(guest),
            host_name: string(&data, "/v1/local_hostname"),
            asked: CloudConfig::read(guest),
            ..Self::default()
        };
        let configuration = CONFIGURATION.iter().find_map(|(path, key)| json(path)?.pointer(key).cloned());
        if configuration.as_ref().is_none_or(makes_default_user) {
            let configured =
                configuration.as_ref().and_then(|json| json.pointer("/system_info/default_user"));
            (instance.default_user, instance.default_user_sudo) = match configured {
                Some(user) => {
                    let none = [Json::Null, Json::Bool(false), Json::Array(Vec::new())];
                    (string(user, "/name"), user.get("sudo").is_some_and(|sudo| !none.contains(sudo)))
                }
                // Older versions keep that part to themselves.
                None => default_user(&guest.read("/etc/cloud/cloud.cfg").unwrap_or_default()),
            };
        }
        instance
    }

    /// The name of the default user, by the schedule's word or by cloud-init's. Empty: there is none.
    pub(super) fn default_user<'a>(&'a self, server: &'a ServerFacts) -> &'a str {
        if server.default_user.is_empty() { &self.default_user } else { &server.default_user }
    }

    /// The keys that the default user must have, each in base64.
    pub(super) fn default_user_keys<'a>(&'a self, server: &'a ServerFacts) -> Vec<&'a str> {
        let given = server.default_user_keys.iter().filter_map(|line| public_keys::key_of(line));
        let mut keys: Vec<&str> = given.chain(self.keys.iter().map(String::as_str)).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

/// Found in YAML by how they look: user data may be anything.
fn given_keys(guest: &Guest) -> Vec<String> {
    let read = |name: &&str| guest.read(format!("/var/lib/cloud/instance/{name}")).ok();
    let texts: Vec<String> = GIVEN.iter().filter_map(read).collect();
    let plain = texts.iter().map(|text| text.replace(['"', '\'', '[', ']', ','], " "));
    plain
        .flat_map(|text| public_keys::keys(&text).map(|(key, _)| key.to_owned()).collect::<Vec<_>>())
        .collect()
}

fn string(json: &Json, key: &str) -> String {
    json.pointer(key).and_then(Json::as_str).unwrap_or_default().to_owned()
}

/// It does unless `users` lists others alone.
fn makes_default_user(configuration: &Json) -> bool {
    let users = configuration.pointer("/users").and_then(Json::as_array);
    let is_default = |user: &Json| user.as_str() == Some("default") || string(user, "/name") == "default";
    users.is_none_or(|users| users.iter().any(is_default))
}

/// The default user's name as a distribution writes it, and whether sudo is given to it: what stands below
/// `default_user`, as far as it is indented more.
fn default_user(cloud_cfg: &str) -> (String, bool) {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut lines = cloud_cfg.lines().skip_while(|line| line.trim() != "default_user:");
    let least = lines.next().map_or(0, indent);
    let block: Vec<&str> = lines
        .filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
        .take_while(|line| indent(line) > least)
        .collect();
    let value =
        |key: &str| block.iter().find_map(|line| line.trim().strip_prefix(key)).unwrap_or_default().trim();
    let sudo = block.iter().any(|line| line.trim().starts_with("sudo:"));
    let none = ["false", "null", "~", "[]"].contains(&value("sudo:").to_ascii_lowercase().as_str());
    (value("name:").trim_matches(['"', '\'']).to_owned(), sudo && !none)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::cloud_init;
    use super::*;

    fn guest(files: &[(&str, String)]) -> (tempfile::TempDir, Guest) {
        let root = tempfile::tempdir().unwrap();
        let guest = Guest::below(root.path());
        for (path, text) in files {
            std::fs::create_dir_all(guest.path(path).parent().unwrap()).unwrap();
            std::fs::write(guest.path(path), text).unwrap();
        }
        (root, guest)
    }

    fn data(users: &Json) -> String {
        let default_user = json!({ "name": "debian", "sudo": ["ALL=(ALL) NOPASSWD:ALL"] });
        json!({
            "v1": { "local_hostname": "server-1", "public_ssh_keys": ["ssh-ed25519 AAAAx me"] },
            "merged_cfg": { "users": users, "system_info": { "default_user": default_user } },
        })
        .to_string()
    }

    #[test]
    fn what_cloud_init_wrote_is_read() {
        let given = "#cloud-config\nusers:\n- name: a\n  ssh_authorized_keys: ['ssh-rsa AAAAz', \"ssh-rsa AAAAw x\"]\n";
        let (_root, guest) = guest(&[
            (WHOLE, data(&json!(["default", { "name": "ops" }]))),
            ("/var/lib/cloud/instance/user-data.txt", given.to_owned()),
        ]);
        let seen = Instance::read(&guest);
        assert!(seen.given_keys.contains(&"AAAAz".to_owned()), "{seen:?}");
        assert_eq!((seen.host_name.as_str(), seen.default_user.as_str()), ("server-1", "debian"));
        assert!(seen.default_user_sudo);
        let server = ServerFacts {
            default_user_keys: vec!["ssh-rsa AAAAy you".to_owned(), "ssh-ed25519 AAAAx".to_owned()],
            ..ServerFacts::default()
        };
        assert_eq!(seen.default_user_keys(&server), ["AAAAx", "AAAAy"]);
        let named = ServerFacts { default_user: "admin".to_owned(), ..ServerFacts::default() };
        assert_eq!(seen.default_user(&named), "admin");
    }

    #[test]
    fn a_configuration_may_have_no_default_user() {
        let (_root, guest) = guest(&[(WHOLE, data(&json!([{ "name": "ops" }])))]);
        assert_eq!(Instance::read(&guest).default_user, "");
    }

    #[test]
    fn without_that_file_the_distributions_own_counts() {
        let text = "system_info:\n   distro: debian\n   # x\n   default_user:\n     # y\n     name: debian\n     \
                    sudo: [\"ALL=(ALL) NOPASSWD:ALL\"]\n   paths:\n     name: x\n";
        let read = |text: &str, users: &Json| {
            let merged = json!({ "merged_cfg": { "users": users } }).to_string();
            let (_root, guest) = guest(&[("/etc/cloud/cloud.cfg", text.to_owned()), (WHOLE, merged)]);
            let seen = Instance::read(&guest);
            (seen.default_user, seen.default_user_sudo)
        };
        let default = json!(["default"]);
        assert_eq!(read(text, &default), ("debian".to_owned(), true));
        assert_eq!(read(&text.replace("sudo: [", "groups: ["), &default), ("debian".to_owned(), false));
        let without = text.replace("sudo: [\"ALL=(ALL) NOPASSWD:ALL\"]", "sudo: false");
        assert!(!read(&without, &default).1);
        assert_eq!(read(text, &json!([{ "name": "ops" }])).0, "");
        let (_root, guest) = guest(&[("/etc/cloud/cloud.cfg", text.to_owned())]);
        assert_eq!(Instance::read(&guest).default_user, "debian");
        assert_eq!(Instance::read(&Guest::below("/nowhere")), Instance::default());
    }

    #[tokio::test]
    async fn cloud_init_is_waited_for_but_not_to_the_end() {
        let (_root, under_way) = guest(&[("/run/cloud-init/enabled", String::new())]);
        let deadline = Instant::now() + RESERVE + Duration::from_secs(1);
        assert!(!settled(&under_way, deadline).await);
        assert!(Instant::now() + RESERVE <= deadline);
        std::fs::write(under_way.path(cloud_init::RESULT), "{}").unwrap();
        assert!(settled(&under_way, deadline).await);
    }
}
