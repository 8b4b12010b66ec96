//! One build with one kill.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use image_manager_proto::v1::image_manager_client::ImageManagerClient;
use image_manager_proto::v1::{Trigger, TriggerBuildRequest};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value as Json;

use super::harness::{Place, wait_for};

/// The end of a build that passes.
pub(crate) const SUCCEEDED: &str = "succeeded";
const ENDS: [&str; 5] = [SUCCEEDED, "failed", "errored", "cancelled", "skipped"];
/// Everything that may be in a state directory when no build is under way, but for published images.
const STATE: [&str; 16] = [
    "asking",
    "bases",
    "image-manager.db",
    "image-manager.db-wal",
    "image-manager.db-shm",
    "builds",
    "cache",
    "control",
    "images",
    "lock",
    "owner",
    "session-key",
    "scratch",
    "servers",
    "stand-ins",
    "tls",
];

/// Looks at a cloud with other eyes than the manager's.
pub(crate) type Leaks = Box<dyn Fn(&Place) -> Vec<String> + Sync>;

/// What the managers are started with.
pub(crate) struct Means {
    pub(crate) schedules: String,
    /// How many trials each build has.
    pub(crate) trials: u32,
    /// Where each worker's managers take agents.
    pub(crate) gateways: Vec<String>,
    pub(crate) environment: Vec<(&'static str, String)>,
    /// What a build may take, killed or not.
    pub(crate) limit: Duration,
    /// What is left in the cloud of the builds of this place.
    pub(crate) leaks: Leaks,
    /// Takes away what the builds of this place have in the cloud, published images too.
    pub(crate) tidy: Box<dyn Fn(&Place) + Sync>,
    /// What is done in a place before the managers, and how many builds are there then.
    pub(crate) before: Option<Before>,
    /// Whether the build under torture is a verification.
    pub(crate) verify: bool,
    /// How it ends when nobody is killed.
    pub(crate) end: &'static str,
}

/// What a place has before.
pub(crate) struct Before {
    pub(crate) done: Box<dyn Fn(&Place) + Sync>,
    pub(crate) builds: usize,
}

impl Means {
    /// A place with what it has before.
    pub(crate) fn place(&self) -> Place {
        let place = Place::new(&self.schedules);
        if let Some(before) = &self.before {
            (before.done)(&place);
        }
        place
    }

