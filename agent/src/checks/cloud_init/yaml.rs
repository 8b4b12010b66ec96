//! Whether `PyYAML`'s `safe_load` makes a mapping of a text. Its grammar is `yaml-rust2`'s; what is grammatical and has
//! no meaning to `PyYAML` is looked for in the parser's events.

use yaml_rust2::parser::{Event, Parser, Tag};
use yaml_rust2::scanner::{Marker, TScalarStyle};

use crate::text;

/// Deepest nesting that is followed; `PyYAML` itself gives up at some hundred.
const DEEPEST: usize = 200;
/// What `safe_load` makes something of, and cloud-init beside it.
const TAGS: [&str; 13] = [
    "null",
    "bool",
    "int",
    "float",
    "binary",
    "timestamp",
    "omap",
    "pairs",
    "set",
    "str",
    "seq",
    "map",
    "python/unicode",
];
const STANDARD: &str = "tag:yaml.org,2002:";

/// Why a text cannot be read.
#[derive(Debug, PartialEq)]
pub(super) enum Trouble {
    /// It is not YAML by the grammar.
    Syntax(String),
    /// It is YAML, and not what cloud-init takes.
    Meaning(String),
}

/// Whether cloud-init can read this text. Nothing but comments can be read, and so can a template, which becomes a
/// text only with the instance's data.
pub(super) fn look(text: &str) -> Result<(), Trouble> {
    if is_template(text) {
        return Ok(());
    }
    if let Some(c) = text.chars().find(|c| !is_printable(*c)) {
        let line = 1 + text.split(c).next().unwrap_or_default().matches('\n').count();
        return Err(Trouble::Meaning(format!(
            "line {line} contains the unprintable character U+{:04X}",
            u32::from(c)
        )));
    }
    let mut reader = Reader::default();
    read(text, &mut reader)?;
    reader.trouble.map_or(Ok(()), |why| Err(Trouble::Meaning(why)))
}

/// The text of a key at the top.
pub(super) fn top_level_value(text: &str, key: &str) -> Result<Option<String>, Trouble> {
    let mut reader = Reader { wanted: key.to_owned(), ..Reader::default() };
    read(text, &mut reader)?;
    Ok(reader.found.map(|found| found.trim().to_owned()).filter(|found| found.starts_with('/')))
}

fn read(text: &str, reader: &mut Reader) -> Result<(), Trouble> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parser = Parser::new_from_str(text);
    // Event by event: the parser's own `load` calls itself for each level, and a file may have more of them than the
    // stack has room for.
    loop {
        let (event, mark) = parser.next_token().map_err(|error| {
            let at = error.marker();
            let (line, column) = (at.line(), at.col() + 1);
            Trouble::Syntax(format!("line {line}, column {column}: {}", text::one_line(error.info())))
        })?;
        let ends = event == Event::StreamEnd;
        reader.on_event(event, mark);
        if reader.levels.len() > DEEPEST {
            return Err(Trouble::Meaning(format!(
                "line {}: nested too deeply (more than {DEEPEST} levels)",
                mark.line()
            )));
        }
        if ends {
            return Ok(());
        }
    }
}

/// `## template: jinja`, as cloud-init looks for it.
fn is_template(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    let Some(rest) = first.strip_prefix("##") else { return false };
    let rest = rest.trim_start().to_ascii_lowercase();
    rest.strip_prefix("template:").is_some_and(|kind| kind.trim() == "jinja")
}

/// What `PyYAML` takes for text.
fn is_printable(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..)
}

/// A mapping or a sequence that is open.
#[derive(Default)]
struct Level {
    is_mapping: bool,
    /// The next node is a key.
    at_key: bool,
    /// The key that was read last, where it was plain text.
    key: Option<String>,
}

#[derive(Default)]
struct Reader {
    levels: Vec<Level>,
    documents: usize,
    trouble: Option<String>,
    /// A key at the top whose value is asked for.
    wanted: String,
    found: Option<String>,
}

impl Reader {
    fn complain(&mut self, mark: Marker, why: impl std::fmt::Display) {
        self.trouble.get_or_insert_with(|| format!("line {}: {why}", mark.line()));
    }

