//! Real ext4 file systems in real qcow2 images, with a package database of our own making.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use md5::{Digest as _, Md5};

use super::*;

mod kept;
mod rpm;

/// An image of a root directory that a test fills.
struct Image {
    directory: tempfile::TempDir,
    sums: String,
}

impl Image {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("root/var/lib/dpkg/info")).unwrap();
        Self { directory, sums: String::new() }
    }

    fn put(&self, path: &str, content: impl AsRef<[u8]>) {
        let place = self.directory.path().join("root").join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, content).unwrap();
    }

    /// A file of the package, which the image has, but perhaps with something else in it.
    fn packaged(&mut self, path: &str, should: impl AsRef<[u8]>, has: Option<&[u8]>) {
        let digest = u128::from_be_bytes(Md5::digest(should.as_ref()).into());
        writeln!(self.sums, "{digest:032x}  {path}").unwrap();
        if let Some(has) = has {
            self.put(path, has);
        }
    }

    /// In a partition of a qcow2, as DIB makes it.
    fn finish(&self) -> PathBuf {
        self.put("var/lib/dpkg/info/one:amd64.md5sums", &self.sums);
        self.convert()
    }

    fn convert(&self) -> PathBuf {
        let at = |name: &str| self.directory.path().join(name);
        let raw = fs::File::create(at("raw")).unwrap();
        raw.set_len(17 << 20).unwrap();
        let entry = [0x83, 0, 0, 0, 0, 8, 0, 0, 0, 0x80, 0, 0, 0x55, 0xaa];
        std::os::unix::fs::FileExt::write_all_at(&raw, &entry[..12], 450).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&raw, &entry[12..], 510).unwrap();
        run(Command::new("mke2fs")
            .args(["-q", "-t", "ext4", "-E", "offset=1048576", "-d"])
            .args([at("root"), at("raw")])
            .arg("16M"));
        self.to_qcow2()
    }

    fn to_qcow2(&self) -> PathBuf {
        let at = |name: &str| self.directory.path().join(name);
        run(Command::new("qemu-img")
            .args(["convert", "-f", "raw", "-O", "qcow2"])
            .args([at("raw"), at("image.qcow2")]));
        at("image.qcow2")
    }
}

