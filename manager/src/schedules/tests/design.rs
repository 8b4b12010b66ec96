use std::path::Path;
use std::time::Duration;

use image_manager_agent::checks::descriptor::Set;

use super::super::{Compression, SshKey, load};
use super::{one, read};

/// Section 5 of the design, as it stands.
const EXAMPLE: &str = r#"
[defaults]                       # anything below may be given here
cloud    = "local"
timezone = "UTC"

[schedule.debian]
cron  = "0 3 * * *"              # five fields as crontab(5), or @daily; "" = on demand only
image = { elements = ["debian-minimal", "vm", "cloud-init-custom", "agent-install"], environment = { DIB_RELEASE = "bookworm" } }
server = { memory = "1 GiB", disk = "4 GiB" }            # local; for OpenStack: flavor, network, security_groups, availability_zone, ssh_key
checks = { disk = { min_free = "500 MiB" }, dns = { names = ["manager.internal"] }, internet = {}, cloud_init = {} }
publish = { name = "debian-12", keep = 3 }
timeouts = { build = "1h", upload = "30m", boot = "10m", verify = "10m", total = "2h" }
"#;

#[test]
fn the_design_s_example_parses() {
    let schedules = read(EXAMPLE);
    let debian = schedules.get("debian").unwrap();
    assert_eq!(debian.cron.as_ref().unwrap().source, "0 3 * * *");
    assert_eq!(debian.timezone, chrono_tz::UTC);
    assert_eq!(debian.targets[0].cloud, "local");
    assert_eq!(debian.image.elements, ["debian-minimal", "vm", "cloud-init-custom", "agent-install"]);
    assert_eq!(debian.image.environment["DIB_RELEASE"], "bookworm");
    assert_eq!((debian.targets[0].server.memory, debian.targets[0].server.disk), (1 << 30, 4 << 30));
    let names: Vec<&str> = debian.targets[0].checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(names, ["disk", "dns", "internet", "cloud_init"]);
    let settings = |index: usize| serde_json::json!(debian.targets[0].checks[index].settings);
    assert_eq!(settings(0), serde_json::json!({ "min_free": 500 << 20 }));
    assert_eq!(settings(1), serde_json::json!({ "names": ["manager.internal"] }));
    let publish = debian.publish.as_ref().unwrap();
    assert_eq!(
        (publish.name.as_str(), publish.keep, publish.visibility.as_str()),
        ("debian-12", 3, "private")
    );
    assert_eq!(debian.timeouts.total, Duration::from_hours(2));
}

#[test]
fn a_schedule_with_nothing_but_elements_has_the_documented_defaults() {
    let schedule = one("");
    assert_eq!(schedule.cron, None);
    assert_eq!(schedule.timezone, chrono_tz::UTC);
    assert_eq!((schedule.jitter, schedule.targets[0].cloud.as_str()), (Duration::ZERO, "local"));
    assert_eq!(schedule.image.compression, Compression::Zstd);
    assert!(!schedule.image.ssh_password_authentication);
    assert_eq!(
        (schedule.targets[0].server.memory, schedule.targets[0].server.disk, schedule.targets[0].server.cpus),
        (1 << 30, 4 << 30, 2)
    );
    assert!(schedule.targets[0].server.config_drive && schedule.targets[0].server.ssh_key.is_none());
    let cloud = crate::checks::of_set(Set::Cloud).map(|check| check.kind.to_owned());
    let asked = schedule.targets[0].checks.iter().map(|check| check.name.clone());
    assert_eq!(asked.collect::<Vec<_>>(), cloud.collect::<Vec<_>>());
    assert!(schedule.targets[0].checks.iter().all(|check| check.required));
    let timeouts = schedule.targets[0].checks.iter().map(|check| check.timeout);
    let of_kinds = crate::checks::of_set(Set::Cloud).map(|check| check.timeout);
    assert_eq!(timeouts.collect::<Vec<_>>(), of_kinds.collect::<Vec<_>>());
    assert_eq!(schedule.publish, None);
    let timeouts = &schedule.timeouts;
    let minutes = [timeouts.build, timeouts.upload, timeouts.boot, timeouts.verify, timeouts.total]
        .map(|timeout| timeout.as_secs() / 60);
    assert_eq!(minutes, [60, 30, 10, 10, 120]);
    assert_eq!((schedule.retry.retries, schedule.retry.pause_after), (0, 5));
}

