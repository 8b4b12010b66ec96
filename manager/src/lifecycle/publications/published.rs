//! What is published of a schedule.

use std::collections::{BTreeMap, BTreeSet};

use image_manager_proto::v1::{self, PublicationState};

use super::Publications;
use super::choosing::current;
use crate::history::{HistoryError, PublicationFilter};
use crate::lifecycle::TriggerError;
use crate::schedules::{Schedule, Schedules};

/// Clouds with one name that are looked at.
const CLOUDS: u32 = 1000;

/// Good images that are looked at, newest first.
const GOOD: usize = 10;

/// Where the image of a build stands under its name.
pub(in crate::lifecycle) enum Standing {
    /// It has the name.
    Current,
    /// It was revoked; by whom and why.
    Revoked(String),
    /// The image of this build has the name; "none" when none has.
    Other(String),
}

/// A published image that somebody wants to have verified again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meant {
    /// The schedule on whose targets it is.
    pub schedule: String,
    /// Its public name.
    pub name: String,
}

impl Meant {
    /// What a name means: a schedule, for what it publishes; else a public name. One that was promoted is the schedule's that
    /// built the image which has it. `named`: the images of that public name.
    pub fn of(schedules: &Schedules, named: &[v1::Publication], name: &str) -> Result<Self, TriggerError> {
        if let Some(schedule) = schedules.get(name) {
            let publish = schedule.publish.as_ref().ok_or_else(|| TriggerError::NotPublished {
                schedule: name.to_owned(),
                why: "it publishes nothing".to_owned(),
            })?;
            return Ok(Self { schedule: name.to_owned(), name: publish.name.clone() });
        }
        let mut of: BTreeSet<&str> =
            schedules.publishers(name).map(|schedule| schedule.name.as_str()).collect();
        if of.is_empty() {
            let current = named.iter().filter(|row| row.state() == PublicationState::Current);
            of = current.map(|row| row.schedule.as_str()).collect();
        }
        let mut all = of.iter();
        let why = match (all.next(), all.next()) {
            (None, _) => schedules.no_schedule(name),
            (Some(only), None) if schedules.get(only).is_some() => {
                return Ok(Self { schedule: (*only).to_owned(), name: name.to_owned() });
            }
            (Some(only), None) => format!(
                "no schedule {name:?}; the image with this public name was built by the schedule {only:?}, which is no \
                 longer in {}",
                schedules.path.display()
            ),
            (Some(_), Some(_)) => format!(
                "no schedule {name:?}; the images with this public name are of several schedules: name one of {}",
                Vec::from_iter(of).join(", ")
            ),
        };
        Err(TriggerError::NoSchedule(why))
    }
}

impl Publications {
    /// Where the image of the build `of` stands under a name.
    pub(in crate::lifecycle) async fn standing(
        &self,
        name: &str,
        cloud: &str,
        of: &str,
    ) -> Result<Standing, HistoryError> {
        let filter = PublicationFilter {
            name: Some(name.to_owned()),
            cloud: Some(cloud.to_owned()),
            limit: CLOUDS,
            ..PublicationFilter::default()
        };
        let rows = self.history.publications(filter).await?.publications;
        let revoked = |row: &&v1::Publication| row.build_id == of && row.revoked_at.is_some();
        if let Some(row) = rows.iter().find(revoked) {
            return Ok(Standing::Revoked(format!("{} ({})", row.revoked_reason, row.revoked_by)));
        }
        Ok(match current(&rows).map_or("none", |row| &row.build_id) {
            build if build == of => Standing::Current,
            other => Standing::Other(other.to_owned()),
        })
    }

    /// Which image is verified again by the name of a schedule or a public name.
    pub(in crate::lifecycle) async fn meant(
        &self,
        schedules: &Schedules,
        name: &str,
    ) -> Result<Meant, TriggerError> {
        let filter =
            PublicationFilter { name: Some(name.to_owned()), limit: CLOUDS, ..PublicationFilter::default() };
        Meant::of(schedules, &self.history.publications(filter).await?.publications, name)
    }

    /// The image that has a name in each cloud of a schedule, and the build that made it.
    pub(in crate::lifecycle) async fn published_images(
        &self,
        schedule: &Schedule,
        name: &str,
    ) -> Result<BTreeMap<String, (v1::Image, String)>, TriggerError> {
        let none = |why: String| TriggerError::NotPublished { schedule: schedule.name.clone(), why };
        let filter =
            PublicationFilter { name: Some(name.to_owned()), limit: CLOUDS, ..PublicationFilter::default() };
        let mut images = BTreeMap::new();
        for row in self.history.publications(filter).await?.publications {
            if row.state() == PublicationState::Current && schedule.is_on(&row.cloud) {
                let virtual_size_bytes = self.virtual_size_of(&row).await?;
                let image = v1::Image {
                    id: row.image_id,
                    name: row.name,
                    sha512: row.sha512,
                    size_bytes: row.size_bytes,
                    virtual_size_bytes,
                };
                images.insert(row.cloud, (image, row.build_id));
            }
        }
        if images.is_empty() {
            return Err(none(format!("no image has the name {name} on {}", schedule.clouds().join(", "))));
        }
        Ok(images)
    }

