//! A build of two targets of which one trial errors once, for real, and is made again: killed at any commit, it is that trial
//! alone that is made again, on the artifact that is there, and the build passes in the end.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use tempfile::TempDir;

use super::harness::{Place, tiny_schedule};
use super::kills::{self, Means, SUCCEEDED};
use super::{SAMPLE, on_this_host, torture};

const QEMU: &str = "qemu-system-x86_64";
/// The memory of the server that is not started the first time, and what QEMU's command line has for it.
const MEMORY: &str = "server.memory = \"384 MiB\"";
const ITS_OPTION: &str = " -m 384M ";

/// What errors is the first start of a server: no guest is needed for it. One kill interrupts one attempt at most, and a guest's
/// kernel panics now and then under emulation: so there are attempts enough for the build to pass whatever is killed when.
#[test]
fn killed_at_any_commit_of_a_trial_that_is_made_again_nothing_is_left_on_local() {
    let programs = programs();
    let targets = format!(
        "[[schedule.tiny.targets]]\nname = \"small\"\n[[schedule.tiny.targets]]\nname = \"large\"\n{MEMORY}\n"
    );
    let more = format!(
        "publish = {{ name = \"tiny\", keep = 1 }}\nchecks = {{ disk = {{}} }}\nretry = 4\nretry_backoff = \"1s\"\n\
         pause_after = 0\n{targets}"
    );
    let path = format!("{}:{}", programs.path().display(), std::env::var("PATH").unwrap());
    let means = Means {
        environment: vec![("PATH", path)],
        leaks: Box::new(wrong),
        end: SUCCEEDED,
        ..on_this_host(tiny_schedule("tiny", &more), 2)
    };
    torture("a trial that is made again on local", &means, SAMPLE);
}

/// A directory with a QEMU that does not start the first such server of each place. QEMU's user can reach it, and notes there
/// which places have had theirs.
fn programs() -> TempDir {
    let directory = tempfile::Builder::new().prefix("im-test-programs-").tempdir().unwrap();
    let noted = directory.path().join("noted");
    fs::create_dir(&noted).unwrap();
    let script = directory.path().join(QEMU);
    let text = format!(
        "#!/bin/bash\n\
         for argument; do\n\
         \x20   case $argument in */state/servers/*/firmware) place=${{argument%/state/servers/*}} ;; esac\n\
         done\n\
         case \" $* \" in\n\
         *\"{ITS_OPTION}\"*)\n\
         \x20   if mkdir \"${{0%/*}}/noted/${{place//\\//_}}\"; then\n\
         \x20       echo \"{QEMU}: cannot set up guest memory 'pc.ram': Cannot allocate memory\" >&2\n\
         \x20       exit 1\n\
         \x20   fi ;;\n\
         esac\n\
         exec {} \"$@\"\n",
        qemu().display()
    );
    fs::write(&script, text).unwrap();
    for (path, mode) in [(directory.path(), 0o755), (script.as_path(), 0o755), (noted.as_path(), 0o777)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    directory
}

/// The QEMU that is started otherwise.
fn qemu() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    let all = std::env::split_paths(&path).map(|directory| directory.join(QEMU));
    all.into_iter().find(|program| program.is_file()).unwrap()
}

/// What is not as it should be once all builds have ended: each build ran disk-image-builder once, no attempt booted twice, and
/// the newest build passed. Another one there is only where the manager was killed while the image was made.
fn wrong(place: &Place) -> Vec<String> {
    let mut wrong = Vec::new();
    let builds = kills::builds(place);
    let passed = builds.last().is_some_and(|(_, state, _)| state == SUCCEEDED);
    if !passed {
        wrong.push(format!("the newest build did not pass: {builds:?}"));
    }
    let connection = kills::open(&place.state().join("image-manager.db")).unwrap();
    let questions = [
        (
            "was not interrupted while it was building, and yet another build was made",
            "SELECT id FROM build WHERE id <> (SELECT max(id) FROM build)
             AND (failure_reason IS NOT 'interrupted' OR failure_stage IS NOT 'building')",
        ),
        (
            "ran disk-image-builder more than once",
            "SELECT build_id FROM resource WHERE kind = 'scratch' GROUP BY build_id HAVING count(*) > 1",
        ),
        (
            "has a trial with more servers than attempts",
            "SELECT trial.build_id FROM trial JOIN resource
                ON resource.build_id = trial.build_id AND resource.trial = trial.position AND resource.kind = 'server'
             GROUP BY trial.build_id, trial.position HAVING count(*) > trial.attempt",
        ),
        (
            "has passed without the attempt that must have errored",
            "SELECT build_id FROM trial WHERE target = 'large' AND verdict = 'passed' AND attempt < 2
             AND build_id = (SELECT min(build_id) FROM trial)",
        ),
    ];
    for (what, question) in questions {
        let mut rows = connection.prepare(question).unwrap();
        let found = rows.query_map([], |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap);
        wrong.extend(found.map(|id| format!("build {id} {what}")));
    }
    wrong
}
