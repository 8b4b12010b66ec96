//! Whether a build is left out because it would make what the last one of its schedule made (`skip` in schedules.toml).
//!
//! Asked while the build is in the queue: nothing is made for it, and a manager that is killed meanwhile asks again. The
//! last build must have passed, be young enough, and have been defined and tried as this one would be. Then its mirrors
//! are asked ([`crate::unchanged`]), which takes a while: its image must have its names still when the build is left out.
//! Whatever is not certain is a reason to build, and is said in the stage's detail.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use image_manager_agent::Guest;
use image_manager_agent::checks::Mirrors;
use image_manager_proto::v1::{PublicationState, Trigger};

use super::agent_program::agent_for;
use super::artifact::digest_of;
use super::definition::{Definition, ELEMENT};
use super::driver::Driver;
use super::elements::Elements;
use super::failure::Failure;
use super::stages::build;
use crate::builder::{self, Expanded};
use crate::clock;
use crate::history::{Before, Defined, DefinitionPart, HistoryError};
use crate::reason::Reason;
use crate::schedules::{Schedule, Skip};
use crate::unchanged::{self, Answer, Change, Family, Kept, Origins, Question, would_change};

/// How long the mirrors may take to answer, and how long the whole may take. The indexes of rpm distributions are many
/// times as large as apt's, and are read anew each time.
const PATIENCE: Duration = Duration::from_secs(30);
const PATIENCE_WITH_RPM: Duration = Duration::from_secs(90);
const LIMIT: Duration = Duration::from_mins(2);
/// Changes that are named.
const NAMED: usize = 5;
/// Where the mirrors' answers are kept, in the cache.
const ANSWERS: &str = "mirrors";
/// Elements of disk-image-builder that fetch what no mirror of packages can be asked about.
const FETCHING: [&str; 6] =
    ["cache-url", "containerfile", "docker", "pip-and-virtualenv", "pypi", "source-repositories"];

/// What is to become of a build that waits in the queue.
pub(super) enum Decision {
    /// It is made.
    Build(Reading),
    /// It is left out.
    Skip(Unchanged),
}

/// What asking has brought for the build that is made after all.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Why it is made, where the schedule would have it left out.
    pub(super) because: Option<String>,
    /// The elements, where they were read.
    pub(super) elements: Option<Elements>,
}

/// Nothing has changed.
pub(super) struct Unchanged {
    /// Since this build.
    pub(super) since: String,
    /// The public names of its image when it was asked: cloud, name, and what has become of that.
    pub(super) published: Vec<(String, String, PublicationState)>,
    /// A sentence for people.
    pub(super) sentence: String,
}

/// Decides about a build of the queue. `Err`: it is to end.
pub(super) async fn decide(driver: &Driver) -> Result<Decision, Failure> {
    let Some(skip) = driver.schedule.skip else { return Ok(Decision::Build(Reading::default())) };
    let row = driver.history().build(&driver.id).await?;
    // Whoever forces it or wants its disk wants it built; a retry is owed because a build was needed.
    if row.forced || driver.keep_disk.is_some() || row.trigger() == Trigger::Retry {
        return Ok(Decision::Build(Reading::default()));
    }
    let late =
        async { Failure::new(Reason::BuildTimeout, "asking whether anything has changed took too long") };
    let mut elements = None;
    let asked = async {
        let asked = tokio::time::timeout(LIMIT, unchanged(driver, skip, &mut elements)).await;
        Ok(asked.unwrap_or_else(|_| Err("there was no answer in time".to_owned())))
    };
    match driver.bounds.run(LIMIT * 2, late, asked).await? {
        Ok(unchanged) => Ok(Decision::Skip(unchanged)),
        Err(why) => {
            tracing::info!(build = driver.id, "building: {why}");
            Ok(Decision::Build(Reading { because: Some(why), elements }))
        }
    }
}

