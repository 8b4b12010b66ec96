//! `image-manager compare`: what differs between two builds, or in one since the last good one before it.

use image_manager_proto::counted;
use image_manager_proto::v1::{self, CheckOutcome, CompareBuildsResponse};

use super::arguments::{CompareArguments, OneFormat};
use super::instance::open_history;
use super::report::took;
use super::show::{clouds, not_found};
use super::text::{self, Screen, Style, line};
use super::{Exit, Outcome, Trouble, json, when};
use crate::history::Named as _;
use crate::lifecycle::trials::image;
use crate::lifecycle::{compare, short_digest};

pub(crate) async fn run(arguments: CompareArguments) -> Outcome {
    let state = &arguments.state.state;
    let history = open_history(state)?;
    let (a, b) = match &arguments.b {
        Some(b) => (arguments.a.as_str(), b.as_str()),
        None => ("", arguments.a.as_str()),
    };
    let (a, b) = history.resolve_pair(a, b).await.map_err(not_found)?;
    let comparison = compare(&history, state, &a, &b).await.map_err(Trouble::errored)?;
    match arguments.format {
        OneFormat::Text => text::print(&render(&comparison, Style::of_stdout())),
        OneFormat::Json => text::print_document(&json::message("CompareBuildsResponse", &comparison)),
    }
    Ok(Exit::Done)
}

fn render(comparison: &CompareBuildsResponse, style: Style) -> Screen {
    let mut out = Screen::default();
    let builds = [("A", &comparison.a), ("B", &comparison.b)];
    for (letter, build) in builds.into_iter().filter_map(|(letter, build)| Some((letter, build.as_ref()?))) {
        let state = style.by_state(build.state(), build.state().word());
        let created = when::both(build.created_at.as_ref());
        let (id, schedule) = (&build.id, &build.schedule);
        let places = clouds(build);
        line!(out, format_args!("{letter}  {id}  {schedule} on {places}, created {created}, "), state);
    }
    for note in &comparison.notes {
        line!(out, style.bold("note:"), " ", *note);
    }
    write_trials(&mut out, comparison, style);
    write_figures(&mut out, comparison, style);
    write_checks(&mut out, comparison, style);
    write_definition(&mut out, comparison, style);
    write_packages(&mut out, comparison, style);
    out
}

fn write_figures(out: &mut Screen, comparison: &CompareBuildsResponse, style: Style) {
    out.blank();
    line!(out, style.bold(&format!("{:<16} {:>13} {:>13}", "", "A", "B")));
    for stage in &comparison.stages {
        let (a, b) = (took(stage.duration_a.as_ref()), took(stage.duration_b.as_ref()));
        line!(out, format_args!("{:<16} {a:>13} {b:>13}", named(&stage.target, &stage.name)));
    }
    if comparison.trials.is_empty() {
        let (a, b) = (took(comparison.boot_a.as_ref()), took(comparison.boot_b.as_ref()));
        line!(out, format_args!("{:<16} {a:>13} {b:>13}", "boot to agent"));
    }
    for trial in &comparison.trials {
        let (a, b) = (took(trial.boot_a.as_ref()), took(trial.boot_b.as_ref()));
        line!(out, format_args!("{:<16} {a:>13} {b:>13}", named(&trial.target, "boot to agent")));
    }
    let size = |build: &Option<v1::Build>| build.as_ref().and_then(image).map(|image| image.size_bytes);
    let (a, b) = (size(&comparison.a), size(&comparison.b));
    let print = |size: Option<u64>| {
        size.map_or_else(|| "-".to_owned(), |size| indicatif::HumanBytes(size).to_string())
    };
    let change = match (a, b) {
        (Some(a), Some(b)) if b > a => format!("  {} larger", indicatif::HumanBytes(b - a)),
        (Some(a), Some(b)) if b < a => format!("  {} smaller", indicatif::HumanBytes(a - b)),
        (Some(_), Some(_)) => "  the same".to_owned(),
        _ => String::new(),
    };
    line!(out, format_args!("{:<16} {:>13} {:>13}{change}", "image size", print(a), print(b)));
}

/// The trials of both: how each ended.
fn write_trials(out: &mut Screen, comparison: &CompareBuildsResponse, style: Style) {
    if comparison.trials.is_empty() {
        return;
    }
    out.blank();
    line!(out, style.bold("trials"));
    let said = |state: v1::TrialState, reason: &str| match (state, reason) {
        (v1::TrialState::Unspecified, _) => "not there".to_owned(),
        (state, "") => state.word().to_owned(),
        (state, reason) => format!("{} ({reason})", state.word()),
    };
    for trial in &comparison.trials {
        let (a, b) = (said(trial.state_a(), &trial.reason_a), said(trial.state_b(), &trial.reason_b));
        let change = if a == b { a } else { format!("{a} -> {b}") };
        line!(out, format_args!("  {:<16} {change}", trial.target));
    }
}

/// Whose it is, where there are several.
fn named(target: &str, name: &str) -> String {
    if target.is_empty() { name.to_owned() } else { format!("{target} {name}") }
}

