//! A real login, with a key pair made for the purpose.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::borrowed::Borrowed;
use crate::checks::program::{self, Ended, Program};
use crate::checks::sshd::Configuration;
use crate::guest::Guest;
use crate::text;

/// Where the key pair is for the moment: in memory, below a folder that the agent's removal takes.
const FOLDER: &str = "/run/image-manager";
const KEY: &str = "/run/image-manager/login-key";
/// The files of the key pair in it.
pub(crate) const KEYS: [&str; 2] = ["login-key", "login-key.pub"];
/// For the key pair, and for sshd's log.
const PATIENCE: Duration = Duration::from_mins(1);
/// The part of the time for a login that the client may take until the keys are exchanged: one in so many.
const CONNECTING: u32 = 3;
/// The exit code of a client that was not let in, or did not get so far.
const NOT_IN: i32 = 255;
/// What sshd writes to its log of somebody whom it does not let in, and why.
const REFUSALS: [&str; 6] = [
    "not allowed because",
    "Authentication refused",
    "Access denied",
    "bad ownership or modes",
    "Could not open",
    "not in PubkeyAcceptedAlgorithms",
];
/// While it is there only root may log in.
const NOLOGIN: &str = "/etc/nologin";
/// One login at a time: several checks of this kind share the key.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// What came of logging in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Login {
    /// Nothing: the image lacks what it takes to try.
    NotTried(String),
    /// Nothing: the user has no keys, and is to have none.
    NoKeys(String),
    /// Nothing: the schedule wants none.
    LeftOut,
    /// sshd did not let the user in, or did no work for it.
    Refused(String),
    /// There was no end of it in the time.
    Late(String),
    /// It did. `sudo` is what came of that, where it was tried: empty, or why it did not work.
    In {
        /// What came of sudo.
        sudo: Option<String>,
    },
    /// Not known yet.
    #[default]
    Unknown,
}

/// Who logs in.
pub(super) struct Candidate {
    pub(super) name: String,
    /// The file of its keys.
    pub(super) file: String,
    pub(super) sudo: bool,
}

/// Logs everybody in, and takes the key away again.
pub(super) async fn try_all(
    guest: &Guest,
    address: SocketAddr,
    candidates: Vec<Candidate>,
    configuration: &Configuration,
    (patience, deadline): (Duration, Instant),
) -> Vec<Login> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let nobody = |why: &str| candidates.iter().map(|_| Login::NotTried(why.to_owned())).collect();
    let Some(ssh) = program::find(guest, "ssh") else { return nobody("the image has no SSH client (ssh)") };
    let Some(keygen) = program::find(guest, "ssh-keygen") else {
        return nobody("the image has no ssh-keygen");
    };
    let key = match Key::generate(guest, &keygen, configuration, deadline).await {
        Ok(key) => key,
        Err(login) => return candidates.iter().map(|_| login.clone()).collect(),
    };
    let files: Vec<String> = candidates.iter().map(|candidate| candidate.file.clone()).collect();
    let (_borrowed, refused) = Borrowed::put(guest, &key.line, &files);
    let mut logins = vec![Login::Unknown; candidates.len()];
    // They end with the set, whatever becomes of this.
    let mut tasks = JoinSet::new();
    for (index, (candidate, login)) in candidates.into_iter().zip(&mut logins).enumerate() {
        if let Some((file, why)) = refused.iter().find(|(file, _)| *file == candidate.file) {
            *login = Login::NotTried(text::one_line(&format!("no key can be added to {file}: {why}")));
            continue;
        }
        let (guest, ssh) = (guest.clone(), ssh.clone());
        let login = async move { try_one(&guest, &ssh, address, &candidate, (patience, deadline)).await };
        tasks.spawn(async move { (index, login.await) });
    }
    while let Some(ended) = tasks.join_next().await {
        if let Ok((index, login)) = ended
            && let Some(slot) = logins.get_mut(index)
        {
            *slot = login;
        }
    }
    logins
}

