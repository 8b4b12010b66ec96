//! What a schedule's image is given of its own: repositories, files, secrets, read once for a build. What is read is what
//! the build is given and what its definition names.
//!
//! ```text
//!  repositories/NAME/kind     apt or dnf
//!  repositories/NAME/source   what apt or dnf reads
//!  repositories/NAME/key      the key that signs it, if it has one of its own
//!  repositories/NAME/key-name the key's file name in the image
//!  repositories/NAME/keep     there when servers have it too
//!  repositories/NAME/auth     the secret's name, and what of a URL it is for
//!  files/list                 a line each: file, mode, owner, path, between tabs
//!  files/NUMBER               the content
//! ```

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use image_manager_proto::hex;
use sha2::{Digest as _, Sha256};

use super::definition;
use super::failure::Failure;
use crate::builder::{InputFile, Inputs, Secret};
use crate::history::DefinitionPart;
use crate::reason::Reason;
use crate::schedules::{ImageSpec, Repository, RepositoryKind};
use crate::trust;

/// Elements of ours that use the inputs; they come with them.
const ELEMENTS: [&str; 3] = ["image-repositories", "image-files", "image-secrets"];
/// Most bytes of a file for the image.
const LARGEST_FILE: u64 = 64 << 20;
/// Most bytes of all of them.
const LARGEST_FILES: u64 = 256 << 20;
/// Most bytes of a key, and of a container file.
const LARGEST_KEY: u64 = 1 << 20;
/// Most bytes of a secret.
const LARGEST_SECRET: u64 = 64 << 10;
/// How an armoured key begins.
const ARMOUR: &[u8] = b"-----BEGIN PGP PUBLIC KEY BLOCK-----";

/// What was read.
#[derive(Debug, Default)]
pub(super) struct OwnInputs {
    /// For the build.
    pub(super) inputs: Inputs,
    /// For its definition.
    pub(super) parts: Vec<DefinitionPart>,
}

/// The elements of an image, with those of ours that its own inputs need.
pub(super) fn elements(image: &ImageSpec) -> Vec<String> {
    let used = [!image.repositories.is_empty(), !image.files.is_empty(), !image.secrets.is_empty()];
    let ours = ELEMENTS.iter().zip(used).filter(|(_, used)| *used).map(|(element, _)| (*element).to_owned());
    let mut elements = image.elements.clone();
    elements.extend(ours.filter(|element| !image.elements.contains(element)));
    elements
}

/// Reads them. Blocks.
pub(super) fn read(image: &ImageSpec) -> Result<OwnInputs, Failure> {
    let mut own = OwnInputs::default();
    for secret in &image.secrets {
        let value = read_secret(&secret.source)?;
        own.inputs.secrets.push(Secret::new(secret.name.clone(), secret.source.clone(), value));
    }
    for repository in &image.repositories {
        own.repository(repository)?;
    }
    let mut left = LARGEST_FILES;
    let mut list = String::new();
    for (number, file) in image.files.iter().enumerate() {
        let content = read_file(&file.source, LARGEST_FILE.min(left), "a file for the image")?;
        left = left.saturating_sub(content.len() as u64);
        let mut hasher = Sha256::new();
        hasher.update(&content);
        // Writing to a string does not fail.
        let _ = writeln!(list, "{number}\t{:04o}\t{}\t{}", file.mode, file.owner, file.path);
        hasher.update(format!("{:04o} {}", file.mode, file.owner));
        own.part("file", &file.path, &hex(&hasher.finalize()));
        own.file(format!("files/{number}"), content);
    }
    if let Some(path) = image.container_file() {
        // The build reads it where it is; here it is only known again.
        let content = read_file(path, LARGEST_KEY, "the container file")?;
        own.part("file", &path.display().to_string(), &hex(&Sha256::digest(&content)));
    }
    if !list.is_empty() {
        own.file("files/list".to_owned(), list.into_bytes());
    }
    Ok(own)
}

