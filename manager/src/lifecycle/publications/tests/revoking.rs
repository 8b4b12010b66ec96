//! Images that are to be revoked though their names, or their clouds, are somebody else's for the moment.

use super::*;
use crate::history::{Given, NewHandover};

/// A change of `web` on `cloud` that somebody has begun.
fn begun(cloud: &str, change: Change, to: &str) -> NewHandover {
    NewHandover {
        name: "web".to_owned(),
        cloud: cloud.to_owned(),
        change,
        to_build: Some(to.to_owned()),
        revoked: None,
        why: String::new(),
        copied: false,
    }
}

impl Bench {
    async fn begin_change(&self, what: NewHandover) -> Handover {
        self.history.begin_handovers(Principal::Manager, vec![what]).await.unwrap().remove(0)
    }

    /// What the reconciler does in a cloud. Returns what is left.
    async fn reconcile(&self, cloud: &str) -> Vec<String> {
        let mut left = self.publications.finish_handovers_in(cloud).await;
        left.extend(self.publications.revoke_what_has_a_name(cloud).await);
        left
    }

    async fn roll_back_to(&self, to: &str, cloud: &str) -> Result<Vec<v1::Publication>, ChangeError> {
        let (name, to, cloud) = ("web".to_owned(), to.to_owned(), cloud.to_owned());
        let request = v1::RollBackRequest { name, to, cloud, why: String::new() };
        self.publications.roll_back(request, Principal::Manager).await
    }
}

#[tokio::test]
async fn an_image_is_revoked_though_its_name_is_about_to_go_to_it() {
    let bench = Bench::of(&["far", "here"]);
    for build in ["01a", "01b", "01c"] {
        bench.publish(build, &["far", "here"]).await;
    }
    bench.set_down("far", true);
    assert!(bench.revoke("01c", "").await.unwrap_err().is_begun());
    assert_eq!(bench.open().await[0].what.to_build.as_deref(), Some("01b"));
    let error = bench.revoke("01b", "").await.unwrap_err();
    let said = "web on far is being changed; the image is revoked there once that is done";
    assert!(error.is_begun() && error.to_string().contains(said), "{error}");
    let expected = "01a current, 01c revoked, 01b revoked";
    assert_eq!(bench.states("web", "here").await, expected);
    bench.set_down("far", false);
    assert_eq!(bench.reconcile("far").await, Vec::<String>::new());
    assert_eq!(bench.states("web", "far").await, expected);
    assert_eq!(bench.asked("far"), ["web to 01a", "revoke 01c", "revoke 01b"]);
    assert_eq!((bench.open().await, bench.revoked_in_the_audit_trail().await), (vec![], 4));
    assert_eq!(bench.reconcile("far").await, Vec::<String>::new());
    assert_eq!(bench.asked("far"), Vec::<String>::new(), "once is enough");
}

#[tokio::test]
async fn a_name_that_was_about_to_go_to_a_revoked_image_stays_where_it_is() {
    let bench = Bench::of(&["here"]);
    for build in ["01a", "01b", "01c"] {
        bench.publish(build, &["here"]).await;
    }
    bench.begin_change(begun("here", Change::RolledBack, "01b")).await;
    let request = v1::RevokeBuildRequest {
        build: "01b".to_owned(),
        reason: "leaked key".to_owned(),
        cloud: String::new(),
    };
    let by = Principal::Token("ci".to_owned());
    assert!(bench.publications.revoke(request, by).await.unwrap_err().is_begun());
    let left = bench.reconcile("here").await;
    assert!(left.len() == 1 && left[0].contains("01b was revoked meanwhile: leaked key"), "{left:?}");
    assert_eq!(bench.asked("here"), ["web to 01c", "revoke 01b"], "it may have had the name by then");
    assert_eq!(bench.states("web", "here").await, "01c current, 01b revoked, 01a previous");
    assert_eq!(bench.open().await, []);
    let audit = bench.history.audit(None, 100).await.unwrap();
    let row = audit.iter().find(|row| row.action == "image.revoked").unwrap();
    assert_eq!(row.principal, "token ci", "whoever asked");
}

