//! Mistakes in the variables of a schedule's image.

use super::errors::mistakes;
use super::read;

/// Names that are refused, by the label. Each of the rules has a variable here that nothing but it refuses so.
const REFUSED: [(&str, &[&str]); 5] = [
    (
        "looks like a secret",
        &[
            "OS_AUTH_URL",
            "os_auth_url",
            "os_password",
            "DB_PASSWORD",
            "DB_PASSWD",
            "KEY_PASSPHRASE",
            "MY_SECRET_X",
            "GITHUB_TOKEN",
            "CLOUD_CREDENTIALS",
            "DEPLOY_PRIVATE_KEY",
            "MIRROR_API_KEY",
            "MIRROR_APIKEY",
            "AWS_ACCESS_KEY_ID",
        ],
    ),
    (
        "the manager sets it",
        &[
            "IMAGE_MANAGER_STATE",
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
        ],
    ),
    (
        "changes which code runs",
        &[
            "PATH",
            "ENV",
            "BASH_ENV",
            "BASH_FUNC_LS",
            "SHELL",
            "SHELLOPTS",
            "BASHOPTS",
            "IFS",
            "PS4",
            "CDPATH",
            "GLOBIGNORE",
            "LD_PRELOAD",
            "PYTHONPATH",
            "PYTHONHOME",
            "PERL5LIB",
        ],
    ),
    ("programs on this host read it", &READ_BY_PROGRAMS),
    ("not a variable name", &["dib_release", "1X", "\"A B\"", "\"\""]),
];

/// A variable of each of the programs, as their manuals have it.
const READ_BY_PROGRAMS: [&str; 62] = [
    "APT_CONFIG",
    "AWKPATH",
    "BASH_COMPAT",
    "BROWSER",
    "BZIP2",
    "CARGO_HOME",
    "CURL_HOME",
    "DBUS_SESSION_BUS_ADDRESS",
    "DEBCONF_SYSTEMRC",
    "DEBOOTSTRAP_DIR",
    "DEB_BUILD_OPTIONS",
    "DISPLAY",
    "DOCKER_HOST",
    "DPKG_ROOT",
    "EDITOR",
    "FAKEROOTKEY",
    "GCONV_PATH",
    "GIT_SSH_COMMAND",
    "GLIBC_TUNABLES",
    "GNUPGHOME",
    "GODEBUG",
    "GPG_AGENT_INFO",
    "GREP_OPTIONS",
    "GZIP",
    "HOSTALIASES",
    "JAVA_TOOL_OPTIONS",
    "KRB5_CONFIG",
    "LC_ALL",
    "LESSOPEN",
    "LIBGUESTFS_PATH",
    "LOCALDOMAIN",
    "LOCPATH",
    "LVM_SYSTEM_DIR",
    "MAGIC",
    "MAKEFLAGS",
    "MALLOC_CHECK_",
    "MKE2FS_CONFIG",
    "NODE_OPTIONS",
    "NLSPATH",
    "OPENSSL_CONF",
    "PAGER",
    "PERL5OPT",
    "PIP_INDEX_URL",
    "POSIXLY_CORRECT",
    "PROMPT_COMMAND",
    "PYTHONSTARTUP",
    "QEMU_LD_PREFIX",
    "READLINE_LINE",
    "RES_OPTIONS",
    "RPM_CONFIGDIR",
    "RSYNC_RSH",
    "RUBYOPT",
    "SSH_AUTH_SOCK",
    "SSL_CERT_FILE",
    "SUDO_ASKPASS",
    "SYSTEMD_PAGER",
    "TAR_OPTIONS",
    "TERMINFO",
    "VISUAL",
    "WGETRC",
    "XZ_OPT",
    "ZSTD_CLEVEL",
];

#[test]
fn environment_variables() {
    for (label, names) in REFUSED {
        for name in names {
            let text = format!("[schedule.a.image]\nelements = [\"vm\"]\nenvironment.{name} = \"x\"\n");
            let found = mistakes(&text);
            assert_eq!(found.len(), 1, "{name}: {found:#?}");
            assert!(found[0].starts_with(&format!("{name}: environment variable")), "{found:#?}");
            assert!(found[0].contains(label), "{found:#?}");
        }
    }
    read("[schedule.a.image]\nelements = [\"vm\"]\nenvironment = { DIB_RELEASE = \"trixie\", _X1 = \"\" }\n");
}

