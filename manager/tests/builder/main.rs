//! Builds with scripts in the place of disk-image-create, contained and cleaned up as real ones are.
//!
//! They need root and loop devices, as builds do; without root they do nothing, and say so.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail, and says what it saw")]

mod absent;
mod bases;
mod bench;
mod containers;
mod ending;
mod failures;
mod fsync;
#[path = "../harness/left_out.rs"]
mod left_out;
mod real_debian;
mod sight;
mod vfat;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use image_manager::builder::{Event, run};
use image_manager::reason::Reason;
use tokio_util::sync::CancellationToken;

use bench::Bench;

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
            Event::Expanded(_) => {}
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
        IMAGE_MANAGER_BUILD IMAGE_MANAGER_FINGERPRINT IMAGE_MANAGER_CONTAINERS IMAGE_MANAGER_BASE IMAGE_MANAGER_BASES ARCH DIB_DEBOOTSTRAP_EXTRA_ARGS \
        CONTAINERS_STORAGE_CONF CONTAINERS_CONF BUILDAH_ISOLATION DIB_CONTAINERFILE_RUNTIME_ROOT \
        DIB_CONTAINERFILE_PODMAN_ROOT http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY PWD OLDPWD SHLVL _";
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
    assert_eq!(value("IMAGE_MANAGER_FINGERPRINT"), bench.order.fingerprint);
    bench.clean().await;
}
#[tokio::test]
async fn what_cannot_be_ordered_is_refused_before_anything_is_made() {
    let Some(mut bench) = Bench::new("refused", "image") else { return };
    bench.order.elements.push("$(reboot)".to_owned());
    let error = bench.run_to_end().await.unwrap_err();
    assert_eq!(error.reason, Reason::DibElementUnknown);
    bench.order.elements.pop();

    bench.order.packages = vec!["vim;reboot".to_owned()];
    assert_eq!(bench.run_to_end().await.unwrap_err().reason, Reason::DibPackageMissing);
    bench.order.packages = vec!["g++".to_owned(), "libc6:i386".to_owned()];

    let nowhere = PathBuf::from("/opt/no/dib/bin/disk-image-create");
    let program = std::mem::replace(&mut bench.order.program, nowhere);
    let error = bench.run_to_end().await.unwrap_err();
    assert_eq!(error.reason, Reason::DibMissing);
    assert!(error.message.contains("`setup/install build`"), "{error}");
    assert!(error.message.contains("-m venv /opt/no/dib && /opt/no/dib/bin/pip install"), "{error}");
    bench.order.program = program;

    let cancel = CancellationToken::new();
    cancel.cancel();
    assert_eq!(bench.run(&cancel).await.unwrap_err().reason, Reason::Cancelled);
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
    assert_eq!(error.reason, Reason::DibFailed);
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
