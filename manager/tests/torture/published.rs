//! What is done with published images, killed at every commit of it: a name that goes back, an image that is given another
//! name, which takes a copy on OpenStack while it is current, or is revoked, and the published image verified again.
//!
//! Each worker has a place with two published images. The commits of each deed are recorded in it; then the deed is asked
//! for again and again, the manager killed at one of them and another one started. Between the two, and at the end, the
//! name must be that of a verified image in each cloud; at the end the deed is done once, as the audit trail says too, or
//! was never begun, and nothing is left behind.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Output;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::harness::{Place, text, wait_for};
use super::kills::{self, Means, Serving, builds};
use super::points;

/// How long a manager may go on after it has answered until it comes to a point.
const PATIENCE: Duration = Duration::from_secs(5);

/// Kills that are worth the two builds of a place more.
const WORTH_A_PLACE: usize = 8;

/// What a client of each cloud gets for a name, by its hash: the cloud's own answer.
pub(crate) type Named = Box<dyn Fn(&Place, &str) -> Vec<(String, Vec<String>)> + Sync>;

/// What is asked of the manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    RollBack,
    Promote,
    /// Of the image that has the name.
    PromoteCurrent,
    Revoke,
    Verify,
}

impl Deed {
    const ALL: [Self; 5] = [Self::RollBack, Self::Promote, Self::PromoteCurrent, Self::Revoke, Self::Verify];

    fn word(self) -> &'static str {
        match self {
            Self::RollBack => "rollback",
            Self::Promote => "promote",
            Self::PromoteCurrent => "promote-current",
            Self::Revoke => "revoke",
            Self::Verify => "verify",
        }
    }

    /// In the audit trail, for each cloud.
    fn action(self) -> Option<&'static str> {
        match self {
            Self::RollBack => Some("image.rolled_back"),
            Self::Promote | Self::PromoteCurrent => Some("image.promoted"),
            Self::Revoke => Some("image.revoked"),
            Self::Verify => None,
        }
    }
}

/// The images under the worker's name in one place.
struct Images<'a> {
    place: Place,
    means: &'a Means,
    named: &'a Named,
    gateway: &'a str,
    name: String,
    promoted: u32,
}

/// A publication as the history has it.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    build: String,
    name: String,
    cloud: String,
    state: String,
}

