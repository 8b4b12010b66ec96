//! Check `artifact`: nothing of its build is left in the image, before anything has booted it, and it has not grown by
//! something that nobody meant.

use std::time::Duration;

use image_manager_agent::checks::descriptor::{Check, Key, Observer, Rule, Set, ValueType};
use image_manager_agent::checks::identity::DBUS_MACHINE_ID;
use image_manager_proto::v1::CheckOutcome;
use serde::Deserialize;
use serde_json::json;

use super::Judged;
use crate::builder::{Inspection, MissingMount, bytes};
use crate::history::ImageSizes;

const MIB: u64 = 1 << 20;

/// The check.
pub(crate) static CHECK: Check = Check {
    kind: "artifact",
    proves: "no keys, passwords, secrets, histories, caches or logs from the build are in the image, its boot loader \
             and its mounts name what is there, and it is not much larger than the last good one",
    details: "The image is read by a library before it is uploaded, so no server has changed anything yet, and it is \
              judged before it is uploaded: with `fail_fast` it is not uploaded at all if it fails. Private keys, \
              authorized keys, files in which programs keep passwords (`.netrc`, `.docker/config.json` and the like), \
              shell histories, proxies, users with an empty password, and a machine id fail the check. ext4 and XFS \
              can be read; for an image with another root file system, set `artifact = false`.\n\nThe check also \
              fails if a line of fstab names a device such as `/dev/vda1`, or a UUID or label that no file system of \
              the image has (a mount point in `allowed` is meant to be so, as for a volume that is attached later), \
              and if no entry of the boot loader's menu can be started, because its kernel, its initramfs or its root \
              file system is not there. The menus of GRUB and of the Boot Loader Specification are read if they are \
              on the root file system.\n\nThe values of \
              `image.secrets` are looked for, as they are and as tools write them (base64, in a URL), in the files \
              below `/boot`, `/etc`, `/home`, `/opt`, `/root`, `/srv`, `/tmp`, `/usr/local` and `/var`, up to 64 MiB \
              of each and 1 GiB in all. A value shorter than 8 bytes, or a word shorter than 16 letters, is not \
              looked for, because any file may contain it. The result names the secret and the file, never the \
              value.\n\nThe image's size is compared with that of the last build of the schedule, in the same format, \
              that passed and whose image was not revoked. If there is none, the size passes.",
    set: Set::Cloud,
    observer: Observer::Manager,
    timeout: Duration::from_mins(2),
    cost: "nothing: the image is read for its packages' checksums in any case",
    repeatable: false,
    keys: &[
        Key {
            name: "allowed",
            value: ValueType::Texts(&PATH),
            default: "none",
            help: "files that may be there, and mount points whose lines of fstab are intended, as in \
                   [\"/root/.ssh/authorized_keys\", \"/data\"]",
        },
        Key {
            name: "max_caches",
            value: ValueType::Size { largest: 1 << 50 },
            default: "\"1 MiB\"",
            help: "maximum size of the package managers' caches",
        },
        Key {
            name: "max_logs",
            value: ValueType::Size { largest: 1 << 50 },
            default: "\"16 MiB\"",
            help: "maximum size of the logs",
        },
        Key {
            name: "max_growth",
            value: ValueType::Number { smallest: 1, largest: 100_000 },
            default: "50",
            help: "by how many percent the image file may be larger than the last good one",
        },
    ],
    examine: None,
};

static PATH: Rule = Rule {
    what: "a path in the image",
    help: "an absolute path, as in \"/root/.ssh/authorized_keys\"",
    holds: |text| text.starts_with('/') && (2..=1024).contains(&text.len()),
};

/// Its keys.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    allowed: Vec<String>,
    max_caches: u64,
    max_logs: u64,
    max_growth: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { allowed: Vec::new(), max_caches: MIB, max_logs: 16 * MIB, max_growth: 50 }
    }
}