/// `Err`: why it is built. `elements`: where those go that are read.
async fn unchanged(
    driver: &Driver,
    skip: Skip,
    elements: &mut Option<Elements>,
) -> Result<Unchanged, String> {
    let history = driver.history();
    let before = history.before(&driver.id).await.map_err(|error| error.to_string())?;
    let before = before.ok_or("the schedule has not been built before")?;
    comparable(&before, &driver.schedule, skip, clock::now().timestamp_millis())?;
    obeys_this_manager(&before, driver.fingerprint())?;
    let sha256 = before.packages_sha256.clone().unwrap_or_default();
    let now = defined_now(driver, &before, elements).await?;
    same_definition(&before, &now)?;
    let directory = driver.settings().build_directory(&before.id);
    let read = tokio::task::spawn_blocking(move || Kept::read(&directory, &sha256)).await;
    let kept = read.map_err(|error| error.to_string())?.map_err(|doubt| doubt.to_string())?;
    let question = Question {
        kept: &kept,
        origins: &origins(&driver.schedule),
        cache: &answers(driver),
        places: &driver.settings().asking(),
        patience: match kept.family() {
            Family::Dpkg => PATIENCE,
            Family::Rpm => PATIENCE_WITH_RPM,
        },
    };
    match would_change(question).await.map_err(|doubt| doubt.to_string())? {
        Answer::Changes(changes) => Err(said(&changes)),
        Answer::Nothing { packages } => {
            let sentence = format!(
                "nothing has changed since build {}: each of its {packages} packages is the version that would be \
                 installed today, and its definition is the same",
                before.id
            );
            Ok(Unchanged { since: before.id, published: before.published, sentence })
        }
    }
}

/// Whether the last build is one that another could be left out for, by what the history says of it. Pure.
fn comparable(before: &Before, schedule: &Schedule, skip: Skip, now_ms: i64) -> Result<(), String> {
    let id = &before.id;
    if !before.passed {
        return Err(format!("the last build, {id}, did not pass"));
    }
    let began = clock::began(id).map_or(before.finished_at, |time| time.timestamp_millis());
    let age = u64::try_from(now_ms - began).map(Duration::from_millis);
    let age = age.map_err(|_| format!("the last build, {id}, was made in the future"))?;
    if age > skip.max_age {
        let most = humantime::format_duration(skip.max_age);
        return Err(format!("the last build, {id}, is older than skip.max_age = {most}"));
    }
    if before.definition_digest.is_empty() {
        return Err(format!("the definition of build {id} is not known"));
    }
    if before.schedule_digest != digest_of(schedule) {
        return Err(format!("the schedule has changed since build {id}"));
    }
    tried_alike(before, schedule)?;
    let fetches = |part: &&DefinitionPart| part.kind == ELEMENT && FETCHING.contains(&part.name.as_str());
    if let Some(part) = before.definition.iter().find(fetches) {
        return Err(format!(
            "the element {} fetches from places other than package mirrors, which cannot be checked for changes",
            part.name
        ));
    }
    if before.packages_sha256.is_none() {
        return Err(format!("nothing is stored from build {id} to ask its mirrors with"));
    }
    Ok(())
}

/// Whether the agent of its image would obey this manager: not after the gateway got another certificate, and then no
/// verification of the image could pass. Pure.
fn obeys_this_manager(before: &Before, fingerprint: &str) -> Result<(), String> {
    let id = &before.id;
    match before.fingerprint.as_deref() {
        Some(obeyed) if obeyed == fingerprint => Ok(()),
        Some(_) => {
            Err(format!("the agent in the image of build {id} obeys another certificate than the gateway's"))
        }
        None => Err(format!("which certificate the agent in the image of build {id} obeys is not known")),
    }
}

/// Whether it passed on the targets that there are now, and has its name in each cloud. Pure.
fn tried_alike(before: &Before, schedule: &Schedule) -> Result<(), String> {
    let id = &before.id;
    let then = before.trials.iter().map(|(target, cloud, ..)| (target.as_str(), cloud.as_str()));
    let now = schedule.targets.iter().map(|target| (target.name.as_str(), target.cloud.as_str()));
    if !then.eq(now) {
        return Err(format!("build {id} was tried on other targets"));
    }
    for (target, cloud, passed) in &before.trials {
        if !passed {
            return Err(format!("build {id} did not pass on {target}"));
        }
        let Some(publish) = schedule.publish.as_ref().filter(|_| schedule.publishes_on(cloud)) else {
            continue;
        };
        let row = before.published.iter().find(|(there, name, _)| there == cloud && *name == publish.name);
        let why = match row.map(|(.., state)| *state) {
            Some(PublicationState::Current) => continue,
            Some(PublicationState::Previous) => "another image has it",
            Some(PublicationState::Revoked) => "it was revoked",
            Some(PublicationState::Removed) => "it was removed",
            Some(PublicationState::Unspecified) | None => "it never had it",
        };
        return Err(format!("the image of build {id} does not have its name on {cloud}: {why}"));
    }
    Ok(())
}

