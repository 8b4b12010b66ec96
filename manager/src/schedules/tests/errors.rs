use super::{ELEMENTS, read, refused, repeated};

/// The mistakes as `part of the file: title; label; help`.
pub(super) fn mistakes(text: &str) -> Vec<String> {
    refused(text)
        .diagnostics()
        .iter()
        .map(|mistake| {
            let part = &text[mistake.span.clone()];
            let help = mistake.help.as_deref().unwrap_or_default();
            format!("{part}: {}; {}; {help}", mistake.title, mistake.label)
        })
        .collect()
}

/// Checks that lines added to a complete schedule have one mistake, which begins and goes on like this.
fn assert_mistakes(table: &[(&str, &str, &str)]) {
    for (lines, beginning, piece) in table {
        let found = mistakes(&format!("[schedule.a]\n{ELEMENTS}{lines}\n"));
        assert_eq!(found.len(), 1, "{lines}: {found:#?}");
        assert!(found[0].starts_with(beginning), "{lines}: {found:#?}");
        assert!(found[0].contains(piece), "{lines}: {found:#?}");
    }
}

#[test]
fn keys_and_types() {
    assert_mistakes(&[
        ("corn = \"@daily\"", "corn: unknown key `corn`", "did you mean `cron`?"),
        ("memory = \"1 GiB\"", "memory: unknown key", "`memory` belongs in `server`"),
        ("xyzzy = 1", "xyzzy: unknown key", "the keys here are cron, timezone"),
        ("server.cron = \"@daily\"", "cron: unknown key `cron` in `server`", "[schedule.NAME]"),
        ("checks.dsn = {}", "dsn: unknown key `dsn` in `checks`", "did you mean `dns`?"),
        ("checks.disk.min_fre = \"1 GiB\"", "min_fre: unknown key `min_fre` in `checks.disk`", "min_free"),
        ("skip = true", "true: `skip` must be a table", "write `skip = { ... }`"),
        ("skip = { max_age = \"3d\" }", "", "`skip.unchanged` is missing"),
        (
            "skip = { unchanged = \"yes\" }",
            "\"yes\": `skip.unchanged` must be true or false",
            "`true` or `false`",
        ),
        ("skip = { unchanged = true, max_age = \"1s\" }", "\"1s\": `skip.max_age` must be from 1m to", ""),
        ("skip = { unchanged = true, max_aeg = \"3d\" }", "max_aeg: unknown key", "did you mean `max_age`?"),
        ("cron = 3", "3: `cron` must be a string, not a number", "write \"3\""),
        ("server = \"big\"", "\"big\": `server` must be a table, not a string", "write `server = { ... }`"),
        (
            "cloud = \"c\"\nserver = { flavor = \"f\", ssh_key = 3 }",
            "3: `server.ssh_key` must be true, false, a public key or the name of a key pair",
            "makes a key pair",
        ),
        ("server.cpus = 0", "0: `server.cpus` must be from 1 to 64", "out of range"),
        ("server.cpus = 99999999999999999999", "9999", "out of range"),
        ("server.cpus = 1.5", "1.5: `server.cpus` must be a whole number", "from 1 to 64"),
        (
            "cloud = \"c\"\nserver = { flavor = \"f\", security_groups = \"web\" }",
            "\"web\": ",
            "write `security_groups = [\"web\"]`",
        ),
        (
            "cloud = \"c\"\nserver = { flavor = \"f\", security_groups = [1] }",
            "1: `server.security_groups[]` must be a string",
            "write \"1\"",
        ),
        ("checks.dns = true", "true: `checks.dns` must be a table", "`dns = false` to leave it out"),
        ("cloud = \"\\u0007\"", "\"\\u0007\": `cloud` has a control character", ""),
        ("cloud = 2026-01-01", "2026-01-01: `cloud` must be a string, not a date", "write \"2026-01-01\""),
    ]);
}

