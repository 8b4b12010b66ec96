//! `image-manager run`: one build now, in the foreground, or by the manager that serves the state directory.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use image_manager_proto::v1::{self, BuildState, Trigger};

use super::arguments::RunArguments;
use super::client::Client;
use super::follow::{self, Followed};
use super::host::{Loaded, load_definition};
use super::instance::{
    Builds, Instance, StateLock, gateway_address, holder, listen, open_history, there_is_history,
};
use super::text::{self, Style};
use super::{Exit, Outcome, Trouble, destination, logging, verdict};
use crate::cloud::Trouble as CloudTrouble;
use crate::history::{Principal, PublicationFilter};
use crate::lifecycle::{Manager, Meant, TriggerError, TriggerOptions};
use crate::operator::{ApiToken, Logs, build_events};
use crate::reason::Reason;
use crate::schedules::{Schedule, Schedules, Target};

/// How long the end of a build may take after an interrupt.
const GRACE: Duration = Duration::from_mins(3);

pub(crate) async fn run(mut arguments: RunArguments) -> Outcome {
    arguments.followed.host.private.extend(arguments.followed.api_token_file.clone());
    // The report at the end says what went wrong; log lines would tear the progress bar.
    logging::start(&arguments.followed.logging, "error")?;
    // Where no manager serves nobody asks for it; a name that is wrong is wrong all the same.
    let token = arguments.followed.api_token_file.as_deref();
    token.map(ApiToken::read_to_bring).transpose().map_err(Trouble::usage)?;
    let directory = arguments.followed.host.state.state.clone();
    let host = arguments.followed.host.clone();
    let wanted = arguments.followed.schedule.clone();
    let named = match &arguments.verify {
        Some(name) => images_named(&directory, name).await,
        None => Ok(Vec::new()),
    };
    let (verifies, rows) = (arguments.verify.is_some(), named.as_ref().cloned().unwrap_or_default());
    // Reads files and runs a program.
    let loaded = tokio::task::spawn_blocking(move || {
        load_definition(&host, &|schedule: &Schedule| {
            let publishes = schedule.publish.as_ref().is_some_and(|publish| publish.name == wanted);
            let is_meant = publishes || rows.iter().any(|row| row.schedule == schedule.name);
            schedule.name == wanted || (verifies && is_meant)
        })
    });
    let Loaded { schedules, .. } = loaded.await.map_err(Trouble::errored)??;
    if let Some(name) = &arguments.verify {
        arguments.followed.schedule = meant(&schedules, named, name)?;
    }
    if schedules.get(&arguments.followed.schedule).is_none() {
        let none = schedules.no_schedule(&arguments.followed.schedule);
        return Err(Trouble::usage(format!("{}: {none}", schedules.path.display())));
    }
    if let Some(file) = &arguments.keep_disk {
        let schedule = &arguments.followed.schedule;
        let targets = schedules.get(schedule).map_or(&[][..], |schedule| &schedule.targets);
        one_keeps_its_disk(schedule, targets)?;
        // Before anything is built for it.
        destination::expect_writable(file, "--keep-disk ")?;
    }
    match StateLock::take(&directory)? {
        Some(lock) => here(&arguments, &lock, schedules).await,
        None => by_the_manager(&arguments).await,
    }
}

/// The images with a public name, as the history of a state directory has them; none where there is no history yet.
async fn images_named(state: &Path, name: &str) -> Result<Vec<v1::Publication>, Trouble> {
    if there_is_history(state).is_err() {
        return Ok(Vec::new());
    }
    let filter = PublicationFilter {
        name: Some(name.to_owned()),
        limit: PublicationFilter::MOST,
        ..PublicationFilter::default()
    };
    let page = open_history(state)?.publications(filter).await.map_err(Trouble::errored)?;
    Ok(page.publications)
}

/// The schedule of the image that is verified again. `named` matters for a name that the file does not explain: a history of
/// an earlier version cannot be read yet, but whoever takes the lock brings it up to date.
fn meant(
    schedules: &Schedules,
    named: Result<Vec<v1::Publication>, Trouble>,
    name: &str,
) -> Result<String, Trouble> {
    let found = match Meant::of(schedules, &[], name) {
        Err(TriggerError::NoSchedule(_)) => Meant::of(schedules, &named?, name),
        found => found,
    };
    match found {
        Ok(Meant { schedule, .. }) => Ok(schedule),
        Err(TriggerError::NoSchedule(none)) => {
            Err(Trouble::usage(format!("{}: {none}", schedules.path.display())))
        }
        Err(error) => Err(refused(error)),
    }
}

