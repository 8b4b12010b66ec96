//! What is kept of an image.

use super::*;
use crate::unchanged::{Family, Kept};

const SOURCES: &str =
    "deb [signed-by=/usr/share/keyrings/ours.gpg] https://mirror.example/debian stable main\n";

async fn kept(image: &Image) -> Result<Kept, String> {
    let path = image.finish();
    prove(&path, Format::Qcow2, &[], &CancellationToken::new()).await.unwrap().kept
}

fn image() -> Image {
    let mut image = Image::new();
    image.packaged("usr/bin/one", "one", Some(b"one"));
    image.put("var/lib/dpkg/status", "Package: dpkg\n");
    image.put("etc/apt/sources.list", SOURCES);
    image.put("usr/share/keyrings/ours.gpg", [0, 1, 255]);
    image.put("usr/share/keyrings/other.gpg", "other");
    image.put("etc/apt/apt.conf.d/50ours", "APT::Install-Recommends \"false\";");
    image
}

#[tokio::test]
async fn the_list_of_packages_the_sources_and_their_keys_are_kept() {
    let kept = kept(&image()).await.unwrap();
    assert_eq!(kept.family(), Family::Dpkg);
    assert_eq!(kept.file("/var/lib/dpkg/status").unwrap(), b"Package: dpkg\n");
    assert_eq!(kept.file("/etc/apt/sources.list").unwrap(), SOURCES.as_bytes());
    assert_eq!(kept.file("/usr/share/keyrings/ours.gpg").unwrap(), [0, 1, 255]);
    assert_eq!(kept.directory("/etc/apt/apt.conf.d").count(), 1);
    assert_eq!(kept.file("/usr/share/keyrings/other.gpg"), None);
}

#[tokio::test]
async fn a_secret_of_the_build_is_not_kept() {
    let path = "etc/apt/sources.list.d/ours.list";
    let secret = Secret::new("TOKEN".to_owned(), PathBuf::new(), b"glpat-1234567890\n".to_vec());
    for (content, is_kept) in [("glpat-1234567890", false), ("stable", true)] {
        let image = image();
        image.put(path, format!("deb https://mirror.example/{content}/debian stable main\n"));
        let cancel = CancellationToken::new();
        let proven = prove(&image.finish(), Format::Qcow2, std::slice::from_ref(&secret), &cancel).await;
        let kept = proven.unwrap().kept;
        let why = kept.as_ref().err().map(String::as_str).unwrap_or_default();
        assert_eq!(kept.is_ok(), is_kept, "{why}");
        assert!(is_kept || why.contains("the build's secret TOKEN") && !why.contains("glpat"), "{why}");
    }
}

#[tokio::test]
async fn passwords_and_what_is_too_large_are_not_kept() {
    for (path, content) in [
        ("etc/apt/sources.list", "deb http://me:secret@mirror.example/debian stable main\n"),
        ("etc/apt/auth.conf", "machine mirror.example login me password secret\n"),
        ("etc/apt/auth.conf.d/ours.conf", "machine mirror.example login me password secret\n"),
        ("etc/apt/apt.conf", "Acquire::http::Proxy \"http://me:secret@proxy.example:3128\";\n"),
    ] {
        let image = image();
        image.put(path, content);
        let why = kept(&image).await.unwrap_err();
        assert!(why.contains("password") && !why.contains("secret"), "{why}");
    }
    let image = image();
    image.put("etc/apt/preferences", vec![b'\n'; (1 << 20) + 1]);
    assert!(kept(&image).await.unwrap_err().contains("too large"));
}
