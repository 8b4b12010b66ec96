//! Environment variables of the build: which names are let through, and why not the others.

use std::collections::BTreeMap;

use super::Reader;
use crate::schedules::diagnostics::quoted;
use crate::schedules::layers::Table;

/// Pieces of names whose values are secrets.
const SECRET_WORDS: [&str; 10] = [
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "TOKEN",
    "CREDENTIAL",
    "PRIVATE_KEY",
    "API_KEY",
    "APIKEY",
    "ACCESS_KEY",
];

/// What begins the names of variables that schedules may set for the elements of ours: those of the distributions'
/// guests, and whether a bootstrap is kept. The others in their READMEs are set by the manager, from keys of the schedule.
const OF_OUR_ELEMENTS: [&str; 6] = [
    "IMAGE_MANAGER_DEBIAN_",
    "IMAGE_MANAGER_EL_",
    "IMAGE_MANAGER_FEDORA_",
    "IMAGE_MANAGER_KEEP_BASE",
    "IMAGE_MANAGER_OPENSUSE_",
    "IMAGE_MANAGER_UBUNTU_",
];

/// Directories that the manager gives to each build.
const OWN_DIRECTORIES: [&str; 11] = [
    "HOME",
    "TMPDIR",
    "TMP_DIR",
    "TMP_BUILD_DIR",
    "TMP_IMAGE_DIR",
    "TMP_MOUNT_PATH",
    "TMP_HOOKS_PATH",
    "TARGET_ROOT",
    "ELEMENTS_PATH",
    "DIB_IMAGE_CACHE",
    "PWD",
];

/// Variables that change which code runs, or what DIB, that runs as root, does on this host.
const CODE_CHANGERS: [&str; 13] = [
    "PATH",
    "ENV",
    "BASH_ENV",
    "SHELL",
    "SHELLOPTS",
    "BASHOPTS",
    "IFS",
    "PS4",
    "CDPATH",
    "GLOBIGNORE",
    "PYTHONPATH",
    "PYTHONHOME",
    "PERL5LIB",
];

/// Variables that programs of this host take options, programs or places of code from, by the beginning of the name.
/// `TAR_OPTIONS=--checkpoint-action=exec=...` runs a command wherever DIB calls tar.
const INTERPRETED: [&str; 62] = [
    "APT_",
    "AWK",
    "BASH",
    "BROWSER",
    "BZIP",
    "CARGO_",
    "CURL_",
    "DBUS_",
    "DEBCONF_",
    "DEBOOTSTRAP_",
    "DEB_",
    "DISPLAY",
    "DOCKER_",
    "DPKG_",
    "EDITOR",
    "FAKEROOT",
    "GCONV_",
    "GIT_",
    "GLIBC_",
    "GNUPG",
    "GODEBUG",
    "GPG_",
    "GREP_",
    "GZIP",
    "HOSTALIASES",
    "JAVA_",
    "KRB5",
    "LC_",
    "LESS",
    "LIBGUESTFS_",
    "LOCALDOMAIN",
    "LOCPATH",
    "LVM_",
    "MAGIC",
    "MAKEFLAGS",
    "MALLOC_",
    "MKE2FS_",
    "NODE_",
    "NLSPATH",
    "OPENSSL_",
    "PAGER",
    "PERL",
    "PIP_",
    "POSIXLY_CORRECT",
    "PROMPT_COMMAND",
    "PYTHON",
    "QEMU_",
    "READLINE",
    "RES_OPTIONS",
    "RPM_",
    "RSYNC_",
    "RUBY",
    "SSH_",
    "SSL_",
    "SUDO_",
    "SYSTEMD_",
    "TAR_",
    "TERM",
    "VISUAL",
    "WGETRC",
    "XZ_",
    "ZSTD_",
];

/// Variables that DIB puts into a shell's command line or into its arithmetic, which runs what stands in `a[$(...)]`,
/// with the letters that their values have besides letters and digits.
const TO_A_SHELL: [(&str, &str); 8] = [
    ("DIB_BAREMETAL_INITRD_PATTERN", "._-*?[]"),
    ("DIB_BAREMETAL_KERNEL_PATTERN", "._-*?[]"),
    ("DIB_DEBUG_TRACE", ""),
    ("DIB_DHCP_TIMEOUT", ""),
    ("DIB_ELEMENT_MANIFEST_PATH", "._-/"),
    ("DIB_INSTALLTYPE_", "._-"),
    ("DIB_MIN_TMPFS", ""),
    ("DIB_RELEASE", "._-/"),
];
/// Options of the bootstrap programs that name commands for this host.
const COMMAND_OPTIONS: [&str; 3] = ["-hook", "Pre-Invoke", "Post-Invoke"];

