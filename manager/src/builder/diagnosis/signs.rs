//! Lines of the output that give a cause away. Pure.
//!
//! They are the tools' own words: `testbed/misbehaving/record` has them said to a server that misbehaves, and
//! `recorded.rs` compares. No such list is ever whole, so a script that fails in a way that is not in it is built
//! once more before the image is blamed (`lifecycle/second_build.rs`).

use crate::builder::log_reader::Script;

/// What a line gives away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The disk that the build works on is full.
    DiskFull,
    /// A signature, an index or a certificate is not valid yet or not any more.
    Clock,
    /// Too many requests (429).
    RateLimit,
    /// Sizes or checksums do not fit together.
    Inconsistent,
    /// Cannot be reached, breaks off, or fails on the other side (5xx).
    Unreachable,
    /// pip had an index that failed, or that has no such package: it says the same of both.
    NoVersion,
    /// The definition asks for a package that does not exist.
    NoPackage,
}

/// A cause and what its lines look like; in a look, `*` stands for anything.
type Sign = (Cause, &'static [&'static str]);

/// In the order in which they count: where the disk is full everything else is a consequence, a certificate that
/// is not valid yet or a limit is why a mirror does not deliver, and where it does not deliver packages are missing.
pub(super) const SIGNS: [Sign; 7] = [
    (Cause::DiskFull, &["No space left on device", "Disk quota exceeded"]),
    (Cause::Clock, &CLOCK),
    (Cause::RateLimit, &RATE_LIMIT),
    (Cause::Inconsistent, &INCONSISTENT),
    (Cause::Unreachable, &NETWORK),
    (Cause::NoVersion, &["(from versions: none)"]),
    (
        Cause::NoPackage,
        &[
            "E: Unable to locate package ",
            "has no installation candidate",
            "Unable to find a match: ",
            "No match for argument: ",
            "No package ",
            "Couldn't find these debs: ",
            // zypper
            "not found in package names. Trying capabilities.",
            "No provider of '",
        ],
    ),
];

const CLOCK: [&str; 15] = [
    // apt, and with it mmdebstrap; apt's newer verifier
    "Release file for * is not valid yet",
    "Release file for * is expired",
    "Not live until ",
    // OpenSSL, and with it curl, git, pip, dnf; Go
    "certificate is not yet valid",
    "certificate has expired",
    // GnuTLS, and with it apt, wget
    "uses not yet valid certificate",
    "uses expired certificate",
    "certificate has not yet been activated",
    "certificate of * is not yet activated",
    "certificate of * has expired",
    "certificate is not yet activated",
    // Node
    "CERT_NOT_YET_VALID",
    "CERT_HAS_EXPIRED",
    // gpg
    "key * was created * in the future (time warp or clock problem)",
    "was made in the future",
];

const RATE_LIMIT: [&str; 15] = [
    "Too Many Requests",
    "Too many requests",
    "toomanyrequests",
    "too many requests to registry",
    "pull rate limit",
    // curl, and libcurl in git and zypper
    "The requested URL returned error: 429",
    "RPC failed; HTTP 429",
    // DIB's element cache-url
    "Server returned an unexpected response code. [429]",
    // wget
    "ERROR 429: ",
    // pip, npm
    "HTTP error 429",
    "npm error code E429",
    "npm ERR! code E429",
    // dnf, zypper
    "Status code: 429 ",
    "HTTP response: 429",
    // podman, skopeo
    "received unexpected HTTP status: 429",
];

const INCONSISTENT: [&str; 18] = [
    // apt; debootstrap
    "Hash Sum mismatch",
    "File has unexpected size (",
    "Mirror sync in progress?",
    "W: * was corrupt",
    // dnf, dnf5, yum
    "checksum doesn't match",
    "does not match checksum",
    "Checksum doesn't match",
    "Calculated checksum",
    // zypper
    "Digest verification failed",
    "digest verification failed",
    "Wrong digest for file",
    // npm
    "seems to be corrupted. Trying again.",
    // podman, skopeo
    "Digest did not match, expected ",
    "does not match the expected digest",
    "digest * does not match expected ",
    // git
    "pack has bad object",
    "pack is corrupted (SHA1 mismatch)",
    // DIB's element centos
    "failed sha256sum check!",
];

