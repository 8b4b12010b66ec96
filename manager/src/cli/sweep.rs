//! `image-manager sweep`: what a cloud still has of builds that have ended.

use std::time::Duration;

use super::arguments::SweepArguments;
use super::instance::open_history;
use super::text;
use super::{Exit, Outcome, Trouble, logging};
use crate::cloud::openstack::OpenStackCloud;
use crate::cloud::{Cloud as _, Removal, Resource, ResourceKind};
use crate::history::History;
use crate::schedules::LOCAL;

/// Between the two sightings.
const APART: Duration = Duration::from_secs(5);

pub(crate) async fn run(arguments: SweepArguments) -> Outcome {
    logging::start(&arguments.logging, "error")?;
    if arguments.cloud == LOCAL {
        return Err(Trouble::usage(
            "the local cloud needs no sweep: every start of the manager takes away what is left there",
        ));
    }
    let history = open_history(&arguments.state.state)?;
    let owner = history.owner().await.map_err(Trouble::errored)?;
    let cloud = OpenStackCloud::open(&arguments.cloud, owner).map_err(Trouble::usage)?;
    let found = leaks(&cloud, &history).await?;
    if arguments.dry_run || found.is_empty() {
        for resource in &found {
            text::print(&format!("{}\n", line(resource)));
        }
        text::print(&format!("{} left over on {}\n", found.len(), arguments.cloud));
        return Ok(Exit::Done);
    }
    tokio::time::sleep(APART).await;
    let again = leaks(&cloud, &history).await?;
    let mut held = 0;
    for resource in again.iter().filter(|resource| found.contains(resource)) {
        let what = line(resource);
        let fate = match cloud.remove(resource).await {
            Ok(Removal::Gone) => "removed".to_owned(),
            Ok(Removal::Held(why)) => {
                held += 1;
                format!("held: {why}")
            }
            Err(error) => {
                held += 1;
                format!("not removed: {error}")
            }
        };
        text::print(&format!("{what}  {fate}\n"));
    }
    Ok(if held == 0 { Exit::Done } else { Exit::Errored })
}

fn line(resource: &Resource) -> String {
    let id = resource.external_id.as_deref().unwrap_or_default();
    format!("{:<14} {}  {id}", resource.kind.as_str(), resource.name)
}

/// What carries our mark and belongs to no unfinished build.
async fn leaks(cloud: &OpenStackCloud, history: &History) -> Result<Vec<Resource>, Trouble> {
    let found = cloud.inventory().await.map_err(Trouble::errored)?;
    // Asked after the cloud was: a build that began meanwhile has made nothing that was found.
    let live = history.unfinished().await.map_err(Trouble::errored)?;
    let mut leaks = Vec::new();
    for resource in found {
        let lives = live.iter().any(|(id, _)| *id == resource.build_id);
        // Key pairs carry no owner: only those of builds that we know are ours.
        let ours = resource.kind != ResourceKind::KeyPair || history.build(&resource.build_id).await.is_ok();
        if ours && !lives {
            leaks.push(resource);
        }
    }
    Ok(leaks)
}
