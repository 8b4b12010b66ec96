//! `image.elements_path`, `image.repositories`, `image.files` and `image.secrets`: what a schedule adds of its own.

use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use super::rules::{
    COMPONENT, HOST_PATH, IMAGE_PATH, MODE, OWNER, REPOSITORY_NAME, REPOSITORY_URL, SECRET_NAME, SUITE,
};
use super::{Reader, Text, keys};
use crate::schedules::diagnostics::quoted;
use crate::schedules::layers::Table;
use crate::schedules::{ImageFile, Repository, RepositoryKind, Secret};

/// How the names of elements of rpm distributions begin.
const RPM: [&str; 12] = [
    "almalinux",
    "centos",
    "el-",
    "fedora",
    "openeuler",
    "opensuse",
    "redhat",
    "rhel",
    "rocky",
    "rpm",
    "sles",
    "zypper",
];
/// How those of Debian's and its children's begin.
const DEB: [&str; 3] = ["debian", "debootstrap", "ubuntu"];
/// What begins where a secret is.
const FILE: &str = "file:";
/// Where no file of an image can be: mounted at boot, or emptied.
const NOT_OF_AN_IMAGE: [&str; 8] =
    ["/dev", "/proc", "/sys", "/run", "/tmp", "/var/run", "/var/tmp", "/lost+found"];
/// What to write in place of a password.
const NAME_A_SECRET: &str = "write `auth = \"NAME\"` here, and `secrets = { NAME = \"file:/path\" }` in `image`; the file has \
                             `user:password`";
/// Without a mode.
const USUAL_MODE: u32 = 0o644;

impl<'a> Reader<'a> {
    /// `image.elements_path`.
    pub(super) fn elements_path(&mut self, image: &Table<'a>) -> Vec<PathBuf> {
        let paths = self.ruled_strings(image, "elements_path", &HOST_PATH).unwrap_or_default();
        paths.iter().map(|path| self.beside(path)).collect()
    }

    /// A path of this host: a relative one counts from the directory of the schedules file.
    pub(super) fn beside(&self, path: &str) -> PathBuf {
        // Without `.` and `..`, so that the same place has one name; links are not followed.
        let mut whole = PathBuf::new();
        for part in self.base.join(path).components() {
            match part {
                Component::CurDir => {}
                Component::ParentDir => drop(whole.pop()),
                other => whole.push(other),
            }
        }
        whole
    }

    /// The tables of the list `key`, each with its place.
    fn tables(&mut self, image: &Table<'a>, key: &str, example: &str) -> Vec<(Table<'a>, Range<usize>)> {
        let Some(entry) = image.get(key) else { return Vec::new() };
        let mut tables = Vec::new();
        for item in self.items(&entry).unwrap_or_default() {
            let Some(fields) = item.get_ref().as_table() else {
                let help = format!("write `{key} = [{example}]`");
                self.refuse_type(&format!("{}[]", entry.name), item, "a table", Some(help));
                continue;
            };
            let mut table = Table::new(Some(fields), None, item.span());
            table.name.clone_from(&entry.name);
            let known = keys::known_keys(&table.name);
            // `password = "..."` in a repository is a likely mistake.
            for unknown in table.entries().into_iter().filter(|field| !known.contains(&field.key)) {
                self.findings.hide(unknown.value.span());
            }
            self.refuse_unknown_keys(&table, known);
            tables.push((table, item.span()));
        }
        tables
    }

    fn needed(&mut self, table: &Table<'a>, what: &str, key: &str, example: &str) {
        if table.get(key).is_none() {
            let help = format!("write `{example}`");
            self.findings.add_absence(table.span.clone(), format!("the {what} has no `{key}`"), help);
        }
    }

    /// `image.repositories`.
    pub(super) fn repositories(
        &mut self,
        image: &Table<'a>,
        elements: &[String],
        secrets: &[Secret],
    ) -> Vec<Repository> {
        let example = r#"{ name = "ours", url = "https://packages.example/debian", suites = ["bookworm"], components = ["main"], key_file = "ours.asc" }"#;
        let mut repositories: Vec<Repository> = Vec::new();
        for (table, span) in self.tables(image, "repositories", example) {
            let Some(repository) = self.repository(&table, elements, secrets) else { continue };
            if repositories.iter().any(|earlier| earlier.name == repository.name) {
                let title = format!("repository {} appears twice", quoted(&repository.name));
                self.findings.add(span, title, "the second one", None);
            }
            repositories.push(repository);
        }
        repositories
    }

