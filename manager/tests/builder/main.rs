//! Builds with scripts in the place of disk-image-create, contained and cleaned up as real ones are.
//!
//! They need root and loop devices, as builds do; without root they do nothing.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail, and says what it saw")]

mod failures;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use image_manager::builder::{
    Artifact, BuilderError, Event, Limits, Order, clean, leftovers, run, run_within,
};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// What DIB does around everything: its output goes through a filter that outlives it, and `$out` is its -o.
const PRELUDE: &str = r#"#!/bin/bash
out= elements=
while [ $# -gt 0 ]; do
    case $1 in -o) out=$2; shift ;; --) shift; elements=$*; break ;; esac
    shift
done
cat >"$TMP_DIR/outfilter.py" <<'FILTER'
trap '' TERM
while IFS= read -r line; do printf '2026-11-23 08:39:40.016 | %s\n' "$line"; done
sleep 0.3
echo "2026-11-23 08:39:40.016 | the filter's last words"
FILTER
exec > >(exec bash "$TMP_DIR/outfilter.py") 2>&1
image() {
    qemu-img create -q -f qcow2 "$out.qcow2" 16M
    mkdir -p "$out.d/dib-manifests"
    echo '[]' >"$out.d/dib-manifests/dib-manifest-dpkg-image"
}
"#;

/// A build of one test, with everything that it makes below one directory.
struct Bench {
    directory: TempDir,
    order: Order,
    limits: Limits,
    events: Mutex<Vec<Event>>,
}

impl Bench {
    /// With a script in the place of disk-image-create; none when the test cannot be done here.
    fn new(name: &str, script: &str) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let at = |part: &str| directory.path().canonicalize().unwrap().join(part);
        std::fs::create_dir(at("bin")).unwrap();
        let program = at("bin/disk-image-create");
        std::fs::write(&program, [PRELUDE, script].concat()).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let order = Order {
            build_id: format!("{name}-{}", std::process::id()),
            program,
            elements: vec!["one".to_owned(), "two".to_owned()],
            elements_path: Vec::new(),
            packages: Vec::new(),
            environment: BTreeMap::new(),
            qemu_img_options: String::new(),
            scratch: at("work/scratch"),
            cache: at("cache"),
            log: at("build.log"),
            agent: at("agent"),
            timeout: Duration::from_mins(1),
            phase_weights: BTreeMap::new(),
        };
        let limits = Limits { grace: Duration::from_secs(20), free_bytes: 0, ..Limits::default() };
        Some(Self { directory, order, limits, events: Mutex::default() })
    }

    async fn run(&self, cancel: &CancellationToken) -> Result<Artifact, BuilderError> {
        let note = |event| self.events.lock().unwrap().push(event);
        run_within(&self.order, &self.limits, cancel.clone(), &note).await
    }

    async fn run_to_end(&self) -> Result<Artifact, BuilderError> {
        self.run(&CancellationToken::new()).await
    }

    /// Runs it, and cancels it as soon as it has said this.
    async fn run_until(&self, said: &str) -> BuilderError {
        let cancel = CancellationToken::new();
        let watch = async {
            self.wait_for(said).await;
            cancel.cancel();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            ended = self.run(&cancel) => ended.unwrap_err(),
            () = watch => unreachable!(),
        }
    }

    async fn wait_for(&self, said: &str) {
        let start = Instant::now();
        while !self.log().contains(said) {
            assert!(start.elapsed() < Duration::from_secs(30), "never said {said:?}: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A process that runs this build, to be killed.
    fn another_manager(&self) -> tokio::process::Child {
        tokio::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "a_manager_that_is_going_to_be_killed"])
            .env("BUILDER_TEST_BENCH", self.directory.path().canonicalize().unwrap())
            // What it cannot remove any more is then removed with this one's.
            .env("TMPDIR", self.directory.path())
            .env("BUILDER_TEST_BUILD", &self.order.build_id)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.order.log).unwrap_or_default()
    }

    fn scratch(&self) -> &Path {
        &self.order.scratch
    }

    /// Cleans up, and looks with other eyes than `clean` has.
    async fn clean(&self) {
        let report = clean(self.scratch(), &self.order.build_id).await.unwrap();
        println!("{report:?}");
        self.assert_nothing_left();
        assert!(clean(self.scratch(), &self.order.build_id).await.unwrap().is_empty());
    }

    fn assert_nothing_left(&self) {
        assert!(!self.scratch().exists());
        assert_eq!(processes(&self.order.build_id), Vec::<PathBuf>::new());
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
        assert!(!mounts.contains(self.scratch().to_str().unwrap()), "{mounts}");
        // Its own name for where the scratch directory is a file system's root or below it.
        let mine = format!("/marked-{}.raw", self.order.build_id);
        assert!(loops().iter().all(|file| !file.contains(&mine)), "{:?}", loops());
    }
}

