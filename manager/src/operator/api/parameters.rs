//! The request of an RPC from a query: each field is a parameter of its name.

use prost::Message;
use prost_reflect::{DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, Value};
use tonic::Status;

use super::Endpoint;
use crate::operator::json::{pool, word};
use crate::operator::when;

/// Longest value of a parameter in bytes.
const LONGEST: usize = 1024;

/// Reads a request; `in_path` is the value of the field that stands in the path.
pub(super) fn read<T: Message + Default>(
    endpoint: &Endpoint,
    in_path: Option<&str>,
    given: &[(String, String)],
) -> Result<T, Status> {
    let descriptor = descriptor(endpoint.request).ok_or_else(|| Status::internal("an unknown request"))?;
    let mut message = DynamicMessage::new(descriptor.clone());
    if let (Some(name), Some(value)) = (endpoint.in_path, in_path)
        && let Some(field) = descriptor.get_field_by_name(name)
    {
        message.set_field(&field, Value::String(value.to_owned()));
    }
    let mut seen = Vec::new();
    for (name, value) in given {
        let known = descriptor.get_field_by_name(name).filter(|_| endpoint.in_path != Some(name));
        let Some(field) = known else { return Err(unknown(endpoint, &descriptor, name)) };
        if value.len() > LONGEST {
            return Err(Status::invalid_argument(format!("{name} has more than {LONGEST} bytes")));
        }
        if seen.contains(&field.number()) {
            return Err(Status::invalid_argument(format!("{name} is given twice")));
        }
        seen.push(field.number());
        if !value.is_empty() {
            message.set_field(&field, value_of(&field, value)?);
        }
    }
    let missing = |name: &&&str| {
        endpoint.in_path != Some(**name)
            && !given.iter().any(|(given, value)| given == **name && !value.is_empty())
    };
    if let Some(name) = endpoint.required.iter().find(missing) {
        return Err(Status::invalid_argument(format!("{} needs the parameter {name}", endpoint.path)));
    }
    message.transcode_to().map_err(|error| Status::internal(error.to_string()))
}

/// A message of the interface by its name.
pub(super) fn descriptor(name: &str) -> Option<MessageDescriptor> {
    pool()?.get_message_by_name(&format!("image_manager.v1.{name}"))
}

fn unknown(endpoint: &Endpoint, descriptor: &MessageDescriptor, name: &str) -> Status {
    let fields = descriptor.fields().filter(|field| endpoint.in_path != Some(field.name()));
    let known: Vec<String> = fields.map(|field| field.name().to_owned()).collect();
    let known =
        if known.is_empty() { "it takes none".to_owned() } else { format!("it takes {}", known.join(", ")) };
    Status::invalid_argument(format!("{} has no parameter {name:?}: {known}", endpoint.path))
}

fn value_of(field: &FieldDescriptor, text: &str) -> Result<Value, Status> {
    let name = field.name();
    let wrong = |expected: &str| Status::invalid_argument(format!("{name}={text}: expected {expected}"));
    match field.kind() {
        Kind::String => Ok(Value::String(text.to_owned())),
        Kind::Bool => text.parse().map(Value::Bool).map_err(|_| wrong("true or false")),
        Kind::Uint32 => text.parse().map(Value::U32).map_err(|_| wrong("a number from 0 to 4294967295")),
        Kind::Enum(descriptor) => {
            let words = words(&descriptor);
            let found = words.iter().find(|(word, _)| word == text);
            let all = || words.iter().map(|(word, _)| word.as_str()).collect::<Vec<_>>().join(", ");
            found
                .map(|(_, number)| Value::EnumNumber(*number))
                .ok_or_else(|| wrong(&format!("one of {}", all())))
        }
        Kind::Message(message) if message.full_name() == "google.protobuf.Timestamp" => {
            let at = when::parse_time(text, name).map_err(Status::invalid_argument)?;
            let mut time = DynamicMessage::new(message);
            time.transcode_from(&crate::clock::timestamp(at))
                .map_err(|error| Status::internal(error.to_string()))?;
            Ok(Value::Message(time))
        }
        _ => Err(Status::internal(format!("{name} cannot be given in a query"))),
    }
}

/// The words of an enumeration with their numbers, without "unspecified".
pub(super) fn words(descriptor: &EnumDescriptor) -> Vec<(String, i32)> {
    let values = descriptor.values().filter(|value| value.number() != 0);
    values.map(|value| (word(descriptor, value.name()), value.number())).collect()
}

#[cfg(test)]
mod tests {
    use image_manager_proto::v1;

    use super::super::{GET_BUILD, LIST_BUILDS};
    use super::*;

    fn given(query: &[(&str, &str)]) -> Vec<(String, String)> {
        query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_query_is_the_request() {
        let query = [
            ("schedule", "debian"),
            ("state", "cleaning_up"),
            ("page_size", "7"),
            ("since", "2026-11-01"),
            ("page_token", ""),
        ];
        let read: v1::ListBuildsRequest = super::read(&LIST_BUILDS, None, &given(&query)).unwrap();
        assert_eq!((read.schedule.as_str(), read.page_size), ("debian", 7));
        assert_eq!(read.state(), v1::BuildState::CleaningUp);
        assert_eq!(read.since.unwrap().seconds, 1_793_491_200);
        let one: v1::GetBuildRequest = super::read(&GET_BUILD, Some("latest"), &[]).unwrap();
        assert_eq!(one.id, "latest");
    }

    #[test]
    fn what_is_wrong_says_what_would_be_right() {
        for (query, said) in [
            (&[("schedul", "x")][..], "it takes schedule, state, since, page_size, page_token"),
            (&[("state", "done")], "state=done: expected one of queued, building"),
            (&[("page_size", "-1")], "page_size=-1: expected a number from 0"),
            (&[("since", "yesterday")], "since yesterday: expected an age such as 7d"),
            (&[("schedule", "a"), ("schedule", "b")], "schedule is given twice"),
        ] {
            let status = read::<v1::ListBuildsRequest>(&LIST_BUILDS, None, &given(query)).unwrap_err();
            assert!(status.message().contains(said), "{query:?}: {}", status.message());
        }
        let status = read::<v1::GetBuildRequest>(&GET_BUILD, Some("x"), &given(&[("id", "y")])).unwrap_err();
        assert!(status.message().ends_with("it takes none"), "{}", status.message());
    }
}
