//! What schedules add of their own: paths, repositories, files, secrets.

use super::{Path, parse};
use crate::schedules::{RepositoryKind, Schedule};

fn read(elements: &str, lines: &str) -> Result<Schedule, String> {
    let text = format!("[schedule.a.image]\nelements = [\"{elements}\"]\n{lines}\n");
    let read = parse(Path::new("/srv/images/schedules.toml"), &text);
    read.map(|mut schedules| schedules.schedules.remove(0)).map_err(|error| error.render(false))
}

#[test]
fn relative_paths_count_from_the_files_directory() {
    let image = read(
        "debian-minimal",
        "elements_path = [\"elements\", \"../shared/./elements\", \"/opt/elements\"]\n\
         files = [{ source = \"motd\", path = \"/etc/motd\", mode = \"4755\", owner = \"root:adm\" }]\n\
         secrets = { B = \"file:/run/b\", A = \"file:a\" }\n\
         repositories = [{ name = \"o\", url = \"http://h/\", suites = [\"s\"], components = [\"c\"], key_file = \"k\", auth = \"B\", keep = true }]",
    )
    .unwrap()
    .image;
    let paths: Vec<_> = image.elements_path.iter().map(|path| path.to_str().unwrap()).collect();
    assert_eq!(paths, ["/srv/images/elements", "/srv/shared/elements", "/opt/elements"]);
    assert_eq!(image.files[0].source, Path::new("/srv/images/motd"));
    assert_eq!((image.files[0].mode, image.files[0].owner.as_str()), (0o4755, "root:adm"));
    let secrets: Vec<_> =
        image.secrets.iter().map(|one| (one.name.as_str(), one.source.to_str().unwrap())).collect();
    assert_eq!(secrets, [("A", "/srv/images/a"), ("B", "/run/b")]);
    let repository = &image.repositories[0];
    assert_eq!(repository.key_file.as_deref(), Some(Path::new("/srv/images/k")));
    assert!(repository.keep && repository.auth.as_deref() == Some("B"));
}

#[test]
fn the_elements_tell_the_kind_of_a_repository() {
    let kind = |elements: &str, more: &str| {
        let lines = format!("repositories = [{{ name = \"o\", url = \"http://h/\"{more} }}]");
        read(elements, &lines).map(|schedule| schedule.image.repositories[0].kind)
    };
    let apt = ", suites = [\"s\"], components = [\"c\"]";
    assert_eq!(kind("ubuntu-minimal", apt), Ok(RepositoryKind::Apt));
    assert_eq!(kind("rocky-container", ""), Ok(RepositoryKind::Dnf));
    assert_eq!(kind("ours", apt), Ok(RepositoryKind::Apt));
    assert_eq!(kind("ours", ""), Ok(RepositoryKind::Dnf));
    assert_eq!(kind("debian-minimal", ", suites = [\"./\"]"), Ok(RepositoryKind::Apt));
    for (elements, more, why) in [
        ("debian-minimal", "", "an apt repository needs `suites`"),
        ("debian-minimal", ", suites = [\"s\"]", "an apt repository needs `components`"),
        ("debian-minimal", ", suites = [\"./\"], components = [\"c\"]", "a flat apt repository has no"),
        ("fedora-minimal", apt, "a dnf repository has no `suites`"),
        ("debian-minimal", ", kind = \"dnf\", suites = [\"s\"]", "a dnf repository has no `suites`"),
        ("debian-minimal", ", kind = \"rpm\", suites = [\"./\"]", "`image.repositories.kind`"),
    ] {
        let said = kind(elements, more).unwrap_err();
        assert!(said.contains(why) && said.contains("1 error in"), "{elements} {more}: {said}");
    }
}

#[test]
fn a_password_in_the_file_is_refused_and_not_shown() {
    for lines in [
        "secrets = { REPO = \"swordfish\" }",
        "secrets = { REPO = \"swordfish\\u0007\" }",
        "secrets = { REPO = [\"swordfish\"] }",
        "repositories = [{ name = \"o\", url = \"https://robot:swordfish@h/\", suites = [\"./\"] }]",
        "repositories = [{ name = \"o\", url = \"https://swordfish@h/x\", suites = [\"./\"] }]",
    ] {
        let said = read("debian-minimal", lines).unwrap_err();
        assert!(!said.contains("swordfish"), "{lines}: {said}");
        assert!(said.contains("schedules.toml:3:"), "{lines}: {said}");
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let repository = |more: &str| {
        format!("repositories = [{{ name = \"o\", url = \"http://h/\", suites = [\"./\"]{more} }}]")
    };
    let file = |path: &str| format!("files = [{{ source = \"a\", path = \"{path}\" }}]");
    for (lines, why) in [
        (repository(", auth = \"NONE\""), "there is no secret `NONE`"),
        (repository(", trusted = true"), "unknown key `trusted`"),
        (
            "repositories = [{ url = \"http://h/\", suites = [\"./\"] }]".to_owned(),
            "the repository has no `name`",
        ),
        ("repositories = [{ name = \"o\", suites = [\"./\"] }]".to_owned(), "the repository has no `url`"),
        (
            "repositories = [{ name = \"o\", url = \"ftp://h/\", suites = [\"./\"] }]".to_owned(),
            "a repository's URL",
        ),
        (
            "repositories = [{ name = \"o\", url = \"http://h/ x\", suites = [\"./\"] }]".to_owned(),
            "a repository's URL",
        ),
        (
            "repositories = [{ name = \"../o\", url = \"http://h/\", suites = [\"./\"] }]".to_owned(),
            "a repository's name",
        ),
        ("repositories = [\"http://h/\"]".to_owned(), "must be a table"),
        (file("etc/motd"), "a file's path in the image"),
        (file("/etc/../dev/x"), "a file's path in the image"),
        (file("/etc/"), "a file's path in the image"),
        (file("/dev/sda"), "is below /dev"),
        (file("/proc/1"), "is below /proc"),
        (file("/tmp/x"), "is below /tmp"),
        (file("/var/run/x"), "is below /var/run"),
        ("files = [{ source = \"a\", path = \"/a\", mode = \"888\" }]".to_owned(), "a file's mode"),
        ("files = [{ source = \"a\", path = \"/a\", owner = \"root\" }]".to_owned(), "a file's owner"),
        ("files = [{ path = \"/a\" }]".to_owned(), "the file has no `source`"),
        (
            "files = [{ source = \"a\", path = \"/a\" }, { source = \"b\", path = \"/a\" }]".to_owned(),
            "`/a` appears twice",
        ),
        ("secrets = { \"A B\" = \"file:a\" }".to_owned(), "a secret's name"),
        ("elements_path = [\"a:b\"]".to_owned(), "is not a path"),
    ] {
        let said = read("debian-minimal", &lines).unwrap_err();
        assert!(said.contains(why) && said.contains("1 error in"), "{lines}: {said}");
    }
    let fine = [file("/device/x"), file("/etc/cron.d/a@b"), repository(", kind = \"apt\"")];
    for lines in fine {
        read("debian-minimal", &lines).unwrap();
    }
}
