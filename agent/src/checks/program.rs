//! The guest's own programs, each with a deadline and a bound for what it says.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use tokio::time::{Instant, timeout_at};

use crate::guest::Guest;
use crate::text;

const PLACES: [&str; 6] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"];
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Most bytes that are read of what a program says.
const MOST_OUTPUT: u64 = 64 << 10;

/// What came of running a program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ran {
    /// Its exit code. None: it could not be run, was killed or did not end in time.
    pub(super) code: Option<i32>,
    /// Its output.
    pub(super) output: String,
    /// What it complained of, or why it did not run to its end.
    pub(super) error: String,
}

impl Ran {
    /// Whether it ended well.
    pub(super) fn well(&self) -> bool {
        self.code == Some(0)
    }

    /// What it complained of, as one line.
    pub(super) fn complaint(&self) -> String {
        let said = text::one_line(&self.error);
        if said.is_empty() { text::one_line(&self.output) } else { said }
    }
}

/// The program of this name, when the guest has it.
pub(super) fn find(guest: &Guest, name: &str) -> Option<PathBuf> {
    PLACES.iter().map(|place| guest.path(format!("{place}/{name}"))).find(|path| path.is_file())
}

/// Runs a program, as another user (uid and gid) where one is named, in `/`.
pub(super) async fn run(
    program: &Path,
    arguments: &[&str],
    user: Option<(u32, u32)>,
    deadline: Instant,
) -> Ran {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", SEARCH_PATH).env("LC_ALL", "C").current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Ran { error: error.to_string(), ..Ran::default() },
    };
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let work = async {
        let (output, error) = tokio::join!(read(stdout), read(stderr));
        (child.wait().await.ok().and_then(|status| status.code()), output, error)
    };
    match timeout_at(deadline, work).await {
        Ok((code, output, error)) => Ran { code, output, error },
        Err(_) => Ran { error: "it did not end in time".to_owned(), ..Ran::default() },
    }
}

/// What comes out of a pipe, which is closed after the bound.
async fn read(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let mut said = Vec::new();
    if let Some(pipe) = pipe {
        let _ = pipe.take(MOST_OUTPUT).read_to_end(&mut said).await;
    }
    String::from_utf8_lossy(&said).into_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn shell(script: &str, patience: Duration) -> Ran {
        run(Path::new("/bin/sh"), &["-c", script], None, Instant::now() + patience).await
    }

    #[tokio::test]
    async fn a_program_is_heard() {
        let ran = shell("echo out; echo err >&2; exit 3", Duration::from_secs(20)).await;
        let expected = Ran { code: Some(3), output: "out\n".to_owned(), error: "err\n".to_owned() };
        assert_eq!(ran, expected);
        assert_eq!(ran.complaint(), "err");
    }

    #[tokio::test]
    async fn one_that_hangs_is_left_and_one_that_floods_is_cut() {
        let ran = shell("exec sleep 60", Duration::from_millis(200)).await;
        assert_eq!((ran.code, ran.error.as_str()), (None, "it did not end in time"));
        let ran = shell("exec yes", Duration::from_secs(20)).await;
        assert_eq!((ran.code, ran.output.len() as u64), (None, MOST_OUTPUT));
    }

    #[test]
    fn programs_are_found_below_the_root() {
        assert!(find(&Guest::default(), "sh").is_some());
        assert_eq!(find(&Guest::below("/nowhere"), "sh"), None);
    }
}