/// `--keep-disk` names one file: for the server of the one target whose cloud keeps disks.
fn one_keeps_its_disk(schedule: &str, targets: &[Target]) -> Result<(), Trouble> {
    match targets.iter().filter(|target| target.kind().keeps_disks).count() {
        1 => Ok(()),
        0 => {
            let mut clouds: Vec<_> = targets.iter().map(|target| format!("{:?}", target.cloud)).collect();
            clouds.dedup();
            let clouds = clouds.join(" and ");
            Err(Trouble::usage(format!(
                "--keep-disk works only on the cloud \"local\", but schedule {schedule:?} is on {clouds}"
            )))
        }
        several => Err(Trouble::usage(format!(
            "--keep-disk keeps the disk of one server, but schedule {schedule:?} has {several} targets on \"local\""
        ))),
    }
}

/// Nobody serves the state directory: this process is the manager until the build has ended.
async fn here(arguments: &RunArguments, lock: &StateLock, schedules: Schedules) -> Outcome {
    lock.sign(None, false)?;
    let local = schedules.get(&arguments.followed.schedule).is_some_and(Schedule::is_on_this_host);
    let gateway = match arguments.followed.host.gateway {
        Some(gateway) => gateway,
        None if local => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        None => gateway_address(&schedules),
    };
    let gateway = listen(gateway, "--gateway").await?;
    let needed = |schedule: &Schedule| schedule.name == arguments.followed.schedule;
    let instance =
        Instance::open(&arguments.followed.host, lock, schedules, &needed, gateway, Builds::OneInForeground)
            .await?;
    let followed = build_here(arguments, &instance.manager).await;
    if !matches!(followed, Ok(Followed::Abandoned)) {
        instance.manager.shut_down(GRACE).await;
    }
    instance.stop.cancel();
    match followed? {
        Followed::Ended(build) => Ok(exit_of(&build)),
        Followed::Abandoned => Ok(Exit::Cancelled),
    }
}

/// Cleans up after an earlier manager, then builds. What other schedules have in the queue waits on for a
/// manager that serves.
async fn build_here(arguments: &RunArguments, manager: &Manager) -> Result<Followed, Trouble> {
    let schedule = &arguments.followed.schedule;
    let tell = |line: &str| text::print_document(&format!("{line}\n"));
    manager.recover_for(schedule, &tell).await.map_err(Trouble::errored)?;
    manager.end_waiting(schedule).await.map_err(Trouble::errored)?;
    let mut options = TriggerOptions {
        keep_disk: arguments
            .keep_disk
            .as_deref()
            .map(std::path::absolute)
            .transpose()
            .map_err(Trouble::usage)?,
        force: arguments.force,
        verify: arguments.verify.is_some(),
        ..TriggerOptions::new(Trigger::Cli, Principal::this_process())
    };
    let first = follow_here(arguments, manager, options.clone()).await?;
    let Followed::Ended(build) = &first else { return Ok(first) };
    tell_end(arguments, build);
    let owed = manager.history().owed_retry(&arguments.followed.schedule).await.map_err(Trouble::errored)?;
    if owed.is_none_or(|owed| owed.build_id != build.id) {
        return Ok(first);
    }
    text::print_document("\nIt is now built once more.\n");
    options.trigger = Trigger::Retry;
    options.retry_of = Some(build.id.clone());
    let second = follow_here(arguments, manager, options).await?;
    if let Followed::Ended(build) = &second {
        tell_end(arguments, build);
    }
    Ok(second)
}

/// The last lines.
fn tell_end(arguments: &RunArguments, build: &v1::Build) {
    text::print(&verdict::last_lines(build, &arguments.followed.host.state.state, Style::of_stdout()));
}

/// What a manager is asked for: a schedule, or what is to be verified again as it was named.
fn asked_for(arguments: &RunArguments) -> &str {
    arguments.verify.as_ref().unwrap_or(&arguments.followed.schedule)
}

