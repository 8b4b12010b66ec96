//! Check `metadata`: what the cloud tells the server about itself can be read, and cloud-init has taken it.
//!
//! The agent reads the config drive or the metadata service once more by itself, and compares what it says with what
//! cloud-init has kept: the instance's id, the user data. What cloud-init never takes its server cannot have.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use image_manager_proto::v1::{CheckOutcome, ServerFacts};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::descriptor::{BadSettings, Check, Examination, Key, Observer, Set, ValueType};
use super::{Judgement, LONG_TIMEOUT, boot, pause, public_keys};
use crate::guest::Guest;
use crate::identity::{self, ServerIdentity};
use crate::text;

/// So long a bad look is repeated after cloud-init's end. The service may be slow.
const PATIENCE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Most SSH keys that are compared.
const MOST_KEYS: usize = 64;
const SERVICE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), 80);
/// The words of the key `source`.
const SOURCES: [&str; 3] = ["any", "config_drive", "service"];

/// The check.
pub static CHECK: Check = Check {
    kind: "metadata",
    proves: "the server's metadata can be read, and cloud-init has taken its instance id and user data from it",
    details: "The agent itself reads the config drive, or else the metadata service, and compares it with what \
              cloud-init stored. The instance id must be the one that the server has in its cloud. If neither is in \
              OpenStack's format, only what cloud-init stored can be checked.",
    set: Set::Cloud,
    observer: Observer::Agent,
    timeout: LONG_TIMEOUT,
    cost: "waits for cloud-init to finish",
    repeatable: false,
    keys: &[Key {
        name: "source",
        value: ValueType::Choice(&SOURCES),
        default: "\"any\"",
        help: "where cloud-init must have got the metadata from",
    }],
    examine: Some(|asked| Box::pin(examine(asked))),
};

/// Its keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where the metadata must be from. Empty: anywhere.
    pub source: String,
}

async fn examine(asked: Examination) -> Result<Judgement, BadSettings> {
    let settings = asked.settings()?;
    let seen = observe(&settings, &asked.guest, SERVICE, &asked.server, asked.deadline).await;
    Ok(judge(&settings, &asked.server, &seen))
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// cloud-init has come to its end.
    pub ended: bool,
    /// It has left word of the instance. None: it has not, or none that can be read.
    pub taken: Option<Taken>,
    /// Where the agent read the metadata itself: "the config drive". Empty: nowhere.
    pub origin: String,
    /// Why it could not.
    pub unreadable: String,
    /// The instance's id by the metadata.
    pub id: String,
    /// The SSH keys of the metadata, each "type data".
    pub keys: Vec<String>,
    /// The metadata has user data.
    pub has_user_data: bool,
    /// cloud-init kept the same user data.
    pub same_user_data: bool,
}

/// What cloud-init says that it has taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// The instance's id.
    pub id: String,
    /// Its name for the cloud: `configdrive`, `openstack`, ...
    pub cloud: String,
    /// Where the metadata came from: `config-disk (/dev/vdb)`, `metadata (http://169.254.169.254)`.
    pub source: String,
    /// SSH keys, each "type data".
    pub keys: Vec<String>,
    /// It has gone through the user data, be there any or none.
    pub user_data_used: bool,
    /// Its configuration tells it to leave user data alone.
    pub user_data_forbidden: bool,
}

/// Looks after cloud-init's end until all is well or the time is up.
pub async fn observe(
    settings: &Settings,
    guest: &Guest,
    service: SocketAddr,
    server: &ServerFacts,
    deadline: Instant,
) -> Observation {
    let ended = boot::cloud_init_ended(guest, boot::before(deadline)).await;
    let latest = boot::before(deadline).min(Instant::now() + PATIENCE);
    let mut wait = FIRST_PAUSE;
    loop {
        let seen = Observation { ended, taken: taken(guest), ..look(guest, service).await };
        let good = judge(settings, server, &seen).outcome == CheckOutcome::Pass;
        if good || !pause(&mut wait, 2 * FIRST_PAUSE, latest).await {
            return seen;
        }
    }
}

async fn look(guest: &Guest, service: SocketAddr) -> Observation {
    let mut seen = Observation::default();
    match identity::told(guest, service).await {
        Ok(ServerIdentity { origin, meta_data, user_data }) => {
            origin.clone_into(&mut seen.origin);
            let parsed: Json = serde_json::from_str(&meta_data).unwrap_or_default();
            seen.id = text_of(&parsed, "/uuid");
            seen.keys = keys(parsed.get("public_keys"));
            seen.has_user_data = !user_data.trim().is_empty();
            let kept = guest.read("/var/lib/cloud/instance/user-data.txt").unwrap_or_default();
            seen.same_user_data = user_data.trim() == kept.trim();
        }
        Err(why) => seen.unreadable = why,
    }
    seen
}

/// The server's public keys by its metadata, each in base64: those that the cloud wants to be let in.
pub(super) async fn public_keys(guest: &Guest) -> Vec<String> {
    let told = identity::told(guest, SERVICE).await.map(|told| told.meta_data).unwrap_or_default();
    keys_told(&told)
}

