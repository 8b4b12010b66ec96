//! A key pair for one server, for people who want to look around in it while it is up.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use super::OpenStackCloud;
use super::answers::{ApiError, text};
use super::services::Service;
use super::session::Call;
use crate::cloud::{CloudError, Ledger, NewServer, Removal, ResourceKind, Trouble};

impl OpenStackCloud {
    /// Has Nova make a key pair; its private half goes where the caller said. Returns its name.
    pub(super) async fn make_key_pair(
        &self,
        new: &NewServer,
        ledger: &dyn Ledger,
    ) -> Result<String, CloudError> {
        let entry = ledger.intend(ResourceKind::KeyPair, &new.name).await?;
        let tried = format!("creating key pair {}", new.name);
        let body = json!({"keypair": {"name": new.name}});
        let call = Call::post(Service::Compute, "os-keypairs", body);
        let mut answer = self.session.call(&call).await;
        if matches!(answer, Err(ApiError::Lost(_))) {
            // Its private half was lost with the answer: another one.
            self.remove_key_pair(&new.name).await?;
            answer = self.session.call(&call).await;
        }
        let answer = answer.map_err(|error| error.when(&tried))?;
        ledger.created(entry, &new.name).await?;
        let private = answer.pointer("/keypair/private_key").and_then(Value::as_str).unwrap_or_default();
        let file = &new.private_key;
        write_private(file, private).map_err(|error| {
            CloudError::new(Trouble::Fault, format!("cannot write {}: {error}", file.display()))
        })?;
        Ok(new.name.clone())
    }

    /// Key pairs are known by their names.
    pub(super) async fn remove_key_pair(&self, name: &str) -> Result<Removal, CloudError> {
        match self.session.call(&Call::delete(Service::Compute, format!("os-keypairs/{name}"))).await {
            Ok(_) => Ok(Removal::Gone),
            Err(error) if error.is(404) => Ok(Removal::Gone),
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
