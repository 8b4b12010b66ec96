//! What a manager that was killed leaves behind.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use image_manager::cloud::{Cloud, Removal, ServerStatus};

use crate::bench::{Bench, cloud, server_row};

#[tokio::test]
async fn another_manager_finds_and_removes_a_running_server_by_its_name() {
    let bench = Bench::new();
    let image = bench.empty_image().await;
    let server = bench.boot(&image).await;
    let home = bench.state.join("servers/image-manager-1");
    let second = cloud(&bench.state);
    assert_eq!(second.server_status(&server).await.unwrap(), ServerStatus::Active);
    let listed: Vec<_> = second.inventory().await.unwrap().into_iter().map(|row| row.external_id).collect();
    assert_eq!(listed, [Some(server.id.clone()), Some("image-manager-1".into())]);
    // Even the directory may be gone.
    fs::remove_dir_all(&home).unwrap();
    assert_eq!(second.inventory().await.unwrap().len(), 2);
    assert_eq!(second.remove(&server_row("image-manager-1")).await.unwrap(), Removal::Gone);
    assert_eq!(bench.pids(), [0; 0]);
    bench.clean_up().await;
}

/// Not a test: what [`servers_outlive_a_manager_that_is_killed`] runs as a process of its own, and kills.
#[tokio::test]
#[ignore = "is run by another test"]
async fn a_manager_that_will_be_killed() {
    let Some(state) = std::env::var_os("LOCAL_CLOUD_STATE") else { return };
    let bench = Bench::at(state.into(), None);
    let image = bench.empty_image().await;
    bench.boot(&image).await;
    fs::write(bench.state.join("booted"), "").unwrap();
    tokio::time::sleep(Duration::from_mins(1)).await;
}

#[tokio::test]
async fn servers_outlive_a_manager_that_is_killed() {
    let bench = Bench::new();
    let mut manager = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "recovery::a_manager_that_will_be_killed"])
        .env("LOCAL_CLOUD_STATE", &bench.state)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while !bench.state.join("booted").exists() {
        assert!(manager.try_wait().unwrap().is_none(), "it ended by itself");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    manager.kill().unwrap();
    manager.wait().unwrap();
    assert_eq!(bench.qemus().len(), 1, "QEMU runs on");
    let found = bench.cloud.inventory().await.unwrap();
    assert_eq!(found.len(), 2);
    for resource in &found {
        assert_eq!(bench.cloud.remove(resource).await.unwrap(), Removal::Gone);
    }
    bench.assert_nothing_is_left().await;
}

#[tokio::test]
async fn a_server_whose_making_was_broken_off_is_removed() {
    let bench = Bench::new();
    let home = bench.state.join("servers/image-manager-1");
    fs::create_dir(&home).unwrap();
    assert_eq!(bench.cloud.inventory().await.unwrap(), [server_row("image-manager-1")]);
    assert_eq!(bench.cloud.remove(&server_row("image-manager-1")).await.unwrap(), Removal::Gone);

    let image = bench.empty_image().await;
    for millis in [1, 5, 20, 50, 100] {
        let new = bench.server(&image);
        // The future is dropped wherever it is then.
        let _ =
            tokio::time::timeout(Duration::from_millis(millis), bench.cloud.boot(&new, &bench.ledger)).await;
        assert_eq!(bench.cloud.remove(&server_row("image-manager-1")).await.unwrap(), Removal::Gone);
    }
    bench.clean_up().await;
}

/// A process that looks like a server's QEMU but for one thing.
struct Stranger(Child);

impl Stranger {
    fn new(name: &str, mention: &Path) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 1000 & wait", "-name", name]).arg(mention.join("qemu.pid"));
        Self(command.stdin(Stdio::null()).process_group(0).spawn().unwrap())
    }

    fn lives(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", self.0.id())]).status();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn processes_of_others_are_left_alone() {
    let bench = Bench::new();
    let elsewhere = bench.state.parent().unwrap().join("elsewhere");
    let mut strangers = [
        Stranger::new("image-manager-1", &elsewhere),
        Stranger::new("image-manager-10", &bench.state.join("servers/image-manager-10")),
    ];
    assert_eq!(bench.cloud.remove(&server_row("image-manager-1")).await.unwrap(), Removal::Gone);
    assert!(strangers.iter_mut().all(Stranger::lives));
    let [_other_state, mut ours] = strangers;
    assert_eq!(bench.cloud.remove(&server_row("image-manager-10")).await.unwrap(), Removal::Gone);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!ours.lives(), "with name and directory it counts as a server's");
}
