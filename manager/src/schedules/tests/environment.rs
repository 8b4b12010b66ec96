//! Mistakes in the variables of a schedule's image.

use super::errors::mistakes;
use super::read;

#[test]
fn environment_variables() {
    for (name, label) in [
        ("OS_AUTH_URL", "looks like a secret"),
        ("DB_PASSWORD", "looks like a secret"),
        ("MY_SECRET_X", "looks like a secret"),
        ("GITHUB_TOKEN", "looks like a secret"),
        ("os_password", "looks like a secret"),
        ("IMAGE_MANAGER_STATE", "the manager sets it"),
        ("TMP_DIR", "the manager sets it"),
        ("TMPDIR", "the manager sets it"),
        ("HOME", "the manager sets it"),
        ("ELEMENTS_PATH", "the manager sets it"),
        ("PATH", "changes which code runs"),
        ("LD_PRELOAD", "changes which code runs"),
        ("BASH_ENV", "changes which code runs"),
        ("ENV", "changes which code runs"),
        ("SHELLOPTS", "changes which code runs"),
        ("TAR_OPTIONS", "programs of this host read it"),
        ("GIT_SSH_COMMAND", "programs of this host read it"),
        ("CURL_HOME", "programs of this host read it"),
        ("PERL5OPT", "programs of this host read it"),
        ("PYTHONSTARTUP", "programs of this host read it"),
        ("XZ_OPT", "programs of this host read it"),
        ("GZIP", "programs of this host read it"),
        ("SSL_CERT_FILE", "programs of this host read it"),
        ("dib_release", "not a variable's name"),
        ("1X", "not a variable's name"),
        ("\"A B\"", "not a variable's name"),
        ("\"\"", "not a variable's name"),
    ] {
        let text = format!("[schedule.a.image]\nelements = [\"vm\"]\nenvironment.{name} = \"x\"\n");
        let found = mistakes(&text);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].starts_with(&format!("{name}: environment variable")), "{found:#?}");
        assert!(found[0].contains(label), "{found:#?}");
    }
    read("[schedule.a.image]\nelements = [\"vm\"]\nenvironment = { DIB_RELEASE = \"trixie\", _X1 = \"\" }\n");
}

#[test]
fn values_of_environment_variables() {
    for (name, value, help) in [
        ("DIB_RELEASE", "x[$(touch /tmp/x)]", "after `$`"),
        ("DIB_RELEASE", "`id`", "backquotes"),
        ("DIB_RELEASE", "trixie; id", "letters, digits and"),
        ("DIB_MIN_TMPFS", "a[0]", "letters, digits only"),
        ("DIB_BAREMETAL_KERNEL_PATTERN", "vmlinuz*;id", "letters, digits and"),
        ("DIB_ELEMENT_MANIFEST_PATH", "x; id", "letters, digits and"),
        ("DIB_MMDEBSTRAP_EXTRA_ARGS", "--setup-hook=id", "as root"),
        ("DIB_DEBOOTSTRAP_EXTRA_ARGS", "--aptopt=DPkg::Pre-Invoke=id", "as root"),
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
