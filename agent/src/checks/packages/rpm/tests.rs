use std::fmt::Write as _;
use std::fs;

use super::*;

/// A database as rpm makes it, but for its indexes.
fn database(file: &Path, blobs: &[&[u8]]) -> Connection {
    let connection = Connection::open(file).unwrap();
    connection.pragma_update(None, "journal_mode", "wal").unwrap();
    connection
        .execute_batch("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)")
        .unwrap();
    for blob in blobs {
        connection.execute("INSERT INTO Packages (blob) VALUES (?1)", [blob]).unwrap();
    }
    connection
}

fn blobs(database: &Database) -> Result<Vec<Vec<u8>>, Error> {
    let mut found = Vec::new();
    database.each(|blob| {
        found.push(blob.to_vec());
        Next::Package
    })?;
    Ok(found)
}

#[test]
fn a_database_is_read_and_nothing_is_left_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    // A character that means something in SQLite's addresses.
    let file = directory.path().join("100%#?rpmdb.sqlite");
    drop(database(&file, &[b"one", b"two"]));
    let read = Database::open(&file, Format::Sqlite).unwrap();
    assert_eq!(blobs(&read).unwrap(), [b"one", b"two"]);
    drop(read);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn what_rpm_is_writing_just_now_is_seen() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rpmdb.sqlite");
    let writer = database(&file, &[b"one"]);
    writer.execute("INSERT INTO Packages (blob) VALUES (?1)", [b"new"]).unwrap();
    assert_eq!(blobs(&Database::open(&file, Format::Sqlite).unwrap()).unwrap(), [b"one", b"new"]);
    // A copy of both files, as a server that was cut off leaves them.
    let copy = directory.path().join("copy");
    fs::copy(&file, &copy).unwrap();
    fs::copy(directory.path().join("rpmdb.sqlite-wal"), directory.path().join("copy-wal")).unwrap();
    assert_eq!(blobs(&Database::open_copy(&copy, Format::Sqlite).unwrap()).unwrap(), [b"one", b"new"]);
    let mut first = Vec::new();
    Database::open(&file, Format::Sqlite)
        .unwrap()
        .each(|blob| {
            first = blob.to_vec();
            Next::Stop
        })
        .unwrap();
    assert_eq!(first, b"one");
}

#[test]
fn what_is_no_database_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    for format in [Format::Sqlite, Format::Ndb, Format::Berkeley] {
        for content in [vec![], vec![0; 20_000], vec![7; 20_000]] {
            let file = directory.path().join("file");
            fs::write(&file, content).unwrap();
            assert!(
                Database::open(&file, format).and_then(|database| blobs(&database)).is_err(),
                "{format:?}"
            );
            let copy = Database::open_copy(&file, format);
            assert!(copy.and_then(|database| blobs(&database)).is_err(), "{format:?}");
        }
        assert!(Database::open(&directory.path().join("none"), format).is_err());
    }
}

/// Answers everything alike.
struct Answer(Result<Fate, Trouble>);

impl Tree for Answer {
    fn fate(&self, _: &str, _: &Checksum) -> Result<Fate, Trouble> {
        self.0.clone()
    }

    fn link(&self, _: &str) -> Result<Vec<u8>, Trouble> {
        self.0.clone().map(|_| b"there".to_vec())
    }
}

#[test]
fn configuration_may_be_edited_and_documentation_may_be_missing() {
    let checksum = Checksum::md5(b"900150983cd24fb0d6963f7d28e17f72").unwrap();
    let file = PackagedFile {
        path: "x".into(),
        kind: Kind::Content(checksum),
        configuration: false,
        may_be_missing: false,
    };
    let configuration = PackagedFile { configuration: true, ..file.clone() };
    let documentation = PackagedFile { may_be_missing: true, ..file.clone() };
    let of = |answer: Result<Fate, Trouble>, file: &PackagedFile| outcome(&Answer(answer), file);
    assert_eq!(of(Ok(Fate::Same), &file), Outcome::Same);
    assert_eq!(of(Ok(Fate::Changed), &file), Outcome::Changed);
    assert_eq!(of(Ok(Fate::Changed), &configuration), Outcome::Edited);
    assert_eq!(of(Ok(Fate::Blank), &configuration), Outcome::Damaged("blank".into()));
    assert_eq!(of(Err(Trouble::OtherKind), &file), Outcome::Changed);
    assert_eq!(of(Err(Trouble::Missing), &configuration), Outcome::Missing);
    assert_eq!(of(Err(Trouble::Missing), &documentation), Outcome::LeftOut);
    assert_eq!(of(Err(Trouble::Unreadable("x".into())), &documentation), Outcome::Damaged("x".into()));
    assert_eq!(of(Err(Trouble::Stopped), &file), Outcome::Stopped);
    for (target, expected) in [("there", Outcome::Same), ("elsewhere", Outcome::Changed)] {
        let link = PackagedFile { kind: Kind::Link(target.into()), ..file.clone() };
        assert_eq!(of(Ok(Fate::Same), &link), expected);
    }
}

