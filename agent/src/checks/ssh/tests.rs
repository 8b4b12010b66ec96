use image_manager_proto::v1::CheckOutcome;

use super::*;

mod observed;

const HOST: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIB1R1jP1KaP0M/h3QCE+F0bY72GxCKSbqPCcqVm1x63S";

/// What sshd says of a connection of this user, as of all on a good Debian 12 but for these lines.
fn asked(user: &str, lines: &str) -> Asked {
    let good = "usepam yes\npermitrootlogin no\npasswordauthentication no\nkbdinteractiveauthentication no";
    let pair = |line: &str| line.split_once(' ').map(|(key, value)| (key.to_owned(), value.to_owned()));
    let lines = lines.lines().chain(good.lines()).filter_map(pair).collect();
    Asked {
        connection: Connection::from_abroad(user).unwrap(),
        configuration: Configuration { lines, ..Configuration::default() },
    }
}

/// As a good Debian 12 is seen.
fn good() -> Observation {
    let lines = [
        ("port", "22"),
        ("listenaddress", "0.0.0.0:22"),
        ("usepam", "yes"),
        ("permitrootlogin", "no"),
        ("passwordauthentication", "no"),
        ("kbdinteractiveauthentication", "no"),
        ("authorizedkeysfile", ".ssh/authorized_keys .ssh/authorized_keys2"),
    ];
    let user = |name: &str| UserSeen {
        name: name.to_owned(),
        exists: true,
        file: format!("/home/{name}/.ssh/authorized_keys"),
        sudo: true,
        login: Login::In { sudo: Some(String::new()) },
        ..UserSeen::default()
    };
    let host_key =
        HostKey { name: "ssh_host_ed25519_key".to_owned(), key: HOST.to_owned(), ..HostKey::default() };
    Observation {
        installed: true,
        configuration: Configuration {
            lines: lines.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            ..Configuration::default()
        },
        met: Some(("127.0.0.1:22".parse().unwrap(), "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u7".to_owned())),
        host_keys: vec![host_key],
        exchange: Some(Exchange::Proved(HOST.to_owned())),
        exceptions: vec![asked("debian", ""), asked("root", "")],
        users: vec![user("debian"), user("ops")],
        ..Observation::default()
    }
}

fn judged(seen: &Observation) -> (CheckOutcome, String) {
    let judgement = judge(&Settings::default(), &ServerFacts::default(), seen);
    (judgement.outcome, judgement.summary)
}

fn fails(change: impl Fn(&mut Observation), with: &str) {
    let mut seen = good();
    change(&mut seen);
    let (outcome, summary) = judged(&seen);
    assert_eq!((outcome, summary.as_str()), (CheckOutcome::Fail, with));
    seen.unsettled = true;
    assert_eq!(judged(&seen).0, CheckOutcome::Inconclusive, "a slow machine is no bad image");
}

fn set(seen: &mut Observation, key: &str, value: &str) {
    seen.configuration.lines.retain(|(name, _)| name != key);
    seen.configuration.lines.push((key.to_owned(), value.to_owned()));
}

#[test]
fn a_good_server_passes() {
    let expected =
        "OpenSSH_9.2p1 Debian-2+deb12u7 answers with 1 host key of this boot, debian, ops logged in by key";
    assert_eq!(judged(&good()), (CheckOutcome::Pass, expected.to_owned()));
    for (login, why) in [
        (Login::LeftOut, "checks.ssh.login is false"),
        (Login::NoKeys("there is no /home/debian/.ssh/authorized_keys".to_owned()), "there is no /home"),
    ] {
        let mut without = good();
        for user in &mut without.users {
            user.login = login.clone();
        }
        without.exchange = None;
        let (outcome, summary) = judged(&without);
        assert_eq!(outcome, CheckOutcome::Pass);
        assert!(summary.contains(&format!("no login was tried: {why}")), "{summary}");
    }
}

