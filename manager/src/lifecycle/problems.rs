//! What is broken in general: it is not one build's, and a page, the command line and an alert should tell it.
//!
//! Nothing is asked for this but the history and the file system: a page view makes no request to a cloud.

use std::path::Path;

use image_manager_proto::counted;
use image_manager_proto::v1;

use super::ledger::HOST;
use super::{Manager, cloud_watch};
use crate::builder::check_room;
use crate::clock;
use crate::history::{BadName, HistoryError, StuckResource};

/// Things that resist whose reasons are told; the others are counted.
const TOLD: usize = 5;

/// The kinds, as the interface has them.
pub mod kind {
    /// The file with the schedules is not used.
    pub const SCHEDULES: &str = "schedules";
    /// A cloud did not answer when it was asked last.
    pub const CLOUD: &str = "cloud";
    /// A file system has less room than a build may need.
    pub const ROOM: &str = "room";
    /// What ended builds left behind cannot be taken away.
    pub const LEFTOVERS: &str = "leftovers";
    /// An image that has a name did not pass, and its schedule is not in the file.
    pub const IMAGE: &str = "image";
}

impl Manager {
    /// What is broken in general, the worst first.
    pub async fn problems(&self) -> Result<Vec<v1::Problem>, HistoryError> {
        let file = self.schedules_error().map(|why| schedules(&self.schedules().path, why));
        let clouds = self.silent_clouds().into_iter().map(|(cloud, silence)| v1::Problem {
            kind: kind::CLOUD.to_owned(),
            about: cloud.clone(),
            message: format!("the cloud {cloud} did not answer when it was last asked: {}", silence.why),
            detail: String::new(),
            hint: format!(
                "run `image-manager doctor --cloud {cloud}`; it is asked again every {}",
                counted(cloud_watch::EVERY.as_secs() / 60, "minute")
            ),
            since: Some(clock::timestamp(silence.since_ms)),
        });
        let stuck = self.history().stuck_resources().await?;
        let mut all: Vec<_> = file.into_iter().chain(clouds).collect();
        all.extend(room(&self.settings().scratch, self.settings().room));
        all.extend(leftovers(&stuck));
        let names = self.schedules().schedules.iter().map(|schedule| schedule.name.clone()).collect();
        all.extend(self.history().bad_names_of_others(names).await?.into_iter().map(bad_name));
        Ok(all)
    }
}

fn schedules(path: &Path, why: String) -> v1::Problem {
    v1::Problem {
        kind: kind::SCHEDULES.to_owned(),
        about: path.display().to_string(),
        message: format!("{} is not used; the schedules stay as they were", path.display()),
        detail: why,
        hint: format!("fix it; `image-manager check {}` says whether it is right", path.display()),
        since: None,
    }
}

fn bad_name(bad: BadName) -> v1::Problem {
    let BadName { name, schedule, build_id } = bad;
    v1::Problem {
        kind: kind::IMAGE.to_owned(),
        message: format!(
            "the image {name} did not pass when it was last verified, and the schedule {schedule} is not in the file \
             any more"
        ),
        about: name,
        detail: String::new(),
        hint: format!("`image-manager show {build_id}` says why; publish another image, or revoke this one"),
        since: clock::began(&build_id).map(|began| clock::timestamp(began.timestamp_millis())),
    }
}

/// The scratch directory is made by the first build; its parent is on the same file system.
fn room(scratch: &Path, need: u64) -> Option<v1::Problem> {
    let there = scratch.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
    let error = check_room(there, need).err()?;
    Some(v1::Problem {
        kind: kind::ROOM.to_owned(),
        about: there.display().to_string(),
        message: error.to_string(),
        detail: String::new(),
        hint: "free some space, or name another place with `--scratch` and `--state`".to_owned(),
        since: None,
    })
}

