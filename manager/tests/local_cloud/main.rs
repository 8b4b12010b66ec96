//! The local cloud with the real `qemu-img` and `qemu-system-x86_64`.
//!
//! Each test has a state directory of its own, and leaves nothing in it and no process. The tests with a
//! guest build the image of `testbed/tiny-image` (or of `IMAGE_MANAGER_TINY_IMAGE`).

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test says what went wrong by stopping there"
)]

mod bench;
mod doors;
mod firmware;
mod guest;
#[path = "../harness/left_out.rs"]
mod left_out;
mod recovery;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use image_manager::cloud::local::{LocalCloud, LocalSettings};
use image_manager::cloud::{Cloud, Publication, Removal, Resource, ResourceKind, ServerStatus, Trouble};
use image_manager::schedules::ServerSpec;

use crate::bench::{Bench, MIB, listing, qemu_img, server_row, spec};

#[tokio::test]
async fn an_upload_is_written_down_linked_and_measured() {
    let bench = Bench::new();
    let file = bench.qcow2(&["16M"]);
    let bytes = fs::metadata(&file).unwrap().len();
    let sum = Command::new("sha512sum").arg(&file).output().unwrap().stdout;
    let image = bench.upload("image-manager-1", file.clone()).await.unwrap();
    assert_eq!(fs::metadata(&file).unwrap().nlink(), 2, "a second name, not a copy");
    assert_eq!((image.size_bytes, image.virtual_size_bytes), (bytes, 16 * MIB));
    // A name with a backslash would make sha512sum put one before the sum.
    assert!(String::from_utf8_lossy(&sum).starts_with(&image.sha512));
    let row = (ResourceKind::Image, "image-manager-1".into(), Some(image.id));
    assert_eq!(bench.ledger.rows(), [row]);
    let listed = bench.cloud.inventory().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].kind, listed[0].build_id.as_str()), (ResourceKind::Image, "1"));
    bench.clean_up().await;
}

#[tokio::test]
async fn what_is_no_image_of_its_own_is_refused_before_anything_is_made() {
    let bench = Bench::new();
    let data = format!("data_file={}", bench.state.join("data.raw").display().to_string().replace(',', ",,"));
    let base = bench.state.join("base.qcow2");
    qemu_img(&["create", "-q", "-f", "qcow2", base.to_str().unwrap(), "1M"]);
    let text = bench.state.join("text");
    fs::write(&text, "no image").unwrap();
    let make: [(&str, &dyn Fn() -> PathBuf); 4] = [
        ("data file", &|| bench.qcow2(&["-o", &data, "1M"])),
        ("backing file", &|| bench.qcow2(&["-F", "qcow2", "-b", base.to_str().unwrap(), "1M"])),
        ("not a qcow2", &|| text.clone()),
        ("cannot be read", &|| bench.state.join("nowhere")),
    ];
    for (word, make) in make {
        let error = bench.upload("image-manager-1", make()).await.unwrap_err();
        assert_eq!(error.trouble, Trouble::Corrupt, "{error}");
        assert!(error.message.contains(word), "{error}");
    }
    assert!(bench.ledger.rows().is_empty());
    bench.assert_nothing_is_left().await;
}

#[tokio::test]
async fn a_server_runs_is_stopped_and_removed() {
    let bench = Bench::new();
    let image = bench.empty_image().await;
    let server = bench.boot(&image).await;
    assert_eq!(server.flavor, "128 MiB memory, 1 CPU, 256 MiB disk");
    let rows = bench.ledger.rows();
    assert_eq!(rows[1], (ResourceKind::Server, "image-manager-1".into(), Some(server.id.clone())));
    assert_eq!(bench.status(&server).await, ServerStatus::Active);
    let home = bench.state.join("servers/image-manager-1");
    assert_eq!(fs::metadata(&home).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(home.join("config.iso")).unwrap().permissions().mode() & 0o777, 0o600);
    bench.console_says(&server, "No bootable device").await;

    let early = bench.cloud.save_disk(&server, &bench.state.join("disk")).await.unwrap_err();
    assert_eq!(early.trouble, Trouble::Unavailable);
    let image_row = Resource {
        kind: ResourceKind::Image,
        name: image.name.clone(),
        external_id: None,
        build_id: "1".into(),
    };
    assert!(matches!(bench.cloud.remove(&image_row).await.unwrap(), Removal::Held(_)));

    let quick = LocalSettings {
        shutdown_grace: Duration::from_millis(300),
        ..LocalSettings::new(&bench.state, "owner")
    };
    LocalCloud::new(quick).unwrap().stop(&server).await.unwrap();
    assert!(matches!(bench.end_of(&server).await, ServerStatus::Stopped(_)));
    bench.cloud.stop(&server).await.unwrap();
    let disk = bench.state.join("disk");
    bench.cloud.save_disk(&server, &disk).await.unwrap();
    let info = qemu_img(&["info", disk.to_str().unwrap()]);
    assert!(info.contains("256 MiB") && !info.contains("backing"), "{info}");
    bench.clean_up().await;
    assert_eq!(bench.status(&server).await, ServerStatus::Missing);
}

#[tokio::test]
async fn a_qemu_that_cannot_start_is_a_fault_with_its_own_words() {
    let bench = Bench::new();
    let image = bench.empty_image().await;
    let mut new = bench.server(&image);
    new.spec.cpus = 100_000;
    let error = bench.cloud.boot(&new, &bench.ledger).await.unwrap_err();
    assert_eq!(error.trouble, Trouble::Fault, "{error}");
    assert!(error.evidence.contains("CPU") || error.evidence.contains("cpu"), "{error:?}");
    assert!(error.message.contains("image-manager-1"), "{error}");
    bench.clean_up().await;
}

