//! Signed repositories of apt and of dnf on loopback, as a real server would give them out.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest as _, Sha256};

const FORM: &str = "%a, %d %b %Y %H:%M:%S UTC";

/// A package's name, version, and further fields.
pub(super) type Listed<'a> = (&'a str, &'a str, &'a str);

/// Directory, server and key of a repository.
pub(super) struct Repository {
    directory: tempfile::TempDir,
    /// `http://127.0.0.1:port`.
    pub(super) address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

/// What is said for a path instead of the file.
pub(super) type Instead = fn(&str) -> Option<String>;

impl Repository {
    pub(super) fn new() -> Self {
        Self::saying(|_| None)
    }

    pub(super) fn saying(instead: Instead) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("www/dists/stable/main/binary-amd64")).unwrap();
        for name in ["ours", "others"] {
            let home = directory.path().join(name);
            fs::create_dir(&home).unwrap();
            gpg(
                &home,
                &["--passphrase", "", "--quick-generate-key", "us@example.org", "rsa2048", "sign", "never"],
            );
            fs::write(home.join("key.asc"), gpg(&home, &["--armor", "--export"])).unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (root, told) = (directory.path().join("www"), Arc::clone(&requests));
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (root, told) = (root.clone(), Arc::clone(&told));
                std::thread::spawn(move || serve(&stream, &root, &told, instead));
            }
        });
        Self { directory, address, requests }
    }

    /// Its public key.
    pub(super) fn key(&self) -> Vec<u8> {
        fs::read(self.directory.path().join("ours/key.asc")).unwrap()
    }

    /// Another one, with which nothing is signed unless a test says so.
    pub(super) fn other_key(&self) -> Vec<u8> {
        fs::read(self.directory.path().join("others/key.asc")).unwrap()
    }

    pub(super) fn release(&self) -> PathBuf {
        self.directory.path().join("www/dists/stable/InRelease")
    }

    /// Puts packages into it, whole and signed.
    pub(super) fn publish(&self, packages: &[Listed<'_>]) {
        self.publish_as(packages, "ours", Utc::now() + TimeDelta::days(7));
    }

    /// The same with another key, or until another time.
    pub(super) fn publish_as(&self, packages: &[Listed<'_>], who: &str, until: DateTime<Utc>) {
        let mut list = String::new();
        for (name, version, more) in packages {
            list += &stanza(name, version, more);
            writeln!(list, "Filename: pool/{name}.deb\nSize: 1\nSHA256: {:064x}\n", 7).unwrap();
        }
        let place = self.directory.path().join("www/dists/stable");
        fs::write(place.join("main/binary-amd64/Packages"), &list).unwrap();
        let release = format!(
            "Origin: Us\nLabel: Us\nSuite: stable\nCodename: stable\nDate: {}\nValid-Until: {}\nArchitectures: amd64\n\
             Components: main\nSHA256:\n {} {} main/binary-amd64/Packages\n",
            (until - TimeDelta::days(14)).format(FORM),
            until.format(FORM),
            image_manager_proto::hex(&Sha256::digest(&list)),
            list.len()
        );
        fs::write(place.join("Release"), release).unwrap();
        let signed = gpg(
            &self.directory.path().join(who),
            &["--output", "-", "--clearsign", place.join("Release").to_str().unwrap()],
        );
        fs::remove_file(place.join("Release")).unwrap();
        fs::write(self.release(), signed).unwrap();
    }

    /// Where the rpms are, and `repodata` with their index.
    pub(super) fn rpms(&self) -> PathBuf {
        self.directory.path().join("www/rpm")
    }

    /// Puts packages into the repository of dnf at `/rpm`, whole, their index signed with a key: versions are
    /// `epoch:version-release`, and further fields are those of rpm's spec files.
    pub(super) fn publish_rpms(&self, packages: &[Listed<'_>], who: &str) {
        let mut spec =
            "Name: all\nVersion: 1\nRelease: 1\nSummary: all\nLicense: none\n%description\nall\n".to_owned();
        let mut files = "%install\nmkdir -p %{buildroot}/usr/share\n".to_owned();
        for (name, version, more) in packages {
            let (epoch, version) = version.split_once(':').unwrap_or(("0", version));
            let (version, release) = version.split_once('-').unwrap();
            writeln!(
                spec,
                "%package -n {name}\nEpoch: {epoch}\nVersion: {version}\nRelease: {release}\nSummary: ours\n{more}\
                 AutoReqProv: no\n%description -n {name}\nours\n%files -n {name}\n/usr/share/{name}"
            )
            .unwrap();
            writeln!(files, "echo {version} >%{{buildroot}}/usr/share/{name}").unwrap();
        }
        let at = |name: &str| self.directory.path().join(name);
        fs::write(at("all.spec"), spec + &files).unwrap();
        let _ = fs::remove_dir_all(self.rpms());
        fs::create_dir_all(self.rpms()).unwrap();
        let defined = |name: &str, value: &str| ["--define".to_owned(), format!("{name} {value}")];
        run(Command::new("rpmbuild")
            .env("HOME", self.directory.path())
            .args(["-bb", "--quiet", "--target", "x86_64"])
            .args(defined("_topdir", &at("top").display().to_string()))
            .args(defined("_rpmdir", &self.rpms().display().to_string()))
            .args(defined("debug_package", "%{nil}"))
            .arg(at("all.spec")));
        run(Command::new("createrepo_c").arg("--quiet").arg(self.rpms()));
        self.sign_index(who);
    }

    /// Signs the index of the repository of dnf as it is.
    pub(super) fn sign_index(&self, who: &str) {
        let index = self.rpms().join("repodata/repomd.xml");
        let arguments = ["--output", "-", "--armor", "--detach-sign", index.to_str().unwrap()];
        let signature = gpg(&self.directory.path().join(who), &arguments);
        fs::write(index.with_extension("xml.asc"), signature).unwrap();
    }

    /// The paths that were asked for since the last time.
    pub(super) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.requests.lock().unwrap())
    }
}

