//! Keystone: tokens and the catalog of services.
//!
//! The crate osauth knows neither a user's domain by id nor how to renew a token that was revoked, so this is
//! an authentication of our own, which osauth's session (and the crate `openstack` on it) uses through its
//! trait.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use osauth::{AuthType, EndpointFilters, Error as OsauthError, ErrorKind};
use reqwest::header::HeaderValue;
use reqwest::{Client, RequestBuilder, Url};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::RwLock;

use super::answers::{ApiError, distrust, message_of, with_reasons};
use super::config::{CloudConfig, Credentials, Named, Scope};
use super::services::Service;
use crate::cloud::{CloudError, Trouble};

/// How long Keystone may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// A token that has less than this left is renewed.
const LEAST_LEFT: TimeDelta = TimeDelta::seconds(120);
/// Longest answer of Keystone that is read, in bytes.
const LARGEST: usize = 4 << 20;

/// A token with what came with it.
pub(super) struct Token {
    /// Its value; marked as sensitive, so that it does not show.
    pub(super) header: HeaderValue,
    pub(super) project_id: String,
    expires_at: DateTime<Utc>,
    catalog: Vec<Record>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

#[derive(Debug, Deserialize)]
struct Record {
    #[serde(rename = "type")]
    service: String,
    #[serde(default)]
    endpoints: Vec<Endpoint>,
}

#[derive(Debug, Deserialize)]
struct Endpoint {
    interface: String,
    #[serde(default)]
    region_id: Option<String>,
    #[serde(default)]
    region: Option<String>,
    url: String,
}

impl Endpoint {
    fn region(&self) -> Option<&str> {
        self.region_id.as_deref().or(self.region.as_deref()).filter(|region| !region.is_empty())
    }

    /// Old catalogs say `publicURL`.
    fn is_for(&self, interface: &str) -> bool {
        self.interface.trim_end_matches("URL") == interface
    }
}

/// Authentication at one cloud; clones share the token.
#[derive(Debug, Clone)]
pub(super) struct Keystone {
    config: Arc<CloudConfig>,
    http: Client,
    current: Arc<RwLock<Option<Arc<Token>>>>,
}

impl Keystone {
    /// Asks nothing yet.
    pub(super) fn new(config: Arc<CloudConfig>, http: Client) -> Self {
        Self { config, http, current: Arc::default() }
    }

    /// A token that is good as far as we know.
    pub(super) async fn token(&self) -> Result<Arc<Token>, ApiError> {
        if let Some(token) = self.current.read().await.as_ref().filter(|token| token.is_fresh()) {
            return Ok(Arc::clone(token));
        }
        let mut current = self.current.write().await;
        match current.as_ref().filter(|token| token.is_fresh()) {
            // Somebody was quicker.
            Some(token) => Ok(Arc::clone(token)),
            None => Ok(Arc::clone(current.insert(Arc::new(self.authenticate_anew().await?)))),
        }
    }

    /// Forgets a token that a service did not take; the next request gets a new one.
    pub(super) async fn forget(&self, refused: &Arc<Token>) {
        let mut current = self.current.write().await;
        if current.as_ref().is_some_and(|token| Arc::ptr_eq(token, refused)) {
            *current = None;
        }
    }

    /// Where a service is, by any of its catalog types: its own setting before the catalog.
    pub(super) async fn endpoint(&self, types: &[&str]) -> Result<Url, ApiError> {
        if let Some(url) = types.iter().find_map(|service| self.config.overrides.get(service)) {
            return Ok(url.clone());
        }
        let token = self.token().await?;
        self.choose_region(&token)?;
        let found = types.iter().find_map(|service| self.in_catalog(&token, service));
        found.ok_or_else(|| {
            let region =
                self.config.region.as_ref().map(|name| format!(" in region {name}")).unwrap_or_default();
            let message = format!(
                "cloud {} has no {} service with a {} address{region} in its catalog",
                self.config.name,
                types.first().unwrap_or(&"such"),
                self.config.interface
            );
            CloudError::new(Trouble::Configuration, message).into()
        })
    }

    /// Whether the cloud has a service, by any of its catalog types.
    pub(super) async fn offers(&self, types: &[&str]) -> Result<bool, ApiError> {
        if types.iter().any(|service| self.config.overrides.contains_key(service)) {
            return Ok(true);
        }
        let token = self.token().await?;
        self.choose_region(&token)?;
        Ok(types.iter().any(|service| self.in_catalog(&token, service).is_some()))
    }

