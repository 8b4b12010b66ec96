//! disk-image-builder's element `containerfile` with the real podman: what podman keeps goes with the build.

use std::collections::BTreeSet;
use std::process::Command;

use super::bench::Bench;
use super::failures::{DIB, element, fails, real};

/// Where podman, runtimes and control groups keep something on a host.
const PLACES: [(&str, &[&str]); 6] = [
    ("/var/lib/containers", &["-maxdepth", "3"]),
    ("/run/containers", &["-mindepth", "1"]),
    ("/run/libpod", &["-mindepth", "1"]),
    ("/run/crun", &["-mindepth", "1"]),
    ("/run/runc", &["-mindepth", "1"]),
    ("/sys/fs/cgroup", &["-type", "d", "-name", "*libpod*"]),
];

fn kept() -> BTreeSet<String> {
    let found = PLACES.iter().flat_map(|(place, look)| {
        let found = Command::new("find").arg(place).args(*look).output().unwrap();
        String::from_utf8(found.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    });
    found.collect()
}

/// A build from a container of a shell and nothing else, in which this runs; its root is looked at by a hook.
fn of_a_container(name: &str, run: &str) -> Option<Bench> {
    let mut bench = real(name, &["containerfile", "sees"])?;
    let context = bench.order.cache.join("containerfile");
    let root = bench.directory.path().join("shell");
    for (from, to) in [
        ("/bin/dash", "bin/sh"),
        ("/lib64/ld-linux-x86-64.so.2", "lib64/ld-linux-x86-64.so.2"),
        ("/lib/x86_64-linux-gnu/libc.so.6", "lib/x86_64-linux-gnu/libc.so.6"),
    ] {
        std::fs::create_dir_all(root.join(to).parent().unwrap()).unwrap();
        std::fs::copy(from, root.join(to)).unwrap();
    }
    std::fs::create_dir_all(&context).unwrap();
    let tar =
        Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(context.join("shell.tar")).arg(".").status();
    assert!(tar.unwrap().success());
    let file = format!("FROM scratch\nADD shell.tar /\nRUN {run}\n");
    element(&bench, "sees", "containerfiles/bookworm", &file);
    element(
        &bench,
        "sees",
        "root.d/20-sees",
        "#!/bin/bash\necho \"made: $(cat \"$TARGET_ROOT/made\")\"\nexit 7\n",
    );
    element(&bench, "sees", "environment.d/10-sees.bash", "export DISTRO_NAME=debian\n");
    bench.order.environment.insert("DIB_RELEASE".to_owned(), "bookworm".to_owned());
    // As a schedule may have it: podman by sudo, without the build's variables.
    bench.order.environment.insert("DIB_CONTAINERFILE_RUNTIME_ROOT".to_owned(), "1".to_owned());
    Some(bench)
}

#[tokio::test]
async fn an_image_of_a_container_file_becomes_the_root_and_leaves_nothing() {
    let Some(bench) = of_a_container("container", "echo inside >/made") else { return };
    let before = kept();
    let error = fails(&bench).await;
    assert!(bench.log().contains("| made: inside\n"), "{}", bench.log());
    assert_eq!(error.message, "element sees: root.d/20-sees failed with exit code 7");
    assert_eq!(kept(), before);
}

#[tokio::test]
async fn a_podman_that_is_called_by_sudo_keeps_it_there_too() {
    let Some(bench) = real("container-sudo", &["quick", "own"]) else { return };
    let hook = "#!/bin/bash\nprintf 'FROM scratch\\nLABEL a=b\\n' >\"$TMP_DIR/Containerfile\"\n\
                sudo podman build -t dib-tmp-of-sudo -f \"$TMP_DIR/Containerfile\" \"$TMP_DIR\"\n\
                sudo podman images\nexit 7\n";
    element(&bench, "own", "root.d/60-own", hook);
    let before = kept();
    fails(&bench).await;
    assert!(bench.log().contains("localhost/dib-tmp-of-sudo"), "{}", bench.log());
    assert_eq!(kept(), before);
}

#[tokio::test]
async fn what_a_killed_manager_leaves_of_podman_is_taken_away_with_the_build() {
    let Some(bench) = of_a_container("container-killed", "echo it has begun; while :; do :; done") else {
        return;
    };
    let before = kept();
    let script = format!(
        "#!/bin/bash\nexport ELEMENTS_PATH={} DIB_RELEASE=bookworm\nexec {DIB} -n -t qcow2 -o \"$TMP_DIR/x\" containerfile sees\n",
        bench.order.elements_path[0].display()
    );
    std::fs::write(bench.directory.path().join("bin/disk-image-create"), script).unwrap();
    let mut manager = bench.another_manager();
    bench.wait_for("it has begun").await;
    manager.kill().await.unwrap();
    let storage = std::fs::read_dir(bench.scratch().join("containers/storage")).unwrap();
    assert!(storage.count() > 3, "what is to be taken away");
    bench.clean().await;
    assert_eq!(kept(), before);
}
