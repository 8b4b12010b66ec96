//! Check `commands`: commands in the image end and say what the schedule expects.

use image_manager_proto::counted;
use image_manager_proto::v1::CheckOutcome;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::descriptor::{BadSettings, Check, Examination, Key, Observer, Rule, Set, ValueType, is_plain};
use super::program::{self, Ended};
use super::{Judgement, LONG_TIMEOUT, accounts, boot};
use crate::guest::Guest;
use crate::text;

/// The check.
pub static CHECK: Check = Check {
    kind: "commands",
    proves: "commands end with the exit code and the output that the schedule expects",
    details: "The image's `/bin/sh` runs them, one after the other, once cloud-init has ended or most of the check's \
              time has passed. One that does not end as expected while cloud-init still runs is inconclusive: give \
              the check a `timeout` that is twice as long as cloud-init takes.",
    set: Set::Named,
    observer: Observer::Agent,
    timeout: LONG_TIMEOUT,
    cost: "waits for cloud-init to finish; then what the commands cost",
    repeatable: false,
    keys: &[Key {
        name: "run",
        value: ValueType::Tables(&[
            Key {
                name: "command",
                value: ValueType::Text(&COMMAND),
                default: "",
                help: "a line for the shell, as in \"nginx -t\"",
            },
            Key {
                name: "exit_code",
                value: ValueType::Number { smallest: 0, largest: 255 },
                default: "0",
                help: "the exit code that it must end with",
            },
            Key {
                name: "output",
                value: ValueType::Text(&PATTERN),
                default: "anything",
                help: "what it must write to standard output, ignoring surrounding white space; `*` matches anything, \
                       as in \"*is running*\"",
            },
            Key {
                name: "user",
                value: ValueType::Text(&USER),
                default: "root",
                help: "the user that it runs as",
            },
        ]),
        default: "",
        help: "one entry for each command",
    }],
    examine: Some(|asked| Box::pin(examine(asked))),
};

static COMMAND: Rule = Rule {
    what: "a command",
    help: "1 to 1000 bytes",
    holds: |text| (1..=1000).contains(&text.trim().len()),
};

static PATTERN: Rule =
    Rule { what: "a pattern", help: "1 to 1000 bytes", holds: |text| (1..=1000).contains(&text.len()) };

/// A user's name as `/etc/passwd` may have it.
pub(super) static USER: Rule = Rule {
    what: "a user's name",
    help: "letters, digits, `_`, `.` and `-`, at most 32, beginning with a letter or `_`",
    holds: |text| is_plain(text, 32, "_.-", "-.0123456789"),
};

/// Its keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// One for each command.
    pub run: Vec<Expected>,
}

/// A command, and how it is to end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expected {
    /// A line for the shell.
    pub command: String,
    /// How it must end.
    pub exit_code: i32,
    /// What it must say, `*` for anything. Empty: anything.
    pub output: String,
    /// Who it runs as. Empty: root.
    pub user: String,
}

