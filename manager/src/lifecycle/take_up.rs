//! Where a build can be gone on with that an earlier manager was at.
//!
//! | it was | and goes on when |
//! | --- | --- |
//! | UPLOADING | the artifact is whole by its hash: what came of the upload is removed, and it is uploaded again |
//! | BOOTING | the server runs, and its agent dials this gateway and expects this certificate |
//! | PUBLISHING | always: every step of it can be repeated |
//!
//! Anywhere else, or when the schedule has changed since, it ends ERRORED `interrupted`. A build is taken up a
//! few times only: one that brings its manager down must not do so for ever.

use image_manager_proto::v1::{self, BuildState};

use super::Manager;
use super::artifact::{HashedFile, digest_of};
use super::settings::resource_name;
use crate::cloud::{Image, Server};
use crate::history::{Claim, HistoryError, Introduction, Named as _, Trail};
use crate::schedules::Schedule;

/// How often a build is taken up.
const MOST: u32 = 3;

/// Where on the road a driver begins.
pub(super) enum Start {
    /// At the beginning.
    Queue,
    /// With the upload of what was built; the image, when it was uploaded already.
    Uploading { artifact: HashedFile, image: Option<Image> },
    /// With a server whose agent is to come; the claim, when it has come before.
    Booting { image: Image, server: Server, agent: Introduction, claim: Option<Claim> },
    /// With giving the verified image its name.
    Publishing(Image),
}

impl Start {
    /// The state in which the build is.
    pub(super) fn state(&self) -> BuildState {
        match self {
            Self::Queue => BuildState::Queued,
            Self::Uploading { .. } => BuildState::Uploading,
            Self::Booting { .. } => BuildState::Booting,
            Self::Publishing(_) => BuildState::Publishing,
        }
    }
}

impl Manager {
    /// Goes on with a build that an earlier manager was at. Otherwise says why that cannot be.
    pub(super) async fn take_up(
        &self,
        id: &str,
        state: BuildState,
    ) -> Result<Result<(), String>, HistoryError> {
        if !self.inner().serves {
            return Ok(Err("a build in the foreground takes no other up".to_owned()));
        }
        let build = self.history().build(id).await?;
        let trail = self.history().trail(id).await?;
        let found = self.schedule(&build.schedule).and_then(|schedule| {
            let cloud = self.cloud(&schedule.cloud)?;
            Ok((schedule, cloud))
        });
        let (schedule, cloud) = match found {
            Ok(found) => found,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let start = match where_to(self, &schedule, state, &build, trail) {
            Ok(start) => start,
            Err(why) => return Ok(Err(why)),
        };
        self.history().take_up(id).await?;
        tracing::info!(build = id, state = start.state().word(), "taken up");
        self.start(id.to_owned(), schedule, cloud, start, None);
        Ok(Ok(()))
    }
}

/// What the history has of a build, as a place on the road to go on from.
fn where_to(
    manager: &Manager,
    schedule: &Schedule,
    state: BuildState,
    build: &v1::Build,
    trail: Trail,
) -> Result<Start, String> {
    if trail.taken_up >= MOST {
        return Err(format!("it was taken up {MOST} times already"));
    }
    let artifact = trail.artifact.ok_or("it is not known what was built")?;
    if schedule.cloud != build.cloud || digest_of(schedule) != artifact.schedule_digest {
        return Err("its schedule has changed since".to_owned());
    }
    let image = build.image.as_ref().map(|image| Image {
        id: image.id.clone(),
        // Not the public name, which it may have been given already.
        name: resource_name(&build.id),
        sha512: image.sha512.clone(),
        size_bytes: image.size_bytes,
        virtual_size_bytes: image.virtual_size_bytes,
    });
    match state {
        BuildState::Uploading => {
            let artifact = HashedFile { file: artifact.file, sha512: artifact.sha512 };
            Ok(Start::Uploading { artifact, image })
        }
        BuildState::Booting => {
            let server = build.server.as_ref().ok_or("the answer to the request for its server was lost")?;
            let server = Server {
                id: server.id.clone(),
                name: server.name.clone(),
                flavor: server.flavor.clone(),
                console_log: manager.settings().build_directory(&build.id).join(super::files::CONSOLE_LOG),
            };
            let agent = trail.introduction.ok_or("it is not known how its agent introduces itself")?;
            if agent.fingerprint != manager.inner().fingerprint {
                return Err("its agent expects another certificate than this manager's".to_owned());
            }
            let image = image.ok_or("its image is not known")?;
            Ok(Start::Booting { image, server, agent, claim: trail.claim })
        }
        BuildState::Publishing => Ok(Start::Publishing(image.ok_or("its image is not known")?)),
        _ => Err("what it was doing cannot be gone on with".to_owned()),
    }
}
