//! What was seen of an SSH server and its users, judged.

use image_manager_proto::counted;
use image_manager_proto::v1::{CheckOutcome, ServerFacts};
use serde_json::{Value as Json, json};

use super::login::Login;
use super::{Asked, Exchange, Observation, RootLogin, Settings, UserSeen};
use crate::checks::sshd::{Configuration, Connection};
use crate::checks::{Judgement, host_keys, instance, public_keys};
use crate::text;

/// What an observation means.
pub fn judge(settings: &Settings, server: &ServerFacts, seen: &Observation) -> Judgement {
    use CheckOutcome::{Fail, Inconclusive, Pass};
    let failure = unanswered(seen)
        .or_else(|| wrong_keys(seen))
        .or_else(|| wrong_configuration(settings, server, seen))
        .or_else(|| seen.users.iter().find_map(wrong_user));
    let (outcome, summary) = match failure {
        Some(why) if seen.unsettled => (Inconclusive, format!("{why}; {}", instance::UNSETTLED)),
        Some(why) => (Fail, why),
        // An SSH server that is not OpenSSH: there is nobody to ask for its configuration.
        None if !seen.installed && seen.met.is_some() => {
            (Inconclusive, "an SSH server answers, but there is no sshd to ask".to_owned())
        }
        None => unknown(seen).map_or_else(|| (Pass, success(seen)), |why| (Inconclusive, why)),
    };
    Judgement::new(outcome, summary, &as_json(server, seen))
}

fn unanswered(seen: &Observation) -> Option<String> {
    let error = &seen.configuration.error;
    // Without its unit running its directory is not there, which is no fault of the configuration.
    let is_wrong = !error.is_empty() && !error.contains("privilege separation directory");
    let unmet = match &seen.unmet {
        None => return (!error.is_empty()).then(|| format!("sshd rejects its configuration: {error}")),
        Some(unmet) if unmet.late => {
            return is_wrong.then(|| format!("sshd rejects its configuration: {error}"));
        }
        Some(unmet) => unmet,
    };
    if !seen.installed {
        return Some("no SSH server is installed; write `checks.ssh = false` if none is intended".to_owned());
    }
    let off = ["is masked", "is not enabled"].iter().any(|state| seen.unit.ends_with(state));
    if off {
        return Some(format!("sshd is not running: {}", seen.unit));
    }
    if error.contains("no hostkeys available") {
        return Some(format!("sshd has no host keys and is not running: {error}"));
    }
    if is_wrong {
        return Some(format!("sshd is not running, because it rejects its configuration: {error}"));
    }
    let unit = text::or(&seen.unit, "systemd knows no unit for it");
    Some(format!("sshd is not running: {unit}; {}", unmet.why))
}

fn wrong_keys(seen: &Observation) -> Option<String> {
    if let Some(baked) = host_keys::came_with_the_image(&seen.host_keys) {
        return Some(baked);
    }
    if let Some(exposed) = seen.host_keys.iter().find_map(|key| key.exposed.clone()) {
        return Some(exposed);
    }
    // There is an sshd to say which it has, and it runs with some.
    if seen.host_keys.is_empty() && seen.met.is_some() && seen.configuration.is_known() && !has_agent(seen) {
        let named: Vec<String> = seen.configuration.values("hostkey").map(text::one_line).collect();
        return Some(format!(
            "sshd answers, but none of its host keys is there to be examined (HostKey: {})",
            text::list(&named)
        ));
    }
    match &seen.exchange {
        Some(Exchange::Failed(why)) => Some(format!("sshd does not complete a key exchange: {why}")),
        Some(Exchange::Proved(key)) => {
            let known = seen.host_keys.iter().any(|host| host.key.is_empty() || host.key == *key);
            let unknown = !known && !seen.host_keys.is_empty();
            unknown.then(|| {
                let files: Vec<String> = seen.host_keys.iter().map(|key| key.name.clone()).collect();
                let files = text::list(&files);
                format!("sshd answers with a host key that is in none of its files ({files}): it was not restarted")
            })
        }
        Some(Exchange::Late(_)) | None => None,
    }
}

/// Its host keys are held by a program, and not in files.
fn has_agent(seen: &Observation) -> bool {
    !["", "none"].contains(&seen.configuration.value("hostkeyagent"))
}