    /// Builds that are not tortured.
    fn builds_before(&self) -> usize {
        self.before.as_ref().map_or(0, |before| before.builds)
    }
}

/// How often a build may be made until one passes.
pub(crate) const TRIES: usize = 3;

/// The commits of a build that passes, in their order, as `<name>#<occurrence>`.
pub(crate) fn record(means: &Means) -> Vec<String> {
    let points = (0..TRIES).find_map(|_| record_once(means)).unwrap();
    assert!(points.len() > if means.verify { 12 } else { 20 }, "{points:?}");
    points
}

fn record_once(means: &Means) -> Option<Vec<String>> {
    let place = means.place();
    let file = place.path().join("points");
    let mut serving = Serving::start(&place, means, &means.gateways[0], |command| {
        command.env("IMAGE_MANAGER_TEST_POINTS", &file);
    });
    wait_for("the recorded build", means.limit, || {
        assert!(serving.ended().is_none(), "it ended:\n{}", place.serve_log());
        serving.trigger_first(&place, means);
        all_ended(&place, means)
    });
    serving.terminate(means.limit);
    let builds = builds(&place);
    (means.tidy)(&place);
    if builds[means.builds_before()].1 != means.end {
        eprintln!("the build to be recorded did not end as it should:\n{}", place.serve_log());
        return None;
    }
    let points = fs::read_to_string(&file).unwrap();
    Some(points.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect())
}

/// Kills a manager at a point and starts another one. Returns how the builds ended, and what is left; `None` when
/// the build ended before it came to the point.
pub(crate) fn kill_at(
    place: &Place,
    means: &Means,
    gateway: &str,
    point: &str,
) -> Option<(Vec<String>, Vec<String>)> {
    let file = place.path().join("points");
    let mut doomed = Serving::start(place, means, gateway, |command| {
        command.env("IMAGE_MANAGER_TEST_KILL", point).env("IMAGE_MANAGER_TEST_POINTS", &file);
    });
    let status = wait_for("the kill", means.limit, || {
        doomed.trigger_first(place, means);
        doomed.ended().or_else(|| all_ended(place, means).map(|()| doomed.gone()))
    });
    if status.signal() != Some(9) {
        eprintln!("  {point}: not reached; {} and {status}", ends(place).join(", "));
        return None;
    }
    let commits = fs::read_to_string(&file).unwrap_or_default();
    let (commit, side) = point.rsplit_once(':').unwrap();
    let last = commits.lines().last().is_some_and(|line| line.ends_with(&format!(" {commit}")));
    assert_eq!(last, side == "after", "killed somewhere else than at {point}:\n{commits}");

    let mut next = Serving::start(place, means, gateway, |_| {});
    wait_for("the builds to end", means.limit, || {
        assert!(next.ended().is_none(), "it ended:\n{}", place.serve_log());
        next.trigger_first(place, means);
        all_ended(place, means)
    });
    next.terminate(means.limit);
    Some((ends(place), leaks(place, means)))
}

fn ends(place: &Place) -> Vec<String> {
    builds(place).into_iter().map(|(_, state, verdict)| format!("{state} ({verdict})")).collect()
}

/// What is left of builds, on this host and in the cloud, and of trials what is wrong.
pub(crate) fn leaks(place: &Place, means: &Means) -> Vec<String> {
    let mut leaks = place.leaks();
    for (id, state, verdict) in builds(place) {
        if !ENDS.contains(&state.as_str()) || (verdict.is_empty() && state != "cancelled") {
            leaks.push(format!("build {id} is {state} with verdict {verdict:?}"));
        }
    }
    leaks.extend(trials(place, means.trials));
    for entry in fs::read_dir(place.state()).unwrap().flatten() {
        if !STATE.iter().any(|known| entry.file_name() == *known) {
            leaks.push(format!("{} is in the state directory", entry.path().display()));
        }
    }
    for entry in fs::read_dir(place.state().join("images/published")).into_iter().flatten().flatten() {
        let kind = entry.path().extension().and_then(|e| e.to_str()).map(str::to_owned).unwrap_or_default();
        if !["qcow2", "raw", "json"].contains(&kind.as_str()) {
            leaks.push(format!("{} is no published image", entry.path().display()));
        }
    }
    leaks.extend((means.leaks)(place));
    leaks
}

/// Trials that were lost, doubled or not ended, and those whose build says otherwise than they do.
fn trials(place: &Place, expected: u32) -> Vec<String> {
    let rows = "SELECT build.id, build.verdict IS 'passed',
            count(trial.position) FILTER (WHERE trial.state IN ('succeeded', 'failed', 'errored', 'cancelled', 'skipped')),
            count(trial.position) FILTER (WHERE trial.verdict IS 'passed'), count(trial.position)
        FROM build LEFT JOIN trial ON trial.build_id = build.id GROUP BY build.id";
    let connection = open(&place.state().join("image-manager.db")).unwrap();
    let mut rows = connection.prepare(rows).unwrap();
    let row = |row: &rusqlite::Row<'_>| {
        Ok((
            row.get::<_, String>(0)?,
            row.get::<_, bool>(1)?,
            [row.get(2)?, row.get(3)?, row.get::<_, u32>(4)?],
        ))
    };
    let rows = rows.query_map([], row).unwrap().map(Result::unwrap);
    rows.filter(|(_, passed, [ended, good, all])| {
        [*ended, *all] != [expected; 2] || (*passed && *good != expected)
    })
    .map(|(id, passed, [ended, good, all])| {
        format!(
            "build {id} (passed: {passed}) has {all} trials, of which {ended} have ended and {good} passed; {expected} \
             are expected"
        )
    })
    .collect()
}

/// Id, state and verdict of all builds, oldest first.
pub(crate) fn builds(place: &Place) -> Vec<(String, String, String)> {
    let path = place.state().join("image-manager.db");
    read(&path).unwrap_or_default()
}

/// Straight from the file: asking the program ten times a second would take the time from the build.
fn read(path: &Path) -> rusqlite::Result<Vec<(String, String, String)>> {
    let connection = open(path)?;
    let mut rows = connection.prepare("SELECT id, state, coalesce(verdict, '') FROM build ORDER BY id")?;
    rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
}

