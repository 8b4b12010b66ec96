//! The package mirrors that the guest is configured to use: where it will go for its updates, so what
//! it should be able to reach.

use std::fs;
use std::net::IpAddr;

use crate::guest::Guest;

/// Most mirrors that are kept.
const MOST: usize = 16;

/// Addresses of package mirrors, each once, without a slash at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirrors {
    /// `http://...` or `https://...`.
    pub addresses: Vec<String>,
}

impl Mirrors {
    /// Reads the guest's configuration of apt, and of dnf and yum.
    pub fn of(guest: &Guest) -> Self {
        let mut mirrors = Self::default();
        if let Ok(text) = guest.read("/etc/apt/sources.list") {
            mirrors.read_list(&text);
        }
        for (folder, extension) in [
            ("/etc/apt/sources.list.d", "list"),
            ("/etc/apt/sources.list.d", "sources"),
            ("/etc/yum.repos.d", "repo"),
        ] {
            for name in files(guest, folder, extension) {
                let Ok(text) = guest.read(format!("{folder}/{name}")) else { continue };
                match extension {
                    "list" => mirrors.read_list(&text),
                    "sources" => mirrors.read_deb822(&text),
                    _ => mirrors.read_repo(&text),
                }
            }
        }
        mirrors
    }

    /// The host names of the mirrors, each once. Addresses are no names.
    pub fn hosts(&self) -> Vec<String> {
        let mut hosts: Vec<String> = Vec::new();
        for address in &self.addresses {
            let host = address.parse::<hyper::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
            let is_name = |host: &String| !host.starts_with('[') && host.parse::<IpAddr>().is_err();
            if let Some(host) = host.filter(|host| is_name(host) && !hosts.contains(host)) {
                hosts.push(host);
            }
        }
        hosts
    }

    fn add(&mut self, address: &str) {
        let address = address.trim_end_matches('/').to_owned();
        let usable = address.starts_with("http://") || address.starts_with("https://");
        // A variable that only the package manager knows.
        if usable
            && !address.contains('$')
            && self.addresses.len() < MOST
            && !self.addresses.contains(&address)
        {
            self.addresses.push(address);
        }
    }

    fn add_all(&mut self, addresses: &[&str]) {
        for address in addresses {
            self.add(address);
        }
    }

    /// One line: `deb [options] ADDRESS suite component...`.
    fn read_list(&mut self, text: &str) {
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            let Some((kind, rest)) = line.split_once(char::is_whitespace) else { continue };
            if !matches!(kind, "deb" | "deb-src") {
                continue;
            }
            let rest = rest.trim_start();
            let rest = match rest.strip_prefix('[') {
                Some(options) => options.split_once(']').map_or("", |(_, rest)| rest),
                None => rest,
            };
            if let Some(address) = rest.split_whitespace().next() {
                self.add(address);
            }
        }
    }

    /// Paragraphs of `Key: value`, in which `URIs` may go on over lines and `Enabled` may say no.
    fn read_deb822(&mut self, text: &str) {
        let mut addresses: Vec<&str> = Vec::new();
        let mut enabled = true;
        let mut in_addresses = false;
        for line in text.lines().chain([""]) {
            if line.starts_with('#') {
                continue;
            }
            if line.trim().is_empty() {
                if enabled {
                    self.add_all(&addresses);
                }
                (addresses, enabled, in_addresses) = (Vec::new(), true, false);
                continue;
            }
            let value = if line.starts_with([' ', '\t']) {
                line
            } else {
                let (key, value) = line.split_once(':').unwrap_or((line, ""));
                in_addresses = key.trim().eq_ignore_ascii_case("URIs");
                if key.trim().eq_ignore_ascii_case("Enabled") {
                    let value = value.trim().to_ascii_lowercase();
                    enabled = !matches!(value.as_str(), "no" | "false" | "without" | "off" | "disable" | "0");
                }
                value
            };
            if in_addresses {
                addresses.extend(value.split_whitespace());
            }
        }
    }

    /// Sections with `baseurl=ADDRESS...` and perhaps `enabled=0`.
    fn read_repo(&mut self, text: &str) {
        let mut addresses: Vec<&str> = Vec::new();
        let mut enabled = true;
        for line in text.lines().chain(["["]) {
            let line = line.trim();
            if line.starts_with('[') {
                if enabled {
                    self.add_all(&addresses);
                }
                (addresses, enabled) = (Vec::new(), true);
            }
            let Some((key, value)) = line.split_once('=') else { continue };
            match key.trim() {
                "baseurl" => addresses.extend(value.split_whitespace()),
                "enabled" => enabled = !matches!(value.trim(), "0" | "no" | "False" | "false"),
                _ => {}
            }
        }
    }
}

