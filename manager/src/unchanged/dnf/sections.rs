//! The form of dnf's files: sections of options.

use crate::unchanged::Doubt;

/// Most sections of one file.
const MOST: usize = 128;

/// A section with its options. Their names are read as dnf does: another case is another option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) options: Vec<(String, String)>,
}

impl Section {
    /// An option's value; of several the last counts.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.options.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The words of a list.
    pub(super) fn words(&self, name: &str) -> impl Iterator<Item = &str> {
        let value = self.value(name).unwrap_or_default();
        value.split([' ', '\t', '\n', ',']).filter(|word| !word.is_empty())
    }

    /// Whether an option is on, or what it is where that is not said.
    pub(super) fn flag(&self, name: &str, otherwise: bool) -> Result<bool, Doubt> {
        match self.value(name).map(str::to_lowercase).as_deref() {
            None => Ok(otherwise),
            Some("1" | "yes" | "true" | "on") => Ok(true),
            Some("0" | "no" | "false" | "off") => Ok(false),
            Some(value) => Err(Doubt::NotAsked(format!("{name} of [{}] is {value:?}", self.name))),
        }
    }
}

/// `[name]`, then `option=value`, values going on in lines that begin with a blank.
pub(super) fn parse(path: &str, text: &str) -> Result<Vec<Section>, Doubt> {
    let mut sections: Vec<Section> = Vec::new();
    for line in text.lines() {
        let strange = || Doubt::NotAsked(format!("{path}: the line {line:?} is not understood"));
        if line.trim().is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            let name = rest.trim_end().strip_suffix(']').ok_or_else(strange)?;
            sections.push(Section { name: name.to_owned(), options: Vec::new() });
            if sections.len() > MOST {
                return Err(Doubt::NotAsked(format!("{path} has over {MOST} sections")));
            }
            continue;
        }
        let options = &mut sections.last_mut().ok_or_else(strange)?.options;
        if line.starts_with([' ', '\t']) {
            let (_, value) = options.last_mut().ok_or_else(strange)?;
            value.push('\n');
            value.push_str(line.trim());
        } else {
            let (name, value) = line.split_once('=').ok_or_else(strange)?;
            options.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    Ok(sections)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_read_and_strange_lines_are_doubted() {
        let text = "# x\n; y\n[main]\nbest = True\n[a]\nbaseurl=http://a.example/\n\thttp://b.example/\nenabled=0\nenabled=1\n";
        let sections = parse("x", text).unwrap();
        assert_eq!(sections.iter().map(|section| section.name.as_str()).collect::<Vec<_>>(), ["main", "a"]);
        assert_eq!(sections[0].flag("best", false), Ok(true));
        assert_eq!(
            sections[1].words("baseurl").collect::<Vec<_>>(),
            ["http://a.example/", "http://b.example/"]
        );
        assert_eq!(
            (sections[1].flag("enabled", false), sections[1].flag("other", true)),
            (Ok(true), Ok(true))
        );
        for bad in
            ["a=b\n", "[x\n", "[x]\nnonsense\n", "[x]\n on\n", "%include x\n", "[x]\n%include /etc/x\n"]
        {
            assert!(parse("x", bad).is_err(), "{bad}");
        }
        assert!(parse("x", "[x]\nenabled=perhaps\n").unwrap()[0].flag("enabled", true).is_err());
    }
}
