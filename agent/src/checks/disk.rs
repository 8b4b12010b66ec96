//! Check `disk`: the root file system has grown to its disk, has room, and can be written.
//!
//! Grown is judged from the disk upwards, because each layer grows by itself: the root's own partition must reach
//! nearly to the end of the disk, what lies upon it (LVM, LUKS) must fill it nearly, and the file system its
//! device. So neither a boot partition nor a gap at the disk's start needs a guess. A partition behind the root's
//! took the room that root was to have, or keeps it from it. Volumes beside the root's are the image's own choice;
//! what is in no volume is not. Growing happens during the boot (initramfs, systemd or
//! cloud-init) after the agent has started, so a bad look is repeated for a while; and as long as cloud-init is
//! under way, which takes many minutes on a slow machine.

use std::time::Duration;

use image_manager_proto::v1::CheckOutcome;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::descriptor::{BadSettings, Check, Examination, Key, Observer, Set, ValueType};
use super::{DEFAULT_TIMEOUT, Judgement, cloud_init, pause};
use crate::guest::Guest;
use crate::text::{self, bytes};

mod layout;
mod mounts;
mod probe;
pub use layout::{Device, FileSystem, Layer};
pub use mounts::Mounted;
pub use probe::Probe;

/// So long growing and mounting may take after the agent has started, without cloud-init.
const PATIENCE: Duration = Duration::from_mins(1);
/// So long it may take after cloud-init has ended, which is what grows most images.
const AFTER_CLOUD_INIT: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

const MIB: u64 = 1 << 20;

/// The check.
pub static CHECK: Check = Check {
    kind: "disk",
    proves: "the root file system has grown to the end of the disk, has free space and is writable",
    details: "Its partition, the volumes in it and the file system itself must each reach the end of what they are \
              on, and no partition may follow it. The root grows during the boot, so the check waits for that. The \
              same applies to the file systems that `mounts` names.",
    set: Set::Minimal,
    observer: Observer::Agent,
    timeout: DEFAULT_TIMEOUT,
    cost: "writes 1 MiB",
    repeatable: false,
    keys: &[
        Key {
            name: "min_free",
            value: ValueType::Size { largest: 1 << 50 },
            default: "\"0\"",
            help: "minimum free space on the root file system, as in \"500 MiB\"",
        },
        Key {
            name: "min_free_inodes",
            value: ValueType::Number { smallest: 0, largest: 1 << 40 },
            default: "0",
            help: "minimum number of free inodes on the root file system",
        },
        Key {
            name: "mounts",
            value: ValueType::Texts(&mounts::PLACE),
            default: "[]",
            help: "mount points of other file systems, which must be mounted, grown and writable too, as in [\"/srv\"]",
        },
    ],
    examine: Some(|asked| Box::pin(examine(asked))),
};

/// Its keys, and what the manager knows of the disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Least number of free bytes. 0: any.
    pub min_free: u64,
    /// Least number of free inodes. 0: any.
    pub min_free_inodes: u64,
    /// Where other file systems must be mounted.
    pub mounts: Vec<String>,
    /// Size of the server's disk in bytes; 0: not known. A disk that is smaller makes the check inconclusive, and so does
    /// a root file system whose disk is not known to the guest while this is 0. The root file system must have grown to
    /// nearly the size of the disk that the guest sees; of a disk that the guest does not know, to nearly this.
    #[serde(skip)]
    pub disk_size: u64,
}

