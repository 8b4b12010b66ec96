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
    /// Its types in catalogs.
    pub(super) fn types(self) -> &'static [&'static str] {
        match self {
            Self::Image => &["image"],
            Self::Compute => &["compute"],
            Self::Network => &["network"],
            Self::Volume => &["block-storage", "volumev3"],
        }
    }

    /// The address of `path`: catalogs give Glance and Neutron with and without their version.
    pub(super) fn address(self, endpoint: &Url, path: &str) -> Url {
        let mut url = endpoint.clone();
        let base = endpoint.path().trim_end_matches('/');
        let version = match self {
            Self::Image => "/v2",
            Self::Network => "/v2.0",
            Self::Compute | Self::Volume => "",
        };
        let versioned = base.rsplit('/').next().is_some_and(is_version);
        let version = if versioned { "" } else { version };
        url.set_path(&format!("{base}{version}/{path}"));
        url.set_query(None);
        url
    }

    /// Where the compute service describes its versions: its address without a project.
    pub(super) fn description(endpoint: &Url) -> Url {
        let mut url = endpoint.clone();
        let parts: Vec<&str> = endpoint.path().trim_matches('/').split('/').collect();
        let kept = parts.iter().position(|part| is_version(part)).map_or(parts.len(), |version| version + 1);
        let path = parts.get(..kept).unwrap_or_default().join("/");
        url.set_path(&if path.is_empty() { path } else { format!("/{path}/") });
        url
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
        let version = description.get("version")?;
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
            (Service::Image, "https://h/image", "https://h/image/v2/images"),
            (Service::Network, "http://h:9696/", "http://h:9696/v2.0/images"),
            (Service::Network, "http://h/networking/v2.0", "http://h/networking/v2.0/images"),
            (Service::Compute, "http://h:8774/v2.1/abc", "http://h:8774/v2.1/abc/images"),
            (Service::Volume, "http://h:8776/v3/abc", "http://h:8776/v3/abc/images"),
        ] {
            let endpoint = Url::parse(endpoint).unwrap();
            assert_eq!(service.address(&endpoint, "images").as_str(), expected);
        }
        for (endpoint, expected) in [
            ("http://h:8774/v2.1/abc", "http://h:8774/v2.1/"),
            ("http://h/compute/v2.1", "http://h/compute/v2.1/"),
            ("http://h/compute", "http://h/compute/"),
            ("http://h:8774", "http://h:8774/"),
        ] {
            assert_eq!(Service::description(&Url::parse(endpoint).unwrap()).as_str(), expected);
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
