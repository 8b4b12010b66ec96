//! What the task of a build is given.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::lifecycle::cleaner::Cleaner;
use crate::lifecycle::clouds::Clouds;
use crate::lifecycle::current_schedules::CurrentSchedules;
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
    /// For builds under way.
    pub(super) places: Semaphore,
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
        let places = Semaphore::new(settings.concurrent_builds.max(1));
        let trials = Arc::new(trials);
        Self { settings, records, schedules, clouds, publications, cleaner, room, places, shutdown, trials }
    }
}
