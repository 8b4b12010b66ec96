//! A build does not wait for the disk, and only the build.

use crate::bench::Bench;
use crate::left_out::left_out;

/// A call for a descriptor that is not open fails, unless the kernel never makes it.
const SCRIPT: &str = r#"
set -e
for call in fsync fdatasync; do
    python3 -c "import os; os.$call(999)" 2>/dev/null && echo "$call: not made" || echo "$call: made"
done
python3 -c 'import os; os.sync()'
sudo python3 -c 'import os; os.fsync(999)' 2>/dev/null && echo "by sudo: not made"
sed -n 's/^NoNewPrivs:/privileges:/p' /proc/self/status
image
echo 'Build completed successfully'
"#;

#[tokio::test]
async fn a_build_does_not_wait_for_the_disk() {
    if ["python3", "sudo"].iter().any(|program| image_manager::programs::find(program).is_none()) {
        return left_out("builds that do not wait for the disk: no python3 or sudo");
    }
    let Some(mut bench) = Bench::new("fsync", SCRIPT) else { return };
    let before = filters();
    bench.run_to_end().await.unwrap();
    let log = bench.log();
    assert!(
        log.contains("fsync: made") && log.contains("fdatasync: made"),
        "no filter without the program: {log}"
    );
    bench.clean().await;

    let state = bench.directory.path().canonicalize().unwrap();
    let stand_ins = image_manager::builder::install_stand_ins(&state).unwrap();
    let name = image_manager::builder::STAND_INS.to_owned();
    bench.order.environment.insert(name, stand_ins.display().to_string());
    bench.run_to_end().await.unwrap();
    let log = bench.log();
    for line in ["fsync: not made", "fdatasync: not made", "by sudo: not made", "privileges:\t0"] {
        assert!(log.contains(line), "{line:?} is missing in {log}");
    }
    bench.clean().await;

    assert_eq!(filters(), before, "nothing of it is where the build is not");
}

/// What the kernel says of the filters of this thread.
fn filters() -> Vec<String> {
    let own = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    own.lines().filter(|line| line.starts_with("Seccomp")).map(str::to_owned).collect()
}

/// Whatever keeps the filter from being made, the command runs.
#[test]
fn without_a_filter_the_build_waits_and_says_so() {
    if image_manager::programs::find("python3").is_none() {
        return left_out("builds that wait for the disk where there is no filter: no python3");
    }
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/src/builder/stand-ins/without-fsync");
    let unknown = format!(
        "import os, sys\n\
         class Machine: machine = 's390x'\n\
         os.uname = lambda: Machine\n\
         sys.argv = ['without-fsync', 'echo', 'it ran']\n\
         exec(open({program:?}).read())"
    );
    let output = std::process::Command::new("python3").args(["-c", &unknown]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "it ran\n", "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("waits for the disk"), "{output:?}");
}
