use std::collections::BTreeMap;
use std::path::Path;

use image_manager_proto::v1::{self, TrialState, Trigger};
use tempfile::TempDir;
use tokio::time::timeout;
use uuid::Uuid;

use super::*;
use crate::clock;
use crate::cloud::Cloud;
use crate::cloud::local::{LocalCloud, LocalSettings};
use crate::gateway::{Gateway, GatewaySettings};
use crate::history::{ArtifactRecord, NewBuild, NewTrial, Principal};
use crate::lifecycle::artifact::digest_of;
use crate::lifecycle::settings::files;
use crate::lifecycle::{Manager, Parts, TriggerOptions};
use crate::schedules;

mod foreground;
mod queued;
mod resumed;

const HOUR: Duration = Duration::from_hours(1);
const SOON: Duration = Duration::from_millis(200);
/// What something may take that does not wait for anything.
const LIMIT: Duration = Duration::from_secs(20);

/// `late` has a target that decides nothing, and may take a second.
const SCHEDULES: &str = r#"
[defaults]
image.elements = ["debian"]
checks = {}
[schedule.web]
retry = 3
[schedule.other]
[schedule.strict]
fail_fast = true
checks = { artifact = {} }
[schedule.pair]
targets = [{ name = "small" }, { name = "large" }]
[schedule.late]
timeouts.total = "1s"
publish = { name = "late" }
targets = [{ name = "good" }, { name = "optional", required = false }]
"#;

/// A history, in which builds of an earlier manager may stand, and managers that find it.
struct Bench {
    directory: TempDir,
    history: History,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let history = History::open(&directory.path().join("history.db")).unwrap();
        Self { directory, history }
    }

    /// A manager that serves, with one place for builds.
    async fn manager(&self) -> Manager {
        self.manager_with(SCHEDULES).await
    }

    /// The same with other schedules.
    async fn manager_with(&self, text: &str) -> Manager {
        self.manager_that(text, true).await
    }

    /// The same, which serves or not.
    async fn manager_that(&self, text: &str, serves: bool) -> Manager {
        let at = |name: &str| self.directory.path().join(name);
        let local = LocalCloud::new(LocalSettings::new(at("state"), "owner".to_owned())).unwrap();
        let gateway = GatewaySettings::default();
        let manager = Manager::new(Parts {
            settings: Settings {
                state: at("state"),
                scratch: at("scratch"),
                dib: at("disk-image-create"),
                elements: Vec::new(),
                shipped: Vec::new(),
                agent: at("agent"),
                control_image: None,
                private: Vec::new(),
                concurrent_builds: 1,
                concurrent_trials: 1,
                gateway,
                reattach: Duration::from_secs(1),
                agent_endpoint: None,
                room: 0,
            },
            history: self.history.clone(),
            owner: "owner".to_owned(),
            gateway: Gateway::new(gateway),
            gateway_address: "127.0.0.1:50051".parse().unwrap(),
            fingerprint: String::new(),
            clouds: BTreeMap::from([("local".to_owned(), Arc::new(local) as Arc<dyn Cloud>)]),
            schedules: schedules::parse(Path::new("schedules.toml"), text).unwrap(),
            serves,
        });
        manager.remember_schedules().await.unwrap();
        manager
    }

    /// A build that waits in the queue; with an image, a verification of it.
    async fn queued(&self, schedule: &Schedule, published: Option<&(v1::Image, String)>) -> String {
        let id = Uuid::now_v7().to_string();
        let words = |stages: &[Stage]| stages.iter().map(|stage| stage.word()).collect();
        let trial = |target: &crate::schedules::Target| NewTrial {
            target: target.name.clone(),
            cloud: target.cloud.clone(),
            required: target.required,
            stages: words(&Stage::OF_TRIAL),
            checks: vec![("artifact".to_owned(), true)],
            image: published.cloned(),
        };
        let new = NewBuild {
            id: id.clone(),
            schedule: schedule.name.clone(),
            trigger: Trigger::Cli,
            requested_by: Principal::Manager,
            stages: (words(&Stage::BEFORE_TRIALS), words(&Stage::AFTER_TRIALS)),
            trials: schedule.targets.iter().map(trial).collect(),
            fired_at: None,
            retry_of: None,
            forced: false,
            verification: published.is_some().then(|| digest_of(schedule)),
        };
        self.history.create_build(new).await.unwrap();
        id
    }

    /// A build whose image is made, and whose trials have not begun; the file is gone.
    async fn trying(&self, manager: &Manager, schedule: &str) -> String {
        let (history, schedule) = (&self.history, manager.schedule(schedule).unwrap());
        let id = self.queued(&schedule, None).await;
        history.advance(&id, BuildState::Queued, BuildState::Building, done()).await.unwrap();
        let artifact = ArtifactRecord {
            file: self.directory.path().join("image"),
            sha512: String::new(),
            schedule_digest: digest_of(&schedule),
            packages_sha256: None,
            fingerprint: None,
        };
        history.record_artifact(&id, artifact).await.unwrap();
        history.advance(&id, BuildState::Building, BuildState::Trying, done()).await.unwrap();
        id
    }

    /// A trial's first attempt has errored, and the next one is due after a while.
    async fn errored(&self, id: &str, position: u32, pause: Duration) {
        let key = TrialKey { build_id: id.to_owned(), position };
        self.tried(&key, Verdict::Errored).await;
        let at = clock::now().timestamp_millis() + i64::try_from(pause.as_millis()).unwrap();
        self.history.retry_trial(&key, at).await.unwrap();
    }

    async fn tried(&self, key: &TrialKey, verdict: Verdict) {
        let moves = (TrialState::Waiting, TrialState::Uploading);
        self.history.advance_trial(key, moves, None, done()).await.unwrap();
        let image = v1::Image { id: "image".to_owned(), name: "image".to_owned(), ..v1::Image::default() };
        self.history.record_image(key, image).await.unwrap();
        let moves = (TrialState::Uploading, TrialState::CleaningUp);
        self.history.advance_trial(key, moves, Some((verdict, None)), done()).await.unwrap();
    }

    async fn build(&self, id: &str) -> v1::Build {
        self.history.build(id).await.unwrap()
    }

    async fn ended(&self, id: &str) -> v1::Build {
        let end = async {
            loop {
                let build = self.build(id).await;
                if build.finished_at.is_some() {
                    return build;
                }
                tokio::time::sleep(SOON / 4).await;
            }
        };
        timeout(LIMIT, end).await.unwrap_or_else(|_| panic!("build {id} does not end"))
    }
}

