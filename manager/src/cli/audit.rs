//! `image-manager audit`: who did what.

use serde_json::json;

use super::arguments::{AuditArguments, ListFormat};
use super::instance::open_history;
use super::table::{Layout, csv_line};
use super::text::{self, Style};
use super::{Exit, Outcome, Trouble, when};
use crate::history::{AuditRow, timestamp};

pub(crate) async fn run(arguments: AuditArguments) -> Outcome {
    let since = arguments.since.as_deref().map(|since| when::parse_time(since, "--since")).transpose();
    let since = since.map_err(Trouble::usage)?;
    let history = open_history(&arguments.state.state)?;
    let rows = history.audit(since, arguments.limit).await.map_err(Trouble::errored)?;
    match arguments.format {
        ListFormat::Table => text::print(&table(&rows, Style::of_stdout())),
        ListFormat::Json => text::print(&json(&rows)),
        ListFormat::Csv => text::print(&csv(&rows)),
    }
    Ok(Exit::Done)
}

/// A column of the table: its name, and what it says of a row.
type Column = (&'static str, fn(&AuditRow) -> String);

const TIME: Column = ("TIME", |row| when::exact(Some(&timestamp(row.at))));
const WHO: Column = ("WHO", |row| row.principal.clone());
const ACTION: Column = ("ACTION", |row| row.action.clone());
const SUBJECT: Column = ("OF", |row| row.subject.clone());
const BUILD: Column = ("BUILD", |row| row.build_id.clone());
/// Enough of it to name a build: the time, and twelve bits of chance.
const SHORT_BUILD: Column = ("BUILD", |row| row.build_id.chars().take(18).collect());
const DETAIL: Column = ("DETAIL", |row| row.detail.clone());

/// The layouts, from the widest to the narrowest; the first that fits the terminal is taken.
const LAYOUTS: [&[Column]; 4] = [
    &[TIME, WHO, ACTION, SUBJECT, BUILD, DETAIL],
    &[TIME, WHO, ACTION, SUBJECT, SHORT_BUILD],
    &[TIME, WHO, ACTION, SUBJECT],
    &[WHO, ACTION, SUBJECT],
];

fn table(rows: &[AuditRow], style: Style) -> String {
    if rows.is_empty() {
        return "nothing was done\n".to_owned();
    }
    let Some(layout) = Layout::fitting(&LAYOUTS, rows, style) else { return String::new() };
    let mut out = layout.head(style);
    out.push('\n');
    for line in layout.lines(style) {
        out.push_str(&line);
        out.push('\n');
    }
    out
}

fn json(rows: &[AuditRow]) -> String {
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            json!({
                "id": row.id,
                "time": when::rfc3339(Some(&timestamp(row.at))),
                "principal": row.principal,
                "action": row.action,
                "subject": row.subject,
                "build_id": row.build_id,
                "detail": row.detail,
            })
        })
        .collect();
    let mut text = serde_json::to_string_pretty(&rows).unwrap_or_default();
    text.push('\n');
    text
}

fn csv(rows: &[AuditRow]) -> String {
    let mut out = "id,time,principal,action,subject,build_id,detail\n".to_owned();
    for row in rows {
        out.push_str(&csv_line([
            row.id.to_string(),
            when::rfc3339(Some(&timestamp(row.at))),
            row.principal.clone(),
            row.action.clone(),
            row.subject.clone(),
            row.build_id.clone(),
            row.detail.clone(),
        ]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trail_fits_the_terminal() {
        let row = AuditRow {
            id: 1,
            at: 1_793_491_200_000,
            principal: "browser of token alice".to_owned(),
            action: "build.triggered".to_owned(),
            subject: "debian-13".to_owned(),
            build_id: "019a21b0-3f72-71c7-8d09-52cee028ec3c".to_owned(),
            detail: "web".to_owned(),
        };
        for width in [40, 60, 80, 100, 200] {
            let said = table(std::slice::from_ref(&row), Style::of_width(width));
            assert!(said.lines().all(|line| line.chars().count() <= width), "{width}\n{said}");
            assert!(said.contains("browser of token alice"), "{width}\n{said}");
        }
        assert!(table(&[row], Style::plain()).contains("52cee028ec3c"));
    }
}
