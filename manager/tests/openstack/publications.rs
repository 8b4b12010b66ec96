//! Names that go to other images in Glance, with another client that asks for the name all the while.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde_json::{Value as Json, json};

use super::account::Account;
use super::lab::{Lab, Running, detail_of, pause, tiny_schedule, wait_for};

/// Clients that ask at once: an answer is as old as Glance takes for one, so one alone would overlook what is shorter.
const CLIENTS: usize = 4;
/// The shortest time without a verified image that must be seen.
const GAP: Duration = Duration::from_millis(50);
/// The new image gets the name before the old one loses it: so long both may have it.
const BOTH: Duration = Duration::from_secs(10);

/// What the name was, from one answer on until another one comes, as one client saw it.
#[derive(Debug, Clone)]
struct Seen {
    hashes: BTreeSet<String>,
    first: DateTime<Utc>,
    since: Instant,
    until: Instant,
}

/// Asks Glance for a name again and again, as whoever starts a server by the image's name does.
struct Asking {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<(u32, Vec<Seen>)>>,
    began: Instant,
}

/// What was seen: how often it was asked, and the answers of each client in their order.
struct Answers {
    asked: u32,
    every: Duration,
    seen: Vec<Vec<Seen>>,
}

impl Asking {
    /// Returns once each client has had an answer.
    fn of(lab: &Lab, name: &str) -> Self {
        let (stop, begun) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (ended, begun) = (Arc::clone(&stop), Arc::clone(&begun));
                let (clouds, name) = (lab.clouds.clone(), name.to_owned());
                std::thread::spawn(move || {
                    let client = Account::log_in(&clouds, "lab");
                    let path = format!("v2/images?name={name}&status=active");
                    let (mut asked, mut seen) = (0, Vec::<Seen>::new());
                    while !ended.load(Ordering::Relaxed) {
                        let found = client.list("image", &path, "images");
                        let hash =
                            |image: &Json| image["os_hash_value"].as_str().unwrap_or("none").to_owned();
                        let hashes: BTreeSet<String> = found.iter().map(hash).collect();
                        asked += 1;
                        if asked == 1 {
                            begun.fetch_add(1, Ordering::Relaxed);
                        }
                        let now = Instant::now();
                        match seen.last_mut() {
                            Some(last) if last.hashes == hashes => last.until = now,
                            _ => seen.push(Seen { hashes, first: Utc::now(), since: now, until: now }),
                        }
                    }
                    (asked, seen)
                })
            })
            .collect();
        wait_for("the first answers", || (begun.load(Ordering::Relaxed) == CLIENTS).then_some(()));
        Self { stop, clients, began: Instant::now() }
    }

    fn end(self) -> Answers {
        self.stop.store(true, Ordering::Relaxed);
        let answers: Vec<_> = self.clients.into_iter().map(|client| client.join().unwrap()).collect();
        let asked = answers.iter().map(|(asked, _)| asked).sum();
        let seen = answers.into_iter().map(|(_, seen)| seen).collect();
        Answers { asked, every: self.began.elapsed() / asked, seen }
    }
}

impl Answers {
    /// What was wrong with the name by what is known of the builds now: times without an image, images that were not
    /// verified when they were seen, and two that both had the name for longer than one needs to lose it.
    fn wrong(&self, builds: &[Json]) -> Vec<String> {
        let verified = |hash: &String, at: DateTime<Utc>| {
            builds.iter().filter(|build| build["image"]["sha512"] == **hash).any(|build| {
                let stages = build["stages"].as_array().unwrap();
                let verifying = stages.iter().find(|stage| stage["name"] == "verifying").unwrap();
                let done =
                    verifying["finished_at"].as_str().map(|text| text.parse::<DateTime<Utc>>().unwrap());
                build["verdict"] == "passed" && done.is_some_and(|done| done <= at)
            })
        };
        let mut wrong = Vec::new();
        for seen in self.seen.iter().flatten() {
            let Seen { hashes, first, since, until } = seen;
            if hashes.is_empty() {
                wrong.push(format!("no image at {first}"));
            }
            if let Some(hash) = hashes.iter().find(|hash| !verified(hash, *first)) {
                wrong.push(format!("the image {hash} at {first}, which was not verified"));
            }
            if hashes.len() > 2 || (hashes.len() == 2 && until.duration_since(*since) > BOTH) {
                wrong.push(format!(
                    "{} images at {first} for {:?}",
                    hashes.len(),
                    until.duration_since(*since)
                ));
            }
        }
        wrong
    }