async fn try_one(
    guest: &Guest,
    ssh: &Path,
    address: SocketAddr,
    who: &Candidate,
    (patience, deadline): (Duration, Instant),
) -> Login {
    let (host, port, key) = (address.ip().to_string(), address.port().to_string(), guest.path(KEY));
    let connect = format!("ConnectTimeout={}", (patience / CONNECTING).as_secs().max(1));
    let options = [
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "PreferredAuthentications=publickey",
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "GlobalKnownHostsFile=/dev/null",
        &connect,
    ];
    let mut arguments = vec!["-T", "-F", "/dev/null", "-i", key.to_str().unwrap_or_default()];
    arguments.extend(options.iter().flat_map(|option| ["-o", *option]));
    let command = if who.sudo { "id -un && sudo -n id -un" } else { "id -un" };
    arguments.extend(["-l", &who.name, "-p", &port, &host, command]);
    let ran = Program::at(ssh).with(arguments).run(deadline.min(Instant::now() + patience)).await;
    let login = outcome(who, &ran);
    match login {
        Login::Refused(said) => {
            let reason = reason(guest, &who.name, deadline.min(Instant::now() + PATIENCE)).await;
            Login::Refused(if reason.is_empty() { said } else { format!("{said} ({reason})") })
        }
        other => other,
    }
}

/// What a login has said.
fn outcome(who: &Candidate, ran: &Ended) -> Login {
    let is_warning = |line: &&str| !line.starts_with("Warning: Permanently added");
    let complaint = ran.err.lines().filter(is_warning).collect::<Vec<_>>().join(" ");
    let complaint = text::one_line(&complaint);
    let mut said = ran.out.lines().map(str::trim);
    if !said.any(|line| line == who.name) {
        // As OpenSSH's client puts it.
        if ran.code == Some(NOT_IN) && complaint.contains("timed out") {
            return Login::Late(complaint);
        }
        if ran.late {
            return Login::Late(text::one_line(&format!("{} {complaint}", ran.broken)));
        }
        let otherwise = format!("`id -un` gave no answer: {}", ran.complaint());
        return Login::Refused(text::or(&complaint, &otherwise).to_owned());
    }
    let became_root = said.any(|line| line == "root");
    if who.sudo && !became_root && ran.late {
        return Login::Late(text::one_line(&format!("logged in, but sudo did not end in time: {complaint}")));
    }
    let sudo = if became_root { "" } else { text::or(&complaint, "it gave no answer") };
    Login::In { sudo: who.sudo.then(|| sudo.to_owned()) }
}

/// Why sshd did not let somebody in: of most reasons only its log knows.
async fn reason(guest: &Guest, user: &str, deadline: Instant) -> String {
    if guest.has(NOLOGIN) {
        return format!("{NOLOGIN} keeps everybody but root out");
    }
    let Some(journalctl) = program::program(guest, "journalctl") else { return String::new() };
    let arguments =
        ["--boot", "--quiet", "--no-pager", "--output=cat", "--lines=40", "-t", "sshd", "-t", "sshd-session"];
    reason_in(&journalctl.with(arguments).run(deadline).await.out, user)
}

fn reason_in(log: &str, user: &str) -> String {
    let is_reason = |line: &&str| REFUSALS.iter().any(|refusal| line.contains(refusal));
    let mut found = log.lines().rev().filter(is_reason);
    let first = found.next().unwrap_or_default();
    // Some of the lines do not name the user.
    let of_user = log.lines().rev().filter(is_reason).find(|line| line.contains(user));
    text::one_line(of_user.unwrap_or(first))
}

/// The key pair; its files go when this goes.
struct Key {
    guest: Guest,
    line: String,
}

impl Key {
    async fn generate(
        guest: &Guest,
        keygen: &Path,
        configuration: &Configuration,
        deadline: Instant,
    ) -> Result<Self, Login> {
        let mut key = Self { guest: guest.clone(), line: String::new() };
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(guest.path(FOLDER));
        let none = |why: String| Login::NotTried(format!("no key could be made: {why}"));
        made.map_err(|error| none(format!("{FOLDER}: {error}")))?;
        key.remove();
        let path = guest.path(KEY);
        let path = path.to_str().unwrap_or_default();
        let kind = kind(configuration);
        let arguments = ["-q", "-t", kind, "-N", "", "-C", "image-manager-check", "-f", path];
        let ran = Program::at(keygen).with(arguments).run(deadline.min(Instant::now() + PATIENCE)).await;
        if ran.late {
            return Err(Login::Late(ran.broken));
        }
        if !ran.is_good() {
            return Err(none(ran.complaint()));
        }
        let public = guest.read(format!("{KEY}.pub")).map_err(|error| none(error.to_string()))?;
        public.trim().clone_into(&mut key.line);
        Ok(key)
    }

    fn remove(&self) {
        for name in KEYS {
            let _ = fs::remove_file(self.guest.path(format!("{FOLDER}/{name}")));
        }
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.remove();
    }
}

