//! Further names in a cloud where an image has one, against a real history.

use super::*;
use crate::history::NewHandover;

/// A cloud where an image has one name; these builds have published as `web` there.
async fn lab(builds: &[&str]) -> Bench {
    let bench = Bench::of(&["lab"]);
    bench.clouds["lab"].is.lock().unwrap().one_name = true;
    for build in builds {
        bench.publish(build, &["lab"]).await;
    }
    bench
}

impl Bench {
    fn set(&self, change: impl FnOnce(&mut super::super::stand_in::Is)) {
        change(&mut self.clouds["lab"].is.lock().unwrap());
    }

    fn copies(&self) -> Vec<String> {
        self.clouds["lab"].is.lock().unwrap().copies.keys().cloned().collect()
    }

    /// Promotes in a task of its own, up to where the data would be copied.
    async fn begin(&self, build: &str) -> tokio::task::JoinHandle<Result<Vec<v1::Publication>, ChangeError>> {
        self.set(|is| is.holds = true);
        let (publications, build) = (self.publications.clone(), build.to_owned());
        let request = v1::PromoteBuildRequest { build, name: "stable".to_owned(), ..Default::default() };
        let promoting = tokio::spawn(async move { publications.promote(request, Principal::Manager).await });
        self.until("a copy is made", |bench| !bench.copies().is_empty()).await;
        promoting
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap_or_else(|_| panic!("{what}"));
    }

    /// Begins it and is killed then.
    async fn leave(&self, build: &str) -> Handover {
        let new = NewHandover {
            name: "stable".to_owned(),
            cloud: "lab".to_owned(),
            change: Change::Promoted,
            to_build: Some(build.to_owned()),
            revoked: None,
            why: String::new(),
            copied: true,
        };
        self.history.begin_handovers(Principal::Manager, vec![new]).await.unwrap().remove(0)
    }

    /// The same once there is a copy.
    async fn leave_copy(&self, build: &str, whole: bool) -> Handover {
        let begun = self.leave(build).await;
        let row = self.history.intend_copy(&begun, "image-manager-left").await.unwrap();
        self.history.resource_created(row, "left").await.unwrap();
        let (name, sha512) = ("image-manager-left".to_owned(), build.to_owned());
        let copy = super::super::stand_in::Copied { name, sha512, whole };
        self.set(|is| drop(is.copies.insert("left".to_owned(), copy)));
        self.history.still_open(&begun).await.unwrap().unwrap()
    }

    /// States of the copies in the ledger, the oldest first.
    async fn ledger(&self, build: &str) -> Vec<String> {
        let build = self.history.build(build).await.unwrap();
        let images = build.resources.iter().filter(|row| row.kind == "image");
        images.map(|row| row.state.clone()).collect()
    }
}

#[tokio::test]
async fn an_image_that_must_keep_its_name_is_copied_for_a_further_one() {
    let bench = lab(&["01a", "01b"]).await;
    let done = bench.promote("01b").await.unwrap();
    assert_eq!((done[0].name.as_str(), done[0].image_id.as_str()), ("stable", "copy 1"));
    assert_eq!(bench.states("web", "lab").await, "01b current, 01a previous");
    assert_eq!(bench.states("stable", "lab").await, "01b current");
    assert_eq!((bench.asked("lab"), bench.open().await), (vec!["stable to copy 1".to_owned()], vec![]));
    assert_eq!(bench.ledger("01b").await, ["published"]);
    let error = bench.promote("01b").await.unwrap_err();
    assert!(error.to_string().contains("it already is"), "{error}");
    // The older one has no name to keep: it gets the further one itself, and the copy is the older one there.
    bench.promote("01a").await.unwrap();
    assert_eq!(bench.states("web", "lab").await, "01b current, 01a removed");
    assert_eq!(bench.states("stable", "lab").await, "01a current, 01b previous");
    // The copy is there still, and is not made again.
    bench.promote("01b").await.unwrap();
    assert_eq!(bench.states("stable", "lab").await, "01b current, 01a previous");
    assert_eq!(bench.asked("lab"), ["stable to 01a", "stable to copy 1"]);
    assert_eq!(bench.copies(), ["copy 1"]);
}

