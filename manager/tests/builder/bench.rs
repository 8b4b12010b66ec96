//! A build of a test: an order with a script in the place of disk-image-create, and eyes for what it leaves.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use image_manager::builder::{Artifact, BuilderError, Event, Limits, Order, clean, run_within};
use image_manager::schedules::{Arch, Format};
use nix::mount::{MsFlags, mount};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::left_out::left_out;

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
pub(crate) struct Bench {
    pub(crate) directory: TempDir,
    pub(crate) order: Order,
    pub(crate) limits: Limits,
    pub(crate) events: Mutex<Vec<Event>>,
}

impl Bench {
    /// With a script in the place of disk-image-create; none when the test cannot be done here.
    pub(crate) fn new(name: &str, script: &str) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            left_out("builds in containment: they need root");
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
            inputs: image_manager::builder::Inputs::default(),
            environment: BTreeMap::new(),
            format: Format::Qcow2,
            arch: Arch::Amd64,
            qemu_img_options: String::new(),
            // The kernel may name its files from the end of this name on.
            scratch: at(&format!("work/{name}-{}", std::process::id())),
            cache: at("cache"),
            bases: at("bases"),
            log: at("build.log"),
            agent: at("agent"),
            fingerprint: "ab".repeat(32),
            private: Vec::new(),
            timeout: Duration::from_mins(1),
            phase_weights: BTreeMap::new(),
        };
        let limits = Limits { grace: Duration::from_secs(20), free_bytes: 0, ..Limits::default() };
        Some(Self { directory, order, limits, events: Mutex::default() })
    }

    pub(crate) async fn run(&self, cancel: &CancellationToken) -> Result<Artifact, BuilderError> {
        let note = |event| self.events.lock().unwrap().push(event);
        run_within(&self.order, &self.limits, cancel.clone(), &note).await
    }

    pub(crate) async fn run_to_end(&self) -> Result<Artifact, BuilderError> {
        self.run(&CancellationToken::new()).await
    }

    /// Runs it, and cancels it as soon as it has said this.
    pub(crate) async fn run_until(&self, said: &str) -> BuilderError {
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

    pub(crate) async fn wait_for(&self, said: &str) {
        let start = Instant::now();
        while !self.log().contains(said) {
            assert!(start.elapsed() < Duration::from_secs(30), "never said {said:?}: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A process that runs this build, to be killed.
    pub(crate) fn another_manager(&self) -> tokio::process::Child {
        tokio::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "ending::a_manager_that_is_going_to_be_killed"])
            .env("BUILDER_TEST_BENCH", self.directory.path().canonicalize().unwrap())
            // What it cannot remove any more is then removed with this one's.
            .env("TMPDIR", self.directory.path())
            .env("BUILDER_TEST_BUILD", &self.order.build_id)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.order.log).unwrap_or_default()
    }

    pub(crate) fn scratch(&self) -> &Path {
        &self.order.scratch
    }

    /// Cleans up, and looks with other eyes than `clean` has.
    pub(crate) async fn clean(&self) {
        let report = clean(self.scratch(), &self.order.build_id).await.unwrap();
        println!("{report:?}");
        self.assert_nothing_left();
        assert!(clean(self.scratch(), &self.order.build_id).await.unwrap().is_empty());
    }

    pub(crate) fn assert_nothing_left(&self) {
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
pub(crate) fn processes(build_id: &str) -> Vec<PathBuf> {
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
pub(crate) fn loops() -> Vec<String> {
    let devices = std::fs::read_dir("/sys/block").unwrap().flatten();
    devices.filter_map(|one| std::fs::read_to_string(one.path().join("loop/backing_file")).ok()).collect()
}

pub(crate) fn mount_tmpfs(at: &Path, options: &str) {
    std::fs::create_dir_all(at).unwrap();
    mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some(options)).unwrap();
}
