//! A place of its own for each test, the program in it, and the proof that nothing is left behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

pub(crate) mod debian;
pub(crate) mod disk;
pub(crate) mod left_out;
pub(crate) mod published;
pub(crate) mod several;

/// A directory with a `schedules.toml` and a state directory, and the program that uses them.
pub(crate) struct Place {
    directory: tempfile::TempDir,
}

/// The repository.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The static agent, as `make agent` builds it.
pub(crate) fn agent() -> PathBuf {
    let path = std::env::var_os("IMAGE_MANAGER_AGENT").map_or_else(
        || {
            let program = PathBuf::from(env!("CARGO_BIN_EXE_image-manager"));
            let target = program.parent().unwrap().parent().unwrap();
            target.join("x86_64-unknown-linux-gnu/agent/image-manager-agent")
        },
        PathBuf::from,
    );
    assert!(path.exists(), "{} is missing: run `make agent` first", path.display());
    path
}

impl Place {
    /// A place whose file has these schedules.
    pub(crate) fn new(schedules: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("im-test-").tempdir().unwrap();
        fs::write(directory.path().join("schedules.toml"), schedules).unwrap();
        Self { directory }
    }

    /// A place with one schedule `tiny` with `more` settings, as TOML lines of the schedule's table.
    pub(crate) fn tiny(more: &str) -> Self {
        Self::new(&tiny_schedule("tiny", more))
    }

    /// Writes a file that only its owner can read, as one with a secret must be; returns its name.
    pub(crate) fn secret<'a>(&self, name: &'a str, text: &str) -> &'a str {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        name
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    /// The program in this place, with the stand-in for disk-image-create.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_image-manager"));
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("IMAGE_MANAGER_")) {
            command.env_remove(name);
        }
        command
            .env("IMAGE_MANAGER_DIB", repository().join("testbed/tiny-image/disk-image-create"))
            .env("IMAGE_MANAGER_AGENT", agent())
            .env("IMAGE_MANAGER_ELEMENTS", repository().join("elements"))
            .env("IMAGE_MANAGER_HEARTBEAT_TIMEOUT", "20s")
            .env("NO_COLOR", "1");
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs the program to its end and expects an exit code; what it printed is in the panic's message.
    #[track_caller]
    pub(crate) fn expect(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run(arguments);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}\n--- stdout\n{out}\n--- stderr\n{err}");
        format!("{out}{err}")
    }

    /// The newest build as `show --format json` prints it.
    pub(crate) fn latest(&self) -> Json {
        let output = self.run(&["show", "latest", "--format", "json"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// All builds as `history --format json` prints them, newest first.
    pub(crate) fn history(&self) -> Vec<Json> {
        let output = self.run(&["history", "--format", "json", "--limit", "1000"]);
        let said = text(&output.stderr);
        // A manager that starts may be about to make it.
        if ["there is no history", "schema version 0"].iter().any(|not_yet| said.contains(not_yet)) {
            return Vec::new();
        }
        assert!(output.status.success(), "{said}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Starts `serve` on free ports and waits until it answers.
    pub(crate) fn serve(&self) -> Serving<'_> {
        self.serve_with(&[])
    }

    /// The same with further arguments.
    pub(crate) fn serve_with(&self, more: &[&str]) -> Serving<'_> {
        self.serve_in(more, &[])
    }

    /// The same with more in its environment.
    pub(crate) fn serve_in(&self, more: &[&str], environment: &[(&str, &str)]) -> Serving<'_> {
        let log = fs::File::create(self.path().join("serve.log")).unwrap();
        let mut arguments = vec!["serve"];
        for flag in ["--operator", "--gateway"].iter().filter(|flag| !more.contains(flag)) {
            arguments.extend([flag, "127.0.0.1:0"]);
        }
        arguments.extend(more);
        let mut command = self.command(&arguments);
        command.envs(environment.iter().copied()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap();
        let mut serving = Serving { place: self, child, operator: String::new() };
        let file = self.state().join("manager.json");
        wait_for("the manager to serve", Duration::from_secs(90), || {
            assert!(serving.child.try_wait().unwrap().is_none(), "it ended:\n{}", self.serve_log());
            let holder: Json = serde_json::from_str(&fs::read_to_string(&file).ok()?).ok()?;
            let pid = u64::from(serving.child.id());
            (holder["pid"] == pid).then(|| holder["operator"].as_str().map(str::to_owned)).flatten()
        })
        .clone_into(&mut serving.operator);
        serving
    }

    /// Waits until disk-image-create, or what stands in for it, has attached its loop device.
    pub(crate) fn wait_for_loop_device(&self) {
        wait_for("the loop device", Duration::from_mins(2), || {
            let build = self.history().into_iter().next()?;
            let log = self.state().join("builds").join(build["id"].as_str()?).join("build.log");
            fs::read_to_string(log).ok()?.contains("New block device").then_some(())
        });
    }

    pub(crate) fn serve_log(&self) -> String {
        fs::read_to_string(self.path().join("serve.log")).unwrap_or_default()
    }

    /// Nothing of any build is left: no process, mount, loop device, server, scratch directory, no image but
    /// the published ones, and the ledger knows of nothing.
    #[track_caller]
    pub(crate) fn assert_nothing_left(&self) {
        assert_eq!(self.leaks(), Vec::<String>::new());
    }

    /// The same while a manager serves: it is the one process that may name this place.
    #[track_caller]
    pub(crate) fn assert_nothing_left_but(&self, serving: &Serving<'_>) {
        let mine = format!("process {}:", serving.child.id());
        let leaks: Vec<_> = self.leaks().into_iter().filter(|leak| !leak.starts_with(&mine)).collect();
        assert_eq!(leaks, Vec::<String>::new());
    }

    /// What is left of builds, a line each.
    pub(crate) fn leaks(&self) -> Vec<String> {
        let mut leaks = Vec::new();
        let here = self.path().to_str().unwrap();
        for pid in processes_naming(here) {
            leaks.push(format!("process {pid}: {}", command_line(pid)));
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        leaks.extend(mounts.lines().filter(|line| line.contains(here)).map(|line| format!("mount {line}")));
        for entry in fs::read_dir("/sys/block").unwrap().flatten() {
            let file = fs::read_to_string(entry.path().join("loop/backing_file")).unwrap_or_default();
            if file.contains(here) {
                leaks.push(format!("loop device {} on {file}", entry.file_name().display()));
            }
        }
        for directory in ["asking", "servers", "scratch"] {
            for entry in fs::read_dir(self.state().join(directory)).into_iter().flatten().flatten() {
                leaks.push(format!("{}", entry.path().display()));
            }
        }
        for entry in fs::read_dir(self.state().join("images")).into_iter().flatten().flatten() {
            if entry.file_name() != "published" {
                leaks.push(format!("{}", entry.path().display()));
            }
        }
        for build in self.history() {
            for resource in build["resources"].as_array().unwrap() {
                if !["gone", "published"].contains(&resource["state"].as_str().unwrap()) {
                    leaks.push(format!("ledger: {resource}"));
                }
            }
        }
        leaks
    }

    /// Waits until the newest build, or one of its trials, is in one of these states; returns it. What ends a build is
    /// its own state: its trials have ended before.
    pub(crate) fn wait_for_state(&self, states: &[&str], limit: Duration) -> Json {
        const ENDS: [&str; 4] = ["succeeded", "failed", "errored", "cancelled"];
        wait_for(&format!("a build in {states:?}"), limit, || {
            let build = self.history().into_iter().next()?;
            let there = states_of(&build)
                .any(|state| states.contains(&state) && (build["state"] == state || !ENDS.contains(&state)));
            there.then_some(build)
        })
    }
}

/// The states of a build and of its trials.
pub(crate) fn states_of(build: &Json) -> impl Iterator<Item = &str> {
    let trials = build["trials"].as_array().into_iter().flatten();
    std::iter::once(build).chain(trials).filter_map(|part| part["state"].as_str())
}

impl Drop for Place {
    /// A test that panics must not leave a server running for the next one.
    fn drop(&mut self) {
        for pid in processes_naming(self.path().to_str().unwrap()) {
            // Gone meanwhile is as good.
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        }
    }
}

/// A manager that serves; killed when dropped.
pub(crate) struct Serving<'a> {
    place: &'a Place,
    pub(crate) child: Child,
    /// `ip:port` of the operator port.
    pub(crate) operator: String,
}

impl Serving<'_> {
    /// As the kernel's out-of-memory killer or a power cut would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Asks it to end and returns its exit code.
    pub(crate) fn terminate(self) -> Option<i32> {
        self.signal("TERM");
        self.ended()
    }

    /// Waits for its end and returns its exit code.
    pub(crate) fn ended(mut self) -> Option<i32> {
        let ended =
            wait_for("the manager to end", Duration::from_secs(150), || self.child.try_wait().unwrap());
        ended.code()
    }
}

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- serve.log\n{}", self.place.serve_log());
        }
        // Ended already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A schedule of the tiny image; `more` are further lines of its table, which may give a timeout too.
