//! The beginning of BUILDING: whether a cloud can take the build, and whether there is room for it on this host.
//!
//! What is missing may be what other builds have: their servers take memory and quota, and what they have made lies on the
//! disk until every cloud has it. As long as there are others the build waits for a while, and leaves its place to those that
//! need not wait. So it is the room that bounds how much lies side by side, however many builds wait for their clouds.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};

use crate::cloud::{CloudError, Trouble};
use crate::lifecycle::driver::Driver;
use crate::lifecycle::failure::Failure;
use crate::lifecycle::room::{Lack, Reservation};
use crate::reason::Reason;
use crate::stage::Stage;

/// How long the cloud may take to say whether it can take the build.
const PREFLIGHT: Duration = Duration::from_mins(5);
/// How long the build keeps its place meanwhile.
const WITH_PLACE: Duration = Duration::from_secs(20);
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
    // From the first lack on: a slow cloud uses nothing of it up.
    let mut patience = None;
    loop {
        let lack = match look(driver, &mut place).await? {
            Ok(reservation) => {
                // A build has one.
                let _ = driver.reservation.set(reservation);
                return Ok(place);
            }
            Err(lack) => lack,
        };
        let now = Instant::now();
        if let Some(missing) = patience.get_or_insert_with(|| Patience::from(now)).after(lack, now)? {
            let detail = format!("waiting for other builds to give room back: {missing}");
            tracing::info!(build = driver.id, "{detail}");
            driver.events().progress(&driver.id, "", Stage::Building.word(), 0.0, &detail);
        }
        driver.bounds.pause();
        drop(place.take());
        tokio::select! {
            failure = driver.bounds.interrupted() => return Err(failure),
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
        place = place_again(driver).await?;
    }
}

/// Waits for another place.
async fn place_again(driver: &mut Driver) -> Result<Option<OwnedSemaphorePermit>, Failure> {
    driver.bounds.pause();
    let stops = "the manager was told to stop while the build was waiting for room";
    let place = driver.place().await.unwrap_or_else(|| Err(Failure::new(Reason::Interrupted, stops)))?;
    driver.bounds.begin();
    Ok(place)
}

/// Whether the build may begin now; then it has its place.
async fn look(
    driver: &mut Driver,
    place: &mut Option<OwnedSemaphorePermit>,
) -> Result<Result<Reservation, Lack>, Failure> {
    let settings = driver.settings();
    let scratch = settings.scratch_directory(&driver.id);
    let made = tokio::fs::create_dir_all(&settings.scratch).await;
    made.map_err(|error| Failure::new(Reason::State, format!("{}: {error}", settings.scratch.display())))?;
    if let Err((_, error)) = ask(driver, place).await? {
        let others = error.trouble == Trouble::NoRoom && driver.room().has_others(&scratch);
        return Ok(Err(Lack { failure: Failure::from(error), others }));
    }
    if place.is_none() {
        *place = place_again(driver).await?;
    }
    let clouds = driver.schedule.targets.iter().filter_map(|target| driver.clouds().get(&target.cloud).ok());
    let images = clouds.collect::<Vec<Arc<_>>>().iter().find_map(|cloud| cloud.image_directory());
    driver.room().admit(&driver.schedule, &scratch, images).await
}

/// Asks the clouds whether they can take the build. While one hangs, others can make their images.
async fn ask(
    driver: &Driver,
    place: &mut Option<OwnedSemaphorePermit>,
) -> Result<Result<(), (String, CloudError)>, Failure> {
    let late =
        async { Failure::new(Reason::CloudTimeout, "the cloud does not say whether it can take the build") };
    let asked = async {
        let answer = driver.clouds().preflight(&driver.schedule.targets, PREFLIGHT);
        Ok(let_go_after(WITH_PLACE, place, answer).await)
    };
    driver.bounds.run(PREFLIGHT + SLACK, late, asked).await
}

/// Waits for the work, and keeps the place only for as long as this.
async fn let_go_after<T>(
    patience: Duration,
    place: &mut Option<OwnedSemaphorePermit>,
    work: impl Future<Output = T>,
) -> T {
    let mut work = std::pin::pin!(work);
    if let Ok(done) = timeout(patience, work.as_mut()).await {
        return done;
    }
    drop(place.take());
    work.await
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
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn what_takes_long_does_not_keep_the_place() {
        let places = Arc::new(Semaphore::new(1));
        let mut place = Some(Arc::clone(&places).acquire_owned().await.unwrap());
        let soon = Duration::from_millis(20);
        assert_eq!(let_go_after(soon, &mut place, async { 1 }).await, 1);
        assert!(place.is_some());
        let until_another_has_it = async { places.acquire().await.map(drop).is_ok() };
        let done = let_go_after(soon, &mut place, until_another_has_it);
        assert!(timeout(Duration::from_secs(20), done).await.unwrap());
        assert!(place.is_none());
    }

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
