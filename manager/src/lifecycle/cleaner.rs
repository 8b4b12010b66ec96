//! Taking away what the ledger lists: at the end of a build or a trial. The reconciler sees to what was left then.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use image_manager_proto::v1::{self, StageState};
use tokio::time::Instant;

use super::clouds::Clouds;
use super::ledger::HOST;
use super::settings::files;
use crate::builder::CLEANING;
use crate::clock;
use crate::cloud::incidents::Incidents;
use crate::cloud::{Removal, Resource, ResourceKind, Server};
use crate::history::{History, HistoryError, LedgerRow, ResourceState};

/// How long the whole clean-up of a build or a trial may take.
const CLEAN_UP: Duration = Duration::from_mins(15);
/// How long the removal of one resource may take.
pub(super) const REMOVAL: Duration = Duration::from_mins(3);
/// The same of what a build has on this host: a removal that is given up goes on, and the next one would be at the same
/// files.
const REMOVAL_HERE: Duration = CLEANING.saturating_add(Duration::from_mins(1));
/// How long a cloud may take to give the console of a server that is about to go.
const CONSOLE: Duration = Duration::from_secs(10);
/// How long a cloud may work on a request whose client is gone: as long as OpenStack's services wait for each other
/// (oslo.messaging's `rpc_response_timeout`). A thing that nobody saw is looked for as long.
const UNDER_WAY: Duration = Duration::from_mins(1);
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// The least for which it is looked for.
const LOOKS: Duration = Duration::from_secs(6);
/// How often a removal is tried in one clean-up.
const TRIES: u32 = 3;

/// Takes resources away; cheap to clone.
#[derive(Clone)]
pub(super) struct Cleaner {
    /// The state directory.
    state: PathBuf,
    history: History,
    clouds: Clouds,
}

impl Cleaner {
    pub(super) fn new(state: PathBuf, history: History, clouds: Clouds) -> Self {
        Self { state, history, clouds }
    }

    /// Takes away all that a build, or one trial of it, made; says how that went.
    pub(super) async fn clean_up(&self, id: &str, trial: Option<u32>) -> (StageState, String) {
        let incidents = Incidents::default();
        let work = incidents.watch(Box::pin(self.take_away_all(id, trial)));
        let (state, detail) = match tokio::time::timeout(CLEAN_UP, work).await {
            Ok(left) if left.is_empty() => (StageState::Done, "everything was removed".to_owned()),
            Ok(left) => {
                tracing::warn!(build = id, "left for the reconciler: {}", left.join("; "));
                (StageState::Failed, format!("left for the reconciler: {}", left.join("; ")))
            }
            Err(_) => (StageState::Failed, "took too long; the reconciler will finish it".to_owned()),
        };
        (state, incidents.append_to(&detail))
    }

    /// Takes away everything that a build, or one trial of it, still has, newest first. Returns what is left, a line
    /// each.
    async fn take_away_all(&self, build_id: &str, trial: Option<u32>) -> Vec<String> {
        let mut left = Vec::new();
        for attempt in 1..=TRIES {
            left.clear();
            let rows = match self.history.open_resources(build_id).await {
                Ok(rows) => rows,
                Err(error) => {
                    left.push(error.to_string());
                    continue;
                }
            };
            for row in rows.into_iter().filter(|row| trial.is_none() || row.trial == trial) {
                if let Err(why) = self.take_away(&row).await {
                    left.push(format!("{} {}: {why}", row.kind, row.name));
                }
            }
            if left.is_empty() {
                break;
            }
            if attempt < TRIES {
                tokio::time::sleep(Duration::from_secs(2 * u64::from(attempt))).await;
            }
        }
        left
    }

    /// Takes one thing away; its row says so before and after.
    pub(super) async fn take_away(&self, row: &LedgerRow) -> Result<(), String> {
        self.save_console(row).await;
        if let Err(error) = self.history.resource_state(row.id, ResourceState::Deleting, "").await {
            // A full disk, say. Taking things away may be what mends it, and can be repeated.
            tracing::warn!(build = row.build_id, "cannot write the history: {error}");
        }
        let limit = limit(&row.cloud);
        let removal = tokio::time::timeout(limit, self.remove_for_good(row))
            .await
            .unwrap_or_else(|_| Err(format!("not gone after {} s", limit.as_secs())));
        let (state, note) = match &removal {
            Ok(()) => (ResourceState::Gone, ""),
            Err(why) => (ResourceState::Deleting, why.as_str()),
        };
        self.history.resource_state(row.id, state, note).await.map_err(|error| error.to_string())?;
        removal
    }

    /// Keeps the console of a server that is about to go, as far as its cloud gives it: nobody else has asked for that of a
    /// trial that was cancelled or interrupted.
    async fn save_console(&self, row: &LedgerRow) {
        if ResourceKind::parse(&row.kind) != Some(ResourceKind::Server) {
            return;
        }
        let Ok(cloud) = self.clouds.get(&row.cloud) else { return };
        if cloud.kind().on_this_host {
            return;
        }
        let Ok(build) = self.history.build(&row.build_id).await else { return };
        let Some(server) = newest_server(row, &build, &self.state) else { return };
        match tokio::time::timeout(CONSOLE, cloud.save_console(&server)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(build = row.build_id, "cannot keep the console: {error}"),
            Err(_) => tracing::warn!(build = row.build_id, "cannot keep the console: no answer"),
        }
    }

