//! What an image is defined by, as one digest: two builds with the same one were asked for the same.
//!
//! The digest is over parts, each with a digest or version of its own, so that two builds can be told apart by name.
//!
//! The elements of the elements path with every file, the names of disk-image-builder's own with its version, what the
//! schedule says of the image, the agent, this program's version. What is downloaded meanwhile is not part of it, nor
//! what the host is: those are what may differ between two builds of one definition.

use std::io;
use std::path::{Path, PathBuf};

use image_manager_proto::{hex, v1};
use sha2::{Digest as _, Sha256};

use super::elements::{self, Elements, add};
use super::settings::Settings;
use crate::builder::Expanded;
use crate::history::{Defined, DefinitionPart};
use crate::schedules::ImageSpec;

/// The sources of elements.
pub(super) const OWN: &str = "own";
const SHIPPED: &str = "shipped";
const OF_DIB: &str = "disk-image-builder";
/// Kinds of parts that people are shown in their own way.
pub(super) const ELEMENT: &str = "element";
const PROGRAM: &str = "program";

/// How many elements come from where, for people.
pub fn elements_by_source(parts: &[v1::DefinitionPart]) -> String {
    let of = |source| parts.iter().filter(|part| part.kind == ELEMENT && part.source == source).count();
    format!("{} of your own, {} shipped, {} from disk-image-builder", of(OWN), of(SHIPPED), of(OF_DIB))
}

/// The parts that are shown one by one: what is the site's own, and the programs.
pub fn parts_to_show(parts: &[v1::DefinitionPart]) -> impl Iterator<Item = &v1::DefinitionPart> {
    parts.iter().filter(|part| part.source == OWN || part.kind == PROGRAM)
}

/// What is known before disk-image-builder says which elements it works with.
#[derive(Debug, Clone)]
pub(super) struct Definition {
    /// All but the elements and disk-image-builder itself.
    plain: Vec<DefinitionPart>,
    /// The elements in the elements path.
    pub(super) elements: Elements,
}

impl Definition {
    /// Reads the elements as they are now, before anything is built from them. `own`: the parts that the schedule
    /// brings. `before`: the elements as they were read for this build before; they are read again only where a file has
    /// changed since. `None` when that cannot be: then nothing is known to be unchanged.
    pub(super) async fn read(
        settings: &Settings,
        image: &ImageSpec,
        agent: &Path,
        own: Vec<DefinitionPart>,
        before: Option<Elements>,
    ) -> Option<Self> {
        let directories = settings.elements_of(image).into_iter().map(|directory| {
            let source = if settings.shipped.contains(&directory) { SHIPPED } else { OWN };
            (directory, source)
        });
        let directories: Vec<_> = directories.collect();
        let (agent, image) = (agent.to_owned(), said(image));
        let work =
            tokio::task::spawn_blocking(move || read(&directories, &agent, &image, own, before.as_ref()));
        match work.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(definition) => Some(definition),
            Err(error) => {
                tracing::warn!("cannot tell whether the definition of the image has changed: {error}");
                None
            }
        }
    }

    /// The whole, once it is known what the elements expand to.
    pub(super) fn of(&self, expanded: &Expanded) -> Defined {
        let mut parts = self.plain.clone();
        parts.push(part(PROGRAM, "disk-image-builder", &expanded.version, ""));
        let mut names: Vec<_> = expanded.elements.iter().collect();
        names.sort();
        parts.extend(names.into_iter().map(|name| {
            let (digest, source) = self.elements.get(name).unwrap_or(("", OF_DIB));
            part(ELEMENT, name, digest, source)
        }));
        let mut hasher = Sha256::new();
        for part in &parts {
            // Not the source: the same files are the same definition, wherever they lie.
            for text in [&part.kind, &part.name, &part.value] {
                add(&mut hasher, text.as_bytes());
            }
        }
        Defined { digest: hex(&hasher.finalize()), parts }
    }
}

/// What the schedule says of the image, without the places of files: what is in them has its own part. Of a secret only
/// its name counts; a digest would help somebody who guesses.
fn said(image: &ImageSpec) -> String {
    let mut image = image.clone();
    image.elements_path.clear();
    image.repositories.iter_mut().for_each(|repository| repository.key_file = None);
    image.files.iter_mut().for_each(|file| file.source.clear());
    image.secrets.iter_mut().for_each(|secret| secret.source.clear());
    format!("{image:?}")
}

/// The part for what the schedule says of the image.
fn settings(said: &str) -> DefinitionPart {
    part("settings", "image", &hex(&Sha256::digest(said)), "")
}

/// Whether these are the parts of a build that was asked for something else than the schedule says of the image now; not
/// where they are not known.
pub(super) fn is_of_another(parts: &[v1::DefinitionPart], image: &ImageSpec) -> bool {
    let now = settings(&said(image));
    parts.iter().any(|part| part.kind == now.kind && part.name == now.name && part.value != now.value)
}

/// A part.
pub(super) fn part(kind: &str, name: &str, value: &str, source: &str) -> DefinitionPart {
    let [kind, name, value, source] = [kind, name, value, source].map(str::to_owned);
    DefinitionPart { kind, name, value, source }
}

