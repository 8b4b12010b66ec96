use super::*;

/// A header that is made up: entries of a tag, a type, a count and bytes.
#[derive(Default)]
struct Made {
    index: Vec<u8>,
    data: Vec<u8>,
}

impl Made {
    fn with(mut self, tag: u32, count: usize, bytes: &[u8]) -> Self {
        while !self.data.len().is_multiple_of(4) {
            self.data.push(0);
        }
        let offset = u32::try_from(self.data.len()).unwrap();
        for number in [tag, 0, offset, u32::try_from(count).unwrap()] {
            self.index.extend(number.to_be_bytes());
        }
        self.data.extend(bytes);
        self
    }

    fn texts(self, tag: u32, texts: &[&str]) -> Self {
        let bytes: Vec<u8> = texts.iter().flat_map(|text| [text.as_bytes(), b"\0"].concat()).collect();
        self.with(tag, texts.len(), &bytes)
    }

    fn numbers(self, tag: u32, numbers: &[u32]) -> Self {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
        self.with(tag, numbers.len(), &bytes)
    }

    fn shorts(self, tag: u32, numbers: &[u16]) -> Self {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
        self.with(tag, numbers.len(), &bytes)
    }

    fn finish(&self) -> Vec<u8> {
        let counts = [self.index.len() / ENTRY, self.data.len()];
        let counts = counts.iter().flat_map(|count| u32::try_from(*count).unwrap().to_be_bytes());
        counts.chain(self.index.iter().copied()).chain(self.data.iter().copied()).collect()
    }
}

const ABC: &str = "900150983cd24fb0d6963f7d28e17f72";

fn package() -> Made {
    Made::default()
        .texts(NAME, &["tool"])
        .texts(VERSION, &["1.0"])
        .texts(RELEASE, &["3.el9"])
        .texts(ARCH, &["x86_64"])
}

fn five() -> Made {
    package()
        .texts(BASE_NAMES, &["a", "b.conf", "state", "link", "README"])
        .texts(DIRECTORIES, &["/usr/bin/", "/etc/"])
        .numbers(DIRECTORY_OF, &[0, 1, 1, 0, 0])
        .shorts(FILE_MODES, &[0o100_755, 0o100_644, 0o100_644, 0o120_777, 0o100_644])
        .texts(FILE_DIGESTS, &[ABC, ABC, "", "", ABC])
        .texts(FILE_LINKS, &["", "", "", "a", ""])
        .numbers(FILE_FLAGS, &[0, CONFIGURATION, GHOST, 0, DOCUMENTATION])
        .numbers(FILE_VERIFY, &[u32::MAX, u32::MAX, u32::MAX, u32::MAX, u32::MAX])
}

#[test]
fn a_package_has_a_name_a_version_and_files() {
    let bytes = five().numbers(EPOCH, &[1]).finish();
    let header = Header::parse(&bytes).unwrap();
    let name = Package { name: "tool".into(), version: "1:1.0-3.el9".into(), arch: "x86_64".into() };
    assert_eq!(header.package(), Some(name));
    let files = header.files().unwrap();
    let read: Vec<_> =
        files.iter().map(|file| (file.path.as_str(), file.configuration, file.may_be_missing)).collect();
    assert_eq!(
        read,
        [
            ("usr/bin/a", false, false),
            ("etc/b.conf", true, false),
            ("usr/bin/link", false, false),
            ("usr/bin/README", false, true)
        ]
    );
    assert_eq!(files[2].kind, Kind::Link(b"a".to_vec()));
}

#[test]
fn what_was_not_installed_or_is_not_to_be_verified_is_not_looked_for() {
    // Replaced by another package's; left out with the documentation; installed.
    let bytes = five().with(FILE_STATES, 5, &[1, 0, 0, 0, 2]).numbers(FILE_VERIFY, &[0, 0, 0, 0, 0]).finish();
    assert_eq!(Header::parse(&bytes).unwrap().files().unwrap(), []);
    let bytes = five().with(FILE_STATES, 5, &[1, 0, 0, 0, 2]).finish();
    let files = Header::parse(&bytes).unwrap().files().unwrap();
    assert_eq!(files.iter().map(|file| &file.path).collect::<Vec<_>>(), ["etc/b.conf", "usr/bin/link"]);
}

