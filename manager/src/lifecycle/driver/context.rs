//! What the task of a build is given.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::lifecycle::bounds::Bounds;
use crate::lifecycle::cleaner::Cleaner;
use crate::lifecycle::clouds::Clouds;
use crate::lifecycle::current_schedules::CurrentSchedules;
use crate::lifecycle::failure::Failure;
use crate::lifecycle::publications::Publications;
use crate::lifecycle::records::Records;
use crate::lifecycle::room::Room;
use crate::lifecycle::settings::Settings;
use crate::lifecycle::stop::Shutdown;
use crate::lifecycle::trial::TrialContext;

/// What the tasks of builds share.
pub(in crate::lifecycle) struct BuildContext {
    pub(super) settings: Arc<Settings>,
    pub(super) records: Records,
    pub(super) schedules: CurrentSchedules,
    pub(super) clouds: Clouds,
    pub(super) publications: Publications,
    pub(super) cleaner: Cleaner,
    pub(super) room: Room,
    /// For builds that make their image. What comes after that waits for clouds, and for its own places there.
    places: Arc<Semaphore>,
    pub(super) shutdown: Shutdown,
    /// What each trial is given.
    pub(super) trials: Arc<TrialContext>,
}

impl BuildContext {
    pub(in crate::lifecycle) fn new(
        (settings, records): (Arc<Settings>, Records),
        schedules: CurrentSchedules,
        clouds: Clouds,
        publications: Publications,
        cleaner: Cleaner,
        shutdown: Shutdown,
        trials: TrialContext,
    ) -> Self {
        let room = Room::new(Arc::clone(&settings), records.history().clone());
        let places = Arc::new(Semaphore::new(settings.concurrent_builds.max(1)));
        let trials = Arc::new(trials);
        Self { settings, records, schedules, clouds, publications, cleaner, room, places, shutdown, trials }
    }

    /// Waits for a place to make an image in; a build that makes none needs none. `None`: the manager stops, and the build
    /// waits on, in the history, for the next one.
    pub(super) async fn place(
        &self,
        bounds: &Bounds,
        makes_image: bool,
    ) -> Option<Result<Option<OwnedSemaphorePermit>, Failure>> {
        tokio::select! {
            biased;
            failure = bounds.interrupted() => (!bounds.stop().is_shutdown()).then_some(Err(failure)),
            () = self.shutdown.closing() => None,
            () = std::future::ready(()), if !makes_image => Some(Ok(None)),
            place = Arc::clone(&self.places).acquire_owned() => {
                Some(place.map(Some).map_err(|_| Failure::cancelled()))
            }
        }
    }
}
