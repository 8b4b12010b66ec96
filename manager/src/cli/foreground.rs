//! Changing names where no manager serves the state directory: this process is the manager for as long as that takes.
//!
//! It does what the serving one does, by the same code, with the lock of the state directory: one row in the audit trail and
//! one notice for the webhook in the commit that says that it is done, and what is cut off is finished by whoever comes next.
//! It needs no schedules, opens no port, and sees to no builds.

use std::collections::BTreeMap;
use std::sync::Arc;

use image_manager_proto::v1::{self, BuildState};

use super::instance::{StateLock, close_to_readers};
use super::{Trouble, client, text};
use crate::cloud::{Cloud, CloudKind, Opening};
use crate::history::{Change, Handover, History, Principal};
use crate::lifecycle::{ChangeError, Publications};
use crate::operator::change_status;

/// What is asked for.
pub(super) enum Asked {
    /// A name goes back to an older image.
    RollBack(v1::RollBackRequest),
    /// An image gets a further name.
    Promote(v1::PromoteBuildRequest),
    /// An image is not to be used.
    Revoke(v1::RevokeBuildRequest),
}

impl Asked {
    /// Whether this is what was begun before: then it is done once that is finished, and not to be done twice.
    fn was_begun_as(&self, begun: &Handover) -> bool {
        let what = &begun.what;
        let of = |id: &Option<String>, text: &str| id.as_ref().is_some_and(|id| id.starts_with(text));
        let there = |cloud: &str| cloud.is_empty() || what.cloud == cloud;
        match self {
            Self::RollBack(asked) => {
                what.change == Change::RolledBack
                    && what.name == asked.name
                    && there(&asked.cloud)
                    && of(&what.to_build, &asked.to)
            }
            Self::Promote(asked) => {
                what.change == Change::Promoted
                    && what.name == asked.name
                    && there(&asked.cloud)
                    && of(&what.to_build, &asked.build)
            }
            Self::Revoke(asked) => {
                what.change == Change::Revoked && there(&asked.cloud) && of(&what.revoked, &asked.build)
            }
        }
    }
}

/// Does it. Finishes first what was cut off before.
pub(super) async fn change(
    history: History,
    lock: StateLock,
    asked: Asked,
) -> Result<Vec<v1::Publication>, Trouble> {
    lock.sign(None, false)?;
    close_to_readers(lock.directory())?;
    for (id, _) in unfinished(&history).await? {
        text::remark(&format!(
            "build {id} was interrupted while publishing: the next `image-manager serve` may still publish its image"
        ));
    }
    let publications = open(history.clone(), &lock).await?;
    let (mut done, left) = publications.finish_handovers(|open| asked.was_begun_as(open)).await;
    for left in left {
        text::remark(&left);
    }
    done.retain(|one| asked.was_begun_as(one));
    let finished =
        if done.is_empty() { None } else { Some(publications.done(&done).await.map_err(Trouble::errored)?) };
    let by = Principal::this_process();
    let changed = match (asked, finished) {
        (Asked::Revoke(request), finished) => revoke(&publications, request, finished).await,
        (_, Some(finished)) => {
            text::remark(
                "this change was begun earlier and was interrupted: it is finished now, and nothing else was done",
            );
            Ok(finished)
        }
        (Asked::RollBack(request), None) => publications.roll_back(request, by).await,
        (Asked::Promote(request), None) => publications.promote(request, by).await,
    };
    if changed.as_ref().is_err_and(ChangeError::is_begun) {
        text::remark(
            "the next `image-manager serve` finishes what was begun, and so does the same command again",
        );
    }
    let images = changed.map_err(trouble)?;
    if history.notices_wanted().await.map_err(Trouble::errored)? {
        text::remark("the next `image-manager serve` that has a webhook notifies it");
    }
    Ok(images)
}

/// Revokes what is not revoked yet of a build's images. `finished`: what was begun earlier is done now, in some of the clouds;
/// others may have the image still.
async fn revoke(
    publications: &Publications,
    request: v1::RevokeBuildRequest,
    finished: Option<Vec<v1::Publication>>,
) -> Result<Vec<v1::Publication>, ChangeError> {
    let changed = publications.revoke(request, Principal::this_process()).await;
    let Some(mut images) = finished else { return changed };
    text::remark("a part of this change was begun earlier and was interrupted: it is finished now");
    match changed {
        Ok(others) => images.extend(others),
        // Nothing was left.
        Err(ChangeError::NotPublished(_)) => {}
        Err(error) => return Err(error),
    }
    Ok(images)
}

/// Builds that were cut off while they published.
async fn unfinished(history: &History) -> Result<Vec<(String, BuildState)>, Trouble> {
    let mut all = history.unfinished().await.map_err(Trouble::errored)?;
    all.retain(|(_, state)| *state == BuildState::Publishing);
    Ok(all)
}

