//! The values of a build's secrets, looked for in the files of its image: what a hook has copied there every server
//! would have.
//!
//! What is found is told by the secret's name and the file's path. The value itself, or a digest of it, goes nowhere.

use std::collections::BTreeSet;

use super::inspection::{Inspection, Leak};
use super::volume::{Files, Next, Volume};
use crate::builder::inputs::Secret;
use crate::builder::masking::{self, Masks};

/// Where a hook may have put one. `/` stands for the files right in it.
const PLACES: [&str; 10] =
    ["/", "/boot", "/etc", "/home", "/opt", "/root", "/srv", "/tmp", "/usr/local", "/var"];
/// Deepest directory below one of them.
const DEPTH: usize = 16;
/// Most files that are looked into, and most bytes of one and of all.
const MOST_FILES: usize = 50_000;
const LARGEST: u64 = 64 << 20;
const MOST_BYTES: u64 = 1 << 30;
/// Most places of secrets that are told of.
const MOST: usize = 50;
/// What is shorter stands in some file by chance.
const SHORTEST: usize = 8;
/// So does a word of letters alone that is not longer than words are.
const LONGEST_WORD: usize = 15;
/// A line of a longer secret is looked for by itself when it is as long as those of a key.
const KEY_LINE: usize = 32;

/// What is looked for.
pub(super) struct SecretKinds {
    names: Vec<String>,
    /// Forms of a value, each with the place of its secret among the names.
    forms: Vec<(Vec<u8>, usize)>,
    /// The forms that begin with each byte.
    by_first: Vec<Vec<usize>>,
    longest: usize,
    masks: Masks,
}

impl SecretKinds {
    /// The values of these.
    pub(super) fn of(secrets: &[Secret]) -> Self {
        let mut forms: Vec<(Vec<u8>, usize)> = Vec::new();
        for (place, secret) in secrets.iter().enumerate() {
            for part in telling(secret.value()) {
                forms.extend(masking::written(part).into_iter().map(|form| (form, place)));
            }
        }
        forms.sort_unstable();
        forms.dedup();
        let mut by_first = vec![Vec::new(); 256];
        for (index, (form, _)) in forms.iter().enumerate() {
            if let Some(list) = form.first().and_then(|byte| by_first.get_mut(usize::from(*byte))) {
                list.push(index);
            }
        }
        let longest = forms.iter().map(|(form, _)| form.len()).max().unwrap_or_default();
        let names = secrets.iter().map(|secret| secret.name.clone()).collect();
        Self { names, forms, by_first, longest, masks: Masks::of(secrets) }
    }

    /// Looks through the file system and notes what is found; what was noted of it before loses the secrets that are in it.
    pub(super) fn note(&self, files: &Files<'_>, seen: &mut Inspection) {
        self.mask(seen);
        let name = |place: usize| self.names.get(place).cloned().unwrap_or_default();
        let is_sought = |place: &usize| self.forms.iter().any(|(_, of)| of == place);
        let (sought, plain): (Vec<usize>, Vec<usize>) = (0..self.names.len()).partition(is_sought);
        seen.secrets_not_sought = plain.into_iter().map(name).collect();
        if sought.is_empty() {
            return;
        }
        let mut walk = Walk { files, files_left: MOST_FILES, bytes_left: MOST_BYTES };
        seen.secrets_cut_short = !walk.each(&mut |walk, path| {
            for place in self.in_file(walk, path) {
                if seen.secrets.len() < MOST {
                    seen.secrets.push(Leak { path: path.to_owned(), secret: name(place) });
                }
            }
        });
    }

    /// The secrets that are in a file.
    fn in_file(&self, walk: &mut Walk<'_>, path: &str) -> BTreeSet<usize> {
        let mut search = Search { sought: self, held: Vec::new(), found: BTreeSet::new() };
        let mut taken = 0_u64;
        // What cannot be read is no file, or the proof's to tell.
        let _ = walk.files.volume.read(path, &mut |piece| {
            search.push(piece);
            taken = taken.saturating_add(piece.len() as u64);
            let enough = taken >= LARGEST.min(walk.bytes_left) || walk.files.is_stopped();
            if enough { Next::Stop } else { Next::Piece }
        });
        walk.bytes_left = walk.bytes_left.saturating_sub(taken);
        search.found
    }

