//! The time servers that a service has to ask.
//!
//! timesyncd is asked itself, for it has some that are compiled in, and those of DHCP. Others have a configuration, which
//! is read: what they tell of their sources leaves out those whose names do not resolve yet.

use std::fs;

use tokio::time::Instant;

use crate::checks::program::program;
use crate::checks::services::units;
use crate::guest::Guest;
use crate::text;

/// Most that are told of.
const MOST: usize = 8;
/// Most files of a configuration that are read, and how deep one may include another.
const MOST_FILES: usize = 64;
const DEEPEST: usize = 4;
/// What `timedatectl show-timesync` says of them.
const OF_TIMESYNCD: [&str; 4] =
    ["LinkNTPServers", "SystemNTPServers", "RuntimeNTPServers", "FallbackNTPServers"];
const CHRONY: [&str; 2] = ["/etc/chrony/chrony.conf", "/etc/chrony.conf"];
/// Configurations of ntpd and ntpsec, and what the clients of DHCP make in their place.
const NTP: [&str; 5] = [
    "/etc/ntpsec/ntp.conf",
    "/etc/ntp.conf",
    "/run/ntpsec/ntp.conf.dhcp",
    "/run/ntp.conf.dhcp",
    "/var/lib/ntp/ntp.conf.dhcp",
];
const OPENNTPD: [&str; 2] = ["/etc/openntpd/ntpd.conf", "/etc/ntpd.conf"];

/// The time servers of a service, with what names them. None: that cannot be known.
pub(super) async fn of(guest: &Guest, service: &str, deadline: Instant) -> Option<Vec<String>> {
    match service.trim_end_matches(".service") {
        "systemd-timesyncd" => of_timesyncd(guest, deadline).await,
        "chronyd" | "chrony" => {
            let configured = read(guest, &CHRONY, chrony)?;
            Some(if configured.is_empty() { told_by_chronyc(guest, deadline).await? } else { configured })
        }
        "openntpd" => read(guest, &OPENNTPD, openntpd),
        // On some distributions openntpd's is called so.
        "ntpd" | "ntp" | "ntpsec" => read(guest, &NTP, ntp).or_else(|| read(guest, &OPENNTPD, openntpd)),
        _ => None,
    }
}

async fn of_timesyncd(guest: &Guest, deadline: Instant) -> Option<Vec<String>> {
    let asked = OF_TIMESYNCD.map(|property| format!("--property={property}"));
    let shown = program(guest, "timedatectl")?.with(["show-timesync"]).with(asked).run(deadline).await;
    // An older version has no such verb.
    let knows = |property: &str| shown.out.lines().any(|line| line.starts_with(&format!("{property}=")));
    if !shown.is_good() || !knows("SystemNTPServers") || !knows("FallbackNTPServers") {
        return None;
    }
    let servers = OF_TIMESYNCD.iter().flat_map(|property| {
        let servers = units::field(&shown.out, property);
        servers.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    });
    Some(servers.take(MOST).collect())
}

/// Those that it was told of while it ran. None: it does not say.
async fn told_by_chronyc(guest: &Guest, deadline: Instant) -> Option<Vec<String>> {
    let ended = program(guest, "chronyc")?.with(["-n", "-c", "sources"]).run(deadline).await;
    let server = |line: &str| line.split(',').nth(2).map(text::one_line);
    ended.is_good().then(|| ended.out.lines().filter_map(server).take(MOST).collect())
}

/// What a line of a configuration means.
enum Line {
    /// It names a time server.
    Source,
    /// Files to read, too: their paths, in which the last name may have a `*` for anything.
    Include(Vec<String>),
    /// Anything else.
    Other,
}

/// The sources in those of the files that are there. None: none of them is.
fn read(guest: &Guest, files: &[&str], meaning: fn(&str, &[&str]) -> Line) -> Option<Vec<String>> {
    let there: Vec<String> =
        files.iter().filter(|file| guest.has(file)).map(|file| (*file).to_owned()).collect();
    if there.is_empty() {
        return None;
    }
    let (mut found, mut left) = (Vec::new(), MOST_FILES);
    collect(guest, there, meaning, &mut found, (&mut left, DEEPEST));
    Some(found)
}

