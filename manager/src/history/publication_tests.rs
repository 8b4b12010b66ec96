//! Names and their images, against a real database file.

use image_manager_proto::v1;

use super::tests::{new_build, open};
use super::*;

async fn publish(history: &History, build: &str, name: &str) {
    history.create_build(new_build(build, build)).await.unwrap();
    let image = v1::Image {
        id: format!("image of {build}"),
        name: name.to_owned(),
        sha512: format!("hash of {build}"),
        size_bytes: 7,
        virtual_size_bytes: 9,
    };
    history.record_published(build, "local", image, "/there").await.unwrap();
}

/// Builds of a name with their states, as they are listed.
async fn states(history: &History, name: &str) -> Vec<(String, &'static str)> {
    let filter =
        PublicationFilter { name: Some(name.to_owned()), removed: true, limit: 10, ..Default::default() };
    let page = history.publications(filter).await.unwrap();
    page.publications.into_iter().map(|row| (row.build_id.clone(), row.state().word())).collect()
}

fn to(build: &str, change: Change) -> NewHandover {
    let revoked = (change == Change::Revoked).then(|| "01b".to_owned());
    NewHandover {
        name: "web".to_owned(),
        cloud: "local".to_owned(),
        change,
        to_build: Some(build.to_owned()),
        revoked,
        why: "because".to_owned(),
        copied: false,
    }
}

/// The image that the build `01a` has published itself.
fn given(location: &str, only_name: bool) -> Given {
    given_of("01a", location, only_name)
}

fn given_of(build: &str, location: &str, only_name: bool) -> Given {
    Given { image_id: format!("image of {build}"), location: location.to_owned(), only_name }
}

fn somebody() -> Principal {
    Principal::Token("ci".to_owned())
}

