//! What people do wrong: each mistake is answered with what is wrong, where, and what to do, and with the exit
//! code that `docs/exit-codes.md` gives.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::harness::{Place, text, tiny_schedule};

/// A mistake, and what must be said about it.
struct Mistake {
    /// Arguments of the program.
    given: &'static [&'static str],
    /// The documented exit code.
    code: i32,
    /// What is wrong.
    what: &'static str,
    /// Where: the argument, the file with its line, the name.
    place: &'static str,
    /// What to do.
    help: &'static str,
}

const fn wrong(
    given: &'static [&'static str],
    what: &'static str,
    place: &'static str,
    help: &'static str,
) -> Mistake {
    Mistake { given, code: 64, what, place, help }
}

const fn errored(
    given: &'static [&'static str],
    what: &'static str,
    place: &'static str,
    help: &'static str,
) -> Mistake {
    Mistake { given, code: 2, what, place, help }
}

const MISTAKES: &[Mistake] = &[
    // The command line.
    wrong(&["rum", "tiny"], "unrecognized subcommand", "'rum'", "'run'"),
    wrong(&["run"], "required arguments were not provided", "<SCHEDULE>", "Usage: image-manager run"),
    wrong(&["run", "tinny"], "no schedule \"tinny\"", "schedules.toml", "did you mean \"tiny\"?"),
    wrong(
        &["run", "tiny", "--heartbeat-timeout", "soon"],
        "invalid value 'soon'",
        "--heartbeat-timeout",
        "30s or 2m",
    ),
    wrong(
        &["run", "tiny", "--heartbeat-timeout", "0s"],
        "invalid value '0s'",
        "--heartbeat-timeout",
        "1s to 1h",
    ),
    wrong(&["run", "tiny", "--log", "dib=loud"], "invalid value 'dib=loud'", "--log", "info,dib=warn"),
    wrong(&["run", "tiny", "--log", "warnings"], "\"warnings\" is no level", "--log", "info,dib=warn"),
    wrong(&["run", "tiny", "--log", ""], "a level is missing", "--log", "expected error, warn, info"),
    wrong(&["run", "tiny", "--log", "dib"], "dib is no level", "--log", "dib=warn"),
    wrong(&["run", "tiny", "--log", "info,dbi=warn"], "nothing here logs as", "\"dbi\"", "expected dib"),
    wrong(
        &["run", "tiny", "--log-file", "no/such/dir.log"],
        "No such file or directory",
        "--log-file no/such",
        "make the directory",
    ),
    wrong(&["history", "--since", "yesterday"], "expected an age", "--since yesterday", "7d or 12h"),
    wrong(&["history", "--limit", "0"], "invalid value '0'", "--limit", "1..=100000"),
    wrong(
        &["logs", "latest", "--build", "--console"],
        "cannot be used with",
        "'--console'",
        "Usage: image-manager logs",
    ),
    wrong(&["completions", "csh"], "invalid value 'csh'", "<SHELL>", "bash, zsh, fish"),
    wrong(&["sweep", "--cloud", "local"], "there is no history in", "state", "--state, or build something"),
    wrong(&["show", "latest"], "there is no history in", "state", "--state, or build something first with"),
    wrong(&["run", "tiny", "--state", "a-file"], "it is a file", "--state a-file", "a directory"),
    // Doors and secrets.
    wrong(&["serve", "--operator", "localhost"], "invalid value 'localhost'", "--operator", "127.0.0.1:8080"),
    wrong(
        &["serve", "--operator", "0.0.0.0:0"],
        "is not a loopback address",
        "--operator 0.0.0.0:0",
        "give --api-token-file FILE",
    ),
    wrong(
        &["serve", "--api-token-file", "nowhere"],
        "No such file",
        "--api-token-file nowhere",
        "openssl rand -hex 32 > nowhere",
    ),
    wrong(
        &["serve", "--api-token-file", "short"],
        "has 5 characters",
        "--api-token-file short",
        "at least 16 are needed; make one with",
    ),
    wrong(
        &["serve", "--webhook-url", "hooks.example.org"],
        "expected http:// or https://",
        "--webhook-url",
        "such as https://hooks.example.org",
    ),
    wrong(
        &["serve", "--webhook-secret-file", "short"],
        "signs nothing",
        "--webhook-secret-file",
        "without --webhook-url",
    ),
    // schedules.toml.
    wrong(&["check", "nowhere.toml"], "cannot read", "nowhere.toml", "--schedules FILE"),
    wrong(
        &["check", "syntax.toml"],
        "unclosed table, expected `]`",
        "syntax.toml:1:12",
        "what follows is read when this is mended",
    ),
    wrong(
        &["check", "key.toml"],
        "unknown key `packges` in `image`",
        "key.toml:2",
        "did you mean `packages`?",
    ),
    wrong(&["check", "cron.toml"], "is not a cron entry", "cron.toml:3", "help:"),
    wrong(
        &["check", "secret.toml"],
        "`DB_PASSWORD` is not allowed",
        "secret.toml:3",
        "a secret never stands in this file",
    ),
    wrong(
        &["check", "taken.toml"],
        "publishes as `same` on `local`, and so does",
        "taken.toml:6",
        "give each schedule a name of its own",
    ),
    wrong(
        &["run", "far", "--schedules", "far.toml"],
        "no cloud \"faraway\"",
        "schedule \"far\"",
        "clouds.yaml",
    ),
    // The host.
    errored(&["run", "tiny", "--agent", "/nowhere/agent"], "agent_missing", "/nowhere/agent", "make agent"),
    errored(&["run", "tiny", "--dib", "/nowhere/dib"], "dib_missing", "/nowhere/dib", "--dib"),
    errored(
        &["doctor", "--agent", "/nowhere/agent"],
        "✘ agent binary",
        "/nowhere/agent",
        "mend it with: make agent",
    ),
];

