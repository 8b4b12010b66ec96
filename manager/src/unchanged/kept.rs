//! What is kept of an artifact, and its file.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use image_manager_proto::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Doubt;

/// The file's name in a build's directory.
pub const FILE: &str = "packages.json.gz";
/// Most files that are kept.
pub const MOST_FILES: usize = 512;
/// Bytes of all of them together, and of the file when it is unpacked.
const MOST_BYTES: usize = 32 << 20;
const MOST_UNPACKED: u64 = 64 << 20;
/// Bytes of the file as it is.
const MOST_PACKED: u64 = 32 << 20;
/// Most packages that are listed.
const MOST_PACKAGES: usize = 20_000;
/// Of the file's form. Another one is not read.
const VERSION: u32 = 1;

/// Whose package manager it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// apt with dpkg.
    Dpkg,
    /// dnf with rpm.
    Rpm,
}

/// A file of the image as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptFile {
    /// Where it was in the image, absolute.
    pub path: String,
    /// What was in it.
    pub content: Vec<u8>,
}

/// A package that was in the image, where they are in no file that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// As `epoch:version-release`.
    pub version: String,
    /// Its architecture.
    pub arch: String,
}

/// What is kept of an artifact, so that its mirrors can be asked later what an upgrade would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    family: Family,
    files: Vec<KeptFile>,
    packages: Vec<Package>,
}

/// As it is in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    family: Family,
    /// Path and content, in Base64: keyrings are no text.
    files: Vec<(String, String)>,
    packages: Vec<Package>,
}

impl Kept {
    /// Of these files and packages.
    ///
    /// # Errors
    /// Why they are not kept: there are too many or too large ones.
    pub fn new(family: Family, files: Vec<KeptFile>, packages: Vec<Package>) -> Result<Self, String> {
        let bytes: usize = files.iter().map(|file| file.content.len()).sum();
        if files.len() > MOST_FILES || bytes > MOST_BYTES || packages.len() > MOST_PACKAGES {
            return Err(format!(
                "{} files of {} MiB and {} packages are too much to be kept",
                files.len(),
                bytes >> 20,
                packages.len()
            ));
        }
        Ok(Self { family, files, packages })
    }

    /// Whose package manager is asked.
    pub fn family(&self) -> Family {
        self.family
    }

    /// The packages that are listed by name, rpm's.
    pub fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// What was in a file of the image.
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        self.files.iter().find(|file| file.path == path).map(|file| file.content.as_slice())
    }

    /// The files that were directly in a directory of the image, by their names.
    pub fn directory<'a>(&'a self, path: &'a str) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let name = move |file: &'a KeptFile| file.path.strip_prefix(path)?.strip_prefix('/');
        let mut files: Vec<_> = self
            .files
            .iter()
            .filter_map(|file| Some((name(file)?, file.content.as_slice())))
            .filter(|(name, _)| !name.contains('/'))
            .collect();
        files.sort_unstable();
        files.into_iter()
    }

    /// Writes it to [`FILE`] in a build's directory; the SHA-256 of that file as hexadecimal digits, by which alone it
    /// is read again.
    pub fn write(&self, directory: &Path) -> std::io::Result<String> {
        let files = self.files.iter().map(|file| (file.path.clone(), STANDARD.encode(&file.content)));
        let written = Written {
            version: VERSION,
            family: self.family,
            files: files.collect(),
            packages: self.packages.clone(),
        };
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(&serde_json::to_vec(&written)?)?;
        let packed = packed.finish()?;
        let partial: PathBuf = directory.join(format!("{FILE}.partial"));
        std::fs::write(&partial, &packed)?;
        std::fs::rename(&partial, directory.join(FILE))?;
        Ok(hex(&Sha256::digest(&packed)))
    }

    /// Reads it from a build's directory; `sha256` is what [`Kept::write`] gave.
    ///
    /// # Errors
    /// [`Doubt::NotKept`] unless every byte is as it was written.
    pub fn read(directory: &Path, sha256: &str) -> Result<Self, Doubt> {
        let path = directory.join(FILE);
        let doubt = |why: String| Doubt::NotKept(format!("{}: {why}", path.display()));
        let unreadable = |error: std::io::Error| doubt(error.to_string());
        let mut packed = Vec::new();
        let file = std::fs::File::open(&path).map_err(unreadable)?;
        file.take(MOST_PACKED).read_to_end(&mut packed).map_err(unreadable)?;
        if hex(&Sha256::digest(&packed)) != sha256 {
            return Err(doubt("it has changed since it was written".to_owned()));
        }
        let mut bytes = Vec::new();
        GzDecoder::new(packed.as_slice()).take(MOST_UNPACKED).read_to_end(&mut bytes).map_err(unreadable)?;
        let written: Written = serde_json::from_slice(&bytes).map_err(|error| doubt(error.to_string()))?;
        if written.version != VERSION {
            return Err(doubt("another version of this program wrote it".to_owned()));
        }
        let files = written.files.into_iter().map(|(path, content)| {
            let content = STANDARD.decode(content).map_err(|error| error.to_string())?;
            Ok(KeptFile { path, content })
        });
        let files: Result<Vec<_>, String> = files.collect();
        files.and_then(|files| Self::new(written.family, files, written.packages)).map_err(doubt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> Kept {
        let file = |path: &str, content: &[u8]| KeptFile { path: path.into(), content: content.into() };
        let files = vec![
            file("/etc/apt/sources.list", b"deb http://a.example/ x main\n"),
            file("/etc/apt/sources.list.d/b.list", b"b"),
            file("/etc/apt/sources.list.d/a.list", &[0, 255, 7]),
            file("/etc/apt/sources.list.d/deep/c.list", b"c"),
        ];
        Kept::new(Family::Dpkg, files, Vec::new()).unwrap()
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let sha256 = kept().write(directory.path()).unwrap();
        let read = Kept::read(directory.path(), &sha256).unwrap();
        assert_eq!(read, kept());
        let names: Vec<_> = read.directory("/etc/apt/sources.list.d").collect();
        assert_eq!(names, [("a.list", &[0, 255, 7][..]), ("b.list", &b"b"[..])]);
        assert_eq!(read.file("/etc/apt/sources.list").unwrap().len(), 29);
    }

    #[test]
    fn a_byte_that_is_another_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let sha256 = kept().write(directory.path()).unwrap();
        let path = directory.path().join(FILE);
        let mut bytes = std::fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let doubt = Kept::read(directory.path(), &sha256).unwrap_err();
        assert!(doubt.to_string().contains("has changed since it was written"), "{doubt}");
        assert!(matches!(Kept::read(Path::new("/nonexistent"), &sha256), Err(Doubt::NotKept(_))));
    }

    #[test]
    fn too_much_is_not_kept() {
        let file = KeptFile { path: "/x".into(), content: vec![0; MOST_BYTES + 1] };
        assert!(Kept::new(Family::Dpkg, vec![file], Vec::new()).is_err());
    }
}
