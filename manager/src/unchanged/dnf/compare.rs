//! What `ask.py` says, beside what is in the image.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::packages::Installed;
use crate::unchanged::program::Said;
use crate::unchanged::{Answer, Change, Doubt};

/// Longest part of it that is repeated, in characters.
const LONGEST: usize = 300;

/// What it prints.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Printed {
    Doubt(Kind, String),
    Result { packages: Vec<Installed>, replaced: Vec<(Installed, Installed)> },
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Here,
    Reached,
    Trusted,
    Unknown,
}

/// The answer to what was asked.
pub(super) fn answer(said: &Said, installed: &[Installed]) -> Result<Answer, Doubt> {
    let strange = || {
        let line = said.err.lines().next_back().map_or_else(|| said.status.to_string(), str::to_owned);
        Doubt::Unknown(format!("asking dnf's library: {}", short(&line)))
    };
    if !said.status.success() {
        return Err(strange());
    }
    let printed: Printed = serde_json::from_str(&said.out).map_err(|_| strange())?;
    match printed {
        Printed::Doubt(kind, why) => Err(match kind {
            Kind::Here => Doubt::NotHere(short(&why)),
            Kind::Reached => Doubt::NotReached(short(&why)),
            Kind::Trusted => Doubt::NotTrusted(short(&why)),
            Kind::Unknown => Doubt::Unknown(short(&why)),
        }),
        Printed::Result { packages, replaced } => {
            let changes = changes(installed, &packages, &replaced);
            if changes.is_empty() {
                return Ok(Answer::Nothing { packages: installed.len() });
            }
            Ok(Answer::Changes(changes))
        }
    }
}

/// What would become of each package; several of one name and architecture may be there at once.
fn changes(
    installed: &[Installed],
    packages: &[Installed],
    replaced: &[(Installed, Installed)],
) -> Vec<Change> {
    let mut names: BTreeMap<(&str, &str), [BTreeSet<&str>; 2]> = BTreeMap::new();
    for (side, list) in [installed, packages].into_iter().enumerate() {
        for Installed(name, version, arch) in list {
            if let Some(versions) = names.entry((name, arch)).or_default().get_mut(side) {
                versions.insert(version);
            }
        }
    }
    let mut found = Vec::new();
    let change = |name: &str, arch: &str, from: Option<&str>, to: Option<&str>| Change {
        package: format!("{name}.{arch}"),
        from: from.map(str::to_owned),
        to: to.map(str::to_owned),
    };
    for ((name, arch), [before, after]) in &names {
        let (mut gone, mut new) = (before.difference(after), after.difference(before));
        loop {
            match (gone.next(), new.next()) {
                (None, None) => break,
                (from, to) => found.push(change(name, arch, from.copied(), to.copied())),
            }
        }
    }
    for (old, new) in replaced {
        found.push(change(&old.0, &old.2, Some(&old.1), None));
        found.push(change(&new.0, &new.2, None, Some(&new.1)));
    }
    found
}

fn short(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use super::*;

    fn installed(name: &str, version: &str) -> Installed {
        Installed(name.into(), version.into(), "noarch".into())
    }

    fn read(out: &str) -> Result<Answer, Doubt> {
        let said = Said {
            status: ExitStatus::from_raw(0),
            out: out.to_owned(),
            err: "x\nTraceback: y\n".to_owned(),
        };
        answer(&said, &[installed("a", "1-1"), installed("k", "1-1"), installed("k", "2-1")])
    }

    fn change(package: &str, from: Option<&str>, to: Option<&str>) -> Change {
        Change { package: package.into(), from: from.map(Into::into), to: to.map(Into::into) }
    }

    #[test]
    fn only_the_same_list_is_nothing() {
        let said = |more: &str, replaced: &str| {
            let packages = "[\"a\",\"1-1\",\"noarch\"],[\"k\",\"2-1\",\"noarch\"]";
            read(&format!("{{\"result\":{{\"packages\":[{packages}{more}],\"replaced\":[{replaced}]}}}}"))
        };
        let old_kernel = ",[\"k\",\"1-1\",\"noarch\"]";
        assert_eq!(said(old_kernel, ""), Ok(Answer::Nothing { packages: 3 }));
        assert_eq!(said("", ""), Ok(Answer::Changes(vec![change("k.noarch", Some("1-1"), None)])));
        let new = format!("{old_kernel},[\"n\",\"1-1\",\"noarch\"]");
        assert_eq!(said(&new, ""), Ok(Answer::Changes(vec![change("n.noarch", None, Some("1-1"))])));
        let replaced = "[[\"a\",\"1-1\",\"noarch\"],[\"b\",\"3-1\",\"noarch\"]]";
        let expected = vec![change("a.noarch", Some("1-1"), None), change("b.noarch", None, Some("3-1"))];
        assert_eq!(said(old_kernel, replaced), Ok(Answer::Changes(expected)));
    }

    #[test]
    fn doubts_and_strange_words_are_no_answer() {
        let doubt = |kind: &str| read(&format!("{{\"doubt\":[\"{kind}\",\"why\"]}}"));
        assert_eq!(doubt("here"), Err(Doubt::NotHere("why".into())));
        assert_eq!(doubt("reached"), Err(Doubt::NotReached("why".into())));
        assert_eq!(doubt("trusted"), Err(Doubt::NotTrusted("why".into())));
        assert_eq!(doubt("unknown"), Err(Doubt::Unknown("why".into())));
        for strange in ["", "{}", "{\"result\":{\"packages\":[]}}", "{\"doubt\":[\"other\",\"x\"]}", "[]"] {
            let why = read(strange).unwrap_err().to_string();
            assert_eq!(why, "asking dnf's library: Traceback: y", "{strange}");
        }
    }
}
