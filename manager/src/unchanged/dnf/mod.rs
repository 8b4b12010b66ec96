//! dnf is asked what it would install today if it were given the names of the image's packages, in an empty root.
//!
//! dnf's library is asked, not its program (`ask.py`): so no configuration and no plugin of this host counts, and the
//! answer is a list and no table for people. The image's rpm database is not opened here; of it are kept the packages.
//! The names are asked for as a build would ask: the newest of each, and whatever these need. If that is the image's list,
//! package by package, an upgrade would find nothing, and the mirrors still have everything.

mod compare;
mod packages;
mod repositories;
mod sections;
mod settings;
mod variables;

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::place::Place;
use super::program::{self, Account, Deadline};
use super::{Answer, Doubt, Kept, Question};
use repositories::{Index, Repository};

/// Debian's, for which its library of dnf is made; not another one on PATH.
const PYTHON: &str = "/usr/bin/python3";
const ASK: &str = include_str!("ask.py");

/// A file of the image as text; what is no UTF-8 is no text of dnf's.
fn text<'a>(kept: &'a Kept, path: &str) -> Result<&'a str, Doubt> {
    std::str::from_utf8(kept.file(path).unwrap_or_default())
        .map_err(|_| Doubt::NotAsked(format!("{path} is not text")))
}

/// The files of a directory of the image whose names end so, by their paths.
fn files<'a>(kept: &'a Kept, directory: &'a str, extension: &'a str) -> impl Iterator<Item = String> {
    let ends_so = move |name: &str| Path::new(name).extension().is_some_and(|there| there == extension);
    let files = kept.directory(directory).filter(move |(name, _)| ends_so(name));
    files.map(move |(name, _)| format!("{directory}/{name}"))
}

/// What `ask.py` reads.
#[derive(Serialize)]
struct Asked<'a> {
    root: &'a str,
    arch: &'a str,
    platform: &'a str,
    repositories: Vec<AskedRepository<'a>>,
    packages: &'a [packages::Installed],
}

#[derive(Serialize)]
struct AskedRepository<'a> {
    id: &'a str,
    priority: u32,
    metalink: Option<&'a str>,
    mirrorlist: Option<&'a str>,
    baseurls: &'a [String],
    signed: bool,
    /// Files.
    keys: Vec<String>,
}

pub(super) async fn would_change(question: Question<'_>) -> Result<Answer, Doubt> {
    let deadline = Deadline::after(question.patience);
    let kept = question.kept;
    let installed = packages::installed(kept)?;
    let arch = packages::architecture(&installed)?;
    let variables = variables::of(kept, arch)?;
    let repositories = repositories::of(kept, &variables, question.origins)?;
    let place = Place::make(question.places, "image-manager-dnf-", Account::choose()?)?;
    let root = ["root", "root/etc", "root/etc/dnf", "root/etc/dnf/modules.d"];
    for directory in root.into_iter().chain(["keys", "cache", "persist", "log", "none", "tmp"]) {
        place.directory(directory)?;
    }
    for (name, content) in settings::modules(kept)? {
        place.write(&format!("root/etc/dnf/modules.d/{name}.module"), content.as_bytes())?;
    }
    let asked = Asked {
        root: place.text()?,
        arch,
        platform: variables.platform(),
        repositories: repositories
            .iter()
            .enumerate()
            .map(|(number, repository)| asked_of(&place, number, repository, kept))
            .collect::<Result<_, _>>()?,
        packages: &installed,
    };
    let asked = serde_json::to_vec(&asked).map_err(|error| Doubt::Unknown(error.to_string()))?;
    place.write("question.json", &asked)?;
    place.write("ask.py", ASK.as_bytes())?;

    let arguments = [place.path("ask.py"), place.path("question.json")];
    let options = ["-I", "-B"].map(PathBuf::from);
    let environment = [("HOME", place.path("")), ("TMPDIR", place.path("tmp"))];
    let arguments: Vec<_> = options.into_iter().chain(arguments).collect();
    let said = program::run(PYTHON, &arguments, &environment, place.account(), deadline).await?;
    compare::answer(&said, &installed)
}

fn asked_of<'a>(
    place: &Place,
    number: usize,
    repository: &'a Repository,
    kept: &Kept,
) -> Result<AskedRepository<'a>, Doubt> {
    let mut keys = Vec::new();
    for file in &repository.keys {
        let missing = || {
            Doubt::NotAsked(format!("the key {file} of the repository {} is not in the image", repository.id))
        };
        let name = format!("keys/{number}-{}", keys.len());
        place.write(&name, kept.file(file).ok_or_else(missing)?)?;
        keys.push(place.path(&name).display().to_string());
    }
    let (metalink, mirrorlist, baseurls): (_, _, &[String]) = match &repository.index {
        Index::Metalink(url) => (Some(url.as_str()), None, &[]),
        Index::MirrorList(url) => (None, Some(url.as_str()), &[]),
        Index::At(urls) => (None, None, urls),
    };
    Ok(AskedRepository {
        id: &repository.id,
        priority: repository.priority,
        metalink,
        mirrorlist,
        baseurls,
        signed: repository.is_signed,
        keys,
    })
}
