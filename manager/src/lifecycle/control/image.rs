//! Which image is booted: the newest that the schedule has published on that cloud, if it is still there; else a small one
//! that is made for it by the program that came with this one (`control-image/build`).

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use image_manager_proto::v1;
use tokio::sync::Mutex;

use crate::builder;
use crate::cloud::{Image, NewImage};
use crate::lifecycle::agent_program::agent_for;
use crate::lifecycle::failure::Failure;
use crate::lifecycle::ledger::HOST;
use crate::lifecycle::stages::upload::properties;
use crate::lifecycle::trial::Trial;
use crate::reason::Reason;
use crate::schedules::{Arch, Firmware};

/// How long the cloud may take to say which images have a name.
const LISTING: Duration = Duration::from_mins(2);
/// How long making an image may take: the first time, packages are downloaded.
const MAKING: Duration = Duration::from_mins(10);
/// What is kept of what the maker says, from its end, in characters.
const SAID: usize = 400;

/// An image that is booted to ask about a target.
pub(super) struct Control {
    pub(super) image: Image,
    /// The id that is baked into it: its agent obeys no other.
    pub(super) baked: String,
    /// The build that made it; `None`: it was made here.
    pub(super) image_of: Option<String>,
}

/// Makes control images, one at a time: what they are made of is kept in one place.
#[derive(Debug, Default)]
pub(in crate::lifecycle) struct Maker(Mutex<()>);

/// The image to boot, in the trial's cloud.
pub(super) async fn find(trial: &Trial) -> Result<Control, Failure> {
    if let Some(published) = published(trial).await? {
        return Ok(published);
    }
    let baked = format!("control-{}", trial.shared.id);
    let making = async {
        let scratch = trial.settings().scratch_directory(&scratch_name(trial));
        let name = scratch.display().to_string();
        let owner = (trial.shared.id.as_str(), Some(trial.key.position));
        let row = trial.history().intend(owner, HOST, "scratch", &name).await?;
        trial.history().resource_created(row, &name).await?;
        let made = {
            let _alone = trial.control_images().0.lock().await;
            make(trial, &scratch, &baked).await
        };
        // Nobody waits for a cloud that is not their own.
        let image = match made {
            Ok(file) => upload(trial, file).await,
            Err(failure) => Err(failure),
        };
        // Its room is given back at once; what cannot be removed now goes with the trial.
        for row in trial.history().open_resources(&trial.shared.id).await? {
            if row.cloud == HOST
                && row.name == name
                && let Err(why) = trial.cleaner().take_away(&row).await
            {
                tracing::warn!(build = trial.shared.id, "{name}: {why}; clean-up tries again");
            }
        }
        image
    };
    let limit = MAKING + trial.shared.schedule.timeouts.upload;
    let late =
        async { Failure::new(Reason::UploadTimeout, "making and uploading a control image took too long") };
    let image = trial.bounds.run(limit, late, making).await?;
    Ok(Control { image, baked, image_of: None })
}

/// The newest image of another build that has or had the schedule's name there, if it can be booted and knows this manager.
async fn published(trial: &Trial) -> Result<Option<Control>, Failure> {
    let Some(publish) = &trial.shared.schedule.publish else { return Ok(None) };
    let (name, cloud) = (&publish.name, &trial.target.cloud);
    let rows = trial
        .publications()
        .good_images((name, cloud), trial.made_by(), &trial.gateway().fingerprint)
        .await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let late = async { Failure::new(Reason::CloudTimeout, format!("{cloud} does not list its images")) };
    let asked = async { Ok(trial.cloud.named(name).await?) };
    let named = trial.bounds.run(LISTING, late, asked).await?;
    let there = |image: &v1::Image| {
        named.iter().any(|it| it.unusable.is_none() && it.sha512.eq_ignore_ascii_case(&image.sha512))
    };
    let newest = rows.into_iter().find(|(image, _)| there(image));
    Ok(newest.map(|(image, build)| {
        let v1::Image { id, name, sha512, size_bytes, virtual_size_bytes } = image;
        let image = Image { id, name, sha512, size_bytes, virtual_size_bytes };
        Control { image, baked: build.clone(), image_of: Some(build) }
    }))
}

/// The trial's own, and what its maker is marked with: the clean-up of the build's other trials leaves it alone.
fn scratch_name(trial: &Trial) -> String {
    format!("{}--control-{}", trial.shared.id, trial.key.position)
}

/// Makes the image in a scratch directory.
async fn make(trial: &Trial, scratch: &Path, baked: &str) -> Result<PathBuf, Failure> {
    let none = |why: String| Failure::new(Reason::State, format!("no control image could be made: {why}"));
    let settings = trial.settings();
    let program = settings.control_image.as_deref();
    let program = program
        .ok_or_else(|| none("`control-image/build` was not installed with this program".to_owned()))?;
    let (arch, firmware) = (trial.shared.schedule.image.arch, trial.target.server.firmware());
    let by_firmware: &[&str] = match (arch, firmware) {
        (Arch::Amd64, Firmware::Bios) => &[],
        (_, Firmware::Uefi) => &["-u"],
        // Nobody has signed it.
        _ => return Err(none(format!("there is none for {arch} that {} can start", firmware.as_str()))),
    };
    let agent = agent_for(&settings.agent, arch).map_err(|refusal| none(refusal.to_string()))?;
    let made = tokio::fs::create_dir_all(scratch).await;
    made.map_err(|error| none(format!("{}: {error}", scratch.display())))?;
    let format = trial.shared.schedule.image.format;
    let file = scratch.join(format!("control.{format}"));
    let mut command = builder::marked(&scratch_name(trial), program);
    command
        .args(["-m", arch.as_str(), "-t", format.as_str()])
        .args(by_firmware)
        .arg("-o")
        .arg(&file)
        .arg("-a")
        .arg(&agent)
        .args(["-b", baked, "-p", &trial.gateway().fingerprint])
        .env("TINY_CACHE", settings.state.join("control"))
        .env("TMP_DIR", scratch)
        .current_dir(scratch)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let output = tokio::time::timeout(MAKING, command.output()).await;
    let output = output.map_err(|_| none(format!("{} took too long", program.display())))?;
    let output = output.map_err(|error| none(format!("{}: {error}", program.display())))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said: String =
            said.trim().chars().rev().take(SAID).collect::<Vec<_>>().into_iter().rev().collect();
        return Err(none(format!("{}: {}: {}", program.display(), output.status, said.replace('\n', "; "))));
    }
    Ok(file)
}

/// Brings it into the cloud, private, as the trial's own.
async fn upload(trial: &Trial, file: PathBuf) -> Result<Image, Failure> {
    let image = &trial.shared.schedule.image;
    let new = NewImage {
        build_id: trial.shared.id.clone(),
        name: trial.name_of("control"),
        file,
        format: image.format,
        arch: image.arch,
        firmware: trial.target.server.firmware,
        properties: properties(trial),
    };
    Ok(trial.cloud.upload(&new, &trial.ledger_of_control(), &|_, _| {}).await?)
}
