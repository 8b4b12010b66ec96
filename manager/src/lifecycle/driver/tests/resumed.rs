//! Builds that an earlier manager was killed in, and what the next one makes of what was known by then.

use super::*;
use crate::history::{ControlAnswer, NewControl};

#[tokio::test]
async fn a_build_that_has_published_does_not_do_so_again() {
    let bench = Bench::new();
    let manager = bench.manager().await;
    let id = bench.trying(&manager, "late").await;
    for position in 0..2 {
        let key = TrialKey { build_id: id.clone(), position };
        bench.tried(&key, Verdict::Passed).await;
        let end = (TrialState::CleaningUp, TrialState::Succeeded);
        bench.history.advance_trial(&key, end, None, done()).await.unwrap();
    }
    bench.history.advance(&id, BuildState::Trying, BuildState::Publishing, done()).await.unwrap();
    let image = v1::Image { id: "image".to_owned(), name: "late".to_owned(), ..v1::Image::default() };
    bench.history.record_published(&id, "local", image, "/there").await.unwrap();
    manager.recover().await.unwrap();
    let build = bench.ended(&id).await;
    // There is no such image on this host to be published.
    assert_eq!(build.state(), BuildState::Succeeded, "{:?}", build.failure);
}

#[tokio::test]
async fn a_check_of_the_image_that_has_failed_decides_though_the_server_was_lost() {
    let bench = Bench::new();
    let manager = bench.manager().await;
    let id = bench.trying(&manager, "web").await;
    let key = TrialKey { build_id: id.clone(), position: 0 };
    let moves = (TrialState::Waiting, TrialState::Uploading);
    bench.history.advance_trial(&key, moves, None, done()).await.unwrap();
    let outcome = v1::CheckOutcome::Fail.into();
    let check = v1::Check { name: "artifact".to_owned(), outcome, ..v1::Check::default() };
    bench.history.record_checks(&key, vec![check]).await.unwrap();
    let moves = (TrialState::Uploading, TrialState::Booting);
    bench.history.advance_trial(&key, moves, None, done()).await.unwrap();
    manager.recover().await.unwrap();
    let build = bench.ended(&id).await;
    assert_eq!((build.state(), build.trials[0].attempt), (BuildState::Failed, 1), "{build:?}");
    assert_eq!(build.failure.unwrap().reason, Reason::CheckFailed.word());
}

/// Its manager was killed while the image was booted for the second time, after a control image had worked.
#[tokio::test]
async fn a_check_that_has_failed_at_the_second_boot_decides() {
    for first in [Reason::AgentSilent, Reason::CheckInconclusive] {
        let bench = Bench::new();
        let manager = bench.manager().await;
        let id = bench.trying(&manager, "web").await;
        let key = TrialKey { build_id: id.clone(), position: 0 };
        for moves in [
            (TrialState::Waiting, TrialState::Uploading),
            (TrialState::Uploading, TrialState::Booting),
            (TrialState::Booting, TrialState::Verifying),
        ] {
            bench.history.advance_trial(&key, moves, None, done()).await.unwrap();
        }
        let asked = NewControl {
            schedule: "web".to_owned(),
            target: "local".to_owned(),
            attempt: 1,
            first: Failure::new(first, "the first boot").to_message("booting"),
            earlier: None,
        };
        let asked = bench.history.begin_control(&key, asked).await.unwrap();
        let answer = ControlAnswer {
            outcome: v1::ControlOutcome::Passed,
            detail: "the control image worked".to_owned(),
            evidence: String::new(),
            image_of: None,
            asked_by: id.clone(),
            at_ms: clock::now().timestamp_millis(),
        };
        bench.history.end_control(asked, answer).await.unwrap();
        let outcome = v1::CheckOutcome::Fail.into();
        let check = v1::Check { name: "artifact".to_owned(), outcome, ..v1::Check::default() };
        bench.history.record_checks(&key, vec![check]).await.unwrap();
        manager.recover().await.unwrap();
        let build = bench.ended(&id).await;
        assert_eq!((build.state(), build.trials[0].attempt), (BuildState::Failed, 1), "{first}: {build:?}");
        assert_eq!(build.failure.unwrap().reason, Reason::CheckFailed.word(), "{first}");
    }
}

#[tokio::test]
async fn an_upload_that_is_resumed_is_judged_first() {
    let bench = Bench::new();
    let manager = bench.manager().await;
    let id = bench.trying(&manager, "strict").await;
    let directory = files::directory(&bench.directory.path().join("state"), &id);
    std::fs::create_dir_all(&directory).unwrap();
    let seen = r#"{"Ok": {"private_keys": ["/root/.ssh/id_ed25519"]}}"#;
    std::fs::write(directory.join(files::INSPECTION), seen).unwrap();
    let key = TrialKey { build_id: id.clone(), position: 0 };
    let moves = (TrialState::Waiting, TrialState::Uploading);
    bench.history.advance_trial(&key, moves, None, done()).await.unwrap();
    manager.recover().await.unwrap();
    let failure = bench.ended(&id).await.failure.unwrap();
    assert_eq!(failure.reason, Reason::CheckFailed.word());
    assert!(failure.message.contains("fail_fast: it was not uploaded"), "{failure:?}");
}
