//! A second line of defence for a build's secrets: should a hook print one, its bytes do not get into the log.
//!
//! Hooks run with xtrace when somebody asks for it, and tools print URLs and headers. So a secret is looked for as it is
//! and as such tools write it. What a hook turns into something else is not found: that is the hook's author's to mind.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::inputs::Secret;

/// Shorter pieces are not looked for: they would blot out half of the log.
const SHORTEST: usize = 4;

/// What is looked for, longest first, and what stands there instead.
#[derive(Default)]
pub(super) struct Masks(Vec<(Vec<u8>, String)>);

impl std::fmt::Debug for Masks {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} masks", self.0.len())
    }
}

impl Masks {
    /// Of these secrets.
    pub(super) fn of(secrets: &[Secret]) -> Self {
        Self::with_whole(secrets, &[])
    }

    /// Of these secrets, and of others that are looked for as a whole only, but however short they are.
    pub(super) fn with_whole(secrets: &[Secret], whole: &[Secret]) -> Self {
        let mut masks = Vec::new();
        for secret in secrets {
            let shown = shown(secret);
            for part in parts(secret.value()) {
                masks.extend(written(part).into_iter().map(|form| (form, shown.clone())));
            }
        }
        masks.retain(|(form, _)| form.len() >= SHORTEST);
        for secret in whole {
            let shown = shown(secret);
            masks.extend(written(secret.value()).into_iter().map(|form| (form, shown.clone())));
        }
        masks.retain(|(form, _)| !form.is_empty());
        masks.sort_by(|(a, _), (b, _)| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        masks.dedup_by(|(a, _), (b, _)| a == b);
        Self(masks)
    }

    /// The length of the longest: so much more of a line has to be known to find one at its end.
    pub(super) fn longest(&self) -> usize {
        self.0.first().map_or(0, |(form, _)| form.len())
    }

    /// Takes off the end of a line that was cut what may be the beginning of one of them.
    pub(super) fn drop_begun(&self, line: &mut Vec<u8>) {
        let begun = |form: &[u8]| {
            (1..form.len()).rev().find(|length| line.ends_with(form.get(..*length).unwrap_or(form)))
        };
        let longest = self.0.iter().filter_map(|(form, _)| begun(form)).max().unwrap_or_default();
        line.truncate(line.len().saturating_sub(longest));
    }

    /// The line without them.
    pub(super) fn apply(&self, line: Vec<u8>) -> Vec<u8> {
        self.0.iter().fold(line, |line, (form, shown)| replace(line, form, shown.as_bytes()))
    }
}

/// What stands in its place.
fn shown(secret: &Secret) -> String {
    format!("[secret {}]", secret.name)
}

/// A secret, its lines, and the password of `user:password`: output comes line by line, and tools split the pair.
fn parts(value: &[u8]) -> Vec<&[u8]> {
    let whole = value.trim_ascii_end();
    let mut parts = vec![value, whole];
    parts.extend(whole.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii));
    let colon = whole.iter().position(|byte| *byte == b':');
    parts.extend(colon.and_then(|at| whole.get(at + 1..)).filter(|_| !whole.contains(&b'\n')));
    parts
}

/// The ways in which tools write it: as it is, in base64, in a URL, quoted by a shell, in JSON.
pub(super) fn written(part: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![
        part.to_vec(),
        STANDARD_NO_PAD.encode(part).into_bytes(),
        URL_SAFE_NO_PAD.encode(part).into_bytes(),
    ];
    for upper in [true, false] {
        let percent = |byte: &u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => vec![*byte],
            _ if upper => format!("%{byte:02X}").into_bytes(),
            _ => format!("%{byte:02x}").into_bytes(),
        };
        forms.push(part.iter().flat_map(percent).collect());
    }
    if let Ok(text) = std::str::from_utf8(part) {
        forms.push(text.replace('\'', r"'\''").into_bytes());
        let json = serde_json::Value::from(text).to_string();
        forms.push(json.trim_matches('"').as_bytes().to_vec());
    }
    forms
}

fn replace(line: Vec<u8>, form: &[u8], shown: &[u8]) -> Vec<u8> {
    let mut rest = line.as_slice();
    let mut out = Vec::new();
    while let Some(at) = rest.windows(form.len()).position(|piece| piece == form) {
        let (before, found) = rest.split_at(at);
        out.extend_from_slice(before);
        out.extend_from_slice(shown);
        rest = found.get(form.len()..).unwrap_or_default();
    }
    if out.is_empty() && rest.len() == line.len() {
        return line;
    }
    out.extend_from_slice(rest);
    out
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn masked(secret: &str, line: &str) -> String {
        let secret = Secret::new("REPO".to_owned(), PathBuf::new(), secret.as_bytes().to_vec());
        String::from_utf8(Masks::of(&[secret]).apply(line.as_bytes().to_vec())).unwrap()
    }

    #[test]
    fn a_secret_is_found_as_tools_write_it() {
        let secret = "robot:p@ss/w'rd\n";
        let base64 = STANDARD_NO_PAD.encode("robot:p@ss/w'rd");
        for said in [
            "robot:p@ss/w'rd",
            "password=p@ss/w'rd;",
            "http://robot:p%40ss%2Fw%27rd@host/",
            "http://robot:p%40ss%2fw%27rd@host/",
            &format!("Authorization: Basic {base64}"),
            r"+ curl -u 'robot:p@ss/w'\''rd'",
        ] {
            let masked = masked(secret, said);
            assert!(masked.contains("[secret REPO]"), "{said}: {masked}");
            assert!(
                !masked.contains("p@ss") && !masked.contains("p%40ss") && !masked.contains(&base64),
                "{masked}"
            );
        }
        assert_eq!(masked(secret, "the robot passes"), "the robot passes");
        assert_eq!(masked("first-line\nsecond-line\n", "x second-line y"), "x [secret REPO] y");
        assert_eq!(masked("abc", "abc"), "abc", "too short to be looked for");
        assert_eq!(masked("", "abc"), "abc");
        assert_eq!(masked("tokentoken", "tokentokentokentoken!"), "[secret REPO][secret REPO]!");
    }

    #[test]
    fn what_is_looked_for_as_a_whole_is_not_taken_apart() {
        let pair = |value: &str| Secret::new("PROXY".to_owned(), PathBuf::new(), value.as_bytes().to_vec());
        let masked = |value: &str, line: &str| {
            let masks = Masks::with_whole(&[], &[pair(value)]);
            String::from_utf8(masks.apply(line.as_bytes().to_vec())).unwrap()
        };
        assert_eq!(masked("robot:cache", "robot:cache fills the cache"), "[secret PROXY] fills the cache");
        assert_eq!(masked("a:b", "http://a:b@host"), "http://[secret PROXY]@host", "however short");
        assert_eq!(masked("", "a line"), "a line");
    }
}
