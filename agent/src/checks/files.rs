//! Check `files`: files of the image are as the schedule expects them.

use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;

use image_manager_proto::counted;
use image_manager_proto::v1::CheckOutcome;
use serde::Deserialize;
use serde_json::json;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::accounts;
use super::descriptor::{BadSettings, Check, Examination, Key, Observer, Rule, Set, ValueType, is_plain};
use super::{Judgement, LONG_TIMEOUT, boot, cloud_init, pause};
use crate::guest::Guest;
use crate::text;

/// Most bytes of a file in which a text is looked for.
const LARGEST: u64 = 16 << 20;
const FIRST_PAUSE: std::time::Duration = std::time::Duration::from_millis(500);
const LONGEST_PAUSE: std::time::Duration = std::time::Duration::from_secs(4);

/// The check.
pub static CHECK: Check = Check {
    kind: "files",
    proves: "files are there, with the mode, the owner and the content that the schedule expects, or are absent",
    details: "A file that is not as expected is examined again until cloud-init has ended, because cloud-init may \
              write it. If it has not ended within the timeout, the check is inconclusive.",
    set: Set::Named,
    observer: Observer::Agent,
    timeout: LONG_TIMEOUT,
    cost: "reads the files that it names; if they are not as expected, waits for cloud-init to finish",
    repeatable: false,
    keys: &[Key {
        name: "expect",
        value: ValueType::Tables(&[
            Key {
                name: "path",
                value: ValueType::Text(&PATH),
                default: "",
                help: "the absolute path in the image",
            },
            Key {
                name: "kind",
                value: ValueType::Choice(&["file", "directory", "link", "absent"]),
                default: "anything that exists",
                help: "what it is",
            },
            Key {
                name: "mode",
                value: ValueType::Text(&MODE),
                default: "any",
                help: "permissions, as in \"0640\"",
            },
            Key {
                name: "owner",
                value: ValueType::Text(&OWNER),
                default: "any",
                help: "user, or user and group, as in \"root:adm\"",
            },
            Key {
                name: "contains",
                value: ValueType::Text(&CONTENT),
                default: "anything",
                help: "text that the file must contain",
            },
        ]),
        default: "",
        help: "one entry for each file",
    }],
    examine: Some(|asked| Box::pin(examine(asked))),
};

static PATH: Rule = Rule {
    what: "a path in the image",
    help: "an absolute path, as in \"/etc/motd\"",
    holds: |text| text.starts_with('/') && text.len() <= 1024 && !text.split('/').any(|part| part == ".."),
};

static MODE: Rule = Rule {
    what: "a mode",
    help: "three or four octal digits, as in \"0640\"",
    holds: |text| (3..=4).contains(&text.len()) && text.bytes().all(|digit| (b'0'..=b'7').contains(&digit)),
};

static OWNER: Rule = Rule {
    what: "an owner",
    help: "a user's name, or user and group with a colon, as in \"root:adm\"",
    holds: |text| is_plain(text, 65, "._-:", "-:") && text.matches(':').count() <= 1 && !text.ends_with(':'),
};

static CONTENT: Rule =
    Rule { what: "a text", help: "1 to 1000 bytes", holds: |text| (1..=1000).contains(&text.len()) };

/// Its keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// One for each file.
    pub expect: Vec<Expected>,
}

/// How a file is to be. What is empty may be anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expected {
    /// Its path in the guest.
    pub path: String,
    /// `file`, `directory`, `link` or `absent`.
    pub kind: String,
    /// Octal digits.
    pub mode: String,
    /// User, or user and group.
    pub owner: String,
    /// A text that it has in it.
    pub contains: String,
}

async fn examine(asked: Examination) -> Result<Judgement, BadSettings> {
    let settings: Settings = asked.settings()?;
    Ok(judge(&settings, &observe(&settings, &asked.guest, asked.deadline).await))
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// What is wrong with each file, in the order of the settings; empty when it is as expected.
    pub faults: Vec<String>,
    /// cloud-init had not ended when the time was up.
    pub unsettled: bool,
}