/// What the image would be defined by today. The elements that the last build's expanded to are those of today's, unless
/// one of them, or disk-image-builder, has changed.
async fn defined_now(
    driver: &Driver,
    before: &Before,
    read: &mut Option<Elements>,
) -> Result<Defined, String> {
    let settings = driver.settings();
    let image = &driver.schedule.image;
    let agent = agent_for(&settings.agent, image.arch).map_err(|refusal| refusal.to_string())?;
    let own = build::own_inputs(driver).await.map_err(|failure| failure.message)?;
    let (definition, version) = tokio::join!(
        Definition::read(settings, image, &agent, own.parts, None),
        builder::version(&settings.dib)
    );
    let definition = definition.ok_or("the elements' files cannot be read")?;
    *read = Some(definition.elements.clone());
    let elements = before.definition.iter().filter(|part| part.kind == ELEMENT);
    let elements = elements.map(|part| part.name.clone()).collect();
    Ok(definition.of(&Expanded { version: version?, elements }))
}

/// Whether what an image is defined by is the same; `Err` names what is not. Pure.
fn same_definition(before: &Before, now: &Defined) -> Result<(), String> {
    if now.digest == before.definition_digest {
        return Ok(());
    }
    let named = |parts: &[DefinitionPart]| -> BTreeMap<(String, String), String> {
        parts.iter().map(|part| ((part.kind.clone(), part.name.clone()), part.value.clone())).collect()
    };
    let (then, now) = (named(&before.definition), named(&now.parts));
    let names: BTreeSet<_> = then.keys().chain(now.keys()).collect();
    let changed = names.into_iter().filter(|name| then.get(*name) != now.get(*name));
    let changed = changed.map(|(kind, name)| format!("{kind} {name}"));
    Err(format!("the definition has changed since build {}: {}", before.id, listed(changed)))
}

/// What would be installed, upgraded or removed, for people.
fn said(changes: &[Change]) -> String {
    let one = |change: &Change| match (&change.from, &change.to) {
        (Some(from), Some(to)) => format!("{} {from} would be {to}", change.package),
        (None, Some(to)) => format!("{} {to} would be new", change.package),
        (_, None) => format!("{} would be removed", change.package),
    };
    format!("packages have changed: {}", listed(changes.iter().map(one)))
}

/// The first few, and how many more there are.
fn listed(all: impl Iterator<Item = String>) -> String {
    let mut all = all.fuse();
    let first = all.by_ref().take(NAMED).collect::<Vec<_>>().join(", ");
    match all.count() {
        0 => first,
        more => format!("{first}, and {more} more"),
    }
}

/// Who may be asked: the distributions' own servers, and those that whoever runs the manager has named.
fn origins(schedule: &Schedule) -> Origins {
    let image = &schedule.image;
    let of_the_host = Mirrors::of(&Guest::below("/")).addresses();
    let repositories = image.repositories.iter().map(|repository| &repository.url);
    let named = image.environment.values().chain(repositories).chain(&of_the_host);
    named.fold(Origins::of_distributions(), |origins, address| origins.and(address))
}

fn answers(driver: &Driver) -> PathBuf {
    driver.settings().cache().join(ANSWERS)
}

/// Keeps of an artifact what its mirrors can be asked with; the digest of that, by which alone it is read again. An image
/// of which nothing is kept is built every time.
pub(super) async fn keep(driver: &Driver, kept: Result<Kept, String>) -> Option<String> {
    let directory = driver.directory();
    let written = match kept {
        Ok(kept) => tokio::task::spawn_blocking(move || kept.write(&directory)).await,
        Err(why) => {
            tracing::debug!(build = driver.id, "its mirrors cannot be asked later: {why}");
            return None;
        }
    };
    let written = written.map_err(|error| error.to_string());
    match written.and_then(|written| written.map_err(|error| error.to_string())) {
        Ok(sha256) => Some(sha256),
        Err(error) => {
            tracing::warn!(build = driver.id, "cannot store what its mirrors could be asked with: {error}");
            None
        }
    }
}

/// Takes away what is kept of builds of a schedule that no later one is compared with any more.
pub(super) async fn drop_superseded(driver: &Driver) {
    if let Err(error) = try_drop_superseded(driver).await {
        tracing::warn!(build = driver.id, "cannot remove what is stored from earlier builds: {error}");
    }
}

async fn try_drop_superseded(driver: &Driver) -> Result<(), HistoryError> {
    let history = driver.history();
    for id in history.superseded_packages(&driver.schedule.name).await? {
        let file = driver.settings().build_directory(&id).join(unchanged::FILE);
        match tokio::fs::remove_file(&file).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!("cannot remove {}: {error}", file.display());
            }
            _ => history.packages_dropped(&id).await?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