    /// Where the private half of a key pair lies: with the logs of the trial that it belongs to.
    async fn private_key(&self, row: &LedgerRow) -> Result<PathBuf, String> {
        let state = &self.state;
        let build = match self.history.build(&row.build_id).await {
            Ok(build) => build,
            // Its files went before its row did.
            Err(HistoryError::NoBuild(_)) => {
                return Ok(files::directory(state, &row.build_id).join(files::PRIVATE_KEY));
            }
            Err(error) => return Err(error.to_string()),
        };
        let trial = row.trial.and_then(|position| build.trials.get(usize::try_from(position).ok()?));
        let target = trial.map(|trial| trial.target.as_str()).unwrap_or_default();
        // A row from before trials is that of the only one.
        let only = build.trials.len() <= 1 || trial.is_none();
        Ok(files::of_trial(state, &row.build_id, target, only).join(files::PRIVATE_KEY))
    }

    /// Whoever was killed while a cloud worked on a request leaves it to the cloud to end it: what nobody saw is looked
    /// for until no request can be under way.
    async fn remove_for_good(&self, row: &LedgerRow) -> Result<(), String> {
        let age = u64::try_from(clock::now().timestamp_millis() - row.asked_at_ms).unwrap_or_default();
        // The request may have left long after it was written down: it was asked again, or waited for its turn.
        let rest = UNDER_WAY.saturating_sub(Duration::from_millis(age)).max(LOOKS);
        let last = Instant::now() + rest;
        while !self.remove(row).await? && Instant::now() < last {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    /// Whether it is gone for good; otherwise it may come to be yet.
    pub(super) async fn remove(&self, row: &LedgerRow) -> Result<bool, String> {
        if row.cloud == HOST {
            let scratch = Path::new(&row.name);
            return crate::builder::clean(scratch, &row.build_id)
                .await
                .map(|_| true)
                .map_err(|error| error.to_string());
        }
        let cloud = self
            .clouds
            .get(&row.cloud)
            .map_err(|error| format!("{error}; it can be removed once the cloud is configured again"))?;
        let kind = ResourceKind::parse(&row.kind)
            .ok_or_else(|| format!("unknown kind {:?} in the ledger", row.kind))?;
        if kind == ResourceKind::KeyPair {
            let file = self.private_key(row).await?;
            match tokio::fs::remove_file(&file).await {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(format!("cannot remove the private key {}: {error}", file.display()));
                }
                _ => {}
            }
        }
        let resource = Resource {
            kind,
            name: row.name.clone(),
            external_id: row.external_id.clone(),
            build_id: row.build_id.clone(),
        };
        // An image may turn out to be published; without this its cloud goes by dates.
        let current = match kind {
            ResourceKind::Image => self.history.current_images(&row.cloud).await.unwrap_or_default(),
            _ => Vec::new(),
        };
        let answer = cloud.remove_beside(&resource, &current).await;
        self.clouds.note(&*cloud, &answer);
        match answer {
            Ok(Removal::Gone) => Ok(true),
            Ok(Removal::Unseen) => Ok(false),
            Ok(Removal::Held(why)) => Err(format!("held: {why}")),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// How long the removal of one resource in this cloud may take.
fn limit(cloud: &str) -> Duration {
    if cloud == HOST { REMOVAL_HERE } else { REMOVAL }
}

/// The server of a row, when it is its trial's newest one: the log of the console is that one's.
fn newest_server(row: &LedgerRow, build: &v1::Build, state: &Path) -> Option<Server> {
    let trial = build.trials.get(usize::try_from(row.trial?).ok()?)?;
    let server = trial.server.as_ref().filter(|server| row.external_id.as_ref() == Some(&server.id))?;
    let directory = files::of_trial(state, &row.build_id, &trial.target, build.trials.len() <= 1);
    Some(Server {
        id: server.id.clone(),
        name: server.name.clone(),
        flavor: server.flavor.clone(),
        console_log: directory.join(files::CONSOLE_LOG),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_removal_on_this_host_is_given_up_before_it_gives_up_itself() {
        assert!(limit(HOST) > CLEANING && limit(HOST) < CLEAN_UP);
        assert_eq!(limit("lab"), REMOVAL);
    }

    #[test]
    fn only_the_newest_server_of_a_trial_writes_its_console() {
        let row = |id: Option<&str>, trial| LedgerRow {
            id: 1,
            build_id: "b".to_owned(),
            trial,
            cloud: "lab".to_owned(),
            kind: "server".to_owned(),
            name: "image-manager-b-two".to_owned(),
            external_id: id.map(str::to_owned),
            asked_at_ms: 0,
        };
        let trial = |target: &str, server: Option<&str>| v1::Trial {
            target: target.to_owned(),
            server: server.map(|id| v1::Server { id: id.to_owned(), ..v1::Server::default() }),
            ..v1::Trial::default()
        };
        let build = v1::Build {
            trials: vec![trial("one", None), trial("two", Some("second"))],
            ..v1::Build::default()
        };
        let log = |id, trial| {
            newest_server(&row(id, trial), &build, Path::new("s")).map(|server| server.console_log)
        };
        assert_eq!(log(Some("second"), Some(1)), Some("s/builds/b/two/console.log".into()));
        for (id, trial) in [
            (Some("first"), Some(1)),
            (None, Some(1)),
            (Some("second"), Some(0)),
            (Some("second"), Some(2)),
            (Some("second"), None),
        ] {
            assert_eq!(log(id, trial), None, "{id:?} {trial:?}");
        }
    }
}