/// What is in the image, and how large it is, means this. `Err`: why it is not known.
pub(crate) fn judge(
    settings: &serde_json::Map<String, serde_json::Value>,
    seen: &Result<Inspection, String>,
    sizes: &Result<ImageSizes, String>,
) -> Judged {
    let settings: Settings = match super::typed(settings) {
        Ok(settings) => settings,
        Err(judged) => return judged,
    };
    let mut wrong = seen.as_ref().map_or_else(|_| Vec::new(), |seen| left(&settings, seen));
    wrong.extend(sizes.as_ref().ok().and_then(|sizes| grown(&settings, sizes)));
    let (outcome, summary) = match (wrong.split_first(), seen, sizes) {
        (Some((first, [])), _, _) => (CheckOutcome::Fail, first.clone()),
        (Some((first, others)), _, _) => (CheckOutcome::Fail, format!("{first} (and {} more)", others.len())),
        (None, Err(why), _) => {
            let leave = "checks.artifact = false leaves this check out";
            (CheckOutcome::Inconclusive, format!("the image was not examined: {why}; {leave}"))
        }
        (None, _, Err(why)) => {
            (CheckOutcome::Inconclusive, format!("the sizes of the schedule's images are not known: {why}"))
        }
        (None, Ok(seen), Ok(sizes)) => {
            let what = "nothing of the build is left in the image";
            (CheckOutcome::Pass, format!("{what}; {}{}", compared(sizes), not_sought(seen)))
        }
    };
    Judged { outcome, summary, observations: observed(&wrong, seen, sizes) }
}

fn observed(
    wrong: &[String],
    seen: &Result<Inspection, String>,
    sizes: &Result<ImageSizes, String>,
) -> serde_json::Value {
    let seen = seen.as_ref().ok();
    let sizes = sizes.as_ref().ok();
    let last_good = sizes.and_then(|sizes| sizes.last_good.as_ref());
    json!({
        "wrong": wrong,
        "cache_bytes": seen.map(|seen| seen.cache_bytes),
        "log_bytes": seen.map(|seen| seen.log_bytes),
        "machine_id": seen.and_then(|seen| seen.machine_id.as_ref()),
        "secrets_found": seen.map(|seen| &seen.secrets),
        "secrets_not_looked_for": seen.map(|seen| &seen.secrets_not_sought),
        "secrets_search_cut_short": seen.map(|seen| seen.secrets_cut_short),
        "bytes": sizes.and_then(|sizes| sizes.own),
        "last_good": last_good.map(|(build, _)| build),
        "last_good_bytes": last_good.map(|(_, bytes)| bytes),
    })
}

/// By how many percent an image is larger than the last good one. `None`: one of them is not known.
fn growth(sizes: &ImageSizes) -> Option<u64> {
    let (own, (_, last)) = (sizes.own?, sizes.last_good.as_ref()?);
    own.saturating_sub(*last).saturating_mul(100).checked_div(*last)
}

/// That it has grown too much.
fn grown(settings: &Settings, sizes: &ImageSizes) -> Option<String> {
    let growth = growth(sizes).filter(|growth| *growth > settings.max_growth)?;
    let (own, (build, last)) = (sizes.own?, sizes.last_good.as_ref()?);
    let (own, last, may) = (bytes(own), bytes(*last), settings.max_growth);
    Some(format!(
        "the image is {own}, {growth} % larger than the last good one's {last} (build {build}); {may} % is allowed: \
         if it is intended, raise checks.artifact.max_growth"
    ))
}

/// What is to be said of the sizes of an image that has not grown too much.
fn compared(sizes: &ImageSizes) -> String {
    match (sizes.own, &sizes.last_good, growth(sizes)) {
        (Some(own), Some((_, last)), Some(growth)) => {
            let (own, last_good) = (bytes(own), bytes(*last));
            match growth {
                0 => format!("it is {own}, the last good one {last_good}"),
                _ => format!("it is {own}, {growth} % larger than the last good one's {last_good}"),
            }
        }
        (None, _, _) => "its size is no longer known, and was not compared".to_owned(),
        _ => "its schedule has no good image yet to compare its size with".to_owned(),
    }
}

/// Which secrets were not looked for, or not everywhere.
fn not_sought(seen: &Inspection) -> String {
    let plain = match seen.secrets_not_sought.as_slice() {
        [] => String::new(),
        names => {
            format!("; too short or too plain to be looked for: the secret {}", names.join(", "))
        }
    };
    let cut = if seen.secrets_cut_short {
        "; its secrets were looked for in only some of its files: there are too many"
    } else {
        ""
    };
    plain + cut
}

