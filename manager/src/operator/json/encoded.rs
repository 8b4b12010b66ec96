//! Messages are written as JSON straight from their encoded form (<https://protobuf.dev/programming-guides/encoding/>): a
//! page of 500 builds is megabytes of JSON, and as a tree of values many times that.

use prost::Message as _;
use prost::encoding::{WireType, decode_key, decode_varint};
use serde::ser::{Error as _, SerializeMap as _};
use serde::{Serialize, Serializer};

use super::plans::{Field, Plan, Plans, Shape};

/// A message in its encoded form; it serializes as its JSON.
pub(super) struct Encoded<'a> {
    pub(super) plans: &'static Plans,
    pub(super) plan: &'static Plan,
    pub(super) bytes: &'a [u8],
}

/// A value as it is on the wire.
#[derive(Clone, Copy)]
enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// What a message has of a field.
struct Values<'a> {
    plans: &'static Plans,
    field: &'static Field,
    found: &'a [(u32, Wire<'a>)],
}

/// One value of a field; `None`: what its kind begins with.
struct Value<'a> {
    plans: &'static Plans,
    kind: &'static Shape,
    wire: Option<Wire<'a>>,
}

impl Serialize for Encoded<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.plan {
            Plan::Timestamp => {
                let time = prost_types::Timestamp::decode(self.bytes).map_err(S::Error::custom)?;
                serializer.serialize_str(&super::super::when::rfc3339(Some(&time)))
            }
            Plan::Duration => {
                let duration = prost_types::Duration::decode(self.bytes).map_err(S::Error::custom)?;
                serializer.serialize_str(&format!("{}s", crate::clock::seconds(&duration)))
            }
            Plan::Struct => {
                let fields = prost_types::Struct::decode(self.bytes).map_err(S::Error::custom)?;
                crate::history::observations::to_json(&fields).serialize(serializer)
            }
            Plan::Object(fields) => {
                let found =
                    values(self.bytes).ok_or_else(|| S::Error::custom("a message that ends too early"))?;
                let mut object = serializer.serialize_map(Some(fields.len()))?;
                for field in fields {
                    let of_field = Values { plans: self.plans, field, found: &found };
                    object.serialize_entry(&field.name, &of_field)?;
                }
                object.end()
            }
        }
    }
}

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (plans, kind) = (self.plans, &self.field.kind);
        let mut of_field = self.found.iter().filter(|(number, _)| *number == self.field.number);
        if self.field.repeated {
            let all = of_field.flat_map(|(_, value)| unpacked(kind, *value));
            return serializer.collect_seq(all.map(|value| Value { plans, kind, wire: Some(value) }));
        }
        let wire = of_field.next_back().map(|(_, value)| *value);
        if wire.is_none() && self.field.has_presence {
            return serializer.serialize_none();
        }
        Value { plans, kind, wire }.serialize(serializer)
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (number, bytes): (u64, &[u8]) = match self.wire {
            Some(Wire::Number(number)) => (number, &[]),
            Some(Wire::Bytes(bytes)) => (0, bytes),
            None => (0, &[]),
        };
        match self.kind {
            Shape::Bool => serializer.serialize_bool(number != 0),
            // Negative ones too have the 64 bits of an i64.
            Shape::Int32 | Shape::Int64 => serializer.serialize_i64(number.cast_signed()),
            Shape::Unsigned => serializer.serialize_u64(number),
            Shape::Double => serializer.serialize_f64(f64::from_bits(number)),
            Shape::Text => serializer.serialize_str(std::str::from_utf8(bytes).map_err(S::Error::custom)?),
            Shape::Enumeration(words) => {
                let word = words.iter().find(|(of, _)| i64::from(*of) == number.cast_signed());
                word.map(|(_, word)| word).serialize(serializer)
            }
            Shape::Message(place) => match self.plans.at(*place) {
                Some(plan) => Encoded { plans: self.plans, plan, bytes }.serialize(serializer),
                None => serializer.serialize_none(),
            },
            Shape::Other => serializer.serialize_none(),
        }
    }
}

/// The values of a message, in their order, with the numbers of their fields; `None` when it is not whole.
fn values(mut bytes: &[u8]) -> Option<Vec<(u32, Wire<'_>)>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (number, wire) = decode_key(&mut bytes).ok()?;
        let value = match wire {
            WireType::Varint => Wire::Number(decode_varint(&mut bytes).ok()?),
            WireType::SixtyFourBit => {
                let (bits, rest) = bytes.split_first_chunk()?;
                bytes = rest;
                Wire::Number(u64::from_le_bytes(*bits))
            }
            WireType::LengthDelimited => {
                let length = usize::try_from(decode_varint(&mut bytes).ok()?).ok()?;
                let (value, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                Wire::Bytes(value)
            }
            // The interface has none of them.
            WireType::ThirtyTwoBit | WireType::StartGroup | WireType::EndGroup => return None,
        };
        found.push((number, value));
    }
    Some(found)
}

/// Numbers of a repeated field are packed into one value.
fn unpacked<'a>(kind: &Shape, value: Wire<'a>) -> Vec<Wire<'a>> {
    let Wire::Bytes(mut bytes) = value else { return vec![value] };
    let mut numbers = Vec::new();
    match kind {
        Shape::Text | Shape::Message(_) | Shape::Other => return vec![value],
        Shape::Double => {
            let (all, _) = bytes.as_chunks();
            numbers.extend(all.iter().map(|bits| Wire::Number(u64::from_le_bytes(*bits))));
        }
        Shape::Bool | Shape::Int32 | Shape::Int64 | Shape::Unsigned | Shape::Enumeration(_) => {
            while let Ok(number) = decode_varint(&mut bytes) {
                numbers.push(Wire::Number(number));
            }
        }
    }
    numbers
}
