//! Where the image's packages come from, in both forms that apt reads: one line each, and stanzas. Read here and written
//! anew; what is not known to be harmless is not asked.

use std::fmt::Write as _;

use reqwest::Url;

use super::text;
use crate::unchanged::status::is_plain;
use crate::unchanged::{Doubt, Kept, Origins};

/// Most sources, with one suite each.
const MOST: usize = 64;
/// Options by which nothing is asked that would not be asked without them.
const WITHOUT_EFFECT: [&str; 8] =
    ["languages", "lang", "by-hash", "pdiffs", "x-repolib-name", "description", "enabled", "types"];

/// The packages of one suite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    address: Url,
    suite: String,
    components: Vec<String>,
    architectures: Vec<String>,
    pub(super) keys: Option<Keys>,
}

/// What a source's signature is verified with, where it says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Keys {
    /// Files of the image.
    Files(Vec<String>),
    /// The key itself, in armour.
    Armoured(String),
}

/// An entry as it is written: its fields by lower-case names.
struct Entry(Vec<(String, String)>);

impl Entry {
    fn words(&self, names: &[&str]) -> Vec<&str> {
        let values = self.0.iter().filter(|(name, _)| names.contains(&name.as_str()));
        values
            .flat_map(|(_, value)| value.split([' ', '\t', '\n', ',']))
            .filter(|word| !word.is_empty())
            .collect()
    }

    fn is_used(&self) -> bool {
        let off = ["no", "false", "without", "off", "disable"];
        let enabled = !self.words(&["enabled"]).iter().any(|word| off.contains(word));
        // Sources of programs are not in an image.
        enabled && self.words(&["types"]).contains(&"deb")
    }
}

/// The sources that the image asks.
pub(super) fn of(kept: &Kept, origins: &Origins) -> Result<Vec<Source>, Doubt> {
    let mut sources = Vec::new();
    for entry in entries(kept)?.iter().filter(|entry| entry.is_used()) {
        source(entry, origins, &mut sources)?;
        if sources.len() > MOST {
            return Err(Doubt::NotAsked(format!("there are over {MOST}")));
        }
    }
    if sources.is_empty() {
        return Err(Doubt::NotAsked("there are none".to_owned()));
    }
    Ok(sources)
}

/// The keyrings that sources name, so that they are kept too; of what cannot be read none.
pub(crate) fn keyrings_named(kept: &Kept) -> Vec<String> {
    let entries = entries(kept).unwrap_or_default();
    let named = entries.iter().filter_map(|entry| keys(entry).ok().flatten());
    let mut files: Vec<String> = named
        .filter_map(|keys| match keys {
            Keys::Files(files) => Some(files),
            Keys::Armoured(_) => None,
        })
        .flatten()
        .collect();
    files.sort_unstable();
    files.dedup();
    files
}

fn entries(kept: &Kept) -> Result<Vec<Entry>, Doubt> {
    let mut entries = lines(text(kept, "/etc/apt/sources.list")?)?;
    let directory = "/etc/apt/sources.list.d";
    for (name, _) in kept.directory(directory) {
        let text = text(kept, &format!("{directory}/{name}"))?;
        // apt reads no others, nor what is hidden.
        match name.rsplit_once('.') {
            Some((stem, "list")) if !stem.is_empty() => entries.extend(lines(text)?),
            Some((stem, "sources")) if !stem.is_empty() => entries.extend(stanzas(text)?),
            _ => {}
        }
    }
    Ok(entries)
}

/// `deb [option=value ...] address suite component...`
fn lines(text: &str) -> Result<Vec<Entry>, Doubt> {
    let mut entries = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let strange = || Doubt::NotAsked(format!("the source {line:?} is not understood"));
        let (kind, rest) = line.split_once([' ', '\t']).ok_or_else(strange)?;
        let mut fields = vec![("types".to_owned(), kind.to_owned())];
        let mut rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix('[') {
            let (options, after) = after.split_once(']').ok_or_else(strange)?;
            for option in options.split_whitespace() {
                let (name, value) = option.split_once('=').ok_or_else(strange)?;
                fields.push((name.to_lowercase(), value.to_owned()));
            }
            rest = after;
        }
        let mut words = rest.split_whitespace();
        let (address, suite) = words.next().zip(words.next()).ok_or_else(strange)?;
        fields.extend([("uris".to_owned(), address.to_owned()), ("suites".to_owned(), suite.to_owned())]);
        fields.push(("components".to_owned(), words.collect::<Vec<_>>().join(" ")));
        entries.push(Entry(fields));
    }
    Ok(entries)
}