#[tokio::test]
async fn an_image_that_is_to_be_revoked_gets_no_name_and_is_not_kept_for_a_good_one() {
    let bench = Bench::of(&["here"]);
    for build in ["01a", "01b", "01c"] {
        bench.publish(build, &["here"]).await;
    }
    let open = bench.begin_change(begun("here", Change::RolledBack, "01a")).await;
    assert!(bench.revoke("01b", "").await.unwrap_err().is_begun());
    bench.history.drop_handover(&open).await.unwrap();
    let error = bench.roll_back_to("01b", "").await.unwrap_err();
    assert!(error.to_string().contains("it was revoked"), "{error}");
    let error = bench.promote("01b").await.unwrap_err();
    assert!(error.to_string().contains("it was revoked"), "{error}");
    bench.roll_back().await.unwrap();
    assert_eq!(bench.asked("here"), ["web to 01a"], "not 01b, which had it last");
    bench.set_down("here", true);
    let publication = bench.publications.before_publishing(&keeps_one(), "here", "01d").await.unwrap();
    assert_eq!(publication.keep, u32::MAX, "the cloud takes it for a good one still");
    assert_eq!(bench.publications.finish_handovers(|_| true).await.1.len(), 1);
    bench.set_down("here", false);
    let publication = bench.publications.before_publishing(&keeps_one(), "here", "01d").await.unwrap();
    assert_eq!((publication.keep, publication.last.as_deref()), (1, Some("01a")));
    assert!(bench.states("web", "here").await.contains("01b revoked"));
}