fn collect(
    guest: &Guest,
    files: Vec<String>,
    meaning: fn(&str, &[&str]) -> Line,
    found: &mut Vec<String>,
    (left, deeper): (&mut usize, usize),
) {
    for file in files {
        if *left == 0 || found.len() >= MOST {
            return;
        }
        *left -= 1;
        for line in guest.read(&file).unwrap_or_default().lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let Some((directive, rest)) = words.split_first() else { continue };
            match meaning(&directive.to_ascii_lowercase(), rest) {
                Line::Source if found.len() < MOST => found.push(text::one_line(line)),
                Line::Include(paths) if deeper > 0 => {
                    let more = paths.iter().flat_map(|path| files_of(guest, path)).collect();
                    collect(guest, more, meaning, found, (&mut *left, deeper - 1));
                }
                Line::Source | Line::Include(_) | Line::Other => {}
            }
        }
    }
}

/// The files that a path with a `*` in its last name means, or the one that a path without means.
fn files_of(guest: &Guest, path: &str) -> Vec<String> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let Some((begin, end)) = name.split_once('*') else { return vec![path.to_owned()] };
    let Ok(entries) = fs::read_dir(guest.path(folder)) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let fits = |name: &String| {
        name.len() >= begin.len() + end.len() && name.starts_with(begin) && name.ends_with(end)
    };
    let mut names: Vec<String> = names.filter(fits).take(MOST_FILES).collect();
    names.sort();
    names.into_iter().map(|name| format!("{folder}/{name}")).collect()
}

/// chrony.conf(5). What a client of DHCP is told of time servers is in such a directory, too.
fn chrony(directive: &str, words: &[&str]) -> Line {
    let all = |end: &str| {
        let paths = words.iter().map(|folder| format!("{}/*{end}", folder.trim_end_matches('/')));
        Line::Include(paths.collect())
    };
    match directive {
        "server" | "pool" | "peer" | "refclock" if !words.is_empty() => Line::Source,
        "sourcedir" => all(".sources"),
        "confdir" => all(".conf"),
        "include" => Line::Include(words.iter().take(1).map(|path| (*path).to_owned()).collect()),
        _ => Line::Other,
    }
}

/// ntp.conf(5) of ntpd and ntpsec.
fn ntp(directive: &str, words: &[&str]) -> Line {
    let first = words.iter().find(|word| !word.starts_with('-')).copied().unwrap_or_default();
    match directive {
        // The clock of the machine itself.
        "server" | "peer" if first.starts_with("127.127.1.") => Line::Other,
        "server" | "pool" | "peer" | "refclock" | "broadcastclient" | "multicastclient"
        | "manycastclient" => Line::Source,
        "includefile" => Line::Include(vec![first.to_owned()]),
        _ => Line::Other,
    }
}

