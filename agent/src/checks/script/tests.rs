use std::ffi::OsString;
use std::os::fd::AsFd as _;

use tokio::process::Command;
use tokio::time::{Instant, sleep};

use super::*;

/// Has this test program be the keeper: its test [`keeps`], whose output begins after what the harness says.
pub(super) fn keeper(arguments: &[&str], script: &Path) -> Command {
    let this = std::env::current_exe().unwrap();
    let mut command = Command::new("/bin/sh");
    let name = "checks::script::tests::keeps";
    command.arg("-c").arg(format!("exec \"$0\" --exact {name} --nocapture -- \"$@\" 3>&1 >/dev/null"));
    command.arg(this).args(arguments).arg(script);
    command
}

/// No test by itself.
#[test]
#[expect(clippy::disallowed_methods, reason = "nothing of the harness may follow")]
fn keeps() {
    let arguments: Vec<OsString> = std::env::args_os().skip_while(|word| word != "--").skip(1).collect();
    if arguments.is_empty() {
        return;
    }
    let output = fs::OpenOptions::new().write(true).open("/proc/self/fd/3").unwrap();
    nix::unistd::dup2_stdout(output.as_fd()).unwrap();
    drop(output);
    std::process::exit(super::keeper::keep_script(&arguments).into());
}

/// A guest with this machine's own programs: scripts name them by their whole paths.
fn guest() -> (tempfile::TempDir, Guest) {
    let folder = tempfile::tempdir().unwrap();
    let guest = Guest::below(folder.path());
    fs::create_dir_all(guest.path("/var/lib")).unwrap();
    fs::create_dir_all(guest.path("/etc")).unwrap();
    fs::copy("/etc/passwd", guest.path("/etc/passwd")).unwrap();
    fs::write(guest.path("/etc/group"), "adm:x:4:syslog,nobody\n").unwrap();
    (folder, guest)
}

async fn outcome_of(script: &str, user: &str, seconds: u64) -> (CheckOutcome, String, serde_json::Value) {
    let (folder, guest) = guest();
    // So that others can go through to a directory of their own.
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let asked = Examination {
        settings: json!({ "file": format!("#!/bin/sh\n{script}\n"), "user": user }),
        server: image_manager_proto::v1::ServerFacts::default(),
        guest: guest.clone(),
        deadline: Instant::now() + Duration::from_secs(seconds),
        clock_ahead: None,
    };
    let judgement = examine(asked).await.unwrap();
    let left = fs::read_dir(guest.path(DIRECTORY)).map_or(0, Iterator::count);
    assert_eq!(left, 0, "something of the script is left");
    let removal = crate::removal::remove(folder.path());
    assert!(removal.complete && !guest.has(DIRECTORY));
    let named = removal.paths.iter().any(|path| path.path == DIRECTORY);
    assert_eq!(named, !summary_of_no_place(&judgement.summary), "{:?}", removal.paths);
    let seen = super::super::observations::to_json(Some(&judgement.observations));
    (judgement.outcome, judgement.summary, seen)
}

/// Nothing was written for a script whose user does not exist.
fn summary_of_no_place(summary: &str) -> bool {
    summary.contains("has no user")
}

#[tokio::test]
async fn the_exit_code_decides() {
    use CheckOutcome::{Fail, Pass};
    assert_eq!(outcome_of("echo fine", "", 10).await.0, Pass);
    let (outcome, summary, seen) = outcome_of("echo begin; echo out of luck >&2; exit 4", "", 10).await;
    assert_eq!(outcome, Fail);
    assert_eq!(summary, "the script ended with exit code 4: out of luck");
    assert_eq!((&seen["output"][0], &seen["exit_code"]), (&json!("begin"), &json!(4)));
    assert!(
        outcome_of("true", "nobody-of-this-name", 10).await.1.contains("has no user nobody-of-this-name")
    );
}

#[tokio::test]
async fn points_are_told_one_by_one() {
    let (outcome, summary, seen) = outcome_of(
        "echo 1..3; echo ok 1 - one; echo 'not ok 2 - two'; echo 'not ok 3 - three # TODO later'",
        "",
        10,
    )
    .await;
    assert_eq!((outcome, summary.as_str()), (CheckOutcome::Fail, "1 of 3 points failed: two"));
    let outcomes: Vec<_> = seen["points"].as_array().unwrap().iter().map(|point| &point["outcome"]).collect();
    assert_eq!(outcomes, ["pass", "fail", "skipped"]);
    let (outcome, summary, _) = outcome_of("echo ok 1; echo 'ok 2 # SKIP no card'; echo 1..2", "", 10).await;
    assert_eq!((outcome, summary.as_str()), (CheckOutcome::Pass, "1 of 2 points passed, 1 skipped or to do"));
    for (script, why) in [
        ("echo 1..3; echo ok", "planned 3 points but reported 1"),
        ("echo ok; echo Bail out! no network", "gave up: no network"),
        ("echo ok 1 - one; exit 3", "ended with exit code 3"),
        ("echo 'okay then'; exit 1", "ended with exit code 1"),
    ] {
        let (outcome, summary, _) = outcome_of(script, "", 10).await;
        assert!(outcome == CheckOutcome::Fail && summary.contains(why), "{script}: {summary}");
    }
}

