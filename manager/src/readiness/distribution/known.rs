//! The distributions that disk-image-builder's elements build, their releases, and whose elements are whose.

use std::collections::BTreeSet;

/// How a distribution's packages are installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Apt,
    Rpm,
    Zypper,
    Portage,
}

impl Family {
    pub(super) const ALL: [Self; 4] = [Self::Apt, Self::Rpm, Self::Zypper, Self::Portage];

    /// Elements that only work with it.
    pub(super) fn managers(self) -> &'static [&'static str] {
        match self {
            Self::Apt => &["dpkg", "debootstrap"],
            Self::Rpm => &["yum", "yum-minimal", "rpm-distro", "redhat-common"],
            Self::Zypper => &["zypper", "zypper-minimal"],
            Self::Portage => &["gentoo"],
        }
    }

    pub(super) fn is_in(self, elements: &BTreeSet<String>) -> bool {
        self.managers().iter().any(|element| elements.contains(*element))
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Apt => "Debian and Ubuntu",
            Self::Rpm => "distributions with dnf",
            Self::Zypper => "openSUSE",
            Self::Portage => "Gentoo",
        }
    }
}

/// How releases are called that have no names of their own.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// By name only.
    Named,
    /// `9`.
    Number,
    /// `9`, `9-stream`.
    Stream,
    /// `15.6`, `22.03-LTS`.
    Dotted,
    /// None.
    Any,
}

/// A distribution.
pub(super) struct Distribution {
    pub(super) name: &'static str,
    pub(super) family: Family,
    /// The elements of disk-image-builder that bring it.
    pub(super) systems: &'static [&'static str],
    /// Names of releases, those that move from one to the next included.
    names: &'static [&'static str],
    shape: Shape,
    /// Numbers that people use for the names.
    numbers: &'static [(&'static str, &'static str)],
    /// Releases that another init system starts.
    pub(super) without_systemd: &'static [(&'static str, &'static str)],
    /// A release of today.
    pub(super) example: &'static str,
}

impl Distribution {
    /// Whether it is one of its releases.
    pub(super) fn knows(&self, release: &str) -> bool {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let shaped = match self.shape {
            Shape::Named => false,
            Shape::Number => digits(release),
            Shape::Stream => digits(release.strip_suffix("-stream").unwrap_or(release)),
            Shape::Dotted => release.split(['.', '-']).next().is_some_and(digits),
            Shape::Any => true,
        };
        shaped || self.has_name(release)
    }

    pub(super) fn has_name(&self, release: &str) -> bool {
        self.names.contains(&release)
    }

    /// The name of a release that goes by a number elsewhere.
    pub(super) fn named(&self, number: &str) -> Option<&'static str> {
        self.numbers.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
    }

    /// What helps when the guest's element is another's.
    pub(super) fn guest_instead(&self, element: &str) -> String {
        let of_another = GUESTS.iter().any(|(guest, _)| *guest == element);
        let own = GUESTS.iter().find(|(_, of)| of.contains(&self.name));
        match own {
            Some((guest, _)) if of_another => {
                format!("; for {} it is `{guest}`, which agent-install includes", self.name)
            }
            _ => String::new(),
        }
    }
}

/// Elements of ours for the guests of one distribution each.
pub(super) const GUESTS: [(&str, &[&str]); 5] = [
    ("debian-cloud-guest", &["Debian"]),
    ("ubuntu-cloud-guest", &["Ubuntu"]),
    ("el-cloud-guest", &["CentOS", "Rocky Linux", "AlmaLinux", "RHEL"]),
    ("fedora-cloud-guest", &["Fedora"]),
    ("opensuse-cloud-guest", &["openSUSE"]),
];

/// Elements of disk-image-builder that need no package manager's element and are for one family all the same.
pub(super) const ONLY: [(&str, Family); 9] = [
    ("apt-conf", Family::Apt),
    ("apt-preferences", Family::Apt),
    ("apt-sources", Family::Apt),
    ("ubuntu-common", Family::Apt),
    ("elrepo", Family::Rpm),
    ("epel", Family::Rpm),
    ("rhel-common", Family::Rpm),
    ("selinux-fixfiles-restore", Family::Rpm),
    ("replace-partition-redhat", Family::Rpm),
];