#[test]
fn values_of_environment_variables() {
    for (name, value, help) in [
        ("DIB_RELEASE", "x[$(touch /tmp/x)]", "follows `$`"),
        ("DIB_RELEASE", "`id`", "backquotes"),
        ("DIB_DISTRIBUTION_MIRROR", "http://mirror.example/$(id)", "follows `$`"),
        ("DIB_DISTRIBUTION_MIRROR", "http://mirror.example/`id`", "backquotes"),
        ("DIB_RELEASE", "trixie; id", "letters, digits and"),
        ("DIB_MIN_TMPFS", "a[0]", "only letters and digits"),
        ("DIB_DEBUG_TRACE", "a[0]", "only letters and digits"),
        ("DIB_DHCP_TIMEOUT", "a[0]", "only letters and digits"),
        ("DIB_INSTALLTYPE_PIP", "source;id", "letters, digits and"),
        ("DIB_BAREMETAL_INITRD_PATTERN", "initrd*;id", "letters, digits and"),
        ("DIB_BAREMETAL_KERNEL_PATTERN", "vmlinuz*;id", "letters, digits and"),
        ("DIB_ELEMENT_MANIFEST_PATH", "x; id", "letters, digits and"),
        ("DIB_MMDEBSTRAP_EXTRA_ARGS", "--setup-hook=id", "as root"),
        ("DIB_DEBOOTSTRAP_EXTRA_ARGS", "--aptopt=DPkg::Pre-Invoke=id", "as root"),
        ("DIB_DEBOOTSTRAP_EXTRA_ARGS", "--aptopt=DPkg::Post-Invoke=id", "as root"),
    ] {
        let text = format!("[schedule.a.image]\nelements = [\"vm\"]\nenvironment.{name} = \"{value}\"\n");
        let found = mistakes(&text);
        assert_eq!(found.len(), 1, "{name} {value}: {found:#?}");
        assert!(found[0].contains("is not allowed") && found[0].contains(help), "{found:#?}");
    }
    for (name, value) in [
        ("DIB_RELEASE", "8-stream"),
        ("DIB_BOOTLOADER_DEFAULT_CMDLINE", "net.ifnames=0 console=ttyS0,115200 panic=1"),
        ("DIB_CLOUD_INIT_DATASOURCES", "OpenStack, ConfigDrive"),
        ("DIB_DEBOOTSTRAP_EXTRA_ARGS", "--keyring=/usr/share/keyrings/x.gpg --arch amd64"),
        ("DIB_DISTRIBUTION_MIRROR", "http://mirror.example/debian?a=b&c=d"),
        ("DIB_BLOCK_DEVICE_CONFIG", "file:///srv/disk.yaml"),
        ("IMAGE_MANAGER_DEBIAN_KERNEL", "generic"),
        ("ARCH", "amd64"),
    ] {
        read(&format!("[schedule.a.image]\nelements = [\"vm\"]\nenvironment.{name} = \"{value}\"\n"));
    }
}

/// What the manager sets for the elements, or one of them for another.
const SET_FOR_ELEMENTS: [&str; 9] = [
    "IMAGE_MANAGER_AGENT",
    "IMAGE_MANAGER_BUILD",
    "IMAGE_MANAGER_DEFAULT_USER",
    "IMAGE_MANAGER_FINGERPRINT",
    "IMAGE_MANAGER_INPUTS",
    "IMAGE_MANAGER_SECRETS_DIR",
    "IMAGE_MANAGER_SSH_AUTHORIZED_KEYS",
    "IMAGE_MANAGER_SSH_PASSWORD_AUTHENTICATION",
    "IMAGE_MANAGER_USERS",
];

/// A variable's entry in a README is a line of its name alone.
#[test]
fn what_the_readmes_of_the_elements_offer_can_be_set_but_for_what_the_manager_sets() {
    let elements = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("elements");
    let mut offered = Vec::new();
    for element in std::fs::read_dir(elements).unwrap() {
        let readme = std::fs::read_to_string(element.unwrap().path().join("README.rst")).unwrap_or_default();
        offered.extend(
            readme
                .lines()
                .filter(|line| line.starts_with("IMAGE_MANAGER_") && !line.contains(' '))
                .map(str::to_owned),
        );
    }
    assert!(offered.iter().any(|name| name == "IMAGE_MANAGER_UBUNTU_KERNEL"), "{offered:?}");
    assert!(SET_FOR_ELEMENTS.iter().all(|name| offered.iter().any(|offer| offer == name)), "{offered:?}");
    for name in offered {
        let text = format!("[schedule.a.image]\nelements = [\"vm\"]\nenvironment.{name} = \"1\"\n");
        if SET_FOR_ELEMENTS.contains(&name.as_str()) {
            let found = mistakes(&text);
            assert!(found.iter().any(|found| found.contains("is not allowed")), "{name}: {found:#?}");
        } else {
            read(&text);
        }
    }
}
