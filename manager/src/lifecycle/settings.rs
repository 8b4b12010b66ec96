//! What the manager is told about its host.

use std::path::PathBuf;
use std::time::Duration;

use crate::gateway::GatewaySettings;
use crate::schedules::ImageSpec;

/// What the manager is told about its host; the same for all builds.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The state directory.
    pub state: PathBuf,
    /// Where builds get their scratch directories; by default `scratch` in the state directory.
    pub scratch: PathBuf,
    /// `disk-image-create`.
    pub dib: PathBuf,
    /// Where elements are looked for besides DIB's own, an earlier one before a later one; those of `shipped` are last.
    pub elements: Vec<PathBuf>,
    /// The directories among them whose elements came with this program.
    pub shipped: Vec<PathBuf>,
    /// The static agent binary that goes into the images.
    pub agent: PathBuf,
    /// What makes control images; `None`: it was not installed.
    pub control_image: Option<PathBuf>,
    /// Files that no build may see, besides the state directory and the scratch directories of others: those with
    /// tokens.
    pub private: Vec<PathBuf>,
    /// Builds that may make their image at once; further ones wait.
    pub concurrent_builds: usize,
    /// Trials that may be under way at once on each cloud, over all builds; further ones wait.
    pub concurrent_trials: usize,
    /// Of the gateway that agents dial.
    pub gateway: GatewaySettings,
    /// How long an agent whose stream broke may take to come back.
    pub reattach: Duration,
    /// `ip:port` that servers elsewhere than on this host dial; `None`: the cloud says.
    pub agent_endpoint: Option<String>,
    /// Least free bytes of the scratch directory's file system for a build to start.
    pub room: u64,
}

impl Settings {
    /// Where the elements of an image are looked for: in the schedule's own directories first.
    pub fn elements_of(&self, image: &ImageSpec) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> = Vec::new();
        for directory in image.elements_path.iter().chain(&self.elements) {
            if !all.contains(directory) {
                all.push(directory.clone());
            }
        }
        all
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.state.join("image-manager.db")
    }

    /// The directory with a build's logs.
    pub fn build_directory(&self, build_id: &str) -> PathBuf {
        files::directory(&self.state, build_id)
    }

    /// The scratch directory of a build.
    pub fn scratch_directory(&self, build_id: &str) -> PathBuf {
        self.scratch.join(build_id)
    }

    /// DIB's cache.
    pub fn cache(&self) -> PathBuf {
        self.state.join("cache")
    }

    /// Where the directories are named in which package managers are asked.
    pub fn asking(&self) -> PathBuf {
        self.state.join("asking")
    }

    /// The kept bases.
    pub fn bases(&self) -> PathBuf {
        self.state.join("bases")
    }
}

/// A build's directory, and the names of the files in it.
pub mod files {
    use std::path::{Path, PathBuf};

    /// Where the directories of the builds are, in the state directory.
    pub const BUILDS: &str = "builds";

    /// A build's directory.
    pub fn directory(state: &Path, build_id: &str) -> PathBuf {
        state.join(BUILDS).join(build_id)
    }

    /// The directory of a trial's logs: that of its build where it is the only one.
    pub fn of_trial(state: &Path, build_id: &str, target: &str, only: bool) -> PathBuf {
        let directory = directory(state, build_id);
        if only { directory } else { directory.join(target) }
    }

    /// disk-image-builder's output.
    pub const BUILD_LOG: &str = "build.log";
    /// The server's serial console.
    pub const CONSOLE_LOG: &str = "console.log";
    /// The serial console of a control boot.
    pub const CONTROL_LOG: &str = "control.log";
    /// What the agent said, a JSON object a line.
    pub const AGENT_LOG: &str = "agent.jsonl";
    /// Opens the build's server to people while it is up; removed with its key pair.
    pub const PRIVATE_KEY: &str = "ssh_key";
    /// What of its build was seen in the finished image.
    pub const INSPECTION: &str = "inspection.json";
    /// What of the schedule's `image` its checks compare with what they see.
    pub const ACCOUNTS: &str = "accounts.json";
    /// The image's packages.
    pub const MANIFEST: &str = "manifest.json";
}

/// The name that everything of a build carries until it is published.
pub(super) fn resource_name(build_id: &str) -> String {
    format!("image-manager-{build_id}")
}
