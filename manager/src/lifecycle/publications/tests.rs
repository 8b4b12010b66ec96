//! Names in several clouds, some of which do not answer, against a real history.

mod copying;
mod giving;
mod reconciling;
mod revoking;

use std::path::Path;

use image_manager_proto::v1::{BuildState, StageState, Trigger};
use tokio_util::sync::CancellationToken;

use super::stand_in::StandIn;
use super::*;
use crate::history::{Ending, Handover, Named as _, NewBuild};
use crate::schedules;

struct Bench {
    directory: tempfile::TempDir,
    history: History,
    clouds: BTreeMap<String, Arc<StandIn>>,
    publications: Publications,
}

impl Bench {
    fn of(clouds: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let history = History::open(&directory.path().join("image-manager.db")).unwrap();
        let cloud = |name: &&str| {
            ((*name).to_owned(), Arc::new(StandIn { name: (*name).to_owned(), ..StandIn::default() }))
        };
        let clouds: BTreeMap<_, _> = clouds.iter().map(cloud).collect();
        let all = clouds.iter().map(|(name, cloud)| (name.clone(), Arc::clone(cloud) as Arc<dyn Cloud>));
        let tell = Arc::new(|_: &str| {});
        let publications = Publications::open(directory.path(), history.clone(), all.collect(), tell);
        Self { directory, history, clouds, publications }
    }

    /// A build of the schedule `debian` that published as `web` in these clouds.
    async fn publish(&self, build: &str, clouds: &[&str]) {
        use BuildState::{Building, CleaningUp, Queued, Succeeded};
        let new = NewBuild {
            requested_by: Principal::Manager,
            id: build.to_owned(),
            schedule: "debian".to_owned(),
            trigger: Trigger::Cli,
            stages: (vec!["building"], Vec::new()),
            trials: Vec::new(),
            fired_at: None,
            retry_of: None,
            forced: false,
            verification: None,
        };
        self.history.create_build(new).await.unwrap();
        for (from, to) in [(Queued, Building), (Building, CleaningUp), (CleaningUp, Succeeded)] {
            self.history.advance(build, from, to, Ending::new(StageState::Done, "")).await.unwrap();
        }
        for cloud in clouds {
            if let Some(cloud) = self.clouds.get(*cloud) {
                let mut is = cloud.is.lock().unwrap();
                is.images.insert(build.to_owned());
                is.current.insert("web".to_owned(), build.to_owned());
            }
            self.record(build, cloud, "web").await;
        }
        self.later().await;
    }

    /// A cloud gives a build's image a name, and the history says so.
    async fn give(&self, build: &str, cloud: &str, name: &str) {
        {
            let mut is = self.clouds[cloud].is.lock().unwrap();
            is.images.insert(build.to_owned());
            is.current.insert(name.to_owned(), build.to_owned());
        }
        self.record(build, cloud, name).await;
    }

    async fn record(&self, build: &str, cloud: &str, name: &str) {
        let (id, sha512) = (build.to_owned(), build.to_owned());
        let image = v1::Image { id, name: name.to_owned(), sha512, ..v1::Image::default() };
        self.history.record_published(build, cloud, image, "/there").await.unwrap();
    }

    /// What comes next has another time.
    async fn later(&self) {
        tokio::time::sleep(Duration::from_millis(3)).await;
    }

    /// As if what is under way had been begun a day earlier.
    fn a_day_later(&self) {
        let file = self.directory.path().join("image-manager.db");
        let connection = rusqlite::Connection::open(file).unwrap();
        connection.execute("UPDATE handover SET at = at - 86400001", []).unwrap();
    }

    fn set_down(&self, cloud: &str, down: bool) {
        self.clouds[cloud].is.lock().unwrap().down = down;
    }

    fn asked(&self, cloud: &str) -> Vec<String> {
        std::mem::take(&mut self.clouds[cloud].is.lock().unwrap().asked)
    }

    /// The builds of a name in a cloud, each with its state.
    async fn states(&self, name: &str, cloud: &str) -> String {
        let filter = PublicationFilter {
            name: Some(name.to_owned()),
            cloud: Some(cloud.to_owned()),
            removed: true,
            ..rows()
        };
        let rows = self.history.publications(filter).await.unwrap().publications;
        let words = rows.iter().map(|row| format!("{} {}", row.build_id, row.state().word()));
        words.collect::<Vec<_>>().join(", ")
    }

    async fn open(&self) -> Vec<Handover> {
        self.history.open_handovers().await.unwrap()
    }

    async fn revoked_in_the_audit_trail(&self) -> usize {
        let rows = self.history.audit(None, 100).await.unwrap();
        rows.iter().filter(|row| row.action == "image.revoked").count()
    }

