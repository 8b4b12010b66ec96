//! Tables and comma-separated values.

use super::text::{self, Style};

/// Between two columns.
const GAP: usize = 2;

/// A column of a table: its name, and what it says of a row.
pub(super) type Column<T> = (&'static str, fn(&T) -> String);

/// The cells of a table and the columns' widths.
pub(super) struct Layout {
    names: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
    widths: Vec<usize>,
}

impl Layout {
    /// Columns by name, and what each says of a row.
    pub(super) fn new<T>(columns: &[Column<T>], things: &[T]) -> Self {
        let names: Vec<String> = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let rows: Vec<Vec<String>> =
            things.iter().map(|thing| columns.iter().map(|(_, cell)| cell(thing)).collect()).collect();
        let width = |column: usize| {
            let cells = rows.iter().chain([&names]).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let widths = (0..columns.len()).map(width).collect();
        Self { names, rows, widths }
    }

    /// The first of some layouts, from the widest to the narrowest, that fits the terminal; else the last.
    pub(super) fn fitting<T>(layouts: &[&[Column<T>]], things: &[T], style: Style) -> Option<Self> {
        let mut last = None;
        for columns in layouts {
            let layout = Self::new(columns, things);
            let enough = style.width().is_none_or(|most| layout.width() <= most);
            last = Some(layout);
            if enough {
                break;
            }
        }
        last
    }

    fn width(&self) -> usize {
        self.widths.iter().map(|width| width + GAP).sum::<usize>().saturating_sub(GAP)
    }

    fn line(&self, cells: &[String], style: Style) -> String {
        let padded = cells.iter().zip(&self.widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = padded.collect::<Vec<_>>().join("  ").trim_end().to_owned();
        style.width().map_or_else(|| line.clone(), |most| text::shortened(&line, most))
    }

    /// The line with the columns' names.
    pub(super) fn head(&self, style: Style) -> String {
        style.dim(&self.line(&self.names, style))
    }

    /// The lines of the rows, cut to the terminal.
    pub(super) fn lines(&self, style: Style) -> impl Iterator<Item = String> {
        self.rows.iter().map(move |row| self.line(row, style))
    }
}

/// A line of comma-separated values with its end (RFC 4180): a field with a comma, a quote or a line end is quoted.
pub(super) fn csv_line<const N: usize>(fields: [String; N]) -> String {
    let quoted = fields.map(|field| {
        if field.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", field.replace('"', "\"\""))
        } else {
            field
        }
    });
    format!("{}\n", quoted.join(","))
}