/// `Name: value`, values going on in lines that begin with a blank, stanzas apart by an empty line.
fn stanzas(text: &str) -> Result<Vec<Entry>, Doubt> {
    let mut entries = vec![Entry(Vec::new())];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let last = entries.last_mut().map(|entry| &mut entry.0);
        let Some(fields) = last else { continue };
        if line.trim().is_empty() {
            entries.push(Entry(Vec::new()));
        } else if line.starts_with([' ', '\t']) {
            let strange = || Doubt::NotAsked(format!("the line {line:?} of a source is not understood"));
            let (_, value) = fields.last_mut().ok_or_else(strange)?;
            value.push('\n');
            value.push_str(line.trim());
        } else {
            let strange = || Doubt::NotAsked(format!("the line {line:?} of a source is not understood"));
            let (name, value) = line.split_once(':').ok_or_else(strange)?;
            fields.push((name.trim().to_lowercase(), value.trim().to_owned()));
        }
    }
    entries.retain(|entry| !entry.0.is_empty());
    Ok(entries)
}

/// One source for each address and suite of an entry.
fn source(entry: &Entry, origins: &Origins, sources: &mut Vec<Source>) -> Result<(), Doubt> {
    const READ: [&str; 7] = ["uris", "suites", "components", "signed-by", "arch", "architectures", "types"];
    let known = |name: &str| READ.contains(&name) || WITHOUT_EFFECT.contains(&name);
    if let Some((name, value)) = entry.0.iter().find(|(name, _)| !known(name)) {
        return Err(Doubt::NotAsked(format!("a source has the option {name}={value}")));
    }
    let keys = keys(entry)?;
    let owned = |words: Vec<&str>| words.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let architectures = owned(entry.words(&["arch", "architectures"]));
    let components = owned(entry.words(&["components"]));
    let addresses = entry.words(&["uris"]);
    for address in addresses {
        let refused = |why: &str| Doubt::NotAsked(format!("{address} {why}"));
        let url = Url::parse(address).map_err(|error| refused(&format!("is not an address: {error}")))?;
        let bare = url.username().is_empty() && url.password().is_none();
        if !bare || url.query().is_some() || url.fragment().is_some() {
            return Err(Doubt::NotAsked("the address of a source has more than a path".to_owned()));
        }
        if !origins.has(&url) {
            return Err(refused("is not on a server that the schedule, this host or the distribution names"));
        }
        for suite in entry.words(&["suites"]) {
            let words = components.iter().chain(&architectures).map(String::as_str).chain([suite]);
            if let Some(word) = words.into_iter().find(|word| !is_plain(word, "+-._~/")) {
                return Err(refused(&format!("is asked for {word:?}, which is not understood")));
            }
            sources.push(Source {
                address: url.clone(),
                suite: suite.to_owned(),
                components: components.clone(),
                architectures: architectures.clone(),
                keys: keys.clone(),
            });
        }
    }
    Ok(())
}

fn keys(entry: &Entry) -> Result<Option<Keys>, Doubt> {
    let Some((_, value)) = entry.0.iter().find(|(name, _)| name == "signed-by") else { return Ok(None) };
    if value.contains("-----BEGIN PGP PUBLIC KEY BLOCK-----") {
        // An empty line of it is written as a point.
        let lines = value.trim().lines().map(|line| if line == "." { "" } else { line });
        return Ok(Some(Keys::Armoured(lines.collect::<Vec<_>>().join("\n") + "\n")));
    }
    let files: Vec<String> = entry.words(&["signed-by"]).into_iter().map(str::to_owned).collect();
    if files.is_empty() || files.iter().any(|file| !file.starts_with('/')) {
        return Err(Doubt::NotAsked(format!("the key {value:?} of a source is not a file")));
    }
    Ok(Some(Keys::Files(files)))
}

