//! What is known of a cloud: address, credentials, region, and how its services are reached.
//!
//! Read as openstacksdk does: an entry of clouds.yaml, over what its profile of clouds-public.yaml says, under
//! what secure.yaml adds. The cloud `envvars` is the one of the `OS_*` variables; so is any name when there
//! is no clouds.yaml at all.

mod credentials;
mod entry;
mod files;
mod variables;
mod yaml;

#[cfg(test)]
mod sdk_tests;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

use reqwest::Url;

pub(super) use self::credentials::{Credentials, Named, Scope};
use self::entry::Entry;
pub(super) use self::files::Surroundings;
use crate::cloud::{CloudError, Trouble};

/// The name of the cloud that the `OS_*` variables describe.
pub(super) const ENVIRONMENT: &str = "envvars";

/// How a cloud is reached and who we are there.
#[derive(Debug, Clone)]
pub(super) struct CloudConfig {
    /// Its name in clouds.yaml.
    pub(super) name: String,
    /// The file it stands in, or "the environment".
    pub(super) source: String,
    /// Keystone.
    pub(super) auth_url: Url,
    pub(super) credentials: Credentials,
    /// The project; an application credential brings its own.
    pub(super) scope: Option<Scope>,
    pub(super) region: Option<String>,
    /// `public`, `internal` or `admin`.
    pub(super) interface: String,
    /// Whether servers' certificates are checked.
    pub(super) verify: bool,
    pub(super) ca_certificate: Option<PathBuf>,
    /// Our own certificate and key.
    pub(super) client_certificate: Option<(PathBuf, PathBuf)>,
    /// Addresses of services, by catalog type, instead of the catalog's.
    pub(super) overrides: BTreeMap<&'static str, Url>,
    /// What in its settings does not count, for people.
    pub(super) note: Option<String>,
}

/// A setting cannot be used: where, which, and why.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub(super) struct ConfigError {
    /// File and key.
    pub(super) place: String,
    pub(super) problem: String,
}

impl ConfigError {
    pub(super) fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { place: place.into(), problem: problem.into() }
    }
}

impl From<ConfigError> for CloudError {
    fn from(error: ConfigError) -> Self {
        Self::new(Trouble::Configuration, error.to_string())
    }
}

/// Keys of services' own addresses, and the catalog types they stand for.
const OVERRIDES: [(&str, &str); 7] = [
    ("identity_endpoint_override", "identity"),
    ("image_endpoint_override", "image"),
    ("compute_endpoint_override", "compute"),
    ("network_endpoint_override", "network"),
    ("volume_endpoint_override", "block-storage"),
    ("volumev3_endpoint_override", "block-storage"),
    ("block_storage_endpoint_override", "block-storage"),
];

impl CloudConfig {
    /// The cloud with this name, with everything that can be checked without asking it checked.
    pub(super) fn load(name: &str, surroundings: &Surroundings) -> Result<Self, ConfigError> {
        if name == ENVIRONMENT {
            return match surroundings.variable("OS_CLOUD") {
                Some(named) if named != ENVIRONMENT => Self::load(&named, surroundings),
                _ => Self::from_entry(name, &variables::entry(surroundings)),
            };
        }
        let known = files::read(surroundings)?;
        if let Some(entry) = known.entry(name)? {
            return Self::from_entry(name, &entry);
        }
        if known.no_file() && surroundings.variable("OS_AUTH_URL").is_some() {
            return Self::from_entry(name, &variables::entry(surroundings));
        }
        Err(known.unknown(name))
    }

    fn from_entry(name: &str, entry: &Entry) -> Result<Self, ConfigError> {
        let auth_url = entry.url("auth.auth_url")?.ok_or_else(|| {
            entry.wrong(
                "auth.auth_url",
                "is missing: Keystone's address, such as https://cloud.example:5000/v3",
            )
        })?;
        let (credentials, scope) = credentials::read(entry)?;
        let interface = entry.text("endpoint_type")?.or(entry.text("interface")?);
        let interface = interface.unwrap_or_else(|| "public".to_owned());
        let interface = interface.trim_end_matches("URL").to_owned();
        if !["public", "internal", "admin"].contains(&interface.as_str()) {
            return Err(
                entry.wrong("interface", &format!("is {interface:?}: write public, internal or admin"))
            );
        }
        let mut overrides = BTreeMap::new();
        for (key, service) in OVERRIDES {
            if let Some(url) = entry.url(key)? {
                overrides.insert(service, url);
            }
        }
        Ok(Self {
            name: name.to_owned(),
            source: entry.source().to_owned(),
            auth_url,
            credentials,
            scope,
            region: entry.text("region_name")?.or(entry.first_region()?),
            interface,
            verify: entry.flag("verify")?.unwrap_or(true) && !entry.flag("insecure")?.unwrap_or(false),
            ca_certificate: entry.file("cacert")?,
            client_certificate: client_certificate(entry)?,
            overrides,
            note: entry.note.clone(),
        })
    }
}

/// `cert` alone holds the key too.
fn client_certificate(entry: &Entry) -> Result<Option<(PathBuf, PathBuf)>, ConfigError> {
    let certificate = entry.file("cert")?;
    let key = entry.file("key")?;
    Ok(certificate.map(|certificate| {
        let key = key.unwrap_or_else(|| certificate.clone());
        (certificate, key)
    }))
}
