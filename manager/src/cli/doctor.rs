//! `image-manager doctor`: what this host lacks, each with the command that fixes it.

use std::collections::BTreeSet;

use image_manager_proto::counted;
use image_manager_proto::v1::CheckOutcome;

use super::Exit;
use super::arguments::{DoctorArguments, HostArguments};
use super::host::settings;
use super::text::{self, Screen, Style, line};
use crate::builder::remark_on_passwords;
use crate::cloud::CloudKind;
use crate::lifecycle::Settings;
use crate::readiness::{self, Definition, Finding};
use crate::schedules::{self, LoadErrorReason, Schedule, Schedules};
use crate::trust;

/// Most schedules that a line names.
const LISTED: usize = 6;

pub(crate) fn run(arguments: &DoctorArguments) -> Exit {
    let host = &arguments.host;
    let state = std::path::absolute(&host.state.state).unwrap_or_else(|_| host.state.state.clone());
    let findings = findings(host, &settings(host, &state, 1));
    let style = Style::of_stdout();
    let mut out = Screen::default();
    show(&mut out, &findings.iter().collect::<Vec<_>>(), style);
    for remark in CloudKind::ALL.iter().filter_map(|kind| (kind.remark)()).chain(remark_on_passwords()) {
        line!(out, "  ", style.dim("i"), " ", remark);
    }
    out.blank();
    let lacks = lacking(&findings).len();
    if lacks == 0 {
        line!(out, "nothing is missing: `image-manager run SCHEDULE` can build");
    } else {
        let are = if lacks == 1 { "is" } else { "are" };
        line!(
            out,
            format_args!(
                "{lacks} of {} {are} missing or wrong; `setup/install build` in a checkout, or \
                 `/usr/share/image-manager/setup/install build` of the package, installs what every build needs",
                findings.len()
            )
        );
    }
    text::print(&out);
    if lacks == 0 { Exit::Done } else { Exit::Errored }
}

/// What the file's schedules need; of a file that cannot be used, what every build needs.
fn findings(host: &HostArguments, settings: &Settings) -> Vec<Finding> {
    let everything = |_: &Schedule| true;
    let path = &host.schedules.schedules;
    let unusable = |why: &str| {
        let mend = format!("image-manager check {}", path.display());
        Finding::bad(path.display().to_string(), why, mend)
    };
    let found = match schedules::load(path) {
        Ok(found) => found,
        Err(error) => {
            let mut findings =
                readiness::findings(&Schedules::none(path), &Definition::default(), settings, &everything);
            findings.push(match error.reason {
                LoadErrorReason::Invalid { .. } => unusable("has mistakes"),
                LoadErrorReason::Unreadable(error) => {
                    let mend = "name it with --schedules FILE or IMAGE_MANAGER_SCHEDULES".to_owned();
                    Finding::bad(path.display().to_string(), format!("cannot read it: {error}"), mend)
                }
                reason => unusable(&reason.to_string()),
            });
            return findings;
        }
    };
    let trusted = readiness::check_what_runs(settings, &found).and_then(|()| trust::check(path, false));
    let definition = match &trusted {
        Ok(()) => readiness::definition(&found, settings, &everything),
        // Nothing is run that others can change.
        Err(_) => Definition::default(),
    };
    let mut findings = readiness::findings(&found, &definition, settings, &everything);
    findings.extend(clouds(&found));
    findings.push(match trusted {
        Err(trust::Unsafe { path, why, mend }) => Finding::bad(path.display().to_string(), why, mend),
        Ok(()) if definition.mistakes.is_empty() => {
            Finding::good(format!("{} ({})", path.display(), counted(found.schedules.len(), "schedule")))
        }
        Ok(()) => unusable("has mistakes"),
    });
    findings
}

/// The schedules' clouds, as far as this host's clouds.yaml and variables tell: nothing is asked of them.
pub(crate) fn clouds(schedules: &Schedules) -> Vec<Finding> {
    let names = schedules.schedules.iter().flat_map(Schedule::clouds);
    let names: BTreeSet<&str> = names.collect();
    let of = |name: &str| {
        let all = schedules.schedules.iter().filter(|schedule| schedule.is_on(name));
        all.map(|schedule| schedule.name.clone()).collect()
    };
    names.into_iter().filter_map(|name| Some((CloudKind::of(name).configured)(name)?.of(of(name)))).collect()
}

/// Those in which something is wrong.
pub(crate) fn lacking(findings: &[Finding]) -> Vec<&Finding> {
    findings.iter().filter(|finding| finding.trouble.is_some()).collect()
}

/// A line for each; where something is wrong one more, with what mends it.
pub(crate) fn show(out: &mut Screen, findings: &[&Finding], style: Style) {
    for finding in findings {
        match &finding.trouble {
            None => {
                let mark = style.outcome_mark(CheckOutcome::Pass);
                line!(out, "  ", mark, " ", finding.what, style.dim(&needed_by(finding)));
            }
            Some(trouble) => {
                let mark = style.outcome_mark(CheckOutcome::Fail);
                let by = style.dim(&needed_by(finding));
                line!(out, "  ", mark, format_args!(" {}: {}", finding.what, trouble.wrong), by);
                line!(out, "      to fix it: ", style.bold(&trouble.mend));
            }
        }
    }
}

/// The schedules that need it, where it is not every build.
fn needed_by(finding: &Finding) -> String {
    let names = finding.schedules.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match finding.schedules.len() {
        0 => String::new(),
        count if count > LISTED => format!(" ({names} and {} more)", count - LISTED),
        _ => format!(" ({names})"),
    }
}
