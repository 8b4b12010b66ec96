//! What the stages of a trial work with: its parts, its names, and those who are told of it.

use std::path::PathBuf;

use image_manager_proto::v1;

use super::Trial;
use crate::history::{History, HistoryError, Named as _};
use crate::lifecycle::cleaner::Cleaner;
use crate::lifecycle::control;
use crate::lifecycle::ledger::BuildLedger;
use crate::lifecycle::publications::Publications;
use crate::lifecycle::served_gateway::ServedGateway;
use crate::lifecycle::settings::{Settings, files, resource_name};
use crate::stage::Stage;

impl Trial {
    /// Whether the artifact was hashed just now, so that nobody needs to read it for that again.
    pub(in crate::lifecycle) fn has_fresh_artifact(&self) -> bool {
        self.shared.fresh && self.attempt == 1
    }

    /// The history.
    pub(in crate::lifecycle) fn history(&self) -> &History {
        self.shared.context.records.history()
    }

    /// About the host.
    pub(in crate::lifecycle) fn settings(&self) -> &Settings {
        &self.shared.context.settings
    }

    /// Whoever takes resources away.
    pub(in crate::lifecycle) fn cleaner(&self) -> &Cleaner {
        &self.shared.context.cleaner
    }

    /// Which attempt it is, from 1.
    pub(in crate::lifecycle) fn attempt_number(&self) -> u32 {
        self.attempt
    }

    /// The word for where it stands.
    pub(in crate::lifecycle) fn stage_word(&self) -> &'static str {
        self.state.word()
    }

    /// Tells watchers how the build stands.
    pub(in crate::lifecycle) async fn tell(&self) {
        self.shared.context.records.tell_build(&self.shared.id).await;
    }

    /// Whoever knows what is published.
    pub(in crate::lifecycle) fn publications(&self) -> &Publications {
        self.shared.context.publications()
    }

    /// Whoever makes control images.
    pub(in crate::lifecycle) fn control_images(&self) -> &control::Maker {
        &self.shared.context.control_images
    }

    /// The gateway that the server's agent dials.
    pub(in crate::lifecycle) fn gateway(&self) -> &ServedGateway {
        &self.shared.context.gateway
    }

    /// This installation's id.
    pub(in crate::lifecycle) fn owner(&self) -> &str {
        &self.shared.context.owner
    }

    /// The ledger as this trial's cloud sees it. An image is the whole build's, everything else the trial's.
    pub(in crate::lifecycle) fn ledger(&self) -> BuildLedger {
        BuildLedger {
            history: self.history().clone(),
            build_id: self.shared.id.clone(),
            trial: Some(self.key.position),
            cloud: self.target.cloud.clone(),
            own_image: false,
        }
    }

    /// The same for a control image, which is the trial's own.
    pub(in crate::lifecycle) fn ledger_of_control(&self) -> BuildLedger {
        BuildLedger { own_image: true, ..self.ledger() }
    }

    /// The name of what is made for a special purpose. No target's name begins with a dash: no other trial has it.
    pub(in crate::lifecycle) fn name_of(&self, purpose: &str) -> String {
        let name = format!("{}--{purpose}", resource_name(&self.shared.id));
        if self.shared.only { name } else { format!("{name}-{}", self.target.name) }
    }

    /// The name of what belongs to this trial alone in its cloud. A second server has another one: the first is looked for
    /// by its name for a while yet.
    pub(in crate::lifecycle) fn resource_name(&self) -> String {
        if self.again {
            return self.name_of("again");
        }
        let name = resource_name(&self.shared.id);
        if self.shared.only { name } else { format!("{name}-{}", self.target.name) }
    }

    /// The build that made the image, whose id its agent knows: it obeys no other.
    pub(in crate::lifecycle) fn made_by(&self) -> &str {
        self.image_of.as_deref().unwrap_or(&self.shared.id)
    }

    /// The directory of this trial's logs.
    pub(in crate::lifecycle) fn directory(&self) -> PathBuf {
        let state = &self.settings().state;
        files::of_trial(state, &self.shared.id, &self.target.name, self.shared.only)
    }

    /// The serial console's log.
    pub(in crate::lifecycle) fn console_log(&self) -> PathBuf {
        self.directory().join(files::CONSOLE_LOG)
    }

    /// Tells a line of this trial's console or agent.
    pub(in crate::lifecycle) fn log(&self, source: v1::LogSource, line: &str) {
        self.shared.context.records.events().log(&self.shared.id, &self.told_as(), source, line);
    }

    /// Tells how far a stage has come.
    pub(in crate::lifecycle) fn progress(&self, stage: Stage, fraction: f64, detail: &str) {
        self.shared.context.records.events().progress(
            &self.shared.id,
            &self.told_as(),
            stage.word(),
            fraction,
            detail,
        );
    }

    /// The target's name, where there is more than one.
    fn told_as(&self) -> String {
        if self.shared.only { String::new() } else { self.target.name.clone() }
    }

    /// Records and tells results of checks.
    pub(in crate::lifecycle) async fn record_checks(
        &self,
        checks: Vec<v1::Check>,
    ) -> Result<(), HistoryError> {
        self.history().record_checks(&self.key, checks.clone()).await?;
        for check in checks {
            self.shared.context.records.events().check(&self.shared.id, &self.told_as(), check);
        }
        Ok(())
    }
}