/// Looks at the files until all are as expected, cloud-init has ended, or the time is up.
pub async fn observe(settings: &Settings, guest: &Guest, deadline: Instant) -> Observation {
    let mut wait = FIRST_PAUSE;
    loop {
        // Before the look: what it writes at its very end counts.
        let settled = !cloud_init::is_under_way(guest);
        let (same, expected) = (guest.clone(), settings.expect.clone());
        let look = move || expected.iter().map(|file| look_at(&same, file)).collect::<Vec<_>>();
        let faults = spawn_blocking(look).await.unwrap_or_else(|error| vec![error.to_string()]);
        let good = faults.iter().all(String::is_empty);
        if good || settled || !pause(&mut wait, LONGEST_PAUSE, deadline).await {
            return Observation { faults, unsettled: !settled };
        }
    }
}

fn look_at(guest: &Guest, expected: &Expected) -> String {
    let path = guest.path(&expected.path);
    let metadata = match fs::symlink_metadata(&path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return if expected.kind == "absent" { String::new() } else { "does not exist".to_owned() };
        }
        Err(error) => return format!("cannot be examined: {}", text::with_causes(&error)),
    };
    let kind = kind(&metadata);
    if !expected.kind.is_empty() && expected.kind != kind {
        return if expected.kind == "absent" {
            "exists, but must not".to_owned()
        } else {
            format!("is a {kind}, not a {}", expected.kind)
        };
    }
    let mode = metadata.mode() & 0o7777;
    if let Ok(wanted) = u32::from_str_radix(&expected.mode, 8)
        && wanted != mode
    {
        return format!("has mode {mode:04o}, not {wanted:04o}");
    }
    let owner = accounts::owner_of(guest, metadata.uid(), metadata.gid());
    if !is_owner(&expected.owner, &owner) {
        return format!("belongs to {}:{}, not to {}", owner.0, owner.1, expected.owner);
    }
    if expected.contains.is_empty() {
        return String::new();
    }
    let mut content = Vec::new();
    let read = fs::File::open(&path).and_then(|file| file.take(LARGEST).read_to_end(&mut content));
    if let Err(error) = read {
        return format!("cannot be read: {}", text::with_causes(&error));
    }
    let wanted = expected.contains.as_bytes();
    if content.windows(wanted.len()).any(|part| part == wanted) {
        String::new()
    } else {
        format!("does not contain {:?}", text::one_line(&expected.contains))
    }
}

fn kind(metadata: &fs::Metadata) -> &'static str {
    let kind = metadata.file_type();
    match (kind.is_file(), kind.is_dir(), kind.is_symlink()) {
        (true, ..) => "file",
        (_, true, _) => "directory",
        (.., true) => "link",
        _ => "special file",
    }
}

fn is_owner(wanted: &str, (user, group): &(String, String)) -> bool {
    match wanted.split_once(':') {
        Some((wanted_user, wanted_group)) => wanted_user == user && wanted_group == group,
        None => wanted.is_empty() || wanted == user,
    }
}

