//! Images with a real rpm database, which rpm itself makes on the spot, on ext4 and on XFS.

use std::fmt::Write as _;
use std::os::unix::fs::{MetadataExt as _, symlink};

use image_manager_agent::checks::packages::rpm::Package;

use super::*;
use crate::reason::Reason;

/// A package with a file of each kind that is looked at in its own way.
const SPEC: &str = r"
Name: tool
Epoch: 2
Version: 1.0
Release: 3
Summary: Made by a test
License: none
BuildArch: noarch
%description
Made by a test.
%install
cd %{buildroot}
mkdir -p usr/bin usr/lib etc usr/share/doc/tool var/lib/tool opt
head -c 3000000 /dev/zero | tr '\0' x >usr/bin/tool
head -c 9000 /dev/zero | tr '\0' y >usr/bin/other
: >usr/bin/empty
echo hard >usr/bin/hard-one
ln usr/bin/hard-one usr/bin/hard-two
echo x=1 >etc/tool.conf
echo y=1 >etc/kept.conf
echo library >usr/lib/libtool.so.1
ln -s libtool.so.1 usr/lib/libtool.so
ln -s /usr/lib/libtool.so.1 usr/lib/absolute.so
echo read >usr/share/doc/tool/README
echo cache >var/lib/tool/cache
%files
/usr/bin/*
/usr/lib/*
%config(noreplace) /etc/tool.conf
%config /etc/kept.conf
%doc /usr/share/doc/tool/README
%ghost /var/lib/tool/state
%verify(not md5 size mtime) /var/lib/tool/cache
";

/// A root in which rpm has installed the package.
fn installed() -> Image {
    let image = Image::new();
    let at = |name: &str| image.directory.path().join(name);
    fs::remove_dir_all(at("root/var/lib/dpkg")).unwrap();
    fs::write(at("tool.spec"), SPEC).unwrap();
    let define = |name: &str, place: &str| ["--define".to_owned(), format!("{name} {}", at(place).display())];
    run(Command::new("rpmbuild")
        .args(["-bb", "--quiet", "--nodeps"])
        .args(define("_topdir", "top"))
        .args(define("_rpmdir", "packages"))
        .args(define("_tmppath", "tmp"))
        .arg(at("tool.spec")));
    run(rpm(&image).args(["-i", "--nodeps", "--noscripts"]).arg(at("packages/noarch/tool-1.0-3.noarch.rpm")));
    image
}

fn rpm(image: &Image) -> Command {
    let mut command = Command::new("rpm");
    command.arg("--root").arg(image.directory.path().join("root"));
    command.args(["--dbpath", "/usr/lib/sysimage/rpm"]);
    command
}

/// What rpm itself says of the files that are not as they were packaged.
fn says_rpm(image: &Image) -> Vec<String> {
    let output = rpm(image).args(["-Va", "--nodeps", "--nomtime"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn replace(image: &Image, path: &str, target: &str) {
    let place = image.directory.path().join("root").join(path);
    fs::remove_file(&place).unwrap();
    symlink(target, place).unwrap();
}

fn on_xfs(image: &Image) -> PathBuf {
    make_xfs(image);
    partitioned(image)
}

/// An XFS file system, made without a mount by what mkfs.xfs calls a prototype.
fn make_xfs(image: &Image) {
    let at = |name: &str| image.directory.path().join(name);
    let mut prototype = "/none\n0 0\nd--755 0 0\n".to_owned();
    describe(&at("root"), &mut prototype);
    prototype.push_str("$\n");
    fs::write(at("prototype"), prototype).unwrap();
    fs::File::create(at("xfs")).unwrap().set_len(400 << 20).unwrap();
    run(Command::new("mkfs.xfs").args(["-q", "-p"]).args([at("prototype"), at("xfs")]));
}

fn partitioned(image: &Image) -> PathBuf {
    let at = |name: &str| image.directory.path().join(name);
    let mut raw = [0; 512];
    raw[446..458].copy_from_slice(&[0, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0]);
    raw[458..462].copy_from_slice(&(400_u32 << 11).to_le_bytes());
    raw[510..].copy_from_slice(&[0x55, 0xaa]);
    fs::write(at("raw"), raw).unwrap();
    run(Command::new("dd")
        .arg(format!("if={}", at("xfs").display()))
        .arg(format!("of={}", at("raw").display()))
        .args(["bs=1M", "seek=1", "conv=sparse,notrunc", "status=none"]));
    image.to_qcow2()
}

fn describe(directory: &Path, prototype: &mut String) {
    let mut entries: Vec<_> = fs::read_dir(directory).unwrap().map(Result::unwrap).collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (name, path) = (entry.file_name().into_string().unwrap(), entry.path());
        let metadata = fs::symlink_metadata(&path).unwrap();
        let mode = metadata.mode() & 0o777;
        if metadata.is_dir() {
            writeln!(prototype, "{name} d--{mode:03o} 0 0").unwrap();
            describe(&path, prototype);
            prototype.push_str("$\n");
        } else if metadata.is_symlink() {
            writeln!(prototype, "{name} l--777 0 0 {}", fs::read_link(&path).unwrap().display()).unwrap();
        } else {
            writeln!(prototype, "{name} ---{mode:03o} 0 0 {}", path.display()).unwrap();
        }
    }
}

fn looked(proven: &Verified) -> &Counts {
    let Proof::Looked(counts) = &proven.proof else { panic!("{proven:?}") };
    counts
}

#[tokio::test]
async fn an_image_of_rpm_is_verified_as_rpm_verifies_it() {
    let image = installed();
    assert_eq!(says_rpm(&image), Vec::<String>::new());
    let expected = [Package { name: "tool".into(), version: "2:1.0-3".into(), arch: "noarch".into() }];
    for file in [image.convert(), on_xfs(&image)] {
        let proven = prove(&file, Format::Qcow2, &[], &CancellationToken::new()).await.unwrap();
        let counts = looked(&proven);
        // Eleven, and not the ghost, nor what the package says is not to be verified.
        assert_eq!((counts.same, counts.total()), (11, 11), "{counts:?}");
        assert_eq!(proven.packages, expected);
        assert_eq!(proven.proof.summary(), "11 packaged files verified");
        assert_eq!(proven.proof.warning(), None);
    }
}

#[tokio::test]
async fn what_dnf_would_ask_its_mirrors_with_is_kept() {
    let image = installed();
    let files = [
        "etc/dnf/dnf.conf",
        "etc/dnf/modules.d/perl.module",
        "etc/dnf/vars/stream",
        "etc/pki/rpm-gpg/ours",
        "etc/yum.repos.d/ours.repo",
        "usr/lib/os-release",
        "usr/share/dnf5/repos.override.d/x.repo",
    ];
    for file in files {
        image.put(file, file);
    }
    let kept = |verified: Result<Verified, BuilderError>| verified.unwrap().kept;
    let proven = prove(&image.convert(), Format::Qcow2, &[], &CancellationToken::new()).await;
    let proven = kept(proven).unwrap();
    assert_eq!(proven.family(), crate::unchanged::Family::Rpm);
    assert_eq!(proven.packages().len(), 1);
    for file in files {
        assert_eq!(proven.file(&format!("/{file}")), Some(file.as_bytes()), "{file}");
    }
    image.put("usr/share/dnf5/repos.d/x.repo", "[x]\nbaseurl=https://me:secret@mirror.example/\n");
    let proven = prove(&image.convert(), Format::Qcow2, &[], &CancellationToken::new()).await;
    let why = kept(proven).unwrap_err();
    assert!(why.contains("password") && !why.contains("secret"), "{why}");
}

#[tokio::test]
async fn what_elements_do_to_an_image_of_rpm_is_no_damage() {
    let image = installed();
    image.put("etc/tool.conf", "x=2\n");
    image.put("var/lib/tool/cache", "another\n");
    image.put("usr/bin/other", "replaced");
    image.put("usr/lib/moved.so.1", "library\n");
    replace(&image, "usr/lib/libtool.so", "moved.so.1");
    fs::remove_file(image.directory.path().join("root/usr/share/doc/tool/README")).unwrap();
    fs::remove_file(image.directory.path().join("root/usr/bin/empty")).unwrap();
    let oracle = says_rpm(&image);
    assert_eq!(
        oracle,
        [
            "..5......  c /etc/tool.conf",
            "missing     /usr/bin/empty",
            "S.5......    /usr/bin/other",
            "....L....    /usr/lib/libtool.so",
            "missing   d /usr/share/doc/tool/README",
        ]
    );
    for file in [image.convert(), on_xfs(&image)] {
        let proven = prove(&file, Format::Qcow2, &[], &CancellationToken::new()).await.unwrap();
        let counts = looked(&proven);
        assert_eq!(
            (counts.same, counts.edited, counts.changed, counts.missing, counts.left_out, counts.damaged),
            (6, 1, 2, 1, 1, 0),
            "{counts:?}"
        );
        let mut names = counts.names.clone();
        names.sort();
        assert_eq!(
            names,
            ["changed: /usr/bin/other", "changed: /usr/lib/libtool.so", "missing: /usr/bin/empty"]
        );
    }
}

#[tokio::test]
async fn a_blank_file_of_rpm_is_damage_even_when_it_is_configuration() {
    let image = installed();
    image.put("usr/bin/other", [0; 9000]);
    image.put("etc/kept.conf", [0; 4]);
    for file in [image.convert(), on_xfs(&image)] {
        let error = prove(&file, Format::Qcow2, &[], &CancellationToken::new()).await.unwrap_err();
        assert_eq!(error.reason, Reason::ImageDamaged);
        assert!(error.message.contains("of 11 packaged files, 2 are blank"), "{error}");
        let mut names: Vec<&str> = error.evidence.lines().collect();
        names.sort_unstable();
        assert_eq!(names, ["blank: /etc/kept.conf", "blank: /usr/bin/other"]);
    }
}

/// The library would take as much memory as the inode says.
#[tokio::test]
async fn a_link_that_is_longer_than_links_are_is_not_read() {
    let image = installed();
    let share = image.directory.path().join("root/usr/share");
    fs::rename(&share, share.with_extension("real")).unwrap();
    symlink("share.real", &share).unwrap();
    make_xfs(&image);
    for (path, size) in [("/usr/share", 4097), ("/usr/lib/libtool.so", 200 << 20)] {
        run(Command::new("xfs_db")
            .args(["-x", "-c", &format!("path {path}"), "-c", &format!("write -d core.size {size}")])
            .arg(image.directory.path().join("xfs")));
    }
    let error = prove(&partitioned(&image), Format::Qcow2, &[], &CancellationToken::new()).await.unwrap_err();
    let mut names: Vec<&str> = error.evidence.lines().collect();
    names.sort_unstable();
    let long = "a link in it is longer than a link can be";
    assert_eq!(
        names,
        [format!("{long}: /usr/lib/libtool.so"), format!("{long}: /usr/share/doc/tool/README")]
    );
}

#[tokio::test]
async fn an_rpm_database_that_was_lost_is_damage() {
    let image = installed();
    for content in [&[][..], &[0; 9_000]] {
        image.put("usr/lib/sysimage/rpm/rpmdb.sqlite", content);
        let error = prove(&image.convert(), Format::Qcow2, &[], &CancellationToken::new()).await.unwrap_err();
        let expected = ("image_damaged", true);
        let found = (error.reason.word(), error.evidence.starts_with("the rpm database cannot be read: "));
        assert_eq!(found, expected, "{error:?}");
    }
    let left: Vec<_> = fs::read_dir(image.directory.path()).unwrap().flatten().collect();
    assert!(left.iter().all(|entry| !entry.file_name().to_string_lossy().contains("proof")), "{left:?}");
}

#[tokio::test]
async fn databases_of_all_kinds_are_looked_for() {
    for path in ["var/lib/rpm/Packages", "usr/lib/sysimage/rpm/Packages.db", "var/lib/rpm/rpmdb.sqlite"] {
        let image = Image::new();
        fs::remove_dir_all(image.directory.path().join("root/var/lib/dpkg")).unwrap();
        image.put(path, [0; 5000]);
        let error = prove(&image.convert(), Format::Qcow2, &[], &CancellationToken::new()).await.unwrap_err();
        assert!(error.evidence.ends_with(&format!(": /{path}")), "{error:?}");
    }
}

#[tokio::test]
async fn what_is_not_read_is_told_aloud() {
    let image = Image::new();
    fs::remove_dir_all(image.directory.path().join("root/var/lib/dpkg")).unwrap();
    image.convert();
    let raw = image.directory.path().join("raw");
    std::os::unix::fs::FileExt::write_all_at(
        &fs::File::options().write(true).open(&raw).unwrap(),
        b"_BHRfS_M",
        (1 << 20) + 0x1_0040,
    )
    .unwrap();
    let file = fs::File::options().write(true).open(&raw).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0; 2], (1 << 20) + 0x438).unwrap();
    let proven = prove(&image.to_qcow2(), Format::Qcow2, &[], &CancellationToken::new()).await.unwrap();
    assert!(proven.proof.warning().unwrap().contains("btrfs cannot be read, only ext4 and xfs can"));
}
