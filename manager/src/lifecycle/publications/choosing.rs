//! Which image a name can go to, by what the history and the cloud say. Pure.

use std::collections::{BTreeMap, BTreeSet};

use image_manager_proto::v1::{self, PublicationState};

use super::ChangeError;
use crate::history::{Change, NewHandover};

/// Rows by their clouds, in the order in which the clouds are locked.
pub(super) fn by_cloud(rows: Vec<v1::Publication>) -> BTreeMap<String, Vec<v1::Publication>> {
    let mut of_clouds: BTreeMap<String, Vec<v1::Publication>> = BTreeMap::new();
    for row in rows {
        of_clouds.entry(row.cloud.clone()).or_default().push(row);
    }
    of_clouds
}

/// Of the images of a name in a cloud, the one that has it.
pub(super) fn current(rows: &[v1::Publication]) -> Option<&v1::Publication> {
    rows.iter().find(|row| row.state() == PublicationState::Current)
}

/// The image that a name goes back to: of those that are verified, not revoked and there, and of a build made before `than`,
/// the one that had the name last. What was rolled back from is newer, and is passed over for the one that took its place. With
/// `else_any` it is another one at all when there is none before. `than`: the build, and those that were made before it; ids
/// say that only as long as the clock is right.
pub(super) fn last_good<'a>(
    rows: &'a [v1::Publication],
    than: Option<(&str, &BTreeSet<String>)>,
    there: &BTreeSet<String>,
    else_any: bool,
) -> Option<&'a v1::Publication> {
    let good = || {
        rows.iter().filter(|row| {
            row.state() == PublicationState::Previous
                && there.contains(&row.sha512)
                && than.is_none_or(|(than, _)| row.build_id != than)
        })
    };
    let before = good().filter(|row| than.is_none_or(|(_, older)| older.contains(&row.build_id)));
    let last = given_last(rows);
    before.max_by_key(|row| given(row, last)).or_else(|| {
        let any = good().filter(|_| else_any);
        any.max_by_key(|row| given(row, last))
    })
}

/// The image that had the name before the current one; or, while the build `but` is about to publish, before that. Not one
/// that was revoked or is gone.
pub(super) fn had_it_last<'a>(rows: &'a [v1::Publication], but: Option<&str>) -> Option<&'a v1::Publication> {
    let state = |row: &v1::Publication| match row.state() {
        PublicationState::Current => but.is_some_and(|but| but != row.build_id),
        PublicationState::Previous => true,
        _ => false,
    };
    let last = given_last(rows);
    rows.iter().filter(|row| state(row)).max_by_key(|row| given(row, last))
}

/// A time, in seconds and nanoseconds.
type At = Option<(i64, i32)>;

fn at(row: &v1::Publication) -> At {
    row.published_at.map(|at| (at.seconds, at.nanos))
}

/// When the image that has the name was given it: no other one was later.
fn given_last(rows: &[v1::Publication]) -> At {
    current(rows).and_then(at)
}

/// Sorts images by when they were given the name. One that seems to have been given it after the one that has it was so
/// while the clock was ahead.
fn given(row: &v1::Publication, last: At) -> (bool, At, &str) {
    (last.is_none() || at(row) <= last, at(row), row.build_id.as_str())
}

/// The image of a build, when it can have the name.
pub(super) fn asked_for<'a>(
    rows: &'a [v1::Publication],
    build: &str,
    (name, cloud): (&str, &str),
    there: &BTreeSet<String>,
) -> Result<&'a v1::Publication, ChangeError> {
    let found = rows.iter().find(|row| row.build_id == build);
    let why = match found {
        None => "it never had this name there, or no longer exists",
        Some(row) if row.state() == PublicationState::Current => "it already is",
        Some(row) if row.state() == PublicationState::Revoked => "it was revoked",
        Some(row) if !there.contains(&row.sha512) => "it no longer exists",
        Some(row) => return Ok(row),
    };
    let (build, name, cloud) = (build.to_owned(), name.to_owned(), cloud.to_owned());
    Err(ChangeError::NotGood { build, name, cloud, why })
}

/// A build's images in a cloud, in the order in which they are taken for a name: one that had it before, or else the one that
/// has another name and keeps it, before one that would lose the name that it had.
pub(super) fn in_order_of_use<'a>(rows: &'a [v1::Publication], name: &str) -> Vec<&'a v1::Publication> {
    let mut rows: Vec<_> = rows.iter().filter(|row| row.state() != PublicationState::Removed).collect();
    rows.sort_by_key(|row| (row.name != name, row.state() != PublicationState::Current));
    rows
}

