//! What a notice says: as JSON for programs, by itself or in an envelope of CloudEvents, or as one text for chat rooms.
//! Pure.

use image_manager_proto::v1;
use prost_types::Timestamp;
use serde_json::{Value as Json, json};

use super::Format;
use super::chat::chat;
use crate::clock;
use crate::history::{ImageChange, Named as _, OutboxEntry, OutboxKind};

/// What a notice says that is only a test.
pub(super) const TEST: &str = "A test of the webhook: nothing has happened";
/// Lines of the evidence that go along.
const EVIDENCE_LINES: usize = 10;
/// Trials that go along.
pub(super) const TRIALS: usize = 50;
/// Longest text of a message or a line of evidence, in characters.
const TEXT: usize = 500;

/// The kind of a notice, as receivers know it.
pub(super) fn event(notice: &OutboxEntry) -> &'static str {
    match &notice.kind {
        OutboxKind::BuildEnded { .. } => "build.ended",
        OutboxKind::SchedulePaused { .. } => "schedule.paused",
        OutboxKind::ImageChanged(change) => match change.event.as_str() {
            "image.rolled_back" => "image.rolled_back",
            "image.promoted" => "image.promoted",
            _ => "image.revoked",
        },
        OutboxKind::Test => "webhook.test",
    }
}

/// The body of the request. `build` is the one that a `build.ended` is about.
pub(super) fn body(
    notice: &OutboxEntry,
    build: Option<&v1::Build>,
    public_url: &str,
    format: Format,
) -> Json {
    let link = match (build, &notice.kind) {
        (Some(build), _) => format!("{public_url}/builds/{}", build.id),
        (None, OutboxKind::ImageChanged(_)) => format!("{public_url}/images"),
        (None, OutboxKind::Test) => format!("{public_url}/"),
        (None, _) => format!("{public_url}/schedules/{}", notice.schedule),
    };
    match format {
        Format::Json => program(notice, build, &link),
        Format::Chat => json!({ "text": chat(notice, build, &link) }),
        Format::CloudEvents => cloud_event(notice, &program(notice, build, &link), public_url),
    }
}

/// What programs get, in the envelope of CloudEvents 1.0 (JSON format, structured content mode).
fn cloud_event(notice: &OutboxEntry, data: &Json, public_url: &str) -> Json {
    let mut event = json!({
        "specversion": "1.0",
        "id": notice.id.to_string(),
        "source": public_url,
        "type": format!("image_manager.v1.{}", event(notice)),
        "time": clock::rfc3339_of(notice.created_at),
        "datacontenttype": "application/json",
        "data": data,
    });
    // One that is there must not be empty.
    if let Some(event) = event.as_object_mut().filter(|_| !notice.schedule.is_empty()) {
        event.insert("subject".to_owned(), json!(notice.schedule));
    }
    event
}

fn program(notice: &OutboxEntry, build: Option<&v1::Build>, link: &str) -> Json {
    let mut body = json!({
        "version": 1,
        "id": notice.id,
        "event": event(notice),
        "time": clock::rfc3339_of(notice.created_at),
        "schedule": notice.schedule,
        "link": link,
    });
    let (key, value) = match (&notice.kind, build) {
        (OutboxKind::SchedulePaused { reason }, _) => ("reason", json!(reason)),
        (OutboxKind::ImageChanged(change), _) => ("image", changed(change)),
        (OutboxKind::Test, _) => ("message", json!(TEST)),
        (OutboxKind::BuildEnded { .. }, Some(build)) => ("build", summary(build)),
        (OutboxKind::BuildEnded { build_id }, None) => ("build", json!({ "id": build_id })),
    };
    if let Some(body) = body.as_object_mut() {
        body.insert(key.to_owned(), value);
    }
    body
}

