//! `[defaults]` and each `[schedule.NAME]` over it.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono_tz::Tz;
use image_manager_agent::LONGEST_SESSION;
use image_manager_agent::checks::REBOOT;
use toml::de::DeTable;

use super::checks::Asked;
use super::rules::{PUBLISH_NAME, SCHEDULE_NAME};
use super::targets::Placed;
use super::{Reader, Text, keys};
use crate::schedules::cron::Cron;
use crate::schedules::diagnostics::quoted;
use crate::schedules::layers::{Entry, Table};
use crate::schedules::quantities::show_duration;
use crate::schedules::spans::ImageSpans;
use crate::schedules::suggestions::nearest;
use crate::schedules::{
    CheckSpec, OnFailure, Publish, PublishWhen, RetryPolicy, Schedule, Skip, Target, Timeouts,
};

/// Most schedules of a file.
const MOST_SCHEDULES: usize = 500;

const LONGEST_JITTER: Duration = Duration::from_hours(24);
const LONGEST_TIMEOUT: Duration = Duration::from_hours(7 * 24);

/// Most retries of one build.
const MOST_RETRIES: u32 = 10;
/// Longest row of builds after which a schedule may pause itself.
const LONGEST_ROW: u32 = 1000;

/// How old the last build may at least and at most be for one to be left out.
const SHORTEST_AGE: Duration = Duration::from_mins(1);
const LONGEST_AGE: Duration = Duration::from_hours(366 * 24);

/// How long older images may be kept at least and at most.
const SHORTEST_KEPT: Duration = Duration::from_secs(1);
const LONGEST_KEPT: Duration = Duration::from_hours(3660 * 24);

const VISIBILITIES: [(&str, &str); 4] =
    [("private", "private"), ("shared", "shared"), ("community", "community"), ("public", "public")];

const ON_FAILURE: [(&str, OnFailure); 2] = [("keep", OnFailure::Keep), ("rollback", OnFailure::RollBack)];

const WHEN: [(&str, PublishWhen); 2] = [("all", PublishWhen::All), ("each", PublishWhen::Each)];

/// All schedules of the file, in its order, as far as they could be read.
pub(in crate::schedules) fn read_schedules<'a>(
    reader: &mut Reader<'a>,
    file: &'a DeTable<'a>,
) -> Vec<Schedule> {
    let file = Table::new(Some(file), None, 0..0);
    reader.refuse_unknown_keys(&file, keys::FILE);

    let defaults = reader.free_table(&file, "defaults").and_then(|table| table.own());
    // Read by itself, so that a mistake is found even where every schedule has a value of its own.
    reader.schedule(&Table::new(None, defaults, 0..0), None);

    let Some(entry) = file.get("schedule") else { return Vec::new() };
    let Some(table) = entry.table() else {
        let help = "write a section `[schedule.NAME]` for each schedule".to_owned();
        reader.refuse_type("schedule", entry.value, "a table", Some(help));
        return Vec::new();
    };
    let entries = table.entries();
    if let Some(first_too_many) = entries.get(MOST_SCHEDULES) {
        let title =
            format!("the file has {} schedules, but at most {MOST_SCHEDULES} are allowed", entries.len());
        reader.findings.add(first_too_many.key_span.clone(), title, "one too many", None);
        return Vec::new();
    }
    let mut published = BTreeMap::new();
    entries
        .iter()
        .filter_map(|entry| {
            let (table, schedule) = reader.named_schedule(entry, defaults)?;
            reader.refuse_taken_name(&table, &schedule, &mut published);
            Some(schedule)
        })
        .collect()
}

impl<'a> Reader<'a> {
    fn named_schedule(
        &mut self,
        entry: &Entry<'a>,
        defaults: Option<&'a DeTable<'a>>,
    ) -> Option<(Table<'a>, Schedule)> {
        let name = Text { value: entry.key, span: entry.key_span.clone(), name: "schedule".to_owned() };
        self.obeys(&name, &SCHEDULE_NAME);
        let Some(own) = entry.value.get_ref().as_table() else {
            let help = format!("write a section `[schedule.{}]`", entry.key);
            self.refuse_type(&entry.name, entry.value, "a table", Some(help));
            return None;
        };
        let table = Table::new(Some(own), defaults, entry.key_span.clone());
        let (schedule, tables) = self.schedule(&table, Some(entry.key));
        self.refuse_keys_of_the_other_cloud(&table, &schedule, &tables);
        self.refuse_machines_that_cannot_be(&table, &schedule, &tables);
        let spans = image_spans(&table);
        self.images.insert(schedule.name.clone(), spans);
        Some((table, schedule))
    }

