//! sshd's configuration as its files have it: which conditions (`Match`) there are, which sshd does not tell, and what is
//! written of a key for whomever. What counts in the end is sshd's word.

use std::collections::VecDeque;
use std::fs;

use super::patterns;
use crate::guest::Guest;

/// The main file: the first that there is.
const FILES: [&str; 2] = ["/etc/ssh/sshd_config", "/usr/etc/ssh/sshd_config"];
/// Files without a slash at their start are in here.
const DIRECTORY: &str = "/etc/ssh";
/// Deepest file that includes another, as in sshd itself; most files, lines, and entries of a directory.
const DEEPEST: usize = 16;
const MOST_FILES: usize = 64;
const MOST_LINES: usize = 16_384;
const MOST_ENTRIES: usize = 1024;

/// What the files have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::checks) struct Written {
    lines: Vec<Line>,
    /// The blocks of `Match`, in their order.
    pub(super) blocks: Vec<Block>,
    files: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    keyword: String,
    words: Vec<String>,
    /// It is for some connections only.
    conditional: bool,
}

/// What is for some connections only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Block {
    /// As it is written: `Match User root`.
    pub(super) text: String,
    /// What must be true of a connection, that of the file which includes this one first.
    pub(super) conditions: Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    /// `user`, `address`, ...
    pub(super) criterion: String,
    pub(super) patterns: Vec<String>,
}

impl Written {
    pub(in crate::checks) fn read(guest: &Guest) -> Self {
        let mut written = Self::default();
        if let Some(file) = FILES.into_iter().find(|file| guest.has(file)) {
            written.file(guest, file, 0, &Block::default());
        }
        written
    }

    /// Whether something is for some connections only.
    pub(in crate::checks) fn has_conditions(&self) -> bool {
        !self.blocks.is_empty()
    }

    /// What counts of a key for all connections: what is written first.
    pub(in crate::checks) fn first(&self, keyword: &str) -> Option<String> {
        let line = self.lines.iter().find(|line| line.keyword == keyword && !line.conditional)?;
        Some(line.words.join(" "))
    }

    /// All that is written of a key, for whichever connections.
    pub(in crate::checks) fn all(&self, keyword: &str) -> Vec<String> {
        self.lines.iter().filter(|line| line.keyword == keyword).map(|line| line.words.join(" ")).collect()
    }

    /// One file. What its last `Match` says ends with it.
    fn file(&mut self, guest: &Guest, path: &str, depth: usize, outer: &Block) {
        self.files += 1;
        if depth > DEEPEST || self.files > MOST_FILES {
            return;
        }
        let text = guest.read(path).unwrap_or_default();
        let mut block = outer.clone();
        for line in text.lines() {
            let mut words = words(line);
            let Some(keyword) = words.pop_front() else { continue };
            if self.lines.len() == MOST_LINES {
                return;
            }
            match keyword.to_ascii_lowercase().as_str() {
                "include" => {
                    for file in words.iter().flat_map(|pattern| files(guest, pattern)) {
                        self.file(guest, &file, depth + 1, &block);
                    }
                }
                "match" => {
                    let said: Vec<&str> = words.iter().map(String::as_str).collect();
                    block = outer.clone();
                    block.text = format!("Match {}", said.join(" "));
                    block.conditions.extend(conditions(words));
                    self.blocks.push(block.clone());
                }
                keyword => self.lines.push(Line {
                    keyword: keyword.to_owned(),
                    words: words.into(),
                    conditional: !block.text.is_empty(),
                }),
            }
        }
    }
}

/// The words of a line: a key, an equals sign that may be there, and values, which quotation marks may hold together.
fn words(line: &str) -> VecDeque<String> {
    let line = line.trim();
    let end = line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len());
    let (keyword, rest) = line.split_at(end);
    if keyword.is_empty() || keyword.starts_with('#') {
        return VecDeque::new();
    }
    let rest = rest.trim_start();
    let mut rest = rest.strip_prefix('=').unwrap_or(rest);
    let mut words = VecDeque::from([keyword.to_owned()]);
    loop {
        rest = rest.trim_start();
        if rest.is_empty() || rest.starts_with('#') {
            return words;
        }
        let mut word = String::new();
        let mut quoted = false;
        let end = rest.find(|c: char| {
            let ends = c.is_whitespace() && !quoted;
            if c == '"' {
                quoted = !quoted;
            } else if !ends {
                word.push(c);
            }
            ends
        });
        words.push_back(word);
        rest = end.and_then(|end| rest.get(end..)).unwrap_or_default();
    }
}

