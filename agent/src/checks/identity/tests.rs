use std::time::SystemTime;

use super::*;

const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAINooEMMAMmLwDGf3porQ4DW+IHvcdizjwDD8G26p2bMC";
const FOREIGN: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIB1R1jP1KaP0M/h3QCE+F0bY72GxCKSbqPCcqVm1x63S";
const ID: &str = "5a9c1d3e7f0b4c2d8e6fa1b2c3d4e5f6";

fn put(guest: &Guest, path: &str, text: &str) {
    fs::create_dir_all(guest.path(path).parent().unwrap()).unwrap();
    fs::write(guest.path(path), text).unwrap();
}

/// As if it had been there before the boot.
fn bake(guest: &Guest, path: &str, text: &str) {
    put(guest, path, text);
    age(guest, path);
}

fn age(guest: &Guest, path: &str) {
    let old = SystemTime::now() - Duration::from_hours(24);
    fs::File::options().write(true).open(guest.path(path)).unwrap().set_modified(old).unwrap();
}

fn good() -> (tempfile::TempDir, Guest) {
    let root = tempfile::tempdir().unwrap();
    let guest = Guest::below(root.path());
    let passwd = "root:x:0:0::/root:/bin/sh\ndebian:x:1000:1000::/home/debian:/bin/sh\nnobody:x:65534:65534::/nonexistent:/\n";
    put(&guest, "/etc/passwd", passwd);
    put(&guest, MACHINE_ID, &format!("{ID}\n"));
    put(&guest, HOST_NAME, "server-1\n");
    put(&guest, "/run/cloud-init/instance-data.json", r#"{"v1": {"local_hostname": "server-1.novalocal"}}"#);
    put(&guest, "/etc/ssh/ssh_host_ed25519_key", "x");
    put(&guest, "/home/debian/.ssh/authorized_keys", &format!("ssh-ed25519 {KEY} me\n"));
    put(&guest, "/root/.ssh/authorized_keys", &format!("no-pty,command=\"echo no\" ssh-ed25519 {KEY} me\n"));
    (root, guest)
}

fn seen(guest: &Guest) -> Observation {
    let server =
        ServerFacts { default_user_keys: vec![format!("ssh-ed25519 {KEY}")], ..ServerFacts::default() };
    look(
        &Settings::default(),
        &server,
        guest,
        &KeyFiles::of(None, &sshd::Configuration::default(), &written(guest)),
    )
}

fn written(guest: &Guest) -> sshd::Written {
    sshd::Written::read(guest)
}

fn judged(seen: &Observation) -> (CheckOutcome, String) {
    let judgement = judge(&Settings::default(), seen);
    (judgement.outcome, judgement.summary)
}

fn fails(change: impl Fn(&Guest), with: &str) {
    let (_root, guest) = good();
    change(&guest);
    assert_eq!(judged(&seen(&guest)), (CheckOutcome::Fail, with.to_owned()));
}

#[test]
fn a_server_of_its_own_passes() {
    let (_root, guest) = good();
    let seen = seen(&guest);
    let expected = "server-1 has its own machine id and 1 host key, and nothing is left of the build";
    assert_eq!(judged(&seen), (CheckOutcome::Pass, expected.to_owned()));
    let observed = judge(&Settings::default(), &seen).observations;
    assert_eq!(format!("{:?}", observed.fields["machine_id"].kind), format!("Some(StringValue({ID:?}))"));
}

#[test]
fn a_machine_id_is_made_at_the_first_boot() {
    fails(
        |guest| age(guest, MACHINE_ID),
        &format!("machine id {ID} was there before this boot: it came with the image"),
    );
    fails(
        |guest| put(guest, MACHINE_ID, ""),
        "this server has no machine id: /etc/machine-id is empty or missing",
    );
    fails(
        |guest| put(guest, MACHINE_ID, "uninitialized\n"),
        "/etc/machine-id contains \"uninitialized\", not a machine id of 32 hexadecimal digits",
    );
    let other = "0".repeat(32);
    fails(
        |guest| put(guest, DBUS_MACHINE_ID, &other),
        &format!("machine id {other} in {DBUS_MACHINE_ID} is not this server's {ID}: it came with the image"),
    );
}

#[test]
fn host_keys_and_random_seed_are_new() {
    fails(
        |guest| age(guest, "/etc/ssh/ssh_host_ed25519_key"),
        "host key ssh_host_ed25519_key was made before this boot: it came with the image",
    );
    let (_root, guest) = good();
    put(&guest, RANDOM_SEED, "x");
    assert!(!born_before_boot(&guest, RANDOM_SEED));
    let baked = Observation { random_seed_baked: true, ..seen(&guest) };
    let expected =
        "the random seed /var/lib/systemd/random-seed came with the image: all servers start with it";
    assert_eq!(judged(&baked), (CheckOutcome::Fail, expected.to_owned()));
}

#[test]
fn the_host_name_is_the_clouds() {
    fails(
        |guest| put(guest, HOST_NAME, "golden\n"),
        "the host name is golden, but the cloud calls this server server-1.novalocal",
    );
    fails(
        |guest| put(guest, HOST_NAME, "localhost\n"),
        "this server has no host name (localhost), but the cloud calls this server server-1.novalocal",
    );
    let (_root, guest) = good();
    put(&guest, HOST_NAME, "golden\n");
    let meant = Settings { fixed_host_name: true, ..Settings::default() };
    assert_eq!(judge(&meant, &seen(&guest)).outcome, CheckOutcome::Pass);
    fs::remove_file(guest.path("/run/cloud-init/instance-data.json")).unwrap();
    assert_eq!(judged(&seen(&guest)).0, CheckOutcome::Pass, "nobody says what it should be");
    let long = Observation {
        host_name: "a".repeat(64),
        host_name_expected: "a".repeat(90),
        machine_id: ID.to_owned(),
        ..Observation::default()
    };
    assert_eq!(judged(&long).0, CheckOutcome::Pass, "the kernel keeps no more");
}

const USER_DATA: &str = "/var/lib/cloud/instance/cloud-config.txt";

#[test]
fn the_user_data_may_name_the_server() {
    for (asked, name) in [
        ("hostname: web\n", "web"),
        ("fqdn: db.example.org\n", "db"),
        ("fqdn: db.example.org\nhostname: web\n", "db.example.org"),
        ("preserve_hostname: true\n", "golden"),
    ] {
        let (_root, guest) = good();
        put(&guest, USER_DATA, &format!("#cloud-config\n{asked}"));
        put(&guest, HOST_NAME, &format!("{name}\n"));
        assert_eq!(judged(&seen(&guest)).0, CheckOutcome::Pass, "{asked}");
    }
    fails(
        |guest| put(guest, USER_DATA, "#cloud-config\nhostname: web\n"),
        "the host name is server-1, but the server's user data calls it web",
    );
}

#[test]
fn keys_that_the_user_data_fetches_are_asked_for() {
    let line = format!("ssh-ed25519 {FOREIGN} me@example # ssh-import-id gh:somebody\n");
    let (_root, guest) = good();
    put(&guest, "/home/debian/.ssh/authorized_keys", &format!("ssh-ed25519 {KEY}\n{line}"));
    assert_eq!(judged(&seen(&guest)).0, CheckOutcome::Fail, "nobody asked for it");
    put(&guest, USER_DATA, "#cloud-config\nssh_import_id: [gh:somebody]\n");
    assert_eq!(judged(&seen(&guest)).0, CheckOutcome::Pass);
    let key = public_keys::fingerprint(FOREIGN);
    fails(
        |guest| {
            put(guest, USER_DATA, "#cloud-config\nssh_import_id: [gh:other]\n");
            put(guest, "/root/.ssh/authorized_keys2", &line);
        },
        &format!(
            "a key that nobody asked for is left in authorized_keys: {key} in /root/.ssh/authorized_keys2"
        ),
    );
}

#[test]
fn keys_are_looked_for_wherever_sshd_does() {
    let key = public_keys::fingerprint(FOREIGN);
    for (configured, path) in [
        ("AuthorizedKeysFile /etc/ssh/keys/%u\n", "/etc/ssh/keys/debian"),
        ("AuthorizedKeysFile .ssh/authorized_keys %h/keys/%u\n", "/root/keys/root"),
        ("AuthorizedKeysFile /etc/ssh/all\n", "/etc/ssh/all"),
        ("Match User debian\nAuthorizedKeysFile /srv/%u/keys\n", "/srv/debian/keys"),
        ("AuthorizedKeysFile keys\n", "/etc/skel/keys"),
        ("AuthorizedKeysFile /etc/ssh/keys/%u\n", "/root/.ssh/authorized_keys2"),
    ] {
        fails(
            |guest| {
                put(guest, "/etc/ssh/sshd_config", configured);
                put(guest, path, &format!("ssh-ed25519 {FOREIGN} builder\n"));
            },
            &format!("a key that nobody asked for is left in authorized_keys: {key} in {path}"),
        );
    }
    fails(
        |guest| {
            put(guest, "/etc/ssh/sshd_config", "HostKey /etc/ssh/site_key\n");
            bake(guest, "/etc/ssh/site_key", "x");
        },
        "host key site_key was made before this boot: it came with the image",
    );
}

#[test]
fn keys_that_nobody_asked_for_are_found() {
    for path in
        ["/root/.ssh/authorized_keys", "/home/debian/.ssh/authorized_keys2", "/etc/skel/.ssh/authorized_keys"]
    {
        let key = public_keys::fingerprint(FOREIGN);
        fails(
            |guest| put(guest, path, &format!("ssh-ed25519 {KEY}\nssh-ed25519 {FOREIGN} builder\n")),
            &format!("a key that nobody asked for is left in authorized_keys: {key} in {path}"),
        );
    }
    let (_root, guest) = good();
    let line = "ssh-ed25519 AAAAlogin image-manager-check";
    put(&guest, "/home/debian/.ssh/authorized_keys", &format!("ssh-ed25519 {KEY} me\n{line}\n"));
    assert_eq!(judged(&seen(&guest)).0, CheckOutcome::Fail, "nobody is logging in");
    put(&guest, "/var/lib/image-manager/logins", &format!("{line}\n/home/debian/.ssh/authorized_keys\n"));
    assert_eq!(judged(&seen(&guest)).0, CheckOutcome::Pass, "the check ssh is, with that key");
}

#[test]
fn what_the_builder_left_is_found_unless_it_is_meant() {
    let left = [
        ("/root/.bash_history", "mysql -pcanary\n", "the shell history /root/.bash_history"),
        ("/root/.netrc", "machine x\n", "the credentials /root/.netrc"),
        (
            "/home/debian/.config/openstack/clouds.yaml",
            "clouds:\n",
            "the credentials /home/debian/.config/openstack/clouds.yaml",
        ),
        (
            "/root/.ssh/id_ed25519",
            "-----BEGIN OPENSSH PRIVATE KEY-----\n",
            "the private key /root/.ssh/id_ed25519",
        ),
        ("/etc/apt/auth.conf.d/site.conf", "machine x\n", "the credentials /etc/apt/auth.conf.d/site.conf"),
        (
            "/etc/apt/apt.conf.d/95proxy",
            "Acquire::http::Proxy \"http://192.0.2.10:3142\";\n",
            "the proxy http://192.0.2.10:3142 in /etc/apt/apt.conf.d/95proxy",
        ),
        (
            "/etc/environment",
            "PATH=/bin\nhttp_proxy=http://192.0.2.10\n",
            "the proxy http://192.0.2.10 in /etc/environment",
        ),
    ];
    for (path, text, what) in left {
        let expected =
            format!("{what} came with the image; if it is intended, list it in checks.identity.keep");
        fails(|guest| bake(guest, path, text), &expected);
        let (_root, guest) = good();
        put(&guest, path, text);
        assert_eq!(judged(&seen(&guest)).0, CheckOutcome::Pass, "{path} was made in this boot");
        age(&guest, path);
        let settings = Settings { keep: vec![path.to_owned()], ..Settings::default() };
        let server =
            ServerFacts { default_user_keys: vec![format!("ssh-ed25519 {KEY}")], ..ServerFacts::default() };
        let seen = look(&settings, &server, &guest, &KeyFiles::default());
        assert_eq!(judge(&settings, &seen).outcome, CheckOutcome::Pass, "{path} is meant");
    }
    let (_root, guest) = good();
    bake(&guest, "/root/.bash_history", "\n");
    bake(&guest, "/root/.ssh/id_ed25519.pub", "ssh-ed25519 x\n");
    assert_eq!(judged(&seen(&guest)).0, CheckOutcome::Pass, "there is nothing in them");
}

#[test]
fn a_slow_machine_is_no_bad_image() {
    let seen = Observation { unsettled: true, ..Observation::default() };
    assert_eq!(judged(&seen).0, CheckOutcome::Inconclusive);
}
