//! `schedules.toml`: what to build, when, where to boot it, what it must prove.
//!
//! [`load`] reads the file to [`values`], or finds every mistake in it ([`LoadError::render`]); [`cron`] holds
//! the five-field entries, [`planner`] what is due (pure); [`describe`] is what `image-manager check` prints.
//!
//! # The file
//!
//! `[schedule.NAME]` is a schedule; its name has letters, digits, `-` and `_`, at most 63. `[defaults]` may
//! give every key of a schedule:
//!
//! - Tables merge key by key, at every depth: `image.environment`, `image.properties` and `checks` too. The
//!   schedule's value counts where both have one.
//! - Lists are replaced as a whole: a schedule's `elements` stand instead of those of `[defaults]`.
//! - `checks = {}` in a schedule asks for no check, whatever `[defaults]` says; `checks.dns = false` takes one
//!   away.
//! - `publish` in `[defaults]` says how; only a schedule with `publish.name` is published.
//!
//! Unknown keys are mistakes. Durations are strings such as `"90s"` or `"1h 30m"`, sizes such as `"500 MiB"`
//! (1024) or `"20 GB"` (1000). At most 1 MiB, 500 schedules, 100 entries of a list.
//!
//! | key | type | default | meaning |
//! | --- | --- | --- | --- |
//! | `cron` | string | `""` | five fields as crontab(5), or `@hourly` `@daily` `@midnight` `@weekly` `@monthly` `@yearly` `@annually`; `""` = on demand only |
//! | `timezone` | string | `"UTC"` | IANA zone that `cron` is read in |
//! | `jitter` | duration | `"0s"` | each fire time is moved by a fixed part of this that depends on the name; at most 24h |
//! | `cloud` | string | `"local"` | `local`, or a cloud of clouds.yaml |
//! | `targets` | list of tables | one, of `cloud`, `server` and `checks` | where the image must prove itself, at most 16; `cloud`, `server` and `checks` of the schedule count for what a target does not say |
//! | `targets.name` | string | required | by the rule of a schedule's name; unique in the schedule |
//! | `targets.cloud` | string | the schedule's | its cloud |
//! | `targets.server` | table | the schedule's | keys of `server` that differ |
//! | `targets.checks` | table | the schedule's | keys of `checks` that differ |
//! | `targets.required` | bool | `true` | whether the build's verdict depends on it |
//! | `targets.publish` | bool | `true` | whether its cloud gets the published name |
//! | `retry` | number | `0` | how often a build that errored is queued again as a new build on a fresh server; at most 10. A failed or cancelled one never is |
//! | `retry_backoff` | duration | `"1m"` | pause before the first retry; it doubles with each further one, up to 1h |
//! | `pause_after` | number | `5` | after so many builds in a row that failed or errored the schedule pauses itself; `0`: never |
//! | `skip.unchanged` | bool | `false` | a build that would make what the last one made is left out |
//! | `skip.max_age` | duration | `"7d"` | unless the last one is older |
//! | `image.elements` | list of strings | required | disk-image-builder's elements, at least one |
//! | `image.elements_path` | list of strings | `[]` | directories with elements of one's own; they come before all others |
//! | `image.repositories` | list of tables | `[]` | package repositories of one's own |
//! | `image.files` | list of tables | `[]` | files of one's own |
//! | `image.secrets` | table of strings | `{}` | secrets of the build, each `"file:/path"` |
//! | `image.environment` | table of strings | `{}` | the build's environment, such as `DIB_RELEASE`; no secrets, nothing that the manager sets |
//! | `image.packages` | list of strings | `[]` | further packages |
//! | `image.users` | list of tables | `[]` | users that cloud-init makes |
//! | `image.users.name` | string | required | by useradd's rule |
//! | `image.users.ssh_authorized_keys` | list of strings | `[]` | public keys |
//! | `image.users.sudo` | bool | `false` | may do everything as root |
//! | `image.users.groups` | list of strings | `[]` | further groups |
//! | `image.users.shell` | string | `"/bin/bash"` | login shell |
//! | `image.default_user` | string | the distribution's | another name for the default user |
//! | `image.ssh_authorized_keys` | list of strings | `[]` | public keys of the default user |
//! | `image.ssh_password_authentication` | bool | `false` | whether sshd takes passwords |
//! | `image.arch` | string | the host's | `amd64` or `arm64` |
//! | `image.format` | string | `"qcow2"` | `qcow2` or `raw` |
//! | `image.compression` | string | `"zstd"` | `zstd` (QEMU 5.1 or newer), `zlib` or `none`; of a qcow2 |
//! | `image.properties` | table of strings | `{}` | properties in Glance, such as `os_distro` |
//! | `server.memory` | size | `"1 GiB"` | local |
//! | `server.disk` | size | `"4 GiB"` | local |
//! | `server.cpus` | number | `2` | local |
//! | `server.firmware` | string | `"bios"`, for arm64 `"uefi"` | `bios`, `uefi` or `uefi-secure` |
//! | `server.flavor` | string | none | OpenStack: name or id |
//! | `server.network` | string | none | OpenStack: name, id or `auto` |
//! | `server.security_groups` | list of strings | `[]` | OpenStack; empty: one is made that lets the agent out and nobody in |
//! | `server.availability_zone` | string | none | OpenStack |
//! | `server.ssh_key` | bool or string | `false` | OpenStack: make a key pair for the server, of a public key where one stands there; or the name of a key pair that is there |
//! | `server.config_drive` | bool | `true` | give the metadata by config drive too |
//! | `server.boot_from_volume` | bool | `false` | OpenStack: boot from a volume made of the image, as large as the flavor's disk or the image needs |
//! | `server.user_data` | string | none | for cloud-init, at most 48 KiB |
//! | `checks` | table | the set `"cloud"` | which checks the image must pass; docs/checks.md has their keys |
//! | `checks.set` | string | `"cloud"`, when no check is named | `minimal`, `cloud` or `thorough` |
//! | `checks.*.kind` | string | the check's name | what is examined, where it has a name of its own |
//! | `checks.*.required` | bool | `true` | whether the verdict depends on it |
//! | `checks.*.timeout` | duration | `"2m"`, cloud_init and packages `"10m"` | how long it may take; at most 1h |
//! | `publish.name` | string | not published | the name that the verified image gets; one schedule a name and cloud |
//! | `publish.keep` | number | `3` | older images that stay beside the current one |
//! | `publish.when` | string | `"all"` | `all`: nothing is published unless every required trial passed; `each`: a cloud gets the name when its own required trials passed |
//! | `publish.visibility` | string | `"private"` | `private`, `shared`, `community`, `public` |
//! | `timeouts.build` | duration | `"1h"` | disk-image-builder |
//! | `timeouts.upload` | duration | `"30m"` | until the image is active |
//! | `timeouts.boot` | duration | `"10m"` | from the server's creation until the agent attaches; at most 2h, as long as the agent waits |
//! | `timeouts.verify` | duration | `"10m"`, and the `timeout` of `reboot` | until the agent is gone again; at most 2h |
//! | `timeouts.total` | duration | `"2h"`, more if the stages need it | everything but queue and clean-up |