/// An ndb of a page of slots, with two packages and free slots between and after them.
fn ndb() -> Vec<u8> {
    let number = u32::to_le_bytes;
    let mut bytes = [*b"RpmP", number(0), number(9), number(1), number(3), [0; 4], [0; 4], [0; 4]].concat();
    let mut blobs = Vec::new();
    for slot in 0..254_u32 {
        let (package, content) = match slot {
            1 => (7, &b"one"[..]),
            9 => (8, &b"two, which is longer"[..]),
            _ => (0, &b""[..]),
        };
        let block = u32::try_from((4096 + blobs.len()) / 16).unwrap();
        let mut blob = Vec::new();
        if package != 0 {
            let length = u32::try_from(content.len()).unwrap();
            blob.extend([*b"BlbS", number(package), number(1), number(length)].concat());
            blob.extend(content);
            blob.resize((blob.len() + 12).next_multiple_of(16) - 12, 0);
            blob.extend([number(0), number(length), *b"BlbE"].concat());
        }
        let blocks = u32::try_from(blob.len() / 16).unwrap();
        bytes.extend([*b"Slot", number(package), number(block), number(blocks)].concat());
        blobs.extend(blob);
    }
    [bytes, blobs].concat()
}

#[test]
fn a_database_of_opensuse_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("Packages.db");
    let whole = ndb();
    fs::write(&file, &whole).unwrap();
    let read = Database::open(&file, Format::Ndb).unwrap();
    assert_eq!(blobs(&read).unwrap(), [&b"one"[..], b"two, which is longer"]);
    // What a full disk leaves: the beginning, and zeros.
    for from in [16, 48, 4096] {
        let mut blank = whole.clone();
        blank[from..].fill(0);
        fs::write(&file, blank).unwrap();
        assert!(blobs(&Database::open(&file, Format::Ndb).unwrap()).is_err(), "{from}");
    }
    fs::write(&file, &whole[..4100]).unwrap();
    assert!(blobs(&Database::open(&file, Format::Ndb).unwrap()).is_err());
}

/// Berkeley DB's own tool makes the file.
#[test]
fn a_database_of_berkeley_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("Packages");
    let mut expected: Vec<Vec<u8>> = (1..200_u8).map(|n| vec![n; usize::from(n) * 97]).collect();
    expected.push(vec![9; 300_000]);
    let hex = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
    };
    let mut text = String::from("VERSION=3\nformat=bytevalue\ntype=hash\nHEADER=END\n");
    let next = (vec![0; 4], vec![1, 2, 0, 0]);
    let pairs = (1_u32..).map(|n| n.to_le_bytes().to_vec()).zip(expected.iter().cloned());
    for (key, value) in std::iter::once(next).chain(pairs) {
        writeln!(text, " {}\n {}", hex(&key), hex(&value)).unwrap();
    }
    text.push_str("DATA=END\n");
    let dump = directory.path().join("dump");
    fs::write(&dump, text).unwrap();
    let load = std::process::Command::new("db5.3_load").arg("-f").arg(&dump).arg(&file).output().unwrap();
    assert!(load.status.success(), "{}", String::from_utf8_lossy(&load.stderr));

    let mut found = blobs(&Database::open(&file, Format::Berkeley).unwrap()).unwrap();
    found.sort();
    expected.sort();
    assert_eq!(found.len(), expected.len());
    assert!(found == expected);
    // What a full disk leaves: the beginning, and zeros.
    let whole = fs::read(&file).unwrap();
    let mut blank = whole.clone();
    blank[8192..].fill(0);
    fs::write(&file, blank).unwrap();
    assert!(blobs(&Database::open(&file, Format::Berkeley).unwrap()).is_err());
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    assert!(blobs(&Database::open(&file, Format::Berkeley).unwrap()).is_err());
}
