use std::collections::BTreeMap;

use image_manager_agent::checks::public_keys;

use super::*;

/// Files by their paths.
pub(in super::super) struct Tree(pub(in super::super) BTreeMap<&'static str, &'static str>);

impl Volume for Tree {
    fn names(&self, directory: &str) -> Result<Vec<String>, Trouble> {
        let mut names: Vec<String> = Vec::new();
        for path in self.0.keys() {
            let below =
                path.strip_prefix(directory.trim_end_matches('/')).and_then(|rest| rest.strip_prefix('/'));
            names.extend(below.and_then(|rest| rest.split('/').next()).map(str::to_owned));
        }
        names.dedup();
        if names.is_empty() { Err(Trouble::Missing) } else { Ok(names) }
    }

    fn read(&self, path: &str, take: &mut dyn FnMut(&[u8]) -> Next) -> Result<(), Trouble> {
        let text = self.0.get(path).ok_or(Trouble::Missing)?;
        take(text.as_bytes());
        Ok(())
    }

    fn link(&self, _: &str) -> Result<Vec<u8>, Trouble> {
        Err(Trouble::Missing)
    }
}

/// Of a disk without file systems nothing is there.
fn root() -> MissingMount {
    MissingMount { point: "/".to_owned(), source: "LABEL=cloudimg-rootfs".to_owned(), optional: false }
}

#[test]
fn a_clean_image_has_nothing() {
    let clean = Tree(BTreeMap::from([
        ("/etc/shadow", "root:*:19000:0:99999:7:::\ndaemon:!:19000::::::\n"),
        ("/etc/fstab", "LABEL=cloudimg-rootfs / ext4 defaults 0 1\n"),
        ("/etc/machine-id", "uninitialized\n"),
        ("/etc/apt/apt.conf.d/01keep", "# Acquire::http::Proxy \"http://a:1/\";\nAcquire::Retries \"3\";\n"),
        ("/root/.bashrc", "alias ls='ls --color'\n"),
        ("/root/.ssh/authorized_keys", "\n# none\n"),
        ("/var/log/dpkg.log", "install"),
        ("/etc/environment", "PATH=/bin\nno_proxy=localhost,::1\n"),
        ("/etc/apt/apt.conf.d/02direct", "Acquire::http::Proxy::mirror.example \"DIRECT\";\n"),
        ("/etc/apt/apt.conf.d/03detect", "Acquire::http::Proxy-Auto-Detect \"/usr/bin/detect\";\n"),
        ("/root/.npmrc", "fund=false\n"),
        ("/etc/ssl/private/README", "keys"),
    ]));
    let expected = Inspection { log_bytes: 7, guest_agent: Some(false), ..Inspection::default() };
    assert_eq!(look(&clean, &Names::default()), Inspection { missing_mounts: vec![root()], ..expected });
}

#[test]
fn each_rest_is_found() {
    let key = "-----BEGIN OPENSSH PRIVATE KEY-----\n";
    let seen = look(
        &Tree(BTreeMap::from([
            ("/etc/ssh/ssh_host_ed25519_key", key),
            ("/etc/ssh/ssh_host_ed25519_key.pub", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA root@builder\n"),
            ("/home/ops/.ssh/id_ed25519", key),
            ("/home/ops/.ssh/id_ed25519.pub", "ssh-ed25519 AAAA"),
            ("/root/.ssh/authorized_keys", "ssh-ed25519 AAAA me"),
            ("/root/.netrc", "machine a login b password c"),
            ("/home/ops/.bash_history", "ls"),
            ("/etc/environment", "http_proxy=http://proxy.example:3128\n"),
            ("/etc/apt/apt.conf.d/02proxy", "Acquire::http::Proxy \"http://proxy.example:3128\";\n"),
            ("/etc/shadow", "root::19000:0:99999:7:::\nops:!:1::::::\n"),
            ("/etc/fstab", "/dev/vda1 / ext4 defaults 0 1\n# /dev/sdb1\n/dev/mapper/a /a ext4\n"),
            ("/etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
            ("/var/lib/dbus/machine-id", "fedcba9876543210fedcba9876543210\n"),
            ("/var/cache/apt/archives/a.deb", "12345"),
            ("/usr/sbin/qemu-ga", "program"),
            (
                "/etc/passwd",
                "app:x:999:999::/srv/app:/bin/sh\nnobody:x:65534:65534::/nonexistent:/bin/false\n",
            ),
            ("/srv/app/.kube/config", "token: a"),
            ("/etc/apt/auth.conf.d/site.conf", "machine a login b password c"),
            ("/etc/ssl/private/site.key", "-----BEGIN PRIVATE KEY-----\n"),
            ("/etc/letsencrypt/archive/site.example/privkey1.pem", "-----BEGIN EC PRIVATE KEY-----\n"),
            ("/boot/grub/grub.cfg", "linux /boot/vmlinuz root=LABEL=root\n"),
        ])),
        &Names::default(),
    );
    assert_eq!(
        seen.private_keys,
        [
            "/home/ops/.ssh/id_ed25519",
            "/etc/ssh/ssh_host_ed25519_key",
            "/etc/ssl/private/site.key",
            "/etc/letsencrypt/archive/site.example/privkey1.pem"
        ]
    );
    let [host_key] = seen.host_keys.as_slice() else { panic!("{seen:?}") };
    assert_eq!(host_key.file, "ssh_host_ed25519_key");
    let expected = public_keys::fingerprint("AAAAC3NzaC1lZDI1NTE5AAAA");
    assert_eq!(host_key.fingerprint, expected);
    assert_eq!(seen.authorized_keys, ["/root/.ssh/authorized_keys"]);
    assert_eq!(seen.credentials, ["/root/.netrc", "/srv/app/.kube/config", "/etc/apt/auth.conf.d/site.conf"]);
    assert!(seen.boot_fault.unwrap().contains("/boot/vmlinuz"));
    assert_eq!(seen.histories, ["/home/ops/.bash_history"]);
    let proxy = "http://proxy.example:3128";
    assert_eq!(
        seen.proxies,
        [format!("/etc/environment: {proxy}"), format!("/etc/apt/apt.conf.d/02proxy: {proxy}")]
    );
    assert_eq!(seen.without_password, ["root"]);
    assert_eq!(seen.unstable_mounts, ["/dev/vda1 / ext4 defaults 0 1"]);
    assert_eq!(seen.machine_id.as_deref(), Some("0123456789abcdef0123456789abcdef"));
    assert_eq!(seen.dbus_machine_id.as_deref(), Some("fedcba9876543210fedcba9876543210"));
    assert_eq!((seen.cache_bytes, seen.guest_agent), (5, Some(true)));
}

/// Of an older manager, which knew less, and whether there was a boot loader.
#[test]
fn what_an_older_manager_kept_can_be_read() {
    let older = r#"{ "machine_id": "12ab", "cache_bytes": 5, "boots": true }"#;
    let seen: Inspection = serde_json::from_str(older).unwrap();
    let expected =
        Inspection { machine_id: Some("12ab".to_owned()), cache_bytes: 5, ..Inspection::default() };
    assert_eq!(seen, expected);
}
