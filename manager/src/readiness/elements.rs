//! What disk-image-builder's own resolver makes of lists of elements.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::distribution::marks;

/// Asks the resolver, in disk-image-builder's own Python.
const RESOLVE: &str = include_str!("resolve.py");
/// How long it may take; 0.1 s is usual.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// Most bytes of its answer: some 500 schedules with all of their elements.
const LONGEST_ANSWER: u64 = 4 << 20;
/// Longest first line of a program.
const LONGEST_LINE: u64 = 4096;

/// What the resolver is asked.
#[derive(Serialize)]
struct Question<'a> {
    paths: String,
    lists: &'a [&'a [String]],
    marks: Vec<&'static str>,
}

/// What it says.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    /// Names of all elements on the path.
    pub(super) known: Vec<String>,
    /// Variables that their environment.d files name.
    #[serde(default)]
    pub(super) declared: BTreeSet<String>,
    /// Init systems but systemd that elements of others than disk-image-builder ask for.
    #[serde(default)]
    pub(super) inits: BTreeMap<String, String>,
    /// Those that bring an operating system.
    pub(super) systems: Vec<String>,
    /// One for each list asked for, in that order.
    pub(super) lists: Vec<Resolved>,
}

/// What became of one list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum Resolved {
    /// It expands to these; each of the list's own brings along these of the marks.
    Elements {
        elements: Vec<String>,
        #[serde(default)]
        brings: BTreeMap<String, Vec<String>>,
    },
    /// It does not.
    Error(Unresolved),
}

/// Why a list does not expand.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "error", rename_all = "snake_case")]
pub(super) enum Unresolved {
    /// An element that is not there, and the element that needs it; empty: the list itself.
    Missing { gaps: Vec<(String, String)> },
    /// No element brings an operating system.
    NoOs,
    /// What more than one element provides, with those that do.
    Conflict { twice: BTreeMap<String, Vec<String>> },
}

/// Asks about the lists. `None` where there is nobody to ask: disk-image-builder is not installed, or another program
/// stands in for it. `Err` says why it does not answer.
pub(super) fn resolve(dib: &Path, paths: &[PathBuf], lists: &[&[String]]) -> Option<Result<Answer, String>> {
    let python = interpreter(dib)?;
    Some(
        ask(&python, paths, lists)
            .map_err(|why| format!("it does not say what the elements expand to: {why}")),
    )
}

fn ask(python: &Path, paths: &[PathBuf], lists: &[&[String]]) -> Result<Answer, String> {
    // disk-image-builder refuses a path that is not there; that is told elsewhere.
    let there = paths.iter().filter(|path| path.is_dir()).map(|path| path.to_string_lossy().into_owned());
    let question = Question { paths: there.collect::<Vec<_>>().join(":"), lists, marks: marks() };
    let question = serde_json::to_vec(&question).map_err(|error| error.to_string())?;
    let mut child = Command::new(python)
        .args(["-c", RESOLVE])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin")))
        .env("LC_ALL", "C.UTF-8")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        // Python looks for modules in the working directory first.
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot run {}: {error}", python.display()))?;
    let answer = converse(&mut child, question);
    // Ended already is as good.
    let _ = child.kill();
    let _ = child.wait();
    answer
}

fn converse(child: &mut Child, question: Vec<u8>) -> Result<Answer, String> {
    let (Some(mut input), Some(output), Some(errors)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err("no pipes".to_owned());
    };
    // In threads: a pipe that fills must not hold up the other.
    let writer = std::thread::spawn(move || input.write_all(&question));
    let read = |stream: Box<dyn std::io::Read + Send>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = stream.take(LONGEST_ANSWER).read_to_end(&mut bytes);
            bytes
        })
    };
    let (answer, complaint) = (read(Box::new(output)), read(Box::new(errors)));
    let began = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if began.elapsed() > PATIENCE => {
                // So that the pipes end, and the threads with them.
                let _ = child.kill();
                return Err(format!("no answer within {} s", PATIENCE.as_secs()));
            }
            Ok(None) => pause(),
            Err(error) => return Err(error.to_string()),
        }
    };
    let _ = writer.join();
    let bytes = answer.join().unwrap_or_default();
    if !status.success() {
        let complaint = complaint.join().unwrap_or_default();
        let complaint = String::from_utf8_lossy(&complaint);
        return Err(complaint.lines().last().unwrap_or("no output").to_owned());
    }
    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
}

#[expect(clippy::disallowed_methods, reason = "callers with a runtime ask on a blocking thread")]
fn pause() {
    std::thread::sleep(LOOK);
}

/// The Python of a program that pip installed: its first line names it, or its second where the path is too long for
/// the kernel.
fn interpreter(program: &Path) -> Option<PathBuf> {
    let file = std::fs::File::open(program).ok()?;
    let mut lines = BufReader::new(file.take(LONGEST_LINE)).lines();
    let mut line = || lines.next().and_then(Result::ok).unwrap_or_default();
    let (first, second) = (line(), line());
    let named = match first.strip_prefix("#!").map(str::trim) {
        Some("/bin/sh") => second.strip_prefix("'''exec' ").and_then(|rest| rest.split("\" \"$0\"").next()),
        other => other,
    };
    let named = named.map(|named| named.trim_matches(['"', ' '])).unwrap_or_default();
    // `#!/usr/bin/env python3` means the one on PATH.
    let named = named.strip_prefix("/usr/bin/env ").map_or(named, str::trim);
    let name = Path::new(named).file_name().map(|name| name.to_string_lossy().into_owned());
    name.is_some_and(|name| name.starts_with("python")).then(|| PathBuf::from(named))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pips_programs_name_their_python() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("disk-image-create");
        for (text, python) in [
            ("#!/opt/dib/bin/python\nimport re\n", Some("/opt/dib/bin/python")),
            ("#!/usr/bin/env python3\n", Some("python3")),
            (
                "#!/bin/sh\n'''exec' \"/a long/path/python3.11\" \"$0\" \"$@\"\n' '''\n",
                Some("/a long/path/python3.11"),
            ),
            ("#!/bin/bash\necho\n", None),
            ("\u{7f}ELF", None),
            ("", None),
        ] {
            std::fs::write(&program, text).unwrap();
            assert_eq!(interpreter(&program).as_deref(), python.map(Path::new), "{text}");
        }
    }

    /// Whatever stands in for disk-image-builder's Python.
    fn resolver(script: &str) -> (tempfile::TempDir, PathBuf) {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let (python, program) = (directory.path().join("python"), directory.path().join("disk-image-create"));
        std::fs::write(&python, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(&program, format!("#!{}\n", python.display())).unwrap();
        (directory, program)
    }

    #[test]
    fn a_resolver_that_fails_is_told() {
        for (script, why) in [
            ("echo 'ModuleNotFoundError: No module named yaml' >&2; exit 1", "No module named yaml"),
            ("cat >/dev/null; echo what", "expected value"),
            ("cat >/dev/null; head -c 9000000 /dev/zero", "no output"),
        ] {
            let (_directory, program) = resolver(script);
            let error = resolve(&program, &[], &[]).unwrap().unwrap_err();
            assert!(error.contains(why), "{script}: {error}");
        }
    }
}
