//! The beginning of BUILDING: whether a cloud can take the build, and whether there is room for it on this host.
//!
//! What is missing may be what other builds have: their servers take memory and quota, and what they have made lies on the
//! disk until every cloud has it. As long as there are others the build waits for a while, and leaves its place to those that
//! need not wait. So it is the room that bounds how much lies side by side, however many builds wait for their clouds.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::cloud::Trouble;
use crate::lifecycle::driver::Driver;
use crate::lifecycle::failure::Failure;
use crate::lifecycle::room::{Lack, Reservation};
use crate::reason::Reason;
use crate::stage::Stage;

/// How long the cloud may take to say whether it can take the build.
const PREFLIGHT: Duration = Duration::from_mins(5);
/// So that the cloud is told from the clock.
const SLACK: Duration = Duration::from_secs(5);
/// How long a build waits for what others may give back, and how often it looks.
const PATIENCE: Duration = Duration::from_mins(10);
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Waits until the build may begin; returns its place. What it has waited for does not count for `timeouts.total`.
pub(super) async fn wait(
    driver: &mut Driver,
    mut place: Option<OwnedSemaphorePermit>,
) -> Result<Option<OwnedSemaphorePermit>, Failure> {
    let mut patience = Patience::from(Instant::now());
    loop {
        let lack = match look(driver).await? {
            Ok(reservation) => {
                // A build has one.
                let _ = driver.reservation.set(reservation);
                return Ok(place);
            }
            Err(lack) => lack,
        };
        if let Some(missing) = patience.after(lack, Instant::now())? {
            let detail = format!("waiting for other builds to give room back: {missing}");
            tracing::info!(build = driver.id, "{detail}");
            driver.events().progress(&driver.id, "", Stage::Building.word(), 0.0, &detail);
        }
        drop(place.take());
        tokio::select! {
            failure = driver.bounds.interrupted() => return Err(failure),
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
        let stops = "the manager was told to stop while the build was waiting for room";
        place = driver.place().await.unwrap_or_else(|| Err(Failure::new(Reason::Interrupted, stops)))?;
        driver.bounds.begin();
    }
}

/// Whether the build may begin now.
async fn look(driver: &Driver) -> Result<Result<Reservation, Lack>, Failure> {
    let settings = driver.settings();
    let scratch = settings.scratch_directory(&driver.id);
    let made = tokio::fs::create_dir_all(&settings.scratch).await;
    made.map_err(|error| Failure::new(Reason::State, format!("{}: {error}", settings.scratch.display())))?;
    let targets = &driver.schedule.targets;
    let late =
        async { Failure::new(Reason::CloudTimeout, "the cloud does not say whether it can take the build") };
    let asked = async { Ok(driver.clouds().preflight(targets, PREFLIGHT).await) };
    if let Err((_, error)) = driver.bounds.run(PREFLIGHT + SLACK, late, asked).await? {
        let others = error.trouble == Trouble::NoRoom && driver.room().has_others(&scratch);
        return Ok(Err(Lack { failure: Failure::from(error), others }));
    }
    let clouds = targets.iter().filter_map(|target| driver.clouds().get(&target.cloud).ok());
    let images = clouds.collect::<Vec<Arc<_>>>().iter().find_map(|cloud| cloud.image_directory());
    driver.room().admit(&driver.schedule, &scratch, images).await
}

/// How long a build waits for what others may give back.
struct Patience {
    until: Instant,
    told: bool,
}

impl Patience {
    fn from(now: Instant) -> Self {
        Self { until: now + PATIENCE, told: false }
    }

    /// After a look at `now` that found too little: what is missing, to be told once; an error when waiting is no use.
    fn after(&mut self, lack: Lack, now: Instant) -> Result<Option<String>, Failure> {
        if !lack.others || now >= self.until {
            return Err(lack.failure);
        }
        Ok((!std::mem::replace(&mut self.told, true)).then_some(lack.failure.message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_may_give_back_is_waited_for_and_not_for_ever() {
        let lack = |others| Lack { failure: Failure::new(Reason::ScratchFull, "2 GiB"), others };
        let now = Instant::now();
        let mut patience = Patience::from(now);
        assert_eq!(patience.after(lack(true), now).unwrap().as_deref(), Some("2 GiB"));
        assert_eq!(patience.after(lack(true), now + LOOK_AGAIN).unwrap(), None, "it is told once");
        assert_eq!(patience.after(lack(false), now).unwrap_err().reason, Reason::ScratchFull);
        assert_eq!(patience.after(lack(true), now + PATIENCE).unwrap_err().message, "2 GiB");
    }
}