    /// Lines of files may have one in them.
    fn mask(&self, seen: &mut Inspection) {
        let Inspection { proxies, unstable_mounts, machine_id, dbus_machine_id, .. } = seen;
        let texts = proxies.iter_mut().chain(unstable_mounts).chain(machine_id).chain(dbus_machine_id);
        for text in texts {
            let masked = self.masks.apply(std::mem::take(text).into_bytes());
            *text = String::from_utf8_lossy(&masked).into_owned();
        }
    }
}

/// The parts of a value by which it is known: all of it, the password of `user:password`, the lines of a key.
fn telling(value: &[u8]) -> Vec<&[u8]> {
    let whole = value.trim_ascii();
    let mut parts = vec![whole];
    if whole.contains(&b'\n') {
        let lines = whole.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        parts.extend(lines.filter(|line| is_of_a_key(line)));
    } else if let Some(colon) = whole.iter().position(|byte| *byte == b':') {
        parts.extend(whole.get(colon + 1..));
    }
    parts.retain(|part| {
        let is_word = part.iter().all(u8::is_ascii_alphabetic) && part.len() <= LONGEST_WORD;
        part.len() >= SHORTEST && !is_word
    });
    parts
}

/// Others, such as those with a name and an address, may well be meant to be in the image.
fn is_of_a_key(line: &[u8]) -> bool {
    let in_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=-_".contains(byte);
    line.len() >= KEY_LINE && line.iter().all(in_base64) && !line.starts_with(b"-----")
}

/// The search through one file, piece by piece.
struct Search<'a> {
    sought: &'a SecretKinds,
    /// The end of what came before: a form may go on in the next piece.
    held: Vec<u8>,
    found: BTreeSet<usize>,
}

impl Search<'_> {
    fn push(&mut self, piece: &[u8]) {
        let mut text = std::mem::take(&mut self.held);
        text.extend_from_slice(piece);
        for (at, byte) in text.iter().enumerate() {
            let Some(list) = self.sought.by_first.get(usize::from(*byte)) else { continue };
            for index in list {
                let Some((form, place)) = self.sought.forms.get(*index) else { continue };
                if text.get(at..).is_some_and(|rest| rest.starts_with(form)) {
                    self.found.insert(*place);
                }
            }
        }
        let held = text.len().min(self.sought.longest.saturating_sub(1));
        self.held = text.split_off(text.len() - held);
    }
}

/// The way through the places where one may be.
struct Walk<'a> {
    files: &'a Files<'a>,
    files_left: usize,
    bytes_left: u64,
}

impl Walk<'_> {
    /// Hands on each file. Links are left out: what they point to is looked into where it lies. False: there were too
    /// many, or too much in them.
    fn each(&mut self, take: &mut dyn FnMut(&mut Self, &str)) -> bool {
        let volume = self.files.volume;
        let mut ahead: Vec<(String, usize)> = PLACES
            .iter()
            .rev()
            .map(|place| ((*place).to_owned(), if *place == "/" { 1 } else { DEPTH }))
            .collect();
        let mut whole = true;
        while let Some((directory, depth)) = ahead.pop() {
            let names = volume.names(&directory).unwrap_or_default();
            for name in names.iter().filter(|name| *name != "." && *name != "..") {
                let path = format!("{}/{name}", directory.trim_end_matches('/'));
                if volume.link(&path).is_ok() {
                    continue;
                }
                if is_directory(volume, &path) {
                    match depth.checked_sub(1) {
                        Some(0) if directory != "/" => whole = false,
                        Some(0) | None => {}
                        Some(depth) => ahead.push((path, depth)),
                    }
                    continue;
                }
                if self.files_left == 0 || self.bytes_left == 0 || self.files.is_stopped() {
                    return false;
                }
                self.files_left -= 1;
                take(self, &path);
            }
        }
        whole
    }
}