impl OwnInputs {
    fn file(&mut self, path: String, content: Vec<u8>) {
        self.inputs.files.push(InputFile { path, content });
    }

    fn part(&mut self, kind: &str, name: &str, value: &str) {
        self.parts.push(definition::part(kind, name, value, definition::OWN));
    }

    fn repository(&mut self, repository: &Repository) -> Result<(), Failure> {
        let at = |file: &str| format!("repositories/{}/{file}", repository.name);
        let mut key_path = None;
        let mut hasher = Sha256::new();
        if let Some(key) = &repository.key_file {
            let content = read_file(key, LARGEST_KEY, "the key of a repository")?;
            hasher.update(&content);
            let (name, path) = key_place(repository, &content);
            self.file(at("key-name"), name.into_bytes());
            self.file(at("key"), content);
            key_path = Some(path);
        }
        let text = source(repository, key_path.as_deref());
        hasher.update(&text);
        hasher.update([u8::from(repository.keep)]);
        self.part("repository", &repository.name, &hex(&hasher.finalize()));
        self.file(at("source"), text.into_bytes());
        self.file(at("kind"), repository.kind.as_str().as_bytes().to_vec());
        if repository.keep {
            self.file(at("keep"), Vec::new());
        }
        if let Some(auth) = &repository.auth {
            let secret = self.inputs.secrets.iter().find(|secret| secret.name == *auth);
            let wrong = secret.and_then(|secret| secret.wrong_pair(repository.kind == RepositoryKind::Dnf));
            if let Some((secret, wrong)) = secret.zip(wrong) {
                let file = secret.source.display();
                let message = format!(
                    "the secret {auth} of the repository {} must be one line `user:password`, but {wrong}: see {file}",
                    repository.name
                );
                return Err(Failure::new(Reason::InputUnusable, message));
            }
            self.file(at("auth"), format!("{auth} {}", repository.url).into_bytes());
        }
        Ok(())
    }
}

/// The name of the key's file in the image, and its path there.
fn key_place(repository: &Repository, key: &[u8]) -> (String, String) {
    let name = &repository.name;
    match repository.kind {
        // apt tells the two formats by the name's end.
        RepositoryKind::Apt => {
            let armoured = key.windows(ARMOUR.len()).any(|piece| piece == ARMOUR);
            let file = format!("{name}.{}", if armoured { "asc" } else { "gpg" });
            let path = format!("/etc/apt/keyrings/{file}");
            (file, path)
        }
        RepositoryKind::Dnf => {
            let file = format!("RPM-GPG-KEY-{name}");
            let path = format!("/etc/pki/rpm-gpg/{file}");
            (file, path)
        }
    }
}

/// What apt (deb822) or dnf and zypper read. Pure.
fn source(repository: &Repository, key: Option<&str>) -> String {
    let mut text = "# From image.repositories of the schedule that this image was built by.\n".to_owned();
    let Repository { name, url, .. } = repository;
    // Writing to a string does not fail.
    let _ = match repository.kind {
        RepositoryKind::Apt => {
            let key = key.map(|key| format!("Signed-By: {key}\n")).unwrap_or_default();
            let components = match repository.components.join(" ") {
                none if none.is_empty() => none,
                some => format!("Components: {some}\n"),
            };
            let suites = repository.suites.join(" ");
            write!(text, "Types: deb\nURIs: {url}\nSuites: {suites}\n{components}{key}")
        }
        RepositoryKind::Dnf => {
            let key = key.map(|key| format!("gpgkey=file://{key}\n")).unwrap_or_default();
            write!(text, "[{name}]\nname={name}\nbaseurl={url}\nenabled=1\ngpgcheck=1\n{key}")
        }
    };
    text
}

/// Opens without waiting for a writer, should it be a FIFO; that it is no file is said later.
fn open(path: &Path) -> io::Result<File> {
    std::fs::OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path)
}

