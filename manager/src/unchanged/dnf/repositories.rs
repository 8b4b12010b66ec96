//! Where the image's packages come from, read here; what is not known to be harmless is not asked.
//!
//! What dnf has for the age and the truth of an index is little: most are not signed. One is believed if it is signed with
//! a key of the image (`repo_gpgcheck`), or if it comes from a server that has proved by TLS who it is: itself, or by
//! its checksum in a metalink. Of a list of mirrors without checksums only those with https count (`ask.py`). The index
//! of anybody else could be an old one that whoever is on the way hands out, and then "nothing has changed" would say
//! nothing.

use reqwest::Url;

use super::sections::{self, Section};
use super::settings::{self, WITHOUT_EFFECT};
use super::variables::Variables;
use super::{files, text};
use crate::unchanged::status::is_plain;
use crate::unchanged::{Doubt, Kept, Origins};

/// Where files `*.repo` are.
const DIRECTORIES: [&str; 4] =
    ["/usr/share/dnf5/repos.d", "/etc/distro.repos.d", "/etc/yum/repos.d", "/etc/yum.repos.d"];
/// Most repositories, and addresses of one.
const MOST: usize = 64;
const MOST_ADDRESSES: usize = 16;
/// What is read of a repository.
const READ: [&str; 8] =
    ["baseurl", "mirrorlist", "metalink", "enabled", "repo_gpgcheck", "gpgkey", "priority", "sslverify"];
const ONLY_OF_REPOSITORIES: [&str; 3] = ["type", "mdpolicy", "http_caching"];
/// Which of two repositories wins is said by the smaller number.
const PRIORITY: u32 = 99;

/// Where a repository's index is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Index {
    /// On mirrors that this names, with the index's checksum.
    Metalink(Url),
    /// On mirrors that this names.
    MirrorList(Url),
    /// At any of these.
    At(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Repository {
    pub(super) id: String,
    pub(super) index: Index,
    pub(super) priority: u32,
    /// Whether its index is signed.
    pub(super) is_signed: bool,
    /// With which keys: files of the image.
    pub(super) keys: Vec<String>,
}

/// The repositories that the image asks.
pub(super) fn of(kept: &Kept, variables: &Variables, origins: &Origins) -> Result<Vec<Repository>, Doubt> {
    let settings = settings::of(kept)?;
    let mut all = settings.repositories;
    for directory in DIRECTORIES {
        for path in files(kept, directory, "repo") {
            all.extend(sections::parse(&path, text(kept, &path)?)?);
        }
    }
    let mut repositories: Vec<Repository> = Vec::new();
    for section in &all {
        if all.iter().filter(|other| other.name == section.name).count() > 1 {
            return Err(Doubt::NotAsked(format!("there are two repositories {:?}", section.name)));
        }
        if section.flag("enabled", true)? {
            repositories.push(repository(section, settings.are_signed, variables, origins)?);
        }
        if repositories.len() > MOST {
            return Err(Doubt::NotAsked(format!("there are over {MOST}")));
        }
    }
    if repositories.is_empty() {
        return Err(Doubt::NotAsked("there are none".to_owned()));
    }
    Ok(repositories)
}

fn repository(
    section: &Section,
    are_signed: bool,
    variables: &Variables,
    origins: &Origins,
) -> Result<Repository, Doubt> {
    let id = &section.name;
    let doubt = |why: &str| Doubt::NotAsked(format!("the repository {id:?} {why}"));
    // dnf leaves out a section of settings among them.
    if id == "main" || !is_plain(id, "-_.:") {
        return Err(doubt("has an unusable name"));
    }
    let known = [&READ[..], &ONLY_OF_REPOSITORIES, &WITHOUT_EFFECT];
    let is_known = |name: &str| known.iter().any(|names| names.contains(&name));
    if let Some((name, _)) = section.options.iter().find(|(name, _)| !is_known(name)) {
        return Err(doubt(&format!("has the option {name}, and it is not known what that does")));
    }
    if !section.flag("sslverify", true)? {
        return Err(doubt("believes any certificate"));
    }
    let is_signed = section.flag("repo_gpgcheck", are_signed)?;
    let priority = match section.value("priority") {
        None => PRIORITY,
        Some(value) => value.parse().map_err(|_| doubt(&format!("has the priority {value:?}")))?,
    };
    let index = index(section, is_signed, variables, origins)?;
    let keys = if is_signed { keys(section, variables)? } else { Vec::new() };
    Ok(Repository { id: id.clone(), index, priority, is_signed, keys })
}

/// Where its index is; not in more than one way, of which dnf would take one.
fn index(
    section: &Section,
    is_signed: bool,
    variables: &Variables,
    origins: &Origins,
) -> Result<Index, Doubt> {
    let id = &section.name;
    let doubt = |why: &str| Doubt::NotAsked(format!("the repository {id:?} {why}"));
    let forms = ["metalink", "mirrorlist", "baseurl"];
    let mut used =
        forms.into_iter().filter(|form| section.value(form).is_some_and(|value| !value.is_empty()));
    let (form, None) = (used.next().ok_or_else(|| doubt("has no address"))?, used.next()) else {
        return Err(doubt("says in several ways where it is"));
    };
    // Only of the last are there several: an address may have a comma.
    let words: Vec<&str> = match form {
        "baseurl" => section.words(form).collect(),
        _ => section.value(form).into_iter().collect(),
    };
    if words.len() > MOST_ADDRESSES {
        return Err(doubt(&format!("has over {MOST_ADDRESSES} addresses")));
    }
    let mut urls = Vec::new();
    for word in words {
        let url = address(id, word, variables, origins)?;
        if form == "baseurl" && url.query().is_some() {
            return Err(doubt("has an address that is more than a path"));
        }
        if url.scheme() != "https" && (form != "baseurl" || !is_signed) {
            return Err(Doubt::NotTrusted(format!(
                "the index of the repository {id:?} is not signed (repo_gpgcheck), and {url} is not https"
            )));
        }
        urls.push(url);
    }
    match (form, urls.as_slice()) {
        ("baseurl", urls) => Ok(Index::At(urls.iter().map(Url::to_string).collect())),
        // dnf goes by the word, too.
        ("mirrorlist", [url]) if !url.as_str().contains("metalink") => Ok(Index::MirrorList(url.clone())),
        (_, [url]) => Ok(Index::Metalink(url.clone())),
        _ => Err(doubt("has no address")),
    }
}

/// An address of somebody who may be asked.
fn address(id: &str, text: &str, variables: &Variables, origins: &Origins) -> Result<Url, Doubt> {
    let doubt = |why: &str| Doubt::NotAsked(format!("the repository {id:?} {why}"));
    let filled = variables.fill(text)?;
    if filled.contains(char::is_whitespace) {
        return Err(doubt(&format!("has several addresses where one is right: {filled:?}")));
    }
    let url = Url::parse(&filled).map_err(|error| doubt(&format!("is at {filled}: {error}")))?;
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(doubt("has an address that is more than a path"));
    }
    if !origins.has(&url) {
        let named = "a server that the schedule, this host or the distribution names";
        return Err(doubt(&format!("is at {url}, which is not on {named}")));
    }
    Ok(url)
}