/// What cannot be reached, or fails on the other side (5xx). What is not there (404) is a wrong address, so the
/// definition's fault; apt's and curl's words for it do not tell the two apart.
const NETWORK: [&str; 89] = [
    // apt
    "Failed to fetch ",
    "Temporary failure resolving",
    "Temporary failure in name resolution",
    // Not npm's "Could not resolve dependency", which is the definition's.
    "Could not resolve '",
    "Could not resolve host",
    "Could not resolve proxy",
    "Could not connect to ",
    "Unable to connect to ",
    "Cannot initiate the connection to ",
    "does not have a Release file",
    "no longer has a Release file",
    "Splitting up * into data and signature failed",
    "Clearsigned file isn't valid",
    // debootstrap
    "E: Failed getting release ",
    "E: Invalid Release file",
    "E: Couldn't download ",
    // dnf, dnf5 and yum
    "Cannot download repomd.xml",
    "Failed to download metadata for repo",
    "Failed to download metadata (",
    "All mirrors were tried",
    "all mirrors were already tried",
    "All mirrors were already tried",
    "No more mirrors to try",
    "Status code: 5?? for ",
    "Curl error (",
    "Usable URL not found",
    "Interrupted by header callback",
    // zypper
    "Download (curl) error for ",
    "is temporarily unaccessible",
    "Timeout exceeded when accessing ",
    "Valid metadata not found at specified URL",
    "Failed to provide Package ",
    "' not found on medium '",
    "repomd.xml parser error",
    "Failed to retrieve new repository metadata",
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
    "transfer closed with * bytes remaining to read",
    "Recv failure: ",
    // git's own protocol; git with GnuTLS, which does not say whether the clock or the certificate is wrong
    "fatal: unable to connect to ",
    "fatal: early EOF",
    "server certificate verification failed. CAfile: ",
    // DIB's element cache-url
    "Server returned an unexpected response code. [5",
    // wget
    "failed: Connection refused.",
    "failed: Connection timed out.",
    "failed: No route to host.",
    "failed: Network is unreachable.",
    "failed: Name or service not known.",
    "unable to resolve host address",
    "Connection closed at byte ",
    "Read error at byte ",
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
    "writing blob: * unexpected EOF",
    "parsing image configuration: unexpected EOF",
    "invalid status code from registry 5",
    // pip
    "Failed to establish a new connection",
    "Connection broken: ",
    "error responses'))",
    "Read timed out.",
    "HTTP error 5",
    // npm
    "npm * code E5",
    "npm * code ECONN",
    "npm * network This is a problem related to network connectivity.",
];

impl Cause {
    /// What one line alone does not give away.
    pub(super) fn beyond_lines<'a>(self, lines: &[&'a str], script: Option<&Script>) -> Option<&'a str> {
        if self != Self::Inconsistent {
            return None;
        }
        // Of the base image: a file that an element's own script checks inside the image has the checksum that
        // the definition says.
        let base = script.is_some_and(|script| script.phase == "root");
        let sums = ["computed checksum did NOT match", "computed checksums did NOT match"];
        let base_image =
            || lines.iter().rev().find(|line| sums.iter().any(|look| line.contains(look))).copied();
        base.then(base_image).flatten().or_else(|| index_hash(lines))
    }
}

/// pip says the same of a hash that the definition names and of one that the package index does. The index's
/// stands in the address.
fn index_hash<'a>(lines: &[&'a str]) -> Option<&'a str> {
    let refused = lines.iter().position(|line| line.contains("THESE PACKAGES DO NOT MATCH THE HASHES"))?;
    let after = lines.get(refused..)?;
    let (_, hash) = after.iter().find_map(|line| line.split_once("Expected sha256 "))?;
    let announced = format!("#sha256={}", hash.trim());
    after.iter().find(|line| line.contains(&announced)).copied()
}

/// Whether a line looks like this: `*` stands for anything, `?` for one digit.
pub(super) fn shows(line: &str, look: &str) -> bool {
    let mut rest = Some(line);
    for part in look.split('*') {
        rest = rest.and_then(|rest| after(rest, part));
    }
    rest.is_some()
}

/// What follows the first place that looks like this.
fn after<'a>(line: &'a str, look: &str) -> Option<&'a str> {
    if !look.contains('?') {
        return line.split_once(look).map(|(_, rest)| rest);
    }
    let fits = |place: &[u8]| {
        place
            .iter()
            .zip(look.as_bytes())
            .all(|(byte, wanted)| if *wanted == b'?' { byte.is_ascii_digit() } else { byte == wanted })
    };
    let start = line.as_bytes().windows(look.len()).position(fits)?;
    line.get(start + look.len()..)
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

    #[test]
    fn a_question_mark_stands_for_a_digit() {
        assert!(shows("é Status code: 503 for http://m/x", "Status code: 5?? for "));
        assert!(!shows("Status code: 5ab for http://m/x", "Status code: 5?? for "));
        assert!(!shows("Status code: 50", "Status code: 5?? for "));
    }

    #[test]
    fn a_hash_that_the_definition_names_is_not_the_indexs() {
        let lines = |expected: &'static str| {
            [
                "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.",
                "hello from http://m/hello.whl#sha256=aa:",
                expected,
            ]
        };
        assert!(index_hash(&lines("Expected sha256 aa")).is_some());
        assert_eq!(index_hash(&lines("Expected sha256 bb")), None);
    }
}