/// Packages that bring another init system.
pub(super) const NOT_SYSTEMD: [(&str, &str); 5] = [
    ("openrc", "openrc"),
    ("runit-init", "runit"),
    ("sysvinit-core", "sysvinit"),
    ("systemd-shim", "sysvinit"),
    ("upstart", "upstart"),
];

pub(super) const DISTRIBUTIONS: [Distribution; 10] = [
    Distribution {
        name: "Debian",
        family: Family::Apt,
        systems: &["debian-minimal"],
        names: &[
            "wheezy",
            "jessie",
            "stretch",
            "buster",
            "bullseye",
            "bookworm",
            "trixie",
            "forky",
            "duke",
            "sid",
            "stable",
            "oldstable",
            "oldoldstable",
            "testing",
            "unstable",
            "experimental",
        ],
        shape: Shape::Named,
        numbers: &[
            ("9", "stretch"),
            ("10", "buster"),
            ("11", "bullseye"),
            ("12", "bookworm"),
            ("13", "trixie"),
            ("14", "forky"),
        ],
        without_systemd: &[("wheezy", "sysvinit")],
        example: "trixie",
    },
    Distribution {
        name: "Ubuntu",
        family: Family::Apt,
        systems: &["ubuntu", "ubuntu-minimal", "ubuntu-systemd-container"],
        names: &[
            "precise", "trusty", "xenial", "bionic", "focal", "jammy", "kinetic", "lunar", "mantic", "noble",
            "oracular", "plucky", "questing", "resolute", "devel",
        ],
        shape: Shape::Named,
        numbers: &[
            ("16.04", "xenial"),
            ("18.04", "bionic"),
            ("20.04", "focal"),
            ("22.04", "jammy"),
            ("24.04", "noble"),
            ("26.04", "resolute"),
        ],
        without_systemd: &[("precise", "upstart"), ("trusty", "upstart")],
        example: "noble",
    },
    Distribution {
        name: "CentOS",
        family: Family::Rpm,
        systems: &["centos", "centos-minimal"],
        names: &[],
        shape: Shape::Stream,
        numbers: &[],
        without_systemd: &[("6", "upstart")],
        example: "9-stream",
    },
    Distribution {
        name: "Fedora",
        family: Family::Rpm,
        systems: &["fedora", "fedora-minimal", "fedora-container"],
        names: &["rawhide"],
        shape: Shape::Number,
        numbers: &[],
        without_systemd: &[],
        example: "42",
    },
    Distribution {
        name: "Rocky Linux",
        family: Family::Rpm,
        systems: &["rocky-container"],
        names: &[],
        shape: Shape::Number,
        numbers: &[],
        without_systemd: &[],
        example: "9",
    },
    Distribution {
        name: "AlmaLinux",
        family: Family::Rpm,
        systems: &["almalinux-container"],
        names: &[],
        shape: Shape::Number,
        numbers: &[],
        without_systemd: &[],
        example: "9",
    },
    Distribution {
        name: "RHEL",
        family: Family::Rpm,
        systems: &["rhel"],
        names: &[],
        shape: Shape::Dotted,
        numbers: &[],
        without_systemd: &[("6", "upstart")],
        example: "9",
    },
    Distribution {
        name: "openEuler",
        family: Family::Rpm,
        systems: &["openeuler-minimal"],
        names: &[],
        shape: Shape::Dotted,
        numbers: &[],
        without_systemd: &[],
        example: "24.03-LTS",
    },
    Distribution {
        name: "openSUSE",
        family: Family::Zypper,
        systems: &["opensuse", "opensuse-minimal"],
        names: &["tumbleweed"],
        shape: Shape::Dotted,
        numbers: &[],
        without_systemd: &[],
        example: "15.6",
    },
    Distribution {
        name: "Gentoo",
        family: Family::Portage,
        systems: &["gentoo"],
        names: &["gentoo"],
        shape: Shape::Any,
        numbers: &[],
        without_systemd: &[],
        example: "gentoo",
    },
];
