//! `targets`: what each has, from where, and what is wrong with it.

use super::errors::mistakes;
use super::{ELEMENTS, one, read};
use crate::schedules::{PublishWhen, Target};

fn checks(target: &Target) -> Vec<&str> {
    target.checks.iter().map(|check| check.name.as_str()).collect()
}

#[test]
fn without_targets_a_schedule_has_one_that_has_the_name_of_its_cloud() {
    let schedule = one("cloud = \"lab\"\nserver.flavor = \"m1.tiny\"\nchecks.dns = {}\n");
    let [target] = schedule.targets.as_slice() else { panic!("{:?}", schedule.targets) };
    assert_eq!((target.name.as_str(), target.cloud.as_str()), ("lab", "lab"));
    assert!(target.required && target.publish);
    assert_eq!((target.server.flavor.as_deref(), checks(target)), (Some("m1.tiny"), vec!["dns"]));
}

/// Each layer says some keys of one table: the target's count first, then the schedule's, then those of `[defaults]`.
#[test]
fn a_target_counts_before_its_schedule_and_that_before_the_defaults() {
    let schedules = read(&format!(
        "[defaults]\ncloud = \"lab\"\nserver = {{ flavor = \"d\", network = \"d\", availability_zone = \"d\" }}\n\
         checks.dns = {{ names = [\"d.example\"], timeout = \"11s\", required = false }}\n\
         [schedule.a]\n{ELEMENTS}server = {{ flavor = \"s\", network = \"s\" }}\n\
         checks.dns = {{ names = [\"s.example\"], timeout = \"12s\" }}\n\
         [[schedule.a.targets]]\nname = \"t\"\nserver.flavor = \"t\"\nchecks.dns = {{ names = [\"t.example\"] }}\n\
         [[schedule.a.targets]]\nname = \"bare\"\n\
         [[schedule.a.targets]]\nname = \"here\"\ncloud = \"local\"\nserver.memory = \"2 GiB\"\nrequired = false\n\
         publish = false\nchecks = {{}}\n"
    ));
    let [t, bare, here] = schedules.schedules[0].targets.as_slice() else { panic!() };
    let server = |target: &Target| {
        let server = target.server.clone();
        [server.flavor, server.network, server.availability_zone].map(Option::unwrap).join(" ")
    };
    assert_eq!((server(t), server(bare)), ("t s d".to_owned(), "s s d".to_owned()));
    assert_eq!((t.cloud.as_str(), here.cloud.as_str()), ("lab", "local"));
    let dns = |target: &Target| format!("{:?}", target.checks);
    assert!(dns(t).contains("t.example") && dns(t).contains("12s") && dns(t).contains("required: false"));
    assert!(dns(bare).contains("s.example") && dns(bare).contains("12s"), "{}", dns(bare));
    assert_eq!((here.server.memory, here.checks.len()), (2 << 30, 0));
    assert!(t.required && t.publish && !here.required && !here.publish);
}

#[test]
fn checks_are_taken_away_and_cleared_at_each_layer() {
    let of = |schedule: &str, target: &str| {
        let text = format!(
            "[defaults]\nchecks = {{ disk = {{}}, dns = {{}} }}\n[schedule.a]\n{ELEMENTS}{schedule}\n\
             [[schedule.a.targets]]\nname = \"t\"\n{target}\n"
        );
        checks(&read(&text).schedules[0].targets[0]).join(" ")
    };
    assert_eq!(of("", ""), "disk dns");
    assert_eq!(of("", "checks.dns = false"), "disk");
    assert_eq!(of("checks.dns = false", "checks.internet = {}"), "disk internet");
    assert_eq!(of("checks.dns = false", "checks.dns = {}"), "disk dns");
    assert_eq!(of("checks = {}", ""), "");
    assert_eq!(of("checks = {}", "checks.dns = {}"), "dns");
    assert_eq!(of("checks = {}", "checks.dns = false"), "");
    assert_eq!(of("", "checks = {}"), "");
}

#[test]
fn what_must_have_passed_before_a_cloud_gets_the_name() {
    let when = |line: &str| one(&format!("publish = {{ name = \"p\"{line} }}\n")).publish.unwrap().when;
    assert_eq!(when(""), PublishWhen::All);
    assert_eq!((when(", when = \"all\""), when(", when = \"each\"")), (PublishWhen::All, PublishWhen::Each));
}

#[test]
fn targets_of_the_defaults_are_those_of_each_schedule_without_its_own() {
    let schedules = read(&format!(
        "[[defaults.targets]]\nname = \"d\"\nserver.cpus = 3\n[schedule.a]\n{ELEMENTS}[schedule.b]\n{ELEMENTS}\
         targets = [{{ name = \"b\" }}, {{ name = \"c\" }}]\n"
    ));
    let names = |place: usize| -> Vec<String> {
        schedules.schedules[place].targets.iter().map(|target| target.name.clone()).collect()
    };
    assert_eq!((names(0), names(1)), (vec!["d".to_owned()], vec!["b".to_owned(), "c".to_owned()]));
    assert_eq!(schedules.schedules[0].targets[0].server.cpus, 3);
}

