//! What `apt-get --simulate dist-upgrade` says it would do.

use super::said::strange;
use crate::unchanged::program::Said;
use crate::unchanged::{Change, Doubt};

/// The changes; empty when it says plainly that there are none.
pub(super) fn changes(said: &Said) -> Result<Vec<Change>, Doubt> {
    let what = "apt-get dist-upgrade";
    let complains = said.err.lines().any(|line| line.starts_with("E:") || line.starts_with("W:"));
    if !said.status.success() || complains {
        return Err(strange(what, said));
    }
    read(&said.out).ok_or_else(|| Doubt::Unknown(format!("{what} did not say what it would do")))?
}

/// `None`: it is in no form that is known.
fn read(text: &str) -> Option<Result<Vec<Change>, Doubt>> {
    let mut changes = Vec::new();
    let mut sums = None;
    for line in text.lines() {
        let mut words = line.split(' ');
        match words.next() {
            Some(word @ ("Inst" | "Remv" | "Purg")) => {
                let package = words.next()?.to_owned();
                let from = within(line, " [", "]");
                let to = if word == "Inst" { Some(within(line, " (", " ")?) } else { None };
                // That of the new one's architecture stands further behind.
                let from = from.filter(|_| words.next().is_some_and(|word| word.starts_with('[')));
                changes.push(Change { package, from, to });
            }
            _ if line.contains(" newly installed, ") => sums = Some(numbers(line)?),
            _ => {}
        }
    }
    let sums = sums?;
    let (last, others) = sums.split_last()?;
    // What is removed for good is counted once and said once; each must be among the lines.
    if others.iter().sum::<usize>() != changes.len() {
        return None;
    }
    if changes.is_empty() && *last > 0 {
        return Some(Err(Doubt::Unknown(format!(
            "newer versions of {} are held back",
            image_manager_proto::counted(*last, "package")
        ))));
    }
    Some(Ok(changes))
}

/// What stands between two marks.
fn within(line: &str, from: &str, to: &str) -> Option<String> {
    let (_, after) = line.split_once(from)?;
    after.split_once(to).map(|(text, _)| text.to_owned())
}

/// `1 upgraded, 0 newly installed, 0 to remove and 2 not upgraded.`: upgraded, installed, perhaps downgraded, removed, not
/// upgraded.
fn numbers(line: &str) -> Option<Vec<usize>> {
    let parts: Vec<&str> =
        line.strip_suffix('.')?.split([',']).flat_map(|part| part.split(" and ")).collect();
    let number = |part: &str| {
        let (number, word) = part.trim().split_once(' ')?;
        let known = ["upgraded", "newly installed", "reinstalled", "downgraded", "to remove", "not upgraded"]
            .contains(&word);
        if known { number.parse().ok() } else { None }
    };
    let ends = line.ends_with(" not upgraded.");
    parts.into_iter().map(number).collect::<Option<Vec<_>>>().filter(|_| ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(package: &str, from: Option<&str>, to: Option<&str>) -> Change {
        Change { package: package.into(), from: from.map(Into::into), to: to.map(Into::into) }
    }

    #[test]
    fn what_would_be_done_is_read() {
        let text = "Reading package lists...\nThe following packages will be upgraded:\n  libc6\n\
                    2 upgraded, 1 newly installed, 1 to remove and 3 not upgraded.\n\
                    Inst libc6 [2.36-9] (2.36-10 Debian:12.13/stable [amd64])\n\
                    Inst libc-bin:i386 [2.36-9] (2.36-10 Debian:12.13/stable [i386]) []\n\
                    Inst new (1.0 x [all])\nRemv old [0.9] [x:amd64 ]\nConf libc6 (2.36-10 x [amd64])\n";
        let found = read(text).unwrap().unwrap();
        let expected = [
            change("libc6", Some("2.36-9"), Some("2.36-10")),
            change("libc-bin:i386", Some("2.36-9"), Some("2.36-10")),
            change("new", None, Some("1.0")),
            change("old", Some("0.9"), None),
        ];
        assert_eq!(found, expected);
        assert_eq!(
            read("0 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.\n").unwrap(),
            Ok(vec![])
        );
    }

    #[test]
    fn silence_and_strange_words_are_no_answer() {
        for text in [
            "",
            "Reading package lists...\n",
            "1 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.\n",
            "0 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.\nInst x (1 y [all])\n",
            "0 upgraded, 0 newly installed, 0 to remove\n",
            "0 upgraded, 0 newly installed, 0 turned over and 0 not upgraded.\n",
        ] {
            assert!(read(text).is_none(), "{text}");
        }
        let held = "0 upgraded, 0 newly installed, 0 to remove and 2 not upgraded.\n";
        assert!(read(held).unwrap().unwrap_err().to_string().starts_with("newer versions of 2 packages"));
    }
}
