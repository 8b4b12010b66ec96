//! A header of rpm: an index of tags, and the data that they stand for. As the database keeps one, without the
//! eight bytes that a package file has in front. Pure, and wary: it comes from the image.

use super::Checksum;

/// Most entries and most data that a header may have: rpm's own limits, the second one less generous.
const MOST_TAGS: usize = 0xffff;
const MOST_DATA: usize = 64 << 20;
/// Most files of one package; a kernel's modules are some 5,000.
const MOST_FILES: usize = 500_000;
/// Longest path that is believed to be one.
const LONGEST_PATH: usize = 4096;
/// Longest name, version or architecture of a package.
const LONGEST_NAME: usize = 1024;
/// Most bytes of the paths of one package together.
const MOST_PATHS: usize = 256 << 20;
/// Bytes of an entry in the index, and of the two counts before it.
const ENTRY: usize = 16;
const COUNTS: usize = 8;

const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const ARCH: u32 = 1022;
const FILE_STATES: u32 = 1029;
const FILE_MODES: u32 = 1030;
const FILE_DIGESTS: u32 = 1035;
const FILE_LINKS: u32 = 1036;
const FILE_FLAGS: u32 = 1037;
const FILE_VERIFY: u32 = 1045;
const DIRECTORY_OF: u32 = 1116;
const BASE_NAMES: u32 = 1117;
const DIRECTORIES: u32 = 1118;
const DIGEST_ALGORITHM: u32 = 5011;

/// What there is of each file, or of each directory.
const LISTS: [u32; 9] = [
    FILE_STATES,
    FILE_MODES,
    FILE_DIGESTS,
    FILE_LINKS,
    FILE_FLAGS,
    FILE_VERIFY,
    DIRECTORY_OF,
    BASE_NAMES,
    DIRECTORIES,
];

/// Bits of a file's flags.
const CONFIGURATION: u32 = 1;
const DOCUMENTATION: u32 = 1 << 1;
const MISSING_OK: u32 = 1 << 3;
const GHOST: u32 = 1 << 6;
/// Bits of what is verified of a file.
const VERIFY_CONTENT: u32 = 1;
const VERIFY_LINK: u32 = 1 << 2;
/// A file that is installed as it was packaged: not one that another package's replaced, nor one of those that the
/// installation left out.
const INSTALLED: u8 = 0;

/// Type bits of a mode.
const TYPE: u16 = 0o170_000;
const REGULAR: u16 = 0o100_000;
const LINK: u16 = 0o120_000;

/// How an entry's data lie in the header.
#[derive(Debug, Clone, Copy)]
struct Entry {
    tag: u32,
    offset: usize,
    count: usize,
}

/// A header, whose index was read.
#[derive(Debug)]
pub struct Header<'a> {
    entries: Vec<Entry>,
    data: &'a [u8],
}

/// What a file should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A plain file that has this checksum.
    Content(Checksum),
    /// A symbolic link to this.
    Link(Vec<u8>),
}

/// A file that a package has, and which can be told to be what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackagedFile {
    /// Its path below the root, without a slash in front.
    pub path: String,
    /// What it should be.
    pub kind: Kind,
    /// Configuration: to be edited.
    pub configuration: bool,
    /// Need not be there: documentation, or what the package says so of.
    pub may_be_missing: bool,
}

/// A package's name and version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// `version-release`, after `epoch:` where there is one.
    pub version: String,
    /// Its architecture; empty for a key.
    pub arch: String,
}

