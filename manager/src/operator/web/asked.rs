//! What stands in the query of a page's address. A mistake in it is told on a page, as every other one is.

use std::error::Error as _;
use std::str::FromStr;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize as _, Deserializer};

use super::error::Refusal;

/// The fields of the query.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Query::try_from_uri(&parts.uri).map(|Query(asked)| Self(asked)).map_err(|error| {
            // The words around it are about Rust's types.
            let why = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            Refusal::bad_request(format!("the address of this page is wrong: {why}"))
        })
    }
}

/// A whole number; without a value, as a form that was not filled in sends it, it is 0.
pub(super) fn number<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr + Default,
{
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(T::default());
    }
    text.parse().map_err(|_| D::Error::custom(format!("{text:?}: expected a whole number")))
}

#[cfg(test)]
mod tests {
    use axum::http::{Request, StatusCode};
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Fields {
        name: String,
        #[serde(deserialize_with = "number")]
        page: u32,
    }

    async fn asked(address: &str) -> Result<Fields, Refusal> {
        let (mut parts, ()) = Request::builder().uri(address).body(()).unwrap().into_parts();
        Asked::from_request_parts(&mut parts, &()).await.map(|Asked(fields)| fields)
    }

    #[tokio::test]
    async fn a_mistake_in_an_address_says_in_which_field_and_what_would_be_right() {
        let fields = asked("/?name=a%26b&page=7").await.unwrap();
        assert_eq!((fields.name.as_str(), fields.page), ("a&b", 7));
        for address in ["/", "/?page=", "/?other=x"] {
            assert_eq!(asked(address).await.unwrap().page, 0, "{address}");
        }
        for (address, said) in [
            ("/?page=abc", "page: \"abc\": expected a whole number"),
            ("/?page=-1", "page: \"-1\": expected a whole number"),
            ("/?page=5000000000", "expected a whole number"),
            ("/?name=a&name=b", "duplicate field `name`"),
        ] {
            let refusal = asked(address).await.unwrap_err();
            assert_eq!(refusal.status, StatusCode::BAD_REQUEST);
            assert!(refusal.message.contains(said), "{address}: {}", refusal.message);
        }
    }
}
