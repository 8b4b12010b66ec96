//! What a server's user data asks cloud-init for: as far as checks would take it for the image's doing.
//!
//! cloud-init writes down what it has made of all parts of the user data, and of the cloud's vendor data, as one text of
//! YAML each. What the image itself has in `/etc/cloud` is in neither.

use yaml_rust2::parser::{Event, Parser};
use yaml_rust2::scanner::TScalarStyle;

use crate::guest::Guest;

/// The texts; what the later one says counts.
const TEXTS: [&str; 2] = ["vendor-cloud-config.txt", "cloud-config.txt"];
/// Deepest nesting that is followed, and most words of one kind that are kept.
const DEEPEST: usize = 64;
const MOST: usize = 64;
/// What stands behind a key that `ssh-import-id` has fetched, before the id that it was asked for.
const IMPORTED: &str = "# ssh-import-id ";

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CloudConfig {
    hostname: String,
    fqdn: String,
    /// The host name is to stay as it is.
    pub(super) preserve_hostname: bool,
    /// Whose public keys are to be fetched, each with where from: `gh:somebody`.
    import_ids: Vec<String>,
}

impl CloudConfig {
    pub(super) fn read(guest: &Guest) -> Self {
        let mut asked = Self::default();
        for name in TEXTS {
            asked.add(&guest.read(format!("/var/lib/cloud/instance/{name}")).unwrap_or_default());
        }
        asked
    }

    fn add(&mut self, text: &str) {
        scalars(text, &mut |path, value| match path {
            ["hostname"] => value.clone_into(&mut self.hostname),
            ["fqdn"] => value.clone_into(&mut self.fqdn),
            ["preserve_hostname"] => self.preserve_hostname = is_true(value),
            [.., "ssh_import_id"] if self.import_ids.len() < MOST => {
                let place = if value.contains(':') { "" } else { "lp:" };
                self.import_ids.push(format!("{place}{value}"));
            }
            _ => {}
        });
    }

    /// The host names that the server may have for it, the likeliest first. Empty: it names none. Distributions differ in
    /// whether the whole name counts or the first label (`get_hostname_fqdn` in cloud-init's `util.py`, and its distros).
    pub(super) fn host_names(&self) -> Vec<String> {
        let names = [&self.hostname, &self.fqdn].into_iter().filter(|name| !name.is_empty());
        names.cloned().collect()
    }

    /// Whether a line of `authorized_keys` was fetched for somebody whom it names.
    pub(super) fn imports(&self, line: &str) -> bool {
        let id = line.split_once(IMPORTED).map(|(_, id)| id.trim());
        id.is_some_and(|id| self.import_ids.iter().any(|asked| asked == id))
    }
}

/// As cloud-init's `is_true` and YAML have it.
fn is_true(value: &str) -> bool {
    ["true", "yes", "on", "1"].contains(&value.to_ascii_lowercase().as_str())
}

/// A mapping or a sequence that is open.
struct Level {
    is_mapping: bool,
    /// The key that was read last; empty of one that is no text.
    key: String,
    has_key: bool,
}

/// Goes through the values of a YAML text that are no mappings and lists, each with the keys that lead to it. Ends where the
/// text is no YAML any more, or nested too deeply.
fn scalars(text: &str, take: &mut dyn FnMut(&[&str], &str)) {
    let mut parser = Parser::new_from_str(text);
    let mut levels: Vec<Level> = Vec::new();
    while let Ok((event, _)) = parser.next_token() {
        match event {
            Event::StreamEnd => return,
            Event::Scalar(value, style, ..) => {
                let is_null = style == TScalarStyle::Plain && ["", "~", "null"].contains(&value.as_str());
                // A list at the top is nothing to cloud-init.
                let counts = levels.first().is_some_and(|level| level.is_mapping);
                if !takes_key(&mut levels, &value) && !is_null && counts {
                    let path: Vec<&str> = levels
                        .iter()
                        .filter(|level| level.is_mapping)
                        .map(|level| level.key.as_str())
                        .collect();
                    take(&path, value.trim());
                }
            }
            Event::Alias(_) => drop(takes_key(&mut levels, "")),
            Event::SequenceStart(..) | Event::MappingStart(..) => {
                if levels.len() == DEEPEST {
                    return;
                }
                takes_key(&mut levels, "");
                let is_mapping = matches!(event, Event::MappingStart(..));
                levels.push(Level { is_mapping, key: String::new(), has_key: false });
            }
            Event::SequenceEnd | Event::MappingEnd => drop(levels.pop()),
            _ => {}
        }
    }
}

/// Whether the next node is a key where it stands; then it is kept as such. Otherwise it is the value of the last one.
fn takes_key(levels: &mut [Level], key: &str) -> bool {
    let Some(level) = levels.last_mut().filter(|level| level.is_mapping) else { return false };
    level.has_key = !level.has_key;
    if level.has_key {
        key.clone_into(&mut level.key);
    }
    level.has_key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vendor: &str, user: &str) -> CloudConfig {
        let mut asked = CloudConfig::default();
        asked.add(vendor);
        asked.add(user);
        asked
    }

    #[test]
    fn the_host_name_may_be_asked_for() {
        // As cloud-init writes it down.
        let kept =
            "#cloud-config\n\n# from 1 files\n# part-001\n\n---\nhostname: web\npackages:\n- hostname\n...\n";
        assert_eq!(read("", kept).host_names(), ["web"]);
        let both = "fqdn: db.example.org\nhostname: 'db'\n";
        assert_eq!(read("hostname: node-7\n", both).host_names(), ["db", "db.example.org"]);
        assert_eq!(read("hostname: node-7\n", "packages: [a]\n").host_names(), ["node-7"]);
        for other in ["", "a: {hostname: web}\n", "hostname:\n", "- hostname: web\n  [", "hostname: ~\n"] {
            let asked = read("", other);
            assert!(asked.host_names().is_empty() && !asked.preserve_hostname, "{other}");
        }
        assert!(read("", "preserve_hostname: yes\n").preserve_hostname);
        assert!(!read("preserve_hostname: true\n", "preserve_hostname: false\n").preserve_hostname);
    }

    #[test]
    fn keys_may_be_fetched_for_those_whom_it_names() {
        let asked = read(
            "",
            "ssh_import_id: [gh:somebody, other]\nusers:\n- default\n- name: x\n  ssh_import_id:\n  - gh:third\n",
        );
        let line = |id: &str| format!("ssh-ed25519 AAAAx me@example # ssh-import-id {id}");
        for id in ["gh:somebody", "lp:other", "gh:third"] {
            assert!(asked.imports(&line(id)), "{id} {asked:?}");
        }
        assert!(!asked.imports(&line("gh:builder")) && !asked.imports("ssh-ed25519 AAAAx gh:somebody"));
        assert!(!read("", "x: gh:somebody\n").imports(&line("gh:somebody")));
    }

    #[test]
    fn what_is_too_deep_ends_it() {
        let deep = format!("a: {}\nhostname: web\n", "[".repeat(100_000));
        assert_eq!(read("", &deep), CloudConfig::default());
    }
}
