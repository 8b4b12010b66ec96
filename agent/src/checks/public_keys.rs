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
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut held, mut bits) = (0_u32, 0);
    for c in key.bytes() {
        let Some(value) = ALPHABET.iter().position(|letter| *letter == c) else { break };
        held = (held << 6) | u32::try_from(value).unwrap_or_default();
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((held >> bits) & 0xff).unwrap_or_default());
        }
    }
    let mut said = "SHA256:".to_owned();
    (held, bits) = (0, 0);
    for byte in Sha256::digest(&bytes) {
        held = (held << 8) | u32::from(byte);
        bits += 8;
        while bits >= 6 {
            bits -= 6;
            said.push(letter(ALPHABET, held >> bits));
        }
    }
    said.push(letter(ALPHABET, held << (6 - bits)));
    said
}

fn letter(alphabet: &[u8; 64], six: u32) -> char {
    usize::try_from(six & 63).ok().and_then(|index| alphabet.get(index)).map_or('?', |byte| char::from(*byte))
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
