//! dpkg's list of packages.

use super::Doubt;

/// Most packages that are asked for: the names of all are arguments of one program.
const MOST: usize = 10_000;

/// A package that is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Installed {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) arch: String,
}

/// The packages that are installed, by dpkg's status file.
pub(super) fn installed(text: &str) -> Result<Vec<Installed>, Doubt> {
    let mut found = Vec::new();
    for stanza in text.split("\n\n").filter(|stanza| !stanza.trim().is_empty()) {
        let field = |name: &str| {
            let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned());
            stanza.lines().find_map(value).unwrap_or_default()
        };
        let (name, status) = (field("Package"), field("Status"));
        match status.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["install" | "hold", "ok", "installed"] => {}
            [_, "ok", "config-files" | "not-installed"] => continue,
            _ => return Err(Doubt::NotAsked(format!("package {name:?} is in the state {status:?}"))),
        }
        let package = Installed { name, version: field("Version"), arch: field("Architecture") };
        if !is_plain(&package.name, "+-.")
            || !is_plain(&package.version, "+-.:~")
            || !is_plain(&package.arch, "-")
        {
            return Err(Doubt::NotAsked(format!("its list of packages has {package:?}")));
        }
        found.push(package);
        if found.len() > MOST {
            return Err(Doubt::NotAsked(format!("it has over {MOST} packages")));
        }
    }
    if found.is_empty() {
        return Err(Doubt::NotKept("no package is installed".to_owned()));
    }
    Ok(found)
}

/// The image's own architecture: that of dpkg.
pub(super) fn native(installed: &[Installed]) -> Result<&str, Doubt> {
    let dpkg = installed.iter().find(|package| package.name == "dpkg");
    dpkg.map(|package| package.arch.as_str())
        .ok_or_else(|| Doubt::NotAsked("dpkg is not installed".to_owned()))
}

/// Letters, digits and some others, beginning with one of the former.
pub(super) fn is_plain(text: &str, also: &str) -> bool {
    text.len() <= 256
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.chars().all(|one| one.is_ascii_alphanumeric() || also.contains(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DPKG: &str = "Package: dpkg\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.21.22\n\
                        Description: tool\n Package: x\n";

    #[test]
    fn what_is_installed_is_read() {
        let text = format!("{DPKG}\nPackage: old\nStatus: deinstall ok config-files\nVersion: 1\n");
        let found = installed(&text).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((native(&found).unwrap(), found[0].version.as_str()), ("amd64", "1.21.22"));
    }

    #[test]
    fn what_is_strange_is_doubted() {
        for bad in [
            "",
            &DPKG.replace("installed", "half-configured"),
            &DPKG.replace("Package: dpkg", "Package: --option"),
            &DPKG.replace("amd64", "amd64 -o"),
            &DPKG.replace("1.21.22", "1$(id)"),
        ] {
            assert!(installed(bad).is_err(), "{bad}");
        }
    }
}
