//! `image-manager trigger`, `cancel`, `pause` and `resume`: orders to the manager that serves.

use super::arguments::{CancelArguments, PauseArguments, TriggerArguments};
use super::text::{remark, say};
use super::{Exit, Outcome, serving, when};
use crate::history::{Named as _, build_has_ended};

/// `trigger`: prints the id alone, for scripts.
pub(crate) async fn trigger(arguments: TriggerArguments) -> Outcome {
    let (mut client, url) = serving::manager(&arguments.serving).await?;
    let build = client.trigger(&arguments.schedule, arguments.force, arguments.verify).await?;
    say!(build.id);
    remark(&format!(
        "queued; follow it at {url}/builds/{id}, or with `image-manager logs {id} --follow`",
        id = build.id
    ));
    Ok(Exit::Done)
}

/// `cancel`.
pub(crate) async fn cancel(arguments: CancelArguments) -> Outcome {
    let (mut client, _) = serving::manager(&arguments.serving).await?;
    let build = client.cancel(&arguments.build).await?;
    if build_has_ended(build.state()) {
        say!("build ", build.id, " of ", build.schedule, " has ended: ", build.state().word());
    } else {
        say!("build ", build.id, " of ", build.schedule, " is being cancelled; what it made will be removed");
    }
    Ok(Exit::Done)
}

/// `pause`.
pub(crate) async fn pause(arguments: PauseArguments) -> Outcome {
    let (mut client, _) = serving::manager(&arguments.serving).await?;
    let schedule = client.pause(&arguments.schedule).await?;
    say!(
        "schedule ",
        schedule.name,
        " is paused: it fires again after `image-manager resume ",
        schedule.name,
        "`"
    );
    Ok(Exit::Done)
}

/// `resume`.
pub(crate) async fn resume(arguments: PauseArguments) -> Outcome {
    let (mut client, _) = serving::manager(&arguments.serving).await?;
    let schedule = client.resume(&arguments.schedule).await?;
    let fires = match schedule.next_fires.first() {
        None => "it has no cron entry, and is built on demand".to_owned(),
        next => format!("it fires next at {} ({})", when::exact(next), when::until(next)),
    };
    say!("schedule ", schedule.name, " is not paused; ", fires);
    Ok(Exit::Done)
}
