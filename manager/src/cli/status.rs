//! `image-manager status`: what the manager that serves does, what is due, and what needs attention.

use image_manager_proto::counted;
use image_manager_proto::v1::{self, BuildState};
use serde::Serialize;

use super::arguments::{OneFormat, OverviewArguments};
use super::schedules::next;
use super::text::{self, Screen, Style, line};
use super::{Exit, Outcome, json, serving, when};
use crate::history::Named as _;
use crate::lifecycle::problems::kind;
use crate::operator::json::Shown;
use crate::untrusted::json::pretty;

/// The states of a build that has not ended, in the order in which they are told.
const UNDER_WAY: [BuildState; 5] = [
    BuildState::CleaningUp,
    BuildState::Publishing,
    BuildState::Trying,
    BuildState::Building,
    BuildState::Queued,
];
/// Most schedules that are told to be due.
const MOST_DUE: usize = 5;
/// Columns of a text that has no terminal.
const WIDTH: usize = 100;

/// What the manager answers.
struct Now {
    url: String,
    schedules: v1::ListSchedulesResponse,
    builds: Vec<v1::Build>,
}

pub(crate) async fn run(arguments: OverviewArguments) -> Outcome {
    let (mut client, url) = serving::manager(&arguments.serving).await?;
    let schedules = client.schedules().await?;
    let mut builds = Vec::new();
    for state in UNDER_WAY {
        builds.extend(client.builds_in(state).await?);
    }
    let now = Now { url, schedules, builds };
    match arguments.format {
        OneFormat::Text => text::print(&screen(&now, Style::of_stdout())),
        OneFormat::Json => text::print_document(&document(&now)),
    }
    Ok(Exit::Done)
}

/// The same as JSON.
#[derive(Serialize)]
struct Document<'a> {
    builds: Vec<Shown>,
    problems: Vec<Shown>,
    schedules: Vec<Shown>,
    schedules_error: &'a str,
}

fn document(now: &Now) -> String {
    pretty(&Document {
        builds: json::listed("Build", &now.builds),
        problems: json::listed("Problem", &now.schedules.problems),
        schedules: json::listed("Schedule", &now.schedules.schedules),
        schedules_error: &now.schedules.schedules_error,
    })
}

fn screen(now: &Now, style: Style) -> Screen {
    let mut out = Screen::default();
    let schedules = &now.schedules.schedules;
    let count = counted(schedules.len(), "schedule");
    line!(out, "The manager at ", now.url, " has ", count, ".");
    out.blank();
    under_way(&mut out, &now.builds, style);
    due(&mut out, schedules, style);
    attention(&mut out, &now.schedules, style);
    out
}

fn under_way(out: &mut Screen, builds: &[v1::Build], style: Style) {
    line!(out, style.bold("Under way"));
    if builds.is_empty() {
        line!(out, "  no build");
    }
    for build in builds {
        let what = if build.verification { "verifies again" } else { build.state().word() };
        let text =
            format!("{} {what}, for {}", build.schedule, when::between(build.created_at.as_ref(), None));
        line!(out, "  ", style.by_state(build.state(), &text), "  ", style.dim(&build.id));
    }
}

fn due(out: &mut Screen, schedules: &[v1::Schedule], style: Style) {
    let mut due: Vec<(&v1::Schedule, i64)> = schedules
        .iter()
        .filter_map(|schedule| {
            let at = schedule.retry_at.as_ref().or(schedule.next_fires.first())?;
            (!schedule.paused).then_some((schedule, at.seconds))
        })
        .collect();
    due.sort_by_key(|(_, at)| *at);
    if due.is_empty() {
        return;
    }
    out.blank();
    line!(out, style.bold("Due next"));
    for (schedule, _) in due.iter().take(MOST_DUE) {
        line!(out, "  ", schedule.name, " ", next(schedule));
    }
    if due.len() > MOST_DUE {
        line!(out, "  ", format_args!("and {} more", due.len() - MOST_DUE), ": image-manager schedules");
    }
}