/// What is left of the build, the worst first.
fn left(settings: &Settings, seen: &Inspection) -> Vec<String> {
    let allowed = |line: &&String| {
        let path = line.split(": ").next().unwrap_or(line);
        !settings.allowed.iter().any(|allowed| allowed == path)
    };
    let each = |list: &[String], what: &str| -> Vec<String> {
        list.iter().filter(allowed).map(|path| format!("{what} {path}")).collect()
    };
    let mut wrong: Vec<String> =
        seen.without_password.iter().map(|user| format!("the user {user} has an empty password")).collect();
    let secrets = seen.secrets.iter().filter(|leak| allowed(&&leak.path));
    wrong.extend(
        secrets.map(|leak| format!("the value of the build's secret {} is in {}", leak.secret, leak.path)),
    );
    wrong.extend(each(&seen.private_keys, "a private key came with the image:"));
    wrong.extend(each(&seen.authorized_keys, "keys that let somebody in came with the image:"));
    wrong.extend(each(&seen.credentials, "credentials came with the image:"));
    if let Some(machine_id) = seen.machine_id.as_ref().filter(|_| allowed(&&"/etc/machine-id".to_owned())) {
        wrong.push(format!("every server would have the machine id {machine_id}, which came with the image"));
    }
    if let Some(machine_id) = seen.dbus_machine_id.as_ref().filter(|_| allowed(&&DBUS_MACHINE_ID.to_owned()))
    {
        wrong.push(format!(
            "every server would take the machine id {machine_id} from {DBUS_MACHINE_ID}, which came with the image"
        ));
    }
    wrong.extend(each(&seen.proxies, "a proxy of the build is set in"));
    wrong.extend(each(&seen.histories, "a shell history came with the image:"));
    wrong.extend(seen.boot_fault.iter().map(|what| format!("the boot loader starts {what}")));
    wrong.extend(mounts(settings, seen));
    if seen.cache_bytes > settings.max_caches {
        let (are, may) = (bytes(seen.cache_bytes), bytes(settings.max_caches));
        wrong.push(format!("caches of package managers take {are}, but at most {may} is allowed"));
    }
    if seen.log_bytes > settings.max_logs {
        let (are, may) = (bytes(seen.log_bytes), bytes(settings.max_logs));
        wrong.push(format!("logs of the build take {are}, but at most {may} is allowed"));
    }
    wrong
}

