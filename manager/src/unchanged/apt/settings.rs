//! apt's settings in the image. A few are taken over by their values, some are known to change nothing here, and of any
//! other it is not known what it does.

use super::text;
use crate::unchanged::status::is_plain;
use crate::unchanged::{Doubt, Kept};

/// Taken over.
const TAKEN: [&str; 3] = ["apt::install-recommends", "apt::install-suggests", "apt::default-release"];
/// They do not change what an upgrade would do, or only say how it is done. What runs around dpkg, or once the lists are
/// there, comes after apt has decided what to do; here it never runs, for nothing but [`TAKEN`] gets into the private
/// root. What runs before the lists are fetched (`APT::Update::Pre-Invoke`) may change what is asked, and is not among
/// them. Ends with `::`: with all below.
const WITHOUT_EFFECT: [&str; 29] = [
    "acquire::compressiontypes::",
    "acquire::forceipv4",
    "acquire::forceipv6",
    "acquire::gzipindexes",
    "acquire::indextargets::",
    "acquire::languages",
    "acquire::languages::",
    "acquire::pdiffs",
    "acquire::queue-mode",
    "acquire::retries",
    "apt::archives::",
    "apt::autoremove::",
    "apt::color",
    "apt::get::assume-yes",
    "apt::move-autobit-sections::",
    "apt::never-markauto-sections::",
    "apt::neverautoremove::",
    "apt::periodic::",
    "apt::update::post-invoke::",
    "apt::update::post-invoke-success::",
    "apt::versionedkernelpackages::",
    "dir::cache::pkgcache",
    "dir::cache::srcpkgcache",
    "dpkg::options::",
    "dpkg::post-invoke::",
    "dpkg::pre-install-pkgs::",
    "dpkg::pre-invoke::",
    "dpkg::use-pty",
    "unattended-upgrade::",
];
/// Most settings, and levels of one within another.
const MOST: usize = 2000;
const DEEPEST: usize = 16;

/// The settings that are taken over.
pub(super) fn of(kept: &Kept) -> Result<Vec<(String, String)>, Doubt> {
    let directory = "/etc/apt/apt.conf.d";
    let parts = kept.directory(directory).map(|(name, _)| format!("{directory}/{name}"));
    let mut taken = Vec::new();
    for path in parts.chain(["/etc/apt/apt.conf".to_owned()]) {
        let doubt = |why: &str| Doubt::NotAsked(format!("{path}: {why}"));
        for (name, value) in parse(text(kept, &path)?).map_err(|why| doubt(&why))? {
            let lower = name.to_lowercase();
            if TAKEN.contains(&lower.as_str()) {
                if !is_plain(&value, "-._/") {
                    return Err(doubt(&format!("{name} is {value:?}")));
                }
                taken.push((lower, value));
            } else if !is_without_effect(&lower) {
                return Err(doubt(&format!("it is not known what {name} does")));
            }
        }
    }
    Ok(taken)
}

fn is_without_effect(name: &str) -> bool {
    WITHOUT_EFFECT.iter().any(|known| *known == name || known.ends_with("::") && name.starts_with(known))
}

/// A piece of a file.
#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Value(String),
    Open,
    Close,
    End,
}