fn is_unknown(change: impl Fn(&mut Observation), with: &str) {
    let mut seen = good();
    change(&mut seen);
    assert_eq!(judged(&seen), (CheckOutcome::Inconclusive, with.to_owned()));
}

#[test]
fn what_was_not_tried_or_did_not_answer_is_not_known() {
    let login = |login: Login| move |seen: &mut Observation| seen.users[1].login = login.clone();
    is_unknown(
        login(Login::NotTried("the image has no SSH client (ssh)".to_owned())),
        "ops's login could not be tried: the image has no SSH client (ssh); write `checks.ssh.login = false` if that is \
         intended",
    );
    is_unknown(
        login(Login::Late("ssh did not finish in time".to_owned())),
        "whether ops can log in is not known: ssh did not finish in time",
    );
    is_unknown(
        |seen| seen.exchange = Some(Exchange::Late("no key came within 60.0 s".to_owned())),
        "whether sshd completes a key exchange is not known: no key came within 60.0 s",
    );
    let slow =
        || Configuration { unknown: "sshd did not finish in time".to_owned(), ..Configuration::default() };
    let unknown = "what sshd is configured to do is not known: sshd did not finish in time";
    is_unknown(|seen| seen.configuration = slow(), unknown);
    is_unknown(|seen| seen.exceptions[1].configuration = slow(), unknown);
    is_unknown(
        |seen| {
            seen.met = None;
            seen.unmet = Some(Unmet { why: "127.0.0.1:22: no answer in time".to_owned(), late: true });
            seen.exchange = None;
        },
        "whether sshd runs is not known: 127.0.0.1:22: no answer in time",
    );
    // What is wrong for certain counts all the same.
    fails(
        |seen| {
            login(Login::Late("x".to_owned()))(seen);
            set(seen, "passwordauthentication", "yes");
        },
        "sshd accepts passwords, though image.ssh_password_authentication is false",
    );
}

#[test]
fn what_is_for_some_connections_only_counts() {
    let exception = |user: &str, conditions: &str, lines: &str| {
        let mut asked = asked(user, lines);
        conditions.clone_into(&mut asked.connection.meets);
        move |seen: &mut Observation| seen.exceptions.push(asked.clone())
    };
    fails(
        exception("root", "Match User root", "permitrootlogin yes\npasswordauthentication yes"),
        "sshd lets root log in by password (`Match User root`): PermitRootLogin is yes, and it accepts passwords",
    );
    fails(
        exception("nobody", "Match Address 10.0.0.0/8", "passwordauthentication yes"),
        "sshd accepts passwords from nobody (`Match Address 10.0.0.0/8`), though image.ssh_password_authentication is \
         false",
    );
    // Who meets a block does so without being asked about it, too; it is told all the same.
    let open = "permitrootlogin yes\npasswordauthentication yes";
    let by_block = exception("root", "Match User root", open);
    fails(
        |seen| {
            seen.exceptions[1] = asked("root", open);
            by_block(seen);
        },
        "sshd lets root log in by password (`Match User root`): PermitRootLogin is yes, and it accepts passwords",
    );
    let by_block = exception("debian", "Match User debian", "passwordauthentication yes");
    fails(
        |seen| {
            seen.exceptions[0] = asked("debian", "passwordauthentication yes");
            by_block(seen);
        },
        "sshd accepts passwords from debian (`Match User debian`), though image.ssh_password_authentication is false",
    );
    // Where it is so for all, no block is to blame.
    let by_block = exception("root", "Match User root", open);
    fails(
        |seen| {
            set(seen, "permitrootlogin", "yes");
            set(seen, "passwordauthentication", "yes");
            seen.exceptions[1] = asked("root", open);
            by_block(seen);
        },
        "sshd lets root log in by password: PermitRootLogin is yes, and it accepts passwords",
    );
    let mut bad = asked("debian", "");
    bad.configuration = Configuration { error: "line 9: bad".to_owned(), ..Configuration::default() };
    fails(|seen| seen.exceptions.push(bad.clone()), "sshd rejects its configuration for debian: line 9: bad");
    let with = |settings: &Settings, server: &ServerFacts, change: &dyn Fn(&mut Observation)| {
        let mut seen = good();
        change(&mut seen);
        judge(settings, server, &seen).outcome
    };
    let none = ServerFacts::default();
    let by_key =
        exception("root", "Match User root", "permitrootlogin prohibit-password\npasswordauthentication yes");
    assert_eq!(with(&Settings::default(), &none, &by_key), CheckOutcome::Pass, "root cannot make use of it");
    let no = Settings { root_login: RootLogin::No, ..Settings::default() };
    assert_eq!(with(&no, &none, &by_key), CheckOutcome::Fail);
    let any = Settings { root_login: RootLogin::Any, ..Settings::default() };
    let open = exception("root", "Match User root", "permitrootlogin yes\npasswordauthentication yes");
    assert_eq!(with(&any, &none, &open), CheckOutcome::Pass);
    let taking = ServerFacts { ssh_password_authentication: true, ..ServerFacts::default() };
    let inside = exception("debian", "Match Address 10.0.0.0/8", "passwordauthentication yes");
    assert_eq!(with(&Settings::default(), &taking, &inside), CheckOutcome::Pass, "somebody's is taken");
}

