//! The gateway's self-made certificate. Agents pin its fingerprint; nobody checks its name or dates, because
//! the clock of a fresh server cannot be trusted.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image_manager_proto::hex;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};
use tokio_rustls::TlsAcceptor;

/// The certificate with its key, as PEM.
pub struct Certificate {
    /// The certificate.
    pub pem: String,
    /// Its private key.
    pub key: secrecy::SecretString,
    /// SHA-256 of the certificate's DER, lower-case hexadecimal.
    pub fingerprint: String,
}

/// The certificate can neither be read nor made.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The files hold no certificate.
    #[error("{0}: holds no certificate; remove it to have a new one made")]
    Content(PathBuf),
    /// No certificate could be made.
    #[error("making a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

impl Certificate {
    /// Reads `cert.pem` and `key.pem` in `directory`; makes them when they are not there.
    pub fn load_or_make(directory: &Path) -> Result<Self, CertificateError> {
        let (cert_path, key_path) = (directory.join("cert.pem"), directory.join("key.pem"));
        if !cert_path.exists() || !key_path.exists() {
            make(directory, &cert_path, &key_path)?;
        }
        let read = |path: &Path| {
            fs::read_to_string(path)
                .map_err(|source| CertificateError::File { path: path.to_owned(), source })
        };
        let (pem, key) = (read(&cert_path)?, read(&key_path)?);
        let der = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| CertificateError::Content(cert_path.clone()))?;
        let fingerprint = hex(&Sha256::digest(&der));
        Ok(Self { pem, key: key.into(), fingerprint })
    }

    /// What speaks TLS 1.3 with it, and nothing older, for HTTP/2.
    pub(super) fn acceptor(&self) -> Result<TlsAcceptor, String> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(self.pem.as_bytes()).collect();
        let chain = chain.map_err(|error| error.to_string())?;
        let key = PrivateKeyDer::from_pem_slice(self.key.expose_secret().as_bytes())
            .map_err(|error| error.to_string())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        // Both sides are ours and of today: nothing older than TLS 1.3 has a reason to come in.
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|error| error.to_string())?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn make(directory: &Path, cert_path: &Path, key_path: &Path) -> Result<(), CertificateError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| CertificateError::File { path, source }
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed(directory))?;
    let made = rcgen::generate_simple_self_signed(["image-manager".to_owned()])?;
    // The key first: with a certificate but no key, both are made anew.
    write_whole(key_path, made.signing_key.serialize_pem().as_bytes(), 0o600).map_err(failed(key_path))?;
    write_whole(cert_path, made.cert.pem().as_bytes(), 0o644).map_err(failed(cert_path))
}

/// Writes a file so that it is there whole or not at all.
fn write_whole(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&partial)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(partial, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn is_made_once_and_keeps_its_fingerprint() {
        let directory = tempfile::tempdir().unwrap();
        let tls = directory.path().join("tls");
        let first = Certificate::load_or_make(&tls).unwrap();
        let second = Certificate::load_or_make(&tls).unwrap();
        assert_eq!(first.fingerprint, second.fingerprint);
        assert_eq!(first.fingerprint.len(), 64);
        assert_eq!(fs::metadata(tls.join("key.pem")).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_broken_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        Certificate::load_or_make(directory.path()).unwrap();
        fs::write(directory.path().join("cert.pem"), "nothing").unwrap();
        let error = Certificate::load_or_make(directory.path()).err().unwrap();
        assert!(error.to_string().contains("cert.pem"), "{error}");
    }
}