#[tokio::test]
async fn a_name_has_one_current_image() {
    let directory = tempfile::tempdir().unwrap();
    let history = open(&directory);
    for build in ["01a", "01b"] {
        publish(&history, build, "web").await;
    }
    assert_eq!(
        states(&history, "web").await,
        [("01b".to_owned(), "current"), ("01a".to_owned(), "previous")]
    );
    let begun = history.begin_handovers(somebody(), vec![to("01a", Change::RolledBack)]).await.unwrap();
    let busy = history.begin_handovers(somebody(), vec![to("01a", Change::RolledBack)]).await.unwrap_err();
    assert!(matches!(busy, HistoryError::NameBusy { .. }), "{busy}");
    history.want_notices(true).await.unwrap();
    // As a manager would that was killed after the first time.
    for _ in 0..2 {
        history.finish_handover(begun[0].id, Some(given("/again", false))).await.unwrap();
    }
    assert_eq!(
        states(&history, "web").await,
        [("01a".to_owned(), "current"), ("01b".to_owned(), "previous")]
    );
    let rows = history.audit(None, 10).await.unwrap();
    let changes: Vec<_> = rows.iter().filter(|row| row.action == "image.rolled_back").collect();
    let [row] = changes.as_slice() else { panic!("it is said once: {rows:?}") };
    assert_eq!((row.principal.as_str(), row.build_id.as_str()), ("token ci", "01a"));
    let [notice] = &history.due_notices(i64::MAX, 0, 10).await.unwrap()[..] else { panic!("one notice") };
    let OutboxKind::ImageChanged(change) = &notice.kind else { panic!("{notice:?}") };
    assert_eq!((change.event.as_str(), change.why.as_str()), ("image.rolled_back", "because"));
    assert!(history.open_handovers().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_build_that_publishes_overtakes_a_change_but_what_is_revoked_stays_so() {
    let directory = tempfile::tempdir().unwrap();
    let history = open(&directory);
    for build in ["01a", "01b"] {
        publish(&history, build, "web").await;
    }
    history.begin_handovers(somebody(), vec![to("01a", Change::RolledBack)]).await.unwrap();
    publish(&history, "01c", "web").await;
    assert!(history.open_handovers().await.unwrap().is_empty());
    let begun = history.begin_handovers(somebody(), vec![to("01a", Change::Revoked)]).await.unwrap();
    publish(&history, "01d", "web").await;
    history.finish_handover(begun[0].id, Some(given("/again", false))).await.unwrap();
    let states = states(&history, "web").await;
    assert_eq!(states[0], ("01d".to_owned(), "current"));
    assert!(states.contains(&("01b".to_owned(), "revoked")), "{states:?}");
}

/// What is to be revoked may have gone while its cloud did not answer.
#[tokio::test]
async fn an_image_that_is_gone_is_revoked_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let history = open(&directory);
    for build in ["01a", "01b", "01c"] {
        publish(&history, build, "web").await;
    }
    let older = NewHandover { to_build: None, ..to("", Change::Revoked) };
    let begun = history.begin_handovers(somebody(), vec![older]).await.unwrap();
    let there = vec![("hash of 01c".to_owned(), "/c".to_owned())];
    history.record_there("web", "local", there).await.unwrap();
    history.finish_handover(begun[0].id, None).await.unwrap();
    assert!(states(&history, "web").await.contains(&("01b".to_owned(), "removed")));
    let removed = PublicationFilter { removed: true, limit: 10, ..Default::default() };
    let rows = history.publications(removed).await.unwrap().publications;
    let row = rows.iter().find(|row| row.build_id == "01b").unwrap();
    assert_eq!((row.revoked_by.as_str(), row.revoked_reason.as_str()), ("token ci", "because"));
    let audit = history.audit(None, 10).await.unwrap();
    assert_eq!(audit.iter().filter(|row| row.action == "image.revoked").count(), 1, "{audit:?}");
    assert!(history.open_handovers().await.unwrap().is_empty());
}

/// The newest of its schedule that is good, and of its format.
#[tokio::test]
async fn an_image_is_measured_by_the_last_good_one_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let history = open(&directory);
    for (number, id) in (1_u64..).zip(["01a", "01b", "01c", "01d", "01e"]) {
        history.create_build(new_build(id, "web")).await.unwrap();
        history.record_room(id, RoomTaken { scratch: 9, image: number }).await.unwrap();
        let format = if id == "01c" { "raw" } else { "qcow2" };
        let record = ArtifactRecord {
            file: format!("/scratch/image.{format}").into(),
            sha512: String::new(),
            schedule_digest: String::new(),
            packages_sha256: None,
            fingerprint: None,
        };
        history.record_artifact(id, record).await.unwrap();
        end(&history, id, if id == "01d" { v1::Verdict::Failed } else { v1::Verdict::Passed }).await;
    }
    let sizes = async |id: &str| history.image_sizes(id).await.unwrap();
    let good = |id: &str, bytes| Some((id.to_owned(), bytes));
    let last = ImageSizes { own: Some(5), last_good: good("01b", 2) };
    assert_eq!(sizes("01e").await, last, "01d did not pass, and 01c is of another format");
    assert_eq!(sizes("01a").await, ImageSizes { own: Some(1), last_good: None });
    assert_eq!(sizes("01c").await, ImageSizes { own: Some(3), last_good: None });
    assert_eq!(sizes("09").await, ImageSizes::default());

    for id in ["01a", "01b"] {
        let image = v1::Image { id: id.to_owned(), name: "web".to_owned(), ..v1::Image::default() };
        history.record_published(id, "local", image, "/there").await.unwrap();
    }
    let begun = history.begin_handovers(somebody(), vec![to("01a", Change::Revoked)]).await.unwrap();
    history.finish_handover(begun[0].id, Some(given("/again", false))).await.unwrap();
    assert_eq!(sizes("01e").await.last_good, good("01a", 1), "01b was revoked");
    history.record_there("web", "local", vec![]).await.unwrap();
    assert_eq!(sizes("01e").await.last_good, good("01a", 1), "and its image has gone since");
}

async fn end(history: &History, id: &str, verdict: v1::Verdict) {
    use v1::BuildState::{Building, CleaningUp, Failed, Queued, Succeeded};
    let ending = || Ending::new(v1::StageState::Done, "");
    let last = if verdict == v1::Verdict::Passed { Succeeded } else { Failed };
    history.advance(id, Queued, Building, ending()).await.unwrap();
    history.conclude(id, Building, CleaningUp, Some((verdict, None)), ending()).await.unwrap();
    history.advance(id, CleaningUp, last, ending()).await.unwrap();
}

/// As in Glance: whoever looks at the names next must not take it for one that the old name can go back to.
#[tokio::test]
async fn an_image_that_can_have_one_name_loses_the_others_in_the_same_commit() {
    for only_name in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let history = open(&directory);
        for build in ["01a", "01b"] {
            publish(&history, build, "web").await;
        }
        let stable = NewHandover { name: "stable".to_owned(), ..to("01a", Change::Promoted) };
        let begun = history.begin_handovers(somebody(), vec![stable]).await.unwrap();
        history.finish_handover(begun[0].id, Some(given("/stable", only_name))).await.unwrap();
        assert_eq!(states(&history, "stable").await, [("01a".to_owned(), "current")]);
        let older = ("01a".to_owned(), if only_name { "removed" } else { "previous" });
        assert_eq!(states(&history, "web").await, [("01b".to_owned(), "current"), older]);
    }
}