fn changed(change: &ImageChange) -> Json {
    let known = |id: &String| (!id.is_empty()).then(|| id.clone());
    json!({
        "name": change.name,
        "cloud": change.cloud,
        "build_id": known(&change.build_id),
        "revoked_build_id": known(&change.revoked),
        "by": change.by,
        "why": short(&change.why),
    })
}

fn summary(build: &v1::Build) -> Json {
    let failure = build.failure.as_ref();
    let evidence: Vec<String> = failure
        .map(|failure| failure.evidence.lines().take(EVIDENCE_LINES).map(short).collect())
        .unwrap_or_default();
    json!({
        "id": build.id,
        "schedule": build.schedule,
        "cloud": build.cloud,
        "trigger": build.trigger().word(),
        "requested_by": build.requested_by,
        "verification": build.verification,
        "state": build.state().word(),
        "verdict": build.verdict().word(),
        "reason": build.reason,
        "stage": failure.map(|failure| failure.stage.as_str()).unwrap_or_default(),
        "message": failure.map(|failure| short(&failure.message)).unwrap_or_default(),
        "hint": failure.map(|failure| failure.hint.as_str()).unwrap_or_default(),
        "evidence": evidence,
        "warnings": build.warnings.iter().map(|warning| short(warning)).collect::<Vec<_>>(),
        "created_at": time(build.created_at.as_ref()),
        "finished_at": time(build.finished_at.as_ref()),
        "trials": build.trials.iter().take(TRIALS).map(trial).collect::<Vec<_>>(),
        "image": build.image.as_ref().map(|image| json!({
            "id": image.id,
            "name": image.name,
            "sha512": image.sha512,
            "size_bytes": image.size_bytes,
        })),
    })
}

fn trial(trial: &v1::Trial) -> Json {
    let failure = trial.failure.as_ref();
    json!({
        "target": trial.target,
        "cloud": trial.cloud,
        "required": trial.required,
        "state": trial.state().word(),
        "verdict": trial.verdict().word(),
        "reason": trial.reason,
        "stage": failure.map(|failure| failure.stage.as_str()).unwrap_or_default(),
        "message": failure.map(|failure| short(&failure.message)).unwrap_or_default(),
        "attempt": trial.attempt,
    })
}

