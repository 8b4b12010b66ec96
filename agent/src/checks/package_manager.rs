//! Check `package_manager`: the package manager can do its work, and has nothing urgent to do.
//!
//! Its indexes are fetched into a directory of the check's own, which goes with it, so the image's stay as they are. What
//! a mirror or the way to it does is not the image's fault: wrong keys, sources and packages are.
//!
//! A new package manager is a file beside `apt` with its `look` and `install`, and an arm wherever a manager is
//! chosen by its name below. `mirrors` reads its sources.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::time::Duration;

use image_manager_proto::counted;
use image_manager_proto::v1::CheckOutcome;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::sync::RwLock;
use tokio::time::{Instant, timeout_at};

use super::descriptor::{BadSettings, Check, Examination, Key, Observer, Rule, Set, ValueType, is_plain};
use super::{Judgement, LONG_TIMEOUT, boot, cloud_init, mirrors, pause, program};
use crate::guest::Guest;
use crate::text;

mod apt;
mod dnf;
mod zypper;

/// What the set `thorough` installs where the schedule names nothing: a package of every distribution, with next to nothing
/// in it.
pub const OF_THOROUGH: &str = "tree";
/// Held while packages are installed and removed, so that nobody compares files that come and go.
pub(super) static PACKAGES: RwLock<()> = RwLock::const_new(());
/// So long a bad look is repeated after cloud-init's end: a mirror may be busy, and updates at boot under way.
const PATIENCE: Duration = Duration::from_mins(1);
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Most things of a kind that are told of.
const MOST: usize = 16;

/// The check.
pub static CHECK: Check = Check {
    kind: "package_manager",
    proves: "the package manager's indexes can be refreshed with their signatures verified, no package is broken, and \
             no security update is pending",
    details: "For apt, dnf and zypper. A mirror that does not answer, or forbids everything, is not the image's \
              fault; wrong sources or keys are. A suite that a mirror of apt refuses (403, 404) is wrong only if the \
              mirror has another suite of the image's release, or is not there at all. Fresh indexes are fetched into a directory that is removed afterwards. For zypper, a security \
              update is one of a package that a needed patch of the category `security` names. With `install`, the \
              package is really installed and purged.",
    set: Set::Cloud,
    observer: Observer::Agent,
    timeout: LONG_TIMEOUT,
    cost: "fetches the indexes: about 10 MB",
    repeatable: false,
    keys: &[
        Key {
            name: "max_pending",
            value: ValueType::Number { smallest: 0, largest: 1 << 20 },
            default: "any number",
            help: "maximum number of pending updates",
        },
        Key {
            name: "security_pending",
            value: ValueType::Number { smallest: 0, largest: 1 << 20 },
            default: "0",
            help: "maximum number of pending security updates",
        },
        Key {
            name: "install",
            value: ValueType::Text(&PACKAGE),
            default: "none; \"tree\" in the set `thorough`",
            help: "a package to install and to remove again, as in \"tree\"",
        },
    ],
    examine: Some(|asked| Box::pin(examine(asked))),
};

static PACKAGE: Rule = Rule {
    what: "a package's name",
    help: "as in \"tree\"",
    holds: |text| is_plain(text, 128, ".-_+", "-."),
};

/// Its keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Most updates that may be pending. None: any number.
    pub max_pending: Option<u64>,
    /// Most security updates that may be pending.
    pub security_pending: u64,
    /// A package to install and to remove. Empty: none.
    pub install: String,
}

async fn examine(asked: Examination) -> Result<Judgement, BadSettings> {
    let settings = asked.settings()?;
    Ok(judge(&settings, &observe(&settings, &asked.guest, asked.deadline).await))
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// `apt`, `dnf` or `zypper`. Empty: none of them.
    pub manager: &'static str,
    /// What went wrong with the indexes.
    pub troubles: Vec<Trouble>,
    /// Suites that mirrors of apt refused.
    refused: Vec<apt::refused::Refused>,
    /// It has no sources at all.
    pub no_sources: bool,
    /// Packages that are broken or half configured, in words.
    pub broken: Vec<String>,
    /// Pending updates.
    pub pending: Vec<Update>,
    /// What went wrong with installing and removing.
    pub installation: Vec<Trouble>,
    /// How long it took.
    pub waited: Duration,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// It is the image's own: its keys, its sources, its packages. Else it may be the network's or the mirror's.
    pub own: bool,
    /// In words.
    pub what: String,
}