/// Processes with this in their command line or environment.
fn processes(build_id: &str) -> Vec<PathBuf> {
    let has = |file: PathBuf| {
        let text = std::fs::read(file).unwrap_or_default();
        String::from_utf8_lossy(&text).split('\0').any(|part| {
            part.strip_prefix("image-manager-build=").or(part.strip_prefix("IMAGE_MANAGER_BUILD="))
                == Some(build_id)
        })
    };
    let all = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    all.filter(|process| has(process.join("cmdline")) || has(process.join("environ"))).collect()
}

/// The files behind the attached loop devices.
fn loops() -> Vec<String> {
    let devices = std::fs::read_dir("/sys/block").unwrap().flatten();
    devices.filter_map(|one| std::fs::read_to_string(one.path().join("loop/backing_file")).ok()).collect()
}

fn mount_tmpfs(at: &Path, options: &str) {
    std::fs::create_dir_all(at).unwrap();
    mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some(options)).unwrap();
}

#[tokio::test]
async fn a_build_gives_its_image_and_all_of_its_output() {
    let script = r#"
echo "Building elements: $elements"
for n in $(seq 2000); do echo "line $n"; done
printf 'no text: \xff\xfe\n'
head --bytes=10000 /dev/zero | tr '\0' x; echo
echo "dib-run-parts Running /tmp/in_target.d/install.d/50-one"
sleep 0.5
image
echo "Build completed successfully""#;
    let Some(bench) = Bench::new("success", script) else { return };
    let artifact = bench.run_to_end().await.unwrap();
    assert!(artifact.file.starts_with(bench.scratch()) && artifact.file.is_file());
    assert!(artifact.manifest.is_some_and(|manifest| manifest.ends_with("dib-manifest-dpkg-image")));
    assert!(artifact.phase_seconds["install"] > 0.2, "{:?}", artifact.phase_seconds);

    let log = bench.log();
    assert!(log.contains("Building elements: one two"), "{log}");
    assert!(log.contains("line 2000\n") && log.contains("no text: \u{fffd}\u{fffd}\n"));
    assert!(log.lines().all(|line| line.len() <= 4096));
    assert!(log.ends_with("the filter's last words\n"), "{log}");
    let mode = std::fs::metadata(bench.scratch()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);

    let events = std::mem::take(&mut *bench.events.lock().unwrap());
    let (mut lines, mut progress) = (String::new(), Vec::new());
    for event in events {
        match event {
            Event::Line(line) => lines.extend([line.as_str(), "\n"]),
            Event::Progress(done, _) => progress.push(done),
        }
    }
    assert_eq!(lines, log);
    assert!(progress.is_sorted() && progress.len() > 2, "{progress:?}");
    assert_eq!(progress.last(), Some(&1.0));
    assert_eq!(progress.iter().filter(|done| **done >= 1.0).count(), 1);
    bench.clean().await;
}

