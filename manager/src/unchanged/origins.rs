//! Who may be asked.

use std::collections::BTreeSet;

use reqwest::Url;

/// The distributions' own archives, and lists of their mirrors.
const DISTRIBUTIONS: [(&str, &[&str]); 6] = [
    ("debian.org", &["deb", "security", "ftp"]),
    ("ubuntu.com", &["archive", "security", "ports"]),
    ("almalinux.org", &["mirrors", "repo"]),
    ("centos.org", &["mirrors", "mirror.stream"]),
    ("fedoraproject.org", &["mirrors", "dl"]),
    ("rockylinux.org", &["mirrors", "dl"]),
];

/// Scheme, host, port.
type Origin = (String, String, u16);

/// The servers that whoever runs the manager knows: those of the distributions, and those that the schedule or the
/// host's own package sources name. No others are asked, whatever an image says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origins(BTreeSet<Origin>);

impl Origins {
    /// The distributions' own.
    pub fn of_distributions() -> Self {
        let hosts = DISTRIBUTIONS
            .into_iter()
            .flat_map(|(domain, servers)| servers.iter().map(move |server| format!("{server}.{domain}")));
        let both = |host: String| {
            [("http", 80), ("https", 443)].map(|(scheme, port)| (scheme.to_owned(), host.clone(), port))
        };
        Self(hosts.flat_map(both).collect())
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
        for (domain, servers) in DISTRIBUTIONS {
            for server in servers {
                let host = format!("{server}.{domain}");
                assert!(has(&format!("http://{host}/debian")), "{host}");
                assert!(has(&format!("https://{}:443/x", host.to_uppercase())), "{host}");
                assert!(!has(&format!("http://{host}.example/")), "{host}");
                assert!(!has(&format!("http://{host}:81/")), "{host}");
            }
        }
        assert!(has("https://mirror.example:8443/other"));
        for other in [
            "http://mirror.example:8443/",
            "https://mirror.example/",
            "http://169.254.169.254/latest",
            "file:///etc",
            "http://debian.org/debian",
        ] {
            assert!(!has(other), "{other}");
        }
    }
}
