use std::time::Duration;

use image_manager_agent::checks::descriptor::Set;

use super::{one, read};

fn check_names(text: &str) -> Vec<String> {
    read(text).schedules[0].targets[0].checks.iter().map(|check| check.name.clone()).collect()
}

#[test]
fn tables_merge_key_by_key_and_lists_are_replaced() {
    let schedules = read(
        r#"
        [defaults]
        cloud = "mycloud"
        image = { elements = ["debian-minimal", "vm"], packages = ["vim"], environment = { DIB_RELEASE = "trixie", A = "1" } }
        server = { memory = "2 GiB", flavor = "m1.small" }
        publish.keep = 7
        [schedule.a]
        publish.name = "a"
        [schedule.b]
        cloud = "local"
        [schedule.b.image]
        elements = ["ubuntu-minimal"]
        environment = { DIB_RELEASE = "noble" }
        "#,
    );
    let (a, b) = (&schedules.schedules[0], &schedules.schedules[1]);
    assert_eq!(a.image.elements, ["debian-minimal", "vm"]);
    assert_eq!((a.targets[0].cloud.as_str(), a.targets[0].server.memory), ("mycloud", 2 << 30));
    assert_eq!(a.publish.as_ref().unwrap().keep, 7);
    assert_eq!(b.image.elements, ["ubuntu-minimal"]);
    assert_eq!(b.image.packages, ["vim"]);
    assert_eq!(b.image.environment["DIB_RELEASE"], "noble");
    assert_eq!(b.image.environment["A"], "1");
    assert_eq!(
        (b.targets[0].cloud.as_str(), b.targets[0].server.memory, &b.publish),
        ("local", 2 << 30, &None)
    );
}

#[test]
fn how_long_alone_says_which_older_images_stay() {
    for (publish, keep, keep_for) in [
        ("", 3, None),
        (", keep_for = \"90d\"", 0, Some(90)),
        (", keep = 2, keep_for = \"90d\"", 2, Some(90)),
        (", keep = 0", 0, None),
    ] {
        let text =
            format!("[schedule.a]\nimage.elements = [\"vm\"]\npublish = {{ name = \"a\"{publish} }}\n");
        let read = read(&text).schedules[0].publish.clone().unwrap();
        let keep_for = keep_for.map(|days: u64| Duration::from_hours(days * 24));
        assert_eq!((read.keep, read.keep_for), (keep, keep_for), "{publish}");
    }
}

#[test]
fn checks_merge_by_name_and_can_be_taken_away() {
    let base = "[defaults.checks]\ndisk = { min_free = \"1 GiB\" }\ndns = {}\n\
                [schedule.a]\nimage = { elements = [\"vm\"] }\n";
    let table = [
        ("", vec!["disk", "dns"]),
        ("checks = { disk = { required = false } }", vec!["dns", "disk"]),
        ("checks = { internet = {} }", vec!["disk", "dns", "internet"]),
        ("checks = { dns = false }", vec!["disk"]),
        ("checks = {}", vec![]),
    ];
    for (lines, expected) in table {
        assert_eq!(check_names(&format!("{base}{lines}\n")), expected, "{lines}");
    }
    let merged = read(&format!("{base}checks = {{ disk = {{ required = false }} }}\n"));
    let disk = merged.schedules[0].targets[0].checks.iter().find(|check| check.name == "disk").unwrap();
    assert!(!disk.required);
    assert_eq!(disk.settings["min_free"], 1_u64 << 30);
}

#[test]
fn without_defaults_checks_are_all_or_the_named() {
    let names = |lines: &str| -> Vec<String> {
        one(lines).targets[0].checks.iter().map(|check| check.name.clone()).collect()
    };
    let cloud: Vec<&str> = crate::checks::of_set(Set::Cloud).map(|check| check.kind).collect();
    assert_eq!(names(""), cloud);
    assert_eq!(names("checks = {}\n"), Vec::<String>::new());
    let others: Vec<&str> = cloud.iter().copied().filter(|kind| *kind != "internet").collect();
    assert_eq!(names("checks = { internet = false }\n"), others);
    let minimal = ["disk", "dns", "internet", "cloud_init"];
    assert_eq!(names("checks.set = \"minimal\"\n"), minimal);
    assert_eq!(names("checks = { set = \"minimal\", dns = false }\n"), ["disk", "internet", "cloud_init"]);
    let own = "checks = { set = \"minimal\", disk = { min_free = \"1 MiB\" }, mine = { kind = \"dns\" } }\n";
    assert_eq!(names(own), ["dns", "internet", "cloud_init", "disk", "mine"]);
    assert_eq!(names("checks = { cloud_init = {}, disk = {} }\n"), ["cloud_init", "disk"]);
}

#[test]
fn unwritten_timeouts_adapt_to_the_written() {
    let hours = |lines: &str| {
        let timeouts = one(lines).timeouts;
        (timeouts.build.as_secs() / 60, timeouts.total.as_secs() / 60)
    };
    assert_eq!(hours("timeouts = { total = \"30m\" }\n"), (30, 30));
    assert_eq!(hours("timeouts = { build = \"3h\" }\n"), (180, 230));
    assert_eq!(hours("timeouts = { build = \"20m\" }\n"), (20, 120));
    assert_eq!(one("jitter = \"0\"\n").jitter, Duration::ZERO);
}

#[test]
fn checks_and_their_stage_adapt_to_each_other() {
    let minutes = |lines: &str| {
        let schedule = one(lines);
        let cloud_init = schedule.targets[0].checks.iter().find(|check| check.name == "cloud_init").unwrap();
        (schedule.timeouts.verify.as_secs() / 60, cloud_init.timeout.as_secs() / 60)
    };
    assert_eq!(minutes(""), (10, 10));
    assert_eq!(minutes("timeouts.verify = \"3m\"\n"), (3, 3));
    assert_eq!(minutes("checks.cloud_init.timeout = \"25m\"\n"), (25, 25));
    assert_eq!(minutes("timeouts.verify = \"5m\"\nchecks.cloud_init.timeout = \"5m\"\n"), (5, 5));
    assert_eq!(minutes("timeouts.total = \"4m\"\n"), (4, 4));
    // A reboot waits for all others, and takes its own time after them.
    assert_eq!(minutes("checks.set = \"thorough\"\n"), (20, 10));
    assert_eq!(minutes("checks = { cloud_init = {}, reboot = { timeout = \"5m\" } }\n"), (15, 10));
    assert_eq!(minutes("checks = { cloud_init = {}, reboot = { timeout = \"1h\" } }\n"), (70, 10));
    assert_eq!(minutes("timeouts.total = \"12m\"\nchecks.set = \"thorough\"\n"), (12, 10));
    assert_eq!(minutes("timeouts.verify = \"12m\"\nchecks.set = \"thorough\"\n"), (12, 10));
}

#[test]
fn schedules_keep_the_file_s_order() {
    let text: String = ["zeta", "alpha", "mid"]
        .map(|name| format!("[schedule.{name}]\nimage.elements = [\"vm\"]\n"))
        .concat();
    let schedules = read(&text);
    let names: Vec<&str> = schedules.schedules.iter().map(|schedule| schedule.name.as_str()).collect();
    assert_eq!(names, ["zeta", "alpha", "mid"]);
    assert!(read("").schedules.is_empty());
}
