//! What users who are not root can do, tried as these users.

use std::fs;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use tokio::time::Instant;

use super::{Observation, Wanted};
use crate::checks::accounts::{Accounts, User};
use crate::checks::program::{self, Ended, Program};
use crate::guest::Guest;
use crate::text;

/// For one program of the guest's.
const PROGRAM: Duration = Duration::from_secs(30);
/// Most users whose home directories are written to.
const MOST_HOMES: usize = 16;

/// What only a real user can say.
pub(super) async fn try_as_users(
    guest: &Guest,
    accounts: &Accounts,
    wanted: &[Wanted],
    deadline: Instant,
    seen: &mut Observation,
) {
    let users: Vec<(&Wanted, &User)> =
        wanted.iter().filter_map(|user| Some((user, accounts.find(&user.name)?))).collect();
    let first = users.first().map(|(_, account)| *account).or_else(|| accounts.find("nobody"));
    if let Some(shell) = program::program(guest, "sh") {
        if let Some(account) = first {
            write(guest, &shell, account, "/tmp", "/tmp", (deadline, seen)).await;
        }
        for (_, account) in users.iter().take(MOST_HOMES) {
            let home = text::one_line(&account.home);
            let own = fs::metadata(guest.path(&account.home)).is_ok_and(|home| home.uid() == account.uid);
            if own {
                let place = format!("its home directory {home}");
                write(guest, &shell, account, &account.home, &place, (deadline, seen)).await;
            }
        }
    }
    let Some(sudo) = program::program(guest, "sudo") else { return };
    for (user, account) in users.into_iter().filter(|(user, _)| user.sudo) {
        let program = sudo.clone().with(["-n", "true"]).user(account);
        let ran = program.run(deadline.min(Instant::now() + PROGRAM)).await;
        note(&user.name, "uses sudo", "use sudo without a password", &ran, seen);
    }
}

/// Has a user make a file in a directory, and take it away.
async fn write(
    guest: &Guest,
    shell: &Program,
    account: &User,
    directory: &str,
    place: &str,
    (deadline, seen): (Instant, &mut Observation),
) {
    let name = format!(".image-manager-{:016x}", RandomState::new().build_hasher().finish());
    let file = guest.path(directory).join(name);
    let arguments = ["-c", "set -C; echo x >\"$0\" && rm \"$0\"", file.to_str().unwrap_or_default()];
    let program = shell.clone().with(arguments).user(account);
    let ran = program.run(deadline.min(Instant::now() + PROGRAM)).await;
    // Nothing, unless it was ended between the two.
    let _ = fs::remove_file(&file);
    note(&account.name, &format!("writes to {place}"), &format!("write to {place}"), &ran, seen);
}

/// Takes note of what came of something that a user tried: what it `does`, and what it `can` do, or cannot.
fn note(name: &str, does: &str, can: &str, ran: &Ended, seen: &mut Observation) {
    seen.tried.push(format!("{name} {does}"));
    if ran.late {
        seen.unknown.push(format!("whether {name} can {can} is not known: {}", ran.complaint()));
    } else if !ran.is_good() {
        let why = ran.complaint();
        seen.faults.push(format!("{name} cannot {can}: {}", text::or(&why, "it says nothing")));
    }
}
