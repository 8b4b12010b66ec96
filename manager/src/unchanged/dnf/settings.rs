//! dnf's settings in the image. None of them is taken over: some are known to change nothing here, and of any other it is
//! not known what it does.

use std::fmt::Write as _;

use super::sections::{self, Section};
use super::{files, text};
use crate::unchanged::status::is_plain;
use crate::unchanged::{Doubt, Kept};

const MAIN: &str = "main";
/// The settings proper. dnf reads the second where the first is not there.
const FILES: [&str; 2] = ["/etc/dnf/dnf.conf", "/etc/yum.conf"];
/// More of them, of dnf 5, in files `*.conf`.
const DIRECTORIES: [&str; 2] = ["/usr/share/dnf5/libdnf.conf.d", "/etc/dnf/libdnf5.conf.d"];
/// What is in one of these would change what repositories say of themselves.
const OVERRIDES: [&str; 2] = ["/etc/dnf/repos.override.d", "/usr/share/dnf5/repos.override.d"];
/// Versions that dnf 5 keeps, and its streams of modules.
const LOCKS: &str = "/etc/dnf/versionlock.toml";
const MODULES_OF_DNF5: &str = "/usr/lib/sysimage/libdnf5/modules.toml";
/// The streams of modules that are enabled or disabled, in files `*.module`.
const MODULES: &str = "/etc/dnf/modules.d";
const OF_A_MODULE: [&str; 4] = ["name", "stream", "profiles", "state"];

/// They do not change which packages there are to choose from, nor which of them would be installed, or only in a way in
/// which whoever asks is stricter: here the newest of each package has to be installable, what others make obsolete has
/// to go, and each repository has to answer.
pub(super) const WITHOUT_EFFECT: [&str; 52] = [
    "assumeyes",
    "autorefresh",
    "bandwidth",
    "best",
    "bugtracker_url",
    "cachedir",
    "check_config_file_age",
    "clean_requirements_on_remove",
    "color",
    "cost",
    "countme",
    "debuglevel",
    "defaultyes",
    "deltarpm",
    "deltarpm_percentage",
    "diskspacecheck",
    "enabled_metadata",
    "enablegroups",
    "errorlevel",
    "exactarch",
    "failovermethod",
    "fastestmirror",
    "gpgcheck",
    "history_record",
    "install_weak_deps",
    "installonly_limit",
    "ip_resolve",
    "keepcache",
    "localpkg_gpgcheck",
    "log_compress",
    "log_rotate",
    "log_size",
    "logdir",
    "logfile",
    "max_parallel_downloads",
    "metadata_expire",
    "metadata_timer_sync",
    "minrate",
    "mirror_expire",
    "name",
    "obsoletes",
    "optional_metadata_types",
    "pkg_gpgcheck",
    "plugins",
    "protect_running_kernel",
    "retries",
    "skip_if_unavailable",
    "strict",
    "throttle",
    "timeout",
    "tsflags",
    "zchunk",
];

/// The files' sections: the settings themselves, and repositories that are among them.
pub(super) struct Settings {
    /// Whether indexes are signed where their repository does not say it.
    pub(super) are_signed: bool,
    pub(super) repositories: Vec<Section>,
}

pub(super) fn of(kept: &Kept) -> Result<Settings, Doubt> {
    for directory in OVERRIDES {
        if let Some((name, _)) = kept.directory(directory).next() {
            return Err(Doubt::NotAsked(format!("{directory}/{name} changes its repositories")));
        }
    }
    if !text(kept, LOCKS)?.trim().is_empty() {
        return Err(Doubt::NotAsked(format!("{LOCKS} keeps versions")));
    }
    if text(kept, MODULES_OF_DNF5)?.to_lowercase().contains("enabled") {
        return Err(Doubt::NotAsked(format!("{MODULES_OF_DNF5} has streams of modules")));
    }
    let main = FILES.into_iter().find(|path| kept.file(path).is_some()).map(str::to_owned);
    let more = DIRECTORIES.into_iter().flat_map(|directory| files(kept, directory, "conf"));
    let mut settings = Settings { are_signed: false, repositories: Vec::new() };
    for path in main.into_iter().chain(more) {
        for section in sections::parse(&path, text(kept, &path)?)? {
            if section.name != MAIN {
                settings.repositories.push(section);
                continue;
            }
            let known = |name: &str| name == "repo_gpgcheck" || WITHOUT_EFFECT.contains(&name);
            if let Some((name, _)) = section.options.iter().find(|(name, _)| !known(name)) {
                return Err(Doubt::NotAsked(format!("{path}: it is not known what {name} does")));
            }
            settings.are_signed = section.flag("repo_gpgcheck", settings.are_signed)?;
        }
    }
    Ok(settings)
}