/// Kills at `sample` points of all deeds, or as the environment says.
pub(crate) fn torture(cloud: &str, means: &Means, named: &Named, sample: usize) {
    let began = Instant::now();
    let mut first = Images::new(means, named, 0);
    let mut all = Vec::new();
    for deed in Deed::ALL {
        let commits = first.record(deed);
        eprintln!("  {}: {}", deed.word(), commits.join(" "));
        all.extend(commits.into_iter().map(|commit| format!("{}/{commit}", deed.word())));
    }
    let chosen = points::chosen(&all, sample);
    eprintln!("torture of what is published on {cloud}: {} points; {} kills to do", all.len(), chosen.len());
    let queue = Mutex::new(chosen.iter());
    let wrong = Mutex::new(Vec::new());
    let work = |mut images: Images<'_>| {
        while let Some(point) = { queue.lock().unwrap().next() } {
            let found = images.kill_and_tell(point);
            wrong.lock().unwrap().extend(found);
        }
        (means.tidy)(&images.place);
    };
    let work = &work;
    std::thread::scope(|scope| {
        // A place costs two builds: not for a handful of kills.
        for worker in 1..means.gateways.len().min(chosen.len() / WORTH_A_PLACE) {
            scope.spawn(move || work(Images::new(means, named, worker)));
        }
        work(first);
    });
    let wrong = wrong.into_inner().unwrap();
    eprintln!(
        "torture of what is published on {cloud}: {} points, {} kills, {} wrong, {:.0} s",
        all.len(),
        chosen.len(),
        wrong.len(),
        began.elapsed().as_secs_f64()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn kill_of(point: &str) -> (Deed, String) {
    let (word, commit) = point.split_once('/').unwrap();
    let deed = Deed::ALL.into_iter().find(|deed| deed.word() == word).unwrap();
    (deed, commit.to_owned())
}

impl<'a> Images<'a> {
    /// Of a worker, under a name that no other worker's images have: a cloud is one for all.
    fn new(means: &'a Means, named: &'a Named, worker: usize) -> Self {
        let key = "publish = { name = \"";
        let (before, rest) = means.schedules.split_once(key).unwrap();
        let (name, rest) = rest.split_once('"').unwrap();
        let name = format!("{name}-{worker}");
        let place = Place::new(&format!("{before}{key}{name}\"{rest}"));
        let images = Self { place, means, named, gateway: &means.gateways[worker], name, promoted: 0 };
        images.build();
        images.build();
        images
    }

    /// Publishes one more image.
    fn build(&self) {
        for _ in 0..kills::TRIES {
            self.served(|images| drop(images.run(&["run", "tiny"])));
            if builds(&self.place).last().unwrap().1 == "succeeded" {
                return;
            }
        }
        panic!("no build passed:\n{}", self.place.serve_log());
    }

    /// Does something while a manager serves that nobody kills.
    fn served(&self, work: impl FnOnce(&Self)) {
        let mut serving = Serving::start(&self.place, self.means, self.gateway, |_| {});
        assert!(serving.ended().is_none(), "it ended:\n{}", self.place.serve_log());
        work(self);
        serving.terminate(self.means.limit);
    }

    /// Runs the program to its end.
    fn run(&self, arguments: &[&str]) -> Output {
        let environment = self.means.environment.iter().map(|(name, value)| (name, value));
        self.place.command(arguments).envs(environment).output().unwrap()
    }

    /// Runs the program to its end, which must be a good one.
    fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// What the history has of all names.
    fn rows(&self) -> Vec<Row> {
        let rows: Vec<Json> = serde_json::from_str(&self.succeed(&["images", "--format", "json"])).unwrap();
        let row = |row: &Json| {
            let [build, name, cloud, state] =
                ["build_id", "name", "cloud", "state"].map(|key| row[key].as_str().unwrap().to_owned());
            Row { build, name, cloud, state }
        };
        rows.iter().map(row).collect()
    }

    /// The newest build whose image is in one of these states under the name.
    fn newest(&self, states: &[&str]) -> Option<String> {
        let rows = self.rows().into_iter();
        rows.filter(|row| row.name == self.name && states.contains(&row.state.as_str()))
            .map(|row| row.build)
            .max()
    }

    /// The newest build with older images under the name, in each cloud: an image of Glance that was promoted has but its
    /// new name.
    fn older(&self) -> Option<String> {
        let rows: Vec<Row> = self.rows().into_iter().filter(|row| row.name == self.name).collect();
        let clouds: BTreeSet<&str> = rows.iter().map(|row| row.cloud.as_str()).collect();
        let older = |build: &str| {
            let on = |cloud: &&str| {
                rows.iter().any(|row| row.build == build && row.cloud == **cloud && row.state == "previous")
            };
            clouds.iter().all(on)
        };
        rows.iter().map(|row| &row.build).filter(|build| older(build)).max().cloned()
    }

    /// Sees to it that the newest image has the name, and that there is an older one that can have it in each cloud. One that
    /// is to be revoked has no further name: no other image could have that.
    fn make_ready(&self, deed: Deed) {
        let newest = self.newest(&["current", "previous"]);
        let further = |row: &Row| row.name != self.name && Some(&row.build) == newest.as_ref();
        if self.older().is_none() || (deed == Deed::Revoke && self.rows().iter().any(further)) {
            return self.build();
        }
        let newest = newest.unwrap();
        if self.newest(&["current"]).as_ref() != Some(&newest) {
            self.served(|images| drop(images.succeed(&["rollback", &images.name, "--to", &newest])));
        }
    }

    /// The arguments that ask for a deed.
    fn arguments(&mut self, deed: Deed) -> Vec<String> {
        let name = self.name.clone();
        match deed {
            Deed::RollBack => vec!["rollback".to_owned(), name],
            Deed::Verify => vec!["verify".to_owned(), "tiny".to_owned()],
            Deed::Promote | Deed::PromoteCurrent => {
                self.promoted += 1;
                let stable = format!("{name}-{}", self.promoted);
                let build = if deed == Deed::Promote { self.older() } else { self.newest(&["current"]) };
                vec!["promote".to_owned(), build.unwrap(), "--as".to_owned(), stable]
            }
            Deed::Revoke => {
                let current = self.newest(&["current"]).unwrap();
                ["revoke", &current, "--reason", "torture"].map(str::to_owned).to_vec()
            }
        }
    }

    /// The commits of a deed, from when it is asked for.
    fn record(&mut self, deed: Deed) -> Vec<String> {
        for _ in 0..kills::TRIES {
            self.make_ready(deed);
            let file = self.place.path().join("recorded");
            // There are none the first time.
            let _ = fs::remove_file(&file);
            let arguments = self.arguments(deed);
            let mut serving = Serving::start(&self.place, self.means, self.gateway, |command| {
                command.env("IMAGE_MANAGER_TEST_POINTS", &file);
            });
            assert!(serving.ended().is_none(), "it ended:\n{}", self.place.serve_log());
            let before = lines(&file).len();
            let status = self.run(&words(&arguments)).status;
            serving.terminate(self.means.limit);
            if status.success() {
                return lines(&file).split_off(before);
            }
        }
        panic!("{} did not pass:\n{}", deed.word(), self.place.serve_log());
    }

    /// Kills at a point, says how it ended, and returns what is wrong, each line with the point.
    fn kill_and_tell(&mut self, point: &str) -> Vec<String> {
        let started = Instant::now();
        let (deed, commit) = kill_of(point);
        let outcome = self.kill(deed, &commit).or_else(|| self.kill(deed, &commit));
        let (how, found) =
            outcome.unwrap_or_else(|| (String::new(), vec!["the point was not reached".to_owned()]));
        let seconds = started.elapsed().as_secs_f64();
        eprintln!("  {point}: {how} after {seconds:.0} s, {} wrong", found.len());
        for line in &found {
            eprintln!("    {line}");
        }
        found.iter().map(|line| format!("{point}: {line}")).collect()
    }

    /// Asks for a deed, kills the manager at a commit of it, and starts another one. Returns how it ended and what is wrong;
    /// `None` when it did not come to the point.
    fn kill(&mut self, deed: Deed, point: &str) -> Option<(String, Vec<String>)> {
        self.make_ready(deed);
        let file = self.place.path().join("points");
        // There are none the first time.
        let _ = fs::remove_file(&file);
        let arguments = self.arguments(deed);
        let (count, told) = (builds(&self.place).len(), self.told(deed));
        let before = self.rows();
        let mut doomed = Serving::start(&self.place, self.means, self.gateway, |command| {
            command.env("IMAGE_MANAGER_TEST_KILL", point).env("IMAGE_MANAGER_TEST_POINTS", &file);
        });
        self.run(&words(&arguments));
        // It may have answered before it comes to the point.
        let patience = Instant::now();
        while doomed.ended().is_none() && patience.elapsed() < PATIENCE {
            pause(Duration::from_millis(50));
        }
        let status = doomed.gone();
        if status.signal() != Some(9) {
            eprintln!("  {}/{point}: not reached; {status}", deed.word());
            self.served(Self::settle);
            return None;
        }
        let name = self.name.clone();
        let mut wrong = self.unverified("between two managers", &name);
        self.served(Self::settle);
        wrong.extend(self.unverified("at the end", &name));
        let commits = lines(&file);
        let begun = |commit: &str| commits.iter().any(|line| line == commit);
        let after = builds(&self.place);
        let how = if deed == Deed::Verify {
            let expected = count + usize::from(begun("create_build#1"));
            if after.len() != expected {
                wrong.push(format!("{} builds, {expected} are expected", after.len()));
            }
            if self.rows() != before {
                wrong.push(format!("{before:?} became {:?}", self.rows()));
            }
            after.last().map(|(_, state, verdict)| format!("{state} ({verdict})")).unwrap_or_default()
        } else {
            let clouds = before
                .iter()
                .filter(|row| row.name == self.name)
                .map(|row| &row.cloud)
                .collect::<BTreeSet<_>>()
                .len();
            let expected = if begun("handover:begin#1") { clouds } else { 0 };
            let times = self.told(deed) - told;
            if times != expected {
                wrong.push(format!("the audit trail has it {times} times, {expected} are expected"));
            }
            if (self.rows() != before) != (expected > 0) {
                wrong.push(format!("{before:?} became {:?}", self.rows()));
            }
            if expected > 0
                && let Some(further) = arguments.iter().skip_while(|word| *word != "--as").nth(1)
            {
                wrong.extend(self.unverified("at the end", further));
            }
            if expected > 0 { "done" } else { "never begun" }.to_owned()
        };
        wrong.extend(kills::leaks(&self.place, self.means));
        Some((how, wrong))
    }

    /// Waits until no build and no change of a name is under way.
    fn settle(&self) {
        wait_for("everything to be settled", self.means.limit, || {
            let ended = kills::all_ended(&self.place, self.means).is_some();
            (ended && kills::handovers(&self.place) == 0).then_some(())
        });
    }

    /// How often the audit trail has a deed.
    fn told(&self, deed: Deed) -> usize {
        let Some(action) = deed.action() else { return 0 };
        let all = self.succeed(&["audit", "--format", "json", "--limit", "1000"]);
        all.matches(&format!("\"{action}\"")).count()
    }

    /// Clouds where a name is not that of one verified image, or of another one than the history says when it should.
    fn unverified(&self, when: &str, name: &str) -> Vec<String> {
        let good: BTreeSet<String> = self
            .place
            .history()
            .iter()
            .filter(|build| build["verdict"] == "passed")
            .flat_map(|build| build["trials"].as_array().unwrap().clone())
            .filter_map(|trial| trial["image"]["sha512"].as_str().map(str::to_owned))
            .collect();
        let mut wrong = Vec::new();
        for (cloud, hashes) in (self.named)(&self.place, name) {
            if hashes.is_empty() || !hashes.iter().all(|hash| good.contains(hash)) {
                wrong.push(format!("{when} {name} on {cloud} is {hashes:?}"));
            }
            if when == "at the end" && hashes.len() != 1 {
                wrong.push(format!("{when} {} images are {name} on {cloud}", hashes.len()));
            }
        }
        wrong
    }
}

/// The commits in a file of points.
fn lines(file: &std::path::Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
}

fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

fn pause(time: Duration) {
    #[expect(clippy::disallowed_methods, reason = "a test without a runtime")]
    std::thread::sleep(time);
}