async fn examine(asked: Examination) -> Result<Judgement, BadSettings> {
    let settings = Settings { disk_size: asked.server.disk_size_bytes, ..asked.settings()? };
    Ok(judge(&settings, &observe(&settings, &asked.guest, asked.deadline).await))
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observation {
    /// The root file system. None: it could not be examined, and `error` says why.
    pub root: Option<FileSystem>,
    /// The block device that holds it. None: it has none (network, overlay), or none that is known.
    pub device: Option<Device>,
    /// What came of writing to it.
    pub probe: Option<Probe>,
    /// What is mounted where the schedule wants something.
    pub mounts: Vec<Mounted>,
    /// The stage in which cloud-init grows the root had not ended when the time was up.
    pub unsettled: bool,
    /// Why the root file system could not be examined.
    pub error: String,
    /// How long it was waited for.
    pub waited: Duration,
    /// Other facts, for the history: all mounted disks and the memory.
    pub others: Json,
}

/// Looks at the root file system until all is well and cloud-init has ended, or the time is up.
pub async fn observe(settings: &Settings, guest: &Guest, deadline: Instant) -> Observation {
    let started = Instant::now();
    let mut wait = FIRST_PAUSE;
    let mut ended = None;
    loop {
        let (same, places) = (guest.clone(), settings.mounts.clone());
        let looked = spawn_blocking(move || look(&same, &places)).await;
        let mut seen = looked.unwrap_or_default();
        seen.waited = started.elapsed();
        let unknown = seen.mounts.iter().any(|mounted| !mounted.error.is_empty());
        let bad = unknown || judge(settings, &seen).outcome == CheckOutcome::Fail;
        // What cloud-init unpacks, installs and runs takes room yet.
        let open = bad || cloud_init::is_under_way(guest);
        if ended.is_none() && guest.has(cloud_init::RESULT) {
            ended = Some(Instant::now());
        }
        if !open || !pause(&mut wait, LONGEST_PAUSE, last_look(guest, started, ended, deadline)).await {
            let same = guest.clone();
            seen.unsettled =
                spawn_blocking(move || cloud_init::is_yet_to_grow(&same)).await.unwrap_or_default();
            seen.others = spawn_blocking(others).await.unwrap_or_default();
            return seen;
        }
    }
}

/// When a bad look is the last one; `ended` is when cloud-init was seen to have ended.
fn last_look(guest: &Guest, started: Instant, ended: Option<Instant>, deadline: Instant) -> Instant {
    match ended {
        Some(ended) => deadline.min(ended + AFTER_CLOUD_INIT),
        None if cloud_init::is_under_way(guest) => deadline,
        None => deadline.min(started + PATIENCE),
    }
}

fn look(guest: &Guest, places: &[String]) -> Observation {
    let unknown = |error| Observation { error, ..Observation::default() };
    let root = match FileSystem::at(guest, "/") {
        Ok(Some(root)) => root,
        Ok(None) => return unknown("mountinfo has no root".to_owned()),
        Err(error) => return unknown(error),
    };
    Observation {
        device: Device::of(guest, &root),
        probe: (!root.read_only).then(|| probe::run(guest, "/")),
        mounts: places.iter().map(|place| Mounted::look(guest, place)).collect(),
        root: Some(root),
        ..Observation::default()
    }
}

fn others() -> Json {
    const MOST_DISKS: usize = 16;
    let mut memory = json!(null);
    if let Ok(mut system) = sysinfo::System::new() {
        system.refresh_memory();
        memory =
            json!({ "total_bytes": system.total_memory(), "available_bytes": system.available_memory() });
    }
    let disks = sysinfo::Disks::new_with_refreshed_list();
    let disks = disks.as_ref().map(|disks| &disks[..]).unwrap_or_default();
    let disks = disks.iter().take(MOST_DISKS).map(|disk| {
        json!({
            "device": disk.name().to_string_lossy(),
            "mount": disk.mount_point().to_string_lossy(),
            "file_system": disk.file_system().to_string_lossy(),
            "total_bytes": disk.total_space(),
            "free_bytes": disk.available_space(),
        })
    });
    json!({ "disks": disks.collect::<Vec<_>>(), "memory": memory })
}

/// What an observation means.
pub fn judge(settings: &Settings, seen: &Observation) -> Judgement {
    let (outcome, summary) = verdict(settings, seen);
    Judgement::new(outcome, summary, &as_json(seen))
}

fn verdict(settings: &Settings, seen: &Observation) -> (CheckOutcome, String) {
    let (outcome, summary) = verdict_of_root(settings, seen);
    if outcome != CheckOutcome::Pass {
        return (outcome, summary);
    }
    let faults: Vec<_> = seen.mounts.iter().filter_map(|mounted| mounted.fault(seen.waited)).collect();
    // What is known to be wrong stands before what is unknown.
    let worst = faults.iter().find(|(outcome, _)| *outcome == CheckOutcome::Fail).or(faults.first());
    match worst.cloned() {
        Some(fault) => fault,
        None if seen.mounts.is_empty() => (outcome, summary),
        None => {
            let places: Vec<&str> = seen.mounts.iter().map(|mounted| mounted.place.as_str()).collect();
            (outcome, format!("{summary}; mounted and grown: {}", places.join(", ")))
        }
    }
}

fn verdict_of_root(settings: &Settings, seen: &Observation) -> (CheckOutcome, String) {
    use CheckOutcome::{Fail, Inconclusive, Pass};
    let Some(root) = &seen.root else {
        let why = text::or(&seen.error, "the examination did not finish");
        return (Inconclusive, format!("the root file system cannot be examined: {why}"));
    };
    if root.read_only {
        return (Fail, format!("root file system is read-only after {}", text::seconds(seen.waited)));
    }
    if let Some(disk) = seen.device.as_ref().map(|device| device.disk_bytes)
        && disk.saturating_add(slack(settings.disk_size)) < settings.disk_size
    {
        let summary = format!("the server's disk is {}, not {}", bytes(disk), bytes(settings.disk_size));
        return (Inconclusive, summary);
    }
    let growth = growth(settings, root, seen.device.as_ref());
    if let Growth::Missing(failure) = growth {
        if !seen.unsettled {
            return (Fail, failure);
        }
        // A slow machine is no bad image, and an image whose cloud-init hangs fails the check cloud_init.
        let late =
            format!("cloud-init, which grows it, had not got that far after {}", text::seconds(seen.waited));
        return (Inconclusive, format!("{failure}; {late}: give checks.disk a longer timeout"));
    }
    if root.free_bytes < settings.min_free {
        let (free, wanted) = (bytes(root.free_bytes), bytes(settings.min_free));
        return (Fail, format!("root file system has {free} free, less than the {wanted} required"));
    }
    if root.free_inodes < settings.min_free_inodes && root.inodes > 0 {
        let (free, wanted) = (root.free_inodes, settings.min_free_inodes);
        return (Fail, format!("root file system has {free} inodes free, fewer than the {wanted} required"));
    }
    match &seen.probe {
        Some(Probe::Failed(why)) => (Fail, format!("root file system cannot be written to: {why}")),
        Some(Probe::Written(_)) if let Growth::Unknown(why) = growth => (Inconclusive, why),
        Some(Probe::Written(took)) => {
            let summary = format!(
                "{} of {} free on {}, 1 MiB written in {} ms",
                bytes(root.free_bytes),
                bytes(root.total_bytes),
                root.kind,
                took.as_millis()
            );
            (Pass, summary)
        }
        None => (Inconclusive, "writing was not tried".to_owned()),
    }
}

/// What partition tables leave free at a disk's end, and more than enough of it.
fn slack(size: u64) -> u64 {
    (size / 100).max(16 * MIB)
}

/// What LVM (a MiB, and less than an extent) and LUKS (16 MiB) keep of the device that they lie upon, and more than
/// enough of it.
fn layer_slack(size: u64) -> u64 {
    slack(size).max(32 * MIB)
}

/// What a file system keeps for itself: inode tables and journal.
fn overhead(size: u64) -> u64 {
    let journal = if size < 1024 * MIB { 16 * MIB } else { 64 * MIB };
    size / 20 + journal
}

/// How much of its device the file system covers. Where its header does not tell, what it may keep for
/// itself is added to what it gives out.
fn covered(root: &FileSystem, device: &Device) -> u64 {
    device.file_system_bytes.unwrap_or_else(|| root.total_bytes.saturating_add(overhead(device.bytes)))
}

/// Whether the root file system has grown.
enum Growth {
    Done,
    /// It has not, and this says where.
    Missing(String),
    /// It cannot be told, and this says why.
    Unknown(String),
}

fn growth(settings: &Settings, root: &FileSystem, device: Option<&Device>) -> Growth {
    let missing = |disk: u64, what: &str| {
        let (size, disk) = (bytes(root.total_bytes), bytes(disk));
        Growth::Missing(format!("root file system is {size} on a {disk} disk: it did not grow{what}"))
    };
    let Some(device) = device else {
        // Nothing is known of the disk but what the manager says.
        let disk = settings.disk_size;
        if disk == 0 {
            let source = text::or(&root.source, "its source");
            return Growth::Unknown(format!(
                "whether the root file system has grown is unknown: {source} is not a disk that the kernel lists"
            ));
        }
        let grown = root.total_bytes.saturating_add(overhead(disk)).saturating_add(slack(disk)) >= disk;
        return if grown { Growth::Done } else { missing(disk, "") };
    };
    if let Some(what) = not_grown(root, device) {
        return missing(device.disk_bytes, &format!(" ({what})"));
    }
    match &device.upon_several {
        Some(name) => Growth::Unknown(format!(
            "whether the root file system has grown is unknown: its device {name} spans several others"
        )),
        None => Growth::Done,
    }
}

/// The lowest layer that leaves room of the one below it.
fn not_grown(root: &FileSystem, device: &Device) -> Option<String> {
    let unused = device.disk_bytes.saturating_sub(device.end);
    if unused > slack(device.disk_bytes) {
        let (unused, partition) = (bytes(unused), device.partition());
        return Some(match &device.behind {
            Some(behind) => {
                format!("{partition} ends {unused} before the end of the disk, and {behind} follows it")
            }
            None => format!("{unused} of the disk is in no partition"),
        });
    }
    let leaves = |layer: &&Layer| layer.taken.saturating_add(layer_slack(layer.bytes)) < layer.bytes;
    if let Some(layer) = device.below.iter().rev().find(leaves) {
        let unused = bytes(layer.bytes.saturating_sub(layer.taken));
        return Some(format!("{unused} of {} is in no volume", layer.name));
    }
    (covered(root, device).saturating_add(slack(device.bytes)) < device.bytes)
        .then(|| format!("its device {} is {}", device.name, bytes(device.bytes)))
}

fn as_json(seen: &Observation) -> Json {
    let mut observed = json!({ "waited_seconds": seen.waited.as_secs_f64() });
    let Some(fields) = observed.as_object_mut() else { return observed };
    if seen.unsettled {
        fields.insert("cloud_init_is_yet_to_grow".to_owned(), json!(true));
    }
    if let Some(root) = &seen.root {
        fields.insert("root".to_owned(), root.as_json());
    }
    if !seen.mounts.is_empty() {
        let mounts = seen.mounts.iter().map(Mounted::as_json).collect::<Vec<_>>();
        fields.insert("mounts".to_owned(), json!(mounts));
    }
    if let Some(device) = &seen.device {
        fields.insert(
            "device".to_owned(),
            json!({
                "name": device.name,
                "bytes": device.bytes,
                "disk": device.disk,
                "disk_bytes": device.disk_bytes,
                "end_bytes": device.end,
                "behind": device.behind,
                "below": device.below.iter().map(|layer| json!({
                    "name": layer.name,
                    "bytes": layer.bytes,
                    "taken_bytes": layer.taken,
                })).collect::<Vec<_>>(),
                "file_system_bytes": device.file_system_bytes,
            }),
        );
    }
    match &seen.probe {
        Some(Probe::Written(took)) => {
            fields.insert("write_milliseconds".to_owned(), json!(took.as_secs_f64() * 1000.0));
        }
        Some(Probe::Failed(why)) => {
            fields.insert("write_error".to_owned(), json!(why));
        }
        None => {}
    }
    if let Some(others) = seen.others.as_object() {
        fields.extend(others.clone());
    }
    observed
}

#[cfg(test)]
mod tests;