/// The streams of modules, each with its file's content.
pub(super) fn modules(kept: &Kept) -> Result<Vec<(String, String)>, Doubt> {
    let mut found = Vec::new();
    for path in files(kept, MODULES, "module") {
        for section in sections::parse(&path, text(kept, &path)?)? {
            let plain = |(name, value): &(String, String)| {
                OF_A_MODULE.contains(&name.as_str()) && (value.is_empty() || is_plain(value, "-._+, "))
            };
            let strange =
                || Doubt::NotAsked(format!("{path}: the module {:?} is not understood", section.name));
            if !is_plain(&section.name, "-._+") || !section.options.iter().all(plain) {
                return Err(strange());
            }
            let mut content = format!("[{}]\n", section.name);
            for (name, value) in &section.options {
                // Writing to a string does not fail.
                let _ = writeln!(content, "{name}={value}");
            }
            found.push((section.name, content));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unchanged::{Family, KeptFile};

    fn kept(files: &[(&str, &str)]) -> Kept {
        let file =
            |(path, text): &(&str, &str)| KeptFile { path: (*path).to_owned(), content: (*text).into() };
        Kept::new(Family::Rpm, files.iter().map(file).collect(), Vec::new()).unwrap()
    }

    #[test]
    fn known_settings_are_read_and_others_are_doubted() {
        let el = "[main]\ngpgcheck=1\ninstallonly_limit=3\nclean_requirements_on_remove=True\nbest=True\n\
                  skip_if_unavailable=False\n";
        let settings = of(&kept(&[("/etc/dnf/dnf.conf", el), ("/etc/yum.conf", "nonsense")])).unwrap();
        assert!(!settings.are_signed && settings.repositories.is_empty());
        let more = "[main]\nrepo_gpgcheck=1\n[ours]\nbaseurl=x\n";
        let settings = of(&kept(&[("/etc/dnf/libdnf5.conf.d/50.conf", more)])).unwrap();
        assert!(settings.are_signed);
        assert_eq!(settings.repositories[0].name, "ours");
        for bad in [
            &[("/etc/dnf/dnf.conf", "[main]\nproxy=http://127.0.0.1:1\n")][..],
            &[("/etc/dnf/dnf.conf", "[main]\npluginpath=/tmp\n")],
            &[("/etc/dnf/dnf.conf", "[main]\nreposdir=/tmp\n")],
            &[("/etc/dnf/dnf.conf", "[main]\nexcludepkgs=kernel*\n")],
            &[("/etc/dnf/dnf.conf", "[main]\nsslverify=0\n")],
            &[("/etc/dnf/dnf.conf", "[main]\nrepo_gpgcheck=perhaps\n")],
            &[("/etc/yum.conf", "[main]\ninclude=/tmp/x\n")],
            &[("/usr/share/dnf5/libdnf.conf.d/x.conf", "[main]\nmodule_platform_id=platform:el8\n")],
            &[("/etc/dnf/repos.override.d/x.repo", "[x]\nenabled=0\n")],
            &[("/etc/dnf/versionlock.toml", "version = '1.0'\n")],
            &[("/usr/lib/sysimage/libdnf5/modules.toml", "[modules]\nx = {state=\"Enabled\"}\n")],
        ] {
            assert!(matches!(of(&kept(bad)), Err(Doubt::NotAsked(_))), "{bad:?}");
        }
    }

    #[test]
    fn streams_of_modules_are_written_anew() {
        let text = "[perl]\nname=perl\nstream=5.26\nprofiles=\nstate=enabled\n\n";
        let found =
            modules(&kept(&[("/etc/dnf/modules.d/perl.module", text), ("/etc/dnf/modules.d/x", "y")]));
        assert_eq!(found.unwrap(), [("perl".to_owned(), text.trim_end().to_owned() + "\n")]);
        for bad in ["[../x]\nname=x\n", "[x]\nother=y\n", "[x]\nstream=$(id)\n", "x\n"] {
            let found = modules(&kept(&[("/etc/dnf/modules.d/x.module", bad)]));
            assert!(matches!(found, Err(Doubt::NotAsked(_))), "{bad}");
        }
    }
}
