//! Observations on their way to the manager: a JSON object as protobuf has it, and never larger than a
//! stated limit, because part of it is what the guest said.

use image_manager_proto::json::{self, DEPTH};
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use serde_json::Value as Json;

use crate::text;

/// Longest text, in characters.
pub const LONGEST_TEXT: usize = 600;
/// Most elements of a list or an object.
const ELEMENTS: usize = 64;
/// About so many bytes for one check.
const BUDGET: usize = 12 << 10;

/// Set at the top when something had to be left out.
pub const TRUNCATED: &str = "truncated";

/// The protobuf form of a JSON object, cut down to the limits.
pub(crate) fn bounded(json: &Json) -> Struct {
    let mut left = Budget { bytes: BUDGET, cut: false };
    // The short entries first: a long table must not push out the list of names that the manager goes by.
    let mut entries: Vec<_> = json.as_object().into_iter().flatten().collect();
    entries.sort_by_key(|(_, json)| length(json, 0));
    let mut whole = object(entries.into_iter(), &mut left, 0);
    if left.cut {
        whole.fields.insert(TRUNCATED.to_owned(), Value { kind: Some(Kind::BoolValue(true)) });
    }
    whole
}

struct Budget {
    bytes: usize,
    cut: bool,
}

impl Budget {
    /// Whether so many more bytes may be used.
    fn take(&mut self, bytes: usize) -> bool {
        match self.bytes.checked_sub(bytes) {
            Some(left) => self.bytes = left,
            None => self.cut = true,
        }
        !self.cut
    }
}

/// About how long a value is, as far down as it is sent.
fn length(json: &Json, depth: usize) -> usize {
    let inner = match json {
        _ if depth > DEPTH => 0,
        Json::String(said) => said.len(),
        Json::Array(elements) => elements.iter().map(|element| length(element, depth + 1)).sum(),
        Json::Object(fields) => fields.iter().map(|(key, json)| key.len() + length(json, depth + 1)).sum(),
        _ => 0,
    };
    8 + inner
}

fn object<'a>(
    entries: impl Iterator<Item = (&'a String, &'a Json)>,
    left: &mut Budget,
    depth: usize,
) -> Struct {
    let mut fields = std::collections::BTreeMap::new();
    for (key, json) in entries {
        let key = text::bounded(key, LONGEST_TEXT);
        if fields.len() == ELEMENTS || !left.take(key.len() + 8) {
            left.cut = true;
            break;
        }
        fields.insert(key, value(json, left, depth + 1));
    }
    Struct { fields: fields.into_iter().collect() }
}

fn value(json: &Json, left: &mut Budget, depth: usize) -> Value {
    if depth > DEPTH || !left.take(8) {
        left.cut = true;
        return Value { kind: Some(Kind::NullValue(0)) };
    }
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(yes) => Kind::BoolValue(*yes),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Json::String(said) => {
            let said = text::bounded(said, LONGEST_TEXT);
            if left.take(said.len()) { Kind::StringValue(said) } else { Kind::NullValue(0) }
        }
        Json::Array(elements) => {
            let mut values = Vec::new();
            for element in elements {
                if values.len() == ELEMENTS || left.cut {
                    left.cut = true;
                    break;
                }
                values.push(value(element, left, depth + 1));
            }
            Kind::ListValue(ListValue { values })
        }
        Json::Object(fields) => Kind::StructValue(object(fields.iter(), left, depth)),
    };
    Value { kind: Some(kind) }
}

/// The JSON form of a protobuf object, without a limit of size, and with its texts as they are: it is the manager's.
pub(crate) fn to_json(object: Option<&Struct>) -> Json {
    object.map_or_else(
        || Json::Object(serde_json::Map::new()),
        |object| json::from_struct(object, str::to_owned),
    )
}

/// The texts of a list at the top level of observations.
pub(crate) fn texts(observations: &Struct, key: &str) -> Vec<String> {
    let Some(Kind::ListValue(list)) = observations.fields.get(key).and_then(|value| value.kind.as_ref())
    else {
        return Vec::new();
    };
    let text = |value: &Value| match &value.kind {
        Some(Kind::StringValue(text)) => Some(text.clone()),
        _ => None,
    };
    list.values.iter().filter_map(text).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn small_observations_are_kept_whole() {
        let kept = bounded(&json!({ "a": 1, "b": [true, null, "x"], "c": { "d": 1.5 } }));
        assert_eq!(kept.fields.len(), 3);
        assert_eq!(kept.fields["a"].kind, Some(Kind::NumberValue(1.0)));
        assert_eq!(texts(&kept, "b"), ["x"]);
    }

    #[test]
    fn large_observations_are_cut_and_say_so() {
        let long = "y".repeat(100_000);
        let texts: Vec<&str> = std::iter::repeat_n(long.as_str(), 1000).collect();
        let kept = bounded(&json!({ "a": texts, "b": long, "c": 1 }));
        assert_eq!(kept.fields[TRUNCATED].kind, Some(Kind::BoolValue(true)));
        let size = format!("{kept:?}").matches('y').count();
        assert!(size <= BUDGET, "{size}");
    }

    #[test]
    fn a_long_table_does_not_push_out_a_list() {
        let row = json!({ "target": "http://mirror.example/debian", "error": "y".repeat(300) });
        let rows: Vec<Json> = std::iter::repeat_n(row, 64).collect();
        let names: Vec<String> = (0..16).map(|number| format!("http://{number}.example/debian")).collect();
        let kept = bounded(&json!({ "targets": rows, "unreached": names, "waited_seconds": 3 }));
        assert_eq!(kept.fields[TRUNCATED].kind, Some(Kind::BoolValue(true)));
        assert_eq!(texts(&kept, "unreached"), names);
    }

    #[test]
    fn nesting_ends() {
        let mut deep = json!(1);
        for _ in 0..1000 {
            deep = json!({ "x": deep });
        }
        assert_eq!(bounded(&deep).fields[TRUNCATED].kind, Some(Kind::BoolValue(true)));
    }
}