fn files(guest: &Guest, folder: &str, extension: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(guest.path(folder)) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.rsplit_once('.').is_some_and(|(_, last)| last == extension))
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(with: impl Fn(&mut Mirrors, &str), text: &str) -> Vec<String> {
        let mut mirrors = Mirrors::default();
        with(&mut mirrors, text);
        mirrors.addresses
    }

    #[test]
    fn one_line_sources_are_read() {
        let text = "# deb http://no.example/debian x main\n\
            deb http://mirror.example/debian/ trixie main # the mirror\n\
            deb [arch=amd64 signed-by=/x.gpg] https://one.example/debian trixie main\n\
            deb-src http://mirror.example/debian trixie main\n\
            deb cdrom:[Debian]/ trixie main\ndeb file:/srv trixie main\ndeb\nrpm http://x y\n";
        assert_eq!(
            read(Mirrors::read_list, text),
            ["http://mirror.example/debian", "https://one.example/debian"]
        );
    }

    #[test]
    fn deb822_sources_are_read() {
        let text = "Types: deb\nURIs: http://a.example/debian\n https://b.example/debian/\n# comment\n\
            Suites: trixie\n\nTypes: deb\nEnabled: no\nURIs: http://off.example/\n\n\
            uris:\thttp://c.example\nEnabled: yes\n";
        assert_eq!(
            read(Mirrors::read_deb822, text),
            ["http://a.example/debian", "https://b.example/debian", "http://c.example"]
        );
    }

    #[test]
    fn repositories_of_dnf_are_read() {
        let text = "[base]\nname=Base\nbaseurl=https://a.example/os https://b.example/os\nenabled=1\n\
            [off]\nbaseurl=https://off.example/\nenabled=0\n\
            [var]\nbaseurl=https://x.example/$releasever/os\n[last]\nbaseurl = http://c.example\n";
        assert_eq!(
            read(Mirrors::read_repo, text),
            ["https://a.example/os", "https://b.example/os", "http://c.example"]
        );
    }

    #[test]
    fn the_guest_s_files_are_found() {
        let root = tempfile::tempdir().unwrap();
        let guest = Guest::below(root.path());
        assert_eq!(Mirrors::of(&guest), Mirrors::default());
        fs::create_dir_all(guest.path("/etc/apt/sources.list.d")).unwrap();
        fs::write(guest.path("/etc/apt/sources.list"), "deb http://a.example:81/x y z\n").unwrap();
        let put = |name: &str, text: &str| {
            fs::write(guest.path("/etc/apt/sources.list.d").join(name), text).unwrap();
        };
        put("debian.sources", "Types: deb\nURIs: https://b.example/debian\n");
        put("x.list", "deb http://a.example/other y z\ndeb http://10.0.0.1/x y z\n");
        put("x.list.save", "deb http://saved.example/ y z\n");
        assert_eq!(Mirrors::of(&guest).addresses.len(), 4);
        assert_eq!(Mirrors::of(&guest).hosts(), ["a.example", "b.example"]);
    }
}