async fn follow_here(
    arguments: &RunArguments,
    manager: &Manager,
    options: TriggerOptions,
) -> Result<Followed, Trouble> {
    let build = manager.trigger(asked_for(arguments), options).await.map_err(refused)?;
    let events =
        build_events(manager.clone(), build.id.clone(), Logs::All).await.map_err(Trouble::errored)?;
    let cancel = || {
        manager.cancel(&build.id, Principal::this_process());
    };
    follow::follow(events, arguments.followed.verbose, cancel).await
}

/// Asks the manager that serves the state directory, and follows.
async fn by_the_manager(arguments: &RunArguments) -> Outcome {
    let directory = &arguments.followed.host.state.state;
    let Some(holder) = holder(directory) else {
        return Err(Trouble::errored(format!(
            "another image-manager uses the state directory {} and has not yet said how to reach it: try again",
            directory.display()
        )));
    };
    let Some(operator) = holder.operator else {
        return Err(Trouble::errored(format!(
            "another image-manager (pid {}) uses the state directory {} in the foreground: wait until it ends, or \
             use another --state",
            holder.pid,
            directory.display()
        )));
    };
    if arguments.keep_disk.is_some() {
        return Err(Trouble::usage(
            "--keep-disk works only for a build in the foreground: a manager serves this state directory",
        ));
    }
    let mut client = Client::connect(operator, arguments.followed.api_token_file.as_deref()).await?;
    let verifies = arguments.verify.is_some();
    let build = client.trigger(asked_for(arguments), arguments.force, verifies).await?;
    let events = client.watch(&build.id).await?;
    let canceller = client.clone();
    let id = build.id.clone();
    let cancel = move || {
        let (mut client, id) = (canceller.clone(), id.clone());
        tokio::spawn(async move { client.cancel(&id).await });
    };
    match follow::follow(events, arguments.followed.verbose, cancel).await? {
        Followed::Ended(build) => {
            let unexplained = Reason::parse(&build.reason) == Some(Reason::DibHookUnexplained);
            if unexplained && build.retry_of.is_empty() {
                let schedule = &build.schedule;
                text::print_document(&format!(
                    "\nThe manager builds it once more by itself, unless the schedule is paused: \
                     image-manager history --schedule {schedule}\n"
                ));
            }
            tell_end(arguments, &build);
            Ok(exit_of(&build))
        }
        Followed::Abandoned => Ok(Exit::Cancelled),
    }
}

fn refused(error: TriggerError) -> Trouble {
    match &error {
        TriggerError::Cloud { error: inner, .. } if inner.trouble != CloudTrouble::Configuration => {
            Trouble::errored(error)
        }
        TriggerError::History(_) | TriggerError::Stopping | TriggerError::AlreadyRunning { .. } => {
            Trouble::errored(error)
        }
        _ => Trouble::usage(error),
    }
}

fn exit_of(build: &v1::Build) -> Exit {
    match build.state() {
        BuildState::Succeeded | BuildState::Skipped => Exit::Done,
        BuildState::Failed => Exit::Failed,
        BuildState::Cancelled => Exit::Cancelled,
        _ => Exit::Errored,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedules;

    #[test]
    fn a_history_that_cannot_be_read_matters_only_for_names_that_the_file_does_not_explain() {
        let text = "[schedule.web]\nimage.elements = [\"e\"]\ncloud = \"one\"\nserver.flavor = \"m\"\n\
                    publish.name = \"shown\"\n";
        let schedules = schedules::parse(Path::new("schedules.toml"), text).unwrap();
        let unread = || Err(Trouble::errored("schema version 13"));
        assert_eq!(meant(&schedules, unread(), "web").unwrap(), "web");
        assert_eq!(meant(&schedules, unread(), "shown").unwrap(), "web");
        assert_eq!(meant(&schedules, unread(), "stable").unwrap_err().message, "schema version 13");
        let row = v1::Publication {
            name: "stable".to_owned(),
            schedule: "web".to_owned(),
            state: v1::PublicationState::Current.into(),
            ..v1::Publication::default()
        };
        assert_eq!(meant(&schedules, Ok(vec![row]), "stable").unwrap(), "web");
        assert!(meant(&schedules, Ok(Vec::new()), "stable").unwrap_err().message.contains("no schedule"));
    }
}
