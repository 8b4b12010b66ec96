//! Messages of the interface as JSON: the same keys as in the .proto files, enumeration values in lower case
//! without their prefix, times in RFC 3339, durations as protobuf has them ("1.5s"), sizes as numbers.
//!
//! It goes by the message's descriptor, so that no field can be forgotten.

mod encoded;
mod plans;

use std::sync::OnceLock;

use prost::Message;
use prost_reflect::{DescriptorPool, EnumDescriptor};
use serde::{Serialize, Serializer};

use image_manager_proto::v1;

use self::encoded::Encoded;
use self::plans::{Plan, Plans};
use crate::untrusted::json::pretty;

pub(super) fn pool() -> Option<&'static DescriptorPool> {
    static POOL: OnceLock<Option<DescriptorPool>> = OnceLock::new();
    POOL.get_or_init(|| DescriptorPool::decode(image_manager_proto::FILE_DESCRIPTOR_SET).ok()).as_ref()
}

/// A message of the interface, which serializes as its JSON.
pub(crate) struct Shown {
    of: Option<(&'static Plans, &'static Plan)>,
    bytes: Vec<u8>,
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.of {
            Some((plans, plan)) => Encoded { plans, plan, bytes: &self.bytes }.serialize(serializer),
            None => serializer.serialize_none(),
        }
    }
}

/// A build as a JSON object, pretty, with a line end.
pub(crate) fn one(build: &v1::Build) -> String {
    message("Build", build)
}

/// Any message of the interface by its name, pretty, with a line end.
pub(crate) fn message(name: &str, message: &impl Message) -> String {
    pretty(&shown(name, message))
}

/// Builds as a JSON list, pretty, with a line end.
pub(crate) fn list(builds: &[v1::Build]) -> String {
    messages("Build", builds)
}

/// Messages of one kind as a JSON list, pretty, with a line end.
pub(crate) fn messages(name: &str, messages: &[impl Message]) -> String {
    pretty(&listed(name, messages))
}

/// Messages of one kind, which serialize as a JSON list.
pub(crate) fn listed(name: &str, messages: &[impl Message]) -> Vec<Shown> {
    messages.iter().map(|message| shown(name, message)).collect()
}

/// A message of the interface by its name.
pub(crate) fn shown(name: &str, message: &impl Message) -> Shown {
    let plans = Plans::get();
    let of = plans.and_then(|plans| Some((plans, plans.named(&format!("image_manager.v1.{name}"))?)));
    Shown { of, bytes: message.encode_to_vec() }
}

/// The name of an enumeration's value in lower case, without the prefix that all of them have.
pub(super) fn word(descriptor: &EnumDescriptor, name: &str) -> String {
    let unspecified = descriptor.get_value(0).map(|zero| zero.name().to_owned()).unwrap_or_default();
    let prefix = unspecified.strip_suffix("UNSPECIFIED").unwrap_or_default();
    name.strip_prefix(prefix).unwrap_or(name).to_lowercase()
}

#[cfg(test)]
mod tests {
    use prost_reflect::Kind;
    use serde_json::Value as Json;

    use super::*;

    #[test]
    fn keys_and_values_are_those_of_the_contract() {
        let build = v1::Build {
            id: "0193".into(),
            state: v1::BuildState::CleaningUp.into(),
            verdict: v1::Verdict::Passed.into(),
            created_at: Some(prost_types::Timestamp { seconds: 0, nanos: 5_000_000 }),
            checks: vec![v1::Check {
                name: "disk".into(),
                outcome: v1::CheckOutcome::Pass.into(),
                duration: Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 }),
                observations: Some(crate::history::observations::from_json(
                    &serde_json::json!({"free_bytes": 12}),
                )),
                ..v1::Check::default()
            }],
            image: Some(v1::Image { size_bytes: 7, ..v1::Image::default() }),
            ..v1::Build::default()
        };
        let json: Json = serde_json::from_str(&one(&build)).unwrap();
        assert_eq!(json["state"], "cleaning_up");
        assert_eq!(json["verdict"], "passed");
        assert_eq!(json["created_at"], "1970-01-01T00:00:00.005Z");
        assert_eq!(json["finished_at"], Json::Null);
        assert_eq!(json["checks"][0]["outcome"], "pass");
        assert_eq!(json["checks"][0]["duration"], "1.5s");
        assert_eq!(json["checks"][0]["observations"]["free_bytes"], 12);
        assert_eq!(json["checks"][0]["required"], false);
        assert_eq!(json["image"]["size_bytes"], 7);
        assert_eq!(json["trigger"], Json::Null);
        let contract = [
            "id",
            "schedule",
            "cloud",
            "state",
            "verdict",
            "reason",
            "trigger",
            "created_at",
            "started_at",
            "finished_at",
            "stages",
            "checks",
            "image",
            "server",
            "agent",
            "failure",
        ];
        for key in contract {
            assert!(json.get(key).is_some(), "{key} is missing");
        }
    }

    /// What is printed is documented: each key of each message that `--format json` can print.
    #[test]
    fn every_key_is_in_the_documentation() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/json.md");
        let text = std::fs::read_to_string(path).unwrap();
        let printed = [
            "Build",
            "GetReportResponse",
            "CompareBuildsResponse",
            "ListSchedulesResponse",
            "Publication",
            "Token",
        ];
        let mut names: Vec<_> = printed.iter().map(|name| format!("image_manager.v1.{name}")).collect();
        let mut seen = Vec::new();
        while let Some(name) = names.pop() {
            if seen.contains(&name) || name.starts_with("google.protobuf.") {
                continue;
            }
            for field in pool().unwrap().get_message_by_name(&name).unwrap().fields() {
                assert!(
                    text.contains(&format!("`{}`", field.name())),
                    "docs/json.md lacks {} of {name}",
                    field.name()
                );
                if let Kind::Message(message) = field.kind() {
                    names.push(message.full_name().to_owned());
                }
            }
            seen.push(name);
        }
        assert!(seen.len() > 10);
    }
}