fn wrong_configuration(settings: &Settings, server: &ServerFacts, seen: &Observation) -> Option<String> {
    if !seen.configuration.is_known() {
        return None;
    }
    let known = || seen.exceptions.iter().filter(|asked| asked.configuration.is_known());
    let of_root = || known().filter(|asked| asked.connection.is_roots());
    let invalid = seen.exceptions.iter().find(|asked| !asked.configuration.error.is_empty());
    if let Some(Asked { connection, configuration }) = invalid {
        let error = &configuration.error;
        return Some(format!(
            "sshd rejects its configuration for {}{}: {error}",
            connection.user,
            met(connection)
        ));
    }
    let lets_root_in = |configuration: &Configuration| match settings.root_login {
        RootLogin::Prohibit => configuration.takes_roots_password(),
        RootLogin::No => configuration.value("permitrootlogin") != "no",
        RootLogin::Any => false,
    };
    let root = to_tell_of(
        of_root().filter(|asked| lets_root_in(&asked.configuration)),
        lets_root_in(&seen.configuration),
    );
    if let Some(Asked { connection, configuration }) = root {
        let (value, met) = (text::one_line(configuration.value("permitrootlogin")), met(connection));
        return Some(match settings.root_login {
            RootLogin::No => format!("sshd lets root log in{met}: PermitRootLogin is {value}"),
            _ => format!(
                "sshd lets root log in by password{met}: PermitRootLogin is {value}, and it accepts passwords"
            ),
        });
    }
    let takes = to_tell_of(
        known().filter(|asked| !asked.connection.is_roots() && asked.configuration.takes_passwords()),
        seen.configuration.takes_passwords(),
    );
    match (seen.configuration.takes_passwords() || takes.is_some(), server.ssh_password_authentication) {
        (true, false) => {
            let exception = takes.filter(|_| !seen.configuration.takes_passwords());
            let who =
                exception.map(|asked| format!(" from {}{}", asked.connection.user, met(&asked.connection)));
            let who = who.unwrap_or_default();
            Some(format!("sshd accepts passwords{who}, though image.ssh_password_authentication is false"))
        }
        (false, true) if known().count() == seen.exceptions.len() => {
            Some("sshd accepts no passwords, though image.ssh_password_authentication is true".to_owned())
        }
        _ => None,
    }
}

/// The one of these answers to tell of. sshd applies a block of `Match` to whoever meets it, also where nothing but the
/// user was asked about: unless the configuration is so without any block, too, it is the block that must be named.
fn to_tell_of<'a>(asked: impl Iterator<Item = &'a Asked>, without_blocks: bool) -> Option<&'a Asked> {
    let all: Vec<&Asked> = asked.collect();
    let by_block = all.iter().find(|asked| !without_blocks && !asked.connection.meets.is_empty());
    by_block.or(all.first()).copied()
}

/// The conditions that a connection meets, in brackets.
fn met(connection: &Connection) -> String {
    let conditions = text::one_line(&connection.meets);
    if conditions.is_empty() { String::new() } else { format!(" (`{conditions}`)") }
}

/// What is not known, where nothing is wrong with what is.
fn unknown(seen: &Observation) -> Option<String> {
    if let Some(unmet) = &seen.unmet {
        return Some(format!("whether sshd runs is not known: {}", unmet.why));
    }
    let answers =
        [&seen.configuration].into_iter().chain(seen.exceptions.iter().map(|asked| &asked.configuration));
    if let Some(why) = answers.map(|asked| &asked.unknown).find(|why| !why.is_empty()) {
        return Some(format!("what sshd is configured to do is not known: {why}"));
    }
    if seen.host_keys.is_empty() {
        let agent = text::one_line(seen.configuration.value("hostkeyagent"));
        return Some(format!(
            "sshd's host keys are held by a program (HostKeyAgent {agent}): their age is not known"
        ));
    }
    if let Some(Exchange::Late(why)) = &seen.exchange {
        return Some(format!("whether sshd completes a key exchange is not known: {why}"));
    }
    let login = |user: &UserSeen| {
        let name = text::one_line(&user.name);
        match &user.login {
            Login::NotTried(why) => Some(format!(
                "{name}'s login could not be tried: {why}; write `checks.ssh.login = false` if that is intended"
            )),
            Login::Late(why) => Some(format!("whether {name} can log in is not known: {why}")),
            Login::Unknown => Some(format!("{name}'s login was not tried: there was no time for it")),
            _ => None,
        }
    };
    seen.users.iter().find_map(login)
}