#[test]
fn times_sizes_and_durations() {
    assert_mistakes(&[
        ("cron = \"61 * * * *\"", "61: `cron`: `61 * * * *` is not a cron entry", "minute field"),
        (
            "reverify = \"0 25 * * *\"\npublish.name = \"a\"",
            "25: `reverify`: `0 25 * * *` is not",
            "hour field",
        ),
        (
            "reverify = \"0 5 * * *\"",
            "\"0 5 * * *\": `reverify` needs `publish.name`",
            "give the image a name",
        ),
        (
            "on_failure = \"rollback\"",
            "\"rollback\": `on_failure` needs `publish.name`",
            "nothing is published",
        ),
        ("on_failure = \"no\"\npublish.name = \"a\"", "\"no\": `on_failure`", "rollback"),
        // With escapes in the string the caret shows all of it.
        ("cron = \"61\\u0020* * * *\"", "\"61\\u0020* * * *\": `cron`", "minute field"),
        ("cron = '''61 * * * *'''", "'''61 * * * *'''", "minute field"),
        ("timezone = \"Berlin\"", "\"Berlin\": `timezone`", "did you mean \"Europe/Berlin\"?"),
        ("timezone = \"new york\"", "\"new york\"", "did you mean \"America/New_York\"?"),
        ("timezone = \"Middle Earth\"", "\"Middle Earth\"", "IANA"),
        ("jitter = \"25h\"", "\"25h\": `jitter` must be from 0s to 1day", "too much"),
        (
            "jitter = 5",
            "5: `jitter` must be a duration with its unit, not a number",
            "write \"5s\" for seconds",
        ),
        ("timeouts.build = \"0s\"", "\"0s\": `timeouts.build` must be from 1s", "too little"),
        ("timeouts.build = \"-1h\"", "-1h: `timeouts.build`", "negative"),
        ("timeouts.build = -5", "-5: `timeouts.build`", "write \"5s\""),
        ("timeouts.build = \"one hour\"", "one hour: `timeouts.build`", "\"1h 30m\""),
        (
            "timeouts = { boot = \"1h\", total = \"30m\" }",
            "\"30m\": `timeouts.total` is shorter",
            "`timeouts.boot`",
        ),
        (
            "server.memory = \"64 MiB\"",
            "\"64 MiB\": `server.memory` must be from 128 MiB to 1 TiB",
            "too little",
        ),
        ("server.memory = 1024", "1024: `server.memory` must be a size with its unit", "write \"1024 MiB\""),
        ("server.memory = \"1 gig\"", "gig: `server.memory`: `1 gig` is not a size", "\"500 MiB\""),
        ("checks.dns.timeout = \"61m\"", "\"61m\": `checks.dns.timeout` must be from 1s to 1h", "too much"),
        ("timeouts.boot = \"121m\"", "\"121m\": `timeouts.boot` must be from 1s to 2h", "too much"),
        ("timeouts.verify = \"3h\"", "\"3h\": `timeouts.verify` must be from 1s to 2h", "too much"),
        ("checks.disk.timeout = \"0s\"", "\"0s\": `checks.disk.timeout`", "too little"),
        (
            "timeouts.verify = \"5m\"\nchecks.cloud_init.timeout = \"6m\"",
            "\"5m\": `timeouts.verify` is shorter than `checks.cloud_init.timeout`; too short",
            "the check `cloud_init` alone may take 6m",
        ),
        (
            "timeouts.total = \"5m\"\nchecks = { disk.timeout = \"6m\", dns.timeout = \"1m\" }",
            "\"5m\": `timeouts.total` is shorter than `checks.disk.timeout`",
            "6m",
        ),
    ]);
}

#[test]
fn a_check_that_outlives_its_stage_is_found_across_defaults() {
    let text = |defaults: &str, own: &str| format!("[defaults]\n{defaults}\n[schedule.a]\n{ELEMENTS}{own}\n");
    let (short, long) = ("timeouts.verify = \"5m\"", "checks.packages.timeout = \"20m\"");
    for (defaults, own) in [(short, long), (long, short), (&*format!("{short}\n{long}"), "")] {
        let found = mistakes(&text(defaults, own));
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].starts_with("\"5m\": `timeouts.verify` is shorter than `checks.packages.timeout`"));
    }
    assert!(read(&text(long, "checks.packages = false")).get("a").is_some(), "nobody asks for it");
}

