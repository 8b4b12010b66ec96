use super::*;
use crate::lifecycle::definition::part;
use crate::schedules::parse;
use image_manager_proto::v1::PublicationState as S;

const HOUR: i64 = 3_600_000;

fn schedule(more: &str) -> Schedule {
    let text = format!(
        "[schedule.a]\nimage.elements = [\"debian-minimal\"]\npublish = {{ name = \"web\" }}\n\
         skip = {{ unchanged = true, max_age = \"2h\" }}\n{more}\n"
    );
    parse(std::path::Path::new("schedules.toml"), &text).unwrap().schedules.remove(0)
}

fn before() -> Before {
    Before {
        id: "b".to_owned(),
        passed: true,
        finished_at: HOUR,
        definition_digest: "d".to_owned(),
        definition: vec![part(ELEMENT, "web", "1", "own"), part("agent", "image-manager-agent", "1", "")],
        schedule_digest: digest_of(&schedule("")),
        packages_sha256: Some("s".to_owned()),
        fingerprint: Some("f".to_owned()),
        trials: vec![("local".to_owned(), "local".to_owned(), true)],
        published: vec![("local".to_owned(), "web".to_owned(), PublicationState::Current)],
    }
}

fn compared(before: &Before, schedule: &Schedule) -> Result<(), String> {
    comparable(before, schedule, schedule.skip.unwrap(), 3 * HOUR)
}

#[test]
fn only_a_young_good_build_tried_alike_is_compared_with() {
    assert_eq!(compared(&before(), &schedule("")), Ok(()));
    let later = "cron = \"@daily\"\njitter = \"1m\"\nretry = 3\npause_after = 9";
    assert_eq!(compared(&before(), &schedule(later)), Ok(()), "when it fires changes no image");
    let key = "image.ssh_authorized_keys = [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDv3q0pzs7w8o2ZQ8y5yqW1yV0v0gkq3l7cG3vYp8J4b a\"]";
    for changed in
        [key, "server.cpus = 1", "checks.disk = {}", "image.environment = { DIB_RELEASE = \"trixie\" }"]
    {
        let why = compared(&before(), &schedule(changed)).unwrap_err();
        assert_eq!(why, "the schedule has changed since build b", "{changed}");
    }
    let trial = |target: &str, passed| vec![(target.to_owned(), "local".to_owned(), passed)];
    let published = |name: &str, state| vec![("local".to_owned(), name.to_owned(), state)];
    let good = before();
    let others = [
        (Before { passed: false, ..good.clone() }, "did not pass"),
        (Before { finished_at: HOUR - 1, ..good.clone() }, "older than skip.max_age = 2h"),
        (Before { finished_at: 3 * HOUR + 1, ..good.clone() }, "in the future"),
        (Before { definition_digest: String::new(), ..good.clone() }, "is not known"),
        (Before { packages_sha256: None, ..good.clone() }, "nothing is stored"),
        (Before { trials: Vec::new(), ..good.clone() }, "other targets"),
        (Before { trials: trial("elsewhere", true), ..good.clone() }, "other targets"),
        (Before { trials: trial("local", false), ..good.clone() }, "did not pass on local"),
        (Before { published: Vec::new(), ..good.clone() }, "its name on local: it never had it"),
        (Before { published: published("stable", S::Current), ..good.clone() }, "it never had it"),
        (Before { published: published("web", S::Previous), ..good.clone() }, "another image has it"),
        (Before { published: published("web", S::Revoked), ..good.clone() }, "it was revoked"),
        (Before { published: published("web", S::Removed), ..good.clone() }, "it was removed"),
        (
            Before { definition: vec![part(ELEMENT, "source-repositories", "", "")], ..good.clone() },
            "element source-repositories fetches",
        ),
    ];
    for (before, why) in others {
        let said = compared(&before, &schedule("")).unwrap_err();
        assert!(said.contains(why), "{why}: {said}");
    }
}

#[test]
fn another_certificate_of_the_gateway_is_a_reason_to_build() {
    assert_eq!(obeys_this_manager(&before(), "f"), Ok(()));
    let why = obeys_this_manager(&before(), "other").unwrap_err();
    assert_eq!(why, "the agent in the image of build b obeys another certificate than the gateway's");
    let unknown = Before { fingerprint: None, ..before() };
    assert!(obeys_this_manager(&unknown, "f").unwrap_err().ends_with("is not known"));
}

#[test]
fn what_has_changed_is_named() {
    let now = |parts| Defined { digest: "other".to_owned(), parts };
    let same = Defined { digest: "d".to_owned(), parts: Vec::new() };
    assert_eq!(same_definition(&before(), &same), Ok(()));
    let parts = vec![
        part(ELEMENT, "web", "2", "own"),
        part("agent", "image-manager-agent", "1", ""),
        part("repository", "ours", "1", ""),
    ];
    let why = same_definition(&before(), &now(parts)).unwrap_err();
    assert_eq!(why, "the definition has changed since build b: element web, repository ours");
    let why = same_definition(&before(), &now(Vec::new())).unwrap_err();
    assert!(why.ends_with("agent image-manager-agent, element web"), "{why}");
    let change = |number: usize| Change {
        package: format!("p{number}"),
        from: (number > 0).then(|| "1".to_owned()),
        to: (number < 7).then(|| "2".to_owned()),
    };
    let changes: Vec<Change> = (0..8).map(change).collect();
    let text = said(&changes);
    assert!(text.starts_with("packages have changed: p0 2 would be new, p1 1 would be 2, "), "{text}");
    assert!(text.ends_with(", and 3 more") && said(&changes[7..]).ends_with("p7 would be removed"), "{text}");
}
