//! The packages of the image, by its rpm database.

use serde::{Deserialize, Serialize};

use crate::unchanged::status::is_plain;
use crate::unchanged::{Doubt, Kept};

/// Most packages that are asked for.
const MOST: usize = 10_000;
/// The architectures whose images are asked about, as rpm names them.
const ARCHITECTURES: [&str; 4] = ["x86_64", "aarch64", "ppc64le", "s390x"];
/// Without one of these it is no image of dnf.
const DNF: [&str; 2] = ["dnf", "dnf5"];
/// Plugins that change nothing about what is installed. Of others it is not known: they may add repositories, or keep
/// versions.
const HARMLESS: [&str; 4] =
    ["dnf-plugins-core", "python3-dnf-plugins-core", "python3-dnf-plugins-extras-common", "dnf5-plugins"];
/// How an entry for a key is called.
const KEY: &str = "gpg-pubkey";

/// Name, version as `epoch:version-release` without an epoch of 0, and architecture.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Installed(pub(super) String, pub(super) String, pub(super) String);

/// All of them, but for keys, which are no packages.
pub(super) fn installed(kept: &Kept) -> Result<Vec<Installed>, Doubt> {
    let mut found = Vec::new();
    for package in kept.packages().iter().filter(|package| package.name != KEY) {
        let version = package.version.strip_prefix("0:").unwrap_or(&package.version);
        if !is_plain(&package.name, "+-._") || !is_plain(version, "+-.:~^_") || !is_plain(&package.arch, "_")
        {
            return Err(Doubt::NotAsked(format!("its list of packages has {package:?}")));
        }
        if package.name.contains("dnf")
            && package.name.contains("plugin")
            && !HARMLESS.contains(&package.name.as_str())
        {
            return Err(Doubt::NotAsked(format!("it is not known what {} does", package.name)));
        }
        found.push(Installed(package.name.clone(), version.to_owned(), package.arch.clone()));
    }
    if found.len() > MOST {
        return Err(Doubt::NotAsked(format!("it has over {MOST} packages")));
    }
    if !found.iter().any(|package| DNF.contains(&package.0.as_str())) {
        return Err(Doubt::NotAsked("dnf is not installed".to_owned()));
    }
    Ok(found)
}

/// The image's own architecture: the only one of the large ones that its packages have.
pub(super) fn architecture(installed: &[Installed]) -> Result<&'static str, Doubt> {
    let mut there =
        ARCHITECTURES.into_iter().filter(|arch| installed.iter().any(|package| package.2 == *arch));
    match (there.next(), there.next()) {
        (Some(arch), None) => Ok(arch),
        (None, _) => Err(Doubt::NotAsked("the architecture of its packages is not known".to_owned())),
        (Some(one), Some(other)) => {
            Err(Doubt::NotAsked(format!("it has packages of both {one} and {other}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unchanged::{Family, Package};

    fn read(more: &[(&str, &str, &str)]) -> Result<Vec<Installed>, Doubt> {
        let all = [("dnf", "0:4.14-1", "noarch"), ("glibc", "2.34-1", "x86_64"), (KEY, "a-b", "")];
        let package = |(name, version, arch): &(&str, &str, &str)| Package {
            name: (*name).to_owned(),
            version: (*version).to_owned(),
            arch: (*arch).to_owned(),
        };
        let packages = all.iter().chain(more).map(package).collect();
        installed(&Kept::new(Family::Rpm, Vec::new(), packages).unwrap())
    }

    #[test]
    fn packages_are_read_without_keys_and_strange_ones_are_doubted() {
        let found = read(&[("lib", "2:1~rc1^git-1.el9", "i686")]).unwrap();
        assert_eq!(found.len(), 3);
        assert_eq!(found[0], Installed("dnf".into(), "4.14-1".into(), "noarch".into()));
        assert_eq!(architecture(&found), Ok("x86_64"));
        assert!(architecture(&found[..1]).is_err());
        assert!(architecture(&read(&[("x", "1-1", "aarch64")]).unwrap()).is_err());
        assert!(read(&[("python3-dnf-plugins-core", "1-1", "noarch")]).is_ok());
        for bad in [
            ("-x", "1-1", "noarch"),
            ("x", "1-1 y", "noarch"),
            ("x", "1-1", ""),
            ("x", "1-1", "a b"),
            ("python3-dnf-plugin-versionlock", "1-1", "noarch"),
            ("dnf-plugin-subscription-manager", "1-1", "x86_64"),
        ] {
            assert!(matches!(read(&[bad]), Err(Doubt::NotAsked(_))), "{bad:?}");
        }
        assert!(installed(&Kept::new(Family::Rpm, Vec::new(), Vec::new()).unwrap()).is_err());
    }
}