    /// Says that the name was that of a verified image all the while, and of so many in turn.
    #[track_caller]
    fn never_without(&self, builds: &[Json], images: usize) {
        let Self { asked, every, seen } = self;
        println!("asked {asked} times, every {every:?}; two had the name for {:?}", self.both());
        assert_eq!(self.wrong(builds), Vec::<String>::new());
        assert!(*asked > 100, "it was asked {asked} times only");
        let hashes: BTreeSet<_> = seen.iter().flatten().flat_map(|seen| &seen.hashes).collect();
        assert_eq!(hashes.len(), images, "{seen:?}");
    }

    /// The longest time that two images had the name.
    fn both(&self) -> Duration {
        let both = self.seen.iter().flatten().filter(|seen| seen.hashes.len() > 1);
        both.map(|seen| seen.until.duration_since(seen.since)).max().unwrap_or_default()
    }
}

/// Says that a gap as short as [`GAP`] would have been seen: the name is taken away for so long by hand.
fn prove_that_gaps_are_seen(lab: &Lab, name: &str, image: &Json) {
    let path = format!("v2/images/{}", image["id"].as_str().unwrap());
    let set = |hidden: bool| {
        let patch = json!([{"op": "replace", "path": "/os_hidden", "value": hidden}]);
        assert_eq!(lab.tenant.ask(Method::PATCH, "image", &path, Some(patch)).0, 200);
    };
    let asking = Asking::of(lab, name);
    pause(Duration::from_secs(1));
    set(true);
    pause(GAP);
    set(false);
    pause(Duration::from_secs(1));
    let answers = asking.end();
    let wrong = answers.wrong(&lab.builds());
    assert!(
        wrong.iter().any(|line| line.starts_with("no image")),
        "{wrong:?}, asked every {:?}",
        answers.every
    );
}

/// A manager that serves, in its state directory, where the program's other verbs find it.
pub(super) fn serve(lab: &Lab) -> Running {
    let mut serving = lab.start(&mut lab.command(&["serve", "--operator", "127.0.0.1:0"]));
    serving.wait_until_it_serves(lab);
    serving
}

/// The one image of a build.
#[track_caller]
pub(super) fn image(lab: &Lab, build: &Json) -> Json {
    let mut images = lab.admin.images_of(build["id"].as_str().unwrap());
    assert_eq!(images.len(), 1, "{images:?}");
    images.remove(0)
}

