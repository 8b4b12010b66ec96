//! The package mirrors that the guest is configured to use: where it will go for its updates, so what
//! it should be able to reach. Read when they are asked for, after cloud-init, which may write them.

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::boot;
use super::internet::Target;
use crate::guest::Guest;

mod apt;
mod apt_conf;
mod repos;
mod variables;

/// Most mirrors that are kept.
const MOST: usize = 16;
/// Most notes on what could not be used.
const MOST_NOTES: usize = 8;
/// What is left of a check's time, at least, for asking: half of it, and no more than this.
const FOR_ASKING: Duration = Duration::from_secs(30);

/// How the guest's package manager goes to a mirror.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Via {
    /// By itself.
    #[default]
    Direct,
    /// Through a proxy.
    Proxy {
        /// Name or address, without brackets.
        host: String,
        /// Port.
        port: u16,
    },
    /// In a way that the check does not know, for people.
    Unknown(String),
}

impl Via {
    /// By what a package manager's configuration calls its proxy.
    fn of(proxy: &str) -> Self {
        let rest = match proxy.split_once("://") {
            None => proxy,
            Some(("http", rest)) => rest,
            Some((scheme, _)) => return Self::Unknown(format!("a proxy that speaks {scheme}://")),
        };
        let authority = rest.split('/').next().unwrap_or_default();
        if authority.contains('@') {
            return Self::Unknown("a proxy that needs a password".to_owned());
        }
        match Target::parse(&format!("http://{authority}/")) {
            Ok(target) => Self::Proxy { host: target.host, port: target.port },
            Err(error) => Self::Unknown(format!("a proxy whose address cannot be used ({error})")),
        }
    }
}

/// Mirrors of which any one will do: the package manager goes to the next when one does not answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirror {
    /// `http://...` or `https://...`, without a slash at the end.
    pub addresses: Vec<String>,
    /// How they are reached.
    pub via: Via,
}

/// The package mirrors of a guest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirrors {
    /// Each once.
    pub all: Vec<Mirror>,
    /// What is configured and cannot be asked for, and why.
    pub left_out: Vec<String>,
}

impl Mirrors {
    /// Reads the guest's configuration of apt, of dnf and yum, and of zypper.
    pub fn of(guest: &Guest) -> Self {
        let mut mirrors = Self::default();
        apt::read(guest, &mut mirrors);
        repos::read(guest, &mut mirrors);
        mirrors
    }

    /// The same, once cloud-init has ended or so much of the time until the deadline is gone that the rest is needed.
    pub(super) async fn settled(guest: &Guest, deadline: Instant) -> Self {
        let left = deadline.saturating_duration_since(Instant::now());
        let latest = deadline - FOR_ASKING.min(left / 2);
        boot::cloud_init_ended(guest, latest).await;
        Self::of(guest)
    }

    /// All addresses.
    pub fn addresses(&self) -> Vec<String> {
        self.all.iter().flat_map(|mirror| mirror.addresses.clone()).collect()
    }

    /// The host names to resolve, of which any one in a list will do: a proxy's, where it resolves the mirror's.
    /// Addresses are no names.
    pub fn hosts(&self) -> Vec<Vec<String>> {
        let mut all: Vec<Vec<String>> = Vec::new();
        for mirror in &self.all {
            let hosts: Vec<String> = match &mirror.via {
                Via::Proxy { host, .. } => vec![host.clone()],
                Via::Direct => {
                    let targets = mirror.addresses.iter().filter_map(|address| Target::parse(address).ok());
                    targets.map(|target| target.host).collect()
                }
                Via::Unknown(_) => Vec::new(),
            };
            // One that needs no resolver will do, too.
            if hosts.is_empty() || hosts.iter().any(|host| host.parse::<IpAddr>().is_ok()) {
                continue;
            }
            let mut names: Vec<String> = Vec::new();
            for host in hosts {
                if !names.contains(&host) {
                    names.push(host);
                }
            }
            if !all.contains(&names) {
                all.push(names);
            }
        }
        all
    }

    /// Why there is nothing to ask for, with the key that names something.
    pub(super) fn nothing(&self, key: &str) -> String {
        let why = if !self.all.is_empty() {
            "the image's package sources name mirrors by address only".to_owned()
        } else if self.left_out.is_empty() {
            "the image's package sources name no mirror".to_owned()
        } else {
            format!("none of the image's package sources can be used ({})", self.left_out.join("; "))
        };
        format!("nothing to ask for: {why}; name something in {key}")
    }

    /// Adds alternatives that are web addresses and that no other has yet.
    fn add(&mut self, addresses: impl IntoIterator<Item = String>, via: Via) {
        let mut kept: Vec<String> = Vec::new();
        for address in addresses {
            let address = address.trim_end_matches('/').to_owned();
            let web = address.starts_with("http://") || address.starts_with("https://");
            if web && kept.len() < MOST && !kept.contains(&address) {
                kept.push(address);
            }
        }
        let mirror = Mirror { addresses: kept, via };
        let room = self.all.iter().map(|mirror| mirror.addresses.len()).sum::<usize>() < MOST;
        if !mirror.addresses.is_empty() && room && !self.all.contains(&mirror) {
            self.all.push(mirror);
        }
    }

    fn leave_out(&mut self, why: String) {
        if self.left_out.len() < MOST_NOTES && !self.left_out.contains(&why) {
            self.left_out.push(why);
        }
    }
}

/// The files of a folder with this extension, by name.
pub(super) fn files(guest: &Guest, folder: &str, extension: &str) -> Vec<String> {
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
mod tests;
