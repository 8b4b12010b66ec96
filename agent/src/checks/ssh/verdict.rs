//! What was seen of an SSH server and its users, judged.

use image_manager_proto::counted;
use image_manager_proto::v1::{CheckOutcome, ServerFacts};
use serde_json::{Value as Json, json};

use super::login::Login;
use super::{Observation, RootLogin, Settings, UserSeen};
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
        // An SSH server that is not OpenSSH: there is nobody to ask for its configuration.
        None if !seen.installed => {
            (Inconclusive, "an SSH server answers, but there is no sshd to ask".to_owned())
        }
        Some(why) => (Fail, why),
        None => (Pass, success(seen)),
    };
    Judgement::new(outcome, summary, &as_json(server, seen))
}

fn unanswered(seen: &Observation) -> Option<String> {
    let error = &seen.configuration.error;
    if seen.met.is_some() {
        return (!error.is_empty()).then(|| format!("sshd rejects its configuration: {error}"));
    }
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
    // Without its unit running its directory is not there, which is no fault of the configuration.
    if !error.is_empty() && !error.contains("privilege separation directory") {
        return Some(format!("sshd is not running, because it rejects its configuration: {error}"));
    }
    let unit = text::or(&seen.unit, "systemd knows no unit for it");
    Some(format!("sshd is not running: {unit}; {}", seen.unmet))
}

fn wrong_keys(seen: &Observation) -> Option<String> {
    let baked = host_keys::came_with_the_image(&seen.host_keys);
    baked.or_else(|| seen.host_keys.iter().find_map(|key| key.exposed.clone())).or_else(|| {
        match &seen.proved {
            Some(Err(why)) => Some(format!("sshd does not complete a key exchange: {why}")),
            Some(Ok(key)) => {
                let known = seen.host_keys.iter().any(|host| host.key.is_empty() || host.key == *key);
                let unknown = !known && !seen.host_keys.is_empty();
                unknown.then(|| {
                    "sshd answers with a host key that is not in /etc/ssh: it was not restarted".to_owned()
                })
            }
            None => None,
        }
    })
}

fn wrong_configuration(settings: &Settings, server: &ServerFacts, seen: &Observation) -> Option<String> {
    let configuration = &seen.configuration;
    if configuration.lines.is_empty() {
        return None;
    }
    match (configuration.takes_passwords(), server.ssh_password_authentication) {
        (true, false) => {
            return Some(
                "sshd accepts passwords, though image.ssh_password_authentication is false".to_owned(),
            );
        }
        (false, true) => {
            return Some(
                "sshd accepts no passwords, though image.ssh_password_authentication is true".to_owned(),
            );
        }
        _ => {}
    }
    let root = configuration.value("permitrootlogin");
    let wrong = match settings.root_login {
        RootLogin::Prohibit => root == "yes",
        RootLogin::No => root != "no",
        RootLogin::Any => false,
    };
    wrong.then(|| format!("sshd lets root log in: PermitRootLogin is {}", text::one_line(root)))
}

fn wrong_user(user: &UserSeen) -> Option<String> {
    let (name, file) = (text::one_line(&user.name), text::one_line(&user.file));
    if !user.exists {
        return Some(format!("{name} cannot log in: there is no such user"));
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
            Login::NotTried(why) => Some(why.as_str()),
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
        Login::NotTried(why) => format!("not tried: {why}"),
        Login::Refused(why) => format!("refused: {why}"),
        Login::In { sudo: None } => "in".to_owned(),
        Login::In { sudo: Some(why) } if why.is_empty() => "in, with sudo".to_owned(),
        Login::In { sudo: Some(why) } => format!("in, without sudo: {why}"),
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
        "error": seen.unmet,
        "unit": seen.unit,
        "configuration_error": seen.configuration.error,
        "takes_passwords": seen.configuration.takes_passwords(),
        "takes_passwords_expected": server.ssh_password_authentication,
        "permit_root_login": value("permitrootlogin"),
        "host_keys": host_keys::as_json(&seen.host_keys),
        "proved_host_key": seen.proved.as_ref().map(|proved| match proved {
            Ok(key) => public_keys::fingerprint(key),
            Err(why) => why.clone(),
        }),
        "users": seen.users.iter().map(user).collect::<Vec<_>>(),
        "cloud_init_ended": !seen.unsettled,
        "waited_seconds": seen.waited.as_secs_f64(),
    })
}
