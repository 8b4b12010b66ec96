//! Prometheus' text format, as far as it is needed here: by hand, because it is a page of text and the crates
//! for it bring a registry that would count everything a second time.

use std::fmt::{Display, Write as _};

use crate::untrusted::Untrusted;

/// A page of metrics that is being written.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    text: String,
}

impl Exposition {
    /// Begins a family; its samples follow.
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One value of the family.
    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(name);
        for (number, (label, text)) in labels.iter().enumerate() {
            self.text.push(if number == 0 { '{' } else { ',' });
            // Writing to a string does not fail.
            let _ = write!(self.text, "{label}=\"{}\"", Untrusted::from(*text).for_label());
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        // Writing to a string does not fail.
        let _ = writeln!(self.text, " {value}");
    }

    /// A family with one value and no labels.
    pub(super) fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// The page.
    pub(super) fn finish(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_the_format_says() {
        let mut page = Exposition::default();
        page.family("builds_total", "counter", "Builds.");
        page.sample("builds_total", &[("schedule", "a\"b\\c\nd"), ("verdict", "passed")], 3);
        page.single("up", "gauge", "Whether.", 1.5);
        let expected = "# HELP builds_total Builds.\n# TYPE builds_total counter\n\
                        builds_total{schedule=\"a\\\"b\\\\c\\nd\",verdict=\"passed\"} 3\n\
                        # HELP up Whether.\n# TYPE up gauge\nup 1.5\n";
        assert_eq!(page.finish(), expected);
    }
}