fn keys_told(meta_data: &str) -> Vec<String> {
    let parsed: Json = serde_json::from_str(meta_data).unwrap_or_default();
    let keys = keys(parsed.get("public_keys"));
    keys.iter().filter_map(|line| public_keys::key_of(line)).map(str::to_owned).collect()
}

/// What cloud-init has left behind of what it took.
fn taken(guest: &Guest) -> Option<Taken> {
    // Only root reads the one with all of it; an older cloud-init has the other one only.
    let text = guest
        .read("/run/cloud-init/instance-data-sensitive.json")
        .or_else(|_| guest.read("/run/cloud-init/instance-data.json"))
        .ok()?;
    let data: Json = serde_json::from_str(&text).ok()?;
    let forbidden = ["/merged_system_cfg/allow_userdata", "/merged_cfg/allow_userdata"]
        .iter()
        .find_map(|at| data.pointer(at));
    Some(Taken {
        id: text_of(&data, "/v1/instance_id"),
        cloud: text_of(&data, "/v1/cloud_id"),
        source: text_of(&data, "/v1/subplatform"),
        keys: keys(data.pointer("/v1/public_ssh_keys")),
        user_data_used: guest.has("/var/lib/cloud/instance/cloud-config.txt"),
        user_data_forbidden: forbidden.and_then(Json::as_bool) == Some(false),
    })
}

/// SSH keys without their comments, of a list or of an object that names them.
fn keys(json: Option<&Json>) -> Vec<String> {
    let texts: Vec<&str> = match json {
        Some(Json::Array(all)) => all.iter().filter_map(Json::as_str).collect(),
        Some(Json::Object(all)) => all.values().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    };
    let keys = texts.iter().flat_map(|text| text.lines()).filter(|line| !line.trim().is_empty());
    keys.map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")).take(MOST_KEYS).collect()
}

fn text_of(json: &Json, at: &str) -> String {
    json.pointer(at).and_then(Json::as_str).map(text::one_line).unwrap_or_default()
}

/// What an observation means.
pub fn judge(settings: &Settings, server: &ServerFacts, seen: &Observation) -> Judgement {
    let (outcome, summary) = verdict(settings, server, seen);
    Judgement::new(outcome, summary, &as_json(seen))
}

fn verdict(settings: &Settings, server: &ServerFacts, seen: &Observation) -> (CheckOutcome, String) {
    use CheckOutcome::{Fail, Inconclusive, Pass, Skipped};
    let Some(taken) = &seen.taken else {
        return match (seen.ended, seen.origin.as_str()) {
            (true, "") => {
                (Inconclusive, format!("the server has no readable metadata ({})", seen.unreadable))
            }
            (true, origin) => {
                (Fail, format!("{origin} can be read, but cloud-init has taken nothing from it"))
            }
            (false, _) => (Inconclusive, "cloud-init has not finished".to_owned()),
        };
    };
    if taken.id.is_empty() {
        return (Skipped, "cloud-init does not say which instance this is".to_owned());
    }
    let expected = if server.id.is_empty() { &seen.id } else { &server.id };
    if !expected.is_empty() && !expected.eq_ignore_ascii_case(&taken.id) {
        let who = if server.id.is_empty() { seen.origin.as_str() } else { "the cloud" };
        return (Fail, format!("cloud-init has the instance id {}, but {who} says {expected}", taken.id));
    }
    let wanted = match settings.source.as_str() {
        "config_drive" => "config-disk",
        "service" => "metadata",
        _ => "",
    };
    if !taken.source.starts_with(wanted) {
        let from = text::or(&taken.source, "an unknown source");
        return (Fail, format!("cloud-init got its metadata from {from}, not from {}", settings.source));
    }
    if let Some(lost) = seen.keys.iter().find(|key| !taken.keys.contains(key)) {
        return (
            Fail,
            format!("cloud-init did not take the SSH key {} from {}", text::bounded(lost, 60), seen.origin),
        );
    }
    if taken.user_data_forbidden {
        let why = "its configuration says allow_userdata: false";
        return (Fail, format!("cloud-init ignores user data: {why}"));
    }
    if !taken.user_data_used {
        return (Fail, "cloud-init has not processed the user data".to_owned());
    }
    if seen.has_user_data && !seen.same_user_data {
        return (Fail, format!("cloud-init's user data is not what {} gives", seen.origin));
    }
    let user_data = if seen.has_user_data { " and the user data" } else { "" };
    let source = text::or(&taken.source, &taken.cloud);
    (Pass, format!("cloud-init took instance id {}{user_data} from {source}", taken.id))
}

fn as_json(seen: &Observation) -> Json {
    json!({
        "cloud_init_ended": seen.ended,
        "taken": seen.taken.as_ref().map(|taken| json!({
            "instance_id": taken.id,
            "cloud": taken.cloud,
            "source": taken.source,
            "user_data_used": taken.user_data_used,
            "user_data_forbidden": taken.user_data_forbidden,
        })),
        "origin": seen.origin,
        "unreadable": seen.unreadable,
        "instance_id": seen.id,
        "keys": seen.keys.len(),
        "has_user_data": seen.has_user_data,
        "same_user_data": seen.same_user_data,
    })
}

#[cfg(test)]
mod tests;
