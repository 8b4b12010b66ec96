//! Elements and files of a site's own: on the path beside the shipped ones, named when they stand before one of those,
//! kept in the history, and told apart by `compare`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::harness::{Place, tiny_schedule};

fn write(place: &Place, path: &str, text: &str) {
    let path = place.path().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// One schedule whose builds end with the image, without a server.
fn site() -> Place {
    let place = Place::new(
        &tiny_schedule(
            "tiny",
            "image.environment = { TINY_BUILD_FAIL = \"hook\" }\nimage.elements_path = [\"own\"]\n\
         image.files = [{ source = \"motd\", path = \"/etc/motd\" }]",
        )
        .replace("[\"tiny\"]", "[\"tiny\", \"web\", \"agent-install\"]"),
    );
    write(&place, "own/web/install.d/50-web", "#!/bin/bash\ntrue\n");
    write(&place, "motd", "welcome");
    place
}

#[test]
fn compare_names_the_element_that_changed() {
    let place = site();
    place.expect(&["run", "tiny"], 1);
    write(&place, "own/web/install.d/50-web", "#!/bin/bash\nfalse\n");
    write(&place, "own/agent-install/README.rst", "ours");
    place.expect(&["run", "tiny"], 1);
    let said = place.expect(&["compare", "previous", "latest"], 0);
    for line in ["  ~ element web ", "  ~ element agent-install "] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert!(said.contains("(shipped) ->") && !said.contains("element tiny"), "{said}");
    let build = place.latest();
    let part = |name: &str| {
        build["definition"].as_array().unwrap().iter().find(|part| part["name"] == name).cloned().unwrap()
    };
    assert_eq!(part("agent-install")["source"], "own");
    assert_eq!(part("/etc/motd")["kind"], "file");
    assert_eq!(build["definition_digest"].as_str().unwrap().len(), 64);
    let shown = place.expect(&["show", "latest"], 0);
    assert!(shown.contains("element    web") && shown.contains("2 of your own"), "{shown}");
    place.assert_nothing_left();
}

#[test]
fn an_element_that_stands_before_a_shipped_one_is_named_and_one_that_others_can_write_refused() {
    let place = site();
    write(&place, "own/agent-install/README.rst", "ours");
    let run = place.run(&["check"]);
    let said = super::harness::text(&run.stdout);
    assert!(
        said.contains("used instead of those of the same name that came with this program: agent-install"),
        "{said}"
    );
    let hook = place.path().join("own/web/install.d/50-web");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o777)).unwrap();
    for verb in [&["check"][..], &["run", "tiny"], &["serve", "--operator", "127.0.0.1:0"]] {
        let said = place.expect(verb, 64);
        assert!(said.contains("can be written by others") && said.contains("chmod go-w"), "{said}");
    }
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let motd = place.path().join("motd");
    fs::set_permissions(&motd, fs::Permissions::from_mode(0o666)).unwrap();
    let said = place.expect(&["run", "tiny"], 64);
    assert!(said.contains("motd can be written by others"), "{said}");
}

#[test]
fn a_secret_that_others_can_read_is_refused_and_one_that_is_gone_ends_the_build() {
    let place = Place::tiny("image.secrets = { TOKEN = \"file:token\" }");
    place.secret("token", "swordfish");
    let token = place.path().join("token");
    fs::set_permissions(&token, fs::Permissions::from_mode(0o640)).unwrap();
    let said = place.expect(&["run", "tiny"], 64);
    assert!(said.contains("has a secret and is open to others") && said.contains("chmod go= "), "{said}");
    fs::remove_file(&token).unwrap();
    let said = place.expect(&["run", "tiny"], 2);
    assert!(said.contains("input_unusable") && said.contains("token"), "{said}");
    place.assert_nothing_left();
}
