//! Servers with a guest that boots.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use image_manager::cloud::{Cloud, ServerStatus};

use crate::bench::Bench;

/// Shows the config drive on the console.
const SHOWS_ITS_DRIVE: &str = "#!/bin/sh\n\
    exec >/dev/console 2>&1\n\
    mkdir -p /run/drive\n\
    until drive=$(findfs LABEL=config-2); do sleep 0.2; done\n\
    until mount -t iso9660 -o ro \"$drive\" /run/drive; do sleep 0.2; done\n\
    cd /run/drive && find . -type f -exec ls -l {} +\n\
    cat openstack/latest/meta_data.json openstack/latest/user_data\n\
    echo; cat /sys/class/net/eth0/address\n\
    echo agent-done\n";

/// The tiny image with a program in the agent's place, or `None` when its sources are not here.
pub(crate) fn tiny_image(bench: &Bench, canary: &str, program: &str) -> Option<PathBuf> {
    let script = std::env::var_os("IMAGE_MANAGER_TINY_IMAGE").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../testbed/tiny-image/build"),
        PathBuf::from,
    );
    if !script.exists() {
        println!("skipped: {} is not here", script.display());
        return None;
    }
    let agent = bench.state.join("agent");
    fs::write(&agent, program).unwrap();
    fs::set_permissions(&agent, fs::Permissions::from_mode(0o755)).unwrap();
    let image = bench.state.join("artifact.qcow2");
    let built = Command::new(script)
        .args(["-c", canary])
        .args(["-a".as_ref(), agent.as_os_str(), "-o".as_ref(), image.as_os_str()])
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Some(image)
}

#[tokio::test]
async fn a_guest_reads_its_config_drive_and_shuts_down_in_order() {
    let bench = Bench::new();
    let Some(file) = tiny_image(&bench, "", SHOWS_ITS_DRIVE) else { return };
    let image = bench.upload("image-manager-1", file).await.unwrap();
    let started = Instant::now();
    let server = bench.boot(&image).await;
    let answered = started.elapsed();
    let console = bench.console_says(&server, "agent-done").await;
    println!("QEMU answered after {answered:?}, the agent was done after {:?}", started.elapsed());
    for name in ["meta_data.json", "network_data.json", "user_data", "vendor_data.json"] {
        assert!(console.contains(&format!("./openstack/latest/{name}")), "{console}");
    }
    for word in [&server.id, "\"image_manager_token\":\"s3cret\"", "#cloud-config", "fa:16:3e:", "-r--------"]
    {
        assert!(console.contains(word), "{word}: {console}");
    }
    bench.console_says(&server, "tiny: ready").await;
    let started = Instant::now();
    bench.cloud.stop(&server).await.unwrap();
    println!("stopped after {:?}", started.elapsed());
    assert_eq!(bench.status(&server).await, ServerStatus::Stopped("the guest powered off".into()));
    bench.clean_up().await;
}

#[tokio::test]
async fn a_panic_of_the_guest_ends_the_server_and_is_told() {
    let bench = Bench::new();
    let Some(file) = tiny_image(&bench, "kernel-panic", SHOWS_ITS_DRIVE) else { return };
    let image = bench.upload("image-manager-1", file).await.unwrap();
    let server = bench.boot(&image).await;
    let ServerStatus::Stopped(text) = bench.end_of(&server).await else { panic!("it panics") };
    assert!(text.contains("the guest rebooted") && text.contains("Kernel panic - not syncing"), "{text}");
    bench.clean_up().await;
}
