//! A writer of small ISO 9660 file systems, for config drives.
//!
//! One primary volume descriptor, path tables, one sector for each directory, then the files; names as they
//! are written travel in Rock Ridge entries (`NM`, `PX`), which Linux prefers to the upper-case ISO names.
//! No Joliet, no boot record, no file over 16 MiB: a config drive has a handful of short files. The one
//! crate that writes ISO 9660 and is looked after, `hadris-iso`, brings boot loaders and partition tables
//! with it, and a new major version every few months.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, Timelike, Utc};

/// Bytes of a sector, and of everything that is allocated.
const SECTOR: usize = 2048;
/// The first sector after the system area: the primary volume descriptor.
const FIRST_DESCRIPTOR: usize = 16;
/// Primary descriptor, terminator, and both path tables of one sector each.
const FIRST_DIRECTORY: usize = FIRST_DESCRIPTOR + 4;
/// Empty sectors at the end, as genisoimage has them: readers that look for file systems take a device of
/// less than 64 KiB for an empty one (busybox does).
const PADDING: usize = 150;
/// Bytes that one file may have.
const LARGEST_FILE: usize = 16 << 20;
/// `PX` modes of a directory and of a file: only root may read what holds a token.
const DIRECTORY_MODE: u32 = 0o040_500;
const FILE_MODE: u32 = 0o100_400;
/// Flag of a directory record that names a directory.
const IS_DIRECTORY: u8 = 2;

/// Something does not fit into the plain image that [`write`] makes. The text says what.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("config drive: {0}")]
pub(super) struct TooMuch(String);

#[derive(Default)]
struct Directory {
    /// Index of the directory above; the root's is its own.
    parent: usize,
    name: String,
    directories: BTreeMap<String, usize>,
    files: BTreeMap<String, Vec<u8>>,
}

/// The bytes of a file system with this label (at most 32 characters) and these files by their path
/// (`openstack/latest/user_data`).
pub(super) fn write(
    label: &str,
    files: &BTreeMap<String, Vec<u8>>,
    now: DateTime<Utc>,
) -> Result<Vec<u8>, TooMuch> {
    let tree = tree_of(files)?;
    let mut next = FIRST_DIRECTORY + tree.len();
    let mut contents = Vec::new();
    let mut directories = Vec::new();
    for (index, directory) in tree.iter().enumerate() {
        let mut sector = records_of_self(index, directory, now);
        for (name, child) in &directory.directories {
            sector.extend(record(&iso_name(name, true), name, FIRST_DIRECTORY + child, SECTOR, true, now));
        }
        for (name, bytes) in &directory.files {
            sector.extend(record(&iso_name(name, false), name, next, bytes.len(), false, now));
            next += bytes.len().div_ceil(SECTOR);
            contents.extend_from_slice(bytes);
            pad(&mut contents);
        }
        if sector.len() > SECTOR {
            return Err(TooMuch(format!("too many files in /{}", directory.name)));
        }
        pad(&mut sector);
        directories.extend(sector);
    }
    let (little, big) = path_tables(&tree);
    if little.len() > SECTOR {
        return Err(TooMuch("too many directories".into()));
    }
    let mut image = vec![0; FIRST_DESCRIPTOR * SECTOR];
    image.extend(primary_descriptor(label, next + PADDING, little.len(), now));
    image.extend(b"\xffCD001\x01");
    for part in [Vec::new(), little, big, directories, contents] {
        image.extend(part);
        pad(&mut image);
    }
    image.resize(image.len() + PADDING * SECTOR, 0);
    Ok(image)
}