    /// A node begins. `plain`: its text, when it is a scalar without quotation marks.
    fn node(&mut self, mark: Marker, collection: bool, plain: Option<&str>) {
        let depth = self.levels.len();
        let Some(level) = self.levels.last_mut() else {
            let is_null = plain.is_some_and(|text| ["", "~", "null", "Null", "NULL"].contains(&text));
            if !collection && !is_null {
                self.complain(mark, "text, where cloud-init expects a mapping (`key: value`)");
            }
            return;
        };
        if !level.is_mapping {
            return;
        }
        level.at_key = !level.at_key;
        if !level.at_key {
            level.key = plain.map(str::to_owned);
            if collection {
                self.complain(mark, "a key that is a mapping or a list (as `{{ ... }}` is)");
            }
            return;
        }
        let key = level.key.take();
        if key.as_deref() == Some("<<") && plain.is_some() {
            self.complain(mark, "`<<` needs a mapping");
        } else if depth == 1 && key.as_ref().is_some_and(|key| *key == self.wanted) {
            self.found = plain.map(str::to_owned);
        }
    }

    fn open(&mut self, mark: Marker, is_mapping: bool) {
        if self.levels.is_empty() && !is_mapping {
            self.complain(mark, "a list, where cloud-init expects a mapping (`key: value`)");
        }
        self.node(mark, true, None);
        self.levels.push(Level { is_mapping, at_key: is_mapping, key: None });
    }

    fn tag(&mut self, mark: Marker, tag: Option<&Tag>) {
        let Some(tag) = tag else { return };
        let whole = format!("{}{}", tag.handle, tag.suffix);
        let known = whole == "!" || whole.strip_prefix(STANDARD).is_some_and(|name| TAGS.contains(&name));
        if !known {
            self.complain(mark, format_args!("the tag `{}` is unknown", text::one_line(&whole)));
        }
    }
}

impl Reader {
    fn on_event(&mut self, event: Event, mark: Marker) {
        match event {
            Event::DocumentStart => {
                self.documents += 1;
                if self.documents > 1 {
                    self.complain(mark, "a second document, where cloud-init expects one");
                }
            }
            Event::Scalar(value, style, _, tag) => {
                let plain = style == TScalarStyle::Plain;
                self.tag(mark, tag.as_ref());
                if plain && tag.is_none() && value == "=" {
                    self.complain(mark, "`=` without quotation marks");
                }
                if plain && tag.is_none() && is_no_day(&value) {
                    self.complain(mark, format_args!("{value} is not a date; put it in quotation marks"));
                }
                let shown = (plain || self.levels.len() == 1).then_some(value.as_str());
                self.node(mark, false, shown);
            }
            Event::Alias(_) => self.node(mark, false, None),
            Event::SequenceStart(_, tag) => {
                self.tag(mark, tag.as_ref());
                self.open(mark, false);
            }
            Event::MappingStart(_, tag) => {
                self.tag(mark, tag.as_ref());
                self.open(mark, true);
            }
            Event::SequenceEnd | Event::MappingEnd => drop(self.levels.pop()),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
    }
}

/// Looks like a date and is none: `PyYAML` makes a date of it, and fails.
fn is_no_day(text: &str) -> bool {
    let [year, month, day] = text.split('-').collect::<Vec<_>>()[..] else { return false };
    let digits = |part: &str, length| part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(year, 4) || !digits(month, 2) || !digits(day, 2) {
        return false;
    }
    let number = |part: &str| part.parse::<u32>().unwrap_or_default();
    let (year, month, day) = (number(year), number(month), number(day));
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 0,
    };
    year == 0 || day == 0 || day > longest
}

#[cfg(test)]
mod tests {
    use super::*;

    const READABLE: &[&str] = &[
        "",
        "# nothing\n",
        "---\n",
        "~\n",
        "a: 1\na: 2\n",
        "\u{feff}a: 1\n",
        "---\na: &x [1]\nb: *x\n...\n",
        "base: &b {k: v}\nother:\n  <<: *b\n  <<: [*b]\n",
        "a: !!str 1\nb: !!binary aGk=\nc: ! x\nd: !!python/unicode x\n",
        "? a\n: b\n",
        "when: 2024-02-29\n\"2023-02-30\": '2023-02-30'\n",
        "users:\n- default\n- name: x\n  lock_passwd: true\nruncmd:\n  - [ls, -l]\n  - |\n    two\n    lines\n",
        "datasource_list: [ ConfigDrive, OpenStack, None ]\n",
        "## template: jinja\n{% if x %}\na: {{ x }}\n{% endif %}\n",
    ];