    async fn revoke(&self, build: &str, cloud: &str) -> Result<Vec<v1::Publication>, ChangeError> {
        let (build, cloud, reason) = (build.to_owned(), cloud.to_owned(), "leaked key".to_owned());
        self.publications.revoke(v1::RevokeBuildRequest { build, reason, cloud }, Principal::Manager).await
    }

    async fn roll_back(&self) -> Result<Vec<v1::Publication>, ChangeError> {
        let request = v1::RollBackRequest { name: "web".to_owned(), ..v1::RollBackRequest::default() };
        let done = self.publications.roll_back(request, Principal::Manager).await;
        self.later().await;
        done
    }

    async fn promote(&self, build: &str) -> Result<Vec<v1::Publication>, ChangeError> {
        let request = v1::PromoteBuildRequest {
            build: build.to_owned(),
            name: "stable".to_owned(),
            ..v1::PromoteBuildRequest::default()
        };
        let done = self.publications.promote(request, Principal::Manager).await;
        self.later().await;
        done
    }
}

#[tokio::test]
async fn an_image_is_revoked_where_it_can_be_and_elsewhere_later() {
    let bench = Bench::of(&["far", "here"]);
    for build in ["01a", "01b"] {
        bench.publish(build, &["far", "gone", "here"]).await;
    }
    bench.set_down("far", true);
    let error = bench.revoke("01b", "").await.unwrap_err();
    let said = error.to_string();
    assert!(error.is_begun() && said.ends_with("It is done for web on here"), "{said}");
    assert!(said.contains("cloud \"far\": it is down; it is retried until it is done"), "{said}");
    assert!(said.contains("the cloud \"gone\" is not configured"), "{said}");
    assert_eq!(bench.states("web", "here").await, "01a current, 01b revoked");
    assert_eq!(bench.asked("here"), ["web to 01a", "revoke 01b"]);
    assert_eq!(bench.states("web", "far").await, "01b current, 01a previous");
    // Asked for again, it says what is left.
    let said = bench.revoke("01b", "").await.unwrap_err().to_string();
    assert!(said.contains("web on far is being changed") && said.contains("web on gone"), "{said}");

    bench.set_down("far", false);
    let (done, left) = bench.publications.finish_handovers(|_| true).await;
    assert_eq!((done.len(), left.len()), (1, 1), "{left:?}");
    assert!(left[0].contains("\"gone\" is not configured"), "{left:?}");
    assert_eq!(bench.states("web", "far").await, "01a current, 01b revoked");
    assert_eq!(bench.asked("far"), ["web to 01a", "revoke 01b"]);
    assert_eq!(bench.revoked_in_the_audit_trail().await, 2);
}

#[tokio::test]
async fn an_image_is_revoked_in_one_cloud_alone() {
    let bench = Bench::of(&["far", "here"]);
    for build in ["01a", "01b"] {
        bench.publish(build, &["far", "here"]).await;
    }
    bench.set_down("far", true);
    bench.revoke("01b", "here").await.unwrap();
    assert_eq!(bench.states("web", "here").await, "01a current, 01b revoked");
    assert_eq!(bench.states("web", "far").await, "01b current, 01a previous");
    assert_eq!(bench.open().await, []);
    let error = bench.revoke("01b", "nowhere").await.unwrap_err();
    assert!(matches!(error, ChangeError::NotPublished(_)), "{error}");
    // Where no other image can have the name, nothing is done anywhere.
    bench.set_down("far", false);
    let error = bench.revoke("01a", "").await.unwrap_err();
    assert!(matches!(&error, ChangeError::NoGoodOne { cloud, .. } if cloud == "here"), "{error}");
    assert_eq!(bench.states("web", "far").await, "01b current, 01a previous");
}

/// How builds publish that keep one older image.
fn keeps_one() -> schedules::Publish {
    let text =
        "[schedule.debian]\nimage.elements = [\"debian-minimal\"]\npublish = { name = \"web\", keep = 1 }\n";
    let schedules = schedules::parse(Path::new("schedules.toml"), text).unwrap();
    schedules.schedules[0].publish.clone().unwrap()
}