    /// Reads a schedule; without a name it is `[defaults]`, where nothing has to be complete.
    /// Returns the table of each target too.
    fn schedule(&mut self, table: &Table<'a>, name: Option<&str>) -> (Schedule, Vec<Table<'a>>) {
        self.refuse_unknown_keys(table, keys::known_keys(""));
        let image = self.image(table, name.is_some());
        let placed = self.targets(table, image.arch);
        let checks: Vec<&Asked> = placed.iter().flat_map(|placed| &placed.checks).collect();
        let timeouts = self.timeouts(table, &checks, name.is_some());
        let within =
            |checks: Vec<Asked>| checks.into_iter().map(|check| check.within(timeouts.verify)).collect();
        let (targets, tables) = placed
            .into_iter()
            .map(|Placed { target, checks, table }| (Target { checks: within(checks), ..target }, table))
            .unzip();
        let schedule = Schedule {
            name: name.unwrap_or_default().to_owned(),
            cron: self.cron(table, "cron"),
            timezone: self.timezone(table).unwrap_or(Tz::UTC),
            jitter: self.duration(table, "jitter", Duration::ZERO..=LONGEST_JITTER).unwrap_or_default(),
            image,
            targets,
            publish: self.publish(table),
            timeouts,
            retry: self.retry(table),
            skip: self.skip(table),
            reverify: self.cron(table, "reverify"),
            on_failure: self.choice(table, "on_failure", &ON_FAILURE).unwrap_or_default(),
            control: self.flag(table, "control").unwrap_or(true),
            fail_fast: self.flag(table, "fail_fast").unwrap_or(false),
        };
        self.refuse_verifying_what_has_no_name(table, &schedule);
        (schedule, tables)
    }

    fn retry(&mut self, table: &Table<'a>) -> RetryPolicy {
        let unwritten = RetryPolicy::default();
        let backoff = Duration::from_secs(1)..=RetryPolicy::LONGEST_PAUSE;
        RetryPolicy {
            retries: self.number(table, "retry", 0..=MOST_RETRIES).unwrap_or(unwritten.retries),
            backoff: self.duration(table, "retry_backoff", backoff).unwrap_or(unwritten.backoff),
            pause_after: self.number(table, "pause_after", 0..=LONGEST_ROW).unwrap_or(unwritten.pause_after),
        }
    }

    /// `skip`. `[defaults]` may say how old, and a schedule has to say what for.
    fn skip(&mut self, schedule: &Table<'a>) -> Option<Skip> {
        let table = self.table(schedule, "skip")?;
        if table.get("unchanged").is_none() && table.own().is_some() {
            let help = "write `unchanged = true`, or leave out `skip` to build every time".to_owned();
            self.findings.add_absence(table.span.clone(), "`skip.unchanged` is missing", help);
        }
        let max_age = self.duration(&table, "max_age", SHORTEST_AGE..=LONGEST_AGE).unwrap_or(Skip::MAX_AGE);
        self.flag(&table, "unchanged")?.then_some(Skip { max_age })
    }

    /// Only what is published can be verified again. `[defaults]` may say when.
    fn refuse_verifying_what_has_no_name(&mut self, table: &Table<'a>, schedule: &Schedule) {
        if schedule.publish.is_some() || schedule.name.is_empty() {
            return;
        }
        let own = table.own();
        let own = |key: &str| table.get(key).filter(|_| own.is_some_and(|own| own.contains_key(key)));
        if let Some(entry) = ["reverify", "on_failure"].into_iter().find_map(own) {
            let title = format!("`{}` needs `publish.name`", entry.name);
            let help = "give the image a name: `publish = { name = \"debian-12\" }`".to_owned();
            self.findings.add(entry.value.span(), title, "nothing is published", Some(help));
        }
    }

