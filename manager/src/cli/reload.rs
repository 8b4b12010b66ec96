//! Reading schedules.toml anew when it has changed, or when SIGHUP asks for it.
//!
//! A file with mistakes changes nothing: the schedules stay as they are, and what is wrong is in the log and in
//! ListSchedules until the file is right again. Builds under way keep the schedule that they began with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::signal::unix::Signal;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::instance::{clouds, prove_reach};
use crate::lifecycle::Manager;
use crate::schedules;

/// How often the file is looked at. A change counts once two looks have found the same, so that a file is not
/// read while it is being written.
const LOOK: Duration = Duration::from_secs(2);

/// What a look found: the content's digest; `None` when the file cannot be read.
type Content = Option<[u8; 32]>;

/// Watches the file.
pub(crate) struct Reloader {
    pub(crate) manager: Manager,
    pub(crate) path: PathBuf,
    /// Where the gateway listens; `None` when servers are told another address.
    pub(crate) gateway: Option<SocketAddr>,
}

impl Reloader {
    /// Runs until `stop`.
    pub(crate) async fn run(self, mut hangup: Option<Signal>, stop: CancellationToken) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // What the last look found, and what was dealt with.
        let (mut found, mut done): (Option<Content>, Option<Content>) = (None, None);
        loop {
            let asked = async {
                match &mut hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            let asked = tokio::select! {
                () = stop.cancelled() => return,
                _ = looks.tick() => false,
                _ = asked => true,
            };
            let before = found.replace(self.content().await);
            if asked {
                tracing::info!("SIGHUP: reading {} anew", self.path.display());
            }
            if asked || (before == found && done != found) {
                self.reload().await;
                done = found;
            }
        }
    }

    async fn content(&self) -> Content {
        let bytes = tokio::fs::read(&self.path).await.ok()?;
        Some(Sha256::digest(&bytes).into())
    }

    async fn reload(&self) {
        match self.try_reload().await {
            Ok(()) => {}
            Err(why) => {
                tracing::error!(
                    "{} is not used; the schedules stay as they were:\n{why}",
                    self.path.display()
                );
                self.manager.refuse_schedules(why);
            }
        }
    }

    async fn try_reload(&self) -> Result<(), String> {
        let path = self.path.clone();
        let loaded = tokio::task::spawn_blocking(move || schedules::load(&path)).await;
        let loaded = loaded.map_err(|error| error.to_string())?.map_err(|error| error.render(false))?;
        let everything = |_: &schedules::Schedule| true;
        let owner = self.manager.owner();
        let added = clouds(&loaded, &everything, owner, &self.manager.clouds()).map_err(|t| t.to_string())?;
        if let Some(gateway) = self.gateway {
            prove_reach(&loaded, &everything, &added, gateway)
                .await
                .map_err(|trouble| trouble.to_string())?;
        }
        self.manager.replace_schedules(loaded, added).await.map_err(|error| error.to_string())
    }
}
