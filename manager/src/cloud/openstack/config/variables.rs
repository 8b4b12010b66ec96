//! The cloud that the `OS_*` variables describe.

use serde_json::{Map, Value};

use super::Surroundings;
use super::entry::Entry;

/// Settings that are read from the environment, as `OS_` and the name in capitals.
const SETTINGS: [&str; 38] = [
    "auth_url",
    "auth_type",
    "username",
    "user_id",
    "password",
    "user_domain_id",
    "user_domain_name",
    "project_id",
    "project_name",
    "tenant_id",
    "tenant_name",
    "project_domain_id",
    "project_domain_name",
    "domain_id",
    "domain_name",
    "default_domain",
    "default_domain_id",
    "default_domain_name",
    "application_credential_id",
    "application_credential_name",
    "application_credential_secret",
    "token",
    "region_name",
    "interface",
    "endpoint_type",
    "cacert",
    "cert",
    "key",
    "verify",
    "insecure",
    "identity_endpoint_override",
    "image_endpoint_override",
    "compute_endpoint_override",
    "network_endpoint_override",
    "volume_endpoint_override",
    "volumev3_endpoint_override",
    "block_storage_endpoint_override",
    "system_scope",
];

/// What the environment says.
pub(super) fn entry(surroundings: &Surroundings) -> Entry {
    let settings: Map<String, Value> = SETTINGS
        .iter()
        .filter_map(|name| {
            let value = surroundings.variable(&format!("OS_{}", name.to_ascii_uppercase()))?;
            Some(((*name).to_owned(), Value::String(value)))
        })
        .collect();
    Entry::new(settings, "the environment".to_owned(), String::new(), surroundings.home.clone())
}
