//! `image-manager show`: one build for people. [`super::verdict`] is the end of `run`.

mod resources;
pub(super) mod trials;

use std::time::Duration;

use image_manager_proto::counted;
use image_manager_proto::v1::{self, CheckOutcome, ControlOutcome};

use super::arguments::{OneFormat, ShowArguments};
use super::instance::open_history;
use super::text::{self, Painted, Screen, Style, line};
use super::{Exit, Outcome, Trouble, json, when};
use crate::history::{HistoryError, Named as _, observations};
use crate::lifecycle::trials::{blamed, controls, image, made_by, said_of_target, several};
use crate::lifecycle::{elements_by_source, parts_to_show, short_digest};
use crate::operator::quantity;

/// How much of a build is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// What happened, and what was observed.
    Summary,
    /// The agent's paths, hashes, ids, and every resource besides.
    Details,
}

/// Longest value of an observation that is shown, in characters.
const VALUE_LIMIT: usize = 160;

pub(crate) async fn run(arguments: ShowArguments) -> Outcome {
    let history = open_history(&arguments.state.state)?;
    let id = history.resolve(&arguments.build).await.map_err(not_found)?;
    let build = history.build(&id).await.map_err(Trouble::errored)?;
    match arguments.format {
        OneFormat::Text => {
            let extent = if arguments.details { Extent::Details } else { Extent::Summary };
            text::print(&render(&build, extent, Style::of_stdout()));
        }
        OneFormat::Json => text::print_document(&json::one(&build)),
    }
    Ok(Exit::Done)
}

/// A build that is not there is the user's mistake, not the host's.
pub(super) fn not_found(error: HistoryError) -> Trouble {
    match error {
        HistoryError::NoBuild(_) | HistoryError::Ambiguous { .. } => {
            Trouble::usage(format!("{error}; `image-manager history` lists them"))
        }
        other => Trouble::errored(other),
    }
}

/// A build for people. What failed comes first, and what to do next with it.
fn render(build: &v1::Build, extent: Extent, style: Style) -> Screen {
    let mut out = Screen::default();
    write_head(&mut out, build, style);
    if let Some(failure) = &build.failure {
        out.blank();
        write_what_happened(&mut out, "", failure, style);
        if blamed(build, failure).is_none() {
            write_hint(&mut out, failure, style);
            write_evidence(&mut out, failure, style);
        }
    }
    if !build.warnings.is_empty() {
        out.blank();
    }
    write_warnings(&mut out, build, style);
    write_rest(&mut out, build, extent, style);
    out
}

fn write_head(out: &mut Screen, build: &v1::Build, style: Style) {
    let state = style.by_state(build.state(), &build.state().word().to_uppercase());
    line!(out, format_args!("build {}  ", build.id), state.bold(style));
    line!(
        out,
        format_args!(
            "schedule {} on {}{}, requested by {}, created {}, took {}",
            build.schedule,
            if build.cloud.is_empty() { "" } else { "cloud " },
            clouds(build),
            who(build),
            when::both(build.created_at.as_ref()),
            when::between(build.started_at.as_ref(), build.finished_at.as_ref()),
        )
    );
    write_circumstances(out, build);
    trials::write_table(out, build, style);
}

/// What was special about a build.
pub(super) fn write_circumstances(out: &mut Screen, build: &v1::Build) {
    if build.verification {
        let of = made_by(build).join(", ");
        line!(out, format_args!("verification of the published image of build {of}"));
    }
    if !build.unchanged_since.is_empty() {
        line!(out, format_args!("nothing has changed since build {}", build.unchanged_since));
    }
    if !build.cancelled_by.is_empty() {
        line!(out, format_args!("cancelled by {}", build.cancelled_by));
    }
}

/// Where a build was tried: its cloud, or how many clouds its trials are on.
pub(super) fn clouds(build: &v1::Build) -> String {
    if !build.cloud.is_empty() {
        return build.cloud.clone();
    }
    let clouds: std::collections::BTreeSet<_> = build.trials.iter().map(|trial| &trial.cloud).collect();
    counted(clouds.len(), "cloud")
}

