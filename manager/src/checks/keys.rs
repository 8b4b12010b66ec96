//! The keys of a check, for people.

use image_manager_agent::checks::descriptor::{Key, ValueType};

/// Name, type, default and meaning of each key; of tables in a list, their keys after them.
pub(crate) fn key_rows(keys: &[Key]) -> Vec<(String, String, String, String)> {
    let mut rows = Vec::new();
    for key in keys {
        let words = match &key.value {
            ValueType::Choice(words) => format!(" ({})", words.join(", ")),
            _ => String::new(),
        };
        let default = key.default.to_owned();
        rows.push((
            key.name.to_owned(),
            key.value.noun().to_owned(),
            default,
            format!("{}{words}", key.help),
        ));
        if let ValueType::Tables(inner) = &key.value {
            rows.extend(
                key_rows(inner).into_iter().map(|(name, noun, default, help)| {
                    (format!("{}[].{name}", key.name), noun, default, help)
                }),
            );
        }
    }
    rows
}