pub mod additions;
pub mod cron;
mod cron_field;
mod diagnostics;
mod layers;
mod loading;
mod machine;
mod overview;
pub mod planner;
mod quantities;
mod reading;
mod spans;
mod suggestions;
mod syntax;
#[cfg(test)]
mod tests;
pub mod values;

pub use additions::{ImageFile, Repository, RepositoryKind, Secret};
pub use diagnostics::{Diagnostic, LoadError, LoadErrorReason};
pub use loading::{load, parse};
pub use machine::{Arch, Firmware, Format};
pub use overview::describe;
pub use planner::{Due, due, next_fires};
pub use spans::{Mistake, Subject};
pub(crate) use suggestions::nearest;
pub use values::{
    CheckSpec, Compression, ImageSpec, OnFailure, Publish, PublishWhen, RetryPolicy, Schedule, Schedules,
    ServerSpec, Skip, SshKey, Target, Timeouts, User,
};

/// A size as people write it in schedules.toml, "500 MiB", in bytes; or what is wrong with it and what is right.
pub fn size(text: &str) -> Result<u64, String> {
    quantities::parse_size(text).map_err(|error| format!("{}; {}", error.label, error.help))
}

/// Whether an image can have this public name.
pub fn is_publish_name(text: &str) -> bool {
    reading::is_publish_name(text)
}
