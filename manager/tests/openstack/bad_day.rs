//! A cloud on a bad day: requests are refused, cut off, and answered into the void, and tokens are revoked under
//! way. The build passes all the same, leaves nothing, and its history says what happened.

use super::lab::{Lab, detail_of, tiny_schedule};
use super::proxy::{Proxy, detour, keystone};

#[test]
fn a_build_passes_and_says_what_happened() {
    let more = format!("publish = {{ name = \"im-test-bad-day-{}\" }}", std::process::id());
    let Some(lab) = Lab::with(&tiny_schedule("tiny", "lab", &more)) else { return };
    let door = keystone(&lab.clouds);
    let host = door.split(':').next().unwrap();
    let rules = |rules: &[&str]| rules.iter().map(|&rule| rule.to_owned()).collect::<Vec<_>>();
    // The tiny image has some 28 megabytes.
    let glance = Proxy::start(
        &format!("{host}:9292"),
        &door,
        &rules(&[
            "method=POST path=/v2/images$ status=503 retry_after=2 times=2",
            "method=PUT path=/file$ cut_request=14000000",
            "method=PUT path=/file$ revoke=14000000",
        ]),
    );
    let nova = Proxy::start(
        &format!("{host}:8774"),
        &door,
        &rules(&["method=POST path=/servers$ lose_answer=1", "method=DELETE path=/servers/ revoke=0"]),
    );
    let clouds = detour(&lab, &[("image", glance.url("")), ("compute", nova.url("/v2.1"))]);
    let said = Lab::expect_of(lab.command(&["run", "tiny"]).env("OS_CLIENT_CONFIG_FILE", &clouds), 0);
    glance.assert_all_used();
    nova.assert_all_used();
    let asked = nova
        .log()
        .iter()
        .filter(|entry| entry["method"] == "POST" && entry["path"] == "/v2.1/servers")
        .count();
    assert_eq!(asked, 1, "a second request could have made a second server");

    let build = lab.latest();
    assert_eq!(build["verdict"], "passed", "{said}");
    let uploading = detail_of(&build, "uploading");
    for words in ["HTTP 503", "(2 times)", "sent again from the start", "authenticated again"] {
        assert!(uploading.contains(words), "no {words:?} in {uploading:?}");
    }
    let booting = detail_of(&build, "booting");
    assert!(booting.contains("found it by its name"), "{booting}");
    let cleaning = detail_of(&build, "cleaning_up");
    assert!(cleaning.contains("everything was removed; on the way: DELETE servers/"), "{cleaning}");
    assert!(cleaning.contains("the token was refused; authenticated again"), "{cleaning}");
    lab.assert_nothing_left();
    let images = lab.admin.images_of(build["id"].as_str().unwrap());
    let [image] = images.as_slice() else { panic!("{images:?}") };
    assert_eq!((&image["status"], &image["os_hash_value"]), (&"active".into(), &build["image"]["sha512"]));
}
