//! Names that go to other images where no manager serves the state directory.

use std::fs::{self, File};

use super::harness::published::{self, PUBLISH};
use super::harness::{Place, text};
use super::publications::{Asking, build, images, sha512, state};
use super::webhook::Receiver;

#[test]
fn names_change_where_no_manager_serves() {
    let place = Place::tiny(PUBLISH);
    for verb in [
        &["rollback", "tiny"][..],
        &["promote", "019a", "--as", "stable"],
        &["revoke", "019a", "--reason", "leaked key"],
    ] {
        let said = place.expect(verb, 64);
        assert!(said.contains("there is no") && said.contains("image-manager run"), "{verb:?}: {said}");
        assert!(!place.state().join("image-manager.db").exists(), "{verb:?}: nothing is made");
    }
    let (place, [old, new]) = published::place(PUBLISH);
    let published = place.state().join("images/published");
    let current = published.join("tiny.qcow2");
    let hash = |build: &str| images(&place, "tiny")[build].1.clone();
    let asking = Asking::of(current.clone());

    // With a webhook of a manager that served once: the next one that serves tells it.
    let receiver = Receiver::start(&[]);
    let url = receiver.url();
    assert_eq!(place.serve_with(&["--webhook-url", &url]).terminate(), Some(0));
    let said = place.expect(&["rollback", "tiny", "--reason", "it is slow"], 0);
    assert!(said.contains("current") && said.contains("that has a webhook notifies it"), "{said}");
    assert_eq!(sha512(&current), hash(&old));
    assert_eq!((state(&place, "tiny", &old), state(&place, "tiny", &new)).0, "current");
    let said = place.expect(&["rollback", "tiny"], 64);
    assert!(said.contains("tiny on local has no good image to go back to"), "{said}");
    let said = place.expect(&["rollback", "nothing"], 64);
    assert!(said.contains("no image is published as \"nothing\""), "{said}");
    place.expect(&["promote", &new, "--as", "stable", "--reason", "good for a week"], 0);
    assert_eq!(sha512(&published.join("stable.qcow2")), hash(&new));
    place.expect(&["promote", &old, "--as", "stable"], 0);
    place.expect(&["rollback", "tiny", "--to", &new[..23]], 0);
    place.expect(&["revoke", &new, "--reason", "leaked key"], 0);
    assert_eq!(sha512(&current), hash(&old), "the name went back");
    assert_eq!(state(&place, "tiny", &new), "revoked");
    let (wrong, _) = asking.end(&place);
    assert!(wrong.is_empty(), "{wrong:?}");

    let said = place.expect(&["audit", "--format", "json"], 0);
    for told in [
        "image.rolled_back",
        "image.promoted",
        "image.revoked",
        "leaked key",
        "it is slow",
        "good for a week",
    ] {
        assert!(said.contains(told), "{told}: {said}");
    }
    let me = text(&std::process::Command::new("id").arg("-un").output().unwrap().stdout);
    let kept = place.expect(&["images", "--format", "json"], 0);
    assert!(kept.contains(&format!("\"published_by\": \"{} (uid", me.trim())), "{kept}");

    // Each is told once, with who did it.
    assert_eq!(receiver.heard().len(), 0, "nobody sends before a manager serves");
    let serving = place.serve_with(&["--webhook-url", &url]);
    let heard = receiver.wait_for(6);
    let whole: Vec<String> = heard.iter().map(|told| told.json().to_string()).collect();
    for (told, count) in [("image.rolled_back", 2), ("image.promoted", 2), ("image.revoked", 2)] {
        assert_eq!(whole.iter().filter(|body| body.contains(told)).count(), count, "{told}: {whole:?}");
    }
    assert!(whole.iter().all(|body| body.contains(me.trim())), "{whole:?}");
    assert_eq!(serving.terminate(), Some(0));
    place.assert_nothing_left();
}

/// The process is killed at each commit of a change: the next one of any kind finishes it, or it was never begun. Whoever
/// asks for the same again does not go back twice.
#[test]
fn a_change_in_the_foreground_that_is_cut_off_is_finished_by_the_next() {
    let (place, [oldest, old, new]) = published::place(PUBLISH);
    let current = place.state().join("images/published/tiny.qcow2");
    for (point, begun) in [
        ("handover:begin#1:before", false),
        ("handover:begin#1:after", true),
        ("handover:done#1:before", true),
        ("handover:done#1:after", false),
    ] {
        let hash = |build: &str| images(&place, "tiny")[build].1.clone();
        let done = point.ends_with("done#1:after");
        let killed =
            place.command(&["rollback", "tiny"]).env("IMAGE_MANAGER_TEST_KILL", point).output().unwrap();
        assert_eq!(killed.status.code(), None, "{point}: {}", text(&killed.stderr));
        assert!(
            [hash(&old), hash(&new)].contains(&sha512(&current)),
            "{point}: a verified image has the name"
        );
        if done {
            assert_eq!(state(&place, "tiny", &old), "current", "{point}");
        } else {
            let said = place.expect(&["rollback", "tiny"], 0);
            assert_eq!(said.contains("was interrupted: it is finished now"), begun, "{point}: {said}");
        }
        assert_eq!(state(&place, "tiny", &old), "current", "{point}");
        assert_eq!(state(&place, "tiny", &oldest), "previous", "{point}: it went back once");
        assert_eq!(sha512(&current), hash(&old), "{point}");
        place.expect(&["rollback", "tiny", "--to", &new], 0);
    }
    let audit = place.expect(&["audit", "--format", "json"], 0);
    assert_eq!(audit.matches("image.rolled_back").count(), 8, "each is there once: {audit}");
    // A build finishes what was cut off, as well.
    let killed = place
        .command(&["rollback", "tiny"])
        .env("IMAGE_MANAGER_TEST_KILL", "handover:begin#1:after")
        .output()
        .unwrap();
    assert_eq!(killed.status.code(), None);
    let next = build(&place);
    let said = place.expect(&["audit", "--format", "json"], 0);
    assert_eq!(said.matches("image.rolled_back").count(), 9, "{said}");
    assert_eq!(state(&place, "tiny", &next), "current");
    place.assert_nothing_left();
}

#[test]
fn two_in_the_foreground_do_not_meet() {
    let (place, [_]) = published::place(PUBLISH);
    let lock = File::options().write(true).open(place.state().join("lock")).unwrap();
    lock.lock().unwrap();
    fs::write(place.state().join("manager.json"), "{\"pid\":4711,\"operator\":null}").unwrap();
    for verb in [&["rollback", "tiny"][..], &["verify", "tiny"], &["run", "tiny"]] {
        let said = place.expect(verb, 2);
        assert!(said.contains("(pid 4711) uses the state directory"), "{verb:?}: {said}");
    }
    place.expect(&["images", "tiny"], 0);
}
