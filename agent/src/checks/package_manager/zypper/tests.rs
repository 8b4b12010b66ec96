//! What zypper 1.14.42 (libzypp 17.25) and 1.14.89 (libzypp 17.36) said to a server that misbehaves, shortened.

use super::*;

fn ended(code: i32, out: &str, err: &str) -> Ended {
    Ended { code: Some(code), out: out.to_owned(), err: err.to_owned(), ..Ended::default() }
}

fn only(ended: &Ended) -> Trouble {
    let mut all = of_refresh(ended);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn own(what: &str) -> Trouble {
    Trouble { own: true, what: what.to_owned() }
}

fn of_others(what: &str) -> Trouble {
    Trouble { own: false, what: what.to_owned() }
}

/// A refresh in which the only repository failed, as either version says why.
fn failed(out: &str, why: &str) -> [Ended; 2] {
    let ends = "Skipping repository 'base' because of the above error.\nCould not refresh the repositories because of errors.\n";
    let old = format!(
        "Repository 'base' is invalid.\n[base|http://mirror.example/base] Valid metadata not found at specified URL\n\
         History:\n{why} - Can't provide /repodata/repomd.xml\n\nPlease check if the URIs defined for this repository are \
         pointing to a valid repository.\n{ends}"
    );
    let new = format!(
        "Repository 'base' is invalid.\n[base|http://mirror.example/base] Failed to retrieve new repository metadata.\n\
         History:\n{why}Please check if the URIs defined for this repository are pointing to a valid repository.\n{ends}"
    );
    let out = format!("Retrieving repository 'base' metadata [.{out}error]\n");
    [ended(4, &out, &old), ended(4, &out, &new)]
}

const SOUND: &str = "Retrieving repository 'base' metadata [.done]\nBuilding repository 'base' cache [....done]\n\
    All repositories have been refreshed.\n";

const KEY: &str = "\n\nNew repository or package signing key received:\n\n  Repository:       base\n  \
    Key Name:         other <other@example.org>\n  Key Fingerprint:  F2B83079 9791DE97 B04831DE 687F945E F23D1F79\n  \
    Key Expires:      Tue Nov 30 16:55:41 2027\n\n\n\
    Do you want to reject the key, trust temporarily, or trust always? [r/t/a/?] (r): r\n";

const UNVERIFIED: &str = " - Signature verification failed for repomd.xml\n";

#[test]
fn a_sound_refresh_is_no_trouble() {
    assert!(of_refresh(&ended(0, SOUND, "")).is_empty());
    // zypper trusts a key that has expired, and says so.
    let expired =
        SOUND.replace("[.done]", "[.\nWarning: The gpg key signing file 'repomd.xml' has expired.\ndone]");
    assert!(of_refresh(&ended(0, &expired, "")).is_empty());
}

#[test]
fn keys_and_signatures_that_are_missing_are_the_images() {
    let unsigned = "\nWarning: File 'repomd.xml' from repository 'base' is unsigned.\n\n    Note: Signing data enables the \
        recipient to verify that no modifications occurred after the data\n\n\
        File 'repomd.xml' from repository 'base' is unsigned, continue? [yes/no] (no): no\n";
    let unknown = "\nLooking for gpg key ID 6C8F1B9D in cache /x/pubkeys.\n\
        Warning: File 'repomd.xml' from repository 'base' is signed with an unknown key '59F6FAEB6C8F1B9D'.\n\n\
        File 'repomd.xml' from repository 'base' is signed with an unknown key '59F6FAEB6C8F1B9D'.\n\
        Continue? [yes/no] (no): no\n";
    for (out, what) in [
        (KEY, "it is signed with a key that is not known, F2B83079 9791DE97 B04831DE 687F945E F23D1F79"),
        (unsigned, "File 'repomd.xml' from repository 'base' is unsigned."),
        (
            unknown,
            "File 'repomd.xml' from repository 'base' is signed with an unknown key '59F6FAEB6C8F1B9D'.",
        ),
    ] {
        for ended in failed(out, UNVERIFIED) {
            assert_eq!(only(&ended), own(&format!("zypper does not trust base: {what}")));
        }
    }
}

#[test]
fn a_repository_that_is_not_there_is_the_images() {
    for (why, what) in [
        (
            " - [base|http://mirror.example/base] Repository type can't be determined.\n",
            "Repository type can't be determined.",
        ),
        (
            " - [|] Error trying to read from 'http://mirror.example/base'\n - Login failed. \
             (http://mirror.example/base/content): The requested URL returned error: 401\n",
            "Login failed. (http://mirror.example/base/content): The requested URL returned error: 401",
        ),
        (
            " - [|] Error trying to read from 'https://mirror.example/base'\n - Download (curl) error for \
             'https://mirror.example/base/content':\n   Error code: Curl error 60\n   \
             Error message: SSL certificate problem: self-signed certificate\n",
            "SSL certificate problem: self-signed certificate",
        ),
    ] {
        for ended in failed("", why) {
            let what = format!("zypper cannot read base at http://mirror.example/base: {what}");
            assert_eq!(only(&ended), own(&what));
        }
    }
    let err = "Error building the cache:\n[base|] Repository has no or invalid url defined.\n\
        Skipping repository 'base' because of the above error.\n";
    assert_eq!(
        only(&ended(4, "", err)),
        own("zypper cannot read base: Repository has no or invalid url defined.")
    );
}

#[test]
fn what_the_network_and_the_mirror_do_is_not_the_images() {
    let curl = |code: &str, message: &str| {
        format!(
            " - [|] Error trying to read from 'http://mirror.example/base'\n - Download (curl) error for \
             'http://mirror.example/base/content':\nError code: {code}\nError message: {message}\n\n"
        )
    };
    for (why, what) in [
        (curl("Connection failed", "Could not resolve host: mirror.example"), "Could not resolve host: mirror.example"),
        (
            curl("Connection failed", "Failed to connect to mirror.example port 80 after 16 ms: Couldn't connect to server"),
            "Failed to connect to mirror.example port 80 after 16 ms: Couldn't connect to server",
        ),
        (
            " - [|] Error trying to read from 'http://mirror.example/base'\n \
             - Permission to access 'http://mirror.example/base/content' denied.\n"
                .to_owned(),
            "Permission to access 'http://mirror.example/base/content' denied.",
        ),
        (curl("HTTP response: 429", "The requested URL returned error: 429"), "The requested URL returned error: 429"),
        (curl("HTTP response: 500", "The requested URL returned error: 500"), "The requested URL returned error: 500"),
        (curl("Curl error 56", "Recv failure: Connection reset by peer"), "Recv failure: Connection reset by peer"),
        (
            " - Unknown error reading from 'http://mirror.example/base'\n - ABORT request: Aborting requested by user\n \
             - Location 'http://mirror.example/base/content' is temporarily unaccessible.\n"
                .to_owned(),
            "Location 'http://mirror.example/base/content' is temporarily unaccessible.",
        ),
        (
            " - File './repodata/1e05-primary.xml.gz' not found on medium 'http://mirror.example/base'\n".to_owned(),
            "File './repodata/1e05-primary.xml.gz' not found on medium 'http://mirror.example/base'",
        ),
        (
            " - Timeout exceeded when accessing 'http://mirror.example/base/repodata/repomd.xml'.\n".to_owned(),
            "Timeout exceeded when accessing 'http://mirror.example/base/repodata/repomd.xml'.",
        ),
        (" - 1e05-primary.xml.gz has wrong checksum\n".to_owned(), "1e05-primary.xml.gz has wrong checksum"),
    ] {
        for ended in failed("", &why) {
            let what = format!("zypper cannot read base at http://mirror.example/base: {what}");
            assert_eq!(only(&ended), of_others(&what));
        }
    }
    // The mirror may be in the midst of being brought up to date.
    let changed = "\n    Warning: This file was modified after it has been signed.\n\n\
        Signature verification failed for file 'repomd.xml' from repository 'base'. Continue? [yes/no] (no): no\n";
    for ended in failed(changed, UNVERIFIED) {
        assert!(!only(&ended).own, "{ended:?}");
    }
    let err = "Error retrieving metadata for 'base':\nParse error: repomd.xml[55] Extra content at the end of the document\n\
        Skipping repository 'base' because of the above error.\n";
    assert_eq!(
        only(&ended(4, "", err)),
        of_others(
            "zypper cannot read base: Parse error: repomd.xml[55] Extra content at the end of the document"
        )
    );
    let slow = Ended { broken: "zypper did not end in time".to_owned(), ..Ended::default() };
    assert_eq!(only(&slow), of_others("zypper: zypper did not end in time"));
}

#[test]
fn each_repository_is_judged_for_itself() {
    let out = format!(
        "Retrieving repository 'k' metadata [..{}error]\nRetrieving repository 'm' metadata [.done]\n\
         Building repository 'm' cache [....done]\nRetrieving repository 'o' metadata [.error]\n",
        KEY.replace("base", "k")
    );
    let err = "Repository 'k' is invalid.\n[k|http://mirror.example/k] Valid metadata not found at specified URL\n\
        History:\n - Signature verification failed for repomd.xml\n\n\
        Skipping repository 'k' because of the above error.\nRepository 'o' is invalid.\n\
        [o|http://mirror.example/o] Valid metadata not found at specified URL\nHistory:\n \
        - Location 'http://mirror.example/o/content' is temporarily unaccessible.\n\n\
        Skipping repository 'o' because of the above error.\n\
        Some of the repositories have not been refreshed because of an error.\n";
    // Whatever its exit code is.
    for code in [0, 4, 106] {
        let found = of_refresh(&ended(code, &out, err));
        assert_eq!(found.iter().map(|trouble| trouble.own).collect::<Vec<_>>(), [true, false], "{found:?}");
    }
}

#[test]
fn what_befalls_zypper_itself_is_told_apart() {
    let locked = "System management is locked by the application with pid 26170 (zypper).\n\
        Close this application before trying again.\n";
    assert!(!only(&ended(7, "", locked)).own);
    let xml =
        format!("<?xml version='1.0'?>\n<stream>\n<message type=\"error\">{locked}</message>\n</stream>\n");
    let what = "zypper: System management is locked by the application with pid 26170 (zypper). Close this application \
        before trying again.";
    assert_eq!(trouble(&ended(7, &xml, "")), Some(of_others(what)));
    let junk = "Unexpected exception.\n/etc/zypp/repos.d/o.repo: Section [o]: Line 8 contains garbage (no '=' or ':/?|,\\' \
        in key)\nPlease file a bug report about this.\n";
    assert!(only(&ended(1, "", junk)).own);
    let database = "error: cannot open Packages database in /var/lib/rpm\nTarget initialization failed:\nRpm Exception\n";
    assert!(only(&ended(4, "", database)).own);
    let service = "Problem retrieving the repository index file for service 'ps':\n\
        [ps|file:/usr/lib/zypp/plugins/services/ps] \n";
    let trouble = only(&ended(0, "Warning: Skipping service 'ps' because of the above error.\n", service));
    assert!(trouble.own && trouble.what.contains("for service 'ps'"), "{trouble:?}");
}

#[test]
fn dependencies_that_are_not_met_are_named() {
    let reading = "Loading repository data...\nReading installed packages...\n";
    let sound = format!("{reading}Dependencies of all installed packages are satisfied.\n");
    assert!(broken(&ended(0, &sound, "")).is_empty());
    let mended = format!(
        "{reading}\nThe following NEW package is going to be installed:\n  libfoo\n\n1 new package to install.\n\
         Some of the dependencies of installed packages are broken. In order to fix these dependencies, the following actions \
         need to be taken:\nContinue? [y/n/v/...? shows all options] (y): y\n"
    );
    assert_eq!(
        broken(&ended(0, &mended, "")),
        [
            "zypper verify: dependencies of installed packages are not met. The following NEW package is going to be \
          installed: libfoo"
        ]
    );
    let hopeless = format!(
        "{reading}\nProblem: nothing provides nothing-has-this needed by lonely-1.0-1.noarch\n \
         Solution 1: deinstallation of lonely-1.0-1.noarch\n\nChoose from above solutions by number or cancel [1/2/c/d/?] \
         (c): c\n"
    );
    let what = "zypper verify: nothing provides nothing-has-this needed by lonely-1.0-1.noarch";
    assert_eq!(broken(&ended(4, &hopeless, "")), [what]);
    assert_eq!(broken(&ended(4, &hopeless.replace("Problem: ", "Problem: 1: "), "")), [what]);
}

const PATCH: &str = "<?xml version='1.0'?>\n<stream>\n<message type=\"info\">Loading repository data...</message>\n\
    <update-status version=\"0.6\">\n<update-list>\n<update kind=\"patch\" name=\"EXAMPLE-2024-3\" edition=\"1\" \
    arch=\"noarch\" status=\"needed\" category=\"security\" severity=\"important\" pkgmanager=\"false\" restart=\"false\" \
    interactive=\"false\"><summary>Security update for bin</summary><description>with &lt;update name=&quot;fake&quot; \
    kind=&quot;patch&quot;&gt; in it</description><license/><source url=\"http://mirror.example/updates\" \
    alias=\"updates\"/><issue-list><issue type=\"cve\" id=\"CVE-2024-1\"><title>a &quot;quoted&quot; title</title>\
    <href>http://x/1</href></issue></issue-list></update></update-list>\n</update-status>\n</stream>\n";

const TOLD: &str = "Loading repository data...\nReading installed packages...\n\n\nInformation for patch EXAMPLE-2024-3:\n\
    -------------------------------------\nName        : EXAMPLE-2024-3\nStatus      : needed\nDescription : \n    d\n\
    Provides    : patch:EXAMPLE-2024-3 = 1\nConflicts   : [4]\n    bin.x86_64 < 2.0-1\n    bin.noarch < 2.0-1\n    \
    srcpackage:bin < 2.0-1\n    bin-devel.x86_64 < 2.0-1\n\n\nInformation for patch EXAMPLE-2024-1:\n\
    -------------------------------------\nName        : EXAMPLE-2024-1\nConflicts   : hello < 2.0-1\n\n";

#[test]
fn updates_for_security_are_told_from_others_by_the_patches() {
    let updates = "<update-list>\n<update kind=\"package\" name=\"bin\" edition=\"2.0-1\" arch=\"x86_64\" \
        edition-old=\"1.0-1\"><summary>x</summary><license/></update><update kind=\"package\" name=\"hello\" \
        edition=\"2.0-1\" arch=\"noarch\" edition-old=\"1.0-1\"><summary>x</summary></update><update kind=\"package\" \
        name=\"bin-doc\" edition=\"2.0-1\" arch=\"noarch\"></update></update-list>\n";
    let patches: Vec<String> = listed(PATCH).into_iter().map(|(name, _)| name).collect();
    assert_eq!(patches, ["EXAMPLE-2024-3"]);
    let of = |updates: &str, patches: &[String]| {
        let found = pending(&listed(updates), patches, TOLD).into_iter();
        found.map(|update| (update.package, update.security)).collect::<Vec<_>>()
    };
    let name = |name: &str| name.to_owned();
    let expected = [(name("bin"), true), (name("hello"), false), (name("bin-doc"), false)];
    assert_eq!(of(updates, &patches), expected);
    assert!(of(updates, &[name("EXAMPLE-2024-1")]).contains(&(name("hello"), true)));
    // Of a locked package there is no update.
    assert_eq!(of("<update-list>\n</update-list>\n", &patches), [(name("EXAMPLE-2024-3"), true)]);
    assert_eq!(of(updates, &[]).iter().filter(|(_, security)| *security).count(), 0);
}

#[test]
fn what_an_installation_ends_with_is_judged() {
    let aborted = "Problem occurred during or after installation or removal of packages:\n\
        Installation has been aborted as directed.\nPlease see the above error message for a hint.\n";
    let of = |code, out: &str, err: &str| {
        trouble(&ended(code, out, err)).map(|trouble| (trouble.own, trouble.what))
    };
    let judged =
        |err: &str| of(8, "Retrieving: one-1.0-1.noarch.rpm [error]\n", &format!("{err}{aborted}")).unwrap();
    for err in [
        "Download (curl) error for 'http://mirror.example/one-1.0-1.noarch.rpm':\nError code: HTTP response: 429\n",
        "Location 'http://mirror.example/one-1.0-1.noarch.rpm' is temporarily unaccessible.\n",
        "File './one-1.0-1.noarch.rpm' not found on medium 'http://mirror.example/base'\n",
        "Package one-1.0-1.noarch (o) seems to be corrupted during transfer. Do you want to retry retrieval?\n",
    ] {
        assert!(!judged(err).0, "{err}");
    }
    let (is_own, what) = judged(
        "hello-1.0-1.noarch (o): Signature verification failed [4-Signatures public key is not available]\n",
    );
    assert!(is_own && what.starts_with("zypper does not trust a package: hello-1.0-1"), "{what}");
    assert!(
        judged("Installation of prefail-1.0-1.noarch failed:\nerror: prefail-1.0-1.noarch: install failed\n")
            .0
    );
    let solver = "Resolving package dependencies...\n\nProblem: 1: nothing provides 'nothing-has-this' needed by the to be \
        installed lonely-1.0-1.noarch\n Solution 1: do not install lonely-1.0-1.noarch\n";
    let what = "zypper: Problem: 1: nothing provides 'nothing-has-this' needed by the to be installed lonely-1.0-1.noarch";
    assert_eq!(of(4, solver, ""), Some((true, what.to_owned())));
    let absent = "No provider of 'no-such-package' found.\n";
    assert_eq!(of(104, "", absent), Some((true, format!("zypper: {}", absent.trim()))));
    let script = "(1/1) Installing: postfail-1.0-1.noarch [..\n\
        warning: %post(postfail-1.0-1.noarch) scriptlet failed, exit status 1\ndone]\n";
    let what = "zypper: warning: %post(postfail-1.0-1.noarch) scriptlet failed, exit status 1";
    assert_eq!(of(107, script, ""), Some((true, what.to_owned())));
    for code in [0, 102, 103] {
        assert_eq!(of(code, "", ""), None);
    }
    let nothing = "Package 'filesystem' is not available in your repositories. Cannot reinstall, upgrade, or downgrade.\n\
        Resolving package dependencies...\nNothing to do.\n";
    assert!(unavailable(&ended(0, nothing, "")).is_some_and(|trouble| trouble.own));
}