#[tokio::test]
async fn a_disk_that_is_too_small_is_refused_before_anything_is_made() {
    let bench = Bench::new();
    let image = bench.empty_image().await;
    let mut new = bench.server(&image);
    new.spec.disk = 15 * MIB;
    let error = bench.cloud.boot(&new, &bench.ledger).await.unwrap_err();
    assert_eq!(error.trouble, Trouble::Configuration);
    assert!(error.message.contains("15 MiB") && error.message.contains("16 MiB"), "{error}");
    assert_eq!(bench.ledger.rows().len(), 1, "the image's");
    bench.clean_up().await;
}

#[tokio::test]
async fn a_qemu_that_is_killed_and_a_console_without_end_are_errors() {
    let bench = Bench::new();
    let image = bench.empty_image().await;
    let server = bench.boot(&image).await;
    bench.kill();
    let ServerStatus::Error(text) = bench.end_of(&server).await else { panic!("it was killed") };
    assert!(text.contains("signal 9"), "{text}");
    assert_eq!(bench.cloud.remove(&server_row("image-manager-1")).await.unwrap(), Removal::Gone);

    let server = bench.boot(&image).await;
    fs::File::options().write(true).open(&server.console_log).unwrap().set_len(65 * MIB).unwrap();
    let ServerStatus::Error(text) = bench.status(&server).await else { panic!("the console is too long") };
    assert!(text.contains("64 MiB"), "{text}");
    for _ in 0..100 {
        if bench.pids().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(bench.pids(), [0; 0], "the process was ended");
    bench.clean_up().await;
}

#[tokio::test]
async fn a_published_image_outlives_the_build() {
    let bench = Bench::new();
    let image = bench.empty_image().await;
    let publication = Publication {
        name: "debian-13".into(),
        keep: 1,
        keep_for: None,
        visibility: "private".into(),
        last: None,
    };
    let published = bench.cloud.publish(&image, &publication).await.unwrap();
    assert_eq!(bench.cloud.publish(&image, &publication).await.unwrap(), published);
    bench.clean_up().await;
    assert_eq!(bench.cloud.publish(&image, &publication).await.unwrap(), published);
    let file = Path::new(&published.location);
    assert_eq!(fs::metadata(file).unwrap().len(), image.size_bytes);
    qemu_img(&["check", "-q", file.to_str().unwrap()]);
    assert_eq!(listing(file.parent().unwrap()), ["debian-13.json", "debian-13.qcow2"]);
}

#[tokio::test]
async fn preflight_names_what_is_missing() {
    let bench = Bench::new();
    bench.cloud.preflight(&spec()).await.unwrap();
    let huge = ServerSpec { memory: 1 << 50, ..spec() };
    assert_eq!(bench.cloud.preflight(&huge).await.unwrap_err().trouble, Trouble::NoRoom);
    let settings = LocalSettings { min_free: 1 << 60, ..LocalSettings::new(&bench.state, "owner") };
    let error = LocalCloud::new(settings).unwrap().preflight(&spec()).await.unwrap_err();
    assert_eq!(error.trouble, Trouble::NoRoom);
    let settings =
        LocalSettings { qemu: Some("/nowhere/qemu".into()), ..LocalSettings::new(&bench.state, "owner") };
    let error = LocalCloud::new(settings).unwrap().preflight(&spec()).await.unwrap_err();
    assert!(error.message.contains("apt-get install"), "{error}");
}

#[tokio::test]
async fn servers_reach_the_gateway_through_qemu() {
    let bench = Bench::new();
    let endpoint = async |gateway: &str| bench.cloud.agent_endpoint(gateway.parse().unwrap()).await;
    assert_eq!(endpoint("127.0.0.1:50051").await.unwrap(), "10.0.2.2:50051");
    assert_eq!(endpoint("0.0.0.0:7").await.unwrap(), "10.0.2.2:7");
    assert_eq!(endpoint("[::]:7").await.unwrap(), "10.0.2.2:7");
    assert_eq!(endpoint("192.0.2.9:7").await.unwrap(), "192.0.2.9:7");
    assert_eq!(endpoint("[::1]:7").await.unwrap_err().trouble, Trouble::Configuration);
}

#[tokio::test]
async fn names_that_lead_elsewhere_and_scratch_are_refused() {
    let bench = Bench::new();
    for kind in [ResourceKind::Image, ResourceKind::Server] {
        for name in ["../x", "", ".", "..", "a/b", "-a", "a,b"] {
            let resource = Resource { kind, name: name.into(), external_id: None, build_id: "1".into() };
            let error = bench.cloud.remove(&resource).await.unwrap_err();
            assert_eq!(error.trouble, Trouble::Configuration, "{name}");
        }
    }
    let scratch = Resource { kind: ResourceKind::Scratch, ..server_row("image-manager-1") };
    assert_eq!(bench.cloud.remove(&scratch).await.unwrap_err().trouble, Trouble::Configuration);
}

#[tokio::test]
async fn two_servers_at_a_time_do_not_meet() {
    let bench = Bench::new();
    let image = bench.empty_image().await;
    let mut second = bench.server(&image);
    second.name = "image-manager-2".into();
    second.console_log = bench.state.join("builds/2/console.log");
    let (first, second) = tokio::join!(bench.boot(&image), bench.cloud.boot(&second, &bench.ledger));
    let second = second.unwrap();
    assert_eq!(bench.cloud.remove(&server_row(&first.name)).await.unwrap(), Removal::Gone);
    assert_eq!(bench.status(&first).await, ServerStatus::Missing);
    assert_eq!(bench.status(&second).await, ServerStatus::Active);
    bench.clean_up().await;
}