#[tokio::test]
async fn a_name_that_was_only_promoted_is_told_from_one_that_builds_get() {
    let directory = tempfile::tempdir().unwrap();
    let history = open(&directory);
    for build in ["01a", "01b"] {
        publish(&history, build, "web").await;
    }
    let change = async |name: &str, build: &str, change| {
        let new = NewHandover { name: name.to_owned(), ..to(build, change) };
        let begun = history.begin_handovers(somebody(), vec![new]).await.unwrap();
        history.finish_handover(begun[0].id, Some(given_of(build, "/there", false))).await.unwrap();
    };
    let names = async || {
        let all = history.promoted_names().await.unwrap().into_iter();
        all.map(|row| (row.name, row.build_id, row.schedule)).collect::<Vec<_>>()
    };
    assert_eq!(names().await, []);
    let stable = |build: &str| [("stable".to_owned(), build.to_owned(), build.to_owned())];
    for build in ["01a", "01b"] {
        change("stable", build, Change::Promoted).await;
        assert_eq!(names().await, stable(build), "with the schedule of its build");
    }
    // However each image has got its name last.
    for build in ["01a", "01b"] {
        change("stable", build, Change::RolledBack).await;
        change("web", build, Change::RolledBack).await;
        assert_eq!(names().await, stable(build));
    }
    publish(&history, "01c", "stable").await;
    assert_eq!(names().await, [], "a build has got it");
}

#[tokio::test]
async fn what_is_not_there_any_more_is_removed_and_pages_are_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let history = open(&directory);
    for build in ["01a", "01b", "01c"] {
        publish(&history, build, "web").await;
    }
    let there =
        vec![("hash of 01b".to_owned(), "/b".to_owned()), ("hash of 01c".to_owned(), "/c".to_owned())];
    history.record_there("web", "local", there).await.unwrap();
    assert!(!history.is_published("01a").await.unwrap());
    assert!(history.is_published("01b").await.unwrap());
    let page = |after| PublicationFilter { limit: 1, after, ..PublicationFilter::default() };
    let first = history.publications(page(0)).await.unwrap();
    assert_eq!((first.publications[0].build_id.as_str(), first.next), ("01c", Some(1)));
    assert_eq!(first.publications[0].location, "/c");
    let second = history.publications(page(1)).await.unwrap();
    assert_eq!((second.publications[0].build_id.as_str(), second.next), ("01b", None));
}

/// Ends a build of `web` on `local` with these trials: of a verification with the build that made the image.
async fn tried(history: &History, id: &str, of: Option<&str>, trials: &[(bool, Option<v1::Verdict>)]) {
    let image = of.map(|of| (v1::Image::default(), of.to_owned()));
    let base = new_build(id, id);
    let trial = |(place, (required, _)): (usize, &(bool, Option<v1::Verdict>))| NewTrial {
        target: format!("t{place}"),
        required: *required,
        image: image.clone(),
        ..base.trials[0].clone()
    };
    let trials_of = trials.iter().enumerate().map(trial).collect();
    let verification = of.map(|_| "digest".to_owned());
    let ending = || Ending::new(v1::StageState::Done, "");
    history.create_build(NewBuild { trials: trials_of, verification, ..base.clone() }).await.unwrap();
    let (queued, trying) = (v1::BuildState::Queued, v1::BuildState::Trying);
    if of.is_none() {
        history.advance(id, queued, v1::BuildState::Building, ending()).await.unwrap();
        history.advance(id, v1::BuildState::Building, trying, ending()).await.unwrap();
    } else {
        history.advance(id, queued, trying, ending()).await.unwrap();
    }
    for (position, (_, verdict)) in (0_u32..).zip(trials) {
        let key = TrialKey { build_id: id.to_owned(), position };
        let moves = (v1::TrialState::Waiting, v1::TrialState::Booting);
        history.advance_trial(&key, moves, None, ending()).await.unwrap();
        let moves = (v1::TrialState::Booting, v1::TrialState::CleaningUp);
        history.advance_trial(&key, moves, verdict.map(|verdict| (verdict, None)), ending()).await.unwrap();
    }
    history.advance(id, trying, v1::BuildState::CleaningUp, ending()).await.unwrap();
    history.advance(id, v1::BuildState::CleaningUp, v1::BuildState::Succeeded, ending()).await.unwrap();
}