/// The lines of a schedule, where the one mistake stands and how it begins, and what would be right.
#[test]
fn mistakes_stand_at_their_place() {
    let two = "[[schedule.a.targets]]\nname = \"x\"\n[[schedule.a.targets]]\n";
    let table = [
        ("targets = []", "[]: `targets` is empty", "name at least one"),
        ("targets = 3", "3: `targets` must be a list, not a number", "targets = [3]"),
        ("targets = [\"local\"]", "\"local\": `targets[]` must be a table", "[[schedule.NAME.targets]]"),
        (&format!("{two}name = \"x\""), "\"x\": target `x` appears twice", "its own"),
        (&format!("{two}name = \"-x\""), "\"-x\": `targets.name`: `-x` is not a target's name", "letters"),
        (&format!("{two}name = \"a b\""), "\"a b\": `targets.name`", "letters"),
        (&format!("{two}name = 3"), "3: `targets.name` must be a string", "\"3\""),
        (&format!("{two}name = \"y\"\nflavour = \"m\""), "flavour: unknown key `flavour` in `targets`", ""),
        (
            &format!("{two}name = \"y\"\nflavor = \"m\""),
            "flavor: unknown key `flavor` in `targets`",
            "`server`",
        ),
        (&format!("{two}name = \"y\"\nserver.flavr = \"m\""), "flavr: unknown key `flavr`", "`flavor`"),
        (
            &format!("{two}name = \"y\"\nserver.flavor = \"m\""),
            "flavor: `server.flavor` has no effect on",
            "memory",
        ),
        (&format!("{two}name = \"y\"\nserver.memory = \"1 MiB\""), "\"1 MiB\": `server.memory` must be", ""),
        (
            &format!("{two}name = \"y\"\nrequired = \"no\""),
            "\"no\": `targets.required` must be true",
            "without",
        ),
        (
            &format!("{two}name = \"y\"\npublish = \"p\""),
            "\"p\": `targets.publish` must be true or false",
            "",
        ),
        (&format!("{two}name = \"y\"\nchecks.dsn = {{}}"), "dsn: unknown key `dsn` in `checks`", "`dns`"),
        (
            "publish = { name = \"p\", when = \"any\" }",
            "\"any\": `publish.when`: `any` is not one of its values",
            "all, each",
        ),
    ];
    for (lines, beginning, help) in table {
        let found = mistakes(&format!("[schedule.a]\n{ELEMENTS}{lines}\n"));
        assert_eq!(found.len(), 1, "{lines}: {found:#?}");
        assert!(found[0].starts_with(beginning) && found[0].contains(help), "{lines}: {found:#?}");
    }
    let unnamed = mistakes(&format!("[schedule.a]\n{ELEMENTS}{two}cloud = \"local\"\n"));
    assert!(unnamed.len() == 1 && unnamed[0].contains("the target has no `name`"), "{unnamed:#?}");
}

#[test]
fn clouds_and_servers_of_each_target_must_agree() {
    let found = |lines: &str, targets: &str| mistakes(&format!("[schedule.a]\n{ELEMENTS}{lines}\n{targets}"));
    let far = "[[schedule.a.targets]]\nname = \"far\"\ncloud = \"lab\"\n";
    let here = "[[schedule.a.targets]]\nname = \"here\"\ncloud = \"local\"\n";
    let missing = found("", &format!("{here}{far}"));
    assert_eq!(missing.len(), 1, "{missing:#?}");
    assert!(missing[0].contains("`server.flavor` is missing: target `far` is on OpenStack"), "{missing:#?}");
    // What the schedule says counts for those of its targets that know it.
    let mixed = "server = { memory = \"1 GiB\", flavor = \"f\" }";
    read(&format!("[schedule.a]\n{ELEMENTS}{mixed}\n{here}{far}"));
    let nobody = found(mixed, here);
    assert!(
        nobody.len() == 1 && nobody[0].starts_with("flavor: `server.flavor` has no effect"),
        "{nobody:#?}"
    );
    let visibility = found("publish = { name = \"p\", visibility = \"public\" }", here);
    assert!(visibility.len() == 1 && visibility[0].starts_with("visibility: "), "{visibility:#?}");
    let firmware = found(
        "server.flavor = \"f\"",
        &format!(
            "{far}server.firmware = \"bios\"\n{}server.firmware = \"uefi\"\n",
            far.replace("far", "farther")
        ),
    );
    assert_eq!(firmware.len(), 1, "{firmware:#?}");
    assert!(
        firmware[0].starts_with("\"uefi\": targets `far` and `farther` are both on `lab`"),
        "{firmware:#?}"
    );
}

#[test]
fn at_most_sixteen() {
    let targets = |count: usize| {
        let each = |number| format!("[[schedule.a.targets]]\nname = \"t{number}\"\n");
        format!("[schedule.a]\n{ELEMENTS}{}", (0..count).map(each).collect::<String>())
    };
    assert_eq!(read(&targets(16)).schedules[0].targets.len(), 16);
    let found = mistakes(&targets(17));
    assert!(
        found.len() == 1 && found[0].contains("has 17 entries, but at most 16 are allowed"),
        "{found:#?}"
    );
}

#[test]
fn a_public_name_is_taken_on_the_clouds_that_get_it() {
    let schedules = |publish: bool| {
        format!(
            "[defaults]\npublish.name = \"p\"\nserver.flavor = \"f\"\n[schedule.a]\n{ELEMENTS}cloud = \"lab\"\n\
             [schedule.b]\n{ELEMENTS}[[schedule.b.targets]]\nname = \"here\"\n\
             [[schedule.b.targets]]\nname = \"far\"\ncloud = \"lab\"\npublish = {publish}\n"
        )
    };
    read(&schedules(false));
    let found = mistakes(&schedules(true));
    assert!(
        found.len() == 1 && found[0].contains("`b` publishes as `p` on `lab`, and so does `a`"),
        "{found:#?}"
    );
}
