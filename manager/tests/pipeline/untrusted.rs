//! Text from others: a canary of everything that could steer, forge or hide goes in wherever others speak, and no
//! terminal, pipe, page, log or message has it as it was.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use image_manager::history::History;
use image_manager_agent::visible::is_hidden;
use rusqlite::{Connection, params};
use serde_json::Value as Json;

use super::harness::{Place, text};
use super::webhook::Receiver;

/// A title, a colour, a cleared screen in 7 and 8 bits, marks of direction, no width, line separators; a forged line;
/// markup of pages and chat rooms; a formula.
pub(super) const CANARY: &str = "\x1b]0;owned\x07\x1b[35m\x1b[2J\u{9b}31m\u{7f}\u{202e}\u{2066}\u{200b}\u{2028}\rx\nFORGED line, \
                      <script>alert(1)</script> <!channel> &\"'`=1+1";
/// What is seen of its beginning.
pub(super) const SEEN: &str =
    "\\u{1b}]0;owned\\u{7}\\u{1b}[35m\\u{1b}[2J\\u{9b}31m\\u{7f}\\u{202e}\\u{2066}\\u{200b}\\u{2028}";
const IDS: [&str; 3] = [
    "019a21b0-3f72-71c7-8d09-52cee028ec31",
    "019a21b0-3f72-71c7-8d09-52cee028ec32",
    "019a21b0-3f72-71c7-8d09-52cee028ec33",
];

/// Nothing that is not seen as itself, but line breaks, tabs and the colours that are ours; no forged line.
#[track_caller]
pub(super) fn assert_all_is_seen(what: &str, said: &str) {
    // A terminal's driver ends lines with both.
    let said = said.replace("\r\n", "\n");
    let mut rest = said.as_str();
    let mut without = String::new();
    while let Some((before, after)) = rest.split_once("\x1b[") {
        without.push_str(before);
        let end = after.find(|c: char| !c.is_ascii_digit() && c != ';').unwrap_or(after.len());
        let (codes, tail) = after.split_at(end);
        rest = match tail.strip_prefix('m') {
            Some(tail) if codes != "35" => tail,
            _ => {
                without.push('\x1b');
                tail
            }
        };
    }
    without.push_str(rest);
    let hidden = without.chars().find(|c| is_hidden(*c) && !matches!(c, '\n' | '\t'));
    assert_eq!(hidden, None, "{what} has it raw:\n{said:?}");
    // In markup a line break is a space.
    let markup = said.contains("<!DOCTYPE html>");
    assert!(
        markup || !without.lines().any(|line| line.starts_with("FORGED")),
        "{what} has a forged line:\n{said}"
    );
}

/// The program on a terminal of its own, with colours.
pub(super) fn on_terminal(place: &Place, arguments: &[&str]) -> Command {
    let program = env!("CARGO_BIN_EXE_image-manager");
    let words = std::iter::once(program).chain(arguments.iter().copied());
    let line: Vec<String> = words.map(|word| format!("'{}'", word.replace('\'', "'\\''"))).collect();
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &line.join(" "), "/dev/null"]);
    let plain = place.command(arguments);
    command.current_dir(place.path()).stdin(std::process::Stdio::null());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env_remove("NO_COLOR").env("TERM", "xterm-256color");
    command
}

/// A history in which everything that may be somebody else's word is the canary.
fn place() -> Place {
    let place = Place::tiny("");
    fs::create_dir_all(place.state()).unwrap();
    let database = place.state().join("image-manager.db");
    drop(History::open(&database).unwrap());
    let mut connection = Connection::open(&database).unwrap();
    connection.busy_timeout(Duration::from_secs(30)).unwrap();
    let now = chrono::Utc::now().timestamp_millis();
    let transaction = connection.transaction().unwrap();
    for (number, id) in (0_i64..).zip(IDS) {
        let schedule = if number == 2 { "tiny" } else { CANARY };
        insert(&transaction, id, schedule, now - 3_600_000 + number * 600_000);
    }
    second_trial(&transaction, IDS[1], now);
    transaction
        .execute(
            "INSERT INTO schedule_state (schedule, cron, since, paused, pause_reason, paused_at, failures)
             VALUES ('tiny', '', ?1, 1, ?2, ?1, 5)",
            params![now, CANARY],
        )
        .unwrap();
    for (build, reason) in [(Some(IDS[0]), ""), (None, CANARY)] {
        transaction
            .execute(
                "INSERT INTO outbox (schedule, build_id, reason, created_at, due_at) VALUES (?1, ?2, ?3, ?4, ?4)",
                params![CANARY, build, reason, now],
            )
            .unwrap();
    }
    transaction.commit().unwrap();
    drop(connection);
    let history = History::open(&database).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(history.refresh_day_sums()).unwrap();
    for id in IDS {
        files(&place.state().join("builds").join(id), id);
    }
    place
}