#[tokio::test]
async fn of_the_managers_environment_only_the_allowed_is_seen() {
    let Some(mut bench) = Bench::new("environment", "env; cat; image") else { return };
    bench.order.environment = BTreeMap::from(
        [("DIB_RELEASE", "bookworm"), ("DIB_NO_TMPFS", "0"), ("HOME", "/root"), ("DIB_DEBUG_TRACE", "1")]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    bench.order.elements_path = vec![PathBuf::from("/srv/a"), PathBuf::from("/srv/b")];
    bench.run_to_end().await.unwrap();
    let log = bench.log();
    let seen: Vec<(&str, &str)> =
        log.lines().filter_map(|line| line.split_once(" | ")?.1.split_once('=')).collect();
    let allowed = "PATH HOME LANG TMP_DIR TMPDIR ELEMENTS_PATH DIB_IMAGE_CACHE DIB_LOCKFILES DIB_NO_TMPFS \
        DIB_QUIET DIB_NO_TIMESTAMP DIB_DEBUG_TRACE DIB_RELEASE OVERWRITE_OLD_IMAGE IMAGE_MANAGER_AGENT \
        IMAGE_MANAGER_BUILD http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY PWD OLDPWD SHLVL _";
    // The test has it from cargo, as a manager has OS_PASSWORD from its unit.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some() && !log.contains("CARGO"));
    for (name, _) in &seen {
        assert!(allowed.split_whitespace().any(|one| one == *name), "{name} is seen");
    }
    let value = |wanted: &str| seen.iter().find(|(name, _)| *name == wanted).unwrap().1;
    let scratch = bench.scratch().to_str().unwrap();
    assert!(value("PATH").starts_with(bench.order.program.parent().unwrap().to_str().unwrap()));
    assert_eq!(value("HOME"), format!("{scratch}/home"));
    assert_eq!(value("ELEMENTS_PATH"), "/srv/a:/srv/b");
    assert_eq!(value("DIB_RELEASE"), "bookworm");
    assert_eq!(value("DIB_DEBUG_TRACE"), "1");
    assert_eq!(value("DIB_NO_TMPFS"), "1");
    bench.clean().await;
}

#[tokio::test]
async fn when_cancelled_dib_cleans_up_itself() {
    let script = "trap 'echo cleaning; sleep 0.5; echo cleaned' EXIT; set -e; echo ready; sleep 100";
    let Some(bench) = Bench::new("soft", script) else { return };
    let start = Instant::now();
    let error = bench.run_until("ready").await;
    assert_eq!((error.reason, error.image_at_fault), ("cancelled", false));
    assert!(bench.log().contains("cleaned"), "{}", bench.log());
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(processes(&bench.order.build_id), Vec::<PathBuf>::new());
    bench.clean().await;
}

#[tokio::test]
async fn what_ignores_the_request_is_killed() {
    let script = "trap '' TERM INT HUP; setsid sleep 321 & echo ready; while :; do sleep 321; done";
    let Some(mut bench) = Bench::new("hard", script) else { return };
    bench.limits.grace = Duration::from_secs(1);
    let start = Instant::now();
    let error = bench.run_until("ready").await;
    assert_eq!(error.reason, "cancelled");
    assert!(start.elapsed() < Duration::from_secs(8));
    bench.clean().await;
}

#[tokio::test]
async fn what_takes_too_long_or_says_nothing_or_too_much_is_ended() {
    let Some(mut bench) = Bench::new("timeout", "while :; do echo working; sleep 0.1; done") else { return };
    bench.order.timeout = Duration::from_secs(1);
    let error = bench.run_to_end().await.unwrap_err();
    assert_eq!((error.reason, error.image_at_fault), ("build_timeout", false));
    assert!(error.message.contains("longer than 1s"), "{error}");
    assert!(error.evidence.contains("working"), "{}", error.evidence);
    bench.clean().await;

    let Some(mut bench) = Bench::new("silence", "echo once; sleep 100") else { return };
    bench.limits.silence = Duration::from_secs(1);
    let error = bench.run_to_end().await.unwrap_err();
    assert_eq!(error.reason, "build_timeout");
    assert!(error.message.contains("said nothing for 1s"), "{error}");
    bench.clean().await;

    let Some(mut bench) = Bench::new("flood", "exec yes") else { return };
    bench.limits.log_bytes = 100_000;
    let error = bench.run_to_end().await.unwrap_err();
    assert_eq!(error.reason, "build_log");
    assert!(error.message.contains("97.6 KiB"), "{error}");
    assert!(bench.log().len() <= 100_000);
    bench.clean().await;
}

#[tokio::test]
async fn a_disk_that_fills_ends_the_build_whatever_dib_says() {
    let script = r#"head --bytes=56M /dev/zero >"$TMP_DIR/image0.raw"; sleep 1; rm "$TMP_DIR/image0.raw"
image; echo "Build completed successfully""#;
    let Some(mut bench) = Bench::new("full", script) else { return };
    let disk = bench.scratch().parent().unwrap().to_owned();
    mount_tmpfs(&disk, "size=64m");
    bench.limits.free_bytes = 16 << 20;
    let error = bench.run_to_end().await.unwrap_err();
    bench.clean().await;
    umount2(&disk, MntFlags::empty()).unwrap();
    assert_eq!((error.reason, error.image_at_fault), ("scratch_full", false));
    assert!(error.message.contains("under 16.0 MiB"), "{error}");
}

#[tokio::test]
async fn devices_and_mounts_are_taken_away_when_the_build_is_killed() {
    let script = r#"
set -e
file=$TMP_DIR/marked-$IMAGE_MANAGER_BUILD.raw
truncate -s 32M "$file"
printf 'label: dos\n2048,,L\n' | sfdisk -q "$file"
device=$(losetup --show -f "$file")
partx --update "$device"
mkdir -p /dev/mapper "$TMP_DIR/mnt" "$TMP_DIR/built/dev"
ln -sfn "${device}p1" "/dev/mapper/${device#/dev/}p1"
mkfs.ext4 -q "${device}p1"
mount "${device}p1" "$TMP_DIR/mnt"
mount --bind /dev "$TMP_DIR/built/dev"
mount -t tmpfs tmpfs "$TMP_DIR/mnt/lost+found"
(cd "$TMP_DIR/mnt" && exec sleep 321) &
rm "$file"
echo "device=$device end"; trap '' TERM; sleep 321; sleep 321"#;
    // Once with the scratch directory on the root's file system, once on one of its own, where the kernel
    // calls the file otherwise when the namespace is gone.
    for own_disk in [false, true] {
        let Some(mut bench) = Bench::new(&format!("devices-{own_disk}"), script) else { return };
        let disk = bench.scratch().parent().unwrap().to_owned();
        if own_disk {
            mount_tmpfs(&disk, "size=64m");
        }
        bench.limits.grace = Duration::from_millis(300);
        let error = bench.run_until(" end\n").await;
        assert_eq!(error.reason, "cancelled");
        let log = bench.log();
        let device = log.split("device=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        let name = device.trim_start_matches("/dev/");
        assert!(Path::new("/sys/block").join(name).join("loop").exists());
        let found = leftovers(&disk).unwrap();
        assert_eq!(found.scratches, [bench.scratch()]);
        assert!(found.loops.iter().any(|(node, _)| *node == Path::new(&device)), "{found:?}");

        bench.clean().await;
        assert!(!Path::new("/sys/block").join(name).join(format!("{name}p1")).exists());
        assert!(std::fs::symlink_metadata(format!("/dev/mapper/{name}p1")).is_err());
        assert!(Path::new("/dev/null").exists());
        if own_disk {
            umount2(&disk, MntFlags::empty()).unwrap();
        }
    }
}

#[tokio::test]
async fn mounts_of_the_host_in_the_scratch_directory_are_taken_away_with_care() {
    let Some(bench) = Bench::new("mounts", "mkdir -p \"$TMP_DIR/a b/bound\"; image") else { return };
    bench.run_to_end().await.unwrap();
    let outside = bench.directory.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("kept"), "kept").unwrap();
    mount_tmpfs(&bench.scratch().join("tmp/a b"), "size=1m");
    let bound = bench.scratch().join("tmp/a b/bound");
    std::fs::create_dir(&bound).unwrap();
    mount(Some(&outside), &bound, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    let busy = std::fs::File::create(bound.join("busy")).unwrap();

    let report = clean(bench.scratch(), &bench.order.build_id).await.unwrap();
    assert_eq!(report.unmounted, [bound.clone(), bound.parent().unwrap().to_owned()]);
    bench.assert_nothing_left();
    assert_eq!(std::fs::read_to_string(outside.join("kept")).unwrap(), "kept");
    drop(busy);
}

#[tokio::test]
async fn a_dropped_build_is_killed() {
    let script = "trap '' TERM; (trap '' TERM; setsid sleep 321) & echo ready; sleep 321";
    let Some(bench) = Bench::new("dropped", script) else { return };
    tokio::select! {
        _ = bench.run_to_end() => unreachable!(),
        () = bench.wait_for("ready") => {}
    }
    let start = Instant::now();
    while !processes(&bench.order.build_id).is_empty() {
        assert!(start.elapsed() < Duration::from_secs(5), "still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bench.clean().await;
}

#[tokio::test]
async fn two_builds_do_not_disturb_each_other() {
    let script = r#"
file=$TMP_DIR/marked-$IMAGE_MANAGER_BUILD.raw
truncate -s 8M "$file"; device=$(losetup --show -f "$file")
echo "started $IMAGE_MANAGER_BUILD"; sleep 2; losetup -d "$device"; echo "through"; image"#;
    let (Some(one), Some(two)) = (Bench::new("first", script), Bench::new("second", script)) else { return };
    let cleaned = async {
        one.run_until("started").await;
        one.clean().await;
    };
    let ((), kept) = tokio::join!(cleaned, two.run_to_end());
    assert!(kept.unwrap().file.is_file());
    assert!(two.log().contains("through"));
    two.clean().await;
}

#[tokio::test]
async fn what_a_killed_manager_left_is_found_by_the_next() {
    let script = r#"
file=$TMP_DIR/marked-$IMAGE_MANAGER_BUILD.raw
truncate -s 8M "$file"; losetup -f "$file"; mkdir "$TMP_DIR/t"; mount -t tmpfs tmpfs "$TMP_DIR/t"
trap '' TERM PIPE; echo ready; while :; do sleep 321; done"#;
    let Some(bench) = Bench::new("crash", script) else { return };
    let mut manager = bench.another_manager();
    bench.wait_for("ready").await;
    manager.kill().await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let found = leftovers(bench.scratch().parent().unwrap()).unwrap();
    let ours = found.processes.iter().filter(|process| process.build_id == bench.order.build_id).count();
    assert_eq!((ours, found.loops.len(), found.scratches.len()), (2, 1, 1), "{found:?}");
    bench.clean().await;
}

#[tokio::test]
async fn at_whatever_instant_the_manager_is_killed_nothing_stays() {
    let script = r#"
file=$TMP_DIR/marked-$IMAGE_MANAGER_BUILD.raw
truncate -s 8M "$file"; losetup -f "$file"; trap '' TERM PIPE; sleep 321"#;
    for milliseconds in (0..=400).step_by(25) {
        let Some(bench) = Bench::new(&format!("instant-{milliseconds}"), script) else { return };
        let mut manager = bench.another_manager();
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        manager.kill().await.unwrap();
        clean(bench.scratch(), &bench.order.build_id).await.unwrap();
        bench.assert_nothing_left();
        tokio::time::sleep(Duration::from_millis(100)).await;
        bench.assert_nothing_left();
    }
}

#[tokio::test]
#[ignore = "part of another test, which runs it as a process of its own"]
async fn a_manager_that_is_going_to_be_killed() {
    let (Ok(directory), Ok(build_id)) =
        (std::env::var("BUILDER_TEST_BENCH"), std::env::var("BUILDER_TEST_BUILD"))
    else {
        return;
    };
    let Some(mut bench) = Bench::new("unused", "") else { return };
    let at = |part: &str| Path::new(&directory).join(part);
    bench.order.program = at("bin/disk-image-create");
    bench.order.build_id = build_id;
    bench.order.scratch = at("work/scratch");
    bench.order.cache = at("cache");
    bench.order.log = at("build.log");
    let _ = bench.run_to_end().await;
}

#[tokio::test]
async fn what_cannot_be_ordered_is_refused_before_anything_is_made() {
    let Some(mut bench) = Bench::new("refused", "image") else { return };
    bench.order.elements.push("$(reboot)".to_owned());
    let error = bench.run_to_end().await.unwrap_err();
    assert_eq!((error.reason, error.image_at_fault), ("dib_element_unknown", true));
    bench.order.elements.pop();

    bench.order.packages = vec!["vim;reboot".to_owned()];
    assert_eq!(bench.run_to_end().await.unwrap_err().reason, "dib_package_missing");
    bench.order.packages = vec!["g++".to_owned(), "libc6:i386".to_owned()];

    let nowhere = PathBuf::from("/opt/no/dib/bin/disk-image-create");
    let program = std::mem::replace(&mut bench.order.program, nowhere);
    let error = bench.run_to_end().await.unwrap_err();
    assert_eq!((error.reason, error.image_at_fault), ("dib_missing", false));
    assert!(error.message.contains("setup/install, or"), "{error}");
    assert!(error.message.contains("-m venv /opt/no/dib && /opt/no/dib/bin/pip install"), "{error}");
    bench.order.program = program;

    let cancel = CancellationToken::new();
    cancel.cancel();
    assert_eq!(bench.run(&cancel).await.unwrap_err().reason, "cancelled");
    assert!(!bench.scratch().exists());

    bench.run_to_end().await.unwrap();
    let again = bench.run_to_end().await.unwrap_err();
    assert!(again.message.contains("File exists"), "{again}");
    bench.clean().await;
}

#[tokio::test]
async fn success_without_a_whole_image_is_none() {
    let Some(bench) = Bench::new("nothing", "echo 'Build completed successfully'") else { return };
    let error = bench.run_to_end().await.unwrap_err();
    assert_eq!(error.reason, "dib_failed");
    assert!(error.message.contains("there is no image"), "{error}");
    bench.clean().await;

    let Some(bench) = Bench::new("garbage", "head --bytes=1M /dev/urandom >\"$out.qcow2\"") else { return };
    let error = bench.run_to_end().await.unwrap_err();
    assert!(error.message.contains("damaged") && !error.evidence.is_empty(), "{error:?}");
    bench.clean().await;
}

/// A real build. `BUILDER_TEST_ELEMENTS` and `BUILDER_TEST_PACKAGES` are what to build, and
/// `BUILDER_TEST_AGENT` is a static binary; `BUILDER_TEST_CANCEL_AT` is where to cancel it. Prints what comes of it.
#[tokio::test]
#[ignore = "takes minutes, and needs disk-image-builder and a mirror"]
async fn a_real_build() {
    let words = |name: &str| -> Vec<String> {
        std::env::var(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    };
    let word = |name: &str| words(name).into_iter().next();
    let (Some(mut bench), Some(agent)) = (Bench::new("real", ""), word("BUILDER_TEST_AGENT")) else { return };
    let root =
        word("BUILDER_TEST_ROOT").unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/..").to_owned());
    bench.order.program = PathBuf::from("/opt/image-manager/dib/bin/disk-image-create");
    bench.order.elements = words("BUILDER_TEST_ELEMENTS");
    bench.order.packages = words("BUILDER_TEST_PACKAGES");
    bench.order.elements_path = vec![PathBuf::from(&root).join("elements")];
    bench.order.agent = PathBuf::from(agent);
    bench.order.timeout = Duration::from_mins(15);
    bench.order.qemu_img_options = "compression_type=zstd,cluster_size=262144".to_owned();
    let given = words("BUILDER_TEST_ENVIRONMENT");
    let given = given.iter().filter_map(|pair| pair.split_once('='));
    let stand_ins = format!("{root}/setup/stand-ins");
    bench.order.environment = [("DIB_RELEASE", "bookworm"), (image_manager::builder::STAND_INS, &stand_ins)]
        .into_iter()
        .chain(given)
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    if let Some(cache) = word("BUILDER_TEST_CACHE") {
        bench.order.cache = PathBuf::from(cache);
    }
    let cancel = CancellationToken::new();
    let cancel_at = std::env::var("BUILDER_TEST_CANCEL_AT").ok();
    let start = Instant::now();
    let print = |event| {
        if let Event::Progress(done, doing) = event {
            println!("{:6.1} s  {:5.1} %  {doing}", start.elapsed().as_secs_f64(), done * 100.0);
            if cancel_at.as_ref().is_some_and(|at| doing.contains(at)) {
                cancel.cancel();
            }
        }
    };
    let result = run(&bench.order, cancel.clone(), &print).await;
    println!("{:.1} s: {result:#?}", start.elapsed().as_secs_f64());
    if let Some(keep) = word("BUILDER_TEST_KEEP_LOG") {
        std::fs::copy(&bench.order.log, keep).unwrap();
    }
    bench.clean().await;
}
