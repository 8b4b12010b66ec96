//! The lab, a place of its own for each test, and the proof that nothing is left in the cloud.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use serde_json::Value as Json;

use super::account::Account;
use super::left_out::left_out;

/// A directory with a `schedules.toml`, the program in it, and the lab, shared with other tests or alone.
pub(crate) struct Lab {
    pub(crate) clouds: PathBuf,
    pub(crate) admin: Account,
    pub(crate) tenant: Account,
    /// Service and path of what the test itself has made there.
    planted: RefCell<Vec<(&'static str, String)>>,
    directory: tempfile::TempDir,
    _shared: Flock<fs::File>,
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

impl Lab {
    /// The lab with these schedules, or `None` with a line that says why not.
    pub(crate) fn with(schedules: &str) -> Option<Self> {
        Self::locked(schedules, FlockArg::LockShared)
    }

    /// The same, with nobody else in the lab: for tests that break it for everybody.
    pub(crate) fn alone(schedules: &str) -> Option<Self> {
        Self::locked(schedules, FlockArg::LockExclusive)
    }

    fn locked(schedules: &str, how: FlockArg) -> Option<Self> {
        let Some(clouds) = std::env::var_os("IMAGE_MANAGER_TEST_CLOUDS").map(PathBuf::from) else {
            left_out(
                "the tests on OpenStack: IMAGE_MANAGER_TEST_CLOUDS names no clouds.yaml (testbed/openstack/up)",
            );
            return None;
        };
        let lock = fs::File::create(std::env::temp_dir().join("image-manager-test-openstack.lock")).unwrap();
        let shared = Flock::lock(lock, how).map_err(|(_, error)| error).unwrap();
        let directory = tempfile::Builder::new().prefix("im-lab-").tempdir().unwrap();
        let lab = Self {
            admin: Account::log_in(&clouds, "lab-admin"),
            tenant: Account::log_in(&clouds, "lab"),
            planted: RefCell::default(),
            clouds,
            directory,
            _shared: shared,
        };
        lab.reschedule(schedules);
        Some(lab)
    }

    /// The lab with one schedule `tiny`; `more` are further lines of its table.
    pub(crate) fn tiny(more: &str) -> Option<Self> {
        Self::with(&tiny_schedule("tiny", "lab", more))
    }

    /// Other schedules from now on.
    pub(crate) fn reschedule(&self, schedules: &str) {
        fs::write(self.path().join("schedules.toml"), schedules).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A build's directory in the state directory.
    pub(crate) fn directory_of(&self, build: &Json) -> PathBuf {
        self.path().join("state/builds").join(build["id"].as_str().unwrap())
    }

    /// The program, with the stand-in for disk-image-create. Its gateway takes any free port, so that builds of
    /// several tests go on side by side; servers get its address from the route to the cloud.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_image-manager"));
        let target = program.parent().unwrap().parent().unwrap();
        let agent = target.join("x86_64-unknown-linux-gnu/agent/image-manager-agent");
        assert!(agent.exists(), "{} is missing: run `make agent` first", agent.display());
        let mut command = Command::new(&program);
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars() {
            if name.starts_with("IMAGE_MANAGER_") || name.starts_with("OS_") {
                command.env_remove(name);
            }
        }
        command
            .env("OS_CLIENT_CONFIG_FILE", &self.clouds)
            .env("IMAGE_MANAGER_DIB", repository().join("testbed/tiny-image/disk-image-create"))
            .env("IMAGE_MANAGER_AGENT", agent)
            .env("IMAGE_MANAGER_ELEMENTS", repository().join("elements"))
            .env("IMAGE_MANAGER_GATEWAY", "0.0.0.0:0")
            .env("NO_COLOR", "1");
        command
    }

    /// Runs a command to its end and expects an exit code; what it printed is in the panic's message.
    #[track_caller]
    pub(crate) fn expect_of(command: &mut Command, code: i32) -> String {
        let output: Output = command.output().unwrap();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{command:?}\n--- stdout\n{out}\n--- stderr\n{err}");
        format!("{out}{err}")
    }

    /// Runs the program to its end and expects an exit code.
    #[track_caller]
    pub(crate) fn expect(&self, arguments: &[&str], code: i32) -> String {
        Self::expect_of(&mut self.command(arguments), code)
    }

    /// Starts `run` of a schedule and goes on meanwhile.
    pub(crate) fn start(&self, command: &mut Command) -> Running {
        let log = self.path().join("run.log");
        let file = fs::File::create(&log).unwrap();
        let child = command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        Running { child, log }
    }

    /// The newest build as `show --format json` prints it.
    #[track_caller]
    pub(crate) fn latest(&self) -> Json {
        let output = self.command(&["show", "latest", "--format", "json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
    }

    /// All builds; none where nothing was ever begun.
    pub(crate) fn builds(&self) -> Vec<Json> {
        let output = self.command(&["history", "--format", "json", "--limit", "100"]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// Waits until the newest build is in one of these states and returns it.
    #[track_caller]
    pub(crate) fn wait_for_state(&self, states: &[&str]) -> Json {
        wait_for(&format!("a build in {states:?}"), || {
            let build = self.builds().into_iter().next()?;
            let trials = build["trials"].as_array().into_iter().flatten();
            let mut all = std::iter::once(&build).chain(trials).filter_map(|part| part["state"].as_str());
            let there = all.any(|state| states.contains(&state));
            drop(all);
            there.then_some(build)
        })
    }

    /// Remembers what the test has made, to take it away in the end.
    pub(crate) fn plant(&self, service: &'static str, path: String) {
        self.planted.borrow_mut().push((service, path));
    }

    /// Nothing of any build is left in the cloud but published images, and the ledger knows of nothing.
    #[track_caller]
    pub(crate) fn assert_nothing_left(&self) {
        for build in self.builds() {
            let (id, server) =
                (build["id"].as_str().unwrap(), build["server"]["id"].as_str().unwrap_or_default());
            assert_eq!(self.admin.leaks(id, server), Vec::<String>::new(), "{build:#}");
            let keys = self.tenant.list("compute", "os-keypairs", "keypairs");
            assert!(!keys.iter().any(|key| key.to_string().contains(id)), "{keys:?}");
            for resource in build["resources"].as_array().unwrap() {
                let state = resource["state"].as_str().unwrap();
                assert!(["gone", "published"].contains(&state), "ledger: {resource}");
            }
        }
    }
}

impl Drop for Lab {
    /// Published images are there to stay, but not in the lab.
    fn drop(&mut self) {
        for build in self.builds() {
            for image in self.admin.images_of(build["id"].as_str().unwrap()) {
                let path = format!("v2/images/{}", image["id"].as_str().unwrap());
                let unprotect = serde_json::json!([{"op": "replace", "path": "/protected", "value": false}]);
                self.admin.ask(reqwest::Method::PATCH, "image", &path, Some(unprotect));
                self.admin.ask(reqwest::Method::DELETE, "image", &path, None);
            }
        }
        for (service, path) in self.planted.borrow().iter().rev() {
            // The test may have seen to it that it is gone. A group is in use until its server is.
            let began = Instant::now();
            while self.tenant.ask(reqwest::Method::DELETE, service, path, None).0 == 409
                && began.elapsed() < Duration::from_mins(1)
            {
                pause(Duration::from_secs(1));
            }
        }
    }
}

/// The program under way; killed when dropped.
pub(crate) struct Running {
    pub(crate) child: Child,
    log: PathBuf,
}

impl Running {
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it has ended.
    pub(crate) fn ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until it takes operators; the file of one that was killed before it still names that one.
    pub(crate) fn wait_until_it_serves(&mut self, lab: &Lab) {
        let file = lab.path().join("state/manager.json");
        wait_for("the manager to serve", || {
            assert!(!self.ended(), "{}", self.said());
            let holder: Json = serde_json::from_str(&fs::read_to_string(&file).ok()?).ok()?;
            (holder["pid"] == self.child.id() && holder["operator"].is_string()).then_some(())
        });
    }

    /// Waits for its end and expects an exit code.
    #[track_caller]
    pub(crate) fn expect(mut self, code: i32) -> String {
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(code), "{}", self.said());
        self.said()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A schedule of the tiny image; `more` are further lines of its table.
pub(crate) fn tiny_schedule(name: &str, cloud: &str, more: &str) -> String {
    let defaults = [
        ("server", "server = { flavor = \"lab.tiny\", network = \"lab-net\" }\n"),
        ("checks", "checks = { internet = false, dns = { names = [\"manager.lab\"] } }\n"),
        ("timeouts.boot", "timeouts.boot = \"8m\"\n"),
        // Most tests of what ends without a word are about that word.
        ("control", "control = false\n"),
    ];
    let given = |key: &str| more.lines().any(|line| line.starts_with(key));
    let defaults: String = defaults.iter().filter(|(key, _)| !given(key)).map(|(_, line)| *line).collect();
    format!(
        "[schedule.{name}]\ncloud = \"{cloud}\"\nimage.elements = [\"tiny\"]\ntimeouts.upload = \"10m\"\n\
         timeouts.verify = \"8m\"\ntimeouts.total = \"30m\"\n{defaults}{more}\n"
    )
}

/// Asks again and again until there is an answer.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let (began, limit) = (Instant::now(), Duration::from_mins(6));
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < limit, "waited {limit:?} in vain for {what}");
        pause(Duration::from_millis(300));
    }
}

/// Lets time go by.
pub(crate) fn pause(time: Duration) {
    #[expect(clippy::disallowed_methods, reason = "a test without a runtime")]
    std::thread::sleep(time);
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The detail of one of a build's stages.
#[track_caller]
pub(crate) fn detail_of<'a>(build: &'a Json, stage: &str) -> &'a str {
    let stages = build["stages"].as_array().unwrap();
    let found = stages.iter().find(|entry| entry["name"] == stage);
    found.unwrap_or_else(|| panic!("no {stage} in {build:#}"))["detail"].as_str().unwrap()
}
