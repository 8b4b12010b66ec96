//! Values of labels in Prometheus' text format.

use super::Untrusted;

impl Untrusted<'_> {
    /// The value between its quotes: backslash, quote and line feed are escaped, as the format asks
    /// (<https://prometheus.io/docs/instrumenting/exposition_formats/>), and what is not seen is shown.
    pub(crate) fn for_label(&self) -> String {
        let lines = self.0.split('\n').map(|line| {
            let shown = Untrusted::from(line).in_one_line().replace('\\', "\\\\");
            shown.replace('"', "\\\"")
        });
        lines.collect::<Vec<_>>().join("\\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stays_within_its_quotes() {
        let label = |text: &str| Untrusted::from(text).for_label();
        assert_eq!(label("a\"} 1\nb{c=\""), "a\\\"} 1\\nb{c=\\\"");
        assert_eq!(label("a\\"), "a\\\\");
        assert_eq!(label("\x1b[2J\r"), "\\\\u{1b}[2J\\\\r");
    }
}