impl<'a> Header<'a> {
    /// Reads the index of a header.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, &'static str> {
        let count = number(bytes, 0).ok_or("is cut short")?;
        let length = number(bytes, 4).ok_or("is cut short")?;
        if count == 0 || count > MOST_TAGS || length > MOST_DATA {
            return Err("has an impossible index");
        }
        let index = bytes.get(COUNTS..COUNTS + count * ENTRY).ok_or("is cut short")?;
        let data = bytes.get(COUNTS + count * ENTRY..).and_then(|data| data.get(..length));
        let data = data.ok_or("is cut short")?;
        let (entries, _) = index.as_chunks::<ENTRY>();
        let entries = entries.iter().filter_map(|entry| {
            let tag = u32::try_from(number(entry, 0)?).ok()?;
            Some(Entry { tag, offset: number(entry, 8)?, count: number(entry, 12)? })
        });
        Ok(Self { entries: entries.collect(), data })
    }

    /// The name and version of the package; `None` for what is none.
    pub fn package(&self) -> Option<Package> {
        let name = self.text(NAME)?;
        let (version, release) = (self.text(VERSION)?, self.text(RELEASE)?);
        let epoch = self.first(EPOCH);
        let epoch = epoch.map(|epoch| format!("{epoch}:")).unwrap_or_default();
        let arch = self.text(ARCH).unwrap_or_default();
        Some(Package { name, version: format!("{epoch}{version}-{release}"), arch })
    }

    /// The files of the package whose content or target can be verified. Not those that its scripts make (ghosts),
    /// nor those whose content it says is not to be verified, nor those that were not installed.
    ///
    /// # Errors
    /// What is wrong with the header.
    pub fn files(&self) -> Result<Vec<PackagedFile>, &'static str> {
        // Before there is a list of any of them: a count takes four bytes, and what it counts may be zeros.
        if self.entries.iter().any(|entry| LISTS.contains(&entry.tag) && entry.count > MOST_FILES) {
            return Err("has too many files");
        }
        let Some(names) = self.texts(BASE_NAMES)? else { return Ok(Vec::new()) };
        let digests = self.texts(FILE_DIGESTS)?.unwrap_or_default();
        let lists = Lists {
            names,
            directories: self.texts(DIRECTORIES)?.unwrap_or_default(),
            directory_of: self.numbers(DIRECTORY_OF).unwrap_or_default(),
            modes: self.shorts(FILE_MODES).unwrap_or_default(),
            has_digests: digests.iter().any(|digest| !digest.is_empty()),
            digests,
            links: self.texts(FILE_LINKS)?.unwrap_or_default(),
            flags: self.numbers(FILE_FLAGS).unwrap_or_default(),
            verify: self.numbers(FILE_VERIFY).unwrap_or_default(),
            states: self.bytes(FILE_STATES, 1).unwrap_or_default(),
            // Packages of before the tag have MD5.
            algorithm: self.first(DIGEST_ALGORITHM).unwrap_or(1),
        };
        let mut files = Vec::new();
        // Files share their directories, so that few bytes can make many.
        let mut room = MOST_PATHS;
        for at in 0..lists.names.len() {
            let Some(file) = lists.file(at)? else { continue };
            room = room.checked_sub(file.path.len()).ok_or("has paths that are too long in total")?;
            files.push(file);
        }
        Ok(files)
    }

    /// Of a tag that is there twice the later one counts: what was added when the package was installed.
    fn entry(&self, tag: u32) -> Option<Entry> {
        self.entries.iter().rev().find(|entry| entry.tag == tag).copied()
    }

    fn bytes(&self, tag: u32, size: usize) -> Option<&'a [u8]> {
        let entry = self.entry(tag)?;
        let end = entry.offset.checked_add(entry.count.checked_mul(size)?)?;
        self.data.get(entry.offset..end)
    }

    fn numbers(&self, tag: u32) -> Option<Vec<u32>> {
        let (numbers, _) = self.bytes(tag, 4)?.as_chunks::<4>();
        Some(numbers.iter().map(|bytes| u32::from_be_bytes(*bytes)).collect())
    }

    fn first(&self, tag: u32) -> Option<u32> {
        self.bytes(tag, 4)?.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
    }

    fn shorts(&self, tag: u32) -> Option<Vec<u16>> {
        let (numbers, _) = self.bytes(tag, 2)?.as_chunks::<2>();
        Some(numbers.iter().map(|bytes| u16::from_be_bytes(*bytes)).collect())
    }

    /// `None` also for one that is longer than a name is.
    fn text(&self, tag: u32) -> Option<String> {
        let rest = self.data.get(self.entry(tag)?.offset..)?;
        let end = rest.iter().take(LONGEST_NAME + 1).position(|byte| *byte == 0)?;
        Some(String::from_utf8_lossy(rest.get(..end)?).into_owned())
    }

    /// Texts that follow each other, each with a zero at its end.
    fn texts(&self, tag: u32) -> Result<Option<Vec<&'a [u8]>>, &'static str> {
        let Some(entry) = self.entry(tag) else { return Ok(None) };
        let mut rest = self.data.get(entry.offset..).ok_or("has a list that lies outside it")?;
        let mut texts = Vec::new();
        for _ in 0..entry.count {
            let end = rest.iter().position(|byte| *byte == 0).ok_or("has a list that is cut short")?;
            let (text, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            texts.push(text);
            rest = after.get(1..).unwrap_or_default();
        }
        Ok(Some(texts))
    }
}

