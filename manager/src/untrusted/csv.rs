//! CSV for programs and spreadsheets: RFC 4180's quotes, and no field that a spreadsheet would run
//! (<https://owasp.org/www-community/attacks/CSV_Injection>).

use super::Untrusted;

/// What begins a formula, in the forms of full width too.
const FORMULA: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];

/// A row with its line end. A field has no line breaks of its own, so a row is a line.
pub(crate) fn row<'a>(fields: impl IntoIterator<Item = Untrusted<'a>>) -> String {
    let fields: Vec<String> = fields.into_iter().map(|text| field(&text)).collect();
    fields.join(",") + "\n"
}

fn field(text: &Untrusted<'_>) -> String {
    let shown = text.in_one_line();
    // A tab or a line break before the sign is no obstacle to a spreadsheet; here they are shown already.
    let runs = shown.trim_start().starts_with(FORMULA);
    let value = if runs { format!("'{shown}") } else { shown.into_owned() };
    // With an apostrophe in front, quoted, so that no separator of another country ends the field before it.
    if runs || value.contains([',', ';', '"']) {
        format!("\"{}\"", value.replace('"', "\"\""))
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> String {
        row([Untrusted::from(text)])
    }

    #[test]
    fn a_spreadsheet_runs_nothing() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "＝1", "\t=1", "\r=1"] {
            let said = one(formula);
            assert!(said.starts_with("\"'") || !said.trim_start().starts_with(FORMULA), "{said}");
        }
        assert_eq!(one("=HYPERLINK(\"http://x\",\"a\")"), "\"'=HYPERLINK(\"\"http://x\"\",\"\"a\"\")\"\n");
    }

    #[test]
    fn a_row_is_a_line() {
        let fields = ["a\nb,forged", "\"", "plain", ""].map(Untrusted::from);
        assert_eq!(row(fields), "\"a\\nb,forged\",\"\"\"\",plain,\n");
        assert_eq!(one("\x1b[2J\u{202e}"), "\\u{1b}[2J\\u{202e}\n");
    }
}