fn insert(connection: &Connection, id: &str, schedule: &str, at: i64) {
    connection
        .execute(
            "INSERT INTO build (id, schedule, cloud, state, verdict, trigger, created_at, started_at, finished_at,
                failure_reason, failure_stage, failure_message, failure_evidence)
             VALUES (?1, ?2, ?3, 'failed', 'failed', 'cli', ?4, ?4, ?5, ?3, ?3, ?3, ?3)",
            params![id, schedule, CANARY, at, at + 1000],
        )
        .unwrap();
    connection
        .execute(
            "INSERT INTO trial (build_id, position, target, cloud, state, verdict, image_id, image_name, image_sha512,
                image_size, image_virtual_size, server_id, server_name, server_flavor, agent_version, agent_boot_id,
                agent_attached_at, removal_complete, failure_reason, failure_stage, failure_message, failure_evidence)
             VALUES (?1, 0, ?2, ?2, 'failed', 'failed', ?2, ?2, ?2, 1, 1, ?2, ?2, ?2, ?2, ?2, ?3, 0, ?2, ?2, ?2, ?2)",
            params![id, CANARY, at],
        )
        .unwrap();
    let observations = serde_json::json!({ CANARY: { CANARY: [CANARY] }, "text": CANARY }).to_string();
    for (sql, last) in [
        ("INSERT INTO stage VALUES (?1, 0, ?2, 'failed', ?4, ?4, ?3, NULL)", CANARY),
        (
            "INSERT INTO check_result (build_id, position, name, outcome, required, duration_ms, summary, observations)
             VALUES (?1, 0, ?2, 'fail', ?4 > 0, 1, ?2, ?3)",
            observations.as_str(),
        ),
        ("INSERT INTO removed_path VALUES (?1, ?4, ?2, 'failed', ?3, 0)", CANARY),
        (
            "INSERT INTO resource (build_id, cloud, kind, name, state, note, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?2, 'gone', ?2, ?4, ?4)",
            CANARY,
        ),
    ] {
        connection.execute(sql, params![id, CANARY, last, at]).unwrap();
    }
}

/// A build of several targets shows more, and otherwise.
fn second_trial(connection: &Connection, id: &str, at: i64) {
    let target = format!("{CANARY}2");
    for sql in [
        "INSERT INTO trial (build_id, position, target, cloud, required, state, verdict, attempt, image_id, image_name,
            image_sha512, image_size, image_virtual_size, server_id, server_name, server_flavor, agent_version,
            agent_boot_id, agent_attached_at, removal_complete, failure_reason, failure_stage, failure_message,
            failure_evidence)
         VALUES (?1, 1, ?3, ?2, 0, 'errored', 'errored', 2, ?2, ?2, ?2, 1, 1, ?2, ?2, ?2, ?2, ?2, ?4, 0, ?2, ?2, ?3, ?2)",
        "INSERT INTO stage SELECT ?1, 1, ?2, 'failed', ?4, ?4, ?3, 1",
        "INSERT INTO check_result (build_id, position, name, outcome, required, duration_ms, summary, observations, trial)
         SELECT ?1, 1, ?2, 'fail', 0, ?4, ?3, '{}', 1",
        "INSERT INTO removed_path SELECT ?1, ?4, ?2, 'failed', ?3, 1",
    ] {
        connection.execute(sql, params![id, CANARY, target, at]).unwrap();
    }
}

/// A log's lines are its own.
fn log() -> String {
    let line = CANARY.replace('\n', " ");
    format!("{line}\n{line}")
}

/// Logs and the list of packages, which differ.
fn files(directory: &Path, id: &str) {
    fs::create_dir_all(directory).unwrap();
    for name in ["build.log", "console.log"] {
        fs::write(directory.join(name), log()).unwrap();
    }
    let event = serde_json::json!({ "event": CANARY, CANARY: CANARY, "time": "2026-11-28T00:00:00Z" });
    fs::write(directory.join("agent.jsonl"), format!("{event}\n")).unwrap();
    let package = serde_json::json!({ "package": CANARY, "arch": "amd64", "version": format!("{CANARY}{id}"), "status": "ii " });
    fs::write(directory.join("manifest.json"), serde_json::json!({ "packages": [package] }).to_string())
        .unwrap();
}

