//! `image-manager sweep`: what a cloud still has of builds that have ended.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use image_manager_proto::counted;

use super::arguments::SweepArguments;
use super::instance::open_history;
use super::text::say;
use super::{Exit, Outcome, Trouble, logging};
use crate::builder::{self, Leftovers};
use crate::cloud::{
    Cloud, CloudError, CloudKind, Opening, Removal, Resource, ResourceKind, Trouble as CloudTrouble,
};
use crate::history::History;

/// Between the two sightings.
const APART: Duration = Duration::from_secs(5);

pub(crate) async fn run(arguments: SweepArguments) -> Outcome {
    logging::start(&arguments.logging, "error")?;
    let history = open_history(&arguments.state.state)?;
    let place = SweptCloud::of(&arguments, &history).await?;
    let found = leaks(&place, &history).await?;
    if arguments.dry_run || found.is_empty() {
        for resource in &found {
            say!(line(resource));
        }
        say!(format_args!("{} left over on {}", counted(found.len(), "resource"), arguments.cloud));
        return Ok(Exit::Done);
    }
    tokio::time::sleep(APART).await;
    let again = leaks(&place, &history).await?;
    let mut held = 0;
    for resource in again.iter().filter(|resource| found.contains(resource)) {
        let what = line(resource);
        let fate = match place.remove(resource).await {
            Ok(Removal::Gone | Removal::Unseen) => "removed".to_owned(),
            Ok(Removal::Held(why)) => {
                held += 1;
                format!("held: {why}")
            }
            Err(error) => {
                held += 1;
                format!("not removed: {error}")
            }
        };
        say!(format_args!("{what}  {fate}"));
    }
    Ok(if held == 0 { Exit::Done } else { Exit::Errored })
}

/// Where is swept.
struct SweptCloud {
    cloud: Arc<dyn Cloud>,
    /// Below the directory for scratch directories: what builds work with, when it is this host that is swept.
    scratch: Option<PathBuf>,
}

impl SweptCloud {
    async fn of(arguments: &SweepArguments, history: &History) -> Result<Self, Trouble> {
        let owner = history.owner().await.map_err(Trouble::errored)?;
        let kind = CloudKind::of(&arguments.cloud);
        let state = arguments.state.state.canonicalize().map_err(Trouble::errored)?;
        if kind.on_this_host {
            expect_scratch(arguments)?;
        }
        let opened = (kind.open)(&arguments.cloud, &Opening { state: &state, owner: &owner });
        let cloud = opened.map_err(told)?;
        let scratch = arguments.scratch.clone().unwrap_or_else(|| state.join("scratch"));
        let scratch = std::path::absolute(scratch).map_err(Trouble::errored)?;
        Ok(Self { cloud, scratch: kind.on_this_host.then_some(scratch) })
    }

    async fn inventory(&self) -> Result<Vec<Resource>, CloudError> {
        let mut found = self.cloud.inventory().await?;
        if let Some(scratch) = &self.scratch {
            let left = builder::leftovers(scratch).map_err(|error| {
                CloudError::new(CloudTrouble::Configuration, format!("{}: {error}", scratch.display()))
            })?;
            found.extend(scratches(scratch, &left));
        }
        Ok(found)
    }

    async fn remove(&self, resource: &Resource) -> Result<Removal, CloudError> {
        if resource.kind != ResourceKind::Scratch {
            return self.cloud.remove(resource).await;
        }
        match builder::clean(Path::new(&resource.name), &resource.build_id).await {
            Ok(_) => Ok(Removal::Gone),
            Err(error) => Ok(Removal::Held(error.to_string())),
        }
    }
}

/// Nothing is found below a directory that is not there: one that is named must be.
fn expect_scratch(arguments: &SweepArguments) -> Result<(), Trouble> {
    match arguments.scratch.as_deref().filter(|path| !path.is_dir()) {
        Some(path) => Err(Trouble::usage(format!(
            "--scratch {}: there is no such directory; name the one that builds used, or leave out \
             --scratch and IMAGE_MANAGER_SCRATCH",
            path.display()
        ))),
        None => Ok(()),
    }
}

/// What must be configured otherwise is the user's.
fn told(error: CloudError) -> Trouble {
    match error.trouble {
        CloudTrouble::Configuration => Trouble::usage(error),
        _ => Trouble::errored(error),
    }
}

/// Builds that have a directory, a mount or a loop device below the directory for scratch directories: only what is
/// named like a build is one's. Processes of a build work there.
fn scratches(root: &Path, left: &Leftovers) -> Vec<Resource> {
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    let files = left.loops.iter().map(|(_, file)| file);
    let paths = left.scratches.iter().chain(&left.mounts).chain(files);
    let builds = paths.filter_map(|path| {
        let name = path.strip_prefix(&root).ok()?.components().next()?.as_os_str().to_str()?;
        // That of a control image has more behind its build's id.
        let (build, more) = name.split_at_checked(uuid::fmt::Hyphenated::LENGTH)?;
        let ours = uuid::Uuid::parse_str(build).is_ok() && (more.is_empty() || more.starts_with("--"));
        ours.then(|| name.to_owned())
    });
    let builds: BTreeSet<String> = builds.collect();
    let resource = |name: String| Resource {
        kind: ResourceKind::Scratch,
        build_id: name.chars().take(uuid::fmt::Hyphenated::LENGTH).collect(),
        name: root.join(name).display().to_string(),
        external_id: None,
    };
    builds.into_iter().map(resource).collect()
}

fn line(resource: &Resource) -> String {
    let id = resource.external_id.as_deref().unwrap_or_default();
    format!("{:<14} {}  {id}", resource.kind.as_str(), resource.name)
}

/// What carries our mark and belongs to no unfinished build, nor to a name that is about to go to it.
async fn leaks(place: &SweptCloud, history: &History) -> Result<Vec<Resource>, Trouble> {
    let found = place.inventory().await.map_err(told)?;
    // Asked after the cloud was: a build that began meanwhile has made nothing that was found.
    let live = history.unfinished().await.map_err(Trouble::errored)?;
    let copies = history.copies_under_way().await.map_err(Trouble::errored)?;
    let mut leaks = Vec::new();
    for resource in found {
        let lives = live.iter().any(|(id, _)| *id == resource.build_id);
        // Key pairs carry no owner: only those of builds that we know are ours.
        let ours = resource.kind != ResourceKind::KeyPair || history.build(&resource.build_id).await.is_ok();
        let copied = copies.iter().any(|row| row.name == resource.name);
        if ours && !lives && !copied {
            leaks.push(resource);
        }
    }
    Ok(leaks)
}