#[test]
fn a_server_that_does_not_run_fails_with_its_cause() {
    let down = |unit: &'static str, error: &'static str| {
        move |seen: &mut Observation| {
            seen.met = None;
            seen.unmet = Some(Unmet { why: "127.0.0.1:22: Connection refused".to_owned(), late: false });
            unit.clone_into(&mut seen.unit);
            seen.configuration.lines.clear();
            seen.exceptions.clear();
            error.clone_into(&mut seen.configuration.error);
        }
    };
    fails(
        down("ssh.service is masked", "no hostkeys available"),
        "sshd is not running: ssh.service is masked",
    );
    fails(
        down("ssh.service is not enabled", "Missing privilege separation directory: /run/sshd"),
        "sshd is not running: ssh.service is not enabled",
    );
    fails(
        down("ssh.service has failed (exit-code)", "sshd: no hostkeys available -- exiting."),
        "sshd has no host keys and is not running: sshd: no hostkeys available -- exiting.",
    );
    let word = "99-site.conf: line 1: Bad configuration option: PermitRootLogins";
    fails(
        down("ssh.service has failed (exit-code)", word),
        &format!("sshd is not running, because it rejects its configuration: {word}"),
    );
    fails(
        down("", "Missing privilege separation directory: /run/sshd"),
        "sshd is not running: systemd knows no unit for it; 127.0.0.1:22: Connection refused",
    );
    fails(
        |seen| {
            down("", "")(seen);
            seen.installed = false;
        },
        "no SSH server is installed; write `checks.ssh = false` if none is intended",
    );
    fails(|seen| seen.configuration.error = "x".to_owned(), "sshd rejects its configuration: x");
}

#[test]
fn an_unknown_server_is_not_judged() {
    let other = Observation { installed: false, configuration: Configuration::default(), ..good() };
    assert_eq!(judged(&other).0, CheckOutcome::Inconclusive);
}

#[test]
fn host_keys_are_this_servers_own() {
    fails(
        |seen| seen.host_keys[0].baked = true,
        "host key ssh_host_ed25519_key was made before this boot: it came with the image",
    );
    fails(
        |seen| seen.host_keys[0].exposed = Some("host key x has mode 0644, not 0600".to_owned()),
        "host key x has mode 0644, not 0600",
    );
    fails(
        |seen| seen.exchange = Some(Exchange::Proved("AAAAother".to_owned())),
        "sshd answers with a host key that is in none of its files (ssh_host_ed25519_key): it was not restarted",
    );
    fails(
        |seen| seen.exchange = Some(Exchange::Failed("no matching key exchange method found".to_owned())),
        "sshd does not complete a key exchange: no matching key exchange method found",
    );
    let without = |seen: &mut Observation| {
        seen.host_keys.clear();
        set(seen, "hostkey", "/etc/ssh/site_key");
    };
    fails(
        without,
        "sshd answers, but none of its host keys is there to be examined (HostKey: /etc/ssh/site_key)",
    );
    is_unknown(
        |seen| {
            without(seen);
            set(seen, "hostkeyagent", "/run/agent");
        },
        "sshd's host keys are held by a program (HostKeyAgent /run/agent): their age is not known",
    );
}

