//! A thing in a cloud is known by its id; until that was seen, by its name. How one is made so that there are not two of
//! it, and how it is removed.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::OpenStackCloud;
use super::answers::{ApiError, note_refusal, text};
use super::servers::ASK_AGAIN;
use super::session::Call;
use crate::cloud::{CloudError, EntryId, Ledger, Removal, Resource, incidents};

/// How long something whose creation was not answered is looked for.
const LOOKING: Duration = Duration::from_secs(20);

impl OpenStackCloud {
    /// Asks a service for a thing of this kind (the service's word for it) and name, and returns its id. A second request
    /// could make two: where the answer is lost, the thing is looked for by its name instead. `named`: the ids of ours that
    /// have it.
    pub(super) async fn make_once<F: Future<Output = Result<Vec<String>, CloudError>>>(
        &self,
        call: &Call,
        (kind, name): (&str, &str),
        named: impl Fn() -> F,
        (ledger, entry): (&dyn Ledger, EntryId),
    ) -> Result<String, CloudError> {
        let tried = format!("creating {kind} {name}");
        let error = match self.session.call(call).await {
            Ok(answer) => match answer.pointer(&format!("/{kind}/id")).and_then(Value::as_str) {
                Some(id) => return Ok(id.to_owned()),
                None => ApiError::Lost(format!("the answer names no {kind}")),
            },
            Err(error) => error,
        };
        let unknown = matches!(&error, ApiError::Lost(_) | ApiError::Refused { status: 500 | 502 | 504, .. });
        let deadline = Instant::now() + LOOKING;
        while unknown && Instant::now() < deadline {
            if let Some(id) = named().await?.into_iter().next() {
                let why = error.briefly();
                incidents::note(&format!("{tried}: the answer was lost ({why}); found it by its name"));
                return Ok(id);
            }
            sleep(ASK_AGAIN).await;
        }
        note_refusal(ledger, entry, &error).await;
        Err(error.when(&tried))
    }
}

/// Removes what a row of the ledger names: the thing whose id was seen, else all of ours that have the name (`named`: their
/// ids). Ends at the first that `delete` cannot remove for now.
pub(super) async fn remove_each<N, D>(
    resource: &Resource,
    named: impl FnOnce() -> N,
    delete: impl Fn(String) -> D,
) -> Result<Removal, CloudError>
where
    N: Future<Output = Result<Vec<String>, CloudError>>,
    D: Future<Output = Result<Removal, CloudError>>,
{
    let ids = match &resource.external_id {
        Some(id) => vec![id.clone()],
        None => named().await?,
    };
    if ids.is_empty() {
        return Ok(Removal::Unseen);
    }
    for id in ids {
        if let held @ Removal::Held(_) = delete(id).await? {
            return Ok(held);
        }
    }
    Ok(Removal::Gone)
}

/// The ids of those that have a name.
pub(super) fn ids_named(things: &[Value], name: &str) -> Vec<String> {
    let named = things.iter().filter(|thing| text(thing, "name") == name);
    named.map(|thing| text(thing, "id").to_owned()).collect()
}