/// A package as both lists have it.
pub(super) fn stanza(name: &str, version: &str, more: &str) -> String {
    format!(
        "Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: Us <us@example.org>\n{more}Description: ours\n"
    )
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn gpg(home: &Path, arguments: &[&str]) -> Vec<u8> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(home, fs::Permissions::from_mode(0o700)).unwrap();
    let output = Command::new("gpg")
        .args(["--batch", "--yes", "--homedir"])
        .arg(home)
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // It starts an agent, which would outlive the test.
    Command::new("gpgconf").arg("--homedir").arg(home).args(["--kill", "all"]).status().unwrap();
    output.stdout
}

/// Answers requests until the other end has no more.
fn serve(stream: &TcpStream, root: &Path, told: &Mutex<Vec<String>>, instead: Instead) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
            if line.trim().is_empty() {
                break;
            }
            head.push(line.trim().to_owned());
        }
        let path = head.first()?.split(' ').nth(1)?.to_owned();
        told.lock().unwrap().push(path.clone());
        let mut stream = stream;
        if let Some(said) = instead(&path) {
            stream.write_all(said.as_bytes()).ok()?;
            continue;
        }
        let file = root.join(path.trim_start_matches('/'));
        let Ok(content) = fs::read(&file) else {
            stream.write_all(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n").ok()?;
            continue;
        };
        let time: DateTime<Utc> = fs::metadata(&file).ok()?.modified().ok()?.into();
        let time = time.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        if head.iter().any(|line| *line == format!("If-Modified-Since: {time}")) {
            stream.write_all(b"HTTP/1.1 304 Same\r\nContent-Length: 0\r\n\r\n").ok()?;
            continue;
        }
        let said =
            format!("HTTP/1.1 200 OK\r\nLast-Modified: {time}\r\nContent-Length: {}\r\n\r\n", content.len());
        stream.write_all(said.as_bytes()).ok()?;
        stream.write_all(&content).ok()?;
    }
}
