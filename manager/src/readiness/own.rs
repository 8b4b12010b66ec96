//! What schedules bring of their own: directories of elements, keys, files, secrets.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::Finding;
use crate::lifecycle::{Settings, agent_for};
use crate::schedules::{Arch, ImageSpec, Schedule, Schedules};
use crate::trust::{self, Unsafe};

/// Most elements of a directory that are looked at.
const MOST: usize = 10_000;

/// What decides what a build runs as root, besides the schedules file and the state directory: elements, the agent,
/// disk-image-builder, and what the schedules name.
///
/// # Errors
/// The first path that somebody else can change, or of a secret: read.
pub fn check_what_runs(settings: &Settings, schedules: &Schedules) -> Result<(), Unsafe> {
    let images = || schedules.schedules.iter().map(|schedule| &schedule.image);
    // Several schedules may name the same ones, and a directory may have many files.
    let own: BTreeSet<&PathBuf> = images().flat_map(|image| &image.elements_path).collect();
    let mut directories: Vec<&PathBuf> = settings.elements.iter().collect();
    directories.extend(own.into_iter().filter(|path| !settings.elements.contains(path)));
    directories.into_iter().try_for_each(|directory| trust::check(directory, true))?;
    trust::check(&settings.agent, false)?;
    // Those for other architectures that lie beside it.
    let agents = Arch::ALL.map(|arch| agent_for(&settings.agent, arch));
    agents.iter().flatten().try_for_each(|agent| trust::check(agent, false))?;
    // It has what it copies into the images beside it.
    let maker = settings.control_image.as_deref().and_then(Path::parent);
    maker.map_or(Ok(()), |maker| trust::check(maker, true))?;
    // A virtual environment has disk-image-builder's code and elements beside the program.
    let home = settings.dib.ancestors().nth(2).filter(|home| home.join("pyvenv.cfg").is_file());
    home.map_or_else(|| trust::check(&settings.dib, false), |home| trust::check(home, true))?;
    let keys = images().flat_map(|image| image.repositories.iter().filter_map(|one| one.key_file.as_ref()));
    let files = images().flat_map(|image| image.files.iter().map(|file| &file.source));
    let sources: BTreeSet<&Path> = keys
        .chain(files)
        .map(PathBuf::as_path)
        .chain(images().filter_map(ImageSpec::container_file))
        .collect();
    sources.into_iter().try_for_each(|path| trust::check(path, false))?;
    let secrets: BTreeSet<&PathBuf> =
        images().flat_map(|image| image.secrets.iter().map(|secret| &secret.source)).collect();
    secrets.into_iter().try_for_each(|path| trust::check_secret(path))
}

/// Whether the directories and files are there, and which elements stand before those that came with this program.
pub(super) fn findings(needed: &[&Schedule], settings: &Settings) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    let mut add = |finding: Finding| {
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    };
    for path in &settings.elements {
        let mend = "name the directory with --elements, or IMAGE_MANAGER_ELEMENTS";
        add(directory(path, &covered(path, settings, &settings.elements), mend));
    }
    for image in needed.iter().map(|schedule| &schedule.image) {
        let all = settings.elements_of(image);
        for path in &image.elements_path {
            let mend = "name the directory in image.elements_path; a relative path is resolved from the directory of \
                        the schedules file";
            add(directory(path, &covered(path, settings, &all), mend));
        }
        let keys =
            image.repositories.iter().filter_map(|one| Some((one.key_file.as_ref()?, "repository key")));
        let files = image.files.iter().map(|file| (&file.source, "file for the image"));
        let secrets = image.secrets.iter().map(|secret| (&secret.source, "build secret"));
        for (path, what) in keys.chain(files).chain(secrets) {
            add(file(path, what));
        }
    }
    findings
}

fn directory(path: &Path, covered: &[String], mend: &str) -> Finding {
    if !path.is_dir() {
        return Finding::bad("elements", format!("there is no directory {}", path.display()), mend);
    }
    match note(path, covered) {
        Some(note) => Finding::good(note),
        None => Finding::good(format!("elements ({})", path.display())),
    }
}

/// The elements of a directory that are used instead of shipped ones, said to people.
fn note(path: &Path, covered: &[String]) -> Option<String> {
    let (shown, names) = (path.display(), covered.join(", "));
    (!covered.is_empty()).then(|| {
        format!(
            "elements ({shown}), used instead of those of the same name that came with this program: {names}"
        )
    })
}

/// Which elements of the site's are used instead of shipped ones, a line for each directory that has some.
pub fn notes(schedules: &Schedules, settings: &Settings) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    let images = schedules.schedules.iter().map(|schedule| settings.elements_of(&schedule.image));
    for all in images.chain([settings.elements.clone()]) {
        for path in &all {
            let said = note(path, &covered(path, settings, &all)).filter(|said| !notes.contains(said));
            notes.extend(said);
        }
    }
    notes
}

fn file(path: &Path, what: &str) -> Finding {
    if path.is_file() {
        return Finding::good(format!("{what} ({})", path.display()));
    }
    let wrong = if path.is_dir() { "is a directory, not a file" } else { "does not exist" };
    Finding::bad(
        what,
        format!("{} {wrong}", path.display()),
        "put it there, or name another one in schedules.toml",
    )
}

/// Elements of a directory that are used instead of shipped ones.
fn covered(own: &Path, settings: &Settings, all: &[PathBuf]) -> Vec<String> {
    let before = |shipped: &PathBuf| {
        let place = |path: &Path| all.iter().position(|one| one == path);
        place(own) < place(shipped) && !settings.shipped.iter().any(|one| one == own)
    };
    let shipped: Vec<&PathBuf> = settings.shipped.iter().filter(|shipped| before(shipped)).collect();
    let Ok(entries) = std::fs::read_dir(own) else { return Vec::new() };
    let names = entries.flatten().take(MOST).filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = names
        .filter(|entry| shipped.iter().any(|directory| directory.join(entry.file_name()).is_dir()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_elements_that_stand_before_shipped_ones_are_named() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        for name in
            ["shipped/agent-install", "shipped/hygiene", "own/agent-install", "own/web", "late/hygiene"]
        {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        let mut settings = super::super::host::tests::settings();
        settings.elements = vec![at("own"), at("shipped"), at("late")];
        settings.shipped = vec![at("shipped")];
        let of = |name: &str| covered(&at(name), &settings, &settings.elements);
        assert_eq!(of("own"), ["agent-install"]);
        assert_eq!(of("shipped"), Vec::<String>::new());
        assert_eq!(of("late"), Vec::<String>::new(), "a later one counts for nothing");
        let said = format!("{:?}", findings(&[], &settings));
        assert!(said.contains("came with this program: agent-install"), "{said}");
        let noted = notes(&Schedules::none(Path::new("x")), &settings);
        assert_eq!(noted.len(), 1, "{noted:?}");
    }
}