fn done() -> Ending {
    Ending::new(StageState::Done, "")
}

#[tokio::test]
async fn a_stop_leaves_a_trial_that_waits_for_its_retry_to_the_next_manager() {
    let bench = Bench::new();
    let manager = bench.manager().await;
    let id = bench.trying(&manager, "web").await;
    bench.errored(&id, 0, HOUR).await;
    assert_eq!(manager.recover().await.unwrap(), 1);
    // By now it waits.
    tokio::time::sleep(SOON).await;
    assert!(!manager.wind_down(SOON).await, "it might come to its end by itself");
    assert!(manager.shut_down(LIMIT).await);
    let build = bench.build(&id).await;
    let trial = &build.trials[0];
    assert_eq!((build.state(), trial.state(), trial.attempt), (BuildState::Trying, TrialState::Waiting, 2));
    assert!(build.finished_at.is_none() && trial.retry_at.is_some(), "{build:?}");
    let resumed = bench.history.resume_build(&id).await.unwrap();
    assert_eq!(resumed, 1, "a stop does not count as a resumption that came to nothing");

    let next = bench.manager().await;
    assert_eq!(next.recover().await.unwrap(), 1);
    tokio::time::sleep(SOON).await;
    assert!(next.cancel(&id, Principal::Manager), "it is under way again");
    assert_eq!(bench.ended(&id).await.state(), BuildState::Cancelled, "whoever cancels it ends it");
}

#[tokio::test]
async fn a_build_that_waits_for_its_cloud_keeps_no_other_from_making_its_image() {
    let bench = Bench::new();
    let manager = bench.manager().await;
    let waiting = bench.trying(&manager, "web").await;
    bench.errored(&waiting, 0, HOUR).await;
    manager.recover().await.unwrap();
    let options = TriggerOptions::new(Trigger::Cron, Principal::Cron);
    let other = manager.trigger("other", options).await.unwrap();
    let other = bench.ended(&other.id).await;
    // There is no agent to put into its image.
    assert_eq!(other.failure.unwrap().stage, Stage::Building.word());
    assert_eq!(bench.build(&waiting).await.state(), BuildState::Trying);
}

