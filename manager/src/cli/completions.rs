//! `image-manager completions`: what a shell needs to complete verbs, flags, schedules and builds.
//!
//! The shell asks this program again at every press of the key (clap_complete's dynamic engine), so names of
//! schedules and ids of builds are those of the moment.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::engine::CompletionCandidate;
use clap_complete::env::{CompleteEnv, Shells};

use super::arguments::{Arguments, CompletionsArguments, Shell};
use super::{Exit, Outcome, Trouble, text};
use crate::checks;
use crate::history::{BuildFilter, History, Named as _};
use crate::schedules;
use crate::untrusted::Untrusted;

/// The variable by which the shell's script asks for candidates.
const ASKS: &str = "IMAGE_MANAGER_COMPLETE";
/// The program's name.
const PROGRAM: &str = "image-manager";
/// A file of zsh's `fpath` is run as a function of its own name when it is needed for the first time (zshcompsys(1),
/// "Autoloaded files"). By then the script has only registered its function: without this nothing is offered that time.
const FIRST_IN_ZSH: &str = r#"
if [[ $funcstack[1] == _image-manager ]]; then
    $_comps[image-manager] "$@"
fi
"#;
/// Builds that are offered, newest first.
const BUILDS: u32 = 20;

/// Prints the script that a shell sources.
pub(crate) fn run(arguments: &CompletionsArguments) -> Outcome {
    let name = match arguments.shell {
        Shell::Bash => "bash",
        Shell::Zsh => "zsh",
        Shell::Fish => "fish",
        Shell::Elvish => "elvish",
        Shell::Powershell => "powershell",
    };
    let shells = Shells::builtins();
    let shell =
        shells.completer(name).ok_or_else(|| Trouble::errored(format!("no completions for {name}")))?;
    // By its path, so that it works where the program is not on PATH.
    let program = std::env::current_exe()
        .map_or_else(|_| PROGRAM.to_owned(), |path| path.to_string_lossy().into_owned());
    let mut script = Vec::new();
    shell.write_registration(ASKS, PROGRAM, PROGRAM, &program, &mut script).map_err(Trouble::errored)?;
    if arguments.shell == Shell::Zsh {
        script.extend_from_slice(FIRST_IN_ZSH.as_bytes());
    }
    text::print_document(&String::from_utf8_lossy(&script));
    Ok(Exit::Done)
}

/// Answers a shell that asks for candidates; `None` when nobody asks.
pub(crate) fn answer() -> Option<ExitCode> {
    // Looked at first: the engine takes the variable out of the environment, which only a program with a
    // single thread may do. Nothing else has been started yet.
    std::env::var_os(ASKS)?;
    let here = std::env::current_dir().ok();
    let answered = CompleteEnv::with_factory(Arguments::command)
        .var(ASKS)
        .try_complete(std::env::args_os(), here.as_deref());
    // A shell shows no errors while it completes: no candidates is all that can be said.
    Some(if matches!(answered, Ok(true)) { Exit::Done.into() } else { Exit::Usage.into() })
}

/// Names of the schedules.
pub(crate) fn schedule_names() -> Vec<CompletionCandidate> {
    let path = given("--schedules", "IMAGE_MANAGER_SCHEDULES", "schedules.toml");
    let Ok(found) = schedules::load(&path) else { return Vec::new() };
    let candidate = |schedule: &schedules::Schedule| {
        candidate_of(&schedule.name, &format!("on {}", schedule.clouds().join(", ")))
    };
    found.schedules.iter().map(candidate).collect()
}

/// The kinds of checks.
pub(crate) fn check_kinds() -> Vec<CompletionCandidate> {
    checks::all().map(|check| candidate_of(check.kind, check.proves)).collect()
}

/// The shell shows it on the terminal.
fn candidate_of(value: &str, help: &str) -> CompletionCandidate {
    let [value, help] = [value, help].map(|text| Untrusted::from(text).in_one_line().into_owned());
    CompletionCandidate::new(value).help(Some(help.into()))
}

/// Ids of the newest builds, and `latest`.
pub(crate) fn builds() -> Vec<CompletionCandidate> {
    let database = given("--state", "IMAGE_MANAGER_STATE", "state").join("image-manager.db");
    newest(&database).unwrap_or_default()
}

/// The same, and what is before another build.
pub(crate) fn earlier_builds() -> Vec<CompletionCandidate> {
    let words = [
        ("previous", "the build of the same schedule before B"),
        ("last-good", "the newest one before B that passed"),
    ];
    let words = words.map(|(word, help)| CompletionCandidate::new(word).help(Some(help.into())));
    words.into_iter().chain(builds()).collect()
}

fn newest(database: &Path) -> Option<Vec<CompletionCandidate>> {
    // SQLite must not make the file.
    database.exists().then_some(())?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().ok()?;
    let filter = BuildFilter { limit: BUILDS, bare: true, ..BuildFilter::default() };
    let page = runtime.block_on(async { History::open_to_read(database).ok()?.builds(filter).await.ok() })?;
    let latest = CompletionCandidate::new("latest").help(Some("the newest build".into()));
    let candidates = page.builds.iter().map(|build| {
        let help = format!("{}, {}", build.schedule, build.state().word());
        candidate_of(&build.id, &help)
    });
    Some(std::iter::once(latest).chain(candidates).collect())
}

/// The value of a flag on the line that is being completed, else of its variable, else its default.
fn given(flag: &str, variable: &str, default: &str) -> PathBuf {
    let words: Vec<OsString> = std::env::args_os().collect();
    let beside = words.windows(2).find_map(|pair| match pair {
        [word, value] if word == flag && !value.is_empty() => Some(value.clone()),
        _ => None,
    });
    let joined = words
        .iter()
        .find_map(|word| Some(word.to_str()?.strip_prefix(flag)?.strip_prefix('=')?.to_owned().into()));
    beside.or(joined).or_else(|| std::env::var_os(variable)).unwrap_or_else(|| default.into()).into()
}