/// What the observation means.
pub fn judge(settings: &Settings, seen: &Observation) -> Judgement {
    let wrong: Vec<String> = settings
        .expect
        .iter()
        .zip(&seen.faults)
        .filter(|(_, why)| !why.is_empty())
        .map(|(file, why)| format!("{} {why}", file.path))
        .collect();
    let looked_at = settings.expect.len();
    let (outcome, summary) = match wrong.split_first() {
        _ if seen.faults.len() < looked_at => {
            let why = text::list(&seen.faults);
            (CheckOutcome::Inconclusive, format!("the files could not be examined: {why}"))
        }
        None if looked_at == 0 => (CheckOutcome::Skipped, "checks.files.expect names no file".to_owned()),
        None => (CheckOutcome::Pass, format!("{looked_at} of {} as expected", counted(looked_at, "file"))),
        Some((first, others)) => {
            let mut summary = first.clone();
            if !others.is_empty() {
                let _ = write!(summary, "; {} more not as expected", others.len());
            }
            (CheckOutcome::Fail, summary)
        }
    };
    let (outcome, summary) = boot::unless_unsettled(seen.unsettled, (outcome, summary));
    let observed = json!({
        "files": looked_at,
        "not_as_expected": wrong,
        "cloud_init_ended": !seen.unsettled,
    });
    Judgement::new(outcome, summary, &observed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    use super::*;

    fn guest() -> (tempfile::TempDir, Guest) {
        let folder = tempfile::tempdir().unwrap();
        let guest = Guest::below(folder.path());
        fs::create_dir_all(guest.path("/etc")).unwrap();
        let user = nix::unistd::getuid().as_raw();
        fs::write(guest.path("/etc/passwd"), format!("me:x:{user}:5::/:/bin/sh\n")).unwrap();
        fs::write(guest.path("/etc/motd"), "welcome home\n").unwrap();
        fs::set_permissions(guest.path("/etc/motd"), fs::Permissions::from_mode(0o640)).unwrap();
        (folder, guest)
    }

    async fn said(expected: Expected) -> (CheckOutcome, String) {
        let (_folder, guest) = guest();
        let settings = Settings { expect: vec![expected] };
        let deadline = Instant::now() + Duration::from_secs(5);
        let judgement = judge(&settings, &observe(&settings, &guest, deadline).await);
        (judgement.outcome, judgement.summary)
    }

    fn motd() -> Expected {
        Expected { path: "/etc/motd".to_owned(), ..Expected::default() }
    }

    #[tokio::test]
    async fn each_expectation_can_fail() {
        let word = str::to_owned;
        let good = Expected {
            kind: word("file"),
            mode: word("0640"),
            owner: word("me"),
            contains: word("home"),
            ..motd()
        };
        assert_eq!(said(good.clone()).await, (CheckOutcome::Pass, word("1 of 1 file as expected")));
        let absent = Expected { path: word("/etc/x"), kind: word("absent"), ..Expected::default() };
        assert_eq!(said(absent).await.0, CheckOutcome::Pass);
        for (bad, why) in [
            (Expected { path: word("/etc/x"), ..good.clone() }, "/etc/x does not exist"),
            (Expected { kind: word("absent"), ..motd() }, "/etc/motd exists, but must not"),
            (Expected { kind: word("directory"), ..motd() }, "/etc/motd is a file, not a directory"),
            (Expected { mode: word("644"), ..motd() }, "/etc/motd has mode 0640, not 0644"),
            (Expected { owner: word("you"), ..motd() }, "not to you"),
            (Expected { contains: word("farewell"), ..motd() }, "/etc/motd does not contain \"farewell\""),
        ] {
            let (outcome, summary) = said(bad).await;
            assert!(outcome == CheckOutcome::Fail && summary.contains(why), "{summary}");
        }
    }

    #[test]
    fn nothing_asked_for_is_no_pass() {
        let nothing = Observation::default();
        assert_eq!(judge(&Settings::default(), &nothing).outcome, CheckOutcome::Skipped);
        let asked = Settings { expect: vec![motd()] };
        assert_eq!(judge(&asked, &nothing).outcome, CheckOutcome::Inconclusive);
    }

    /// cloud-init writes it when its time has come, and that may be after the check's.
    #[tokio::test]
    async fn a_file_that_may_yet_be_written_is_nobodys_fault() {
        let (_folder, guest) = guest();
        fs::create_dir_all(guest.path("/run/cloud-init")).unwrap();
        fs::write(guest.path("/run/cloud-init/enabled"), "").unwrap();
        let settings =
            Settings { expect: vec![Expected { path: "/etc/site".to_owned(), ..Expected::default() }] };
        let deadline = Instant::now() + Duration::from_secs(1);
        let judgement = judge(&settings, &observe(&settings, &guest, deadline).await);
        assert_eq!(judgement.outcome, CheckOutcome::Inconclusive);
        let why = judgement.summary;
        assert!(why.contains("does not exist") && why.contains("give the check a longer timeout"), "{why}");
        fs::write(guest.path(cloud_init::RESULT), "{}").unwrap();
        let seen = observe(&settings, &guest, Instant::now() + Duration::from_secs(5)).await;
        assert_eq!(judge(&settings, &seen).outcome, CheckOutcome::Fail);
    }
}
