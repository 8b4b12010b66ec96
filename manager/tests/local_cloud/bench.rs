//! What the tests stand on.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use image_manager::cloud::local::{LocalCloud, LocalSettings};
use image_manager::cloud::{
    Cloud, CloudError, EntryId, Image, Ledger, NewImage, NewServer, Removal, Resource, ResourceKind, Server,
    ServerStatus,
};
use image_manager::schedules::{Arch, Format, ServerSpec};

pub(crate) const MIB: u64 = 1 << 20;

/// Notes what it is told, and looks whether the thing is there at that time.
pub(crate) struct FakeLedger {
    state: PathBuf,
    rows: Mutex<Vec<(ResourceKind, String, Option<String>)>>,
}

impl FakeLedger {
    pub(crate) fn thing(&self, kind: ResourceKind, name: &str) -> PathBuf {
        match kind {
            ResourceKind::Image => {
                let files = ["qcow2", "raw"].map(|format| self.state.join(format!("images/{name}.{format}")));
                files.iter().find(|file| file.exists()).unwrap_or(&files[0]).clone()
            }
            _ => self.state.join("servers").join(name),
        }
    }

    pub(crate) fn rows(&self) -> Vec<(ResourceKind, String, Option<String>)> {
        self.rows.lock().unwrap().clone()
    }
}

#[async_trait]
impl Ledger for FakeLedger {
    async fn intend(&self, kind: ResourceKind, name: &str) -> Result<EntryId, CloudError> {
        assert!(!self.thing(kind, name).exists(), "{name} was made before it was written down");
        let mut rows = self.rows.lock().unwrap();
        rows.push((kind, name.to_owned(), None));
        Ok(EntryId(i64::try_from(rows.len()).unwrap() - 1))
    }

    async fn refused(&self, _: EntryId) -> Result<(), CloudError> {
        Ok(())
    }

    async fn created(&self, entry: EntryId, external_id: &str) -> Result<(), CloudError> {
        let mut rows = self.rows.lock().unwrap();
        let row = &mut rows[usize::try_from(entry.0).unwrap()];
        assert!(self.thing(row.0, &row.1).exists());
        row.2 = Some(external_id.to_owned());
        Ok(())
    }
}

