//! Who logs in, how often, and what becomes of those who cannot.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::login::{self, Candidate, Login};
use super::{LONGEST_PAUSE, UserSeen};
use crate::checks::pause;
use crate::checks::sshd::Configuration;
use crate::guest::Guest;

/// How long a login may take, with sudo, in each round. In the last one only those are tried again who had no answer at
/// all: sshd shuts out who fails too often.
const ROUNDS: [Duration; 3] = [Duration::from_mins(1), Duration::from_secs(90), Duration::from_mins(2)];

/// Logs everybody in; who is not let in, or not heard, is tried again.
pub(super) async fn log_in(
    guest: &Guest,
    address: SocketAddr,
    users: &mut [UserSeen],
    configuration: &Configuration,
    deadline: Instant,
) {
    for user in users.iter_mut().filter(|user| user.login == Login::Unknown) {
        if let Some(reason) = reason_against(guest, user) {
            user.login = reason;
        }
    }
    for (round, patience) in ROUNDS.into_iter().enumerate() {
        let is_open = |user: &&mut UserSeen| match user.login {
            // Without a file it is not known where the key is to be.
            Login::Unknown | Login::Late(_) => !user.file.is_empty(),
            // In case something was still on its way.
            Login::Refused(_) => round == 1,
            _ => false,
        };
        let open: Vec<&mut UserSeen> = users.iter_mut().filter(is_open).collect();
        if open.is_empty() {
            return;
        }
        let mut wait = LONGEST_PAUSE;
        if round > 0 && !pause(&mut wait, LONGEST_PAUSE, deadline).await {
            return;
        }
        let candidate = |user: &&mut UserSeen| Candidate {
            name: user.name.clone(),
            file: user.file.clone(),
            sudo: user.sudo,
        };
        let candidates = open.iter().map(candidate).collect();
        let logins = login::try_all(guest, address, candidates, configuration, (patience, deadline)).await;
        for (user, login) in open.into_iter().zip(logins) {
            user.login = login;
        }
    }
}

/// Why a user is not to be tried at all.
fn reason_against(guest: &Guest, user: &UserSeen) -> Option<Login> {
    if !user.exists {
        return Some(Login::NoKeys("there is no such user".to_owned()));
    }
    if user.file.is_empty() {
        let why = "sshd reads no keys from files";
        return Some(if user.command {
            Login::NotTried(why.to_owned())
        } else {
            Login::NoKeys(why.to_owned())
        });
    }
    let none = || Login::NoKeys(format!("there is no {}, and no key that should be in it", user.file));
    (!guest.has(&user.file)).then(none)
}
