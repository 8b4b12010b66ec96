//! apt is asked what an upgrade of the image would do, in a root of its own.

mod cache;
mod pins;
mod policy;
mod root;
mod said;
mod settings;
mod simulation;
mod sources;

use super::program::{self, Account, Deadline};
use super::{Answer, Doubt, Kept, Question, status};
use root::Root;

pub(crate) use sources::keyrings_named;

/// Where what is kept of it was in the image.
const STATUS: &str = "/var/lib/dpkg/status";
const AUTOMATIC: &str = "/var/lib/apt/extended_states";
const FOREIGN: &str = "/var/lib/dpkg/arch";

/// A file of the image as text; what is no UTF-8 is no text of apt's.
fn text<'a>(kept: &'a Kept, path: &str) -> Result<&'a str, Doubt> {
    std::str::from_utf8(kept.file(path).unwrap_or_default())
        .map_err(|_| Doubt::NotAsked(format!("{path} is not text")))
}

pub(super) async fn would_change(question: Question<'_>) -> Result<Answer, Doubt> {
    let deadline = Deadline::after(question.patience);
    let kept = question.kept;
    let installed = status::installed(text(kept, STATUS)?)?;
    let sources = sources::of(kept, question.origins)?;
    let definition = root::Definition {
        native: status::native(&installed)?,
        architectures: architectures(kept)?,
        sources: &sources,
        settings: settings::of(kept)?,
        pins: pins::of(kept)?,
        status: kept.file(STATUS).unwrap_or_default(),
        automatic: kept.file(AUTOMATIC).unwrap_or_default(),
    };
    let key = definition.key();
    let root = Root::make(&definition, kept, Account::choose()?, question.places)?;
    cache::fetch(question.cache, &key, &root)?;
    let updated = ask(&root, "apt-get", &["-q", "update"], deadline).await?;
    said::updated(&updated)?;
    cache::store(question.cache, &key, &root);

    let names: Vec<String> = installed.iter().map(policy::name).collect();
    let policy: Vec<&str> = ["-q", "policy"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let (upgrade, policy) = tokio::join!(
        ask(&root, "apt-get", &["-q", "--simulate", "dist-upgrade"], deadline),
        ask(&root, "apt-cache", &policy, deadline),
    );
    let changes = simulation::changes(&upgrade?)?;
    if !changes.is_empty() {
        return Ok(Answer::Changes(changes));
    }
    policy::all_can_be_had(&policy?, &installed)?;
    Ok(Answer::Nothing { packages: installed.len() })
}

async fn ask(
    root: &Root,
    name: &str,
    arguments: &[&str],
    deadline: Deadline,
) -> Result<program::Said, Doubt> {
    program::run(name, arguments, &root.environment(), root.account(), deadline).await
}

/// The architectures whose packages may be in the image.
fn architectures(kept: &Kept) -> Result<Vec<String>, Doubt> {
    let names = text(kept, FOREIGN)?.split_whitespace().take(8);
    let plain = |name: &str| {
        let plain = status::is_plain(name, "-");
        let refused = || Doubt::NotAsked(format!("{name:?} is not an architecture"));
        plain.then(|| name.to_owned()).ok_or_else(refused)
    };
    names.map(plain).collect()
}
