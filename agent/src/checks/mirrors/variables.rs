//! Variables in repositories: `$releasever`, `$basearch`, `$arch`, and those that are files in a folder of their own.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::fs;

use crate::guest::Guest;

pub(super) struct Variables {
    values: BTreeMap<String, String>,
}

impl Variables {
    /// Those of the guest; a file `NAME` has the value in its first line.
    pub(super) fn of(guest: &Guest, folders: &[&str]) -> Self {
        let mut values = BTreeMap::new();
        let (arch, base) = architecture(ARCH);
        values.insert("arch".to_owned(), arch.to_owned());
        values.insert("basearch".to_owned(), base.to_owned());
        if let Some(release) = release(guest) {
            let (major, minor) = release.split_once('.').unwrap_or((&release, ""));
            values.insert("releasever_major".to_owned(), major.to_owned());
            values.insert("releasever_minor".to_owned(), minor.to_owned());
            values.insert("releasever".to_owned(), release);
        }
        for folder in folders.iter().rev() {
            for entry in fs::read_dir(guest.path(folder)).into_iter().flatten().flatten() {
                let Ok(name) = entry.file_name().into_string() else { continue };
                let text = guest.read(format!("{folder}/{name}")).unwrap_or_default();
                values.insert(name, text.lines().next().unwrap_or_default().trim().to_owned());
            }
        }
        Self { values }
    }

    /// The text with all variables filled in: `$name`, `${name}`, `${name:-otherwise}` and `${name:+instead}`. The
    /// error is the name of one that is not set.
    pub(super) fn fill(&self, text: &str) -> Result<String, String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            filled.push_str(before);
            let (value, left) = if let Some(inner) = after.strip_prefix('{') {
                let (inner, left) = inner.split_once('}').unwrap_or((inner, ""));
                (self.braced(inner)?, left)
            } else {
                let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                let (name, left) = after.split_at_checked(end).unwrap_or((after, ""));
                (self.value(name)?, left)
            };
            filled.push_str(&value);
            rest = left;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn braced(&self, inner: &str) -> Result<String, String> {
        if let Some((name, otherwise)) = inner.split_once(":-") {
            let value = self.values.get(name).filter(|value| !value.is_empty());
            return Ok(value.cloned().unwrap_or_else(|| otherwise.to_owned()));
        }
        if let Some((name, instead)) = inner.split_once(":+") {
            let set = self.values.get(name).is_some_and(|value| !value.is_empty());
            return Ok(if set { instead.to_owned() } else { String::new() });
        }
        self.value(inner)
    }

    fn value(&self, name: &str) -> Result<String, String> {
        self.values.get(name).cloned().ok_or_else(|| name.to_owned())
    }
}

/// `$arch` and `$basearch`. The agent was built for the guest's architecture.
fn architecture(of: &str) -> (&str, &str) {
    match of {
        "x86" => ("i686", "i386"),
        "powerpc64" => ("ppc64le", "ppc64le"),
        "arm" => ("armv7hl", "armhfp"),
        other => (other, other),
    }
}

/// The release as dnf and zypper have it: of the Fedora family the platform's number (9 of `platform:el9`, where
/// `VERSION_ID` says 9.4), else `VERSION_ID`.
fn release(guest: &Guest) -> Option<String> {
    let text = guest.read("/etc/os-release").or_else(|_| guest.read("/usr/lib/os-release")).ok()?;
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(line.trim().trim_matches(['"', '\'']).to_owned()).filter(|value| !value.is_empty())
    };
    let platform = value("PLATFORM_ID").and_then(|id| {
        let number = id.trim_start_matches(|c: char| !c.is_ascii_digit()).to_owned();
        (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(number)
    });
    platform.or_else(|| value("VERSION_ID"))
}
