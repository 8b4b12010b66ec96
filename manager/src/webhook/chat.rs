//! What a notice says in a chat room: one text. Pure; its tests are those of [`super::body`].

use image_manager_proto::v1::{self, Verdict};

use super::body::{TEST, TRIALS, event, short};
use crate::history::{OutboxEntry, OutboxKind};
use crate::lifecycle::trials::several;
use crate::untrusted::Untrusted;

/// Which of several trials did what, in a line.
fn told_trials(build: &v1::Build) -> String {
    let each = several(build).iter().take(TRIALS).map(|trial| {
        let mark = match trial.verdict() {
            Verdict::Passed => "✔",
            Verdict::Failed => "✘",
            Verdict::Errored => "⚠",
            Verdict::Unspecified => "-",
        };
        let said = |text: &str| Untrusted::from(short(text)).for_chat();
        let why = if trial.reason.is_empty() { String::new() } else { format!(" ({})", said(&trial.reason)) };
        format!("{mark} {}{why}", said(&trial.target))
    });
    let each: Vec<String> = each.collect();
    if each.is_empty() { String::new() } else { format!("\n{}", each.join(", ")) }
}

/// What a notice says in a chat room.
pub(super) fn chat(notice: &OutboxEntry, build: Option<&v1::Build>, link: &str) -> String {
    let said = |text: &str| Untrusted::from(short(text)).for_chat();
    let schedule = said(&notice.schedule);
    let told = match (&notice.kind, build) {
        (OutboxKind::Test, _) => TEST.to_owned(),
        (OutboxKind::SchedulePaused { reason }, _) => {
            format!("⏸ {schedule} has paused itself: {}", said(reason))
        }
        (OutboxKind::ImageChanged(change), _) => {
            let (name, cloud, by) = (said(&change.name), said(&change.cloud), said(&change.by));
            let why = if change.why.is_empty() { String::new() } else { format!(": {}", said(&change.why)) };
            let given = (!change.build_id.is_empty()).then(|| said(&change.build_id));
            match (event(notice), given) {
                ("image.revoked", Some(build)) => format!(
                    "⛔ {by} revoked build {} of {name} on {cloud}{why}\nThe name went back to build {build}",
                    said(&change.revoked)
                ),
                ("image.revoked", None) => {
                    format!("⛔ {by} revoked build {} of {name} on {cloud}{why}", said(&change.revoked))
                }
                ("image.promoted", build) => {
                    format!("⬆ {by} promoted build {} to {name} on {cloud}{why}", build.unwrap_or_default())
                }
                (_, build) => {
                    format!(
                        "↩ {by} rolled {name} on {cloud} back to build {}{why}",
                        build.unwrap_or_default()
                    )
                }
            }
        }
        (OutboxKind::BuildEnded { build_id }, None) => {
            format!("{schedule}: build {} has ended", said(build_id))
        }
        (OutboxKind::BuildEnded { .. }, Some(build)) => {
            let (mark, verdict) = match build.verdict() {
                Verdict::Passed => ("✔", "passed"),
                Verdict::Failed => ("✘", "FAILED: the image is bad"),
                _ => ("⚠", "errored: says nothing about the image"),
            };
            let why = build
                .failure
                .as_ref()
                .map(|failure| format!("\n{}: {}", said(&failure.reason), said(&failure.message)));
            let hint = build.failure.as_ref().filter(|failure| !failure.hint.is_empty());
            let hint = hint.map(|failure| format!("\nNext: {}", said(&failure.hint))).unwrap_or_default();
            let warnings = build.warnings.iter().map(|warning| format!("\n⚠ {}", said(warning)));
            let why = why.unwrap_or_default();
            let again = if build.verification { "verification: " } else { "" };
            let trials = told_trials(build);
            format!("{mark} {schedule} {again}{verdict}{trials}{why}{hint}{}", warnings.collect::<String>())
        }
    };
    // The address is the manager's own; `&` in it is escaped as everywhere.
    format!("{told}\n{}", Untrusted::from(link).for_chat())
}