/// A pending update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The package.
    pub package: String,
    /// It comes from where security updates come from.
    pub security: bool,
}

/// A directory of the check's own.
struct Private(PathBuf);

impl Private {
    fn make(guest: &Guest) -> std::io::Result<Self> {
        let path = guest.path(format!("/var/tmp/image-manager-packages-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        // Whom apt runs its downloads as must get in.
        std::fs::DirBuilder::new().recursive(true).mode(0o755).create(&path)?;
        Ok(Self(path))
    }

    fn path(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Looks until all is well or the time is up.
pub async fn observe(settings: &Settings, guest: &Guest, deadline: Instant) -> Observation {
    let started = Instant::now();
    // From here on the sources stay as they are; the last stage is as long as the look.
    let mut wait = FIRST_PAUSE;
    while cloud_init::is_yet_to_configure(guest) && pause(&mut wait, FIRST_PAUSE, deadline).await {}
    let mut seen = Observation::default();
    let private = match Private::make(guest) {
        Ok(private) => private,
        Err(error) => {
            seen.manager = "the check";
            let what = format!("cannot make a directory in /var/tmp: {error}");
            seen.troubles.push(Trouble { own: false, what });
            return seen;
        }
    };
    let mut wait = FIRST_PAUSE;
    let mut ended = None;
    loop {
        look(guest, &private, &mut seen, deadline).await;
        if ended.is_none() && !cloud_init::is_under_way(guest) {
            ended = Some(Instant::now());
        }
        let last = boot::before(deadline);
        let latest = ended.map_or(last, |ended| last.min(ended + PATIENCE));
        let good = judge(&Settings { install: String::new(), ..settings.clone() }, &seen).outcome
            == CheckOutcome::Pass;
        let hopeless = seen.manager.is_empty();
        if good || hopeless || !pause(&mut wait, LONGEST_PAUSE, latest).await {
            break;
        }
    }
    let Observation { refused, troubles, .. } = &mut seen;
    apt::refused::settle(guest, &private, refused, troubles, deadline).await;
    if !settings.install.is_empty() && seen.troubles.is_empty() {
        boot::settled(guest, deadline).await;
        seen.installation = install(guest, &private, seen.manager, &settings.install, deadline).await;
    }
    seen.waited = started.elapsed();
    seen
}

async fn install(
    guest: &Guest,
    private: &Private,
    manager: &str,
    package: &str,
    deadline: Instant,
) -> Vec<Trouble> {
    let Ok(_alone) = timeout_at(boot::before(deadline), PACKAGES.write()).await else {
        let what =
            format!("{package} was not installed: another check was reading packages until time ran out");
        return vec![Trouble { own: false, what }];
    };
    match manager {
        "apt" => apt::install(guest, private, package, deadline).await,
        "dnf" => dnf::install(guest, private, package, deadline).await,
        "zypper" => zypper::install(guest, private, package, deadline).await,
        _ => Vec::new(),
    }
}

/// Whether rpm's database has a package of this name.
async fn rpm_has(guest: &Guest, package: &str, deadline: Instant) -> bool {
    let Some(rpm) = program::program(guest, "rpm") else { return false };
    rpm.with(["--query", "--quiet", "--", package]).run(deadline).await.is_good()
}

/// Looks once. Indexes that were fetched are not fetched again.
async fn look(guest: &Guest, private: &Private, seen: &mut Observation, deadline: Instant) {
    let fetch = seen.manager.is_empty() || !seen.troubles.is_empty() || seen.no_sources;
    seen.manager = manager(guest);
    match seen.manager {
        "apt" => apt::look(guest, private, seen, fetch, deadline).await,
        "dnf" => dnf::look(guest, private, seen, fetch, deadline).await,
        "zypper" => zypper::look(guest, private, seen, fetch, deadline).await,
        _ => {}
    }
}

/// The one that the guest is managed with. openSUSE has dnf, too, for those who want it, without repositories of its own;
/// and in `zypper-aptitude` an apt-get that calls zypper.
fn manager(guest: &Guest) -> &'static str {
    let has = |name| program::find(guest, name).is_some();
    let repositories = |folder| !mirrors::files(guest, folder, "repo").is_empty();
    if has("apt-get") && has("dpkg") {
        return "apt";
    }
    let zypper_alone = || repositories("/etc/zypp/repos.d") && !repositories("/etc/yum.repos.d");
    match (has("dnf"), has("zypper")) {
        (true, true) if zypper_alone() => "zypper",
        (true, _) => "dnf",
        (false, true) => "zypper",
        (false, false) => "",
    }
}

/// What an observation means.
pub fn judge(settings: &Settings, seen: &Observation) -> Judgement {
    let (outcome, summary) = match verdict(settings, seen) {
        Ok(summary) => (CheckOutcome::Pass, summary),
        Err(unsound) => unsound,
    };
    Judgement::new(outcome, summary, &as_json(seen))
}

type Unsound = (CheckOutcome, String);

fn verdict(settings: &Settings, seen: &Observation) -> Result<String, Unsound> {
    use CheckOutcome::{Fail, Skipped};
    let manager = seen.manager;
    if manager.is_empty() {
        let why = "the image has none of apt, dnf and zypper: write `checks.package_manager = false`";
        return Err((Skipped, why.to_owned()));
    }
    // What is broken needs no index to be so.
    if let Some(broken) = seen.broken.first() {
        let more = if seen.broken.len() > 1 {
            format!(" (and {} more)", seen.broken.len() - 1)
        } else {
            String::new()
        };
        return Err((Fail, format!("{broken}{more}")));
    }
    if seen.no_sources {
        return Err((Fail, format!("{manager} has no package sources")));
    }
    worst(&seen.troubles)?;
    worst(&seen.installation)?;
    let names = |security: bool| {
        let of = seen.pending.iter().filter(|update| update.security || !security);
        of.map(|update| update.package.clone()).collect::<Vec<_>>()
    };
    let (all, urgent) = (names(false), names(true));
    if urgent.len() as u64 > settings.security_pending {
        return Err((Fail, pending("security update", urgent.len(), settings.security_pending, &urgent)));
    }
    if let Some(most) = settings.max_pending.filter(|most| all.len() as u64 > *most) {
        return Err((Fail, pending("update", all.len(), most, &all)));
    }
    let installed = match settings.install.as_str() {
        "" => String::new(),
        package => format!(", {package} was installed and removed"),
    };
    Ok(format!(
        "{manager} trusts its mirrors, no package is broken, {} pending{installed}",
        counted(all.len(), "update")
    ))
}

fn pending(what: &str, count: usize, most: u64, packages: &[String]) -> String {
    format!("{} pending, more than the {most} allowed: {}", counted(count, what), text::list(packages))
}

/// The image's own faults before those of others.
fn worst(troubles: &[Trouble]) -> Result<(), Unsound> {
    if let Some(own) = troubles.iter().find(|trouble| trouble.own) {
        return Err((CheckOutcome::Fail, own.what.clone()));
    }
    match troubles.first() {
        Some(other) => Err((CheckOutcome::Inconclusive, other.what.clone())),
        None => Ok(()),
    }
}

fn as_json(seen: &Observation) -> Json {
    let troubles = |all: &[Trouble]| {
        all.iter().map(|trouble| json!({ "image": trouble.own, "what": trouble.what })).collect::<Vec<_>>()
    };
    json!({
        "manager": seen.manager,
        "troubles": troubles(&seen.troubles),
        "installation": troubles(&seen.installation),
        "broken": seen.broken,
        "pending": seen.pending.len(),
        "pending_security": seen.pending.iter().filter(|update| update.security).count(),
        "updates": seen.pending.iter().take(MOST).map(|update| update.package.as_str()).collect::<Vec<_>>(),
        "waited_seconds": seen.waited.as_secs_f64(),
    })
}

#[cfg(test)]
mod tests;
