//! What people do wrong: each mistake is answered with what is wrong, where, and what to do, and with the exit
//! code that `docs/exit-codes.md` gives. So are questions, with what was asked for.

mod doings;
mod words;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::harness::{Place, text, tiny_schedule};

/// A mistake or a question, and what must be said about it.
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

const fn answered(
    given: &'static [&'static str],
    what: &'static str,
    place: &'static str,
    help: &'static str,
) -> Mistake {
    Mistake { given, code: 0, what, place, help }
}

/// The state directory in which there is a build.
const STATE: &str = "--state=history";

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
        ("path.toml", format!("[schedule.x]\n{image}image.elements_path = [\"nowhere\"]\n")),
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

/// How many mistakes and questions there must be.
const LEAST: usize = 100;

#[test]
fn every_mistake_says_what_where_and_what_to_do() {
    let place = place();
    let built = place.run(&["run", "tiny", "--dib", "/nowhere/dib", STATE]);
    assert_eq!(built.status.code(), Some(2), "{}", text(&built.stderr));
    let mut wanting = Vec::new();
    let all = || words::MISTAKES.iter().chain(doings::MISTAKES);
    for Mistake { given, code, what, place: whence, help } in all() {
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
    assert!(all().count() >= LEAST, "{}", all().count());
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
    assert!(said.contains("only one manager can use it"), "{said}");
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
