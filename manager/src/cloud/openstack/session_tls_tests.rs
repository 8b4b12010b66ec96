//! Whose certificates are trusted: a Keystone with one that no system knows.

use std::fs;
use std::path::PathBuf;

use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::cloud::openstack::config::Credentials;

const TOKEN: &str =
    r#"{"token": {"expires_at": "2099-01-01T00:00:00.000000Z", "project": {"id": "p"}, "catalog": []}}"#;

/// Its address, and the certificate as PEM.
async fn keystone() -> (Url, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // Who does not trust us hangs up.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let (mut request, mut buffer) = (String::new(), [0; 4096]);
            while !request.ends_with("}}") {
                let size = stream.read(&mut buffer).await.unwrap();
                request.push_str(std::str::from_utf8(&buffer[..size]).unwrap());
            }
            let head = format!(
                "HTTP/1.1 201 Created\r\nx-subject-token: t\r\ncontent-length: {}\r\n\r\n",
                TOKEN.len()
            );
            stream.write_all(format!("{head}{TOKEN}").as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    (Url::parse(&format!("https://localhost:{port}/v3")).unwrap(), made.cert.pem())
}

fn session(auth_url: &Url, verify: bool, ca_certificate: Option<PathBuf>) -> Session {
    Session::new(CloudConfig {
        name: "tls".into(),
        source: "clouds.yaml".into(),
        auth_url: auth_url.clone(),
        credentials: Credentials::Token("t".into()),
        scope: None,
        region: None,
        interface: "public".into(),
        verify,
        ca_certificate,
        client_certificate: None,
        overrides: std::collections::BTreeMap::new(),
        note: None,
    })
    .unwrap()
}

#[tokio::test]
async fn certificates_are_checked_against_the_system_or_the_given_ca() {
    let (url, pem) = keystone().await;
    let began = Instant::now();
    let error = session(&url, true, None).project().await.unwrap_err();
    assert_eq!(error.trouble, Trouble::Configuration);
    assert!(error.message.contains("is not trusted") && error.message.contains("`cacert`"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(30), "asking again does not help");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    fs::write(&file, pem).unwrap();
    assert_eq!(session(&url, true, Some(file.clone())).project().await.unwrap(), "p");
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(&file, other.cert.pem()).unwrap();
    assert!(session(&url, true, Some(file.clone())).project().await.is_err(), "the given CA is the only one");
    fs::write(&file, "no certificate").unwrap();
    let config = session(&url, true, None).config.as_ref().clone();
    let error = Session::new(CloudConfig { ca_certificate: Some(file), ..config }).err().unwrap();
    assert!(error.message.contains("holds no PEM certificates"), "{error}");

    assert_eq!(session(&url, false, None).project().await.unwrap(), "p");
}
