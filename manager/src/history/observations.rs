//! Observations between protobuf's `Struct` and JSON text.

use image_manager_proto::json;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use serde_json::Value as Json;

/// A `Struct` as a JSON object. It reaches terminals, so its texts have no escape sequences.
pub fn to_json(observations: &Struct) -> Json {
    json::from_struct(observations, |text| {
        text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
    })
}

/// A JSON object as a `Struct`; anything else gives an empty one.
pub fn from_json(json: &Json) -> Struct {
    match json {
        Json::Object(fields) => Struct {
            fields: fields.iter().map(|(key, value)| (key.clone(), value_from_json(value))).collect(),
        },
        _ => Struct::default(),
    }
}

fn value_from_json(json: &Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(*value),
        Json::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or_default()),
        Json::String(value) => Kind::StringValue(value.clone()),
        Json::Array(values) => {
            Kind::ListValue(ListValue { values: values.iter().map(value_from_json).collect() })
        }
        Json::Object(_) => Kind::StructValue(from_json(json)),
    };
    Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use image_manager_proto::json::DEPTH;

    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_left_out() {
        let seen = from_json(&serde_json::json!({ "a": ["\u{1b}[31mred\n\tback\u{7}"] }));
        assert_eq!(to_json(&seen), serde_json::json!({ "a": ["[31mred\n\tback"] }));
    }

    #[test]
    fn json_survives_the_way_through_a_struct() {
        let json = serde_json::json!({"free_bytes": 1_073_741_824, "ms": 1.5, "ok": true, "none": null,
            "servers": ["10.0.2.3"], "nested": {"a": [1, {"b": "c"}]}});
        assert_eq!(to_json(&from_json(&json)), json);
    }

    #[test]
    fn nesting_is_bounded() {
        let mut json = serde_json::json!(1);
        for _ in 0..100 {
            json = serde_json::json!({ "deeper": json });
        }
        assert!(to_json(&from_json(&json)).to_string().matches("deeper").count() <= DEPTH + 1);
    }
}