/// A build publishes cloud by cloud.
#[tokio::test]
async fn an_image_that_is_published_while_its_build_is_being_revoked_is_revoked_too() {
    let bench = Bench::of(&["far", "here"]);
    bench.publish("01a", &["far", "here"]).await;
    bench.publish("01b", &["far"]).await;
    let alone = bench.publications.alone("far").await;
    let publications = bench.publications.clone();
    let request = v1::RevokeBuildRequest {
        build: "01b".to_owned(),
        reason: "leaked key".to_owned(),
        cloud: String::new(),
    };
    let revoking = tokio::spawn(async move { publications.revoke(request, Principal::Manager).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    bench.give("01b", "here", "web").await;
    drop(alone);
    revoking.await.unwrap().unwrap();
    for cloud in ["far", "here"] {
        assert_eq!(bench.states("web", cloud).await, "01a current, 01b revoked", "{cloud}");
    }
}

#[tokio::test]
async fn what_is_published_after_its_build_was_revoked_elsewhere_is_revoked_whoever_is_killed() {
    for is_open in [false, true] {
        let bench = Bench::of(&["far", "here"]);
        bench.publish("01a", &["far", "here"]).await;
        bench.publish("01b", &["far"]).await;
        bench.set_down("far", is_open);
        assert_eq!(bench.revoke("01b", "far").await.is_err(), is_open);
        bench.give("01b", "here", "web").await;
        bench.set_down("here", true);
        assert_eq!(bench.reconcile("here").await.len(), 1);
        bench.set_down("here", false);
        assert_eq!(bench.reconcile("here").await, Vec::<String>::new());
        assert_eq!(bench.states("web", "here").await, "01a current, 01b revoked");
    }
}

#[tokio::test]
async fn a_further_name_of_a_revoked_image_is_seen_though_the_revoked_one_is_gone() {
    let bench = Bench::of(&["here"]);
    for build in ["01a", "01b"] {
        bench.publish(build, &["here"]).await;
    }
    let what = NewHandover { name: "stable".to_owned(), ..begun("here", Change::Promoted, "01b") };
    let promotion = bench.begin_change(what).await;
    bench.revoke("01b", "").await.unwrap();
    bench.history.record_there("web", "here", vec![("01a".to_owned(), String::new())]).await.unwrap();
    assert_eq!(bench.states("web", "here").await, "01a current, 01b removed");
    let given = Given { image_id: "01b".to_owned(), location: "/there".to_owned(), only_name: false };
    bench.history.finish_handover(promotion.id, Some(given)).await.unwrap();
    assert_eq!(bench.states("stable", "here").await, "01b current");
    assert_eq!(bench.reconcile("here").await, Vec::<String>::new());
    assert_eq!(bench.states("stable", "here").await, "01b revoked");
}

#[tokio::test]
async fn a_revocation_that_was_left_is_not_dropped_because_a_cloud_refuses() {
    let bench = Bench::of(&["far"]);
    for build in ["01a", "01b"] {
        bench.publish(build, &["far"]).await;
    }
    bench.set_down("far", true);
    assert!(bench.revoke("01b", "").await.unwrap_err().is_begun());
    bench.set_down("far", false);
    let refuses = |refuses| bench.clouds["far"].is.lock().unwrap().refuses = refuses;
    refuses(Some(Trouble::Configuration));
    for _ in 0..2 {
        let left = bench.reconcile("far").await;
        assert!(left.len() == 1 && left[0].contains("it is retried until it is done"), "{left:?}");
        assert_eq!(bench.states("web", "far").await, "01b current, 01a previous");
    }
    refuses(None);
    assert_eq!(bench.reconcile("far").await, Vec::<String>::new());
    assert_eq!(bench.states("web", "far").await, "01a current, 01b revoked");
}

#[tokio::test]
async fn a_cloud_whose_names_somebody_else_holds_keeps_no_other_one_from_a_revocation() {
    let bench = Bench::of(&["far", "here"]);
    for build in ["01a", "01b"] {
        bench.publish(build, &["far", "here"]).await;
    }
    let alone = bench.publications.alone("far").await;
    let revoked = tokio::time::timeout(Duration::from_secs(20), bench.revoke("01b", "")).await;
    let error = revoked.expect("it does not wait for what hangs").unwrap_err();
    let said = error.to_string();
    assert!(error.is_begun() && said.contains("\"far\": something else is being done"), "{said}");
    assert!(said.ends_with("It is done for web on here"), "{said}");
    assert_eq!(bench.states("web", "here").await, "01a current, 01b revoked");
    assert_eq!(bench.states("web", "far").await, "01b current, 01a previous");
    drop(alone);
    assert_eq!(bench.reconcile("far").await, Vec::<String>::new());
    assert_eq!(bench.states("web", "far").await, "01a current, 01b revoked");
}

#[tokio::test]
async fn a_roll_back_that_one_cloud_refuses_is_done_in_none_and_is_repeated_where_it_was_not_done() {
    let bench = Bench::of(&["far", "here"]);
    for build in ["01a", "01b"] {
        bench.publish(build, &["far", "here"]).await;
    }
    let refuses = |refuses| bench.clouds["here"].is.lock().unwrap().refuses = refuses;
    refuses(Some(Trouble::Configuration));
    let error = bench.roll_back().await.unwrap_err();
    assert!(error.to_string().contains("it refuses; nothing was changed there"), "{error}");
    assert_eq!((bench.asked("far"), bench.open().await), (vec![], vec![]));
    refuses(None);
    bench.roll_back_to("01a", "far").await.unwrap();
    bench.roll_back_to("01a", "").await.unwrap();
    for cloud in ["far", "here"] {
        assert_eq!(bench.asked(cloud), ["web to 01a"]);
    }
    let error = bench.roll_back_to("01a", "").await.unwrap_err();
    assert!(error.to_string().contains("it already is"), "{error}");
}

#[tokio::test]
async fn a_roll_back_is_given_up_after_a_day_where_its_cloud_is_not_configured() {
    let bench = Bench::of(&["here"]);
    for build in ["01a", "01b"] {
        bench.publish(build, &["gone"]).await;
    }
    bench.begin_change(begun("gone", Change::RolledBack, "01a")).await;
    assert_eq!(bench.reconcile("gone").await.len(), 1);
    assert_eq!(bench.open().await.len(), 1, "it may be configured again");
    bench.a_day_later();
    let left = bench.reconcile("gone").await;
    assert!(left.len() == 1 && left[0].contains("over 24 h ago"), "{left:?}");
    assert_eq!(bench.open().await, []);
}