#[test]
fn passwords_and_root_are_as_the_schedule_says() {
    fails(
        |seen| set(seen, "passwordauthentication", "yes"),
        "sshd accepts passwords, though image.ssh_password_authentication is false",
    );
    let taking = ServerFacts { ssh_password_authentication: true, ..ServerFacts::default() };
    let judgement = judge(&Settings::default(), &taking, &good());
    assert_eq!(judgement.outcome, CheckOutcome::Fail);
    assert!(judgement.summary.contains("accepts no passwords"), "{}", judgement.summary);

    let with = |root_login, value, taking: &ServerFacts| {
        let mut seen = good();
        let passwords = if taking.ssh_password_authentication { "yes" } else { "no" };
        set(&mut seen, "passwordauthentication", passwords);
        let lines = format!("permitrootlogin {value}\npasswordauthentication {passwords}");
        seen.exceptions[1] = asked("root", &lines);
        judge(&Settings { root_login, ..Settings::default() }, taking, &seen)
    };
    let none = ServerFacts::default();
    for value in ["yes", "prohibit-password", "without-password", "forced-commands-only", "no"] {
        let judged = with(RootLogin::Prohibit, value, &none);
        assert_eq!(judged.outcome, CheckOutcome::Pass, "never by password: {value}");
    }
    assert_eq!(with(RootLogin::Prohibit, "prohibit-password", &taking).outcome, CheckOutcome::Pass);
    let judged = with(RootLogin::Prohibit, "yes", &taking);
    assert_eq!(judged.outcome, CheckOutcome::Fail);
    let why = "sshd lets root log in by password: PermitRootLogin is yes, and it accepts passwords";
    assert_eq!(judged.summary, why);
    let judged = with(RootLogin::No, "prohibit-password", &none);
    let why = "sshd lets root log in: PermitRootLogin is prohibit-password";
    assert_eq!((judged.outcome, judged.summary.as_str()), (CheckOutcome::Fail, why));
    assert_eq!(with(RootLogin::Any, "yes", &taking).outcome, CheckOutcome::Pass);
}

#[test]
fn users_get_in() {
    fails(
        |seen| {
            seen.users[1] = UserSeen { name: "ops".to_owned(), ..UserSeen::default() };
        },
        "ops cannot log in: there is no such user",
    );
    fails(
        |seen| seen.users[0].missing = vec!["SHA256:abc".to_owned()],
        "debian's key SHA256:abc is not in /home/debian/.ssh/authorized_keys: it was not injected",
    );
    fails(
        |seen| seen.users[0].exposed = Some("/home/debian is writable by others: mode 0777".to_owned()),
        "sshd does not accept debian's keys: /home/debian is writable by others: mode 0777",
    );
    fails(
        |seen| {
            seen.users[0].missing = vec!["SHA256:abc".to_owned()];
            seen.users[0].file.clear();
        },
        "debian cannot log in by key: sshd reads no keys from files (AuthorizedKeysFile none), and asks no program for them",
    );
    fails(
        |seen| seen.users[0].login = Login::Refused("Permission denied (publickey).".to_owned()),
        "debian cannot log in by key: Permission denied (publickey).",
    );
    fails(
        |seen| seen.users[1].login = Login::In { sudo: Some("sudo: a password is required".to_owned()) },
        "ops has logged in by key, but cannot use sudo: sudo: a password is required",
    );
}
