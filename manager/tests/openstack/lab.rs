//! The lab, a place of its own for each test, and the proof that nothing is left in the cloud.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::fcntl::{Flock, FlockArg};
use serde_json::Value as Json;

use super::admin::Admin;

/// A directory with a `schedules.toml`, the program in it, and the lab to itself: agents dial one port.
pub(crate) struct Lab {
    pub(crate) clouds: PathBuf,
    pub(crate) admin: Admin,
    directory: tempfile::TempDir,
    _alone: Flock<fs::File>,
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

impl Lab {
    /// The lab with these schedules, or `None` with a line that says why not.
    pub(crate) fn with(schedules: &str) -> Option<Self> {
        let Some(clouds) = std::env::var_os("IMAGE_MANAGER_TEST_CLOUDS").map(PathBuf::from) else {
            println!(
                "LEFT OUT: no OpenStack: IMAGE_MANAGER_TEST_CLOUDS names no clouds.yaml (testbed/openstack/up)"
            );
            return None;
        };
        let lock = fs::File::create(std::env::temp_dir().join("image-manager-test-openstack.lock")).unwrap();
        let alone = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error).unwrap();
        let directory = tempfile::Builder::new().prefix("im-lab-").tempdir().unwrap();
        fs::write(directory.path().join("schedules.toml"), schedules).unwrap();
        Some(Self { admin: Admin::log_in(&clouds), clouds, directory, _alone: alone })
    }

    /// The lab with one schedule `tiny`; `more` are further lines of its table.
    pub(crate) fn tiny(more: &str) -> Option<Self> {
        Self::with(&tiny_schedule("tiny", "lab", more))
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The program, with the stand-in for disk-image-create.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_image-manager"));
        let target = program.parent().unwrap().parent().unwrap();
        let agent = target.join("x86_64-unknown-linux-gnu/agent/image-manager-agent");
        assert!(agent.exists(), "{} is missing: run `make agent` first", agent.display());
        let address = std::env::var("IMAGE_MANAGER_TEST_HOST").unwrap_or_else(|_| "10.77.0.1".to_owned());
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
            .env("IMAGE_MANAGER_AGENT_ENDPOINT", format!("{address}:50051"))
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

    /// The newest build as `show --format json` prints it.
    pub(crate) fn latest(&self) -> Json {
        let output = self.command(&["show", "latest", "--format", "json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
    }

    /// All builds; none where nothing was ever begun.
    pub(crate) fn builds(&self) -> Vec<Json> {
        let output = self.command(&["history", "--format", "json", "--limit", "100"]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// Nothing of any build is left in the cloud but published images, and the ledger knows of nothing.
    #[track_caller]
    pub(crate) fn assert_nothing_left(&self) {
        for build in self.builds() {
            let (id, server) =
                (build["id"].as_str().unwrap(), build["server"]["id"].as_str().unwrap_or_default());
            assert_eq!(self.admin.leaks(id, server), Vec::<String>::new(), "{build:#}");
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
                self.admin.ask(reqwest::Method::DELETE, "image", &path, None);
            }
        }
    }
}

/// A schedule of the tiny image; `more` are further lines of its table.
pub(crate) fn tiny_schedule(name: &str, cloud: &str, more: &str) -> String {
    let defaults = [
        ("server", "server = { flavor = \"lab.tiny\", network = \"lab-net\" }\n"),
        ("checks", "checks = { internet = false, dns = { names = [\"manager.lab\"] } }\n"),
        ("timeouts.boot", "timeouts.boot = \"5m\"\n"),
    ];
    let given = |key: &str| more.lines().any(|line| line.starts_with(key));
    let defaults: String = defaults.iter().filter(|(key, _)| !given(key)).map(|(_, line)| *line).collect();
    format!(
        "[schedule.{name}]\ncloud = \"{cloud}\"\nimage.elements = [\"tiny\"]\ntimeouts.upload = \"5m\"\n\
         timeouts.verify = \"5m\"\ntimeouts.total = \"20m\"\n{defaults}{more}\n"
    )
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
