//! What the fuzz targets call; compiled for them only.

use secrecy::ExposeSecret as _;

use crate::checks::packages::database::{Diversions, expected};
use crate::identity;

/// Reads a text as instance metadata.
pub fn identity(text: &str) {
    match identity::parse(text, "a fuzzer") {
        Ok(Some(found)) => {
            assert!(!found.token.expose_secret().is_empty() && !found.build.is_empty(), "an empty key");
            assert!(found.build.is_ascii() && found.owner.is_ascii(), "not the plain text that it must be");
        }
        Ok(None) => {}
        Err(error) => {
            let said = error.to_string();
            assert!(said.len() < 1000 && !said.contains('\n'), "{said:?}");
        }
    }
}

/// Reads a text as both files of dpkg's database.
pub fn packages(text: &str) {
    let diversions = Diversions::parse(text);
    for one in expected(text) {
        assert!(!one.path.starts_with('/') && one.path.split('/').all(|part| part != ".."), "{}", one.path);
        assert!(!diversions.place("x", one.path).starts_with('/'), "{}", one.path);
    }
}
