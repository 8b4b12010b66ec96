use std::fmt::Write as _;
use std::fs;

use image_manager_proto::hex;

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
struct Answer(Result<FileState, Trouble>);

impl Tree for Answer {
    fn file_state(&self, _: &str, _: &Checksum) -> Result<FileState, Trouble> {
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
    let of = |answer: Result<FileState, Trouble>, file: &PackagedFile| outcome(&Answer(answer), file);
    assert_eq!(of(Ok(FileState::Same), &file), Outcome::Same);
    assert_eq!(of(Ok(FileState::Changed), &file), Outcome::Changed);
    assert_eq!(of(Ok(FileState::Changed), &configuration), Outcome::Edited);
    assert_eq!(of(Ok(FileState::Blank), &configuration), Outcome::Damaged("blank".into()));
    assert_eq!(of(Err(Trouble::OtherKind), &file), Outcome::Changed);
    assert_eq!(of(Err(Trouble::Missing), &configuration), Outcome::Missing);
    assert_eq!(of(Err(Trouble::Missing), &documentation), Outcome::LeftOut);
    assert_eq!(of(Err(Trouble::Unreadable("x".into())), &documentation), Outcome::Damaged("x".into()));
    assert_eq!(of(Err(Trouble::Stopped), &file), Outcome::Stopped);
    for (target, expected) in [("there", Outcome::Same), ("elsewhere", Outcome::Changed)] {
        let link = PackagedFile { kind: Kind::Link(target.into()), ..file.clone() };
        assert_eq!(of(Ok(FileState::Same), &link), expected);
    }
}

/// An ndb of a page of slots, with packages and free slots between and after them.
fn ndb(packages: &[(u32, &[u8])]) -> Vec<u8> {
    let number = u32::to_le_bytes;
    let mut bytes = [*b"RpmP", number(0), number(9), number(1), number(3), [0; 4], [0; 4], [0; 4]].concat();
    let mut blobs = Vec::new();
    for slot in 0..254_u32 {
        let content = packages.iter().find(|(place, _)| *place == slot);
        let package = content.map_or(0, |_| slot + 6);
        let block = u32::try_from((4096 + blobs.len()) / 16).unwrap();
        let mut blob = Vec::new();
        if let Some((_, content)) = content {
            let length = u32::try_from(content.len()).unwrap();
            blob.extend([*b"BlbS", number(package), number(1), number(length)].concat());
            blob.extend(*content);
            blob.resize((blob.len() + 12).next_multiple_of(16) - 12, 0);
            blob.extend([number(adler32(&blob)), number(length), *b"BlbE"].concat());
        }
        let blocks = u32::try_from(blob.len() / 16).unwrap();
        bytes.extend([*b"Slot", number(package), number(block), number(blocks)].concat());
        blobs.extend(blob);
    }
    [bytes, blobs].concat()
}

/// As RFC 1950 has it, byte by byte.
fn adler32(bytes: &[u8]) -> u32 {
    let (low, high) = bytes.iter().fold((1, 0), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % 65_521;
        (low, (high + low) % 65_521)
    });
    high << 16 | low
}

#[test]
fn a_database_of_opensuse_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("Packages.db");
    // Of bytes that make the sum as large as it can be.
    let long = vec![0xff; 20_000];
    let whole = ndb(&[(1, b"one"), (9, b"two, which is longer"), (10, &long)]);
    fs::write(&file, &whole).unwrap();
    let read = Database::open(&file, Format::Ndb).unwrap();
    assert_eq!(blobs(&read).unwrap(), [&b"one"[..], b"two, which is longer", &long]);
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

#[test]
fn a_blank_in_a_header_of_opensuse_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("Packages.db");
    let whole = ndb(&[(1, b"one"), (9, b"two, which is longer")]);
    let told = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        blobs(&Database::open(&file, Format::Ndb).unwrap()).unwrap_err().to_string()
    };
    let place = whole.windows(3).position(|bytes| bytes == b"two").unwrap();
    let end = whole.len();
    for blank in [place + 4..place + 14, end - 12..end - 8, end - 8..end - 4, end - 4..end] {
        let mut bytes = whole.clone();
        bytes[blank.clone()].fill(0);
        assert_eq!(told(&bytes), "a package's header is not what was written", "{blank:?}");
    }
    // A slot with room for a block more.
    let mut bytes = whole.clone();
    bytes[32 + 9 * 16 + 12] += 1;
    bytes.extend([0; 16]);
    assert_eq!(told(&bytes), "a package's header has an impossible length");
}

/// What an image's database can be instead of a table.
#[test]
fn a_database_that_never_gives_a_package_comes_to_an_end() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rpmdb.sqlite");
    let view = "CREATE VIEW Packages AS WITH RECURSIVE c(hnum, blob) AS \
                (SELECT 1, x'' UNION ALL SELECT hnum + 1, blob FROM c) SELECT * FROM c WHERE hnum < 0";
    Connection::open(&file).unwrap().execute_batch(view).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let read = Database::open_copy(&file, Format::Sqlite).and_then(|database| blobs(&database));
        tell.send(read.unwrap_err().to_string()).unwrap();
    });
    let told = told.recv_timeout(Duration::from_mins(2)).expect("it is read for ever");
    assert_eq!(told, "it yields no package, however far it is read");
}

#[test]
fn a_chain_of_berkeley_that_bites_its_tail_comes_to_an_end() {
    const PAGE: usize = 512;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("Packages");
    let mut bytes = vec![0; 3 * PAGE];
    let mut put = |at: usize, what: &[u8]| bytes[at..at + what.len()].copy_from_slice(what);
    put(12, &0x0006_1561_u32.to_le_bytes());
    put(20, &512_u32.to_le_bytes());
    put(32, &2_u32.to_le_bytes());
    // A page with two entries: a key, and a value of 100,000 bytes that lies in the chain at the next page.
    put(PAGE + 20, &[2, 0, 0, 0, 0, 13]);
    put(PAGE + 26, &[0xf0, 1, 0xe0, 1]);
    put(PAGE + 0x1f0, &[1, 7, 0, 0, 0]);
    put(PAGE + 0x1e0, &[3, 0, 0, 0, 2, 0, 0, 0]);
    put(PAGE + 0x1e8, &100_000_u32.to_le_bytes());
    // A page of a chain with one byte, whose next one is itself.
    put(2 * PAGE + 16, &[2, 0, 0, 0, 0, 0, 1, 0, 0, 7]);
    fs::write(&file, bytes).unwrap();
    let read = blobs(&Database::open(&file, Format::Berkeley).unwrap());
    assert_eq!(read.unwrap_err().to_string(), "a package's header is in pieces that do not fit together");
}

/// Berkeley DB's own tool makes the file.
#[test]
fn a_database_of_berkeley_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("Packages");
    let mut expected: Vec<Vec<u8>> = (1..200_u8).map(|n| vec![n; usize::from(n) * 97]).collect();
    expected.push(vec![9; 300_000]);
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