/// ntpd.conf(5) of OpenBSD.
fn openntpd(directive: &str, _: &[&str]) -> Line {
    match directive {
        "server" | "servers" | "sensor" => Line::Source,
        _ => Line::Other,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::checks::program::plant;
    use crate::guest::made_of as guest;

    async fn servers(service: &str, guest: &Guest) -> Option<Vec<String>> {
        of(guest, &format!("{service}.service"), Instant::now() + Duration::from_secs(10)).await
    }

    #[tokio::test]
    async fn timesyncd_tells_its_servers() {
        let (_root, guest) = guest(&[]);
        assert_eq!(servers("systemd-timesyncd", &guest).await, None, "nobody can be asked");
        let shown = |link: &str, fallback: &str| {
            format!(
                "printf 'LinkNTPServers={link}\\nSystemNTPServers=\\nRuntimeNTPServers=\\nFallbackNTPServers={fallback}\\n'"
            )
        };
        plant(&guest, "timedatectl", &shown("", "0.debian.pool.ntp.org 1.debian.pool.ntp.org"));
        assert_eq!(
            servers("systemd-timesyncd", &guest).await.unwrap().len(),
            2,
            "those that are compiled in"
        );
        plant(&guest, "timedatectl", &shown("192.0.2.1", ""));
        assert_eq!(servers("systemd-timesyncd", &guest).await.unwrap(), ["192.0.2.1"]);
        plant(&guest, "timedatectl", &shown("", ""));
        assert_eq!(servers("systemd-timesyncd", &guest).await.unwrap(), [""; 0]);
        plant(&guest, "timedatectl", "echo Unknown command verb show-timesync. >&2; exit 1");
        assert_eq!(servers("systemd-timesyncd", &guest).await, None);
    }

    #[tokio::test]
    async fn chronys_configuration_is_read_with_what_it_includes() {
        let debian = "# server commented.example\n! pool too.example\nconfdir /etc/chrony/conf.d\n\
                      sourcedir /etc/chrony/sources.d\ndriftfile /var/lib/chrony/chrony.drift\nlocal stratum 10\n";
        for (files, some) in [
            (vec![("/etc/chrony/chrony.conf", debian)], false),
            (vec![("/etc/chrony.conf", "server\nmakestep 1 3\n")], false),
            (vec![("/etc/chrony.conf", "Pool 2.pool.example iburst\n")], true),
            (vec![("/etc/chrony.conf", "refclock PHC /dev/ptp0 poll 2\n")], true),
            (vec![("/etc/chrony.conf", "sourcedir /run/chrony-dhcp\n")], false),
            (
                vec![
                    ("/etc/chrony.conf", "sourcedir /run/chrony-dhcp\n"),
                    ("/run/chrony-dhcp/eth0.sources", "server 192.0.2.1 iburst\n"),
                ],
                true,
            ),
            (
                vec![
                    ("/etc/chrony/chrony.conf", debian),
                    ("/etc/chrony/sources.d/a.sources", "server 192.0.2.1\n"),
                ],
                true,
            ),
            (
                vec![
                    ("/etc/chrony/chrony.conf", debian),
                    ("/etc/chrony/sources.d/a.old", "server 192.0.2.1\n"),
                ],
                false,
            ),
            (
                vec![
                    ("/etc/chrony.conf", "include /etc/chrony.d/*.conf\n"),
                    ("/etc/chrony.d/pool.conf", "pool 2.suse.pool.example iburst\n"),
                ],
                true,
            ),
            // One that includes itself.
            (vec![("/etc/chrony.conf", "include /etc/chrony.conf\n")], false),
        ] {
            let (_root, guest) = guest(&files);
            plant(&guest, "chronyc", ":");
            let found = servers("chrony", &guest).await.unwrap();
            assert_eq!(!found.is_empty(), some, "{files:?}: {found:?}");
        }
        let (_root, guest) = guest(&[("/etc/chrony.conf", "makestep 1 3\n")]);
        assert_eq!(servers("chronyd", &guest).await, None, "there is no chronyc to ask what it was told");
        plant(&guest, "chronyc", "echo '^,*,192.0.2.7,2,6,377,20,0.1,0.1,0.1'");
        assert_eq!(servers("chronyd", &guest).await.unwrap(), ["192.0.2.7"]);
        let (_root, guest) = self::guest(&[]);
        assert_eq!(servers("chronyd", &guest).await, None, "its configuration is elsewhere");
    }

    #[tokio::test]
    async fn other_daemons_have_theirs() {
        for (service, file, text, some) in [
            ("ntpsec", "/etc/ntpsec/ntp.conf", "pool 0.pool.example iburst\n", true),
            (
                "ntp",
                "/etc/ntp.conf",
                "driftfile /x\nserver 127.127.1.0\nfudge 127.127.1.0 stratum 10\n",
                false,
            ),
            ("ntp", "/etc/ntp.conf", "server -4 192.0.2.1\n", true),
            ("openntpd", "/etc/openntpd/ntpd.conf", "listen on *\n", false),
            ("ntpd", "/etc/ntpd.conf", "servers pool.example\n", true),
        ] {
            let (_root, guest) = guest(&[(file, text)]);
            let found = servers(service, &guest).await.unwrap();
            assert_eq!(!found.is_empty(), some, "{text}: {found:?}");
        }
        let (_root, guest) = guest(&[]);
        assert_eq!(servers("ntp", &guest).await, None);
    }
}
