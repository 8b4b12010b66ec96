//! Lines of the output that give a cause away. Pure.

/// A cause: what a line of it looks like, its reason, whether the definition is to blame. In a look, `*` stands for
/// anything.
type Sign = (&'static [&'static str], &'static str, bool);

/// In the order in which they count: where the disk is full everything else is a consequence, and where a
/// mirror does not answer packages are missing.
pub(super) const SIGNS: [Sign; 3] = [
    (&["No space left on device", "Disk quota exceeded"], "scratch_full", false),
    (&NETWORK, "mirror_unreachable", false),
    (
        &[
            "E: Unable to locate package ",
            "has no installation candidate",
            "Unable to find a match: ",
            "No match for argument: ",
            "No package ",
            "Couldn't find these debs: ",
        ],
        "dib_package_missing",
        true,
    ),
];

/// What cannot be reached, or fails on the other side (5xx). What is not there (404) is a wrong address, so the
/// definition's fault; apt's and curl's words for it do not tell the two apart.
const NETWORK: [&str; 53] = [
    // apt
    "Failed to fetch ",
    "Temporary failure resolving",
    "Temporary failure in name resolution",
    "Could not resolve",
    "Could not connect to ",
    "Unable to connect to ",
    "Cannot initiate the connection to ",
    "Hash Sum mismatch",
    "does not have a Release file",
    // debootstrap
    "E: Failed getting release ",
    "E: Invalid Release file",
    "E: Couldn't download ",
    // dnf and yum
    "Cannot download repomd.xml",
    "Failed to download metadata for repo",
    "All mirrors were tried",
    // curl, and libcurl in git. systemctl cannot connect to a bus in a chroot, hence the port.
    "curl: (5)",
    "curl: (6)",
    "curl: (7)",
    "curl: (18)",
    "curl: (22)",
    "curl: (28)",
    "curl: (35)",
    "curl: (52)",
    "curl: (55)",
    "curl: (56)",
    "curl: (92)",
    "Failed to connect to * port ",
    "The requested URL returned error: 5",
    "RPC failed; curl ",
    "RPC failed; HTTP 5",
    // git's own protocol
    "fatal: unable to connect to ",
    // DIB's element cache-url
    "Server returned an unexpected response code. [5",
    // wget
    "failed: Connection refused.",
    "failed: Connection timed out.",
    "failed: No route to host.",
    "failed: Network is unreachable.",
    "failed: Name or service not known.",
    "unable to resolve host address",
    "ERROR 500: ",
    "ERROR 502: ",
    "ERROR 503: ",
    "ERROR 504: ",
    // podman, skopeo and whatever else is written in Go
    "dial tcp*: no such host",
    "dial tcp*: i/o timeout",
    "dial tcp*: connect: connection refused",
    "dial tcp*: connect: connection timed out",
    "dial tcp*: connect: no route to host",
    "dial tcp*: connect: network is unreachable",
    "read tcp *: i/o timeout",
    "read tcp *: connection reset by peer",
    "TLS handshake timeout",
    "received unexpected HTTP status: 5",
    // pip
    "Failed to establish a new connection",
];

/// Whether a line looks like this.
pub(super) fn shows(line: &str, look: &str) -> bool {
    let mut rest = Some(line);
    for part in look.split('*') {
        rest = rest.and_then(|rest| rest.split_once(part)).map(|(_, rest)| rest);
    }
    rest.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        assert!(shows("x: curl: (7) no", "curl: (7)"));
        assert!(shows("Failed to connect to x port 443", "Failed to connect to * port "));
        assert!(!shows("Failed to connect to bus: x", "Failed to connect to * port "));
        assert!(!shows(" port 1: Failed to connect to x", "Failed to connect to * port "));
    }
}
