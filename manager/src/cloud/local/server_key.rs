//! The public key that a server gets in its metadata, as one gets it from Nova with its key pair. That cloud-init lets it in
//! is for the image to prove; nobody has the private half.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use crate::cloud::{CloudError, Trouble};

/// What OpenSSH calls such keys (RFC 8709).
const ALGORITHM: &str = "ssh-ed25519";
/// Its name in the metadata, and the comment in its line.
pub(super) const NAME: &str = "image-manager";

/// The line of a new public key, as in `authorized_keys`. Its private half is gone with the end of this.
pub(super) fn new_public_line() -> Result<String, CloudError> {
    let failed = |_| CloudError::new(Trouble::Fault, "the system gives no random bytes for the server's key");
    let random = SystemRandom::new();
    let pair = Ed25519KeyPair::generate_pkcs8(&random).map_err(failed)?;
    let pair = Ed25519KeyPair::from_pkcs8(pair.as_ref()).map_err(|error| {
        CloudError::new(Trouble::Fault, format!("the server's key cannot be made: {error}"))
    })?;
    Ok(line(pair.public_key().as_ref()))
}

fn line(key: &[u8]) -> String {
    let mut blob = Vec::new();
    for field in [ALGORITHM.as_bytes(), key] {
        blob.extend(u32::try_from(field.len()).unwrap_or_default().to_be_bytes());
        blob.extend(field);
    }
    format!("{ALGORITHM} {} {NAME}", STANDARD.encode(blob))
}

#[cfg(test)]
mod tests {
    use image_manager_agent::checks::public_keys;

    use super::*;

    #[test]
    fn each_server_has_another() {
        let (one, other) = (new_public_line().unwrap(), new_public_line().unwrap());
        assert_ne!(one, other);
        let key = public_keys::key_of(&one).unwrap();
        assert!(key.starts_with("AAAAC3NzaC1lZDI1NTE5AAAAI") && key.len() == 68, "{one}");
    }

    /// As OpenSSH reads it, where this machine has it.
    #[test]
    fn it_is_one_to_openssh() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key.pub");
        let line = new_public_line().unwrap();
        std::fs::write(&file, &line).unwrap();
        let Ok(said) = std::process::Command::new("ssh-keygen").arg("-lf").arg(&file).output() else {
            return;
        };
        let said = String::from_utf8(said.stdout).unwrap();
        let fingerprint = public_keys::fingerprint(public_keys::key_of(&line).unwrap());
        assert_eq!(said.trim(), format!("256 {fingerprint} {NAME} (ED25519)"));
    }
}
