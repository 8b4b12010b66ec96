//! Where programs keep credentials, histories and proxies: the agent looks there in its server, the manager in the image
//! before any server has booted it.

use crate::text;

/// Files below a home directory that hold credentials.
pub const CREDENTIALS: [&str; 17] = [
    ".netrc",
    ".git-credentials",
    ".docker/config.json",
    ".config/containers/auth.json",
    ".aws/credentials",
    ".azure/accessTokens.json",
    ".config/gcloud/credentials.db",
    ".config/openstack/clouds.yaml",
    ".config/openstack/secure.yaml",
    ".config/rclone/rclone.conf",
    ".kube/config",
    ".npmrc",
    ".pypirc",
    ".pgpass",
    ".my.cnf",
    ".vault-token",
    ".s3cfg",
];
/// Files below a home directory that hold what was typed.
pub const HISTORIES: [&str; 9] = [
    ".bash_history",
    ".ash_history",
    ".sh_history",
    ".zsh_history",
    ".history",
    ".python_history",
    ".mysql_history",
    ".psql_history",
    ".sqlite_history",
];
/// Credentials elsewhere.
pub const SYSTEM_CREDENTIALS: [&str; 4] = [
    "/etc/openstack/clouds.yaml",
    "/etc/openstack/secure.yaml",
    "/etc/apt/auth.conf",
    "/etc/dnf/credentials",
];
/// Folders whose files are credentials.
pub const FOLDERS_OF_CREDENTIALS: [&str; 1] = ["/etc/apt/auth.conf.d"];

/// How a line names a proxy.
#[derive(Debug, Clone, Copy)]
pub enum Syntax {
    /// `Acquire::http::Proxy "http://...";`
    Apt,
    /// `http_proxy=http://...`, with or without `export`.
    Shell,
    /// `proxy = http://...`
    Ini,
}

/// Files in which a proxy is set.
pub const PROXY_FILES: [(&str, Syntax); 6] = [
    ("/etc/apt/apt.conf", Syntax::Apt),
    ("/etc/environment", Syntax::Shell),
    ("/etc/profile", Syntax::Shell),
    ("/etc/sysconfig/proxy", Syntax::Shell),
    ("/etc/dnf/dnf.conf", Syntax::Ini),
    ("/etc/yum.conf", Syntax::Ini),
];
/// Folders in whose files a proxy is set.
pub const PROXY_FOLDERS: [(&str, Syntax); 3] = [
    ("/etc/apt/apt.conf.d", Syntax::Apt),
    ("/etc/profile.d", Syntax::Shell),
    ("/etc/environment.d", Syntax::Shell),
];

/// Whether a file of [`CREDENTIALS`] with this text holds any: npm's has settings too.
pub fn holds_credentials(path: &str, text: &str) -> bool {
    let is_npms = path.ends_with("/.npmrc");
    !text.trim().is_empty() && (!is_npms || ["_auth", "_password"].iter().any(|key| text.contains(key)))
}

/// The proxy that a line names, without the password that it may have. `None` for one that is switched off.
pub fn proxy_of(line: &str, syntax: Syntax) -> Option<String> {
    let line = line.trim();
    let small = line.to_ascii_lowercase();
    if line.starts_with(['#', ';']) || line.starts_with("//") {
        return None;
    }
    let value = match syntax {
        Syntax::Apt => {
            let at = small.find("proxy")? + "proxy".len();
            // Not `Proxy-Auto-Detect` and the like; a proxy for one host may stand behind.
            let rest = line.get(at..)?;
            (rest.starts_with([' ', '\t', ':', '"'])).then(|| rest.split('"').nth(1))??
        }
        Syntax::Shell => {
            let (name, value) = small.split_once('=')?;
            // `export`, `declare -x` or a condition may stand before it.
            let name = name.rsplit([' ', '\t', ';', '&', '|', '{']).next()?;
            // Not a pattern of `case`, as in `HTTP_PROXY=*)`.
            let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            (is_name && name.ends_with("_proxy") && name != "no_proxy").then_some(value)?;
            line.split_once('=')?.1
        }
        Syntax::Ini => {
            let (name, value) = line.split_once('=')?;
            (name.trim() == "proxy").then_some(value)?
        }
    };
    let value = value.trim().trim_matches(['"', '\'', ';']).trim();
    let is_none = value.is_empty()
        || ["false", "direct", "none", "_none_"].contains(&value.to_ascii_lowercase().as_str());
    // Without what may be a password in it.
    let shown = value.rsplit('@').next().unwrap_or(value);
    let is_plain = value.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[');
    (!is_none && is_plain).then(|| text::one_line(shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_told_from_what_only_looks_like_them() {
        let apt = |line| proxy_of(line, Syntax::Apt);
        assert_eq!(
            apt("Acquire::http::Proxy \"http://192.0.2.10:3142\";").as_deref(),
            Some("http://192.0.2.10:3142")
        );
        assert_eq!(
            apt("  Proxy \"http://me:secret@proxy.example:80/\";").as_deref(),
            Some("proxy.example:80/")
        );
        assert_eq!(apt("Acquire::https::Proxy::mirror.example \"DIRECT\";"), None);
        assert_eq!(apt("Acquire::http::Proxy \"false\";"), None);
        assert_eq!(apt("// Acquire::http::Proxy \"http://192.0.2.10\";"), None);
        assert_eq!(apt("Acquire::http::Proxy-Auto-Detect \"/usr/bin/x\";"), None);
        let shell = |line| proxy_of(line, Syntax::Shell);
        assert_eq!(shell("export HTTPS_PROXY=\"http://p.example:1\"").as_deref(), Some("http://p.example:1"));
        assert_eq!(shell("http_proxy=http://192.0.2.10:3128").as_deref(), Some("http://192.0.2.10:3128"));
        assert_eq!(shell("no_proxy=localhost"), None);
        assert_eq!(shell("http_proxy="), None);
        assert_eq!(shell("http_proxy=$other"), None);
        for line in [
            "declare -x http_proxy=http://p.example:1",
            "readonly https_proxy='http://p.example:1'",
            "export\thttp_proxy=http://p.example:1",
            "[ -n \"$X\" ] || export https_proxy=http://p.example:1",
        ] {
            assert_eq!(shell(line).as_deref(), Some("http://p.example:1"), "{line}");
        }
        // openSUSE's own /etc/profile.d/profile.sh and profile.csh.
        for pattern in ["HTTP_PROXY=*)", "case HTTP_PROXY=*:", "case NO_PROXY=*:"] {
            assert_eq!(shell(pattern), None, "{pattern}");
        }
        assert_eq!(proxy_of("proxy = http://p.example", Syntax::Ini).as_deref(), Some("http://p.example"));
        assert_eq!(proxy_of("proxy=_none_", Syntax::Ini), None);
        assert_eq!(proxy_of("proxy_username=me", Syntax::Ini), None);
    }

    #[test]
    fn settings_of_npm_are_no_credentials() {
        assert!(holds_credentials("/root/.npmrc", "//registry.example/:_authToken=secret\n"));
        assert!(!holds_credentials("/root/.npmrc", "fund=false\n"));
        assert!(holds_credentials("/root/.netrc", "machine a\n"));
        assert!(!holds_credentials("/root/.netrc", "\n"));
    }
}
