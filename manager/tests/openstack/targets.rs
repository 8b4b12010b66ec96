//! One build on three targets, two of them on this host and one here with a flavor that is too small for the image.

use std::fs;

use serde_json::Value as Json;

use super::lab::{Lab, tiny_schedule};

fn schedule(name: &str, when: &str) -> String {
    let more = format!(
        "publish = {{ name = \"{name}\", when = \"{when}\" }}\nimage.properties = {{ min_ram = \"256\" }}\n\
         server = {{ network = \"lab-net\", disk = \"512 MiB\" }}\nchecks = {{ disk = {{}} }}\n\
         [[schedule.tiny.targets]]\nname = \"here\"\ncloud = \"local\"\nserver.memory = \"256 MiB\"\n\
         [[schedule.tiny.targets]]\nname = \"here-larger\"\ncloud = \"local\"\nserver.memory = \"384 MiB\"\n\
         [[schedule.tiny.targets]]\nname = \"lab\"\nserver.flavor = \"lab.tiny\"\n"
    );
    tiny_schedule("tiny", "lab", &more)
}

fn verdicts(build: &Json) -> Vec<(&str, &str)> {
    let trials = build["trials"].as_array().unwrap();
    trials
        .iter()
        .map(|trial| (trial["target"].as_str().unwrap(), trial["verdict"].as_str().unwrap_or("none")))
        .collect()
}

/// What `local` has under public names.
fn published(lab: &Lab) -> usize {
    let files = fs::read_dir(lab.path().join("state/images/published")).into_iter().flatten();
    files.count()
}

const CODE: i32 = 2;
const VERDICT: &str = "errored";

#[test]
fn a_flavor_that_is_too_small_keeps_the_name_from_its_own_cloud_or_from_all() {
    let name = format!("im-test-targets-{}", std::process::id());
    let Some(lab) = Lab::with(&schedule(&name, "all")) else { return };
    for (when, there) in [("all", false), ("each", true)] {
        lab.reschedule(&schedule(&name, when));
        let said = lab.expect(&["run", "tiny"], CODE);
        let build = lab.latest();
        assert_eq!(
            verdicts(&build),
            [("here", "passed"), ("here-larger", "passed"), ("lab", VERDICT)],
            "{said}"
        );
        assert_eq!(build["verdict"], VERDICT, "{said}");
        let message = build["failure"]["message"].as_str().unwrap();
        assert!(message.starts_with("target lab: "), "{message}");
        let scratch = build["resources"].as_array().unwrap().iter().filter(|row| row["kind"] == "scratch");
        assert_eq!(scratch.count(), 1, "disk-image-builder ran once");
        assert_eq!(published(&lab) > 0, there, "{when}: {said}");
        assert!(lab.admin.images_of(build["id"].as_str().unwrap()).is_empty(), "nothing in the lab");
        lab.assert_nothing_left();
    }
}