/// Why a variable is refused: a label for the caret, and the help.
struct Refusal {
    label: &'static str,
    help: String,
    /// Whether its value must not be shown.
    secret: bool,
}

impl<'a> Reader<'a> {
    /// `image.environment`.
    pub(super) fn environment(&mut self, image: &Table<'a>) -> BTreeMap<String, String> {
        let mut environment = BTreeMap::new();
        let Some(table) = self.free_table(image, "environment") else { return environment };
        let entries = table.entries();
        self.limit_length(&table.name, &table.span, entries.len());
        for entry in entries {
            if let Some(Refusal { label, help, secret }) = refusal(entry.key) {
                if secret {
                    self.findings.hide(entry.value.span());
                }
                let title = format!("environment variable {} is not allowed", quoted(entry.key));
                self.findings.add(entry.key_span, title, label, Some(help));
            } else if let Some(text) = self.string(&table, entry.key) {
                if let Some(help) = wrong_value(entry.key, text.value) {
                    let title =
                        format!("the value of environment variable {} is not allowed", quoted(entry.key));
                    self.findings.add(text.span, title, "would reach a shell", Some(help));
                }
                environment.insert(entry.key.to_owned(), text.value.to_owned());
            }
        }
        environment
    }
}

fn refusal(name: &str) -> Option<Refusal> {
    let refuse = |label, help: &str| Some(Refusal { label, help: help.to_owned(), secret: false });
    let upper = name.to_ascii_uppercase();
    if upper.starts_with("OS_") || SECRET_WORDS.iter().any(|word| upper.contains(word)) {
        let help = "a secret must not be in this file, and disk-image-builder writes its environment into the \
                    image; keep OpenStack's credentials in clouds.yaml";
        return Some(Refusal { label: "looks like a secret", help: help.to_owned(), secret: true });
    }
    if !is_variable_name(name) {
        let help = "capital letters, digits and `_`, not beginning with a digit, as in DIB_RELEASE";
        return refuse("not a variable name", help);
    }
    if name.starts_with("IMAGE_MANAGER_") && !OF_OUR_ELEMENTS.iter().any(|start| name.starts_with(start)) {
        return refuse(
            "the manager sets it",
            "names that begin with IMAGE_MANAGER_ are the manager's own, except those of the distributions' elements, \
             such as IMAGE_MANAGER_DEBIAN_KERNEL: the elements' READMEs list them",
        );
    }
    if OWN_DIRECTORIES.contains(&name) {
        return refuse("the manager sets it", "each build gets directories of its own from the manager");
    }
    if CODE_CHANGERS.contains(&name) || ["LD_", "BASH_FUNC_"].iter().any(|start| name.starts_with(start)) {
        return refuse(
            "changes which code runs",
            "the build runs as root, with the manager's own settings for these",
        );
    }
    if INTERPRETED.iter().any(|start| name.starts_with(start)) {
        return refuse(
            "programs on this host read it",
            "programs that disk-image-builder calls on this host, as root, take options or code from it; set it in a \
             hook of an element, where only that hook sees it",
        );
    }
    None
}

/// What is wrong with a variable's value, which has no control characters: the help.
fn wrong_value(name: &str, value: &str) -> Option<String> {
    if value.contains(['$', '`']) {
        return Some(
            "disk-image-builder's scripts would expand what follows `$` or is in backquotes".to_owned(),
        );
    }
    if name.ends_with("_EXTRA_ARGS") && COMMAND_OPTIONS.iter().any(|option| value.contains(option)) {
        return Some("its commands would run on this host, as root; use an element's hook".to_owned());
    }
    let (_, also) = TO_A_SHELL.iter().find(|(start, _)| name.starts_with(start))?;
    let wrong = value.contains(|letter: char| !letter.is_ascii_alphanumeric() && !also.contains(letter));
    let and = if also.is_empty() { " and digits".to_owned() } else { format!(", digits and `{also}`") };
    wrong.then(|| format!("disk-image-builder passes it to a shell unquoted: only letters{and} are allowed"))
}

/// `[A-Z_][A-Z0-9_]*`, at most 100 letters.
fn is_variable_name(name: &str) -> bool {
    (1..=100).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
        && !name.starts_with(|first: char| first.is_ascii_digit())
}