pub(crate) fn tiny_schedule(name: &str, more: &str) -> String {
    let timeouts = [("build", "5m"), ("upload", "2m"), ("boot", "3m"), ("verify", "3m"), ("total", "15m")];
    let timeouts: Vec<String> = timeouts
        .iter()
        .filter(|(stage, _)| !more.contains(&format!("timeouts.{stage}")))
        .map(|(stage, limit)| format!("timeouts.{stage} = \"{limit}\""))
        .collect();
    let timeouts = timeouts.join("\n");
    // Most tests of what ends without a word are about that word.
    let control = if more.contains("control =") { "" } else { "control = false\n" };
    // The tiny image has no server of SSH, and next to nothing else that a cloud image must have.
    let checks = if more.contains("checks") { "" } else { "checks.set = \"minimal\"\n" };
    format!(
        "[schedule.{name}]\n{control}{checks}image.elements = [\"tiny\"]\n\
         server = {{ memory = \"256 MiB\", disk = \"512 MiB\", cpus = 1 }}\n{timeouts}\n{more}\n"
    )
}

/// Asks again and again until there is an answer.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < limit, "waited {limit:?} in vain for {what}");
        #[expect(clippy::disallowed_methods, reason = "a test without a runtime")]
        std::thread::sleep(Duration::from_millis(200));
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Processes, other than this one, that name a path in their command line or have their root below it.
fn processes_naming(path: &str) -> Vec<u32> {
    let root = |pid: u32| fs::read_link(format!("/proc/{pid}/root")).unwrap_or_default();
    let pids = fs::read_dir("/proc").unwrap().flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != std::process::id())
        .filter(|pid| command_line(*pid).contains(path) || root(*pid).starts_with(path))
        .collect()
}

fn command_line(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ")
}