fn write_rest(out: &mut Screen, build: &v1::Build, extent: Extent, style: Style) {
    write_controls(out, build, style);
    head(out, if several(build).is_empty() { "stages" } else { "the build's own stages" }, style);
    write_stages(out, &build.stages, style);
    trials::write_each(out, build, extent, style);
    if !build.checks.is_empty() {
        head(out, "checks", style);
        let names = width_of_names(&build.checks);
        let none = if build.verdict() == v1::Verdict::Unspecified { "pending" } else { "not run" };
        for check in &build.checks {
            write_check(out, check, names, none, style);
        }
    }
    if let Some(agent) = &build.agent {
        out.blank();
        write_agent(out, "", agent, extent, style);
    }
    write_image(out, build, extent, style);
    write_definition(out, build, style);
    resources::write(out, &build.resources, extent, style);
    if extent == Extent::Summary {
        out.blank();
        line!(out, style.dim("--details also shows the agent's paths, hashes, ids and every resource"));
    }
}

/// Who asked for a build, and by which way where that says more.
fn who(build: &v1::Build) -> String {
    let way = build.trigger().word();
    if build.requested_by.is_empty() || build.requested_by == way {
        return way.to_owned();
    }
    format!("{} ({way})", build.requested_by)
}

fn head(out: &mut Screen, title: &str, style: Style) {
    out.blank();
    line!(out, style.bold(title));
}

fn write_stages(out: &mut Screen, stages: &[v1::Stage], style: Style) {
    for stage in stages {
        let took = when::between(stage.started_at.as_ref(), stage.finished_at.as_ref());
        let mark = style.stage_mark(stage.state());
        line!(out, "  ", mark, format_args!(" {:<12} {took:>12}  {}", stage.name, stage.detail));
    }
}

pub(super) fn write_what_happened(out: &mut Screen, lead: &str, failure: &v1::Failure, style: Style) {
    let head = format!("{} while {}", failure.reason, failure.stage);
    line!(out, lead, style.bold(&head), format_args!(": {}", failure.message));
}

/// What to do next; on a terminal between words, below the first one.
pub(super) fn write_hint(out: &mut Screen, failure: &v1::Failure, style: Style) {
    const LEAD: &str = "Next: ";
    let width = style.width().map_or(usize::MAX, |width| width.saturating_sub(LEAD.len()));
    for (number, piece) in text::wrapped(&failure.hint, width).iter().enumerate() {
        let lead = if number == 0 { style.bold(LEAD) } else { Painted::plain("      ") };
        line!(out, lead, piece.as_str());
    }
}

pub(super) fn write_evidence(out: &mut Screen, failure: &v1::Failure, style: Style) {
    for said in failure.evidence.lines() {
        line!(out, "  ", style.dim("|"), " ", said);
    }
}

pub(super) fn write_warnings(out: &mut Screen, build: &v1::Build, style: Style) {
    for warning in &build.warnings {
        line!(out, style.warning("WARNING"), format_args!(": {warning}"));
    }
}

/// What other images said of the targets.
fn write_controls(out: &mut Screen, build: &v1::Build, style: Style) {
    if controls(build).next().is_some() {
        head(out, "control boots", style);
    }
    for (target, control) in controls(build) {
        let mark = style.outcome_mark(match control.outcome() {
            ControlOutcome::Passed => CheckOutcome::Pass,
            ControlOutcome::Failed => CheckOutcome::Fail,
            ControlOutcome::Unknown | ControlOutcome::Unspecified => CheckOutcome::Inconclusive,
        });
        line!(out, "  ", mark, format_args!(" {target}: {}", said_of_target(control)));
    }
}

/// The room that the names of some checks take, one below the other.
fn width_of_names(checks: &[v1::Check]) -> usize {
    const LEAST: usize = 12;
    checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0).max(LEAST)
}

/// In the observations of a script: the points that it told of.
const POINTS: &str = "points";

