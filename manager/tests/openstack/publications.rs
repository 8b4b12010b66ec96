//! Names that go to other images in Glance, with another client that asks for the name all the while.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use serde_json::Value as Json;

use super::account::Account;
use super::lab::{Lab, Running, tiny_schedule, wait_for};

/// Asks for a name again and again; the first time that no verified image has the name ends it.
struct Asking {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u32, String>>,
}

impl Asking {
    /// `hashes`: of the images that are verified.
    fn of(lab: &Lab, name: &str, hashes: Vec<String>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (ended, clouds, name) = (Arc::clone(&stop), lab.clouds.clone(), name.to_owned());
        let thread = std::thread::spawn(move || {
            let client = Account::log_in(&clouds, "lab");
            let mut asked = 0;
            while !ended.load(Ordering::Relaxed) {
                let path = format!("v2/images?name={name}&status=active");
                let found = client.list("image", &path, "images");
                let verified = |image: &Json| hashes.iter().any(|hash| image["os_hash_value"] == **hash);
                if found.is_empty() || !found.iter().all(verified) {
                    return Err(format!("asked {asked} times, then {name} was: {found:?}"));
                }
                asked += 1;
            }
            Ok(asked)
        });
        Self { stop, thread }
    }

    #[track_caller]
    fn never_without(self) {
        self.stop.store(true, Ordering::Relaxed);
        let asked = self.thread.join().unwrap().unwrap();
        assert!(asked > 20, "it was asked {asked} times only");
    }
}

/// A manager that serves, in its state directory, where the program's other verbs find it.
pub(super) fn serve(lab: &Lab) -> Running {
    let serving = lab.start(&mut lab.command(&["serve", "--operator", "127.0.0.1:0"]));
    wait_for("the manager to serve", || {
        let holder = fs::read_to_string(lab.path().join("state/manager.json")).ok()?;
        serde_json::from_str::<Json>(&holder).ok()?["operator"].is_string().then_some(())
    });
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
    let hashes = [&first, &second, &third].map(|build| build["image"]["sha512"].as_str().unwrap().to_owned());
    let serving = serve(&lab);
    let asking = Asking::of(&lab, &name, hashes.to_vec());

    lab.expect(&["rollback", &name, "--reason", "it is slow"], 0);
    assert!(has(&second, &name) && !has(&third, &name));
    lab.expect(&["rollback", &name, "--to", &id(&third)], 0);
    assert!(has(&third, &name) && !has(&second, &name));

    let said = lab.expect(&["promote", &id(&third), "--as", &stable], 64);
    assert!(said.contains("an image has one name in this cloud"), "{said}");
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
    asking.never_without();

    let listed = lab.command(&["images", &name, "--format", "json"]).output().unwrap();
    let listed: Vec<Json> = serde_json::from_slice(&listed.stdout).unwrap();
    let states: Vec<_> = listed.iter().map(|row| (row["build_id"].clone(), row["state"].clone())).collect();
    assert_eq!(
        states,
        [(second["id"].clone(), "current".into()), (third["id"].clone(), "revoked".into())],
        "that which has another name has this one no more"
    );
    drop(serving);
    lab.assert_nothing_left();
}