fn run(command: &mut Command) {
    // mke2fs is in /sbin, which need not be on PATH.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = command.env("PATH", path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

async fn proof(image: &Path) -> Result<Proof, BuilderError> {
    prove(image, Format::Qcow2, &[], &CancellationToken::new()).await.map(|proven| proven.proof)
}

#[tokio::test]
async fn a_whole_image_is_told_from_one_that_elements_changed() {
    let mut image = Image::new();
    image.packaged("usr/bin/one", [7; 10_000], Some(&[7; 10_000]));
    image.packaged("usr/bin/empty", "", Some(b""));
    image.packaged("usr/lib/changed", "as packaged", Some(b"as an element wants it"));
    image.packaged("usr/share/doc/one/README", "read me", None);
    image.packaged("usr/lib/gone", "gone", None);
    image.packaged("usr/bin/moved", "mine", None);
    image.put("usr/bin/moved.real", "mine");
    image.put("var/lib/dpkg/diversions", "/usr/bin/moved\n/usr/bin/moved.real\nother\n");
    // Through a directory that is a link, as /lib is.
    image.packaged("lib/linked", "linked", None);
    image.put("usr/lib/linked", "linked");
    std::os::unix::fs::symlink("usr/lib", image.directory.path().join("root/lib")).unwrap();
    let file = image.finish();
    let found = proof(&file).await.unwrap();
    let Proof::Looked(counts) = &found else { panic!("{found:?}") };
    assert_eq!(
        (counts.same, counts.changed, counts.missing, counts.left_out, counts.damaged),
        (4, 1, 1, 1, 0),
        "{counts:?}"
    );
    assert_eq!(counts.names, ["changed: /usr/lib/changed", "missing: /usr/lib/gone"]);
    assert_eq!(found.summary(), "4 packaged files verified, 1 changed by elements, 1 missing");
    assert!(!file.with_extension("proof.raw").exists());
}

#[tokio::test]
async fn a_secret_of_the_build_is_found_in_the_image() {
    let mut image = Image::new();
    image.packaged("usr/bin/one", "one", Some(b"one"));
    // Longer than is read at a time.
    let mut settings = vec![b'#'; 64 * 1024 - 4];
    settings.extend_from_slice(b"glpat-1234567890\n");
    image.put("etc/app/settings", settings);
    image.put("usr/share/app", "glpat-1234567890");
    std::os::unix::fs::symlink("settings", image.directory.path().join("root/etc/app/link")).unwrap();
    let secret = Secret::new("TOKEN".to_owned(), PathBuf::new(), b"glpat-1234567890\n".to_vec());
    let looked = prove(&image.finish(), Format::Qcow2, &[secret], &CancellationToken::new()).await.unwrap();
    let seen = looked.inspection.unwrap();
    let leak = Leak { path: "/etc/app/settings".to_owned(), secret: "TOKEN".to_owned() };
    assert_eq!(seen.secrets, [leak], "and not by a link, and not where no hook puts one");
}

#[tokio::test]
async fn what_was_never_written_is_damage() {
    let mut image = Image::new();
    image.packaged("usr/bin/good", "good", Some(b"good"));
    image.packaged("usr/bin/blank", [7; 9000], Some(&[0; 9000]));
    let error = proof(&image.finish()).await.unwrap_err();
    assert_eq!(error.reason, Reason::ImageDamaged);
    assert!(error.message.contains("of 2 packaged files, 1 are blank"), "{error}");
    assert_eq!(error.evidence, "blank: /usr/bin/blank");

    let image = Image::new();
    image.put("var/lib/dpkg/info/one.md5sums", [0; 5000]);
    let error = proof(&image.convert()).await.unwrap_err();
    assert_eq!(error.evidence, "blank: /var/lib/dpkg/info/one.md5sums");

    let error = proof(&Image::new().finish()).await.unwrap_err();
    assert!(error.evidence.starts_with("all 1 lists of checksums"), "{error:?}");
}

#[tokio::test]
async fn an_image_that_cannot_be_compared_says_why() {
    let image = Image::new();
    let found = proof(&image.convert()).await.unwrap();
    let why = "packaged files not verified: its package database has no checksums";
    assert_eq!(found.summary(), why);

    // The tool rpm brings a database without a package.
    let root = image.directory.path().join("root");
    run(Command::new("rpm").arg("--root").arg(&root).args(["--dbpath", "/var/lib/rpm", "--initdb"]));
    assert!(root.join("var/lib/rpm/rpmdb.sqlite").exists());
    assert_eq!(proof(&image.convert()).await.unwrap().summary(), why);

    let image = Image::new();
    fs::remove_dir_all(image.directory.path().join("root/var/lib")).unwrap();
    let found = proof(&image.convert()).await.unwrap();
    assert_eq!(found.summary(), "packaged files not verified: it has neither a dpkg nor an rpm database");

    let other = image.directory.path().join("other.qcow2");
    run(Command::new("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(&other).arg("1M"));
    let found = proof(&other).await.unwrap();
    let why = "it has no file system that can be read: neither ext4 nor xfs";
    assert_eq!(found.summary(), format!("packaged files not verified: {why}"));
}

#[tokio::test]
async fn a_broken_image_and_a_cancel_are_errors() {
    let directory = tempfile::tempdir().unwrap();
    let broken = directory.path().join("image.qcow2");
    fs::write(&broken, "no qcow2").unwrap();
    let error = proof(&broken).await.unwrap_err();
    assert!(error.message.contains("cannot be unpacked") && !error.evidence.is_empty(), "{error:?}");
    let cancel = CancellationToken::new();
    cancel.cancel();
    assert_eq!(prove(&broken, Format::Qcow2, &[], &cancel).await.unwrap_err().reason, Reason::Cancelled);
}

/// `PROOF_TEST_IMAGE` is a qcow2. Prints what is in it, and how long the look took.
#[tokio::test]
#[ignore = "a measurement, for an image of one's own"]
async fn an_image_of_ones_own() {
    let Some(image) = std::env::var_os("PROOF_TEST_IMAGE") else { return };
    let start = std::time::Instant::now();
    println!("{:#?} in {:.1} s", proof(Path::new(&image)).await, start.elapsed().as_secs_f64());
}
