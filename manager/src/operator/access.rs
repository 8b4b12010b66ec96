//! Who may use the operator port: everybody on loopback, elsewhere only who brings the API token.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use tonic::{Request, Status};

/// Shortest API token, in characters.
const SHORTEST: usize = 16;

/// What is said to whoever comes without the token.
pub(super) const BRING: &str = "bring the API token as `authorization: Bearer <token>`";

/// The operator port may not be opened like this.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Not on loopback and without a token.
    #[error("--operator {0} is not a loopback address: give --api-token-file FILE too, or use 127.0.0.1")]
    Open(SocketAddr),
    /// The token file cannot be read.
    #[error("--api-token-file {path}: {source}; make one with `openssl rand -hex 32 > {path}`")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The token is too short.
    #[error(
        "--api-token-file {path}: the token has {found} characters, at least {SHORTEST} are needed; make one with \
             `openssl rand -hex 32 > {path}`"
    )]
    Short {
        /// The file.
        path: PathBuf,
        /// Its length.
        found: usize,
    },
}

/// The token that operators bring as `authorization: Bearer <token>`.
#[derive(Debug, Clone)]
pub struct ApiToken(SecretString);

impl ApiToken {
    /// Reads the token from a file.
    pub fn read(path: &Path) -> Result<Self, AccessError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| AccessError::File { path: path.to_owned(), source })?;
        let token = text.trim();
        if token.len() < SHORTEST {
            return Err(AccessError::Short { path: path.to_owned(), found: token.len() });
        }
        Ok(Self(token.to_owned().into()))
    }

    /// Fails unless the address is loopback or there is a token.
    pub fn guard(address: SocketAddr, token: Option<&Self>) -> Result<(), AccessError> {
        if address.ip().is_loopback() || token.is_some() { Ok(()) } else { Err(AccessError::Open(address)) }
    }

    /// The token's text, for a client of the same state directory.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Compares hashes, so that the time it takes tells nothing of the token.
    pub(super) fn admits(&self, presented: &str) -> bool {
        Sha256::digest(presented.as_bytes()) == Sha256::digest(self.expose().as_bytes())
    }
}

/// Checks the bearer token of gRPC requests; admits all when there is none to check.
#[derive(Debug, Clone)]
pub(super) struct BearerCheck(pub(super) Option<ApiToken>);

impl tonic::service::Interceptor for BearerCheck {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let Some(token) = &self.0 else { return Ok(request) };
        let header = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        match header.and_then(|value| value.strip_prefix("Bearer ")) {
            Some(presented) if token.admits(presented) => Ok(request),
            _ => Err(Status::unauthenticated(BRING)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_door_needs_a_token() {
        let everywhere: SocketAddr = "0.0.0.0:8080".parse().unwrap();
        let here: SocketAddr = "127.0.0.1:8080".parse().unwrap();
        let token = ApiToken("0123456789abcdef".to_owned().into());
        assert!(ApiToken::guard(everywhere, None).is_err());
        assert!(ApiToken::guard(everywhere, Some(&token)).is_ok());
        assert!(ApiToken::guard(here, None).is_ok());
        assert!(token.admits("0123456789abcdef"));
        assert!(!token.admits("0123456789abcdeF"));
    }
}