/// The files of the image that an index is verified with.
fn keys(section: &Section, variables: &Variables) -> Result<Vec<String>, Doubt> {
    let mut files = Vec::new();
    for word in section.words("gpgkey") {
        let filled = variables.fill(word)?;
        let file = filled.strip_prefix("file://").filter(|file| file.starts_with('/'));
        let elsewhere = || {
            Doubt::NotAsked(format!("the key {filled:?} of the repository {:?} is not a file", section.name))
        };
        files.push(file.ok_or_else(elsewhere)?.to_owned());
    }
    if files.is_empty() || files.len() > MOST_ADDRESSES {
        let count = files.len();
        return Err(Doubt::NotAsked(format!(
            "the repository {:?} has {count} keys for its index",
            section.name
        )));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unchanged::dnf::variables;
    use crate::unchanged::{Family, KeptFile};

    fn read_all(files: &[(&str, &str)]) -> Result<Vec<Repository>, Doubt> {
        let release = ("/etc/os-release", "PLATFORM_ID=\"platform:el9\"\n");
        let file =
            |(path, text): &(&str, &str)| KeptFile { path: (*path).to_owned(), content: (*text).into() };
        let files = files.iter().chain([&release]).map(file).collect();
        let kept = Kept::new(Family::Rpm, files, Vec::new()).unwrap();
        let origins =
            Origins::of_distributions().and("http://mirror.example/").and("https://mirror.example/");
        of(&kept, &variables::of(&kept, "x86_64").unwrap(), &origins)
    }

    fn read(text: &str) -> Result<Vec<Repository>, Doubt> {
        read_all(&[("/etc/yum.repos.d/a.repo", text)])
    }

    #[test]
    fn repositories_are_read_as_dnf_reads_them() {
        let text = "[baseos]\nname=Base $releasever\nmetalink=https://mirrors.centos.org/metalink?repo=b-$releasever&arch=$basearch&protocol=https,http\n\
                    gpgkey=file:///etc/pki/rpm-gpg/a\ngpgcheck=1\nrepo_gpgcheck=0\nmetadata_expire=6h\ncountme=1\nenabled=1\n\
                    [off]\nenabled=0\nbaseurl=file:///etc\n\
                    [list]\nmirrorlist=https://mirrors.rockylinux.org/mirrorlist?repo=x\npriority=10\n\
                    [ours]\nbaseurl=http://mirror.example/el$releasever\n https://mirror.example/b/\nrepo_gpgcheck=1\n\
                    gpgkey=file:///etc/pki/rpm-gpg/k-$releasever\n";
        let found = read(text).unwrap();
        let indexes: Vec<_> =
            found.iter().map(|one| (one.id.as_str(), one.index.clone(), one.priority)).collect();
        let url = |text: &str| Url::parse(text).unwrap();
        let expected = [
            (
                "baseos",
                Index::Metalink(url(
                    "https://mirrors.centos.org/metalink?repo=b-9&arch=x86_64&protocol=https,http",
                )),
                99,
            ),
            ("list", Index::MirrorList(url("https://mirrors.rockylinux.org/mirrorlist?repo=x")), 10),
            (
                "ours",
                Index::At(vec!["http://mirror.example/el9".into(), "https://mirror.example/b/".into()]),
                99,
            ),
        ];
        assert_eq!(indexes, expected);
        assert_eq!(found[2].keys, ["/etc/pki/rpm-gpg/k-9"]);
        assert!(found[2].is_signed && !found[0].is_signed && found[0].keys.is_empty());
    }

    #[test]
    fn an_index_that_anybody_could_have_written_is_not_believed() {
        let signed = "repo_gpgcheck=1\ngpgkey=file:///k\n";
        assert!(read("[a]\nbaseurl=https://mirror.example/x\n").is_ok());
        assert!(read(&format!("[a]\nbaseurl=http://mirror.example/x\n{signed}")).is_ok());
        for bad in [
            "[a]\nbaseurl=http://mirror.example/x\n".to_owned(),
            "[a]\nbaseurl=https://mirror.example/x\n http://mirror.example/x\n".to_owned(),
            "[a]\nmirrorlist=http://mirror.example/x\n".to_owned(),
            format!("[a]\nmetalink=http://mirror.example/x\n{signed}"),
        ] {
            assert!(matches!(read(&bad), Err(Doubt::NotTrusted(_))), "{bad}");
        }
    }

    #[test]
    fn what_is_not_harmless_is_not_asked() {
        let good = "[a]\nbaseurl=https://mirror.example/x\nenabled=1\n";
        assert!(read(good).is_ok());
        for (from, to) in [
            ("https://mirror.example/x", "file:///etc"),
            ("https://mirror.example/x", "https://elsewhere.example/x"),
            ("https://mirror.example/x", "http://169.254.169.254/latest"),
            ("https://mirror.example/x", "https://me:secret@mirror.example/x"),
            ("https://mirror.example/x", "https://mirror.example/x?y"),
            ("https://mirror.example/x", "https://mirror.example/$other"),
            ("https://mirror.example/x", ""),
            ("enabled=1", "enabled=perhaps"),
            ("enabled=1", "Enabled=0"),
            ("enabled=1", "sslverify=0"),
            ("enabled=1", "proxy=http://mirror.example:3128"),
            ("enabled=1", "excludepkgs=kernel"),
            ("enabled=1", "includepkgs=kernel"),
            ("enabled=1", "module_hotfixes=1"),
            ("enabled=1", "sslclientcert=/x"),
            ("enabled=1", "priority=x"),
            ("enabled=1", "metalink=https://mirror.example/m"),
            ("enabled=1", "repo_gpgcheck=1"),
            ("enabled=1", "repo_gpgcheck=1\ngpgkey=https://mirror.example/key"),
            ("[a]", "[a/../b]"),
            ("[a]", "[a]\nbaseurl=https://mirror.example/y\n[a]"),
            ("[a]", "[main]"),
        ] {
            let doubt = read(&good.replacen(from, to, 1));
            assert!(matches!(doubt, Err(Doubt::NotAsked(_))), "{to}: {doubt:?}");
            assert!(!doubt.unwrap_err().to_string().contains("secret"));
        }
        assert!(matches!(read("[a]\nenabled=0\n"), Err(Doubt::NotAsked(_))));
        let list = "[a]\nmirrorlist=https://mirror.example/x https://mirror.example/y\n";
        assert!(matches!(read(list), Err(Doubt::NotAsked(_))));
        assert!(matches!(read_all(&[]), Err(Doubt::NotAsked(_))));
    }
}