    const UNREADABLE: &[(&str, &str)] = &[
        ("a: [1, 2\n", "line"),
        ("a: b: c\n", "line 1"),
        ("users:\n\t- x\n", "line 2"),
        ("- a\n- b\n", "line 1: a list"),
        ("just words\n", "line 1: text"),
        ("'~'\n", "line 1: text"),
        ("a: 1\n---\nb: 2\n", "line 2: a second document"),
        ("a: *nobody\n", "line 1"),
        ("a: !vault x\n", "line 1: the tag `!vault`"),
        ("{{ a }}: 1\n", "line 1: a key that is"),
        ("? [a]\n: b\n", "line 1: a key that is"),
        ("a: {<<: text}\n", "line 1: `<<` needs"),
        ("a: =\n", "line 1: `=`"),
        ("day: 2023-02-30\n", "2023-02-30 is not a date"),
        ("a: 1\nb: \u{1}\n", "line 2 contains the unprintable character U+0001"),
        ("a: \"open\n", "line"),
    ];

    #[test]
    fn what_cloud_init_takes_is_readable() {
        for text in READABLE {
            assert_eq!(look(text), Ok(()), "{text:?}");
        }
    }

    #[test]
    fn what_cloud_init_does_not_take_is_named() {
        for (text, why) in UNREADABLE {
            let (Trouble::Syntax(found) | Trouble::Meaning(found)) = look(text).expect_err(text);
            assert!(found.contains(why), "{text:?}: {found}");
        }
    }

    #[test]
    fn a_file_that_is_too_deep_is_one_that_cannot_be_read() {
        let most = 200_000;
        let deep = [
            "- ".repeat(most),
            format!("a:\n  {}", "- ".repeat(most)),
            "? ".repeat(most),
            format!("a: {}", "[".repeat(most)),
            format!("a: {}", "{b: ".repeat(most)),
            (0..2000).map(|level| " ".repeat(level) + "k:\n").collect(),
        ];
        for text in deep {
            let start: String = text.chars().take(12).collect();
            // As the agent's threads have it.
            let looked = std::thread::Builder::new().stack_size(1 << 20).spawn(move || {
                let (Trouble::Syntax(why) | Trouble::Meaning(why)) = look(&text).unwrap_err();
                assert!(top_level_value(&text, "conf_d").is_err());
                why
            });
            let why = looked.unwrap().join().unwrap();
            assert!(why.contains("nested too deeply") || why.contains("recursion"), "{start:?}: {why}");
        }
        let fine = format!("a: {}x{}\n", "[".repeat(DEEPEST - 2), "]".repeat(DEEPEST - 2));
        assert_eq!(look(&fine), Ok(()));
    }

    #[test]
    fn the_folder_may_be_named() {
        assert_eq!(top_level_value("a: {conf_d: /x}\nconf_d: /y\n", "conf_d"), Ok(Some("/y".to_owned())));
        assert_eq!(top_level_value("a: {conf_d: /x}\n", "conf_d"), Ok(None));
    }

    /// The same texts through the real `PyYAML`, where the machine has it.
    #[test]
    fn it_agrees_with_pyyaml() {
        let program = "import sys, yaml\nyaml.SafeLoader.add_constructor('tag:yaml.org,2002:python/unicode', \
            yaml.SafeLoader.construct_scalar)\nd = yaml.safe_load(sys.argv[1])\nassert d is None or isinstance(d, dict)";
        let accepts = |text: &str| {
            let run = std::process::Command::new("python3").args(["-c", program, text]).output();
            run.is_ok_and(|run| run.status.success())
        };
        if !accepts("") {
            return;
        }
        for text in READABLE.iter().filter(|text| !is_template(text)) {
            assert!(accepts(text), "PyYAML refuses {text:?}");
        }
        for (text, _) in UNREADABLE {
            assert!(!accepts(text), "PyYAML reads {text:?}");
        }
    }
}
