//! What an image has that each server must have of its own: host keys of SSH, wherever its server has them, and a random
//! seed.

use std::collections::BTreeSet;

use image_manager_agent::checks::identity::RANDOM_SEED;
use image_manager_agent::checks::public_keys;

use super::inspection::{HostKey, Inspection};
use super::inspection::{MOST, names, note_private_key, text};
use super::volume::{Next, Volume};

const DIRECTORY: &str = "/etc/ssh";
/// Where sshd's configuration is; in the directories, all files.
const CONFIGURATIONS: [&str; 2] = ["/etc/ssh/sshd_config", "/usr/etc/ssh/sshd_config"];
const CONFIGURATION_DIRECTORIES: [&str; 2] = ["/etc/ssh/sshd_config.d", "/usr/etc/ssh/sshd_config.d"];

/// Looks for both.
pub(super) fn look(volume: &dyn Volume, seen: &mut Inspection) {
    for path in candidates(volume) {
        let private = text(volume, &path);
        let beside = text(volume, &format!("{path}.pub"));
        let key =
            public_keys::of_private(&private).or_else(|| public_keys::key_of(&beside).map(str::to_owned));
        note_private_key(volume, path.clone(), seen);
        if let Some(key) = key.filter(|_| seen.host_keys.len() < MOST) {
            let file = path.strip_prefix("/etc/ssh/").unwrap_or(&path).to_owned();
            seen.host_keys.push(HostKey { file, fingerprint: public_keys::fingerprint(&key) });
        }
    }
    let mut has_seed = false;
    let _ = volume.read(RANDOM_SEED, &mut |piece| {
        has_seed |= !piece.is_empty();
        Next::Stop
    });
    seen.random_seed = has_seed;
}

/// Files that are, or have beside them, a host key: those with the usual names, whatever else in the directory is a private
/// key, and what the configuration names.
fn candidates(volume: &dyn Volume) -> Vec<String> {
    let mut found = BTreeSet::new();
    for name in names(volume, DIRECTORY) {
        let file = name.strip_suffix(".pub").unwrap_or(&name);
        let path = format!("{DIRECTORY}/{file}");
        let is_usual = file.starts_with("ssh_host_");
        if is_usual || text(volume, &path).contains("PRIVATE KEY-----") {
            found.insert(path);
        }
    }
    let directories = CONFIGURATION_DIRECTORIES.into_iter();
    let included = directories.flat_map(|directory| {
        names(volume, directory).into_iter().map(move |name| format!("{directory}/{name}"))
    });
    for file in CONFIGURATIONS.into_iter().map(str::to_owned).chain(included) {
        found.extend(text(volume, &file).lines().filter_map(named).take(MOST));
    }
    found.into_iter().collect()
}

/// The file that a line `HostKey FILE` names.
fn named(line: &str) -> Option<String> {
    let mut words = line.split(|c: char| c.is_whitespace() || c == '=').filter(|word| !word.is_empty());
    let is_one = words.next()?.eq_ignore_ascii_case("HostKey");
    let file = words.next().filter(|_| is_one)?.trim_matches('"');
    file.starts_with('/').then(|| file.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::inspection::tests::Tree;
    use super::*;

    /// As much of a private key as is not private.
    const PRIVATE: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\n\
                           b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n\
                           QyNTUxOQAAACAGoX+67KBGBY1S9jZ4nhiFR++Nx8lmH+KiaDro+g48uwAAAIg=\n\
                           -----END OPENSSH PRIVATE KEY-----\n";
    const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIAahf7rsoEYFjVL2NnieGIVH743HyWYf4qJoOuj6Djy7";

    fn seen(files: &[(&'static str, &'static str)]) -> Inspection {
        let mut seen = Inspection::default();
        look(&Tree(files.iter().copied().collect()), &mut seen);
        seen
    }

    #[test]
    fn host_keys_of_any_name_are_found() {
        let seen = seen(&[
            ("/etc/ssh/site_key", PRIVATE),
            ("/etc/ssh/ssh_config", "Host *\n"),
            (
                "/etc/ssh/sshd_config.d/10-site.conf",
                "# HostKey /none\nhostkey = \"/srv/host key\"\nHostKey /srv/key\n",
            ),
            ("/srv/key", PRIVATE),
            ("/srv/other", PRIVATE),
        ]);
        let fingerprint = public_keys::fingerprint(KEY);
        let keys: Vec<_> =
            seen.host_keys.iter().map(|key| (key.file.as_str(), key.fingerprint.as_str())).collect();
        assert_eq!(keys, [("site_key", fingerprint.as_str()), ("/srv/key", &fingerprint)]);
        assert_eq!(seen.private_keys, ["/etc/ssh/site_key", "/srv/key"]);
    }

    #[test]
    fn a_random_seed_is_one_that_has_something_in_it() {
        assert!(seen(&[(RANDOM_SEED, "x")]).random_seed);
        assert!(!seen(&[(RANDOM_SEED, "")]).random_seed && !seen(&[]).random_seed);
    }
}