#[test]
fn the_pauses_before_retries_double_up_to_a_limit() {
    let retry = one("retry = 4\nretry_backoff = \"25m\"\npause_after = 0\n").retry;
    let minutes: Vec<Option<u64>> =
        (0..6).map(|attempt| retry.pause_after_attempt(attempt).map(|pause| pause.as_secs() / 60)).collect();
    assert_eq!(minutes, [None, Some(25), Some(50), Some(60), Some(60), None]);
    assert_eq!(retry.pause_after, 0);
    for wrong in ["retry = 11", "retry = -1", "retry_backoff = \"2h\"", "pause_after = \"never\""] {
        super::refused(&format!("[schedule.a]\nimage.elements = [\"vm\"]\n{wrong}\n"));
    }
}

#[test]
fn everything_that_can_be_written_is_read() {
    let schedule = one(r#"
        cron = "@daily"
        timezone = "europe/berlin"
        jitter = "15m"
        cloud = "mycloud"
        [schedule.a.server]
        flavor = "m1.small"
        network = "auto"
        security_groups = ["a", "b"]
        availability_zone = "nova"
        ssh_key = true
        config_drive = false
        user_data = """
#cloud-config
packages: [vim]
"""
        [schedule.a.checks]
        disk = { min_free_inodes = 1000, required = false, timeout = "30s" }
        internet = { targets = ["https://example.org/x", "tcp://example.org:22"] }
        cloud_init = { fail_on_recoverable_errors = true, datasource = "ConfigDrive" }
        [schedule.a.publish]
        name = "a"
        visibility = "community"
    "#);
    assert_eq!(schedule.timezone, chrono_tz::Europe::Berlin);
    assert_eq!(schedule.jitter, Duration::from_mins(15));
    assert_eq!(schedule.targets[0].server.security_groups, ["a", "b"]);
    assert_eq!(schedule.targets[0].server.user_data.as_deref(), Some("#cloud-config\npackages: [vim]\n"));
    assert_eq!(schedule.targets[0].checks.len(), 3);
    assert!(!schedule.targets[0].checks[0].required);
    assert_eq!(schedule.publish.unwrap().visibility, "community");
}

#[test]
fn users_and_keys_are_read() {
    let key = format!("ssh-ed25519 AAAA{} ops@example", "C".repeat(64));
    let schedules = read(&format!(
        "[schedule.a.image]\nelements = [\"vm\"]\ndefault_user = \"debian\"\ncompression = \"none\"\n\
         ssh_authorized_keys = [\"{key}\"]\nproperties = {{ os_distro = \"debian\" }}\n\
         users = [{{ name = \"ops\", sudo = true, groups = [\"adm\"], ssh_authorized_keys = [\"{key}\"] }}]\n"
    ));
    let image = &schedules.schedules[0].image;
    assert_eq!(image.ssh_authorized_keys, [key.as_str()]);
    assert_eq!(image.users[0].name, "ops");
    assert_eq!(image.users[0].shell, "/bin/bash");
    assert!(image.users[0].sudo);
    assert_eq!(image.compression, Compression::None);
    assert_eq!(image.properties["os_distro"], "debian");
}

#[test]
fn the_shipped_file_parses() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schedules.toml");
    if shipped.exists() {
        load(&shipped).unwrap_or_else(|error| panic!("{}", error.render(false)));
    }
}

#[test]
fn a_key_pair_is_made_or_made_of_a_public_key_or_there_already() {
    let key = |value: &str| {
        let lines = format!("cloud = \"c\"\nserver = {{ flavor = \"f\", ssh_key = {value} }}\n");
        one(&lines).targets[0].server.ssh_key.clone()
    };
    let public =
        format!("ssh-ed25519 AAAA{} me@example", "C3NzaC1lZDI1NTE5AAAAIDv3q0pzs7w8o2ZQ8y5yqW1yV0v0gkq3");
    assert_eq!((key("false"), key("true")), (None, Some(SshKey::Made)));
    assert_eq!(key(&format!("\"{public}\"")), Some(SshKey::Public(public)));
    assert_eq!(key("\"ops team\""), Some(SshKey::Named("ops team".to_owned())));
}
