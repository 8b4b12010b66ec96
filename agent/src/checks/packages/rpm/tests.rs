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

fn blobs(database: &Database) -> Result<Vec<Vec<u8>>, rusqlite::Error> {
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
    let read = Database::open(&file).unwrap();
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
    assert_eq!(blobs(&Database::open(&file).unwrap()).unwrap(), [b"one", b"new"]);
    // A copy of both files, as a server that was cut off leaves them.
    let copy = directory.path().join("copy");
    fs::copy(&file, &copy).unwrap();
    fs::copy(directory.path().join("rpmdb.sqlite-wal"), directory.path().join("copy-wal")).unwrap();
    assert_eq!(blobs(&Database::open_copy(&copy).unwrap()).unwrap(), [b"one", b"new"]);
    let mut first = Vec::new();
    Database::open(&file)
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
    for (name, content) in [("empty", vec![]), ("blank", vec![0; 20_000]), ("garbage", vec![7; 20_000])] {
        let file = directory.path().join(name);
        fs::write(&file, content).unwrap();
        assert!(Database::open(&file).and_then(|database| blobs(&database)).is_err(), "{name}");
        assert!(Database::open_copy(&file).and_then(|database| blobs(&database)).is_err(), "{name}");
    }
    assert!(Database::open(&directory.path().join("none")).is_err());
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
