//! What is told of the images that have a public name.

use image_manager_proto::v1::{self, Verdict};

use crate::clock;
use crate::history::Named as _;
use crate::operator::exposition::Exposition;
use crate::schedules::Schedule;

/// How old the image is that each name has, and until when a build would have made the same.
pub(super) fn write(page: &mut Exposition, current: &[v1::Publication], schedules: &[Schedule]) {
    let name = "image_manager_image_age_seconds";
    page.family(
        name,
        "gauge",
        "Seconds since the build of the image that has the name began, by name and cloud.",
    );
    let now = clock::now().timestamp();
    for image in current {
        // An image that a name went back to is as old as it is.
        let made = clock::began(&image.build_id).map(|time| time.timestamp());
        let since = made.or(image.published_at.as_ref().map(|time| time.seconds)).unwrap_or(now);
        let labels = [("name", image.name.as_str()), ("cloud", image.cloud.as_str())];
        page.sample(name, &labels, now.saturating_sub(since).max(0));
    }
    confirmed(page, current, schedules);
    verified(page, current);
}

/// When it was last known of the image that each name has that a build would make the same. The schedule is that which gives
/// the name to its builds: of a name that somebody else gave, no interval says how old its image may be.
fn confirmed(page: &mut Exposition, current: &[v1::Publication], schedules: &[Schedule]) {
    let name = "image_manager_image_confirmed_timestamp_seconds";
    let help = "When it was last known that a build would make the image that has the name: when its build began, or a later \
                one was skipped because nothing had changed. By name, cloud, and the schedule that publishes the name.";
    page.family(name, "gauge", help);
    for image in current {
        let publishes = |schedule: &&Schedule| {
            let publish = schedule.publish.as_ref().filter(|_| schedule.publishes_on(&image.cloud));
            publish.is_some_and(|publish| publish.name == image.name)
        };
        let schedule = schedules.iter().find(publishes).map(|schedule| schedule.name.as_str());
        if let Some(at) = &image.confirmed_at {
            let labels = [
                ("name", &*image.name),
                ("cloud", &*image.cloud),
                ("schedule", schedule.unwrap_or_default()),
            ];
            page.sample(name, &labels, at.seconds);
        }
    }
}

/// When the image that each name has was verified last, and how that ended.
fn verified(page: &mut Exposition, current: &[v1::Publication]) {
    let name = "image_manager_image_verified_timestamp_seconds";
    let help =
        "When the image that has the name was verified last, by its build or later, whatever the result.";
    page.family(name, "gauge", help);
    for image in current {
        if let Some(at) = &image.verified_at {
            page.sample(name, &[("name", &image.name), ("cloud", &image.cloud)], at.seconds);
        }
    }
    let name = "image_manager_image_verified";
    page.family(name, "gauge", "1 for the last verdict, 0 for the others, by name and cloud.");
    for image in current.iter().filter(|image| image.verified_at.is_some()) {
        for verdict in [Verdict::Passed, Verdict::Failed, Verdict::Errored] {
            let labels = [("name", &*image.name), ("cloud", &*image.cloud), ("verdict", verdict.word())];
            page.sample(name, &labels, u8::from(image.verified_verdict() == verdict));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedules::parse;

    #[test]
    fn an_image_is_as_old_as_it_is_and_confirmed_by_what_was_skipped() {
        let text = "[schedule.web]\nimage.elements = [\"vm\"]\npublish = { name = \"debian\" }\n";
        let schedules = parse(std::path::Path::new("schedules.toml"), text).unwrap().schedules;
        let image = |name: &str, cloud: &str, at: i64| v1::Publication {
            name: name.to_owned(),
            cloud: cloud.to_owned(),
            build_id: "019a4188-8e00-7000-8000-000000000000".to_owned(),
            confirmed_at: (at > 0).then(|| clock::timestamp(at)),
            ..v1::Publication::default()
        };
        let images = [
            image("debian", "local", 1_800_000_000_000),
            image("debian", "elsewhere", 1_800_000_000_000),
            image("stable", "local", 1_700_000_000_000),
            image("unknown", "local", 0),
        ];
        let mut page = Exposition::default();
        write(&mut page, &images, &schedules);
        let page = page.finish();
        let family = "image_manager_image_confirmed_timestamp_seconds";
        let samples: Vec<&str> = page.lines().filter(|line| line.starts_with(family)).collect();
        let sample = |labels: &str, value: u64| format!("{family}{{{labels}}} {value}");
        assert_eq!(
            samples,
            [
                sample(r#"name="debian",cloud="local",schedule="web""#, 1_800_000_000),
                sample(r#"name="debian",cloud="elsewhere",schedule="""#, 1_800_000_000),
                sample(r#"name="stable",cloud="local",schedule="""#, 1_700_000_000),
            ]
        );
        let age =
            page.lines().find(|line| line.starts_with("image_manager_image_age_seconds{name=\"debian\""));
        let age: i64 = age.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
        let made = clock::began(&images[0].build_id).unwrap();
        assert!(
            (age - (clock::now() - made).num_seconds()).abs() < 5,
            "what was skipped makes no image younger"
        );
    }
}
