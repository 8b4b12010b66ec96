//! The JSON form of protobuf's `Struct`.

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use serde_json::Value as Json;

/// Deepest nesting that is kept, in either direction; what lies below becomes null. Bounds what others can send.
pub const DEPTH: usize = 8;

/// A `Struct` as a JSON object, each of its texts as `text` has it. Whole numbers have no decimal point, as people expect of
/// byte counts.
pub fn from_struct(object: &Struct, text: impl Fn(&str) -> String) -> Json {
    fields(object, &text, DEPTH)
}

fn fields(object: &Struct, text: &dyn Fn(&str) -> String, depth: usize) -> Json {
    object.fields.iter().map(|(key, inner)| (key.clone(), value(inner, text, depth))).collect()
}

fn value(of: &Value, text: &dyn Fn(&str) -> String, depth: usize) -> Json {
    let Some(depth) = depth.checked_sub(1) else { return Json::Null };
    match &of.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(yes)) => Json::Bool(*yes),
        Some(Kind::StringValue(said)) => Json::String(text(said)),
        Some(Kind::NumberValue(number)) => whole(*number),
        Some(Kind::ListValue(ListValue { values })) => {
            values.iter().map(|inner| value(inner, text, depth)).collect()
        }
        Some(Kind::StructValue(inner)) => fields(inner, text, depth),
    }
}

fn whole(number: f64) -> Json {
    // From here on not every whole number is one of these.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
        return Json::from(number as i64);
    }
    Json::from(number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(kind: Kind) -> Value {
        Value { kind: Some(kind) }
    }

    fn object(fields: Vec<(&str, Kind)>) -> Struct {
        Struct { fields: fields.into_iter().map(|(key, kind)| (key.to_owned(), of(kind))).collect() }
    }

    #[test]
    fn numbers_are_whole_where_they_can_be() {
        let numbers = object(vec![
            ("bytes", Kind::NumberValue(1_073_741_824.0)),
            ("seconds", Kind::NumberValue(1.5)),
            ("below", Kind::NumberValue(-3.0)),
            ("huge", Kind::NumberValue(1e300)),
            ("none", Kind::NumberValue(f64::NAN)),
        ]);
        let expected =
            json!({ "bytes": 1_073_741_824, "seconds": 1.5, "below": -3, "huge": 1e300, "none": null });
        assert_eq!(from_struct(&numbers, str::to_owned), expected);
    }

    #[test]
    fn texts_are_as_the_caller_has_them_however_deep() {
        let list = ListValue { values: vec![of(Kind::StringValue("b".to_owned()))] };
        let inner = object(vec![("list", Kind::ListValue(list))]);
        let said =
            object(vec![("a", Kind::StringValue("a".to_owned())), ("inner", Kind::StructValue(inner))]);
        assert_eq!(from_struct(&said, str::to_uppercase), json!({ "a": "A", "inner": { "list": ["B"] } }));
    }

    #[test]
    fn nesting_ends() {
        let mut deep = object(vec![("x", Kind::BoolValue(true))]);
        for _ in 0..100 {
            deep = object(vec![("x", Kind::StructValue(deep))]);
        }
        let text = from_struct(&deep, str::to_owned).to_string();
        assert_eq!(text.matches('x').count(), DEPTH + 1, "{text}");
        assert!(text.contains("null"), "{text}");
    }
}