/// A kind of key that sshd takes; the quickest first.
fn kind(configuration: &Configuration) -> &'static str {
    let names = ["pubkeyacceptedalgorithms", "pubkeyacceptedkeytypes"];
    let taken = names.into_iter().map(|name| configuration.value(name)).find(|value| !value.is_empty());
    let takes = |algorithm: &str| taken.is_none_or(|taken| taken.split(',').any(|one| one == algorithm));
    if takes("ssh-ed25519") {
        "ed25519"
    } else if takes("ecdsa-sha2-nistp256") {
        "ecdsa"
    } else {
        "rsa"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(code: i32, output: &str, error: &str) -> Ended {
        Ended { code: Some(code), out: output.to_owned(), err: error.to_owned(), ..Ended::default() }
    }

    fn said(sudo: bool, code: i32, output: &str, error: &str) -> Login {
        let who = Candidate { name: "debian".to_owned(), file: String::new(), sudo };
        outcome(&who, &ran(code, output, error))
    }

    #[test]
    fn a_login_is_understood() {
        let warning = "Warning: Permanently added '127.0.0.1' (ED25519) to the list of known hosts.\n";
        assert_eq!(said(false, 0, "debian\n", warning), Login::In { sudo: None });
        assert_eq!(said(true, 0, "debian\nroot\n", warning), Login::In { sudo: Some(String::new()) });
        let asked = format!("{warning}sudo: a password is required\n");
        let Login::In { sudo: Some(why) } = said(true, 1, "Welcome\ndebian\n", &asked) else { panic!() };
        assert_eq!(why, "sudo: a password is required");
        let denied = format!("{warning}debian@127.0.0.1: Permission denied (publickey).\n");
        let refused = Login::Refused("debian@127.0.0.1: Permission denied (publickey).".to_owned());
        assert_eq!(said(true, 255, "", &denied), refused);
        assert!(
            matches!(said(false, 0, "Please log in elsewhere", ""), Login::Refused(why) if why.contains("elsewhere"))
        );
    }

    #[test]
    fn a_login_without_an_end_is_not_refused() {
        let who = |sudo| Candidate { name: "debian".to_owned(), file: String::new(), sudo };
        let late = |said: &str, sudo| {
            let broken = "ssh did not finish in time".to_owned();
            outcome(&who(sudo), &Ended { code: None, broken, late: true, ..ran(0, said, "") })
        };
        assert!(matches!(late("", false), Login::Late(why) if why.contains("in time")));
        assert!(matches!(late("debian\n", true), Login::Late(why) if why.contains("sudo")));
        assert_eq!(late("debian\nroot\n", true), Login::In { sudo: Some(String::new()) });
        for client in [
            "Connection timed out during banner exchange\nConnection to 127.0.0.1 port 22 timed out\n",
            "ssh: connect to host 127.0.0.1 port 22: Connection timed out\n",
        ] {
            assert!(matches!(said(false, 255, "", client), Login::Late(_)), "{client}");
        }
        let closed = "kex_exchange_identification: Connection closed by remote host\n";
        assert!(matches!(said(false, 255, "", closed), Login::Refused(_)));
    }

    #[test]
    fn the_log_has_the_reason() {
        let log = "Server listening on :: port 22.\nUser ops from 127.0.0.1 not allowed because not listed in AllowUsers\n\
                   User debian from 127.0.0.1 not allowed because not listed in AllowUsers\nConnection closed\n\
                   Authentication refused: bad ownership or modes for directory /home/ops\n";
        assert!(reason_in(log, "debian").starts_with("User debian"));
        assert!(reason_in(log, "other").starts_with("Authentication refused"));
        assert_eq!(reason_in("Accepted publickey for debian", "debian"), "");
    }

    #[test]
    fn a_kind_of_key_is_chosen_that_is_taken() {
        let with = |value: &str| Configuration {
            lines: vec![("pubkeyacceptedalgorithms".to_owned(), value.to_owned())],
            ..Configuration::default()
        };
        assert_eq!(kind(&Configuration::default()), "ed25519");
        assert_eq!(kind(&with("rsa-sha2-256,ssh-ed25519")), "ed25519");
        assert_eq!(kind(&with("ecdsa-sha2-nistp256,rsa-sha2-256")), "ecdsa");
        assert_eq!(kind(&with("rsa-sha2-512")), "rsa");
    }
}