fn write_checks(out: &mut Screen, comparison: &CompareBuildsResponse, style: Style) {
    out.blank();
    line!(out, style.bold("checks"));
    if comparison.checks.is_empty() {
        line!(out, "  no outcome differs");
    }
    let word = |outcome: CheckOutcome| match outcome {
        CheckOutcome::Unspecified => "not run",
        outcome => outcome.word(),
    };
    for check in &comparison.checks {
        let (a, b) = (check.outcome_a(), check.outcome_b());
        let rest = format!(" {:<16} {} -> {}", named(&check.target, &check.name), word(a), word(b));
        line!(out, "  ", style.outcome_mark(b), rest);
    }
}

fn write_definition(out: &mut Screen, comparison: &CompareBuildsResponse, style: Style) {
    let (Some(in_a), Some(in_b)) = (comparison.definition_a, comparison.definition_b) else { return };
    out.blank();
    line!(out, style.bold("definition"), format_args!("  {} in A, {in_b} in B", counted(in_a, "part")));
    if comparison.definition.is_empty() {
        line!(out, "  the same");
    }
    for change in &comparison.definition {
        let name = format!(" {} {} ", change.kind, change.name);
        match (&change.a, &change.b) {
            (None, Some(b)) => line!(out, "  ", style.added("+"), name, style.dim(&said(b))),
            (Some(a), None) => line!(out, "  ", style.removed("-"), name, style.dim(&said(a))),
            (a, b) => {
                let (a, b) =
                    (a.as_ref().map(said).unwrap_or_default(), b.as_ref().map(said).unwrap_or_default());
                line!(out, "  ", style.dim("~"), name, style.dim(&format!("{a} -> {b}")));
            }
        }
    }
}

/// A version or the beginning of a digest, and where it comes from.
fn said(part: &v1::DefinitionPart) -> String {
    let value = short_digest(&part.value);
    match part.source.as_str() {
        "" => value.to_owned(),
        source if value.is_empty() => format!("({source})"),
        source => format!("{value} ({source})"),
    }
}

fn write_packages(out: &mut Screen, comparison: &CompareBuildsResponse, style: Style) {
    out.blank();
    let (Some(in_a), Some(in_b)) = (comparison.packages_a, comparison.packages_b) else {
        line!(out, style.bold("packages"));
        line!(out, "  cannot be compared, see the note above");
        return;
    };
    line!(out, style.bold("packages"), format_args!("  {in_a} in A, {in_b} in B"));
    if comparison.packages.is_empty() {
        line!(out, "  the same packages in the same versions");
    }
    for change in &comparison.packages {
        let name = &change.package;
        match (change.version_a.as_str(), change.version_b.as_str()) {
            ("", b) => line!(out, "  ", style.added("+"), format_args!(" {name} {b}")),
            (a, "") => line!(out, "  ", style.removed("-"), format_args!(" {name} {a}")),
            (a, b) => line!(out, "  ", style.dim("~"), format_args!(" {name} {a} -> {b}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_reads_well() {
        let change = |package: &str, a: &str, b: &str| v1::PackageChange {
            package: package.into(),
            version_a: a.into(),
            version_b: b.into(),
        };
        let build = |size_bytes| {
            Some(v1::Build {
                image: Some(v1::Image { size_bytes, ..v1::Image::default() }),
                ..v1::Build::default()
            })
        };
        let mut comparison = CompareBuildsResponse {
            a: build(100 << 20),
            b: build(110 << 20),
            packages: vec![change("curl", "", "8.1"), change("bash", "5.1", "5.2"), change("zsh", "5.9", "")],
            packages_a: Some(240),
            packages_b: Some(240),
            ..CompareBuildsResponse::default()
        };
        let said = render(&comparison, Style::plain());
        let said = said.as_str();
        for line in ["  + curl 8.1\n", "  ~ bash 5.1 -> 5.2\n", "  - zsh 5.9\n", "10.00 MiB larger"] {
            assert!(said.contains(line), "{line} is not in {said}");
        }
        assert!(!said.contains("definition"), "it is not known: {said}");
        let part = |value: &str, source: &str| {
            Some(v1::DefinitionPart {
                value: value.into(),
                source: source.into(),
                ..v1::DefinitionPart::default()
            })
        };
        let change =
            |name: &str, a, b| v1::DefinitionChange { kind: "element".into(), name: name.into(), a, b };
        comparison.definition = vec![
            change("web", part(&"a".repeat(64), "own"), part(&"b".repeat(64), "own")),
            change("vm", part("", "disk-image-builder"), part(&"c".repeat(64), "own")),
            change("db", None, part(&"d".repeat(64), "shipped")),
        ];
        (comparison.definition_a, comparison.definition_b) = (Some(7), Some(8));
        let screen = render(&comparison, Style::plain());
        for line in [
            "definition  7 parts in A, 8 in B",
            "  ~ element web aaaaaaaaaaaa (own) -> bbbbbbbbbbbb (own)\n",
            "  ~ element vm (disk-image-builder) -> cccccccccccc (own)\n",
            "  + element db dddddddddddd (shipped)\n",
        ] {
            assert!(screen.as_str().contains(line), "{line} is not in {}", screen.as_str());
        }
        comparison.packages_b = None;
        comparison.notes = vec!["the packages of build 01 are not known: why".into()];
        let said = render(&comparison, Style::plain());
        let said = said.as_str();
        assert!(
            said.contains("note: the packages of build 01") && said.contains("cannot be compared"),
            "{said}"
        );
    }
}