#[test]
fn a_key_has_no_files() {
    let bytes = package().finish();
    assert_eq!(Header::parse(&bytes).unwrap().files().unwrap(), []);
}

#[test]
fn damage_is_told() {
    let whole = five().finish();
    assert_eq!(Header::parse(&[]).unwrap_err(), "is cut short");
    assert_eq!(Header::parse(&[0; 100]).unwrap_err(), "has an impossible index");
    assert_eq!(Header::parse(&[0xff; 100]).unwrap_err(), "has an impossible index");
    assert_eq!(Header::parse(&whole[..whole.len() - 1]).unwrap_err(), "is cut short");
    let files = |made: Made| Header::parse(&made.finish()).unwrap().files().unwrap_err();
    assert_eq!(files(five().shorts(FILE_MODES, &[0o100_755])), "has fewer modes than files");
    assert_eq!(files(five().texts(FILE_DIGESTS, &[])), "has fewer checksums than files");
    assert_eq!(files(five().numbers(DIGEST_ALGORITHM, &[99])), "has checksums of an unknown kind");
    assert_eq!(files(five().numbers(DIRECTORY_OF, &[9; 5])), "has a file without a directory");
    assert_eq!(files(five().texts(DIRECTORIES, &["/../", "/"])), "has a file with an impossible path");
    // What zeros in the middle of it make.
    assert_eq!(files(five().shorts(FILE_MODES, &[0; 5])), "has impossible modes");
    let some = five().texts(FILE_DIGESTS, &[ABC, "", "", "", ABC]);
    assert_eq!(files(some), "has files with checksums and files without");
    // Every cut and every byte turned over gives an answer.
    for end in 0..whole.len() {
        let _ = Header::parse(&whole[..end]).map(|header| header.files().is_ok());
    }
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        let _ = Header::parse(&bytes).map(|header| (header.package(), header.files().is_ok()));
    }
}

#[test]
fn names_have_a_bound() {
    let long = "x".repeat(LONGEST_NAME + 1);
    for tag in [NAME, VERSION, RELEASE] {
        let bytes = five().texts(tag, &[&long]).finish();
        assert_eq!(Header::parse(&bytes).unwrap().package(), None, "{tag}");
    }
    let bytes = five().texts(NAME, &[&long[1..]]).finish();
    assert_eq!(Header::parse(&bytes).unwrap().package().unwrap().name, long[1..]);
}

#[test]
fn no_list_is_made_of_more_files_than_a_package_has() {
    let files = |made: Made| Header::parse(&made.finish()).unwrap().files().unwrap_err();
    let zeros = vec![0; 4 * (MOST_FILES + 1)];
    for tag in [BASE_NAMES, DIRECTORIES, DIRECTORY_OF, FILE_LINKS, FILE_DIGESTS, FILE_FLAGS, FILE_VERIFY] {
        assert_eq!(files(five().with(tag, MOST_FILES + 1, &zeros)), "has too many files", "{tag}");
    }
}

/// Few bytes make many: all files are in the same directory, which has a long name.
#[test]
fn paths_have_a_bound_together() {
    let directory = format!("/{}/", "d".repeat(4000));
    let count = MOST_PATHS / 4000;
    let made = package()
        .texts(BASE_NAMES, &vec!["a"; count])
        .texts(DIRECTORIES, &[&directory])
        .numbers(DIRECTORY_OF, &vec![0; count])
        .shorts(FILE_MODES, &vec![REGULAR; count])
        .texts(FILE_DIGESTS, &vec![ABC; count]);
    let bytes = made.finish();
    let files = Header::parse(&bytes).unwrap().files().map(|files| files.len());
    assert_eq!(files, Err("has paths that are too long in total"));
}