fn leftovers(stuck: &[StuckResource]) -> Option<v1::Problem> {
    let oldest = stuck.iter().map(|resource| resource.since_ms).min()?;
    let things = counted(stuck.len(), "thing");
    let mut lines: Vec<String> = stuck
        .iter()
        .take(TOLD)
        .map(|StuckResource { kind, cloud, name, note, .. }| {
            let place = if cloud == HOST { "on this host".to_owned() } else { format!("in {cloud}") };
            format!("{kind} {name} {place}: {note}")
        })
        .collect();
    if stuck.len() > TOLD {
        lines.push(format!("and {} more", stuck.len() - TOLD));
    }
    Some(v1::Problem {
        kind: kind::LEFTOVERS.to_owned(),
        about: String::new(),
        message: format!("{things} left by ended builds cannot be removed"),
        detail: lines.join("\n"),
        hint: "removal is retried every five minutes; `image-manager sweep --dry-run` lists what is there"
            .to_owned(),
        since: Some(clock::timestamp(oldest)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_room_is_told_in_the_words_of_doctor() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(room(&directory.path().join("scratch"), 0), None);
        let problem = room(&directory.path().join("scratch"), u64::MAX).unwrap();
        let doctor = check_room(directory.path(), u64::MAX).unwrap_err().to_string();
        // What is free may change between two looks.
        let words =
            |text: &str| text.chars().filter(|c| !c.is_ascii_digit() && *c != '.').collect::<String>();
        assert_eq!(words(&problem.message), words(&doctor));
        assert_eq!(problem.kind, kind::ROOM);
    }

    #[test]
    fn a_bad_image_without_a_schedule_is_told_with_its_name() {
        let build_id = uuid::Uuid::now_v7().to_string();
        let bad =
            BadName { name: "stable".to_owned(), schedule: "web".to_owned(), build_id: build_id.clone() };
        let problem = bad_name(bad);
        assert_eq!((problem.kind.as_str(), problem.about.as_str()), (kind::IMAGE, "stable"));
        assert!(problem.message.contains("the image stable did not pass"), "{}", problem.message);
        assert!(problem.hint.contains(&build_id) && problem.since.is_some());
    }

    #[test]
    fn each_kind_has_a_metric_that_is_documented_and_an_alert_that_asks_for_it() {
        let (_, watch) = include_str!("../../../docs/operations.md").split_once("\n## Watch\n").unwrap();
        let watch = watch.split("\n## ").next().unwrap();
        let alerts = include_str!("../../../monitoring/alerts.yml");
        for (kind, metric) in [
            (kind::SCHEDULES, "image_manager_schedules_refused"),
            (kind::CLOUD, "image_manager_cloud_answers"),
            (kind::ROOM, "image_manager_needed_bytes"),
            (kind::LEFTOVERS, "image_manager_leaked_resources"),
            (kind::IMAGE, "image_manager_image_verified"),
        ] {
            assert!(watch.contains(&format!("`{metric}`")), "{kind}: {metric} is not in the documents");
            assert!(alerts.contains(metric), "{kind}: no alert asks for {metric}");
        }
    }

    #[test]
    fn what_resists_is_counted_and_a_few_are_named() {
        assert_eq!(leftovers(&[]), None);
        let one = |number: i64| StuckResource {
            kind: "server".to_owned(),
            cloud: if number == 0 { HOST } else { "lab" }.to_owned(),
            name: format!("image-manager-{number}"),
            note: "HTTP 409".to_owned(),
            since_ms: 1000 + number,
        };
        let problem = leftovers(&(0..7).map(one).collect::<Vec<_>>()).unwrap();
        assert_eq!(problem.message, "7 things left by ended builds cannot be removed");
        assert!(
            problem
                .detail
                .starts_with("server image-manager-0 on this host: HTTP 409\nserver image-manager-1 in lab")
        );
        assert!(problem.detail.ends_with("\nand 2 more"), "{}", problem.detail);
        assert_eq!(problem.since, Some(clock::timestamp(1000)));
        assert!(leftovers(&[one(1)]).unwrap().message.starts_with("1 thing left by"));
    }
}