#[tokio::test]
async fn it_is_known_when_an_image_was_verified_last_and_how_that_ended() {
    use v1::Verdict::{Errored, Failed, Passed};
    let directory = tempfile::tempdir().unwrap();
    let history = open(&directory);
    let last = async || {
        let row = history.current_publications(10).await.unwrap().remove(0);
        assert_eq!(row.verified_at.is_some(), !row.verified_by.is_empty());
        (row.verified_by.clone(), row.verified_verdict())
    };
    tried(&history, "01a", None, &[(true, Some(Passed))]).await;
    let image = v1::Image { name: "web".to_owned(), sha512: "ab".to_owned(), ..v1::Image::default() };
    history.record_published("01a", "local", image, "/there").await.unwrap();
    assert_eq!(last().await, ("01a".to_owned(), Passed), "by its own build");
    tried(&history, "01b", Some("01a"), &[(true, Some(Passed)), (true, Some(Failed))]).await;
    assert_eq!(last().await, ("01b".to_owned(), Failed), "the worst of one cloud's targets");
    tried(&history, "01c", Some("01a"), &[(true, Some(Passed)), (false, Some(Errored))]).await;
    assert_eq!(last().await, ("01c".to_owned(), Passed), "what is not required does not count");
    tried(&history, "01d", Some("01a"), &[(true, None)]).await;
    assert_eq!(last().await, ("01c".to_owned(), Passed), "one that was cancelled says nothing");
    tried(&history, "01e", Some("01b"), &[(true, Some(Failed))]).await;
    assert_eq!(last().await, ("01c".to_owned(), Passed), "that was another image");
    // Builds are compared with builds.
    tried(&history, "01f", None, &[(true, Some(Passed))]).await;
    assert_eq!(history.previous("01c", "01d").await.unwrap(), None);
}

#[tokio::test]
async fn an_image_is_compared_with_the_one_that_had_its_name_before() {
    let directory = tempfile::tempdir().unwrap();
    let history = open(&directory);
    for (build, name) in [("01a", "web"), ("01b", "other"), ("01c", "web"), ("01d", "web")] {
        publish(&history, build, name).await;
    }
    let filter = PublicationFilter { removed: true, limit: 10, ..Default::default() };
    let images = history.publications(filter).await.unwrap().publications;
    let before = async || {
        let before = history.published_before(&images).await.unwrap();
        let pairs = images.iter().map(|image| image.build_id.clone()).zip(before);
        pairs.map(|(build, before)| format!("{build} {}", before.unwrap_or_default())).collect::<Vec<_>>()
    };
    assert_eq!(before().await, ["01b ", "01d 01c", "01c 01a", "01a "]);
    // The publications of a build outlive it; a comparison needs both.
    let gone = history.writer().unwrap().run("forgotten", |tx| {
        tx.execute("DELETE FROM build WHERE id = '01c'", [])?;
        Ok(())
    });
    gone.await.unwrap();
    assert_eq!(before().await, ["01b ", "01d ", "01c ", "01a "]);
}

#[tokio::test]
async fn it_is_known_until_when_a_build_would_have_made_the_same_image() {
    let directory = tempfile::tempdir().unwrap();
    let history = open(&directory);
    let id = |number: u32| format!("019a4188-8e0{number}-7000-8000-00000000000{number}");
    let confirmed = async |name: &str| {
        let rows = history.current_publications(10).await.unwrap();
        let row = rows.into_iter().find(|row| row.name == name).unwrap();
        (row.confirmed_by.clone(), row.confirmed_at)
    };
    publish(&history, &id(0), "web").await;
    publish(&history, &id(1), "other").await;
    publish(&history, "imported", "unknown").await;
    let began = |number: u32| crate::clock::began(&id(number)).map(crate::clock::timestamp_of);
    assert_eq!(confirmed("web").await, (id(0), began(0)), "by its own build");
    for number in [2, 3] {
        history.create_build(new_build(&id(number), "web")).await.unwrap();
        let published = [("local".to_owned(), "web".to_owned(), v1::PublicationState::Current)];
        assert!(history.skip_build(&id(number), &id(0), &published, "nothing has changed").await.unwrap());
    }
    let ended = history.build(&id(3)).await.unwrap().finished_at;
    assert!(ended.is_some());
    assert_eq!(confirmed("web").await, (id(3), ended), "by the newest that was skipped");
    assert_eq!(confirmed("other").await, (id(1), began(1)), "that was another image");
    assert_eq!(confirmed("unknown").await, (String::new(), None), "its id has no time");
}
