//! `image-manager history`: a table of builds.

use std::path::{Path, PathBuf};

use image_manager_proto::v1;

use super::arguments::{HistoryArguments, ListFormat};
use super::instance::{expect_schedule, open_history};
use super::table::{self, Column};
use super::text::{self, Screen, Style};
use super::{Exit, Outcome, Trouble, json, when};
use crate::history::{BuildFilter, Named as _};
use crate::lifecycle::trials;
use crate::schedules::nearest;
use crate::untrusted::{Untrusted, csv};

pub(crate) async fn run(arguments: HistoryArguments) -> Outcome {
    let (directory, state) = split_state(&arguments.state)?;
    let since_ms = arguments
        .since
        .as_deref()
        .map(|since| when::parse_since(since, "--since"))
        .transpose()
        .map_err(Trouble::usage)?;
    if let Some(meant) = meant_state(&directory) {
        return Err(Trouble::usage(format!(
            "--state {}: it is neither a build state nor a directory; did you mean {meant:?}?",
            directory.display()
        )));
    }
    let history = open_history(&directory)?;
    expect_schedule(&history, arguments.schedule.as_deref()).await?;
    let mut builds = Vec::new();
    let mut before = None;
    while builds.len() < arguments.limit as usize {
        let rest = arguments.limit - u32::try_from(builds.len()).unwrap_or(u32::MAX);
        let filter = BuildFilter {
            schedule: arguments.schedule.clone(),
            state,
            since_ms,
            before: before.take(),
            limit: rest.min(BuildFilter::MOST),
            bare: arguments.format != ListFormat::Json,
        };
        let page = history.builds(filter).await.map_err(Trouble::errored)?;
        builds.extend(page.builds);
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    match arguments.format {
        ListFormat::Table => text::print(&table(&builds, Style::of_stdout())),
        ListFormat::Json => text::print_document(&json::list(&builds)),
        ListFormat::Csv => text::print_document(&csv(&builds)),
    }
    Ok(Exit::Done)
}

/// `--state` means two things here: a state's word is a filter, anything else the state directory.
fn split_state(values: &[String]) -> Result<(PathBuf, Option<v1::BuildState>), Trouble> {
    let mut state = None;
    let mut directory = None;
    for value in values {
        let clash = match v1::BuildState::from_word(value) {
            Some(word) => state.replace(word).is_some(),
            None => directory.replace(PathBuf::from(value)).is_some(),
        };
        if clash {
            return Err(Trouble::usage(format!(
                "--state {value}: at most one build state and one state directory can be given; the states are {}",
                v1::BuildState::WORDS.iter().map(|(_, word)| *word).collect::<Vec<_>>().join(", ")
            )));
        }
    }
    let directory = directory
        .or_else(|| std::env::var_os("IMAGE_MANAGER_STATE").map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from("state"));
    Ok((directory, state))
}

/// The build state that a directory which is not there looks like.
fn meant_state(directory: &Path) -> Option<&'static str> {
    let word = directory.to_str().filter(|_| !directory.exists())?;
    nearest(word, v1::BuildState::WORDS.iter().map(|(_, state)| *state))
}

const ID: Column<v1::Build> = ("BUILD", |build| build.id.clone());
/// Enough of it to name a build: the time, and twelve bits of chance.
const SHORT_ID: Column<v1::Build> = ("BUILD", |build| build.id.chars().take(18).collect());
const SCHEDULE: Column<v1::Build> = ("SCHEDULE", |build| build.schedule.clone());
const CLOUD: Column<v1::Build> =
    ("CLOUD", |build| if build.cloud.is_empty() { "several".to_owned() } else { build.cloud.clone() });
/// With how many of its trials passed, where that says more.
const STATE: Column<v1::Build> = ("STATE", |build| {
    let word = build.state().word();
    trials::tally(build).map_or_else(|| word.to_owned(), |(passed, all)| format!("{word} {passed}/{all}"))
});
const TRIGGER: Column<v1::Build> = ("TRIGGER", |build| build.trigger().word().to_owned());
const CREATED: Column<v1::Build> = ("CREATED", |build| when::exact(build.created_at.as_ref()));
const AGE: Column<v1::Build> = ("AGE", |build| when::ago(build.created_at.as_ref()));
const TOOK: Column<v1::Build> =
    ("TOOK", |build| when::between(build.started_at.as_ref(), build.finished_at.as_ref()));
const REASON: Column<v1::Build> = ("REASON", |build| reason(build, trials::why(build)));
/// Where there is no room for the names of the checks that failed.
const WORD: Column<v1::Build> = ("REASON", |build| reason(build, build.reason.clone()));
/// Where there is no room for the reason, which says it otherwise.
const KIND: Column<v1::Build> =
    ("KIND", |build| if build.verification { "verification" } else { "build" }.to_owned());