    /// That it is clear which region is meant: services of different ones do not work together.
    pub(super) fn choose_region(&self, token: &Token) -> Result<(), CloudError> {
        // What has an address of its own is where that says.
        let searched =
            |service: &Service| !service.types().iter().any(|kind| self.config.overrides.contains_key(kind));
        let services: Vec<_> = [Service::Image, Service::Compute, Service::Network, Service::Volume]
            .into_iter()
            .filter(searched)
            .collect();
        let ours = |record: &&Record| services.iter().any(|one| one.types().contains(&&*record.service));
        let endpoints = token.catalog.iter().filter(ours).flat_map(|record| &record.endpoints);
        let reachable = endpoints.filter(|endpoint| endpoint.is_for(&self.config.interface));
        let regions: BTreeSet<&str> = reachable.filter_map(Endpoint::region).collect();
        let there = regions.iter().copied().collect::<Vec<_>>().join(", ");
        let problem = match &self.config.region {
            None if regions.len() > 1 => "has several regions, but none is chosen".to_owned(),
            Some(named) if !regions.is_empty() && !regions.contains(named.as_str()) => {
                format!("has no region {named:?}")
            }
            _ => return Ok(()),
        };
        let (name, source) = (&self.config.name, &self.config.source);
        let message =
            format!("cloud {name} {problem}: set `region_name` in {source} to one of these: {there}");
        Err(CloudError::new(Trouble::Configuration, message))
    }

    fn in_catalog(&self, token: &Token, service: &str) -> Option<Url> {
        let fits = |endpoint: &&Endpoint| {
            endpoint.is_for(&self.config.interface)
                && self.config.region.as_deref().is_none_or(|wanted| endpoint.region() == Some(wanted))
        };
        let records = token.catalog.iter().filter(|record| record.service == service);
        let endpoint = records.flat_map(|record| &record.endpoints).find(fits)?;
        Url::parse(&endpoint.url).ok()
    }

    async fn authenticate_anew(&self) -> Result<Token, ApiError> {
        let mut url = self.config.overrides.get("identity").unwrap_or(&self.config.auth_url).clone();
        let path = url.path().trim_end_matches('/').to_owned();
        let path =
            if path.ends_with("/v3") { path } else { format!("{}/v3", path.trim_end_matches("/v2.0")) };
        url.set_path(&format!("{path}/auth/tokens"));
        let request = self.http.post(url.clone()).timeout(TIMEOUT).json(&request_body(&self.config));
        let mut response = request.send().await.map_err(|error| {
            if let Some(why) = distrust(&error) {
                return untrusted(&url, &why, &self.config.source).into();
            }
            // Nothing depends on a token whose answer was lost: it can be asked for again.
            ApiError::Unreachable(format!("Keystone at {url} does not answer: {}", with_reasons(&error)))
        })?;
        let status = response.status().as_u16();
        let header = response.headers().get("x-subject-token").cloned();
        let mut body = Vec::new();
        while let Some(chunk) =
            response.chunk().await.map_err(|error| ApiError::Unreachable(with_reasons(&error)))?
        {
            if body.len() + chunk.len() > LARGEST {
                let message = format!("Keystone at {url} answered with more than {LARGEST} bytes");
                return Err(CloudError::new(Trouble::Unavailable, message).into());
            }
            body.extend_from_slice(&chunk);
        }
        if status >= 300 {
            return Err(self.refused(status, &message_of(&String::from_utf8_lossy(&body), status), &url));
        }
        let token = header.and_then(|header| parse(header, &body));
        token.ok_or_else(|| {
            let message =
                format!("what answers at {url} is not Keystone: check auth_url in {}", self.config.source);
            CloudError::new(Trouble::Configuration, message).into()
        })
    }

