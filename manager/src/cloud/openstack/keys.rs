//! A key pair for one server, for people who want to look around in it while it is up.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use super::OpenStackCloud;
use super::answers::{ApiError, note_refusal, text};
use super::services::Service;
use super::session::Call;
use crate::cloud::{CloudError, Ledger, NewServer, Removal, Resource, ResourceKind, Trouble};

/// Key pairs that an error names.
const NAMED: usize = 20;

impl OpenStackCloud {
    /// Has Nova make a key pair. Its private half goes where the caller said; of a `public` key it is known to its owner
    /// alone. Returns its name.
    pub(super) async fn make_key_pair(
        &self,
        new: &NewServer,
        public: Option<&str>,
        ledger: &dyn Ledger,
    ) -> Result<String, CloudError> {
        let entry = ledger.intend(ResourceKind::KeyPair, &new.name).await?;
        let tried = format!("creating key pair {}", new.name);
        let body = match public {
            Some(public) => json!({"keypair": {"name": new.name, "public_key": public}}),
            None => json!({"keypair": {"name": new.name}}),
        };
        let call = Call::post(Service::Compute, "os-keypairs", body);
        let mut answer = self.session.call(&call).await;
        let lost = matches!(answer, Err(ApiError::Lost(_)));
        if lost {
            // Its private half was lost with the answer: another one.
            self.delete_key_pair(&new.name).await?;
            answer = self.session.call(&call).await;
        }
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                // The first request may still be under way, and the second one be refused because of it.
                if !lost {
                    note_refusal(ledger, entry, &error).await;
                }
                return Err(error.when(&tried));
            }
        };
        ledger.created(entry, &new.name).await?;
        if public.is_some() {
            return Ok(new.name.clone());
        }
        let private = answer.pointer("/keypair/private_key").and_then(Value::as_str).unwrap_or_default();
        let file = &new.private_key;
        write_private(file, private).map_err(|error| {
            CloudError::new(Trouble::Fault, format!("cannot write {}: {error}", file.display()))
        })?;
        Ok(new.name.clone())
    }

    /// That the key pair is there which the schedule names.
    pub(super) async fn prove_key_pair(&self, wanted: &str) -> Result<(), CloudError> {
        let tried = format!("looking for key pair {wanted:?}");
        let pairs = self
            .key_pairs_like("")
            .await
            .map_err(|error| CloudError { message: format!("{tried}: {}", error.message), ..error })?;
        if pairs.iter().any(|name| name == wanted) {
            return Ok(());
        }
        let there: Vec<&str> = pairs.iter().take(NAMED).map(String::as_str).collect();
        let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
        let message = format!(
            "cloud {} has no key pair {wanted:?} for this user (`server.ssh_key`); there are: {there}",
            self.name
        );
        Err(CloudError::new(Trouble::Configuration, message))
    }

    /// Removes the key pair that a row of the ledger names: key pairs are known by their names.
    pub(super) async fn remove_key_pair(&self, resource: &Resource) -> Result<Removal, CloudError> {
        let there = self.delete_key_pair(&resource.name).await?;
        let unseen = !there && resource.external_id.is_none();
        Ok(if unseen { Removal::Unseen } else { Removal::Gone })
    }

    /// Whether it was there.
    async fn delete_key_pair(&self, name: &str) -> Result<bool, CloudError> {
        match self.session.call(&Call::delete(Service::Compute, format!("os-keypairs/{name}"))).await {
            Ok(_) => Ok(true),
            Err(error) if error.is(404) => Ok(false),
            Err(error) => Err(error.when(&format!("deleting key pair {name}"))),
        }
    }

    /// Names of key pairs that begin like this. They carry no owner: only a build's id in their name.
    pub(super) async fn key_pairs_like(&self, prefix: &str) -> Result<Vec<String>, CloudError> {
        let pairs = self.session.list_all(&Call::get(Service::Compute, "os-keypairs"), "keypairs").await;
        let pairs = pairs.map_err(|error| error.when("listing key pairs"))?;
        let names = pairs.iter().filter_map(|entry| Some(text(entry.get("keypair")?, "name")));
        Ok(names.filter(|name| name.starts_with(prefix)).map(str::to_owned).collect())
    }
}

fn write_private(file: &Path, key: &str) -> std::io::Result<()> {
    if let Some(directory) = file.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let mut open = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(file)?;
    open.write_all(key.as_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::stage::{self, Stage};
    use super::*;

    #[tokio::test]
    async fn a_key_pair_that_is_named_must_be_there() {
        let stage = Stage::with(|request| {
            let pairs = json!([{"keypair": {"name": "ops"}}, {"keypair": {"name": "dev"}}]);
            let asked = request.starts_with("GET /os-keypairs");
            stage::json(&if asked { json!({"keypairs": pairs}) } else { json!({}) })
        })
        .await;
        stage.cloud().prove_key_pair("ops").await.unwrap();
        let error = stage.cloud().prove_key_pair("op").await.unwrap_err();
        assert_eq!(error.trouble, Trouble::Configuration);
        assert!(
            error.message.contains("no key pair \"op\"") && error.message.contains("ops, dev"),
            "{error}"
        );
    }
}