#[test]
fn a_name_goes_to_other_images_and_is_never_without_one() {
    let name = format!("im-test-names-{}", std::process::id());
    let stable = format!("{name}-stable");
    let more = format!("publish = {{ name = \"{name}\" }}\nchecks = {{}}");
    let Some(lab) = Lab::with(&tiny_schedule("tiny", "lab", &more)) else { return };
    let [first, second, third] = [(); 3].map(|()| {
        lab.expect(&["run", "tiny"], 0);
        lab.latest()
    });
    let id = |build: &Json| build["id"].as_str().unwrap().to_owned();
    let has = |build: &Json, name: &str| {
        let image = image(&lab, build);
        image["name"] == name && image["os_hidden"] == false && image["image_manager_published"] == name
    };
    assert!(has(&third, &name) && !has(&second, &name) && !has(&first, &name));
    let serving = serve(&lab);
    prove_that_gaps_are_seen(&lab, &name, &image(&lab, &third));
    let asking = Asking::of(&lab, &name);

    lab.expect(&["rollback", &name, "--reason", "it is slow"], 0);
    assert!(has(&second, &name) && !has(&third, &name));
    lab.expect(&["rollback", &name, "--to", &id(&third)], 0);
    assert!(has(&third, &name) && !has(&second, &name));

    lab.expect(&["promote", &id(&first), "--as", &stable], 0);
    assert!(has(&first, &stable) && has(&third, &name));
    let said = lab.expect(&["revoke", &id(&first), "--reason", "leaked key"], 64);
    assert!(said.contains("has no good image to go back to"), "{said}");

    lab.expect(&["revoke", &id(&third), "--reason", "leaked key"], 0);
    assert!(has(&second, &name), "the name went to the newest good one");
    let revoked = image(&lab, &third);
    assert_eq!(revoked["image_manager_revoked"], "leaked key");
    assert_eq!((&revoked["os_hidden"], &revoked["status"]), (&true.into(), &"active".into()));
    let dated = revoked["name"].as_str().unwrap();
    assert!(dated.starts_with(&format!("{name} (20")), "{dated}");
    let said = lab.expect(&["rollback", &name, "--to", &id(&third)], 64);
    assert!(said.contains("it was revoked"), "{said}");
    asking.end().never_without(&lab.builds(), 2);
    // A build publishes as well, and its image gets the name when it is verified.
    let run = lab.start(&mut lab.command(&["run", "tiny"]));
    lab.wait_for_state(&["booting"]);
    let asking = Asking::of(&lab, &name);
    run.expect(0);
    let fourth = lab.latest();
    assert!(has(&fourth, &name) && !has(&second, &name));
    asking.end().never_without(&lab.builds(), 2);

    let listed = lab.command(&["images", &name, "--format", "json"]).output().unwrap();
    let listed: Vec<Json> = serde_json::from_slice(&listed.stdout).unwrap();
    let states: Vec<_> = listed.iter().map(|row| (row["build_id"].clone(), row["state"].clone())).collect();
    assert_eq!(
        states,
        [
            (fourth["id"].clone(), "current".into()),
            (third["id"].clone(), "revoked".into()),
            (second["id"].clone(), "previous".into())
        ],
        "that which has another name has this one no more"
    );
    drop(serving);
    let newest = what_is_in_use_stays(&lab, &name, &second, [&third, &fourth]);
    what_is_current_is_promoted_as_a_copy(&lab, &name, [&second, &newest]);
    lab.assert_nothing_left();
}

/// Nothing else in the image is another than in its copy, as users see it.
fn expect_copy(image: &Json, copy: &Json) {
    assert_ne!(image["id"], copy["id"]);
    let own = [
        "id",
        "name",
        "file",
        "self",
        "created_at",
        "updated_at",
        "image_manager_image",
        "image_manager_published",
    ];
    for (key, value) in image.as_object().unwrap() {
        let its_own = own.contains(&key.as_str())
            || key.starts_with("owner_specified.")
            || ["direct_url", "locations", "stores"].contains(&key.as_str());
        assert!(its_own || copy[key] == *value, "{key}: {value} became {}", copy[key]);
    }
    for copied in ["owner_specified.openstack.md5", "owner_specified.openstack.sha256"] {
        assert_eq!(copy[copied], image[copied]);
    }
    assert_eq!((&copy["os_hidden"], &copy["status"]), (&false.into(), &"active".into()));
}

