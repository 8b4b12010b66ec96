//! Prometheus' text format, as far as it is needed here, by hand.
//!
//! A library would do: a collector of `prometheus-client` is asked at each scrape, so that nothing is counted twice, and
//! since 0.26 the crate writes this format. But all that it would take over is this file. Each family and sample would be
//! named in `metrics` as it is now, a collector must own all that it tells of, and what is not seen in a label would still
//! be shown by `untrusted`. So it would be as much code of ours, and half a dozen crates more. In the tests promtool says
//! whether the page is as the format wants it.

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
