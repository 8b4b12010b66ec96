//! `image-manager show`: one build for people, also the report at the end of `run`.

use std::fmt::Write as _;
use std::time::Duration;

use image_manager_proto::v1;

use super::arguments::{OneFormat, ShowArguments};
use super::instance::open_history;
use super::text::{self, Style};
use super::{Exit, Outcome, Trouble, json, when};
use crate::cloud::ResourceKind;
use crate::history::{HistoryError, Named as _, observations};

/// Longest value of an observation that is shown, in characters.
const VALUE_LIMIT: usize = 160;

pub(crate) async fn run(arguments: ShowArguments) -> Outcome {
    let history = open_history(&arguments.state.state)?;
    let id = history.resolve(&arguments.build).await.map_err(not_found)?;
    let build = history.build(&id).await.map_err(Trouble::errored)?;
    match arguments.format {
        OneFormat::Text => text::print(&render(&build, Style::of_stdout())),
        OneFormat::Json => text::print(&json::one(&build)),
    }
    Ok(Exit::Done)
}

/// A build that is not there is the user's mistake, not the host's.
pub(super) fn not_found(error: HistoryError) -> Trouble {
    match error {
        HistoryError::NoBuild(_) | HistoryError::Ambiguous(_) => {
            Trouble::usage(format!("{error}; `image-manager history` lists them"))
        }
        other => Trouble::errored(other),
    }
}

/// A build for people. What failed comes first.
pub(crate) fn render(build: &v1::Build, style: Style) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_all(&mut out, build, style);
    out
}

fn write_all(out: &mut String, build: &v1::Build, style: Style) -> std::fmt::Result {
    let state = style.by_state(build.state(), &build.state().word().to_uppercase());
    writeln!(out, "build {}  {}", build.id, style.bold(&state))?;
    writeln!(
        out,
        "schedule {} on cloud {}, asked for by {}, created {}, took {}",
        build.schedule,
        build.cloud,
        who(build),
        when::both(build.created_at.as_ref()),
        when::between(build.started_at.as_ref(), build.finished_at.as_ref()),
    )?;
    if !build.cancelled_by.is_empty() {
        writeln!(out, "cancelled by {}", build.cancelled_by)?;
    }
    if let Some(failure) = &build.failure {
        write_failure(out, failure, style)?;
    }
    writeln!(out, "\n{}", style.bold("stages"))?;
    for stage in &build.stages {
        let took = when::between(stage.started_at.as_ref(), stage.finished_at.as_ref());
        let mark = style.stage_mark(stage.state());
        writeln!(out, "  {mark} {:<12} {took:>12}  {}", stage.name, stage.detail)?;
    }
    if !build.checks.is_empty() {
        writeln!(out, "\n{}", style.bold("checks"))?;
        for check in &build.checks {
            write_check(out, check, style)?;
        }
    }
    if let Some(agent) = &build.agent {
        write_agent(out, agent, style)?;
    }
    write_image(out, build, style)?;
    if !build.resources.is_empty() {
        writeln!(out, "\n{}", style.bold("resources"))?;
        for resource in &build.resources {
            writeln!(
                out,
                "  {:<9} {:<8} {} ({})",
                resource.state, resource.kind, resource.name, resource.cloud
            )?;
            if let Some(kind) = ResourceKind::parse(&resource.kind) {
                writeln!(out, "      {}", style.dim(kind.covers(&resource.cloud)))?;
            }
        }
    }
    Ok(())
}

/// Who asked for a build, and by which way where that says more.
fn who(build: &v1::Build) -> String {
    let way = build.trigger().word();
    if build.requested_by.is_empty() || build.requested_by == way {
        return way.to_owned();
    }
    format!("{} ({way})", build.requested_by)
}

fn write_failure(out: &mut String, failure: &v1::Failure, style: Style) -> std::fmt::Result {
    let head = format!("{} while {}", failure.reason, failure.stage);
    writeln!(out, "\n{}: {}", style.bold(&head), failure.message)?;
    for line in failure.evidence.lines() {
        writeln!(out, "  {} {line}", style.dim("|"))?;
    }
    Ok(())
}

fn write_check(out: &mut String, check: &v1::Check, style: Style) -> std::fmt::Result {
    let mark = style.outcome_mark(check.outcome());
    let word =
        if check.outcome() == v1::CheckOutcome::Unspecified { "not run" } else { check.outcome().word() };
    let took = check.duration.and_then(|duration| Duration::try_from(duration).ok()).map(when::took);
    let optional = if check.required { "" } else { " (not required)" };
    writeln!(
        out,
        "  {mark} {:<12} {word:<12} {:>8}  {}{optional}",
        check.name,
        took.unwrap_or_default(),
        check.summary
    )?;
    let json = check.observations.as_ref().map(observations::to_json).unwrap_or_default();
    for (key, value) in json.as_object().into_iter().flatten() {
        let mut value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let room = style.width().map_or(VALUE_LIMIT, |width| width.saturating_sub(8 + key.len()).max(16));
        value = text::shortened(&value, room.min(VALUE_LIMIT));
        writeln!(out, "      {}", style.dim(&format!("{key}: {value}")))?;
    }
    Ok(())
}

fn write_agent(out: &mut String, agent: &v1::Agent, style: Style) -> std::fmt::Result {
    let removal = match &agent.removal {
        Some(removal) if removal.complete => "removed itself completely",
        Some(_) => "could NOT remove all of itself",
        None => "has not reported its removal",
    };
    writeln!(
        out,
        "\n{} {} attached {}, {removal}",
        style.bold("agent"),
        agent.version,
        when::both(agent.attached_at.as_ref())
    )?;
    for path in agent.removal.iter().flat_map(|removal| &removal.paths) {
        let detail = if path.detail.is_empty() { String::new() } else { format!(": {}", path.detail) };
        writeln!(out, "  {:<8} {}{detail}", path.fate().word(), path.path)?;
    }
    Ok(())
}

fn write_image(out: &mut String, build: &v1::Build, style: Style) -> std::fmt::Result {
    if let Some(image) = &build.image {
        writeln!(out, "\n{} {}", style.bold("image"), image.name)?;
        writeln!(
            out,
            "  {} ({} bytes), a disk of {}, id {}\n  sha512 {}",
            indicatif::HumanBytes(image.size_bytes),
            image.size_bytes,
            indicatif::HumanBytes(image.virtual_size_bytes),
            image.id,
            image.sha512
        )?;
    }
    if let Some(server) = &build.server {
        writeln!(out, "{} {} ({}), id {}", style.bold("server"), server.name, server.flavor, server.id)?;
    }
    Ok(())
}
