//! What is published of a schedule.

use std::collections::BTreeMap;

use image_manager_proto::v1::{self, PublicationState};

use super::Publications;
use crate::history::{HistoryError, PublicationFilter};
use crate::lifecycle::TriggerError;
use crate::schedules::Schedule;

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
        let revoked = |row: &&v1::Publication| row.build_id == of && row.state() == PublicationState::Revoked;
        if let Some(row) = rows.iter().find(revoked) {
            return Ok(Standing::Revoked(format!("{} ({})", row.revoked_reason, row.revoked_by)));
        }
        let current = rows.iter().find(|row| row.state() == PublicationState::Current);
        Ok(match current.map_or("none", |row| &row.build_id) {
            build if build == of => Standing::Current,
            other => Standing::Other(other.to_owned()),
        })
    }

    /// The image that has the schedule's name in each of its clouds, and the build that made it.
    pub(in crate::lifecycle) async fn published_images(
        &self,
        schedule: &Schedule,
    ) -> Result<BTreeMap<String, (v1::Image, String)>, TriggerError> {
        let none = |why: String| TriggerError::NotPublished { schedule: schedule.name.clone(), why };
        let publish = schedule.publish.as_ref();
        let name = publish.ok_or_else(|| none("it publishes nothing".to_owned()))?.name.clone();
        let filter =
            PublicationFilter { name: Some(name.clone()), limit: CLOUDS, ..PublicationFilter::default() };
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
        rows.retain(|row| good.contains(&row.state()) && row.build_id != but);
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