/// A check with what it saw; `none` is the word for one that has no outcome.
fn write_check(out: &mut Screen, check: &v1::Check, names: usize, none: &str, style: Style) {
    let mark = style.outcome_mark(check.outcome());
    let word = if check.outcome() == v1::CheckOutcome::Unspecified { none } else { check.outcome().word() };
    let took = check.duration.and_then(|duration| Duration::try_from(duration).ok()).map(when::took);
    let took = took.unwrap_or_default();
    let optional = if check.required { "" } else { " (not required)" };
    let rest = format!(" {:<names$} {word:<12} {took:>8}  {}{optional}", check.name, check.summary);
    line!(out, "  ", mark, rest);
    let json = check.observations.as_ref().map(observations::to_json).unwrap_or_default();
    let json = quantity::told(&json);
    write_points(out, &json, style);
    for (key, value) in json.as_object().into_iter().flatten().filter(|(key, _)| *key != POINTS) {
        let mut value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let room = style.width().map_or(VALUE_LIMIT, |width| width.saturating_sub(8 + key.len()).max(16));
        value = text::shortened(&value, room.min(VALUE_LIMIT));
        line!(out, "      ", style.dim(&format!("{key}: {value}")));
    }
}

/// The points that a script told of, each in a line.
fn write_points(out: &mut Screen, seen: &serde_json::Value, style: Style) {
    let points = seen.get(POINTS).and_then(serde_json::Value::as_array);
    for point in points.into_iter().flatten() {
        let text = |key| point.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
        let outcome = match text("outcome") {
            "pass" => CheckOutcome::Pass,
            "fail" => CheckOutcome::Fail,
            _ => CheckOutcome::Skipped,
        };
        let aside = if text("detail").is_empty() { String::new() } else { format!(" ({})", text("detail")) };
        line!(out, "      ", style.outcome_mark(outcome), format_args!(" {}{aside}", text("name")));
    }
}

fn write_agent(out: &mut Screen, lead: &str, agent: &v1::Agent, extent: Extent, style: Style) {
    let removal = match &agent.removal {
        Some(removal) if removal.complete => "removed itself completely",
        Some(_) => "could NOT remove all of itself",
        None => "has not reported its removal",
    };
    let attached = when::both(agent.attached_at.as_ref());
    let said = format!(" {} attached {attached}, {removal}", agent.version);
    line!(out, lead, style.bold("agent"), said);
    // Of one that has taken all away it is of interest to few what.
    let paths = agent.removal.iter().filter(|removal| extent == Extent::Details || !removal.complete);
    for path in paths.flat_map(|removal| &removal.paths) {
        let detail = if path.detail.is_empty() { String::new() } else { format!(": {}", path.detail) };
        line!(out, lead, format_args!("  {:<8} {}{detail}", path.fate().word(), path.path));
    }
}

/// What the image was defined by: what is the site's own part by part, of the rest how much.
fn write_definition(out: &mut Screen, build: &v1::Build, style: Style) {
    if build.definition.is_empty() {
        return;
    }
    out.blank();
    line!(out, style.bold("definition"), " ", build.definition_digest);
    line!(out, "  elements: ", elements_by_source(&build.definition));
    for part in parts_to_show(&build.definition) {
        line!(out, format_args!("  {:<11}{} ", part.kind, part.name), style.dim(short_digest(&part.value)));
    }
}

fn write_image(out: &mut Screen, build: &v1::Build, extent: Extent, style: Style) {
    let details = extent == Extent::Details;
    if let Some(image) = &build.image {
        out.blank();
        line!(out, style.bold("image"), " ", image.name);
        let id = if details { format!(", id {}", image.id) } else { String::new() };
        line!(out, format_args!("  {}{id}", sizes(image)));
    } else if let Some(image) = image(build) {
        out.blank();
        line!(out, style.bold("image"), "  the same file in each cloud");
        line!(out, "  ", sizes(image));
    }
    if let Some(image) = image(build).filter(|_| details) {
        line!(out, "  sha512 ", image.sha512);
    }
    if let Some(server) = &build.server {
        let id = if details { format!(", id {}", server.id) } else { String::new() };
        line!(out, style.bold("server"), format_args!(" {} ({}){id}", server.name, server.flavor));
    }
}