/// The lists of a package's files: one entry a file.
struct Lists<'a> {
    names: Vec<&'a [u8]>,
    directories: Vec<&'a [u8]>,
    directory_of: Vec<u32>,
    modes: Vec<u16>,
    digests: Vec<&'a [u8]>,
    /// Some of them are there.
    has_digests: bool,
    links: Vec<&'a [u8]>,
    flags: Vec<u32>,
    verify: Vec<u32>,
    states: &'a [u8],
    algorithm: u32,
}

impl Lists<'_> {
    fn file(&self, at: usize) -> Result<Option<PackagedFile>, &'static str> {
        let flags = self.flags.get(at).copied().unwrap_or_default();
        let verify = self.verify.get(at).copied().unwrap_or(u32::MAX);
        if flags & GHOST != 0 || self.states.get(at).is_some_and(|state| *state != INSTALLED) {
            return Ok(None);
        }
        let mode = self.modes.get(at).ok_or("has fewer modes than files")?;
        let kind = match mode & TYPE {
            REGULAR if verify & VERIFY_CONTENT != 0 => {
                let digest = self.digests.get(at).ok_or("has fewer checksums than files")?;
                match Checksum::parse(self.algorithm, digest) {
                    Some(checksum) => Kind::Content(checksum),
                    // rpmbuild gives one to every plain file that is no ghost.
                    None if digest.is_empty() && self.has_digests => {
                        return Err("has files with checksums and files without");
                    }
                    None if digest.is_empty() => return Ok(None),
                    None => return Err("has checksums of an unknown kind"),
                }
            }
            LINK if verify & VERIFY_LINK != 0 => {
                Kind::Link(self.links.get(at).ok_or("has fewer links than files")?.to_vec())
            }
            0 => return Err("has impossible modes"),
            _ => return Ok(None),
        };
        let path = self.path(at)?;
        let may_be_missing =
            flags & (MISSING_OK | DOCUMENTATION) != 0 || super::super::database::is_left_out(&path);
        Ok(Some(PackagedFile { path, kind, configuration: flags & CONFIGURATION != 0, may_be_missing }))
    }

    fn path(&self, at: usize) -> Result<String, &'static str> {
        let name = self.names.get(at).copied().unwrap_or_default();
        let directory = self.directory_of.get(at).and_then(|number| usize::try_from(*number).ok());
        let directory = directory.and_then(|number| self.directories.get(number));
        let directory = directory.ok_or("has a file without a directory")?;
        if directory.len().saturating_add(name.len()) > LONGEST_PATH {
            return Err("has a file with an impossible path");
        }
        let bytes = [directory, name].concat();
        let path = String::from_utf8_lossy(&bytes).trim_start_matches('/').to_owned();
        let inside =
            !path.is_empty() && path.len() <= LONGEST_PATH && path.split('/').all(|part| part != "..");
        if inside { Ok(path) } else { Err("has a file with an impossible path") }
    }
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let four: [u8; 4] = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(four)).ok()
}

#[cfg(test)]
mod tests;