/// A build may publish and remove older images before what was begun is finished.
#[tokio::test]
async fn what_was_to_be_revoked_and_is_gone_does_not_keep_its_name_busy() {
    let bench = Bench::of(&["far"]);
    for build in ["01a", "01b", "01c"] {
        bench.publish(build, &["far"]).await;
    }
    bench.set_down("far", true);
    assert!(bench.revoke("01a", "").await.unwrap_err().is_begun());
    bench.set_down("far", false);
    bench.clouds["far"].is.lock().unwrap().images.remove("01a");
    let there = ["01b", "01c"].map(|build| (build.to_owned(), String::new()));
    bench.history.record_there("web", "far", there.into()).await.unwrap();
    let (done, left) = bench.publications.finish_handovers(|_| true).await;
    assert_eq!((done.len(), left), (1, Vec::<String>::new()));
    assert_eq!(bench.open().await, []);
    assert_eq!(bench.revoked_in_the_audit_trail().await, 1);
    assert_eq!(bench.states("web", "far").await, "01c current, 01b previous, 01a removed");
    bench.roll_back().await.unwrap();
}

#[tokio::test]
async fn a_revoked_image_does_not_keep_its_name_because_the_next_one_is_gone() {
    let gone = "01c revoked, 01b removed, 01a removed";
    for (left, expected) in [(true, "01a current, 01c revoked, 01b removed"), (false, gone)] {
        let bench = Bench::of(&["far"]);
        for build in ["01a", "01b", "01c"] {
            bench.publish(build, &["far"]).await;
        }
        bench.set_down("far", true);
        assert!(bench.revoke("01c", "").await.unwrap_err().is_begun());
        assert_eq!(bench.open().await[0].what.to_build.as_deref(), Some("01b"), "by what was there last");
        bench.set_down("far", false);
        bench.clouds["far"]
            .is
            .lock()
            .unwrap()
            .images
            .retain(|image| image == "01c" || (left && image == "01a"));
        let (done, told) = bench.publications.finish_handovers(|_| true).await;
        assert_eq!(bench.open().await, [], "the name is not busy for ever");
        assert_eq!((done.len(), told), (1, Vec::<String>::new()));
        assert_eq!(bench.states("web", "far").await, expected, "it is revoked in any case");
    }
}

#[tokio::test]
async fn what_one_cloud_refuses_is_done_in_none() {
    let bench = Bench::of(&["here", "lab"]);
    bench.publish("01a", &["here", "lab"]).await;
    bench.clouds["lab"].is.lock().unwrap().refuses = Some(Trouble::Configuration);
    let error = bench.promote("01a").await.unwrap_err();
    assert!(error.to_string().contains("it refuses; nothing was changed there"), "{error}");
    assert_eq!((bench.open().await, bench.asked("here")), (vec![], vec![]));
    assert_eq!(bench.states("stable", "here").await, "");
}

#[tokio::test]
async fn a_name_goes_back_to_the_image_that_had_it_last() {
    let bench = Bench::of(&["here"]);
    for build in ["01a", "01b", "01c"] {
        bench.publish(build, &["here"]).await;
    }
    bench.roll_back().await.unwrap();
    bench.publish("01d", &["here"]).await;
    bench.roll_back().await.unwrap();
    assert_eq!(bench.asked("here"), ["web to 01b", "web to 01b"], "01c was rolled back from");
    bench.roll_back().await.unwrap();
    assert_eq!(bench.asked("here"), ["web to 01a"]);
}

/// While the clock was ahead, ids of builds were later than those of the builds that are made since it is right.
#[tokio::test]
async fn a_name_goes_back_to_an_image_of_a_clock_that_was_ahead_and_no_further_than_to_the_last_one() {
    let bench = Bench::of(&["here"]);
    for build in ["01z", "01b", "01c"] {
        bench.publish(build, &["here"]).await;
    }
    for to in ["01b", "01z"] {
        bench.roll_back().await.unwrap();
        assert_eq!(bench.asked("here"), [format!("web to {to}")]);
    }
    let error = bench.roll_back().await.unwrap_err();
    assert!(matches!(error, ChangeError::NoGoodOne { .. }), "none is before it: {error}");
}

