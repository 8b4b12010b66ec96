//! Observations between protobuf's `Struct` and JSON text.

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use serde_json::Value as Json;

/// Deepest nesting that is kept; what lies below becomes null. Bounds what a hostile agent can send.
const DEPTH: usize = 8;

/// A `Struct` as a JSON object.
pub fn to_json(observations: &Struct) -> Json {
    struct_to_json(observations, DEPTH)
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

fn struct_to_json(value: &Struct, depth: usize) -> Json {
    Json::Object(value.fields.iter().map(|(key, value)| (key.clone(), value_to_json(value, depth))).collect())
}

fn value_to_json(value: &Value, depth: usize) -> Json {
    let Some(depth) = depth.checked_sub(1) else { return Json::Null };
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(value)) => Json::Bool(*value),
        // They reach terminals: no escape sequences.
        Some(Kind::StringValue(value)) => {
            Json::String(value.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect())
        }
        Some(Kind::NumberValue(value)) => number(*value),
        Some(Kind::StructValue(value)) => struct_to_json(value, depth),
        Some(Kind::ListValue(ListValue { values })) => {
            Json::Array(values.iter().map(|value| value_to_json(value, depth)).collect())
        }
    }
}

/// Whole numbers without a decimal point, as people expect of byte counts.
fn number(value: f64) -> Json {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() < EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
        return Json::from(value as i64);
    }
    serde_json::Number::from_f64(value).map_or(Json::Null, Json::Number)
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
    use super::*;

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
