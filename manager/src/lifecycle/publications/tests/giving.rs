//! What a build that publishes may still do, and what is revoked after it.

use super::*;

/// What a build is to do about `web` in a cloud, in words.
async fn giving(bench: &Bench, cloud: &str, build: &str) -> String {
    match bench.publications.giving("web", cloud, build).await.unwrap() {
        Giving::Wanted => "wanted".to_owned(),
        Giving::Done(detail) => format!("done: {detail}"),
        Giving::Refused(why) => format!("refused: {why}"),
    }
}

#[tokio::test]
async fn what_was_done_with_a_name_while_its_build_was_publishing_holds() {
    let bench = Bench::of(&["here"]);
    for build in ["01a", "01b"] {
        bench.publish(build, &["here"]).await;
    }
    assert_eq!(giving(&bench, "here", "01c").await, "wanted");
    assert_eq!(giving(&bench, "here", "01b").await, "done: web is /there");
    bench.roll_back().await.unwrap();
    assert!(giving(&bench, "here", "01b").await.ends_with("is previous there now"));
    bench.revoke("01b", "").await.unwrap();
    assert!(giving(&bench, "here", "01b").await.ends_with("is revoked there now"));
}

#[tokio::test]
async fn what_was_done_in_one_cloud_holds_in_those_where_the_build_publishes_next() {
    let bench = Bench::of(&["far", "here"]);
    bench.publish("01a", &["far", "here"]).await;
    bench.publish("01b", &["far"]).await;
    assert_eq!(giving(&bench, "here", "01b").await, "wanted");
    let request = v1::RollBackRequest {
        name: "web".to_owned(),
        cloud: "far".to_owned(),
        ..v1::RollBackRequest::default()
    };
    bench.publications.roll_back(request, Principal::Manager).await.unwrap();
    let said = giving(&bench, "here", "01b").await;
    assert!(said.starts_with("refused: ") && said.contains("on far the name has gone"), "{said}");
    bench.revoke("01b", "").await.unwrap();
    let said = giving(&bench, "here", "01b").await;
    assert!(
        said.starts_with("refused: ") && said.ends_with("it was revoked meanwhile: leaked key"),
        "{said}"
    );
}

#[tokio::test]
async fn a_build_takes_no_name_from_a_newer_one() {
    let bench = Bench::of(&["here"]);
    for (build, clouds) in [("01a", &["here"][..]), ("01b", &[]), ("01c", &["here"]), ("01d", &[])] {
        bench.publish(build, clouds).await;
    }
    let said = giving(&bench, "here", "01b").await;
    assert!(said.starts_with("refused: ") && said.contains("the image of build 01c"), "{said}");
    assert_eq!(giving(&bench, "here", "01d").await, "wanted");
    bench.roll_back().await.unwrap();
    let said = "somebody has taken the name from the newer one";
    assert_eq!(giving(&bench, "here", "01b").await, "wanted", "{said}");
}

/// While the clock was ahead, ids of builds were later than those of the builds that are made since it is right.
#[tokio::test]
async fn a_build_of_a_clock_that_was_ahead_keeps_no_name_from_those_after_it() {
    let bench = Bench::of(&["here"]);
    bench.publish("01z", &["here"]).await;
    bench.publish("01b", &[]).await;
    assert_eq!(giving(&bench, "here", "01b").await, "wanted");
}

#[tokio::test]
async fn what_was_revoked_while_its_build_published_elsewhere_is_revoked_there_too() {
    let bench = Bench::of(&["far", "here"]);
    for build in ["01a", "01b"] {
        bench.publish(build, &["far", "here"]).await;
    }
    let publications = &bench.publications;
    publications.revoke_if_revoked_meanwhile("web", "here", "01b").await.unwrap();
    assert_eq!(bench.states("web", "here").await, "01b current, 01a previous");
    bench.revoke("01b", "far").await.unwrap();
    publications.revoke_if_revoked_meanwhile("web", "here", "01b").await.unwrap();
    assert_eq!(bench.states("web", "here").await, "01a current, 01b revoked");
    assert_eq!(bench.asked("here"), ["web to 01a", "revoke 01b"]);
}

/// A manager is killed between giving a copy its name and revoking it with the build's other images.
#[tokio::test]
async fn what_has_a_name_though_its_build_was_revoked_is_revoked_by_the_reconciler() {
    let bench = Bench::of(&["here"]);
    for build in ["01a", "01b"] {
        bench.publish(build, &["here"]).await;
    }
    bench.revoke("01b", "").await.unwrap();
    assert_eq!(bench.asked("here"), ["web to 01a", "revoke 01b"]);
    assert_eq!(bench.publications.revoke_what_has_a_name("here").await, Vec::<String>::new());
    assert_eq!(bench.asked("here"), Vec::<String>::new(), "01a is good");
    let image = v1::Image {
        id: "01b".to_owned(),
        name: "stable".to_owned(),
        sha512: "01b".to_owned(),
        ..v1::Image::default()
    };
    bench.history.record_published("01b", "here", image, "/there").await.unwrap();
    bench.set_down("here", true);
    let left = bench.publications.revoke_what_has_a_name("here").await;
    assert!(left.len() == 1 && left[0].starts_with("revoking stable on here: "), "{left:?}");
    bench.set_down("here", false);
    let _ = bench.publications.finish_handovers(|_| true).await;
    assert_eq!(bench.publications.revoke_what_has_a_name("here").await, Vec::<String>::new());
    assert_eq!(bench.states("stable", "here").await, "01b revoked");
    assert_eq!(bench.asked("here"), ["revoke 01b"]);
}

#[tokio::test]
async fn what_a_cloud_has_given_its_name_is_booked_though_publishing_did_not_complete() {
    let bench = Bench::of(&["here"]);
    bench.publish("01a", &["here"]).await;
    bench.publish("01b", &[]).await;
    let image = v1::Image {
        id: "01b".to_owned(),
        name: "web".to_owned(),
        sha512: "01b".to_owned(),
        ..v1::Image::default()
    };
    bench.publications.book_if_given("01b", "here", image.clone()).await;
    assert_eq!(bench.states("web", "here").await, "01a current", "the cloud does not have it");
    bench.clouds["here"].is.lock().unwrap().images.insert("01b".to_owned());
    for _ in 0..2 {
        bench.publications.book_if_given("01b", "here", image.clone()).await;
        assert_eq!(bench.states("web", "here").await, "01b current, 01a previous");
    }
    // What has become of it since holds.
    bench.roll_back().await.unwrap();
    bench.publications.book_if_given("01b", "here", image).await;
    assert_eq!(bench.states("web", "here").await, "01a current, 01b previous");
}