#[tokio::test]
async fn both_images_of_a_build_are_revoked() {
    let bench = lab(&["01a"]).await;
    bench.promote("01a").await.unwrap();
    bench.publish("01b", &["lab"]).await;
    bench.promote("01b").await.unwrap();
    bench.asked("lab");
    bench.revoke("01b", "").await.unwrap();
    assert_eq!(bench.states("web", "lab").await, "01a current, 01b revoked");
    assert_eq!(bench.states("stable", "lab").await, "01a current, 01b revoked");
    assert_eq!(bench.asked("lab"), ["stable to copy 1", "revoke copy 2", "web to 01a", "revoke 01b"]);
}

#[tokio::test]
async fn while_an_image_is_copied_the_names_of_its_cloud_are_anybodys_and_it_stays() {
    let bench = lab(&["01a"]).await;
    let promoting = bench.begin("01a").await;
    drop(tokio::time::timeout(Duration::from_secs(5), bench.publications.alone("lab")).await.unwrap());
    let publication = bench.publications.before_publishing(&keeps_one(), "lab", "01b").await.unwrap();
    assert_eq!(publication.keep, u32::MAX, "the image is not to go meanwhile");
    let error = bench.promote("01a").await.unwrap_err();
    assert!(error.to_string().contains("stable on lab is being changed"), "{error}");
    // Nobody takes the copy away, and a reconciler begins no second one.
    assert_eq!(bench.history.leftover_resources().await.unwrap(), []);
    assert_eq!(bench.history.copies_under_way().await.unwrap().len(), 1);
    bench.publications.copy_what_is_left().await.unwrap();
    bench.publish("01b", &["lab"]).await;
    bench.set(|is| is.holds = false);
    promoting.await.unwrap().unwrap();
    assert_eq!(bench.states("web", "lab").await, "01b current, 01a previous");
    assert_eq!(bench.states("stable", "lab").await, "01a current");
    assert_eq!(bench.copies(), ["copy 1"]);
}

#[tokio::test]
async fn copies_that_hang_in_one_cloud_do_not_hold_up_those_of_another() {
    let bench = Bench::of(&["far", "lab"]);
    for cloud in bench.clouds.values() {
        cloud.is.lock().unwrap().one_name = true;
    }
    bench.publish("01a", &["far", "lab"]).await;
    bench.clouds["far"].is.lock().unwrap().holds = true;
    let said = Arc::new(std::sync::Mutex::new(Vec::<String>::new()));
    let heard = Arc::clone(&said);
    let tell: Tell = Arc::new(move |line: &str| heard.lock().unwrap().push(line.to_owned()));
    let publications = Publications { tell, ..bench.publications.clone() };
    let promote = |cloud: &str, name: &str| {
        let (build, name, cloud) = ("01a".to_owned(), name.to_owned(), cloud.to_owned());
        let request = v1::PromoteBuildRequest { build, name, cloud, ..Default::default() };
        let publications = publications.clone();
        tokio::spawn(async move { publications.promote(request, Principal::Manager).await })
    };
    let hanging = ["one", "two", "three"].map(|name| promote("far", name));
    let waits = |line: &String| line.ends_with(" on far: waits for another copy on far");
    bench.until("one of them waits", |_| said.lock().unwrap().iter().any(waits)).await;
    let other = tokio::time::timeout(Duration::from_secs(20), promote("lab", "stable")).await;
    other.expect("it does not wait for the other cloud").unwrap().unwrap();
    assert_eq!(bench.states("stable", "lab").await, "01a current");
    bench.clouds["far"].is.lock().unwrap().holds = false;
    for promoting in hanging {
        promoting.await.unwrap().unwrap();
    }
    assert_eq!(said.lock().unwrap().iter().filter(|line| waits(line)).count(), 1);
}