    /// A wrong password and an expired application credential look the same.
    fn refused(&self, status: u16, message: &str, url: &Url) -> ApiError {
        let source = &self.config.source;
        let credential = matches!(self.config.credentials, Credentials::Application { .. });
        let known = match status {
            // An application credential that was removed is not found.
            401 | 404 if credential => {
                format!(
                    "the application credential is wrong, expired or revoked ({source}); Keystone says: {message}"
                )
            }
            401 if matches!(self.config.credentials, Credentials::Token(_)) => {
                format!("the token is wrong or expired ({source}); Keystone says: {message}")
            }
            401 => format!("user, password, domain or project is wrong ({source}); Keystone says: {message}"),
            429 | 500.. => return ApiError::refused(status, message),
            _ => format!("Keystone at {url} answered HTTP {status}: {message}; check auth_url in {source}"),
        };
        CloudError::new(Trouble::Configuration, known).into()
    }
}

/// The error for a service whose certificate nobody here knows.
pub(super) fn untrusted(url: &Url, why: &str, source: &str) -> CloudError {
    let message = format!(
        "the certificate at {url} is not trusted ({why}): give the CA that signed it as `cacert` in {source}"
    );
    CloudError::new(Trouble::Configuration, message)
}

impl Token {
    fn is_fresh(&self) -> bool {
        self.expires_at - Utc::now() > LEAST_LEFT
    }
}

fn parse(mut header: HeaderValue, body: &[u8]) -> Option<Token> {
    header.set_sensitive(true);
    let mut json: Value = serde_json::from_slice(body).ok()?;
    let token = json.get_mut("token")?;
    let catalog = token.get_mut("catalog").map(Value::take).unwrap_or_default();
    Some(Token {
        header,
        project_id: token.pointer("/project/id")?.as_str()?.to_owned(),
        expires_at: token.get("expires_at")?.as_str()?.parse().ok()?,
        catalog: serde_json::from_value(catalog).ok()?,
    })
}

/// What is sent to Keystone. Holds the secret in the clear.
fn request_body(config: &CloudConfig) -> Value {
    let identity = match &config.credentials {
        Credentials::Application { credential, user, secret } => {
            let user = user.as_ref().map(|(user, domain)| ("user", in_domain(user, domain.as_ref())));
            let parts = [Some(named(credential)), Some(("secret", json!(secret.expose_secret()))), user];
            let body = object(parts.into_iter().flatten());
            json!({"methods": ["application_credential"], "application_credential": body})
        }
        Credentials::Password { user, domain, password } => {
            let domain = domain.as_ref().map(|domain| ("domain", object([named(domain)])));
            let parts = [Some(named(user)), domain, Some(("password", json!(password.expose_secret())))];
            json!({"methods": ["password"], "password": {"user": object(parts.into_iter().flatten())}})
        }
        Credentials::Token(token) => json!({"methods": ["token"], "token": {"id": token.expose_secret()}}),
    };
    match &config.scope {
        Some(Scope { project, domain }) => {
            let scope = json!({"project": in_domain(project, domain.as_ref())});
            json!({"auth": {"identity": identity, "scope": scope}})
        }
        None => json!({"auth": {"identity": identity}}),
    }
}

fn named(what: &Named) -> (&'static str, Value) {
    match what {
        Named::Id(id) => ("id", json!(id)),
        Named::Name(name) => ("name", json!(name)),
    }
}

fn in_domain(what: &Named, domain: Option<&Named>) -> Value {
    let domain = domain.map(|domain| ("domain", object([named(domain)])));
    object([Some(named(what)), domain].into_iter().flatten())
}

fn object(parts: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::Object(parts.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// For osauth, and the crate `openstack` on top of it.
#[async_trait]
impl AuthType for Keystone {
    async fn authenticate(&self, _: &Client, request: RequestBuilder) -> Result<RequestBuilder, OsauthError> {
        let token = self.token().await.map_err(for_osauth)?;
        Ok(request.header("x-auth-token", token.header.clone()))
    }

    /// None: osauth would ask there for a version document, and follow its links. `lookups` tells it where a service is.
    async fn get_endpoint(&self, _: &Client, service: &str, _: &EndpointFilters) -> Result<Url, OsauthError> {
        let message = format!("osauth was not told where the {service} service is");
        Err(OsauthError::new(ErrorKind::EndpointNotFound, message))
    }

    async fn refresh(&self, _: &Client) -> Result<(), OsauthError> {
        self.token().await.map(drop).map_err(for_osauth)
    }
}

fn for_osauth(error: ApiError) -> OsauthError {
    let error = error.when("authenticating");
    let kind = match error.trouble {
        Trouble::Configuration => ErrorKind::InvalidConfig,
        _ => ErrorKind::ProtocolError,
    };
    OsauthError::new(kind, error.message)
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