    /// The images that have or had a name on a cloud and are good, newest first, with the builds that made them: not that of
    /// the build `but`, nor those whose agent obeys another manager.
    pub(in crate::lifecycle) async fn good_images(
        &self,
        (name, cloud): (&str, &str),
        but: &str,
        fingerprint: &str,
    ) -> Result<Vec<(v1::Image, String)>, HistoryError> {
        let filter = PublicationFilter {
            name: Some(name.to_owned()),
            cloud: Some(cloud.to_owned()),
            limit: CLOUDS,
            ..PublicationFilter::default()
        };
        let mut rows = self.history.publications(filter).await?.publications;
        let good = [PublicationState::Current, PublicationState::Previous];
        rows.retain(|row| good.contains(&row.state()) && row.revoked_at.is_none() && row.build_id != but);
        // Ids of builds sort by time.
        rows.sort_by(|one, other| other.build_id.cmp(&one.build_id));
        let mut images = Vec::new();
        for row in rows.into_iter().take(GOOD) {
            let build = match self.history.build(&row.build_id).await {
                Ok(build) => build,
                Err(HistoryError::NoBuild(_)) => continue,
                Err(error) => return Err(error),
            };
            let obeys = self.history.obeys(&row.build_id).await?;
            let image = build
                .trials
                .iter()
                .filter(|trial| trial.cloud == cloud)
                .find_map(|trial| trial.image.as_ref());
            if let Some(image) = image.filter(|_| obeys.as_deref() == Some(fingerprint)) {
                // By the name that it has now.
                let (id, name) = (row.image_id, row.name);
                images.push((v1::Image { id, name, ..image.clone() }, row.build_id));
            }
        }
        Ok(images)
    }

    /// As the build that made it says; 0 when its row is gone.
    async fn virtual_size_of(&self, row: &v1::Publication) -> Result<u64, HistoryError> {
        let trials = match self.history.build(&row.build_id).await {
            Ok(build) => build.trials,
            Err(HistoryError::NoBuild(_)) => return Ok(0),
            Err(error) => return Err(error),
        };
        let mut images = trials.iter().filter(|trial| trial.cloud == row.cloud);
        Ok(images.find_map(|trial| trial.image.as_ref()).map_or(0, |image| image.virtual_size_bytes))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::schedules;

    #[test]
    fn an_image_is_meant_by_its_schedule_or_by_its_public_name() {
        let schedule = |name: &str, more: &str| {
            format!("[schedule.{name}]\nimage.elements = [\"debian-minimal\"]\n{more}\n")
        };
        let text = [
            schedule("debian", "publish = { name = \"debian-12\" }"),
            schedule("bare", ""),
            schedule("here", "publish = { name = \"both\" }"),
            schedule("there", "cloud = \"lab\"\nserver.flavor = \"m\"\npublish = { name = \"both\" }"),
        ];
        let schedules = schedules::parse(Path::new("schedules.toml"), &text.concat()).unwrap();
        let row = |schedule: &str, state: PublicationState| v1::Publication {
            schedule: schedule.to_owned(),
            state: state.into(),
            ..v1::Publication::default()
        };
        let meant = |rows: &[v1::Publication], name: &str| match Meant::of(&schedules, rows, name) {
            Ok(Meant { schedule, name }) => format!("{name} of {schedule}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(meant(&[], "debian"), "debian-12 of debian");
        assert_eq!(meant(&[], "debian-12"), "debian-12 of debian");
        assert!(meant(&[], "bare").contains("it publishes nothing"));
        assert!(meant(&[], "both").ends_with("are of several schedules: name one of here, there"));
        let (current, older) =
            (row("debian", PublicationState::Current), row("gone", PublicationState::Previous));
        assert_eq!(meant(&[current.clone(), older], "stable"), "stable of debian", "as it was promoted");
        let gone = row("gone", PublicationState::Current);
        assert!(
            meant(std::slice::from_ref(&gone), "stable")
                .contains("\"gone\", which is no longer in schedules.toml")
        );
        assert!(meant(&[current, gone], "stable").ends_with("name one of debian, gone"));
        assert!(meant(&[], "debain").contains("did you mean \"debian\"?"));
    }
}