/// `User root Address 10.0.0.0/8`, or with `=` between the words.
fn conditions(mut words: VecDeque<String>) -> Vec<Condition> {
    let mut conditions = Vec::new();
    while let Some(word) = words.pop_front() {
        let (criterion, list) = match word.split_once('=') {
            Some((criterion, list)) => (criterion.to_owned(), Some(list.to_owned())),
            None => (word, None),
        };
        let criterion = criterion.to_ascii_lowercase();
        // These two stand alone.
        let alone = ["all", "invalid-user"].contains(&criterion.as_str());
        let list = if alone { None } else { list.or_else(|| words.pop_front()) };
        let patterns = list.unwrap_or_default().split(',').map(str::to_owned).collect();
        conditions.push(Condition { criterion, patterns });
    }
    conditions
}

/// The files that an `Include` means. Only the last part of a path may be a pattern.
fn files(guest: &Guest, pattern: &str) -> Vec<String> {
    let path = if pattern.starts_with('/') { pattern.to_owned() } else { format!("{DIRECTORY}/{pattern}") };
    let Some((directory, name)) = path.rsplit_once('/') else { return Vec::new() };
    if !name.contains(['*', '?']) {
        return vec![path];
    }
    let entries = fs::read_dir(guest.path(directory)).into_iter().flatten().flatten().take(MOST_ENTRIES);
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> =
        names.filter(|entry| !entry.starts_with('.') && patterns::matches(entry, name)).collect();
    names.sort_unstable();
    names.into_iter().map(|name| format!("{directory}/{name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)]) -> Written {
        let root = tempfile::tempdir().unwrap();
        let guest = Guest::below(root.path());
        for (path, text) in files {
            fs::create_dir_all(guest.path(path).parent().unwrap()).unwrap();
            fs::write(guest.path(path), text).unwrap();
        }
        Written::read(&guest)
    }

    fn block(text: &str, conditions: &[(&str, &str)]) -> Block {
        let condition = |(criterion, list): &(&str, &str)| Condition {
            criterion: (*criterion).to_owned(),
            patterns: list.split(',').map(str::to_owned).collect(),
        };
        Block { text: text.to_owned(), conditions: conditions.iter().map(condition).collect() }
    }

    #[test]
    fn the_files_are_read_as_sshd_reads_them() {
        let written = read(&[
            (
                "/etc/ssh/sshd_config",
                "# Match User nobody\nInclude /etc/ssh/sshd_config.d/*.conf\nhostkey=/etc/ssh/site_key\n\
                 AuthorizedKeysFile \"/etc/ssh/keys of/%u\" .ssh/authorized_keys # both\n\
                 match  User root,!admin  Address 10.0.0.0/8\n  PermitRootLogin yes\n  Include inner\n\
                 Match Group=wheel\nAuthorizedKeysFile /x\n",
            ),
            ("/etc/ssh/sshd_config.d/20-a.conf", "Match all\nAuthorizedKeysFile /all\n"),
            ("/etc/ssh/sshd_config.d/30-b.conf", "HostKey /etc/ssh/other_key\n"),
            ("/etc/ssh/sshd_config.d/ignored", "Match User x\n"),
            ("/etc/ssh/inner", "Match User backup\n"),
        ]);
        assert_eq!(
            written.blocks,
            [
                block("Match all", &[("all", "")]),
                block(
                    "Match User root,!admin Address 10.0.0.0/8",
                    &[("user", "root,!admin"), ("address", "10.0.0.0/8")]
                ),
                block(
                    "Match User backup",
                    &[("user", "root,!admin"), ("address", "10.0.0.0/8"), ("user", "backup")]
                ),
                block("Match Group=wheel", &[("group", "wheel")]),
            ]
        );
        assert_eq!(written.all("hostkey"), ["/etc/ssh/other_key", "/etc/ssh/site_key"]);
        let first = written.first("authorizedkeysfile");
        assert_eq!(
            first.as_deref(),
            Some("/etc/ssh/keys of/%u .ssh/authorized_keys"),
            "not that of Match all"
        );
        assert_eq!(written.all("authorizedkeysfile").len(), 3);
    }

    #[test]
    fn files_that_include_each_other_end() {
        let written = read(&[("/usr/etc/ssh/sshd_config", "Include /usr/etc/ssh/sshd_config\nPort 2\n")]);
        assert_eq!(written.first("port").as_deref(), Some("2"));
        assert_eq!(read(&[]), Written::default());
    }
}