fn reason(build: &v1::Build, why: String) -> String {
    match (build.verification, why.as_str()) {
        (false, _) => why,
        (true, "") => "verification".to_owned(),
        (true, why) => format!("{why}, verification"),
    }
}

/// The layouts, from the widest to the narrowest; the first that fits the terminal is taken.
const LAYOUTS: [&[Column<v1::Build>]; 7] = [
    &[ID, SCHEDULE, CLOUD, STATE, TRIGGER, CREATED, AGE, TOOK, REASON],
    &[ID, SCHEDULE, STATE, CREATED, AGE, TOOK, REASON],
    &[SHORT_ID, SCHEDULE, STATE, CREATED, AGE, TOOK, REASON],
    &[SHORT_ID, SCHEDULE, STATE, AGE, TOOK, REASON],
    &[SHORT_ID, SCHEDULE, STATE, AGE, TOOK, WORD],
    &[SHORT_ID, SCHEDULE, KIND, STATE, AGE],
    &[SHORT_ID, SCHEDULE, STATE, AGE],
];
fn table(builds: &[v1::Build], style: Style) -> Screen {
    table::of(&LAYOUTS, builds, "no builds", style, |build, text| style.by_state(build.state(), text))
}

fn csv(builds: &[v1::Build]) -> String {
    let mut out =
        "id,schedule,cloud,state,verdict,reason,trigger,created_at,started_at,finished_at,size_bytes\n"
            .to_owned();
    for build in builds {
        let fields = [
            build.id.clone(),
            build.schedule.clone(),
            build.cloud.clone(),
            build.state().word().to_owned(),
            build.verdict().word().to_owned(),
            build.reason.clone(),
            build.trigger().word().to_owned(),
            when::rfc3339(build.created_at.as_ref()),
            when::rfc3339(build.started_at.as_ref()),
            when::rfc3339(build.finished_at.as_ref()),
            trials::image(build).map(|image| image.size_bytes.to_string()).unwrap_or_default(),
        ];
        out.push_str(&csv::row(fields.map(Untrusted::from)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_a_filter_or_a_directory() {
        let strings = |values: &[&str]| values.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (directory, state) = split_state(&strings(&["/srv/im", "failed"])).unwrap();
        assert_eq!((directory, state), (PathBuf::from("/srv/im"), Some(v1::BuildState::Failed)));
        assert!(split_state(&strings(&["failed", "errored"])).is_err());
        assert!(split_state(&strings(&["a", "b"])).is_err());
    }

    #[test]
    fn the_table_fits_the_terminal() {
        let build = v1::Build {
            id: "019a21b0-3f72-71c7-8d09-52cee028ec3c".into(),
            schedule: "debian-13-hardened".into(),
            cloud: "local".into(),
            state: v1::BuildState::Failed.into(),
            trigger: v1::Trigger::Cron.into(),
            created_at: Some(prost_types::Timestamp { seconds: 1_793_491_200, nanos: 0 }),
            started_at: Some(prost_types::Timestamp { seconds: 1_793_491_200, nanos: 0 }),
            finished_at: Some(prost_types::Timestamp { seconds: 1_793_491_292, nanos: 0 }),
            reason: "dib_missing_package".into(),
            ..v1::Build::default()
        };
        let unhealthy = v1::Build {
            reason: "check_failed".into(),
            failed_checks: ["disk", "ssh", "dns", "internet"].map(str::to_owned).into(),
            ..build.clone()
        };
        for width in [20, 60, 80, 100, 120, 200] {
            let said = table(std::slice::from_ref(&build), Style::of_width(width));
            let said = said.as_str();
            assert!(said.lines().all(|line| line.chars().count() <= width), "{width}\n{said}");
            assert!(said.contains("019a21b0-3f72-71c7"), "{width}\n{said}");
            assert_eq!(width >= 60, said.contains("failed"), "{width}\n{said}");
            assert_eq!(width >= 100, said.contains("dib_missing_package"), "{width}\n{said}");
            let said = table(std::slice::from_ref(&unhealthy), Style::of_width(width));
            let said = said.as_str();
            assert!(said.lines().all(|line| line.chars().count() <= width), "{width}\n{said}");
            assert_eq!(width >= 100, said.contains("check_failed"), "{width}\n{said}");
            let named = said.contains("check_failed: disk, ssh, dns and 1 more");
            assert_eq!(width >= 120, named, "{width}\n{said}");
        }
        let piped = table(&[build], Style::plain());
        let piped = piped.as_str();
        assert!(piped.contains("52cee028ec3c") && piped.contains("2026-11-01 00:00:00Z"), "{piped}");
        assert!(piped.contains("1 min 32 s") && piped.contains(" days ago"), "{piped}");
    }
}
