//! The command line, one file a verb.
//!
//! A new verb is a file here with its `run`, its arguments and its variant of `Verb` in `arguments`, an arm in
//! `dispatch`, and the end of its help in `examples`. It prints by `text` only, which escapes what others said.

mod arguments;
mod audit;
mod backup;
mod check;
mod checks;
mod client;
mod compare;
mod completions;
mod destination;
mod doctor;
mod doctor_cloud;
mod examples;
mod fold;
mod follow;
mod foreground;
mod history;
mod host;
mod images;
mod instance;
mod log_filter;
mod logging;
mod login;
mod logs;
mod man;
mod orders;
mod progress;
mod reload;
mod report;
mod report_page;
mod rotation;
mod run;
mod schedules;
mod serve;
mod serving;
mod show;
mod signals;
mod status;
mod sweep;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod token;
mod verdict;
mod webhook;

use std::process::ExitCode;

use clap::Parser as _;

use arguments::{Arguments, RunArguments, Verb};

use crate::operator::{json, when};
use crate::untrusted::Untrusted;

/// How the program ends. The README lists the codes; scripts rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: the image passed, or the verb is done.
    Done,
    /// 1: the image failed.
    Failed,
    /// 2: the infrastructure failed, or it is unknown whether the image is good.
    Errored,
    /// 64: wrong usage or configuration (EX_USAGE of sysexits.h).
    Usage,
    /// 130: cancelled (128 + SIGINT).
    Cancelled,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Errored => 2,
            Exit::Usage => 64,
            Exit::Cancelled => 130,
        })
    }
}

/// A verb could not do what it was asked for.
#[derive(Debug)]
pub(crate) struct Trouble {
    exit: Exit,
    message: String,
    /// The message is a whole text with its own "error:" lines.
    whole: bool,
}

impl Trouble {
    /// The user must change something.
    pub(crate) fn usage(message: impl std::fmt::Display) -> Self {
        Self { exit: Exit::Usage, message: message.to_string(), whole: false }
    }

    /// Mistakes that were rendered already, each with its place.
    pub(crate) fn mistakes(rendered: String) -> Self {
        Self { exit: Exit::Usage, message: rendered, whole: true }
    }

    /// The host or the manager is at fault.
    pub(crate) fn errored(message: impl std::fmt::Display) -> Self {
        Self { exit: Exit::Errored, message: message.to_string(), whole: false }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

/// What a verb returns.
pub(crate) type Outcome = Result<Exit, Trouble>;

/// Runs the program.
pub fn main() -> ExitCode {
    if let Some(answered) = completions::answer() {
        return answered;
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // clap's own exit code for wrong usage is 2, which here means something else.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            if exit == Exit::Done {
                #[expect(clippy::disallowed_methods, reason = "the help is ours")]
                // Nothing can be done about a closed terminal.
                let _ = error.print();
            } else {
                text::complain_in_full(&seen(error).to_string());
            }
            return exit.into();
        }
    };
    // The only provider that is compiled in; a second installation is the only way this fails.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&Trouble::errored(format!("cannot start: {error}"))),
    };
    let outcome = runtime.block_on(Box::pin(dispatch(arguments)));
    // A thread that is still blocked in a read must not hold the exit up.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    match outcome {
        Ok(exit) => exit.into(),
        Err(trouble) => report(&trouble),
    }
}

/// The mistake as it is when the arguments have nothing hidden in them: clap repeats them as they are.
fn seen(error: clap::Error) -> clap::Error {
    let shown = std::env::args_os().map(|argument| {
        let argument = argument.to_string_lossy().into_owned();
        Untrusted::from(&argument).in_one_line().into_owned()
    });
    Arguments::try_parse_from(shown).err().unwrap_or(error)
}

fn report(trouble: &Trouble) -> ExitCode {
    if trouble.whole {
        text::complain_in_full(&trouble.message);
    } else {
        text::complain(&trouble.message);
    }
    trouble.exit.into()
}

async fn dispatch(arguments: Arguments) -> Outcome {
    if matches!(arguments.verb, Verb::Serve(_) | Verb::Run(_) | Verb::Verify(_)) {
        // What a manager writes is nobody else's; what is for others is given its mode where it is made.
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    }
    match arguments.verb {
        Verb::Serve(serve) => serve::run(serve).await,
        Verb::Run(run) => run::run(run).await,
        Verb::Verify(followed) => run::run(RunArguments::of_verification(followed)).await,
        Verb::Status(status) => status::run(status).await,
        Verb::Schedules(schedules) => schedules::run(schedules).await,
        Verb::Trigger(trigger) => orders::trigger(trigger).await,
        Verb::Cancel(cancel) => orders::cancel(cancel).await,
        Verb::Pause(pause) => orders::pause(pause).await,
        Verb::Resume(resume) => orders::resume(resume).await,
        Verb::Check(check) => check::run(&check),
        Verb::History(history) => history::run(history).await,
        Verb::Show(show) => show::run(show).await,
        Verb::Checks(checks) => checks::run(&checks),
        Verb::Logs(logs) => logs::run(logs).await,
        Verb::Report(report) => report::run(report).await,
        Verb::Compare(compare) => compare::run(compare).await,
        Verb::Doctor(doctor) => match &doctor.cloud {
            Some(cloud) => doctor_cloud::run(&doctor, cloud).await,
            None => Ok(doctor::run(&doctor)),
        },
        Verb::Backup(backup) => backup::run(backup).await,
        Verb::Token(token) => token::run(token).await,
        Verb::Login(login) => login::run(login).await,
        Verb::Audit(audit) => audit::run(audit).await,
        Verb::Images(images) => images::list(images).await,
        Verb::Rollback(rollback) => images::roll_back(rollback).await,
        Verb::Promote(promote) => images::promote(promote).await,
        Verb::Revoke(revoke) => images::revoke(revoke).await,
        Verb::Webhook(webhook) => webhook::run(webhook).await,
        Verb::Sweep(sweep) => sweep::run(sweep).await,
        Verb::Completions(completions) => completions::run(&completions),
        Verb::Man(man) => man::run(&man),
    }
}
