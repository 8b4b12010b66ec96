//! Checks that a schedule brings itself (files, commands, scripts), and those that the manager looks after: on the real
//! agent in the tiny image.

use std::fs;

use serde_json::Value as Json;

use super::harness::Place;

fn check<'a>(build: &'a Json, name: &str) -> &'a Json {
    let found = build["checks"].as_array().unwrap().iter().find(|check| check["name"] == name);
    found.unwrap_or_else(|| panic!("no check {name} in {}", build["checks"]))
}

fn write_scripts(place: &Place) {
    for (name, text) in [
        (
            "good.sh",
            "#!/bin/sh\necho 1..2\necho 'ok 1 - the first'\necho 'ok 2 - the second # SKIP no card'\n",
        ),
        ("bad.sh", "#!/bin/sh\necho 'ok 1 - the first'\necho 'not ok 2 - the second'\n"),
        ("hangs.sh", "#!/bin/sh\nsleep 1000 & sleep 1000\n"),
        ("floods.sh", "#!/bin/sh\nyes flood | head -c 20000000\n"),
        (
            "leaves.sh",
            "#!/bin/sh\nenv -i /bin/busybox setsid /bin/busybox sleep 54321 </dev/null >/dev/null 2>&1 &\n\
             : >/tmp/left\n",
        ),
        (
            "seeks.sh",
            "#!/bin/sh\nuntil [ -e /tmp/left ]; do sleep 0.2; done\nsleep 4\n\
             ! busybox ps | grep '[s]leep 54321'\n",
        ),
        ("deletes.sh", "#!/bin/sh\nrm /usr/local/sbin/image-manager-agent\n"),
    ] {
        fs::write(place.path().join(name), text).unwrap();
    }
}

#[test]
fn a_schedule_s_own_expectations_pass_and_nothing_of_them_is_left() {
    let place = Place::tiny(
        "checks.paths = { kind = \"files\", expect = [{ path = \"/bin/busybox\", kind = \"file\" }, \
         { path = \"/etc/no-such-file\", kind = \"absent\" }] }\n\
         checks.commands = { run = [{ command = \"echo hello\", output = \"hel*\" }] }\n\
         checks.good = { kind = \"script\", file = \"good.sh\" }\n\
         checks.floods = { kind = \"script\", file = \"floods.sh\", timeout = \"1m\" }\n\
         checks.leaves = { kind = \"script\", file = \"leaves.sh\" }\n\
         checks.seeks = { kind = \"script\", file = \"seeks.sh\" }\n\
         checks.deletes = { kind = \"script\", file = \"deletes.sh\" }\n\
         checks.names = { kind = \"dns\", names = [\"manager.internal\"], required = false, timeout = \"5s\" }\n\
         checks.boot_time = { attach = \"3m\" }\n\
         checks.console = { kernel = false, login = false }\nchecks.artifact = {}\n",
    );
    write_scripts(&place);
    let said = place.expect(&["run", "tiny"], 0);
    let build = place.latest();
    let all = [
        "paths",
        "commands",
        "good",
        "floods",
        "leaves",
        "seeks",
        "deletes",
        "boot_time",
        "console",
        "artifact",
    ];
    for name in all {
        assert_eq!(check(&build, name)["outcome"], "pass", "{said}\n{}", check(&build, name));
    }
    let good = check(&build, "good");
    assert_eq!(good["summary"], "1 of 2 points passed, 1 skipped or to do");
    let points = good["observations"]["points"].as_array().unwrap();
    assert_eq!((&points[0]["name"], &points[1]["outcome"]), (&"the first".into(), &"skipped".into()));
    assert!(check(&build, "floods")["observations"]["output"].as_array().unwrap().len() < 50);
    // The one that it took away itself, and the directory of the scripts.
    let removal = build["agent"]["removal"]["paths"].as_array().unwrap();
    let fate = |path: &str| removal.iter().find(|named| named["path"] == path).map(|named| &named["fate"]);
    assert_eq!(fate("/var/lib/image-manager-scripts"), Some(&"removed".into()));
    assert_eq!(fate("/usr/local/sbin/image-manager-agent"), Some(&"absent".into()));
}

#[test]
fn what_is_not_as_a_schedule_expects_fails_by_its_name() {
    let place = Place::tiny(
        "checks.paths = { kind = \"files\", expect = [{ path = \"/etc/no-such-file\" }] }\n\
         checks.commands = { run = [{ command = \"exit 3\" }] }\n\
         checks.bad = { kind = \"script\", file = \"bad.sh\" }\n\
         checks.hangs = { kind = \"script\", file = \"hangs.sh\", timeout = \"8s\" }\n\
         checks.boot_time = { attach = \"1s\" }\n",
    );
    write_scripts(&place);
    place.expect(&["run", "tiny"], 1);
    let build = place.latest();
    assert_eq!(build["reason"], "check_failed");
    for (name, why) in [
        ("paths", "/etc/no-such-file does not exist"),
        ("commands", "`exit 3` ended with exit code 3, not 0"),
        ("bad", "1 of 2 points failed: the second"),
        ("hangs", "did not finish in time"),
        ("boot_time", "1.0 s is allowed"),
    ] {
        let check = check(&build, name);
        assert_eq!(check["outcome"], "fail", "{check}");
        assert!(check["summary"].as_str().unwrap().contains(why), "{check}");
    }
    assert_eq!(build["agent"]["removal"]["complete"], true, "{build}");
}

#[test]
fn the_power_button_is_tried_last() {
    let place = Place::tiny("checks = { disk = {}, poweroff = {} }");
    place.expect(&["run", "tiny"], 0);
    let build = place.latest();
    let poweroff = check(&build, "poweroff");
    assert!(
        poweroff["summary"].as_str().unwrap().starts_with("the server shut down cleanly in"),
        "{poweroff}"
    );
}

#[test]
fn a_script_that_cannot_be_had_is_a_mistake_of_the_schedule() {
    let place = Place::tiny("checks.mine = { kind = \"script\", file = \"absent.sh\" }");
    let said = place.expect(&["check"], 64);
    assert!(said.contains("`checks.mine.file`") && said.contains("absent.sh cannot be read"), "{said}");
}
