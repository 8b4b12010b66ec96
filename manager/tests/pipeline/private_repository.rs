//! An image from a repository behind a password, by the real disk-image-builder: the package is in it, and the password
//! is nowhere, neither during the build nor afterwards. Minutes: `make test-distributions` runs it, not `make test`.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::harness::disk::Disk;
use super::harness::{Place, repository, states_of, text, wait_for};

const DIB: &str = "/opt/image-manager/dib/bin/disk-image-create";
/// With letters that a URL, a shell and base64 each write in a way of their own.
const PASSWORD: &str = "Xq7+sword/fish=%tr0ut";
/// What the package of the repository has in it.
const WORD: &str = "canary-of-the-private-package";

/// The repository's server; it ends with its standard input.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // Ended already is as good.
        let _ = self.0.wait();
    }
}

/// All ways in which the password may be written, a line each, as `grep -f` reads them.
fn patterns(place: &Place) -> PathBuf {
    let encode = |text: &str| {
        let done = Command::new("python3")
            .args(["-c", "import base64,sys,urllib.parse as u\nt=sys.stdin.read()\nfor n in (t,t+'\\n'):print(base64.b64encode(n.encode()).decode().rstrip('=')[:-1])\nprint(u.quote(t,safe=''))\nprint(u.quote(t,safe='').lower())"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .and_then(|mut child| {
                child.stdin.take().unwrap().write_all(text.as_bytes())?;
                child.wait_with_output()
            });
        super::harness::text(&done.unwrap().stdout)
    };
    let all = [PASSWORD.to_owned(), encode(PASSWORD), encode(&format!("robot:{PASSWORD}"))].join("\n");
    let path = place.path().join("patterns");
    fs::write(&path, all.lines().filter(|line| line.len() > 4).collect::<Vec<_>>().join("\n") + "\n")
        .unwrap();
    path
}

/// The files below a path that have any of the patterns.
fn found(patterns: &Path, path: &Path) -> String {
    let grep =
        Command::new("grep").args(["-r", "-l", "-a", "-F", "-f"]).arg(patterns).arg(path).output().unwrap();
    assert!(grep.status.code().unwrap() < 2, "{}", text(&grep.stderr));
    text(&grep.stdout)
}

/// Looks at the command line and the environment of every process until it is stopped; returns who showed a secret.
fn watch(patterns: &Path, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<(usize, BTreeSet<String>)> {
    let secrets: Vec<String> = fs::read_to_string(patterns).unwrap().lines().map(str::to_owned).collect();
    std::thread::spawn(move || {
        let (mut looks, mut shown) = (0, BTreeSet::new());
        while !stop.load(Ordering::Relaxed) {
            for entry in fs::read_dir("/proc").unwrap().flatten() {
                for file in ["cmdline", "environ"] {
                    // The standard library's search: one of a debug build takes a processor for itself.
                    let words = text(&fs::read(entry.path().join(file)).unwrap_or_default());
                    if secrets.iter().any(|secret| words.contains(secret.as_str())) {
                        shown.insert(format!(
                            "{file} of {}",
                            text(&fs::read(entry.path().join("comm")).unwrap_or_default())
                        ));
                    }
                }
            }
            looks += 1;
            #[expect(clippy::disallowed_methods, reason = "a thread of a test")]
            std::thread::sleep(Duration::from_millis(50));
        }
        (looks, shown)
    })
}

fn page(operator: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(operator).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {operator}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = text(&answer);
    assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    answer
}

fn write(place: &Place, path: &str, content: &str, mode: u32) {
    let path = place.path().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The site's own: a repository with a password, a file, and elements that leave out what takes long, and that do what
/// nobody should: they trace and print the secret.
fn site(place: &Place) -> Server {
    place.secret("password", &format!("robot:{PASSWORD}\n"));
    let script = repository().join("manager/tests/pipeline/private_repository.py");
    let server = Command::new("python3").arg(script).arg(place.path()).stdin(Stdio::piped()).spawn();
    let server = Server(server.unwrap());
    let port = wait_for("the repository", Duration::from_mins(1), || {
        fs::read_to_string(place.path().join("port")).ok()
    });
    write(place, "motd", "welcome\n", 0o644);
    let map = r#"{"default": {"linux-image-amd64": "netbase", "cloud-initramfs-growroot": "netbase"}}"#;
    let lean = format!(
        "#!/bin/bash\nset -e\nfor element in debian-minimal debootstrap; do\n\
         echo '{map}' | sudo tee $TMP_MOUNT_PATH/usr/share/pkg-map/$element\ndone\n"
    );
    write(place, "own/lean/extra-data.d/12-lean", &lean, 0o755);
    let leak = "#!/bin/bash\nset -eux\nsecret=$(cat \"$IMAGE_MANAGER_SECRETS_DIR/PACKAGES\")\n\
                : \"https://$secret@packages.example/\"\necho -n \"$secret\" | base64\n\
                echo \"modes: $(stat -c %a \"$IMAGE_MANAGER_SECRETS_DIR\" \"$IMAGE_MANAGER_SECRETS_DIR/PACKAGES\" | tr '\\n' ' ')\"\n";
    write(place, "own/leaky/root.d/99-leaky", leak, 0o755);
    write(place, "own/leaky/install.d/99-leaky", leak, 0o755);
    let late = "#!/bin/bash\necho \"late: $(ls -A \"$IMAGE_MANAGER_SECRETS_DIR\" /dev/shm 2>&1 | tr '\\n' ' ') end\"\n";
    write(place, "own/leaky/pre-finalise.d/99-leaky", late, 0o755);
    write(place, "own/leaky/finalise.d/98-leaky", late, 0o755);
    let schedule = format!(
        r#"[schedule.private]
publish = {{ name = "private" }}
timeouts = {{ build = "20m", boot = "30s" }}
# It cannot boot, and nobody needs to know whose fault that is.
control = false
server = {{ memory = "256 MiB" }}
[schedule.private.image]
elements = ["debian-minimal", "lean", "leaky", "image-hygiene", "agent-install"]
elements_path = ["own"]
environment = {{ DIB_RELEASE = "bookworm", IMAGE_MANAGER_DEBIAN_KERNEL = "none" }}
packages = ["our-tool"]
repositories = [{{ name = "ours", url = "http://127.0.0.1:{port}", suites = ["stable"], components = ["main"], key_file = "key.asc", auth = "PACKAGES" }}]
files = [{{ source = "motd", path = "/etc/motd", mode = "0640", owner = "root:adm" }}]
secrets = {{ PACKAGES = "file:password" }}
"#
    );
    fs::write(place.path().join("schedules.toml"), schedule).unwrap();
    server
}

/// The image of the build that boots; its record lies beside it.
fn image_of_the_build(place: &Place) -> PathBuf {
    let images = fs::read_dir(place.state().join("images")).unwrap().flatten();
    images.map(|entry| entry.path()).find(|path| path.extension().is_some_and(|end| end == "qcow2")).unwrap()
}

/// What a program that has ended said of its trouble.
fn said_by(child: &mut Child) -> String {
    let mut said = String::new();
    // Nothing is as good.
    let _ = child.stderr.take().map(|mut stream| stream.read_to_string(&mut said));
    said
}

#[test]
fn a_password_of_a_repository_is_nowhere_afterwards() {
    let place = Place::new("");
    let server = site(&place);
    let patterns = patterns(&place);
    let serving = place.serve_in(&[], &[("IMAGE_MANAGER_DIB", DIB), ("DIB_DEBUG_TRACE", "1")]);
    let stop = Arc::new(AtomicBool::new(false));
    let watcher = watch(&patterns, stop.clone());
    let mut run =
        place.command(&["run", "private"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();

    let build = wait_for("a build that boots", Duration::from_mins(15), || {
        if let Some(ended) = run.try_wait().unwrap() {
            assert!(!place.history().is_empty(), "run has ended with {ended}: {}", said_by(&mut run));
        }
        let build = place.history().into_iter().next()?;
        let there = states_of(&build).any(|state| ["booting", "errored", "failed"].contains(&state));
        there.then_some(build)
    });
    let id = build["id"].as_str().unwrap();
    let log = fs::read_to_string(place.state().join("builds").join(id).join("build.log")).unwrap();
    assert_eq!(
        build["trials"][0]["state"],
        "booting",
        "{build:#}\n{}",
        &log[log.len().saturating_sub(4000)..]
    );
    let disk = Disk::of(&image_of_the_build(&place));
    let output = run.wait_with_output().unwrap();
    stop.store(true, Ordering::Relaxed);
    let (looks, shown) = watcher.join().unwrap();
    assert!(looks > 100 && shown.is_empty(), "{looks} looks: {shown:?}");

    // It was built from: the package and the file are there, and the search finds what is there.
    assert!(fs::read_to_string(place.path().join("requests")).unwrap().contains("200 /pool/our-tool"));
    let word = disk.debugfs("cat /usr/share/our-tool/word");
    assert!(word.contains(WORD), "{word}\n{}", disk.debugfs("ls -l /usr/share/our-tool"));
    let motd = disk.debugfs("stat /etc/motd");
    assert!(motd.contains("Mode:  0640") && motd.contains("Group:     4"), "{motd}");
    // Nothing of it stays.
    for path in [
        "/etc/apt/sources.list.d/ours.sources",
        "/etc/apt/keyrings/ours.asc",
        "/etc/apt/auth.conf.d/image-manager-ours.conf",
    ] {
        assert!(!disk.has(path), "{path}");
    }
    let hooks_saw = log.lines().filter(|line| line.contains("| modes: 700 600")).count();
    assert_eq!(hooks_saw, 2, "outside and inside");
    assert!(log.matches("[secret PACKAGES]").count() >= 6, "the hooks printed it");
    let late: Vec<&str> = log.lines().filter(|line| line.contains("late: ")).collect();
    assert!(late.len() == 2 && late.iter().all(|line| !line.contains("PACKAGES")), "{late:?}");

    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    let pages: String = [
        format!("/builds/{id}"),
        "/schedules/private".to_owned(),
        format!("/builds/{id}?log=build&q=packages.example"),
    ]
    .iter()
    .map(|path| page(&serving.operator, path))
    .collect();
    assert!(pages.contains("https://[secret PACKAGES]@"), "the log is on the page");
    fs::write(place.state().join("said"), said + &pages + &place.latest().to_string()).unwrap();
    assert_eq!(serving.terminate(), Some(0));
    assert_eq!(found(&patterns, &disk.raw()), "");
    assert_eq!(found(&patterns, &place.state()), "");
    assert!(found(&patterns, &place.path().join("password")).contains("password"), "the search works");
    assert_eq!(
        Command::new("grep").args(["-a", "-q", WORD]).arg(disk.raw()).status().unwrap().code(),
        Some(0)
    );

    parts_are_told(&place.latest());
    fs::remove_file(place.state().join("said")).unwrap();
    drop(server);
    place.assert_nothing_left();
}

/// What a build was made of says where each part came from.
fn parts_are_told(build: &serde_json::Value) {
    let parts = build["definition"].as_array().unwrap();
    let part = |name: &str| parts.iter().find(|part| part["name"] == name).unwrap();
    assert_eq!(part("lean")["source"], "own");
    assert_eq!(part("image-hygiene")["source"], "shipped");
    assert_eq!(part("/etc/motd")["kind"], "file");
}
