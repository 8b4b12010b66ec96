//! `image-manager audit`: who did what.

use super::arguments::{AuditArguments, ListFormat};
use super::instance::open_history;
use super::table::{self, Column};
use super::text::{self, Painted, Screen, Style};
use super::{Exit, Outcome, Trouble, when};
use crate::clock::{self, timestamp};
use crate::history::AuditRow;
use crate::untrusted::{Untrusted, csv, json};

pub(crate) async fn run(arguments: AuditArguments) -> Outcome {
    let since = arguments.since.as_deref().map(|since| when::parse_since(since, "--since")).transpose();
    let since = since.map_err(Trouble::usage)?;
    let history = open_history(&arguments.state.state)?;
    let rows = history.audit(since, arguments.limit).await.map_err(Trouble::errored)?;
    match arguments.format {
        ListFormat::Table => text::print(&table(&rows, Style::of_stdout())),
        ListFormat::Json => text::print_document(&listed(&rows)),
        ListFormat::Csv => text::print_document(&separated(&rows)),
    }
    Ok(Exit::Done)
}

const TIME: Column<AuditRow> = ("TIME", |row| when::exact(Some(&timestamp(row.at))));
const WHO: Column<AuditRow> = ("WHO", |row| row.principal.clone());
const ACTION: Column<AuditRow> = ("ACTION", |row| row.action.clone());
const SUBJECT: Column<AuditRow> = ("SUBJECT", |row| row.subject.clone());
const BUILD: Column<AuditRow> = ("BUILD", |row| row.build_id.clone());
/// Enough of it to name a build: the time, and twelve bits of chance.
const SHORT_BUILD: Column<AuditRow> = ("BUILD", |row| row.build_id.chars().take(18).collect());
const DETAIL: Column<AuditRow> = ("DETAIL", |row| row.detail.clone());

/// The layouts, from the widest to the narrowest; the first that fits the terminal is taken.
const LAYOUTS: [&[Column<AuditRow>]; 4] = [
    &[TIME, WHO, ACTION, SUBJECT, BUILD, DETAIL],
    &[TIME, WHO, ACTION, SUBJECT, SHORT_BUILD],
    &[TIME, WHO, ACTION, SUBJECT],
    &[WHO, ACTION, SUBJECT],
];

fn table(rows: &[AuditRow], style: Style) -> Screen {
    table::of(&LAYOUTS, rows, "no entries", style, |_, text| Painted::plain(text))
}

fn listed(rows: &[AuditRow]) -> String {
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            serde_json::json!({
                "id": row.id,
                "time": clock::rfc3339_of(row.at),
                "principal": row.principal,
                "action": row.action,
                "subject": row.subject,
                "build_id": row.build_id,
                "detail": row.detail,
            })
        })
        .collect();
    json::pretty(&rows)
}

fn separated(rows: &[AuditRow]) -> String {
    let mut out = "id,time,principal,action,subject,build_id,detail\n".to_owned();
    for row in rows {
        out.push_str(&csv::row(
            [
                row.id.to_string(),
                clock::rfc3339_of(row.at),
                row.principal.clone(),
                row.action.clone(),
                row.subject.clone(),
                row.build_id.clone(),
                row.detail.clone(),
            ]
            .map(Untrusted::from),
        ));
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
            let said = said.as_str();
            assert!(said.lines().all(|line| line.chars().count() <= width), "{width}\n{said}");
            assert!(said.contains("browser of token alice"), "{width}\n{said}");
        }
        assert!(table(&[row], Style::plain()).as_str().contains("52cee028ec3c"));
    }
}