#[tokio::test]
async fn a_copy_that_nobody_wants_any_more_is_removed() {
    let bench = lab(&["01a", "01b"]).await;
    let promoting = bench.begin("01b").await;
    // A build publishes under the name.
    let image = v1::Image { id: "01c".to_owned(), name: "stable".to_owned(), ..v1::Image::default() };
    bench.history.record_published("01a", "lab", image, "/there").await.unwrap();
    let error = promoting.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("stable on lab has not got the image"), "{error}");
    assert_eq!((bench.copies(), bench.ledger("01b").await), (vec![], vec!["gone".to_owned()]));
    assert_eq!(bench.states("stable", "lab").await, "01a current");
    // The image is revoked.
    let other = lab(&["01a", "01b"]).await;
    let promoting = other.begin("01b").await;
    other.revoke("01b", "").await.unwrap();
    promoting.await.unwrap().unwrap_err();
    assert_eq!((other.copies(), other.states("stable", "lab").await.as_str()), (vec![], ""));
    assert_eq!(other.states("web", "lab").await, "01a current, 01b revoked");
    let error = other.promote("01b").await.unwrap_err();
    assert!(error.to_string().contains("it was revoked"), "{error}");
}

#[tokio::test]
async fn nobody_who_takes_an_image_out_of_use_waits_for_a_copy() {
    let bench = lab(&["01a", "01b", "01c"]).await;
    for build in ["01a", "01b"] {
        bench.promote(build).await.unwrap();
    }
    let promoting = bench.begin("01c").await;
    let request = v1::RollBackRequest { name: "stable".to_owned(), ..v1::RollBackRequest::default() };
    bench.publications.roll_back(request, Principal::Manager).await.unwrap();
    promoting.await.unwrap().unwrap_err();
    assert_eq!(bench.states("stable", "lab").await, "01a current, 01b previous");
    let promoting = bench.begin("01c").await;
    bench.revoke("01a", "").await.unwrap();
    promoting.await.unwrap().unwrap_err();
    assert_eq!(bench.states("stable", "lab").await, "01b current, 01a revoked");
    assert_eq!((bench.copies(), bench.open().await), (vec![], vec![]));
}

/// Numbers of changes are used again.
#[tokio::test]
async fn a_change_that_is_over_is_not_taken_for_the_one_that_has_its_number_now() {
    let bench = lab(&["01a", "01b"]).await;
    let what = NewHandover {
        name: "web".to_owned(),
        cloud: "lab".to_owned(),
        change: Change::RolledBack,
        to_build: Some("01a".to_owned()),
        revoked: None,
        why: String::new(),
        copied: false,
    };
    let over = bench.history.begin_handovers(Principal::Manager, vec![what]).await.unwrap().remove(0);
    bench.history.drop_handover(&over).await.unwrap();
    bench.later().await;
    let begun = bench.leave("01b").await;
    assert_eq!(begun.id, over.id);
    bench.set(|is| is.refuses = Some(Trouble::Configuration));
    bench.publications.hand_over_alone(&over).await.unwrap();
    bench.history.drop_handover(&over).await.unwrap();
    assert_eq!((bench.open().await, bench.asked("lab")), (vec![begun], vec![]));
}

#[tokio::test]
async fn what_a_cloud_refuses_is_given_up_and_what_it_does_not_answer_is_tried_again() {
    let bench = lab(&["01a"]).await;
    for trouble in [Trouble::Configuration, Trouble::Fault, Trouble::Corrupt, Trouble::NoRoom] {
        bench.set(|is| is.fails = Some(trouble));
        let error = bench.promote("01a").await.unwrap_err();
        assert!(error.to_string().contains("it fails; nothing was changed there"), "{error}");
        assert_eq!((bench.open().await, bench.copies()), (vec![], vec![]));
    }
    bench.set(|is| is.fails = Some(Trouble::Unavailable));
    let error = bench.promote("01a").await.unwrap_err();
    assert!(error.is_begun(), "{error}");
    assert_eq!((bench.open().await.len(), bench.copies().len()), (1, 1));
    bench.set(|is| is.fails = None);
    let (done, left) = bench.publications.finish_handovers(|_| false).await;
    assert_eq!((done.len(), left, bench.open().await.len()), (0, vec![], 1), "it is not what was asked for");
    let (done, left) = bench.publications.finish_handovers(|_| true).await;
    assert_eq!((done.len(), left), (1, vec![]));
    assert_eq!(bench.states("stable", "lab").await, "01a current");
    assert_eq!(bench.copies(), ["copy 6"], "the one that was cut off is removed");
}

