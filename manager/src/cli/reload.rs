//! Reading schedules.toml anew when it has changed, or when SIGHUP asks for it.
//!
//! A file with mistakes changes nothing: the schedules stay as they are, and what is wrong is in the log and in
//! ListSchedules until the file is right again. A file that is right and cannot be used for want of something else
//! (clouds.yaml, room on the disk) is tried again. Builds under way keep the schedule that they began with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::signal::unix::Signal;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::instance::{clouds, prove_reach};
use crate::cloud::Opening;
use crate::lifecycle::Manager;
use crate::readiness;
use crate::schedules::{self, LoadError, LoadErrorReason, Schedules};
use crate::trust;

/// How often the file is looked at. A change counts once two looks have found the same, so that a file is not
/// read while it is being written.
const LOOK: Duration = Duration::from_secs(2);
/// Pause before a file is tried again that could not be used for a reason outside it.
const PAUSE: Duration = Duration::from_secs(20);

/// What a look found: the content's digest; `None` when the file cannot be read.
type Content = Option<[u8; 32]>;

/// Watches the file.
pub(crate) struct Reloader {
    pub(crate) manager: Manager,
    pub(crate) path: PathBuf,
    /// Where the gateway listens; `None` when servers are told another address.
    pub(crate) gateway: Option<SocketAddr>,
    /// Where it listens, when nobody said where but the schedules that there were at the start.
    pub(crate) chosen: Option<SocketAddr>,
}

/// Why a file is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refusal {
    why: String,
    /// Another try of the same file may go better.
    passing: bool,
}

impl Refusal {
    #[expect(clippy::needless_pass_by_value, reason = "for map_err")]
    fn passing(why: impl ToString) -> Self {
        Self { why: why.to_string(), passing: true }
    }
}

impl From<LoadError> for Refusal {
    fn from(error: LoadError) -> Self {
        let passing = matches!(error.reason, LoadErrorReason::Unreadable(_));
        Self { why: error.render(false), passing }
    }
}

/// What was dealt with, so that the same file is not read again and again.
#[derive(Default)]
struct Handled {
    content: Option<Content>,
    /// When it is tried again all the same, and what was in the way.
    again: Option<(Instant, Refusal)>,
}

impl Handled {
    fn wants(&self, found: Option<Content>, now: Instant) -> bool {
        self.content != found || self.again.as_ref().is_some_and(|(when, _)| now >= *when)
    }

    /// Whether the log has this refusal of this content already.
    fn told(&self, found: Option<Content>, refusal: &Refusal) -> bool {
        self.content == found && self.again.as_ref().is_some_and(|(_, earlier)| earlier == refusal)
    }

    fn note(found: Option<Content>, refused: Option<Refusal>, now: Instant) -> Self {
        let again = refused.filter(|refusal| refusal.passing).map(|refusal| (now + PAUSE, refusal));
        Self { content: found, again }
    }
}

