//! `image-manager history`: a table of builds.

use std::path::PathBuf;

use image_manager_proto::v1;

use super::arguments::{HistoryArguments, ListFormat};
use super::instance::open_history;
use super::text::{self, Style};
use super::{Exit, Outcome, Trouble, json, when};
use crate::history::{BuildFilter, Named as _};

pub(crate) async fn run(arguments: HistoryArguments) -> Outcome {
    let (directory, state) = split_state(&arguments.state)?;
    let since_ms = arguments.since.as_deref().map(when::parse_since).transpose().map_err(Trouble::usage)?;
    let history = open_history(&directory)?;
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
        ListFormat::Json => text::print(&json::list(&builds)),
        ListFormat::Csv => text::print(&csv(&builds)),
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

fn table(builds: &[v1::Build], style: Style) -> String {
    if builds.is_empty() {
        return "no builds\n".to_owned();
    }
    let header = ["BUILD", "SCHEDULE", "CLOUD", "STATE", "TRIGGER", "CREATED", "TOOK", "REASON"];
    let rows: Vec<[String; 8]> = builds
        .iter()
        .map(|build| {
            [
                build.id.clone(),
                build.schedule.clone(),
                build.cloud.clone(),
                build.state().word().to_owned(),
                build.trigger().word().to_owned(),
                when::exact(build.created_at.as_ref()),
                when::between(build.started_at.as_ref(), build.finished_at.as_ref()),
                build.reason.clone(),
            ]
        })
        .collect();
    let widths: Vec<usize> = (0..header.len())
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(String::len);
            cells.chain(header.get(column).map(|name| name.len())).max().unwrap_or_default()
        })
        .collect();
    let line = |cells: Vec<&str>| -> String {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut out = style.dim(&line(header.to_vec()));
    out.push('\n');
    for (row, build) in rows.iter().zip(builds) {
        out.push_str(&style.by_state(build.state(), &line(row.iter().map(String::as_str).collect())));
        out.push('\n');
    }
    out
}

/// RFC 4180: a field with a comma, a quote or a line end is quoted.
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
            build.image.as_ref().map(|image| image.size_bytes.to_string()).unwrap_or_default(),
        ];
        let quoted = fields.map(|field| {
            if field.contains([',', '"', '\n', '\r']) {
                format!("\"{}\"", field.replace('"', "\"\""))
            } else {
                field
            }
        });
        out.push_str(&quoted.join(","));
        out.push('\n');
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
}
