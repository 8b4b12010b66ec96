//! Tokens and other secrets in files: nobody else may read them.

use std::fs::{File, Metadata};
use std::io::Read as _;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};

use super::strength;

/// Most bytes of such a file.
const MOST: u64 = 64 * 1024;
/// Where systemd puts credentials; it gives the service's account leave to read by an access list, which shows as
/// the group's (systemd.exec(5), `LoadCredential=`).
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// The operator port may not be opened like this.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Not on loopback and without a token.
    #[error(
        "--operator {address} is not a loopback address: create a token first with `image-manager token create \
         NAME --role ROLE --state {state}`, give --api-token-file FILE, or use 127.0.0.1"
    )]
    Open {
        /// The address of the flag.
        address: SocketAddr,
        /// The state directory: `token create` makes only one that is named.
        state: PathBuf,
    },
    /// The token file cannot be read.
    #[error("--api-token-file {path}: {source}; make one with `openssl rand -hex 32 > {path}`")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file with the token to bring cannot be read.
    #[error(
        "--api-token-file {path}: {source}; name a file with a token of the manager that serves, such as one that \
         `image-manager token create NAME --role ROLE` prints"
    )]
    FileToBring {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others can read the file.
    #[error(
        "{flag} {path}: {who} can {what} it: run `chmod 600 {path}`; if somebody may have read it, put \
             another secret into it first (`openssl rand -hex 32 > {path}`)"
    )]
    Readable {
        /// The flag that named it.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// Who can.
        who: &'static str,
        /// What they can do: "read" or "change".
        what: &'static str,
    },
    /// The file is another account's.
    #[error("{flag} {path}: it belongs to uid {owner}, who can change it: run `chown {wanted} {path}`")]
    Owner {
        /// The flag that named it.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Whose it should be.
        wanted: u32,
    },
    /// The token can be guessed.
    #[error(
        "--api-token-file {path}: the token is too weak: {why}; make one with `openssl rand -hex 32 > {path}`"
    )]
    Weak {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// The token of `--api-token-file`, that operators bring as `authorization: Bearer <token>`.
#[derive(Debug, Clone)]
pub struct ApiToken(SecretString);

impl ApiToken {
    /// Reads the token that others must bring.
    ///
    /// # Errors
    /// When the file cannot be read, others can read it, or the token could be guessed.
    pub fn read(path: &Path) -> Result<Self, AccessError> {
        let (text, metadata) =
            read_file(path).map_err(|source| AccessError::File { path: path.to_owned(), source })?;
        if let Some(why) = strength::weakness(text.expose_secret().trim()) {
            return Err(AccessError::Weak { path: path.to_owned(), why });
        }
        guard_secret(path, "--api-token-file", &metadata)?;
        Ok(Self(text.expose_secret().trim().to_owned().into()))
    }

    /// Reads a token to bring it: whether it is any good is for the manager to say.
    ///
    /// # Errors
    /// When the file cannot be read, or others can read it.
    pub fn read_to_bring(path: &Path) -> Result<Self, AccessError> {
        let (text, metadata) =
            read_file(path).map_err(|source| AccessError::FileToBring { path: path.to_owned(), source })?;
        guard_secret(path, "--api-token-file", &metadata)?;
        Ok(Self(text.expose_secret().trim().to_owned().into()))
    }

    /// The token's text, for a client of the same state directory.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

fn read_file(path: &Path) -> std::io::Result<(SecretString, Metadata)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let mut text = String::new();
    file.take(MOST).read_to_string(&mut text)?;
    Ok((text.into(), metadata))
}

/// Whether a file that holds a secret is its owner's alone.
///
/// # Errors
/// [`AccessError::Readable`] and [`AccessError::Owner`] when others can read or change it.
pub fn guard_secret(path: &Path, flag: &'static str, metadata: &Metadata) -> Result<(), AccessError> {
    let credential = std::env::var_os(CREDENTIALS).is_some_and(|directory| path.starts_with(directory));
    // A pipe (`<(pass show token)`) and the like are nobody else's.
    if !metadata.is_file() || credential {
        return Ok(());
    }
    let mode = metadata.permissions().mode();
    let (of_all, of_group) = (mode & 0o006, mode >> 3 & 0o006);
    let (who, may) = if of_all == 0 { ("its group", of_group) } else { ("everybody", of_all) };
    if may != 0 {
        let what = if may & 0o004 == 0 { "change" } else { "read" };
        return Err(AccessError::Readable { flag, path: path.to_owned(), who, what });
    }
    let (owner, own) = (metadata.uid(), nix::unistd::geteuid().as_raw());
    if owner != 0 && owner != own {
        return Err(AccessError::Owner { flag, path: path.to_owned(), owner, wanted: own });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "b3c1e5f09a7d42681f0ec2aa97d4635e\n";

    fn read(text: &str, mode: u32) -> Result<ApiToken, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        ApiToken::read(file.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn nobody_else_may_read_a_token() {
        assert_eq!(read(GOOD, 0o600).unwrap().expose(), GOOD.trim());
        assert_eq!(read(GOOD, 0o400).unwrap().expose(), GOOD.trim());
        for (mode, who) in
            [(0o644, "everybody"), (0o640, "its group"), (0o604, "everybody"), (0o602, "everybody")]
        {
            let said = read(GOOD, mode).unwrap_err();
            assert!(said.contains(who) && said.contains("`chmod 600 /"), "{mode:o}: {said}");
        }
    }

    #[test]
    fn a_weak_token_is_refused_with_the_command_that_makes_another() {
        for weak in ["short", "aaaaaaaaaaaaaaaaaaaaaaaa", "passwordpassword"] {
            let said = read(weak, 0o600).unwrap_err();
            assert!(said.contains("`openssl rand -hex 32 > /"), "{said}");
            assert!(!said.contains(weak), "it is a secret all the same: {said}");
        }
    }

    #[test]
    fn without_a_token_the_command_is_told_that_makes_one_for_this_manager() {
        let address = SocketAddr::from(([0, 0, 0, 0], 8080));
        let said = AccessError::Open { address, state: PathBuf::from("/srv/images") }.to_string();
        let command = "`image-manager token create NAME --role ROLE --state /srv/images`";
        assert!(said.contains(command) && said.contains("0.0.0.0:8080"), "{said}");
    }
}