/// A state directory with a cloud. Kills what a failed test left.
pub(crate) struct Bench {
    pub(crate) state: PathBuf,
    pub(crate) cloud: LocalCloud,
    pub(crate) ledger: FakeLedger,
    /// Dropped last.
    _folder: Option<tempfile::TempDir>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // A comma, a blank and a length that no socket's path may have.
        let state = folder.path().canonicalize().unwrap().join(format!("state, {}", "long".repeat(25)));
        Self::at(state, Some(folder))
    }

    pub(crate) fn at(state: PathBuf, folder: Option<tempfile::TempDir>) -> Self {
        let cloud = cloud(&state);
        let ledger = FakeLedger { state: state.clone(), rows: Mutex::default() };
        Self { state, cloud, ledger, _folder: folder }
    }

    pub(crate) fn qcow2(&self, arguments: &[&str]) -> PathBuf {
        let file = self.state.join("artifact.qcow2");
        qemu_img(&[&["create", "-q", "-f", "qcow2", file.to_str().unwrap()], arguments].concat());
        file
    }

    pub(crate) async fn upload(&self, name: &str, file: PathBuf) -> Result<Image, CloudError> {
        let image = NewImage {
            build_id: name.replace("image-manager-", ""),
            name: name.into(),
            format: if file.extension().is_some_and(|end| end == "raw") {
                Format::Raw
            } else {
                Format::Qcow2
            },
            file,
            arch: Arch::Amd64,
            firmware: None,
            properties: BTreeMap::from([("os_distro".into(), "debian".into())]),
        };
        self.cloud.upload(&image, &self.ledger, &|_, _| ()).await
    }

    /// An image of nothing: the firmware finds no system on it, and waits.
    pub(crate) async fn empty_image(&self) -> Image {
        self.upload("image-manager-1", self.qcow2(&["16M"])).await.unwrap()
    }

    pub(crate) fn server(&self, image: &Image) -> NewServer {
        NewServer {
            build_id: "1".into(),
            name: "image-manager-1".into(),
            image: image.clone(),
            spec: spec(),
            metadata: BTreeMap::from([("image_manager_token".into(), "s3cret".into())]),
            console_log: self.state.join("builds/1/console.log"),
            private_key: self.state.join("builds/1/ssh_key"),
        }
    }

    pub(crate) async fn boot(&self, image: &Image) -> Server {
        self.cloud.boot(&self.server(image), &self.ledger).await.unwrap()
    }

    pub(crate) async fn status(&self, server: &Server) -> ServerStatus {
        self.cloud.server_status(server).await.unwrap()
    }

    /// Waits until a server is no more active; at most 90 s.
    pub(crate) async fn end_of(&self, server: &Server) -> ServerStatus {
        let patience = Instant::now() + Duration::from_secs(90);
        loop {
            let status = self.status(server).await;
            if status != ServerStatus::Active || Instant::now() > patience {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) async fn console_says(&self, server: &Server, word: &str) -> String {
        let patience = Instant::now() + Duration::from_secs(90);
        loop {
            let bytes = fs::read(&server.console_log).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if text.contains(word) {
                return text;
            }
            assert!(Instant::now() < patience, "no {word:?} on the console: {text}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Removes what the ledger lists, servers first, by a cloud that has made none of it.
    pub(crate) async fn clean_up(&self) {
        let other = cloud(&self.state);
        let mut rows = self.ledger.rows();
        rows.sort_by_key(|row| row.0 == ResourceKind::Image);
        for (kind, name, external_id) in rows {
            let resource = Resource { kind, name, external_id, build_id: "1".into() };
            assert_eq!(other.remove(&resource).await.unwrap(), Removal::Gone);
            assert_eq!(other.remove(&resource).await.unwrap(), Removal::Gone, "again");
        }
        self.assert_nothing_is_left().await;
    }

    pub(crate) async fn assert_nothing_is_left(&self) {
        assert_eq!(self.cloud.inventory().await.unwrap(), []);
        assert_eq!(listing(&self.state.join("servers")), [""; 0]);
        assert_eq!(listing(&self.state.join("images")), ["published"]);
        assert_eq!(self.pids(), [0; 0]);
    }

    /// Processes whose command line leads into the state directory.
    pub(crate) fn pids(&self) -> Vec<i32> {
        let state = self.state.to_str().unwrap();
        fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
            .filter(|pid| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&line).contains(state)
            })
            .collect()
    }

    /// Those among them that are a QEMU, not what started it, nor its network.
    pub(crate) fn qemus(&self) -> Vec<i32> {
        let is_qemu = |pid: &i32| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("qemu-system"))
        };
        self.pids().into_iter().filter(is_qemu).collect()
    }

    pub(crate) fn kill(&self) {
        for pid in self.pids() {
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn cloud(state: &Path) -> LocalCloud {
    let settings = LocalSettings {
        shutdown_grace: Duration::from_secs(15),
        min_free: MIB,
        ..LocalSettings::new(state, "owner")
    };
    LocalCloud::new(settings).unwrap()
}

pub(crate) fn spec() -> ServerSpec {
    ServerSpec {
        memory: 128 * MIB,
        disk: 256 * MIB,
        cpus: 1,
        firmware: None,
        arch: Arch::Amd64,
        flavor: None,
        network: None,
        security_groups: Vec::new(),
        availability_zone: None,
        ssh_key: None,
        boot_from_volume: false,
        config_drive: true,
        user_data: Some("#cloud-config\n".into()),
    }
}

pub(crate) fn listing(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

pub(crate) fn qemu_img(arguments: &[&str]) -> String {
    let output = Command::new("qemu-img").args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn server_row(name: &str) -> Resource {
    Resource {
        kind: ResourceKind::Server,
        name: name.into(),
        external_id: None,
        build_id: name.replace("image-manager-", ""),
    }
}