/// What is wrong with fstab's lines, but for those whose mount points may be so.
fn mounts(settings: &Settings, seen: &Inspection) -> Vec<String> {
    let allowed = |point: &str| settings.allowed.iter().any(|allowed| allowed == point);
    let missing = seen.missing_mounts.iter().filter(|mount| !allowed(&mount.point)).map(|mount| {
        let MissingMount { point, source, optional } = mount;
        let then = if *optional { "each boot waits for it in vain" } else { "the boot stops there" };
        format!("fstab mounts {point} from {source}, but the image has no such file system: {then}")
    });
    let unstable = seen.unstable_mounts.iter();
    let unstable = unstable.filter(|line| !line.split_whitespace().nth(1).is_some_and(allowed));
    let unstable =
        unstable.map(|line| format!("fstab names a device by a name that changes from host to host: {line}"));
    missing.chain(unstable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::Leak;

    fn judged(settings: &serde_json::Value, seen: Inspection) -> (CheckOutcome, String) {
        let judged = judge(settings.as_object().unwrap(), &Ok(seen), &Ok(ImageSizes::default()));
        (judged.outcome, judged.summary)
    }

    fn leak(path: &str) -> Vec<Leak> {
        vec![Leak { path: path.to_owned(), secret: "PACKAGES".to_owned() }]
    }

    fn mount(optional: bool) -> MissingMount {
        MissingMount { point: "/data".to_owned(), source: "LABEL=data".to_owned(), optional }
    }

    #[test]
    fn a_mount_that_is_meant_may_be_so() {
        let seen = Inspection {
            missing_mounts: vec![mount(true)],
            unstable_mounts: vec!["/dev/vdb /scratch ext4 nofail 0 2".to_owned()],
            ..Inspection::default()
        };
        assert_eq!(judged(&json!({ "allowed": ["/data"] }), seen.clone()).0, CheckOutcome::Fail);
        assert_eq!(judged(&json!({ "allowed": ["/data", "/scratch"] }), seen).0, CheckOutcome::Pass);
    }

    #[test]
    fn each_rest_of_a_build_fails_it_by_its_name() {
        use CheckOutcome::{Fail, Inconclusive, Pass};
        assert_eq!(judged(&json!({}), Inspection::default()).0, Pass);
        let sizes = Ok(ImageSizes::default());
        assert_eq!(judge(&serde_json::Map::new(), &Err("LUKS".to_owned()), &sizes).outcome, Inconclusive);
        let closed = judge(&serde_json::Map::new(), &Ok(Inspection::default()), &Err("locked".to_owned()));
        assert_eq!(closed.outcome, Inconclusive);
        let some = |path: &str| vec![path.to_owned()];
        let none = Inspection::default;
        for (seen, why) in [
            (Inspection { without_password: some("root"), ..none() }, "root has an empty password"),
            (Inspection { private_keys: some("/root/.ssh/id"), ..none() }, "/root/.ssh/id"),
            (Inspection { authorized_keys: some("/root/.ssh/a"), ..none() }, "let somebody in"),
            (Inspection { credentials: some("/root/.netrc"), ..none() }, "/root/.netrc"),
            (Inspection { secrets: leak("/etc/app.conf"), ..none() }, "secret PACKAGES is in /etc/app.conf"),
            (Inspection { dbus_machine_id: Some("34cd".to_owned()), ..none() }, "machine id 34cd from"),
            (Inspection { machine_id: Some("12ab".to_owned()), ..none() }, "machine id 12ab"),
            (
                Inspection { proxies: some("/etc/environment: http_proxy=http://a"), ..none() },
                "/etc/environment",
            ),
            (Inspection { histories: some("/root/.bash_history"), ..none() }, "history"),
            (Inspection { unstable_mounts: some("/dev/vda1 / ext4"), ..none() }, "/dev/vda1"),
            (
                Inspection { missing_mounts: vec![mount(false)], ..none() },
                "mounts /data from LABEL=data, but the image has no such file system: the boot stops",
            ),
            (Inspection { missing_mounts: vec![mount(true)], ..none() }, "waits for it in vain"),
            (
                Inspection {
                    boot_fault: Some("the kernel /boot/a, which is not there".to_owned()),
                    ..none()
                },
                "the boot loader starts the kernel /boot/a, which is not there",
            ),
            (Inspection { cache_bytes: 2 * MIB, ..none() }, "caches"),
            (Inspection { log_bytes: 17 * MIB, ..none() }, "logs"),
        ] {
            let (outcome, summary) = judged(&json!({}), seen);
            assert!(outcome == Fail && summary.contains(why), "{summary}");
        }
        let allowed = json!({ "allowed": ["/root/.ssh/a"], "max_logs": 32 * MIB });
        let seen = Inspection { authorized_keys: some("/root/.ssh/a"), log_bytes: 17 * MIB, ..none() };
        assert_eq!(judged(&allowed, seen).0, Pass);
        let meant = json!({ "allowed": ["/etc/app.conf"] });
        assert_eq!(judged(&meant, Inspection { secrets: leak("/etc/app.conf"), ..none() }).0, Pass);
        let plain = Inspection { secrets_not_sought: some("PIN"), ..none() };
        let (outcome, summary) = judged(&json!({}), plain);
        assert!(outcome == Pass && summary.ends_with("looked for: the secret PIN"), "{summary}");
    }

    #[test]
    fn an_image_may_not_grow_by_much() {
        use CheckOutcome::{Fail, Pass};
        let judged = |settings: serde_json::Value, own, last: Option<u64>| {
            let last_good = last.map(|last| ("0199".to_owned(), last));
            let sizes = Ok(ImageSizes { own, last_good });
            let judged = judge(settings.as_object().unwrap(), &Ok(Inspection::default()), &sizes);
            (judged.outcome, judged.summary)
        };
        let (outcome, summary) = judged(json!({}), Some(151 * MIB), Some(100 * MIB));
        assert_eq!(outcome, Fail);
        let why = "the image is 151.0 MiB, 51 % larger than the last good one's 100.0 MiB (build 0199)";
        assert!(summary.starts_with(why), "{summary}");
        assert_eq!(judged(json!({ "max_growth": 51 }), Some(151 * MIB), Some(100 * MIB)).0, Pass);
        let (outcome, summary) = judged(json!({}), Some(150 * MIB), Some(100 * MIB));
        assert!(
            outcome == Pass && summary.ends_with("50 % larger than the last good one's 100.0 MiB"),
            "{summary}"
        );
        assert_eq!(judged(json!({}), Some(1), Some(100 * MIB)).0, Pass, "smaller is no growth");
        let (outcome, summary) = judged(json!({}), Some(MIB), None);
        assert!(outcome == Pass && summary.contains("no good image yet"), "{summary}");
        assert_eq!(judged(json!({}), None, Some(MIB)).0, Pass);
        assert_eq!(judged(json!({}), Some(MIB), Some(0)).0, Pass);
        let unread = judge(
            &serde_json::Map::new(),
            &Err("LUKS".to_owned()),
            &Ok(ImageSizes { own: Some(3), last_good: Some(("0199".to_owned(), 1)) }),
        );
        assert_eq!(unread.outcome, Fail, "how large it is is known all the same");
    }
}