#[tokio::test]
async fn only_who_makes_an_image_waits_for_a_place() {
    let bench = Bench::new();
    let manager = bench.manager().await;
    let builds = manager.queue().builds();
    let stop = Stop::default();
    let bounds = Bounds::new(stop.clone(), HOUR);
    let first = builds.place(&bounds, true).await.unwrap().unwrap();
    assert!(first.is_some());
    assert!(timeout(SOON, builds.place(&bounds, true)).await.is_err(), "there is one place");
    let verification = timeout(SOON, builds.place(&bounds, false)).await.unwrap().unwrap().unwrap();
    assert!(verification.is_none());
    drop(first);
    assert!(timeout(SOON, builds.place(&bounds, true)).await.unwrap().unwrap().is_ok());
    // Told to end by a manager that stops, it waits on for the next one.
    stop.because(crate::lifecycle::stop::StopReason::Shutdown);
    assert!(builds.place(&bounds, true).await.is_none());
    let cancelled = Stop::default();
    cancelled.because(crate::lifecycle::stop::StopReason::Cancelled(Principal::Manager));
    let end = builds.place(&Bounds::new(cancelled, HOUR), true).await.unwrap().unwrap_err();
    assert_eq!(end.reason, Reason::Cancelled);
}

#[tokio::test]
async fn how_long_trials_wait_does_not_count_for_publishing() {
    let bench = Bench::new();
    let manager = bench.manager().await;
    let id = bench.trying(&manager, "late").await;
    let good = TrialKey { build_id: id.clone(), position: 0 };
    bench.tried(&good, Verdict::Passed).await;
    let end = (TrialState::CleaningUp, TrialState::Succeeded);
    bench.history.advance_trial(&good, end, None, done()).await.unwrap();
    bench.errored(&id, 1, Duration::from_millis(1500)).await;
    manager.recover().await.unwrap();
    let failure = bench.ended(&id).await.failure.unwrap();
    // There is no such image on this host.
    assert_eq!(failure.stage, Stage::Publishing.word(), "{failure:?}");
    assert_ne!(failure.reason, Reason::TotalTimeout.word(), "{failure:?}");
}

/// Whatever the cloud: without one a console and what the agent says have no file.
#[tokio::test]
async fn each_trial_has_a_directory_for_its_logs() {
    let bench = Bench::new();
    let manager = bench.manager().await;
    let id = bench.trying(&manager, "pair").await;
    manager.recover().await.unwrap();
    let build = bench.ended(&id).await;
    assert_eq!(build.trials.len(), 2);
    for trial in &build.trials {
        let directory = files::of_trial(&bench.directory.path().join("state"), &id, &trial.target, false);
        assert!(directory.is_dir(), "{}: {build:?}", directory.display());
    }
}

#[tokio::test]
async fn a_stop_leaves_an_upload_to_the_next_manager() {
    let bench = Bench::new();
    let manager = bench.manager().await;
    let id = bench.trying(&manager, "other").await;
    // Whoever reads it waits.
    let artifact = bench.directory.path().join("image");
    nix::unistd::mkfifo(&artifact, nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR).unwrap();
    manager.recover().await.unwrap();
    let uploads = async {
        while bench.build(&id).await.trials[0].state() != TrialState::Uploading {
            tokio::time::sleep(SOON / 4).await;
        }
    };
    timeout(LIMIT, uploads).await.unwrap();
    manager.shut_down(LIMIT).await;
    let after = bench.build(&id).await;
    // Nobody may wait for ever.
    let writer = std::fs::OpenOptions::new().read(true).write(true).open(&artifact).unwrap();
    std::fs::remove_file(&artifact).unwrap();
    drop(writer);
    assert_eq!(after.trials[0].state(), TrialState::Uploading, "{after:?}");
    assert!(after.failure.is_none() && after.finished_at.is_none(), "{after:?}");
}