fn read_secret(path: &Path) -> Result<Vec<u8>, Failure> {
    let unusable = |why: String| Failure::new(Reason::InputUnusable, why);
    // What is looked at is what is read: the open file, not its name.
    let file = open(path).map_err(|error| {
        unusable(format!("cannot read the file of a secret, {}: {error}", path.display()))
    })?;
    let found = file.metadata().map_err(|error| unusable(format!("{}: {error}", path.display())))?;
    trust::check(path, false)
        .and_then(|()| trust::unread(path, &found))
        .map_err(|error| unusable(error.to_string()))?;
    let value = bounded(file, LARGEST_SECRET, path, "a secret").map_err(unusable)?;
    if value.trim_ascii().is_empty() {
        return Err(unusable(format!("the file of a secret, {}, is empty", path.display())));
    }
    Ok(value)
}

fn read_file(path: &Path, most: u64, what: &str) -> Result<Vec<u8>, Failure> {
    let unusable = |why: String| Failure::new(Reason::InputUnusable, why);
    trust::check(path, false).map_err(|error| unusable(error.to_string()))?;
    let file =
        open(path).map_err(|error| unusable(format!("cannot read {what}, {}: {error}", path.display())))?;
    bounded(file, most, path, what).map_err(unusable)
}

fn bounded(file: File, most: u64, path: &Path, what: &str) -> Result<Vec<u8>, String> {
    let shown = path.display();
    let read = |file: File| -> io::Result<Option<Vec<u8>>> {
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        let mut content = Vec::new();
        file.take(most + 1).read_to_end(&mut content)?;
        Ok((content.len() as u64 <= most).then_some(content))
    };
    let content = read(file).map_err(|error| format!("cannot read {what}, {shown}: {error}"))?;
    content.ok_or_else(|| format!("{what}, {shown}, is larger than the {most} bytes that are left for it"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::schedules::{ImageFile, parse};

    fn repository(kind: RepositoryKind) -> Repository {
        Repository {
            name: "ours".to_owned(),
            kind,
            url: "https://packages.example/x".to_owned(),
            suites: vec!["bookworm".to_owned()],
            components: vec!["main".to_owned(), "extra".to_owned()],
            key_file: None,
            keep: false,
            auth: None,
        }
    }

    #[test]
    fn repositories_are_written_as_their_package_manager_reads_them() {
        let apt = source(&repository(RepositoryKind::Apt), Some("/etc/apt/keyrings/ours.asc"));
        let expected = "Types: deb\nURIs: https://packages.example/x\nSuites: bookworm\nComponents: main extra\n\
                        Signed-By: /etc/apt/keyrings/ours.asc\n";
        assert_eq!(apt.split_once('\n').unwrap().1, expected);
        let dnf = source(&repository(RepositoryKind::Dnf), Some("/etc/pki/rpm-gpg/RPM-GPG-KEY-ours"));
        let expected = "[ours]\nname=ours\nbaseurl=https://packages.example/x\nenabled=1\ngpgcheck=1\n\
                        gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-ours\n";
        assert_eq!(dnf.split_once('\n').unwrap().1, expected);
        assert_eq!(key_place(&repository(RepositoryKind::Apt), b"\x99\x01").1, "/etc/apt/keyrings/ours.gpg");
    }

    fn image(place: &Path, secret: &str) -> ImageSpec {
        let write = |name: &str, text: &str, mode| {
            std::fs::write(place.join(name), text).unwrap();
            std::fs::set_permissions(place.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        write("motd", "hello", 0o644);
        write("pair", secret, 0o600);
        let text = "[schedule.a.image]\nelements = [\"debian-minimal\"]\nsecrets = { REPO = \"file:pair\" }\n\
                    files = [{ source = \"motd\", path = \"/etc/motd\", mode = \"0600\" }]\n\
                    repositories = [{ name = \"ours\", url = \"http://h/\", suites = [\"./\"], auth = \"REPO\" }]\n";
        parse(&place.join("schedules.toml"), text).unwrap().schedules.remove(0).image
    }

    #[test]
    fn a_fifo_is_no_file_and_is_not_waited_for() {
        let place = tempfile::tempdir().unwrap();
        let fifo = place.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
        for error in [read_secret(&fifo).unwrap_err(), read_file(&fifo, 9, "a file").unwrap_err()] {
            assert!(error.message.contains("it is not a file"), "{error:?}");
        }
    }

    #[test]
    fn a_container_file_is_part_of_the_definition() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("Containerfile");
        std::fs::write(&file, "FROM scratch\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        let mut image = image(place.path(), "robot:swordfish\n");
        let named = file.display().to_string();
        image.environment.insert("DIB_CONTAINERFILE_DOCKERFILE".to_owned(), named.clone());
        let value = || read(&image).unwrap().parts.into_iter().find(|part| part.name == named).unwrap().value;
        let before = value();
        std::fs::write(&file, "FROM other\n").unwrap();
        assert_ne!(before, value());
    }

    #[test]
    fn what_is_in_a_repositorys_key_is_part_of_the_definition_and_where_it_lies_is_not() {
        let place = tempfile::tempdir().unwrap();
        let mut image = image(place.path(), "robot:swordfish\n");
        let mut value = |file: &str, content: &str| {
            let path = place.path().join(file);
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
            image.repositories[0].key_file = Some(path);
            read(&image).unwrap().parts.into_iter().find(|part| part.kind == "repository").unwrap().value
        };
        let first = value("ours.gpg", "one key");
        assert_ne!(value("ours.gpg", "another key"), first);
        assert_eq!(value("moved.gpg", "one key"), first);
    }

    #[test]
    fn what_is_read_is_given_to_the_build_and_named_in_the_definition() {
        let place = tempfile::tempdir().unwrap();
        let image = image(place.path(), "robot:swordfish\n");
        let own = read(&image).unwrap();
        let content = |path: &str| {
            let file = own.inputs.files.iter().find(|file| file.path == path);
            String::from_utf8(file.unwrap_or_else(|| panic!("{path}")).content.clone()).unwrap()
        };
        assert_eq!(content("files/list"), "0\t0600\troot:root\t/etc/motd\n");
        assert_eq!(content("files/0"), "hello");
        assert_eq!(content("repositories/ours/auth"), "REPO http://h/");
        assert_eq!(content("repositories/ours/kind"), "apt");
        assert_eq!(
            elements(&image),
            ["debian-minimal", "image-repositories", "image-files", "image-secrets"]
        );
        let names: Vec<&str> = own.parts.iter().map(|part| part.name.as_str()).collect();
        assert_eq!(names, ["ours", "/etc/motd"]);
        assert!(!format!("{own:?}").contains("swordfish"));
        let other = ImageFile { mode: 0o644, ..image.files[0].clone() };
        let other = read(&ImageSpec { files: vec![other], ..image.clone() }).unwrap();
        assert_ne!(other.parts[1].value, own.parts[1].value, "the mode counts");
    }

    #[test]
    fn what_cannot_be_used_says_why_and_never_what_it_is() {
        let place = tempfile::tempdir().unwrap();
        for (secret, why) in [
            ("swordfish", "it has no `:`"),
            ("robot:sword fish", "white space"),
            ("a:swordfish\nb:c", "more than one line"),
            ("\n", "is empty"),
        ] {
            let refused = read(&image(place.path(), secret)).unwrap_err();
            assert!(refused.message.contains(why), "{refused:?}");
            assert!(!format!("{refused:?}").contains("swordfish"), "{refused:?}");
        }
        let image = image(place.path(), "robot:swordfish");
        std::fs::set_permissions(place.path().join("pair"), std::fs::Permissions::from_mode(0o640)).unwrap();
        let refused = read(&image).unwrap_err();
        assert!(refused.message.contains("chmod go= "), "{refused:?}");
        std::fs::remove_file(place.path().join("motd")).unwrap();
        std::fs::set_permissions(place.path().join("pair"), std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(read(&image).unwrap_err().message.contains("motd"));
    }
}