#[test]
fn names() {
    let long = format!("server.user_data = \"{}\"", "x".repeat(50_000));
    assert_mistakes(&[
        ("image.packages = [\"a,b\"]", "\"a,b\": `image.packages[]`", "one package for each string"),
        ("image.default_user = \"Admin\"", "\"Admin\": `image.default_user`", "lower-case letters"),
        (
            "image.users = [{ name = \"a\" }, { name = \"a\" }]",
            "{ name = \"a\" }: user `a` appears twice",
            "",
        ),
        ("image.users = [{ sudo = true }]", "{ sudo = true }: the user has no `name`", ""),
        (
            "image.users = [{ name = \"a\", shel = \"/bin/sh\" }]",
            "shel: unknown key",
            "did you mean `shell`?",
        ),
        ("image.users = [\"a\"]", "\"a\": `image.users[]` must be a table, not a string", "write `users ="),
        ("image.compression = \"gzip\"", "\"gzip\"", "one of zstd, zlib, none"),
        ("image.ssh_authorized_keys = [\"ssh-ed25519 what\"]", "\"ssh-ed25519 what\"", ".pub file"),
        (
            "image.properties.visibility = \"public\"",
            "visibility: property `visibility`",
            "the manager sets it",
        ),
        ("image.properties.min_ram = \"1 GiB\"", "\"1 GiB\"", "in MiB"),
        ("image.properties.image_manager_owner = \"x\"", "image_manager_owner", "the manager sets it"),
        ("publish = {}", "publish: `publish.name` is missing", "verify only"),
        ("publish.name = \".hidden\"", "\".hidden\": `publish.name`", "not beginning with a dot"),
        (
            "cloud = \"c\"\nserver.flavor = \"f\"\npublish = { name = \"a\", visibility = \"pubic\" }",
            "\"pubic\"",
            "did you mean \"public\"?",
        ),
        ("publish = { name = \"a\", keep_for = 90 }", "90: `publish.keep_for`", "\"90s\" for seconds"),
        (
            "publish = { name = \"a\", keep_for = \"0s\" }",
            "\"0s\": `publish.keep_for` must be from 1s to",
            "",
        ),
        ("publish = { name = \"a\", keep_fro = \"90d\" }", "keep_fro: ", "keep_for"),
        ("publish = { name = \"a\", keep = -1 }", "-1: `publish.keep` must be from 0 to 100", ""),
        ("checks.dns.names = [\"-x\"]", "\"-x\": `checks.dns.names[]`", "a name to resolve"),
        ("checks.internet.targets = [\"ftp://x\"]", "\"ftp://x\"", "tcp://host:port"),
        ("checks.internet.targets = [\"https://me:secret@x/\"]", "\"https", "without user and password"),
        ("checks.internet.targets = [\"tcp://x:0\"]", "\"tcp://x:0\"", "tcp://host:port"),
        (&long, "user_data: `server.user_data` is longer than 49152 bytes", ""),
    ]);
}

#[test]
fn schedules_as_a_whole() {
    let table = [
        ("[schedule.a]\n", "a: `image.elements` is missing"),
        ("[schedule.a]\nimage = {}\n", "a: `image.elements` is missing"),
        ("[schedule.a]\nimage.elements = []\n", "[]: `image.elements` is empty"),
        ("[defaults]\nimage.elements = []\n", "[]: `image.elements` is empty"),
        ("[schedule]\na = 1\n", "1: `schedule.a` must be a table, not a number"),
        ("[[schedule]]\nname = \"a\"\n", "[[schedule]]: `schedule` must be a table, not a list"),
        (
            "[schedule.\"a b\"]\nimage.elements = [\"vm\"]\n",
            "\"a b\": `schedule`: `a b` is not a schedule's name",
        ),
        ("[schedule.-a]\nimage.elements = [\"vm\"]\n", "-a: `schedule`: `-a` is not"),
        (
            "[schedules.a]\nx = 1\n",
            "schedules: unknown key `schedules`; unknown key; did you mean `schedule`?",
        ),
        ("defaults = 3\n", "3: `defaults` must be a table"),
    ];
    for (text, beginning) in table {
        let found = mistakes(text);
        assert_eq!(found.len(), 1, "{text}: {found:#?}");
        assert!(found[0].starts_with(beginning), "{text}: {found:#?}");
    }
}

#[test]
fn a_public_name_belongs_to_one_schedule_of_a_cloud() {
    let two = |second: &str| {
        format!(
            "[schedule.a]\n{ELEMENTS}publish.name = \"debian\"\n[schedule.b]\n{ELEMENTS}{second}\npublish.name = \"debian\"\n"
        )
    };
    let found = mistakes(&two(""));
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("\"debian\": `b` publishes as `debian` on `local`, and so does `a`"),
        "{found:?}"
    );
    read(&two("cloud = \"other\"\nserver.flavor = \"f\""));
    let text = format!("[defaults]\npublish.name = \"x\"\n[schedule.a]\n{ELEMENTS}[schedule.b]\n{ELEMENTS}");
    assert!(mistakes(&text)[0].starts_with("b: `b` publishes as `x`"));
}

#[test]
fn a_mistake_of_the_defaults_is_told_once() {
    let text = format!("[defaults]\njitter = 5\ncloud = 1\n[schedule.a]\n{ELEMENTS}[schedule.b]\n{ELEMENTS}");
    let found = mistakes(&text);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].starts_with("5: `jitter`") && found[1].starts_with("1: `cloud`"), "{found:#?}");
}