/// What is written down for an image that gets a name.
pub(super) fn handover(row: &v1::Publication, name: &str, change: Change, why: &str) -> NewHandover {
    NewHandover {
        name: name.to_owned(),
        cloud: row.cloud.clone(),
        change,
        to_build: Some(row.build_id.clone()),
        revoked: None,
        why: why.to_owned(),
        copied: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(build: &str, state: PublicationState) -> v1::Publication {
        v1::Publication {
            build_id: build.to_owned(),
            sha512: build.to_owned(),
            state: state.into(),
            ..v1::Publication::default()
        }
    }

    /// Of builds with numbers, those before this one.
    fn older(than: &str) -> BTreeSet<String> {
        let all = ["1", "2", "3", "4"].into_iter().filter(|build| *build < than);
        all.map(str::to_owned).collect()
    }

    #[test]
    fn only_an_image_that_is_there_and_not_revoked_is_good() {
        use PublicationState::{Current, Previous, Removed, Revoked, Unspecified};
        let rows = [row("1", Previous), row("2", Previous), row("3", Current), row("4", Previous)];
        let there = |builds: &[&str]| builds.iter().map(|build| (*build).to_owned()).collect::<BTreeSet<_>>();
        let chosen = |rows: &[v1::Publication], than: Option<&str>, images: &[&str], else_any: bool| {
            let older = older(than.unwrap_or_default());
            let than = than.map(|than| (than, &older));
            last_good(rows, than, &there(images), else_any).map(|row| row.build_id.clone())
        };
        let all = ["1", "2", "3", "4"];
        assert_eq!(chosen(&rows, Some("3"), &all, false).as_deref(), Some("2"), "the newest before it");
        assert_eq!(chosen(&rows, Some("3"), &["1", "3"], false).as_deref(), Some("1"), "2 is not there");
        assert_eq!(chosen(&rows, Some("1"), &all, false), None, "none is before it");
        assert_eq!(chosen(&rows, Some("1"), &all, true).as_deref(), Some("4"), "any other one");
        assert_eq!(chosen(&rows, None, &all, false).as_deref(), Some("4"));
        for state in [Revoked, Removed, Current, Unspecified] {
            let rows = [row("2", state), row("3", Current)];
            for else_any in [false, true] {
                assert_eq!(chosen(&rows, Some("3"), &all, else_any), None, "{state:?}");
            }
        }
    }

    #[test]
    fn of_a_builds_images_the_one_that_had_the_name_is_taken_and_then_the_one_that_keeps_its_own() {
        use PublicationState::{Current, Previous, Removed};
        let named = |name: &str, state| v1::Publication { name: name.to_owned(), ..row("1", state) };
        let order = |rows: &[v1::Publication]| {
            in_order_of_use(rows, "stable").iter().map(|row| row.name.clone()).collect::<Vec<_>>()
        };
        let mut rows = vec![named("old", Previous), named("stable", Removed), named("web", Current)];
        assert_eq!(order(&rows), ["web", "old"]);
        rows.push(named("stable", Previous));
        assert_eq!(order(&rows), ["stable", "web", "old"]);
    }

    #[test]
    fn a_name_goes_back_to_the_image_that_had_it_last() {
        use PublicationState::{Current, Previous, Revoked};
        let at = |build: &str, state, second: i64| v1::Publication {
            published_at: Some(crate::clock::timestamp(second * 1000)),
            ..row(build, state)
        };
        let there = ["1", "2", "3", "4"].map(str::to_owned).into();
        let id = |row: Option<&v1::Publication>| row.map(|row| row.build_id.clone()).unwrap_or_default();
        // 3 was rolled back from; then 4 came.
        let rows = [at("1", Previous, 1), at("2", Previous, 4), at("3", Previous, 3), at("4", Current, 5)];
        assert_eq!(
            id(last_good(&rows, Some(("4", &older("4"))), &there, false)),
            "2",
            "not 3, which is newer"
        );
        assert_eq!(id(had_it_last(&rows, None)), "2");
        assert_eq!(id(had_it_last(&rows, Some("5"))), "4", "while 5 is about to publish");
        assert_eq!(id(had_it_last(&rows, Some("4"))), "2", "while 4 publishes again");
        // Back at 2 again.
        let rows = [at("1", Previous, 1), at("2", Current, 6), at("3", Previous, 3), at("4", Previous, 5)];
        assert_eq!(id(last_good(&rows, Some(("2", &older("2"))), &there, false)), "1", "none after it");
        assert_eq!(id(had_it_last(&rows, None)), "4", "somebody may want it back");
        let rows = [at("1", Previous, 1), at("2", Revoked, 2), at("3", Current, 3)];
        assert_eq!(id(had_it_last(&rows, None)), "1");
        // The clock was ahead when 1 was given the name.
        let rows = [at("1", Previous, 9), at("2", Previous, 2), at("3", Current, 3)];
        assert_eq!(id(last_good(&rows, Some(("3", &older("3"))), &there, false)), "2");
        assert_eq!(id(had_it_last(&rows, None)), "2");
    }
}