/// Directories breadth-first, the root first: the order that path tables demand.
fn tree_of(files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<Directory>, TooMuch> {
    let mut tree = vec![Directory::default()];
    let mut known = BTreeMap::from([(String::new(), 0)]);
    let mut paths: Vec<&str> =
        files.keys().flat_map(|path| path.match_indices('/').map(|(end, _)| path.split_at(end).0)).collect();
    paths.sort_by_key(|path| (path.matches('/').count(), *path));
    paths.dedup();
    for path in paths {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = known.get(above).copied().unwrap_or(0);
        let index = tree.len();
        known.insert(path.to_owned(), index);
        if let Some(above) = tree.get_mut(parent) {
            above.directories.insert(name.to_owned(), index);
        }
        tree.push(Directory { parent, name: name.to_owned(), ..Directory::default() });
    }
    for (path, bytes) in files {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        if bytes.len() > LARGEST_FILE {
            return Err(TooMuch(format!("{path} has {} bytes, but at most {LARGEST_FILE} fit", bytes.len())));
        }
        // Level 2 has 31 characters, of which a dot, `;` and the version are ours.
        if path.split('/').any(|part| part.is_empty() || part.len() > 27 || !part.is_ascii()) {
            return Err(TooMuch(format!("{path} has a part that is not 1 to 27 ASCII characters")));
        }
        if let Some(directory) = known.get(above).and_then(|index| tree.get_mut(*index)) {
            directory.files.insert(name.to_owned(), bytes.clone());
        }
    }
    Ok(tree)
}

/// The level 2 name: capitals, digits and `_`, one dot; a file has a version.
fn iso_name(name: &str, is_directory: bool) -> Vec<u8> {
    let plain = |part: &str| -> String {
        let legal = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        part.chars().map(legal).collect()
    };
    if is_directory {
        return plain(name).into_bytes();
    }
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    format!("{}.{};1", plain(stem), plain(extension)).into_bytes()
}

/// The records `.` and `..`; the root's `.` says that Rock Ridge is in use.
fn records_of_self(index: usize, directory: &Directory, now: DateTime<Utc>) -> Vec<u8> {
    let mut own = record(&[0], "", FIRST_DIRECTORY + index, SECTOR, true, now);
    if index == 0 {
        let mut entries = b"SP\x07\x01\xbe\xef\x00".to_vec();
        // `record` put PX after the fixed part and one byte of name; SP must come first.
        entries.extend(own.split_off(34));
        entries.extend(b"ER\x12\x01\x0a\x00\x00\x01RRIP_1991A");
        own.extend(entries);
        finished(&mut own);
    }
    own.extend(record(&[1], "", FIRST_DIRECTORY + directory.parent, SECTOR, true, now));
    own
}

/// A directory record with its `PX` and, when it has a name of its own, `NM`.
fn record(
    iso: &[u8],
    name: &str,
    sector: usize,
    bytes: usize,
    is_directory: bool,
    now: DateTime<Utc>,
) -> Vec<u8> {
    let mut out = vec![0, 0];
    out.extend(both_32(sector));
    out.extend(both_32(bytes));
    out.extend(short_date(now));
    out.extend([if is_directory { IS_DIRECTORY } else { 0 }, 0, 0]);
    out.extend(both_16(1));
    out.push(low_byte(iso.len()));
    out.extend(iso);
    if iso.len().is_multiple_of(2) {
        out.push(0);
    }
    let mode = if is_directory { DIRECTORY_MODE } else { FILE_MODE };
    out.extend(b"PX\x24\x01");
    for number in [mode as usize, if is_directory { 2 } else { 1 }, 0, 0] {
        out.extend(both_32(number));
    }
    if !name.is_empty() {
        out.extend([b'N', b'M', low_byte(5 + name.len()), 1, 0]);
        out.extend(name.bytes());
    }
    finished(&mut out);
    out
}

/// Evens a record's length and writes it to its first byte.
fn finished(record: &mut Vec<u8>) {
    if !record.len().is_multiple_of(2) {
        record.push(0);
    }
    let length = low_byte(record.len());
    if let Some(first) = record.first_mut() {
        *first = length;
    }
}

/// Both path tables: numbers little-endian, then big-endian.
fn path_tables(tree: &[Directory]) -> (Vec<u8>, Vec<u8>) {
    let (mut little, mut big) = (Vec::new(), Vec::new());
    for (index, directory) in tree.iter().enumerate() {
        let name = if index == 0 { vec![0] } else { iso_name(&directory.name, true) };
        let sector = u32::try_from(FIRST_DIRECTORY + index).unwrap_or(u32::MAX);
        let parent = u16::try_from(directory.parent + 1).unwrap_or(u16::MAX);
        for (table, sector, parent) in [
            (&mut little, sector.to_le_bytes(), parent.to_le_bytes()),
            (&mut big, sector.to_be_bytes(), parent.to_be_bytes()),
        ] {
            table.extend([low_byte(name.len()), 0]);
            table.extend(sector);
            table.extend(parent);
            table.extend(&name);
            if !name.len().is_multiple_of(2) {
                table.push(0);
            }
        }
    }
    (little, big)
}

fn primary_descriptor(label: &str, sectors: usize, table_bytes: usize, now: DateTime<Utc>) -> Vec<u8> {
    let mut out = b"\x01CD001\x01\x00".to_vec();
    out.extend(text("LINUX", 32));
    out.extend(text(label, 32));
    out.extend([0; 8]);
    out.extend(both_32(sectors));
    out.extend([0; 32]);
    out.extend(both_16(1));
    out.extend(both_16(1));
    out.extend(both_16(2048));
    out.extend(both_32(table_bytes));
    for (table, order) in [
        (FIRST_DESCRIPTOR + 2, u32::to_le_bytes as fn(u32) -> [u8; 4]),
        (FIRST_DESCRIPTOR + 3, u32::to_be_bytes),
    ] {
        out.extend(order(u32::try_from(table).unwrap_or(u32::MAX)));
        out.extend([0; 4]);
    }
    // The root's record as the standard wants it here: without Rock Ridge.
    let mut root = record(&[0], "", FIRST_DIRECTORY, SECTOR, true, now);
    root.truncate(34);
    finished(&mut root);
    out.extend(root);
    out.extend(text("", 128 * 4 + 37 * 3));
    let date = now.format("%Y%m%d%H%M%S00").to_string();
    for stamp in [date.as_str(), date.as_str(), "0000000000000000", date.as_str()] {
        out.extend(stamp.bytes());
        out.push(0);
    }
    out.extend([1, 0]);
    pad(&mut out);
    out
}

/// A text field: padded with blanks, cut at its width.
fn text(value: &str, width: usize) -> Vec<u8> {
    value.bytes().chain(std::iter::repeat(b' ')).take(width).collect()
}

/// Years since 1900 to seconds, and no offset from Greenwich.
fn short_date(now: DateTime<Utc>) -> [u8; 7] {
    let year = u8::try_from(now.year() - 1900).unwrap_or(u8::MAX);
    let part = |value: u32| u8::try_from(value).unwrap_or(0);
    [year, part(now.month()), part(now.day()), part(now.hour()), part(now.minute()), part(now.second()), 0]
}

/// A number little-endian, then big-endian.
fn both_32(number: usize) -> [u8; 8] {
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    (u64::from(number) | u64::from(number.swap_bytes()) << 32).to_le_bytes()
}

fn both_16(number: u16) -> [u8; 4] {
    (u32::from(number) | u32::from(number.swap_bytes()) << 16).to_le_bytes()
}

fn low_byte(length: usize) -> u8 {
    u8::try_from(length).unwrap_or(u8::MAX)
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(SECTOR), 0);
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn files() -> BTreeMap<String, Vec<u8>> {
        BTreeMap::from([
            ("openstack/latest/meta_data.json".into(), b"{}".to_vec()),
            ("openstack/latest/user_data".into(), vec![b'x'; 5000]),
            ("openstack/latest/empty".into(), Vec::new()),
            ("readme.txt".into(), b"hello".to_vec()),
        ])
    }

    fn run(program: &str, arguments: &[&str]) -> Option<String> {
        let output = Command::new(program).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    #[test]
    fn the_numbers_have_both_orders() {
        assert_eq!(both_32(0x0102_0304), [4, 3, 2, 1, 1, 2, 3, 4]);
        assert_eq!(both_16(0x0102), [2, 1, 1, 2]);
    }

    #[test]
    fn blkid_knows_the_label() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("drive.iso");
        std::fs::write(&file, write("config-2", &files(), Utc::now()).unwrap()).unwrap();
        let Some(answer) = run("blkid", &["-p", "-o", "export", file.to_str().unwrap()]) else {
            assert!(run("blkid", &["-V"]).is_none(), "blkid does not know it");
            return;
        };
        assert!(answer.contains("LABEL=config-2") && answer.contains("TYPE=iso9660"), "{answer}");
    }

    #[test]
    fn linux_mounts_it_and_finds_the_names_and_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (file, point) = (folder.path().join("drive.iso"), folder.path().join("mounted"));
        std::fs::write(&file, write("config-2", &files(), Utc::now()).unwrap()).unwrap();
        std::fs::create_dir(&point).unwrap();
        let (file, point_text) = (file.to_str().unwrap(), point.to_str().unwrap());
        if run("mount", &["-t", "iso9660", "-o", "loop,ro", file, point_text]).is_none() {
            println!("skipped: this host cannot mount it (no isofs, or no right)");
            return;
        }
        let found: BTreeMap<String, Option<Vec<u8>>> =
            files().into_keys().map(|path| (path.clone(), std::fs::read(point.join(path)).ok())).collect();
        let listed: Vec<_> = std::fs::read_dir(point.join("openstack/latest"))
            .map(|entries| entries.map(|entry| entry.unwrap().file_name()).collect())
            .unwrap_or_default();
        assert!(run("umount", &[point_text]).is_some());
        for (path, bytes) in files() {
            assert_eq!(found[&path].as_ref(), Some(&bytes), "{path}");
        }
        assert_eq!(listed.len(), 3, "{listed:?}");
    }

    #[test]
    fn it_is_large_enough_to_be_looked_at() {
        let image = write("config-2", &BTreeMap::new(), Utc::now()).unwrap();
        assert!(image.len() > 64 << 10);
        let sectors = u32::from_le_bytes(image[16 * SECTOR + 80..][..4].try_into().unwrap());
        assert_eq!(image.len(), sectors as usize * SECTOR);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let many = (0..100).map(|n| (format!("file-{n}"), Vec::new())).collect();
        assert!(write("x", &many, Utc::now()).is_err());
        let long = BTreeMap::from([("a".repeat(28), Vec::new())]);
        assert!(write("x", &long, Utc::now()).is_err());
        let large = BTreeMap::from([("a".to_owned(), vec![0; LARGEST_FILE + 1])]);
        assert!(write("x", &large, Utc::now()).is_err());
    }
}