#[test]
fn limits() {
    let schedules = |count: usize| repeated(count, |number| format!("[schedule.s{number}]\n{ELEMENTS}"));
    assert_eq!(read(&schedules(500)).schedules.len(), 500);
    let found = mistakes(&schedules(501));
    assert!(
        found.len() == 1 && found[0].contains("the file has 501 schedules, but at most 500 are allowed"),
        "{found:?}"
    );

    let list = |count: usize| {
        let items: Vec<String> = (0..count).map(|number| format!("\"e{number}\"")).collect();
        format!("[schedule.a]\nimage.elements = [{}]\n", items.join(","))
    };
    assert_eq!(read(&list(100)).schedules[0].image.elements.len(), 100);
    let found = mistakes(&list(101));
    assert!(
        found.len() == 1 && found[0].contains("has 101 entries, but at most 100 are allowed"),
        "{found:?}"
    );

    let long = mistakes(&format!("[schedule.a]\n{ELEMENTS}cloud = \"{}\"\n", "x".repeat(5000)));
    assert!(long.len() == 1 && long[0].contains("longer than 4096 bytes"));
    let nested = format!("x = {}1{}\n", "[".repeat(500), "]".repeat(500));
    assert!(mistakes(&nested).iter().any(|mistake| mistake.contains("recurs")), "{:?}", mistakes(&nested));
}

#[test]
fn a_target_has_so_many_checks_and_no_more() {
    let checks = |count: usize| {
        let lines: Vec<String> =
            (0..count).map(|number| format!("checks.own-{number} = {{ kind = \"dns\" }}\n")).collect();
        format!("[schedule.a]\n{ELEMENTS}{}", lines.concat())
    };
    assert_eq!(read(&checks(64)).schedules[0].targets[0].checks.len(), 64);
    let found = mistakes(&checks(65));
    assert!(
        found.len() == 1 && found[0].contains("65 checks are asked for, but an agent runs at most 64"),
        "{found:?}"
    );
    // What the documentation says.
    let page = include_str!("../../../../docs/schedules.md");
    let bound = format!("at most {} checks", image_manager_agent::MOST_CHECKS);
    assert!(page.contains(&bound), "docs/schedules.md does not say {bound:?}");
}

#[test]
fn errors_of_the_grammar_do_not_hide_the_others() {
    let text = format!(
        "[schedule.a]\n{ELEMENTS}cron = 0 3 * * *\ncorn = 1\n[schedule.b]\n{ELEMENTS}cloud = \"x\ncloud = \"y\"\n\
         [schedule.a] # again\n{ELEMENTS}cpus = 2\n"
    );
    let found = mistakes(&text);
    let beginnings = [
        "0 3 * * *: a string without quotation marks; not TOML; write \"0 3 * * *\"",
        "corn: unknown key `corn`",
        ": invalid basic string",
        "cloud: `cloud` appears twice",
        "a: `[schedule.a]` appears twice",
        "cpus: unknown key `cpus`",
    ];
    assert_eq!(found.len(), beginnings.len(), "{found:#?}");
    for (mistake, beginning) in found.iter().zip(beginnings) {
        assert!(mistake.starts_with(beginning), "{found:#?}");
    }
}

#[test]
fn after_an_open_bracket_nothing_is_guessed() {
    let text = "[schedule.a]\ncorn = 1\nimage = { elements = [\"vm\" }\ncron2 = 1\n[schedule.b]\ncloud = 1\n";
    let found = mistakes(text);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].starts_with("corn: unknown key"), "{found:#?}");
    assert!(found[1].contains("missing comma") && found[1].contains("once this is fixed"), "{found:#?}");
}

#[test]
fn keys_of_the_other_kind_of_cloud_are_mistakes() {
    assert_mistakes(&[
        ("server.flavor = \"m\"", "flavor: `server.flavor` has no effect on the cloud `local`", "memory"),
        ("server.ssh_key = \"mine\"", "ssh_key: `server.ssh_key` has no effect", "`ssh_authorized_keys`"),
        (
            "cloud = \"c\"\nserver = { flavor = \"f\", ssh_key = \"a/b\" }",
            "\"a/b\": `server.ssh_key`: `a/b` is not a key pair's name",
            ".pub file",
        ),
        ("server.network = \"n\"", "network: `server.network` has no effect", "`cloud`"),
        (
            "publish = { name = \"a\", visibility = \"public\" }",
            "visibility: `publish.visibility`",
            "is a file",
        ),
        (
            "cloud = \"c\"\nserver = { flavor = \"f\", memory = \"1 GiB\" }",
            "memory: `server.memory`",
            "the flavor determines",
        ),
        ("cloud = \"c\"", "a: `server.flavor` is missing: `a` is on OpenStack", "m1.small"),
        ("cloud = \"c\"\nserver = { network = \"n\" }", "a: `server.flavor` is missing", "m1.small"),
    ]);
    // What `[defaults]` gives may be for other schedules.
    read(&format!(
        "[defaults]\nserver = {{ memory = \"1 GiB\", flavor = \"f\", network = \"n\" }}\npublish.visibility = \"shared\"\n\
         [schedule.a]\n{ELEMENTS}publish.name = \"a\"\n[schedule.b]\n{ELEMENTS}cloud = \"c\"\n"
    ));
}