/// The file first: what it says is not done. Then what else is broken in general, then images that did not pass and
/// schedules that do not fire: as the dashboard has it.
fn attention(out: &mut Screen, answer: &v1::ListSchedulesResponse, style: Style) {
    let mut lines: Vec<(bool, String, String)> = Vec::new();
    for mistake in answer.schedules_error.lines().filter(|line| !line.trim().is_empty()) {
        lines.push((true, mistake.to_owned(), String::new()));
    }
    // The file's mistakes stand above already.
    for problem in answer.problems.iter().filter(|problem| problem.kind != kind::SCHEDULES) {
        let said = [problem.message.as_str()].into_iter().chain(problem.detail.lines());
        lines.extend(said.map(|line| (true, line.to_owned(), String::new())));
        if let Some((_, _, command)) = lines.last_mut() {
            *command = problem.hint.replace('`', "");
        }
    }
    for schedule in &answer.schedules {
        for build in &schedule.needs_attention {
            let row = match schedule.failures_in_a_row {
                count if count > 1 && !build.verification => format!(", {count} in a row did not pass"),
                _ => String::new(),
            };
            let ago = when::ago(build.finished_at.as_ref());
            let name = &schedule.name;
            let name = if build.verification { format!("verification of {name}") } else { name.clone() };
            let what = format!("{name} {} {ago}: {}{row}", build.state().word(), build.reason);
            let why = build.failure.as_ref().map(|failure| failure.message.clone()).unwrap_or_default();
            let command = format!("image-manager show {}", build.id);
            lines.push((build.state() == BuildState::Failed, join(&what, &why), command));
        }
        if schedule.paused {
            let what = format!(
                "{} has been paused since {} by {}: {}",
                schedule.name,
                when::exact(schedule.paused_at.as_ref()),
                schedule.paused_by,
                schedule.pause_reason
            );
            lines.push((false, what, format!("image-manager resume {}", schedule.name)));
        }
    }
    out.blank();
    line!(out, style.bold("Needs attention"));
    if lines.is_empty() {
        line!(out, "  nothing");
    }
    if !answer.schedules_error.is_empty() {
        line!(out, "  schedules.toml is not in use, and the earlier schedules stay:");
    }
    for (bad, what, command) in lines {
        let mark = style.verdict_mark(if bad { v1::Verdict::Failed } else { v1::Verdict::Errored });
        let mut wrapped = text::wrapped(&what, style.width().unwrap_or(WIDTH).saturating_sub(4)).into_iter();
        line!(out, "  ", mark, " ", wrapped.next().unwrap_or_default());
        for more in wrapped {
            line!(out, "    ", more);
        }
        for line in text::wrapped(&command, style.width().unwrap_or(WIDTH).saturating_sub(4)) {
            line!(out, "    ", style.dim(&line));
        }
    }
}