#[tokio::test]
async fn a_name_does_not_move_a_day_after_somebody_asked_for_that_but_what_is_revoked_is() {
    let bench = Bench::of(&["here"]);
    for build in ["01a", "01b"] {
        bench.publish(build, &["here"]).await;
    }
    let roll_back = || NewHandover {
        name: "web".to_owned(),
        cloud: "here".to_owned(),
        change: Change::RolledBack,
        to_build: Some("01a".to_owned()),
        revoked: None,
        why: String::new(),
        copied: false,
    };
    let begin = async |what: NewHandover| {
        bench.history.begin_handovers(Principal::Manager, vec![what]).await.unwrap()
    };
    begin(roll_back()).await;
    bench.a_day_later();
    bench.set_down("here", true);
    assert_eq!(bench.publications.finish_handovers(|_| true).await.1.len(), 1);
    assert_eq!(bench.open().await.len(), 1, "the cloud may have moved the name already");
    bench.set_down("here", false);
    let (done, left) = bench.publications.finish_handovers(|_| true).await;
    assert!(done.is_empty() && left[0].contains("over 24 h ago"), "{left:?}");
    assert_eq!((bench.open().await, bench.asked("here")), (vec![], vec!["web to 01b".to_owned()]));
    assert_eq!(bench.states("web", "here").await, "01b current, 01a previous");
    // Where the image that has the name is gone, nobody loses it.
    begin(roll_back()).await;
    bench.a_day_later();
    bench.clouds["here"].is.lock().unwrap().images.remove("01b");
    assert_eq!(bench.publications.finish_handovers(|_| true).await.0.len(), 1);
    bench.clouds["here"].is.lock().unwrap().images.insert("01b".to_owned());
    begin(NewHandover { change: Change::Revoked, revoked: Some("01b".to_owned()), ..roll_back() }).await;
    bench.a_day_later();
    assert_eq!(bench.publications.finish_handovers(|_| true).await.0.len(), 1);
    assert_eq!(bench.revoked_in_the_audit_trail().await, 1);
}

#[tokio::test]
async fn a_build_publishes_after_what_is_to_be_revoked_is_marked() {
    let bench = Bench::of(&["here"]);
    for build in ["01a", "01b", "01c"] {
        bench.publish(build, &["here"]).await;
    }
    bench.roll_back().await.unwrap();
    bench.set_down("here", true);
    assert!(bench.revoke("01c", "").await.unwrap_err().is_begun());
    let publish = keeps_one();
    let publication = bench.publications.before_publishing(&publish, "here", "01d").await.unwrap();
    assert_eq!(publication.keep, u32::MAX, "what is not marked yet may push out no good image");
    bench.set_down("here", false);
    let publication = bench.publications.before_publishing(&publish, "here", "01d").await.unwrap();
    assert_eq!((publication.keep, publication.last.as_deref()), (1, Some("01b")));
    assert_eq!(bench.asked("here"), ["web to 01b", "revoke 01c"]);
    assert_eq!(bench.open().await, []);
}

#[tokio::test]
async fn what_had_no_other_image_to_give_its_name_to_is_revoked_once_a_build_has_published() {
    let bench = Bench::of(&["here"]);
    for build in ["01a", "01b"] {
        bench.publish(build, &["here"]).await;
    }
    bench.set_down("here", true);
    assert!(bench.revoke("01b", "").await.unwrap_err().is_begun());
    bench.set_down("here", false);
    bench.clouds["here"].is.lock().unwrap().images.remove("01a");
    let publication = bench.publications.before_publishing(&keeps_one(), "here", "01c").await.unwrap();
    assert_eq!((publication.keep, bench.open().await.len()), (u32::MAX, 1));
    bench.publish("01c", &["here"]).await;
    let (done, left) = bench.publications.finish_handovers(|_| true).await;
    assert_eq!((done.len(), left), (1, Vec::<String>::new()));
    assert_eq!(bench.states("web", "here").await, "01c current, 01b revoked, 01a removed");
    assert_eq!(bench.asked("here"), ["revoke 01b"]);
}

#[tokio::test]
async fn a_name_that_was_promoted_is_pruned_as_the_schedule_says_that_built_its_image() {
    let bench = Bench::of(&["here"]);
    for build in ["01a", "01b"] {
        bench.publish(build, &["here"]).await;
        bench.promote(build).await.unwrap();
    }
    let prune = async |schedule: &str, name: &str| {
        let text = format!(
            "[schedule.{schedule}]\ncloud = \"here\"\nserver.flavor = \"m\"\nimage.elements = [\"debian-minimal\"]\npublish = {{ name = \"{name}\", keep = 7 }}\n"
        );
        let schedules = schedules::parse(Path::new("schedules.toml"), &text).unwrap();
        bench.publications.prune_promoted(&schedules, &CancellationToken::new()).await.unwrap();
        std::mem::take(&mut bench.clouds["here"].is.lock().unwrap().pruned)
    };
    let pruned = prune("debian", "web").await;
    let [one] = &pruned[..] else { panic!("{pruned:?}") };
    assert_eq!((one.name.as_str(), one.keep, one.last.as_deref()), ("stable", 7, Some("01a")));
    assert_eq!(prune("other", "web").await, [], "nobody says how long its images stay");
    assert_eq!(prune("debian", "stable").await, [], "that is a schedule's own");
    // The image that a name is about to go to must not go.
    bench.set_down("here", true);
    assert!(bench.revoke("01a", "").await.unwrap_err().is_begun());
    bench.set_down("here", false);
    assert_eq!(prune("debian", "web").await, []);
}
