//! BUILDING: disk-image-builder makes the artifact.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use image_manager_proto::v1::LogSource;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::admission;
use crate::builder::{self, Artifact, BuilderError, Event, Expanded, Inputs, Order, Proof};
use crate::history::{ArtifactRecord, DefinitionPart, RoomTaken};
use crate::lifecycle::agent_program::agent_for;
use crate::lifecycle::artifact::{HashedFile, digest_of};
use crate::lifecycle::definition::Definition;
use crate::lifecycle::driver::{Done, Driver};
use crate::lifecycle::failure::Failure;
use crate::lifecycle::inputs::{self, OwnInputs};
use crate::lifecycle::ledger::HOST;
use crate::lifecycle::{accounts, files, inspection, manifest, room, second_build, skip};
use crate::reason::Reason;
use crate::schedules::{Compression, Format, ImageSpec};
use crate::stage::Stage;

/// The element of ours that makes users takes them from variables with these names.
const USERS: &str = "IMAGE_MANAGER_USERS";
const DEFAULT_USER: &str = "IMAGE_MANAGER_DEFAULT_USER";
const AUTHORIZED_KEYS: &str = "IMAGE_MANAGER_SSH_AUTHORIZED_KEYS";
const PASSWORD_AUTHENTICATION: &str = "IMAGE_MANAGER_SSH_PASSWORD_AUTHENTICATION";

/// Runs disk-image-builder to its end.
///
/// The hash of what it made is in the history before the next stage begins: a later manager knows it again.
pub(in crate::lifecycle) async fn run(
    driver: &mut Driver,
    place: Option<OwnedSemaphorePermit>,
) -> Result<Done<HashedFile>, Failure> {
    let agent = agent_for(&driver.settings().agent, driver.schedule.image.arch)
        .map_err(|refusal| Failure::new(refusal.reason(), refusal.to_string()))?;
    // Until the image is made: what comes then waits for clouds, and another build may make its own.
    let _place = admission::wait(driver, place).await?;
    let made = make(driver, agent).await;
    // It takes no more of the disk than it has taken by now.
    if let Some(reservation) = driver.reservation.get() {
        reservation.settle();
    }
    made
}

async fn make(driver: &Driver, agent: PathBuf) -> Result<Done<HashedFile>, Failure> {
    let directory = driver.directory();
    let made = tokio::fs::create_dir_all(&directory).await;
    made.map_err(|error| Failure::new(Reason::State, format!("{}: {error}", directory.display())))?;
    let own = own_inputs(driver).await?;
    let order = order(driver, agent, own.inputs).await?;
    let history = driver.history();
    let name = order.scratch.display().to_string();
    let row = history.intend((&driver.id, None), HOST, "scratch", &name).await?;
    history.resource_created(row, &name).await?;
    let artifact = defined_build(driver, &order, own.parts).await?;

    // Nice to have: a build without its list of packages is still a build.
    if let Err(error) = manifest::keep(artifact.manifest.as_deref(), &artifact.packages, &directory).await {
        tracing::warn!(build = driver.id, "cannot store the package manifest: {error}");
    }
    history.record_phases(&driver.schedule.name, artifact.phase_seconds.clone()).await?;
    // What it takes of a disk: a raw image is mostly holes, which stay such.
    let taken = |metadata: std::fs::Metadata| match driver.schedule.image.format {
        Format::Qcow2 => metadata.len(),
        Format::Raw => metadata.blocks().saturating_mul(512),
    };
    let size = tokio::fs::metadata(&artifact.file).await.map(taken).unwrap_or_default();
    let last_good = history.last_good_size(&driver.schedule.name).await?;
    let small = room::compare_size(size, last_good, artifact.room.lowest)?;
    let warnings: Vec<String> = artifact.proof.warning().into_iter().chain(small.clone()).collect();
    history.record_warnings(&driver.id, &warnings).await?;
    for warning in &warnings {
        tracing::warn!(build = driver.id, "{warning}");
    }
    history.record_room(&driver.id, RoomTaken { scratch: artifact.room.most, image: size }).await?;
    let detail = detail(driver, &artifact, size, small);
    let value = note_hash(driver, artifact).await?;
    Ok(Done { value, detail })
}

/// Records the artifact with its hash.
async fn note_hash(driver: &Driver, artifact: Artifact) -> Result<HashedFile, Failure> {
    let Artifact { file, sha512, kept, inspection: seen, .. } = artifact;
    inspection::keep(&driver.directory(), &seen).await;
    accounts::keep(&driver.directory(), &driver.schedule.image).await;
    let packages_sha256 = skip::keep(driver, kept).await;
    let record = ArtifactRecord {
        file: file.clone(),
        sha512: sha512.clone(),
        schedule_digest: digest_of(&driver.schedule),
        packages_sha256,
        fingerprint: Some(driver.fingerprint().to_owned()),
    };
    driver.history().record_artifact(&driver.id, record).await?;
    Ok(HashedFile { file, sha512 })
}

/// What people read of the stage.
fn detail(driver: &Driver, artifact: &Artifact, size: u64, small: Option<String>) -> String {
    let proof = artifact.proof.summary();
    let aloud = if artifact.proof.warning().is_some() { "WARNING: " } else { "" };
    let elements = driver.schedule.image.elements.join(", ");
    let mut text = format!("{} from {elements}; {aloud}{proof}", human_size(size));
    if matches!(artifact.proof, Proof::Looked(_)) {
        let _ = write!(text, " in {:.1} s", artifact.proof_seconds);
    }
    if let Some(small) = small {
        let _ = write!(text, "; WARNING: {small}");
    }
    text
}