fn join(what: &str, why: &str) -> String {
    if why.is_empty() { what.to_owned() } else { format!("{what}: {why}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn ago(minutes: i64) -> prost_types::Timestamp {
        clock::timestamp(clock::now().timestamp_millis() - minutes * 60_000)
    }

    fn schedule(name: &str, last: Option<v1::Build>) -> v1::Schedule {
        let next = clock::timestamp(clock::now().timestamp_millis() + 3_609_000 * 2);
        v1::Schedule {
            name: name.to_owned(),
            last_build: last.clone(),
            needs_attention: last.filter(|build| build.state() == BuildState::Failed).into_iter().collect(),
            next_fires: vec![next],
            ..v1::Schedule::default()
        }
    }

    fn failed() -> v1::Build {
        v1::Build {
            id: "019a21b0-3f72-71c7-8d09-52cee028ec3c".to_owned(),
            schedule: "debian".to_owned(),
            state: BuildState::Failed.into(),
            reason: "check_failed".to_owned(),
            finished_at: Some(ago(3)),
            failure: Some(v1::Failure {
                message: "disk: it did not grow".to_owned(),
                ..v1::Failure::default()
            }),
            ..v1::Build::default()
        }
    }

    fn problem(message: &str) -> v1::Problem {
        v1::Problem {
            kind: kind::CLOUD.to_owned(),
            message: message.to_owned(),
            hint: "run `image-manager doctor --cloud lab`".to_owned(),
            ..v1::Problem::default()
        }
    }

    #[test]
    fn what_needs_attention_is_told_with_the_next_command() {
        let mut paused = schedule("ubuntu", None);
        (paused.paused, paused.paused_by) = (true, "manager".to_owned());
        paused.pause_reason = "5 builds in a row did not pass".to_owned();
        let building = v1::Build { state: BuildState::Building.into(), created_at: Some(ago(2)), ..failed() };
        let now = Now {
            url: "http://127.0.0.1:8080".to_owned(),
            schedules: v1::ListSchedulesResponse {
                schedules: vec![schedule("debian", Some(failed())), paused],
                schedules_error: "schedules.toml:3: unknown key `x`".to_owned(),
                problems: vec![
                    v1::Problem { kind: kind::SCHEDULES.to_owned(), ..problem("it is not used") },
                    problem("the cloud lab did not answer when it was last asked: timed out"),
                ],
            },
            builds: vec![building],
        };
        let said = screen(&now, Style::of_width(80));
        let said = said.as_str();
        for words in [
            "has 2 schedules.",
            "debian building, for 2 min",
            "debian in 2 h",
            "unknown key `x`",
            "debian failed 3 min ago: check_failed: disk: it did not grow",
            "image-manager show 019a21b0-3f72-71c7-8d09-52cee028ec3c",
            "image-manager resume ubuntu",
            "the cloud lab did not answer",
            "run image-manager doctor --cloud lab",
        ] {
            assert!(said.contains(words), "{words}\n{said}");
        }
        assert!(!said.contains("it is not used"), "the mistakes say it: {said}");
        assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
        let json: serde_json::Value = serde_json::from_str(&document(&now)).unwrap();
        assert_eq!(json["builds"][0]["state"], "building");
        assert_eq!(json["schedules"][1]["paused"], true);
        assert_eq!(json["schedules_error"], "schedules.toml:3: unknown key `x`");
        assert_eq!(json["problems"][1]["kind"], kind::CLOUD);
    }

    #[test]
    fn a_verification_that_failed_is_told_beside_the_build() {
        let mut debian = schedule("debian", Some(failed()));
        debian.failures_in_a_row = 2;
        debian.needs_attention.push(v1::Build { verification: true, ..failed() });
        let schedules =
            v1::ListSchedulesResponse { schedules: vec![debian], ..v1::ListSchedulesResponse::default() };
        let now = Now { url: "http://127.0.0.1:8080".to_owned(), schedules, builds: Vec::new() };
        let said = screen(&now, Style::plain());
        for words in [
            "debian failed 3 min ago: check_failed, 2 in a row did not pass: disk: it did not grow",
            "verification of debian failed 3 min ago: check_failed: disk: it did not grow",
        ] {
            assert!(said.as_str().contains(words), "{words}: {}", said.as_str());
        }
    }

    #[test]
    fn where_all_is_well_it_says_so() {
        let good = v1::Build { state: BuildState::Succeeded.into(), ..failed() };
        let schedules = v1::ListSchedulesResponse {
            schedules: vec![schedule("debian", Some(good))],
            ..v1::ListSchedulesResponse::default()
        };
        let now = Now { url: "http://127.0.0.1:8080".to_owned(), schedules, builds: Vec::new() };
        let said = screen(&now, Style::plain());
        let said = said.as_str();
        assert!(
            said.contains("Under way\n  no build\n") && said.ends_with("Needs attention\n  nothing\n"),
            "{said}"
        );
    }
}
