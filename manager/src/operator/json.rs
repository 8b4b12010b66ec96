//! Messages of the interface as JSON: the same keys as in the .proto files, enumeration values in lower case
//! without their prefix, times in RFC 3339, durations as protobuf has them ("1.5s"), sizes as numbers.
//!
//! It walks the message by its descriptor, so that no field can be forgotten.

use std::sync::OnceLock;

use prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, ReflectMessage as _, Value,
};
use serde_json::{Map, Value as Json};

use image_manager_proto::v1;

use crate::untrusted::json::pretty;

pub(super) fn pool() -> Option<&'static DescriptorPool> {
    static POOL: OnceLock<Option<DescriptorPool>> = OnceLock::new();
    POOL.get_or_init(|| DescriptorPool::decode(image_manager_proto::FILE_DESCRIPTOR_SET).ok()).as_ref()
}

/// A build as a JSON object, pretty, with a line end.
pub(crate) fn one(build: &v1::Build) -> String {
    pretty(&build_value(build))
}

/// Any message of the interface by its name, pretty, with a line end.
pub(crate) fn message(name: &str, message: &impl Message) -> String {
    pretty(&value(name, message))
}

/// Builds as a JSON list, pretty, with a line end.
pub(crate) fn list(builds: &[v1::Build]) -> String {
    pretty(&Json::Array(builds.iter().map(build_value).collect()))
}

/// Messages of one kind as a JSON list, pretty, with a line end.
pub(crate) fn messages(name: &str, messages: &[impl Message]) -> String {
    pretty(&listed(name, messages))
}

/// Messages of one kind as a JSON list.
pub(crate) fn listed(name: &str, messages: &[impl Message]) -> Json {
    Json::Array(messages.iter().map(|message| value(name, message)).collect())
}

/// An object of these members, pretty, with a line end.
pub(crate) fn object<const N: usize>(members: [(&str, Json); N]) -> String {
    pretty(&Json::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()))
}

fn build_value(build: &v1::Build) -> Json {
    value("Build", build)
}

pub(super) fn value(name: &str, message: &impl Message) -> Json {
    let descriptor = pool().and_then(|pool| pool.get_message_by_name(&format!("image_manager.v1.{name}")));
    let message = descriptor
        .and_then(|descriptor| DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).ok());
    message.map_or(Json::Null, |message| message_value(&message))
}

fn message_value(message: &DynamicMessage) -> Json {
    let descriptor = message.descriptor();
    match descriptor.full_name() {
        "google.protobuf.Timestamp" => known(message, timestamp),
        "google.protobuf.Duration" => known(message, duration),
        "google.protobuf.Struct" => {
            known(message, |s: &prost_types::Struct| crate::history::observations::to_json(s))
        }
        _ => {
            let fields =
                descriptor.fields().map(|field| (field.name().to_owned(), field_value(message, &field)));
            Json::Object(fields.collect::<Map<_, _>>())
        }
    }
}

/// Reads a message of a type that protobuf itself defines.
fn known<T: Message + Default>(message: &DynamicMessage, print: impl Fn(&T) -> Json) -> Json {
    message.transcode_to::<T>().map_or(Json::Null, |value| print(&value))
}

fn timestamp(time: &prost_types::Timestamp) -> Json {
    Json::String(super::when::rfc3339(Some(time)))
}

fn duration(duration: &prost_types::Duration) -> Json {
    let seconds = crate::clock::seconds(duration);
    Json::String(format!("{seconds}s"))
}

fn field_value(message: &DynamicMessage, field: &FieldDescriptor) -> Json {
    if field.supports_presence() && !message.has_field(field) {
        return Json::Null;
    }
    let value = message.get_field(field);
    match (value.as_ref(), field.kind()) {
        (Value::List(values), kind) => Json::Array(values.iter().map(|value| scalar(value, &kind)).collect()),
        (value, kind) => scalar(value, &kind),
    }
}

fn scalar(value: &Value, kind: &Kind) -> Json {
    match value {
        Value::Bool(value) => Json::Bool(*value),
        Value::I32(value) => Json::from(*value),
        Value::I64(value) => Json::from(*value),
        Value::U32(value) => Json::from(*value),
        Value::U64(value) => Json::from(*value),
        Value::F64(value) => Json::from(*value),
        Value::F32(value) => Json::from(*value),
        Value::String(value) => Json::String(value.clone()),
        Value::EnumNumber(number) => match kind {
            Kind::Enum(descriptor) => enumeration(descriptor, *number),
            _ => Json::Null,
        },
        Value::Message(message) => message_value(message),
        Value::Bytes(_) | Value::List(_) | Value::Map(_) => Json::Null,
    }
}

/// `BUILD_STATE_CLEANING_UP` becomes "cleaning_up"; an unspecified value is null.
fn enumeration(descriptor: &EnumDescriptor, number: i32) -> Json {
    let Some(value) = descriptor.get_value(number) else { return Json::Null };
    if number == 0 {
        return Json::Null;
    }
    Json::String(word(descriptor, value.name()))
}

/// The name of an enumeration's value in lower case, without the prefix that all of them have.
pub(super) fn word(descriptor: &EnumDescriptor, name: &str) -> String {
    let unspecified = descriptor.get_value(0).map(|zero| zero.name().to_owned()).unwrap_or_default();
    let prefix = unspecified.strip_suffix("UNSPECIFIED").unwrap_or_default();
    name.strip_prefix(prefix).unwrap_or(name).to_lowercase()
}

#[cfg(test)]
mod tests {
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
