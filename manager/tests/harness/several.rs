//! A history with builds of three targets, written as the manager writes it: what each shows can be looked at without
//! three clouds.

use std::fs;

use image_manager::history::{Claim, Ending, History, NewBuild, NewTrial, Principal, TrialKey};
use image_manager::lifecycle::files;
use image_manager_proto::v1::{
    self, BuildState as S, CheckOutcome, StageState, TrialState as T, Trigger, Verdict,
};

use super::{Place, tiny_schedule};

/// The targets, with their clouds.
pub(crate) const TARGETS: [(&str, &str); 3] =
    [("small", "local"), ("tight-flavor", "local"), ("lab-region-1", "lab")];
/// What stands in the console of each target of the build that failed.
pub(crate) const CONSOLE: &str = "console of";

const STAGES: [T; 4] = [T::Uploading, T::Booting, T::Verifying, T::CleaningUp];

/// What becomes of a trial: its verdict, with why, and the stage that it came to.
type End = (Verdict, Option<v1::Failure>, T);

/// The ids of two builds: in the first all passed; in the second one passed, one failed, one errored twice.
pub(crate) fn place() -> (Place, [String; 2]) {
    let place = Place::new(&tiny_schedule("tiny", ""));
    fs::create_dir_all(place.state()).unwrap();
    let history = History::open(&place.state().join("image-manager.db")).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ids = [0, 1].map(|_| uuid::Uuid::now_v7().to_string());
    runtime.block_on(async {
        let passed = || (Verdict::Passed, None, T::CleaningUp);
        write(&history, &ids[0], [passed(), passed(), passed()]).await;
        let failed = (Verdict::Failed, Some(check_failed()), T::Verifying);
        let errored = (Verdict::Errored, Some(agent_silent()), T::Booting);
        write(&history, &ids[1], [passed(), failed, errored]).await;
    });
    for (target, _) in TARGETS {
        let directory = files::of_trial(&place.state(), &ids[1], target, false);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(files::CONSOLE_LOG), format!("{CONSOLE} {target}\n")).unwrap();
        let event = serde_json::json!({ "event": "attached", "target": target });
        fs::write(directory.join(files::AGENT_LOG), format!("{event}\n")).unwrap();
    }
    let top = files::directory(&place.state(), &ids[1]);
    fs::write(top.join(files::BUILD_LOG), "the build's own log\n").unwrap();
    (place, ids)
}

fn check_failed() -> v1::Failure {
    v1::Failure {
        reason: "check_failed".to_owned(),
        stage: "verifying".to_owned(),
        message: "the required check disk failed: 310 MiB of 500 MiB are free".to_owned(),
        evidence: "disk: fail\nfree_bytes: 325058560".to_owned(),
        ..v1::Failure::default()
    }
}

fn agent_silent() -> v1::Failure {
    v1::Failure {
        reason: "agent_silent".to_owned(),
        stage: "booting".to_owned(),
        message: "no agent attached within 5m".to_owned(),
        evidence: "last lines of the console:\nGRUB loading".to_owned(),
        ..v1::Failure::default()
    }
}

async fn write(history: &History, id: &str, ends: [End; 3]) {
    let done = |detail: &str| Ending::new(StageState::Done, detail);
    let trials = TARGETS.map(|(target, cloud)| NewTrial {
        target: target.to_owned(),
        cloud: cloud.to_owned(),
        required: target != "lab-region-1",
        stages: vec!["uploading", "booting", "verifying", "cleaning_up"],
        checks: vec![("disk".to_owned(), true), ("dns".to_owned(), false)],
        image: None,
    });
    let build = NewBuild {
        id: id.to_owned(),
        schedule: "tiny".to_owned(),
        trigger: Trigger::Cli,
        requested_by: Principal::Manager,
        stages: (vec!["building"], vec!["publishing", "cleaning_up"]),
        trials: trials.to_vec(),
        fired_at: None,
        retry_of: None,
        forced: false,
        verification: None,
    };
    history.create_build(build).await.unwrap();
    history.advance(id, S::Queued, S::Building, done("")).await.unwrap();
    history.advance(id, S::Building, S::Trying, done("420 packages")).await.unwrap();
    let mut worst: Option<(Verdict, v1::Failure)> = None;
    for (position, end) in (0..).zip(ends) {
        let key = TrialKey { build_id: id.to_owned(), position };
        if end.0 == Verdict::Errored {
            one_trial(history, &key, end.clone()).await;
            history.retry_trial(&key, 1_800_000_000_000).await.unwrap();
        }
        one_trial(history, &key, end.clone()).await;
        let to = match end.0 {
            Verdict::Passed => T::Succeeded,
            Verdict::Failed => T::Failed,
            _ => T::Errored,
        };
        history.advance_trial(&key, (T::CleaningUp, to), None, done("")).await.unwrap();
        if let Some(failure) = end.1.filter(|_| end.0 == Verdict::Failed) {
            let message = format!("target {}: {}", TARGETS[position as usize].0, failure.message);
            worst = Some((end.0, v1::Failure { message, ..failure }));
        }
    }
    let (verdict, failure, to) = match worst {
        Some((verdict, failure)) => (verdict, Some(failure), S::Failed),
        None => (Verdict::Passed, None, S::Succeeded),
    };
    history.conclude(id, S::Trying, S::CleaningUp, Some((verdict, failure)), done("")).await.unwrap();
    history.advance(id, S::CleaningUp, to, done("")).await.unwrap();
}

/// A trial up to where it is cleaned up.
async fn one_trial(history: &History, key: &TrialKey, (verdict, failure, last): End) {
    let name = format!("image-manager-{}-{}", key.build_id, key.position);
    let mut now = T::Waiting;
    for next in STAGES {
        let over = now == last || next == T::CleaningUp;
        let to = if over { T::CleaningUp } else { next };
        let state = if over && failure.is_some() { StageState::Failed } else { StageState::Done };
        let decided = over.then(|| (verdict, failure.clone()));
        history.advance_trial(key, (now, to), decided, Ending::new(state, "")).await.unwrap();
        now = to;
        match now {
            T::Booting => reached(history, key, &name).await,
            T::Verifying => verified(history, key, verdict).await,
            _ => {}
        }
        if over {
            return;
        }
    }
}

async fn reached(history: &History, key: &TrialKey, name: &str) {
    let image = v1::Image {
        id: format!("image-{}", key.position),
        name: name.to_owned(),
        sha512: "ab".repeat(64),
        size_bytes: 100 << 20,
        virtual_size_bytes: 200 << 20,
    };
    history.record_image(key, image).await.unwrap();
    let (id, flavor) = (format!("server-{}", key.position), "1 CPU, 256 MiB".to_owned());
    history.record_server(key, v1::Server { id, name: name.to_owned(), flavor }).await.unwrap();
}

async fn verified(history: &History, key: &TrialKey, verdict: Verdict) {
    let at_ms = chrono::Utc::now().timestamp_millis();
    let claim = Claim { key: String::new(), address: String::new(), boot_id: "b".to_owned(), at_ms };
    history.record_agent(key, "0.1.0", claim).await.unwrap();
    let outcome = if verdict == Verdict::Passed { CheckOutcome::Pass } else { CheckOutcome::Fail };
    let check = v1::Check {
        name: "disk".to_owned(),
        outcome: outcome.into(),
        required: true,
        summary: "310 MiB are free".to_owned(),
        ..v1::Check::default()
    };
    history.record_checks(key, vec![check]).await.unwrap();
    let removal = v1::Removal { complete: true, paths: Vec::new() };
    history.record_removal(key, removal).await.unwrap();
}
