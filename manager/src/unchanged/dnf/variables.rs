//! Variables in the image's repositories: `$releasever`, `$basearch`, `$arch`, and those that are files.

use std::collections::BTreeMap;

use super::text;
use crate::unchanged::status::is_plain;
use crate::unchanged::{Doubt, Kept};

/// Where files `NAME` have a value in their first line; a later directory wins.
const DIRECTORIES: [&str; 3] = ["/usr/share/dnf5/vars.d", "/etc/yum/vars", "/etc/dnf/vars"];
/// The first that is there counts.
const RELEASES: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];

#[derive(Debug)]
pub(super) struct Variables {
    platform: String,
    values: BTreeMap<String, String>,
}

/// Those of an image of this architecture. Its release is the number of its platform (9 of `platform:el9`, where
/// `VERSION_ID` says 9.4): what its release package provides to dnf is not kept.
pub(super) fn of(kept: &Kept, arch: &str) -> Result<Variables, Doubt> {
    let mut values = BTreeMap::new();
    for directory in DIRECTORIES {
        for (name, _) in kept.directory(directory) {
            let path = format!("{directory}/{name}");
            let value = text(kept, &path)?.lines().next().unwrap_or_default().trim();
            let is_known = value.is_empty() || is_plain(value.trim_start_matches('-'), "-._~/");
            if !is_known || !is_plain(name, "_") {
                return Err(Doubt::NotAsked(format!("{path}: the value {value:?} is not understood")));
            }
            if ["arch", "basearch", "releasever"].contains(&name) {
                return Err(Doubt::NotAsked(format!("{path} sets ${name}")));
            }
            values.insert(name.to_owned(), value.to_owned());
        }
    }
    let platform = platform(kept)?;
    let release = platform.trim_start_matches(|one: char| !one.is_ascii_digit()).to_owned();
    if release.is_empty() || !release.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Doubt::NotAsked(format!("its platform {platform:?} has no number")));
    }
    let own = [("arch", arch), ("basearch", arch), ("releasever", release.as_str())];
    values.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
    Ok(Variables { platform, values })
}

/// `PLATFORM_ID`, of which modules depend, too.
fn platform(kept: &Kept) -> Result<String, Doubt> {
    let path = RELEASES.into_iter().find(|path| kept.file(path).is_some()).unwrap_or_default();
    let mut lines = text(kept, path)?.lines();
    let value =
        lines.find_map(|line| line.strip_prefix("PLATFORM_ID=")).map(|value| value.trim_matches(['"', '\'']));
    let value = value.ok_or_else(|| Doubt::NotAsked("its os-release has no PLATFORM_ID".to_owned()))?;
    let plain = is_plain(value, ":._-").then(|| value.to_owned());
    plain.ok_or_else(|| Doubt::NotAsked(format!("PLATFORM_ID is {value:?}")))
}

impl Variables {
    pub(super) fn platform(&self) -> &str {
        &self.platform
    }

    /// The text with all variables filled in: `$name` and `${name}`.
    pub(super) fn fill(&self, text: &str) -> Result<String, Doubt> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            filled.push_str(before);
            let (name, left) = if let Some(inner) = after.strip_prefix('{') {
                inner.split_once('}').unwrap_or_default()
            } else {
                let end = after.find(|one: char| !one.is_ascii_alphanumeric() && one != '_');
                after.split_at_checked(end.unwrap_or(after.len())).unwrap_or((after, ""))
            };
            let value = self.values.get(name);
            let unknown =
                || Doubt::NotAsked(format!("{text} has the variable {name:?}, whose value is not known"));
            filled.push_str(value.ok_or_else(unknown)?);
            rest = left;
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unchanged::{Family, KeptFile};

    fn read(files: &[(&str, &str)]) -> Result<Variables, Doubt> {
        let file =
            |(path, text): &(&str, &str)| KeptFile { path: (*path).to_owned(), content: (*text).into() };
        of(&Kept::new(Family::Rpm, files.iter().map(file).collect(), Vec::new()).unwrap(), "x86_64")
    }

    const EL: (&str, &str) =
        ("/usr/lib/os-release", "ID=rocky\nVERSION_ID=\"9.4\"\nPLATFORM_ID=\"platform:el9\"\n");

    #[test]
    fn variables_are_filled_in_or_doubted() {
        let variables = read(&[
            EL,
            ("/etc/yum/vars/stream", "old\n"),
            ("/etc/dnf/vars/stream", "9-stream\nmore\n"),
            ("/etc/dnf/vars/rltype", "\n"),
        ]);
        let variables = variables.unwrap();
        assert_eq!(variables.platform(), "platform:el9");
        let filled =
            variables.fill("https://m.example/$stream/${basearch}/BaseOS-$releasever$rltype?a=$arch");
        assert_eq!(filled.unwrap(), "https://m.example/9-stream/x86_64/BaseOS-9?a=x86_64");
        for bad in ["$other", "${releasever:-9}", "$", "${stream"] {
            assert!(matches!(variables.fill(bad), Err(Doubt::NotAsked(_))), "{bad}");
        }
    }

    #[test]
    fn what_would_say_another_release_is_doubted() {
        assert!(read(&[EL]).is_ok());
        for bad in [
            &[][..],
            &[("/etc/os-release", "ID=amzn\nVERSION_ID=2023\n")],
            &[("/etc/os-release", "PLATFORM_ID=platform:el\n")],
            &[("/etc/os-release", "PLATFORM_ID=\"platform:el9\\$(id)\"\n")],
            &[EL, ("/etc/dnf/vars/releasever", "8\n")],
            &[EL, ("/etc/dnf/vars/stream", "9 $(id)\n")],
            &[EL, ("/etc/dnf/vars/stream", "../../x\n")],
        ] {
            assert!(matches!(read(bad), Err(Doubt::NotAsked(_))), "{bad:?}");
        }
    }
}
