//! The public keys that let somebody in, and that a server is known by.

use sha2::{Digest as _, Sha256};

/// Where sshd looks for a user's keys when nobody tells it otherwise.
pub(super) const AUTHORIZED_KEYS: [&str; 2] = [".ssh/authorized_keys", ".ssh/authorized_keys2"];

/// The public keys in a text of lines as in `authorized_keys`: each in base64, with its line.
pub(super) fn keys(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| Some((key_of(line)?, line)))
}

/// The key of one line, in base64. Options may stand before it, and a comment behind it.
pub fn key_of(line: &str) -> Option<&str> {
    if line.trim_start().starts_with('#') {
        return None;
    }
    let mut words = line.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let kind = ["ssh-", "ecdsa-", "sk-"].iter().any(|start| word.starts_with(start));
        if let Some(key) = words.next_if(|next| kind && next.starts_with("AAAA")) {
            return Some(key);
        }
    }
    None
}

/// A key's fingerprint as OpenSSH prints it.
pub fn fingerprint(key: &str) -> String {
    format!("SHA256:{}", encoded(&Sha256::digest(decoded(key))).trim_end_matches('='))
}

/// The algorithm that a key is for, as it says itself: `ssh-ed25519`. Empty: it says none.
pub(super) fn algorithm(key: &str) -> String {
    let bytes = decoded(key);
    let name = field(&mut bytes.as_slice()).unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

/// The public half of a private key in OpenSSH's own format, in base64: there it is never encrypted (PROTOCOL.key of
/// OpenSSH). None: the text is none, as those of PEM are.
pub fn of_private(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("-----BEGIN OPENSSH PRIVATE KEY-----")?;
    let (base64, _) = rest.split_once("-----END")?;
    let bytes = decoded(&base64.split_whitespace().collect::<String>());
    let mut rest = bytes.strip_prefix(b"openssh-key-v1\0")?;
    // The names of the cipher and of what makes its key, and what that is made from.
    for _ in 0..3 {
        field(&mut rest)?;
    }
    let (_count, mut rest) = rest.split_at_checked(4)?;
    field(&mut rest).filter(|key| !key.is_empty()).map(encoded)
}

/// The next of the fields that each have their length before them.
fn field<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (field, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    *bytes = rest;
    Some(field)
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64's bytes, up to what is none.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (mut held, mut bits) = (0_u32, 0);
    for c in text.bytes() {
        let Some(value) = ALPHABET.iter().position(|letter| *letter == c) else { break };
        held = (held << 6) | u32::try_from(value).unwrap_or_default();
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((held >> bits) & 0xff).unwrap_or_default());
        }
    }
    bytes
}

fn encoded(bytes: &[u8]) -> String {
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or_default());
        let held = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for place in 0..4 {
            text.push(if place <= three.len() { letter(held >> (18 - 6 * place)) } else { '=' });
        }
    }
    text
}

fn letter(six: u32) -> char {
    usize::try_from(six & 63).ok().and_then(|index| ALPHABET.get(index)).map_or('?', |byte| char::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAINooEMMAMmLwDGf3porQ4DW+IHvcdizjwDD8G26p2bMC";

    #[test]
    fn keys_stand_behind_options() {
        let text = format!(
            "# ssh-ed25519 {KEY} old\n\nssh-ed25519 {KEY} me@example\n\
             no-pty,command=\"echo 'log in as the user \\\"debian\\\".'\" ssh-rsa AAAAB3 x\nnonsense\n"
        );
        let found: Vec<&str> = keys(&text).map(|(key, _)| key).collect();
        assert_eq!(found, [KEY, "AAAAB3"]);
    }

    #[test]
    fn a_key_says_what_it_is_for() {
        assert_eq!(algorithm(KEY), "ssh-ed25519");
        assert_eq!(algorithm("AAAA"), "");
        assert_eq!(algorithm("AAAAB3NzaC1"), "", "cut short");
    }

    #[test]
    fn a_private_key_has_its_public_half_in_it() {
        let text = "-----BEGIN OPENSSH PRIVATE KEY-----\n\
                    b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n\
                    QyNTUxOQAAACAGoX+67KBGBY1S9jZ4nhiFR++Nx8lmH+KiaDro+g48uwAAAIg=\n\
                    -----END OPENSSH PRIVATE KEY-----\n";
        let key = of_private(text).unwrap();
        assert_eq!(key, "AAAAC3NzaC1lZDI1NTE5AAAAIAahf7rsoEYFjVL2NnieGIVH743HyWYf4qJoOuj6Djy7");
        assert_eq!(algorithm(&key), "ssh-ed25519");
        for other in ["", "-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END", &text.replace("b3Bl", "b3Bm")] {
            assert_eq!(of_private(other), None, "{other}");
        }
        for end in 0..text.len() {
            let cut = format!("{}\n-----END OPENSSH", text.get(..end).unwrap());
            assert!(of_private(&cut).is_none_or(|half| half == key), "{cut}");
        }
    }

    /// As `ssh-keygen` itself has them, where this machine has it.
    #[test]
    fn ssh_keygen_agrees() {
        for kind in ["ed25519", "ecdsa", "rsa"] {
            let directory = tempfile::tempdir().unwrap();
            let file = directory.path().join("key");
            let made = std::process::Command::new("ssh-keygen")
                .args(["-q", "-t", kind, "-N", "words", "-f"])
                .arg(&file)
                .status();
            if !made.is_ok_and(|made| made.success()) {
                return;
            }
            let public = std::fs::read_to_string(file.with_extension("pub")).unwrap();
            let private = std::fs::read_to_string(&file).unwrap();
            assert_eq!(of_private(&private).as_deref(), key_of(&public), "{kind}");
            let name = algorithm(key_of(&public).unwrap());
            assert!(public.starts_with(&name) && !name.is_empty(), "{name}");
        }
    }

    /// As `ssh-keygen -lf` says it.
    #[test]
    fn fingerprints_are_as_openssh_has_them() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key.pub");
        std::fs::write(&file, format!("ssh-ed25519 {KEY} me\n")).unwrap();
        let Ok(said) = std::process::Command::new("ssh-keygen").arg("-lf").arg(&file).output() else {
            return;
        };
        let said = String::from_utf8(said.stdout).unwrap();
        assert_eq!(said.split_whitespace().nth(1), Some(fingerprint(KEY).as_str()), "{said}");
    }
}
