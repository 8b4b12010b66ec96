//! The services we use, where their addresses lead, and the compute API's microversion.

use reqwest::Url;
use serde_json::Value;

use super::answers::text;

/// A service of a cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    /// Glance.
    Image,
    /// Nova.
    Compute,
    /// Neutron.
    Network,
    /// Cinder, which not every cloud has.
    Volume,
}

impl Service {
    /// Its types in catalogs, the official one first (service-types-authority). Cinder's first version, `volume`, is none
    /// of those we speak.
    pub(super) fn types(self) -> &'static [&'static str] {
        match self {
            Self::Image => &["image"],
            Self::Compute => &["compute"],
            Self::Network => &["network"],
            Self::Volume => &["block-storage", "volumev3", "volumev2", "block-store"],
        }
    }

    /// The version in its addresses, where there is only one; else the version document says it.
    pub(super) fn version(self) -> Option<&'static str> {
        match self {
            Self::Image => Some("v2"),
            Self::Network => Some("v2.0"),
            Self::Compute | Self::Volume => None,
        }
    }

    /// The address of `path`: catalogs give services with and without their version, and the project after it.
    pub(super) fn address(self, endpoint: &Url, version: Option<&str>, project: &str, path: &str) -> Url {
        let mut url = endpoint.clone();
        let mut parts: Vec<&str> = parts_of(endpoint);
        if let Some(version) = version.filter(|_| !is_versioned(endpoint)) {
            let at = parts.iter().rposition(|part| is_project(part, project)).unwrap_or(parts.len());
            parts.insert(at, version);
            // Before Yoga, Cinder answers only below the project.
            if self == Self::Volume && at + 1 == parts.len() {
                parts.push(project);
            }
        }
        parts.push(path);
        url.set_path(&format!("/{}", parts.join("/")));
        url.set_query(None);
        url
    }

    /// Where a service describes its versions: its address without a project.
    pub(super) fn description(endpoint: &Url, project: &str) -> Url {
        let mut url = endpoint.clone();
        let parts = parts_of(endpoint);
        let version = parts.iter().rposition(|part| is_version(part)).map(|version| version + 1);
        let kept = version.or_else(|| parts.iter().rposition(|part| is_project(part, project)));
        let path = parts.get(..kept.unwrap_or(parts.len())).unwrap_or_default().join("/");
        url.set_path(&if path.is_empty() { path } else { format!("/{path}/") });
        url.set_query(None);
        url
    }
}

fn parts_of(endpoint: &Url) -> Vec<&str> {
    endpoint.path().split('/').filter(|part| !part.is_empty()).collect()
}

/// Whether an address ends with a version, or with one and a project.
pub(super) fn is_versioned(endpoint: &Url) -> bool {
    parts_of(endpoint).iter().rev().take(2).any(|part| is_version(part))
}

fn is_project(part: &str, project: &str) -> bool {
    !project.is_empty() && part.strip_prefix("AUTH_").unwrap_or(part) == project
}

/// What a version document says. Where the service is, the catalog says.
#[derive(Debug, Default)]
pub(super) struct Described {
    /// What an address without a version lacks; `None`: nothing.
    pub(super) version: Option<String>,
    pub(super) microversion: Option<Microversion>,
}

impl Described {
    /// Reads a document of one version (`version`) or of all (`versions`, `choices`).
    pub(super) fn read(service: Service, document: &Value) -> Self {
        let wanted = if service == Service::Volume { "v3" } else { "v2.1" };
        let all = ["versions", "choices"].iter().find_map(|key| document.get(*key)?.as_array());
        let Some(all) = all else {
            return Self { version: None, microversion: Microversion::negotiate(document) };
        };
        let one = all.iter().find(|one| text(one, "id").trim_end_matches(".0") == wanted);
        let microversion = one.and_then(Microversion::of);
        Self { version: Some(wanted.to_owned()), microversion }
    }
}

/// `v2`, `v2.1`, `v3`.
fn is_version(part: &str) -> bool {
    part.strip_prefix('v').is_some_and(|rest| {
        rest.starts_with(|c: char| c.is_ascii_digit()) && rest.chars().all(|c| c.is_ascii_digit() || c == '.')
    })
}

/// A version of the compute API: what a request's fields mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Microversion {
    major: u16,
    minor: u16,
}

impl Microversion {
    /// What this program was written for (Queens).
    const WANTED: Self = Self { major: 2, minor: 60 };
    /// The first in which Nova chooses the network.
    pub(super) const AUTO_NETWORK: Self = Self { major: 2, minor: 37 };

    /// The wanted version, or the newest that the service has; `None` when it has none at all.
    pub(super) fn negotiate(description: &Value) -> Option<Self> {
        Self::of(description.get("version")?)
    }

    /// The same of one version's part of a document.
    fn of(version: &Value) -> Option<Self> {
        let (newest, oldest) =
            (Self::parse(text(version, "version"))?, Self::parse(text(version, "min_version"))?);
        Some(Self::WANTED.min(newest).max(oldest))
    }

    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }

    /// As headers have it.
    pub(super) fn number(self) -> String {
        format!("{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses_are_made_of_what_catalogs_say() {
        for (service, endpoint, expected) in [
            (Service::Image, "http://h:9292", "http://h:9292/v2/images"),
            (Service::Image, "http://h:9292/v2/", "http://h:9292/v2/images"),
            (Service::Image, "https://h/image//", "https://h/image/v2/images"),
            (Service::Network, "http://h:9696/", "http://h:9696/v2.0/images"),
            (Service::Network, "http://h/networking/v2.0", "http://h/networking/v2.0/images"),
            (Service::Compute, "http://h:8774/v2.1/abc", "http://h:8774/v2.1/abc/images"),
            (Service::Compute, "http://h/compute/", "http://h/compute/v9/images"),
            (Service::Compute, "http://h/compute/p1", "http://h/compute/v9/p1/images"),
            (Service::Volume, "http://h:8776/v3/abc", "http://h:8776/v3/abc/images"),
            (Service::Volume, "http://h/volume", "http://h/volume/v9/p1/images"),
        ] {
            let endpoint = Url::parse(endpoint).unwrap();
            let version = service.version().unwrap_or("v9");
            assert_eq!(service.address(&endpoint, Some(version), "p1", "images").as_str(), expected);
        }
        for (endpoint, expected) in [
            ("http://h:8774/v2.1/abc", "http://h:8774/v2.1/"),
            ("http://h/compute/v2.1", "http://h/compute/v2.1/"),
            ("http://h/compute", "http://h/compute/"),
            ("http://h/compute/p1/", "http://h/compute/"),
            ("http://h:8774", "http://h:8774/"),
        ] {
            assert_eq!(Service::description(&Url::parse(endpoint).unwrap(), "p1").as_str(), expected);
        }
    }

    #[test]
    fn the_microversion_is_bounded_by_the_service() {
        let of = |newest: &str, oldest: &str| {
            Microversion::negotiate(&json!({"version": {"version": newest, "min_version": oldest}}))
                .map(Microversion::number)
        };
        assert_eq!(of("2.93", "2.1").as_deref(), Some("2.60"));
        assert_eq!(of("2.25", "2.1").as_deref(), Some("2.25"));
        assert_eq!(of("2.200", "2.100").as_deref(), Some("2.100"));
        assert_eq!(of("", ""), None);
        assert!(Microversion::WANTED > Microversion::AUTO_NETWORK);
    }
}