fn sizes(image: &v1::Image) -> String {
    format!(
        "{} ({} bytes), a disk of {}",
        indicatif::HumanBytes(image.size_bytes),
        image.size_bytes,
        indicatif::HumanBytes(image.virtual_size_bytes),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Reason;

    fn failed(hint: &str) -> v1::Build {
        let failure = v1::Failure {
            reason: "agent_silent".to_owned(),
            stage: "booting".to_owned(),
            message: "no agent attached".to_owned(),
            evidence: "last lines of the console".to_owned(),
            hint: hint.to_owned(),
        };
        v1::Build { failure: Some(failure), ..v1::Build::default() }
    }

    /// Each hint on a terminal of 80 columns.
    #[test]
    fn what_to_do_next_follows_what_happened() {
        for reason in Reason::ALL.iter().filter(|reason| !reason.hint().is_empty()) {
            let build = failed(reason.hint());
            let shown = render(&build, Extent::Summary, Style::of_width(80)).as_str().to_owned();
            let lines: Vec<&str> = shown.lines().collect();
            let at = lines.iter().position(|line| line.starts_with("Next: ")).unwrap();
            assert_eq!(lines[at - 1], "agent_silent while booting: no agent attached");
            let more = lines[at + 1..].iter().take_while(|line| line.starts_with("      ")).count();
            let hint = &lines[at..=at + more];
            assert!(hint.iter().all(|line| line.chars().count() <= 80), "{hint:#?}");
            let said = hint.iter().map(|line| line[6..].trim()).collect::<Vec<_>>().join(" ");
            assert_eq!(said, reason.hint());
            assert_eq!(lines[at + more + 1], "  | last lines of the console");
        }
        // An old history may have a reason that nobody knows any more.
        let screen = render(&failed(""), Extent::Summary, Style::plain());
        assert!(!screen.as_str().contains("Next"), "{}", screen.as_str());
    }

    #[test]
    fn observations_are_told_in_peoples_units() {
        let seen =
            serde_json::json!({ "free_bytes": 325_058_560, "root": { "total_bytes": 4096 }, "exit_code": 0 });
        let check = v1::Check {
            name: "disk".to_owned(),
            observations: Some(observations::from_json(&seen)),
            ..v1::Check::default()
        };
        let build = v1::Build { checks: vec![check], ..v1::Build::default() };
        let shown = render(&build, Extent::Summary, Style::plain()).as_str().to_owned();
        for line in ["free_bytes: 310.0 MiB", "root: {\"total_bytes\":\"4.0 KiB\"}", "exit_code: 0"] {
            assert!(shown.contains(line), "{line}: {shown}");
        }
    }

    /// Before the verdict they are pending; after it they did not run.
    #[test]
    fn checks_without_an_outcome_are_told_by_where_the_build_is() {
        let check = |name: &str| v1::Check { name: name.to_owned(), ..v1::Check::default() };
        let checks = vec![check("disk"), check("dns")];
        let stage = v1::Stage { started_at: Some(prost_types::Timestamp::default()), ..v1::Stage::default() };
        let trial = |verdict: v1::Verdict| v1::Trial {
            checks: checks.clone(),
            stages: vec![stage.clone()],
            verdict: verdict.into(),
            state: v1::TrialState::Booting.into(),
            ..v1::Trial::default()
        };
        let said = |build: v1::Build| render(&build, Extent::Summary, Style::plain()).as_str().to_owned();
        for (verdict, one, several) in [
            (v1::Verdict::Unspecified, "disk         pending", "  checks pending: disk, dns"),
            (v1::Verdict::Errored, "disk         not run", "  checks that did not run: disk, dns"),
        ] {
            let single =
                v1::Build { checks: checks.clone(), verdict: verdict.into(), ..v1::Build::default() };
            let shown = said(single);
            assert!(shown.contains(one), "{shown}");
            let two = v1::Build { trials: vec![trial(verdict), trial(verdict)], ..v1::Build::default() };
            let shown = said(two);
            assert!(shown.contains(several), "{shown}");
        }
    }
}