fn read(
    directories: &[(PathBuf, &'static str)],
    agent: &Path,
    image: &str,
    own: Vec<DefinitionPart>,
    before: Option<&Elements>,
) -> io::Result<Definition> {
    let mut plain = vec![
        part(PROGRAM, "image-manager", env!("CARGO_PKG_VERSION"), ""),
        part("agent", "image-manager-agent", &elements::digest_of(agent)?, ""),
        settings(image),
    ];
    plain.extend(own);
    let elements = match before.filter(|before| before.are_as_they_were(directories)) {
        Some(before) => before.clone(),
        None => Elements::read(directories)?,
    };
    Ok(Definition { plain, elements })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn expanded(elements: &[&str]) -> Expanded {
        let elements = elements.iter().map(|name| (*name).to_owned()).collect();
        Expanded { version: "3.43.0".to_owned(), elements }
    }

    #[test]
    fn a_build_was_asked_for_another_image_where_its_settings_say_so() {
        let text = "[schedule.a.image]\nelements = [\"debian-minimal\"]\n";
        let parsed = crate::schedules::parse(Path::new("schedules.toml"), text).unwrap();
        let image = &parsed.schedules[0].image;
        let recorded = |said: &ImageSpec| {
            let DefinitionPart { kind, name, value, source } = settings(&super::said(said));
            [v1::DefinitionPart { kind, name, value, source }]
        };
        assert!(!is_of_another(&recorded(image), image));
        let other = ImageSpec { ssh_password_authentication: true, ..image.clone() };
        assert!(is_of_another(&recorded(&other), image));
        assert!(!is_of_another(&[], image), "it is not known");
    }

    #[test]
    fn a_change_in_what_is_used_is_a_change_and_another_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let write = |name: &str, content: &str| {
            std::fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            std::fs::write(at(name), content).unwrap();
        };
        write("agent", "1");
        write("elements/web/install.d/50-web", "true");
        write("elements/other/install.d/50-other", "true");
        let digest = |used: &[&str], image: &str| {
            let path = [(at("elements"), OWN), (at("absent"), OWN), (at("shipped"), SHIPPED)];
            read(&path, &at("agent"), image, Vec::new(), None).unwrap().of(&expanded(used)).digest
        };
        let used = ["web", "debian-minimal"];
        let first = digest(&used, "image");
        assert_eq!(first.len(), 64);
        assert_eq!(digest(&["debian-minimal", "web"], "image"), first, "the order says nothing");
        write("elements/other/install.d/50-other", "false");
        assert_eq!(digest(&used, "image"), first, "it is not used");
        assert_ne!(digest(&used, "another image"), first);
        assert_ne!(digest(&["web"], "image"), first);
        let mut seen = vec![first];
        let mut changed = || {
            let now = digest(&used, "image");
            assert!(!seen.contains(&now));
            seen.push(now);
        };
        write("elements/web/install.d/50-web", "false");
        changed();
        std::fs::set_permissions(at("elements/web/install.d/50-web"), std::fs::Permissions::from_mode(0o755))
            .unwrap();
        changed();
        write("elements/web/README", "");
        changed();
        write("agent", "2");
        changed();
        std::os::unix::fs::symlink(at("agent"), at("elements/web/link")).unwrap();
        changed();
        write("agent2", "2");
        std::fs::remove_file(at("elements/web/link")).unwrap();
        std::os::unix::fs::symlink(at("agent2"), at("elements/web/link")).unwrap();
        changed();
    }

    #[test]
    fn each_part_has_its_source_and_the_first_directory_counts() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for (name, content) in
            [("own/web/a", "1"), ("shipped/web/a", "2"), ("shipped/agent-install/a", "3"), ("agent", "4")]
        {
            std::fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            std::fs::write(at(name), content).unwrap();
        }
        let path = [(at("own"), OWN), (at("shipped"), SHIPPED)];
        let own = vec![part("file", "/etc/motd", "5", OWN)];
        let of = |path: &[(PathBuf, &'static str)]| {
            read(path, &at("agent"), "image", own.clone(), None).unwrap().of(&expanded(&[
                "web",
                "vm",
                "agent-install",
            ]))
        };
        let defined = of(&path);
        let parts: Vec<_> = defined
            .parts
            .iter()
            .map(|part| (part.kind.as_str(), part.name.as_str(), part.source.as_str()))
            .collect();
        assert_eq!(
            parts,
            [
                ("program", "image-manager", ""),
                ("agent", "image-manager-agent", ""),
                ("settings", "image", ""),
                ("file", "/etc/motd", "own"),
                ("program", "disk-image-builder", ""),
                ("element", "agent-install", "shipped"),
                ("element", "vm", "disk-image-builder"),
                ("element", "web", "own"),
            ]
        );
        let value = |defined: &Defined, name: &str| {
            defined.parts.iter().find(|part| part.name == name).unwrap().value.clone()
        };
        assert_eq!(value(&defined, "vm"), "");
        let swapped = of(&[path[1].clone(), path[0].clone()]);
        assert_ne!(value(&swapped, "web"), value(&defined, "web"));
        std::fs::write(at("shipped/web/a"), "other").unwrap();
        assert_eq!(of(&path), defined, "the one that is covered counts for nothing");
    }
}
