use super::*;

fn ended(code: i32, out: &str, err: &str) -> Ended {
    Ended { code: Some(code), out: out.to_owned(), err: err.to_owned(), ..Ended::default() }
}

fn only(ended: &Ended) -> Trouble {
    let mut all = troubles(ended);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

#[test]
fn a_key_that_is_missing_is_the_images() {
    let out = "Get:1 http://mirror.example/debian bookworm InRelease [151 kB]\n\
        Err:1 http://mirror.example/debian bookworm InRelease\n\
        \x20 The following signatures couldn't be verified because the public key is not available: NO_PUBKEY 0E98404D386FA1D9 NO_PUBKEY 6ED0E7B82643E131\n\
        Reading package lists...\n";
    let err = "W: GPG error: http://mirror.example/debian bookworm InRelease: The following signatures couldn't be verified \
        because the public key is not available: NO_PUBKEY 0E98404D386FA1D9\n\
        E: The repository 'http://mirror.example/debian bookworm InRelease' is not signed.\n";
    let trouble = only(&ended(100, out, err));
    assert!(trouble.own);
    assert_eq!(
        trouble.what,
        "apt does not trust http://mirror.example/debian bookworm: NO_PUBKEY 0E98404D386FA1D9"
    );
    // As apt says it with sqv.
    let out = "Err:1 http://mirror.example/debian trixie InRelease\n  Sub-process /usr/bin/sqv returned an error code (1), \
        error message is: Missing key 4D64FEC119C2029067D6E791F8D2585B8783D481, which is needed to verify signature.\n";
    let trouble = only(&ended(100, out, ""));
    assert!(
        trouble.own && trouble.what.contains("trixie: Missing key 4D64FEC119C2029067D6E791F8D2585B8783D481"),
        "{trouble:?}"
    );
    // Where unsigned sources are let in there is no error, but for a warning.
    let trouble = only(&ended(
        0,
        "Get:1 http://mirror.example/x ./ InRelease\n",
        err.replace("E: The", "W: The").lines().next().unwrap(),
    ));
    assert!(trouble.own, "{trouble:?}");
}

#[test]
fn a_suite_that_is_not_there_is_told_of() {
    let out = "Ign:1 http://mirror.example/debian bookwurm InRelease\nErr:2 http://mirror.example/debian bookwurm Release\n\
        \x20 404  Not Found [IP: 192.0.2.1 80]\nReading package lists...\n";
    let err =
        "E: The repository 'http://mirror.example/debian bookwurm Release' does not have a Release file.\n";
    let trouble = only(&ended(100, out, err));
    assert!(!trouble.own, "what it means is found out by asking for others");
    assert_eq!(
        trouble.what,
        "apt cannot read http://mirror.example/debian bookwurm: 404 Not Found [IP: 192.0.2.1 80]"
    );
    assert_eq!(refused::of(&ended(100, out, err)).len(), 1);
    let index = out.replace("bookwurm Release", "bookworm/main amd64 Packages");
    assert!(!only(&ended(100, &index, "")).own, "a mirror that is being brought up to date");
    assert!(refused::of(&ended(100, &index, "")).is_empty());
}

#[test]
fn what_the_network_and_the_mirror_do_is_not_the_images() {
    for why in [
        "Could not resolve 'mirror.example'",
        "Temporary failure resolving 'mirror.example'",
        "Could not connect to mirror.example:80 (192.0.2.1). - connect (111: Connection refused)",
        "503  Service Unavailable [IP: 192.0.2.1 80]",
        "429  Too Many Requests [IP: 192.0.2.1 80]",
        "Connection timed out [IP: 192.0.2.1 80]",
        "Hash Sum mismatch",
        "Clearsigned file isn't valid, got 'NODATA' (does the network require authentication?)",
    ] {
        let out = format!("Err:1 http://mirror.example/debian bookworm InRelease\n  {why}\n");
        let err = "W: Failed to fetch http://mirror.example/debian/dists/bookworm/InRelease  x\n\
            W: Some index files failed to download. They have been ignored, or old ones used instead.\n\
            E: The repository 'http://mirror.example/debian bookworm Release' does not have a Release file.\n";
        for code in [0, 100] {
            let trouble = only(&ended(code, &out, err));
            assert!(!trouble.own, "{trouble:?}");
        }
    }
    let slow = Ended { broken: "apt-get did not finish in time".to_owned(), ..Ended::default() };
    let what = "apt-get: apt-get did not finish in time".to_owned();
    assert_eq!(only(&slow), Trouble { own: false, what });
}

#[test]
fn a_configuration_that_apt_cannot_read_is_the_images() {
    for err in [
        "E: Malformed entry 1 in list file /etc/apt/sources.list (Component)\nE: The list of sources could not be read.\n",
        "E: Syntax error /etc/apt/apt.conf.d/99x:1: Extra junk at end of file\n",
        "E: The method driver /usr/lib/apt/methods/https could not be found.\n",
    ] {
        let found = troubles(&ended(100, "Reading package lists...\n", err));
        assert!(found[0].own && found[0].what.starts_with("apt-get: "), "{found:?}");
    }
    assert!(
        troubles(&ended(
            0,
            "Hit:1 http://mirror.example/debian bookworm InRelease\n",
            "N: a note\nW: a warning\n"
        ))
        .is_empty()
    );
}

#[test]
fn updates_are_told_apart() {
    let said = "Inst libssl3 [3.0.15-1~deb12u1] (3.0.16-1~deb12u1 Debian-Security:12/stable-security [amd64])\n\
        Inst tzdata [2024a-0+deb12u1] (2024b-0+deb12u1 Debian:12.9/stable [all])\n\
        Inst openssl [3.0.2-0ubuntu1.18] (3.0.2-0ubuntu1.19 Ubuntu:22.04/jammy-updates, Ubuntu:22.04/jammy-security [amd64])\n\
        Conf libssl3 (3.0.16-1~deb12u1 Debian-Security:12/stable-security [amd64])\n";
    let found: Vec<(String, bool)> =
        updates(said).into_iter().map(|update| (update.package, update.security)).collect();
    assert_eq!(
        found,
        [("libssl3".to_owned(), true), ("tzdata".to_owned(), false), ("openssl".to_owned(), true)]
    );
}

#[test]
fn a_dependency_that_is_missing_is_named() {
    let out = "Reading package lists...\nBuilding dependency tree...\n\
        You might want to run 'apt --fix-broken install' to correct these.\n\
        The following packages have unmet dependencies:\n cloud-init : Depends: python3-jsonschema but it is not installed\n";
    let said = unmet(&ended(100, out, "E: Unmet dependencies. Try 'apt --fix-broken install'\n")).unwrap();
    assert_eq!(
        said,
        "a dependency is not met: cloud-init : Depends: python3-jsonschema but it is not installed"
    );
}

#[test]
fn what_dpkg_did_not_end_is_named() {
    assert_eq!(broken("ok installed libc6"), None);
    assert_eq!(broken("ok config-files old"), None);
    assert_eq!(broken("ok half-configured eject").as_deref(), Some("the package eject is half-configured"));
    assert_eq!(
        broken("reinstreq half-installed x").as_deref(),
        Some("the package x must be reinstalled (reinstreq)")
    );
}