/// How long the files of the elements may be read: they may lie on a file system that hangs.
const READING: Duration = Duration::from_mins(5);

/// Builds, and records what the image is defined by.
async fn defined_build(
    driver: &Driver,
    order: &Order,
    own: Vec<DefinitionPart>,
) -> Result<Artifact, Failure> {
    let (settings, image) = (driver.settings(), &driver.schedule.image);
    let before = driver.reading.elements.clone();
    let reading = async { Ok(Definition::read(settings, image, &order.agent, own, before).await) };
    let late = async { Failure::new(Reason::BuildTimeout, "reading the elements' files took too long") };
    let definition = driver.bounds.run(READING, late, reading).await?;
    let expanded = OnceLock::new();
    let result = build(driver, order, &expanded).await?;
    let defined = definition.zip(expanded.get()).map(|(definition, expanded)| definition.of(expanded));
    match result {
        Ok(artifact) => {
            if let Some(defined) = &defined {
                driver.history().record_definition(&driver.id, defined, None).await?;
            }
            Ok(artifact)
        }
        Err(error) => Err(second_build::judge(driver, error, defined.as_ref()).await?),
    }
}

/// Reads what the schedule brings of its own.
pub(in crate::lifecycle) async fn own_inputs(driver: &Driver) -> Result<OwnInputs, Failure> {
    let image = driver.schedule.image.clone();
    let late = async { Failure::new(Reason::BuildTimeout, "reading the schedule's own files took too long") };
    let reading = async {
        let read = tokio::task::spawn_blocking(move || inputs::read(&image)).await;
        read.unwrap_or_else(|error| {
            Err(Failure::new(Reason::InputUnusable, format!("reading the files failed: {error}")))
        })
    };
    driver.bounds.run(READING, late, reading).await
}

/// disk-image-builder gets the chance to clean up after itself when the build is ended from outside.
async fn build(
    driver: &Driver,
    order: &Order,
    expanded: &OnceLock<Expanded>,
) -> Result<Result<Artifact, BuilderError>, Failure> {
    let cancel = CancellationToken::new();
    let events = driver.events();
    let tell = |event: Event| match event {
        Event::Line(line) => {
            // A target of its own, so that a filter can ask for it: "info,dib=info".
            tracing::info!(target: "dib", build = driver.id, "[DIB] {line}");
            events.log(&driver.id, "", LogSource::Build, &line);
        }
        Event::Progress(fraction, detail) => {
            events.progress(&driver.id, "", Stage::Building.word(), fraction, &detail);
        }
        Event::Expanded(said) => {
            let _ = expanded.set(said);
        }
    };
    let work = builder::run(order, cancel.clone(), &tell);
    tokio::pin!(work);
    tokio::select! {
        result = &mut work => Ok(result),
        failure = driver.bounds.interrupted() => {
            cancel.cancel();
            // It has a deadline of its own for ending; its result does not matter any more.
            let _ = work.await;
            Err(failure)
        }
    }
}

async fn order(driver: &Driver, agent: PathBuf, own: Inputs) -> Result<Order, Failure> {
    let settings = driver.settings();
    let image = &driver.schedule.image;
    let stand_ins = builder::install_stand_ins(&settings.state)
        .map_err(|error| Failure::new(Reason::State, format!("{}: {error}", settings.state.display())))?;
    let mut environment = environment(image);
    environment.insert(builder::STAND_INS.to_owned(), stand_ins.display().to_string());
    Ok(Order {
        build_id: driver.id.clone(),
        program: settings.dib.clone(),
        elements: inputs::elements(image),
        elements_path: settings.elements_of(image),
        packages: image.packages.clone(),
        inputs: own,
        environment,
        format: image.format,
        arch: image.arch,
        qemu_img_options: qemu_img_options(image).to_owned(),
        scratch: settings.scratch_directory(&driver.id),
        cache: settings.cache(),
        bases: settings.bases(),
        log: driver.directory().join(files::BUILD_LOG),
        agent,
        fingerprint: driver.fingerprint().to_owned(),
        private: settings.private.iter().chain([&settings.state, &settings.scratch]).cloned().collect(),
        timeout: driver.schedule.timeouts.build,
        phase_weights: driver.history().phases(&driver.schedule.name).await?,
    })
}

/// The schedule's environment and what the elements of ours want.
fn environment(image: &ImageSpec) -> BTreeMap<String, String> {
    let mut environment = image.environment.clone();
    let mut set = |name: &str, value: String| environment.insert(name.to_owned(), value);
    if !image.users.is_empty() {
        set(USERS, serde_json::json!(image.users).to_string());
    }
    if let Some(user) = &image.default_user {
        set(DEFAULT_USER, user.clone());
    }
    if !image.ssh_authorized_keys.is_empty() {
        set(AUTHORIZED_KEYS, serde_json::json!(image.ssh_authorized_keys).to_string());
    }
    set(PASSWORD_AUTHENTICATION, image.ssh_password_authentication.to_string());
    environment
}

/// Larger clusters compress better, and are written and read faster.
fn qemu_img_options(image: &ImageSpec) -> &'static str {
    match image.compression {
        _ if image.format == Format::Raw => "",
        Compression::Zstd => "compression_type=zstd,cluster_size=262144",
        Compression::Zlib => "cluster_size=262144",
        Compression::None => "",
    }
}

/// Bytes for people: "204.3 MiB".
pub(in crate::lifecycle) fn human_size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}