fn is_directory(volume: &dyn Volume, path: &str) -> bool {
    volume.names(path).is_ok()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::AtomicBool;

    use super::super::inspection::tests::Tree;
    use super::*;

    fn secret(name: &str, value: &str) -> Secret {
        Secret::new(name.to_owned(), PathBuf::new(), value.as_bytes().to_vec())
    }

    fn noted(secrets: &[Secret], files: &[(&'static str, &'static str)], mut seen: Inspection) -> Inspection {
        let tree = Tree(files.iter().copied().collect());
        let stop = AtomicBool::new(false);
        SecretKinds::of(secrets).note(&Files { volume: &tree, stop: &stop }, &mut seen);
        seen
    }

    fn found(secret_value: &str, text: &'static str) -> bool {
        let seen = noted(&[secret("REPO", secret_value)], &[("/etc/app.conf", text)], Inspection::default());
        !seen.secrets.is_empty()
    }

    #[test]
    fn a_secret_in_a_file_is_told_by_its_name_and_the_path_alone() {
        let secrets = [secret("REPO", "robot:p4ss/w0rd\n"), secret("TOKEN", "glpat-1234567890")];
        let files = [
            ("/etc/apt/auth.conf.d/ours.conf", "machine a login robot password p4ss/w0rd\n"),
            ("/opt/app/.env", "URL=https://robot:p4ss%2Fw0rd@host/\nTOKEN=glpat-1234567890\n"),
            ("/usr/share/doc/x", "p4ss/w0rd"),
            ("/etc/hosts", "127.0.0.1 robot\n"),
        ];
        let seen = noted(&secrets, &files, Inspection::default());
        let mut told: Vec<String> =
            seen.secrets.iter().map(|leak| format!("{} {}", leak.secret, leak.path)).collect();
        told.sort_unstable();
        let expected = ["REPO /etc/apt/auth.conf.d/ours.conf", "REPO /opt/app/.env", "TOKEN /opt/app/.env"];
        assert_eq!(told, expected);
        assert!(!seen.secrets_cut_short && seen.secrets_not_sought.is_empty(), "{seen:?}");
        let kept = serde_json::to_string(&seen).unwrap();
        assert!(!kept.contains("p4ss") && !kept.contains("glpat"), "{kept}");
    }

    #[test]
    fn a_secret_is_known_by_what_no_other_file_has() {
        assert!(found("robot:correct-horse", "password=correct-horse"));
        assert!(found("robot:secretsecretsecret", "x secretsecretsecret y"), "it is longer than words are");
        assert!(!found("robot:password", "the password of the user"));
        assert!(found("robot:password", "curl -u robot:password"));
        let key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END KEY-----\n";
        assert!(found(key, "inner: MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"));
        assert!(!found(key, "-----BEGIN KEY-----\nanother\n-----END KEY-----\n"));
        let seen = noted(&[secret("PIN", "1234"), secret("WORD", "changeme")], &[], Inspection::default());
        assert_eq!(seen.secrets_not_sought, ["PIN", "WORD"]);
    }

    #[test]
    fn lines_that_were_noted_lose_it() {
        let line = "/etc/environment: http_proxy=http://robot:p4ss-w0rd@proxy:3128";
        let seen = Inspection { proxies: vec![line.to_owned()], ..Inspection::default() };
        let seen = noted(&[secret("PROXY", "robot:p4ss-w0rd")], &[], seen);
        assert_eq!(seen.proxies, ["/etc/environment: http_proxy=http://[secret PROXY]@proxy:3128"]);
    }

    #[test]
    fn a_secret_is_found_across_pieces() {
        let sought = SecretKinds::of(&[secret("TOKEN", "glpat-1234567890")]);
        for cut in 1..16 {
            let mut search = Search { sought: &sought, held: Vec::new(), found: BTreeSet::new() };
            let (before, behind) = b"glpat-1234567890".split_at(cut);
            search.push(b"some");
            search.push(before);
            assert!(search.found.is_empty());
            search.push(behind);
            assert_eq!(search.found.len(), 1, "cut at {cut}");
        }
    }

    #[test]
    fn too_many_files_are_told_of() {
        let tree = Tree([("/etc/a", "x"), ("/etc/b", "y")].into());
        let stop = AtomicBool::new(false);
        let files = Files { volume: &tree, stop: &stop };
        let walked = |files_left, bytes_left| {
            let mut count = 0;
            let whole = Walk { files: &files, files_left, bytes_left }.each(&mut |_, _| count += 1);
            (whole, count)
        };
        assert_eq!(walked(2, 1), (true, 2));
        assert_eq!(walked(1, 1), (false, 1));
        assert_eq!(walked(2, 0), (false, 0));
    }
}
