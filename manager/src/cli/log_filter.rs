//! `--log`: what is logged. Strict: a word that tracing-subscriber would take for the name of a part, and so for
//! silence about all the others, is a mistake.

use std::str::FromStr;

/// disk-image-builder's output.
const DIB: &str = "dib";
/// No level for everything, but for a part.
const OFF: &str = "off";
/// The levels, from the least to the most.
const LEVELS: [&str; 6] = [OFF, "error", "warn", "info", "debug", "trace"];
/// What people say for a level, too.
const ALIASES: [(&str, &str); 2] = [("warning", "warn"), ("err", "error")];
/// What can be named: the program, disk-image-builder's output, and the libraries that log by `tracing`.
const TARGETS: [&str; 11] = [
    "image_manager",
    "image_manager_agent",
    DIB,
    "h2",
    "hyper",
    "hyper_util",
    "openstack",
    "osauth",
    "tokio_cron_scheduler",
    "tonic",
    "tower",
];

/// A level for all, and levels of parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogFilter {
    general: Option<&'static str>,
    parts: Vec<(String, &'static str)>,
}

impl LogFilter {
    /// Whether it says what of disk-image-builder's output is logged.
    pub(crate) fn names_dib(&self) -> bool {
        self.parts.iter().any(|(target, _)| target.split("::").next() == Some(DIB))
    }

    /// As tracing-subscriber reads it. Where only parts were named, the others log as by `default`.
    pub(crate) fn directives(&self, default: &str) -> String {
        let parts = self.parts.iter().map(|(target, level)| format!("{target}={level}"));
        let all: Vec<String> =
            std::iter::once(self.general.unwrap_or(default).to_owned()).chain(parts).collect();
        all.join(",")
    }
}

impl FromStr for LogFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut filter = Self { general: None, parts: Vec::new() };
        for directive in text.split(',').map(str::trim) {
            if let Some((target, level)) = directive.split_once('=') {
                let target = target.trim();
                check_target(target)?;
                if filter.parts.iter().any(|(named, _)| named == target) {
                    return Err(format!("2 levels are given for {target:?}: leave one out"));
                }
                filter.parts.push((target.to_owned(), level_of(level.trim())?));
                continue;
            }
            let level = level_of(directive)?;
            if level == OFF {
                return Err(
                    "off would silence errors too; expected error for the least, or off for one part only, \
                            such as \"info,h2=off\""
                        .to_owned(),
                );
            }
            if let Some(first) = filter.general.replace(level) {
                return Err(format!(
                    "2 levels are given for everything, {first} and {level}: leave one out, or name a part, such as \
                     dib={level}"
                ));
            }
        }
        Ok(filter)
    }
}

/// A level by its name, whatever the case.
fn level_of(word: &str) -> Result<&'static str, String> {
    let lower = word.to_lowercase();
    let name = ALIASES.iter().find(|(alias, _)| *alias == lower).map_or(lower.as_str(), |(_, level)| level);
    if let Some(level) = LEVELS.iter().find(|level| **level == name) {
        return Ok(level);
    }
    let wrong = match word {
        "" => "a level is missing".to_owned(),
        word if check_target(word).is_ok() => {
            format!("{word} is not a level; for that part alone: {word}=info")
        }
        word => format!("{word:?} is not a level"),
    };
    Err(format!("{wrong}; expected error, warn, info, debug or trace, or a filter such as \"info,dib=info\""))
}

/// A part that can log: a word that stands for nothing would do nothing.
fn check_target(target: &str) -> Result<(), String> {
    let root = target.split("::").next().unwrap_or_default();
    if TARGETS.contains(&root) && target.split("::").all(is_name) {
        return Ok(());
    }
    Err(format!(
        "nothing here logs as {target:?}; expected dib (disk-image-builder's output), image_manager or one of its \
         modules such as image_manager::cloud, or a library ({}), as in \"info,dib=info\"",
        TARGETS.get(3..).unwrap_or_default().join(", ")
    ))
}

fn is_name(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::EnvFilter;

    use super::*;

    fn read(text: &str) -> String {
        text.parse::<LogFilter>().unwrap().directives("info")
    }

    #[test]
    fn levels_are_known_by_all_their_names() {
        for (said, meant) in [
            ("warning", "warn"),
            ("WARN", "warn"),
            ("Error", "error"),
            ("err", "error"),
            ("info,dib=warning", "info,dib=warn"),
            (" debug , image_manager::cloud = trace ", "debug,image_manager::cloud=trace"),
        ] {
            assert_eq!(read(said), meant, "{said}");
            EnvFilter::builder().parse(read(said)).unwrap();
        }
    }

    #[test]
    fn a_part_by_itself_silences_no_other() {
        assert_eq!(read("dib=off"), "info,dib=off");
        assert_eq!("dib=debug".parse::<LogFilter>().unwrap().directives("error"), "error,dib=debug");
    }

    #[test]
    fn the_output_of_dib_is_asked_for_by_name() {
        let asked = |text: &str| text.parse::<LogFilter>().unwrap().names_dib();
        assert!(asked("dib=info") && asked("info,dib=off"));
        assert!(!asked("trace") && !asked("info,h2=debug"));
    }

    #[test]
    fn what_would_be_silence_by_accident_is_a_mistake() {
        for (said, hint) in [
            ("", "a level is missing"),
            (",", "a level is missing"),
            ("info,", "a level is missing"),
            ("loud", "\"loud\" is not a level"),
            ("none", "is not a level"),
            ("off", "off would silence errors"),
            ("OFF,dib=info", "off would silence errors"),
            ("0", "is not a level"),
            ("warnings", "expected error, warn, info"),
            ("dib", "dib=info"),
            ("info,warn", "2 levels are given for everything, info and warn"),
            ("dib=info,dib=warn", "2 levels are given for \"dib\""),
            ("info,dib=loud", "\"loud\" is not a level"),
            ("info,dib=", "a level is missing"),
            ("info,dbi=warn", "nothing here logs as \"dbi\""),
            ("info,=warn", "nothing here logs as \"\""),
            ("info,dib[x]=warn", "nothing here logs as \"dib[x]\""),
            ("info dib=warn", "nothing here logs as \"info dib\""),
        ] {
            let wrong = said.parse::<LogFilter>().unwrap_err();
            assert!(
                wrong.contains(hint) && (wrong.contains("\"info,") || wrong.contains("2 levels")),
                "{said}: {wrong}"
            );
        }
    }
}
