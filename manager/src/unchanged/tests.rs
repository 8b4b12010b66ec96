//! A real apt, and repositories on loopback that change, lie, or say nothing; with a real dnf in `dnf.rs`.

mod dnf;
mod repository;

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use repository::{Listed, Repository, stanza};

use super::*;

/// What is in the image, and in the repository at first.
const PACKAGES: [Listed<'static>; 3] =
    [("dpkg", "1.21", ""), ("our-tool", "1.0", "Depends: our-library\n"), ("our-library", "2.0-1", "")];
const ENOUGH: Duration = Duration::from_mins(1);

/// An image whose packages come from a repository, and where the mirrors' answers are kept.
struct Image {
    address: String,
    files: Vec<KeptFile>,
    cache: tempfile::TempDir,
    patience: Duration,
}

impl Image {
    fn of(repository: &Repository) -> Self {
        Self::from(&repository.address, repository.key())
    }

    fn from(address: &str, key: Vec<u8>) -> Self {
        let installed = PACKAGES.map(|(name, version, more)| {
            stanza(name, version, &format!("Status: install ok installed\n{more}"))
        });
        let mut image = Self {
            address: address.to_owned(),
            files: Vec::new(),
            cache: tempfile::tempdir().unwrap(),
            patience: ENOUGH,
        };
        image.put("/var/lib/dpkg/status", installed.join("\n"));
        image.put("/var/lib/dpkg/arch", "amd64\n");
        image.put("/etc/apt/sources.list", format!("deb [signed-by=/k.asc] {address} stable main\n"));
        image.put("/k.asc", key);
        image
    }

    fn put(&mut self, path: &str, content: impl Into<Vec<u8>>) {
        self.files.retain(|file| file.path != path);
        self.files.push(KeptFile { path: path.to_owned(), content: content.into() });
    }

    fn change(&mut self, path: &str, from: &str, to: &str) {
        let file = self.files.iter().find(|file| file.path == path).unwrap();
        let text = String::from_utf8(file.content.clone()).unwrap();
        assert!(text.contains(from));
        self.put(path, text.replacen(from, to, 1));
    }

    async fn ask(&self) -> Result<Answer, Doubt> {
        let kept = Kept::new(Family::Dpkg, self.files.clone(), Vec::new()).unwrap();
        let origins = Origins::of_distributions().and(&self.address);
        let (cache, patience) = (&self.cache.path().join("answers"), self.patience);
        let places = &self.cache.path().join("places");
        would_change(Question { kept: &kept, origins: &origins, cache, places, patience }).await
    }
}

fn nothing() -> Answer {
    Answer::Nothing { packages: PACKAGES.len() }
}

fn change(package: &str, from: Option<&str>, to: Option<&str>) -> Change {
    Change { package: package.into(), from: from.map(Into::into), to: to.map(Into::into) }
}

#[tokio::test]
async fn nothing_has_changed_and_then_something_has() {
    let repository = Repository::new();
    repository.publish(&PACKAGES);
    let image = Image::of(&repository);
    assert_eq!(image.ask().await, Ok(nothing()));
    assert!(repository.requests().iter().any(|path| path.ends_with("/Packages")));
    assert_eq!(image.ask().await, Ok(nothing()));
    assert_eq!(repository.requests(), ["/dists/stable/InRelease"], "an unchanged one is one request");

    let [dpkg, tool, _] = PACKAGES;
    let newer = ("our-library", "2.0-2", "Depends: our-data\n");
    // The server tells by the second whether a file has changed.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    repository.publish(&[dpkg, tool, newer, ("our-data", "1", "")]);
    let Ok(Answer::Changes(mut changes)) = image.ask().await else { panic!("nothing would change") };
    changes.sort_by(|a, b| a.package.cmp(&b.package));
    let expected = [change("our-data", None, Some("1")), change("our-library", Some("2.0-1"), Some("2.0-2"))];
    assert_eq!(changes, expected);
}

#[tokio::test]
async fn what_no_mirror_has_any_more_is_doubted() {
    let repository = Repository::new();
    let [dpkg, tool, library] = PACKAGES;
    let image = Image::of(&repository);
    for rest in [vec![dpkg, tool], vec![dpkg, tool, ("our-library", "1.9", "")]] {
        repository.publish(&rest);
        let doubt = Image::of(&repository).ask().await.unwrap_err();
        assert!(doubt.to_string().contains("no package source has our-library 2.0-1"), "{doubt}");
    }
    repository.publish(&[dpkg, tool, library]);
    assert_eq!(image.ask().await, Ok(nothing()));
}

#[tokio::test]
async fn what_is_held_back_is_doubted() {
    let repository = Repository::new();
    let [dpkg, tool, _] = PACKAGES;
    repository.publish(&[dpkg, tool, ("our-library", "3", "")]);
    let mut image = Image::of(&repository);
    image.change(
        "/var/lib/dpkg/status",
        "2.0-1\nArchitecture: amd64\nMaintainer: Us <us@example.org>\nStatus: install",
        "2.0-1\nArchitecture: amd64\nMaintainer: Us <us@example.org>\nStatus: hold",
    );
    let doubt = image.ask().await.unwrap_err();
    assert!(doubt.to_string().contains("held back"), "{doubt}");
}

#[tokio::test]
async fn only_what_is_signed_and_fresh_is_believed() {
    let repository = Repository::new();
    let soon = Utc::now() + TimeDelta::days(7);
    let trusted = async |what: &str| {
        let answer = Image::of(&repository).ask().await;
        assert!(matches!(answer, Err(Doubt::NotTrusted(_))), "{what}: {answer:?}");
    };
    repository.publish_as(&PACKAGES, "others", soon);
    trusted("another's key").await;
    repository.publish_as(&PACKAGES, "ours", Utc::now() - TimeDelta::days(1));
    trusted("too old").await;
    repository.publish(&PACKAGES);
    let signed = std::fs::read_to_string(repository.release()).unwrap();
    std::fs::write(repository.release(), signed.replace("Label: Us", "Label: Me")).unwrap();
    trusted("altered").await;
    let (_, bare) = signed.split_once("\n\n").unwrap();
    let bare = bare.split("-----BEGIN").next().unwrap();
    std::fs::write(repository.release(), bare).unwrap();
    assert!(Image::of(&repository).ask().await.is_err(), "unsigned");
    std::fs::rename(repository.release(), repository.release().with_file_name("Release")).unwrap();
    trusted("unsigned").await;
}

#[tokio::test]
async fn an_index_that_is_not_the_signed_one_is_not_believed() {
    let repository = Repository::new();
    repository.publish(&PACKAGES);
    let index = repository.release().with_file_name("main/binary-amd64/Packages");
    std::fs::write(&index, std::fs::read_to_string(&index).unwrap().replace("2.0-1", "2.0-2")).unwrap();
    let answer = Image::of(&repository).ask().await;
    assert!(answer.is_err(), "{answer:?}");
}

#[tokio::test]
async fn kept_answers_that_were_altered_are_asked_for_anew() {
    let repository = Repository::new();
    let [dpkg, tool, _] = PACKAGES;
    repository.publish(&[dpkg, tool, ("our-library", "3", "")]);
    let image = Image::of(&repository);
    assert!(matches!(image.ask().await, Ok(Answer::Changes(_))));
    let answers: Vec<PathBuf> = std::fs::read_dir(image.cache.path().join("answers"))
        .unwrap()
        .flat_map(|entry| std::fs::read_dir(entry.unwrap().path()).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    let index = answers.iter().find(|path| path.to_str().unwrap().contains("Packages")).unwrap();
    std::fs::write(index, stanza("our-library", "2.0-1", "")).unwrap();
    repository.requests();
    assert!(matches!(image.ask().await, Ok(Answer::Changes(_))));
    assert!(repository.requests().iter().any(|path| path.ends_with("/Packages")));
}

#[tokio::test]
async fn a_mirror_that_is_down_or_silent_is_doubted_in_time() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let doubt = Image::from(&format!("http://{closed}"), Vec::new()).ask().await.unwrap_err();
    assert!(matches!(doubt, Doubt::NotReached(_)), "{doubt}");

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut image = Image::from(&format!("http://{}", silent.local_addr().unwrap()), Vec::new());
    image.patience = Duration::from_secs(2);
    let began = Instant::now();
    let doubt = image.ask().await.unwrap_err();
    assert_eq!(doubt, Doubt::NotInTime(image.patience));
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn nobody_is_sent_elsewhere() {
    let repository = Repository::saying(|_| {
        Some("HTTP/1.1 302 Go\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n".into())
    });
    let doubt = Image::of(&repository).ask().await;
    assert!(doubt.is_err(), "{doubt:?}");
    assert!(repository.requests().iter().all(|path| path.starts_with("/dists/")));
}

/// What an image has run around its own installations changes nothing about the answer, and does not run here.
#[tokio::test]
async fn what_runs_around_installations_is_no_doubt_and_does_not_run() {
    let repository = Repository::new();
    repository.publish(&PACKAGES);
    let marks = tempfile::tempdir().unwrap();
    let mark = marks.path().join("ran");
    let mut image = Image::of(&repository);
    for hook in [
        "APT::Update::Post-Invoke",
        "APT::Update::Post-Invoke-Success",
        "DPkg::Pre-Invoke",
        "DPkg::Pre-Install-Pkgs",
        "DPkg::Post-Invoke",
    ] {
        let text = format!("{hook} {{ \"touch {}\"; }};", mark.display());
        image.put("/etc/apt/apt.conf.d/99x", text);
        assert_eq!(image.ask().await, Ok(nothing()), "{hook}");
        assert!(!mark.exists(), "{hook} ran");
    }
}

/// Each of these would run something, believe something unsigned, or ask somebody that only the image knows. Each is
/// doubted before anything runs or is asked.
#[tokio::test]
async fn hostile_images_run_nothing_and_ask_nobody() {
    let repository = Repository::new();
    repository.publish(&PACKAGES);
    let marks = tempfile::tempdir().unwrap();
    let mark = marks.path().join("ran");
    let ran = mark.display();
    let address = &repository.address;
    let files = [
        ("/etc/apt/apt.conf", format!("APT::Update::Pre-Invoke {{ \"touch {ran}\"; }};")),
        ("/etc/apt/apt.conf.d/99x", format!("Acquire::http::Proxy-Auto-Detect \"{ran}\";")),
        ("/etc/apt/apt.conf.d/99x", format!("Acquire::http::Proxy \"{address}\";")),
        ("/etc/apt/apt.conf.d/99x", "APT::Get::AllowUnauthenticated \"true\";".to_owned()),
        ("/etc/apt/apt.conf.d/99x", "Dir::Bin::Methods \"/tmp\";".to_owned()),
        ("/etc/apt/sources.list", format!("deb [trusted=yes] {address} stable main\n")),
        ("/etc/apt/sources.list", format!("deb {address} $(touch${{IFS}}{ran}) main\n")),
        ("/etc/apt/sources.list", format!("deb {address} `touch`{ran} main\n")),
        ("/etc/apt/sources.list.d/x.list", "deb file:/etc stable main\n".to_owned()),
        ("/etc/apt/sources.list.d/x.list", "deb copy:/etc stable main\n".to_owned()),
        ("/etc/apt/sources.list.d/x.list", "deb http://127.0.0.1:1 stable main\n".to_owned()),
        ("/etc/apt/sources.list.d/x.list", "deb http://169.254.169.254/latest stable main\n".to_owned()),
        (
            "/etc/apt/sources.list.d/x.sources",
            "Types: deb\nURIs: cdrom:x\nSuites: x\nComponents: x\n".to_owned(),
        ),
        ("/etc/apt/preferences", "Package: x\nOther: y\n".to_owned()),
        ("/var/lib/dpkg/arch", "amd64\"; Dir::Bin::Methods \"/tmp\n".to_owned()),
        (
            "/var/lib/dpkg/status",
            "Package: dpkg\nStatus: install ok installed\nVersion: 1\nArchitecture: a\"b\n".to_owned(),
        ),
        (
            "/var/lib/dpkg/status",
            "Package: -oDir=/\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n".to_owned(),
        ),
    ];
    for (path, content) in files {
        let mut image = Image::of(&repository);
        image.put(path, content.clone());
        let answer = image.ask().await;
        assert!(matches!(answer, Err(Doubt::NotAsked(_))), "{path}: {content}: {answer:?}");
        assert_eq!(repository.requests(), [""; 0], "{content}");
    }
    assert!(!mark.exists());
}

/// The host's own settings would run something too: none of them is read.
#[tokio::test]
async fn a_key_ring_or_a_list_full_of_rubbish_is_a_doubt() {
    let repository = Repository::new();
    repository.publish(&PACKAGES);
    let mut image = Image::of(&repository);
    image.put("/k.asc", [7; 5000]);
    assert!(image.ask().await.is_err());
    let mut image = Image::of(&repository);
    image.change("/var/lib/dpkg/status", "Depends: our-library", "Depends: our-library (>= 9");
    let answer = image.ask().await;
    assert!(answer.is_err(), "{answer:?}");
    let mut image = Image::of(&repository);
    image.files.retain(|file| file.path != "/k.asc");
    assert!(matches!(image.ask().await, Err(Doubt::NotAsked(_))));
}