    fn repository(
        &mut self,
        table: &Table<'a>,
        elements: &[String],
        secrets: &[Secret],
    ) -> Option<Repository> {
        self.needed(table, "repository", "name", r#"name = "ours""#);
        self.needed(table, "repository", "url", r#"url = "https://packages.example/debian""#);
        let name = self.ruled_string(table, "name", &REPOSITORY_NAME);
        let url = self.url(table);
        let suites = self.ruled_strings(table, "suites", &SUITE).unwrap_or_default();
        let components = self.ruled_strings(table, "components", &COMPONENT).unwrap_or_default();
        let kind = match self.choice(table, "kind", &RepositoryKind::WORDS) {
            Some(kind) => kind,
            None => guess(elements, !suites.is_empty()),
        };
        self.fits_its_kind(table, kind, &suites, &components);
        let auth = self.string(table, "auth").filter(|auth| {
            let known = secrets.iter().any(|secret| secret.name == auth.value);
            if !known && !(SECRET_NAME.holds)(auth.value) {
                // It may be the password itself.
                self.findings.hide(auth.span.clone());
                let title = format!("`{}` is not the name of a secret", auth.name);
                self.findings.add(
                    auth.span.clone(),
                    title,
                    "looks like a secret",
                    Some(NAME_A_SECRET.to_owned()),
                );
            } else if !known {
                let title = format!("`{}`: there is no secret {}", auth.name, quoted(auth.value));
                let help = format!(
                    "write `secrets = {{ {} = \"file:/path\" }}` in `image`; the file has `user:password`",
                    auth.value
                );
                self.findings.add(auth.span.clone(), title, "not in `image.secrets`", Some(help));
            }
            known
        });
        let key_file = self.ruled_string(table, "key_file", &HOST_PATH).map(|path| self.beside(&path));
        let keep = self.flag(table, "keep").unwrap_or(false);
        let auth = auth.map(|auth| auth.value.to_owned());
        Some(Repository { name: name?, kind, url: url?, suites, components, key_file, keep, auth })
    }

    /// The URL ends in the image and in the history, so a password in it must not even be shown.
    fn url(&mut self, table: &Table<'a>) -> Option<String> {
        let entry = table.get("url")?;
        let text = self.string(table, "url")?;
        // The rule has no `@` anywhere; what stands before one may be a password, without a scheme too.
        if text.value.contains('@') {
            self.findings.hide(entry.value.span());
            let title = format!("`{}` has a user or a password", text.name);
            self.findings.add(text.span, title, "looks like a secret", Some(NAME_A_SECRET.to_owned()));
            return None;
        }
        self.obeys(&text, &REPOSITORY_URL).then(|| text.value.to_owned())
    }

    fn fits_its_kind(
        &mut self,
        table: &Table<'a>,
        kind: RepositoryKind,
        suites: &[String],
        components: &[String],
    ) {
        let place = |key: &str| table.get(key).map_or_else(|| table.span.clone(), |entry| entry.key_span);
        let mut refuse = |span, title: &str, help: &str| {
            self.findings.add(span, title, "does not fit", Some(help.to_owned()));
        };
        let flat = suites.iter().any(|suite| suite.ends_with('/'));
        match kind {
            RepositoryKind::Dnf if !suites.is_empty() => {
                refuse(place("suites"), "a dnf repository has no `suites`", "for apt write `kind = \"apt\"`");
            }
            RepositoryKind::Dnf if !components.is_empty() => {
                refuse(
                    place("components"),
                    "a dnf repository has no `components`",
                    "for apt write `kind = \"apt\"`",
                );
            }
            RepositoryKind::Apt if suites.is_empty() => refuse(
                table.span.clone(),
                "an apt repository needs `suites`",
                "write `suites = [\"bookworm\"]`, or `suites = [\"./\"]` for a flat one; for rpm write `kind = \"dnf\"`",
            ),
            RepositoryKind::Apt if flat && !components.is_empty() => refuse(
                place("components"),
                "a flat apt repository has no `components`",
                "a suite that ends in `/` is a directory with a Packages file",
            ),
            RepositoryKind::Apt if !flat && components.is_empty() => refuse(
                place("suites"),
                "an apt repository needs `components`",
                "write `components = [\"main\"]`; only a flat one, whose suites end in `/`, has none",
            ),
            _ => {}
        }
    }

    /// `image.files`.
    pub(super) fn files(&mut self, image: &Table<'a>) -> Vec<ImageFile> {
        let example = r#"{ source = "motd", path = "/etc/motd" }"#;
        let mut files: Vec<ImageFile> = Vec::new();
        for (table, span) in self.tables(image, "files", example) {
            let Some(file) = self.file(&table) else { continue };
            if files.iter().any(|earlier| earlier.path == file.path) {
                let title = format!("file {} appears twice", quoted(&file.path));
                self.findings.add(span, title, "the second one", None);
            }
            files.push(file);
        }
        files
    }

    fn file(&mut self, table: &Table<'a>) -> Option<ImageFile> {
        self.needed(table, "file", "source", r#"source = "motd""#);
        self.needed(table, "file", "path", r#"path = "/etc/motd""#);
        let source = self.ruled_string(table, "source", &HOST_PATH).map(|path| self.beside(&path));
        let path = self.string(table, "path").filter(|path| self.may_be_there(path));
        let mode = self.ruled_string(table, "mode", &MODE);
        let mode = mode.and_then(|mode| u32::from_str_radix(&mode, 8).ok()).unwrap_or(USUAL_MODE);
        let owner = self.ruled_string(table, "owner", &OWNER).unwrap_or_else(|| "root:root".to_owned());
        Some(ImageFile { source: source?, path: path?.value.to_owned(), mode, owner })
    }

    fn may_be_there(&mut self, path: &Text<'a>) -> bool {
        if !self.obeys(path, &IMAGE_PATH) {
            return false;
        }
        let within = NOT_OF_AN_IMAGE.iter().find(|place| Path::new(path.value).starts_with(place));
        if let Some(place) = within {
            let title = format!("`{}`: {} is below {place}", path.name, quoted(path.value));
            let help = "what is there is not part of an image: it is mounted or emptied at boot".to_owned();
            self.findings.add(path.span.clone(), title, "not a place for a file", Some(help));
        }
        within.is_none()
    }

    /// `image.secrets`.
    pub(super) fn secrets(&mut self, image: &Table<'a>) -> Vec<Secret> {
        let mut secrets = Vec::new();
        if let Some(entry) = image.get("secrets").filter(|entry| entry.table().is_none()) {
            // It may be the secret itself.
            self.findings.hide(entry.value.span());
        }
        let Some(table) = self.free_table(image, "secrets") else { return secrets };
        let entries = table.entries();
        self.limit_length(&table.name, &table.span, entries.len());
        for entry in entries {
            let name =
                Text { value: entry.key, span: entry.key_span.clone(), name: "image.secrets".to_owned() };
            let named = self.obeys(&name, &SECRET_NAME);
            if !entry.value.get_ref().as_str().is_some_and(|text| text.starts_with(FILE)) {
                // It may be the secret itself.
                self.findings.hide(entry.value.span());
            }
            if entry.value.get_ref().as_str().is_none() {
                let help = "write \"file:/path\", the file that holds it".to_owned();
                self.refuse_type(&entry.name, entry.value, "a string", Some(help));
                continue;
            }
            let Some(text) = self.string(&table, entry.key) else { continue };
            match text.value.strip_prefix(FILE) {
                Some(path) if (HOST_PATH.holds)(path) => {
                    let source = self.beside(path);
                    if named {
                        secrets.push(Secret { name: entry.key.to_owned(), source });
                    }
                }
                _ => {
                    let help =
                        "a secret must not be in this file: write \"file:/path\", the file that holds it"
                            .to_owned();
                    let title = format!("`{}` does not name a file", text.name);
                    self.findings.add(text.span, title, "not \"file:/path\"", Some(help));
                }
            }
        }
        secrets.sort();
        secrets
    }
}

/// The kind that the elements tell; where they do not, the suites, which only apt has.
fn guess(elements: &[String], has_suites: bool) -> RepositoryKind {
    let any = |starts: &[&str]| {
        elements.iter().any(|element| starts.iter().any(|start| element.starts_with(start)))
    };
    match (any(&DEB), any(&RPM)) {
        (true, false) => RepositoryKind::Apt,
        (false, true) => RepositoryKind::Dnf,
        _ if has_suites => RepositoryKind::Apt,
        _ => RepositoryKind::Dnf,
    }
}
