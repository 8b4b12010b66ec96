//! One cloud's settings as they stand in files, and reading them one by one.

use std::path::PathBuf;

use reqwest::Url;
use serde_json::{Map, Value};

use super::ConfigError;

/// How the settings begin of which one outside of `auth` counts more than one in it, as openstacksdk has it.
const OUTSIDE_FIRST: [&str; 5] = ["project_", "tenant_", "user_domain_", "domain_", "token"];

/// A cloud's settings before they are understood.
pub(super) struct Entry {
    settings: Map<String, Value>,
    /// File, or "the environment".
    source: String,
    /// What stands before a key in an error: `clouds.lab.`, or nothing.
    prefix: String,
    home: Option<PathBuf>,
    /// What of it does not count, for people.
    pub(super) note: Option<String>,
}

impl Entry {
    pub(super) fn new(
        settings: Map<String, Value>,
        source: String,
        prefix: String,
        home: Option<PathBuf>,
    ) -> Self {
        Self { settings, source, prefix, home, note: None }
    }

    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// An error about a key.
    pub(super) fn wrong(&self, key: &str, problem: &str) -> ConfigError {
        let key =
            if self.prefix.is_empty() { environment_name(key) } else { format!("{}{key}", self.prefix) };
        ConfigError::new(format!("{}: `{key}`", self.source), problem)
    }

    /// A setting, `auth.x` also where it stands outside of `auth`, which counts more for projects and domains. Empty
    /// and null count as absent.
    fn get(&self, key: &str) -> Option<&Value> {
        let present = |value: &&Value| !value.is_null() && value.as_str() != Some("");
        let Some(short) = key.strip_prefix("auth.") else { return self.settings.get(key).filter(present) };
        let auth = self.settings.get("auth").and_then(Value::as_object);
        let inside = auth.and_then(|auth| auth.get(short)).filter(present);
        let outside = self.settings.get(short).filter(present);
        if OUTSIDE_FIRST.iter().any(|kind| short.starts_with(kind)) {
            return outside.or(inside);
        }
        inside.or(outside)
    }

    /// A text; numbers and booleans that somebody wrote without quotes are taken as written.
    pub(super) fn text(&self, key: &str) -> Result<Option<String>, ConfigError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(Value::Bool(flag)) => Ok(Some(if *flag { "True" } else { "False" }.to_owned())),
            // Never the value itself: it may be a secret.
            Some(_) => Err(self.wrong(key, "is a list or a table: text is expected")),
        }
    }

    /// True or false, also as text.
    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(Some(true)),
            "false" | "no" | "off" | "0" => Ok(Some(false)),
            _ => Err(self.wrong(key, "is neither true nor false")),
        }
    }

    /// An http or https address.
    pub(super) fn url(&self, key: &str) -> Result<Option<Url>, ConfigError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        let url = Url::parse(text.trim())
            .map_err(|error| self.wrong(key, &format!("is not an address: {error}")))?;
        if !["http", "https"].contains(&url.scheme()) || url.host_str().is_none() {
            return Err(self.wrong(key, "is not an http:// or https:// address"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(self.wrong(key, "has a user or password in it, which belong in `auth`"));
        }
        Ok(Some(url))
    }

    /// A file that is there; `~` is the home directory.
    pub(super) fn file(&self, key: &str) -> Result<Option<PathBuf>, ConfigError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        let path = match (text.strip_prefix("~/"), &self.home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(&text),
        };
        if path.is_file() {
            return Ok(Some(path));
        }
        Err(self.wrong(key, &format!("names {}, which is not a file", path.display())))
    }

    /// The first of `regions`, whose entries are names or tables with a name.
    pub(super) fn first_region(&self) -> Result<Option<String>, ConfigError> {
        let Some(regions) = self.get("regions") else { return Ok(None) };
        let first = regions.as_array().and_then(|regions| regions.first());
        let name = first.and_then(|region| region.as_str().or_else(|| region.get("name")?.as_str()));
        name.map(|name| Some(name.to_owned()))
            .ok_or_else(|| self.wrong("regions", "is not a list of regions; `region_name` names one"))
    }
}

/// `auth.user_domain_name` is `OS_USER_DOMAIN_NAME` in the environment.
fn environment_name(key: &str) -> String {
    format!("OS_{}", key.strip_prefix("auth.").unwrap_or(key).to_ascii_uppercase())
}
