//! How the messages of the interface are written as JSON, by their descriptors: found out once.

use std::collections::HashMap;
use std::sync::OnceLock;

use prost_reflect::{Cardinality, DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};

use super::pool;

/// Of all messages.
pub(super) struct Plans {
    all: Vec<Plan>,
    by_name: HashMap<String, usize>,
}

/// Of one message.
pub(super) enum Plan {
    /// An object of these fields, by name.
    Object(Vec<Field>),
    /// `google.protobuf.Timestamp`.
    Timestamp,
    /// `google.protobuf.Duration`.
    Duration,
    /// `google.protobuf.Struct`.
    Struct,
}

/// Of one field.
pub(super) struct Field {
    pub(super) name: String,
    pub(super) number: u32,
    pub(super) repeated: bool,
    /// Whether it is null when it is not there; else it is what its kind begins with.
    pub(super) has_presence: bool,
    pub(super) kind: Shape,
}

/// What a value is on the wire, and becomes.
pub(super) enum Shape {
    Bool,
    Int32,
    Int64,
    Unsigned,
    Double,
    Text,
    /// The words by their numbers; the unspecified one is not among them.
    Enumeration(Vec<(i32, String)>),
    /// Its place among the plans.
    Message(usize),
    /// Nothing that is told is of another kind, as a test has it.
    Other,
}

impl Plans {
    /// Those of the interface; `None` when its descriptors cannot be read.
    pub(super) fn get() -> Option<&'static Self> {
        static PLANS: OnceLock<Option<Plans>> = OnceLock::new();
        PLANS.get_or_init(|| pool().map(Self::of)).as_ref()
    }

    fn of(pool: &DescriptorPool) -> Self {
        let messages: Vec<MessageDescriptor> = pool.all_messages().collect();
        let by_name: HashMap<String, usize> = messages
            .iter()
            .enumerate()
            .map(|(place, message)| (message.full_name().to_owned(), place))
            .collect();
        let all = messages.iter().map(|message| plan(message, &by_name)).collect();
        Self { all, by_name }
    }

    /// That of a message by its whole name.
    pub(super) fn named(&self, name: &str) -> Option<&Plan> {
        self.at(*self.by_name.get(name)?)
    }

    /// That at a place.
    pub(super) fn at(&self, place: usize) -> Option<&Plan> {
        self.all.get(place)
    }
}

fn plan(message: &MessageDescriptor, places: &HashMap<String, usize>) -> Plan {
    match message.full_name() {
        "google.protobuf.Timestamp" => Plan::Timestamp,
        "google.protobuf.Duration" => Plan::Duration,
        "google.protobuf.Struct" => Plan::Struct,
        _ => {
            let mut fields: Vec<Field> = message.fields().map(|field| planned(&field, places)).collect();
            fields.sort_by(|one, other| one.name.cmp(&other.name));
            Plan::Object(fields)
        }
    }
}

fn planned(field: &FieldDescriptor, places: &HashMap<String, usize>) -> Field {
    let kind = match field.kind() {
        Kind::Bool => Shape::Bool,
        Kind::Int32 => Shape::Int32,
        Kind::Int64 => Shape::Int64,
        Kind::Uint32 | Kind::Uint64 => Shape::Unsigned,
        Kind::Double => Shape::Double,
        Kind::String => Shape::Text,
        Kind::Enum(descriptor) => {
            let values = descriptor.values().filter(|value| value.number() != 0);
            Shape::Enumeration(
                values.map(|value| (value.number(), super::word(&descriptor, value.name()))).collect(),
            )
        }
        Kind::Message(message) if !field.is_map() => {
            places.get(message.full_name()).map_or(Shape::Other, |place| Shape::Message(*place))
        }
        _ => Shape::Other,
    };
    Field {
        name: field.name().to_owned(),
        number: field.number(),
        repeated: field.cardinality() == Cardinality::Repeated,
        has_presence: field.supports_presence(),
        kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_told_can_be_written() {
        let told = |message: &MessageDescriptor| message.parent_file().name().ends_with("control.proto");
        for message in pool().unwrap().all_messages().filter(told) {
            let Some(Plan::Object(fields)) = Plans::get().unwrap().named(message.full_name()) else {
                panic!("{} is no object", message.full_name())
            };
            for field in fields {
                assert!(!matches!(field.kind, Shape::Other), "{}.{}", message.full_name(), field.name);
            }
        }
    }
}