/// The channel gets copies of images that are current under the name, and both images of a build are revoked. `older`: what
/// the name goes back to.
fn what_is_current_is_promoted_as_a_copy(lab: &Lab, name: &str, [older, newest]: [&Json; 2]) {
    let channel = format!("{name}-channel");
    let id = |build: &Json| build["id"].as_str().unwrap().to_owned();
    let named = |build: &Json, name: &str| {
        let images = lab.admin.images_of(&id(build)).into_iter();
        let mut images: Vec<Json> = images.filter(|image| image["image_manager_published"] == name).collect();
        assert_eq!(images.len(), 1, "{images:?}");
        images.remove(0)
    };
    // Without a manager: the verb does it itself, and says how far it is.
    let said = lab.expect(&["promote", &id(newest), "--as", &channel], 0);
    assert!(said.contains("copying image") && said.contains("100 % of the image is copied"), "{said}");
    expect_copy(&named(newest, name), &named(newest, &channel));
    let asking = Asking::of(lab, &channel);
    let said = lab.expect(&["promote", &id(newest), "--as", &channel], 64);
    assert!(said.contains("it already is"), "{said}");
    // What the name keeps no more is gone there; the channel has its own.
    lab.expect(&["run", "tiny"], 0);
    let next = lab.latest();
    assert_eq!(image(lab, newest)["name"], *channel);

    let serving = serve(lab);
    lab.expect(&["promote", &id(&next), "--as", &channel, "--reason", "it is good"], 0);
    let copy = named(&next, &channel);
    expect_copy(&named(&next, name), &copy);
    let listed = lab.command(&["images", &channel, "--format", "json"]).output().unwrap();
    let listed: Vec<Json> = serde_json::from_slice(&listed.stdout).unwrap();
    let rows: Vec<_> = listed.iter().map(|row| (&row["build_id"], &row["state"])).collect();
    assert_eq!(rows, [(&next["id"], &"current".into()), (&newest["id"], &"previous".into())]);
    assert_eq!((&listed[0]["image_id"], &listed[0]["location"]), (&copy["id"], &copy["id"]));
    lab.expect(&["rollback", &channel], 0);
    assert_eq!(named(newest, &channel)["name"], *channel);
    lab.expect(&["rollback", &channel, "--to", &id(&next)], 0);
    lab.expect(&["revoke", &id(&next), "--reason", "leaked key"], 0);
    for revoked in [named(&next, name), named(&next, &channel)] {
        assert_eq!(
            (&revoked["image_manager_revoked"], &revoked["os_hidden"]),
            (&"leaked key".into(), &true.into())
        );
    }
    assert_eq!(
        (&named(older, name)["name"], &named(newest, &channel)["name"]),
        (&name.into(), &channel.as_str().into())
    );
    asking.end().never_without(&lab.builds(), 2);
    drop(serving);
}

/// Nothing is kept; but an older image that a server of the project was made from stays, and is told. Returns the newest build.
fn what_is_in_use_stays(lab: &Lab, name: &str, used: &Json, others: [&Json; 2]) -> Json {
    let more = format!("publish = {{ name = \"{name}\", keep = 0 }}\nchecks = {{}}");
    lab.reschedule(&tiny_schedule("tiny", "lab", &more));
    make_server(lab, &image(lab, used));
    lab.expect(&["run", "tiny"], 0);
    let newest = lab.latest();
    assert_eq!(image(lab, &newest)["name"], name);
    let told = detail_of(&newest, "publishing");
    assert!(told.contains("is in use by server im-test-user"), "{told}");
    assert_eq!(image(lab, used)["status"], "active");
    for build in others {
        assert_eq!(lab.admin.images_of(build["id"].as_str().unwrap()), Vec::<Json>::new(), "it is gone");
    }
    let listed = lab.command(&["images", name, "--format", "json"]).output().unwrap();
    let listed: Vec<Json> = serde_json::from_slice(&listed.stdout).unwrap();
    let row = listed.iter().find(|row| row["build_id"] == used["id"]).unwrap();
    assert_eq!(row["state"], "previous", "{row}");
    newest
}

/// A user's server from an image, removed with the lab's other things.
fn make_server(lab: &Lab, image: &Json) {
    let flavors = lab.tenant.list("compute", "flavors", "flavors");
    let flavor = flavors.iter().find(|flavor| flavor["name"] == "lab.tiny").unwrap();
    let networks = lab.tenant.list("network", "v2.0/networks?name=lab-net", "networks");
    let name = format!("im-test-user-{}", std::process::id());
    let body = json!({"server": {"name": name, "imageRef": image["id"], "flavorRef": flavor["id"],
        "networks": [{"uuid": networks[0]["id"]}]}});
    let server = lab.tenant.make("compute", "servers", "server", body);
    lab.plant("compute", format!("servers/{}", server["id"].as_str().unwrap()));
}
