//! Repositories of dnf and yum (dnf.conf(5)) and of zypper.

use super::variables::Variables;
use super::{Mirrors, Via, files};
use crate::guest::Guest;

/// Where they are, and where the variables in them are.
const KINDS: [(&[&str], &[&str]); 2] = [
    (
        &["/etc/yum.repos.d", "/etc/yum/repos.d", "/etc/distro.repos.d", "/usr/share/dnf5/repos.d"],
        &["/etc/dnf/vars", "/etc/yum/vars", "/usr/share/dnf5/vars.d"],
    ),
    (&["/etc/zypp/repos.d"], &["/etc/zypp/vars.d"]),
];
const CONFIGURATIONS: [&str; 2] = ["/etc/dnf/dnf.conf", "/etc/yum.conf"];

pub(super) fn read(guest: &Guest, mirrors: &mut Mirrors) {
    let main = CONFIGURATIONS.iter().find_map(|file| guest.read(file).ok()).unwrap_or_default();
    let main = sections(&main).into_iter().find(|section| section.name == "main").unwrap_or_default();
    for (folders, variables) in KINDS {
        let variables = Variables::of(guest, variables);
        for folder in folders {
            for name in files(guest, folder, "repo") {
                let text = guest.read(format!("{folder}/{name}")).unwrap_or_default();
                for repository in sections(&text) {
                    add(guest, mirrors, &variables, &repository, proxy(&repository, &main));
                }
            }
        }
    }
}

/// The way to a repository; what it does not say, the main configuration says.
fn proxy(repository: &Section, main: &Section) -> Via {
    let value = |key: &str| repository.value(key).or(main.value(key)).map(str::trim).unwrap_or_default();
    match value("proxy") {
        "" | "_none_" => Via::Direct,
        _ if !value("proxy_username").is_empty() => Via::Unknown("a proxy that needs a password".to_owned()),
        proxy => Via::of(proxy),
    }
}

fn add(guest: &Guest, mirrors: &mut Mirrors, variables: &Variables, repository: &Section, via: Via) {
    if repository.is_off() {
        return;
    }
    let mut addresses = Vec::new();
    for key in ["baseurl", "mirrorlist", "metalink"] {
        let value = repository.value(key).unwrap_or_default();
        // Only this one is a list: the address of a list of mirrors may have a comma in it, as CentOS Stream's has.
        let is_list = key == "baseurl";
        let ends = |c: char| c.is_whitespace() || is_list && c == ',';
        for word in value.split(ends).filter(|word| !word.is_empty()) {
            match variables.fill(word) {
                Ok(address) => addresses.extend(of_list(guest, key, address)),
                Err(name) => mirrors.leave_out(format!(
                    "the repository {} uses the variable ${name}, which is not set",
                    crate::text::one_line(&repository.name)
                )),
            }
        }
    }
    mirrors.add(addresses, via);
}

/// A list of mirrors that is a file of the guest is read; all else stands for itself.
fn of_list(guest: &Guest, key: &str, address: String) -> Vec<String> {
    let path = address.strip_prefix("file://").or_else(|| address.strip_prefix("file:"));
    match path.filter(|_| key != "baseurl") {
        Some(path) => {
            let text = guest.read(path).unwrap_or_default();
            text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.starts_with('#')).collect()
        }
        None => vec![address],
    }
}

/// A section of an INI file.
#[derive(Debug, Default)]
pub(super) struct Section {
    name: String,
    /// In the file's order; the later ones count.
    values: Vec<(String, String)>,
}

impl Section {
    fn value(&self, key: &str) -> Option<&str> {
        self.values.iter().rev().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    fn is_off(&self) -> bool {
        let value = self.value("enabled").unwrap_or("1").trim().to_ascii_lowercase();
        matches!(value.as_str(), "0" | "no" | "false" | "off")
    }
}

/// The sections of an INI file. A line that begins with a blank goes on with the value before it.
fn sections(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = trimmed.strip_prefix('[') {
            let name = name.split(']').next().unwrap_or_default().to_owned();
            sections.push(Section { name, values: Vec::new() });
            continue;
        }
        let Some(section) = sections.last_mut() else { continue };
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = section.values.last_mut() {
                value.push('\n');
                value.push_str(trimmed);
            }
        } else if let Some((key, value)) = trimmed.split_once('=') {
            section.values.push((key.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    sections
}
