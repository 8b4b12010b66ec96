//! apt's sources: sources.list(5), lists of mirrors (apt-transport-mirror(1)), and proxies (apt-transport-http(1)).

use super::apt_conf::Configuration;
use super::{Mirrors, Via, files};
use crate::guest::Guest;

const FOLDER: &str = "/etc/apt/sources.list.d";

pub(super) fn read(guest: &Guest, mirrors: &mut Mirrors) {
    let mut sources = Vec::new();
    if let Ok(text) = guest.read("/etc/apt/sources.list") {
        sources.extend(of_list(&text));
    }
    for name in files(guest, FOLDER, "list") {
        sources.extend(of_list(&guest.read(format!("{FOLDER}/{name}")).unwrap_or_default()));
    }
    for name in files(guest, FOLDER, "sources") {
        sources.extend(of_deb822(&guest.read(format!("{FOLDER}/{name}")).unwrap_or_default()));
    }
    let configuration = Configuration::of(guest);
    for source in sources {
        match mirror_list(&source) {
            Some(List::File(path)) => match guest.read(&path) {
                Ok(text) if is_compressed(&path) || text.contains('\0') => {
                    mirrors.leave_out(format!("the list of mirrors {path} is compressed"));
                }
                Ok(text) => add_list(mirrors, &configuration, &text),
                Err(error) => mirrors.leave_out(format!("the list of mirrors {path}: {error}")),
            },
            // apt goes there first. What it would find in it is not fetched: targets are asked for no contents.
            Some(List::Web(address)) => add(mirrors, &configuration, vec![address]),
            None => add(mirrors, &configuration, vec![source]),
        }
    }
}

/// A list of mirrors that a source names.
#[derive(Debug, PartialEq)]
enum List {
    File(String),
    Web(String),
}

fn mirror_list(source: &str) -> Option<List> {
    let (scheme, rest) = source.split_once(':')?;
    match scheme {
        // `file:/path` and `file:///path` are one.
        "mirror+file" | "mirror+copy" => {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            Some(List::File(format!("/{}", path.trim_start_matches('/'))))
        }
        "mirror" | "mirror+http" => Some(List::Web(format!("http:{rest}"))),
        "mirror+https" => Some(List::Web(format!("https:{rest}"))),
        _ => None,
    }
}

fn is_compressed(path: &str) -> bool {
    [".gz", ".bz2", ".xz", ".zst", ".lz4", ".lzma"].iter().any(|end| path.ends_with(end))
}

/// A line a mirror; what stands after a tab is about it.
fn add_list(mirrors: &mut Mirrors, configuration: &Configuration, text: &str) {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let addresses = lines.map(|line| line.split('\t').next().unwrap_or_default().trim().to_owned());
    add(mirrors, configuration, addresses.filter(|address| !address.is_empty()).collect());
}

/// Adds alternatives. Where they are not all reached in one way, each way has its own.
fn add(mirrors: &mut Mirrors, configuration: &Configuration, addresses: Vec<String>) {
    let mut ways: Vec<(Via, Vec<String>)> = Vec::new();
    for address in addresses {
        let via = configuration.via(&address);
        match ways.iter_mut().find(|(known, _)| *known == via) {
            Some((_, same)) => same.push(address),
            None => ways.push((via, vec![address])),
        }
    }
    for (via, addresses) in ways {
        mirrors.add(addresses, via);
    }
}

/// One line: `deb [options] ADDRESS suite component...`.
fn of_list(text: &str) -> Vec<String> {
    let mut found = Vec::new();
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
        found.extend(rest.split_whitespace().next().map(str::to_owned));
    }
    found
}

/// Paragraphs of `Key: value`, in which `URIs` may go on over lines and `Enabled` may say no.
fn of_deb822(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut addresses: Vec<String> = Vec::new();
    let mut enabled = true;
    let mut in_addresses = false;
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            if enabled {
                found.append(&mut addresses);
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
            addresses.extend(value.split_whitespace().map(str::to_owned));
        }
    }
    found
}
