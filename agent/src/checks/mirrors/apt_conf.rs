//! apt's configuration, apt.conf(5), for the proxies in it.

use std::fs;

use super::Via;
use crate::checks::internet::Target;
use crate::guest::Guest;

const FOLDER: &str = "/etc/apt/apt.conf.d";
/// Deepest nesting that is followed.
const DEEPEST: usize = 16;

/// Names, in small letters and with their scopes (`acquire::http::proxy`), and values in the order of the files.
#[derive(Debug, Default)]
pub(super) struct Configuration {
    values: Vec<(String, String)>,
}

impl Configuration {
    /// The files in the order in which apt reads them; the later ones count.
    pub(super) fn of(guest: &Guest) -> Self {
        let mut configuration = Self::default();
        let entries = fs::read_dir(guest.path(FOLDER)).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            // apt reads those without an extension, and `.conf`.
            .filter(|name| name.rsplit_once('.').is_none_or(|(_, last)| last == "conf"))
            .collect();
        names.sort();
        let files = names.into_iter().map(|name| format!("{FOLDER}/{name}"));
        for file in files.chain(["/etc/apt/apt.conf".to_owned()]) {
            configuration.read(&guest.read(file).unwrap_or_default());
        }
        configuration
    }

    /// How apt goes to an address: by the entry of its host, else by that of its scheme; what https has none of, http
    /// may have.
    pub(super) fn via(&self, address: &str) -> Via {
        let Ok(target) = Target::parse(address) else { return Via::Direct };
        let methods: &[&str] = if address.starts_with("https:") { &["https", "http"] } else { &["http"] };
        let find =
            |name: &str| methods.iter().find_map(|method| self.value(&format!("acquire::{method}::{name}")));
        let host = target.host.to_ascii_lowercase();
        match find(&format!("proxy::{host}")).or_else(|| find("proxy")) {
            Some(proxy) if proxy.eq_ignore_ascii_case("DIRECT") => return Via::Direct,
            Some(proxy) => return Via::of(proxy),
            None => {}
        }
        match find("proxy-auto-detect").or_else(|| find("proxyautodetect")) {
            Some(program) => Via::Unknown(format!("the proxy that the program {program} finds")),
            None => Via::Direct,
        }
    }

    fn value(&self, name: &str) -> Option<&str> {
        let (_, value) = self.values.iter().rev().find(|(known, _)| known == name)?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    /// `Name "value";`, `Name { ... };` and `Scope::Name "value";`, in any mixture.
    pub(super) fn read(&mut self, text: &str) {
        let mut scopes: Vec<String> = Vec::new();
        let mut words: Vec<String> = Vec::new();
        for token in tokens(text) {
            match token {
                Token::Word(word) => words.push(word),
                Token::Open => {
                    scopes.push(words.first().cloned().unwrap_or_default().to_ascii_lowercase());
                    scopes.truncate(DEEPEST);
                    words.clear();
                }
                Token::Close => {
                    scopes.pop();
                    words.clear();
                }
                Token::End => {
                    self.statement(&scopes, &words);
                    words.clear();
                }
            }
        }
    }

    fn statement(&mut self, scopes: &[String], words: &[String]) {
        let full = |name: &str| {
            let name = name.to_ascii_lowercase();
            scopes.iter().map(String::as_str).chain([name.as_str()]).collect::<Vec<_>>().join("::")
        };
        match words {
            [clear, name] if clear.eq_ignore_ascii_case("#clear") => {
                let (name, below) = (full(name), format!("{}::", full(name)));
                self.values.retain(|(known, _)| *known != name && !known.starts_with(&below));
            }
            [name, value] => self.values.push((full(name), value.clone())),
            _ => {}
        }
    }
}

enum Token {
    Word(String),
    Open,
    Close,
    End,
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after = rest.get(first.len_utf8()..).unwrap_or_default();
        let comment = rest.starts_with("//") || (first == '#' && !starts_with_clear(rest));
        rest = if comment {
            rest.split_once('\n').map_or("", |(_, rest)| rest)
        } else if rest.starts_with("/*") {
            rest.split_once("*/").map_or("", |(_, rest)| rest)
        } else if first == '"' {
            let (word, rest) = after.split_once('"').unwrap_or((after, ""));
            tokens.push(Token::Word(word.to_owned()));
            rest
        } else if first.is_whitespace() {
            after
        } else if let Some(token) = punctuation(first) {
            tokens.push(token);
            after
        } else {
            let ends = |c: char| c.is_whitespace() || punctuation(c).is_some() || c == '"';
            let length = rest.find(ends).unwrap_or(rest.len());
            let (word, rest) = rest.split_at_checked(length).unwrap_or((rest, ""));
            tokens.push(Token::Word(word.to_owned()));
            rest
        };
    }
    tokens
}

fn starts_with_clear(text: &str) -> bool {
    text.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("#clear"))
}

fn punctuation(c: char) -> Option<Token> {
    match c {
        '{' => Some(Token::Open),
        '}' => Some(Token::Close),
        ';' => Some(Token::End),
        _ => None,
    }
}