pub(super) fn short(text: &str) -> String {
    match text.char_indices().nth(TEXT) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn time(time: Option<&Timestamp>) -> Option<String> {
    time.map(|time| clock::rfc3339_of(clock::milliseconds(time)))
}

#[cfg(test)]
mod tests {
    use image_manager_proto::v1::Verdict;

    use super::*;

    fn failed() -> v1::Build {
        let evidence = (0..100).map(|line| format!("line {line}")).collect::<Vec<_>>().join("\n");
        v1::Build {
            id: "0199".to_owned(),
            schedule: "web".to_owned(),
            state: v1::BuildState::Failed.into(),
            verdict: Verdict::Failed.into(),
            reason: "check_failed".to_owned(),
            failure: Some(v1::Failure {
                reason: "check_failed".to_owned(),
                stage: "verifying".to_owned(),
                message: "é".repeat(2000),
                evidence,
                hint: "Read `logs --build` & mend it.".to_owned(),
            }),
            ..v1::Build::default()
        }
    }

    fn notice(kind: OutboxKind) -> OutboxEntry {
        OutboxEntry { id: 7, schedule: "web".to_owned(), kind, created_at: 1_500, tries: 0 }
    }

    #[test]
    fn programs_get_a_bounded_summary() {
        let told = notice(OutboxKind::BuildEnded { build_id: "0199".to_owned() });
        let body = body(&told, Some(&failed()), "https://images.example", Format::Json);
        assert_eq!(body["event"], "build.ended");
        assert_eq!(body["time"], "1970-01-01T00:00:01.500Z");
        assert_eq!(body["link"], "https://images.example/builds/0199");
        assert_eq!(body["build"]["verdict"], "failed");
        assert_eq!(body["build"]["evidence"].as_array().unwrap().len(), EVIDENCE_LINES);
        assert_eq!(body["build"]["message"].as_str().unwrap().chars().count(), TEXT + 1);
        assert_eq!(body["build"]["hint"], "Read `logs --build` & mend it.");
        assert!(body["build"]["image"].is_null());
    }

    #[test]
    fn chat_rooms_get_one_text() {
        let told = notice(OutboxKind::BuildEnded { build_id: "0199".to_owned() });
        let text = body(&told, Some(&failed()), "http://h", Format::Chat);
        let text = text["text"].as_str().unwrap();
        assert!(text.starts_with("✘ web FAILED: the image is bad\ncheck_failed: é"), "{text}");
        assert!(
            text.ends_with("…\nNext: Read 'logs --build' &amp; mend it.\nhttp://h/builds/0199"),
            "{text}"
        );
        let paused = notice(OutboxKind::SchedulePaused { reason: "5 builds in a row".to_owned() });
        let text = body(&paused, None, "http://h", Format::Chat);
        assert_eq!(text["text"], "⏸ web has paused itself: 5 builds in a row\nhttp://h/schedules/web");
    }

    /// The sample in the documentation is what is sent.
    #[test]
    fn the_documented_chat_message_is_the_one_that_is_sent() {
        let page = include_str!("../../../docs/webhooks.md");
        let sample = page.split("```\n").find(|block| block.starts_with('✘')).unwrap();
        let lines: Vec<&str> = sample.lines().collect();
        let (message, link) = (lines[1].strip_prefix("check_failed: ").unwrap(), lines.last().unwrap());
        let (public, id) = link.split_once("/builds/").unwrap();
        let reason = crate::reason::Reason::CheckFailed;
        let failure = v1::Failure {
            reason: reason.word().to_owned(),
            message: message.to_owned(),
            hint: reason.hint().to_owned(),
            ..v1::Failure::default()
        };
        let build = v1::Build { id: id.to_owned(), failure: Some(failure), ..failed() };
        let told = notice(OutboxKind::BuildEnded { build_id: id.to_owned() });
        assert_eq!(
            body(&told, Some(&build), public, Format::Chat)["text"].as_str().unwrap(),
            sample.trim_end()
        );
    }

    #[test]
    fn a_cloud_event_has_what_programs_get() {
        let told = notice(OutboxKind::BuildEnded { build_id: "0199".to_owned() });
        let event = body(&told, Some(&failed()), "https://images.example", Format::CloudEvents);
        assert_eq!(event["data"], body(&told, Some(&failed()), "https://images.example", Format::Json));
        for (attribute, value) in [
            ("specversion", "1.0"),
            ("id", "7"),
            ("source", "https://images.example"),
            ("type", "image_manager.v1.build.ended"),
            ("subject", "web"),
            ("time", "1970-01-01T00:00:01.500Z"),
            ("datacontenttype", "application/json"),
        ] {
            assert_eq!(event[attribute], value, "{event}");
        }
        assert_eq!(event.as_object().unwrap().len(), 8, "names of extensions are a contract, too: {event}");
    }

    #[test]
    fn a_test_is_told_in_each_format_and_is_about_no_schedule() {
        let told = OutboxEntry { schedule: String::new(), ..notice(OutboxKind::Test) };
        let json = body(&told, None, "http://h", Format::Json);
        assert_eq!((&json["event"], &json["message"]), (&json!("webhook.test"), &json!(TEST)));
        assert_eq!(json["link"], "http://h/");
        let text = body(&told, None, "http://h", Format::Chat);
        assert_eq!(text["text"], format!("{TEST}\nhttp://h/"));
        let event = body(&told, None, "http://h", Format::CloudEvents);
        assert_eq!(event["type"], "image_manager.v1.webhook.test");
        assert!(event.get("subject").is_none(), "an empty subject is not allowed: {event}");
    }

    #[test]
    fn several_trials_go_along() {
        let told = notice(OutboxKind::BuildEnded { build_id: "0199".to_owned() });
        let mut build = failed();
        let trial = |target: &str, verdict: Verdict, reason: &str| v1::Trial {
            target: target.to_owned(),
            verdict: verdict.into(),
            reason: reason.to_owned(),
            attempt: 1,
            ..v1::Trial::default()
        };
        build.trials = vec![
            trial("small", Verdict::Passed, ""),
            trial("<!here>", Verdict::Failed, "check_failed"),
            trial("lab", Verdict::Errored, "agent_silent"),
        ];
        let json = body(&told, Some(&build), "http://h", Format::Json);
        assert_eq!(json["build"]["trials"][0]["verdict"], "passed");
        assert_eq!(json["build"]["trials"][1]["target"], "<!here>");
        assert_eq!(json["build"]["trials"][2]["reason"], "agent_silent");
        let text = body(&told, Some(&build), "http://h", Format::Chat);
        let line = "\n✔ small, ✘ &lt;!here&gt; (check_failed), ⚠ lab (agent_silent)\ncheck_failed: ";
        assert!(text["text"].as_str().unwrap().contains(line), "{text}");
    }

    #[test]
    fn warnings_go_along() {
        let told = notice(OutboxKind::BuildEnded { build_id: "0199".to_owned() });
        let build = v1::Build {
            schedule: "web".to_owned(),
            verdict: Verdict::Passed.into(),
            warnings: vec!["it was not verified: <btrfs>".to_owned()],
            ..v1::Build::default()
        };
        let json = body(&told, Some(&build), "http://h", Format::Json);
        assert_eq!(json["build"]["warnings"], json!(["it was not verified: <btrfs>"]));
        let text = body(&told, Some(&build), "http://h", Format::Chat);
        assert_eq!(text["text"], "✔ web passed\n⚠ it was not verified: &lt;btrfs&gt;\nhttp://h/builds/");
    }

    #[test]
    fn a_revoked_image_is_told_with_who_and_why() {
        let change = ImageChange {
            event: "image.revoked".to_owned(),
            name: "debian-12".to_owned(),
            cloud: "local".to_owned(),
            build_id: "0198".to_owned(),
            revoked: "0199".to_owned(),
            by: "token ci".to_owned(),
            why: "<bad>".to_owned(),
        };
        let told = notice(OutboxKind::ImageChanged(Box::new(change)));
        let json = body(&told, None, "http://h", Format::Json);
        assert_eq!((&json["event"], &json["link"]), (&json!("image.revoked"), &json!("http://h/images")));
        assert_eq!(json["image"]["revoked_build_id"], "0199");
        let text = body(&told, None, "http://h", Format::Chat);
        assert_eq!(
            text["text"],
            "⛔ token ci revoked build 0199 of debian-12 on local: &lt;bad&gt;\nThe name went back to build \
             0198\nhttp://h/images"
        );
    }

    #[test]
    fn what_others_said_calls_nobody_in_a_chat_room() {
        let told = notice(OutboxKind::BuildEnded { build_id: "0199".to_owned() });
        let mut build = failed();
        if let Some(failure) = &mut build.failure {
            failure.message =
                "no match for app (from <module>) & <!channel>\n✔ web <https://evil.example|passed>"
                    .to_owned();
        }
        let text = body(&told, Some(&build), "http://h", Format::Chat);
        let shown = "no match for app (from &lt;module&gt;) &amp; &lt;!channel&gt;\\n✔ web \
                     &lt;https://evil.example|passed&gt;";
        let expected = format!("✘ web FAILED: the image is bad\ncheck_failed: {shown}\nNext: ");
        assert!(text["text"].as_str().unwrap().starts_with(&expected), "{text}");
        // Programs get it as it is.
        let text = body(&told, Some(&build), "http://h", Format::Json);
        assert!(text["build"]["message"].as_str().unwrap().contains("<!channel>\n"), "{text}");
    }
}