fn wrong_user(user: &UserSeen) -> Option<String> {
    let (name, file) = (text::one_line(&user.name), text::one_line(&user.file));
    if !user.exists {
        return Some(format!("{name} cannot log in: there is no such user"));
    }
    if file.is_empty() {
        let none = "sshd reads no keys from files (AuthorizedKeysFile none), and asks no program for them";
        let lost = !user.missing.is_empty() && !user.command;
        return lost.then(|| format!("{name} cannot log in by key: {none}"));
    }
    if let Some(key) = user.missing.first() {
        return Some(format!("{name}'s key {key} is not in {file}: it was not injected"));
    }
    if let Some(exposed) = &user.exposed {
        return Some(format!("sshd does not accept {name}'s keys: {}", text::one_line(exposed)));
    }
    match &user.login {
        Login::Refused(why) => Some(format!("{name} cannot log in by key: {why}")),
        Login::In { sudo: Some(why) } if !why.is_empty() => {
            Some(format!("{name} has logged in by key, but cannot use sudo: {why}"))
        }
        _ => None,
    }
}

fn success(seen: &Observation) -> String {
    let banner = seen.met.as_ref().map_or("", |(_, banner)| banner);
    let name = banner.splitn(3, '-').nth(2).unwrap_or(banner);
    let is_in = |user: &&UserSeen| matches!(user.login, Login::In { .. });
    let logged_in: Vec<String> = seen.users.iter().filter(is_in).map(|user| user.name.clone()).collect();
    let logins = if logged_in.is_empty() {
        let why = seen.users.iter().find_map(|user| match &user.login {
            Login::NoKeys(why) => Some(why.as_str()),
            Login::LeftOut => Some("checks.ssh.login is false"),
            _ => None,
        });
        format!("no login was tried: {}", why.unwrap_or("no user is known"))
    } else {
        format!("{} logged in by key", text::list(&logged_in))
    };
    format!("{name} answers with {} of this boot, {logins}", counted(seen.host_keys.len(), "host key"))
}

fn as_json(server: &ServerFacts, seen: &Observation) -> Json {
    let value = |key: &str| seen.configuration.value(key).to_owned();
    let login = |login: &Login| match login {
        Login::Unknown => "not tried".to_owned(),
        Login::NotTried(why) | Login::NoKeys(why) => format!("not tried: {why}"),
        Login::LeftOut => "not tried: checks.ssh.login is false".to_owned(),
        Login::Late(why) => format!("no answer: {why}"),
        Login::Refused(why) => format!("refused: {why}"),
        Login::In { sudo: None } => "in".to_owned(),
        Login::In { sudo: Some(why) } if why.is_empty() => "in, with sudo".to_owned(),
        Login::In { sudo: Some(why) } => format!("in, without sudo: {why}"),
    };
    let connection = |Asked { connection, configuration }: &Asked| {
        json!({
            "user": connection.user,
            "conditions": connection.meets,
            "takes_passwords": configuration.takes_passwords(),
            "permit_root_login": configuration.value("permitrootlogin"),
            "error": text::or(&configuration.error, &configuration.unknown),
        })
    };
    let user = |user: &UserSeen| {
        json!({
            "name": user.name,
            "authorized_keys": user.file,
            "missing_keys": user.missing,
            "exposed": user.exposed,
            "login": login(&user.login),
        })
    };
    json!({
        "installed": seen.installed,
        "address": seen.met.as_ref().map(|(address, _)| address.to_string()),
        "banner": seen.met.as_ref().map(|(_, banner)| banner),
        "error": seen.unmet.as_ref().map(|unmet| &unmet.why),
        "unit": seen.unit,
        "configuration_error": seen.configuration.error,
        "configuration_unknown": seen.configuration.unknown,
        "takes_passwords": seen.configuration.takes_passwords(),
        "takes_passwords_expected": server.ssh_password_authentication,
        "permit_root_login": value("permitrootlogin"),
        "host_keys": host_keys::as_json(&seen.host_keys),
        "proved_host_key": seen.exchange.as_ref().map(|exchange| match exchange {
            Exchange::Proved(key) => public_keys::fingerprint(key),
            Exchange::Failed(why) | Exchange::Late(why) => why.clone(),
        }),
        "connections": seen.exceptions.iter().map(connection).collect::<Vec<_>>(),
        "match_blocks_left_out": seen.left_out,
        "users": seen.users.iter().map(user).collect::<Vec<_>>(),
        "boot_ended": !seen.unsettled,
        "waited_seconds": seen.waited.as_secs_f64(),
    })
}