#[tokio::test]
async fn a_copy_that_has_failed_is_not_made_again_at_the_next_look() {
    let bench = lab(&["01a"]).await;
    let begun = bench.leave("01a").await;
    bench.set(|is| is.fails = Some(Trouble::Unavailable));
    bench.publications.copy_what_is_left().await.unwrap();
    let waits = |bench: &Bench| bench.publications.pauses.due(vec![begun.clone()]).is_empty();
    bench.until("it has failed", waits).await;
    bench.publications.copy_what_is_left().await.unwrap();
    assert!(bench.publications.copying.try_alone("lab stable").is_some(), "nobody makes it");
    assert_eq!(bench.clouds["lab"].is.lock().unwrap().made, 1);
}

#[tokio::test]
async fn no_copy_is_begun_a_day_after_somebody_asked_for_it_but_one_that_may_have_the_name_gets_it() {
    let bench = lab(&["01a"]).await;
    bench.leave_copy("01a", true).await;
    bench.a_day_later();
    let (_, left) = bench.publications.finish_handovers(|_| true).await;
    assert!(left[0].contains("over 24 h ago"), "{left:?}");
    assert_eq!((bench.open().await, bench.copies(), bench.asked("lab")), (vec![], vec![], vec![]));
    // Nor is it waited for in a cloud that is not configured.
    let left = NewHandover { cloud: "gone".to_owned(), ..bench.leave("01a").await.what };
    bench.history.begin_handovers(Principal::Manager, vec![left]).await.unwrap();
    bench.a_day_later();
    assert_eq!(bench.publications.finish_handovers(|_| true).await.1.len(), 2);
    assert_eq!(bench.open().await, []);
    let left = bench.leave_copy("01a", true).await;
    bench.history.give_copy(&left).await.unwrap();
    bench.a_day_later();
    assert_eq!(bench.publications.finish_handovers(|_| true).await.0.len(), 1);
    assert_eq!(bench.asked("lab"), ["stable to left"]);
}

#[tokio::test]
async fn the_next_manager_goes_on_with_a_whole_copy_and_makes_any_other_anew() {
    for (whole, copy) in [(true, "left"), (false, "copy 1")] {
        let bench = lab(&["01a"]).await;
        bench.leave_copy("01a", whole).await;
        bench.publications.copy_what_is_left().await.unwrap();
        bench.until("it is done", |bench| bench.clouds["lab"].is.lock().unwrap().current.len() == 2).await;
        let (_, left) = bench.publications.finish_handovers(|_| true).await;
        assert_eq!((left, bench.open().await), (vec![], vec![]));
        assert_eq!(
            (bench.copies(), bench.asked("lab")),
            (vec![copy.to_owned()], vec![format!("stable to {copy}")])
        );
        assert_eq!(bench.states("stable", "lab").await, "01a current");
    }
    // Killed before it was asked for.
    let bench = lab(&["01a"]).await;
    bench.leave("01a").await;
    assert_eq!(bench.publications.finish_handovers(|_| true).await.0.len(), 1);
    assert_eq!(bench.copies(), ["copy 1"]);
}