/// The sources in apt's form of stanzas; `files` are where the keys of each are.
pub(super) fn written(sources: &[Source], files: &[Vec<String>]) -> String {
    let mut out = String::new();
    for (source, keys) in sources.iter().zip(files) {
        // Writing to a string does not fail.
        let _ = writeln!(out, "Types: deb\nURIs: {}\nSuites: {}", source.address, source.suite);
        let lists = [
            ("Components", &source.components),
            ("Architectures", &source.architectures),
            ("Signed-By", keys),
        ];
        for (name, words) in lists.iter().filter(|(_, words)| !words.is_empty()) {
            let _ = writeln!(out, "{name}: {}", words.join(if *name == "Signed-By" { ", " } else { " " }));
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unchanged::{Family, KeptFile};

    fn read(path: &str, text: &str) -> Result<Vec<Source>, Doubt> {
        let file = KeptFile { path: path.into(), content: text.into() };
        let origins = Origins::of_distributions().and("http://mirror.example/");
        of(&Kept::new(Family::Dpkg, vec![file], Vec::new()).unwrap(), &origins)
    }

    #[test]
    fn both_forms_mean_the_same() {
        let line = "deb [signed-by=/k.gpg arch=amd64,arm64] http://mirror.example/debian bookworm main contrib # x\n\
                    deb-src http://elsewhere.example/ x main\n# deb nonsense\n";
        let stanza = "# x\nTypes: deb deb-src\nURIs: http://mirror.example/debian\nSuites: bookworm\nComponents: main\n contrib\n\
                      Architectures: amd64 arm64\nSigned-By: /k.gpg\n\nTypes: deb\nEnabled: no\nURIs: file:/x\nSuites: x\n";
        let lines = read("/etc/apt/sources.list", line).unwrap();
        assert_eq!(lines, read("/etc/apt/sources.list.d/debian.sources", stanza).unwrap());
        assert_eq!(
            written(&lines, &[vec!["/root/0.gpg".into()]]),
            "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\nComponents: main contrib\n\
             Architectures: amd64 arm64\nSigned-By: /root/0.gpg\n\n"
        );
    }

    #[test]
    fn a_key_may_be_in_the_source() {
        let text = "Types: deb\nURIs: http://mirror.example/debian\nSuites: x\nComponents: main\nSigned-By:\n \
                    -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc=\n -----END PGP PUBLIC KEY BLOCK-----\n";
        let sources = read("/etc/apt/sources.list.d/a.sources", text).unwrap();
        let armour = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabc=\n-----END PGP PUBLIC KEY BLOCK-----\n";
        assert_eq!(sources[0].keys, Some(Keys::Armoured(armour.into())));
    }

    #[test]
    fn what_is_not_harmless_is_not_asked() {
        let good = "deb http://mirror.example/debian bookworm main\n";
        assert!(read("/etc/apt/sources.list", good).is_ok());
        for (from, to) in [
            ("deb http", "deb [trusted=yes] http"),
            ("deb http", "deb [allow-insecure=yes] http"),
            ("deb http", "deb [check-valid-until=no] http"),
            ("deb http", "deb [signed-by=ABCDEF] http"),
            ("deb http", "deb [ http"),
            ("http://mirror.example/debian", "file:/etc"),
            ("http://mirror.example/debian", "copy:/etc"),
            ("http://mirror.example/debian", "cdrom:[x]/"),
            ("http://mirror.example/debian", "ssh://mirror.example/"),
            ("http://mirror.example/debian", "mirror+file:/etc/apt/mirrors/x.list"),
            ("http://mirror.example/debian", "http://me:secret@mirror.example/debian"),
            ("http://mirror.example/debian", "http://169.254.169.254/latest"),
            ("http://mirror.example/debian", "http://mirror.example/?x"),
            ("bookworm", "$(id)"),
            ("bookworm", "book`id`worm"),
            ("main", "ma;in"),
            ("deb http", "dib"),
        ] {
            let doubt = read("/etc/apt/sources.list", &good.replacen(from, to, 1));
            assert!(matches!(doubt, Err(Doubt::NotAsked(_))), "{to}: {doubt:?}");
            assert!(!doubt.unwrap_err().to_string().contains("secret"));
        }
        let stanza =
            "Types: deb\nURIs: http://mirror.example/debian\nSuites: x\nComponents: main\nTrusted: yes\n";
        assert!(read("/etc/apt/sources.list.d/x.sources", stanza).is_err());
        assert!(read("/etc/apt/sources.list.d/x.sources", " begins so\n").is_err());
    }
}