/// Whoever changes names, with the clouds where names are. None of them is asked anything yet.
async fn open(history: History, lock: &StateLock) -> Result<Publications, Trouble> {
    let owner = history.owner().await.map_err(Trouble::errored)?;
    let opening = Opening { state: lock.directory(), owner: &owner };
    let mut clouds: BTreeMap<String, Arc<dyn Cloud>> = BTreeMap::new();
    for name in history.clouds_with_names().await.map_err(Trouble::errored)? {
        match (CloudKind::of(&name).open)(&name, &opening) {
            Ok(cloud) => drop(clouds.insert(name, cloud)),
            Err(error) => text::remark(&format!("the cloud {name:?} cannot be used: {error}")),
        }
    }
    let tell = Arc::new(|line: &str| text::remark(line));
    Ok(Publications::open(lock.directory(), history, clouds, tell))
}

/// With the words and the exit code that a manager that serves would have it.
fn trouble(error: ChangeError) -> Trouble {
    client::trouble(change_status(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{NewBuild, NewHandover};

    #[tokio::test]
    async fn what_was_begun_in_one_cloud_is_not_all_of_a_revocation() {
        let directory = tempfile::tempdir().unwrap();
        let history = History::open(&directory.path().join("image-manager.db")).unwrap();
        for id in ["019a", "019b"] {
            let new = NewBuild {
                requested_by: Principal::Manager,
                id: id.to_owned(),
                schedule: format!("of-{id}"),
                trigger: v1::Trigger::Cli,
                stages: (vec!["building"], Vec::new()),
                trials: Vec::new(),
                fired_at: None,
                retry_of: None,
                forced: false,
                verification: None,
            };
            history.create_build(new).await.unwrap();
            let (name, sha512) = ("web".to_owned(), id.to_owned());
            let image = v1::Image { id: id.to_owned(), name, sha512, ..v1::Image::default() };
            history.record_published(id, "far", image, "/there").await.unwrap();
        }
        let publications =
            Publications::open(directory.path(), history, BTreeMap::new(), Arc::new(|_: &str| {}));
        let request = |cloud: &str| v1::RevokeBuildRequest {
            build: "019b".to_owned(),
            reason: "leaked key".to_owned(),
            cloud: cloud.to_owned(),
        };
        let finished =
            || Some(vec![v1::Publication { cloud: "here".to_owned(), ..v1::Publication::default() }]);
        let none = revoke(&publications, request("here"), None).await.unwrap_err();
        assert!(matches!(none, ChangeError::NotPublished(_)), "{none}");
        let all = revoke(&publications, request("here"), finished()).await.unwrap();
        assert_eq!(all, finished().unwrap(), "nothing was left");
        let error = revoke(&publications, request(""), finished()).await.unwrap_err();
        assert!(error.to_string().contains("\"far\" is not configured"), "{error}");
    }

    #[test]
    fn only_what_was_begun_is_not_done_again() {
        let begun = |change, to: Option<&str>, revoked: Option<&str>| Handover {
            id: 1,
            what: NewHandover {
                name: "web".to_owned(),
                cloud: "local".to_owned(),
                change,
                to_build: to.map(str::to_owned),
                revoked: revoked.map(str::to_owned),
                why: String::new(),
                copied: false,
            },
            principal: "root".to_owned(),
            copy: None,
            giving: false,
            at_ms: 0,
        };
        let back = |name: &str, to: &str, cloud: &str| {
            let (name, to, cloud) = (name.to_owned(), to.to_owned(), cloud.to_owned());
            Asked::RollBack(v1::RollBackRequest { name, to, cloud, why: String::new() })
        };
        let rolled = begun(Change::RolledBack, Some("019a"), None);
        for (name, to, cloud, same) in [
            ("web", "", "", true),
            ("web", "01", "local", true),
            ("web", "02", "", false),
            ("web", "", "far", false),
            ("db", "", "", false),
        ] {
            assert_eq!(back(name, to, cloud).was_begun_as(&rolled), same, "{name} {to} {cloud}");
        }
        let revoke = |build: &str, cloud: &str| {
            let (build, cloud) = (build.to_owned(), cloud.to_owned());
            Asked::Revoke(v1::RevokeBuildRequest { build, reason: "x".to_owned(), cloud })
        };
        let revoked = begun(Change::Revoked, Some("019a"), Some("019b"));
        assert!(revoke("019b", "").was_begun_as(&revoked) && !revoke("019a", "").was_begun_as(&revoked));
        assert!(
            revoke("019b", "local").was_begun_as(&revoked) && !revoke("019b", "far").was_begun_as(&revoked)
        );
        assert!(!back("web", "", "").was_begun_as(&revoked), "another change");
        let promote = Asked::Promote(v1::PromoteBuildRequest {
            build: "019a".to_owned(),
            name: "web".to_owned(),
            ..v1::PromoteBuildRequest::default()
        });
        assert!(promote.was_begun_as(&begun(Change::Promoted, Some("019a"), None)));
        assert!(!promote.was_begun_as(&rolled));
    }
}
