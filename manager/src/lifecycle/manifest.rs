//! The list of the packages in an image, as a build keeps it: disk-image-builder's own, or one of the same form that is
//! made from what the image's package database lists.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;

use super::files;
use crate::builder::Package;

/// Longest list of packages that is read, in bytes; a large system's has some hundred thousand.
const MANIFEST_LIMIT: u64 = 16 << 20;

/// A package's name and architecture, and its version.
pub(super) type Packages = BTreeMap<(String, String), String>;

/// disk-image-builder's list of the packages in an image.
#[derive(Serialize, Deserialize)]
struct Manifest {
    packages: Vec<ManifestPackage>,
}

#[derive(Serialize, Deserialize)]
struct ManifestPackage {
    package: String,
    #[serde(default)]
    arch: String,
    version: String,
    /// dpkg's, for example "ii ": what is wanted, and what is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    status: String,
}

/// Keeps the list of an image's packages in the build's directory: disk-image-builder's `own`, or what its database has.
pub(super) async fn keep(own: Option<&Path>, listed: &[Package], directory: &Path) -> std::io::Result<()> {
    let place = directory.join(files::MANIFEST);
    if let Some(manifest) = own {
        tokio::fs::copy(manifest, place).await?;
    } else if !listed.is_empty() {
        let packages = listed.iter().map(|package| ManifestPackage {
            package: package.name.clone(),
            arch: package.arch.clone(),
            version: package.version.clone(),
            status: String::new(),
        });
        let mut packages: Vec<_> = packages.collect();
        packages.sort_by(|a, b| (&a.package, &a.version).cmp(&(&b.package, &b.version)));
        tokio::fs::write(place, serde_json::to_vec(&Manifest { packages })?).await?;
    }
    Ok(())
}

/// The packages of a build's image, or why they are not known.
pub(super) async fn packages(state: &Path, build_id: &str) -> Result<Packages, String> {
    let path = files::directory(state, build_id).join(files::MANIFEST);
    let unknown = |why: &str| format!("the packages of build {build_id} are not known: {why}");
    let file = tokio::fs::File::open(&path).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => unknown(
            "the image has no package database that can be read, or the list was removed with the build's logs (serve \
             --keep-logs)",
        ),
        _ => unknown(&format!("{}: {error}", path.display())),
    })?;
    let mut bytes = Vec::new();
    let read = file.take(MANIFEST_LIMIT).read_to_end(&mut bytes).await;
    read.map_err(|error| unknown(&format!("{}: {error}", path.display())))?;
    parse(&bytes).map_err(|why| unknown(&format!("{}: {why}", path.display())))
}

fn parse(bytes: &[u8]) -> Result<Packages, serde_json::Error> {
    let manifest: Manifest = serde_json::from_slice(bytes)?;
    // Removed ones whose configuration is still there are listed too.
    let there = |package: &ManifestPackage| matches!(package.status.chars().nth(1), None | Some('i'));
    let mut packages = Packages::new();
    for package in manifest.packages.into_iter().filter(there) {
        match packages.entry((package.package, package.arch)) {
            Entry::Vacant(entry) => {
                entry.insert(package.version);
            }
            // Of a kernel rpm has several beside each other, and of the keys that it trusts.
            Entry::Occupied(mut entry) => {
                entry.get_mut().push_str(", ");
                entry.get_mut().push_str(&package.version);
            }
        }
    }
    Ok(packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dpkg_has_removed_is_no_package() {
        let text = r#"{"packages": [{"package": "a","arch": "all","version": "1","status": "ii "},
            {"package": "b","arch": "all","version": "2","status": "rc "}]}"#;
        assert_eq!(
            parse(text.as_bytes()).unwrap(),
            BTreeMap::from([(("a".into(), "all".into()), "1".into())])
        );
        assert!(parse(b"{").is_err());
    }

    #[tokio::test]
    async fn what_rpm_lists_is_kept_as_dib_keeps_its_lists() {
        let package = |name: &str, version: &str, arch: &str| Package {
            name: name.into(),
            version: version.into(),
            arch: arch.into(),
        };
        let packages = vec![
            package("kernel", "6.2-1", "x86_64"),
            package("bash", "1:5.2-3.el10", "x86_64"),
            package("kernel", "6.1-1", "x86_64"),
        ];
        let state = tempfile::tempdir().unwrap();
        let directory = files::directory(state.path(), "build");
        std::fs::create_dir_all(&directory).unwrap();
        keep(None, &packages, &directory).await.unwrap();
        let read = super::packages(state.path(), "build").await.unwrap();
        let key = |name: &str| (name.to_owned(), "x86_64".to_owned());
        let expected = [(key("bash"), "1:5.2-3.el10".into()), (key("kernel"), "6.1-1, 6.2-1".into())];
        assert_eq!(read, BTreeMap::from(expected));

        // disk-image-builder's own comes first.
        let own = state.path().join("dib-manifest-dpkg-image");
        std::fs::write(&own, r#"{"packages": [{"package": "a","version": "1"}]}"#).unwrap();
        keep(Some(&own), &packages, &directory).await.unwrap();
        assert_eq!(super::packages(state.path(), "build").await.unwrap().len(), 1);
        keep(None, &[], &state.path().join("none")).await.unwrap();
    }
}