    fn cron(&mut self, table: &Table<'a>, key: &str) -> Option<Cron> {
        let text = self.string(table, key)?;
        if text.value.trim().is_empty() {
            return None;
        }
        Cron::parse(text.value)
            .map_err(|error| {
                let span = self.within(&text, error.span);
                let title = format!("`{key}`: {} is not a cron entry", quoted(text.value));
                self.findings.add(span, title, error.message, error.help);
            })
            .ok()
    }

    fn timezone(&mut self, table: &Table<'a>) -> Option<Tz> {
        let text = self.string(table, "timezone")?;
        if let Ok(zone) = Tz::from_str_insensitive(text.value) {
            return Some(zone);
        }
        let zones = || chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
        let city = |name: &&str| {
            name.rsplit('/')
                .next()
                .is_some_and(|city| city.eq_ignore_ascii_case(&text.value.replace(' ', "_")))
        };
        let help = match zones().find(city).or_else(|| nearest(text.value, zones())) {
            Some(zone) => format!("did you mean \"{zone}\"?"),
            None => "expected an IANA time zone, such as \"UTC\" or \"Europe/Berlin\"".to_owned(),
        };
        let title = format!("`timezone`: {} is not a time zone", quoted(text.value));
        self.findings.add(text.span, title, "unknown time zone", Some(help));
        None
    }

    /// `publish`. `[defaults]` may say how, and only a schedule that gives a name is published.
    fn publish(&mut self, schedule: &Table<'a>) -> Option<Publish> {
        let table = self.table(schedule, "publish")?;
        if table.get("name").is_none() && table.own().is_some() {
            let help = "write `name = \"debian-12\"`, or leave out `publish` to verify only".to_owned();
            self.findings.add_absence(table.span.clone(), "`publish.name` is missing", help);
        }
        let keep_for = self.duration(&table, "keep_for", SHORTEST_KEPT..=LONGEST_KEPT);
        let unwritten = if table.get("keep_for").is_some() { 0 } else { 3 };
        let keep = self.number(&table, "keep", 0..=100).unwrap_or(unwritten);
        let visibility = self.choice(&table, "visibility", &VISIBILITIES).unwrap_or("private").to_owned();
        let when = self.choice(&table, "when", &WHEN).unwrap_or_default();
        let name = self.ruled_string(&table, "name", &PUBLISH_NAME)?;
        Some(Publish { name, keep, keep_for, when, visibility })
    }

    /// Two schedules must not push each other's image from its name.
    fn refuse_taken_name(
        &mut self,
        table: &Table<'a>,
        schedule: &Schedule,
        published: &mut BTreeMap<(String, String), String>,
    ) {
        let Some(publish) = &schedule.publish else { return };
        let clouds = schedule.clouds().into_iter().filter(|cloud| schedule.publishes_on(cloud));
        let keys = clouds.map(|cloud| (cloud.to_owned(), publish.name.clone()));
        for key in keys.collect::<Vec<_>>() {
            let Some(earlier) = published.get(&key) else {
                published.insert(key, schedule.name.clone());
                continue;
            };
            let own =
                table.get("publish").and_then(|entry| entry.table()).filter(|table| table.own().is_some());
            let own_name = own.and_then(|publish| publish.get("name"));
            // A name from `[defaults]` is the schedule's by inheritance: point at the schedule.
            let span = own_name.map_or_else(|| table.span.clone(), |entry| entry.value.span());
            let title = format!(
                "`{}` publishes as {} on {}, and so does `{earlier}`",
                schedule.name,
                quoted(&publish.name),
                quoted(&key.0)
            );
            let help = "the last build would win; give each schedule a name of its own".to_owned();
            self.findings.add(span, title, "taken", Some(help));
        }
    }

