//! The HTTP client of one cloud: whose certificates it trusts, and who it says that it is.

use std::fs;
use std::path::Path;
use std::time::Duration;

use reqwest::{Certificate, Client, Identity, Url, redirect};

use super::answers::with_reasons;
use super::config::{CloudConfig, ConfigError};
use crate::cloud::{CloudError, Trouble};

const CONNECT: Duration = Duration::from_secs(10);

/// The client of a cloud, by its configuration.
pub(super) fn client(config: &CloudConfig) -> Result<Client, CloudError> {
    let wrong = |path: &Path, problem: &str| {
        ConfigError::new(format!("{}: {}", config.source, path.display()), problem.to_owned())
    };
    let read = |path: &Path| fs::read(path).map_err(|error| wrong(path, &error.to_string()));
    let mut builder = Client::builder()
        .user_agent(concat!("image-manager/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .redirect(redirect::Policy::custom(same_host));
    if let Some(path) = &config.ca_certificate {
        let certificates = Certificate::from_pem_bundle(&read(path)?)
            .ok()
            .filter(|certificates| !certificates.is_empty())
            .ok_or_else(|| wrong(path, "holds no PEM certificates"))?;
        builder = builder.tls_built_in_root_certs(false);
        for certificate in certificates {
            builder = builder.add_root_certificate(certificate);
        }
    }
    if let Some((certificate, key)) = &config.client_certificate {
        let mut pem = read(certificate)?;
        if key != certificate {
            pem.extend(read(key)?);
        }
        let identity = Identity::from_pem(&pem);
        let identity = identity.map_err(|_| wrong(certificate, "is not a PEM certificate with its key"))?;
        builder = builder.identity(identity);
    }
    if !config.verify {
        tracing::error!(
            "cloud {}: certificates are NOT checked (verify: false in {}): anybody on the network path can take its \
             password, its images and its servers; give the cloud's own CA as `cacert` instead",
            config.name,
            config.source
        );
        builder = builder.danger_accept_invalid_certs(true);
    }
    builder.build().map_err(|error| CloudError::new(Trouble::Configuration, with_reasons(&error)))
}

/// A token must not follow a redirection to somebody else.
fn same_host(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let origin =
        |url: &Url| (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port_or_known_default());
    let same = attempt.previous().last().is_some_and(|from| origin(from) == origin(attempt.url()));
    if same && attempt.previous().len() < 5 { attempt.follow() } else { attempt.stop() }
}
