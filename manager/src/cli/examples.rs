//! What stands at the end of each verb's help: how it is used, and where more is written.

/// For `serve`.
pub(super) const SERVE: &str = "\
Examples:
  image-manager serve
  image-manager serve --operator 192.0.2.10:8080 --api-token-file /etc/image-manager/token

SIGHUP reads the schedules again; SIGTERM stops the manager cleanly. Every flag has an environment variable: see \
config.env.example. docs/operations.md describes a systemd unit, backups, upgrades and first aid.";

/// For `run`.
pub(super) const RUN: &str = "\
Examples:
  image-manager run debian
  image-manager run debian --verbose --keep-disk /tmp/disk.qcow2

A build that would make what the last one made is skipped if the schedule says so (`skip`); --force builds it.

Exit code: 0 passed or skipped, 1 the image failed, 2 errored or something prevents the build, 64 wrong usage or \
configuration, 130 cancelled. docs/exit-codes.md says more.";

/// For `check`.
pub(super) const CHECK: &str = "\
Examples:
  image-manager check
  image-manager check /etc/image-manager/schedules.toml

docs/schedules.md has every key.";

/// For `checks`.
pub(super) const CHECKS: &str = "\
Examples:
  image-manager checks
  image-manager checks ssh

Sets: minimal < cloud (for a schedule that names none) < thorough; each includes the checks of those before it.
docs/checks.md has the same text.";

/// For `history`.
pub(super) const HISTORY: &str = "\
Examples:
  image-manager history --since 7d --schedule debian
  image-manager history --state failed --format json

docs/json.md has every key of the JSON.";

/// For `show`.
pub(super) const SHOW: &str = "\
Examples:
  image-manager show latest
  image-manager show debian --details
  image-manager show 0199a3c4 --format json";

/// For `logs`.
pub(super) const LOGS: &str = "\
Examples:
  image-manager logs latest --follow
  image-manager logs 0199a3c4 --console";

/// For `report`.
pub(super) const REPORT: &str = "\
Examples:
  image-manager report --since 7d
  image-manager report --schedule debian --since 365d --format html > debian.html

A cancelled build counts neither for nor against an image, and an errored one says nothing about it: the success \
rate is passed / (passed + failed). docs/json.md has every key of the JSON.";

/// For `compare`.
pub(super) const COMPARE: &str = "\
Examples:
  image-manager compare debian
  image-manager compare previous latest
  image-manager compare 0199a3c4 0199a8f2 --format json

Packages are those in disk-image-builder's list. If there is no list, everything else is compared.";

/// For `doctor`.
pub(super) const DOCTOR: &str = "\
Examples:
  image-manager doctor
  image-manager doctor --cloud mycloud";

/// For `backup`.
pub(super) const BACKUP: &str = "\
Example:
  image-manager backup /var/backups/image-manager-$(date +%F).db --state /var/lib/image-manager

docs/operations.md says how to restore it.";

/// For `webhook`.
pub(super) const WEBHOOK: &str = "\
Examples:
  image-manager webhook test --webhook-url https://hooks.example.org/images
  IMAGE_MANAGER_WEBHOOK_URL=https://chat.example.org/hooks/abc image-manager webhook test --webhook-format chat

Exit code: 0 the receiver accepted it, 2 it did not, 64 wrong usage. docs/webhooks.md says more.";

/// For `sweep`.
pub(super) const SWEEP: &str = "\
Examples:
  image-manager sweep --cloud mycloud --dry-run
  image-manager sweep --cloud mycloud
  image-manager sweep --cloud local

A manager removes by itself what is in its history. This verb finds the rest by the owner that it is marked with: use \
it after a history was lost, or restored from an older copy.";

/// For `token`.
pub(super) const TOKEN: &str = "\
Examples:
  image-manager token create ci --role operator --expires 90d --state /var/lib/image-manager
  umask 077
  image-manager token create prometheus --role viewer --state /var/lib/image-manager > token
  image-manager token list
  image-manager token revoke ci

A token is not bound to a person: anybody who has it may do what its role allows. docs/operations.md says more.";

/// For `login`.
pub(super) const LOGIN: &str = "\
Examples:
  image-manager login
  image-manager login --role viewer

Root's own browser on this host needs no link. A browser that runs as another user, or that reaches this host through \
a tunnel, does. docs/operations.md says more.";

/// For `audit`.
pub(super) const AUDIT: &str = "\
Examples:
  image-manager audit --since 7d
  image-manager audit --limit 1000 --format csv > audit.csv

Rows are kept forever, and cannot be changed or removed.";

/// For `completions`.
pub(super) const COMPLETIONS: &str = "\
Example:
  source <(image-manager completions bash)

`make install` and the Debian package put those of bash, zsh and fish where these shells look for them.";

/// For `man`.
pub(super) const MAN: &str = "\
Examples:
  image-manager man | man -l -
  image-manager man /usr/local/share/man/man1";

/// For `images`.
pub(super) const IMAGES: &str = "\
Examples:
  image-manager images
  image-manager images debian-12 --removed --format json

docs/operations.md says how to give names to other images; docs/json.md has every key of the JSON.";

/// For `verify`.
pub(super) const VERIFY: &str = "\
Examples:
  image-manager verify debian
  image-manager verify debian-12-stable
  image-manager images

Nothing is built, and the image is only read. A failure takes the name from it \
only if the schedule says on_failure = \"rollback\". `images` says when each \
image was last verified. Exit codes are those of `run`.";

/// For `rollback`.
pub(super) const ROLLBACK: &str = "\
Examples:
  image-manager rollback debian-12 --reason 'the new kernel panics'
  image-manager rollback debian-12 --to 019a21b0

The older image gets the name before the newer one loses it. The manager that serves the state directory does this; \
if there is none, this process does.";

/// For `promote`.
pub(super) const PROMOTE: &str = "\
Examples:
  image-manager promote 019a21b0 --as debian-12-stable
  image-manager promote 019a21b0 --as debian-12-stable --cloud local

On OpenStack an image has one name: of an image that is current under another name a copy gets this one, which takes as \
long as to download and to upload it. The manager that serves the state directory does this; if there is none, this \
process does.";

/// For `revoke`.
pub(super) const REVOKE: &str = "\
Examples:
  image-manager revoke 019a21b0 --reason 'holds a leaked key'
  image-manager revoke 019a21b0 --reason 'holds a leaked key' --cloud local

The image is marked and hidden, not deleted. A cloud that does not answer keeps no other from it, and follows when it \
does. The manager that serves the state directory does this; if there is none, this process does.";

/// For `status`.
pub(super) const STATUS: &str = "\
Examples:
  image-manager status
  image-manager status --format json

The manager that serves the state directory answers. If there is none, use image-manager history.";

/// For `schedules`.
pub(super) const SCHEDULES: &str = "\
Examples:
  image-manager schedules
  image-manager schedules --format json

To see what a file says before a manager reads it, use image-manager check FILE.";

/// For `trigger`.
pub(super) const TRIGGER: &str = "\
Examples:
  image-manager trigger debian
  id=$(image-manager trigger debian --force)

Prints the id of the build. `image-manager run` waits for the verdict, and works without a manager too.";

/// For `cancel`.
pub(super) const CANCEL: &str = "\
Examples:
  image-manager cancel latest
  image-manager cancel 0199a3c4";

/// For `pause`.
pub(super) const PAUSE: &str = "\
Example:
  image-manager pause debian

The schedule can still be built on demand. A build under way continues.";

/// For `resume`.
pub(super) const RESUME: &str = "\
Example:
  image-manager resume debian

If the schedule paused itself after too many failures in a row, the count starts again from 0.";
