//! Builds that waited when their manager ended, and whose schedules have changed before the next one began.

use super::*;

/// What has become of [`SCHEDULES`]: `web` has one target more, `pair` one less, and `other` asks for another check.
const CHANGED: &str = r#"
[defaults]
image.elements = ["debian"]
checks = {}
[schedule.web]
targets = [{ name = "local" }, { name = "large", required = false, checks = { disk = {} } }]
[schedule.pair]
targets = [{ name = "large" }]
[schedule.other]
checks = { disk = {} }
"#;

/// The targets of a build, those that are not required with a question mark, each with its checks.
fn asked(build: &v1::Build) -> Vec<String> {
    let mut targets = Vec::new();
    for trial in &build.trials {
        assert_eq!(trial.stages.len(), Stage::OF_TRIAL.len(), "{trial:?}");
        let checks: Vec<_> = trial.checks.iter().map(|check| check.name.as_str()).collect();
        let mark = if trial.required { "" } else { "?" };
        targets.push(format!("{}{mark}: {}", trial.target, checks.join(" ")));
    }
    targets
}

#[tokio::test]
async fn a_queued_build_is_made_by_its_schedule_as_it_is_now() {
    let bench = Bench::new();
    let before = bench.manager().await;
    let web = bench.queued(&before.schedule("web").unwrap(), None).await;
    let pair = bench.queued(&before.schedule("pair").unwrap(), None).await;
    let now = bench.manager_with(CHANGED).await;
    assert_eq!(now.recover().await.unwrap(), 2);
    let web = bench.ended(&web).await;
    assert_eq!(asked(&web), ["local: ", "large?: disk"]);
    let pair = bench.ended(&pair).await;
    assert_eq!(asked(&pair), ["large: "]);
    for build in [web, pair] {
        assert_eq!(build.cloud, "local");
        let own: Vec<_> = build.stages.iter().map(|stage| stage.name.as_str()).collect();
        assert_eq!((own.first(), own.last()), (Some(&"building"), Some(&"cleaning_up")), "{own:?}");
        // There is no agent to put into its image.
        assert_eq!(build.failure.unwrap().stage, Stage::Building.word());
    }
}

#[tokio::test]
async fn a_queued_verification_asks_for_what_its_schedule_asks_for_now() {
    let bench = Bench::new();
    let before = bench.manager().await;
    let image = v1::Image { id: "image".to_owned(), name: "other".to_owned(), ..v1::Image::default() };
    let published = (image, "0199".to_owned());
    let id = bench.queued(&before.schedule("other").unwrap(), Some(&published)).await;
    let gone = bench.queued(&before.schedule("pair").unwrap(), Some(&published)).await;
    let now = bench.manager_with(CHANGED).await;
    assert_eq!(now.recover().await.unwrap(), 2);
    let build = bench.ended(&id).await;
    assert_eq!(asked(&build), ["local: disk"]);
    assert_eq!(build.trials[0].image_of, "0199");
    assert_eq!(build.trials[0].stages[0].detail, "the published image is verified again");
    // That name is nobody's: it was begun, and has booted nothing.
    assert_eq!(build.failure.unwrap().reason, Reason::ImageReplaced.word());
    let known = bench.history.verification(&id).await.unwrap();
    assert_eq!(known, Some(digest_of(&now.schedule("other").unwrap())));
    let failure = bench.ended(&gone).await.failure.unwrap();
    assert!(failure.message.contains("its schedule has since changed"), "{failure:?}");
}

/// Whatever has become of its rows, nobody waits for a move that can never be made.
#[tokio::test]
async fn a_trial_that_the_history_does_not_have_does_not_hang_its_build() {
    let bench = Bench::new();
    let manager = bench.manager().await;
    let id = bench.trying(&manager, "web").await;
    let pair = manager.schedule("pair").unwrap();
    let trials: Vec<_> = pair.targets.iter().cloned().map(Resumed::fresh).collect();
    assert_eq!((trials.len(), bench.build(&id).await.trials.len()), (2, 1));
    let start = Start::Trials { artifact: None, trials, publishing: false };
    manager.queue().start(id.clone(), pair, start, None);
    let build = bench.ended(&id).await;
    assert_eq!((build.state(), build.trials.len()), (BuildState::Errored, 1), "{build:?}");
}

/// A row without a driver would keep its schedule from being built until the next start.
#[tokio::test]
async fn a_build_is_made_that_could_not_be_read_once_it_was_in_the_queue() {
    let bench = Bench::new();
    let manager = bench.manager().await;
    let history = rusqlite::Connection::open(bench.directory.path().join("history.db")).unwrap();
    let unreadable = "CREATE TRIGGER unreadable AFTER INSERT ON build BEGIN
        UPDATE build SET unchanged_since = CAST(X'ff' AS TEXT) WHERE id = NEW.id; END";
    history.execute_batch(unreadable).unwrap();
    let options = TriggerOptions::new(Trigger::Cron, Principal::Cron);
    manager.trigger("other", options).await.unwrap_err();
    let ended = async {
        let state =
            || history.query_row("SELECT state FROM build", [], |row| row.get::<_, String>(0)).unwrap();
        while state() != "errored" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, ended).await.expect("its driver brings it to its end");
}
