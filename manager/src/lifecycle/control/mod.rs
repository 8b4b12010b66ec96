//! A control boot: whose fault it is that a server said nothing.
//!
//! ```text
//!  the image ends without a word
//!        │  control:begin
//!        v
//!  an answer of the last hour? ── no ──> its server goes, another image is booted ──> that goes
//!        │ yes                                             │  control:answer
//!        v                                                 v
//!      failed: ERRORED cloud_at_fault    passed: the image is booted once more    unknown: ERRORED as it was
//!                                                          │  control:second_boot, control:again
//!                                                          v
//!                             the same end: FAILED image_at_fault; another one: that one
//! ```
//!
//! What the agent of another build's image says of the network is that image's word: where the manager's host does not see
//! it work either, no image is blamed by it.
//!
//! The trial stays in the state in which its image ended. A manager that is killed meanwhile has all that it knew in the
//! history; the next one does not go on with it, but ends the trial by what is known ([`conclusion::of_record`]).

mod boot;
pub(super) mod conclusion;
mod image;

use std::time::Duration;

use image_manager_proto::v1::ControlOutcome;

use self::conclusion::Next;
use super::failure::Failure;
use super::trial::Trial;
use crate::clock;
use crate::cloud::Image;
use crate::history::{ControlAnswer, NewControl};
use crate::reason::Reason;

/// For how long an answer keeps another one from being asked for, in milliseconds.
const HOUR_MS: i64 = 60 * 60 * 1000;
/// How long taking a server away may hold up what comes after it.
const CLEAN_UP: Duration = Duration::from_mins(10);

/// Makes the images that are booted for this, one at a time.
pub(super) use self::image::Maker;

/// What a trial comes to whose image has ended so: another image is asked whether the target works, and if it does, the
/// image is booted once more.
pub(super) async fn ask(trial: &mut Trial, first: Failure) -> Result<(Image, String), Failure> {
    let wanted = trial.shared.schedule.control && conclusion::is_silence(&first);
    if !wanted || trial.bounds.is_told_to_stop() {
        return Err(first);
    }
    // A file system that nobody can read, or an unknown package manager, is no cloud's fault.
    if first.reason == Reason::CheckInconclusive && boot::open_network_checks(trial).await?.is_empty() {
        return Err(first);
    }
    let obeys = trial.history().obeys(trial.made_by()).await?;
    if obeys.is_some_and(|obeys| obeys != trial.gateway().fingerprint) {
        return Err(conclusion::noted(
            &first,
            "its agent obeys a different certificate from this manager's, and cannot attach to it: build again",
        ));
    }
    let (id, answer) = match question(trial, &first).await {
        Ok(asked) => asked,
        // Ended on request, or there is no history any more.
        Err(failure) => return Err(failure),
    };
    match conclusion::after_answer(&first, &answer, clock::now().timestamp_millis()) {
        Next::End(failure) => Err(failure),
        Next::Again => boot_again(trial, first, (id, answer)).await,
    }
}

/// The answer of the last hour, else a new one; it is in the history with this handle.
async fn question(trial: &Trial, first: &Failure) -> Result<(i64, ControlAnswer), Failure> {
    let (schedule, target) = (&trial.shared.schedule.name, &trial.target.name);
    let now = clock::now().timestamp_millis();
    let hour = now.saturating_sub(HOUR_MS)..=now;
    let mut earlier = trial.history().last_control(schedule, target, hour).await?;
    if let Some(unknown) = earlier.as_mut().filter(|it| it.outcome == ControlOutcome::Unspecified) {
        unknown.outcome = ControlOutcome::Unknown;
        "another image was booted within the last hour, and its manager was killed before there was an answer"
            .clone_into(&mut unknown.detail);
    }
    let new = NewControl {
        schedule: schedule.clone(),
        target: target.clone(),
        attempt: trial.attempt_number(),
        first: first.to_message(trial.stage_word()),
        earlier: earlier.clone(),
    };
    let id = trial.history().begin_control(&trial.key, new).await?;
    trial.tell().await;
    if let Some(earlier) = earlier {
        return Ok((id, earlier));
    }
    tracing::info!(build = trial.shared.id, target, reason = first.reason.word(), "starting a control boot");
    let at_ms = clock::now().timestamp_millis();
    let answer = match boot::ask(trial, first).await {
        Ok(answer) => answer,
        Err(failure) => {
            if let Some(none) = conclusion::of_ended(&failure, &trial.shared.id, at_ms)
                && let Err(error) = trial.history().end_control(id, none).await
            {
                tracing::error!(build = trial.shared.id, "cannot write the history: {error}");
            }
            return Err(failure);
        }
    };
    trial.history().end_control(id, answer.clone()).await?;
    trial.tell().await;
    tracing::info!(build = trial.shared.id, target, "{}", answer.detail);
    Ok((id, answer))
}

/// The target works: the image ends as it ended before, or otherwise.
async fn boot_again(
    trial: &mut Trial,
    first: Failure,
    (id, answer): (i64, ControlAnswer),
) -> Result<(Image, String), Failure> {
    clear(trial).await?;
    match trial.attempt_again().await {
        Ok((image, detail)) => {
            trial.history().end_second_boot(id, "passed").await?;
            let detail = format!(
                "{detail}; a second boot, after one that ended as {} ({}): {}",
                first.reason, first.message, answer.detail
            );
            Ok((image, detail))
        }
        Err(second) if trial.bounds.is_told_to_stop() => Err(second),
        // What the other image was asked is known this time: what is left says nothing of whose fault it is.
        Err(second)
            if second.reason == Reason::CheckInconclusive
                && boot::open_network_checks(trial).await?.is_empty() =>
        {
            trial.history().end_second_boot(id, conclusion::INCONCLUSIVE_OTHERWISE).await?;
            Err(second)
        }
        Err(second) => {
            trial.history().end_second_boot(id, second.reason.word()).await?;
            Err(conclusion::after_second_boot(&first, &answer, second))
        }
    }
}

/// Takes away what the trial has made so far: the next server may need its place.
async fn clear(trial: &Trial) -> Result<(), Failure> {
    let work = async {
        trial.cleaner().clean_up(&trial.shared.id, Some(trial.key.position)).await;
        Ok(())
    };
    let late = async { Failure::new(Reason::CloudTimeout, "removing the server took too long") };
    trial.bounds.run(CLEAN_UP, late, work).await
}
