//! What can be reached: `http://...`, `https://...` or `tcp://host:port`.

use std::fmt;

use hyper::Uri;

/// How to talk to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// A HEAD.
    Http,
    /// A HEAD over TLS, with the guest's certificate authorities.
    Https,
    /// A connection, and nothing said.
    Tcp,
}

/// One target. A user name and password in it are dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// How to talk to it.
    pub scheme: Scheme,
    /// Name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// What is asked for.
    pub path: String,
}

impl Target {
    /// Reads a target. The error is for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let uri: Uri = text.trim().parse().map_err(|_| "it is not the address of a target".to_owned())?;
        let (scheme, port) = match uri.scheme_str() {
            Some("http") => (Scheme::Http, Some(80)),
            Some("https") => (Scheme::Https, Some(443)),
            Some("tcp") => (Scheme::Tcp, None),
            _ => return Err("it is neither http://, https:// nor tcp://".to_owned()),
        };
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err("it names no host".to_owned());
        }
        let port = uri.port_u16().or(port).ok_or("it names no port")?;
        let path = match (scheme, uri.path_and_query()) {
            (Scheme::Tcp, _) => String::new(),
            (_, Some(path)) => path.to_string(),
            (_, None) => "/".to_owned(),
        };
        Ok(Self { scheme, host, port, path })
    }

    /// Name or address as addresses have it, and the port when it is not the usual one.
    pub(super) fn host_header(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.scheme, self.port) {
            (Scheme::Http, 80) | (Scheme::Https, 443) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::Tcp => "tcp",
        };
        write!(f, "{scheme}://{}{}", self.host_header(), self.path)
    }
}

/// Whether a schedule may name it.
pub(super) fn is_target(text: &str) -> bool {
    if text.len() > 2048 || text.contains(char::is_whitespace) {
        return false;
    }
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() || authority.contains('@') {
        return false;
    }
    match scheme {
        "http" | "https" => true,
        "tcp" => rest
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read() {
        for (given, shown, port) in [
            ("http://mirror.example/debian", "http://mirror.example/debian", 80),
            ("https://user:pass@x.example:8443", "https://x.example:8443/", 8443),
            ("tcp://10.0.0.1:22", "tcp://10.0.0.1:22", 22),
            ("tcp://[2001:db8::1]:53", "tcp://[2001:db8::1]:53", 53),
            ("http://[::1]/x?y=1", "http://[::1]/x?y=1", 80),
        ] {
            let target = Target::parse(given).unwrap();
            assert_eq!((target.to_string().as_str(), target.port), (shown, port), "{given}");
            assert_eq!(Target::parse(shown).unwrap(), target);
        }
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for wrong in ["", "example.org", "ftp://x/", "tcp://x", "http://", "http://a b/", "/x"] {
            assert!(Target::parse(wrong).is_err(), "{wrong}");
        }
    }
}
