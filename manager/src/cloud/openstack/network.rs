//! Neutron: a security group of a server's own, and what a server leaves behind there.

use serde_json::{Value, json};
use tokio::time::sleep;

use super::OpenStackCloud;
use super::answers::{ApiError, list, listed, note_refusal, text};
use super::by_name::{ids_named, remove_each};
use super::servers::ASK_AGAIN;
use super::services::Service;
use super::session::Call;
use crate::cloud::{CloudError, Ledger, Removal, Resource, ResourceKind, Trouble};

/// How often a group that is in use is tried again: a port lets go of it a moment after its server has gone.
const TRIES: u32 = 10;

impl OpenStackCloud {
    /// Makes a group that lets everything out and nobody in; returns its id.
    pub(super) async fn make_security_group(
        &self,
        name: &str,
        build: &str,
        ledger: &dyn Ledger,
    ) -> Result<String, CloudError> {
        let entry = ledger.intend(ResourceKind::SecurityGroup, name).await?;
        let tried = format!("creating security group {name}");
        let body = json!({"security_group": {"name": name, "description": self.mark(build)}});
        let made = match self.session.call(&Call::post(Service::Network, "security-groups", body)).await {
            Ok(answer) => answer.get("security_group").cloned().unwrap_or_default(),
            Err(ApiError::Lost(why)) => {
                let found = self.groups_named(name).await?.into_iter().next();
                found.ok_or_else(|| ApiError::Lost(why).when(&tried))?
            }
            Err(error) => {
                note_refusal(ledger, entry, &error).await;
                return Err(error.when(&tried));
            }
        };
        let id = text(&made, "id").to_owned();
        if id.is_empty() {
            return Err(CloudError::new(Trouble::Unavailable, format!("{tried}: the answer names no group")));
        }
        ledger.created(entry, &id).await?;
        self.only_outward(&made, &id).await.map_err(|error| error.when(&tried))?;
        Ok(id)
    }

    /// What Neutron puts into a new group is the administrator's to choose.
    async fn only_outward(&self, group: &Value, id: &str) -> Result<(), ApiError> {
        let mut outward = Vec::new();
        for rule in list(group, "security_group_rules") {
            if text(rule, "direction") == "ingress" {
                let call =
                    Call::delete(Service::Network, format!("security-group-rules/{}", text(rule, "id")));
                self.session.call(&call).await?;
            } else if lets_everything_out(rule) {
                outward.push(text(rule, "ethertype"));
            }
        }
        for kind in ["IPv4", "IPv6"].into_iter().filter(|kind| !outward.contains(kind)) {
            let rule = json!({"direction": "egress", "ethertype": kind, "security_group_id": id});
            let body = json!({"security_group_rule": rule});
            self.session.call(&Call::post(Service::Network, "security-group-rules", body)).await?;
        }
        Ok(())
    }

    /// What stands in a description, so that things without metadata are known as ours.
    pub(super) fn mark(&self, build: &str) -> String {
        format!("image-manager owner={} build={build}", self.owner)
    }

    async fn groups_named(&self, name: &str) -> Result<Vec<Value>, CloudError> {
        let groups = self.security_groups().await?;
        Ok(groups.into_iter().filter(|group| text(group, "name") == name).collect())
    }

    /// Security groups of ours.
    pub(super) async fn security_groups(&self) -> Result<Vec<Value>, CloudError> {
        let project = self.session.project().await?;
        let call = Call::get(Service::Network, "security-groups").query("project_id", project);
        let groups = self.session.list_all(&call, "security_groups").await;
        let mut groups = groups.map_err(|error| error.when("listing security groups"))?;
        let mark = format!("image-manager owner={} ", self.owner);
        groups.retain(|group| text(group, "description").starts_with(&mark));
        Ok(groups)
    }

    /// That a group the schedule names is there.
    pub(super) async fn prove_security_group(&self, wanted: &str) -> Result<(), CloudError> {
        let tried = format!("looking for security group {wanted:?}");
        for key in ["id", "name"] {
            let call = Call::get(Service::Network, "security-groups").query(key, wanted);
            let call = call.query("fields", "id").query("fields", "name");
            let page = self.session.call(&call).await.map_err(|error| error.when(&tried))?;
            let found = listed(&page, "security_groups").map_err(|error| error.when(&tried))?;
            match found.iter().filter(|group| text(group, key) == wanted).collect::<Vec<_>>().as_slice() {
                [] => {}
                [_] => return Ok(()),
                several => {
                    let ids: Vec<_> = several.iter().map(|group| text(group, "id")).collect();
                    return Err(self.ambiguous("security group", wanted, &ids));
                }
            }
        }
        let message = format!("cloud {} has no security group {wanted:?} for this project", self.name);
        Err(CloudError::new(Trouble::Configuration, message))
    }

    /// Removes the group that a row of the ledger names.
    pub(super) async fn remove_security_group(&self, resource: &Resource) -> Result<Removal, CloudError> {
        let named = || async { Ok(ids_named(&self.security_groups().await?, &resource.name)) };
        let delete = |id: String| async move { self.delete_group(&id).await };
        remove_each(resource, named, delete).await
    }

    async fn delete_group(&self, id: &str) -> Result<Removal, CloudError> {
        let mut tries = 0;
        loop {
            match self.session.call(&Call::delete(Service::Network, format!("security-groups/{id}"))).await {
                Ok(_) => return Ok(Removal::Gone),
                Err(error) if error.is(404) => return Ok(Removal::Gone),
                Err(ApiError::Refused { status: 409, message, .. }) if tries >= TRIES => {
                    return Ok(Removal::Held(format!("security group {id}: {message}")));
                }
                Err(error) if error.is(409) => sleep(ASK_AGAIN).await,
                Err(error) => return Err(error.when(&format!("deleting security group {id}"))),
            }
            tries += 1;
        }
    }
}

/// A rule without any condition, outward.
fn lets_everything_out(rule: &Value) -> bool {
    let conditions = ["protocol", "port_range_min", "port_range_max", "remote_ip_prefix", "remote_group_id"];
    text(rule, "direction") == "egress"
        && conditions.iter().all(|key| rule.get(*key).is_none_or(Value::is_null))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_rule_without_conditions_lets_everything_out() {
        assert!(lets_everything_out(&json!({"direction": "egress", "ethertype": "IPv4", "protocol": null})));
        assert!(!lets_everything_out(&json!({"direction": "egress", "protocol": "tcp"})));
        assert!(!lets_everything_out(&json!({"direction": "ingress"})));
    }
}
