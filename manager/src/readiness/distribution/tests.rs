use std::path::Path;

use super::*;
use crate::schedules::parse;

/// What is said of a schedule whose elements bring these package managers and systems along.
fn judged(image: &str, brings: &[(&str, &[&str])], inits: &[(&str, &str)]) -> (String, Option<String>) {
    let schedules = parse(Path::new("schedules.toml"), &format!("[schedule.a]\n{image}\n")).unwrap();
    let schedule = &schedules.schedules[0];
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let brings: BTreeMap<String, Vec<String>> =
        brings.iter().map(|(name, marks)| ((*name).to_owned(), owned(marks))).collect();
    let mut elements: BTreeSet<String> = schedule.image.elements.iter().cloned().collect();
    elements.extend(brings.values().flatten().cloned());
    let inits = inits.iter().map(|(element, init)| ((*element).to_owned(), (*init).to_owned())).collect();
    let resolution = Resolution { elements: &elements, brings: &brings, inits: &inits };
    let found = mistakes(schedule, &resolution);
    let shown = schedules.refuse(&found).map_or_else(|error| error.render(false), |()| String::new());
    (shown, note(schedule, &elements))
}

const DEBIAN: (&str, &[&str]) = ("debian-minimal", &["debian-minimal", "debootstrap", "dpkg"]);
const UBUNTU: (&str, &[&str]) = ("ubuntu-minimal", &["ubuntu-minimal", "debootstrap", "dpkg"]);
const ROCKY: (&str, &[&str]) =
    ("rocky-container", &["rocky-container", "redhat-common", "rpm-distro", "yum"]);
const FEDORA: (&str, &[&str]) =
    ("fedora-container", &["fedora-container", "redhat-common", "rpm-distro", "yum"]);
const YUM: (&str, &[&str]) = ("yum-minimal", &["yum-minimal", "redhat-common", "rpm-distro", "yum"]);

