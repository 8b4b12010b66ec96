//! Addresses of pages, with what people typed in them.

use std::fmt::Write as _;

/// A text as a part of an address: what is not plain is percent-encoded.
pub(super) fn encoded(text: &str) -> String {
    let mut address = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte) {
            address.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(address, "%{byte:02X}");
        }
    }
    address
}

/// A path with those of the fields that have a value.
pub(super) fn with_query(path: &str, fields: &[(&str, &str)]) -> String {
    let query: Vec<_> = fields
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={}", encoded(value)))
        .collect();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_a_value_stands_in_an_address() {
        assert_eq!(with_query("/", &[("q", ""), ("sort", "")]), "/");
        assert_eq!(with_query("/", &[("q", "a&b é"), ("sort", "name")]), "/?q=a%26b%20%C3%A9&sort=name");
    }
}