fn place() -> Place {
    let place = Place::tiny("");
    let image = "image.elements = [\"tiny\"]\n";
    let files = [
        ("short", "short".to_owned()),
        ("a-file", String::new()),
        ("syntax.toml", "[schedule.x\n".to_owned()),
        ("key.toml", "[schedule.x]\nimage = { elements = [\"tiny\"], packges = [] }\n".to_owned()),
        ("cron.toml", format!("[schedule.x]\n{image}cron = \"61 * * * *\"\n")),
        (
            "secret.toml",
            format!("[schedule.x]\n{image}image.environment = {{ DB_PASSWORD = \"hunter2\" }}\n"),
        ),
        (
            "taken.toml",
            format!(
                "[schedule.x]\n{image}publish.name = \"same\"\n[schedule.y]\n{image}publish.name = \"same\"\n"
            ),
        ),
        (
            "far.toml",
            tiny_schedule("far", "cloud = \"faraway\"").replace("server =", "server.flavor = \"m1\"\n#"),
        ),
    ];
    for (name, content) in files {
        std::fs::write(place.path().join(name), content).unwrap();
    }
    place
}

#[test]
fn every_mistake_says_what_where_and_what_to_do() {
    let place = place();
    let mut wanting = Vec::new();
    for Mistake { given, code, what, place: whence, help } in MISTAKES {
        let output = place.run(given);
        // clap breaks its lines where it likes.
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
        let lacks: Vec<&&str> =
            [what, whence, help].into_iter().filter(|part| !flat.contains(**part)).collect();
        if output.status.code() != Some(*code) || !lacks.is_empty() {
            wanting.push(format!(
                "{given:?}: {:?} instead of {code}, lacks {lacks:?}:\n{said}",
                output.status.code()
            ));
        }
        assert!(!said.contains("hunter2"), "{given:?} shows a secret:\n{said}");
        assert!(!said.contains("panicked"), "{given:?}:\n{said}");
    }
    assert!(wanting.is_empty(), "{}", wanting.join("\n"));
    assert!(MISTAKES.len() >= 20);
}

#[test]
fn doors_that_somebody_else_has_are_named() {
    let place = place();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for flag in ["--operator", "--gateway"] {
        let mut arguments = vec!["serve"];
        let (address, port) = (address.to_string(), format!("sport = :{}", address.port()));
        if flag == "--gateway" {
            arguments.extend(["--operator", "127.0.0.1:0"]);
        }
        arguments.extend([flag, &address]);
        let said = place.expect(&arguments, 64);
        for part in [format!("{flag} {address}"), "Address already in use".to_owned(), port] {
            assert!(said.contains(&part), "no {part:?} in {said}");
        }
    }
    let serving = place.serve();
    let said = place.expect(&["serve", "--operator", "127.0.0.1:0"], 64);
    assert!(said.contains(&format!("(pid {})", serving.child.id())), "{said}");
    assert!(said.contains("one manager a state directory"), "{said}");
    let said = place.expect(&["run", "tiny", "--keep-disk", "disk.qcow2"], 64);
    assert!(said.contains("--keep-disk works only for a build in the foreground"), "{said}");
}

#[test]
fn a_manager_that_wants_a_token_says_with_which_flag() {
    let place = place();
    for (name, token) in [("token", "4be1c9d27f05a38668d0f3127bce954a"), ("another", "fedcba9876543210")] {
        place.secret(name, token);
    }
    let serving = place.serve_with(&["--api-token-file", "token"]);
    for more in [&[][..], &["--api-token-file", "another"]] {
        let said = place.expect(&[&["run", "tiny"], more].concat(), 64);
        for part in ["API token", "--api-token-file", "IMAGE_MANAGER_API_TOKEN_FILE"] {
            assert!(said.contains(part), "no {part:?} in {said}");
        }
    }
    assert_eq!(serving.terminate(), Some(0));
}

#[test]
fn a_cloud_that_does_not_answer_is_named_beside_a_manager_too() {
    let place = place();
    // Takes connections and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let auth = format!("http://{}/v3", silent.local_addr().unwrap());
    let entry = format!("{{ auth_url: \"{auth}\", username: u, password: p, project_name: x }}");
    let clouds = place.path().join("clouds.yaml");
    std::fs::write(&clouds, format!("clouds:\n  faraway:\n    auth: {entry}\n")).unwrap();
    let environment = [("OS_CLIENT_CONFIG_FILE", clouds.to_str().unwrap())];
    let endpoint = ["--schedules", "far.toml", "--agent-endpoint", "192.0.2.1:50051"];
    let serving = place.serve_in(&endpoint, &environment);
    let began = Instant::now();
    let said = place.expect(&["run", "far", "--schedules", "far.toml"], 2);
    assert!(said.contains("faraway") && !said.contains("Timeout expired"), "{:?}: {said}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(85), "the manager answers first: {:?}", began.elapsed());
    assert_eq!(serving.terminate(), Some(0));
}