#[test]
fn elements_of_another_distribution_are_named_at_their_place() {
    let cases = [
        (
            r#"["debian-minimal", "yum-minimal"]"#,
            vec![DEBIAN, YUM],
            vec!["`yum-minimal` is not for Debian", "2:37", "for distributions with dnf"],
        ),
        (
            r#"["debian-minimal", "el-cloud-guest"]"#,
            vec![DEBIAN],
            vec!["`el-cloud-guest` is not for Debian", "2:37", "debian-cloud-guest"],
        ),
        (
            r#"["ubuntu-minimal", "debian-cloud-guest"]"#,
            vec![UBUNTU],
            vec!["is not for Ubuntu", "2:37", "ubuntu-cloud-guest"],
        ),
        (
            r#"["rocky-container", "apt-sources"]"#,
            vec![ROCKY],
            vec!["is not for Rocky Linux", "for Debian and Ubuntu"],
        ),
        (
            r#"["rocky-container", "fedora-container"]"#,
            vec![ROCKY, FEDORA],
            vec!["2 operating systems", "2:38"],
        ),
        (
            r#"["own", "yum-minimal"]"#,
            vec![("own", &["dpkg"]), YUM],
            vec!["for different distributions", "2:7"],
        ),
    ];
    for (elements, brings, pieces) in cases {
        let (shown, _) = judged(&format!("image.elements = {elements}"), &brings, &[]);
        assert!(pieces.iter().all(|piece| shown.contains(piece)), "{shown}");
        assert!(shown.contains("1 error in"), "{shown}");
    }
    for (elements, brings) in [
        (r#"["debian-minimal", "debian-cloud-guest"]"#, DEBIAN),
        (r#"["rocky-container", "el-cloud-guest", "epel"]"#, ROCKY),
        (r#"["own", "el-cloud-guest"]"#, ("own", &["redhat-common"])),
    ] {
        assert_eq!(judged(&format!("image.elements = {elements}"), &[brings], &[]).0, "");
    }
}

#[test]
fn a_release_of_another_distribution_is_a_mistake_and_a_new_one_is_not() {
    let of = |system: (&'static str, &'static [&'static str]), release: &str| {
        let image = format!(
            "image.elements = [\"{}\"]\nimage.environment = {{ DIB_RELEASE = \"{release}\" }}",
            system.0
        );
        judged(&image, &[system], &[])
    };
    for (system, release, pieces) in [
        (
            DEBIAN,
            "noble",
            &["\"noble\" is a release of Ubuntu, but `a` builds Debian", "3:37", "\"trixie\""][..],
        ),
        (UBUNTU, "bookworm", &["is a release of Debian", "not a release of Ubuntu"]),
        (ROCKY, "trixie", &["is a release of Debian, but `a` builds Rocky Linux", "DIB_RELEASE = \"9\""]),
        (DEBIAN, "9", &["by name", "9 is \"stretch\""]),
        (DEBIAN, "sid", &["sid-updates", "DIB_RELEASE = \"unstable\""]),
        (DEBIAN, "13", &["13 is \"trixie\""]),
        (UBUNTU, "24.04", &["24.04 is \"noble\""]),
        (UBUNTU, "99.10", &["such as DIB_RELEASE = \"noble\""]),
    ] {
        let (shown, _) = of(system, release);
        assert!(pieces.iter().all(|piece| shown.contains(piece)), "{release}: {shown}");
    }
    for (system, release) in
        [(DEBIAN, "unstable"), (DEBIAN, "bookworm"), (UBUNTU, "noble"), (ROCKY, "10"), (FEDORA, "43")]
    {
        assert_eq!(of(system, release), (String::new(), None), "{release}");
    }
    for (system, release) in [(DEBIAN, "zurg"), (UBUNTU, "zesty-zebra"), (FEDORA, "next")] {
        let (shown, note) = of(system, release);
        assert_eq!(shown, "", "{release}");
        assert!(note.unwrap().contains(release));
    }
}

#[test]
fn only_systemd_is_taken() {
    let only = "but only systemd is supported";
    let gentoo = ("gentoo", &["gentoo"][..]);
    let cases = [
        (
            "image.elements = [\"debian-minimal\"]\nimage.environment = { DIB_INIT_SYSTEM = \"openrc\" }",
            DEBIAN,
            "3:41",
        ),
        ("image.elements = [\"gentoo\"]", gentoo, "2:19"),
        (
            "image.elements = [\"gentoo\"]\nimage.environment = { GENTOO_PROFILE = \"default/linux/amd64/23.0\" }",
            gentoo,
            "3:40",
        ),
        (
            "image.elements = [\"ubuntu-minimal\"]\nimage.environment = { DIB_RELEASE = \"trusty\" }",
            UBUNTU,
            "3:37",
        ),
        (
            "image.elements = [\"debian-minimal\"]\nimage.packages = [\"vim\", \"sysvinit-core\"]",
            DEBIAN,
            "3:26",
        ),
        ("image.elements = [\"debian-minimal\", \"debian-upstart\"]", DEBIAN, "2:37"),
    ];
    for (image, system, place) in cases {
        let (shown, _) = judged(image, &[system], &[]);
        assert!(
            shown.contains(only) && shown.contains(place) && shown.contains("1 error"),
            "{image}: {shown}"
        );
    }
    let (shown, _) = judged("image.elements = [\"own\"]", &[("own", &["dpkg"])], &[("own", "sysv")]);
    assert!(shown.contains("started by sysv, but only systemd"), "{shown}");
    let systemd = "image.elements = [\"gentoo\"]\nimage.environment = { GENTOO_PROFILE = \"default/linux/amd64/23.0/systemd\" }";
    assert_eq!(judged(systemd, &[gentoo], &[]).0, "");
}

#[test]
fn only_podman_is_taken() {
    let image = "image.elements = [\"rocky-container\", \"containerfile\"]\nimage.environment = { DIB_CONTAINERFILE_RUNTIME = ";
    let (shown, _) = judged(&format!("{image}\"docker\" }}"), &[ROCKY], &[]);
    assert!(shown.contains("only podman is supported") && shown.contains("3:51"), "{shown}");
    assert_eq!(judged(&format!("{image}\"podman\" }}"), &[ROCKY], &[]).0, "");
}
