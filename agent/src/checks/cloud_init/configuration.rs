//! The configuration files that cloud-init reads, and whether it could.
//!
//! Of a file that it cannot read cloud-init only writes a warning, goes on without it and ends well
//! (`util.load_yaml` gives the default for what is no YAML or no mapping). It reads `/etc/cloud/cloud.cfg`, the
//! `*.cfg` of `/etc/cloud/cloud.cfg.d` or of the directory that `conf_d` names, and `/run/cloud-init/cloud.cfg`
//! (`stages.fetch_base_config`), by `PyYAML`'s `safe_load`.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::yaml::{self, Trouble};
use crate::guest::Guest;
use crate::text;

const MAIN: &str = "/etc/cloud/cloud.cfg";
const FOLDER: &str = "/etc/cloud/cloud.cfg.d";
/// Written by ds-identify.
const RUNTIME: &str = "/run/cloud-init/cloud.cfg";
/// Most files of the folder that are read.
const MOST_FILES: usize = 256;
/// Most files that are told of.
const MOST_TOLD: usize = 16;
/// Largest file that is read; nobody writes one by hand.
const LARGEST: u64 = 1 << 20;
/// For the guest's Python to read one file.
const PATIENCE: Duration = Duration::from_secs(20);
const PYTHONS: [&str; 2] = ["/usr/bin/python3", "/usr/libexec/platform-python"];
/// Ends with 0 when the file can be read, and with 3 when it cannot.
const PROGRAM: &str = "import sys\ntry:\n import yaml\nexcept ImportError:\n sys.exit(4)\ntry:\n \
    yaml.safe_load(open(sys.argv[1], encoding='utf-8').read())\nexcept (yaml.YAMLError, TypeError, ValueError):\n \
    sys.exit(3)\n";

/// The files that cloud-init could not read, each with the reason.
pub(super) async fn unreadable(guest: &Guest) -> Vec<String> {
    let mut found = Vec::new();
    let mut folder = FOLDER.to_owned();
    let mut files = vec![MAIN.to_owned()];
    if let Ok(main) = contents(guest, MAIN)
        && let Ok(Some(other)) = yaml::top_level_value(&main, "conf_d")
    {
        folder = other;
    }
    files.extend(names(guest, &folder).into_iter().map(|name| format!("{folder}/{name}")));
    files.push(RUNTIME.to_owned());
    for file in files {
        if let Some(why) = trouble(guest, &file).await {
            found.push(format!("{file}: {why}"));
        }
    }
    found.truncate(MOST_TOLD);
    found
}

async fn trouble(guest: &Guest, file: &str) -> Option<String> {
    let text = match contents(guest, file) {
        Ok(text) => text,
        Err(why) => return why,
    };
    match yaml::look(&text) {
        Ok(()) => None,
        // PyYAML takes a little that YAML's grammar does not allow, such as a `]` at the line's beginning.
        Err(Trouble::Syntax(_)) if python_reads(guest, file).await == Some(true) => None,
        Err(Trouble::Syntax(why) | Trouble::Meaning(why)) => Some(why),
    }
}

/// The file's text. `Err(None)`: there is none to read.
fn contents(guest: &Guest, file: &str) -> Result<String, Option<String>> {
    let path = guest.path(file);
    let read = || {
        let mut bytes = Vec::new();
        File::open(&path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    };
    let bytes = match read() {
        Ok(bytes) => bytes,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Err(None);
        }
        Err(error) => return Err(Some(text::one_line(&error.to_string()))),
    };
    if bytes.len() as u64 > LARGEST {
        return Err(Some(format!("larger than {}, the most that this check reads", text::bytes(LARGEST))));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count();
        Some(format!("line {line} is not UTF-8"))
    })
}

/// The `*.cfg` of a folder that are files, in their order.
fn names(guest: &Guest, folder: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(guest.path(folder)) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .flatten()
        // What a link leads to counts, and one that leads nowhere does not.
        .filter(|entry| entry.path().is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.rsplit_once('.').is_some_and(|(_, last)| last == "cfg"))
        .collect();
    names.sort();
    names.truncate(MOST_FILES);
    names
}

/// Whether the guest's own `PyYAML` reads the file. `None`: it cannot be asked.
async fn python_reads(guest: &Guest, file: &str) -> Option<bool> {
    let python = PYTHONS.iter().map(|python| guest.path(python)).find(|python| python.is_file())?;
    let run = Command::new(python)
        .args(["-I", "-c", PROGRAM])
        .arg(guest.path(file))
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status();
    match timeout(PATIENCE, run).await.ok()?.ok()?.code()? {
        0 => Some(true),
        3 => Some(false),
        _ => None,
    }
}