async fn examine(asked: Examination) -> Result<Judgement, BadSettings> {
    let settings: Settings = asked.settings()?;
    let settled = boot::cloud_init_ended(&asked.guest, boot::with_time_to_run(asked.deadline)).await;
    let mut seen = Observation { ended: Vec::new(), unsettled: !settled };
    for expected in &settings.run {
        seen.ended.push(run(&asked.guest, expected, asked.deadline).await);
    }
    Ok(judge(&settings, &seen))
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Observation {
    /// How the commands ended, in the order of the settings.
    ended: Vec<Ended>,
    /// cloud-init had not ended when they began.
    unsettled: bool,
}

async fn run(guest: &Guest, expected: &Expected, deadline: Instant) -> Ended {
    let Some(shell) = program::program(guest, "sh") else {
        return Ended { broken: "the image has no /bin/sh".to_owned(), ..Ended::default() };
    };
    let mut shell = shell.with(["-c", &expected.command]);
    if !expected.user.is_empty() && expected.user != "root" {
        let Some(user) = accounts::find(guest, &expected.user) else {
            let broken = format!("the image has no user {}", expected.user);
            return Ended { broken, ..Ended::default() };
        };
        shell = shell.user(&user).env("HOME", &user.home).env("USER", &user.name);
    }
    shell.run(deadline).await
}

/// What the ends of the commands mean.
fn judge(settings: &Settings, seen: &Observation) -> Judgement {
    let wrong: Vec<String> = settings
        .run
        .iter()
        .zip(&seen.ended)
        .filter_map(|(expected, ended)| {
            let why = difference(expected, ended)?;
            Some(format!("`{}` {why}", text::one_line(&expected.command)))
        })
        .collect();
    let count = settings.run.len();
    let (outcome, summary) = match wrong.as_slice() {
        [] if count == 0 => (CheckOutcome::Skipped, "checks.commands.run names no command".to_owned()),
        [] => (CheckOutcome::Pass, format!("{count} of {} ended as expected", counted(count, "command"))),
        [only] => (CheckOutcome::Fail, only.clone()),
        [first, others @ ..] => {
            (CheckOutcome::Fail, format!("{first}; {} more did not end as expected", others.len()))
        }
    };
    let (outcome, summary) = boot::unless_unsettled(seen.unsettled, (outcome, summary));
    let ends = settings.run.iter().zip(&seen.ended).map(|(expected, ended)| {
        json!({
            "command": expected.command,
            "exit_code": ended.code,
            "output": ended.out,
            "errors": ended.err,
            "broken": ended.broken,
        })
    });
    let observed = json!({
        "not_as_expected": wrong,
        "ended": ends.collect::<Vec<_>>(),
        "cloud_init_ended": !seen.unsettled,
    });
    Judgement::new(outcome, summary, &observed)
}

fn difference(expected: &Expected, ended: &Ended) -> Option<String> {
    let Some(code) = ended.code else { return Some(format!("did not complete: {}", ended.complaint())) };
    if code != expected.exit_code {
        let said = ended.complaint();
        return Some(format!("ended with exit code {code}, not {}: {said}", expected.exit_code));
    }
    let said = ended.out.trim();
    if expected.output.is_empty() || matches(&expected.output, said) {
        return None;
    }
    Some(format!("printed {:?}, not {:?}", text::one_line(said), text::one_line(&expected.output)))
}

/// Whether a text is as a pattern says, in which `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    true
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, is) in [
            ("ok", "ok", true),
            ("ok", "okay", false),
            ("ok*", "okay", true),
            ("*ok", "not ok", true),
            ("*is*running*", "nginx is still running now", true),
            ("*is*running*", "running is nginx", false),
            ("a*a", "a", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, text), is, "{pattern} {text}");
        }
    }

    async fn said(command: &str, exit_code: i32, output: &str, user: &str) -> (CheckOutcome, String) {
        let [command, output, user] = [command, output, user].map(str::to_owned);
        let settings = Settings { run: vec![Expected { command, exit_code, output, user }] };
        let deadline = Instant::now() + Duration::from_secs(2);
        let ended = vec![run(&Guest::default(), &settings.run[0], deadline).await];
        let seen = Observation { ended, unsettled: false };
        let judgement = judge(&settings, &seen);
        (judgement.outcome, judgement.summary)
    }

    #[tokio::test]
    async fn commands_end_as_expected_or_say_how_they_did_not() {
        use CheckOutcome::{Fail, Pass};
        assert_eq!(said("echo hello", 0, "hello", "").await.0, Pass);
        assert_eq!(said("exit 3", 3, "", "").await.0, Pass);
        let (outcome, why) = said("echo no such thing >&2; exit 2", 0, "", "").await;
        assert_eq!(outcome, Fail);
        assert!(why.ends_with("ended with exit code 2, not 0: no such thing"), "{why}");
        let (outcome, why) = said("echo bye", 0, "hello*", "").await;
        assert_eq!((outcome, why.as_str()), (Fail, "`echo bye` printed \"bye\", not \"hello*\""));
        let (outcome, why) = said("sleep 60", 0, "", "").await;
        assert!(outcome == Fail && why.contains("did not finish in time"), "{why}");
        let (outcome, why) = said("true", 0, "", "nobody-of-this-name").await;
        assert!(outcome == Fail && why.contains("has no user nobody-of-this-name"), "{why}");
    }

    #[tokio::test]
    async fn what_runs_before_cloud_inits_end_blames_nobody() {
        let root = tempfile::tempdir().unwrap();
        let guest = Guest::below(root.path());
        program::plant(&guest, "sh", "exec /bin/sh \"$@\"");
        std::fs::create_dir_all(guest.path("/run/cloud-init")).unwrap();
        std::fs::write(guest.path("/run/cloud-init/enabled"), "").unwrap();
        let examined = async |command: &str| {
            let asked = Examination {
                settings: json!({ "run": [{ "command": command }] }),
                server: image_manager_proto::v1::ServerFacts::default(),
                guest: guest.clone(),
                deadline: Instant::now() + Duration::from_secs(4),
                clock_ahead: None,
            };
            let judgement = examine(asked).await.unwrap();
            (judgement.outcome, judgement.summary)
        };
        let (outcome, why) = examined("exit 3").await;
        assert_eq!(outcome, CheckOutcome::Inconclusive);
        assert!(why.contains("exit code 3") && why.contains("give the check a longer timeout"), "{why}");
        assert_eq!(examined("true").await.0, CheckOutcome::Pass);
        std::fs::write(guest.path(super::super::cloud_init::RESULT), "{}").unwrap();
        assert_eq!(examined("exit 3").await.0, CheckOutcome::Fail);
    }

    #[tokio::test]
    async fn a_command_runs_as_the_user_that_it_names() {
        if !nix::unistd::getuid().is_root() {
            return;
        }
        assert_eq!(said("id -un", 0, "nobody", "nobody").await.0, CheckOutcome::Pass);
    }
}
