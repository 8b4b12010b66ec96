//! Tables that fit the terminal.

use super::text::{self, Painted, Screen, Style, line};
use crate::untrusted::Untrusted;

/// A column of a table: its name, and what it says of a row.
pub(super) type Column<T> = (&'static str, fn(&T) -> String);

/// Between two columns.
const GAP: usize = 2;

/// A table in the first of some layouts, from the widest to the narrowest, that fits the terminal; else in the last.
/// `paint` colours the line of a row.
pub(super) fn of<T>(
    layouts: &[&[Column<T>]],
    things: &[T],
    none: &'static str,
    style: Style,
    paint: impl Fn(&T, &str) -> Painted,
) -> Screen {
    let mut out = Screen::default();
    if things.is_empty() {
        line!(out, none);
        return out;
    }
    let mut last = None;
    for columns in layouts {
        let layout = Layout::new(columns, things);
        let enough = style.width().is_none_or(|most| layout.width() <= most);
        last = Some(layout);
        if enough {
            break;
        }
    }
    let Some(layout) = last else { return out };
    let cut = |line: String| style.width().map_or_else(|| line.clone(), |most| text::shortened(&line, most));
    line!(out, style.dim(&cut(layout.line(&layout.names))));
    for (row, thing) in layout.rows.iter().zip(things) {
        line!(out, paint(thing, &cut(layout.line(row))));
    }
    out
}

/// As wide as it is shown.
fn seen(cell: &str) -> String {
    Untrusted::from(cell).in_one_line().into_owned()
}

/// The cells of a table and the columns' widths.
struct Layout {
    names: Vec<String>,
    rows: Vec<Vec<String>>,
    widths: Vec<usize>,
}

impl Layout {
    fn new<T>(columns: &[Column<T>], things: &[T]) -> Self {
        let names: Vec<String> = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let rows: Vec<Vec<String>> =
            things.iter().map(|thing| columns.iter().map(|(_, cell)| seen(&cell(thing))).collect()).collect();
        let width = |column: usize| {
            let cells = rows.iter().chain([&names]).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let widths = (0..columns.len()).map(width).collect();
        Self { names, rows, widths }
    }

    fn width(&self) -> usize {
        self.widths.iter().map(|width| width + GAP).sum::<usize>().saturating_sub(GAP)
    }

    fn line(&self, cells: &[String]) -> String {
        let padded = cells.iter().zip(&self.widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    }
}
