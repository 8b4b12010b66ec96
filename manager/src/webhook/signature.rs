//! The signature of a request: HMAC-SHA256 over its time and its body, so that a receiver knows who speaks, and
//! can refuse what somebody recorded and sends again.

use std::path::{Path, PathBuf};

use hmac::{Hmac, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

/// Shortest secret, in characters.
const SHORTEST: usize = 16;

/// The secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("--webhook-secret-file {path}: {source}; make one with `openssl rand -hex 32 > {path}`")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The secret is too short.
    #[error(
        "--webhook-secret-file {path}: the secret has {found} characters, but needs at least {SHORTEST}; make one \
             with `openssl rand -hex 32 > {path}`"
    )]
    Short {
        /// The file.
        path: PathBuf,
        /// Its length.
        found: usize,
    },
}

/// What requests are signed with.
#[derive(Debug, Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Reads the secret from a file; white space around it does not count.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SecretError::File { path: path.to_owned(), source })?;
        let secret = text.trim();
        if secret.len() < SHORTEST {
            return Err(SecretError::Short { path: path.to_owned(), found: secret.len() });
        }
        Ok(Self(secret.to_owned().into()))
    }

    /// `sha256=<hexadecimal>` over `<seconds since the epoch>.<body>`.
    pub(super) fn sign(&self, time: i64, body: &[u8]) -> String {
        // HMAC takes keys of every length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.0.expose_secret().as_bytes()) else {
            return String::new();
        };
        mac.update(time.to_string().as_bytes());
        mac.update(b".");
        mac.update(body);
        format!("sha256={}", image_manager_proto::hex(&mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_signs_as_openssl_does() {
        let secret = Secret("0123456789abcdef".to_owned().into());
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac 0123456789abcdef
        let expected = "sha256=9eb18f493f8ec135d9eb2dad817c369bb4e9cbfa818657897a7437c1cd8c3a23";
        assert_eq!(secret.sign(1_700_000_000, b"{\"a\":1}"), expected);
    }
}