impl Reloader {
    /// Runs until `stop`.
    pub(crate) async fn run(self, mut hangup: Option<Signal>, stop: CancellationToken) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut found, mut handled): (Option<Content>, Handled) = (None, Handled::default());
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
                tracing::info!("SIGHUP: reading {} again", self.path.display());
            }
            if asked || (before == found && handled.wants(found, Instant::now())) {
                let refused = self.reload().await.err();
                if let Some(refusal) =
                    refused.as_ref().filter(|refusal| asked || !handled.told(found, refusal))
                {
                    self.log(refusal);
                }
                handled = Handled::note(found, refused, Instant::now());
            }
        }
    }

    async fn content(&self) -> Content {
        let bytes = tokio::fs::read(&self.path).await.ok()?;
        Some(Sha256::digest(&bytes).into())
    }

    fn log(&self, refusal: &Refusal) {
        let then = if refusal.passing { "; it is tried again" } else { "" };
        let (path, why) = (self.path.display(), &refusal.why);
        tracing::error!("{path} is not used; the schedules stay as they were{then}:");
        // An event is one line.
        why.lines().filter(|line| !line.is_empty()).for_each(|line| tracing::error!("{line}"));
    }

    async fn reload(&self) -> Result<(), Refusal> {
        let done = self.try_reload().await;
        if let Err(refusal) = &done {
            self.manager.refuse_schedules(refusal.why.clone());
        }
        done
    }

    /// An element that is missing now may be there later, with the same file.
    async fn look_at_elements(&self, loaded: Schedules) -> Result<Schedules, Refusal> {
        let settings = self.manager.settings().clone();
        let looked = tokio::task::spawn_blocking(move || {
            let definition = readiness::definition(&loaded, &settings, &|_| true);
            let mistakes = definition.into_result(&loaded).err();
            (loaded, mistakes)
        });
        let (loaded, mistakes) = looked.await.map_err(Refusal::passing)?;
        mistakes.map_or(Ok(loaded), |error| Err(Refusal { why: error.render(false), passing: true }))
    }

    async fn try_reload(&self) -> Result<(), Refusal> {
        let (path, settings) = (self.path.clone(), self.manager.settings().clone());
        let loaded = tokio::task::spawn_blocking(move || {
            // Mended outside the file, so it is tried again.
            trust::check(&path, false).map_err(Refusal::passing)?;
            let loaded = schedules::load(&path).map_err(Refusal::from)?;
            readiness::check_what_runs(&settings, &loaded).map_err(Refusal::passing)?;
            Ok::<_, Refusal>(loaded)
        });
        let loaded = loaded.await.map_err(Refusal::passing)??;
        let loaded = self.look_at_elements(loaded).await?;
        if let Some(why) = self.chosen.and_then(|gateway| out_of_reach(&loaded, gateway)) {
            return Err(Refusal { why, passing: false });
        }
        let everything = |_: &schedules::Schedule| true;
        let opening = Opening { state: &self.manager.settings().state, owner: self.manager.owner() };
        // What clouds.yaml, a name server or the disk lacks now may be there later, with the same file.
        let added =
            clouds(&loaded, &everything, &opening, &self.manager.clouds()).map_err(Refusal::passing)?;
        if let Some(gateway) = self.gateway {
            prove_reach(&loaded, &everything, &added, gateway).await.map_err(Refusal::passing)?;
        }
        self.manager.replace_schedules(loaded, added).await.map_err(Refusal::passing)
    }
}

/// Why no agent could call: while all schedules were local, the gateway was opened to this host only.
fn out_of_reach(schedules: &Schedules, gateway: SocketAddr) -> Option<String> {
    let mut targets = schedules
        .schedules
        .iter()
        .flat_map(|schedule| schedule.targets.iter().map(move |target| (schedule, target)));
    let (schedule, far) = targets.find(|(_, target)| !target.kind().on_this_host)?;
    gateway.ip().is_loopback().then(|| {
        format!(
            "schedule {:?}: servers of the cloud {:?} cannot reach the gateway on {gateway}, which only this host can \
             reach because every schedule was local: restart the manager, or give --gateway 0.0.0.0:{}",
            schedule.name,
            far.cloud,
            gateway.port()
        )
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_gateway_for_this_host_refuses_schedules_of_clouds() {
        let parse = |cloud: &str| {
            let text = format!("[schedule.a]\nimage.elements = [\"e\"]\n{cloud}");
            schedules::parse(Path::new("schedules.toml"), &text).unwrap()
        };
        let (local, far) = (parse(""), parse("cloud = \"mycloud\"\nserver.flavor = \"m\""));
        let (here, everywhere) = ("127.0.0.1:50051".parse().unwrap(), "0.0.0.0:50051".parse().unwrap());
        let why = out_of_reach(&far, here).unwrap();
        for part in ["\"a\"", "\"mycloud\"", "restart the manager, or give --gateway 0.0.0.0:50051"] {
            assert!(why.contains(part), "{why}");
        }
        assert_eq!(out_of_reach(&local, here), None);
        assert_eq!(out_of_reach(&far, everywhere), None);
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let now = Instant::now();
        let (one, two) = (Some(Some([1; 32])), Some(Some([2; 32])));
        let fresh = Handled::default();
        assert!(fresh.wants(one, now));
        for refused in [None, Some(Refusal { why: "mistakes".to_owned(), passing: false })] {
            let handled = Handled::note(one, refused, now);
            assert!(!handled.wants(one, now + PAUSE * 2) && handled.wants(two, now));
        }
        let (full, other) = (Refusal::passing("the disk is full"), Refusal::passing("no clouds.yaml"));
        let handled = Handled::note(one, Some(full.clone()), now);
        assert!(!handled.wants(one, now + PAUSE / 2) && handled.wants(one, now + PAUSE));
        assert!(handled.told(one, &full) && !handled.told(one, &other) && !handled.told(two, &full));
    }
}