#[tokio::test]
async fn one_that_hangs_is_ended_with_all_that_it_started() {
    let mark = std::process::id();
    // One in a session of its own, whose parent is gone.
    let script = format!("setsid sleep 7{mark} >/dev/null 2>&1 & sleep 8{mark}");
    let (outcome, summary, _) = outcome_of(&script, "", 4).await;
    assert_eq!(outcome, CheckOutcome::Fail);
    assert!(summary.contains("did not finish in time"), "{summary}");
    for sleeper in [format!("7{mark}"), format!("8{mark}")] {
        assert!(!sleeps(&sleeper), "sleep {sleeper} is left");
    }
}

/// Whether a process of this machine sleeps for so long.
fn sleeps(seconds: &str) -> bool {
    fs::read_dir("/proc").unwrap().flatten().any(|process| {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == seconds.as_bytes())
    })
}

/// Leaves a process that has nothing of the script: not its session, group, environment, output or parent.
fn daemon(seconds: &str) -> String {
    format!("env -i setsid sleep {seconds} </dev/null >/dev/null 2>&1 &")
}

#[tokio::test]
async fn a_daemon_that_it_leaves_behind_is_ended() {
    let mark = std::process::id();
    let (left, late) = (format!("5{mark}"), format!("4{mark}"));
    let (outcome, summary, _) = outcome_of(&format!("{}\nexit 0", daemon(&left)), "", 20).await;
    assert_eq!((outcome, summary.as_str()), (CheckOutcome::Pass, "the script ended with exit code 0"));
    assert!(!sleeps(&left), "it is left");
    let (outcome, summary, _) = outcome_of(&format!("{}\nsleep 3{mark}", daemon(&late)), "", 4).await;
    assert!(outcome == CheckOutcome::Fail && summary.contains("did not finish in time"), "{summary}");
    assert!(!sleeps(&late), "it is left");
}

#[tokio::test]
async fn a_check_that_is_broken_off_leaves_nothing_either() {
    let mark = std::process::id();
    let (left, main) = (format!("2{mark}"), format!("1{mark}"));
    let script = format!("{}\nexec sleep {main}", daemon(&left));
    let examined = outcome_of(&script, "", 60);
    assert!(tokio::time::timeout(Duration::from_secs(2), examined).await.is_err());
    let deadline = Instant::now() + Duration::from_secs(10);
    while sleeps(&left) || sleeps(&main) {
        assert!(Instant::now() < deadline, "something of it is left");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn what_it_left_behind_may_say_its_last_word() {
    let (outcome, _, seen) = outcome_of("{ sleep 0.3; echo late; } & echo early", "", 20).await;
    assert_eq!(outcome, CheckOutcome::Pass);
    assert_eq!(seen["output"], json!(["early", "late"]));
}

#[tokio::test]
async fn how_it_ended_is_told() {
    let (outcome, summary, _) = outcome_of("kill -9 $$", "", 20).await;
    assert_eq!(outcome, CheckOutcome::Fail);
    assert_eq!(summary, "the script did not complete: it was killed");
    let (_folder, guest) = guest();
    let settings = Settings { file: "#!/no/such/shell\n".to_owned(), user: String::new() };
    let place = ScriptDirectory::make(&guest, &settings).unwrap();
    let ended = keeper::run(&place.script(), Instant::now() + Duration::from_secs(20)).await;
    let said = judge(&settings, false, &ended).summary;
    assert!(said.contains("could not be started: No such file or directory"), "{said}");
}

#[tokio::test]
async fn one_that_fails_before_cloud_inits_end_blames_nobody() {
    let (_folder, guest) = guest();
    fs::create_dir_all(guest.path("/run/cloud-init")).unwrap();
    fs::write(guest.path("/run/cloud-init/enabled"), "").unwrap();
    let asked = Examination {
        settings: json!({ "file": "#!/bin/sh\nexit 3\n" }),
        server: image_manager_proto::v1::ServerFacts::default(),
        guest,
        deadline: Instant::now() + Duration::from_secs(8),
        clock_ahead: None,
    };
    let judgement = examine(asked).await.unwrap();
    assert_eq!(judgement.outcome, CheckOutcome::Inconclusive);
    let why = judgement.summary;
    assert!(why.contains("exit code 3") && why.contains("give the check a longer timeout"), "{why}");
}

#[tokio::test]
async fn a_flood_is_bounded() {
    let (outcome, _, seen) = outcome_of("yes flood | head -c 30000000; echo end", "", 60).await;
    assert_eq!(outcome, CheckOutcome::Pass);
    assert!(seen["output"].as_array().unwrap().len() <= LINES.0 + LINES.1 + 1);
    assert!(seen.to_string().len() < 20_000);
}

#[tokio::test]
async fn it_runs_as_the_user_that_is_named_in_a_directory_of_its_own() {
    if !nix::unistd::getuid().is_root() {
        return;
    }
    let (outcome, summary, seen) = outcome_of("id -un; pwd; touch mine && ls; id -G", "nobody", 10).await;
    assert_eq!(outcome, CheckOutcome::Pass, "{summary}");
    let nobody = accounts::find(&Guest::default(), "nobody").unwrap();
    assert_eq!(seen["output"][4], format!("{} 4", nobody.gid), "with its groups, as after a login");
    assert_eq!(seen["output"][0], "nobody");
    assert!(seen["output"][1].as_str().unwrap().contains(DIRECTORY));
}
