//! `image-manager checks`: what an image can be asked to prove.

use image_manager_agent::checks::descriptor::{Check, Observer, Set};
use serde_json::{Value, json};

use super::arguments::{ChecksArguments, OneFormat};
use super::text::{self, Screen, Style, line};
use super::{Exit, Outcome, Trouble};
use crate::checks::{self, EVERY, key_rows};
use crate::schedules::nearest;

/// How wide text is set that is to be read.
const COMFORTABLE: usize = 100;

/// `checks`.
pub(crate) fn run(arguments: &ChecksArguments) -> Outcome {
    let one = arguments.kind.as_deref().map(find).transpose()?;
    match (arguments.format, one) {
        (OneFormat::Json, Some(check)) => text::print_document(&pretty(&as_json(check))),
        (OneFormat::Json, None) => {
            text::print_document(&pretty(&checks::all().map(as_json).collect()));
        }
        (OneFormat::Text, Some(check)) => text::print(&page(check, Style::of_stdout())),
        (OneFormat::Text, None) => text::print(&list(Style::of_stdout())),
    }
    Ok(Exit::Done)
}

fn find(kind: &str) -> Result<&'static Check, Trouble> {
    checks::find(kind).ok_or_else(|| {
        let help = match nearest(kind, checks::all().map(|check| check.kind)) {
            Some(known) => format!("did you mean {known}?"),
            None => "`image-manager checks` lists all kinds".to_owned(),
        };
        Trouble::usage(format!("there is no check of the kind {kind:?}; {help}"))
    })
}

fn pretty(json: &Value) -> String {
    format!("{json:#}\n")
}

fn set(check: &Check) -> &'static str {
    match check.set {
        Set::Named => "-",
        set => set.word(),
    }
}

/// A line for each check, and more where what it proves is longer.
fn list(style: Style) -> Screen {
    let mut out = Screen::default();
    let widest =
        |name: fn(&Check) -> &'static str| checks::all().map(|check| name(check).len()).max().unwrap_or(0);
    let (kinds, sets) = (widest(|check| check.kind), widest(set));
    let indent = kinds + sets + 4;
    let room = style.width().unwrap_or(usize::MAX).saturating_sub(indent).max(20);
    line!(out, style.dim(&format!("{:kinds$}  {:sets$}  PROVES", "KIND", "SET")));
    for check in checks::all() {
        let mut lead = format!("{:kinds$}  {:sets$}  ", check.kind, set(check));
        for part in text::wrapped(check.proves, room) {
            line!(out, format_args!("{lead}{part}"));
            lead = " ".repeat(indent);
        }
    }
    out
}

fn page(check: &Check, style: Style) -> Screen {
    let mut out = Screen::default();
    let width = style.width().unwrap_or(COMFORTABLE).min(COMFORTABLE);
    let paragraph = |text: &str, indent: usize, out: &mut Screen| {
        for part in text::wrapped(text, width.saturating_sub(indent).max(20)) {
            line!(out, format_args!("{:indent$}{part}", ""));
        }
    };
    line!(out, style.bold(check.kind));
    paragraph(&format!("Proves: {}.", check.proves), 0, &mut out);
    if !check.details.is_empty() {
        out.blank();
        paragraph(check.details, 0, &mut out);
    }
    out.blank();
    let observer = match check.observer {
        Observer::Agent => "the agent, in the server",
        Observer::Manager => "the manager",
    };
    let set = match check.set {
        Set::Named => "none, only when named",
        set => set.word(),
    };
    line!(out, style.dim("set        "), set);
    line!(out, style.dim("examined   "), format_args!("by {observer}"));
    line!(out, style.dim("cost       "), check.cost);
    line!(out, style.dim("timeout    "), format_args!("{}", humantime::format_duration(check.timeout)));
    out.blank();
    line!(out, style.bold("keys"));
    for (name, noun, default, help) in key_rows(check.keys) {
        let default = if default.is_empty() { String::new() } else { format!(", {default} by default") };
        line!(out, format_args!("  {name}"), style.dim(&format!("  {noun}{default}")));
        paragraph(&help, 6, &mut out);
    }
    for (name, noun, _, help) in EVERY {
        line!(out, format_args!("  {name}"), style.dim(&format!("  {noun}")));
        paragraph(help, 6, &mut out);
    }
    out
}

fn as_json(check: &'static Check) -> Value {
    let keys = key_rows(check.keys).into_iter().map(|(name, noun, default, help)| {
        json!({ "name": name, "type": noun, "default": default, "meaning": help })
    });
    json!({
        "kind": check.kind,
        "proves": check.proves,
        "details": check.details,
        "set": Some(check.set.word()).filter(|word| !word.is_empty()),
        "observer": match check.observer { Observer::Agent => "agent", Observer::Manager => "manager" },
        "cost": check.cost,
        "timeout_seconds": check.timeout.as_secs_f64(),
        "keys": keys.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_cut_in_a_narrow_terminal() {
        let narrow = list(Style::of_width(80));
        assert!(narrow.as_str().lines().all(|line| line.chars().count() <= 80), "{}", narrow.as_str());
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let said = words(narrow.as_str());
        for check in checks::all() {
            let last = words(check.proves).pop().unwrap();
            assert!(said.contains(&last), "{}", check.kind);
            let page = page(check, Style::of_width(80));
            assert!(page.as_str().contains(check.kind));
        }
    }
}
