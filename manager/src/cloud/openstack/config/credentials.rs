//! Who we are at a cloud, in all the ways it can be written.

use secrecy::SecretString;

use super::ConfigError;
use super::entry::Entry;

/// Something known by id or by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cloud::openstack) enum Named {
    Id(String),
    Name(String),
}

/// Proofs of who we are. The secrets do not show in `Debug`.
#[derive(Debug, Clone)]
pub(in crate::cloud::openstack) enum Credentials {
    /// An application credential; by name it needs its user.
    Application { credential: Named, user: Option<(Named, Option<Named>)>, secret: SecretString },
    /// A user and a password; by name the user needs a domain.
    Password { user: Named, domain: Option<Named>, password: SecretString },
    /// A token that somebody got.
    Token(SecretString),
}

/// The project we work in; by name it needs a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cloud::openstack) struct Scope {
    pub(in crate::cloud::openstack) project: Named,
    pub(in crate::cloud::openstack) domain: Option<Named>,
}

/// Application credentials first: where one is given, a user name beside it does not count.
pub(super) fn read(entry: &Entry) -> Result<(Credentials, Option<Scope>), ConfigError> {
    let kind = entry.text("auth_type")?.unwrap_or_default();
    let application = named(entry, "application_credential_id", "application_credential_name")?;
    match (kind.trim_start_matches("v3"), application) {
        ("applicationcredential", None) => {
            Err(entry.wrong("auth.application_credential_id", "is missing, but `auth_type` requires it"))
        }
        ("" | "applicationcredential", Some(credential)) => {
            Ok((application_credential(entry, credential)?, None))
        }
        ("token", _) => token(entry),
        ("", None) if entry.text("auth.token")?.is_some() && entry.text("auth.password")?.is_none() => {
            token(entry)
        }
        ("" | "password", _) => password(entry),
        _ => Err(entry
            .wrong("auth_type", &format!("is {kind:?}: write password, v3applicationcredential or token"))),
    }
}

fn application_credential(entry: &Entry, credential: Named) -> Result<Credentials, ConfigError> {
    let secret = secret(entry, "auth.application_credential_secret")?;
    let user = match credential {
        Named::Id(_) => None,
        Named::Name(_) => Some(user(entry)?),
    };
    Ok(Credentials::Application { credential, user, secret })
}

fn password(entry: &Entry) -> Result<(Credentials, Option<Scope>), ConfigError> {
    let (user, domain) = user(entry)?;
    let password = secret(entry, "auth.password")?;
    Ok((Credentials::Password { user, domain, password }, Some(scope(entry)?)))
}

fn token(entry: &Entry) -> Result<(Credentials, Option<Scope>), ConfigError> {
    Ok((Credentials::Token(secret(entry, "auth.token")?), Some(scope(entry)?)))
}

fn user(entry: &Entry) -> Result<(Named, Option<Named>), ConfigError> {
    let user = match named(entry, "user_id", "username")? {
        Some(user) => user,
        None => entry
            .text("auth.user_name")?
            .map(Named::Name)
            .ok_or_else(|| entry.wrong("auth.username", "is missing"))?,
    };
    let domain = match user {
        Named::Id(_) => None,
        Named::Name(_) => Some(domain(entry, "user_domain")?),
    };
    Ok((user, domain))
}

fn scope(entry: &Entry) -> Result<Scope, ConfigError> {
    let (by_id, by_name) = (["auth.project_id", "auth.tenant_id"], ["auth.project_name", "auth.tenant_name"]);
    let project = match first(entry, by_id)? {
        Some(id) => Some(Named::Id(id)),
        None => first(entry, by_name)?.map(Named::Name),
    };
    let project = project.ok_or_else(|| {
        entry.wrong("auth.project_name", "is missing: images and servers belong to a project")
    })?;
    let domain = match project {
        Named::Id(_) => None,
        Named::Name(_) => Some(domain(entry, "project_domain")?),
    };
    Ok(Scope { project, domain })
}

/// The domain of a user or project: its own key, the common one, or the cloud's default.
fn domain(entry: &Entry, key: &str) -> Result<Named, ConfigError> {
    for prefix in [key, "domain", "default_domain"] {
        if let Some(domain) = named(entry, &format!("{prefix}_id"), &format!("{prefix}_name"))? {
            return Ok(domain);
        }
    }
    Ok(Named::Id(entry.text("auth.default_domain")?.unwrap_or_else(|| "default".to_owned())))
}

/// An id before a name.
fn named(entry: &Entry, id: &str, name: &str) -> Result<Option<Named>, ConfigError> {
    if let Some(id) = entry.text(&format!("auth.{id}"))? {
        return Ok(Some(Named::Id(id)));
    }
    Ok(entry.text(&format!("auth.{name}"))?.map(Named::Name))
}

fn first(entry: &Entry, keys: [&str; 2]) -> Result<Option<String>, ConfigError> {
    let [first, second] = keys;
    Ok(entry.text(first)?.or(entry.text(second)?))
}

fn secret(entry: &Entry, key: &str) -> Result<SecretString, ConfigError> {
    let text = entry
        .text(key)?
        .ok_or_else(|| entry.wrong(key, "is missing: it may be in secure.yaml, which only you can read"))?;
    Ok(SecretString::from(text))
}
