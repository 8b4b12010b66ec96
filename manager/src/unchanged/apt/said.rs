//! What `apt-get update` says.

use crate::unchanged::Doubt;
use crate::unchanged::program::Said;

/// Longest part of it that is repeated, in characters.
const LONGEST: usize = 300;
/// What it says of a mirror that cannot be reached, of signatures and of age.
const NOT_REACHED: [&str; 9] = [
    "Could not connect",
    "Connection failed",
    "Connection refused",
    "Connection timed out",
    "Could not resolve",
    "Temporary failure resolving",
    "Something wicked happened resolving",
    "Unable to connect",
    "Cannot initiate the connection",
];
const NOT_TRUSTED: [&str; 10] = [
    "is not signed",
    "GPG error",
    "NO_PUBKEY",
    "BADSIG",
    "EXPKEYSIG",
    "couldn't be verified",
    "Clearsigned file isn't valid",
    "is expired",
    "is not valid yet",
    "OpenPGP signature",
];

/// Whether all was read, verified and as it should be: a warning too is a doubt.
pub(super) fn updated(said: &Said) -> Result<(), Doubt> {
    let wrong = |line: &&str| ["E:", "W:", "Err:"].iter().any(|mark| line.starts_with(mark));
    let lines = || said.err.lines().chain(said.out.lines()).map(str::trim);
    let Some(first) = lines().find(wrong) else {
        return if said.status.success() { Ok(()) } else { Err(strange("apt-get update", said)) };
    };
    let has = |words: &[&str]| lines().find(|line| words.iter().any(|word| line.contains(word)));
    if let Some(line) = has(&NOT_TRUSTED) {
        return Err(Doubt::NotTrusted(short(line)));
    }
    Err(has(&NOT_REACHED).map_or_else(|| Doubt::Unknown(short(first)), |line| Doubt::NotReached(short(line))))
}

/// A program ended otherwise than it should have.
pub(super) fn strange(what: &str, said: &Said) -> Doubt {
    let line = said.err.lines().chain(said.out.lines()).find(|line| line.starts_with("E:"));
    Doubt::Unknown(format!("{what}: {}", line.map_or_else(|| said.status.to_string(), short)))
}

fn short(line: &str) -> String {
    line.chars().take(LONGEST).collect()
}
