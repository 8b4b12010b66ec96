//! A large image: constant memory, the right hash; and a flavor that is too small for it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use super::lab::{Lab, pause, repository, wait_for};

const GIB: u64 = 1 << 30;
/// What the manager may take over what it has when it does nothing.
const MOST: u64 = 64 << 20;

/// The tiny image with a disk of two gigabytes, in a file of one: what comes after a qcow2's last cluster is
/// nobody's, and is uploaded and hashed like the rest. Its sum goes into a file beside the program.
fn program(lab: &Lab) -> std::path::PathBuf {
    // In a directory of its own, which a build may only read.
    let program = lab.path().join("bin/disk-image-create");
    fs::create_dir(lab.path().join("bin")).unwrap();
    let real = repository().join("testbed/tiny-image/disk-image-create");
    let script = format!(
        "#!/bin/bash\nset -e\nreal={} sum={}\n\
         \"$real\" --image-size 2 \"$@\"\n\
         for word; do [ \"$last\" != -o ] || out=$word; last=$word; done\n\
         [ -e \"$out\" ] || out=$out.qcow2\ntruncate -s 1G \"$out\"\nsha512sum <\"$out\" >\"$sum\"\n",
        real.display(),
        lab.path().join("sum").display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

/// A line of a process's status, in bytes; `None` once it has ended.
fn memory(pid: u32, key: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
}

#[test]
fn a_gigabyte_takes_no_memory_and_a_small_flavor_is_refused() {
    let Some(lab) = Lab::tiny("") else { return };
    let mut run = lab.start(lab.command(&["run", "tiny"]).env("IMAGE_MANAGER_DIB", program(&lab)));
    let pid = run.child.id();
    let sum = wait_for("disk-image-create's end", || {
        assert!(!run.ended(), "{}", run.said());
        fs::read_to_string(lab.path().join("sum")).ok().filter(|sum| sum.len() > 128)
    });
    // It waits for disk-image-create, and the upload has hardly begun, if at all.
    let idle = memory(pid, "VmRSS").unwrap();
    let mut peak = idle;
    while !run.ended() {
        peak = peak.max(memory(pid, "VmHWM").unwrap_or(0));
        pause(Duration::from_millis(200));
    }
    run.expect(2);
    let build = lab.latest();
    assert_eq!(build["image"]["size_bytes"].to_string().replace('"', ""), GIB.to_string());
    // Glance's own sum was compared with this one, else the build had ended as `image_corrupt`.
    assert_eq!(build["image"]["sha512"].as_str(), sum.split(' ').next());
    println!("idle {} MiB, peak {} MiB", idle >> 20, peak >> 20);
    assert!(peak - idle < MOST, "idle {idle}, peak {peak} bytes");

    // The flavor has a disk of one gigabyte.
    assert_eq!((&build["state"], &build["failure"]["stage"]), (&"errored".into(), &"booting".into()));
    let evidence = build["failure"]["evidence"].as_str().unwrap();
    assert!(evidence.contains("disk is smaller than") || evidence.contains("too small"), "{evidence}");
    lab.assert_nothing_left();
}
