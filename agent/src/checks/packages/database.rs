//! dpkg's database of checksums: what the files of a package should hold. Pure; the manager reads an image's
//! with the same code before it is uploaded.

use std::collections::HashMap;

use super::content::Checksum;

/// Where dpkg keeps it.
pub const DIRECTORY: &str = "/var/lib/dpkg/info";
/// What its files are called: `<package>.md5sums`.
pub const EXTENSION: &str = ".md5sums";
/// dpkg's list of files that are kept under another name.
pub const DIVERSIONS: &str = "/var/lib/dpkg/diversions";

/// Longest path that is believed to be one.
const LONGEST_PATH: usize = 4096;
/// Most diversions that are kept; a system has a few dozen.
const MOST_DIVERSIONS: usize = 10_000;

/// Directories that images leave out of packages, by dpkg's path-exclude or by clean-up.
const LEFT_OUT: [&str; 8] = [
    "usr/share/doc/",
    "usr/share/man/",
    "usr/share/locale/",
    "usr/share/info/",
    "usr/share/lintian/",
    "usr/share/linda/",
    "usr/share/i18n/",
    "usr/share/groff/",
];

/// So many hundredths of the files may an image's elements have taken away (time zones, drivers), documentation
/// aside; more is no element's doing.
const MOST_MISSING: u64 = 50;
/// And so many in any case.
const MISSING_IN_ANY_CASE: u64 = 25;

/// More of an image's files are missing than elements take away; `there` are those that are not missing.
pub fn are_too_many_missing(there: u64, missing: u64) -> bool {
    let all = there.saturating_add(missing);
    missing > MISSING_IN_ANY_CASE && missing.saturating_mul(100) > all.saturating_mul(MOST_MISSING)
}

/// What a file should hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected<'a> {
    /// MD5 of its content.
    pub md5: Checksum,
    /// Its path below the root, without a slash in front.
    pub path: &'a str,
}

/// The lines of a `.md5sums` file: 32 hexadecimal digits, two spaces, a path. Others are left out.
pub fn expected(text: &str) -> impl Iterator<Item = Expected<'_>> {
    text.lines().filter_map(|line| {
        let (digits, path) = line.split_once("  ")?;
        let path = path.trim_start_matches("./").trim_start_matches('/');
        let inside = !path.is_empty()
            && path.len() <= LONGEST_PATH
            && !path.contains('\0')
            && path.split('/').all(|part| part != "..");
        Some(Expected { md5: Checksum::md5(digits.as_bytes())?, path }).filter(|_| inside)
    })
}

/// Whether images are made without files like this one.
pub fn is_left_out(path: &str) -> bool {
    LEFT_OUT.iter().any(|directory| path.starts_with(directory))
}

/// Files that are kept under another name, because another package has theirs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diversions {
    /// From the path, without a slash in front, to the other path and to the package that has its own there.
    moved: HashMap<String, (String, String)>,
}

impl Diversions {
    /// Reads dpkg's list: three lines each, the path, where it is instead, and the package that wanted it so
    /// (`:` for nobody).
    pub fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let mut moved = HashMap::new();
        while let (Some(from), Some(to), Some(by)) = (lines.next(), lines.next(), lines.next()) {
            if moved.len() == MOST_DIVERSIONS {
                break;
            }
            let below = |path: &str| path.trim_start_matches('/').to_owned();
            moved.insert(below(from), (below(to), by.to_owned()));
        }
        Self { moved }
    }

    /// Where a package's file is.
    pub fn place<'a>(&'a self, package: &str, path: &'a str) -> &'a str {
        match self.moved.get(path) {
            Some((elsewhere, by)) if by != package => elsewhere,
            _ => path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "d41d8cd98f00b204e9800998ecf8427e";

    #[test]
    fn lines_are_read_and_nonsense_is_not() {
        let text = format!(
            "{EMPTY}  usr/bin/a b\n900150983cd24fb0d6963f7d28e17f72  ./usr/lib/c\nx  y\n{EMPTY} one\n\
             {EMPTY}  ../../etc/shadow\n{EMPTY}  /\n\n{}  z\n",
            "g".repeat(32)
        );
        let found: Vec<_> = expected(&text).collect();
        assert_eq!(found.iter().map(|one| one.path).collect::<Vec<_>>(), ["usr/bin/a b", "usr/lib/c"]);
        assert_eq!(format!("{:?}", found[1].md5), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(expected(&"\0".repeat(5000)).count(), 0);
    }

    #[test]
    fn a_diverted_file_is_elsewhere_unless_it_is_the_diverter_s() {
        let moved =
            Diversions::parse("/usr/bin/x\n/usr/bin/x.real\nother\n/usr/bin/y\n/usr/bin/y.old\n:\n/cut\n");
        assert_eq!(moved.place("mine", "usr/bin/x"), "usr/bin/x.real");
        assert_eq!(moved.place("other", "usr/bin/x"), "usr/bin/x");
        assert_eq!(moved.place("other", "usr/bin/y"), "usr/bin/y.old");
        assert_eq!(moved.place("mine", "cut"), "cut");
    }

    #[test]
    fn documentation_may_be_left_out() {
        assert!(is_left_out("usr/share/doc/bash/README") && !is_left_out("usr/bin/bash"));
    }
}
