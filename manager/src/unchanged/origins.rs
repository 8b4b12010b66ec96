//! Who may be asked.

use std::collections::BTreeSet;

use reqwest::Url;

/// The distributions' own archives.
const DISTRIBUTIONS: [&str; 6] = [
    "deb.debian.org",
    "security.debian.org",
    "ftp.debian.org",
    "archive.ubuntu.com",
    "security.ubuntu.com",
    "ports.ubuntu.com",
];

/// Scheme, host, port.
type Origin = (String, String, u16);

/// The servers that whoever runs the manager knows: those of the distributions, and those that the schedule or the
/// host's own package sources name. No others are asked, whatever an image says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origins(BTreeSet<Origin>);

impl Origins {
    /// The distributions' own archives.
    pub fn of_distributions() -> Self {
        let both = |host: &str| {
            [("http", 80), ("https", 443)].map(|(scheme, port)| (scheme.to_owned(), host.to_owned(), port))
        };
        Self(DISTRIBUTIONS.into_iter().flat_map(both).collect())
    }

    /// The server of an address too; what is no address of `http` or `https` adds nothing.
    #[must_use]
    pub fn and(mut self, address: &str) -> Self {
        self.0.extend(Url::parse(address).ok().and_then(|url| origin(&url)));
        self
    }

    /// Whether an address may be asked.
    pub(super) fn has(&self, url: &Url) -> bool {
        origin(url).is_some_and(|origin| self.0.contains(&origin))
    }
}

fn origin(url: &Url) -> Option<Origin> {
    let scheme = url.scheme();
    if !["http", "https"].contains(&scheme) {
        return None;
    }
    Some((scheme.to_owned(), url.host_str()?.to_owned(), url.port_or_known_default()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_servers_may_be_asked() {
        let origins =
            Origins::of_distributions().and("https://mirror.example:8443/debian").and("file:///etc");
        let has = |address: &str| origins.has(&Url::parse(address).unwrap());
        assert!(has("http://deb.debian.org/debian") && has("https://DEB.debian.org:443/x"));
        assert!(has("https://mirror.example:8443/other"));
        for other in [
            "http://mirror.example:8443/",
            "https://mirror.example/",
            "http://169.254.169.254/latest",
            "file:///etc",
            "http://deb.debian.org.example/",
            "http://deb.debian.org:81/",
        ] {
            assert!(!has(other), "{other}");
        }
    }
}