pub(super) fn both(output: &Output) -> String {
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

#[test]
fn no_verb_shows_the_canary_raw_on_a_terminal_or_in_a_pipe() {
    let place = place();
    fs::write(place.path().join("evil.toml"), format!("[schedule.a]\nimage.elements = [\"{CANARY}\"]\n"))
        .unwrap();
    let element = serde_json::to_string(CANARY).unwrap().replace('\u{7f}', "\\u007f");
    fs::write(place.path().join("named.toml"), format!("[schedule.a]\nimage.elements = [{element}]\n"))
        .unwrap();
    let [a, b, c] = IDS;
    let verbs: [&[&str]; 33] = [
        &["show", b],
        &["logs", b, "--console"],
        &["logs", b, "--console", "--target", CANARY],
        &["logs", a, "--agent", "--target", "nobody"],
        &["show", a],
        &["show", a, "--details"],
        &["show", c],
        &["show", a, "--format", "json"],
        &["show", CANARY],
        &["history"],
        &["history", "--format", "json"],
        &["history", "--format", "csv"],
        &["history", "--schedule", CANARY],
        &["history", "--since", CANARY],
        &["history", "--state", "failed", "--state", CANARY],
        &["report"],
        &["report", "--format", "json"],
        &["report", "--format", "html"],
        &["compare", a, b],
        &["compare", a, b, "--format", "json"],
        &["compare", "previous", a],
        &["logs", a],
        &["logs", a, "--console"],
        &["logs", a, "--agent"],
        &["logs", CANARY],
        &["run", CANARY],
        &["run", "tiny", "--log", CANARY],
        &["run", "tiny", "--scratch", CANARY, "--dib", CANARY, CANARY],
        &[CANARY],
        &["check", "evil.toml"],
        &["check", "named.toml"],
        &["check", CANARY],
        &["doctor", "--cloud", CANARY],
    ];
    for arguments in verbs {
        let output = place.run(arguments);
        assert_all_is_seen(&format!("{arguments:?} in a pipe"), &both(&output));
        let output = on_terminal(&place, arguments).output().unwrap();
        assert_all_is_seen(&format!("{arguments:?} on a terminal"), &both(&output));
        assert!(!output.stdout.is_empty(), "{arguments:?}");
    }
    let mut complete = place.command(&["--", "image-manager", "show", ""]);
    complete.env("IMAGE_MANAGER_COMPLETE", "zsh").env("_CLAP_COMPLETE_INDEX", "2");
    let said = both(&complete.output().unwrap());
    // zsh has a backslash escaped.
    assert!(said.contains("\\\\u{202e}"), "{said}");
    assert_all_is_seen("completions", &said);
}

#[test]
fn what_is_shown_is_whole_and_what_programs_read_is_the_same() {
    let place = place();
    let shown = place.expect(&["show", IDS[0], "--details"], 0);
    // Everything that the history has of the build, keys of observations too.
    assert!(shown.matches(SEEN).count() >= 20, "{shown}");
    let build: Json = serde_json::from_str(&place.expect(&["show", IDS[0], "--format", "json"], 0)).unwrap();
    assert_eq!(build["failure"]["message"], CANARY);
    // The history keeps no control characters in values of observations.
    let value = build["checks"][0]["observations"][CANARY][CANARY][0].as_str().unwrap();
    assert!(value.contains("\u{202e}\u{2066}\u{200b}\u{2028}x\nFORGED"), "{value:?}");
    let csv = place.expect(&["history", "--format", "csv"], 0);
    assert_eq!(csv.lines().count(), 1 + IDS.len(), "a build is a line:\n{csv}");
    let page = place.expect(&["report", "--format", "html"], 0);
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script>"), "{page}");

    let raw = place.run(&["logs", IDS[0], "--raw"]);
    assert_eq!(text(&raw.stdout), log(), "raw is raw");
    let agent = place.expect(&["logs", IDS[0], "--agent"], 0);
    assert_eq!(serde_json::from_str::<Json>(&agent).unwrap()[CANARY], CANARY, "JSON stays JSON");
}

/// A request without a library; the whole answer.
fn ask(operator: &str, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(operator).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let length = body.len();
    let request =
        format!("{head}\r\nhost: {operator}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    text(&answer)
}

fn in_an_address(text: &str) -> String {
    text.bytes().fold(String::new(), |address, byte| address + &format!("%{byte:02X}"))
}

#[test]
fn no_page_and_no_metric_has_the_canary_raw() {
    let place = place();
    let serving = place.serve();
    let evil = in_an_address(CANARY);
    let [a, b, _] = IDS;
    let mut pages = Vec::new();
    for path in [
        "/".to_owned(),
        "/builds".to_owned(),
        format!("/builds?schedule={evil}&state={evil}"),
        format!("/builds/{a}"),
        format!("/builds/{b}"),
        format!("/builds/{b}?log=console&target={evil}2"),
        format!("/builds/{b}/logs/console.log?target={evil}"),
        format!("/builds/{b}/logs/agent.jsonl?target={evil}3"),
        format!("/builds/{a}?log=build"),
        format!("/builds/{a}?log=console"),
        format!("/builds/{a}?log=agent"),
        format!("/builds/{a}?log=build&q={evil}"),
        format!("/builds/{a}?log=agent&q=owned"),
        format!("/builds/{a}/logs/build.log"),
        format!("/builds/{a}/logs/agent.jsonl"),
        format!("/builds/{a}/logs/{evil}"),
        format!("/builds/{evil}"),
        format!("/compare?a={a}&b={b}"),
        format!("/compare?a={evil}&b={b}"),
        "/schedules/tiny".to_owned(),
        format!("/schedules/{evil}"),
        "/metrics".to_owned(),
        format!("/login?next={evil}"),
        format!("/{evil}"),
    ] {
        pages.push((format!("GET {path}"), ask(&serving.operator, &format!("GET {path} HTTP/1.1"), "")));
    }
    let json = serde_json::json!({ "schedule": CANARY }).to_string();
    let unknown = serde_json::json!({ CANARY: 1 }).to_string();
    for (kind, body) in [
        ("application/json", json.as_str()),
        ("application/json", &unknown),
        ("application/x-www-form-urlencoded", &format!("schedule={evil}")),
        ("application/x-www-form-urlencoded", &format!("{evil}=x")),
    ] {
        let head = format!("POST /build HTTP/1.1\r\ncontent-type: {kind}");
        pages.push((head.clone(), ask(&serving.operator, &head, body)));
    }
    for (what, answer) in &pages {
        assert_all_is_seen(what, answer);
        let markup = answer.contains("content-type: text/html");
        assert!(!(markup && answer.contains("<script>alert")), "{what}:\n{answer}");
        assert!(markup || answer.contains("x-content-type-options: nosniff"), "{what}:\n{answer}");
    }
    let page = |path: &str| &pages.iter().find(|(what, _)| what == path).unwrap().1;
    assert!(page("GET /").contains(SEEN), "why it is paused:\n{}", page("GET /"));
    assert!(
        page(&format!("GET /builds/{a}")).matches(SEEN).count() >= 15,
        "{}",
        page(&format!("GET /builds/{a}"))
    );
    assert_eq!(serving.terminate(), Some(0));
}

#[test]
fn no_message_and_no_log_has_the_canary_raw() {
    let place = place();
    let receiver = Receiver::start(&[500]);
    let url = receiver.url();
    let more =
        ["--webhook-url", &url, "--webhook-format", "chat", "--log-format", "json", "--log-file", "im.jsonl"];
    let serving = place.serve_with(&more);
    for heard in receiver.wait_for(3) {
        let message = heard.json();
        let told = message["text"].as_str().unwrap();
        assert_all_is_seen("the webhook", told);
        assert!(
            told.contains("&lt;!channel&gt;") && !told.contains('<') && told.lines().count() <= 3,
            "{told}"
        );
    }
    assert_eq!(serving.terminate(), Some(0));
    for line in fs::read_to_string(place.path().join("im.jsonl")).unwrap().lines() {
        serde_json::from_str::<Json>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
    assert_all_is_seen("the log as JSON", &place.serve_log());
    assert!(place.serve_log().contains("did not accept a notice"), "{}", place.serve_log());

    // The same as text.
    let receiver = Receiver::start(&[500]);
    let connection = Connection::open(place.state().join("image-manager.db")).unwrap();
    connection
        .execute(
            "INSERT INTO outbox (schedule, reason, created_at, due_at) VALUES (?1, ?1, ?2, ?2)",
            params![CANARY, chrono::Utc::now().timestamp_millis()],
        )
        .unwrap();
    let serving = place.serve_with(&["--webhook-url", &receiver.url()]);
    receiver.wait_for(2);
    assert_eq!(serving.terminate(), Some(0));
    let log = place.serve_log();
    assert!(log.contains("did not accept a notice") && log.contains("owned"), "{log}");
    assert_all_is_seen("the log as text", &log);
}