/// Whoever was killed while the copy was given the name may have given it.
#[tokio::test]
async fn a_copy_that_may_have_the_name_is_finished_before_anything_else_is_done_with_it() {
    for revoked in [false, true] {
        let bench = lab(&["01a"]).await;
        bench.promote("01a").await.unwrap();
        bench.publish("01b", &["lab"]).await;
        let left = bench.leave_copy("01b", true).await;
        bench.history.give_copy(&left).await.unwrap();
        assert!(!bench.history.give_up_copy(&left).await.unwrap(), "who does not know it may not give it up");
        bench.asked("lab");
        if revoked {
            bench.revoke("01b", "").await.unwrap();
            assert_eq!(bench.states("stable", "lab").await, "01a current, 01b revoked");
            assert_eq!(bench.asked("lab")[..3], ["stable to left", "stable to copy 1", "revoke left"]);
        } else {
            let stable = schedules::Publish { name: "stable".to_owned(), ..keeps_one() };
            let publication = bench.publications.before_publishing(&stable, "lab", "01c").await.unwrap();
            assert_eq!((publication.keep, publication.last.as_deref()), (1, Some("01b")));
            assert_eq!(bench.asked("lab"), ["stable to left"]);
            assert_eq!(bench.states("stable", "lab").await, "01b current, 01a previous");
        }
        assert_eq!(bench.open().await, []);
    }
}

#[tokio::test]
async fn a_copy_of_what_was_revoked_meanwhile_does_not_keep_a_name() {
    for has_it in [false, true] {
        let bench = lab(&["01a"]).await;
        bench.promote("01a").await.unwrap();
        bench.publish("01b", &["lab"]).await;
        let left = bench.leave_copy("01b", true).await;
        bench.history.give_copy(&left).await.unwrap();
        if has_it {
            bench.set(|is| drop(is.current.insert("stable".to_owned(), "01b".to_owned())));
        }
        bench.set_down("lab", true);
        let said = bench.revoke("01b", "").await.unwrap_err().to_string();
        assert!(said.contains("stable on lab is being changed"), "{said}");
        bench.set_down("lab", false);
        bench.asked("lab");
        bench.publications.finish_handovers(|_| true).await;
        assert_eq!(bench.open().await, []);
        assert_eq!(bench.states("web", "lab").await, "01a current, 01b revoked");
        let (states, asked) = (bench.states("stable", "lab").await, bench.asked("lab"));
        assert_eq!(asked[..2], ["web to 01a", "revoke 01b"]);
        if has_it {
            assert_eq!(states, "01a current, 01b revoked");
            assert_eq!(asked[2..], ["stable to left", "stable to copy 1", "revoke left"]);
        } else {
            assert_eq!((states.as_str(), asked.len()), ("01a current", 2));
        }
        assert_eq!(bench.copies().contains(&"left".to_owned()), has_it);
    }
}

#[tokio::test]
async fn a_name_that_a_copy_may_have_already_is_rolled_back() {
    let bench = lab(&["01a"]).await;
    bench.promote("01a").await.unwrap();
    bench.publish("01b", &["lab"]).await;
    let left = bench.leave_copy("01b", true).await;
    bench.history.give_copy(&left).await.unwrap();
    bench.asked("lab");
    let request = v1::RollBackRequest { name: "stable".to_owned(), ..v1::RollBackRequest::default() };
    bench.publications.roll_back(request, Principal::Manager).await.unwrap();
    assert_eq!(bench.asked("lab"), ["stable to left", "stable to copy 1"]);
    assert_eq!(bench.states("stable", "lab").await, "01a current, 01b previous");
    assert_eq!(bench.open().await, []);
}

#[tokio::test]
async fn of_the_images_of_a_build_one_that_is_there_is_promoted() {
    let bench = lab(&["01a"]).await;
    bench.promote("01a").await.unwrap();
    let begun = bench.leave("01a").await;
    let what = NewHandover { name: "third".to_owned(), ..begun.what };
    for (gone, left) in [("web", "copy 1"), ("stable", "01a")] {
        bench.set(|is| is.empty = [gone.to_owned()].into());
        let (source, _) = bench.publications.source(&what).await.unwrap();
        let row = bench.publications.row_of(&what, "01a").await.unwrap().unwrap();
        assert_eq!((source.id.as_str(), row.image_id.as_str()), (left, left), "{gone} is gone");
    }
    bench.set_down("lab", true);
    bench.publications.source(&what).await.unwrap();
}
