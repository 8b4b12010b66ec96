//! Who does something.

use std::fmt;

/// Longest account name that is kept, in characters.
const NAME: usize = 32;

/// Who does something; its text is what the history keeps and people read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// A schedule's cron entry.
    Cron,
    /// The retry that an errored build is owed.
    Retry,
    /// The manager by itself.
    Manager,
    /// An account of this host, told by the kernel.
    User {
        /// Its number.
        uid: u32,
        /// Its name; empty when the number has none.
        name: String,
    },
    /// Whoever has the token of this name.
    Token(String),
    /// A browser that was let in by somebody.
    Browser(Box<Principal>),
}

impl Principal {
    /// An account by its number. The name is that of `/etc/passwd`; no other directory is asked, which might not
    /// answer. Reads a file.
    pub fn user(uid: u32) -> Self {
        let name = std::fs::read_to_string("/etc/passwd").ok().and_then(|text| name_of(&text, uid));
        Self::User { uid, name: name.unwrap_or_default() }
    }

    /// The account that runs this process.
    pub fn this_process() -> Self {
        Self::user(nix::unistd::geteuid().as_raw())
    }

    /// A browser that this one let in.
    pub fn browser(of: Self) -> Self {
        match of {
            Self::Browser(_) => of,
            other => Self::Browser(Box::new(other)),
        }
    }

    /// Whether somebody asked for it, rather than the manager by itself.
    pub(super) fn is_somebody(&self) -> bool {
        !matches!(self, Self::Cron | Self::Retry | Self::Manager)
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cron => f.write_str("cron"),
            Self::Retry => f.write_str("retry"),
            Self::Manager => f.write_str("manager"),
            Self::User { uid, name } if name.is_empty() => write!(f, "uid {uid}"),
            Self::User { uid, name } => write!(f, "{name} (uid {uid})"),
            Self::Token(name) => write!(f, "token {name}"),
            Self::Browser(of) => write!(f, "browser of {of}"),
        }
    }
}

/// The name of an account in the text of `/etc/passwd` (passwd(5)).
fn name_of(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        let sound = name.chars().all(|c| c.is_ascii_graphic());
        (sound && !name.is_empty() && number.parse() == Ok(uid)).then(|| name.chars().take(NAME).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_reads_as_what_it_is() {
        let root = Principal::User { uid: 0, name: "root".to_owned() };
        assert_eq!(root.to_string(), "root (uid 0)");
        assert_eq!(Principal::User { uid: 4711, name: String::new() }.to_string(), "uid 4711");
        let browser = Principal::browser(Principal::Token("ci".to_owned()));
        assert_eq!(browser.to_string(), "browser of token ci");
        assert_eq!(Principal::browser(browser.clone()), browser);
    }

    #[test]
    fn accounts_have_names() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nbroken\n\x1b[2J:x:7:7::/:/bin/sh\nwww-data:x:33:33::/:/bin/sh\n";
        assert_eq!(name_of(passwd, 33).as_deref(), Some("www-data"));
        assert_eq!(name_of(passwd, 7), None, "it would write on terminals");
        assert_eq!(name_of(passwd, 8), None);
    }
}