fn names_under_way(place: &Place) -> bool {
    let under_way = || {
        let connection = open(&place.state().join("image-manager.db"))?;
        connection.query_row("SELECT EXISTS (SELECT 1 FROM handover)", [], |row| row.get(0))
    };
    under_way().unwrap_or(true)
}

/// Whether a build that errored is to be built anew: its end and that are one commit, as are that and the new build.
fn retry_owed(place: &Place) -> bool {
    let owed = || {
        let connection = open(&place.state().join("image-manager.db"))?;
        connection.query_row("SELECT EXISTS (SELECT 1 FROM retry)", [], |row| row.get(0))
    };
    owed().unwrap_or(true)
}

pub(crate) fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    Ok(connection)
}

/// Whether there is a build more than before, and all have ended, with none to come by itself.
pub(crate) fn all_ended(place: &Place, means: &Means) -> Option<()> {
    // Before the builds: a retry that is not owed any more is among them.
    if retry_owed(place) {
        return None;
    }
    let builds = builds(place);
    // What a killed manager had begun with a name is finished beside the builds.
    if means.verify && names_under_way(place) {
        return None;
    }
    let ended = builds.len() > means.builds_before()
        && builds.iter().all(|(_, state, _)| ENDS.contains(&state.as_str()));
    // And after them: the end of one may owe it.
    (ended && !retry_owed(place)).then_some(())
}

/// How many names are on their way to another image.
pub(crate) fn handovers(place: &Place) -> u32 {
    let connection = open(&place.state().join("image-manager.db")).unwrap();
    connection.query_row("SELECT count(*) FROM handover", [], |row| row.get(0)).unwrap()
}

/// A manager that may die at any time.
pub(crate) struct Serving {
    child: Child,
    /// `None`: it died before it served.
    operator: Option<String>,
}

impl Serving {
    /// Starts one and waits until it serves or has ended.
    pub(crate) fn start(
        place: &Place,
        means: &Means,
        gateway: &str,
        adjust: impl FnOnce(&mut Command),
    ) -> Self {
        let log =
            fs::OpenOptions::new().create(true).append(true).open(place.path().join("serve.log")).unwrap();
        let mut command = place.command(&["serve", "--operator", "127.0.0.1:0", "--gateway", gateway]);
        command.envs(means.environment.iter().map(|(name, value)| (name, value)));
        command.stdout(log.try_clone().unwrap()).stderr(log);
        adjust(&mut command);
        let mut serving = Self { child: command.spawn().unwrap(), operator: None };
        let file = place.state().join("manager.json");
        serving.operator = wait_for("the manager to serve", means.limit, || {
            if serving.ended().is_some() {
                return Some(None);
            }
            let holder: Json = serde_json::from_str(&fs::read_to_string(&file).ok()?).ok()?;
            let mine = holder["pid"] == u64::from(serving.child.id());
            mine.then(|| holder["operator"].as_str().map(str::to_owned)).flatten().map(Some)
        });
        serving
    }

    /// Asks for a build while there is none: a cloud on a busy host may be too slow for the first request. No
    /// answer is as good: the manager may be killed while it queues the build.
    fn trigger_first(&mut self, place: &Place, means: &Means) {
        if builds(place).len() > means.builds_before() || self.ended().is_some() {
            return;
        }
        let Some(operator) = &self.operator else { return };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let asked = runtime.block_on(async {
            let mut client = ImageManagerClient::connect(format!("http://{operator}")).await.ok()?;
            let message = TriggerBuildRequest {
                schedule: "tiny".to_owned(),
                trigger: Trigger::Grpc.into(),
                force: false,
                verify: means.verify,
            };
            client.trigger_build(message).await.ok()
        });
        drop(asked);
    }

    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Ends it by force.
    pub(crate) fn gone(&mut self) -> ExitStatus {
        let ended = self.ended();
        ended.unwrap_or_else(|| {
            // Not SIGKILL: that is how the point shows that it was reached.
            let _ = Command::new("kill").args(["-ABRT", &self.child.id().to_string()]).status();
            self.child.wait().unwrap()
        })
    }

    /// Asks it to end in order.
    pub(crate) fn terminate(mut self, limit: Duration) {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        let status = wait_for("the manager to end", limit, || self.ended());
        assert!(status.success(), "{status}");
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
