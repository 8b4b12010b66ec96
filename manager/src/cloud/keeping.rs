//! Which of a name's older images stay. Pure.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::Publication;

/// An older image of a name, as far as it matters for whether it stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Older<'a> {
    /// SHA-512 of the file, lower-case hexadecimal; empty when that is not known.
    pub sha512: &'a str,
    /// When the build began that made it; `None` when that is not known.
    pub built: Option<DateTime<Utc>>,
    /// Whether it was revoked.
    pub revoked: bool,
}

impl Publication {
    /// The places of those older images that nothing keeps any more.
    ///
    /// `keep` counts good images, so that one that was revoked never takes the place of one that a name can go back to. A
    /// revoked one stays for as long as it would if it were good. The newest is the one that had the name last, which a
    /// roll-back goes to; the others are as new as their builds.
    pub fn no_longer_kept(&self, older: &[Older<'_>], now: DateTime<Utc>) -> BTreeSet<usize> {
        let had_it_last =
            |image: &Older<'_>| !image.sha512.is_empty() && self.last.as_deref() == Some(image.sha512);
        let mut newest_first: Vec<(usize, &Older<'_>)> = older.iter().enumerate().collect();
        newest_first.sort_by_key(|(_, image)| Reverse((had_it_last(image), image.built)));
        let (mut good, mut goes) = (0, BTreeSet::new());
        for (newer, (place, image)) in newest_first.into_iter().enumerate() {
            let counted = if image.revoked { newer } else { good };
            good += usize::from(!image.revoked);
            if !self.keeps(counted, image.built, now) {
                goes.insert(place);
            }
        }
        goes
    }

    /// Whether an older image stays. `newer`: how many are newer than it, of those that count. One whose date is not known,
    /// or is to come, is of no age.
    fn keeps(&self, newer: usize, built: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
        let age = built.and_then(|built| (now - built).to_std().ok()).unwrap_or_default();
        usize::try_from(self.keep).map_or(true, |keep| newer < keep)
            || self.keep_for.is_some_and(|keep_for| age <= keep_for)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    fn publication(keep: u32) -> Publication {
        let (name, visibility) = ("web".to_owned(), "private".to_owned());
        Publication { name, keep, keep_for: None, visibility, last: None }
    }

    /// Images that are called by the second of their build, the revoked ones with an `r`.
    fn images<'a>(words: &[&'a str]) -> Vec<Older<'a>> {
        let image = |sha512: &&'a str| {
            let built = Some(at(sha512.trim_end_matches('r').parse().unwrap()));
            Older { sha512, built, revoked: sha512.ends_with('r') }
        };
        words.iter().map(image).collect()
    }

    fn stay(publication: &Publication, words: &[&str]) -> String {
        let goes = publication.no_longer_kept(&images(words), at(100));
        let kept = words.iter().enumerate().filter(|(place, _)| !goes.contains(place));
        kept.map(|(_, word)| *word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn only_good_images_are_counted_and_a_revoked_one_stays_as_long_as_ever() {
        assert_eq!(stay(&publication(1), &["2", "3r"]), "2 3r", "2 is the only one to go back to");
        assert_eq!(
            stay(&publication(1), &["2", "3r", "4"]),
            "4",
            "3 has gone where it would have gone if it were good"
        );
        assert_eq!(stay(&publication(2), &["1", "2", "3r", "4"]), "2 3r 4");
        assert_eq!(stay(&publication(2), &["1r", "2", "3", "4"]), "3 4");
        assert_eq!(
            stay(&publication(1), &["1", "2r", "3r", "4r"]),
            "1 4r",
            "there are no more of them than of good ones"
        );
        assert_eq!(stay(&publication(0), &["1", "2r"]), "");
        let young = Publication { keep_for: Some(Duration::from_secs(98)), ..publication(0) };
        assert_eq!(stay(&young, &["1", "1r", "2r", "3"]), "2r 3", "keep_for is for both");
    }

    #[test]
    fn the_one_that_had_the_name_last_counts_as_the_newest() {
        let last = |sha512: &str, keep| Publication { last: Some(sha512.to_owned()), ..publication(keep) };
        assert_eq!(stay(&last("2", 1), &["1", "2", "3"]), "2", "3 was rolled back from");
        assert_eq!(stay(&last("2", 2), &["1", "2", "3"]), "2 3");
        assert_eq!(stay(&last("9", 1), &["1", "2", "3"]), "3", "it is not there");
        let unknown = Older { sha512: "", built: None, revoked: false };
        let goes = last("", 1).no_longer_kept(&[unknown, images(&["1"])[0]], at(100));
        assert_eq!(goes, BTreeSet::from([0]), "an image whose hash is not known is not taken for it");
    }
}