    /// `timeouts`. What is not written adapts to what is: a stage is never longer than a written total, and an
    /// unwritten total has room for all stages. `verify` has room for each check, and after the others for the one that
    /// waits for them.
    fn timeouts(&mut self, schedule: &Table<'a>, checks: &[&Asked], whole: bool) -> Timeouts {
        let table =
            self.table(schedule, "timeouts").unwrap_or_else(|| Table::new(None, None, schedule.span.clone()));
        let mut read = |key, longest| self.duration(&table, key, Duration::from_secs(1)..=longest);
        let total = read("total", LONGEST_TIMEOUT);
        // An agent that nobody answers for so long leaves.
        let stages = [
            ("build", LONGEST_TIMEOUT),
            ("upload", LONGEST_TIMEOUT),
            ("boot", LONGEST_SESSION),
            ("verify", LONGEST_SESSION),
        ];
        let stages = stages.map(|(key, longest)| (key, read(key, longest)));
        if let Some(total) = total.filter(|_| whole) {
            let longer = stages.iter().filter(|(_, stage)| stage.is_some_and(|stage| stage > total));
            if let Some(((key, Some(stage)), entry)) = longer.clone().next().zip(table.get("total")) {
                let title = format!("`timeouts.total` is shorter than `timeouts.{key}`");
                let help = format!("`{key}` alone may take {}", show_duration(*stage));
                self.findings.add(entry.value.span(), title, "too short", Some(help));
            }
        }
        let most = total.unwrap_or(Duration::MAX);
        let [build, upload, boot, verify] = stages.map(|(_, stage)| stage);
        let longest = checks.iter().filter(|check| check.timed).max_by_key(|check| check.spec.timeout);
        if let Some(longest) = longest.filter(|_| whole) {
            self.refuse_check_longer_than(&table, ("verify", verify), &longest.spec);
            self.refuse_check_longer_than(
                &table,
                ("total", total.filter(|_| verify.is_none())),
                &longest.spec,
            );
        }
        let or_minutes = |stage: Option<Duration>, minutes| {
            stage.unwrap_or_else(|| Duration::from_mins(minutes).min(most))
        };
        let (build, upload) = (or_minutes(build, 60), or_minutes(upload, 30));
        let boot = or_minutes(boot, 10);
        let verify = verify.unwrap_or_else(|| room_for(checks).min(most).min(LONGEST_SESSION));
        let total = total.unwrap_or_else(|| Duration::from_hours(2).max(build + upload + boot + verify));
        Timeouts { build, upload, boot, verify, total }
    }

    /// A check that outlives its stage never says what it found.
    fn refuse_check_longer_than(
        &mut self,
        table: &Table<'a>,
        limit: (&str, Option<Duration>),
        check: &CheckSpec,
    ) {
        let (key, Some(limit)) = limit else { return };
        let Some(entry) = table.get(key).filter(|_| check.timeout > limit) else { return };
        let title = format!("`timeouts.{key}` is shorter than `checks.{}.timeout`", check.name);
        let help = format!("the check `{}` alone may take {}", check.name, show_duration(check.timeout));
        self.findings.add(entry.value.span(), title, "too short", Some(help));
    }
}

/// What checks need together by themselves, 10 minutes at least: they are made side by side, and a reboot when all others
/// have ended.
fn room_for(checks: &[&Asked]) -> Duration {
    let (mut others, mut reboot) = (Duration::from_mins(10), Duration::ZERO);
    for Asked { spec, timed } in checks {
        if spec.check.kind == REBOOT {
            reboot = reboot.max(spec.timeout);
        } else if *timed {
            others = others.max(spec.timeout);
        }
    }
    others + reboot
}

/// Where the entries of `image.elements`, `image.elements_path`, `image.packages` and `image.environment` stand.
fn image_spans(schedule: &Table<'_>) -> ImageSpans {
    let Some(image) = schedule.get("image").and_then(|entry| entry.table()) else {
        return ImageSpans::default();
    };
    let elements = image.get("elements");
    let listed = |key: &str| {
        let array = image.get(key).and_then(|entry| entry.value.get_ref().as_array());
        let items = array.into_iter().flat_map(|array| array.iter());
        items.filter_map(|item| Some((item.get_ref().as_str()?.to_owned(), item.span()))).collect::<Vec<_>>()
    };
    let items = |key: &str| listed(key).into_iter().collect();
    let environment = image.get("environment").and_then(|entry| entry.table());
    let variables: Vec<_> = environment.into_iter().flat_map(|table| table.entries()).collect();
    let name = |entry: &Entry<'_>| entry.key.to_owned();
    ImageSpans {
        key: elements.as_ref().map(|entry| entry.key_span.clone()).unwrap_or_default(),
        items: items("elements"),
        packages: items("packages"),
        directories: listed("elements_path").into_iter().map(|(_, span)| span).collect(),
        values: variables.iter().map(|entry| (name(entry), entry.value.span())).collect(),
        variables: variables.iter().map(|entry| (name(entry), entry.key_span.clone())).collect(),
    }
}