/// Names with their values: that of a list's member ends in `::`.
fn parse(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut found = Vec::new();
    let mut within: Vec<String> = Vec::new();
    let mut name: Option<String> = None;
    for token in tokens(text)? {
        match token {
            Token::Word(word) if name.is_none() => name = Some(word),
            Token::Word(word) => return Err(format!("{word:?} is not understood")),
            Token::Value(value) => {
                let last = name.clone().unwrap_or_default();
                let path: Vec<&str> = within.iter().map(String::as_str).chain([last.as_str()]).collect();
                found.push((path.join("::"), value));
            }
            Token::Open => {
                within.push(name.take().ok_or("a group has no name")?);
            }
            Token::Close => {
                name = None;
                within.pop().ok_or("a group ends that never began")?;
            }
            Token::End => name = None,
        }
        if found.len() > MOST || within.len() > DEEPEST {
            return Err("it is too large".to_owned());
        }
    }
    if name.is_some() || !within.is_empty() {
        return Err("it ends prematurely".to_owned());
    }
    Ok(found)
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after = rest.strip_prefix(first).unwrap_or_default();
        rest = match first {
            _ if first.is_whitespace() => after,
            '{' | '}' | ';' => {
                tokens.push(match first {
                    '{' => Token::Open,
                    '}' => Token::Close,
                    _ => Token::End,
                });
                after
            }
            '"' => {
                let (value, after) = after.split_once('"').ok_or("a value does not end")?;
                tokens.push(Token::Value(value.to_owned()));
                after
            }
            // `#clear` and `#include` too are more than a remark.
            '#' if !after.starts_with("clear") && !after.starts_with("include") => after_line(after),
            '/' if after.starts_with('/') => after_line(after),
            '/' if after.starts_with('*') => after.split_once("*/").ok_or("a comment does not end")?.1,
            _ if first.is_ascii_alphanumeric() => {
                let end = rest.find(|one: char| !one.is_ascii_alphanumeric() && !"-_.:/+".contains(one));
                let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
                tokens.push(Token::Word(word.to_owned()));
                after
            }
            other => return Err(format!("{other:?} is not understood")),
        };
    }
    Ok(tokens)
}

fn after_line(text: &str) -> &str {
    text.split_once('\n').map_or("", |(_, after)| after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unchanged::{Family, KeptFile};

    fn read(text: &str) -> Result<Vec<(String, String)>, Doubt> {
        let file = KeptFile { path: "/etc/apt/apt.conf.d/50x".into(), content: text.into() };
        of(&Kept::new(Family::Dpkg, vec![file], Vec::new()).unwrap())
    }

    #[test]
    fn what_debian_sets_is_known() {
        let debian = "APT\n{\n  NeverAutoRemove\n  {\n\t\"^firmware-linux.*\";\n  };\n  Move-Autobit-Sections { \"oldlibs\"; };\n};\n\
                      // Pre-configure all packages.\nDPkg::Pre-Install-Pkgs {\"/usr/sbin/dpkg-preconfigure --apt || true\";};\n\
                      Acquire::Languages \"none\";\n/* two\nlines */ # three\nAPT::Install-Recommends \"false\";";
        let taken = read(debian).unwrap();
        assert_eq!(taken, [("apt::install-recommends".to_owned(), "false".to_owned())]);
        assert_eq!(read("APT { Install-Recommends \"0\"; };").unwrap().len(), 1);
    }

    #[test]
    fn what_runs_after_apt_has_decided_is_left_out() {
        // Of needrestart, docker-clean, apt-listchanges and PackageKit.
        for hook in [
            "DPkg::Post-Invoke {\"test -x /usr/lib/needrestart/apt-pinvoke && /usr/lib/needrestart/apt-pinvoke || true\"; };",
            "DPkg::Post-Invoke { \"rm -f /var/cache/apt/archives/*.deb || true\"; };",
            "APT::Update::Post-Invoke { \"rm -f /var/cache/apt/archives/*.deb || true\"; };",
            "APT::Update::Post-Invoke-Success { \"/usr/bin/test -e /run/x || true\"; };",
            "Dir::Cache::pkgcache \"\"; Dir::Cache::srcpkgcache \"\";",
            "DPkg::Pre-Install-Pkgs { \"/usr/bin/apt-listchanges --apt || test $? -lt 10\"; };",
        ] {
            assert_eq!(read(hook).unwrap(), Vec::new(), "{hook}");
        }
    }

    #[test]
    fn what_is_not_known_is_doubted() {
        for bad in [
            "APT::Update::Pre-Invoke { \"touch /tmp/ran\"; };",
            "Acquire::http::Proxy \"http://127.0.0.1:1\";",
            "Acquire::http::Proxy-Auto-Detect \"/tmp/x\";",
            "Dir::Bin::methods \"/tmp/x\";",
            "Dir \"/\";",
            "#include \"/etc/passwd\";",
            "#clear APT;",
            "APT::Install-Recommends \"a\\nb\";",
            "APT::Default-Release \"a b\";",
            "APT { ",
            "}",
            "x \"",
            "/* x",
            "\u{1}",
            "APT::Get::AllowUnauthenticated \"true\";",
        ] {
            assert!(matches!(read(bad), Err(Doubt::NotAsked(_))), "{bad}");
        }
    }
}
